"""FlashAttention-2's functions: the same names, order, defaults and meaning.

Tensors of torch on a GPU run there, on the current stream; tensors of torch on the CPU and
arrays of numpy run on the emulated device.  What is not supported raises NotImplementedError
with the argument's name and what to do instead (peers.py), never less.  Differences from
attnc's own conventions, all of them FlashAttention-2's: the LSE of a row that sees no key is
+inf, a window that reaches past all keys is no window, a head_dim that is not a multiple of 8
is padded with zeros.

The functions may be called from many threads; each thread keeps its own prepared launches.
"""
from . import arrays
from ._flash import (Options, attend, check_shapes, direct, dtype_of, keep_direct, ops_of,
                     prepared, result_of, scale_of, set_context, slopes_of, softcap_of, truth,
                     usable, whole, window_of)
from .peers import drop_in, refuse
from .peers import missing as __getattr__  # noqa: F401


@drop_in
def flash_attn_func(q, k, v, dropout_p=0.0, softmax_scale=None, causal=False,
                    window_size=(-1, -1), softcap=0.0, alibi_slopes=None, deterministic=False,
                    return_attn_probs=False):
    """softmax(q k^T softmax_scale) v for [batch, seqlen, heads, head_dim] tensors.

    q: (b, sq, h, d); k, v: (b, sk, hk, d), h a multiple of hk; fp16 or bf16.  causal and
    window_size (left, right; -1 is unbounded) are aligned at the last query and last key.
    deterministic: of the backward pass; the forward pass always is.

    Returns out (b, sq, h, d); with return_attn_probs (out, softmax_lse, S_dmask):
    softmax_lse (b, h, sq) fp32, +inf for a row that sees no key, and S_dmask empty, as
    FlashAttention's is without dropout.

    softcap: above 0, scores become softcap tanh(score / softcap).  alibi_slopes: fp32 (h,) or
    (b, h); scores less slope |i + sk - sq - j|.

    dropout_p other than 0, and tensors that require a gradient, raise NotImplementedError.
    """
    key, call = (None, None) if alibi_slopes is not None else direct(
        q, k, v, (softmax_scale, causal, window_size, return_attn_probs, dropout_p, softcap))
    result = call and call(q, k, v, return_attn_probs)
    if result is not None:
        return result
    refuse(dropout_p=dropout_p)
    ops = ops_of(q, k, v)
    check_shapes(q, k, v)
    head_dim = q.shape[-1]
    causal = truth("causal", causal)
    slopes, alibi = slopes_of(ops, alibi_slopes, q.shape[0], q.shape[2])
    options = Options(scale_of(softmax_scale, head_dim), causal,
                      window_of(window_size, causal, q.shape[1], k.shape[1]),
                      softcap_of(softcap), alibi, truth("return_attn_probs", return_attn_probs))
    dtype_of(ops, q, k, v)
    given, (q, k, v) = (q, k, v), (usable(ops, x) for x in (q, k, v))
    out, lse = attend(ops, q, k, v, options, slopes=slopes)
    if key and all(x is y for x, y in zip(given, (q, k, v))):
        keep_direct(key, ops, prepared(ops, q, k, v, options, out))
    return result_of(ops, out, lse, head_dim, return_attn_probs)


@drop_in
def flash_attn_kvpacked_func(q, kv, dropout_p=0.0, softmax_scale=None, causal=False,
                             window_size=(-1, -1), softcap=0.0, alibi_slopes=None,
                             deterministic=False, return_attn_probs=False):
    """flash_attn_func of q and kv (b, sk, 2, hk, d), which is not copied."""
    return flash_attn_func(q, kv[:, :, 0], kv[:, :, 1], dropout_p, softmax_scale, causal,
                           window_size, softcap, alibi_slopes, deterministic,
                           return_attn_probs)


@drop_in
def flash_attn_qkvpacked_func(qkv, dropout_p=0.0, softmax_scale=None, causal=False,
                              window_size=(-1, -1), softcap=0.0, alibi_slopes=None,
                              deterministic=False, return_attn_probs=False):
    """flash_attn_func of the three parts of qkv (b, s, 3, h, d), which is not copied."""
    return flash_attn_func(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], dropout_p, softmax_scale,
                           causal, window_size, softcap, alibi_slopes, deterministic,
                           return_attn_probs)


# ---- sequences of several lengths, one after another ----


def _bounds(ops, name, cu_seqlens, total):
    """[(start, end)] of each sequence."""
    if arrays.ops(cu_seqlens) is not ops:
        raise TypeError(f"{name}: an int32 vector of {ops.FRAMEWORK} is needed, as q is, not "
                        f"{type(cu_seqlens).__module__}.{type(cu_seqlens).__name__}: "
                        f"{ops.VECTOR.format(name)}")
    if len(cu_seqlens.shape) != 1:
        raise TypeError(f"{name}: a vector is needed, not {len(cu_seqlens.shape)} axes")
    try:
        at = ops.integers(cu_seqlens)
    except TypeError as e:
        raise TypeError(f"{name}: {e}") from None
    if len(at) < 2 or at[0] or any(a > b for a, b in zip(at, at[1:])) or at[-1] > total:
        raise ValueError(f"{name} must rise from 0 to at most {total}, with two numbers or more")
    return list(zip(at, at[1:]))


