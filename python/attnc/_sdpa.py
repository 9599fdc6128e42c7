"""attnc as a provider of torch's scaled_dot_product_attention, in the place of its FlashAttention:

    attnc.torch.register()                                    # names it; changes nothing yet
    torch.nn.attention.activate_flash_attention_impl("attnc")

Functions here have the arguments of the operators of aten that they stand for, on CUDA.  What they cannot do goes
to torch's own kernel, and `fallbacks` says why.
"""
from collections import Counter
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch

from . import _operators  # noqa: F401

NAME = "attnc"
fallbacks: Counter[Tuple[str, str]] = Counter()  #: (operator, reason): how many calls went to torch's own kernel


def _why_not(query: torch.Tensor, dropout_p: float, return_debug_mask: bool = False, **others: Any) -> Optional[str]:
    """Why a call goes to torch's own kernel; None: it does not."""
    if query.dtype not in (torch.float16, torch.bfloat16):
        return f"{query.dtype} is neither float16 nor bfloat16"
    if dropout_p:
        return "dropout: the state of random numbers has torch's own form"
    if return_debug_mask:
        return "return_debug_mask"
    given = [n for n, x in others.items() if x is not None]
    return f"{', '.join(given)} is given" if given else None


def _turned(*tensors: torch.Tensor) -> List[torch.Tensor]:
    return [x.transpose(1, 2) for x in tensors]


def _nothing(query: torch.Tensor) -> Tuple[torch.Tensor, ...]:
    """rng_state, unused, debug mask."""
    return (torch.zeros(2, dtype=torch.uint64, device=query.device),
            torch.zeros((), dtype=torch.uint64, device=query.device), query.new_empty((0,)))


def scaled_dot_product_flash_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
                                       dropout_p: float = 0.0, is_causal: bool = False,
                                       return_debug_mask: bool = False, *,
                                       scale: Optional[float] = None) -> Tuple[Any, ...]:
    out, lse = torch.ops.attnc.flash_attn(*_turned(query, key, value), None, 0.0, None, scale, is_causal, -1, -1, 0.0,
                                          False)
    return (out.transpose(1, 2), lse, None, None, query.shape[2], key.shape[2], *_nothing(query))


def scaled_dot_product_flash_attention_backward(grad_out: torch.Tensor, query: torch.Tensor, key: torch.Tensor,
                                                value: torch.Tensor, out: torch.Tensor, logsumexp: torch.Tensor,
                                                cum_seq_q: Optional[torch.Tensor], cum_seq_k: Optional[torch.Tensor],
                                                max_q: int, max_k: int, dropout_p: float, is_causal: bool,
                                                philox_seed: torch.Tensor, philox_offset: torch.Tensor, *,
                                                scale: Optional[float] = None) -> Tuple[torch.Tensor, ...]:
    found = torch.ops.attnc.flash_attn_bwd(
        *_turned(grad_out), None, *_turned(query, key, value, out), logsumexp, None, 0.0, None, scale, is_causal, -1,
        -1, 0.0, torch.are_deterministic_algorithms_enabled())
    return tuple(_turned(*found))


def flash_attention_forward(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
                            cum_seq_q: Optional[torch.Tensor], cum_seq_k: Optional[torch.Tensor], max_q: int,
                            max_k: int, dropout_p: float, is_causal: bool, return_debug_mask: bool, *,
                            scale: Optional[float] = None, window_size_left: Optional[int] = None,
                            window_size_right: Optional[int] = None, seqused_k: Optional[torch.Tensor] = None,
                            alibi_slopes: Optional[torch.Tensor] = None, **others: Any) -> Tuple[torch.Tensor, ...]:
    options = (alibi_slopes, 0.0, None, scale, is_causal, _side(window_size_left), _side(window_size_right), 0.0, False)
    if cum_seq_q is None:
        out, lse = torch.ops.attnc.flash_attn(query, key, value, *options)
    else:
        out, lse = torch.ops.attnc.flash_attn_varlen(query, key, value, cum_seq_q, cum_seq_k, max_q, max_k, None,
                                                     seqused_k, None, *options)
    return (out, lse, *_nothing(query))


def flash_attention_backward(grad_out: torch.Tensor, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
                             out: torch.Tensor, logsumexp: torch.Tensor, cum_seq_q: Optional[torch.Tensor],
                             cum_seq_k: Optional[torch.Tensor], max_q: int, max_k: int, dropout_p: float,
                             is_causal: bool, rng_state: torch.Tensor, unused: torch.Tensor, *,
                             scale: Optional[float] = None, window_size_left: Optional[int] = None,
                             window_size_right: Optional[int] = None) -> Tuple[torch.Tensor, ...]:
    saved = (grad_out, None, query, key, value, out, logsumexp)
    options = (None, 0.0, None, scale, is_causal, _side(window_size_left), _side(window_size_right), 0.0,
               torch.are_deterministic_algorithms_enabled())
    if cum_seq_q is None:
        found: Tuple[torch.Tensor, ...] = torch.ops.attnc.flash_attn_bwd(*saved, *options)
    else:
        found = torch.ops.attnc.flash_attn_varlen_bwd(*saved, cum_seq_q, cum_seq_k, max_q, max_k, None, None, None,
                                                      *options)
    return found


def _side(n: Optional[int]) -> int:
    return -1 if n is None else n


# Of aten: (what stands for it, where query and dropout_p are among its arguments).
OPERATORS: Dict[str, Callable[..., Any]] = {
    "_scaled_dot_product_flash_attention": scaled_dot_product_flash_attention,
    "_scaled_dot_product_flash_attention_backward": scaled_dot_product_flash_attention_backward,
    "_flash_attention_forward": flash_attention_forward,
    "_flash_attention_backward": flash_attention_backward,
}
NOT_TAKEN = ("out", "block_table", "num_splits")  # of the forward pass: torch's own kernel has them


def _schema(name: str) -> Any:
    return getattr(torch.ops.aten, name).default._schema


def choosing(name: str, own: Callable[..., Any], stock: Callable[..., Any]) -> Callable[..., Any]:
    """`own` where it can, else stock(keys, …), torch's kernel."""
    arguments = [a.name for a in _schema(name).arguments]

    def call(keys: Any, *args: Any, **given: Any) -> Any:
        known = {**dict(zip(arguments, args)), **given}
        others = {n: known.get(n) for n in NOT_TAKEN if n in arguments and name.endswith("forward")}
        why = _why_not(known["query"], known.get("dropout_p", 0.0), known.get("return_debug_mask", False), **others)
        if why is None:
            return own(*args, **given)
        fallbacks[name, why] += 1
        return stock(keys, *args, **given)
    return call


class _Handle:
    """Keeps what was registered; torch calls `remove` when another provider is chosen."""

    def __init__(self) -> None:
        library: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
        self.library = library
        for name, own in OPERATORS.items():
            stock: Any = torch.library.get_kernel(f"aten::{name}", "CUDA").call_boxed
            library.impl(name, choosing(name, own, stock), "CUDA", with_keyset=True)

    def remove(self) -> None:
        self.library = None


def register(name: str = NAME) -> None:
    """Names attnc to torch as a provider; activate_flash_attention_impl(name) is the user's to call."""
    from torch.nn.attention import register_flash_attention_impl
    register_flash_attention_impl(name, register_fn=_Handle)
