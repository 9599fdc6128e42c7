"""Sequences of lengths of their own from Python: a graph that is captured once and replayed with
other lengths, and a launch that asks the device nothing."""
import contextlib
import ctypes as C
import unittest

import common

np = common.need("numpy")
import attnc
from attnc import _driver, arrays

SETS = 50
PACKED = ["cu_seqlens_q", "cu_seqlens_k"]
PADDED = ["seqused_q", "seqused_k", "leftpad_k"]
B, H, HK, D, MOST, TOTAL = 5, 4, 2, 64, 90, 200
SPEC = {"attnc": 1, "name": "lengths", "dtype": "fp16", "head_dim": D, "causal": True,
        "return_lse": True}


def packed_lengths(rng, total=TOTAL):
    n = rng.integers(0, MOST + 1, B)
    n[rng.integers(B)] = rng.choice((0, 1, 63, 64, 65, MOST))
    while n.sum() > total:
        n[n.argmax()] //= 2
    at = np.concatenate([[0], n.cumsum()]).astype(np.int32)
    live = np.arange(total) < at[-1]
    return {"cu_seqlens_q": at, "cu_seqlens_k": at}, live, live


def padded_lengths(rng):
    used_q, used_k = (rng.integers(0, MOST + 1, B).astype(np.int32) for _ in range(2))
    pad = (used_k * rng.random(B)).astype(np.int32)
    row = np.arange(MOST)
    return (dict(seqused_q=used_q, seqused_k=used_k, leftpad_k=pad), row < used_q[:, None],
            (row < used_k[:, None]) & (row >= pad[:, None]))


class Graph:
    """What was launched on a stream while it was captured."""

    def __init__(self, driver, launch):
        self.driver, self.stream, made = driver, C.c_void_p(), C.c_void_p()
        self.exec = C.c_void_p()
        driver.call("cuStreamCreate", C.byref(self.stream), 1)
        driver.call("cuStreamBeginCapture_v2", self.stream, 0)
        launch.relaunch(self.stream.value)
        driver.call("cuStreamEndCapture", self.stream, C.byref(made))
        driver.call("cuGraphInstantiateWithFlags", C.byref(self.exec), made, C.c_ulonglong(0))
        driver.call("cuGraphDestroy", made)

    def replay(self):
        self.driver.call("cuGraphLaunch", self.exec, self.stream)
        self.driver.call("cuStreamSynchronize", self.stream)

    def close(self):
        self.driver.call("cuGraphExecDestroy", self.exec)
        self.driver.call("cuStreamDestroy_v2", self.stream)


