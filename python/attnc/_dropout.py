"""Dropout of the drop-in functions: which seed and offset a call has, and which weights it kept.

As FlashAttention-2 has it (docs/dropout.md): on a GPU both are the device's default generator's, which is
advanced by 32 for each batch and head; elsewhere the seed is drawn from the framework's own generator."""
from typing import Any, Callable, Optional, Tuple

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
    """The signs of S_dmask (b, h, sq, sk), both rounded up to 128, of like's dtype: 1 where a weight is kept,
    -1 where it is dropped.  plan: makes the plan of op dropout_mask for such sizes."""
    sq, sk = (-(-n // ROUNDED) * ROUNDED for n in (sq, sk))
    sizes = Sizes(b, h, h, sq, sk)
    keep = ops.empty_u8((b, h, sq, sk), like)
    plan(sizes)(rng_state=state, keep=keep, dropout_p=dropout_p)
    return ops.signs(keep, like)


# ---- S_dmask's weights ----


class Rows:
    """Of packed rows: `first`, where each sequence begins, and `n`, how many it has (int32 (b,)), at most `most`.
    Nothing of it is looked at by the host."""

    def __init__(self, ops: Ops, offsets: Tensor, used: Optional[Tensor], most: int) -> None:
        self.first, self.most = offsets[:-1], most
        self.n = offsets[1:] - self.first if used is None else used

    def of(self, ops: Ops, x: Tensor) -> Tensor:
        """[total, h, d] as [b, most, h, d]: behind a sequence's end any rows."""
        at = self.first[:, None] + ops.counted(self.most, x)
        return x[ops.below(at, x.shape[0])]


def weights_of(ops: Ops, q: Tensor, k: Tensor, options: Any, slopes: Optional[Tensor] = None,
               rows: Optional[Tuple[Rows, Rows]] = None) -> Tensor:
    """exp(score - the largest of its row), fp32 (b, h, sq, sk), 0 where the masks hide it: plain arithmetic, as this
    is for looking at.  rows: (of queries, of keys), where q and k are packed."""
    if rows:
        q, k = rows[0].of(ops, q), rows[1].of(ops, k)
    s = ops.scores(q, k) * options.scale
    if options.softcap:
        s = options.softcap * ops.tanh(s / options.softcap)
    i, j = ops.counted(q.shape[1], q)[:, None], ops.counted(k.shape[1], q)
    n, m = (x.n[:, None, None, None] for x in rows) if rows else (q.shape[1], k.shape[1])
    at = i + (m - n)  # the query's position among the keys
    if slopes is not None:
        s = s - slopes.reshape(-1, slopes.shape[-1], 1, 1) * abs(at - j)
    left, right = options.window[0], 0 if options.causal else options.window[1]
    seen = (i < n) & (j < m)
    if left >= 0:
        seen = seen & (j >= at - left)
    if right >= 0:
        seen = seen & (j <= at + right)
    return ops.weights(s, seen)


def weighed(ops: Ops, signs: Tensor, weights: Tensor) -> Tensor:
    """S_dmask of its signs: behind the weights it is 0."""
    return ops.times(signs, weights)
