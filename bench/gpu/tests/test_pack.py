"""What `pack` refuses and what it copies; the portable folder itself is packed by scripts/test
--all."""
import importlib.machinery
import importlib.util
import os
import subprocess
import unittest

import common

loader = importlib.machinery.SourceFileLoader("pack", os.path.join(common.GPU, "pack"))
spec = importlib.util.spec_from_loader("pack", loader)
pack = importlib.util.module_from_spec(spec)
loader.exec_module(pack)
pack.print = lambda *_: None
NAMES = ["bench/gpu/first", "bench/gpu/run", "bench/gpu/micro/work.py", "compiler/target.def",
         "templates/cost.h", "tests/conformance/golden/golden",
         "tests/e2e/cases.txt", "tests/e2e/matrix.c", "emulator/ptx/ops.def",
         "python/attnc/__init__.py"]


class Pack(common.Case):
    def made(self):
        """A folder as large as a portable one is not."""
        folder = self.folder()
        with open(os.path.join(folder, "attnc"), "wb") as f:
            f.write(bytes(1000))
        return folder

    def test_the_tree_has_what_first_needs(self):
        if not os.path.exists(os.path.join(common.ROOT, ".git")):
            self.skipTest("this tree has no git")
        self.assertLessEqual(set(NAMES), set(pack.tree()))
        self.assertFalse([n for n in pack.tree() if n.startswith("build/")])

    def test_too_much_is_refused(self):
        folder, most = self.made(), pack.MOST
        pack.sizes(folder, NAMES)
        self.addCleanup(setattr, pack, "MOST", most)
        pack.MOST = 2000
        with self.assertRaisesRegex(pack.Wrong, "at most 2000"):
            pack.sizes(folder, NAMES)

    def test_a_build_that_needs_the_systems_llvm_is_refused(self):
        place = os.path.dirname(common.built().cli)
        with self.assertRaisesRegex(pack.Wrong, "opens .*libLLVM"):
            pack.starts(place)

    def test_what_does_not_start_is_refused(self):
        folder = self.folder()
        with open(os.path.join(folder, "attnc"), "w", encoding="utf-8") as f:
            f.write("#!/bin/sh\necho no >&2\nexit 3\n")
        os.chmod(os.path.join(folder, "attnc"), 0o755)
        with self.assertRaisesRegex(pack.Wrong, "does not compile: no"):
            pack.starts(folder)
        with self.assertRaisesRegex(pack.Wrong, "scripts/build portable makes it"):
            pack.checked(os.path.join(folder, "nowhere"))

    def test_a_copy_runs(self):
        """Not the library, which is none here: `first` finds its phases, and says what is missing."""
        out = os.path.join(self.folder(), "out")
        names = [os.path.relpath(os.path.join(place, n), common.ROOT)
                 for top in ("bench", "tests/conformance", "python")
                 for place, _, files in os.walk(os.path.join(common.ROOT, top))
                 for n in files if not n.endswith(".pyc")]
        pack.copy(self.made(), names, out)
        first = os.path.join(out, "bench", "gpu", "first")
        said = subprocess.run([first, "--list"], capture_output=True, text=True)
        self.assertIn("| correctness |", said.stdout)
        env = {k: v for k, v in os.environ.items() if k != "ATTNC_LIBRARY"}
        said = subprocess.run([first], capture_output=True, text=True, env=env)
        self.assertEqual(said.returncode, 2)
        self.assertIn("build/portable/attnc-portable", said.stderr)
        with self.assertRaisesRegex(pack.Wrong, "not empty"):
            pack.copy(self.made(), names, out)


if __name__ == "__main__":
    unittest.main()
