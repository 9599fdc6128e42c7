"""FlashAttention-2's functions: the same names, order, defaults and meaning.

Tensors of torch on a GPU run there, on the current stream; tensors of torch on the CPU and
arrays of numpy run on the emulated device.  What is not supported raises NotImplementedError
with the argument's name and what to do instead (peers.py), never less.  Differences from
attnc's own conventions, all of them FlashAttention-2's: the LSE of a row that sees no key is
+inf, a window that reaches past all keys is no window, a head_dim that is not a multiple of 8
is padded with zeros.

The functions may be called from many threads; each thread keeps its own prepared launches.
"""
from typing import Any, Optional, Tuple, Union

from . import arrays
from ._arguments import (DTYPES, check_shapes, dtype_of, ops_of, scale_of, slopes_of, softcap_of,
                         splits_of, truth, whole, window_of)
from ._dropout import Rows, probs_wanted, share_of, state_of, weighed, weights_of, with_mask
from ._flash import (Options, Sequences, _Prepared, attend, direct, direct_packed, dropped, keep_direct, prepared,
                     result_of, set_context, usable)  # noqa: F401  set_context is attnc's own
from ._ops import merged
from ._sequences import (Cache, New, cached, group_of, packed, packed_over_pages, rope_of, rotary_of,
                         vector, with_new)
from ._types import Key, Ops, Tensor
from .peers import by_operator, needs_operator, operator
from .peers import missing as __getattr__  # noqa: F401


@operator
def flash_attn_func(q: Tensor, k: Tensor, v: Tensor, dropout_p: float = 0.0, softmax_scale: Optional[float] = None,
                    causal: bool = False, window_size: Tuple[int, int] = (-1, -1), softcap: float = 0.0,
                    alibi_slopes: Optional[Tensor] = None, deterministic: bool = False,
                    return_attn_probs: bool = False, *, rng_state: Optional[Tensor] = None) -> Any:
    """softmax(q k^T softmax_scale) v for [batch, seqlen, heads, head_dim] tensors.

    q: (b, sq, h, d); k, v: (b, sk, hk, d), h a multiple of hk; fp16 or bf16.  causal and
    window_size (left, right; -1 is unbounded) are aligned at the last query and last key.
    deterministic: of the backward pass; the forward pass always is.

    Returns out (b, sq, h, d); with return_attn_probs (out, softmax_lse, S_dmask):
    softmax_lse (b, h, sq) fp32, +inf for a row that sees no key, and S_dmask empty, as
    FlashAttention's is without dropout; with it (b, h, sq, sk), both rounded up to 128, of
    q's dtype: exp(score - the largest of its row), negative where the weight is dropped.

    dropout_p: the share of weights that is dropped, FlashAttention-2's bits of seed and offset;
    those are the GPU's default generator's, which is advanced, elsewhere drawn by the
    framework's own.  rng_state: u64 (of torch int64, too) [2], seed and offset, in their place.

    softcap: above 0, scores become softcap tanh(score / softcap).  alibi_slopes: fp32 (h,) or
    (b, h); scores less slope |i + sk - sq - j|.

    """
    dropout = share_of(dropout_p)
    key, call = (None, None) if alibi_slopes is not None or dropout else direct(
        q, k, v, (softmax_scale, causal, window_size, return_attn_probs, dropout_p, softcap))
    result = call and call(q, k, v, return_attn_probs)
    if result is not None:
        return result
    if needs_operator(q, k, v, alibi_slopes):
        return by_operator("flash_attn_func", q, k, v, dropout_p, softmax_scale, causal, window_size, softcap,
                           alibi_slopes, deterministic, return_attn_probs, rng_state=rng_state)
    ops = ops_of(q, k, v)
    check_shapes(q, k, v)
    head_dim = q.shape[-1]
    causal = truth("causal", causal)
    slopes, alibi = slopes_of(ops, alibi_slopes, q.shape[0], q.shape[2])
    options = Options(scale_of(softmax_scale, head_dim), causal,
                      window_of(window_size, causal, q.shape[1], k.shape[1]),
                      softcap_of(softcap), alibi, probs_wanted(return_attn_probs), dropout=dropout)
    dtype_of(ops, q, k, v)
    given, (q, k, v) = (q, k, v), (usable(ops, x) for x in (q, k, v))
    state = state_of(ops, rng_state, q, q.shape[0], q.shape[2]) if dropout else None
    out, lse = attend(ops, q, k, v, options, slopes=slopes, rng_state=state)
    sizes = q.shape[0], q.shape[1], k.shape[1]
    mask = None
    if dropout and with_mask(return_attn_probs):
        mask = weighed(ops, dropped(ops, q, options, state, *sizes), weights_of(ops, q, k, options, slopes))
    if key and all(x is y for x, y in zip(given, (q, k, v))):
        keep_direct(key, ops, prepared(ops, q, k, v, options, out))
    return result_of(ops, out, lse, head_dim, return_attn_probs, mask)


