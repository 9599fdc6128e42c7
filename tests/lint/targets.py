"""What a target can do stands in its row of compiler/target.def, and nowhere else: compiler and
templates compare neither a compute capability nor a target's name."""
import re

from source import expect, files, in_folder, line_of, main, read

FOLDERS = ["compiler", "templates"]
OWNERS = ("compiler/target.c", "compiler/target.h", "compiler/target.def")
PATTERNS = [
    ("compares a capability", re.compile(r"(->|\.)cc\s*(==|!=|<=?|>=?)|(==|!=|<=?|>=?)\s*\w+(->|\.)cc\b")),
    ("names a target", re.compile(r'"sm_\d+\w*"')),
]
COMMENT = re.compile(r"/\*.*?\*/", re.S)


def check(root):
    findings = []
    for path in in_folder(files(root, ".c", ".h"), *FOLDERS):
        if path in OWNERS:
            continue
        code = COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), read(root, path))
        for what, pattern in PATTERNS:
            findings += [f"{path}:{line_of(code, m.start())}: {what}: {m.group(0)}"
                         for m in pattern.finditer(code)]
    return findings


def self_test():
    expect(check, "compiler/a.c", 'f(t->cc); s = "sm_"; /* "sm_80" */ x = t->product == WGMMA;\n', 0)
    expect(check, "compiler/target.c", "return t->cc == cc;\n", 0)
    expect(check, "runtime/a.c", "return t->cc == cc;\n", 0)
    expect(check, "templates/a.c", "if (c->target->cc >= 90)\n", 1)
    expect(check, "compiler/a.c", "if (90 <= t->cc)\n", 1)
    expect(check, "compiler/a.h", 'str_eq(name, "sm_90a")\n', 1)


if __name__ == "__main__":
    main(check, self_test, __doc__)
