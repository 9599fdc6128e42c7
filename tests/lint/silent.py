"""The libraries neither print nor end the process, and read the environment through
base/env.h alone."""
import re

from source import PRODUCT, code_only, expect, files, in_folder, line_of, main, read

FOLDERS = [f for f in PRODUCT if f not in ("sass", "emit", "cli")]
PATTERNS = [
    ("ends the process", re.compile(r"\b(exit|_exit|_Exit|quick_exit|abort|assert)\s*\(")),
    ("prints", re.compile(r"\b(v?printf|puts|putchar|perror)\s*\(|\b(stdout|stderr)\b")),
    ("reads the environment", re.compile(r"\b(secure_)?getenv\s*\(")),
]
# What the table of base/env.h cannot hold: names that are not ours.
ENVIRONMENT = {"base/env.c": r".*", "runtime/settings.c": r'getenv\(xdg\).*getenv\("HOME"\)',
               "runtime/cc_failed.c": r'getenv\("TMPDIR"\)'}


# What kernels print and what is found goes there where ATTNC_EMU asks for it: printf=stdout,
# findings=stderr.
ASKED_FOR = {"emulator/exec/print.c": r"\bstdout\b", "emulator/check/findings.c": r"\bstderr\b",
             "runtime/cc_worker.c": r'fputs\("(\\n)?LLVM ERROR: .*, stderr\)'}
# How a process attnc-cc dies where ATTNC_CC_FAULT asks for it.
ENDS = {"runtime/cc_worker.c": r"\A +(abort\(\)|_exit\(3\));\Z"}
PERMITTED = {"reads the environment": ENVIRONMENT, "prints": ASKED_FOR, "ends the process": ENDS}


def permitted(path, what, line):
    return re.search(PERMITTED.get(what, {}).get(path, r"\Z."), line)


def check(root):
    findings = []
    for path in in_folder(files(root, ".c", ".h", ".def"), *FOLDERS):
        text = read(root, path)
        code = code_only(text)
        lines = text.splitlines()
        for what, pattern in PATTERNS:
            for m in pattern.finditer(code):
                number = line_of(code, m.start())
                if not permitted(path, what, lines[number - 1]):
                    findings.append(f"{path}:{number}: {what}: {m.group(0)}")
    return findings


def self_test():
    expect(check, "base/a.c", "snprintf(b, n, f);\n__attribute__((format(printf, 1, 2)))\n", 0)
    expect(check, "base/a.c", '/* exit(1) */ put("abort(1)");\nvfprintf(f, m, v);\n', 0)
    expect(check, "base/a.c", "exit(1);\n", 1)
    expect(check, "runtime/a.c", "abort ();\nassert(x);\n", 2)
    expect(check, "emulator/a.c", "fprintf(stderr, m);\n", 1)
    expect(check, "compiler/a.h", "printf(m);\nputs(m);\n", 2)
    expect(check, "runtime/a.c", 'getenv("HOME");\n', 1)
    expect(check, "base/env.c", "getenv(name);\n", 0)
    expect(check, "runtime/cc_worker.c", "  abort();\n  fputs(m, stderr);\n", 1)
    expect(check, "emulator/exec/print.c", "fflush(stdout);\nperror(m);\n", 1)
    expect(check, "cli/a.c", "printf(m);\nexit(1);\n", 0)


if __name__ == "__main__":
    main(check, self_test, __doc__)