@operator
def flash_attn_kvpacked_func(q: Tensor, kv: Tensor, dropout_p: float = 0.0, softmax_scale: Optional[float] = None,
                             causal: bool = False, window_size: Tuple[int, int] = (-1, -1), softcap: float = 0.0,
                             alibi_slopes: Optional[Tensor] = None, deterministic: bool = False,
                             return_attn_probs: bool = False) -> Any:
    """flash_attn_func of q and kv (b, sk, 2, hk, d), which is not copied."""
    return flash_attn_func(q, kv[:, :, 0], kv[:, :, 1], dropout_p, softmax_scale, causal,
                           window_size, softcap, alibi_slopes, deterministic,
                           return_attn_probs)


@operator
def flash_attn_qkvpacked_func(qkv: Tensor, dropout_p: float = 0.0, softmax_scale: Optional[float] = None,
                              causal: bool = False, window_size: Tuple[int, int] = (-1, -1), softcap: float = 0.0,
                              alibi_slopes: Optional[Tensor] = None, deterministic: bool = False,
                              return_attn_probs: bool = False) -> Any:
    """flash_attn_func of the three parts of qkv (b, s, 3, h, d), which is not copied."""
    return flash_attn_func(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], dropout_p, softmax_scale,
                           causal, window_size, softcap, alibi_slopes, deterministic,
                           return_attn_probs)


# ---- sequences of several lengths, one after another ----


@operator
def flash_attn_varlen_func(q: Tensor, k: Tensor, v: Tensor, cu_seqlens_q: Tensor, cu_seqlens_k: Optional[Tensor],
                           max_seqlen_q: int, max_seqlen_k: int, dropout_p: float = 0.0,
                           softmax_scale: Optional[float] = None, causal: bool = False,
                           window_size: Tuple[int, int] = (-1, -1), softcap: float = 0.0,
                           alibi_slopes: Optional[Tensor] = None, deterministic: bool = False,
                           return_attn_probs: bool = False, block_table: Optional[Tensor] = None, *,
                           seqused_q: Optional[Tensor] = None, seqused_k: Optional[Tensor] = None,
                           rng_state: Optional[Tensor] = None) -> Any:
    """flash_attn_func of each sequence of packed tensors, in one launch.

    q: (total_q, h, d); k, v: (total_k, hk, d); cu_seqlens_q, cu_seqlens_k: int32, sequence i
    is rows cu[i] … cu[i + 1], from 0 on; rows of no sequence are not written.  softmax_lse is
    (h, total_q).  max_seqlen_q and max_seqlen_k are at least the longest sequence's.
    seqused_q, seqused_k (FlashAttention 3): int32 (b,), how many rows of each count.
    block_table: int32 (b, max_pages), the pages that a sequence has; k and v are then pages,
    (pages, page_size, hk, d), and seqused_k, or else the differences of cu_seqlens_k, says how
    many rows count; cu_seqlens_k may be None beside seqused_k.

    Nothing waits for a GPU: what offsets, lengths and pages there are is not looked at.
    dropout_p, rng_state: as of flash_attn_func; S_dmask is (b, h, max_seqlen_q, max_seqlen_k).
    What flash_attn_func refuses raises NotImplementedError.
    """
    lengths, short, dropout = (cu_seqlens_q, cu_seqlens_k, seqused_q, seqused_k), (None, None), share_of(dropout_p)
    if alibi_slopes is None and block_table is None and not dropout:
        short = direct_packed(q, k, v, lengths, (max_seqlen_q, max_seqlen_k, softmax_scale, causal,
                                                 window_size, return_attn_probs, dropout_p, softcap))
        result = short[1] and short[1](q, k, v, lengths, return_attn_probs)
        if result is not None:
            return result
    if needs_operator(q, k, v, alibi_slopes):
        return by_operator("flash_attn_varlen_func", q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q,
                           max_seqlen_k, dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes,
                           deterministic, return_attn_probs, block_table, seqused_q=seqused_q,
                           seqused_k=seqused_k, rng_state=rng_state)
    ops = ops_of(q, k, v)
    paged = block_table is not None
    if len(q.shape) != 3 or not len(k.shape) == len(v.shape) == (4 if paged else 3):
        raise ValueError("q, k and v must have 3 axes: rows, heads, head_dim; with block_table k and "
                         "v have 4: pages, rows, heads, head_dim")
    longest = whole("max_seqlen_q", max_seqlen_q), whole("max_seqlen_k", max_seqlen_k)
    at = (cu_seqlens_q, cu_seqlens_k), longest, (seqused_q, seqused_k)
    if paged and dropout and with_mask(return_attn_probs):
        raise NotImplementedError("return_attn_probs with dropout_p and block_table: S_dmask is not made of keys in "
                                  "pages; rng_state and op dropout_mask say which are kept")
    if paged:
        sequences = packed_over_pages(ops, q, k, v, *at, block_table)
    else:
        sequences = packed(ops, q, k, *at)
        check_shapes(q[None], k[None], v[None])
    head_dim = q.shape[-1]
    causal = truth("causal", causal)
    slopes, alibi = slopes_of(ops, alibi_slopes, sequences.b, q.shape[1])
    options = Options(scale_of(softmax_scale, head_dim), causal,
                      window_of(window_size, causal, *longest), softcap_of(softcap), alibi,
                      probs_wanted(return_attn_probs), sequences.lengths(), paged, dropout=dropout)
    dtype_of(ops, q, k, v)
    given, (q, k, v) = (q, k, v), (usable(ops, x) for x in (q, k, v))
    state = state_of(ops, rng_state, q, sequences.b, q.shape[1]) if dropout else None
    out, lse = attend(ops, q, k, v, options, slopes, sequences, rng_state=state)
    mask = None
    if dropout and with_mask(return_attn_probs):
        mask = dropped(ops, q, options, state, sequences.b, *longest)
        rows = Rows(ops, cu_seqlens_q, seqused_q, longest[0]), Rows(ops, cu_seqlens_k, seqused_k, longest[1])
        mask = weighed(ops, mask, weights_of(ops, q, k, options, slopes, rows))
    if short[0] and all(x is y for x, y in zip(given, (q, k, v))):
        keep_packed(short[0], ops, prepared(ops, q, k, v, options, out, sequences), sequences, lengths)
    return result_of(ops, out, lse, head_dim, return_attn_probs, mask)