class Items:
    """The list of blocks in a launch's workspace, and what is behind it."""
    BEHIND = 4096

    def __init__(self, plan, launch, driver, stack, schedule):
        self.rows, self.keys = schedule["block_m"], schedule["block_n"]
        self.at = 256 if plan.zeroed_bytes else 0  # behind the tickets
        self.bytes = launch.workspace_bytes
        self.host = np.full(self.bytes + self.BEHIND, 0x95, np.uint8)
        self.host[:plan.zeroed_bytes] = 0
        self.memory = stack.enter_context(_driver.Memory(driver, self.host.nbytes))
        self.memory.write(arrays.view(self.host).address)
        launch.use_workspace(self.memory.address, self.bytes)

    def tiles(self, sq, sk, row):
        """Of causal: those that the last row of the block sees; one at least."""
        return max(1, -(-max(0, min(row + self.rows, sq) + sk - sq) // self.keys))

    def wanted(self, tensors):
        """Each block that there is, those with most tiles first, then in the batch's order."""
        if "cu_seqlens_q" in tensors:
            sq, sk = (np.diff(tensors[f"cu_seqlens_{x}"]) for x in "qk")
        else:
            sq = tensors["seqused_q"]
            sk = np.maximum(0, tensors["seqused_k"] - tensors["leftpad_k"])
        blocks = [(b, row) for b in range(len(sq)) for row in range(0, sq[b], self.rows)]
        return sorted(blocks, key=lambda x: -self.tiles(sq[x[0]], sk[x[0]], x[1]))

    def check(self, test, tensors):
        self.memory.read(arrays.view(self.host).address)
        words = self.host.view(np.int32)[self.at // 4:]
        listed = words[64:64 + 2 * words[0]].reshape(-1, 2)
        test.assertEqual([tuple(x) for x in listed], self.wanted(tensors))
        test.assertTrue((self.host[self.bytes:] == 0x95).all())
        test.assertFalse(self.host[:self.at and 4].any())


class Captured(common.Case):
    def replays(self, target, seqlens, lengths, shape, sets=SETS, **schedule):
        rng = np.random.default_rng(len(seqlens))
        spec = attnc.load_spec({**SPEC, "seqlens": seqlens,
                                **({"schedule": schedule} if schedule else {})})
        longest = dict(sq=MOST, sk=MOST)
        tensors = {n: rng.standard_normal((*shape, heads, D)).astype(np.float16)
                   for n, heads in (("q", H), ("k", HK), ("v", HK), ("o", H))}
        rows = (H, TOTAL) if len(shape) == 1 else (B, H, MOST)
        tensors.update(lse=np.zeros(rows, np.float32), **lengths(rng)[0])
        plan = attnc.Context("emu", emulator="arch=sm_90", target=target).plan(spec, f"b{B} h{H}/{HK} s{MOST}")
        driver = plan.context.driver
        with contextlib.ExitStack() as stack:
            stack.enter_context(driver.current())
            memory = {n: stack.enter_context(_driver.Memory(driver, x.nbytes))
                      for n, x in tensors.items()}
            launch = plan._prepare({n: arrays.view(x)._replace(address=memory[n].address)
                                    for n, x in tensors.items()}, {}, longest)
            self.assertTrue(schedule or not launch.workspace_bytes or plan.runs_without_workspace)
            items = Items(plan, launch, driver, stack, schedule) if schedule else None
            graph = Graph(driver, launch)
            for i in range(sets):
                with self.subTest(target=target, set=i, **schedule):
                    self.one(graph, memory, spec, tensors, lengths(rng), longest, rng)
                    if items:
                        items.check(self, tensors)
            graph.close()
            self.assertEqual(driver.findings(), [])

    def one(self, graph, memory, spec, tensors, drawn, longest, rng):
        told, live_q, live_k = drawn
        tensors.update(told)
        for name, live in (("q", live_q), ("k", live_k), ("v", live_k)):
            tensors[name][...] = rng.standard_normal(tensors[name].shape)
            tensors[name][~live] = rng.choice((np.nan, np.inf))
        tensors["o"].view(np.uint16)[...] = 0x7c95
        tensors["lse"].view(np.uint32)[...] = 0x7f959595
        for name, x in tensors.items():
            memory[name].write(arrays.view(x).address)
        graph.replay()
        for name in ("o", "lse"):
            memory[name].read(arrays.view(tensors[name]).address)
        verdict = attnc.verify(spec, **tensors, **(longest if "cu_seqlens_q" in told else {}))
        self.assertTrue(verdict.passed, verdict)
        self.assertTrue((tensors["o"].view(np.uint16)[~live_q] == 0x7c95).all())
        lse = np.moveaxis(tensors["lse"], -1, -2 if live_q.ndim == 2 else 0)
        self.assertTrue((lse[~live_q].view(np.uint32) == 0x7f959595).all())

    def test_packed(self):
        for target in ("sm_80", "sm_90a"):
            self.replays(target, PACKED, packed_lengths, (TOTAL,))

    def test_padded(self):
        self.replays("sm_90a", PADDED, padded_lengths, (B, MOST))

    def test_listed(self):
        """Blocks in a list that the first launch makes anew each time."""
        mma = dict(template="fwd_mma", block_m=32, block_n=16, num_warps=2, device_items=True)
        wgmma = dict(template="fwd_wgmma", block_m=64, block_n=16, device_items=True)
        for seqlens, lengths, shape in ((PACKED, packed_lengths, (TOTAL,)),
                                        (PADDED, padded_lengths, (B, MOST))):
            self.replays("sm_80", seqlens, lengths, shape, 8, **mma)
            self.replays("sm_90a", seqlens, lengths, shape, 4, scheduler="dynamic", **wgmma)


class Resized(common.Case):
    """What was prepared for some rows serves others: more, fewer, the same again."""
    TOTALS = (130, 200, 77, 200, 1, 130)

    def serves(self, target, **schedule):
        rng = np.random.default_rng(7)
        spec = attnc.load_spec({**SPEC, "seqlens": PACKED, "schedule": schedule})
        plan = attnc.Context("emu", emulator="arch=sm_90", target=target).plan(
            spec, f"b{B} h{H}/{HK} s{MOST}")
        driver, launch, workspace = plan.context.driver, None, None
        longest = dict(sq=MOST, sk=MOST)
        with contextlib.ExitStack() as stack:
            stack.enter_context(driver.current())
            for total in self.TOTALS:
                told, live, _ = packed_lengths(rng, total)
                tensors = {n: rng.standard_normal((total, heads, D)).astype(np.float16)
                           for n, heads in (("q", H), ("k", HK), ("v", HK), ("o", H))}
                for name in "qkv":
                    tensors[name][~live] = np.nan
                tensors.update(lse=np.zeros((H, total), np.float32), **told)
                memory = {n: stack.enter_context(_driver.Memory(driver, x.nbytes))
                          for n, x in tensors.items()}
                for name, x in tensors.items():
                    memory[name].write(arrays.view(x).address)
                launch = launch or plan._prepare(
                    {n: arrays.view(x)._replace(address=memory[n].address)
                     for n, x in tensors.items()}, {}, longest)
                launch.resize(total_q=total, total_k=total)
                if launch.workspace_bytes:
                    workspace = stack.enter_context(_driver.Memory(driver, launch.workspace_bytes))
                    workspace.zero(plan.zeroed_bytes)
                    launch.use_workspace(workspace.address, workspace.nbytes)
                launch(*(memory[n].address for n in spec.signature.tensors))
                driver.synchronize()
                for name in ("o", "lse"):
                    memory[name].read(arrays.view(tensors[name]).address)
                with self.subTest(target=target, total=total):
                    verdict = attnc.verify(spec, **tensors, **longest)
                    self.assertTrue(verdict.passed, verdict)
                    self.assertEqual(driver.findings(), [])

    def test_totals(self):
        self.serves("sm_80", template="fwd_mma")
        self.serves("sm_90a", template="fwd_wgmma", device_items=False)
        self.serves("sm_90a", template="fwd_wgmma", block_m=64, device_items=True)


@unittest.skipUnless(common.STUB, "no recording driver")
class Asks(common.Case):
    READS = (b"cuMemcpyDtoH_v2", b"cuStreamSynchronize", b"cuCtxSynchronize", b"cuEventSynchronize")

    def test_nothing(self):
        """One launch, and no call that reads the device or waits for it."""
        stub = common.stub()
        for seqlens, shape in ((PACKED, (TOTAL,)), (PADDED, (B, MOST))):
            plan = attnc.Context(common.STUB, cache="off").plan(
                {**SPEC, "seqlens": seqlens}, f"b{B} h{H}/{HK} s{MOST}")
            host = {n: np.zeros((*shape, heads, D), np.float16)
                    for n, heads in (("q", H), ("k", HK), ("v", HK), ("o", H))}
            host["lse"] = np.zeros((H, TOTAL) if len(shape) == 1 else (B, H, MOST), np.float32)
            for name in seqlens:
                host[name] = np.zeros(B + name.startswith("cu_"), np.int32)
            with plan.context.driver.current():
                stub.stub_reset()
                views = {n: arrays.view(x)._replace(address=4096 * (i + 1))
                         for i, (n, x) in enumerate(host.items())}
                launch = plan._prepare(views, {}, dict(sq=MOST, sk=MOST))
                launch.relaunch()
                launch(*(1 << 20 for _ in views))
                self.assertEqual(stub.stub_launches(), 2)
                for name in self.READS:
                    self.assertEqual(stub.stub_calls(name), 0, name)


if __name__ == "__main__":
    common.main()
