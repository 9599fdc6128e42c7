"""FlashAttention-2's functions: the same names, order, defaults and meaning.

Tensors of torch on a GPU run there, on the current stream; tensors of torch on the CPU and
arrays of numpy run on the emulated device.  What is not supported raises NotImplementedError
with the argument's name, never less.  Differences from attnc's own conventions, all of them
FlashAttention-2's: the LSE of a row that sees no key is +inf, a window that reaches past all
keys is no window, a head_dim that is not a multiple of 8 is padded with zeros.

The functions may be called from many threads; each thread keeps its own prepared launches.
"""
import os
import threading
from typing import Dict

from . import arrays, errors
from .context import Context
from .sizes import Sizes
from .spec import Spec

KEPT_LAUNCHES = 512  #: prepared launches a thread keeps, one for each shape
HEAD_DIM_MIN, HEAD_DIM_MAX, HEAD_DIM_STEP = 16, 256, 8
DTYPES = ("fp16", "bf16")

_lock = threading.RLock()
_contexts: Dict[str, Context] = {}
_specs: Dict[tuple, Spec] = {}
_kept = threading.local()


def set_context(kind: str, context: Context) -> None:
    """Makes the functions of this module use `context` for tensors on "cpu" or on "cuda".
    Without it they create Context("emu") and Context("cuda") when first needed."""
    if kind not in ("cpu", "cuda"):
        raise errors.UsageError(f"set_context: {kind!r} is not cpu or cuda")
    with _lock:
        _contexts[kind] = context
        _forget()


def _forget():
    """Prepared launches belong to a context, and to a process."""
    global _kept
    _kept = threading.local()


def _after_fork():
    global _lock
    _lock = threading.RLock()
    _contexts.clear()
    _specs.clear()
    _forget()


os.register_at_fork(after_in_child=_after_fork)


def _context(kind):
    if kind not in _contexts:
        with _lock:
            if kind not in _contexts:
                _contexts[kind] = Context("emu" if kind == "cpu" else "cuda")
    return _contexts[kind]


def _spec(dtype, head_dim, causal, window, return_lse):
    key = (dtype, head_dim, causal, window, return_lse)
    if key not in _specs:
        _specs[key] = Spec.from_dict({
            "attnc": 1, "name": "flash_attn", "dtype": dtype, "head_dim": head_dim,
            "causal": causal, "window": list(window), "return_lse": return_lse})
    return _specs[key]


# ---- arguments ----


def _refuse(dropout_p=0.0, softcap=0.0, alibi_slopes=None, block_table=None):
    for name, wrong in (("dropout_p", dropout_p), ("softcap", softcap)):
        if wrong:
            raise NotImplementedError(f"{name}={wrong!r} is not supported yet")
    for name, wrong in (("alibi_slopes", alibi_slopes), ("block_table", block_table)):
        if wrong is not None:
            raise NotImplementedError(f"{name} is not supported yet")


def _ops(*tensors):
    """The framework of all of them, after what FlashAttention checks of each."""
    found = {arrays.ops(x) for x in tensors}
    if len(found) != 1 or None in found:
        raise TypeError("q, k, v must all be tensors of torch or all arrays of numpy")
    ops, = found
    if ops.needs_grad(*tensors):
        raise NotImplementedError("requires_grad: the backward pass is not supported yet; "
                                  "call under torch.no_grad() or on detached tensors")
    return ops


def _dtype(ops, q, k, v):
    views = [ops.view(x) for x in (q, k, v)]
    dtype, device = views[0].dtype, views[0].device
    if dtype not in DTYPES:
        raise TypeError(f"q is {dtype}: fp16 and bf16 are supported")
    if any(x.dtype != dtype for x in views):
        raise TypeError("q, k and v must have the same dtype")
    if any(x.device != device for x in views):
        raise ValueError("q, k and v must be on the same device")
    return dtype, device


def _check_shapes(q, k, v):
    """[b, s, h, d]."""
    if not len(q.shape) == len(k.shape) == len(v.shape) == 4:
        raise ValueError("q, k and v must have 4 axes: batch, seqlen, heads, head_dim")
    (b, _, h, d), (bk, _, hk, dk) = q.shape, k.shape
    if tuple(v.shape) != tuple(k.shape) or bk != b or dk != d:
        raise ValueError(f"shapes do not agree: q {tuple(q.shape)}, k {tuple(k.shape)}, "
                         f"v {tuple(v.shape)}")
    if b == 0:
        raise ValueError("batch size must be positive")
    if hk == 0 or h % hk:
        raise ValueError(f"heads of q, {h}, must be a multiple of those of k and v, {hk}")
    if d > HEAD_DIM_MAX:
        raise NotImplementedError(f"head_dim={d}: at most {HEAD_DIM_MAX} is supported")


def _scale(softmax_scale, head_dim):
    """A number: that of FlashAttention where it is None."""
    if softmax_scale is None:
        return head_dim ** -0.5
    if not softmax_scale > 0:
        raise NotImplementedError(f"softmax_scale={softmax_scale!r}: it must be positive")
    return float(softmax_scale)


