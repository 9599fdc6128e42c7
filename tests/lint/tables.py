"""Tables of the documentation are those of the code: each row of an X-macro, in order, as a
row of the page's table, and no row besides."""
import re

from source import expect, main, read


# header, macro, page, the page's table as the header row, the row of one X(…)
TABLES = [
    ("base/env.h", "ENV_TABLE", "docs/environment.md", "| variable | default |",
     lambda x: [f"`{x[1]}`", f"`{x[2]}`" if x[2] else "", x[3]]),
    ("runtime/key.h", "KEY_TABLE", "docs/cache.md", "| field |",
     lambda x: [f"`{x[0]}`", x[1]]),
    ("emulator/check/shadow.h", "SHADOW_KINDS", "docs/emulator.md", "| finding |",
     lambda x: [f"`{x[1]}`", x[2]]),
    ("emulator/check/unproven.h", "UNPROVEN_TABLE", "docs/emulator-unproven.md", "| forms |",
     lambda x: [f"`{x[0]}`", x[1], x[2]]),
]
ARGUMENT = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[^,"()]+)\s*(,|\Z)')


def macro_rows(text, macro):
    """The arguments of each X(…) of `#define MACRO(X)`, strings without their quotes."""
    found = re.search(rf"#define {macro}\(X\)((?:.*\\\n)*.*)", text)
    body = found.group(1).replace("\\\n", "\n") if found else ""
    return [[m.group(1).strip().strip('"') for m in ARGUMENT.finditer(row)]
            for row in re.findall(r"^\s*X\((.*?)\)\s*$", body, re.M | re.S)]


def page_rows(text, head):
    """The cells of each row of the table whose first row begins with `head`."""
    rows = []
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(head):
            next(lines)
            for row in lines:
                if not row.startswith("|"):
                    return rows
                rows.append([cell.strip() for cell in row.strip("|").split("|")])
    return rows


def check(root):
    findings = []
    for header, macro, page, head, row in TABLES:
        code = [row(x) for x in macro_rows(read(root, header), macro)]
        text = page_rows(read(root, page), head)
        if not code:
            findings.append(f"{page}: {header} has no {macro}")
        for wanted in (r for r in code if r not in text):
            findings.append(f"{page}: is missing | {' | '.join(wanted)} |")
        for extra in (r for r in text if r not in code):
            findings.append(f"{page}: {macro} has no | {' | '.join(extra)} |")
        if sorted(code) == sorted(text) and code != text:
            findings.append(f"{page}: the rows of {macro} are in another order")
    return findings


def self_test():
    env = ('#define ENV_TABLE(X)  \\\n  X(A, "ATTNC_A", "", "first, of (two)")  \\\n'
           '  X(B, "ATTNC_B", "rw", "second")\n\nint x;\n')
    key = '#define KEY_TABLE(X)  \\\n  X(schema, "format")\n'
    head = "| variable | default | what |\n|---|---|---|\n"
    first, second = "| `ATTNC_A` |  | first, of (two) |\n", "| `ATTNC_B` | `rw` | second |\n"

    def page(rows, wanted):
        tree = {"base/env.h": env, "runtime/key.h": key,
                "docs/cache.md": "| field | what |\n|---|---|\n| `schema` | format |\n",
                "emulator/check/shadow.h": '#define SHADOW_KINDS(X) \\\n  X(R, "race", "r")\n',
                "docs/emulator.md": "| finding | |\n|---|---|\n| `race` | r |\n",
                "emulator/check/unproven.h": '#define UNPROVEN_TABLE(X) \\\n  X("mma", "model", "m")\n',
                "docs/emulator-unproven.md":
                    "| forms | | |\n|---|---|---|\n| `mma` | model | m |\n"}
        expect(check, "docs/environment.md", head + rows + "\nText.\n", wanted, tree)

    page(first + second, 0)
    page(first, 1)
    page(second + first, 1)
    page(first + second + "| `ATTNC_C` |  | third |\n", 1)
    page(first + second.replace("rw", "ro"), 2)


if __name__ == "__main__":
    main(check, self_test, __doc__)
