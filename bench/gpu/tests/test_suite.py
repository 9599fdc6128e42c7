"""The parts of the GPU suite that need no device: cases and their work, the notation of the
matrix, timing, clocks, result files."""
import collections
import io
import json
import os
import stat
import sys
import time
import unittest
import xml.etree.ElementTree

import common

import cases
import correctness
import notation
import peers
import process
import timing
import world
from kit import results
from kit.stats import geomean, summary


def visible(case, i, j):
    """The mask of the specification, pair by pair."""
    left, right = case.get("window", (-1, -1))
    at = i + case["sk"] - case["sq"]
    return not (case["causal"] and j > at or left >= 0 and j < at - left
                or right >= 0 and j > at + right)


class Cases(common.Case):
    def test_pairs_are_those_of_the_mask(self):
        for sq, sk in ((1, 1), (7, 7), (5, 9), (9, 5), (3, 0)):
            for causal in (False, True):
                for window in (None, [0, 0], [2, 0], [3, -1], [-1, 2], [1, 3], [-1, -1]):
                    c = {"sq": sq, "sk": sk, "causal": causal}
                    if window:
                        c["window"] = window
                    wanted = sum(visible(c, i, j) for i in range(sq) for j in range(sk))
                    self.assertEqual(cases.pairs(c), wanted, c)

    def test_flops_are_counted_as_everybody_does(self):
        full = cases.case("bf16", 128, 4096, False, 16)
        self.assertEqual(cases.flops(full), 4 * 4 * 16 * 4096 ** 2 * 128)
        causal = cases.case("bf16", 128, 4096, True, 16)
        self.assertEqual(cases.flops(causal), cases.flops(full) / 2)
        local = cases.case("bf16", 128, 4096, True, 16, window=[0, 0])
        self.assertEqual(cases.flops(local), 4 * 4 * 16 * 4096 * 128)

    def test_grouped_heads_move_fewer_bytes_and_do_the_same_work(self):
        a, b = cases.case("bf16", 128, 1024, True, 16), cases.case("bf16", 128, 1024, True, 16, 4)
        self.assertEqual(cases.flops(a), cases.flops(b))
        self.assertEqual(cases.bytes_moved(b) / cases.bytes_moved(a), (2 * 16 + 2 * 4) / 64)

    def test_the_list_has_what_it_promises(self):
        made = cases.forward()
        plain = {(c["dtype"], c["d"], c["causal"], c["sq"]) for c in made
                 if "window" not in c and c["h"] == c["hk"]}
        self.assertEqual(len(plain), 2 * 3 * 2 * 6)
        self.assertTrue(all(c["b"] * c["sq"] == cases.TOKENS for c in made))
        self.assertTrue(all(c["h"] * c["d"] == cases.WIDTH for c in made))
        self.assertTrue(any("window" in c for c in made))
        self.assertTrue(any(c["h"] != c["hk"] for c in made))
        labels = [cases.label(c) for c in made]
        self.assertEqual(len(labels), len(set(labels)))
        self.assertLess(len(cases.forward(quick=True)), 25)
        self.assertFalse(any("window" in c for c in cases.forward(has=("causal",))))

    def test_the_schema_has_no_field_that_nobody_thought_of(self):
        with open(os.path.join(common.ROOT, "schema", "attention-spec-v1.schema.json"),
                  encoding="utf-8") as f:
            schema = json.load(f)
        known = {*cases.MEASURED, *cases.VARIED, *cases.NOT_MEASURED}
        self.assertEqual(set(schema["properties"]) - known, set(),
                         "bench/gpu/cases.py: a row of VARIANTS for the new field, or say why not")
        self.assertEqual(known - set(schema["properties"]), set())
        has, missing = cases.features(schema)
        self.assertEqual(has, set(cases.MEASURED))
        self.assertFalse(set(cases.WANTED) & known)
        for name, text in cases.WANTED.items():
            self.assertIn(f"{name} ({text})", missing)
        schema["properties"]["new_field"] = {}
        _, later = cases.features(schema)
        self.assertIn("new_field", later)  # known to the spec, and still without a case here

    def test_variants_are_valid_and_differ_from_the_plain_call(self):
        import attnc
        common.where()
        names = [v.name for v in cases.VARIANTS]
        self.assertEqual(len(names), len(set(names)))
        for v in cases.VARIANTS:
            for spec in (v.spec(), v.plain().spec()):
                attnc.load_spec(spec).check("sm_90a")
            for shape in (v.shape, v.small):
                attnc.sizes.sizes(shape)
            self.assertTrue(v.fields or v.base["head_dim"] > 256, v.name)
            self.assertEqual(v.plain().plain(), v.plain())

    def test_specs_are_valid(self):
        import attnc
        common.where()
        for c in cases.forward() + cases.forward(tiny=True) + [cases.latency(), cases.overhead()]:
            spec = attnc.load_spec(cases.spec(c))
            spec.check("sm_90")
            self.assertEqual(attnc.sizes.sizes(cases.shape(c)).sq, c["sq"])
            self.assertEqual([w for w in spec.warnings if w.error], [])


