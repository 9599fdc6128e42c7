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
from ._flash import (Options, Sequences, attend, check_shapes, direct, dtype_of, keep_direct, ops_of,
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


def _vector(ops, q, name, x, n):
    """An int32 vector of the call, of n numbers (None: any), where q is."""
    if arrays.ops(x) is not ops:
        raise TypeError(f"{name}: an int32 vector of {ops.FRAMEWORK} is needed, as q is, not "
                        f"{type(x).__module__}.{type(x).__name__}: {ops.VECTOR.format(name)}")
    at = ops.view(x)
    if len(at.shape) != 1:
        raise TypeError(f"{name}: a vector is needed, not {len(at.shape)} axes")
    if at.dtype != "i32":
        raise TypeError(f"{name}: int32 is needed, not {at.dtype}")
    if at.device != ops.view(q).device:
        raise ValueError(f"{name} must be on the device of q")
    if n is not None and at.shape[0] != n:
        raise ValueError(f"{name} has {at.shape[0]} numbers, not {n}")
    return ops.contiguous(x)


def _offsets(ops, q, name, cu_seqlens, total, longest):
    """The vector, and how many sequences it tells; numbers on a GPU are not looked at, which would
    wait for it."""
    x = _vector(ops, q, name, cu_seqlens, None)
    n = x.shape[0] - 1
    if n < 1:
        raise ValueError(f"{name} must have two numbers or more")
    if ops.view(x).device[0] == "cpu":
        _check_offsets(name, ops.integers(x), total, longest)
    return x, n


def _check_offsets(name, at, total, longest):
    if at[0] or any(a > b for a, b in zip(at, at[1:])) or at[-1] > total:
        raise ValueError(f"{name} must rise from 0 to at most {total}, with two numbers or more")
    most = max(b - a for a, b in zip(at, at[1:]))
    if most > longest:
        raise ValueError(f"max_seqlen_{name[-1]}={longest}, but a sequence has {most}")


def _sequences(ops, q, k, cu, longest, used):
    """Of what a call gives for queries and for keys: offsets, the longest, how many rows count."""
    tensors, n = {}, []
    for side, x, at, most in zip("qk", (q, k), cu, longest):
        name = f"cu_seqlens_{side}"
        tensors[name], its = _offsets(ops, q, name, at, x.shape[0], most)
        n.append(its)
    if n[0] != n[1]:
        raise ValueError(f"cu_seqlens_q has {n[0]} sequences, cu_seqlens_k {n[1]}")
    for side, x in zip("qk", used):
        if x is not None:
            tensors[f"seqused_{side}"] = _vector(ops, q, f"seqused_{side}", x, n[0])
    return Sequences(n[0], *longest, tensors)


@drop_in
def flash_attn_varlen_func(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k,
                           dropout_p=0.0, softmax_scale=None, causal=False,
                           window_size=(-1, -1), softcap=0.0, alibi_slopes=None,
                           deterministic=False, return_attn_probs=False, block_table=None, *,
                           seqused_q=None, seqused_k=None):
    """flash_attn_func of each sequence of packed tensors, in one launch.

    q: (total_q, h, d); k, v: (total_k, hk, d); cu_seqlens_q, cu_seqlens_k: int32, sequence i
    is rows cu[i] … cu[i + 1], from 0 on; rows of no sequence are not written.  softmax_lse is
    (h, total_q).  max_seqlen_q and max_seqlen_k are at least the longest sequence's.
    seqused_q, seqused_k (FlashAttention 3): int32 (b,), how many rows of each count.

    Nothing waits for a GPU: what offsets and lengths there are is not looked at.
    block_table raises NotImplementedError, as does what flash_attn_func refuses.
    """
    refuse(dropout_p=dropout_p, block_table=block_table)
    ops = ops_of(q, k, v)
    if not len(q.shape) == len(k.shape) == len(v.shape) == 3:
        raise ValueError("q, k and v must have 3 axes: rows, heads, head_dim")
    longest = whole("max_seqlen_q", max_seqlen_q), whole("max_seqlen_k", max_seqlen_k)
    sequences = _sequences(ops, q, k, (cu_seqlens_q, cu_seqlens_k), longest,
                           (seqused_q, seqused_k))
    check_shapes(q[None], k[None], v[None])
    head_dim = q.shape[-1]
    causal = truth("causal", causal)
    slopes, alibi = slopes_of(ops, alibi_slopes, sequences.b, q.shape[1])
    options = Options(scale_of(softmax_scale, head_dim), causal,
                      window_of(window_size, causal, *longest), softcap_of(softcap), alibi,
                      truth("return_attn_probs", return_attn_probs), tuple(sequences.tensors))
    dtype_of(ops, q, k, v)
    q, k, v = (usable(ops, x) for x in (q, k, v))
    out, lse = attend(ops, q, k, v, options, slopes, sequences)
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
