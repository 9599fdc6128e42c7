"""flash_attn_varlen_func in the order and with the arguments of vLLM's fork of FlashAttention, and what
its backend calls beside it.

    from attnc.vllm import flash_attn_varlen_func, merge_attn_states, reshape_and_cache_flash

A backend calls it once a layer for prompts and single tokens together.  fa_version says whose LSE a row
without keys has: FlashAttention-2's +inf, FlashAttention-3's -inf; the kernel is attnc's choice.
"""
from typing import Any, Optional, Tuple

from ._arguments import (dtype_of, ops_of, scale_of, slopes_of, softcap_of, splits_of, truth, whole,
                         window_of)
from ._flash import Options, attend, padding_of, usable
from ._ops import append, merged
from ._sequences import check_cache, group_of, into, packed, packed_over_pages, sink_of
from ._types import Tensor
from .peers import drop_in, refuse

__all__ = ["flash_attn_varlen_func", "merge_attn_states", "reshape_and_cache_flash"]


@drop_in
def flash_attn_varlen_func(q: Tensor, k: Tensor, v: Tensor, max_seqlen_q: int, cu_seqlens_q: Tensor,
                           max_seqlen_k: int, cu_seqlens_k: Optional[Tensor] = None,
                           seqused_k: Optional[Tensor] = None, q_v: Optional[Tensor] = None, dropout_p: float = 0.0,
                           softmax_scale: Optional[float] = None, causal: bool = False,
                           window_size: Optional[Tuple[int, int]] = None, softcap: float = 0.0,
                           alibi_slopes: Optional[Tensor] = None, deterministic: bool = False,
                           return_attn_probs: bool = False, block_table: Optional[Tensor] = None,
                           return_softmax_lse: bool = False, out: Optional[Tensor] = None,
                           scheduler_metadata: Optional[Tensor] = None, q_descale: Optional[Tensor] = None,
                           k_descale: Optional[Tensor] = None, v_descale: Optional[Tensor] = None,
                           num_splits: int = 0, fa_version: int = 2, s_aux: Optional[Tensor] = None,
                           cp_world_size: int = 1, cp_rank: int = 0,
                           cp_tot_seqused_k: Optional[Tensor] = None) -> Any:
    """attnc.flash_attn_varlen_func of q (total_q, h, d) and k, v (total_k, hk, d), or of pages.

    Exactly one of cu_seqlens_k and seqused_k; with block_table, int32 (b, max_pages), k and v are
    (pages, page_size, hk, d) and seqused_k is needed.  window_size: None is (-1, -1).  s_aux: (h,),
    fp32, fp16 or bf16, one more logit of each row, without a value.  out: where to write.

    Returns out; with return_softmax_lse (out, softmax_lse), fp32 (h, total_q).
    """
    refuse(q_v=q_v, dropout_p=dropout_p, scheduler_metadata=scheduler_metadata, q_descale=q_descale,
           k_descale=k_descale, v_descale=v_descale, cp_world_size=cp_world_size,
           cp_rank=cp_rank, cp_tot_seqused_k=cp_tot_seqused_k)
    if fa_version not in (2, 3):
        raise NotImplementedError(f"fa_version={fa_version!r} is not supported: 2 or 3 says whose LSE a "
                                  "row without keys has")
    if (cu_seqlens_k is None) == (seqused_k is None):
        raise ValueError("exactly one of cu_seqlens_k and seqused_k is needed")
    paged = block_table is not None
    if paged and seqused_k is None:
        raise ValueError("block_table needs seqused_k")
    if not paged and cu_seqlens_k is None:
        raise ValueError("without block_table cu_seqlens_k is needed")
    ops = ops_of(q, k, v)
    if len(q.shape) != 3 or not len(k.shape) == len(v.shape) == (4 if paged else 3):
        raise ValueError("q has 3 axes, rows, heads, head_dim, and k and v as many; with block_table k and "
                         "v have 4: pages, rows, heads, head_dim")
    longest = whole("max_seqlen_q", max_seqlen_q), whole("max_seqlen_k", max_seqlen_k)
    at = (cu_seqlens_q, cu_seqlens_k), longest, (None, seqused_k)
    if paged:
        sequences = packed_over_pages(ops, q, k, v, *at, block_table)
    else:
        sequences = packed(ops, q, k, *at)
    causal, want = truth("causal", causal), truth("return_softmax_lse", return_softmax_lse)
    want = want or truth("return_attn_probs", return_attn_probs)
    slopes, alibi = slopes_of(ops, alibi_slopes, sequences.b, q.shape[1])
    sink, kind = sink_of(ops, s_aux, q.shape[1])
    window = window_of((-1, -1) if window_size is None else window_size, causal, *longest)
    options = Options(scale_of(softmax_scale, q.shape[-1]), causal, window, softcap_of(softcap), alibi, want,
                      sequences.lengths(), paged, sink=kind, group=group_of(q, k, longest[0]),
                      splits=splits_of(num_splits))
    dtype_of(ops, q, k, v)
    head_dim = v.shape[-1]
    q, k, v = (usable(ops, x) for x in (q, k, v))
    out, lse = into(ops, out, head_dim, lambda to: attend(
        ops, q, k, v, options, slopes, sequences, out=to, sink=sink, plus_inf=fa_version == 2))
    return (out, lse) if want else out


