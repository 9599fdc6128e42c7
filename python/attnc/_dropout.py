"""Dropout of the drop-in functions: which seed and offset a call has, and which weights it kept.

As FlashAttention-2 has it (docs/dropout.md): on a GPU both are the device's default generator's, which is
advanced by 32 for each batch and head; elsewhere the seed is drawn from the framework's own generator."""
from typing import Any, Callable, Optional

from ._arguments import truth
from ._types import Ops, Tensor
from .plan import Plan
from .sizes import Sizes

DRAWS = 32  # of the offset, for each batch and query head
LSE_ALONE = object()  # a return_attn_probs that leaves S_dmask out
ROUNDED = 128  # queries and keys of S_dmask


def probs_wanted(return_attn_probs: object) -> bool:
    return return_attn_probs is LSE_ALONE or truth("return_attn_probs", return_attn_probs)


def with_mask(return_attn_probs: object) -> bool:
    return return_attn_probs is not LSE_ALONE and bool(return_attn_probs)


def share_of(dropout_p: Any) -> float:
    """0: nothing is dropped."""
    if dropout_p is None:
        return 0.0
    if isinstance(dropout_p, bool) or not 0 <= dropout_p < 1:
        raise ValueError(f"dropout_p={dropout_p!r}: a number of at least 0, below 1 is needed")
    return float(dropout_p)


def state_of(ops: Ops, rng_state: Optional[Tensor], q: Tensor, b: int, h: int) -> Tensor:
    """u64 [2] beside q: the caller's, or a new one for a call of so many batches and heads."""
    if rng_state is None:
        return ops.random_state(q, DRAWS * b * h)
    state = ops.state(rng_state)
    if tuple(state.shape) != (2,) or ops.view(state).device != ops.view(q).device:
        raise ValueError("rng_state: two whole numbers of 64 bits, seed and offset, are needed, where q is")
    return state


def mask_of(ops: Ops, plan: Callable[[Sizes], Plan], state: Tensor, like: Tensor, b: int, h: int, sq: int, sk: int,
            dropout_p: float) -> Tensor:
    """S_dmask (b, h, sq, sk), both rounded up to 128, of like's dtype: 1 where a weight is kept, -1 where it
    is dropped.  plan: makes the plan of op dropout_mask for such sizes."""
    sq, sk = (-(-n // ROUNDED) * ROUNDED for n in (sq, sk))
    sizes = Sizes(b, h, h, sq, sk)
    keep = ops.empty_u8((b, h, sq, sk), like)
    plan(sizes)(rng_state=state, keep=keep, dropout_p=dropout_p)
    return ops.signs(keep, like)