class Notation(common.Case):
    def test_every_case_of_the_matrix_is_read(self):
        import attnc
        common.where()
        texts = list(notation.read(correctness.CASES))
        self.assertGreaterEqual(len(texts), 300)
        for text in texts:
            p = notation.parts(text)
            attnc.Spec.from_text(notation.spec(p["fields"]))
            attnc.sizes.sizes(p["shape"])
            self.assertIn("block_m=", p["schedule"])

    def test_a_sample_has_every_value(self):
        """Of each template: every dtype, mask and head_dim that any case of the device has."""
        trials = list(notation.read(correctness.CASES))
        for capability in ("8.0", "9.0"):
            able = [t for t in trials if correctness.runs_on(t, capability)]
            chosen = correctness.sampled(trials, capability)
            self.assertLessEqual(set(chosen), set(able))
            self.assertLess(len(chosen), len(able))
            count = collections.Counter(v for t in chosen for v in correctness.values(t))
            for value, there in collections.Counter(
                    v for t in able for v in correctness.values(t)).items():
                self.assertGreaterEqual(count[value], min(there, correctness.EACH), value)
        templates = {v[0] for t in able for v in correctness.values(t) if isinstance(v, tuple)}
        self.assertEqual(templates, {"ref_fwd", "fwd_mma", "fwd_wgmma"})
        self.assertFalse(any("template=fwd_wgmma" in t for t in correctness.sampled(trials, "8.0")))

    def test_what_the_command_line_cannot_say(self):
        self.assertEqual(notation.for_cli("{dtype: {q: fp16}} b1 h2/1 s3 sm_90 template=x seed=1"),
                         ("{attnc: 1, name: case, dtype: {q: fp16}}", "b1 h2/1 s3", "sm_90",
                          "template=x"))
        self.assertIn("padded", notation.for_cli("{} b1 padded softmax_scale=1 template=x"))

    def test_lines_of_the_matrix(self):
        said = ("pass    0.12 s  {dtype: fp16} b1 h2 sm_80 template=ref_fwd seed=3\n"
                "FAIL  {dtype: fp16} b1 h2 template=ref_fwd seed=4  (wrong: o[1])\n"
                "skip    0.00 s  {} b1 h2 sm_120 template=ref_fwd seed=5  too new\n"
                "1 passed, 1 failed, 1 skipped on the GPU\n")
        kept = results.Results("gpu", os.path.join(self.folder(), "r.json"), {}, {})

        class Suite:
            results = kept
        self.assertEqual(correctness.keep(Suite, said), 3)
        self.assertEqual([c["pass"] for c in kept.data["checks"]], [True, False])
        self.assertIn("wrong: o[1]", kept.data["checks"][1]["why"])
        self.assertEqual(kept.data["skipped"][0]["why"], "too new")


