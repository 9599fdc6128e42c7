"""What of attnc is made for torch: importing it defines the operators of torch.ops.attnc.

    from attnc.torch import flex_attention, scaled_dot_product_attention

with the names, the order and the defaults of torch's own; tensors are [batch, heads, seqlen, head_dim].
"""
from typing import Any, Dict, Optional, Sequence, Tuple

import torch

from . import _flex_graph, _operators, _sdpa, flex
from ._dropout import share_of
from ._general import attend
from ._ragged import is_nested, jagged, lowered, varlen_attn, varlen_attn_out
from ._sdpa import register
from ._types import Fields, Tensors
from .peers import refuse

__all__ = ["attention", "fallbacks", "flex_attention", "register", "scaled_dot_product_attention", "varlen_attn",
           "varlen_attn_out"]

BITS = 32
AXES = ("b", "h", "q", "kv")  # of scores, as a spec's bias names them


def bits_of(mask: torch.Tensor) -> torch.Tensor:
    """uint32 [b, q, ⌈kv/32⌉] of a mask [b, q, kv]; kept with the mask until it is written: all layers of a
    model have the same."""
    found = getattr(mask, "_attnc_bits", None)
    if found is not None and found[0] == mask._version:
        bits: torch.Tensor = found[1]
        return bits
    padded = torch.nn.functional.pad(mask, (0, -mask.shape[-1] % BITS))
    weights = 2 ** torch.arange(8, dtype=torch.uint8, device=mask.device)
    octets = padded.view(*padded.shape[:-1], -1, 8).to(torch.uint8) * weights
    bits = octets.sum(-1, dtype=torch.uint8).contiguous().view(torch.uint32)
    if not torch.compiler.is_compiling():
        setattr(mask, "_attnc_bits", (mask._version, bits))
    return bits


def _bias_axes(shape: Sequence[int], wanted: Sequence[int], name: str) -> Any:
    """Which of b, h, q and kv a bias has by itself; the others are broadcast."""
    if len(shape) > 4 or any(n not in (1, m) for n, m in zip(shape[::-1], wanted[::-1])):
        raise ValueError(f"{name} has shape {tuple(shape)}, which is not {tuple(wanted)} or broadcast to it")
    shape = (*(1,) * (4 - len(shape)), *shape)
    return [axis for axis, n, m in zip(AXES, shape, wanted) if n == m and (n > 1 or axis == "kv")]


def _take_mask(mask: torch.Tensor, wanted: Sequence[int], fields: Fields, tensors: Tensors) -> None:
    """A mask as torch has it: where true is seen, or what is added to the scores."""
    if mask.dtype != torch.bool:
        _take_bias(mask, wanted, fields, tensors, "attn_mask")
        return
    axes = _bias_axes(mask.shape, wanted, "attn_mask")
    if "h" in axes:
        hidden = torch.zeros(mask.shape, dtype=torch.float16, device=mask.device).masked_fill_(~mask, -torch.inf)
        _take_bias(hidden, wanted, fields, tensors, "attn_mask")
        return
    mask = mask.reshape(*(1,) * (4 - mask.dim()), *mask.shape)[:, 0]
    fields["mask_bits"] = True
    bits = bits_of(mask.expand(-1, wanted[2], wanted[3]) if mask.shape[-2] != wanted[2] else mask)
    tensors["mask_bits"] = bits.expand(wanted[0], -1, -1)


def _take_bias(bias: torch.Tensor, wanted: Sequence[int], fields: Fields, tensors: Tensors, name: str) -> None:
    axes = _bias_axes(bias.shape, wanted, name)
    shape = [n for axis, n in zip(AXES, wanted) if axis in axes]
    if "bias" in fields:
        raise NotImplementedError(f"{name} beside another bias is not supported: add the two")
    dtype = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}.get(bias.dtype)
    if dtype is None:
        raise TypeError(f"{name} is {bias.dtype}: bool, float16, bfloat16 or float32 is needed")
    fields["bias"] = {"axes": axes, "dtype": dtype}
    tensors["bias"] = bias.reshape(shape)


