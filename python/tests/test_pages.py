"""Keys and values in a cache, dense or of pages, by FlashAttention's functions: each sequence against
the fp64 oracle on rows that were gathered by hand. What no sequence has is NaN."""
import unittest

import common

np = common.need("numpy")
import attnc
import oracle

LENGTHS = (90, 17, 0, 33)
HEADS, DIM = (4, 2), 64


def i32(*x):
    return np.array(x, np.int32)


class Pages(common.Case):
    """A cache of pages in random order, some shared; ids behind a sequence's end are no pages."""

    def setUp(self):
        self.rng = np.random.default_rng(16)
        self.q = oracle.normal(self.rng, "fp16", len(LENGTHS), 3, HEADS[0], DIM)

    def cache(self, size, heads=HEADS[1], layout="NHD"):
        used = [-(-n // size) for n in LENGTHS]
        order = self.rng.permutation(sum(used) + 2)
        table = np.full((len(LENGTHS), max(used) + 1), -1, np.int32)
        k, v = (np.full((len(order), size, heads, DIM), np.nan, np.float16) for _ in "kv")
        at = 0
        for i, n in enumerate(used):
            table[i, :n], at = order[at:at + n], at + n
        table[3, 0] = table[0, 0]  # shared
        for i, n in enumerate(LENGTHS):
            for row in range(n):
                for x in (k, v):
                    x[table[i, row // size], row % size] = self.rng.standard_normal((heads, DIM))
        if layout == "HND":
            k, v = (np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2) for x in (k, v))
        return k, v, table

    def rows(self, x, table, i, n):
        return np.concatenate([x[p] for p in table[i, :-(-n // x.shape[1])]])[None, :n]

    def each(self, out, lse, q, k, v, table, causal=True, window=(-1, -1)):
        for i, n in enumerate(LENGTHS):
            if n == 0:
                self.assertTrue((out[i] == 0).all())
                self.assertTrue(lse is None or np.isposinf(lse[i]).all())
                continue
            oracle.check(self, out[i:i + 1], q[i:i + 1], self.rows(k, table, i, n),
                         self.rows(v, table, i, n), DIM ** -0.5, causal, window,
                         None if lse is None else lse[i:i + 1])

    def test_sizes_of_pages(self):
        for size in (1, 3, 16, 64, 300):
            for layout in ("NHD", "HND"):
                with self.subTest(size=size, layout=layout):
                    k, v, table = self.cache(size, layout=layout)
                    out, lse = attnc.flash_attn_with_kvcache(
                        self.q, k, v, cache_seqlens=i32(*LENGTHS), block_table=table, causal=True,
                        return_softmax_lse=True)
                    self.assertEqual((out.shape, lse.shape), (self.q.shape, (4, HEADS[0], 3)))
                    self.each(out, lse, self.q, k, v, table)

    def test_ways_to_say_the_same(self):
        """FlashAttention 3's keywords, packed queries, varlen with lengths and with offsets."""
        k, v, table = self.cache(16)
        q, at, used = self.q.reshape(12, *self.q.shape[2:]), i32(0, 3, 6, 9, 12), i32(*LENGTHS)
        wanted = attnc.flash_attn_with_kvcache(self.q, k, v, cache_seqlens=used, page_table=table,
                                               causal=True)
        for out in (
                attnc.flash_attn_with_kvcache(q, k, v, cache_seqlens=used, block_table=table,
                                              causal=True, cu_seqlens_q=at, max_seqlen_q=3),
                attnc.flash_attn_varlen_func(q, k, v, at, None, 3, 96, causal=True,
                                             block_table=table, seqused_k=used),
                attnc.flash_attn_varlen_func(q, k, v, at, i32(0, *np.cumsum(LENGTHS)), 3, 90,
                                             causal=True, block_table=table)):
            np.testing.assert_allclose(out.reshape(wanted.shape).astype(float),
                                       wanted.astype(float), atol=1e-3)
        lse = attnc.flash_attn_with_kvcache(
            q, k, v, cache_seqlens=used, block_table=table, causal=True, cu_seqlens_q=at,
            max_seqlen_q=3, return_softmax_lse=True)[1]
        self.assertEqual(lse.shape, (HEADS[0], 12))
        rows = i32(2, 0, 3, 1)  # of the table
        out = attnc.flash_attn_with_kvcache(self.q[rows], k, v, cache_seqlens=used[rows],
                                            block_table=table, cache_batch_idx=rows, causal=True)
        np.testing.assert_allclose(out.astype(float), wanted[rows].astype(float), atol=1e-3)

    def test_padded(self):
        """A head_dim that is no multiple of 8: copies of all pages, with zeros behind their rows."""
        k, v, table = self.cache(16)
        q, k, v = (x[..., :59] for x in (self.q, k, v))
        out, lse = attnc.flash_attn_with_kvcache(q, k, v, cache_seqlens=i32(*LENGTHS), block_table=table,
                                                 causal=True, return_softmax_lse=True)
        packed, at = q.reshape(12, HEADS[0], 59), i32(0, 3, 6, 9, 12)
        varlen = attnc.flash_attn_varlen_func(packed, k, v, at, None, 3, 96, causal=True,
                                              block_table=table, seqused_k=i32(*LENGTHS))
        np.testing.assert_allclose(varlen.reshape(q.shape).astype(float), out.astype(float), atol=1e-3)
        for i, n in enumerate(LENGTHS):
            if n:
                oracle.check(self, out[i:i + 1], q[i:i + 1], self.rows(k, table, i, n),
                             self.rows(v, table, i, n), 59 ** -0.5, True, (-1, -1), lse[i:i + 1])

    def test_window_slopes_and_cap(self):
        k, v, table = self.cache(3)
        out = attnc.flash_attn_with_kvcache(self.q, k, v, cache_seqlens=i32(*LENGTHS),
                                            block_table=table, window_size=(7, 0))
        self.each(out, None, self.q, k, v, table, False, (7, 0))
        slopes = np.float32([0.5, 0.25, 0.125, 1])
        out = attnc.flash_attn_with_kvcache(self.q, k, v, cache_seqlens=i32(*LENGTHS),
                                            block_table=table, softcap=1.5, alibi_slopes=slopes)
        alone = attnc.flash_attn_func(self.q[1:2], self.rows(k, table, 1, 17),
                                      self.rows(v, table, 1, 17), softcap=1.5, alibi_slopes=slopes)
        np.testing.assert_allclose(out[1:2].astype(float), alone.astype(float), atol=3e-3)

    def test_dense(self):
        """A cache without pages: all of it, one length, lengths, rows before, batches chosen."""
        k, v = (oracle.normal(self.rng, "fp16", 6, 40, HEADS[1], DIM) for _ in "kv")
        out = attnc.flash_attn_with_kvcache(self.q, k[:4], v[:4])
        np.testing.assert_array_equal(out, attnc.flash_attn_func(self.q, k[:4], v[:4]))
        chosen = i32(5, 0, 3, 3)
        out = attnc.flash_attn_with_kvcache(self.q, k, v, cache_seqlens=25, cache_batch_idx=chosen,
                                            causal=True)
        oracle.check(self, out, self.q, k[chosen, :25], v[chosen, :25], DIM ** -0.5, True, (-1, -1),
                     None)
        used, pad = i32(40, 12, 7, 30), i32(3, 0, 7, 29)
        out = attnc.flash_attn_with_kvcache(self.q, k[:4], v[:4], cache_seqlens=used,
                                            cache_leftpad=pad)
        for i, (end, first) in enumerate(zip(used, pad)):
            if first == end:
                self.assertTrue((out[i] == 0).all())
            else:
                oracle.check(self, out[i:i + 1], self.q[i:i + 1], k[i:i + 1, first:end],
                             v[i:i + 1, first:end], DIM ** -0.5, False, (-1, -1), None)

    def test_refused(self):
        k, v, table = self.cache(16)
        good = dict(cache_seqlens=i32(*LENGTHS), block_table=table)
        call = attnc.flash_attn_with_kvcache
        for kind, why, wrong in (
                (ValueError, "v, cu_seqlens_k_new and rotary_seqlens", {"v": v}),
                (ValueError, "needed together, of 4 axes", {"k": self.q[..., :2, :]}),
                (ValueError, "new keys have shape", {"k": self.q, "v": self.q}),
                (ValueError, "needed together, and with k and v", {"rotary_cos": k}),
                (ValueError, "need cache_seqlens", {"k": self.q[..., :2, :], "v": self.q[..., :2, :],
                                                    "cache_seqlens": None}),
                (ValueError, "with the rows of k, has a number", {
                    "k": self.q[..., :2, :], "v": self.q[..., :2, :], "cache_seqlens": 110}),
                (ValueError, "num_splits=-1", {"num_splits": -1}),
                (NotImplementedError, "qv", {"qv": k}),
                (TypeError, "block_table and page_table are one", {"page_table": table}),
                (TypeError, "block_table: int32", {"block_table": table.astype(np.int64)}),
                (ValueError, r"\(4, pages of each\)", {"block_table": table[:3]}),
                (ValueError, r"block_table\[0, 0\] is 99, not one", {"block_table": 0 * table + 99}),
                (ValueError, "cache_seqlens=113 is not from 0 to 112", {"cache_seqlens": 113}),
                (ValueError, "cache_seqlens has a number", {"cache_seqlens": i32(1, 2, 3, 113)}),
                (ValueError, "cache_seqlens has 2 numbers, not 4", {"cache_seqlens": i32(1, 2)}),
                (ValueError, "cache_leftpad has a number", {"cache_leftpad": i32(-1, 0, 0, 0)}),
                (ValueError, "max_seqlen_q is needed", {"cu_seqlens_q": i32(0, 3)})):
            with self.subTest(why):
                self.raises(kind, why, call, self.q, k, v, **{**good, **wrong})
        self.raises(ValueError, "is not copied", call, self.q[..., :56], k[..., 4:60], v[..., 4:60],
                    **good)
        self.raises(ValueError, "seqused_k or cu_seqlens_k", attnc.flash_attn_varlen_func,
                    self.q[0], k, v, i32(0, 3), None, 3, 96, block_table=table[:1])

    def test_plan(self):
        """sk is what tables and pages come to, unless it is given; more is refused."""
        spec = {"attnc": 1, "name": "pages", "dtype": "fp16", "head_dim": DIM, "causal": True,
                "page_table": "kv", "seqlens": ["seqused_k"]}
        k, v, table = self.cache(16)
        plan = attnc.Context("emu", target="sm_80").plan(spec, "b4 h4/2 sq3 sk112")
        more = dict(page_table=table, page_table_v=table, seqused_k=i32(*LENGTHS))
        out = plan(self.q, k, v, **more)
        self.each(out, None, self.q, k, v, table)
        self.assertTrue(attnc.verify(plan.spec, self.q, k, v, out, **more).passed)
        np.testing.assert_allclose(plan(self.q, k, v, sk=90, **more).astype(float),
                                   out.astype(float), atol=1e-3)
        self.raises(attnc.ShapeError, "sk is 113, more than the 112 rows of max_pages, 7, of "
                    "page_size, 16", plan, self.q, k, v, sk=113, **more)
        table = table.copy()
        table[1, 1] = len(k)
        self.raises(attnc.ShapeError, r"page_table_v\[1, 1\] is \d+, not from 0 to", attnc.verify,
                    plan.spec, self.q, k, v, out, **{**more, "page_table_v": table})


if __name__ == "__main__":
    unittest.main()
