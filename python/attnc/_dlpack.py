"""DLPack 1.x, the consumer's side: the DLTensor in the capsule of `x.__dlpack__()`.

The capsule is not consumed: it is kept with the view, and gives its memory back when it is
collected, as the protocol wants of a capsule that nobody took.
"""
import ctypes as C
from typing import Any, Optional, Tuple

from .errors import UsageError

CPU, CUDA, HOST, MANAGED = 1, 2, 3, 13
DEVICES = {CPU: "cpu", HOST: "cpu", CUDA: "cuda", MANAGED: "cuda"}
DTYPES = {(2, 16): "fp16", (4, 16): "bf16", (2, 32): "fp32", (0, 32): "i32",
          (1, 32): "u32", (1, 64): "u64", (1, 8): "u8"}
VERSION = (1, 0)  # asked for: capsules without a version cannot say that they are read-only
# Bits of `flags`, and why what has one is not to be written.
READONLY = {1: "its __dlpack__ says that it is read-only",
            2: "its __dlpack__ gave a copy of it"}


class Tensor(C.Structure):
    _fields_ = [("data", C.c_void_p), ("device_type", C.c_int), ("device_id", C.c_int),
                ("ndim", C.c_int), ("code", C.c_uint8), ("bits", C.c_uint8),
                ("lanes", C.c_uint16), ("shape", C.POINTER(C.c_int64)),
                ("strides", C.POINTER(C.c_int64)), ("byte_offset", C.c_uint64)]


class Versioned(C.Structure):
    """DLManagedTensorVersioned, of which the tensor and its flags matter."""

    _fields_ = [("major", C.c_uint32), ("minor", C.c_uint32), ("context", C.c_void_p),
                ("deleter", C.c_void_p), ("flags", C.c_uint64), ("tensor", Tensor)]


_get = C.pythonapi.PyCapsule_GetPointer
_get.restype, _get.argtypes = C.c_void_p, [C.py_object, C.c_char_p]
_valid = C.pythonapi.PyCapsule_IsValid
_valid.restype, _valid.argtypes = C.c_int, [C.py_object, C.c_char_p]


def tensor_of(capsule: object) -> Tuple[Tensor, int]:
    """The tensor, and the flags that only a capsule with a version has."""
    if _valid(capsule, b"dltensor_versioned"):
        made = Versioned.from_address(_get(capsule, b"dltensor_versioned"))
        if made.major != 1:
            raise UsageError(f"DLPack version {made.major} is not known")
        return made.tensor, made.flags
    if _valid(capsule, b"dltensor"):
        return Tensor.from_address(_get(capsule, b"dltensor")), 0
    raise UsageError("__dlpack__ did not return a DLPack capsule")


def capsule_of(x: Any, stream: Optional[int]) -> object:
    """Told the stream on a GPU, as the protocol asks; 1 is its name for the default one.
    Producers of before DLPack 1.0 do not know `max_version`."""
    kind, _ = x.__dlpack_device__()
    told = {"stream": stream or 1} if DEVICES.get(int(kind)) == "cuda" else {}
    try:
        return x.__dlpack__(max_version=VERSION, **told)
    except TypeError:
        return x.__dlpack__(**told)


def read(x: Any,
         stream: Optional[int] = None) -> Tuple[int, Tuple[int, ...], Tuple[int, ...], str, Tuple[str, int], Any, str]:
    """(address, shape, strides, dtype, device, keep, readonly) of a DLPack object."""
    capsule = capsule_of(x, stream)
    t, flags = tensor_of(capsule)
    if t.device_type not in DEVICES:
        raise UsageError(f"DLPack device type {t.device_type} is not supported")
    shape = tuple(t.shape[:t.ndim])
    dtype = DTYPES.get((t.code, t.bits)) if t.lanes == 1 else None
    return ((t.data or 0) + t.byte_offset, shape, strides_of(t, shape),
            dtype or f"DLPack type ({t.code}, {t.bits}, {t.lanes})",
            (DEVICES[t.device_type], t.device_id), (x, capsule),
            next((why for bit, why in READONLY.items() if flags & bit), ""))


def strides_of(t: Tensor, shape: Tuple[int, ...]) -> Tuple[int, ...]:
    if t.strides:
        return tuple(t.strides[:t.ndim])
    strides, step = [], 1  # without strides: compact, the last axis innermost
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))
