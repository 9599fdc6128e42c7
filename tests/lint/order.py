"""Emission order: C leaves open in which order arguments, operands and initialisers are
evaluated, and gcc and clang differ, so at most one of them may emit.

In templates/ and compiler/tile/ the words t_* emit, and index words that may make a node,
since nodes are numbered as they are made; in compiler/llvm/ LLVMBuild* emits; and so does
every function of the same files that calls one of these, however deep."""
import fnmatch
import re

from source import code_only, expect, files, functions, line_of, main, read

INDEX = r"i_(?!int\b|known|multiple)\w+|idx_(add|sub|mul|c?div|min|max|lt)|call_size"
RULES = [("templates/*", rf"t_[a-z]\w*|{INDEX}"), ("compiler/tile/*", rf"t_[a-z]\w*|{INDEX}"),
         ("compiler/llvm/*", r"LLVMBuild\w+")]
CALL = re.compile(r"\b([A-Za-z_]\w*)\s*\(")
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", re.M)


def emitters(codes, prefix):
    """Names of the functions that emit, by themselves or through others."""
    word = re.compile(rf"({prefix})\Z")
    calls = {}
    for code in codes.values():
        for name, _, _, body, _ in functions(code):
            calls.setdefault(name, set()).update(CALL.findall(body))
    emitting = set()
    while True:
        more = {f for f, callees in calls.items()
                if f not in emitting
                and any(word.match(c) or c in emitting for c in callees)}
        if not more:
            return emitting, word
        emitting |= more


TOKENS = re.compile(r"[A-Za-z_]\w*|&&|\|\||[(){}\[\];,?:]")


class Reader:
    """Walks one function's tokens.  unsequenced() counts the emitting calls that C may order
    as it likes among each other; more than one is a finding."""

    def __init__(self, body, emits):
        self.tokens = [(m.group(0), m.start()) for m in TOKENS.finditer(body)]
        self.at = 0
        self.emits = emits
        self.findings = []

    def peek(self, ahead=0):
        i = self.at + ahead
        return self.tokens[i][0] if i < len(self.tokens) else ""

    def unsequenced(self, close, separators):
        """Reads up to `close`; returns the emitting calls of the worst part between
        separators, which are sequence points."""
        worst, count = 0, 0
        while self.peek() and self.peek() != close:
            token, where = self.tokens[self.at]
            self.at += 1
            if token in separators:
                count = 0
                continue
            emitted = self.one(token, where)
            count += emitted
            if emitted and count == 2:
                self.findings.append(where)
            worst = max(worst, min(count, 1))
        self.at += 1
        return worst

    def one(self, token, where):
        """Emitting calls of one token and of the brackets that follow it."""
        sequenced = {"&&", "||", "?", ":"}
        if re.match(r"[A-Za-z_]", token) and self.peek() == "(":
            self.at += 1
            if token in {"if", "while", "for", "switch"} or token.startswith("T_"):
                self.unsequenced(")", sequenced | {";"})
                return 0  # a statement of its own follows
            inner = self.unsequenced(")", sequenced)
            return 1 if self.emits(token) else inner
        if token == "(":
            return self.unsequenced(")", sequenced | {","})
        if token == "[":
            return self.unsequenced("]", sequenced)
        if token == "{":
            return self.unsequenced("}", sequenced)
        return 0


