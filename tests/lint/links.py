"""Links of the documentation: every relative link of a Markdown page, and every file that it
names in backquotes with a folder of ours, is there; docs/README.md links every page."""
import os
import re

from source import PRODUCT, expect, files, main, read

FOLDERS = (*PRODUCT, "specs", "schema", "tests", "bench", "examples", "docs", "scripts")
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")
NAMED = re.compile(r"`((?:%s)/[\w./-]*\w)`" % "|".join(FOLDERS))


def check(root):
    findings = []
    for path in files(root, ".md"):
        folder = os.path.dirname(path)
        for number, line in enumerate(read(root, path).splitlines(), 1):
            links = [(m.group(1), os.path.join(folder, m.group(1)))
                     for m in LINK.finditer(line) if "://" not in m.group(1)]
            links += [(m.group(1), m.group(1)) for m in NAMED.finditer(line)]
            for text, target in links:
                if not os.path.exists(os.path.join(root, target)):
                    findings.append(f"{path}:{number}: {text} is not there")
    index = os.path.join(root, "docs", "README.md")
    text = read(root, "docs/README.md") if os.path.exists(index) else ""
    for path in files(root, ".md"):
        name = os.path.basename(path)
        if os.path.dirname(path) == "docs" and name != "README.md" and f"({name})" not in text:
            findings.append(f"{path}: docs/README.md does not link it")
    return findings


def self_test():
    there = {"base/env.h": "", "docs/b.md": "", "docs/README.md": "[a](a.md) [b](b.md)\n"}
    expect(check, "docs/a.md", "[b](b.md) [x](b.md#part) [w](https://example.org/)\n", 0, there)
    expect(check, "docs/a.md", "[b](c.md)\n", 1, there)
    expect(check, "docs/a.md", "see `base/env.h`, not `base/end.h`\n", 1, there)
    expect(check, "README.md", "[b](docs/b.md) `docs/`\n", 0, there)
    expect(check, "docs/c.md", "", 1, there)


if __name__ == "__main__":
    main(check, self_test, __doc__)
