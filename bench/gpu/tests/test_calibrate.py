"""The microbenchmarks: what ptxas makes of each has the instructions that are counted; each runs on
the emulator without a finding and gives the sum that it must; one that is broken is found out."""
import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import common

import calibrate
import constants
from kit import calibrate_report, results

sys.path.append(os.path.join(common.ROOT, "tests", "conformance"))
where = common.built()
from micro import copies, launch, products, rows as table, text, units  # noqa: E402

PTXAS = shutil.which("ptxas") or shutil.which("ptxas", path="/usr/local/cuda/bin")
WGMMA_ON_EMULATOR = 64  # columns of the products that this test runs; a dry run has the others


def kernels():
    """Each kernel once."""
    return {k.name: k for k in (row.kernel() for row in table.rows())}


class Assembled(common.Case):
    @classmethod
    def setUpClass(cls):
        if not PTXAS:
            raise unittest.SkipTest("no ptxas here")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            made = list(kernels().values())
            cls.said = dict(zip((k.name for k in made), pool.map(cls.sass, made)))

    @staticmethod
    def sass(kernel):
        """What `attnc explain` says of it, for sm_90a."""
        with tempfile.TemporaryDirectory(prefix="attnc-micro-") as place:
            file = os.path.join(place, "k.ptx")
            with open(file, "w", encoding="utf-8") as f:
                f.write(kernel.ptx)
            said = subprocess.run([where.cli, "explain", file, "--arch", "sm_90a", "--sass-stats",
                                   "--json"], capture_output=True, text=True,
                                  env={**os.environ, "ATTNC_PTXAS": PTXAS})
        if said.returncode:
            raise AssertionError(f"{kernel.name}: {said.stdout}{said.stderr}")
        return json.loads(said.stdout)["sass"]

    def test_nothing_spoils_them(self):
        for name, sass in self.said.items():
            self.assertEqual((sass["spill_stores"], sass["spill_loads"], sass["remarks"]),
                             (0, 0, []), name)

    def loops(self, name):
        return self.said[name]["kernels"][0]["loops"]

    def test_a_loop_has_what_is_counted(self):
        """So often and no more, and little else: a loop that was unrolled, an instruction that was
        left out or moved would be seen."""
        for name, kernel in kernels().items():
            self.assertTrue(kernel.counts, name)
            for sass, count in kernel.counts.items():
                found = [loop for loop in self.loops(name) if loop["ops"].get(sass) == count]
                self.assertTrue(found, f"{name}: {count} {sass}")
                if count >= 32:
                    self.assertLess(min(loop["instructions"] for loop in found),
                                    self.most(name, sass, count), name)

    @staticmethod
    def most(name, sass, count):
        """Between dependent or wide products there are NOPs; LDSM's words are added up."""
        between = {"HMMA": 1, "HGMMA.SS": 1, "HGMMA.RS": 1, "LDSM": 2}.get(sass, 0)
        return (1 + between) * count + 20

    def test_products_wait_for_nothing_in_their_loop(self):
        for name in (n for n in kernels() if n.startswith("hgmma")):
            loop, = (l for l in self.loops(name) if l["main"])
            self.assertEqual((loop["ops"]["WARPGROUP.ARRIVE"], loop["ops"]["WARPGROUP.DEPBAR"]),
                             (1, 1), name)
            self.assertLessEqual(loop["ops"]["R2UR"], 2, name)

    def test_copies_have_no_fence_in_their_loop(self):
        for name in (n for n in kernels() if n.startswith("stream")):
            for loop in self.loops(name):
                self.assertNotIn("MEMBAR", loop["ops"], name)


