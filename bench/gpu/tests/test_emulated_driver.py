"""The suite as on a GPU, with the emulator in libcuda's place: the same branches, the same
programs, the same file; what needs torch is skipped with that reason."""
import os
import subprocess
import sys
import tempfile
import unittest

import common

import phases
from kit import results

# The dry run of `first` has these, which take longest here.
PHASES = [n for n in phases.NAMES if n not in ("calibrate", "variants")]


class Clothes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory(prefix="attnc-gpu-emulated-driver-")
        cls.addClassCleanup(cls.place.cleanup)
        where, at = common.where(), cls.place.name
        os.symlink(where.emulator, os.path.join(at, "libcuda.so.1"))
        cls.file = os.path.join(at, "result.json")
        # A Python without site packages has no torch, whatever is installed here.
        env = {**os.environ, "LD_LIBRARY_PATH": at, "ATTNC_EMU": "arch=sm_90"}
        cls.said = subprocess.run(
            [sys.executable, "-S", os.path.join(common.GPU, "run"), "--attnc",
             os.path.dirname(os.path.dirname(where.library)), "--quick", "--tiny", "--out",
             cls.file, "--phases", ",".join(PHASES)], env=env, capture_output=True, text=True)
        cls.data = results.load(cls.file)

    def test_it_ends_well(self):
        self.assertEqual(self.said.returncode, 0, self.said.stdout + self.said.stderr)
        self.assertTrue(self.data["complete"])
        self.assertEqual({p["name"]: p["status"] for p in self.data["phases"]},
                         {"correctness": "ok", "golden": "ok", "memory": "ok",
                          "forward": "skipped", "latency": "skipped", "rank": "ok",
                          "fields": "skipped"})

    def test_cases_of_the_matrix_passed(self):
        passed = [c for c in self.data["checks"] if c["phase"] == "correctness"]
        self.assertGreaterEqual(len(passed), 4)
        newer = [s for s in self.data["skipped"] if s["phase"] == "correctness"]
        self.assertTrue(all("sm_120" in s["case"]["notation"] for s in newer), newer)

    def test_a_recording_lies_beside_the_result(self):
        files = os.listdir(self.place.name)
        self.assertIn("golden-sm_90-emulator.zip", files)

    def test_what_needs_torch_says_so(self):
        whys = [p.get("why", "") for p in self.data["phases"] if p["status"] == "skipped"]
        self.assertTrue(all("torch is not installed" in w for w in whys), whys)


if __name__ == "__main__":
    unittest.main()