def keep_packed(key: Key, ops: Ops, call: _Prepared, sequences: Sequences,
                lengths: Tuple[Optional[Tensor], ...]) -> None:
    """The short way for calls like this one, whose lengths were taken as they lie."""
    names = ("cu_seqlens_q", "cu_seqlens_k", "seqused_q", "seqused_k")
    if all(x is None or sequences.tensors[name] is x for name, x in zip(names, lengths)):
        keep_direct(key, ops, call, names)


@operator
def flash_attn_varlen_kvpacked_func(q: Tensor, kv: Tensor, cu_seqlens_q: Tensor, cu_seqlens_k: Tensor,
                                    max_seqlen_q: int, max_seqlen_k: int, dropout_p: float = 0.0,
                                    softmax_scale: Optional[float] = None, causal: bool = False,
                                    window_size: Tuple[int, int] = (-1, -1), softcap: float = 0.0,
                                    alibi_slopes: Optional[Tensor] = None, deterministic: bool = False,
                                    return_attn_probs: bool = False) -> Any:
    """flash_attn_varlen_func of q and kv (total_k, 2, hk, d), which is not copied."""
    return flash_attn_varlen_func(
        q, kv[:, 0], kv[:, 1], cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k,
        dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes, deterministic,
        return_attn_probs)


@operator
def flash_attn_varlen_qkvpacked_func(qkv: Tensor, cu_seqlens: Tensor, max_seqlen: int, dropout_p: float = 0.0,
                                     softmax_scale: Optional[float] = None, causal: bool = False,
                                     window_size: Tuple[int, int] = (-1, -1), softcap: float = 0.0,
                                     alibi_slopes: Optional[Tensor] = None, deterministic: bool = False,
                                     return_attn_probs: bool = False) -> Any:
    """flash_attn_varlen_func of the three parts of qkv (total, 3, h, d), which is not copied."""
    return flash_attn_varlen_func(
        qkv[:, 0], qkv[:, 1], qkv[:, 2], cu_seqlens, cu_seqlens, max_seqlen, max_seqlen,
        dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes, deterministic,
        return_attn_probs)


# ---- a cache, dense or of pages ----


