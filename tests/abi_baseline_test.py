"""The binary interface since the last release, by abidiff (Debian: abigail-tools): functions are
added, fields are added at the end of structs, enumerators are added, nothing else.

abi_baseline_test.py --self-test SOURCE   does it find what is forbidden, and nothing else?
abi_baseline_test.py SOURCE               the headers beside tests/abi.xml and tests/abi.txt
ATTNC_UPDATE=1 abi_baseline_test.py SOURCE     at a release: writes both anew

What is compared is a library of the headers' functions, all of them empty, so that nothing but
the headers decides: that the real ones have just these functions is the test `abi`.  Exit 77:
there is no abidiff."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

HEADERS = ("attnc/attnc.h", "attnc/attnc_emu.h")
FUNCTION = re.compile(r"""^(?:__attribute__\(\(visibility\("default"\)\)\)\s)?
                      ((?:const\s)?\w+\s\**(attnc\w+)\([^;{}]*\));""", re.M | re.X)
ENUM = re.compile(r"\benum\s*\w*\s*\{([^}]*)\}")
CHANGES = re.compile(r"_COUNT$")  # enumerators that say how many there are
VALUE = re.compile(r"#define (ATTNC_(?!VERSION)\w+) (\w+)$", re.M)
# What abidiff says of a struct that grew at its end, a line each; all else is forbidden.  (Its
# suppressions for that let a member's other type through, in version 2.2.)
ALLOWED = re.compile(r"""\s*(?:
  Functions\ changes\ summary:\ 0\ Removed.*|Variables\ changes\ summary:\ 0\ Removed,\ 0\ Changed.*|
  \d+\ functions?\ with\ some\ indirect\ sub-type\ changes?:|
  \[C\]\ 'function\ .*'.*\ has\ some\ indirect\ sub-type\ changes:|
  parameter\ \d+\ of\ type\ '.*'\ has\ sub-type\ changes:|
  in\ (?:pointed\ to|unqualified\ underlying)\ type\ '.*'.*:|
  underlying\ type\ 'struct\ .*'.*\ changed:|
  type\ size\ changed\ from\ (?P<size>\d+)\ to\ \d+\ \(in\ bits\)|
  \d+\ data\ member\ insertions?:|
  type\ size\ hasn't\ changed|\d+\ data\ member\ changes?:|
  no\ data\ member\ changes?\ \(\d+\ filtered\);|
  type\ of\ '(?:const\ )?attnc_\w+\*\ \w+'\ changed:|
  '.*',\ at\ offset\ (?P<offset>\d+)\ \(in\ bits\).*|
  .*\ was\ already\ reported.*|.*changes\ were\ already\ reported.*|
  )""", re.X)

OLD = "typedef struct args { unsigned long size; int b, h; } args;\nint launch(const args *a);\nint stop(void);\n"
CASES = [  # what is new, the header, is it allowed
    ("nothing", OLD, True),
    ("a function", OLD + "int pause_it(void);\n", True),
    ("a field at the end", OLD.replace("int b, h;", "int b, h, hk;"), True),
    ("a field between", OLD.replace("int b, h;", "int b, hk, h;"), False),
    ("a field of another type", OLD.replace("int b, h;", "int b; float h;"), False),
    ("a field is gone", OLD.replace("int b, h;", "int b;"), False),
    ("a function is gone", OLD.replace("int stop(void);\n", ""), False),
    ("another parameter", OLD.replace("stop(void)", "stop(int why)"), False),
    ("an array within", OLD.replace("int b, h;", "int b, h[2];"), False),
]
ENUMS = [  # what is new, enumerators, is it allowed
    ("nothing", {"A": 0, "B": 1, "N_COUNT": 2}, True),
    ("one at the end", {"A": 0, "B": 1, "C": 2, "N_COUNT": 3}, True),
    ("one between", {"A": 0, "C": 1, "B": 2, "N_COUNT": 3}, False),
    ("one is gone", {"A": 0, "N_COUNT": 1}, False),
]
BROKEN = [  # the tree's own headers: what in which becomes what, is it allowed
    ("attnc_rt.h", "uint32_t n_tensors, n_scalars;", "uint32_t n_scalars, n_tensors;", False),
    ("attnc_rt.h", "const double *scalars;", "const float *scalars;", False),
    ("attnc_rt.h", "uint32_t n_tensors, n_scalars;", "uint64_t n_tensors, n_scalars;", False),
    ("attnc.h", "#define ATTNC_NOWAIT 1u", "#define ATTNC_NOWAIT 2u", False),
    ("attnc_rt.h", "  size_t workspace_bytes;\n}", "  size_t workspace_bytes;\n  int more;\n}", True),
]
BODIES = {"launch(": "int launch(const args *a) { return a->b; }",
          "stop(void": "int stop(void) { return 0; }",
          "stop(int": "int stop(int why) { return why; }",
          "pause_it": "int pause_it(void) { return 1; }"}


def run(*command, **how):
    r = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **how)
    return r.returncode, r.stdout


def must(*command, **how):
    code, said = run(*command, **how)
    if code:
        raise SystemExit(f"{' '.join(command)}: exit {code}: {said[-4000:]}")
    return said


def forbidden(said):
    """The lines that are not of a struct that grew at its end."""
    size, found = 0, []
    for line in said.splitlines():
        m = ALLOWED.fullmatch(line)
        size = int(m["size"]) if m and m["size"] else size
        if not m or (m["offset"] and int(m["offset"]) < size):
            found.append(line)
    return "\n".join(found)


def differ(old, new):
    """What is forbidden, in abidiff's words; "": nothing is.  old, new: (library, folder)"""
    code, said = run("abidiff", "--no-added-syms", old[0], new[0])
    if code & ~4:  # its own failure, or a change that it calls incompatible
        return said or f"abidiff: exit {code}"
    return forbidden(said)


