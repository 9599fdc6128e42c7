"""Packed sequences of torch's tensors: flash_attn_varlen_*, seqused, bert_padding and a plan's own
call, on the CPU through the emulated device, against torch's own mathematics; what a GPU's tensors
ask of the driver; and on a GPU where there is one."""
import unittest
from unittest import mock

import common

torch = common.need("torch")
import attnc
import attnc.vllm
import test_torch
from attnc import _flash, _torch, bert_padding

GRID = [  # dtype, heads, queries of each sequence, keys, head_dim, causal, window, slopes' axes
    (torch.float16, (4, 2), (40, 0, 25), (30, 7, 44), 64, True, (-1, -1), None),
    (torch.bfloat16, (2, 2), (1, 70), (90, 65), 59, False, (16, 4), None),
    (torch.float16, (6, 1), (33,), (50,), 32, True, (-1, -1), "h"),
    (torch.bfloat16, (2, 1), (17, 20, 3), (17, 20, 3), 128, True, (20, -1), "bh"),
]


def vector(numbers, device):
    return torch.tensor(numbers, dtype=torch.int32, device=device)


def offsets(lengths, device):
    return vector([sum(lengths[:i]) for i in range(len(lengths) + 1)], device)


def rows(device, dtype, n, heads, d, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, heads, d, generator=g).to(device, dtype)


