"""Tensors of torch: on the CPU through the emulated device, against torch's own mathematics;
what a GPU's tensors ask of the driver, with a driver that records; and on a GPU where there
is one."""
import copy
import unittest
import warnings
from unittest import mock

import common

torch = common.need("torch")
import attnc
from attnc import _torch
from attnc.arrays import View

GRID = [  # dtype, heads, lengths, head_dim, causal, window
    (torch.float16, (4, 4), (64, 64), 64, True, (-1, -1)),
    (torch.bfloat16, (4, 2), (40, 100), 128, True, (-1, -1)),
    (torch.float16, (6, 1), (100, 40), 32, True, (-1, -1)),
    (torch.bfloat16, (2, 2), (70, 90), 59, False, (16, 4)),
    (torch.float16, (2, 1), (1, 77), 96, False, (-1, -1)),
    (torch.bfloat16, (2, 1), (65, 65), 256, True, (20, -1)),
]


def mask(sq, sk, causal, window, device):
    at = torch.arange(sq, device=device)[:, None] + sk - sq
    key = torch.arange(sk, device=device)
    seen = torch.ones(sq, sk, dtype=torch.bool, device=device)
    if window[0] >= 0:
        seen &= key >= at - window[0]
    if causal or window[1] >= 0:
        seen &= key <= at + (0 if causal else window[1])
    return seen


def attention(q, k, v, seen, dtype):
    """torch's own: (o [b, s, h, d], lse [b, h, s])."""
    q, k, v = (x.to(dtype).transpose(1, 2) for x in (q, k, v))
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    s = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
    s = s.masked_fill(~seen, -torch.inf)
    p = torch.softmax(s, dim=-1).nan_to_num(0)
    return (p @ v).transpose(1, 2), torch.logsumexp(s, dim=-1)


def inputs(device, dtype, heads, lengths, d, seed=0):
    g = torch.Generator().manual_seed(seed)
    make = lambda s, h: torch.randn(2, s, h, d, generator=g).to(device, dtype)
    return make(lengths[0], heads[0]), make(lengths[1], heads[1]), make(lengths[1], heads[1])


class Shared:
    """The same tests for the CPU and a GPU."""

    device = None

    def check(self, out, lse, q, k, v, seen):
        want, want_lse = attention(q, k, v, seen, torch.float64)
        plain, _ = attention(q, k, v, seen, q.dtype)
        self.assertEqual((out.shape, out.dtype, out.device), (q.shape, q.dtype, q.device))
        error = (out.double() - want).abs().max().item()
        self.assertLessEqual(error, 2 * (plain.double() - want).abs().max().item() + 1e-3)
        if lse is not None:
            empty = want_lse == -torch.inf
            self.assertTrue((lse[empty] == torch.inf).all())
            self.assertLessEqual((lse - want_lse)[~empty].abs().max().item(), 1e-3)

    def test_grid(self):
        for dtype, heads, lengths, d, causal, window in GRID:
            with self.subTest(f"{dtype} {heads} {lengths} {d} {causal} {window}"):
                q, k, v = inputs(self.device, dtype, heads, lengths, d)
                out, lse, s_dmask = attnc.flash_attn_func(
                    q, k, v, causal=causal, window_size=window, return_attn_probs=True)
                self.check(out, lse, q, k, v, mask(*lengths, causal, window, q.device))
                self.assertEqual((s_dmask.numel(), s_dmask.dtype), (0, dtype))

    def test_packed_and_varlen(self):
        q, k, v = inputs(self.device, torch.float16, (4, 4), (48, 48), 64)
        seen = mask(48, 48, True, (-1, -1), q.device)
        qkv = torch.stack([q, k, v], dim=2)
        wanted = attnc.flash_attn_func(q, k, v, causal=True)
        self.check(wanted, None, q, k, v, seen)
        packed = attnc.flash_attn_qkvpacked_func(qkv, causal=True)
        self.assertTrue(torch.equal(packed, wanted))
        rows = qkv.reshape(96, 3, 4, 64)
        cu = torch.tensor([0, 48, 96], dtype=torch.int32, device=q.device)
        out = attnc.flash_attn_varlen_qkvpacked_func(rows, cu, 48, causal=True)
        self.assertTrue(torch.equal(out.reshape(wanted.shape), wanted))
        cu = torch.tensor([0, 30, 96], dtype=torch.int32, device=q.device)
        out, lse, _ = attnc.flash_attn_varlen_qkvpacked_func(rows, cu, 66, causal=True,
                                                             return_attn_probs=True)
        for a, b in ((0, 30), (30, 96)):
            part = [x[None, a:b] for x in rows.unbind(1)]
            self.check(out[None, a:b], lse[None, :, a:b], *part,
                       mask(b - a, b - a, True, (-1, -1), q.device))

    def test_gradients_are_refused(self):
        """Of functions that have none (test_gradients.py has the others)."""
        rows = torch.randn(16, 2, 32, device=self.device).half().requires_grad_()
        cu = torch.tensor([0, 16], dtype=torch.int32, device=self.device)
        from attnc.vllm import flash_attn_varlen_func
        with self.assertRaisesRegex(NotImplementedError, "requires_grad"):
            flash_attn_varlen_func(rows, rows, rows, 16, cu, 16, cu)
        with torch.no_grad():
            flash_attn_varlen_func(rows, rows, rows, 16, cu, 16, cu)


