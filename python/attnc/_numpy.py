"""numpy's part: views of host arrays, and what the drop-in functions do to them.

float16 is fp16, float32 is fp32, int32 is i32, uint32 is u32; bf16 is ml_dtypes' bfloat16 or, since numpy has
none of its own, uint16: its bits.
"""
from typing import Any, List, Sequence, Tuple

import numpy
from numpy.typing import NDArray

from .arrays import View
from .errors import UsageError

Array = NDArray[Any]
DTYPES = {"float16": "fp16", "bfloat16": "bf16", "uint16": "bf16", "float32": "fp32",
          "int32": "i32", "uint32": "u32", "uint64": "u64", "uint8": "u8"}
FRAMEWORK, VECTOR = "numpy", "numpy.array({}, numpy.int32)"
NATIVE = {"fp16": numpy.float16, "bf16": numpy.uint16, "fp32": numpy.float32}


def name_of(dtype: Any) -> str:
    return DTYPES.get(dtype.name, dtype.name) if dtype.isnative else str(dtype)


def view(x: Array) -> View:
    if isinstance(x, numpy.ma.MaskedArray):
        raise UsageError("a masked array's mask would be lost: give its data")
    readonly = "" if x.flags.writeable else "its flags.writeable is False"
    if any(s % x.itemsize for s in x.strides):  # a field of a packed structure
        x, readonly = contiguous(x), "its strides are not whole numbers of elements"
    strides = tuple(s // x.itemsize for s in x.strides)
    return View(x.ctypes.data, x.shape, strides, name_of(x.dtype), ("cpu", 0), x, readonly)


def contiguous(x: Array) -> Array:
    return numpy.ascontiguousarray(x)


def packed(x: Array) -> Array:
    """With elements one after another in the last axis; x itself if it is."""
    return x if x.strides[-1] == x.itemsize or x.shape[-1] == 1 else contiguous(x)


def empty(shape: Sequence[int], like: Array) -> Array:
    return numpy.empty(shape, like.dtype)


def made(shape: Sequence[int], dtype: str, likes: Sequence[Any]) -> Array:
    """Of attnc's `dtype`, written as one of `likes` has it: bf16 has two ways."""
    found = (x.dtype for x in likes if isinstance(x, numpy.ndarray) and name_of(x.dtype) == dtype)
    return numpy.empty(shape, next(found, NATIVE[dtype]))


def empty_of(shape: Sequence[int], like: Array, dtype: Any) -> Array:
    """dtype: numpy's own; None: that of `like`."""
    return numpy.empty(shape, dtype or like.dtype)


def empty_fp32(shape: Sequence[int], like: Array) -> Array:
    return numpy.empty(shape, numpy.float32)


def empty_u8(shape: Sequence[int], like: Array) -> Array:
    return numpy.empty(shape, numpy.uint8)


def random_state(like: Array, draws: int) -> Array:
    """Seed and offset of a call's random numbers, u64 [2]; numpy.random.seed decides."""
    seed = numpy.random.randint(0, 2**63, dtype=numpy.int64)
    return numpy.array([seed, 0], numpy.uint64)


def state(x: Any) -> Array:
    """The same of a caller's."""
    return numpy.ascontiguousarray(x, numpy.uint64)


def signs(keep: Array, like: Array) -> Array:
    """1 where it is not 0, else -1, of like's dtype."""
    if name_of(like.dtype) == "bf16" and like.dtype == numpy.uint16:  # its bits
        return numpy.where(keep, 0x3F80, 0xBF80).astype(numpy.uint16)
    return numpy.where(keep, 1, -1).astype(like.dtype)


def scores(q: Array, k: Array) -> Array:
    """q kᵀ in fp32, (b, h, sq, sk), of (b, s, heads, d)."""
    q, k = (_fp32(x) for x in (q, k))
    s: Array = numpy.einsum("bqhd,bkhd->bhqk", q, numpy.repeat(k, q.shape[2] // k.shape[2], axis=2))
    return s


def _fp32(x: Array) -> Array:
    if x.dtype == numpy.uint16:  # the bits of bf16
        return (x.astype(numpy.uint32) << 16).view(numpy.float32)
    return x.astype(numpy.float32)


def tanh(x: Array) -> Array:
    return numpy.tanh(x)


def below(x: Array, n: int) -> Array:
    """As indices of n rows."""
    return numpy.clip(x, 0, max(n - 1, 0))


def weights(s: Array, seen: Array) -> Array:
    """exp(s - the largest that is seen of the row), 0 where nothing is seen."""
    s = numpy.where(seen, s, -numpy.inf)
    most = s.max(axis=-1, keepdims=True, initial=-numpy.inf)
    w: Array = numpy.exp(s - numpy.where(numpy.isinf(most), 0, most))
    return w


def times(signs: Array, by: Array) -> Array:
    """Of the signs' dtype, rounded; `by` is the corner of what there is."""
    all_of = numpy.zeros(signs.shape, numpy.float32)
    all_of[:, :, :by.shape[2], :by.shape[3]] = by
    product = all_of * _fp32(signs)
    if signs.dtype != numpy.uint16:
        return product.astype(signs.dtype)
    bits = product.view(numpy.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(numpy.uint16)


def zeros(shape: Sequence[int], like: Array) -> Array:
    return numpy.zeros(shape, like.dtype)


def zeros_fp32(shape: Sequence[int], like: Array) -> Array:
    return numpy.zeros(shape, numpy.float32)


def copy(to: Array, source: Array) -> None:
    to[...] = source


def broadcast(x: Array, shape: Sequence[int]) -> Array:
    """A view of that shape, whose axes of length 1 have a stride of 0."""
    return numpy.broadcast_to(x, shape)


def pad_last(x: Array, n: int) -> Array:
    """A copy with `n` zeros behind each row."""
    return numpy.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, n)])


def minus_to_plus_inf(x: Array) -> None:
    """-inf becomes +inf, in place."""
    x[numpy.isneginf(x)] = numpy.inf


def integers(x: Array) -> List[int]:
    """The values of an int32 vector; TypeError for another dtype."""
    if x.dtype != numpy.int32:
        raise TypeError(f"int32 is needed, not {x.dtype}")
    numbers: List[int] = x.tolist()
    return numbers


def int32s(n: int, value: int, like: Array) -> Array:
    """n times the number, where `like` is."""
    return numpy.full(n, value, numpy.int32)


def vector(numbers: Sequence[int]) -> Array:
    return numpy.array(numbers, numpy.int32)


def beside(x: Array, like: Any) -> Array:
    """int32 and contiguous, on the device of `like`."""
    return numpy.ascontiguousarray(x, numpy.int32)


def page_table(offsets: Array, pages: Array, most: int) -> Array:
    """int32 [n, most]: of n runs of `pages` from offsets[i] on; behind the end of a run -1."""
    at = offsets[:-1, None] + numpy.arange(most)
    table, live = numpy.full(at.shape, -1, numpy.int32), at < offsets[1:, None]
    table[live] = pages[at[live]]
    return table


def move_last(x: Array, axis: int) -> Array:
    """A view whose last axis is that one: axis 0 of [a, b, c] makes [b, c, a]."""
    return numpy.moveaxis(x, axis, -1)


def slots(x: Array, room: int, like: Array) -> Array:
    """int32; below 0: room."""
    return numpy.where(x < 0, room, x).astype(numpy.int32)


def counted(n: int, like: Array) -> Array:
    """0 … n - 1."""
    return numpy.arange(n, dtype=numpy.int32)


def stack(tensors: Sequence[Array]) -> Array:
    return numpy.stack(tensors)


def row_counts(mask: Array) -> Array:
    """How many are true in each row of a mask, int32."""
    return numpy.asarray(mask.sum(axis=-1, dtype=numpy.int32))


def true_indices(mask: Array) -> Array:
    """Where a mask is true, as one axis."""
    return numpy.flatnonzero(mask)


def offsets(lengths: Array) -> Array:
    """0 and the running sum, int32."""
    return numpy.concatenate([numpy.zeros(1, numpy.int32),
                              numpy.cumsum(lengths, dtype=numpy.int32)])


def as_int32(x: Array) -> Array:
    """A copy; TypeError where the values may be other numbers, ValueError where one does not
    fit."""
    if x.dtype.kind not in "biu":
        raise TypeError(f"{x.dtype} has numbers that int32 has not")
    y = x.astype(numpy.int32)
    if (y != x).any():
        raise ValueError("it has numbers that int32 has not")
    return y


def needs_grad(q: Array, k: Array, v: Array) -> bool:
    return False


def stream(device: Tuple[str, int]) -> int:
    return 0


def key(x: Array) -> Tuple[Any, ...]:
    """All of an array that a launch is packed from, but for its address."""
    return x.shape, x.strides, x.dtype.name


def key_of_rows(x: Array) -> Tuple[Any, ...]:
    """The same of packed [rows, heads, head_dim], of any number of rows."""
    return x.shape[1:], x.strides, x.dtype.name


def strides(x: Array) -> Tuple[int, ...]:
    return x.strides