class Shared:
    """The same tests for the CPU and a GPU."""

    device = None
    check = test_torch.Shared.check

    def packed(self, dtype, heads, lengths_q, lengths_k, d):
        q = rows(self.device, dtype, sum(lengths_q), heads[0], d)
        k, v = (rows(self.device, dtype, sum(lengths_k), heads[1], d, seed) for seed in (1, 2))
        at = offsets(lengths_q, self.device), offsets(lengths_k, self.device)
        return (q, k, v), (*at, max(lengths_q), max(lengths_k))

    def slopes(self, axes, b, h):
        one = 2.0 ** -torch.arange(1, h + 1, device=self.device)
        of_batches = one * torch.arange(1, b + 1, device=one.device)[:, None]
        return {None: None, "h": one, "bh": of_batches}[axes]

    def test_grid(self):
        for case in GRID:
            dtype, heads, lengths_q, lengths_k, d, causal, window, axes = case
            with self.subTest(str(case)):
                tensors, call = self.packed(dtype, heads, lengths_q, lengths_k, d)
                slopes = self.slopes(axes, len(lengths_q), heads[0])
                out, lse, s_dmask = attnc.flash_attn_varlen_func(
                    *tensors, *call, causal=causal, window_size=window, alibi_slopes=slopes,
                    return_attn_probs=True)
                self.assertEqual((out.shape, lse.shape, s_dmask.numel()),
                                 (tensors[0].shape, (heads[0], sum(lengths_q)), 0))
                self.each_alone(tensors, call, out, lse, causal, window, slopes)

    def each_alone(self, tensors, call, out, lse, causal, window, slopes):
        at_q, at_k = (x.tolist() for x in call[:2])
        for i, (a, b, c, d) in enumerate(zip(at_q, at_q[1:], at_k, at_k[1:])):
            q, k, v = tensors[0][None, a:b], tensors[1][None, c:d], tensors[2][None, c:d]
            if a == b:
                continue
            if slopes is None:
                self.check(out[None, a:b], lse[None, :, a:b], q, k, v,
                           test_torch.mask(b - a, d - c, causal, window, q.device))
            else:
                its = slopes if slopes.dim() == 1 else slopes[i]
                alone = attnc.flash_attn_func(q, k, v, causal=causal, window_size=window,
                                              alibi_slopes=its)
                torch.testing.assert_close(out[None, a:b], alone, atol=8e-3, rtol=0)

    def test_packed_in_one_tensor(self):
        tensors, (at, _, longest, _) = self.packed(torch.float16, (4, 4), (20, 31), (20, 31), 64)
        q, k, v = tensors
        wanted = attnc.flash_attn_varlen_func(q, k, v, at, at, longest, longest, causal=True)
        out = attnc.flash_attn_varlen_kvpacked_func(q, torch.stack([k, v], 1), at, at, longest,
                                                    longest, causal=True)
        self.assertTrue(torch.equal(out, wanted))
        out = attnc.flash_attn_varlen_qkvpacked_func(torch.stack(tensors, 1), at, longest,
                                                     causal=True)
        self.assertTrue(torch.equal(out, wanted))
        apart = torch.stack([at, at], 1)[:, 0]  # every other number
        out = attnc.flash_attn_varlen_func(q, k, v, apart, apart, longest, longest, causal=True)
        self.assertTrue(torch.equal(out, wanted))

    def test_seqused(self):
        """Rows that do not count are not read."""
        tensors, call = self.packed(torch.bfloat16, (4, 2), (24, 24), (40, 40), 32)
        q, k, v = tensors
        q[20:24], k[33:40], v[33:40], v[47:] = torch.nan, torch.nan, torch.inf, torch.nan
        out, lse, _ = attnc.flash_attn_varlen_func(
            q, k, v, *call, causal=True, return_attn_probs=True,
            seqused_q=vector([20, 0], q.device), seqused_k=vector([33, 7], q.device))
        self.check(out[None, :20], lse[None, :, :20], q[None, :20], k[None, :33], v[None, :33],
                   test_torch.mask(20, 33, True, (-1, -1), q.device))

    def test_bert_padding(self):
        """Rows without padding and back, and attention of them against that of each sequence."""
        lengths = [20, 3, 0, 11]
        x = rows(self.device, torch.float16, 80, 4, 32).reshape(4, 20, 4, 32)
        mask = torch.arange(20, device=self.device) < vector(lengths, self.device)[:, None]
        for given in (mask, mask.int(), mask.long(), mask.float(), mask.half()):
            out, at, its, longest, used = bert_padding.unpad_input(x, given)
            self.assertEqual((at.dtype, its.dtype, used.dtype, type(longest), longest),
                             (torch.int64, torch.int32, torch.int32, int, 20))
            self.assertEqual((its.tolist(), used.tolist()), ([0, 20, 23, 23, 34], lengths))
            self.assertTrue(torch.equal(out, x[mask]))
        self.assertEqual({t.device for t in (out, at, its, used)}, {x.device})
        out = attnc.flash_attn_varlen_func(out, out, out, its, its, longest, longest)
        padded = bert_padding.pad_input(out, at, 4, 20)
        self.assertEqual((padded.shape, padded.dtype), (x.shape, x.dtype))
        self.assertTrue((padded[~mask] == 0).all())
        for i in (0, 1, 3):
            y = x[i:i + 1, :lengths[i]]
            self.check(padded[i:i + 1, :lengths[i]], None, y, y, y,
                       test_torch.mask(lengths[i], lengths[i], False, (-1, -1), x.device))

    def test_bert_padding_with_rows_that_do_not_count(self):
        x = rows(self.device, torch.float16, 80, 4, 32).reshape(4, 20, 4, 32)
        at = torch.arange(20, device=self.device)
        lengths = vector([20, 3, 0, 11], self.device)[:, None]
        kept = bert_padding.unpad_input(x, (at < lengths).int(), (at >= lengths) & (at < 12))
        self.assertEqual((kept[2].tolist(), kept[3]), ([0, 20, 32, 44, 56], 20))
        self.assertEqual(kept[4].tolist(), [20, 3, 0, 11])
        self.assertTrue(torch.equal(kept[0], x[at.expand(4, 20) < lengths.clamp(min=12)]))
        none = bert_padding.unpad_input(x, torch.zeros_like(at.expand(4, 20)))
        self.assertEqual((none[0].shape, none[2].tolist(), none[3]), ((0, 4, 32), [0] * 5, 0))

    def test_bert_padding_knows_gradients(self):
        """As FlashAttention's: what is done to rows is torch's."""
        x = torch.ones(2, 5, 3, device=self.device, requires_grad=True)
        mask = torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 1, 0]], device=self.device)
        out, at, *_ = bert_padding.unpad_input(x, mask)
        (bert_padding.pad_input(2 * out, at, 2, 5) ** 2).sum().backward()
        self.assertTrue(torch.equal(x.grad, 8.0 * mask[:, :, None].expand(2, 5, 3)))


