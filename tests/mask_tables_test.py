"""scripts/mask-tables: can its check fail?"""
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SCRIPT = os.path.join(ROOT, "scripts", "mask-tables")


def check(page):
    """Of the first row of specs/, with the page in a file."""
    with tempfile.NamedTemporaryFile("w", suffix=".md", encoding="utf-8") as f:
        f.write(page)
        f.flush()
        return subprocess.run([sys.executable, "-B", SCRIPT, "--check", "0/1000"],
                              env={**os.environ, "MASKS_PAGE": f.name}, capture_output=True,
                              text=True)


with open(os.path.join(ROOT, "docs", "masks.md"), encoding="utf-8") as f:
    right = f.read()
wrong = re.sub(r"^(\| `\w+` \|.*?)100", r"\g<1>99.9", right, count=1, flags=re.M)
assert wrong != right
good, bad = check(right), check(wrong)
assert good.returncode == 0, good.stdout + good.stderr
assert bad.returncode == 1 and "missing: | `" in bad.stdout, bad.stdout + bad.stderr