@operator
def flash_attn_with_kvcache(q: Tensor, k_cache: Tensor, v_cache: Tensor, k: Optional[Tensor] = None,
                            v: Optional[Tensor] = None, rotary_cos: Optional[Tensor] = None,
                            rotary_sin: Optional[Tensor] = None, cache_seqlens: Optional[Union[int, Tensor]] = None,
                            cache_batch_idx: Optional[Tensor] = None, cache_leftpad: Optional[Tensor] = None,
                            block_table: Optional[Tensor] = None, softmax_scale: Optional[float] = None,
                            causal: bool = False, window_size: Tuple[int, int] = (-1, -1), softcap: float = 0.0,
                            rotary_interleaved: bool = True, alibi_slopes: Optional[Tensor] = None,
                            num_splits: int = 0, return_softmax_lse: bool = False, *,
                            page_table: Optional[Tensor] = None, cu_seqlens_q: Optional[Tensor] = None,
                            max_seqlen_q: Optional[int] = None, attention_chunk: int = 0,
                            pack_gqa: Optional[bool] = None, cu_seqlens_k_new: Optional[Tensor] = None,
                            rotary_seqlens: Optional[Tensor] = None) -> Any:
    """flash_attn_func of q (b, sq, h, d) and the keys and values that a cache has of each sequence.

    k_cache, v_cache: (b, sk, hk, d); with cache_batch_idx, int32 (b,), batches of (bc, sk, hk, d).
    block_table, int32 (b, max_pages): the pages of each sequence, of (pages, page_size, hk, d), any
    page_size; with cache_batch_idx as well, rows of the table.  cache_seqlens: a number, or int32
    (b,), how many rows of each sequence's count; None: all.  cache_leftpad, int32 (b,): of these the
    first so many do not.  By FlashAttention 3's keywords page_table is block_table, and with
    cu_seqlens_q and max_seqlen_q q is (total_q, h, d); attention_chunk above 0: a query sees keys of its
    own chunk of so many positions; pack_gqa: whether a block has the heads of a key head, None: where
    they and the queries are few.  v's head_dim may be another one than k's.

    causal and window_size are aligned at each sequence's last query and last key.  Returns out, of
    q's shape; with return_softmax_lse (out, softmax_lse), fp32 (b, h, sq) or (h, total_q), +inf for
    a row that sees no key.

    k, v: (b, s_new, hk, d), new tokens, written into the cache, in place, behind the cache_seqlens rows that
    it has; with cu_seqlens_k_new (total_new, hk, d).  rotary_cos, rotary_sin: (positions, rotary_dim / 2),
    of q's dtype or fp32: new keys come turned, the first at position cache_seqlens, or rotary_seqlens, int32
    (b,); so do queries, with causal or a window one position after the other, else all at the first.
    rotary_interleaved: pairs are elements 2i and 2i + 1, else i and i + rotary_dim / 2.  A call is one
    plan, whose first step does all of that.

    num_splits: into how many parts keys are split, where few queries see many; 0: by the length of each
    row.  A cache is taken as it lies, and rows that lie otherwise
    than kernels take them raise ValueError; but one of a head_dim that is no multiple of 8 is copied in each
    call, whole, with zeros behind its rows, as FlashAttention copies it.  Nothing waits for a GPU: what
    lengths and pages there are is not looked at.
    """
    if needs_operator(q, k_cache, v_cache, k, v):
        return by_operator(
            "flash_attn_with_kvcache", q, k_cache, v_cache, k, v, rotary_cos, rotary_sin, cache_seqlens,
            cache_batch_idx, cache_leftpad, block_table, softmax_scale, causal, window_size, softcap,
            rotary_interleaved, alibi_slopes, num_splits, return_softmax_lse, page_table=page_table,
            cu_seqlens_q=cu_seqlens_q, max_seqlen_q=max_seqlen_q, attention_chunk=attention_chunk,
            pack_gqa=pack_gqa, cu_seqlens_k_new=cu_seqlens_k_new, rotary_seqlens=rotary_seqlens)
    splits = splits_of(num_splits)
    if block_table is not None and page_table is not None:
        raise TypeError("block_table and page_table are one: give either")
    ops = ops_of(q, k_cache, v_cache)
    new = New(k, v, cu_seqlens_k_new, rotary_cos, rotary_sin,
              truth("rotary_interleaved", rotary_interleaved), rotary_seqlens)
    rotary = rotary_of(ops, q, new, q.shape[-1])
    if k is None and (v is not None or cu_seqlens_k_new is not None or rotary_seqlens is not None):
        raise ValueError("v, cu_seqlens_k_new and rotary_seqlens are of new tokens, and need k")
    sequences, at = cached(ops, q, k_cache, v_cache, Cache(
        cache_seqlens, cache_batch_idx, cache_leftpad,
        page_table if block_table is None else block_table, cu_seqlens_q, max_seqlen_q),
        None if k is None else new)
    causal, chunk = truth("causal", causal), whole("attention_chunk", attention_chunk)
    packs = None if pack_gqa is None else truth("pack_gqa", pack_gqa)
    if chunk < 0:
        raise ValueError(f"attention_chunk={chunk}: a number above 0 is needed, or 0 for none")
    slopes, alibi = slopes_of(ops, alibi_slopes, sequences.b, q.shape[-2])
    options = Options(scale_of(softmax_scale, q.shape[-1]), causal,
                      window_of(window_size, causal, sequences.sq, sequences.sk),
                      softcap_of(softcap), alibi, truth("return_softmax_lse", return_softmax_lse),
                      sequences.lengths(), "page_table" in sequences.tensors, chunk=chunk,
                      group=group_of(q, k_cache, sequences.sq, packs), splits=splits)
    dtype_of(ops, q, k_cache, v_cache)
    given, head_dim = (k_cache, v_cache), v_cache.shape[-1]
    q, k_cache, v_cache = (usable(ops, x) for x in (q, k_cache, v_cache))
    if k is not None:
        first = at if rotary_seqlens is None else vector(ops, q, "rotary_seqlens", rotary_seqlens, sequences.b)
        sequences = with_new(ops, new, sequences, at, rotary, first)
        options = options._replace(seqlens=sequences.lengths(), append=True, rope=rope_of(ops, rotary))
    out, lse = attend(ops, q, k_cache, v_cache, options, slopes, sequences)
    if k is not None:
        for x, copied in zip(given, (k_cache, v_cache)):
            if copied is not x:
                ops.copy(x, copied[..., :x.shape[-1]])
    out = result_of(ops, out, lse, head_dim, False)
    return (out, lse) if return_softmax_lse else out


