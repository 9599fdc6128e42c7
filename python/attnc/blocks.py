"""What flex_attention takes as a block mask: any object that has the tensors of FlexAttention's
BlockMask (torch's own among them) and its BLOCK_SIZE."""
from typing import Any, Dict, List, Tuple

from . import arrays
from ._types import Tensor
from ._types import Tensors
from .errors import ShapeError, UsageError

NAMES = ("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices")
MOST = 1 << 16  # rows of a block that a spec may name
STEP = 16
WHOLE = "noop_mask"  # of torch: a function that hides nothing


def _rows(block_mask: Any) -> Tuple[int, int]:
    size = getattr(block_mask, "BLOCK_SIZE", None)
    pair = (size, size) if isinstance(size, int) else tuple(size or ())
    if len(pair) != 2 or not all(isinstance(n, int) and n > 0 for n in pair):
        raise UsageError(f"block_mask.BLOCK_SIZE is {size!r}, not (queries, keys)")
    return pair


def _fitting(rows: int, blocks: int, length: int) -> int:
    """One block may be larger than all there is, as torch's empty mask has it."""
    if rows > MOST and blocks == 1:
        return max(STEP, -(-length // 128) * 128)
    return rows


def _whole(x: Tensor) -> Tensor:
    ops = arrays.ops(x)
    return x if ops.view(x).dtype == "i32" else ops.as_int32(x)


def _spread(x: Tensor, b: int, h: int) -> Tensor:
    """One list for all batches or heads is that of each of them, by a stride of 0."""
    shape = (b, h, *x.shape[2:])
    if tuple(x.shape) == shape:
        return x
    if not all(n in (1, m) for n, m in zip(x.shape, shape)):
        raise ShapeError(f"block_mask has lists of {x.shape[0]} batches and {x.shape[1]} heads; "
                         f"{b} or 1, and {h} or 1, are needed", "ATTNC_ERR_SHAPE")
    return arrays.ops(x).broadcast(x, shape)


def take(block_mask: Any, b: int, h: int, hk: int, q: int,
         kv: int) -> Tuple[Dict[str, Any], Dict[str, Tensor], List[Any]]:
    """({field: value}, {name: tensor}, [mask_mod]) of a spec and its call."""
    missing = [n for n in NAMES[:2] if getattr(block_mask, n, None) is None]
    if missing:
        raise UsageError(f"block_mask has no {missing[0]}: {', '.join(NAMES)} and BLOCK_SIZE "
                         "are read")
    data: Tensors = {n: getattr(block_mask, n, None) for n in NAMES}
    if any(arrays.ops(x) is None or len(x.shape) != 3 + n.endswith("indices")
           for n, x in data.items() if x is not None):
        raise UsageError("block_mask: lists are tensors of torch or arrays of numpy, [b, h, "
                         "rows of blocks] and [b, h, rows of blocks, blocks]")
    for of in NAMES[:2]:
        if data["full_" + of] is None:  # no block is seen whole
            data["full_" + of] = data[of] * 0
    rows = _rows(block_mask)
    blocks = data["kv_indices"].shape[2:]
    block = list(map(_fitting, rows, blocks, (q, kv)))
    mod = getattr(block_mask, "mask_mod", None)
    masks = [] if mod is None or getattr(mod, "__name__", "") == WHOLE else [mod]
    data = {n: _spread(_whole(x), b, h) for n, x in data.items()}
    return {"block_list": {"block": block}}, data, masks
