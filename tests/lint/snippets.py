"""Code in the documentation is code that is tested: below `<!-- snippet: FILE NAME -->` stands
what FILE has between the comments `[NAME]` and `[/NAME]`, all of it for the name `all`, the
C function NAME with the comment above it for the name `NAME()`.
`--write ROOT` puts it there."""
import os
import re
import sys
import textwrap

from source import expect, files, main, read

PLACE = re.compile(r"(<!-- snippet: (\S+) (\S+) -->\n```\w*\n)(.*?)(```\n)", re.S)


def section(root, path, name):
    """None if the file or the section is not there."""
    if not os.path.exists(os.path.join(root, path)):
        return None
    if name == "all":
        return read(root, path)
    if name.endswith("()"):
        found = re.search(rf"^(?:/\*(?:(?!\*/).)*\*/\n)?[a-z][^\n]*\n{name[:-2]}\(.*?^}}\n",
                          read(root, path), re.S | re.M)
        return found.group(0) if found else None
    found = re.search(rf"^[^\n]*\[{name}\][^\n]*\n(.*?)^[^\n]*\[/{name}\]", read(root, path),
                      re.S | re.M)
    return textwrap.dedent(found.group(1)) if found else None


def check(root):
    findings = []
    for path in files(root, ".md"):
        for m in PLACE.finditer(read(root, path)):
            wanted = section(root, m.group(2), m.group(3))
            if wanted is None:
                findings.append(f"{path}: {m.group(2)} has no section [{m.group(3)}]")
            elif wanted != m.group(4):
                findings.append(f"{path}: the text of [{m.group(3)}] is not {m.group(2)}'s; "
                                "tests/lint/snippets.py --write ROOT puts it there")
    return findings


def write(root):
    for path in files(root, ".md"):
        old = read(root, path)
        new = PLACE.sub(lambda m: m.group(1) + (section(root, m.group(2), m.group(3)) or m.group(4))
                        + m.group(5), old)
        if new != old:
            with open(os.path.join(root, path), "w", encoding="utf-8") as f:
                f.write(new)


def self_test():
    code = "/* [use] */\n  int x;\n\n  x = 1;\n/* [/use] */\n"
    page = "<!-- snippet: examples/a.c {} -->\n```c\n{}```\n"
    there = {"examples/a.c": code}
    expect(check, "README.md", page.format("use", "int x;\n\nx = 1;\n"), 0, there)
    expect(check, "README.md", page.format("use", "int x;\n\nx = 2;\n"), 1, there)
    expect(check, "README.md", page.format("gone", "int x;\n"), 1, there)
    two = "/* A. */\nvoid\nf(void)\n{\n  g();\n}\n\n/* B,\n * b. */\nint\ng(int x)\n{\n}\n"
    there = dict(there, **{"examples/b.c": two})
    page_of = "<!-- snippet: examples/b.c {} -->\n```c\n{}```\n"
    expect(check, "README.md", page_of.format("f()", two[:two.index("/* B")].strip() + "\n"), 0, there)
    expect(check, "README.md", page_of.format("g()", two[two.index("/* B"):]), 0, there)
    expect(check, "README.md", page_of.format("g()", "int\ng(int y)\n{\n}\n"), 1, there)
    expect(check, "README.md", page_of.format("h()", ""), 1, there)
    expect(check, "README.md", page.format("use", "int x;\n"), 1)
    expect(check, "README.md", page.format("all", code), 0, there)
    expect(check, "README.md", page.format("all", "int x;\n"), 1, there)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write(sys.argv[2])
    else:
        main(check, self_test, __doc__)