def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *,
              attn_mask: Optional[torch.Tensor] = None, bias: Optional[torch.Tensor] = None, causal: bool = False,
              top_left: bool = True, window: Tuple[int, int] = (-1, -1), chunk: int = 0,
              seqused_k: Optional[torch.Tensor] = None, scale: Optional[float] = None,
              softcap: Optional[float] = None, sinks: Optional[torch.Tensor] = None,
              dropout_p: float = 0.0) -> Tuple[torch.Tensor, torch.Tensor]:
    """(out, lse) of [b, h, sq, d] tensors: what scaled_dot_product_attention, transformers' models and xFormers'
    function have.

    attn_mask: bool, where true is seen, or added to the scores; bias: added too; either broadcast to
    (b, h, sq, sk).  window: (left, right), -1 is unbounded; chunk: queries and keys see one another within so many
    positions, from the first key on; top_left: where causal, window and chunk are aligned, else at the last query
    and last key.  seqused_k: int32 (b,), how many keys each sequence has; the last one is its last key then.
    sinks: (h,), one more logit of each row.  out is a view of [b, sq, h, d] that is contiguous; lse fp32 (b, h,
    sq), -inf for a row without keys.
    """
    if not query.dim() == key.dim() == value.dim() == 4:
        raise ValueError("query, key and value must have 4 axes: batch, heads, seqlen, head_dim")
    query, key, value = lowered(query, key, value)
    b, h, sq, _ = query.shape
    wanted = b, h, sq, key.shape[2]
    fields: Fields = {"causal": bool(causal)}
    tensors: Tensors = {}
    numbers = {"softmax_scale": query.shape[-1] ** -0.5 if scale is None else scale}
    if h % key.shape[1]:
        raise ValueError(f"heads of query, {h}, must be a multiple of those of key, {key.shape[1]}")
    if tuple(window) != (-1, -1):
        fields["window"] = list(window)
    if chunk:
        fields["attention_chunk"] = chunk
    if top_left and (causal or "window" in fields or chunk):
        fields["align"] = "top_left"
    if seqused_k is not None:
        fields["seqlens"], tensors["seqused_k"] = ["seqused_k"], seqused_k
    if attn_mask is not None:
        _take_mask(attn_mask, wanted, fields, tensors)
    if bias is not None:
        _take_bias(bias, wanted, fields, tensors, "bias")
    if softcap:
        fields["softcap"], numbers["softcap"] = 1.0, softcap
    if sinks is not None:
        tensors["sink"] = sinks
        fields["sink"] = {torch.float16: "fp16", torch.bfloat16: "bf16"}.get(sinks.dtype, "fp32")
    dropout = share_of(dropout_p)
    if dropout:
        fields["dropout"], numbers["dropout_p"] = True, dropout
        tensors["rng_state"] = _operators.rng_state_of(None, dropout, query, b, h)
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    out, lse = attend(fields, query, key, value, tensors, numbers)
    return out.transpose(1, 2), lse


def fallbacks() -> Dict[Tuple[str, str], int]:
    """Of the provider that `register` names: {(operator of aten, reason): calls that torch's own kernel had}."""
    return dict(_sdpa.fallbacks)


def scaled_dot_product_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
                                 attn_mask: Optional[torch.Tensor] = None, dropout_p: float = 0.0,
                                 is_causal: bool = False, scale: Optional[float] = None,
                                 enable_gqa: bool = False) -> torch.Tensor:
    """torch.nn.functional's function: query (…, h, sq, d), key and value (…, hk, sk, d), fp16, bf16 or fp32;
    attn_mask bool, or added to the scores, of a shape that broadcasts to (…, h, sq, sk).  is_causal is aligned at the
    first query and the first key; a row that sees no key is 0.  Nested tensors of layout torch.jagged are taken, too."""
    if is_causal and attn_mask is not None:
        raise ValueError("is_causal and attn_mask are not given together, as in torch")
    if is_nested(query, key, value):
        return jagged(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
    if not enable_gqa and query.shape[-3] != key.shape[-3]:
        raise ValueError(f"query has {query.shape[-3]} heads, key {key.shape[-3]}: enable_gqa=True is needed")
    lead = query.shape[:-3]
    query, key, value = (x if x.dim() == 4 else x.reshape(-1, *x.shape[-3:]) for x in (query, key, value))
    out, _ = attention(query, key, value, attn_mask=attn_mask, causal=is_causal, scale=scale, dropout_p=dropout_p)
    return out if len(lead) == 1 else out.reshape(*lead, *out.shape[1:])


def flex_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, score_mod: Any = None,
                   block_mask: Any = None, scale: Optional[float] = None, enable_gqa: bool = False,
                   return_lse: bool = False, kernel_options: Any = None, *, return_aux: Any = None) -> Any:
    """torch.nn.attention.flex_attention's function."""
    refuse(return_aux=return_aux)
    if not enable_gqa and query.shape[1] != key.shape[1]:
        raise ValueError(f"query has {query.shape[1]} heads, key {key.shape[1]}: enable_gqa=True is needed")
    query, key, value = lowered(query, key, value)
    if torch.compiler.is_compiling():
        out, lse = _flex_graph.flex_attention(query, key, value, score_mod, block_mask, scale)
        return (out, lse) if return_lse else out
    return flex.flex_attention(query, key, value, score_mod, block_mask=block_mask, scale=scale,
                               return_lse=return_lse)
