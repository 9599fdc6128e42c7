"""FlashAttention-2's functions against numpy's own mathematics, on the emulated device.

    test_flash.py [--cases N] [--shard I/N] [unittest arguments]

Of the argument grid N cases are drawn, and every N-th of them is run, from the I-th."""
import inspect
import itertools
import os
import sys
import threading
import unittest
from unittest import mock

import common

np = common.need("numpy")
import attnc
from attnc import bert_padding
import grid
import oracle
from attnc import peers

CASES, SHARD = 80, "0/1"

# FlashAttention 2, flash_attn_interface.py.
TAIL = ("dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0, "
        "alibi_slopes=None, deterministic=False, return_attn_probs=False")
CU = "cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k"
SIGNATURES = {
    "flash_attn_func": f"(q, k, v, {TAIL}, *, rng_state=None)",
    "flash_attn_kvpacked_func": f"(q, kv, {TAIL})",
    "flash_attn_qkvpacked_func": f"(qkv, {TAIL})",
    "flash_attn_varlen_func": f"(q, k, v, {CU}, {TAIL}, block_table=None, *, "
                              "seqused_q=None, seqused_k=None, rng_state=None)",
    "flash_attn_with_kvcache":
        "(q, k_cache, v_cache, k=None, v=None, rotary_cos=None, rotary_sin=None, "
        "cache_seqlens=None, cache_batch_idx=None, cache_leftpad=None, block_table=None, "
        "softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0, "
        "rotary_interleaved=True, alibi_slopes=None, num_splits=0, return_softmax_lse=False, *, "
        "page_table=None, cu_seqlens_q=None, max_seqlen_q=None, attention_chunk=0, pack_gqa=None, "
        "cu_seqlens_k_new=None, rotary_seqlens=None)",
    "flash_attn_varlen_kvpacked_func": f"(q, kv, {CU}, {TAIL})",
    "flash_attn_varlen_qkvpacked_func": f"(qkv, cu_seqlens, max_seqlen, {TAIL})",
}


def inputs(case, rng):
    (h, hk), (sq, sk) = case["heads"], case["lengths"]
    b, d = (1 if case["form"] == "varlen" else 2), case["head_dim"]
    return [oracle.normal(rng, case["dtype"], b, s, n, d)
            for s, n in ((sq, h), (sk, hk), (sk, hk))]


def slopes(case, b):
    """Those of ALiBi's paper, for each batch others."""
    h = case["heads"][0]
    rows = np.exp2(-8 * np.arange(1, h + 1) / h).astype(np.float32)
    return {None: None, "h": rows,
            "bh": rows * np.arange(1, b + 1, dtype=np.float32)[:, None]}[case["alibi"]]


def options(case, b):
    return {n: case[n] for n in ("softmax_scale", "causal", "return_attn_probs", "softcap")} | {
        "window_size": case["window"], "alibi_slopes": slopes(case, b)}


def seen_window(case, sq, sk):
    """What FlashAttention-2 makes of window_size before it masks."""
    left, right = case["window"]
    left = -1 if left >= sk else left
    right = -1 if right >= sk else right
    if left >= 0 and right < 0:
        right = sk
    return left, right


def cu(lengths):
    return np.cumsum([0, *lengths]).astype(np.int32)


