"""Words that do not belong in the repository: unfinished work, the places where it was made,
hosts of package registries."""
import re

from source import expect, files, main, read

# Written in two pieces so that this file passes its own check.
PATTERNS = [
    ("unfinished work", r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX|HA" + r"CK)\b"),
    ("a path of somebody's machine", r"(?<![\w.])/(wo" + r"rk|ro" + r"ot|ho" + r"me/\w+)/"),
    ("a host of a package registry", r"\b(deb\.deb" + r"ian\.org|security\.deb" +
     r"ian\.org|pypi\.(org|python)|pythonho" + r"sted|npm" + r"js\.(org|com)|crates\." +
     r"io|apt\.llvm\." + r"org|proxy\.gol" + r"ang\.org)"),
]
PATTERNS = [(what, re.compile(pattern)) for what, pattern in PATTERNS]


def check(root):
    findings = []
    for path in files(root):
        text = read(root, path)
        if "\0" in text:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for what, pattern in PATTERNS:
                found = pattern.search(line)
                if found:
                    findings.append(f"{path}:{number}: {what}: {found.group(0)}")
    return findings


def self_test():
    expect(check, "docs/a.md", "all is well, XXXXXX and /tmp/x and homework/\n", 0)
    expect(check, "docs/a.md", "TO" + "DO: later\n", 1)
    expect(check, "base/a.c", "/* X" + "XX */\n/* FIX" + "ME */\n", 2)
    expect(check, "base/a.c", '#include "/wo' + 'rk/x.h"\n', 1)
    expect(check, "scripts/a", "cd /ho" + "me/someone/attnc\n", 1)
    expect(check, "scripts/a", "curl https://py" + "pi.org/simple\n", 1)
    expect(check, "a.bin", "\0 TO" + "DO", 0)


if __name__ == "__main__":
    main(check, self_test, __doc__)