class Host(Shared, common.Case):
    device = "cpu"

    def test_plan(self):
        spec = {**common.CAUSAL, "return_lse": True}
        plan = attnc.Context("emu").plan(spec, "b2 h4/2 sq40 sk72")
        q, k, v = inputs("cpu", torch.float16, (4, 2), (40, 72), 32)
        o, lse = plan(q, k, v)
        self.assertTrue(attnc.verify(spec, q, k, v, o, lse).passed)
        flipped = q.transpose(1, 2).contiguous().transpose(1, 2)
        self.assertTrue(torch.equal(plan(flipped, k, v)[0], o))
        self.assertTrue(torch.equal(plan(torch.nn.Parameter(q, False), k, v)[0], o))

    def test_dlpack(self):
        """An object that has nothing but the protocol."""

        class Opaque:
            def __init__(self, x):
                self.__dlpack__, self.__dlpack_device__ = x.__dlpack__, x.__dlpack_device__

        plan = attnc.Context("emu").plan({**common.CAUSAL, "dtype": "bf16"}, "b2 h4/2 s40")
        q, k, v = inputs("cpu", torch.bfloat16, (4, 2), (40, 40), 32)
        o = torch.empty_like(q)
        plan(*map(Opaque, (q, k, v, o)))
        self.assertTrue(torch.equal(o, plan(q, k, v)))
        with self.assertRaisesRegex(attnc.ShapeError, "q is not contiguous"):
            plan(Opaque(q.transpose(1, 2).contiguous().transpose(1, 2)), k, v, o)

    def test_tensors_without_values(self):
        """Fake, on meta, sparse, lazily negated: not what data_ptr() points to."""
        q = torch.randn(1, 8, 1, 32).half()
        plan = attnc.Context("emu").plan(common.CAUSAL, "b1 h1 s8")
        with self.assertRaisesRegex(TypeError, "on meta has no memory"):
            plan(*[q.to("meta")] * 3)
        from torch._subclasses import FakeTensorMode
        with FakeTensorMode() as mode:
            fake = mode.from_tensor(q)
            with self.assertRaisesRegex(TypeError, "FakeTensor has no memory"):
                plan(fake, fake, fake)
        for wrong, why in ((q.to_sparse(), "sparse"), (torch._neg_view(q), "resolve_neg")):
            with self.assertRaisesRegex(TypeError, why):
                attnc.flash_attn_func(wrong, q, q)

    def test_compiled(self):
        """A plan is a break in the graph, of a module too that holds it and was copied; nothing
        to be captured whole.  Functions have operators (test_operators.py)."""

        class Module(torch.nn.Module):
            def __init__(self, plan):
                super().__init__()
                self.plan, self.spec = plan, plan.spec

            def forward(self, q, k, v):
                with torch.no_grad():
                    out = attnc.flash_attn_func(q * 2, k, v, causal=True)
                return self.plan(q * 2, k, v) + out

        q, k, v = inputs("cpu", torch.float16, (4, 2), (40, 40), 32)
        module = Module(attnc.Context("emu").plan(common.CAUSAL, "b2 h4/2 s40"))
        wanted = module(q, k, v)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            compiled = torch.compile(copy.deepcopy(module), backend="eager")
            for _ in range(2):
                self.assertTrue(torch.equal(compiled(q, k, v), wanted))
        torch._dynamo.reset()
        with self.assertRaisesRegex(Exception, "disable"):
            torch.compile(module, backend="eager", fullgraph=True)(q, k, v)
        torch._dynamo.reset()
        self.assertTrue(torch.equal(module(q, k, v), wanted))

    def test_outputs(self):
        """Made of the spec's type; not into what torch itself would not write."""
        fields = {**common.CAUSAL, "dtype": {"q": "fp16", "k": "fp16", "v": "fp16", "o": "bf16"}}
        q, k, v = inputs("cpu", torch.float16, (4, 2), (40, 40), 32)
        context = attnc.Context("emu")
        plan = context.plan(fields, "b2 h4/2 s40")
        self.assertEqual(plan(q, k, v).dtype, torch.bfloat16)
        plan = context.plan(common.CAUSAL, "b2 h4/2 s40")
        wanted = plan(q, k, v)
        learned = torch.zeros_like(q).requires_grad_()
        with torch.inference_mode():
            inferred = torch.zeros_like(q)
        for o, kind, why in ((learned, attnc.UsageError, "o is written, but .*no_grad"),
                             (inferred, attnc.UsageError, "o is written, but .* inference"),
                             (q[:, :, :1].expand(q.shape), attnc.ShapeError, "axis 2.*stride 0")):
            with self.assertRaisesRegex(kind, why):
                plan(q, k, v, o)
        with torch.no_grad():
            self.assertTrue(torch.equal(plan(q, k, v, learned), wanted))
        with torch.inference_mode():
            self.assertTrue(torch.equal(plan(q, k, v, inferred), wanted))