class Grid(common.Case):
    def test_grid(self):
        rng = np.random.default_rng(1)
        first, step = map(int, SHARD.split("/"))
        for case in itertools.islice(grid.cases(CASES), first, None, step):
            with self.subTest(grid.text(case)):
                getattr(self, "run_" + case["form"])(case, *inputs(case, rng))

    def check(self, case, result, q, k, v):
        out, lse = result, None
        if case["return_attn_probs"]:
            out, lse, s_dmask = result
            self.assertEqual((s_dmask.shape, s_dmask.dtype), ((0,), q.dtype))
        scale = case["softmax_scale"] or case["head_dim"] ** -0.5
        oracle.check(self, out, q, k, v, scale, case["causal"],
                     seen_window(case, q.shape[1], k.shape[1]), lse, softcap=case["softcap"],
                     slopes=slopes(case, q.shape[0]))

    def run_plain(self, case, q, k, v):
        self.check(case, attnc.flash_attn_func(q, k, v, **options(case, len(q))), q, k, v)

    def run_strided(self, case, q, k, v):
        """[b, h, s, d] in memory for q, every other row of something larger for k, elements
        apart for v."""
        q = np.ascontiguousarray(q.swapaxes(1, 2)).swapaxes(1, 2)
        k = np.repeat(k, 2, axis=1)[:, ::2]
        v = np.repeat(v, 2, axis=3)[..., ::2]
        self.check(case, attnc.flash_attn_func(q, k, v, **options(case, len(q))), q, k, v)

    def run_kvpacked(self, case, q, k, v):
        kv = np.stack([k, v], axis=2)
        self.check(case, attnc.flash_attn_kvpacked_func(q, kv, **options(case, len(q))), q, k, v)

    def run_qkvpacked(self, case, q, k, v):
        """One length and one number of heads: those of q."""
        h, sq = q.shape[2], q.shape[1]
        k, v = (np.resize(x, (x.shape[0], sq, h, x.shape[3])) for x in (k, v))
        qkv = np.stack([q, k, v], axis=2)
        self.check(case, attnc.flash_attn_qkvpacked_func(qkv, **options(case, len(q))), q, k, v)

    def run_varlen(self, case, q, k, v):
        """Three sequences of the tensors' rows, then each of them alone.  The window is cut
        at the longest sequence, as FlashAttention's is."""
        sq, sk = q.shape[1], k.shape[1]
        rows_q, rows_k = (sq // 3, 0, sq - sq // 3), (sk // 2, sk - sk // 2, 0)
        at_q, at_k = cu(rows_q), cu(rows_k)
        result = attnc.flash_attn_varlen_func(q[0], k[0], v[0], at_q, at_k, max(rows_q),
                                              max(rows_k), **options(case, 3))
        out, lse = (result[0], result[1]) if case["return_attn_probs"] else (result, None)
        self.assertEqual(out.shape, q[0].shape)
        window = seen_window(case, max(rows_q), max(rows_k))
        its = slopes(case, 3)
        for i in range(3):
            a, b, c, e = at_q[i], at_q[i + 1], at_k[i], at_k[i + 1]
            oracle.check(self, out[None, a:b], q[:, a:b], k[:, c:e], v[:, c:e],
                         case["softmax_scale"] or case["head_dim"] ** -0.5, case["causal"],
                         window, None if lse is None else lse[None, :, a:b],
                         softcap=case["softcap"], slopes=its[i] if case["alibi"] == "bh" else its)


class Functions(common.Case):
    def setUp(self):
        rng = np.random.default_rng(2)
        self.q = oracle.normal(rng, "fp16", 2, 24, 4, 32)
        self.k, self.v = (oracle.normal(rng, "fp16", 2, 40, 2, 32) for _ in "kv")

    def check(self, out, q, k, v, causal=False, window=(-1, -1), lse=None):
        oracle.check(self, out, q, k, v, q.shape[-1] ** -0.5, causal, window, lse)

    def test_signatures(self):
        """Names, order and defaults, and every one annotated."""
        empty = inspect.Parameter.empty
        for name, wanted in SIGNATURES.items():
            found = inspect.signature(getattr(attnc, name))
            self.assertNotIn(empty, [p.annotation for p in found.parameters.values()], name)
            plain = [p.replace(annotation=empty) for p in found.parameters.values()]
            self.assertEqual(str(inspect.Signature(plain)), wanted, name)

    def test_positional(self):
        """All eleven, in FlashAttention's order."""
        out, lse, _ = attnc.flash_attn_func(self.q, self.k, self.v, 0.0, 0.1, True, (7, -1), 0.0,
                                            None, True, True)
        oracle.check(self, out, self.q, self.k, self.v, 0.1, True, (7, -1), lse)

    def test_not_supported(self):
        """Refused by the argument's name, by every function."""
        at = cu([24, 24])
        q, k, v = self.q.reshape(48, 4, 32), self.k.reshape(80, 2, 32), self.v.reshape(80, 2, 32)
        qkv, rows = np.stack([self.q] * 3, axis=2), np.stack([q] * 3, axis=1)
        calls = {
            "flash_attn_func": (self.q, self.k, self.v),
            "flash_attn_kvpacked_func": (self.q, np.stack([self.k, self.v], axis=2)),
            "flash_attn_qkvpacked_func": (qkv,),
            "flash_attn_varlen_func": (q, k, v, at, cu([40, 40]), 24, 40),
            "flash_attn_varlen_kvpacked_func": (q, np.stack([k, v], axis=1), at, cu([40, 40]),
                                                24, 40),
            "flash_attn_varlen_qkvpacked_func": (rows, at, 24),
            "flash_attn_with_kvcache": (self.q, self.k, self.v),
        }
        self.assertEqual(calls.keys(), SIGNATURES.keys())
        wrong = {"softmax_scale": -1.0}
        for name, args in calls.items():
            function = getattr(attnc, name)
            if "deterministic" in inspect.signature(function).parameters:
                function(*args, deterministic=True)
            for argument, value in wrong.items():
                self.raises(NotImplementedError, argument, function, *args, **{argument: value})
            for argument, (none, _) in peers.ARGUMENTS.items():
                if argument in inspect.signature(function).parameters:
                    continue
                e = self.raises(NotImplementedError, f"{argument} is not supported: .{{20}}",
                                function, *args, **{argument: self.q})
                self.assertNotIn("array", str(e))
            self.raises(TypeError, f"{name}.. has no argument 'casual'; did you mean causal",
                        function, *args, casual=True)

    def test_softcap_and_alibi_slopes(self):
        slopes = np.array([0.5, 0.25, -0.125, 0], np.float32)
        plan = attnc.Context.plan
        made = []
        with mock.patch.object(attnc.Context, "plan",
                               lambda *a, **kw: made.append(plan(*a, **kw)) or made[-1]):
            for softcap, rows in (7.0, None), (9.0, None), (0.0, slopes), (5.0, slopes[::-1]), (
                    5.0, np.stack([slopes, 2 * slopes])):
                out, lse, _ = attnc.flash_attn_func(self.q, self.k, self.v, softcap=softcap,
                                                    alibi_slopes=rows, return_attn_probs=True)
                oracle.check(self, out, self.q, self.k, self.v, 32 ** -0.5, False, (-1, -1), lse,
                             softcap=softcap, slopes=rows)
        kernels = [p.spec.hash for p in made]
        self.assertEqual(kernels[0], kernels[1])  # the number is no part of it
        self.assertEqual(len(set(kernels)), 4)
        for error, said, given in [
                (ValueError, "softcap=-1", {"softcap": -1}),
                (ValueError, "softcap=nan", {"softcap": float("nan")}),
                (ValueError, "softcap=True", {"softcap": True}),
                (TypeError, "alibi_slopes is float64", {"alibi_slopes": np.ones(4)}),
                (TypeError, "alibi_slopes: a tensor of numpy", {"alibi_slopes": [1.0] * 4}),
                (ValueError, r"shape \(2,\): \(4,\) or \(2, 4\)",
                 {"alibi_slopes": np.ones(2, np.float32)})]:
            self.raises(error, said, attnc.flash_attn_func, self.q, self.k, self.v, **given)

    def test_arguments_as_good_as_none(self):
        """What other libraries' callers spell out and attnc does anyway."""
        wanted = attnc.flash_attn_func(self.q, self.k, self.v)
        given = {name: value for name, (none, _) in peers.ARGUMENTS.items() for value in none
                 if name != "block_table"}
        np.testing.assert_array_equal(attnc.flash_attn_func(self.q, self.k, self.v, **given),
                                      wanted)
        for name, (none, _) in peers.ARGUMENTS.items():
            peers.refuse(**{name: none[0]})
            self.raises(NotImplementedError, name, peers.refuse, **{name: 3})

    def test_functions_of_others(self):
        """They can be imported; a call is refused with what to do instead."""
        from attnc import BatchAttention, append_paged_mla_kv_cache
        self.assertGreater(len(peers.FUNCTIONS), 30)
        for name in peers.FUNCTIONS:
            function = getattr(attnc, name)
            self.assertEqual((function.__name__, name in vars(attnc.flash)), (name, False))
            self.raises(NotImplementedError, name, getattr(attnc.flash, name))
            self.raises(NotImplementedError, f"{name} is not supported: .{{20}}", function, self.q,
                        causal=True)
        self.raises(NotImplementedError, "latent", append_paged_mla_kv_cache)
        self.raises(NotImplementedError, "pages", BatchAttention, "NHD")
        self.raises(AttributeError, "no attribute 'flash_attn'", getattr, attnc, "flash_attn")

    def test_others_calls_by_attnc(self):
        """What the refusals of FlashInfer's functions say to call is the same attention."""
        q, k, v = self.q[0], self.k[0], self.v[0]
        out, lse, _ = attnc.flash_attn_func(q[None], k[None], v[None], causal=True,
                                            softmax_scale=0.2, return_attn_probs=True)
        oracle.check(self, out, self.q[:1], self.k[:1], self.v[:1], 0.2, True, (-1, -1), lse)
        one = attnc.flash_attn_func(q[0][None, None], k[None], v[None])[0, 0]
        self.check(one[None, None], self.q[:1, :1], self.k[:1], self.v[:1])

    def test_not_supported_elsewhere(self):
        """block_table, and what is not the arguments' names but their values."""
        at = cu([24, 24])
        q, k, v = self.q.reshape(48, 4, 32), self.k.reshape(80, 2, 32), self.v.reshape(80, 2, 32)
        calls = {"flash_attn_func": (self.q, self.k, self.v),
                 "flash_attn_varlen_func": (q, k, v, at, cu([40, 40]), 24, 40)}
        self.raises(ValueError, "k and v have 4", attnc.flash_attn_varlen_func,
                    *calls["flash_attn_varlen_func"], block_table=np.zeros((1, 1), np.int32))
        self.raises(NotImplementedError, "block_table.*flash_attn_with_kvcache",
                    attnc.flash_attn_func, *calls["flash_attn_func"],
                    block_table=np.zeros((1, 1), np.int32))
        self.raises(NotImplementedError, "softmax_scale", attnc.flash_attn_func,
                    *calls["flash_attn_func"], softmax_scale=float("nan"))
        wide = np.zeros((1, 4, 1, 264), np.float16)
        self.raises(NotImplementedError, "head_dim=264", attnc.flash_attn_func, wide, wide, wide)

    def test_wrong_arguments(self):
        q, k, v = self.q, self.k, self.v
        for kind, why, args in (
                (TypeError, "fp32", (q.astype(np.float32), k, v)),
                (TypeError, "same dtype", (q, k.view(np.uint16), v)),
                (TypeError, "numpy", (q, k, [1])),
                (ValueError, "4 axes", (q[0], k, v)),
                (ValueError, "shapes", (q, k[:, :30], v)),
                (ValueError, "shapes", (q, k[:1], v[:1])),
                (ValueError, "multiple", (q[:, :, :3], k, v)),
                (ValueError, "positive", (q[:0], k[:0], v[:0])),
                (ValueError, "head_dim must be positive", (q[..., :0], k[..., :0], v[..., :0])),
                (TypeError, "numpy", (np.float16(1), k, v))):
            self.raises(kind, why, attnc.flash_attn_func, *args)
        for kind, why, args in (  # what another order of arguments makes of a call
                (TypeError, "softmax_scale=True: a number", (None, True)),
                (ValueError, "dropout_p=1.5: a number of at least 0, below 1", (1.5,)),
                (TypeError, "causal: True or False is needed, not float", (0.0, None, 0.5)),
                (TypeError, "causal: True or False is needed, not tuple", (0.0, None, (-1, -1))),
                (TypeError, "return_attn_probs: True or False", (0.0, None, False, (-1, -1), 0.0,
                                                                 None, False, k))):
            self.raises(kind, why, attnc.flash_attn_func, q, k, v, *args)
        for yes in (True, 1, np.True_):
            np.testing.assert_array_equal(attnc.flash_attn_func(q, k, v, causal=yes),
                                          attnc.flash_attn_func(q, k, v, causal=True))
        for wrong in (None, 3, (1,), (None, None), (1.5, -1), "ab"):
            self.raises(TypeError, "window_size", attnc.flash_attn_func, q, k, v,
                        window_size=wrong)

    def test_wrong_offsets(self):
        q, k, v = self.q.reshape(48, 4, 32), self.k.reshape(80, 2, 32), self.v.reshape(80, 2, 32)
        good = dict(cu_seqlens_q=cu([24, 24]), cu_seqlens_k=cu([40, 40]), max_seqlen_q=24,
                    max_seqlen_k=40)
        for kind, why, wrong in (
                (TypeError, "cu_seqlens_q: int32", {"cu_seqlens_q": np.array([0, 24, 48])}),
                (TypeError, r"cu_seqlens_q: .* not builtins.list: numpy.array\(cu_seqlens_q, ",
                 {"cu_seqlens_q": [0, 24, 48]}),
                (TypeError, "cu_seqlens_k: .* not builtins.int", {"cu_seqlens_k": 40}),
                (TypeError, "cu_seqlens_k: a vector", {"cu_seqlens_k": cu([40, 40])[None]}),
                (ValueError, "cu_seqlens_q must rise from 0",
                 {"cu_seqlens_q": np.array([3, 24, 48], np.int32)}),
                (TypeError, "max_seqlen_q: expected an integer", {"max_seqlen_q": None}),
                (ValueError, "cu_seqlens_k must rise", {"cu_seqlens_k": cu([40, 41])}),
                (ValueError, "cu_seqlens_q must rise",
                 {"cu_seqlens_q": np.array([0, 24, 20], np.int32)}),
                (ValueError, "3 sequences", {"cu_seqlens_q": cu([10, 10, 10])}),
                (ValueError, "max_seqlen_q=23", {"max_seqlen_q": 23}),
                (ValueError, "max_seqlen_k=39", {"max_seqlen_k": 39})):
            self.raises(kind, why, attnc.flash_attn_varlen_func, q, k, v, **{**good, **wrong})
        self.raises(ValueError, "3 axes", attnc.flash_attn_varlen_func, q[0], k, v, **good)

    def test_varlen_of_one_length(self):
        """One launch; the LSE is still [h, total_q]."""
        q, k, v = self.q.reshape(48, 4, 32), self.k.reshape(80, 2, 32), self.v.reshape(80, 2, 32)
        out, lse, _ = attnc.flash_attn_varlen_func(
            q, k, v, cu([24, 24]), cu([40, 40]), 24, 40, causal=True, return_attn_probs=True)
        self.assertEqual((out.shape, lse.shape), ((48, 4, 32), (4, 48)))
        self.check(out.reshape(self.q.shape), self.q, self.k, self.v, True,
                   lse=np.stack([lse[:, :24], lse[:, 24:]]))

    def test_varlen_rows_of_no_sequence(self):
        q, k, v = self.q.reshape(48, 4, 32), self.k.reshape(80, 2, 32), self.v.reshape(80, 2, 32)
        at_q, at_k = np.array([0, 20, 30], np.int32), np.array([0, 40, 60], np.int32)
        out = attnc.flash_attn_varlen_func(q, k, v, at_q, at_k, 20, 40)
        self.check(out[None, :20], q[None, :20], k[None, :40], v[None, :40])
        self.check(out[None, 20:30], q[None, 20:30], k[None, 40:60], v[None, 40:60])

    def test_seqused(self):
        """FlashAttention 3's keywords: rows that do not count are neither read nor written."""
        q, k, v = self.q.reshape(48, 4, 32), self.k.reshape(80, 2, 32), self.v.reshape(80, 2, 32)
        q, k, v = q.copy(), k.copy(), v.copy()
        used_q, used_k = np.array([20, 0], np.int32), np.array([33, 7], np.int32)
        q[20:24], k[33:40], v[33:40] = np.nan, np.nan, np.inf
        out, lse, _ = attnc.flash_attn_varlen_func(
            q, k, v, cu([24, 24]), cu([40, 40]), 24, 40, causal=True, return_attn_probs=True,
            seqused_q=used_q, seqused_k=used_k)
        self.check(out[None, :20], q[None, :20], k[None, :33], v[None, :33], True,
                   lse=lse[None, :, :20])
        good = dict(cu_seqlens_q=cu([24, 24]), cu_seqlens_k=cu([40, 40]), max_seqlen_q=24,
                    max_seqlen_k=40)
        for kind, why, wrong in ((ValueError, "seqused_k has 3 numbers, not 2",
                                  {"seqused_k": np.zeros(3, np.int32)}),
                                 (TypeError, "seqused_q: int32", {"seqused_q": np.zeros(2)}),
                                 (TypeError, "seqused_q: .* not builtins.int", {"seqused_q": 3})):
            self.raises(kind, why, attnc.flash_attn_varlen_func, q, k, v, **good, **wrong)

    def test_bert_padding(self):
        """Rows without padding and back, and attention of them against that of each sequence."""
        rng = np.random.default_rng(7)
        x = rng.standard_normal((3, 20, 4, 32)).astype(np.float16)
        lengths = np.array([20, 3, 11])
        mask = np.arange(20) < lengths[:, None]
        rows, at, offsets, longest, used = bert_padding.unpad_input(x, mask)
        self.assertEqual((offsets.dtype, longest, rows.shape), (np.int32, 20, (34, 4, 32)))
        np.testing.assert_array_equal(offsets, [0, 20, 23, 34])
        np.testing.assert_array_equal(used, lengths)
        out = attnc.flash_attn_varlen_func(rows, rows, rows, offsets, offsets, longest, longest)
        padded = bert_padding.pad_input(out, at, 3, 20)
        for i, n in enumerate(lengths):
            y = x[i:i + 1, :n]
            self.check(padded[i:i + 1, :n], y, y, y)
            self.assertTrue((padded[i, n:] == 0).all())
        kept = bert_padding.unpad_input(x, mask, ~mask & (np.arange(20) < 12))
        np.testing.assert_array_equal(kept[2], [0, 20, 32, 44])
        np.testing.assert_array_equal(kept[4], lengths)
        self.raises(ValueError, "attention_mask has shape", bert_padding.unpad_input, x, mask[:2])
        self.raises(TypeError, "hidden_states must be", bert_padding.pad_input, [1], at, 3, 20)

    def test_small_head_dims(self):
        for d in (1, 7, 8, 12):
            q, k, v = (np.ascontiguousarray(x[..., :d]) for x in (self.q, self.k, self.v))
            out, lse, _ = attnc.flash_attn_func(q, k, v, causal=True, return_attn_probs=True)
            self.check(out, q, k, v, True, lse=lse)

    def test_no_keys(self):
        out, lse, _ = attnc.flash_attn_func(self.q, self.k[:, :0], self.v[:, :0],
                                            return_attn_probs=True)
        self.assertTrue((out == 0).all())
        self.assertTrue(np.isposinf(lse).all())

    def test_no_queries(self):
        out, lse, _ = attnc.flash_attn_func(self.q[:, :0], self.k, self.v, return_attn_probs=True)
        self.assertEqual((out.shape, lse.shape), ((2, 0, 4, 32), (2, 4, 0)))

    def test_misaligned_memory(self):
        raw = np.zeros(self.k.size + 1, np.float16)
        k = raw[1:].reshape(self.k.shape)
        k[...] = self.k
        self.check(attnc.flash_attn_func(self.q, k, self.v), self.q, k, self.v)

    def test_inputs_are_not_written(self):
        before = [x.copy() for x in (self.q, self.k, self.v)]
        attnc.flash_attn_func(self.q, self.k, self.v, causal=True, return_attn_probs=True)
        for x, y in zip(before, (self.q, self.k, self.v)):
            np.testing.assert_array_equal(x, y)

    def test_threads_and_contexts(self):
        """Two threads, a context that is replaced between them."""
        results = []

        def run():
            results.append(attnc.flash_attn_func(self.q, self.k, self.v, causal=True))

        for _ in range(2):
            threads = [threading.Thread(target=run) for _ in range(2)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            attnc.set_context("cpu", attnc.Context("emu", cache="off"))
        self.assertEqual(len(results), 4)
        for out in results:
            np.testing.assert_array_equal(out, results[0])
        self.raises(attnc.UsageError, "cpu or cuda", attnc.set_context, "tpu", None)

    @unittest.skipUnless(hasattr(os, "fork"), "no fork")
    def test_fork(self):
        """A child makes its own context."""
        run = lambda: attnc.flash_attn_func(self.q, self.k, self.v)
        wanted = run()
        child = os.fork()
        if child == 0:
            os._exit(0 if (run() == wanted).all() else 1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--cases"]:
        CASES = int(sys.argv[2])
        del sys.argv[1:3]
    if sys.argv[1:2] == ["--shard"]:
        SHARD = sys.argv[2]
        del sys.argv[1:3]
    common.main()