def _check_longest(name, longest, bounds):
    most = max(b - a for a, b in bounds)
    if most > whole(name, longest):
        raise ValueError(f"{name}={longest}, but a sequence has {most}")


def _uniform(bounds):
    """The length that all sequences have, one after another from 0, or None."""
    n = bounds[0][1]
    return n if all(b == (i * n, (i + 1) * n) for i, b in enumerate(bounds)) and n else None


def _varlen(ops, q, k, v, options, at_q, at_k, slopes):
    """(out, lse [h, total_q]) of usable (total, h, d) tensors: one launch where all sequences
    are of one length, else one for each."""
    total, h, d = q.shape
    want_lse = options.want_lse
    n, m = _uniform(at_q), _uniform(at_k)
    if n and m and n * len(at_q) == total:
        b = len(at_q)
        q, k, v = (x[:b * s].reshape(b, s, *x.shape[1:]) for x, s in ((q, n), (k, m), (v, m)))
        out, lse = attend(ops, q, k, v, options, slopes=slopes)
        if want_lse:
            lse = lse.swapaxes(0, 1).reshape(h, total)
        return out.reshape(total, h, d), lse
    out = ops.empty(q.shape, q) if at_q[-1][1] == total else ops.zeros(q.shape, q)
    lse = ops.zeros_fp32((h, total), q) if want_lse else None
    for i, ((a, b), (c, e)) in enumerate(zip(at_q, at_k)):
        if a < b:
            attend(ops, q[a:b][None], k[c:e][None], v[c:e][None], options, out[a:b][None],
                   lse[:, a:b] if want_lse else None,
                   slopes[i:i + 1] if options.alibi == "bh" else slopes)
    return out, lse


@drop_in
def flash_attn_varlen_func(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k,
                           dropout_p=0.0, softmax_scale=None, causal=False,
                           window_size=(-1, -1), softcap=0.0, alibi_slopes=None,
                           deterministic=False, return_attn_probs=False, block_table=None):
    """flash_attn_func of each sequence of packed tensors.

    q: (total_q, h, d); k, v: (total_k, hk, d); cu_seqlens_q, cu_seqlens_k: int32, sequence i
    is rows cu[i] … cu[i + 1], from 0 on; rows past the last one are zeros.  softmax_lse is
    (h, total_q).

    Sequences are dense launches over slices, one launch if all have one length; the offsets
    are read on the host, which waits for the device.  block_table raises
    NotImplementedError, as does what flash_attn_func refuses.
    """
    refuse(dropout_p=dropout_p, block_table=block_table)
    ops = ops_of(q, k, v)
    if not len(q.shape) == len(k.shape) == len(v.shape) == 3:
        raise ValueError("q, k and v must have 3 axes: rows, heads, head_dim")
    at_q = _bounds(ops, "cu_seqlens_q", cu_seqlens_q, q.shape[0])
    at_k = _bounds(ops, "cu_seqlens_k", cu_seqlens_k, k.shape[0])
    if len(at_q) != len(at_k):
        raise ValueError(f"cu_seqlens_q has {len(at_q)} sequences, cu_seqlens_k {len(at_k)}")
    _check_longest("max_seqlen_q", max_seqlen_q, at_q)
    _check_longest("max_seqlen_k", max_seqlen_k, at_k)
    check_shapes(q[None], k[None], v[None])
    head_dim = q.shape[-1]
    causal = truth("causal", causal)
    slopes, alibi = slopes_of(ops, alibi_slopes, len(at_q), q.shape[1])
    options = Options(scale_of(softmax_scale, head_dim), causal,
                      window_of(window_size, causal, max_seqlen_q, max_seqlen_k),
                      softcap_of(softcap), alibi, truth("return_attn_probs", return_attn_probs))
    dtype_of(ops, q, k, v)
    q, k, v = (usable(ops, x) for x in (q, k, v))
    out, lse = _varlen(ops, q, k, v, options, at_q, at_k, slopes)
    return result_of(ops, out, lse, head_dim, return_attn_probs)


@drop_in
def flash_attn_varlen_kvpacked_func(q, kv, cu_seqlens_q, cu_seqlens_k, max_seqlen_q,
                                    max_seqlen_k, dropout_p=0.0, softmax_scale=None,
                                    causal=False, window_size=(-1, -1), softcap=0.0,
                                    alibi_slopes=None, deterministic=False,
                                    return_attn_probs=False):
    """flash_attn_varlen_func of q and kv (total_k, 2, hk, d), which is not copied."""
    return flash_attn_varlen_func(
        q, kv[:, 0], kv[:, 1], cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k,
        dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes, deterministic,
        return_attn_probs)


@drop_in
def flash_attn_varlen_qkvpacked_func(qkv, cu_seqlens, max_seqlen, dropout_p=0.0,
                                     softmax_scale=None, causal=False, window_size=(-1, -1),
                                     softcap=0.0, alibi_slopes=None, deterministic=False,
                                     return_attn_probs=False):
    """flash_attn_varlen_func of the three parts of qkv (total, 3, h, d), which is not copied."""
    return flash_attn_varlen_func(
        qkv[:, 0], qkv[:, 1], qkv[:, 2], cu_seqlens, cu_seqlens, max_seqlen, max_seqlen,
        dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes, deterministic,
        return_attn_probs)
