"""Expressions a second time, without a line of compiler/: docs/expressions.md's words, read by a
parser of this page and computed in fp64, one value at a time.

    node = read("q_idx >= kv_idx || doc[b, kv_idx] == 3")
    value(node, {"q_idx": 4, "kv_idx": 7, "b": 0}, {"doc": Table([2, 8], [...])})

A bool is a bool, an i32 an int that has wrapped, an f32 a float. With a program that prints random
expressions and what attnc makes of them (tests/unit/expr_dump.c) it is a test:

    expr_oracle.py EXPR_DUMP [--seed S] [--runs N] [--shard I/N]"""
import argparse
import json
import math
import re
import struct
import subprocess
import sys

# How tight each infix operator binds; all group from the left.
BINDS = {"||": 2, "&&": 3, "|": 4, "^": 5, "&": 6, "==": 7, "!=": 7, "<": 8, "<=": 8, ">": 8, ">=": 8,
         "<<": 9, ">>": 9, "+": 10, "-": 10, "*": 11, "/": 11, "//": 11, "%": 11}
TOKEN = re.compile(r"\s*(?:(0x[0-9a-fA-F]+|\d+(?![\w.])|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(\w+)|"
                   r"(\|\||&&|==|!=|<=|>=|<<|>>|//|[-+*/%<>|^&!~?:(),\[\]]))")


class Table:
    """A dense tensor: lengths of its axes, its elements, numbers of one kind, and their 0."""

    def __init__(self, shape, data, nothing=0):
        self.shape, self.data, self.nothing = shape, data, nothing

    def at(self, index):
        """The nearest element; 0 where an axis is empty."""
        place = 0
        for i, n in zip(index, self.shape):
            if not n:
                return self.nothing
            place = place * n + min(max(i, 0), n - 1)
        return self.data[place]


# ---- reading: a node is (what, operand, …) ----

def _tokens(text):
    found, at, text = [], 0, text.rstrip()
    while at < len(text):
        m = TOKEN.match(text, at)
        if not m:
            raise ValueError(f"no word of an expression: {text[at:]}")
        found.append(m.group(1) or m.group(2) or m.group(3))
        at = m.end()
    return found + [""]


class _Reader:
    def __init__(self, text):
        self.words, self.at = _tokens(text), 0

    def next(self, wanted=None):
        word = self.words[self.at]
        if wanted is not None and word != wanted:
            raise ValueError(f"{word!r} stands for {wanted!r} in {self.words}")
        self.at += 1
        return word

    def here(self, word):
        if self.words[self.at] != word:
            return False
        self.at += 1
        return True

    def choice(self):
        condition = self.infix(2)
        if not self.here("?"):
            return condition
        yes = self.choice()
        self.next(":")
        return ("?", condition, yes, self.choice())

    def infix(self, least):
        left = self.prefix()
        while BINDS.get(self.words[self.at], 0) >= least:
            op = self.next()
            left = (op, left, self.infix(BINDS[op] + 1))
        return left

    def prefix(self):
        word = self.next()
        if word in ("-", "!", "~"):
            return ("negated" if word == "-" else word, self.prefix())
        if word == "(":
            inner = self.choice()
            self.next(")")
            return inner
        if word[0].isdigit() or word[0] == ".":
            return ("number", _number(word))
        if word in ("true", "false", "inf"):
            return ("number", {"true": True, "false": False, "inf": math.inf}[word])
        for opening, closing, what in (("(", ")", "call"), ("[", "]", "load")):
            if self.here(opening):
                operands = [self.choice()]
                while self.here(","):
                    operands.append(self.choice())
                self.next(closing)
                return (what, word, *operands)
        return ("name", word)


def _number(word):
    if word.startswith("0x"):
        return wrapped(int(word, 0))
    if word.isdigit():
        return int(word)  # 2147483648 only behind a minus
    return single(float(word))


def read(text):
    reader = _Reader(text)
    node = reader.choice()
    reader.next("")
    return node


# ---- numbers ----

def wrapped(x):
    return (x + (1 << 31)) % (1 << 32) - (1 << 31)


def single(x):
    """The nearest fp32 number."""
    try:
        return struct.unpack("<f", struct.pack("<f", x))[0]
    except OverflowError:
        return math.copysign(math.inf, x)


def real(x):
    """An operand of an f32 operation: an i32 becomes an fp32 number."""
    return x if isinstance(x, float) else single(x)


def alike(x, y):
    """Both as f32 where one is."""
    if isinstance(x, float) or isinstance(y, float):
        return real(x), real(y)
    return x, y


def whole(x):
    """i32(x): towards 0, the nearest beyond, 0 of NaN."""
    if isinstance(x, int):
        return x
    if math.isnan(x):
        return 0
    return max(-1 << 31, min((1 << 31) - 1, int(x) if math.isfinite(x) else int(math.copysign(1 << 40, x))))


def _quotient(x, y):
    if y:
        return x / y
    return math.nan if x == 0 or math.isnan(x) else math.copysign(math.inf, x) * math.copysign(1, y)


def _grows(f, x):
    try:
        return f(x)
    except OverflowError:
        return math.inf


