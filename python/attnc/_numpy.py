"""numpy's part: views of host arrays, and what the drop-in functions do to them.

float16 is fp16, float32 is fp32, int32 is i32, uint32 is u32; bf16 is ml_dtypes' bfloat16 or, since numpy has
none of its own, uint16: its bits.
"""
import numpy

from .arrays import View
from .errors import UsageError

DTYPES = {"float16": "fp16", "bfloat16": "bf16", "uint16": "bf16", "float32": "fp32",
          "int32": "i32", "uint32": "u32", "uint64": "u64", "uint8": "u8"}
FRAMEWORK, VECTOR = "numpy", "numpy.array({}, numpy.int32)"
NATIVE = {"fp16": numpy.float16, "bf16": numpy.uint16, "fp32": numpy.float32}


def name_of(dtype):
    return DTYPES.get(dtype.name, dtype.name) if dtype.isnative else str(dtype)


def view(x):
    if isinstance(x, numpy.ma.MaskedArray):
        raise UsageError("a masked array's mask would be lost: give its data")
    readonly = "" if x.flags.writeable else "its flags.writeable is False"
    if any(s % x.itemsize for s in x.strides):  # a field of a packed structure
        x, readonly = contiguous(x), "its strides are not whole numbers of elements"
    strides = tuple(s // x.itemsize for s in x.strides)
    return View(x.ctypes.data, x.shape, strides, name_of(x.dtype), ("cpu", 0), x, readonly)


def contiguous(x):
    return numpy.ascontiguousarray(x)


def packed(x):
    """With elements one after another in the last axis; x itself if it is."""
    return x if x.strides[-1] == x.itemsize or x.shape[-1] == 1 else contiguous(x)


def empty(shape, like):
    return numpy.empty(shape, like.dtype)


def made(shape, dtype, likes):
    """Of attnc's `dtype`, written as one of `likes` has it: bf16 has two ways."""
    found = (x.dtype for x in likes if isinstance(x, numpy.ndarray) and name_of(x.dtype) == dtype)
    return numpy.empty(shape, next(found, NATIVE[dtype]))


def empty_of(shape, like, dtype):
    """dtype: numpy's own; None: that of `like`."""
    return numpy.empty(shape, dtype or like.dtype)


def empty_fp32(shape, like):
    return numpy.empty(shape, numpy.float32)


def empty_u8(shape, like):
    return numpy.empty(shape, numpy.uint8)


def random_state(like, draws):
    """Seed and offset of a call's random numbers, u64 [2]; numpy.random.seed decides."""
    seed = numpy.random.randint(0, 2**63, dtype=numpy.int64)
    return numpy.array([seed, 0], numpy.uint64)


def state(x):
    """The same of a caller's."""
    return numpy.ascontiguousarray(x, numpy.uint64)


def signs(keep, like):
    """1 where it is not 0, else -1, of like's dtype."""
    if name_of(like.dtype) == "bf16" and like.dtype == numpy.uint16:  # its bits
        return numpy.where(keep, 0x3F80, 0xBF80).astype(numpy.uint16)
    return numpy.where(keep, 1, -1).astype(like.dtype)


def zeros(shape, like):
    return numpy.zeros(shape, like.dtype)


def zeros_fp32(shape, like):
    return numpy.zeros(shape, numpy.float32)


def copy(to, source):
    to[...] = source


def broadcast(x, shape):
    """A view of that shape, whose axes of length 1 have a stride of 0."""
    return numpy.broadcast_to(x, shape)


def pad_last(x, n):
    """A copy with `n` zeros behind each row."""
    return numpy.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, n)])


def minus_to_plus_inf(x):
    """-inf becomes +inf, in place."""
    x[numpy.isneginf(x)] = numpy.inf


def integers(x):
    """The values of an int32 vector; TypeError for another dtype."""
    if x.dtype != numpy.int32:
        raise TypeError(f"int32 is needed, not {x.dtype}")
    return x.tolist()


def int32s(n, value, like):
    """n times the number, where `like` is."""
    return numpy.full(n, value, numpy.int32)


def vector(numbers):
    return numpy.array(numbers, numpy.int32)


def beside(x, like):
    """int32 and contiguous, on the device of `like`."""
    return numpy.ascontiguousarray(x, numpy.int32)


def page_table(offsets, pages, most):
    """int32 [n, most]: of n runs of `pages` from offsets[i] on; behind the end of a run -1."""
    at = offsets[:-1, None] + numpy.arange(most)
    table, live = numpy.full(at.shape, -1, numpy.int32), at < offsets[1:, None]
    table[live] = pages[at[live]]
    return table


def move_last(x, axis):
    """A view whose last axis is that one: axis 0 of [a, b, c] makes [b, c, a]."""
    return numpy.moveaxis(x, axis, -1)


def slots(x, room, like):
    """int32; below 0: room."""
    return numpy.where(x < 0, room, x).astype(numpy.int32)


def counted(n, like):
    """0 … n - 1."""
    return numpy.arange(n, dtype=numpy.int32)


def stack(tensors):
    return numpy.stack(tensors)


def row_counts(mask):
    """How many are true in each row of a mask, int32."""
    return mask.sum(axis=-1, dtype=numpy.int32)


def true_indices(mask):
    """Where a mask is true, as one axis."""
    return numpy.flatnonzero(mask)


def offsets(lengths):
    """0 and the running sum, int32."""
    return numpy.concatenate([numpy.zeros(1, numpy.int32),
                              numpy.cumsum(lengths, dtype=numpy.int32)])


def as_int32(x):
    """A copy; TypeError where the values may be other numbers, ValueError where one does not
    fit."""
    if x.dtype.kind not in "biu":
        raise TypeError(f"{x.dtype} has numbers that int32 has not")
    y = x.astype(numpy.int32)
    if (y != x).any():
        raise ValueError("it has numbers that int32 has not")
    return y


def needs_grad(q, k, v):
    return False


def stream(device):
    return 0


def key(x):
    """All of an array that a launch is packed from, but for its address."""
    return x.shape, x.strides, x.dtype.name


def key_of_rows(x):
    """The same of packed [rows, heads, head_dim], of any number of rows."""
    return x.shape[1:], x.strides, x.dtype.name


def strides(x):
    return x.strides
