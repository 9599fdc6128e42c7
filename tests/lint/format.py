"""Format: every C file is as clang-format 14 with the tree's .clang-format writes it."""
import os
import shutil
import subprocess
import sys
import tempfile

from source import expect, files, main

SKIPPED = 77  # ctest's SKIP_RETURN_CODE


def formatter():
    """clang-format 14, whose output differs from other versions', or None."""
    for name in ("clang-format-14", "clang-format"):
        path = shutil.which(name)
        if path and " 14." in subprocess.run([path, "--version"], capture_output=True,
                                             text=True, check=False).stdout:
            return path
    return None


def check(root):
    paths = files(root, ".c", ".h")
    run = subprocess.run([formatter(), "--style=file", "--dry-run", *paths], cwd=root,
                         capture_output=True, text=True, check=False)
    if run.returncode:
        return [run.stderr.strip()]
    return sorted({line.split(":")[0] + ": not as clang-format writes it"
                   for line in run.stderr.splitlines() if "-Wclang-format" in line})


def self_test():
    style = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.clang-format")
    with tempfile.TemporaryDirectory() as root:
        shutil.copy(style, root)
        for text, n in (("int x;\n", 0), ("int  x;\n", 1)):
            with open(os.path.join(root, "a.c"), "w", encoding="utf-8") as f:
                f.write(text)
            assert len(check(root)) == n, text
    expect(check, "docs/a.md", "int  x;\n", 0)


if __name__ == "__main__":
    if not formatter():
        print("clang-format 14 is not installed: scripts/deps brings it")
        sys.exit(SKIPPED)
    main(check, self_test, __doc__)