@drop_in
def merge_attn_states(output: Tensor, prefix_output: Tensor, prefix_lse: Tensor, suffix_output: Tensor,
                      suffix_lse: Tensor, output_lse: Optional[Tensor] = None) -> None:
    """Two results made one, (rows, h, d) with LSEs (h, rows), into `output` and output_lse."""
    ops = ops_of(output, prefix_output, suffix_output)
    parts, lses = ops.stack((prefix_output, suffix_output)), ops.stack((prefix_lse, suffix_lse))
    if tuple(output.shape) != tuple(parts.shape[1:]) or tuple(lses.shape[1:]) != (
            output.shape[1], output.shape[0]):
        raise ValueError(f"shapes do not agree: output {tuple(output.shape)}, its parts "
                         f"{tuple(parts.shape[1:])}, LSEs {tuple(lses.shape[1:])}")
    lse = merged(ops, parts[:, None], lses[:, None], output[None], "e")
    if output_lse is not None:
        ops.copy(output_lse, lse[0])


@drop_in
def reshape_and_cache_flash(key: Tensor, value: Tensor, key_cache: Tensor, value_cache: Tensor, slot_mapping: Tensor,
                            kv_cache_dtype: str = "auto", k_scale: Any = None, v_scale: Any = None) -> None:
    """Writes row i of key and value, (rows, hk, d), into row slot_mapping[i] of the pages of the caches,
    (pages, page_size, hk, d), counted through; a slot below 0 is none.  k_scale and v_scale are of quantised caches alone."""
    if kv_cache_dtype != "auto":
        raise NotImplementedError(f"kv_cache_dtype={kv_cache_dtype!r} is not supported: \"auto\" is, the "
                                  "type of key")
    ops = ops_of(key, key_cache, value_cache)
    dtype_of(ops, key, value, key_cache)
    check_cache(ops, key, key_cache, value_cache)
    if padding_of(key_cache):
        raise NotImplementedError("a cache is not copied: a head_dim that is a multiple of 8 is needed")
    n, (pages, size) = slot_mapping.shape[0], key_cache.shape[:2]
    if len(key.shape) != 3 or key.shape[0] < n or tuple(key.shape) != tuple(value.shape):
        raise ValueError(f"key has shape {tuple(key.shape)}, value {tuple(value.shape)}, for {n} slots")
    slots = ops.slots(slot_mapping, pages * size, key)
    rows = tuple(usable(ops, x[:n])[:, None] for x in (key, value))
    where = dict(page_table=ops.counted(pages, key)[None], cache_batch_idx=ops.int32s(n, 0, key))
    append(ops, (key_cache, value_cache), rows, slots, where)
