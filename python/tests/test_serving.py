"""FlashInfer's wrappers, vLLM's varlen function and what FlashAttention 3 adds to a cache, each against
the fp64 oracle. What no sequence has is NaN."""
import unittest
from unittest import mock

import common

np = common.need("numpy")
import attnc
import attnc.vllm
import oracle
import test_pages
from test_pages import DIM, HEADS, LENGTHS, i32

SIZE = 16
SCALE = DIM ** -0.5


def lists(table):
    """FlashInfer's (indptr, indices, last_page_len) of a table and LENGTHS."""
    counts = [-(-n // SIZE) for n in LENGTHS]
    return (np.cumsum([0, *counts]).astype(np.int32),
            np.concatenate([row[:n] for row, n in zip(table, counts)]).astype(np.int32),
            i32(*((n - 1) % SIZE + 1 if n else 0 for n in LENGTHS)))


class Serving(test_pages.Pages):
    test_sizes_of_pages = test_ways_to_say_the_same = test_window_slopes_and_cap = test_padded = None
    test_dense = test_plan = None

    def each_row(self, out, lse, q, k, v, table, rows, base=1.0, empty=-np.inf, sink=None, **how):
        """Packed out, and lse [rows, heads]; rows: of each sequence."""
        at = 0
        for i, (n, m) in enumerate(zip(LENGTHS, rows)):
            its = slice(at, at + m)
            at += m
            if n == 0:
                self.assertTrue((out[its] == 0).all())
                self.assertTrue(lse is None or (lse[its] == empty).all())
                continue
            want, natural, bound = oracle.attention(
                q[its][None], self.rows(k, table, i, n), self.rows(v, table, i, n), SCALE,
                how.get("causal", False), how.get("window", (-1, -1)))
            natural = natural[0].T
            if sink is not None:
                total = np.logaddexp(natural, oracle.wide(sink))
                want = want * np.exp(natural - total)[None, :, :, None]
                natural = total
            error = np.abs(oracle.wide(out[its]) - want[0])
            self.assertTrue((error <= bound[0] + 1e-5).all(), (i, error.max()))
            if lse is not None:
                np.testing.assert_allclose(lse[its], natural * base, atol=2e-3)

    def planned(self, wrapper, table, heads=HEADS, **more):
        indptr, indices, last = lists(table)
        ends = () if isinstance(wrapper, attnc.BatchDecodeWithPagedKVCacheWrapper) else (
            i32(*np.cumsum([0, *self.queries])),)
        wrapper.plan(*ends, indptr, indices, last, *heads, DIM, SIZE, **more)
        return wrapper

    queries = (3, 1, 2, 5)

    def test_decode(self):
        k, v, table = self.cache(SIZE)
        q = self.q[:, 0]
        once = (1,) * len(LENGTHS)
        both = np.stack([k, v], axis=1)
        by_head = np.ascontiguousarray(both.swapaxes(2, 3))
        for layout, cache in (("NHD", (k, v)), ("NHD", both), ("HND", by_head)):
            wrapper = self.planned(attnc.BatchDecodeWithPagedKVCacheWrapper(None, layout), table)
            out, lse = wrapper.run(q, cache, return_lse=True)
            self.assertEqual((out.shape, lse.shape, lse.dtype), (q.shape, q.shape[:2], np.float32))
            self.each_row(out, lse, q, k, v, table, once, base=np.log2(np.e))
        np.testing.assert_array_equal(wrapper.run_return_lse(q, cache)[0], out)
        kept = np.zeros_like(out), np.zeros_like(lse)
        given = wrapper.run(q, cache, out=kept[0], lse=kept[1], return_lse=True)
        self.assertTrue(given[0] is kept[0] and given[1] is kept[1])
        np.testing.assert_array_equal(kept[0], out)
        np.testing.assert_array_equal(kept[1], lse)
        sinks = np.float32([0.5, -1, 2, 0])
        self.each_row(wrapper.run(q, cache, sinks=sinks, window_left=9), None, q, k, v, table, once,
                      sink=sinks, window=(9, -1))
        self.planned(wrapper, table, window_left=7, sm_scale=SCALE)
        self.each_row(wrapper.run(q, cache), None, q, k, v, table, once, window=(7, -1))

    def test_prefill(self):
        k, v, table = self.cache(SIZE)
        q = oracle.normal(self.rng, "fp16", sum(self.queries), HEADS[0], DIM)
        for causal in (False, True):
            wrapper = self.planned(attnc.BatchPrefillWithPagedKVCacheWrapper(None), table, causal=causal)
            out, lse = wrapper.run(q, (k, v), return_lse=True)
            self.assertEqual((out.shape, lse.shape), (q.shape, q.shape[:2]))
            self.each_row(out, lse, q, k, v, table, self.queries, base=np.log2(np.e), causal=causal)
        capped = self.planned(wrapper, table, logits_soft_cap=2.0).run(q, (k, v))
        wanted = attnc.flash_attn_func(q[3:4][None], self.rows(k, table, 1, 17),
                                       self.rows(v, table, 1, 17), softcap=2.0)
        np.testing.assert_allclose(capped[3:4].astype(float), wanted[0].astype(float), atol=3e-3)

    def test_planned_again(self):
        """With use_cuda_graph the memory of the first plan is that of all."""
        k, v, table = self.cache(SIZE)
        q, buffers = self.q[:, 0], (None, np.zeros(12, np.int32), None)
        wrapper = attnc.BatchDecodeWithPagedKVCacheWrapper(None, "NHD", True, False, *buffers)
        self.assertTrue(wrapper.is_cuda_graph_enabled)
        self.planned(wrapper, table)
        wanted, first = wrapper.run(q, (k, v)), dict(wrapper._tensors)
        wrapper.plan(*(x[::-1] if x.size == len(LENGTHS) else x for x in (
            np.cumsum([0, 3, 0, 2, 6]).astype(np.int32), np.concatenate([table[i, :n] for i, n in (
                (3, 3), (1, 2), (0, 6))]), lists(table)[2])), *HEADS, DIM, SIZE)
        self.assertEqual(first["page_table"].shape, (4, 12))
        for name, x in wrapper._tensors.items():
            self.assertIs(x, first[name])
        turned = [3, 2, 1, 0]
        np.testing.assert_allclose(wrapper.run(q[turned], (k, v)).astype(float),
                                   wanted[turned].astype(float), atol=1e-3)
        self.raises(ValueError, "keeps its batch size", wrapper.plan, i32(0, 1), i32(0), i32(16), *HEADS,
                    DIM, SIZE)

    def test_refused(self):
        k, v, table = self.cache(SIZE)
        decode = attnc.BatchDecodeWithPagedKVCacheWrapper
        self.raises(RuntimeError, "plan", decode(None).run, self.q[:, 0], (k, v))
        self.raises(ValueError, "neither NHD nor HND", decode, None, "XYZ")
        self.raises(ValueError, "buffer of page indices", decode, None, use_cuda_graph=True)
        self.raises(NotImplementedError, "backend='fa2'", decode, None, backend="fa2")
        wrapper = self.planned(decode(None), table)
        for kind, why, wrong in (
                (NotImplementedError, "pos_encoding_mode='ROPE_LLAMA'",
                 {"pos_encoding_mode": "ROPE_LLAMA"}),
                (NotImplementedError, "kv_data_type=bf16", {"kv_data_type": "bfloat16"}),
                (NotImplementedError, "q_data_type=float8_e4m3fn", {"q_data_type": "float8_e4m3fn"}),
                (NotImplementedError, "q_len_per_req=3", {"q_len_per_req": 3}),
                (TypeError, "no argument 'sm_scala'; did you mean sm_scale", {"sm_scala": 1})):
            self.raises(kind, why, self.planned, wrapper, table, **wrong)
        indptr, indices, last = lists(table)
        for why, wrong in (("rise from 0", (indptr[::-1], indices, last)),
                           ("last_page_len=26", (indptr, indices, last + 16)),
                           ("last_page_len of 3", (indptr, indices, last[:3]))):
            self.raises(ValueError, why, wrapper.plan, *wrong, *HEADS, DIM, SIZE)
        self.raises(ValueError, "keys end in", wrapper.run, self.q[:, 0], (k[:, :8], v[:, :8]))
        self.raises(ValueError, "q is bf16, planned was fp16", wrapper.run,
                    self.q[:, 0].view(np.uint16), (k.view(np.uint16), v.view(np.uint16)))
        self.raises(NotImplementedError, "k_scale", wrapper.run, self.q[:, 0], (k, v), k_scale=0.5)
        prefill = attnc.BatchPrefillWithPagedKVCacheWrapper(None)
        self.raises(NotImplementedError, "custom_mask", self.planned, prefill, table,
                    custom_mask=np.ones(3, bool))
        self.planned(prefill, table)
        self.raises(ValueError, "as many rows", prefill.run, self.q[0], (k, v))

    def test_vllm(self):
        """vLLM's order of arguments: prompts and single tokens of a cache in one call."""
        k, v, table = self.cache(SIZE)
        q = oracle.normal(self.rng, "fp16", sum(self.queries), HEADS[0], DIM)
        at, used, call = i32(*np.cumsum([0, *self.queries])), i32(*LENGTHS), attnc.vllm.flash_attn_varlen_func
        for version, empty in ((2, np.inf), (3, -np.inf)):
            out, lse = call(q, k, v, 5, at, 96, seqused_k=used, causal=True, block_table=table,
                            return_softmax_lse=True, fa_version=version, softmax_scale=SCALE,
                            window_size=[-1, -1])
            self.each_row(out, lse.T, q, k, v, table, self.queries, causal=True, empty=empty)
        kept, sink = np.full(q.shape, 7, np.float16), np.float16([0.5, -1, 2, 0])
        self.assertIs(call(q, k, v, 5, at, 96, seqused_k=used, block_table=table, out=kept,
                           s_aux=sink), kept)
        self.each_row(kept, None, q, k, v, table, self.queries, sink=sink)
        wide = np.full((*q.shape[:2], 2 * DIM), 7, np.float16)[..., ::2]  # no kernel writes there
        call(q, k, v, 5, at, 96, seqused_k=used, block_table=table, out=wide, s_aux=sink)
        np.testing.assert_array_equal(wide, kept)
        rows = oracle.normal(self.rng, "fp16", 11, HEADS[1], DIM)
        np.testing.assert_array_equal(
            call(q, rows, rows, 5, at, 5, at, causal=True),
            attnc.flash_attn_varlen_func(q, rows, rows, at, at, 5, 5, causal=True))
        for kind, why, wrong in (
                (ValueError, "exactly one", {}), (ValueError, "exactly one", dict(
                    cu_seqlens_k=at, seqused_k=used)),
                (ValueError, "needs seqused_k", dict(cu_seqlens_k=at, block_table=table)),
                (ValueError, "cu_seqlens_k is needed", dict(seqused_k=used)),
                (NotImplementedError, "fa_version=4", dict(seqused_k=used, block_table=table, fa_version=4)),
                (NotImplementedError, "q_descale", dict(seqused_k=used, block_table=table, q_descale=used)),
                (NotImplementedError, "cp_world_size=2", dict(seqused_k=used, cp_world_size=2)),
                (ValueError, "sinks of shape", dict(seqused_k=used, block_table=table, s_aux=used))):
            self.raises(kind, why, call, q, k, v, 5, at, 96, **wrong)

    def turned(self, x, cos, sin, interleaved, at):
        """x [s, h, d], row i at position at[i]."""
        out, x = oracle.wide(x), oracle.wide(x)
        n = cos.shape[1]
        first, second = (slice(0, 2 * n, 2), slice(1, 2 * n, 2)) if interleaved else (
            slice(0, n), slice(n, 2 * n))
        c, s = (oracle.wide(y)[at][:, None] for y in (cos, sin))
        out[..., first] = x[..., first] * c - x[..., second] * s
        out[..., second] = x[..., second] * c + x[..., first] * s
        return out.astype(np.float16)

    def test_append(self):
        """New tokens of pages and of a dense cache, with and without embedding, packed and not; rows that
        are nobody's keep what they held."""
        used, new = i32(40, 17, 0, 30), 3
        angle = self.rng.random((96, 16))
        cos, sin = np.cos(angle).astype(np.float16), np.sin(angle).astype(np.float16)
        positions = i32(7, 0, 90, 3)
        for paged, causal, rotary, more in (
                (True, True, True, {}), (True, False, True, dict(rotary_interleaved=False)),
                (False, True, True, dict(rotary_seqlens=positions)), (False, False, False, {}),
                (True, True, False, dict(packed=True)), (True, True, True, dict(packed=True))):
            more, packed = dict(more), more.get("packed")
            more.pop("packed", None)
            k, v = (oracle.normal(self.rng, "fp16", *((9, 16) if paged else (4, 48)), HEADS[1], DIM)
                    for _ in "kv")
            table = np.int32([[3, 7, 0], [5, 2, 9], [1, 9, 9], [8, 6, 4]]) if paged else None
            q, k_new, v_new = (oracle.normal(self.rng, "fp16", 4, new, h, DIM)
                               for h in (HEADS[0], HEADS[1], HEADS[1]))
            tables = dict(rotary_cos=cos, rotary_sin=sin) if rotary else {}
            at = i32(*range(0, 4 * new + 1, new))
            rows = (lambda x: x.reshape(-1, *x.shape[2:])) if packed else (lambda x: x)
            if packed:
                more.update(cu_seqlens_q=at, max_seqlen_q=new, cu_seqlens_k_new=at)
            caches = k.copy(), v.copy()
            out = attnc.flash_attn_with_kvcache(
                rows(q), *caches, rows(k_new), rows(v_new), cache_seqlens=used, block_table=table,
                causal=causal, **tables, **more).reshape(q.shape)
            wanted = k.copy(), v.copy()
            for i, n in enumerate(used):
                first = more.get("rotary_seqlens", used)[i]
                places = first + np.arange(new)
                its_q, its_k = q[i], k_new[i]
                if rotary:
                    how = cos, sin, more.get("rotary_interleaved", True)
                    its_k = self.turned(its_k, *how, places)
                    its_q = self.turned(its_q, *how, places if causal else places * 0 + first)
                for to, x in zip(wanted, (its_k, v_new[i])):
                    for row in range(new):
                        to[(table[i, (n + row) // 16], (n + row) % 16) if paged else (i, n + row)] = x[row]
                keys = [np.concatenate([x[p] for p in table[i, :-(-(n + new) // 16)]]) if paged else x[i]
                        for x in wanted]
                oracle.check(self, out[i:i + 1], its_q[None], *(x[None, :n + new] for x in keys), SCALE,
                             causal, (-1, -1), what=str((paged, causal, rotary, more, i)))
            np.testing.assert_array_equal(caches[1], wanted[1])
            np.testing.assert_allclose(caches[0].astype(float), wanted[0].astype(float), atol=2e-3)
        odd = [x[..., :59].copy() for x in (k, v)]
        attnc.flash_attn_with_kvcache(q[..., :59], *odd, k_new[..., :59], v_new[..., :59],
                                      cache_seqlens=used, block_table=table)
        np.testing.assert_array_equal(odd[1], wanted[1][..., :59])

    def test_append_refused(self):
        k, v = (np.zeros((4, 48, 2, DIM), np.float16) for _ in "kv")
        new, cos = np.zeros((4, 3, 2, DIM), np.float16), np.zeros((8, 16), np.float16)
        for kind, why, wrong in (
                (ValueError, r"rotary_dim, 24, must be", dict(rotary_cos=cos[:, :12], rotary_sin=cos[:, :12])),
                (ValueError, "rotary_sin has shape", dict(rotary_cos=cos, rotary_sin=cos[:4])),
                (TypeError, "rotary_cos is i32", dict(rotary_cos=cos.astype(np.int32), rotary_sin=cos)),
                (ValueError, "needed together, and with", dict(rotary_cos=cos)),
                (ValueError, "cu_seqlens_k_new has 2 sequences, q 4", dict(
                    k=new[0], v=new[0], cu_seqlens_k_new=i32(0, 1, 3))),
                (ValueError, "k has 2 batches, q 4", dict(k=new[:2], v=new[:2])),
                (TypeError, "same dtype", dict(k=new.view(np.uint16), v=new))):
            self.raises(kind, why, attnc.flash_attn_with_kvcache, self.q, k, v,
                        **{**dict(k=new, v=new, cache_seqlens=3), **wrong})

    def test_writers(self):
        """FlashInfer's and vLLM's ways to write rows of a cache."""
        table = np.int32([[3, 7, 0], [5, -1, -1]])
        rows = [oracle.normal(self.rng, "fp16", 5, HEADS[1], DIM) for _ in "kv"]
        batch, at = i32(0, 1, 0, 0, 1), i32(0, 15, 17, 40, 3)
        for layout in ("NHD", "HND"):
            cache = oracle.normal(self.rng, "fp16", 9, 2, SIZE, HEADS[1], DIM)
            wanted = cache.copy()
            for i, (b, row) in enumerate(zip(batch, at)):
                for x in (0, 1):
                    wanted[table[b, row // SIZE], x, row % SIZE] = rows[x][i]
            if layout == "HND":
                cache, wanted = (np.ascontiguousarray(x.swapaxes(2, 3)) for x in (cache, wanted))
            attnc.append_paged_kv_cache(*rows, batch, at, cache, i32(3, 7, 0, 5), i32(0, 3, 4), i32(9, 16),
                                        layout)
            np.testing.assert_array_equal(cache, wanted)
        k, v = (oracle.normal(self.rng, "fp16", 9, SIZE, HEADS[1], DIM) for _ in "kv")
        slots = np.array([3 * 16 + 2, -1, 8 * 16 + 15, 0], np.int64)
        wanted = [x.copy() for x in (k, v)]
        for to, x in zip(wanted, rows):
            for i, slot in enumerate(slots):
                if slot >= 0:
                    to[slot // 16, slot % 16] = x[i]
        attnc.vllm.reshape_and_cache_flash(*rows, k, v, slots, "auto", 1.0, 1.0)
        np.testing.assert_array_equal([k, v], wanted)
        self.raises(NotImplementedError, "kv_cache_dtype='fp8'", attnc.vllm.reshape_and_cache_flash, *rows,
                    k, v, slots, "fp8")

    def test_merged(self):
        """Attention over parts of the keys, merged, is attention over all; parts without a key too."""
        q, k, v = (oracle.normal(self.rng, "fp16", 2, n, h, 40) for n, h in ((5, 4), (60, 2), (60, 2)))
        cuts = ((0, 20), (20, 20), (20, 60))
        parts = [attnc.flash_attn_func(q, k[:, a:b], v[:, a:b], return_attn_probs=True)[:2]
                 for a, b in cuts]
        outs, lses = np.stack([o for o, _ in parts]), np.stack([x.swapaxes(1, 2) for _, x in parts])
        self.assertTrue(np.isposinf(lses[1]).all())
        outs[1] = np.nan
        whole, all_lse, _ = attnc.flash_attn_func(q, k, v, return_attn_probs=True)
        out, lse = attnc.flash_attn_combine(outs, lses)
        self.assertEqual((out.dtype, out.shape, lse.shape), (np.float16, q.shape, q.shape[:3]))
        np.testing.assert_allclose(lse.swapaxes(1, 2), all_lse, atol=1e-3)
        np.testing.assert_allclose(out.astype(float), whole.astype(float), atol=2e-3)
        wide, _ = attnc.flash_attn_combine(outs.astype(np.float32), lses)
        self.assertEqual(wide.dtype, np.float32)
        kept = np.zeros_like(q)
        self.assertIs(attnc.flash_attn_combine(outs.astype(np.float32), lses, out=kept)[0], kept)
        made = attnc.flash_attn_combine(outs.astype(np.float32), lses, out_dtype=np.float16)[0]
        np.testing.assert_array_equal(made, kept)
        rows, its = attnc.flash_attn_combine(outs[:, 0], lses[:, 0])
        np.testing.assert_array_equal(rows, out[0])
        np.testing.assert_array_equal(its, lse[0])
        sets, two = outs[:, 0].swapaxes(0, 1), lses[:, 0].swapaxes(0, 1) / np.float32(np.log(2))
        two[:, 1] = -np.inf
        o, s = attnc.merge_states(sets, two)
        np.testing.assert_allclose(o.astype(float), whole[0].astype(float), atol=2e-3)
        np.testing.assert_allclose(s * np.log(2), all_lse[0].T, atol=1e-3)
        pair = attnc.merge_state(sets[:, 0], two[:, 0], sets[:, 2], two[:, 2])
        np.testing.assert_array_equal(pair[0], o)
        into = sets[:, 0].copy(), two[:, 0].copy()
        attnc.merge_state_in_place(*into, sets[:, 2], two[:, 2])
        np.testing.assert_array_equal(into[0], o)
        np.testing.assert_array_equal(into[1], pair[1])
        rows, its = np.zeros_like(o), np.zeros((4, 5), np.float32)
        attnc.vllm.merge_attn_states(rows, sets[:, 0], lses[0, 0].T, sets[:, 2], lses[2, 0].T, its)
        np.testing.assert_array_equal(rows, o)
        np.testing.assert_allclose(its, all_lse[0], atol=1e-3)
        nothing, its = attnc.merge_states(sets[:, 1:2], two[:, 1:2])
        self.assertTrue((nothing == 0).all() and np.isneginf(its).all())
        for kind, why, args in (
                (TypeError, "float32 is needed", (sets, two.astype(np.float64))),
                (ValueError, r"\[rows, sets, heads\]", (sets, two[:1]))):
            self.raises(kind, why, attnc.merge_states, *args)
        self.raises(ValueError, "without the last axis", attnc.flash_attn_combine, outs, lses[1:])

    def test_splits(self):
        """Keys of one token in as many parts as are asked for, which are sizes of the call."""
        q, made = self.q[:1, :1], []
        k, v = (oracle.normal(self.rng, "fp16", 1, 2000, HEADS[1], DIM) for _ in "kv")
        run = attnc.Plan.__call__

        def seen(plan, *args, **more):
            made.append((plan.info["template"], more.get("num_splits", 0)))
            return run(plan, *args, **more)

        with mock.patch.object(attnc.Plan, "__call__", seen):
            for n in (0, 1, 3, 7):
                out, lse = attnc.flash_attn_with_kvcache(q, k, v, num_splits=n, return_softmax_lse=True)
                oracle.check(self, out, q, k, v, SCALE, False, (-1, -1), lse, what=str(n))
            attnc.vllm.flash_attn_varlen_func(q[0], k[0], v[0], 1, i32(0, 1), 2000, i32(0, 2000), num_splits=5)
        self.assertEqual(made, [("decode_mma", n) for n in (0, 1, 3, 7, 5)])
        context, spec = attnc.Context("emu"), {"attnc": 1, "name": "splits", "dtype": "fp16",
                                               "head_dim": DIM, "group_size": 2}
        plan, sizes = context.plan(spec, "b1 h4/2 sq1 sk2000"), attnc.Sizes(1, 4, 2, 1, 2000)
        few, many = (plan.workspace(sizes._replace(num_splits=n)) for n in (2, 7))
        self.assertLess(few, many)
        self.assertIn("num_splits", plan.choices)
        self.assertEqual(context.plan(spec, "b1 h4/2 s256").choices, ())

    def test_cache_of_flash_attention_3(self):
        """A head_dim of v of its own, chunks, heads of a key head in a block or not."""
        k, v, table = self.cache(SIZE)
        good = dict(cache_seqlens=i32(*LENGTHS), page_table=table, causal=True)
        out = attnc.flash_attn_with_kvcache(self.q, k, v[..., :32], **good)
        whole = attnc.flash_attn_with_kvcache(self.q, k, v, **good)
        self.assertEqual(out.shape, (*self.q.shape[:3], 32))
        np.testing.assert_allclose(out.astype(float), whole[..., :32].astype(float), atol=2e-3)
        for packs in (False, True):
            np.testing.assert_allclose(attnc.flash_attn_with_kvcache(
                self.q, k, v, pack_gqa=packs, **good).astype(float), whole.astype(float), atol=2e-3)
        out = attnc.flash_attn_with_kvcache(self.q, k, v, attention_chunk=20, **good)
        position = np.arange(87, 90)  # of the queries of the first sequence, of 90 keys
        first = self.rows(k, table, 0, 90), self.rows(v, table, 0, 90)
        for row, at in enumerate(position):
            keys = slice(at // 20 * 20, at + 1)
            alone = attnc.flash_attn_func(self.q[:1, row:row + 1], *(x[:, keys] for x in first))
            np.testing.assert_allclose(out[0, row].astype(float), alone[0, 0].astype(float), atol=2e-3)
        self.raises(ValueError, "attention_chunk=-1", attnc.flash_attn_with_kvcache, self.q, k, v,
                    attention_chunk=-1, **good)
        self.raises(TypeError, "pack_gqa: True or False", attnc.flash_attn_with_kvcache, self.q, k, v,
                    pack_gqa="x", **good)


if __name__ == "__main__":
    unittest.main()