def _window(window_size, causal, sq, sk):
    """FlashAttention-2's reading of window_size, sk the longest keys of the call: below 0, or
    past all keys, is unbounded; `causal` decides the right side; and a window with a left
    side only reaches sk to the right, which shows where sq > sk + 1."""
    left, right = (int(x) for x in window_size)
    left = -1 if left < 0 or left >= sk else left
    right = -1 if right < 0 or right >= sk else right
    if causal:
        right = -1
    elif left >= 0 and right < 0 and sq > sk + 1:
        right = sk
    return left, right


# ---- one dense problem ----


def _usable(ops, x):
    """Rows of `x` whole, and pointer and strides multiples of 16 bytes; else a copy."""
    short = max(HEAD_DIM_MIN - x.shape[-1], -x.shape[-1] % HEAD_DIM_STEP)
    if short > 0:
        return ops.pad_last(x, short)
    y = ops.packed(x)
    at = ops.view(y)
    step = 16 // arrays.BYTES[at.dtype]
    if at.address % 16 or any(s % step for s in at.strides[:-1]):
        return ops.contiguous(y)
    return y


class _Prepared:
    """What is known of a call once its shapes are: how to run it, and how to allocate for it."""

    def __init__(self, ops, q, k, v, options):
        scale, causal, window, want_lse = options
        dtype, self.device = _dtype(ops, q, k, v)
        kind, index = self.device
        (b, sq, h, d), (_, sk, hk, _) = q.shape, k.shape
        sizes = Sizes(b, h, hk, sq, sk)
        self.shape, self.lse_shape, self.scale = tuple(q.shape), (b, h, sq), scale
        self.plan = _context(kind).plan(_spec(dtype, d, causal, window, want_lse), sizes,
                                        device=index)
        self.sees_all = 0 < sk >= sq  # every row sees a key, whatever causal and window say
        self.launch = None

    def run(self, ops, q, k, v, out, lse):
        if self.device[0] == "cpu":
            self.plan(q, k, v, out, lse, softmax_scale=self.scale)
            return
        launch = self.launch
        if launch is None:
            launch = self.launch = self.plan.prepare(q, k, v, out, lse,
                                                     softmax_scale=self.scale)
        if launch.workspace_bytes:
            scratch = ops.scratch(launch.workspace_bytes, q)
            launch.use_workspace(scratch.data_ptr(), launch.workspace_bytes)
        launch(q.data_ptr(), k.data_ptr(), v.data_ptr(), out.data_ptr(),
               0 if lse is None else lse.data_ptr(), ops.stream(self.device))


def _prepared(ops, q, k, v, options, out):
    """From this thread's table; the key is all that a launch is packed from."""
    try:
        table = _kept.table
    except AttributeError:
        table = _kept.table = {}
    key = (*ops.key(q), *ops.key(k), *ops.key(v), ops.strides(out), options)
    found = table.get(key)
    if found is None:
        if len(table) >= KEPT_LAUNCHES:
            del table[next(iter(table))]
        found = table[key] = _Prepared(ops, q, k, v, options)
    return found


def _attend(ops, q, k, v, options, out=None, out_lse=None):
    """Attention of usable [b, s, h, d] tensors: (out, lse or None).  The LSE is written into
    `out_lse` [h, sq] if that is given."""
    out = ops.empty(q.shape, q) if out is None else out
    call = _prepared(ops, q, k, v, options, out)
    lse = ops.empty_fp32(call.lse_shape, q) if options[-1] else None
    call.run(ops, q, k, v, out, lse)
    if lse is not None and not call.sees_all:
        ops.minus_to_plus_inf(lse)
    if out_lse is not None:
        ops.copy(out_lse, lse[0])
    return out, lse


