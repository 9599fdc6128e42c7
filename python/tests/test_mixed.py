"""Serving from Python: one captured graph over pages, for prompts beside decodes with tree masks, for
steps that append first, and behind a prefix that all share; and calls of a cache that ask the device
nothing."""
import contextlib
import sys
import unittest

import common
from test_seqlens import Graph

np = common.need("numpy")
import attnc
from attnc import _driver, arrays

MANY = "--many" in sys.argv and not sys.argv.remove("--many")
B, HK, GROUP, D, PAGE = 5, 2, 2, 64, 16
MOST_Q, MOST_K, TOTAL = 70, 200, 160
MAX_PAGES, SP, PREFIX_PAGES = 14, 50, 5
PAGES = B * MAX_PAGES + PREFIX_PAGES
SPEC = {"attnc": 1, "name": "serving", "dtype": "fp16", "head_dim": D, "group_size": GROUP, "causal": True,
        "page_table": True, "return_lse": True}
MIXED = {"seqlens": ["cu_seqlens_q", "seqused_k"], "mask_bits": "new"}
STEP = {"append": True}
BEHIND = {**STEP, "shared_prefix": True, "seqlens": ["cu_seqlens_q"]}
SIZES = dict(b=B, h=HK * GROUP, hk=HK, pages=PAGES, page_size=PAGE, max_pages=MAX_PAGES, sk=MOST_K)


def queries(rng, most):
    """Single tokens, bursts of a draft, prompts, and sequences that have none."""
    kinds = (lambda: 1, lambda: rng.integers(2, 6), lambda: rng.integers(6, most + 1), lambda: 0)
    n = np.array([int(kinds[rng.choice(4, p=(0.4, 0.2, 0.3, 0.1))]()) for _ in range(B)])
    while n.sum() > TOTAL:
        n[n.argmax()] //= 2
    return n