class Matrix(common.Case):
    """The program of the matrix in parts: a part that breaks or hangs costs itself."""

    def ran(self, ends):
        place = self.folder()
        program = os.path.join(place, "matrix")
        with open(program, "w", encoding="utf-8") as f:
            f.write(f"""#!{sys.executable}
import sys, time
case = open(sys.argv[-1]).readline().strip()
print(f"pass    0.10 s  {{case}}", flush=True)
if "seed=1" in case: {ends}
""")
        os.chmod(program, os.stat(program).st_mode | stat.S_IXUSR)
        kept = results.Results("gpu", os.path.join(place, "r.json"), {}, {})
        for name, value in (("PART", 2), ("PART_SECONDS", 1.5)):
            self.addCleanup(setattr, correctness, name, getattr(correctness, name))
            setattr(correctness, name, value)

        class Suite:
            results, folder, kind, sample = kept, place, "emu", True
            where = common.where()
            late, left = staticmethod(lambda: False), staticmethod(lambda: 60)
        with kept.phase("correctness"):
            correctness.by_matrix(Suite, program, [f"{{x}} sm_80 seed={n}" for n in (1, 2, 3)])
        return [(c["pass"], c.get("why", "")) for c in kept.data["checks"]]

    def test_one_that_breaks(self):
        for code in (1, 3):
            self.assertEqual(self.ran(f"print('spoiled', file=sys.stderr); sys.exit({code})"), [
                (True, ""), (False, f"e2e_matrix: exit {code}: spoiled"), (True, "")])

    def test_one_that_hangs(self):
        self.assertEqual(self.ran("time.sleep(60)"), [
            (True, ""), (False, "no end within 2 s"), (True, "")])


class Peers(common.Case):
    def test_flash_attention_where_it_is_installed(self):
        made = []

        class Package:
            @staticmethod
            def flash_attn_func(q, k, v, causal, window_size):
                made.append((causal, window_size))
                return (q, "lse") if causal else q

        class Tensors:
            q, k, v = "q", "k", "v"
        sys.modules["fake_flash"] = Package
        self.addCleanup(sys.modules.pop, "fake_flash")
        make = peers.flash_attn("fake_flash")
        for case in ({"causal": True, "window": [3, 0]}, {"causal": False}):
            self.assertEqual(make(case, Tensors)(), "q")
        self.assertEqual(made, [(True, (3, 0)), (False, (-1, -1))])
        with self.assertRaisesRegex(results.Skip, "no_such_flash is not installed"):
            peers.flash_attn("no_such_flash")({"causal": True}, Tensors)


class Stream:
    """A device whose time passes only when something is enqueued."""

    def __init__(self):
        self.now, self.slept, self.order = 0.0, 0, []

    def event(self, enable_timing):
        stream = self

        class Event:
            def record(self):
                self.at = stream.now

            def elapsed_time(self, end):
                return end.at - self.at
        return Event()

    def call(self, name, ms):
        def call():
            self.order.append(name)
            self.now += ms
        return call

    def torch(self):
        stream = self

        class Cuda:
            Event = staticmethod(lambda enable_timing: stream.event(enable_timing))
            synchronize = staticmethod(lambda: None)

            @staticmethod
            def _sleep(clocks):
                stream.slept += clocks

        class Torch:
            cuda = Cuda
        return Torch


class Timing(common.Case):
    def setUp(self):
        self.warm, timing.WARM_MS = timing.WARM_MS, 0.1

    def tearDown(self):
        timing.WARM_MS = self.warm

    def test_everybody_goes_first_in_turn(self):
        rounds = timing.turns("abc", 4)
        self.assertEqual("".join(n for _, n in rounds), "abcbcacababc")

    def test_samples_are_long_enough_and_not_endless(self):
        self.assertEqual(timing.launches(5.0), 1)
        self.assertEqual(timing.launches(0.5), 4)
        self.assertEqual(timing.launches(1e-6), timing.MOST)

    def test_times_are_those_of_the_device(self):
        stream = Stream()
        timer = timing.Timer(stream.torch())
        found = timer.interleaved({"a": stream.call("a", 0.25), "b": stream.call("b", 3.0)}, 6)
        self.assertEqual({n: len(x) for n, x in found.items()}, {"a": 6, "b": 6})
        for ms in found["a"]:
            self.assertAlmostEqual(ms, 0.25)
        for ms in found["b"]:
            self.assertAlmostEqual(ms, 3.0)
        self.assertGreater(stream.slept, 0)

    def test_the_host_is_timed_on_what_is_launched(self):
        stream, entered = Stream(), []

        class Around:
            def __enter__(self):
                entered.append(1)

            def __exit__(self, *_):
                pass
        call = stream.call("outer", 1)
        call.bare, call.around = stream.call("bare", 1), Around
        us = timing.Timer(stream.torch()).host_us(call, 200, 50)
        self.assertEqual((len(us), len(entered), set(stream.order)), (4, 1, {"bare"}))


