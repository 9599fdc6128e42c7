"""Dropout of the drop-in functions: a seed decides, O is that of the weights that S_dmask says are kept, and
the LSE is that of all; of numpy."""
import unittest

import common

np = common.need("numpy")
import attnc


def attention(q, k, v, keep, p, causal):
    """In fp64: O (b, s, h, d) of weights that are kept, and the LSE."""
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    group = q.shape[2] // k.shape[2]
    k, v = (np.repeat(x, group, axis=2) for x in (k, v))
    s = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(q.shape[-1])
    if causal:
        sq, sk = s.shape[2:]
        s = np.where(np.arange(sq)[:, None] + sk - sq >= np.arange(sk), s, -np.inf)
    most = s.max(axis=-1, keepdims=True)
    w = np.exp(s - most)
    lse = np.log(w.sum(axis=-1)) + most[..., 0]
    w = w / w.sum(axis=-1, keepdims=True) * keep / (1 - p)
    return np.einsum("bhqk,bkhd->bqhd", w, v), lse


def weights(q, k, causal, left=10**6):
    """exp(score - the largest of the row), in fp64."""
    q, k = q.astype(np.float64), np.repeat(k.astype(np.float64), q.shape[2] // k.shape[2], axis=2)
    s = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(q.shape[-1])
    if causal:
        at, j = np.arange(s.shape[2])[:, None] + s.shape[3] - s.shape[2], np.arange(s.shape[3])
        s = np.where((at >= j) & (j >= at - left), s, -np.inf)
    return np.exp(s - s.max(axis=-1, keepdims=True))


def problem(seed=3, b=2, sq=40, sk=70, h=4, hk=2, d=32):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float16) for shape in
            ((b, sq, h, d), (b, sk, hk, d), (b, sk, hk, d))]


class Dropout(unittest.TestCase):
    def right(self, out, lse, mask, q, k, v, p, causal):
        self.assertEqual(mask.shape, (2, 4, 128, 128))
        np.testing.assert_allclose(np.abs(mask[:, :, :q.shape[1], :k.shape[1]]), weights(q, k, causal), atol=1e-3)
        self.assertFalse(mask[:, :, q.shape[1]:].any() or mask[:, :, :, k.shape[1]:].any())
        want, want_lse = attention(q, k, v, mask[:, :, :q.shape[1], :k.shape[1]] > 0, p, causal)
        np.testing.assert_allclose(out.astype(np.float64), want, atol=4e-3)
        np.testing.assert_allclose(lse, want_lse, atol=1e-3)

    def test_numpy(self):
        q, k, v = problem()
        for p, causal in ((0.25, False), (0.6, True)):
            np.random.seed(11)
            out, lse, mask = attnc.flash_attn_func(q, k, v, p, causal=causal, return_attn_probs=True)
            self.right(out, lse, mask, q, k, v, p, causal)
            other = attnc.flash_attn_func(q, k, v, p, causal=causal)
            self.assertFalse(np.array_equal(out, other))
            np.random.seed(11)
            np.testing.assert_array_equal(attnc.flash_attn_func(q, k, v, p, causal=causal), out)

    def test_state(self):
        q, k, v = problem()
        state = np.array([2**64 - 5, 2**32 - 9], np.uint64)
        out, lse, mask = attnc.flash_attn_func(q, k, v, 0.5, rng_state=state, return_attn_probs=True)
        self.right(out, lse, mask, q, k, v, 0.5, False)
        packed = [x.reshape(-1, *x.shape[2:]) for x in (q, k, v)]
        at = [np.arange(3, dtype=np.int32) * x.shape[1] for x in (q, k)]
        rows, _, rows_mask = attnc.flash_attn_varlen_func(*packed, *at, q.shape[1], k.shape[1], 0.5,
                                                          rng_state=state, return_attn_probs=True)
        np.testing.assert_array_equal(rows.reshape(out.shape), out)
        np.testing.assert_array_equal(rows_mask, mask)
        at = [np.array([0, n - 20, 2 * n], np.int32) for n in (q.shape[1], k.shape[1])]  # of unequal lengths
        _, _, rows_mask = attnc.flash_attn_varlen_func(*packed, *at, q.shape[1] + 20, k.shape[1] + 20, 0.5, causal=True,
                                                       window_size=(9, 0), rng_state=state, return_attn_probs=True)
        for i in range(2):
            (a, b), (c, d) = at[0][i:i + 2], at[1][i:i + 2]
            np.testing.assert_allclose(np.abs(rows_mask[i, :, :b - a, :d - c]),
                                       weights(packed[0][None, a:b], packed[1][None, c:d], True, 9)[0], atol=1e-3)
            self.assertFalse(rows_mask[i, :, b - a:].any() or rows_mask[i, :, :, d - c:].any())
        with self.assertRaisesRegex(ValueError, "rng_state"):
            attnc.flash_attn_func(q, k, v, 0.5, rng_state=state[:1])

    def test_nothing_is_dropped(self):
        q, k, v = problem()
        np.testing.assert_array_equal(attnc.flash_attn_func(q, k, v, 1e-9), attnc.flash_attn_func(q, k, v))


if __name__ == "__main__":
    common.main()
