"""What a target can do stands in its row of compiler/target.def, and where it runs in base/rules.h:
no other place of the product compares a compute capability or a target's name.  (The emulator's
chips have a table of their own, emulator/driver/settings.c, and what is asked of them is theirs.)"""
import re

from source import code_only, expect, files, line_of, main, read

FOLDERS = ("abi/", "base/", "cli/", "compiler/", "emit/", "python/attnc/", "reference/", "runtime/",
           "schedule/", "templates/")
OWNERS = {
    "base/rules.h": "where a kernel runs, and since when devices have tensor maps and clusters",
    "cli/cli.h": "the target where nothing says which",
    "compiler/target.c": "finds rows",
    "compiler/target.def": "the rows",
    "compiler/target.h": "the columns",
}
PATTERNS = [
    ("compares a capability",
     re.compile(r"(->|\.)cc\s*(==|!=|<=?|>=?)|(==|!=|<=?|(?<!-)>=?)\s*\w+(->|\.)cc\b")),
    ("names a target", re.compile(r'"sm_\d+\w*"')),
]
DOCSTRING = re.compile(r'""".*?"""', re.S)


def code_of(root, path):
    """Without comments, and in Python without what stands in them and in docstrings."""
    text = read(root, path)
    if not path.endswith(".py"):
        return code_only(text, keep_strings=True)
    text = DOCSTRING.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)
    return re.sub(r"#[^\n]*", "", text)


def check(root):
    findings = []
    for path in files(root, ".c", ".h", ".py"):
        if not path.startswith(FOLDERS) or path in OWNERS:
            continue
        code = code_of(root, path)
        for what, pattern in PATTERNS:
            findings += [f"{path}:{line_of(code, m.start())}: {what}: {m.group(0)}"
                         for m in pattern.finditer(code)]
    return findings


def self_test():
    expect(check, "compiler/a.c", 'f(t->cc); s = "sm_"; /* "sm_80" */ x = t->product == WGMMA;\n', 0)
    expect(check, "compiler/target.c", "return t->cc == cc;\n", 0)
    expect(check, "runtime/a.c", "f(d->device->cc, d->chip.cc);\n", 0)
    expect(check, "runtime/a.c", "return t->cc == cc;\n", 1)
    expect(check, "emulator/driver/a.c", "return chip->cc >= 90;\n", 0)
    expect(check, "templates/a.c", "if (c->target->cc >= 90)\n", 1)
    expect(check, "compiler/a.c", "if (90 <= t->cc || 80 > t->cc)\n", 2)
    expect(check, "compiler/a.h", 'str_eq(name, "sm_90a")\n', 1)
    expect(check, "emit/a.c", 'put("  if (targets[i].cc != cc)\\n");\n', 1)
    expect(check, "python/attnc/a.py", 'def f():\n    """Of "sm_80"."""\n    # "sm_80"\n', 0)
    expect(check, "python/attnc/a.py", 'if target == "sm_80":\n    pass\n', 1)
    expect(check, "python/tests/a.py", 'f("sm_80")\n', 0)


if __name__ == "__main__":
    main(check, self_test, __doc__)
