"""Attention by numpy, written from FlashAttention's documentation: masks, LSE and accuracy.

bf16 numbers are uint16 arrays of their bits, as the binding takes them from numpy.
"""
import numpy as np

ULP = {"fp16": 2.0 ** -10, "bf16": 2.0 ** -7}  # of a number in [1, 2)


def to_bf16(x):
    """The nearest bf16, ties to even, as bits."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def to(dtype, x):
    return to_bf16(x) if dtype == "bf16" else np.asarray(x, np.float16)


def wide(x):
    """As float64, exactly."""
    if x.dtype == np.uint16:
        return (x.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return x.astype(np.float64)


def normal(rng, dtype, *shape):
    return to(dtype, rng.standard_normal(shape).astype(np.float32))


def mask(sq, sk, causal, window):
    """True where query i sees key j; "the last query is at the last key"."""
    at = np.arange(sq)[:, None] + sk - sq
    key = np.arange(sk)[None, :]
    seen = np.ones((sq, sk), bool)
    left, right = window
    if causal:
        right = 0
    if left >= 0:
        seen &= key >= at - left
    if right >= 0:
        seen &= key <= at + right
    return seen


def scores(q, k, scale, seen, kind, softcap=0.0, slopes=None):
    """[b, h, sq, sk] of [b, s, h, d] inputs, -inf where nothing is seen."""
    group = q.shape[2] // k.shape[2]
    k = np.repeat(k, group, axis=2)
    s = np.einsum("bqhd,bkhd->bhqk", q.astype(kind), k.astype(kind)) * kind(scale)
    if softcap:
        s = kind(softcap) * np.tanh(s / kind(softcap))
    if slopes is not None:
        (sq, sk), rows = s.shape[2:], np.broadcast_to(slopes, s.shape[:2]).astype(kind)
        distance = np.abs(np.arange(sq)[:, None] + sk - sq - np.arange(sk))
        s = s - rows[:, :, None, None] * distance.astype(kind)
    return np.where(seen, s, kind(-np.inf))


def weights(s):
    """exp(s - max) and its sum; 0 in rows that see nothing."""
    top = s.max(axis=-1, keepdims=True, initial=-np.inf)
    w = np.exp(s - np.where(np.isinf(top), 0, top))
    return w, w.sum(axis=-1, keepdims=True), top


def output(w, total, v, group):
    v = np.repeat(v, group, axis=2)
    o = np.einsum("bhqk,bkhd->bhqd", w, v.astype(w.dtype))
    return np.divide(o, total, out=np.zeros_like(o), where=total > 0).swapaxes(1, 2)


def attention(q, k, v, scale, causal, window, softcap=0.0, slopes=None):
    """(o [b, sq, h, d], lse [b, h, sq], bound [b, 1, h, 1]) in float64.  The bound on a head's
    error: twice the largest error of the plain computation, which has scores and sums in
    fp32 and rounds its weights and its output to the dtype, and one ulp of that output."""
    dtype = "bf16" if q.dtype == np.uint16 else "fp16"
    q, k, v = wide(q), wide(k), wide(v)
    group = q.shape[2] // k.shape[2]
    seen = mask(q.shape[1], k.shape[1], causal, window)
    w, total, top = weights(scores(q, k, scale, seen, np.float64, softcap, slopes))
    o = output(w, total, v, group)
    with np.errstate(divide="ignore"):
        lse = (np.log(total) + np.where(np.isinf(top), 0, top))[..., 0]
    w, total, _ = weights(scores(q, k, scale, seen, np.float32, softcap, slopes))
    plain = wide(to(dtype, output(wide(to(dtype, w)).astype(np.float32), total, v, group)))
    error = np.abs(plain - o).max(axis=(1, 3), keepdims=True, initial=0)
    size = np.abs(o).max(axis=(1, 3), keepdims=True, initial=0)
    return o, lse, 2 * error + ULP[dtype] * np.maximum(size, 2.0 ** -14)


def check(case, got, q, k, v, scale, causal, window, lse=None, what="", softcap=0.0,
          slopes=None):
    """Fails the test case unless `got`, and FlashAttention's `lse`, are right."""
    o, want_lse, bound = attention(q, k, v, scale, causal, window, softcap, slopes)
    case.assertEqual(got.shape, o.shape, what)
    case.assertEqual(got.dtype, q.dtype, what)
    error = np.abs(wide(got) - o)
    case.assertTrue((error <= bound).all(),
                    f"{what}: error {error.max(initial=0):.3g}, bounds "
                    f"{bound.min():.3g} to {bound.max():.3g}")
    empty = np.isneginf(want_lse)
    case.assertTrue((wide(got).swapaxes(1, 2)[empty] == 0).all(), f"{what}: empty rows")
    if lse is not None:
        case.assertEqual((lse.shape, lse.dtype), (want_lse.shape, np.float32), what)
        case.assertTrue(np.isposinf(lse[empty]).all(), f"{what}: the LSE of empty rows")
        case.assertTrue(np.isfinite(lse[~empty]).all(), f"{what}: LSE")
        wrong = np.abs(lse[~empty] - want_lse[~empty]).max(initial=0)
        case.assertLessEqual(wrong, 1e-3, f"{what}: LSE")