def _result(ops, out, lse, head_dim, return_attn_probs):
    if out.shape[-1] != head_dim:
        out = out[..., :head_dim]
    return (out, lse, ops.empty((0,), out)) if return_attn_probs else out


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

    dropout_p, softcap, alibi_slopes other than their defaults, and tensors that require a
    gradient, raise NotImplementedError.
    """
    _refuse(dropout_p, softcap, alibi_slopes)
    ops = _ops(q, k, v)
    _check_shapes(q, k, v)
    head_dim = q.shape[-1]
    causal = bool(causal)
    options = (_scale(softmax_scale, head_dim), causal,
               _window(window_size, causal, q.shape[1], k.shape[1]), bool(return_attn_probs))
    _dtype(ops, q, k, v)
    q, k, v = (_usable(ops, x) for x in (q, k, v))
    out, lse = _attend(ops, q, k, v, options)
    return _result(ops, out, lse, head_dim, return_attn_probs)


def flash_attn_kvpacked_func(q, kv, dropout_p=0.0, softmax_scale=None, causal=False,
                             window_size=(-1, -1), softcap=0.0, alibi_slopes=None,
                             deterministic=False, return_attn_probs=False):
    """flash_attn_func of q and kv (b, sk, 2, hk, d), which is not copied."""
    return flash_attn_func(q, kv[:, :, 0], kv[:, :, 1], dropout_p, softmax_scale, causal,
                           window_size, softcap, alibi_slopes, deterministic,
                           return_attn_probs)


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
    try:
        at = ops.integers(cu_seqlens)
    except TypeError as e:
        raise TypeError(f"{name}: {e}") from None
    if len(at) < 2 or at[0] < 0 or any(a > b for a, b in zip(at, at[1:])) or at[-1] > total:
        raise ValueError(f"{name} must rise from 0 to at most {total}, with two numbers or more")
    return list(zip(at, at[1:]))


def _check_longest(name, longest, bounds):
    most = max(b - a for a, b in bounds)
    if most > longest:
        raise ValueError(f"{name}={longest}, but a sequence has {most}")


def _uniform(bounds):
    """The length that all sequences have, one after another from 0, or None."""
    n = bounds[0][1]
    return n if all(b == (i * n, (i + 1) * n) for i, b in enumerate(bounds)) and n else None


def _varlen(ops, q, k, v, options, at_q, at_k):
    """(out, lse [h, total_q]) of usable (total, h, d) tensors: one launch where all sequences
    are of one length, else one for each."""
    total, h, d = q.shape
    want_lse = options[-1]
    n, m = _uniform(at_q), _uniform(at_k)
    if n and m and n * len(at_q) == total:
        b = len(at_q)
        q, k, v = (x[:b * s].reshape(b, s, *x.shape[1:]) for x, s in ((q, n), (k, m), (v, m)))
        out, lse = _attend(ops, q, k, v, options)
        if want_lse:
            lse = lse.swapaxes(0, 1).reshape(h, total)
        return out.reshape(total, h, d), lse
    whole = at_q[0][0] == 0 and at_q[-1][1] == total
    out = ops.empty(q.shape, q) if whole else ops.zeros(q.shape, q)
    lse = ops.zeros_fp32((h, total), q) if want_lse else None
    for (a, b), (c, e) in zip(at_q, at_k):
        if a < b:
            _attend(ops, q[a:b][None], k[c:e][None], v[c:e][None], options, out[a:b][None],
                    lse[:, a:b] if want_lse else None)
    return out, lse


def flash_attn_varlen_func(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k,
                           dropout_p=0.0, softmax_scale=None, causal=False,
                           window_size=(-1, -1), softcap=0.0, alibi_slopes=None,
                           deterministic=False, return_attn_probs=False, block_table=None):
    """flash_attn_func of each sequence of packed tensors.

    q: (total_q, h, d); k, v: (total_k, hk, d); cu_seqlens_q, cu_seqlens_k: int32, sequence i
    is rows cu[i] … cu[i + 1].  softmax_lse is (h, total_q).

    Sequences are dense launches over slices, one launch if all have one length; the offsets
    are read on the host, which waits for the device.  block_table raises
    NotImplementedError, as does what flash_attn_func refuses.
    """
    _refuse(dropout_p, softcap, alibi_slopes, block_table)
    ops = _ops(q, k, v)
    if not len(q.shape) == len(k.shape) == len(v.shape) == 3:
        raise ValueError("q, k and v must have 3 axes: rows, heads, head_dim")
    at_q = _bounds(ops, "cu_seqlens_q", cu_seqlens_q, q.shape[0])
    at_k = _bounds(ops, "cu_seqlens_k", cu_seqlens_k, k.shape[0])
    if len(at_q) != len(at_k):
        raise ValueError(f"cu_seqlens_q has {len(at_q)} sequences, cu_seqlens_k {len(at_k)}")
    _check_longest("max_seqlen_q", max_seqlen_q, at_q)
    _check_longest("max_seqlen_k", max_seqlen_k, at_k)
    _check_shapes(q[None], k[None], v[None])
    head_dim = q.shape[-1]
    causal = bool(causal)
    options = (_scale(softmax_scale, head_dim), causal,
               _window(window_size, causal, max_seqlen_q, max_seqlen_k),
               bool(return_attn_probs))
    _dtype(ops, q, k, v)
    q, k, v = (_usable(ops, x) for x in (q, k, v))
    out, lse = _varlen(ops, q, k, v, options, at_q, at_k)
    return _result(ops, out, lse, head_dim, return_attn_probs)


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


def flash_attn_varlen_qkvpacked_func(qkv, cu_seqlens, max_seqlen, dropout_p=0.0,
                                     softmax_scale=None, causal=False, window_size=(-1, -1),
                                     softcap=0.0, alibi_slopes=None, deterministic=False,
                                     return_attn_probs=False):
    """flash_attn_varlen_func of the three parts of qkv (total, 3, h, d), which is not copied."""
    return flash_attn_varlen_func(
        qkv[:, 0], qkv[:, 1], qkv[:, 2], cu_seqlens, cu_seqlens, max_seqlen, max_seqlen,
        dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes, deterministic,
        return_attn_probs)
