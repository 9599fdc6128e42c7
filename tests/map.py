"""tests/README.md names every test and every program of tests, and nothing that is not there.

    map.py ROOT CTEST BUILD    ctest's list of the build, and the tree's files
    map.py --self-test"""
import glob
import json
import os
import re
import subprocess
import sys

# Where programs of tests lie; files that begin so are shared by them.
PROGRAMS = ("tests/*.py", "tests/conformance/*.py", "tests/unit/test_*.c", "tests/fuzz/*.c", "tests/torture/*.c",
            "tests/cli/*_test.py",
            "tests/e2e/*.py", "tests/lint/*.py", "tests/bench/*.py", "python/tests/test_*.py",
            "bench/gpu/tests/test_*.py")
SHARED = {"source.py"}
KITS = ("tests/unit/*.h", "tests/*.h", "tests/*.supp")
# What a test's name has behind that of its row.
SUFFIX = re.compile(r"_(all|can_fail)$")


def names(text):
    return re.findall(r"`([^`]+)`", text)


def rows(page):
    """(tests named, files named) of the map's rows; a row of two columns has no file."""
    for line in page[page.index("## The map"):].splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) in (2, 3):
            yield names(cells[0]), names(cells[1]) if len(cells) == 3 else []


def faults(page, tests, programs, kits, registered):
    """tests: ctest's names; programs and kits: paths; registered: the text of all *.cmake."""
    have = [(tests_, files) for tests_, files in rows(page)]
    known = {name for tests_, _ in have for name in tests_}
    files = {os.path.basename(f) for _, fs in have for f in fs}
    files |= {f"test_{name}.c" for name in known}
    for name in sorted({SUFFIX.sub("", t) for t in set(tests) - known} - known):
        yield f"the test {name} has no row"
    for path in programs:
        if os.path.basename(path) not in files | SHARED:
            yield f"the program {path} is in no row"
    for path in kits:
        if not any(os.path.basename(n) == os.path.basename(path) for n in names(page)):
            yield f"{path} is not named"
    for name in sorted(known - set(tests)):
        # without an assembler, numpy … a test may be missing here
        if not re.search(rf"(\b|_){name.split('_', 1)[-1]}\b", registered):
            yield f"there is no test {name}"


def self_test():
    page = ("# T\n`kit.h`\n## The map\n| test | asks |\n|---|---|\n| `base` | x |\n"
            "| test | file | asks |\n| `e2e_m`, `e2e_n` | `m.py` | x |\n")
    good = (page, ["base", "e2e_m", "e2e_m_all", "e2e_n"], ["tests/unit/test_base.c", "a/m.py"],
            ["tests/kit.h"], "unit(base) e2e_test(m) n")
    assert list(faults(*good)) == []
    for at, value, wanted in (
            (1, good[1] + ["new"], "the test new has no row"),
            (2, ["tests/unit/test_x.c"], "the program tests/unit/test_x.c is in no row"),
            (3, ["tests/unit/other.h"], "tests/unit/other.h is not named"),
            (1, ["e2e_m", "e2e_n"], None)):
        changed = list(good)
        changed[at] = value
        assert list(faults(*changed)) == ([wanted] if wanted else []), (value, wanted)
    assert list(faults(*good[:1], ["e2e_m", "e2e_n"], *good[2:4], "m n")) == [
        "there is no test base"]
    assert list(faults(good[0], ["e2e_n", "base"], *good[2:4], "add_test(NAME e2e_m)")) == []


def main(words):
    if words == ["--self-test"]:
        return self_test()
    root, ctest, build = words
    said = subprocess.run([ctest, "--test-dir", build, "--show-only=json-v1"],
                          capture_output=True, text=True, check=True)
    with open(os.path.join(root, "tests/README.md"), encoding="utf-8") as f:
        page = f.read()
    registered = ""
    for path in glob.glob(os.path.join(root, "tests/*.cmake")):
        with open(path, encoding="utf-8") as f:
            registered += f.read()
    found = list(faults(page, [t["name"] for t in json.loads(said.stdout)["tests"]],
                        *[sorted(p for pattern in patterns
                                 for p in glob.glob(os.path.join(root, pattern)))
                          for patterns in (PROGRAMS, KITS)], registered))
    for line in found:
        print(f"tests/README.md: {line}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
