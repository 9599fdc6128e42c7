"""The phases that need torch, on the CPU: peers, turns, checks and results are the real ones;
device events and memory counters are stand-ins, attnc runs on the emulated device, Triton in its
interpreter.  Skipped where torch or Triton is not installed."""
import os
import time
import unittest

import common

os.environ["TRITON_INTERPRET"] = "1"
torch = common.need("torch")
common.need("triton")

import cases
import forward
import latency
import memory
import peers
import timing
import triton_fwd
import world
from kit import results

SPANS = ({"sq": 100, "sk": 100}, {"sq": 130, "sk": 70}, {"sq": 70, "sk": 130})
MASKS = ({"causal": True}, {"causal": False}, {"causal": True, "window": [17, 0]},
         {"causal": False, "window": [17, 9]})


class Event:
    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        self.at = time.perf_counter()

    def elapsed_time(self, end):
        return 1e3 * (end.at - self.at)


class Cuda:
    Event, OutOfMemoryError = Event, MemoryError
    synchronize = empty_cache = reset_peak_memory_stats = staticmethod(lambda: None)
    _sleep = staticmethod(lambda clocks: None)
    memory_allocated = staticmethod(lambda: 100)
    max_memory_allocated = staticmethod(lambda: 300)


class Torch:
    """torch, with something in the place of torch.cuda."""
    cuda = Cuda

    def __getattr__(self, name):
        return getattr(torch, name)


class OnHost(peers.Attnc):
    """attnc on host tensors: the emulated device."""

    def __call__(self, case, t):
        plan = self.plan(case)

        def call():
            return plan(t.q, t.k, t.v)
        call.plan = plan
        return call


class Suite:
    quick, tiny, tune, emulated, only, kind = True, True, False, False, "", "emu"

    def __init__(self, folder):
        import attnc
        self.where, self.folder = common.where(), folder
        self.results = results.Results("gpu", os.path.join(folder, "r.json"), {}, {})
        self._context = attnc.Context("emu", cache="off", tune_dir=folder)

    def context(self):
        return self._context

    def say(self, text):
        pass

    def late(self):
        return False

    def left(self):
        return 100.0


def setUpModule():
    world.torch, peers.Attnc, peers.DEVICE = Torch, OnHost, "cpu"
    triton_fwd.CONFIGS = {256: [(32, 32, 1, 1), (16, 64, 1, 1)]}
    timing.WARM_MS, timing.MOST, latency.LAUNCHES = 1, 1, 100


class Phases(common.Case):
    def phase(self, run):
        suite = Suite(self.folder())
        with suite.results.phase("forward"):
            run(suite)
        data = results.load(suite.results.file)
        self.assertEqual(data["phases"][0]["status"], "ok", data["phases"])
        self.assertEqual([c for c in data["checks"] if not c["pass"]], [])
        return data

    def test_forward(self):
        wanted = [{**c, "dtype": "fp16"} for c in cases.tiny_forward(("window",))[-2:]]
        data = self.phase(lambda suite: forward.on_gpu(suite, wanted))
        timed = {(m["subject"], "window" in m["case"]) for m in data["measurements"]}
        self.assertEqual(timed, {(n, w) for n in ("attnc", "flex", "triton") for w in (0, 1)}
                         | {("sdpa_flash", False)})
        self.assertTrue(all(m["n"] == 10 and m["derived"]["tflops"] > 0
                            for m in data["measurements"]))
        skipped = {s["subject"]: s["why"] for s in data["skipped"]}
        self.assertIn("no window", skipped["sdpa_flash"])
        self.assertIn("sdpa_cudnn", skipped)
        ours = [m for m in data["measurements"] if m["subject"] == "attnc"][0]
        self.assertEqual(ours["context"]["source"], "model")

    def test_launches(self):
        timing_case, cases.overhead = cases.overhead, lambda tiny: cases.case(
            "fp16", 32, 16, True, 1, b=1)
        self.addCleanup(setattr, cases, "overhead", timing_case)
        data = self.phase(latency.launches)
        self.assertEqual({m["subject"] for m in data["measurements"]},
                         {"attnc", "sdpa_flash", "flex", "triton"})
        self.assertTrue(all(m["unit"] == "us" for m in data["measurements"]))

    def test_memory(self):
        data = self.phase(memory.run)
        peaks = [m["median"] for m in data["measurements"] if m["metric"] == "memory_peak"]
        self.assertEqual(peaks, [200.0] * 2 * len(cases.memory(True)))

    def test_a_wrong_peer_is_not_timed(self):
        suite = Suite(self.folder())
        case = cases.case("fp16", 32, 64, True, 2, b=1)
        t = peers.Tensors(Torch(), case)
        with suite.results.phase("forward"):
            wrong = forward.attempt(suite, "flex", case, lambda: forward.checked(
                suite, "flex", case, t, lambda case, t: lambda: t.q * float("nan")))
        self.assertIsNone(wrong)
        self.assertFalse(suite.results.data["checks"][0]["pass"])
        self.assertIn("wrong", suite.results.data["skipped"][0]["why"])


class Kernel(common.Case):
    def test_triton(self):
        """Ragged lengths, grouped heads, every mask, three tilings."""
        for span in SPANS:
            for mask in MASKS:
                case = {"dtype": "fp16", "d": 16, "b": 1, "h": 2, "hk": 1, **span, **mask}
                t = peers.Tensors(Torch(), case)
                for config in ((32, 16, 1, 1), (16, 32, 1, 1), (64, 64, 1, 1)):
                    o = torch.full_like(t.q, float("nan"))
                    triton_fwd.prepare(t.q, t.k, t.v, o, case["causal"], case.get("window"),
                                       config)()
                    seen = o.isfinite().all()
                    self.assertTrue(seen, (case, config))
                    self.assertLess(self.error(case, t, o), 2e-3, (case, config))

    def error(self, case, t, o):
        """Rows that see no key are zero; the others are compared."""
        visible = peers.mask_mod(case, torch)
        i, j = torch.arange(case["sq"])[:, None], torch.arange(case["sk"])[None, :]
        sees = (visible(0, 0, i, j) if visible else torch.ones(case["sq"], case["sk"])).any(1)
        self.assertTrue((o[:, ~sees] == 0).all())
        rows = sees.nonzero().flatten()
        wanted = peers.reference(case, t, 0, 1, rows)
        return float((o[0, rows, 1].float() - wanted).norm() / wanted.norm())

    def test_a_sweep_leaves_out_what_does_not_run(self):
        def make(config):
            if config == 2:
                raise RuntimeError("out of resource")
            return config
        best, found, seconds = triton_fwd.sweep(make, lambda call: 1.0 / call, [1, 2, 4, 3])
        self.assertEqual(best, 4)
        self.assertEqual(found[2], "RuntimeError: out of resource")
        self.assertGreaterEqual(seconds, 0)
        with self.assertRaisesRegex(RuntimeError, "no configuration"):
            triton_fwd.sweep(make, float, [2])


if __name__ == "__main__":
    unittest.main()
