"""xFormers' memory_efficient_attention: its arguments, and its bias classes by their names and attributes, so that
xFormers itself need not be there.

    from attnc.xformers import memory_efficient_attention
"""
from typing import Any, Dict, Optional, Tuple

import torch

from . import _operators
from ._dropout import share_of
from ._general import attend
from ._types import Fields
from .torch import attention

# By the name of a class: (causal, aligned at the first query and key, has sequences).
BIASES = {
    "LowerTriangularMask": (True, True, False),
    "LowerTriangularFromBottomRightMask": (True, False, False),
    "LowerTriangularFromBottomRightLocalAttentionMask": (True, False, False),
    "LocalAttentionFromBottomRightMask": (False, False, False),
    "BlockDiagonalMask": (False, False, True),
    "BlockDiagonalCausalMask": (True, True, True),
    "BlockDiagonalCausalFromBottomRightMask": (True, False, True),
    "BlockDiagonalCausalLocalAttentionMask": (True, True, True),
    "BlockDiagonalCausalLocalAttentionFromBottomRightMask": (True, False, True),
}


def _window(bias: Any) -> Tuple[int, int]:
    """(left, right): a window of n keys has the row's own and n - 1 before it."""
    if hasattr(bias, "window_left"):
        return bias.window_left, bias.window_right
    size = getattr(bias, "_window_size", None)
    return (-1, -1) if size is None else (size - 1, -1)


def _heads(x: torch.Tensor) -> torch.Tensor:
    """[b, m, h, k] of [b, m, k] and of grouped [b, m, g, h, k]; grouped heads of keys that are one by a stride of 0
    are that one."""
    if x.dim() == 3:
        return x[:, :, None]
    if x.dim() == 5:
        return x[:, :, :, 0] if x.stride(3) == 0 else x.flatten(2, 3)
    return x


def _dense(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: Any, p: float,
           scale: Optional[float]) -> torch.Tensor:
    name = type(bias).__name__
    more: Dict[str, Any] = {}
    if isinstance(bias, torch.Tensor):
        more["bias"] = bias if bias.dim() == 4 else bias[:, None]
    elif bias is not None:
        causal, top_left, _ = BIASES[name]
        more.update(causal=causal, top_left=top_left, window=_window(bias))
        added = getattr(bias, "_bias", None)  # of LowerTriangularMask.add_bias
        if added is not None:
            more["bias"] = added
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    out, _ = attention(query, key, value, scale=scale, dropout_p=p, **more)
    return out.transpose(1, 2)


def _packed(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: Any, p: float,
            scale: Optional[float]) -> torch.Tensor:
    """Sequences one after another in a batch of one."""
    causal, top_left, _ = BIASES[type(bias).__name__]
    if query.shape[0] != 1:
        raise ValueError(f"{type(bias).__name__}: a batch of one is needed, not {query.shape[0]}")
    fields: Fields = {"causal": causal, "seqlens": ["cu_seqlens_q", "cu_seqlens_k"]}
    window = _window(bias)
    if window != (-1, -1):
        fields["window"] = list(window)
    if top_left:
        fields["align"] = "top_left"
    sides = bias.q_seqinfo, getattr(bias, "k_seqinfo", bias.q_seqinfo)
    tensors = {n: x.seqstart.to(query.device, torch.int32) for n, x in zip(fields["seqlens"], sides)}
    numbers = {"softmax_scale": query.shape[-1] ** -0.5 if scale is None else scale}
    if p:
        fields["dropout"], numbers["dropout_p"] = True, p
        tensors["rng_state"] = _operators.rng_state_of(None, p, query, len(sides[0].seqstart) - 1, query.shape[2])
    out, _ = attend(fields, query[0], key[0], value[0], tensors, numbers, tuple(x.max_seqlen for x in sides))
    return out[None]


def memory_efficient_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_bias: Any = None,
                               p: float = 0.0, scale: Optional[float] = None, *, op: Any = None,
                               output_dtype: Optional[torch.dtype] = None) -> torch.Tensor:
    """softmax(query keyᵀ scale + attn_bias) value of [b, m, h, k], [b, m, k] or grouped [b, m, g, h, k].

    attn_bias: a tensor that broadcasts to [b, h, mq, mk], or one of the classes in BIASES, of xFormers or with its
    names.  p: the share of weights that is dropped.  op: None, or it is refused.
    """
    if op is not None:
        raise NotImplementedError("op: attnc chooses the kernel by the device: leave it out")
    if not isinstance(attn_bias, (torch.Tensor, type(None))) and type(attn_bias).__name__ not in BIASES:
        if getattr(attn_bias, "_bias", None) is None or "LowerTriangularMask" not in [
                c.__name__ for c in type(attn_bias).__mro__]:
            raise NotImplementedError(f"attn_bias of class {type(attn_bias).__name__} is not supported: a tensor, or "
                                      f"one of {', '.join(BIASES)}")
    bias = attn_bias
    shape, name = query.shape, next((c.__name__ for c in type(bias).__mro__ if c.__name__ in BIASES), None)
    if name and type(bias).__name__ not in BIASES:  # LowerTriangularMaskWithTensorBias
        bias = type(name, (), {"_bias": bias._bias})()
    query, key, value = (_heads(x) for x in (query, key, value))
    run = _packed if name and BIASES[name][2] else _dense
    out = run(query, key, value, bias, share_of(p), scale)
    return out.reshape(*shape[:-1], value.shape[-1]).to(output_dtype or out.dtype)