class Host(Shared, common.Case):
    device = "cpu"

    def test_arguments(self):
        (q, k, v), (at_q, at_k, *_) = self.packed(torch.float16, (4, 2), (24, 24), (40, 40), 32)
        good = dict(cu_seqlens_q=at_q, cu_seqlens_k=at_k, max_seqlen_q=24, max_seqlen_k=40)
        for kind, why, wrong in (
                (TypeError, "cu_seqlens_q: int32 is needed, not torch.int64",
                 {"cu_seqlens_q": at_q.long()}),
                (TypeError, r"cu_seqlens_q: .* of torch .* not numpy.ndarray: torch.tensor\(",
                 {"cu_seqlens_q": at_q.numpy()}),
                (TypeError, r"cu_seqlens_k: .* not builtins.list", {"cu_seqlens_k": [0, 40, 80]}),
                (TypeError, "cu_seqlens_k: a vector", {"cu_seqlens_k": at_k[None]}),
                (ValueError, "cu_seqlens_q must have two", {"cu_seqlens_q": at_q[:1]}),
                (ValueError, "cu_seqlens_q must rise from 0", {"cu_seqlens_q": at_q + 1}),
                (ValueError, "cu_seqlens_q has 1 sequences", {"cu_seqlens_q": at_q[:2]}),
                (ValueError, "max_seqlen_k=39", {"max_seqlen_k": 39}),
                (ValueError, "seqused_k has 3 numbers, not 2", {"seqused_k": at_k}),
                (TypeError, "seqused_q: int32", {"seqused_q": torch.zeros(2)}),
                (TypeError, "max_seqlen_q: expected an integer", {"max_seqlen_q": 24.0}),
                (ValueError, "k and v have 4", {"block_table": at_q})):
            self.raises(kind, why, attnc.flash_attn_varlen_func, q, k, v, **{**good, **wrong})
        longest = torch.tensor(24), torch.tensor(40)  # as .max() gives them
        wanted = attnc.flash_attn_varlen_func(q, k, v, **good)
        q.requires_grad_()
        out = attnc.flash_attn_varlen_func(q, k, v, at_q, at_k, *longest)
        self.assertTrue(torch.equal(out, wanted))
        with torch.no_grad():
            out = attnc.flash_attn_varlen_func(q, k, v, at_q, at_k, *longest)
        self.assertEqual(out.shape, q.shape)

    def test_arguments_of_bert_padding(self):
        x, mask = torch.zeros(3, 5, 2), torch.ones(3, 5)
        for kind, why, given in (
                (ValueError, r"attention_mask has shape \[2, 5\], not \[3, 5\]", (x, mask[:2])),
                (ValueError, "unused_mask has shape", (x, mask, mask[0])),
                (TypeError, "attention_mask must be a tensor of torch, as hidden_states is, not "
                            "numpy.ndarray", (x, mask.numpy())),
                (TypeError, "unused_mask must be a tensor of torch", (x, mask, [[True] * 5] * 3)),
                (TypeError, "hidden_states must be a tensor of torch or", ([1], mask))):
            self.raises(kind, why, bert_padding.unpad_input, *given)
        self.raises(TypeError, "indices must be a tensor of torch", bert_padding.pad_input, x[0],
                    mask.numpy(), 3, 5)

    def test_plan(self):
        """A plan's own call, sequences' tensors and the longest by name."""
        names = ["cu_seqlens_q", "cu_seqlens_k", "seqused_k"]
        spec = {**common.CAUSAL, "return_lse": True, "seqlens": names}
        (q, k, v), (at_q, at_k, *_) = self.packed(torch.float16, (4, 2), (24, 30), (40, 44), 32)
        plan = attnc.Context("emu").plan(spec, "b2 h4/2 sq30 sk44 total_q54 total_k84")
        more = dict(cu_seqlens_q=at_q, cu_seqlens_k=at_k, seqused_k=vector([31, 44], "cpu"),
                    sq=30, sk=44)
        o, lse = plan(q, k, v, **more)
        for (a, b), (c, d) in (((0, 24), (0, 31)), ((24, 54), (40, 84))):
            self.check(o[None, a:b], None, q[None, a:b], k[None, c:d], v[None, c:d],
                       test_torch.mask(b - a, d - c, True, (-1, -1), q.device))
        self.assertTrue(attnc.verify(spec, q, k, v, o, lse, **more).passed)

    def test_mask_bits(self):
        """Words of torch.uint32."""
        if not hasattr(torch, "uint32"):
            self.skipTest("this torch has no uint32")
        g = torch.Generator().manual_seed(3)
        bits = torch.randint(-2 ** 31, 2 ** 31, (1, 40, 3), generator=g).int().view(torch.uint32)
        q, k, v = test_torch.inputs("cpu", torch.float16, (4, 2), (40, 72), 32)
        spec = {**common.CAUSAL, "causal": False, "mask_bits": True}
        q, k, v = q[:1], k[:1], v[:1]
        o = attnc.Context("emu").plan(spec, "b1 h4/2 sq40 sk72")(q, k, v, mask_bits=bits)
        at = torch.arange(72)
        seen = (bits.view(torch.int32)[0][:, at // 32] >> (at % 32)) & 1 == 1
        self.check(o, None, q, k, v, seen)


class Wrappers(common.Case):
    """FlashInfer's wrappers and vLLM's function take torch's tensors as flash_attn_with_kvcache does."""

    def test_same(self):
        lengths, heads = (40, 0, 17), (4, 2)
        k, v = (rows("cpu", torch.bfloat16, 6 * 16, heads[1], 64, s).reshape(6, 16, 2, 64) for s in (1, 2))
        q, sinks = rows("cpu", torch.bfloat16, 3, heads[0], 64), torch.tensor([0.5, -1, 2, 0])
        table = torch.tensor([[5, 0, 3], [-1, -1, -1], [2, 4, -1]], dtype=torch.int32)
        used = vector(lengths, "cpu")
        wanted, lse = attnc.flash_attn_with_kvcache(q[:, None], k, v, cache_seqlens=used, block_table=table,
                                                    return_softmax_lse=True)
        lse = torch.where(lse[..., 0].isposinf(), -torch.inf, lse[..., 0]) / 0.6931471805599453
        pages = vector((0, 3, 3, 5), "cpu"), vector((5, 0, 3, 2, 4), "cpu"), vector((8, 0, 1), "cpu")
        asked = *heads, 64, 16
        decode = attnc.BatchDecodeWithPagedKVCacheWrapper(torch.empty(0, dtype=torch.uint8))
        decode.plan(*pages, *asked, q_data_type=torch.bfloat16)
        prefill = attnc.BatchPrefillWithPagedKVCacheWrapper(torch.empty(0, dtype=torch.uint8))
        at = vector((0, 1, 2, 3), "cpu")
        prefill.plan(at, *pages, *asked, q_data_type="bfloat16")
        for wrapper in (decode, prefill):
            out, its = wrapper.run(q, (k, v), return_lse=True)
            torch.testing.assert_close(out, wanted[:, 0], atol=8e-3, rtol=0)
            torch.testing.assert_close(its, lse, atol=1e-3, rtol=0)
        kept = torch.zeros_like(q)
        out = attnc.vllm.flash_attn_varlen_func(q, k, v, 1, at, 48, seqused_k=used, block_table=table,
                                                s_aux=sinks.bfloat16(), out=kept)
        self.assertIs(out, kept)
        torch.testing.assert_close(kept, decode.run(q, (k, v), sinks=sinks), atol=8e-3, rtol=0)


@unittest.skipUnless(common.STUB, "no recording driver: ATTNC_STUB is not set")
class Recorded(common.Case):
    """Tensors that say they are on a GPU, whose memory is the recording driver's."""

    device = "cpu"
    setUp, launch, packed = test_torch.Recorded.setUp, test_torch.Recorded.launch, Shared.packed

    def test_one_launch_of_all(self):
        """Addresses of all tensors; numbers of none are looked at; one kernel is loaded once."""
        for n, lengths in enumerate((((40, 12), (72, 9)), ((5, 31), (72, 9)), ((40, 12), (3, 2)))):
            tensors, call = self.packed(torch.float16, (4, 2), *lengths, 64)
            call = (*call[:2], 40, 72)
            used = vector([33, 9], "cpu")
            with mock.patch.object(_torch, "integers", side_effect=AssertionError("it waits")):
                out, lse, _ = attnc.flash_attn_varlen_func(*tensors, *call, return_attn_probs=True,
                                                           seqused_k=used)
            got = self.launch(n)
            self.assertEqual((got.stream, out.shape), (0x77, tensors[0].shape))
            self.assertEqual(lse.shape, (4, sum(lengths[0])))
            for x in (*tensors, *call[:2], used, out, lse):
                self.assertIn(x.data_ptr(), got.values[:got.n_params])
            for wait in (b"cuCtxSynchronize", b"cuStreamSynchronize", b"cuMemcpyDtoH_v2"):
                self.assertEqual(self.stub.stub_calls(wait), 0)
        self.assertEqual(self.stub.stub_calls(b"cuModuleLoadDataEx"), 1)
        self.assertEqual(sum(isinstance(x, _flash._DirectPacked) for x in _flash._kept.direct.values()), 1)
        for wrong, kind in (({"max_seqlen_q": 40.5}, TypeError), ({"dropout_p": 1.0}, ValueError),
                            ({"seqused_k": used.long()}, TypeError), ({"seqused_k": used[:1]}, ValueError)):
            names = dict(zip(("cu_seqlens_q", "cu_seqlens_k", "max_seqlen_q", "max_seqlen_k"), call))
            self.raises(kind, "", attnc.flash_attn_varlen_func, *tensors, return_attn_probs=True,
                        **{**names, "seqused_k": used, **wrong})

    def test_new_tokens(self):
        """Rows of a cache, queries turned and attention, one behind the other; nothing is waited for."""
        k, v = (rows("cpu", torch.float16, 9 * 16, 2, 64, s).reshape(9, 16, 2, 64) for s in (1, 2))
        q, k_new, v_new = (rows("cpu", torch.float16, 2, h, 64, h)[:, None] for h in (4, 2, 2))
        table, cos = torch.tensor([[3, 7, 0], [5, 1, 2]], dtype=torch.int32), torch.rand(48, 16).half()
        for _ in range(2):
            before = self.stub.stub_launches()
            with mock.patch.object(_torch, "integers", side_effect=AssertionError("it waits")):
                out = attnc.flash_attn_with_kvcache(q, k, v, k_new, v_new, cos, cos,
                                                    cache_seqlens=vector([33, 9], "cpu"), block_table=table)
            launched = [self.stub.stub_launch_at(n) for n in range(before, self.stub.stub_launches())]
            self.assertGreaterEqual(len(launched), 2)
            for x, got in ((k_new, launched[0]), (v, launched[0]), (out, launched[-1])):
                self.assertIn(x.data_ptr(), got.values[:got.n_params])
            for wait in (b"cuCtxSynchronize", b"cuStreamSynchronize", b"cuMemcpyDtoH_v2"):
                self.assertEqual(self.stub.stub_calls(wait), 0)
        self.assertLessEqual(self.stub.stub_calls(b"cuModuleLoadDataEx"), 3)

    def test_packed_is_not_copied(self):
        qkv = rows("cpu", torch.float16, 40, 12, 64).reshape(40, 3, 4, 64)
        attnc.flash_attn_varlen_qkvpacked_func(qkv, vector([0, 15, 40], "cpu"), 25)
        got = self.launch(0)
        for i in range(3):
            self.assertIn(qkv[:, i].data_ptr(), got.values[:got.n_params])


@unittest.skipUnless(torch.cuda.is_available(), "no GPU")
class Gpu(Shared, common.Case):
    device = "cuda"

    def test_waits_for_nothing(self):
        """torch itself refuses what waits."""
        tensors, call = self.packed(torch.float16, (4, 2), (40, 12), (72, 9), 64)
        wanted = attnc.flash_attn_varlen_func(*tensors, *call, causal=True)
        torch.cuda.set_sync_debug_mode("error")
        try:
            out = attnc.flash_attn_varlen_func(*tensors, *call, causal=True)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        self.assertTrue(torch.equal(out, wanted))


if __name__ == "__main__":
    common.main()
