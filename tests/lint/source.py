"""What the lints share: the files of the tree, and C text without comments and strings."""
import os
import re
import sys

# The folders of the product: what ships.
PRODUCT = ["include", "abi", "base", "schedule", "compiler", "templates", "reference", "harness",
           "runtime", "emulator", "sass", "emit", "cli"]
SKIP = {".git", "build", "out", "__pycache__"}


def files(root, *suffixes):
    """Paths below root, relative, sorted; all of them, or those that end in a suffix."""
    found = []
    for folder, names, leaves in os.walk(root):
        names[:] = sorted(n for n in names if n not in SKIP)
        for leaf in leaves:
            if leaf not in SKIP and (not suffixes or leaf.endswith(suffixes)):
                found.append(os.path.relpath(os.path.join(folder, leaf), root))
    return sorted(found)


def in_folder(paths, *folders):
    return [p for p in paths if p.split(os.sep)[0] in folders]


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as f:
        return f.read()


TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_only(text, keep_strings=False):
    """The text with comments, and strings unless kept, blanked; lines stay where they are."""

    def blank(match):
        token = match.group(0)
        if token[0] in "\"'" and keep_strings:
            return token
        return re.sub(r"[^\n]", " ", token)

    return TOKEN.sub(blank, text)


def line_of(text, at):
    return text.count("\n", 0, at) + 1


FUNCTION = re.compile(r"^(\w+)\(([^;{}]*)\)\s*\n\{\n(.*?)^\}", re.M | re.S)


def functions(code):
    """(name, first line, lines, body, where the body starts) of each function definition:
    the house style puts its name and its braces at column 0."""
    for m in FUNCTION.finditer(code):
        first = line_of(code, m.start())
        yield m.group(1), first, line_of(code, m.end()) - first + 1, m.group(3), m.start(3)


def main(check, self_test, doc, summary=()):
    """`NAME.py ROOT` prints findings and fails if there are any; `--self-test` shows that
    planted faults are found.  `summary`: lines that check() leaves to be printed."""
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        print("found every planted fault")
        return
    if len(sys.argv) != 2:
        sys.exit(f"{doc}\nusage: {sys.argv[0]} ROOT | --self-test")
    findings = check(sys.argv[1])
    for line in [*summary, *findings]:
        print(line)
    if findings:
        sys.exit(f"{len(findings)} finding(s)")


class Tree(dict):
    """A tree in a dictionary, for the self-tests: {path: text} written to a new folder."""

    def findings(self, check):
        import tempfile

        with tempfile.TemporaryDirectory() as root:
            for path, text in self.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as f:
                    f.write(text)
            return check(root)


def expect(check, path, text, wanted, also=None):
    """`text` at `path` has `wanted` findings, each of which names the path."""
    tree = Tree(also or {})
    tree[path] = text
    got = [f for f in tree.findings(check) if f.startswith(path)]
    if len(got) != wanted:
        sys.exit(f"self-test: {wanted} finding(s) wanted in {path}, got {got}\n{text}")