def small(folder, name, header):
    place = os.path.join(folder, name.replace(" ", "_"))
    os.mkdir(place)
    bodies = [body for word, body in BODIES.items() if word in header]
    with open(os.path.join(place, "a.h"), "w", encoding="utf-8") as f:
        f.write(header)
    with open(os.path.join(place, "a.c"), "w", encoding="utf-8") as f:
        f.write('#include "a.h"\n' + "\n".join(bodies) + "\n")
    must("cc", "-g", "-shared", "-fPIC", "-o", os.path.join(place, "a.so"),
         os.path.join(place, "a.c"))
    return os.path.join(place, "a.so"), place


def changed(old, new):
    """The enumerators and numbers that are gone or have other values, a line each."""
    return [f"{name} was {value}, is {new.get(name, 'gone')}" for name, value in old.items()
            if new.get(name) != value and not CHANGES.search(name)]


def self_test(source, folder):
    old, bad = small(folder, "old", OLD), 0
    xml = os.path.join(folder, "old.xml")
    dump(old[0], xml)
    for name, header, allowed in CASES:
        new = small(folder, name, header)
        for before in (old, (xml, "")):  # beside the library, and beside what was written of it
            said = differ(before, new)
            if (not said) != allowed:
                bad += 1
                print(f"{name}: {'refused' if said else 'not found'}\n{said}")
    for name, what, by, allowed in BROKEN:
        copy = tempfile.mkdtemp(dir=folder)
        shutil.copytree(os.path.join(source, "include"), os.path.join(copy, "include"))
        path = os.path.join(copy, "include", "attnc", name)
        with open(path, encoding="utf-8") as f:
            text = f.read()
        assert text.count(what) == 1, (name, what)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace(what, by))
        if (not found(source, copy, copy)) != allowed:
            bad += 1
            print(f"{name}: {what} as {by}: {'refused' if allowed else 'not found'}")
    for name, new, allowed in ENUMS:
        if (not changed(ENUMS[0][1], new)) != allowed:
            bad += 1
            print(f"enumerators: {name}")
    return bad != 0


# ---- the headers ----

def expanded(source, *flags):
    text = "".join(f"#include <{h}>\n" for h in HEADERS)
    return must("cc", "-E", *flags, "-x", "c", "-I", os.path.join(source, "include"), "-",
                input=text)


def empty_library(source, folder):
    """A library with every public function, and debug information of all public types."""
    text, names = expanded(source, "-P"), []

    def body(m):
        names.append(m[2])
        return f"{m[1]} {{ __builtin_trap(); }}"

    text = FUNCTION.sub(body, text)
    path, library = os.path.join(folder, "abi.c"), os.path.join(folder, "abi.so")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    must("cc", "-std=gnu2x", "-g", "-O0", "-fno-eliminate-unused-debug-types", "-shared", "-fPIC",
         "-w", "-o", library, path)
    return library, names


def numbers(source, folder):
    """{name: value} of enumerators and of macros that are numbers."""
    text = expanded(source, "-P")
    names = [part.split("=")[0].strip() for m in ENUM.finditer(text) for part in m[1].split(",")]
    names += [m[1] for m in VALUE.finditer(expanded(source, "-dM"))]
    names = sorted({n for n in names if re.match(r"(?i)attnc", n)})
    path, program = os.path.join(folder, "numbers.c"), os.path.join(folder, "numbers")
    with open(path, "w", encoding="utf-8") as f:
        f.write("".join(f"#include <{h}>\n" for h in HEADERS) + "#include <stdio.h>\n"
                "int main(void) {\n" + "".join(
                    f'  printf("{n} %lld\\n", (long long)({n}));\n' for n in names) + "}\n")
    must("cc", "-I", os.path.join(source, "include"), "-o", program, path)
    return parse(must(program))


def parse(text):
    rows = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return {name: int(value) for name, value in rows}


def dump(library, path):
    must("abidw", "--no-corpus-path", "--no-comp-dir-path", "--no-show-locs", "--out-file", path,
         library)


def baseline(source):
    return [os.path.join(source, "tests", f"abi.{kind}") for kind in ("xml", "txt")]


def write(source, folder):
    xml, txt = baseline(source)
    dump(empty_library(source, folder)[0], xml)
    with open(txt, "w", encoding="utf-8") as f:
        f.write("# Enumerators and numbers of the headers at the last release: "
                "abi_baseline_test.py.\n")
        f.writelines(f"{name} {value}\n" for name, value in numbers(source, folder).items())


def found(source, tree, folder):
    """What is forbidden in the headers of the tree, a line each."""
    xml, txt = baseline(source)
    library, names = empty_library(tree, folder)
    assert len(names) > 40, names
    with open(txt, encoding="utf-8") as f:
        said = changed(parse(f.read()), numbers(tree, folder))
    return said + differ((xml, ""), (library, "")).splitlines()


def compare(source, folder):
    if os.environ.get("ATTNC_UPDATE") == "1":
        write(source, folder)
    said = found(source, source, folder)
    print(*said or ["what the last release had is there, as it was"], sep="\n")
    return bool(said)


def main():
    if not shutil.which("abidiff"):
        print("SKIPPED: no abidiff")
        return 77
    with tempfile.TemporaryDirectory(prefix="attnc-abi-") as folder:
        if sys.argv[1] == "--self-test":
            return self_test(os.path.abspath(sys.argv[2]), folder)
        return compare(os.path.abspath(sys.argv[1]), folder)


if __name__ == "__main__":
    sys.exit(main())
