"""Sequences of lengths of their own in torch's two forms of them: varlen_attn's packed rows, and nested tensors whose
layout is torch.jagged; and what autocast makes of arguments."""
from typing import Any, Optional, Tuple, Union

import torch

from . import _operators, flash
from ._arguments import truth
from ._dropout import share_of
from ._general import attend
from .peers import refuse


def lowered(query: torch.Tensor, key: torch.Tensor,
            value: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As torch's scaled_dot_product_attention has them under autocast: of its dtype, unless they are float64."""
    kind = query.device.type
    if kind == "meta" or not torch.is_autocast_enabled(kind):
        return query, key, value
    to = torch.get_autocast_dtype(kind)
    query, key, value = (x.to(to) if x.is_floating_point() and x.dtype != torch.float64 else x for x in (query, key, value))
    return query, key, value


# ---- packed rows ----


def _check_heads(query: torch.Tensor, key: torch.Tensor, enable_gqa: bool) -> None:
    if not truth("enable_gqa", enable_gqa) and query.shape[1] != key.shape[-2]:
        raise ValueError(f"query has {query.shape[1]} heads, key {key.shape[-2]}: enable_gqa=True is needed")


def _wants_lse(return_aux: Any) -> bool:
    """torch's AuxRequest, of which lse is all that there is here."""
    others = [n for n in getattr(return_aux, "_fields", ()) if n != "lse" and getattr(return_aux, n)]
    if others:
        raise NotImplementedError(f"return_aux: {', '.join(others)} is not supported; lse is")
    return bool(getattr(return_aux, "lse", False))


def varlen_attn(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, cu_seq_q: torch.Tensor,
                cu_seq_k: Optional[torch.Tensor], max_q: int, max_k: int, *, return_aux: Any = None,
                scale: Optional[float] = None, window_size: Tuple[int, int] = (-1, -1), enable_gqa: bool = False,
                seqused_k: Optional[torch.Tensor] = None, block_table: Optional[torch.Tensor] = None,
                num_splits: Optional[int] = None) -> Union[torch.Tensor, Tuple[torch.Tensor, torch.Tensor]]:
    """torch.nn.attention.varlen.varlen_attn: attention of each sequence of packed query (total, h, d), key and value
    (total, hk, d), or with block_table of pages (pages, page size, hk, d).

    window_size: (left, right), aligned at the last query and key of a sequence; (-1, 0) is causal.  Returns out, or
    with return_aux=AuxRequest(lse=True) (out, lse), fp32 (h, total).
    """
    _check_heads(query, key, enable_gqa)
    refuse(num_splits=num_splits)
    query, key, value = lowered(query, key, value)
    want = _wants_lse(return_aux)
    left, right = window_size
    made = flash.flash_attn_varlen_func(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, 0.0, scale, False,
                                        (left, right), 0.0, None, False, want, block_table, seqused_k=seqused_k)
    return made[:2] if want else made  # type: ignore[no-any-return]


def varlen_attn_out(out: torch.Tensor, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
                    cu_seq_q: torch.Tensor, cu_seq_k: Optional[torch.Tensor], max_q: int, max_k: int, *,
                    return_aux: Any = None, scale: Optional[float] = None, window_size: Tuple[int, int] = (-1, -1),
                    enable_gqa: bool = False, seqused_k: Optional[torch.Tensor] = None,
                    block_table: Optional[torch.Tensor] = None,
                    num_splits: Optional[int] = None) -> Union[torch.Tensor, Tuple[torch.Tensor, torch.Tensor]]:
    """varlen_attn that writes into `out`, without a gradient."""
    from .vllm import flash_attn_varlen_func
    _check_heads(query, key, enable_gqa)
    refuse(num_splits=num_splits)
    want = _wants_lse(return_aux)
    if block_table is not None:
        cu_seq_k = None
    if seqused_k is not None and block_table is None:
        raise NotImplementedError("varlen_attn_out: seqused_k without block_table is not supported: call varlen_attn")
    left, right = window_size
    found = flash_attn_varlen_func(query, key, value, max_q, cu_seq_q, max_k, cu_seq_k, seqused_k, None, 0.0, scale,
                                   False, (left, right), return_softmax_lse=want, block_table=block_table, out=out)
    return found  # type: ignore[no-any-return]


# ---- nested tensors ----


class Rows:
    """A jagged [b, h, s, d] as rows [total, h, d]."""

    def __init__(self, name: str, x: torch.Tensor) -> None:
        if x.layout is not torch.jagged:
            raise NotImplementedError(f"{name} is nested and of layout {x.layout}: torch.jagged is supported")
        turned: Any = x.transpose(1, 2)
        if turned.dim() != 4 or turned._ragged_idx != 1:
            raise ValueError(f"{name}: a nested tensor [batch, heads, seqlen, head_dim] of which seqlen is ragged is needed")
        self.values, self.offsets, self.lengths = turned.values(), turned.offsets(), turned.lengths()
        # Known where torch was told; elsewhere no sequence is longer than all of them: nothing waits for a GPU.
        known = turned._maybe_max_seqlen
        if known is None and self.offsets.device.type == "cpu":
            known = int((self.offsets.diff() if self.lengths is None else self.lengths).max())
        self.longest: int = self.values.shape[0] if known is None else known

    def like(self, values: torch.Tensor) -> torch.Tensor:
        """A jagged [b, h, s, d] of the same sequences."""
        made = torch.nested.nested_tensor_from_jagged(values, self.offsets, self.lengths)
        return made.transpose(1, 2)


def is_nested(*tensors: torch.Tensor) -> bool:
    """All of them are; ValueError: some are."""
    found = {x.is_nested for x in tensors}
    if len(found) > 1:
        raise ValueError("query, key and value must be nested all or none")
    return True in found


def jagged(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_mask: Optional[torch.Tensor],
           dropout_p: float, is_causal: bool, scale: Optional[float], enable_gqa: bool) -> torch.Tensor:
    """scaled_dot_product_attention of nested tensors; causality is aligned at a sequence's first query and key."""
    if attn_mask is not None:
        raise NotImplementedError("attn_mask of nested tensors is not supported: causality and lengths are their mask")
    q, k, v = (Rows(n, x) for n, x in (("query", query), ("key", key), ("value", value)))
    _check_heads(q.values, k.values, enable_gqa)
    rows_q, rows_k, rows_v = lowered(q.values, k.values, v.values)
    fields: Any = {"causal": bool(is_causal), "seqlens": ["cu_seqlens_q", "cu_seqlens_k"]}
    tensors = {n: x.offsets.to(torch.int32) for n, x in zip(fields["seqlens"], (q, k))}
    for name, x in (("seqused_q", q), ("seqused_k", k)):
        if x.lengths is not None:
            fields["seqlens"].append(name)
            tensors[name] = x.lengths.to(torch.int32)
    if is_causal:
        fields["align"] = "top_left"
    numbers = {"softmax_scale": rows_q.shape[-1] ** -0.5 if scale is None else scale}
    dropout = share_of(dropout_p)
    if dropout:
        fields["dropout"], numbers["dropout_p"] = True, dropout
        tensors["rng_state"] = _operators.rng_state_of(None, dropout, rows_q, len(q.offsets) - 1, rows_q.shape[1])
    out, _ = attend(fields, rows_q, rows_k, rows_v, tensors, numbers, (q.longest, k.longest))
    return q.like(out)