def is_block(tokens, i):
    """Does the brace tokens[i] open a block, not an initialiser?"""
    if i == 0 or tokens[i - 1][0] in {";", "{", "}", ":", "else", "do"}:
        return True
    if tokens[i - 1][0] != ")":
        return False
    depth = 0
    for j in range(i - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(tokens[j][0], 0)
        if depth == 0:  # what stands before the parenthesis: a keyword or T_FOR, or `(T){`
            return j > 0 and (tokens[j - 1][0] in {"if", "for", "while", "switch"}
                              or tokens[j - 1][0].startswith("T_"))
    return False


def statements(body):
    """The body with the braces of blocks made into semicolons."""
    tokens = [(m.group(0), m.start()) for m in TOKENS.finditer(body)]
    text, open_blocks = list(body), []
    for i, (token, where) in enumerate(tokens):
        if token == "{":
            open_blocks.append(is_block(tokens, i))
            if open_blocks[-1]:
                text[where] = ";"
        elif token == "}" and open_blocks and open_blocks.pop():
            text[where] = ";"
    return "".join(text)


def check(root):
    findings = []
    for pattern, prefix in RULES:
        codes = {p: DIRECTIVE.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)),
                                  code_only(read(root, p)))
                 for p in files(root, ".c", ".h") if fnmatch.fnmatch(p, pattern)}
        emitting, word = emitters(codes, prefix)
        for path, code in codes.items():
            for _, _, _, body, start in functions(code):
                reader = Reader(statements(body), lambda n: word.match(n) or n in emitting)
                # Declarators of one declaration are full expressions: `,` separates.
                reader.unsequenced("", {";", ",", "&&", "||", "?", ":"})
                for where in reader.findings:
                    line = line_of(code, start + where)
                    findings.append(f"{path}:{line}: a second emitting call whose order "
                                    "C leaves open; give it a name of its own")
    return findings


def self_test():
    def body(text, wanted, path="templates/a.c"):
        helper = "static Tile\nhelper(Tb *t)\n{\n  return t_zero(t, 1, 1);\n}\n\n"
        deep = "static Tile\ndeep(Tb *t)\n{\n  return helper(t);\n}\n\n"
        expect(check, path, f"{helper}{deep}void\nf(Tb *t)\n{{\n{text}\n}}\n", wanted)

    body("  Tile a = t_add(t, t_get(t, x), y);", 0)
    body("  Tile a = t_add(t, t_get(t, x), t_get(t, y));", 1)
    body("  g(t_a(t), t_b(t), t_c(t));", 1)
    body("  Tile a = t_a(t), b = t_b(t);", 0)
    body("  x = t_a(t) + t_b(t);", 1)
    body("  x = c ? t_a(t) : t_b(t);", 0)
    body("  Cta c = { .k = t_ring(t), .v = t_ring(t) };", 1)
    body("  c = (Cta){ .k = t_ring(t), .v = i_int(3) };", 0)
    body("  c = (Cta){ t_a(t),\n    t_b(t) };", 1)
    body("  if (x) {\n    t_a(t);\n    t_b(t);\n  }", 0)
    body("  T_FOR (t, i, lo, hi, 1) {\n    t_a(t);\n    t_b(t);\n  }", 0)
    body("  T_FOR (t, i, t_a(t), t_b(t), 1)\n    t_c(t);", 1)
    body("  for (i = 0; i < n; i++)\n    t_a(t);\n  t_b(t);", 0)
    body("  g(helper(t), t_a(t));", 1)
    body("  g(deep(t), helper(t));", 1)
    body("  t_push(t, r, .src = i_sub(a, b), .when = &j.is);", 0)
    body('  g("t_a(", t_b(t)); // t_a(t) + t_b(t)', 0)
    body("  x[i] = t_a(t);\n  y[j] = t_b(t);", 0)
    body("  return t_add(t, x[t_i(t)], t_b(t));", 1)
    body("  w.hi = i_max(i_cdiv(w.end, bn), i_add(w.lo, 1));", 1)
    body("  w.hi = i_max(i_cdiv(w.end, i_int(3)), i_int(1));", 0)
    body("  w.hi = i_max(i_cdiv(w.end, bn), i_add(w.lo, 1));", 1, "compiler/tile/tile_walk.c")
    body("  LLVMBuildAdd(b, LLVMBuildMul(b, x, y, n), LLVMBuildMul(b, y, x, n), n);", 1,
         "compiler/llvm/a.c")
    body("  LLVMBuildAdd(b, LLVMBuildMul(b, x, y, n), z, n);", 0, "compiler/llvm/a.c")


if __name__ == "__main__":
    main(check, self_test, __doc__)