@operator
def flash_attn_combine(out_partial: Tensor, lse_partial: Tensor, out: Optional[Tensor] = None,
                       out_dtype: Any = None) -> Tuple[Tensor, Tensor]:
    """Results over parts of the keys made one: out_partial (parts, b, sq, h, d) or (parts, total_q, h, d),
    fp32, fp16 or bf16; lse_partial (parts, b, sq, h) or (parts, total_q, h), fp32.

    Returns (out, softmax_lse), without the parts.  out: where to write; out_dtype: of a new one, as the
    framework writes it, None: that of out_partial.  A part whose LSE is infinite has no key and counts
    for nothing; the LSE of a row that no part has a key of is -inf.
    """
    if needs_operator(out_partial, lse_partial):
        made: Tuple[Tensor, Tensor] = by_operator("flash_attn_combine", out_partial, lse_partial, out, out_dtype)
        return made
    ops = arrays.ops(out_partial)
    if not ops or arrays.ops(lse_partial) is not ops:
        raise TypeError("out_partial and lse_partial must both be tensors of torch or both arrays of numpy")
    if len(out_partial.shape) not in (4, 5) or tuple(lse_partial.shape) != tuple(out_partial.shape[:-1]):
        raise ValueError(f"out_partial has shape {tuple(out_partial.shape)}, lse_partial "
                         f"{tuple(lse_partial.shape)}: (parts, batch, seqlen, heads, head_dim) without the "
                         "last axis is needed")
    dtypes = [ops.view(x).dtype for x in (out_partial, lse_partial)]
    if dtypes[0] not in ("fp32", *DTYPES) or dtypes[1] != "fp32":
        raise TypeError(f"out_partial is {dtypes[0]}, lse_partial {dtypes[1]}: fp32, fp16 or bf16, and fp32 "
                        "are needed")
    shape, packed_rows = tuple(out_partial.shape[1:]), len(out_partial.shape) == 4
    if out is None:
        out = ops.empty_of(shape, out_partial, out_dtype)
    elif tuple(out.shape) != shape:
        raise ValueError(f"out has shape {tuple(out.shape)}, not {shape}")
    parts, lses = (x[:, None] if packed_rows else x for x in (out_partial, lse_partial))
    lse = merged(ops, parts, lses.swapaxes(2, 3), out[None] if packed_rows else out, "e").swapaxes(1, 2)
    return out, lse[0] if packed_rows else lse