@unittest.skipUnless(common.STUB, "no recording driver: ATTNC_STUB is not set")
class Recorded(common.Case):
    """Tensors that say they are on a GPU, whose memory is the recording driver's."""

    def setUp(self):
        self.stub = common.stub()
        attnc.set_context("cuda", attnc.Context(common.STUB, cache="off"))
        view = _torch.view
        for name, fake in (("view", lambda x: view(x)._replace(device=("cuda", 0))),
                           ("stream", lambda device: 0x77)):
            patch = mock.patch.object(_torch, name, fake)
            patch.start()
            self.addCleanup(patch.stop)
        self.assertIsInstance(_torch.view(torch.zeros(1)), View)

    def launch(self, n):
        self.assertEqual(self.stub.stub_launches(), n + 1)
        return self.stub.stub_launch_at(n)

    def test_addresses_stream_and_reuse(self):
        q, k, v = inputs("cpu", torch.float16, (4, 2), (40, 72), 64)
        contexts = self.stub.stub_calls(b"cuModuleLoadDataEx")
        for n, seed in enumerate((0, 1)):
            q, k, v = inputs("cpu", torch.float16, (4, 2), (40, 72), 64, seed)
            out, lse, _ = attnc.flash_attn_func(q, k, v, return_attn_probs=True)
            got = self.launch(n)
            values = got.values[:got.n_params]
            self.assertEqual(got.stream, 0x77)
            for x in (q, k, v, out, lse):
                self.assertIn(x.data_ptr(), values)
        self.assertEqual(self.stub.stub_calls(b"cuModuleLoadDataEx"), contexts + 1)
        other = q.transpose(1, 2).contiguous().transpose(1, 2)
        attnc.flash_attn_func(other, k, v, return_attn_probs=True)
        self.assertIn(40 * 64, self.launch(2).values[:30])  # the heads of `other` are apart
        self.assertEqual(self.stub.stub_calls(b"cuModuleLoadDataEx"), contexts + 1)

    def test_packed_is_not_copied(self):
        qkv = torch.randn(2, 40, 3, 4, 64).half()
        attnc.flash_attn_qkvpacked_func(qkv)
        values = self.launch(0).values[:30]
        for i in range(3):
            self.assertIn(qkv[:, :, i].data_ptr(), values)


