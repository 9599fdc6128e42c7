"""Lists of tiles that first launches make (`classes: step`): what they hold, word by word, whatever the
workspace held before; and a graph that is captured once and replayed with other masks."""
import contextlib
import os
import unittest

import common

np = common.need("numpy")
import attnc
from attnc import _driver, arrays
from test_seqlens import Graph

B, H, HK, D, SQ, SK = 2, 4, 2, 64, 70, 90
SPEC = {"attnc": 1, "name": "classes", "dtype": "fp16", "head_dim": D, "return_lse": True,
        "tensors": {"seen": {"dtype": "i32", "axes": ["b", "h", "q", "kv"]}},
        "mask_mod": "seen[b, h, q_idx, kv_idx] != 0"}
POISON = 0x95


def mask(rng):
    """Of blocks of 20 by 12 some hidden, some seen whole, some by element; of a head nothing."""
    kind = rng.integers(0, 3, (B, H, -(-SQ // 20), -(-SK // 12)))
    wide = kind.repeat(20, 2).repeat(12, 3)[:, :, :SQ, :SK]
    seen = np.where(wide == 2, rng.random(wide.shape) < 0.5, wide == 1)
    seen[rng.integers(B), rng.integers(H)] = False
    return seen.astype(np.int32)


class Lists:
    """Regions of workspace, with what is behind them."""
    BEHIND = 4096

    def __init__(self, plan, launch, driver, stack, schedule):
        self.rows, self.keys = schedule["block_m"], schedule["block_n"]
        self.blocks, self.tiles = -(-SQ // self.rows), -(-SK // self.keys) + 1
        self.zeroed, self.bytes = plan.zeroed_bytes, launch.workspace_bytes
        self.memory = stack.enter_context(_driver.Memory(driver, self.bytes + self.BEHIND))
        self.poison()
        launch.use_workspace(self.memory.address, self.bytes)

    def poison(self):
        self.host = np.full(self.bytes + self.BEHIND, POISON, np.uint8)
        self.host[:self.zeroed] = 0
        self.memory.write(arrays.view(self.host).address)

    def region(self, at, *shape):
        n = int(np.prod(shape))
        words = self.host[at:at + 4 * n].view(np.int32).reshape(shape)
        return words, -(-(at + 4 * n) // 256) * 256

    def wanted(self, seen):
        """From the lowest tile up, of those that hold a pair: twice its number, and is it PARTIAL?"""
        words = []
        for n in range(self.tiles - 1):
            part = seen[:, n * self.keys:(n + 1) * self.keys]
            if part.any():
                words.append(2 * n + (not part.all() or part.shape[1] < self.keys))
        return words

    def check(self, test, seen):
        self.memory.read(arrays.view(self.host).address)
        _, at = self.region(256 if self.zeroed else 0, B, H, self.blocks, self.tiles)
        lists, at = self.region(at, B, H, self.blocks, self.tiles)
        counts, at = self.region(at, B, H, self.blocks)
        test.assertLessEqual(at - 255, self.bytes + 1)
        for b, h, i in np.ndindex(B, H, self.blocks):
            want = self.wanted(seen[b, h, i * self.rows:(i + 1) * self.rows])
            test.assertEqual(list(lists[b, h, i, :counts[b, h, i]]), want, (b, h, i))
            test.assertTrue((lists[b, h, i, counts[b, h, i]:].view(np.uint8) == POISON).all())
        test.assertTrue((self.host[self.bytes:] == POISON).all())
        test.assertFalse(self.host[:self.zeroed].any())


class Captured(common.Case):
    def replays(self, target, sets=4, **schedule):
        rng = np.random.default_rng(11)
        spec = attnc.load_spec({**SPEC, "schedule": {**schedule, "classes": "step"}})
        tensors = {n: rng.standard_normal((B, rows, heads, D)).astype(np.float16)
                   for n, heads, rows in (("q", H, SQ), ("k", HK, SK), ("v", HK, SK), ("o", H, SQ))}
        tensors.update(lse=np.zeros((B, H, SQ), np.float32), seen=mask(rng))
        plan = attnc.Context("emu", emulator="arch=sm_90", target=target).plan(
            spec, f"b{B} h{H}/{HK} sq{SQ} sk{SK}")
        driver = plan.context.driver
        with contextlib.ExitStack() as stack:
            stack.enter_context(driver.current())
            memory = {n: stack.enter_context(_driver.Memory(driver, x.nbytes))
                      for n, x in tensors.items()}
            launch = plan._prepare({n: arrays.view(x)._replace(address=memory[n].address)
                                    for n, x in tensors.items()}, {}, {})
            self.assertFalse(plan.runs_without_workspace)
            lists = Lists(plan, launch, driver, stack, schedule)
            graph = Graph(driver, launch)
            for i in range(sets):
                with self.subTest(target=target, set=i, **schedule):
                    self.one(graph, memory, spec, tensors, lists, rng)
            graph.close()
            self.assertEqual(driver.findings(), [])

    def one(self, graph, memory, spec, tensors, lists, rng):
        tensors["seen"] = mask(rng)
        tensors["o"].view(np.uint16)[...] = 0x7c95
        lists.poison()
        for name, x in tensors.items():
            memory[name].write(arrays.view(x).address)
        graph.replay()
        for name in ("o", "lse"):
            memory[name].read(arrays.view(tensors[name]).address)
        verdict = attnc.verify(spec, **tensors)
        self.assertTrue(verdict.passed, verdict)
        lists.check(self, tensors["seen"])

    def test_mma(self):
        self.replays("sm_80", template="fwd_mma", block_m=32, block_n=16, num_warps=2)

    def test_wgmma(self):
        self.replays("sm_90a", template="fwd_wgmma", block_m=64, block_n=16, scheduler="grid")
        self.replays("sm_90a", sets=2, template="fwd_wgmma", block_m=64, block_n=32, scheduler="dynamic")


class Same(common.Case):
    """What is left out would have changed nothing: the same bits as by intervals."""

    def out(self, target, tensors, **schedule):
        context = attnc.Context("emu", emulator="arch=sm_90", target=target)
        spec = attnc.load_spec({**SPEC, "schedule": schedule})
        plan = context.plan(spec, f"b{B} h{H}/{HK} sq{SQ} sk{SK}")
        got = {n: x.copy() for n, x in tensors.items()}
        plan(**got)
        return got["o"].tobytes(), got["lse"].tobytes()

    def test_same(self):
        rng = np.random.default_rng(5)
        tensors = {n: rng.standard_normal((B, rows, heads, D)).astype(np.float16)
                   for n, heads, rows in (("q", H, SQ), ("k", HK, SK), ("v", HK, SK), ("o", H, SQ))}
        tensors.update(lse=np.zeros((B, H, SQ), np.float32), seen=mask(rng))
        for target, schedule in (("sm_80", dict(template="fwd_mma", block_m=64, block_n=16, num_warps=4)),
                                 ("sm_90a", dict(template="fwd_wgmma", block_m=128, block_n=16))):
            both = [self.out(target, tensors, classes=how, **schedule) for how in ("intervals", "step")]
            self.assertTrue(both[0] == both[1], target)


class Chosen(common.Case):
    def test_without_sizes(self):
        """A step is for sizes that are told: without any, a template that is named has none."""
        spec = attnc.load_spec(os.path.join(common.SOURCE, "specs", "natten_2d_morton.attn.yaml"))
        for target, template in (("sm_80", "fwd_mma"), ("sm_90a", "fwd_wgmma")):
            named = {"template": template}
            made = attnc.compile(spec, target, schedule=named).recipe["schedule"]
            self.assertEqual(made["classes"], "intervals", target)
            fields = attnc.Context("emu", target=target).explain_key(spec, "b1 h8 s4096", schedule=named)["fields"]
            self.assertIn("classes=step", fields["schedule"].split(), target)


if __name__ == "__main__":
    unittest.main()
