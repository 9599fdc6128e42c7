"""docs/emulator.md names every finding: each string of `emulator/` that has the form of one, words
joined by hyphens, stands there in backquotes."""
import re

from source import expect, files, in_folder, main, read

PAGE = "docs/emulator.md"
NAME = re.compile(r'"([a-z]+(?:-[a-z]+)+)"')


def check(root):
    page = read(root, PAGE)
    findings = []
    for path in in_folder(files(root, ".c", ".h"), "emulator"):
        for name in sorted(set(NAME.findall(read(root, path)))):
            if f"`{name}`" not in page:
                findings.append(f"{path}: {PAGE} does not name `{name}`")
    return findings


def self_test():
    there = {PAGE: "`lane-overlap`, `wgmma-scale` and `old-one`\n"}
    expect(check, "emulator/a.c", 'f(x, "lane-overlap", "a b-c", "-x"); g("wgmma-scale");\n', 0, there)
    expect(check, "emulator/a.c", 'f(x, "lane-overlay");\n', 1, there)
    expect(check, "cli/a.c", 'f(x, "lane-overlay");\n', 0, there)


if __name__ == "__main__":
    main(check, self_test, __doc__)