DOC = torch.arange(7).repeat_interleave(10)
OFFSETS = torch.arange(0, 71, 10)
GLOBAL = torch.arange(70) == 5
SLOPES = 2.0 ** -torch.arange(1, 5)
GAIN = torch.tensor(0.3)


class Flex(common.Case):
    """flex_attention on functions that torch's own takes, compared with it."""

    def setUp(self):
        torch.manual_seed(0)
        warnings.simplefilter("ignore")
        self.q = torch.randn(2, 4, 70, 32).half()
        self.k, self.v = (torch.randn(2, 2, 70, 32).half() for _ in "kv")

    def same(self, score, mask):
        from torch.nn.attention import flex_attention as torchs
        block_mask = mask and torchs.create_block_mask(mask, None, None, 70, 70, device="cpu")
        wanted, its_lse = torchs.flex_attention(
            self.q.float(), self.k.float(), self.v.float(), score_mod=score,
            block_mask=block_mask, enable_gqa=True, return_lse=True)
        out, lse = attnc.flex_attention(self.q, self.k, self.v, score, mask_mod=mask,
                                        enable_gqa=True, return_lse=True)
        torch.testing.assert_close(out.float(), wanted, atol=4e-3, rtol=0)
        torch.testing.assert_close(lse, its_lse, atol=1e-4, rtol=0)

    def test_as_torchs(self):
        from torch.nn.attention.flex_attention import and_masks, or_masks

        def causal(b, h, q, k):
            return q >= k

        def capped(s, b, h, q, k):
            return 20 * torch.tanh(s / 20) - SLOPES[h] * (q - k).abs()

        def activated(s, b, h, q, k):
            more = torch.where(q > k, s, 0.0).clamp(min=-1, max=2).float()
            return torch.log(torch.nn.functional.relu(s) + 1.0) + GAIN * more

        self.same(None, and_masks(causal, lambda b, h, q, k: DOC[q] == DOC[k]))
        self.same(capped, or_masks(causal, lambda b, h, q, k: GLOBAL[q] | GLOBAL[k]))
        self.same(activated, lambda b, h, q, k: (k >= OFFSETS[DOC[q]])
                  & torch.logical_and(q >= k, torch.ge(k, 0)))

    def test_refused_by_name(self):
        hidden = [torch.ones(3)].__getitem__
        for function, said in [
                (lambda s, b, h, q, k: torch.erf(s), "torch.erf has no expression"),
                (lambda s, b, h, q, k: torch.nn.functional.gelu(s), "gelu by the error function"),
                (lambda s, b, h, q, k: s.logsumexp(0), r"`\.logsumexp` of `score`"),
                (lambda s, b, h, q, k: torch.sum(s, dim=0), "torch.sum has no expression"),
                (lambda s, b, h, q, k: torch.where(s > 1), "torch.where, so called, has no"),
                (lambda s, b, h, q, k: s.to(torch.float64), "float64 has no expression"),
                (lambda s, b, h, q, k: s + hidden(0)[q], "`q_idx` has no value"),
                (lambda s, b, h, q, k: s + torch.ones(3), "is no number")]:
            self.raises(attnc.ExpressionError, said, attnc.flex_attention, self.q, self.k, self.v,
                        function)


@unittest.skipUnless(torch.cuda.is_available(), "no GPU")
class Gpu(Shared, common.Case):
    device = "cuda"

    def test_stream_and_graph(self):
        """On the current stream; captured into a graph once it has run."""
        q, k, v = inputs("cuda", torch.float16, (4, 2), (128, 128), 64)
        wanted = attnc.flash_attn_func(q, k, v, causal=True)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.assertTrue(torch.equal(attnc.flash_attn_func(q, k, v, causal=True), wanted))
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = attnc.flash_attn_func(q, k, v, causal=True)
        q.neg_()
        graph.replay()
        torch.cuda.synchronize()
        self.assertTrue(torch.equal(out, attnc.flash_attn_func(q, k, v, causal=True)))


if __name__ == "__main__":
    common.main()