class Emulated(common.Case):
    @classmethod
    def setUpClass(cls):
        cls.runner = launch.Runner(where.emulator, "arch=sm_90")

    def run_of(self, kernel, n=2, pace=0, ctas=2):
        pace = 16 if kernel.box else pace
        return self.runner.run(kernel, n, launch.Geometry(ctas, pace), 2)

    def test_sums_are_right_and_nothing_is_found(self):
        for name, kernel in kernels().items():
            wide = name.startswith("hgmma") and f"n{WGMMA_ON_EMULATOR}" not in name
            for n in () if wide else (1, 3):
                self.run_of(kernel, n)

    def test_a_warpgroup_that_pauses_or_does_nothing(self):
        for side in products.SIDES:
            kernel = products.hgmma(64, False, side)
            for pace in (products.ALONE, 2000):
                launch_, _ = self.run_of(kernel, 2, pace)
                worked = [r.rounds > 0 for r in launch_[4:8]]
                self.assertEqual(worked, [pace != products.ALONE] * 4)

    def test_other_work_is_found_out(self):
        kernel = units.interval("HMMA")
        for before, after in (("mma.sync", "// mma.sync"), ("setp.ne.u32", "setp.eq.u32")):
            spoiled = kernel._replace(name=f"{before} spoiled",
                                      ptx=kernel.ptx.replace(before, after, 1))
            with self.assertRaisesRegex(launch.Wrong, "the sum is"):
                self.run_of(spoiled)

    def test_a_race_is_found(self):
        kernel = copies.stream(2)
        late = kernel.ptx.replace("fence.mbarrier_init.release.cluster;", "")
        with self.assertRaisesRegex(launch.Wrong, "mbarrier-proxy"):
            self.run_of(kernel._replace(name="no fence", ptx=late))


class Rows(common.Case):
    def test_labels_are_different(self):
        labels = [(r.metric, r.subject, json.dumps(r.case)) for r in table.rows()]
        self.assertEqual(len(labels), len(set(labels)))

    def test_what_was_asked_for_is_there(self):
        made = table.rows()
        intervals = {r.subject for r in made if r.metric == "interval"}
        self.assertLessEqual({"HMMA", "MUFU", "SHFL", "LDSM.x4", "F2FP", "HGMMA"}, intervals)
        latencies = {r.subject for r in made if r.metric == "latency"}
        self.assertLessEqual({"mbarrier", "BAR", "TMA", "relaunch"}, latencies)
        beside = {(r.case["n"], r.case["a"], r.case["beside"]) for r in made
                  if r.subject == "HGMMA" and r.metric == "interval"}
        self.assertLessEqual({(n, a, b) for n in (64, 128, 256) for a in ("SS", "RS")
                              for b in ("", "FFMA", "FMNMX", "MUFU", "F2FP")}, beside)
        self.assertEqual({r.case["cluster"] for r in made if r.metric == "rate"}, {1, 2})

    def test_expected_numbers_have_a_source(self):
        for row in table.rows():
            if row.expected:
                self.assertTrue(row.source, row.label)

    def test_whole_numbers_stay_exact(self):
        """Sums in fp32 are whole numbers below 2^24 for as many trips as a row has."""
        for row in table.rows():
            n = row.clocks / row.trip
            if row.subject == "HGMMA":
                self.assertLess(n * products.PRODUCTS * 16, 1 << 24, row.label)
            if row.subject == "HMMA":
                self.assertLess(n * units.OPS["HMMA"].body * 16, 1 << 24, row.label)

    def test_samples_take_their_time(self):
        """All rows on a chip of 1.7 GHz, in seconds: within the ten that the phase is for."""
        whole = sum(r.clocks * max(1, r.launches) * (2 if r.clocks * r.launches > 1e8 else 6)
                    for r in table.rows()) / 1.7e9
        self.assertLess(whole, 10)

    def test_numbers_from_records(self):
        def record(start, end, rounds=0, sm=0):
            return text.Record(start, end, 10 * start, 10 * end, 0, sm, rounds)
        kernel = units.interval("FFMA")
        row = next(r for r in table.rows() if (r.metric, r.subject) == ("interval", "FFMA"))
        eight = [record(100 + k, 100 + k + 5120) for k in range(8)]
        value = row.value([eight], table.Setting(kernel, 10))
        self.assertAlmostEqual(value, (5120 + 7) / (10 * 256 * 2))
        gaps = table.waits.gaps([record(0, 10), record(5, 20, sm=1), record(40, 50),
                                 record(25, 30, sm=1)], 1)
        self.assertEqual(sorted(gaps), [5, 30])
        pair = [record(0, 1000, 0)] * 4 + [record(0, 1024, 2)] * 4
        context = table.beside([pair], table.Setting(products.hgmma(64, False, "FFMA"), 1))
        self.assertAlmostEqual(context["issued_a_clock"], 0.5)
        self.assertAlmostEqual(table.taxed(64, "FFMA", context), 32 / (1 - 0.2))


