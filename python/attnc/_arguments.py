"""Arguments of the drop-in functions, checked, and as kernels take them."""
import operator
from typing import Any, Optional, Tuple

from . import arrays
from ._types import Device, Ops, Tensor

HEAD_DIM_MAX, HEAD_DIM_V_MAX = 256, 512
DTYPES = ("fp16", "bf16")


def ops_of(q: Tensor, k: Tensor, v: Tensor) -> Ops:
    """The framework of all three; a gradient that would be wanted of them is refused."""
    found = {arrays.ops(x) for x in (q, k, v)}
    if len(found) != 1 or None in found:
        raise TypeError("q, k, v must all be tensors of torch or all arrays of numpy")
    ops: Ops = found.pop()
    if ops.needs_grad(q, k, v):
        raise NotImplementedError("requires_grad: this function has no backward pass, as flash_attn_func has "
                                  "one; call it under torch.no_grad() or on detached tensors")
    return ops


def dtype_of(ops: Ops, q: Tensor, k: Tensor, v: Tensor) -> Tuple[str, Device]:
    views = [ops.view(x) for x in (q, k, v)]
    dtype, device = views[0].dtype, views[0].device
    if dtype not in DTYPES:
        raise TypeError(f"q is {dtype}: fp16 and bf16 are supported")
    if any(x.dtype != dtype for x in views):
        raise TypeError("q, k and v must have the same dtype")
    if any(x.device != device for x in views):
        raise ValueError("q, k and v must be on the same device")
    return dtype, device


def check_shapes(q: Tensor, k: Tensor, v: Tensor) -> None:
    """[b, s, h, d]."""
    if not len(q.shape) == len(k.shape) == len(v.shape) == 4:
        raise ValueError("q, k and v must have 4 axes: batch, seqlen, heads, head_dim")
    (b, _, h, d), (bk, _, hk, dk) = q.shape, k.shape
    if tuple(v.shape) != tuple(k.shape) or bk != b or dk != d:
        raise ValueError(f"shapes do not agree: q {tuple(q.shape)}, k {tuple(k.shape)}, "
                         f"v {tuple(v.shape)}")
    if b == 0:
        raise ValueError("batch size must be positive")
    check_heads(h, hk, d)


def check_heads(h: int, hk: int, d: int) -> None:
    if d == 0:
        raise ValueError("head_dim must be positive")
    if hk == 0 or h % hk:
        raise ValueError(f"heads of q, {h}, must be a multiple of those of k and v, {hk}")
    if d > HEAD_DIM_MAX:
        raise NotImplementedError(f"head_dim={d}: at most {HEAD_DIM_MAX} is supported")


def scale_of(softmax_scale: Any, head_dim: int) -> float:
    """A number: that of FlashAttention where it is None."""
    if softmax_scale is None:
        return float(head_dim ** -0.5)
    if isinstance(softmax_scale, bool):  # a call in FlashAttention 3's order
        raise TypeError(f"softmax_scale={softmax_scale}: a number is needed; causal comes after "
                        "it here")
    if not softmax_scale > 0:
        raise NotImplementedError(f"softmax_scale={softmax_scale!r}: it must be positive")
    return float(softmax_scale)


def softcap_of(softcap: Any) -> float:
    """0: none."""
    if softcap is None or isinstance(softcap, bool) or not softcap >= 0:
        raise ValueError(f"softcap={softcap!r}: a number above 0 is needed, or 0 for none")
    return float(softcap)


def splits_of(num_splits: Any) -> int:
    """0: by the kernel's rule."""
    n = 0 if num_splits is None else whole("num_splits", num_splits)
    if n < 0:
        raise ValueError(f"num_splits={n}: a number of parts is needed, or 0 for the kernel's rule")
    return n


def slopes_of(ops: Ops, alibi_slopes: Optional[Tensor], b: int, h: int) -> Tuple[Optional[Tensor], str]:
    """(slopes as kernels take them, their axes)."""
    if alibi_slopes is None:
        return None, "none"
    if arrays.ops(alibi_slopes) is not ops:
        raise TypeError(f"alibi_slopes: a tensor of {ops.FRAMEWORK} is needed, as q is, not "
                        f"{type(alibi_slopes).__module__}.{type(alibi_slopes).__name__}")
    at = ops.view(alibi_slopes)
    if at.dtype != "fp32":
        raise TypeError(f"alibi_slopes is {at.dtype}: float32 is needed")
    if at.shape not in ((h,), (b, h)):
        raise ValueError(f"alibi_slopes has shape {tuple(at.shape)}: ({h},) or ({b}, {h}), of "
                         "heads, or of batches and heads, is needed")
    return ops.contiguous(alibi_slopes), "h" if len(at.shape) == 1 else "bh"


def whole(name: str, value: Any) -> int:
    """An int of what is a whole number, numpy's and torch's too; TypeError names another."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, not "
                        f"{type(value).__name__}") from None


def truth(name: str, value: Any) -> bool:
    """A bool of what says yes or no; TypeError for what stands in its place by mistake."""
    if value is None or (isinstance(value, int) and value in (0, 1)) or (
            type(value).__name__ in ("bool", "bool_")):  # numpy's
        return bool(value)
    raise TypeError(f"{name}: True or False is needed, not {type(value).__name__}")


def window_of(window_size: Any, causal: bool, sq: int, sk: int) -> Tuple[int, int]:
    """FlashAttention-2's reading of window_size, sk the longest keys of the call: below 0, or
    past all keys, is unbounded; `causal` decides the right side; and a window with a left
    side only reaches sk to the right, which shows where sq > sk + 1."""
    try:
        left, right = window_size
    except (TypeError, ValueError):
        raise TypeError(f"window_size={window_size!r}: expected two integers, (left, "
                        "right); -1 is unbounded") from None
    left, right = whole("window_size", left), whole("window_size", right)
    left = -1 if left < 0 or left >= sk else left
    right = -1 if right < 0 or right >= sk else right
    if causal:
        right = -1
    elif left >= 0 and right < 0 and sq > sk + 1:
        right = sk
    return left, right
