"""ruff over the package and its tests, with pyproject.toml's rules."""
import os
import subprocess
import sys

import common

common.need("ruff")
HERE = os.path.join(common.SOURCE, "python")


class Style(common.Case):
    def run_on(self, *arguments, **more):
        return subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", *arguments], cwd=HERE,
                              capture_output=True, text=True, check=False, **more)

    def test_clean(self):
        r = self.run_on(".")
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)

    def test_it_can_fail(self):
        r = self.run_on("-", input="import os\n")
        self.assertIn("F401", r.stdout)


if __name__ == "__main__":
    common.main()