class Kept(common.Case):
    """From a row's line to the printed tables."""

    def suite(self, emulated=False):
        class Suite:
            pass
        Suite.emulated = emulated
        Suite.results = results.Results("gpu", os.path.join(self.folder(), "r.json"),
                                        {"name": "X", "compute_capability": "9.0"}, {})
        return Suite

    class Clocks:
        @staticmethod
        def between(start, end):
            return {"power_w": 650.0, "sm_mhz": 1}

    def kept(self):
        suite = self.suite()
        with suite.results.phase("calibrate"):
            for row in table.rows():
                context = {"issued_a_clock": 0.5, "sm_mhz": 1700.0}
                own = {k: context[k] for k in (context if row.subject == "HGMMA" else ())}
                calibrate.keep(suite, row, {"samples": [64.0, 66.0], "contexts": [own, own],
                                            "from": 1, "to": 2}, self.Clocks)
        return suite.results.data

    def test_the_tables(self):
        data = self.kept()
        results.check(data)
        page, _ = calibrate_report.calibrate_block(data)
        self.assertIn("| interval FFMA | 65.0 | clocks | 1.00 | CUDA guide |", page)
        self.assertIn("| 128 | RS | MUFU | 65.0 | 65.0 (0.500) | 65.0 (0.500) |  |  |  | 65.0 (0.500) |", page)
        self.assertIn("| clock HGMMA n 256 a SS for 0.5 s | 65.0 | MHz | – |", page)
        self.assertEqual(page.count("650 W"), 3)
        compared = {(c.what, where.rpartition(" ")[2]): (number, measured)
                    for c, where, number, measured in constants.compared(data)}
        self.assertEqual(len(compared), len(constants.CONSTANTS))
        self.assertEqual(compared["MUFU", "sm_90"], (16, 128 / 65))
        self.assertEqual(compared["FFMA", "sm_90"], (128, 128 / 65))
        self.assertEqual(compared["mma.sync", "sm_90"], (1280, 4 * 2048 / 65))
        self.assertEqual(compared["wgmma", "sm_90a"], (2048, 64 * 256 * 16 / 65))
        self.assertEqual(compared["L2, of a cluster of two", "sm_90a"][1], 65 / 2)
        self.assertIn("| MUFU | compiler/target.def, sm_90 | 16 |", constants.text(data))

    def test_a_constant_that_went_away_is_told(self):
        for gone in (constants.Literal(constants.TARGETS, "no such thing"),
                     constants.Rate("no such column")):
            with self.assertRaisesRegex(ValueError, "must follow"):
                constants.said(gone, "90")
        self.assertIsNone(constants.said(constants.Rate("mufu/clk"), "100"))

    def test_what_is_wrong_or_skipped_is_not_measured(self):
        suite, row = self.suite(), table.rows()[0]
        with suite.results.phase("calibrate"):
            calibrate.keep(suite, row, {"wrong": "the sum is 1"}, self.Clocks)
            calibrate.keep(suite, row, {"skip": "needs sm_90"}, self.Clocks)
        data = suite.results.data
        self.assertEqual(data["measurements"], [])
        self.assertEqual([c["pass"] for c in data["checks"]], [False])
        self.assertEqual(data["skipped"][0]["why"], "needs sm_90")

    def test_a_row_that_ends_its_process_costs_itself(self):
        """Row 0 is measured, row 1 ends the process; the next process begins at row 2."""
        suite, begun = self.suite(emulated=True), []
        suite.late, suite.left = (lambda: False), (lambda: 100)
        count = len(table.rows())

        def work(_, begin):
            begun.append(begin)
            upto = 1 if begin == 0 else count
            lines = [json.dumps({"row": i, "samples": [1], "contexts": [{}], "from": 0, "to": 1})
                     for i in range(begin, upto)]
            return calibrate.process.Said(-14 if begin == 0 else 0, "\n".join(lines), "")
        before, calibrate.work = calibrate.work, work
        self.addCleanup(setattr, calibrate, "work", before)
        with suite.results.phase("calibrate"):
            calibrate.run(suite)
        bad = [c for c in suite.results.data["checks"] if not c["pass"]]
        self.assertEqual(begun, [0, 2])
        self.assertEqual(len(bad), 1)
        self.assertIn("no result within", bad[0]["why"])
        self.assertEqual(len(suite.results.data["checks"]), count)


if __name__ == "__main__":
    unittest.main()