class World(common.Case):
    def smi(self, text):
        """A program in nvidia-smi's place."""
        place = self.folder()
        path = os.path.join(place, "nvidia-smi")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"#!{sys.executable}\n{text}")
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
        before = os.environ["PATH"]
        os.environ["PATH"] = place + os.pathsep + before
        self.addCleanup(os.environ.__setitem__, "PATH", before)

    def test_what_the_query_says(self):
        self.smi("import sys\nassert '--query-gpu=name,power.limit' in sys.argv\n"
                 "print('NVIDIA X, 700.00')\n")
        self.assertEqual(world.smi(["name", "power.limit"]),
                         {"name": "NVIDIA X", "power.limit": "700.00"})

    def test_a_query_that_fails_says_nothing(self):
        self.smi("import sys\nsys.exit(9)\n")
        self.assertEqual(world.smi(["name"]), {})

    def test_clocks_of_a_while(self):
        count = os.path.join(self.folder(), "count")
        self.smi(f"import os\nn = os.path.exists({count!r}) and len(open({count!r}).read())\n"
                 f"open({count!r}, 'a').write('x')\n"
                 "print((1980, 1700, 1900)[min(n, 2)], '650.5', '[N/A]', sep=', ')\n")
        start = time.monotonic()
        with world.Clocks() as clocks:
            while len(clocks.rows) < 3 and time.monotonic() < start + 20:
                time.sleep(0.01)
            said = clocks.between(start, clocks.rows[2][0])
        self.assertEqual(said, {"sm_mhz": 1900, "power_w": 650.5, "sm_mhz_least": 1700,
                                "sm_mhz_most": 1980})
        self.assertEqual(clocks.between(0, 1), {})


