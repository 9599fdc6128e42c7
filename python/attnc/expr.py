"""Symbolic numbers, and the functions of expressions for them.

`score_mod` and `mask_mod` are called with Symbols in the place of numbers; what they do to
them is written down as the text of an expression (docs/expressions.md).  A Symbol knows its
type, `bool`, `i32` or `f32`, and an i32 the least and the most that it can be, so that an
index below 0 is found.  Operators, abs(), the functions of this module, numpy's ufuncs, and
torch's functions and methods of the same names make Symbols of Symbols.  Whatever has no
expression is an ExpressionError that names it.

    from attnc import expr
    def mod(score, b, h, q_idx, kv_idx):
        return expr.where(q_idx >= kv_idx, 50 * expr.tanh(score / 50), score)
"""
import math
import numbers
from typing import Any, Callable, Dict, Optional, Tuple

from ._symbol import (FUNCTIONS, LEAST, METHODS, MOST, Binary, Number, Symbol, Unary, fault, shown, symbol)

MOST_SIZE = 2 ** 30  #: of a call; an index ends one before


def _number(x: Number) -> Symbol:
    """i32 or f32; of a truth value 0 or 1, as in Python."""
    made = symbol(x)
    return where(made, 1, 0) if made.type == "bool" else made


def _truth(x: Number, what: str) -> Symbol:
    made = symbol(x)
    if made.type != "bool":
        raise fault(f"{what} wants true or false, not {made.type}: `{shown(made)}`")
    return made


def _pair(a: Number, b: Number) -> Tuple[Symbol, Symbol, str]:
    """Two numbers, and the type of what comes out."""
    a, b = _number(a), _number(b)
    return a, b, "f32" if "f32" in (a.type, b.type) else "i32"


def _at(x: Symbol, level: int) -> str:
    """As an operand of an operator that binds so tightly."""
    return x.text if x.level >= level else f"({x.text})"


def _infix(sign: str, level: int, a: Symbol, b: Symbol, type: str, lo: int = LEAST, hi: int = MOST) -> Symbol:
    return Symbol(f"{_at(a, level)} {sign} {_at(b, level + 1)}", type, lo, hi, level,
                  a.words + b.words + 3)


def _call(name: str, type: str, *args: Symbol, lo: int = LEAST, hi: int = MOST) -> Symbol:
    return Symbol(f"{name}({', '.join(x.text for x in args)})", type, lo, hi,
                  words=sum(x.words + 1 for x in args) + 2)


# ---- arithmetic ----


def add(a: Number, b: Number) -> Symbol:
    a, b, type = _pair(a, b)
    return _infix("+", 10, a, b, type, a.lo + b.lo, a.hi + b.hi)


def subtract(a: Number, b: Number) -> Symbol:
    a, b, type = _pair(a, b)
    return _infix("-", 10, a, b, type, a.lo - b.hi, a.hi - b.lo)


def _corners(operation: Callable[[int, int], int], a: Symbol, b: Symbol) -> Tuple[int, int]:
    found = [operation(x, y) for x in (a.lo, a.hi) for y in (b.lo, b.hi)]
    return min(found), max(found)


def multiply(a: Number, b: Number) -> Symbol:
    a, b, type = _pair(a, b)
    return _infix("*", 11, a, b, type, *_corners(lambda x, y: x * y, a, b))


def divide(a: Number, b: Number) -> Symbol:
    """f32, whatever a and b are."""
    a, b, _ = _pair(a, b)
    return _infix("/", 11, a, b, "f32")


def _i32s(sign: str, a: Number, b: Number, instead: str = "") -> Tuple[Symbol, Symbol]:
    a, b, type = _pair(a, b)
    if type != "i32":
        raise fault(f"`{shown(a)} {sign} {shown(b)}`: {sign} of f32 has no expression{instead}")
    return a, b


