"""The reference of the package, docs/api/, is what scripts/api-reference makes of the sources."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import common

PARTS = (("scripts", "api-reference"), ("python", "attnc"), ("docs", "api"))


def check(tree):
    return subprocess.run([sys.executable, "-B", os.path.join(tree, "scripts", "api-reference"), "--check"],
                          capture_output=True, text=True, check=False)


class Reference(common.Case):
    def test_up_to_date(self):
        r = check(common.SOURCE)
        self.assertEqual(r.returncode, 0, r.stderr)

    def test_it_can_fail(self):
        """Of a docstring that changed, one that is gone, and a page of nothing."""
        with tempfile.TemporaryDirectory() as tree:
            for folder, name in PARTS:
                os.makedirs(os.path.join(tree, folder), exist_ok=True)
                copy = shutil.copytree if os.path.isdir(os.path.join(common.SOURCE, folder, name)) else shutil.copy
                copy(os.path.join(common.SOURCE, folder, name), os.path.join(tree, folder, name))
            path = os.path.join(tree, "python", "attnc", "verify.py")
            with open(path, encoding="utf-8") as f:
                text = f.read()
            with open(path, "w", encoding="utf-8") as f:
                f.write(text.replace('"""Compares o', '"""Judges o'))
            path = os.path.join(tree, "python", "attnc", "tune.py")
            with open(path, "a", encoding="utf-8") as f:
                f.write("\n\ndef tune(spec):\n    return spec\n")
            with open(os.path.join(tree, "docs", "api", "old.md"), "w", encoding="utf-8") as f:
                f.write("# Old\n")
            r = check(tree)
        self.assertEqual(r.returncode, 1)
        for said in ("core.md is not", "tuning.md is not", "old.md is not", "tune has no docstring"):
            self.assertIn(said, r.stderr)
        self.assertEqual(len(r.stderr.splitlines()), 4, r.stderr)


if __name__ == "__main__":
    unittest.main()