class Process(common.Case):
    def test_what_takes_too_long_is_ended_with_all_it_started(self):
        pid = os.path.join(self.folder(), "pid")
        said = process.run([sys.executable, "-c", f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open({pid!r}, "w").write(str(child.pid)); time.sleep(60)"""], 1.5)
        self.assertIsNone(said.code)
        self.assertEqual(said.why, "out of time")
        with open(pid, encoding="utf-8") as f:
            child = f.read()
        for _ in range(200):
            if not alive(child):
                break
            time.sleep(0.02)
        self.assertFalse(alive(child))

    def test_a_failure_has_its_last_line(self):
        said = process.run([sys.executable, "-c", "import sys; sys.exit('no such thing')"])
        self.assertEqual((said.code, said.why), (1, "exit 1: no such thing"))


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().split()[2] != "Z"
    except FileNotFoundError:
        return False


class ResultFiles(common.Case):
    def test_a_failed_phase_costs_the_others_nothing(self):
        path = os.path.join(self.folder(), "sub", "r.json")
        kept = results.Results("gpu", path, {"name": "x"}, {}, log=io.StringIO())
        with kept.phase("one"):
            kept.measure("attnc", {"s": 1}, "time", "ms", [3, 1, 2])
        with kept.phase("two"):
            kept.measure("attnc", {"s": 2}, "time", "ms", [1.5])
            raise RuntimeError("half way")
        self.assertFalse(results.load(path)["complete"])
        with kept.phase("three"):
            raise results.Skip("nothing here")
        with self.assertRaises(KeyboardInterrupt), kept.phase("four"):
            raise KeyboardInterrupt
        data = results.load(path)
        self.assertEqual([p["status"] for p in data["phases"]],
                         ["ok", "failed", "skipped", "failed"])
        self.assertEqual([m["median"] for m in data["measurements"]], [2, 1.5])
        self.assertFalse(kept.ok)

    def test_what_is_not_as_described_is_refused(self):
        path = os.path.join(self.folder(), "r.json")
        kept = results.Results("gpu", path, {}, {})
        with kept.phase("one"):
            kept.measure("attnc", {}, "time", "ms", [1, 2, 4])
        good = json.dumps(kept.data)
        for before, after in (('"median": 2.0', '"median": 1.0'), ('"unit"', '"units"'),
                              ("results/1", "results/2"), ('"notes": []', '"notes": {}'),
                              ('"status": "ok"', '"status": "fine"')):
            self.assertIn(before, good)
            with self.assertRaises(ValueError, msg=after):
                results.check(json.loads(good.replace(before, after)))
        with self.assertRaises(ValueError):
            kept.measure("attnc", {}, "time", "ms", [float("nan")])

    def test_statistics(self):
        self.assertEqual(summary([5, 1, 2]), {"n": 3, "median": 2, "least": 1, "most": 5,
                                              "spread": 1})
        self.assertAlmostEqual(geomean([2, 8]), 4)
        for wrong in ([], [1, 0]):
            with self.assertRaises(ValueError):
                geomean(wrong)


class Report(common.Case):
    """bench/report of a result as a GPU run leaves it."""

    def result(self):
        path = os.path.join(self.folder(), "r.json")
        kept = results.Results("gpu", path, {"name": "NVIDIA X"}, {}, log=io.StringIO())
        with kept.phase("correctness"):
            kept.check("attnc", {"notation": "bf16 b1 …"}, True)
            kept.check("attnc", {"notation": "fp16 b2 …"}, False, "o[3] is wrong\nand more")
        with kept.phase("forward"):
            for s, ms in ((1024, (2.0, 1.0)), (4096, (1.0, 4.0))):
                case = cases.case("bf16", 128, s, True, 16)
                for subject, x in zip(("attnc", "sdpa_cudnn"), ms):
                    row = kept.measure(subject, case, "time", "ms", [x])
                    row["derived"] = {"tflops": cases.flops(case) / x * 1e-9}
                kept.skip("sdpa_flash", case, "no kernel | here")
        with kept.phase("latency"):
            for start, us in (("cold", 300.0), ("launch", 2.5)):
                kept.measure("attnc", {"start": start, **cases.latency()}, "time", "ms", [us])
        kept.finish()
        return path

    def test_blocks(self):
        from kit.gpu_report import BLOCKS
        data = results.load(self.result())
        made = {name: make(data) for name, (phases, make) in BLOCKS.items()
                if {p["name"] for p in data["phases"]} & set(phases)}
        self.assertIn("0.500 ×", made["gpu.forward"][0])
        self.assertIn("1 of 2 cells", made["gpu.behind"][0])
        self.assertIn("| correctness | 1 | 2 |", made["gpu.checks"][0])
        self.assertIn("| fp16 b2 … | o[3] is wrong |", made["gpu.checks"][0])
        self.assertIn("| 2 cases | no kernel / here |", made["gpu.skipped"][0])
        self.assertEqual(len(made["gpu.latency"][1]), 2)
        for _, plots in made.values():
            for svg in plots.values():
                self.assertTrue(xml.etree.ElementTree.fromstring(svg).tag.endswith("svg"))

    def test_the_command(self):
        said = process.run([sys.executable, os.path.join(common.ROOT, "bench", "report"),
                            self.result()])
        self.assertEqual(said.code, 0, said.err)
        for block in ("gpu.forward", "gpu.behind", "gpu.latency", "gpu.checks", "gpu.skipped"):
            self.assertIn(f"## {block}\n", said.out)


if __name__ == "__main__":
    unittest.main()
