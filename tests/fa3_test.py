"""bench/fa3 without nvcc: the recorded result is of the cases that the program has, all of them
right, and what it makes of runs that are not."""
import importlib.machinery
import importlib.util
import json
import os
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDER = os.path.join(ROOT, "bench", "fa3")
sys.path.insert(0, FOLDER)


def load(name):
    loader = importlib.machinery.SourceFileLoader(name, os.path.join(FOLDER, name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


fa3 = importlib.import_module("fa3")
emulate, count = load("emulate"), load("count")
RIGHT = {"findings": "", "error": 0.5, "lse_error": 0.1, "bits": "a"}


class Recorded(unittest.TestCase):
    def setUp(self):
        with open(emulate.RESULT, encoding="utf-8") as f:
            self.cases = json.load(f)["cases"]

    def test_cases(self):
        due = [(name, fa3.template(**kernel), len(problems))
               for name, kernel, problems in emulate.CASES]
        self.assertEqual(due, [(c["name"], c["kernel"], len(c["problems"])) for c in self.cases])

    def test_all_are_right(self):
        for case in self.cases:
            self.assertEqual(case["policies"], len(emulate.POLICIES))
            for p in case["problems"]:
                self.assertNotIn("fault", p)
                self.assertTrue(0 < p["error"] <= 1, p)


class Judged(unittest.TestCase):
    def judge(self, element=emulate.BF16, **changes):
        return emulate.judged({"element": element}, {"one": RIGHT, "two": {**RIGHT, **changes}})

    def test_right(self):
        self.assertEqual(self.judge(), {"error": 0.5, "lse_error": 0.1})

    def test_wrong(self):
        nan = float("nan")
        for changes in ({"findings": "race"}, {"error": 1.1}, {"error": nan}, {"lse_error": nan},
                        {"lse_error": 2}, {"fault": "none"}):
            self.assertEqual(self.judge(**changes)["settings"], "two", changes)
        self.assertEqual(self.judge(bits="b"), {"fault": "the bits depend on the order"})

    def test_sums_of_8_bits(self):
        self.assertNotIn("fault", self.judge(emulate.FP8, lse_error=9))
        self.assertIn("fault", self.judge(emulate.FP8, lse_error=11))


class Kernels(unittest.TestCase):
    def test_arguments(self):
        self.assertEqual(fa3.template(192, emulate.FP8, "causal", dim_v=128, cluster=2),
                         "90, 192, 128, 2, cutlass::float_e4m3_t, cutlass::bfloat16_t, "
                         "true" + ", false" * 9)
        self.assertEqual(count.label(count.CASES[0]), "d64 causal")


if __name__ == "__main__":
    unittest.main()
