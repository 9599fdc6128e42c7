"""All phases of `first`, with tiny sizes: on the emulator as itself, and with the emulator in
libcuda's place, where a Python without torch says what is left out, and why."""
import os
import subprocess
import sys
import unittest

import common

import correctness
import phases
from kit import results

FIRST = os.path.join(common.GPU, "first")


def ran(place, *words, python=(sys.executable,), env=None):
    where, file = common.where(), os.path.join(place, "r", "first.json")
    said = subprocess.run([*python, FIRST, "--tiny", "--attnc",
                           os.path.dirname(os.path.dirname(where.library)), "--out", file, *words],
                          env={**os.environ, **(env or {})}, capture_output=True, text=True)
    return said, results.load(file)


class Dry(common.Case):
    def well(self, said, data):
        self.assertEqual(said.returncode, 0, said.stdout + said.stderr)
        self.assertTrue(data["complete"])
        self.assertEqual([c for c in data["checks"] if not c["pass"]], [])
        self.assertEqual([p["name"] for p in data["phases"]], [p.name for p in phases.FIRST])
        self.assertIn("no result was wrong", said.stdout)
        for p in data["phases"]:
            self.assertLess(p["seconds"], phases.named(p["name"]).seconds, p["name"])

    def test_on_the_emulator(self):
        said, data = ran(self.folder(), "--device", "emu")
        self.well(said, data)
        self.assertEqual({p["status"] for p in data["phases"]}, {"ok"})
        checks = [c for c in data["checks"] if c["phase"] == "calibrate"]
        self.assertGreater(len(checks), 100)

    def test_in_the_place_of_libcuda_without_torch(self):
        place = self.folder()
        os.symlink(common.where().emulator, os.path.join(place, "libcuda.so.1"))
        said, data = ran(place, python=(sys.executable, "-S"),
                         env={"LD_LIBRARY_PATH": place, "ATTNC_EMU": "arch=sm_90"})
        self.well(said, data)
        skipped = {p["name"]: p["why"] for p in data["phases"] if p["status"] == "skipped"}
        self.assertEqual(skipped.keys(), {"forward", "fields"})
        for name, why in skipped.items():
            self.assertIn("torch is not installed", why)
            self.assertRegex(said.stdout, rf"\| {name} \| skipped \|.*torch is not installed")
        self.assertIn("golden-sm_90-emulator.zip", os.listdir(os.path.join(place, "r")))
        for words in ("| interval HMMA |", "| 256 | RS | MUFU |", "| MUFU | compiler/target.def, sm_90 |"):
            self.assertIn(words, said.stdout)

    def test_the_matrix_compiles_where_it_was_not_built(self):
        """As beside a portable folder: from the sources that the phase names."""
        class Suite:
            where, folder = common.built(), self.folder()
            results = results.Results("gpu", os.path.join(folder, "r.json"), {}, {})
        program = correctness.build(Suite)
        self.assertTrue(program and os.path.exists(program), Suite.results.data["notes"])


if __name__ == "__main__":
    unittest.main()
