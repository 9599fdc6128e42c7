"""The binary interface since the last tag, by abidiff (Debian: abigail-tools): functions are added,
fields are added at the end of structs, nothing else.

abi_tag_test.py --self-test      does it find what is forbidden, and nothing that is allowed?
abi_tag_test.py SOURCE           the libraries of this tree beside those of the last tag

Exit 77: there is no abidiff, or no tag yet."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

LIBRARIES = ("libattnc_rt.so", "libattnc.so")
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
    """What is forbidden, in abidiff's words; "": nothing is.  old, new: (library, headers)"""
    code, said = run("abidiff", "--no-added-syms", "--headers-dir1", old[1], "--headers-dir2",
                     new[1], old[0], new[0])
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


def self_test(folder):
    old, bad = small(folder, "old", OLD), 0
    for name, header, allowed in CASES:
        said = differ(old, small(folder, name, header))
        if (not said) != allowed:
            bad += 1
            print(f"{name}: {'refused' if said else 'not found'}\n{said}")
    return bad != 0


def built(tree, folder, name):
    out = os.path.join(folder, name)
    must("cmake", "-S", tree, "-B", out, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug",
         "-DBUILD_TESTING=OFF")
    must("cmake", "--build", out, "-j2", "--target", "attnc", "attnc_rt")
    return out


def compare(source, folder):
    code, tag = run("git", "-C", source, "describe", "--tags", "--abbrev=0")
    if code:
        print("SKIPPED: there is no tag yet")
        return 77
    tag, tree = tag.strip(), os.path.join(folder, "tree")
    os.mkdir(tree)
    must("sh", "-c", f"git -C '{source}' archive '{tag}' | tar -x -C '{tree}'")
    old, new, bad = built(tree, folder, "old"), built(source, folder, "new"), 0
    for name in LIBRARIES:
        said = differ((os.path.join(old, "lib", name), os.path.join(tree, "include")),
                      (os.path.join(new, "lib", name), os.path.join(source, "include")))
        bad += bool(said)
        print(f"{name} since {tag}: {'FAIL' if said else 'ok'}\n{said}")
    return bad != 0


def main():
    if not shutil.which("abidiff"):
        print("SKIPPED: no abidiff")
        return 77
    with tempfile.TemporaryDirectory(prefix="attnc-abi-") as folder:
        if sys.argv[1] == "--self-test":
            return self_test(folder)
        return compare(os.path.abspath(sys.argv[1]), folder)


if __name__ == "__main__":
    sys.exit(main())