def _log2(x):
    return math.log2(x) if x > 0 else -math.inf if x == 0 else math.nan


def _extreme(which, x, y):
    """Of NaN and a number the number."""
    x, y = alike(x, y)
    return y if x != x else x if y != y else which(x, y)


def _arithmetic(f):
    def of(x, y):
        x, y = alike(x, y)
        return f(x, y) if isinstance(x, float) else wrapped(f(x, y))
    return of


def _logic(bools, words):
    return lambda x, y: bools(x, y) if isinstance(x, bool) else words(x, y)


FUNCTIONS = {
    "min": lambda x, y: _extreme(min, x, y), "max": lambda x, y: _extreme(max, x, y),
    "abs": lambda x: abs(x) if isinstance(x, float) else wrapped(abs(x)),
    "floor": lambda x: float(math.floor(real(x))) if math.isfinite(real(x)) else real(x),
    "exp": lambda x: _grows(math.exp, real(x)), "exp2": lambda x: _grows(lambda y: 2.0 ** y, real(x)),
    "log2": lambda x: _log2(real(x)), "tanh": lambda x: math.tanh(real(x)),
    "sigmoid": lambda x: 1 / (1 + _grows(math.exp, -real(x))),
    "sqrt": lambda x: math.sqrt(real(x)) if real(x) >= 0 else math.nan,
    "relu": lambda x: _extreme(max, real(x), 0.0),
    "i32": whole, "f32": lambda x: real(x),
}
INFIX = {
    "||": lambda x, y: x or y, "&&": lambda x, y: x and y,
    "|": _logic(lambda x, y: x or y, lambda x, y: x | y), "^": _logic(lambda x, y: x != y, lambda x, y: x ^ y),
    "&": _logic(lambda x, y: x and y, lambda x, y: x & y),
    "==": lambda x, y: x == y, "!=": lambda x, y: x != y, "<": lambda x, y: x < y,
    "<=": lambda x, y: x <= y, ">": lambda x, y: x > y, ">=": lambda x, y: x >= y,
    "<<": lambda x, y: wrapped(x << (y & 31)), ">>": lambda x, y: x >> (y & 31),
    "+": _arithmetic(lambda x, y: x + y), "-": _arithmetic(lambda x, y: x - y),
    "*": _arithmetic(lambda x, y: x * y), "/": lambda x, y: _quotient(real(x), real(y)),
    "//": lambda x, y: wrapped(x // y) if y else 0, "%": lambda x, y: wrapped(x % y) if y else 0,
}
ORDERED = {"==", "!=", "<", "<=", ">", ">="}


def value(node, variables, tables):
    """Of a node; both arms of a choice decide what it is."""
    what = node[0]
    if what == "number":
        return node[1]
    if what == "name":
        return variables[node[1]]
    if what == "load":
        return tables[node[1]].at([value(x, variables, tables) for x in node[2:]])
    if what == "call":
        return FUNCTIONS[node[1]](*(value(x, variables, tables) for x in node[2:]))
    x = [value(n, variables, tables) for n in node[1:]]
    if what == "?":
        yes, no = x[1:] if isinstance(x[1], bool) else alike(x[1], x[2])
        return yes if x[0] else no
    if len(x) == 1:
        return (-x[0] if isinstance(x[0], float) else wrapped(-x[0])) if what == "negated" else (
            not x[0] if what == "!" else ~x[0])
    return INFIX[what](*(alike(*x) if what in ORDERED else x))


# ---- the test ----

def same(got, want):
    if isinstance(want, float):
        return got == want or (got != got and want != want) or abs(got - want) <= 1e-12 * abs(want)
    return type(got) is type(want) and got == want


def main():
    p = argparse.ArgumentParser()
    p.add_argument("dump")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--runs", type=int, default=20000)
    p.add_argument("--shard", default="0/1", help="which N-th of the runs")
    a = p.parse_args()
    i, n = map(int, a.shard.split("/"))
    lines = subprocess.run([a.dump, str(a.seed * 1000 + i), str(a.runs // n)], capture_output=True,
                           text=True, check=True).stdout.splitlines()
    wrong = 0
    kinds = {"bool": lambda x: x != "0", "i32": int, "f32": float}
    for line in lines:
        row = json.loads(line)
        variables = {**row["variables"], **{k: float(x) for k, x in row["reals"].items()}}
        tables = {}
        for name, t in row["tables"].items():
            of = kinds[t["type"]]
            tables[name] = Table(t["shape"], [of(x) for x in t["data"]], of("0"))
        want = kinds[row["type"]](row["value"])
        for text in (row["text"], row["normal"]):
            got = value(read(text), variables, tables)
            if not same(real(got) if row["type"] == "f32" else got, want):
                wrong += 1
                print(f"FAIL  {text}\n  is {got!r} here, {want!r} there, of {line}")
    print(f"seed {a.seed}, shard {a.shard}: {len(lines)} expressions, {wrong} wrong")
    return int(wrong > 0 or len(lines) < a.runs // n)


if __name__ == "__main__":
    sys.exit(main())
