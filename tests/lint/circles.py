"""Circles: the files of a group stand on floors, each calling only those below it.  A file uses
another where it names a function or a table that the other defines for others.  Files that reach
each other are a circle.  A use that is meant stands in circles.txt, with its reason; so do files
that are one object, which stand on one floor together: each of them is in the circle that they
are, and none outside it is in a circle with them."""
import os
import re

from source import code_only, expect, files, line_of, main, read

# Each with the folders below it.  The emulator's rooms call each other as arrows.py allows.
GROUPS = ("compiler", *(f"emulator/{room}" for room in ("ptx", "exec", "async", "check", "driver")))
ALLOWED = "tests/lint/circles.txt"
# The house style: a definition's name begins a line, its type, or `static`, the one before.
FUNCTION = re.compile(r"^([^\n;{}#]*)\n(\w+)\([^;{}]*\)\s*\n\{", re.M)
TABLE = re.compile(r"^(\w[^\n;{}()=]*?)\b(\w+)(?:\[[^\n\]]*\])*\s*=", re.M)
ATTRIBUTE = re.compile(r"__attribute__\(\((?:[^()\n]|\([^()\n]*\))*\)\)")
# A macro that defines the function that its first argument names, and its uses.
MAKER = re.compile(r"^#define\s+(\w+)\((\w+),(?:.*\\\n)+?[\w *]*\b\2\(", re.M)
WORD = re.compile(r"(?<![\w.>])[A-Za-z_]\w*|(?<=\w>)[A-Za-z_]\w*")


def allowed(root):
    """({(user, name): reason}, [files of an object]).  A line is `user name reason…`, or
    `object folder: file file …: reason…`, the files without .c; an indented line goes on with the
    one before; # comments."""
    rows, objects = {}, []
    text = read(root, ALLOWED) if os.path.exists(os.path.join(root, ALLOWED)) else ""
    text = re.sub(r"\n[ \t]+", " ", re.sub(r"^#.*\n", "", text, flags=re.M))
    for line in filter(str.strip, text.splitlines()):
        if line.startswith("object "):
            folder, names, _ = line.removeprefix("object ").split(": ", 2)
            objects.append([f"{folder}/{name}.c" for name in names.split()])
        else:
            user, name, reason = line.split(None, 2)
            rows[user, name] = reason
    return rows, objects


def definitions(code):
    """Names that a file defines: (for others, for itself)."""
    found = [(m.group(1), m.group(2)) for p in (FUNCTION, TABLE) for m in p.finditer(code)]
    for m in MAKER.finditer(code):
        found += [("", name) for name in re.findall(rf"^{m.group(1)}\((\w+)", code, re.M)]
    own = {name for how, name in found if how.strip().startswith("static")}
    hidden = ("extern", "typedef", "return", "else")
    return {n for how, n in found if not how.startswith(hidden)} - own, own


def uses(root, paths):
    """{user: {used: {name: line of its first use}}}"""
    code = {p: ATTRIBUTE.sub("", code_only(read(root, p))) for p in paths}
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


def as_one(graph, objects):
    """The graph of the first file of each object, in place of all, and of the other files."""
    first = {p: files_of[0] for files_of in objects for p in files_of}
    one = {first.get(p, p): {} for p in graph}
    for p, used in graph.items():
        for q, names in used.items():
            if (user := first.get(p, p)) != (floor := first.get(q, q)):
                one[user].setdefault(floor, {}).update(names)
    return one


def told(circle, graph, objects):
    """The whole circle: one line for each two files of which the first uses the second."""
    object_of = {p: k for k, files_of in enumerate(objects) for p in files_of}
    inside = {p for p in graph
              if p in circle or (p in object_of and objects[object_of[p]][0] in circle)}
    for p in sorted(inside):
        for q, names in sorted(graph[p].items()):
            if q in inside and object_of.get(p, p) != object_of.get(q, q):
                name, at = min(names.items(), key=lambda n: n[1])
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                yield f"{p}:{at}: in a circle with {q}: uses {name}{more}"


def apart(files_of, graph):
    """The files of an object that reach no other of it and come back, by uses among them alone."""
    among = {p: {q: n for q, n in graph[p].items() if q in files_of}
             for p in files_of if p in graph}
    met = max(circles(among), key=len, default=())
    return [p for p in files_of if p not in met]


def check(root):
    findings, (rows, objects), needed = [], allowed(root), set()
    for group in GROUPS:
        paths = [p for p in files(root, ".c") if p.startswith(group + "/")]
        whole = uses(root, paths)
        ours = [o for o in objects if o[0].startswith(group + "/")]
        findings += [f"{ALLOWED}: {p} is in no circle with its object" for o in ours
                     for p in apart(o, whole)]
        rest = without(whole, rows)
        for circle in circles(as_one(rest, ours)):
            findings += told(circle, rest, ours)
        first = {p: o[0] for o in ours for p in o}
        needed |= {(p, n) for c in circles(as_one(whole, ours)) for p in paths for q, names in
                   whole[p].items() if first.get(p, p) != first.get(q, q)
                   and first.get(p, p) in c and first.get(q, q) in c for n in names}
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
    attribute = "__attribute__((noinline)) static int\n%s(int x)\n{\n  return x;\n}\n\n"
    expect(check, a, attribute % "other" + high, 0, {b: attribute % "high" + low})
    c = "int\nmiddle(int x)\n{\n  return high(x);\n}\n\n"
    expect(check, a, high, 1, {b: "int\nlow(int x)\n{\n  return middle(x);\n}\n", "compiler/c.c": c})
    # Files that are one object: they alone, each in its circle, and nothing through them.
    one = "object compiler: a\n  tile/b: they recur\n"
    expect(check, a, high, 0, {b: back, ALLOWED: one})
    expect(check, ALLOWED, one, 2, {a: high, b: low})
    expect(check, ALLOWED, one.replace("b:", "b c:"), 1, {a: high, b: back, "compiler/c.c": c})
    expect(check, ALLOWED, one.replace("b:", "b gone:"), 1, {a: high, b: back})
    c = "int\nmiddle(int x)\n{\n  return high(x);\n}\n\n"
    expect(check, "compiler/c.c", c, 1, {
        a: high, b: back.replace("return", "x = middle(x);\n  return"), ALLOWED: one})
    expect(check, "compiler/c.c", c, 0, {a: high, b: back, ALLOWED: one})
    expect(check, "emulator/ptx/a.c", high, 1, {"emulator/ptx/b.c": back})
    expect(check, "emulator/ptx/a.c", high, 0, {"emulator/exec/b.c": back})


if __name__ == "__main__":
    main(check, self_test, __doc__)