def floor_divide(a: Number, b: Number) -> Symbol:
    """Towards -inf; of i32.  By 0 it is 0."""
    a, b = _i32s("//", a, b, "; write attnc.expr.floor(a / b)")
    lo, hi = LEAST, MOST
    if b.lo > 0:
        lo, hi = _corners(lambda x, y: x // y, a, b)
    return _infix("//", 11, a, b, "i32", lo, hi)


def remainder(a: Number, b: Number) -> Symbol:
    """With the divisor's sign; of i32.  By 0 it is 0."""
    a, b = _i32s("%", a, b)
    lo, hi = (0, min(b.hi - 1, a.hi) if a.lo >= 0 else b.hi - 1) if b.lo > 0 else (LEAST, MOST)
    if b.lo == b.hi > 0 and a.lo // b.lo == a.hi // b.lo:
        lo, hi = a.lo % b.lo, a.hi % b.lo
    return _infix("%", 11, a, b, "i32", lo, hi)


def negative(x: Number) -> Symbol:
    x = _number(x)
    return Symbol("-" + _at(x, 13), x.type, -x.hi, -x.lo, 12, x.words + 3)


def power(a: Number, b: Number) -> Symbol:
    """A whole number of times a, up to 8; 0.5 is the root, and of a constant a, exp2."""
    if isinstance(a, numbers.Real) and not isinstance(a, bool) and float(a) > 0:
        return exp2(multiply(f32(b), math.log2(a)))
    if isinstance(b, numbers.Real) and b == 0.5:
        return sqrt(a)
    if not isinstance(b, numbers.Integral) or not 1 <= int(b) <= 8:
        raise fault(f"{a!r} ** {b!r} has no expression: the exponent is 1 to 8, or 0.5")
    found = a = _number(a)
    for _ in range(int(b) - 1):
        found = multiply(found, a)
    return found


def square(x: Number) -> Symbol:
    return power(x, 2)


def abs(x: Number) -> Symbol:
    x = _number(x)
    least = 0 if x.lo <= 0 <= x.hi else min(-x.lo if x.lo < 0 else x.lo,
                                            -x.hi if x.hi < 0 else x.hi)
    return _call("abs", x.type, x, lo=least, hi=max(-x.lo, x.hi))


def minimum(a: Number, b: Number) -> Symbol:
    a, b, type = _pair(a, b)
    return _call("min", type, a, b, lo=min(a.lo, b.lo), hi=min(a.hi, b.hi))


def maximum(a: Number, b: Number) -> Symbol:
    a, b, type = _pair(a, b)
    return _call("max", type, a, b, lo=max(a.lo, b.lo), hi=max(a.hi, b.hi))


def clip(x: Number, min: Optional[Number] = None, max: Optional[Number] = None, **kw: Any) -> Symbol:
    """Within both, or the one that is given."""
    least, most = kw.pop("a_min", min), kw.pop("a_max", max)
    if kw:
        raise fault(f"clip: {', '.join(kw)} has no expression")
    x = x if least is None else maximum(x, least)
    return x if most is None else minimum(x, most)


# ---- comparisons and logic ----


def _compared(sign: str, level: int) -> Binary:
    def compare(a: Number, b: Number) -> Symbol:
        a, b = symbol(a), symbol(b)
        if level > 7 or a.type != b.type:
            a, b, _ = _pair(a, b)
        return _infix(sign, level, a, b, "bool")
    return compare


equal, not_equal = _compared("==", 7), _compared("!=", 7)
less, less_equal = _compared("<", 8), _compared("<=", 8)
greater, greater_equal = _compared(">", 8), _compared(">=", 8)


def _ones(x: int) -> int:
    """The least 2^n - 1 that is not below x."""
    return (1 << x.bit_length()) - 1


def _bitwise(name: str, logic: Tuple[str, int], bits: Tuple[str, int],
             bounds: Callable[[Symbol, Symbol], Tuple[int, int]]) -> Binary:
    def operate(a: Number, b: Number) -> Symbol:
        a, b = symbol(a), symbol(b)
        if a.type == b.type == "bool":
            return _infix(*logic, a, b, "bool")
        a, b = _i32s(name, a, b)
        return _infix(*bits, a, b, "i32", *bounds(a, b))
    return operate


def _and_bounds(a: Symbol, b: Symbol) -> Tuple[int, int]:
    most = [x.hi for x in (a, b) if x.lo >= 0]
    return (0, min(most)) if most else (LEAST, MOST)


def _or_bounds(a: Symbol, b: Symbol) -> Tuple[int, int]:
    return (0, _ones(max(a.hi, b.hi))) if min(a.lo, b.lo) >= 0 else (LEAST, MOST)


bitwise_and = _bitwise("&", ("&&", 3), ("&", 6), _and_bounds)
bitwise_or = _bitwise("|", ("||", 2), ("|", 4), _or_bounds)
bitwise_xor = _bitwise("^", ("!=", 7), ("^", 5), _or_bounds)


def bitwise_not(x: Number) -> Symbol:
    x = symbol(x)
    if x.type == "f32":
        raise fault(f"~ of f32 has no expression: `{shown(x)}`")
    sign = "!" if x.type == "bool" else "~"
    return Symbol(sign + _at(x, 13), x.type, -1 - x.hi, -1 - x.lo, 12, x.words + 3)


def logical_and(a: Number, b: Number) -> Symbol:
    return bitwise_and(_truth(a, "logical_and"), _truth(b, "logical_and"))


def logical_or(a: Number, b: Number) -> Symbol:
    return bitwise_or(_truth(a, "logical_or"), _truth(b, "logical_or"))


def logical_xor(a: Number, b: Number) -> Symbol:
    return bitwise_xor(_truth(a, "logical_xor"), _truth(b, "logical_xor"))


def logical_not(x: Number) -> Symbol:
    return bitwise_not(_truth(x, "logical_not"))


def _shift(sign: str) -> Binary:
    def shift(x: Number, by: Number) -> Symbol:
        x, by = _i32s(sign, x, by)
        if by.lo < 0 or by.hi > 31:
            raise fault(f"`{shown(x)} {sign} {shown(by)}`: the count is taken modulo 32, and it "
                        f"can be {by.lo if by.lo < 0 else by.hi}; write % 32")
        move = (lambda v, n: v << n) if sign == "<<" else (lambda v, n: v >> n)
        return _infix(sign, 9, x, by, "i32", *_corners(move, x, by))
    return shift


left_shift, right_shift = _shift("<<"), _shift(">>")


def where(condition: Number, then: Number, otherwise: Number) -> Symbol:
    """then where the condition holds, else otherwise; both are computed."""
    condition = _truth(condition, "where")
    then, otherwise = symbol(then), symbol(otherwise)
    type = then.type
    if then.type != otherwise.type:
        then, otherwise, type = _pair(then, otherwise)
    return Symbol(f"{_at(condition, 2)} ? {_at(then, 2)} : {_at(otherwise, 2)}", type,
                  min(then.lo, otherwise.lo), max(then.hi, otherwise.hi), 1,
                  condition.words + then.words + otherwise.words + 4)


# ---- f32 ----


def i32(x: Number) -> Symbol:
    """Towards 0; beyond i32 the nearest; of NaN 0."""
    x = _number(x)
    return x if x.type == "i32" else _call("i32", "i32", x)


def f32(x: Number) -> Symbol:
    x = _number(x)
    return x if x.type == "f32" else _call("f32", "f32", x)


def _real_call(name: str) -> Unary:
    def call(x: Number) -> Symbol:
        return _call(name, "f32", f32(x))
    call.__name__ = name
    return call


exp, exp2, log2, tanh, sigmoid, sqrt = map(
    _real_call, ("exp", "exp2", "log2", "tanh", "sigmoid", "sqrt"))


def floor(x: Number) -> Symbol:
    x = _number(x)
    return x if x.type == "i32" else _call("floor", "f32", x)


def relu(x: Number) -> Symbol:
    x = _number(x)
    return maximum(x, 0) if x.type == "i32" else _call("relu", "f32", x)


def log(x: Number) -> Symbol:
    return multiply(log2(x), math.log(2))


def log1p(x: Number) -> Symbol:
    return log(add(1.0, x))


def rsqrt(x: Number) -> Symbol:
    return divide(1.0, sqrt(x))


def reciprocal(x: Number) -> Symbol:
    return divide(1.0, x)


def silu(x: Number) -> Symbol:
    return multiply(x, sigmoid(x))


def gelu(x: Number, approximate: str = "none") -> Symbol:
    """Its form with tanh; the other has no expression."""
    if approximate != "tanh":
        raise fault("gelu by the error function has no expression; its approximation has: "
                    "approximate=\"tanh\"")
    inner = multiply(math.sqrt(2 / math.pi), add(x, multiply(0.044715, power(x, 3))))
    return multiply(multiply(0.5, x), add(1.0, tanh(inner)))


def _to(x: Number, *kind: Any) -> Symbol:
    """torch's .to(dtype): a number of the type that the dtype is here."""
    name = str(kind[0]).rpartition(".")[2] if len(kind) == 1 else ""
    if name == "bool":
        x = symbol(x)
        if x.type == "i32" and x.lo == x.hi:
            return symbol(x.lo != 0)
        return x if x.type == "bool" else not_equal(x, 0)
    if name in ("float", "float32"):
        return f32(x)
    if name in ("int", "int32"):
        return i32(x)
    raise fault(f"a conversion to {', '.join(map(str, kind))} has no expression; there are "
                "int32, float32 and bool")


def _filled(value: int) -> Callable[..., Symbol]:
    """torch's new_ones and new_zeros, of the shape of a number: and_masks begins with one."""
    def make(x: Any, size: Any, dtype: Any = None) -> Symbol:
        if tuple(size):
            raise fault(f"a tensor of shape {tuple(size)} has no expression")
        return _to(symbol(value), dtype) if dtype is not None else symbol(value)
    return make


NAMES = [
    "abs", "add", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "clip", "divide",
    "equal", "exp", "exp2", "f32", "floor", "floor_divide", "gelu", "greater", "greater_equal",
    "i32", "left_shift", "less", "less_equal", "log", "log1p", "log2", "logical_and",
    "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "multiply", "negative",
    "not_equal", "power", "reciprocal", "relu", "remainder", "right_shift", "rsqrt", "sigmoid",
    "silu", "sqrt", "square", "subtract", "tanh", "where"]
OTHER_NAMES = {  # numpy's and torch's, and what they are here
    "absolute": "abs", "sub": "subtract", "mul": "multiply", "div": "divide",
    "true_divide": "divide", "mod": "remainder", "neg": "negative", "pow": "power",
    "float_power": "power", "clamp": "clip", "eq": "equal", "ne": "not_equal", "lt": "less",
    "le": "less_equal", "gt": "greater", "ge": "greater_equal", "invert": "bitwise_not",
    "min": "minimum", "max": "maximum", "bitwise_left_shift": "left_shift",
    "bitwise_right_shift": "right_shift"}
FUNCTIONS.update({name: globals()[name] for name in NAMES})
FUNCTIONS.update({name: globals()[real] for name, real in OTHER_NAMES.items()})
METHODS.update({name: f for name, f in FUNCTIONS.items()
                if name not in ("i32", "f32", "where", "gelu", "silu")})
METHODS.update(
    int=i32, float=f32, bool=lambda x: _to(x, "bool"), to=_to,
    clamp_min=maximum, clamp_max=minimum, new_ones=_filled(1), new_zeros=_filled(0),
    where=lambda x, condition, otherwise: where(condition, x, otherwise))
BINARY = {  # operators, with what they are on the other side
    "add": add, "sub": subtract, "mul": multiply, "truediv": divide, "floordiv": floor_divide,
    "mod": remainder, "pow": power, "lshift": left_shift, "rshift": right_shift,
    "and": bitwise_and, "or": bitwise_or, "xor": bitwise_xor}
OPERATORS: Dict[str, Callable[..., Any]] = {
    "invert": bitwise_not, "neg": negative, "pos": symbol, "abs": abs, "trunc": i32,
    "floor": lambda x: i32(floor(x)), "eq": equal, "ne": not_equal, "lt": less,
    "le": less_equal, "gt": greater, "ge": greater_equal, **BINARY}


def _reflected(f: Binary) -> Binary:
    return lambda x, y: f(y, x)


def _method(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *at, **kw: f(*at, **kw)


def _install() -> None:
    for name, f in METHODS.items():
        setattr(Symbol, name, _method(f))
    for name, f in OPERATORS.items():
        setattr(Symbol, f"__{name}__", _method(f))
    for name, f in BINARY.items():
        setattr(Symbol, f"__r{name}__", _reflected(f))


_install()
sq = Symbol("sq", "i32", 0, MOST_SIZE)  #: queries of the call
sk = Symbol("sk", "i32", 0, MOST_SIZE)  #: its keys
hk = Symbol("hk", "i32", 0, MOST_SIZE - 1)  #: the key head of the query head
