"""Names in backquotes of docs/glossary.md are words of the product's code, so that the page has
none that was renamed.  The last column of its tables says where a name is from and may hold
names of others; a backquoted text that is no single name is an example."""
import re

from source import PRODUCT, code_only, expect, files, in_folder, main, read

PAGE = "docs/glossary.md"
NAME = re.compile(r"`([A-Za-z_]\w*)`")
OWN_LINT = re.compile(r"lint_\w+\Z")
SOURCE_HEAD = re.compile(r"^\|.*\| source \|$")


def names(text):
    """(line number, name) of each backquoted name that is ours."""
    found, foreign = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if SOURCE_HEAD.match(line):
            foreign = True
        elif not line.startswith("|"):
            foreign = False
        ours = line.rstrip("|").rsplit("|", 1)[0] if foreign else line
        found += [(number, name) for name in NAME.findall(ours)]
    return found


def check(root):
    words = set()
    for path in in_folder(files(root, ".c", ".h", ".def"), *PRODUCT):
        words.update(re.findall(r"\w+", code_only(read(root, path), keep_strings=True)))
    return [f"{PAGE}:{number}: no `{name}` in {', '.join(PRODUCT)}"
            for number, name in names(read(root, PAGE))
            if name not in words and not OWN_LINT.match(name)]


def self_test():
    code = {"compiler/a.c": '/* gone */ int t_load; const char *s = "bshd x";\n'}
    head = "| name | meaning | source |\n|---|---|---|\n"
    expect(check, PAGE, "`t_load` and `bshd`, as in `b2 h8`\n", 0, code)
    expect(check, PAGE, "`t_lode`\n", 1, code)
    expect(check, PAGE, "only in a comment: `gone`\n", 1, code)
    expect(check, PAGE, head + "| `t_load` | a load | CuTe, `copy` |\n", 0, code)
    expect(check, PAGE, head + "| `t_lode` | as `t_loda` | CuTe, `copy` |\n", 2, code)
    expect(check, PAGE, head + "| `t_load` | | `copy` |\n\n`copy`\n", 1, code)
    expect(check, PAGE, "| letter | type |\n|---|---|\n| `t` | `Tb` |\n", 2, code)


if __name__ == "__main__":
    main(check, self_test, __doc__)