class Serving:
    """The tensors of a call, and what is drawn anew for each replay."""

    def __init__(self, spec, rng):
        self.spec, self.rng, self.names = spec, rng, spec.signature.tensors
        packed = "cu_seqlens_q" in self.names
        sizes = dict(SIZES, sq=MOST_Q if packed else 1, total_q=TOTAL if packed else 0)
        if "k_new" in self.names:
            sizes["s_new"] = 1
        if "prefix_pages" in self.names:
            sizes.update(sp=SP, max_prefix_pages=PREFIX_PAGES)
        self.sizes = attnc.Sizes(**sizes)
        kinds = {"fp16": np.float16, "fp32": np.float32, "i32": np.int32, "u32": np.uint32}
        self.host = {n: np.zeros(spec.signature.shape(n, self.sizes), kinds[t["dtype"]])
                     for n, t in self.names.items()}
        self.longest = {n: getattr(self.sizes, n) for n in ("sq", "sk", "sp") if getattr(self.sizes, n)}

    def draw(self):
        rng, host, pages = self.rng, self.host, self.rng.permutation(PAGES)
        for name in ("q", "k", "v", "k_new", "v_new"):
            if name in host:
                host[name][...] = rng.standard_normal(host[name].shape)
        host["page_table"][...] = rng.choice((-1, PAGES, 2 ** 31 - 1), host["page_table"].shape)
        n = np.full(B, self.sizes.sq)
        if "cu_seqlens_q" in host:
            n = queries(rng, MOST_Q)
            host["cu_seqlens_q"][1:] = n.cumsum()
            host["q"][n.sum():] = np.nan
        new = 1 if "append_at" in host else 0
        had = np.array([rng.integers(0 if new else x, MOST_K - new + 1) for x in n])
        if new:
            host["append_at"][...] = had
        else:
            host["seqused_k"][...] = had
        for b, used in enumerate(had + new):
            held = -(-used // PAGE)
            host["page_table"][b, :held] = pages[b * MAX_PAGES:b * MAX_PAGES + held]
        if "prefix_pages" in host:
            host["prefix_pages"][...] = -1
            host["prefix_pages"][:-(-SP // PAGE)] = pages[B * MAX_PAGES:][:-(-SP // PAGE)]
        if "mask_bits" in host:
            host["mask_bits"][...] = rng.integers(0, 2 ** 32, host["mask_bits"].shape, dtype=np.uint32)
        host["o"].view(np.uint16)[...] = 0x7c95
        host["lse"].view(np.uint32)[...] = 0x7f959595
        return n


class Captured(common.Case):
    def replays(self, target, fields, sets, **schedule):
        rng = np.random.default_rng(len(fields))
        pins = {"schedule": schedule} if schedule else {}
        spec = attnc.load_spec({**SPEC, **fields, **pins})
        serving = Serving(spec, rng)
        plan = attnc.Context("emu", emulator="arch=sm_90", target=target).plan(spec, serving.sizes)
        driver, host = plan.context.driver, serving.host
        with contextlib.ExitStack() as stack:
            stack.enter_context(driver.current())
            memory = {n: stack.enter_context(_driver.Memory(driver, x.nbytes)) for n, x in host.items()}
            launch = plan._prepare({n: arrays.view(x)._replace(address=memory[n].address)
                                    for n, x in host.items()}, {}, serving.longest)
            workspace = stack.enter_context(_driver.Memory(driver, launch.workspace_bytes))
            launch.use_workspace(workspace.address, workspace.nbytes)
            graph = Graph(driver, launch)
            for i in range(sets):
                n = serving.draw()
                for name, x in host.items():
                    memory[name].write(arrays.view(x).address)
                graph.replay()
                for name in spec.signature.outputs:
                    memory[name].read(arrays.view(host[name]).address)
                with self.subTest(target=target, set=i, queries=n):
                    verdict = attnc.verify(spec, **host, **serving.longest)
                    self.assertTrue(verdict.passed, verdict)
                    self.assertTrue("cu_seqlens_q" not in host or
                                    (host["o"].view(np.uint16)[n.sum():] == 0x7c95).all())
            graph.close()
            self.assertEqual(driver.findings(), [])

    def test_mixed(self):
        """Prompts beside single tokens and drafts under their trees' masks."""
        self.replays("sm_80", MIXED, 100 if MANY else 6, template="mixed", block_m=64)
        if MANY:
            self.replays("sm_90a", MIXED, 25, template="mixed")
            self.replays("sm_90a", MIXED, 100, template="mixed_wgmma", block_m=64)

    def test_step(self):
        """New keys first, then their attention: one plan."""
        self.replays("sm_80", STEP, 100 if MANY else 6, template="decode_mma", split_keys=64, block_n=64)

    def test_behind_a_prefix(self):
        self.replays("sm_80", BEHIND, 100 if MANY else 4, template="mixed")
        if MANY:
            self.replays("sm_89", BEHIND, 25, template="decode_mma")


def attended(q, k, v):
    """Causal attention in float64."""
    b, sq, h, d = q.shape
    o = np.zeros(q.shape)
    for i, j in np.ndindex(b, h):
        key, value = (x[i, :, j * k.shape[2] // h].astype(float) for x in (k, v))
        s = q[i, :, j].astype(float) @ key.T / np.sqrt(d)
        s[np.arange(len(key)) > np.arange(sq)[:, None] + len(key) - sq] = -np.inf
        w = np.exp(s - s.max(1, keepdims=True))
        o[i, :, j] = w @ value / w.sum(1, keepdims=True)
    return o


class States(common.Case):
    """What two states make is as near to the truth as one pass over all keys: neither is rounded."""
    MOST = 1.05  # 1.25 to 1.30 where they were of o's type

    def errors(self, target, how):
        rng = np.random.default_rng(7)
        b, sq, own, shared = 6, 2, 90, 400
        q, k, v, k_prefix, v_prefix = (rng.standard_normal(s).astype(np.float16) for s in (
            (b, sq, 8, D), *[(b, own, 2, D)] * 2, *[(shared, 2, D)] * 2))
        both = [np.concatenate([np.broadcast_to(x, (b, *x.shape)), y], 1)
                for x, y in ((k_prefix, k), (v_prefix, v))]
        head = {"attnc": 1, "dtype": "fp16", "head_dim": D, "group_size": 4, "causal": True, "schedule": how}
        context = attnc.Context("emu", emulator="arch=sm_90", target=target)
        two = attnc.load_spec({**head, "name": "two", "shared_prefix": True})
        one = attnc.load_spec({**head, "name": "one"})
        found = (context.plan(two, f"b{b} h8/2 sq{sq} sk{own} sp{shared}")(
                     q, k, v, k_prefix=k_prefix, v_prefix=v_prefix),
                 context.plan(one, f"b{b} h8/2 sq{sq} sk{own + shared}")(q, *both))
        want = attended(q, *both)
        return [np.sqrt(np.mean((o.astype(float) - want) ** 2)) for o in found]

    def test_rounded_once(self):
        all_of = (("sm_80", dict(template="decode_mma", split_keys=512)),
                  ("sm_80", dict(template="fwd_mma")), ("sm_90a", dict(template="decode_wgmma")))
        for target, how in all_of if MANY else all_of[:1]:
            with self.subTest(**how):
                two, one = self.errors(target, how)
                self.assertLess(two, self.MOST * one)


class Chosen(common.Case):
    def test_by_hints(self):
        """What is known of a batch: rows of all sequences beside the longest's."""
        for target, total, template in (("sm_80", 4096 + 63, "mixed"), ("sm_80", 64 * 2048, "fwd_mma"),
                                        ("sm_90a", 4096 + 63, "mixed_wgmma")):
            context = attnc.Context("emu", target=target)
            sizes = dict(b=64, h=32, hk=8, sq=4096, sk=8192, total_q=total, pages=99, page_size=PAGE,
                         max_pages=512)
            spec = attnc.load_spec({**SPEC, **MIXED, "head_dim": 128, "group_size": 4})
            plan = context.plan(spec, attnc.Sizes(**sizes))
            self.assertEqual(plan.info["template"], template, total)


@unittest.skipUnless(common.STUB, "no recording driver")
class Asks(common.Case):
    READS = (b"cuMemcpyDtoH_v2", b"cuStreamSynchronize", b"cuCtxSynchronize", b"cuEventSynchronize")

    def test_nothing(self):
        """A step that appends, plans and decodes, and a mixed batch: launches, and nothing that reads the
        device or waits for it."""
        stub = common.stub()
        for fields, how, launches in ((STEP, dict(template="decode_mma", split_keys=512), 3),
                                      (MIXED, dict(template="mixed"), 3)):
            spec = attnc.load_spec({**SPEC, **fields, "schedule": how})
            serving = Serving(spec, np.random.default_rng(1))
            plan = attnc.Context(common.STUB, cache="off").plan(spec, serving.sizes)
            with plan.context.driver.current():
                views = {n: arrays.view(x)._replace(address=4096 * (i + 1))
                         for i, (n, x) in enumerate(serving.host.items())}
                launch = plan._prepare(views, {}, serving.longest)
                launch.use_workspace(1 << 30, launch.workspace_bytes)
                stub.stub_reset()
                launch.relaunch()
                launch(*(1 << 20 for _ in views))
                self.assertEqual(stub.stub_launches(), 2 * launches)
                for name in self.READS:
                    self.assertEqual(stub.stub_calls(name), 0, name)


if __name__ == "__main__":
    common.main()
