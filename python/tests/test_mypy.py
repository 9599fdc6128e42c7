"""mypy --strict over the package, with pyproject.toml's settings."""
import os
import subprocess
import sys
import tempfile
import unittest

import common

common.need("mypy")
common.need("torch")
CODE = """
import attnc
from attnc import flash_attn_func
plan = attnc.Context("emu").plan({"attnc": 1}, "b1 h1 s1")
count: int = plan.zeroed_bytes
count = plan.info
flash_attn_func(1, 2, 3, casual=True)
"""


class Types(common.Case):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="attnc-mypy-")
        cls.addClassCleanup(cls.folder.cleanup)

    def run_on(self, *arguments, **more):
        return subprocess.run([sys.executable, "-m", "mypy", "--cache-dir", self.folder.name, *arguments],
                              cwd=common.SOURCE, capture_output=True, text=True, check=False, **more)

    def test_clean(self):
        r = self.run_on("--strict")
        print(r.stdout.strip(), file=sys.stderr)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)

    def test_a_program_is_checked(self):
        """What mypy says to a program of a user's, by the package's own annotations."""
        path = os.path.join(self.folder.name, "program.py")
        with open(path, "w") as f:
            f.write(CODE)
        r = self.run_on("--strict", path)
        said = [line.partition("error: ")[2] for line in r.stdout.splitlines() if "program.py" in line]
        self.assertEqual(len([s for s in said if s]), 2, r.stdout + r.stderr)
        self.assertIn("Incompatible types in assignment", r.stdout)
        self.assertIn("casual", r.stdout)


if __name__ == "__main__":
    unittest.main()
