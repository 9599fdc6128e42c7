"""Circles: the files of a group stand on floors, each calling only those below it.  A file uses
another where it names a function or a table that the other defines for others.  Files that reach
each other are a circle; a use that is meant stands in circles.txt, with its reason."""
import os
import re

from source import code_only, expect, files, line_of, main, read

GROUPS = ("compiler",)  # each with the folders below it
ALLOWED = "tests/lint/circles.txt"
# The house style: a definition's name begins a line, its type, or `static`, the one before.
FUNCTION = re.compile(r"^([^\n;{}#]*)\n(\w+)\([^;{}]*\)\s*\n\{", re.M)
TABLE = re.compile(r"^(\w[^\n;{}()=]*?)\b(\w+)(?:\[[^\n\]]*\])*\s*=", re.M)
# A macro that defines the function that its first argument names, and its uses.
MAKER = re.compile(r"^#define\s+(\w+)\((\w+),(?:.*\\\n)+?[\w *]*\b\2\(", re.M)
WORD = re.compile(r"(?<![\w.>])[A-Za-z_]\w*|(?<=\w>)[A-Za-z_]\w*")


def allowed(root):
    """{(user, name): reason}; a line is `user name reason…`, # comments."""
    rows = {}
    if os.path.exists(os.path.join(root, ALLOWED)):
        for line in read(root, ALLOWED).splitlines():
            if line.strip() and not line.startswith("#"):
                user, name, reason = line.split(None, 2)
                rows[user, name] = reason
    return rows


def definitions(code):
    """Names that a file defines: (for others, for itself)."""
    found = [(m.group(1), m.group(2)) for p in (FUNCTION, TABLE) for m in p.finditer(code)]
    for m in MAKER.finditer(code):
        found += [("", name) for name in re.findall(rf"^{m.group(1)}\((\w+)", code, re.M)]
    own = {name for how, name in found if how.startswith("static")}
    hidden = ("extern", "typedef", "return", "else")
    return {n for how, n in found if not how.startswith(hidden)} - own, own


def uses(root, paths):
    """{user: {used: {name: line of its first use}}}"""
    code = {p: code_only(read(root, p)) for p in paths}
    home, own = {}, {}
    for p in paths:
        names, own[p] = definitions(code[p])
        home.update((name, p) for name in names)
    graph = {p: {} for p in paths}
    for p in paths:
        for m in WORD.finditer(code[p]):
            name = m.group(0)
            used = home.get(name, p)
            if used != p and name not in own[p]:
                graph[p].setdefault(used, {}).setdefault(name, line_of(code[p], m.start()))
    return graph


def circles(graph):
    """The sets of more than one file that reach each other."""
    below = {p: set(used) for p, used in graph.items()}
    grown = True
    while grown:
        grown = False
        for p in below:
            more = set().union(*(below[q] for q in below[p])) - below[p]
            below[p] |= more
            grown = grown or bool(more)
    sets = {frozenset(q for q in below[p] if p in below[q]) for p in below if p in below[p]}
    return sorted((s for s in sets), key=sorted)


def without(graph, rows):
    return {p: {q: left for q, names in used.items()
                if (left := {n: at for n, at in names.items() if (p, n) not in rows})}
            for p, used in graph.items()}


def told(circle, graph):
    """The whole circle: one line for each two files of which the first uses the second."""
    for p in sorted(circle):
        for q, names in sorted(graph[p].items()):
            if q in circle:
                name, at = min(names.items(), key=lambda n: n[1])
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                yield f"{p}:{at}: in a circle with {q}: uses {name}{more}"


def check(root):
    findings, rows, needed = [], allowed(root), set()
    for group in GROUPS:
        paths = [p for p in files(root, ".c") if p.startswith(group + "/")]
        graph = uses(root, paths)
        rest = without(graph, rows)
        for circle in circles(rest):
            findings += told(circle, rest)
        needed |= {(p, n) for c in circles(graph) for p in c for q, names in graph[p].items()
                   if q in c for n in names}
    findings += [f"{ALLOWED}: {user} {name} is in no circle any more"
                 for user, name in sorted(set(rows) - needed)]
    return findings


def self_test():
    low = "int\nlow(int x)\n{\n  return x;\n}\n\n"
    high = "int\nhigh(int x)\n{\n  return low(x);\n}\n\n"
    back = "int\nlow(int x)\n{\n  return x ? high(x - 1) : 0;\n}\n\n"
    table = "const int low[] = {high};\n"
    a, b = "compiler/a.c", "compiler/tile/b.c"
    expect(check, a, high, 0, {b: low})
    expect(check, a, high, 1, {b: back})
    expect(check, a, high, 1, {b: table})
    expect(check, a, high, 0, {b: "/* high */" + low + 'char *s = "high";\n'})
    expect(check, a, high, 0, {b: low + "static int\nhigh(void)\n{\n  return 0;\n}\n"
                                        "int\nother(void)\n{\n  return high();\n}\n"})
    expect(check, a, high, 0, {b: low + "int\nother(S *s)\n{\n  return s->high + s.high;\n}\n"})
    expect(check, a, high, 1, {b: "#define MAKE(name, k) \\\n  int name(int x) { return k; }\n"
                                  "MAKE(low, high)\n"})
    expect(check, a, high, 0, {b: back, ALLOWED: f"{b} high it recurs\n"})
    expect(check, ALLOWED, f"{b} high it recurs\n", 1, {a: high, b: low})
    expect(check, a, high, 0, {"cli/b.c": back})
    c = "int\nmiddle(int x)\n{\n  return high(x);\n}\n\n"
    expect(check, a, high, 1, {b: "int\nlow(int x)\n{\n  return middle(x);\n}\n", "compiler/c.c": c})


if __name__ == "__main__":
    main(check, self_test, __doc__)
