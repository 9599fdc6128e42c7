"""FlashAttention's flash_attn.bert_padding: rows of padded batches without their padding, and
back.  The same names, order and results; for tensors of torch and arrays of numpy."""
from typing import Optional, Tuple

from . import arrays
from ._types import Ops, Tensor
from ._types import Tensors


def _ops(x: object, name: str) -> Ops:
    found: Optional[Ops] = arrays.ops(x)
    if not found:
        raise TypeError(f"{name} must be a tensor of torch or an array of numpy, not "
                        f"{type(x).__module__}.{type(x).__name__}")
    return found


def _check(ops: Ops, name: str, x: object) -> None:
    """x is of the framework that hidden_states is of."""
    if arrays.ops(x) is not ops:
        raise TypeError(f"{name} must be a tensor of {ops.FRAMEWORK}, as hidden_states is, not "
                        f"{type(x).__module__}.{type(x).__name__}")


def unpad_input(hidden_states: Tensor, attention_mask: Tensor,
                unused_mask: Optional[Tensor] = None) -> Tuple[Tensor, Tensor, Tensor, int, Tensor]:
    """(rows, indices, cu_seqlens, max_seqlen, seqused) of hidden_states (batch, seqlen, ...).

    attention_mask, unused_mask: (batch, seqlen), true where a row counts, and where one is kept
    that does not.  rows: (total, ...), those that are kept; indices: (total,), where they stand
    among batch * seqlen; cu_seqlens: int32 (batch + 1,); max_seqlen: an int, for which a GPU is
    waited for, as FlashAttention does; seqused: int32 (batch,), how many rows count.
    """
    ops = _ops(hidden_states, "hidden_states")
    b, s = hidden_states.shape[:2]
    masks: Tensors = {"attention_mask": attention_mask}
    if unused_mask is not None:
        masks["unused_mask"] = unused_mask
    for name, mask in masks.items():
        _check(ops, name, mask)
        if tuple(mask.shape) != (b, s):
            raise ValueError(f"{name} has shape {list(mask.shape)}, not [{b}, {s}]")
    counted = attention_mask != 0
    kept = counted if unused_mask is None else counted | (unused_mask != 0)
    lengths = ops.row_counts(kept)
    indices = ops.true_indices(kept)
    rows = hidden_states.reshape(b * s, *hidden_states.shape[2:])[indices]
    longest = int(lengths.max()) if b else 0
    return rows, indices, ops.offsets(lengths), longest, ops.row_counts(counted)


def pad_input(hidden_states: Tensor, indices: Tensor, batch: int, seqlen: int) -> Tensor:
    """(batch, seqlen, ...): row i of hidden_states (total, ...) stands at indices[i], others are
    zeros."""
    ops = _ops(hidden_states, "hidden_states")
    _check(ops, "indices", indices)
    rest = hidden_states.shape[1:]
    out = ops.zeros((batch * seqlen, *rest), hidden_states)
    out[indices] = hidden_states
    return out.reshape(batch, seqlen, *rest)
