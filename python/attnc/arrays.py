"""What a tensor is to attnc: an address, a shape, strides in elements, a dtype, a device.

Tensors of torch and numpy are recognised without importing either; anything else that speaks
DLPack is read through its capsule.  A module of `Ops` (_torch, _numpy) does what only its
framework can: allocate, copy, pad.
"""
import importlib
import sys
from typing import Any, NamedTuple, Optional, Tuple

from . import _dlpack
from .errors import ShapeError, UsageError

BYTES = {"fp16": 2, "bf16": 2, "fp32": 4, "i32": 4, "u32": 4, "u64": 8, "u8": 1}


class View(NamedTuple):
    """Somebody's tensor.  `keep` keeps the memory alive; the view does not own it."""

    address: int
    shape: Tuple[int, ...]
    strides: Tuple[int, ...]  #: in elements
    dtype: str  #: "fp16", "bf16", "fp32", "i32", "u32", or the framework's own name of another
    device: Tuple[str, int]  #: ("cpu", 0), ("cuda", ordinal)
    keep: Any
    readonly: str = ""  #: why it may not be written; empty if it may

    @property
    def nbytes(self) -> int:
        n = BYTES[self.dtype]
        for size in self.shape:
            n *= size
        return n

    def contiguous(self) -> bool:
        """Are its elements one after another, the last axis innermost?"""
        wanted = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides)):
            if size != 1 and stride != wanted:
                return 0 in self.shape
            wanted *= size
        return True


TENSORS = {"torch": "Tensor", "numpy": "ndarray"}  # a framework's class of them


def ops(x: object) -> Any:
    """The module for the framework of `x`; None if it is no tensor of torch or numpy."""
    for root, name in TENSORS.items():
        kind = getattr(sys.modules.get(root), name, None)
        if kind is not None and isinstance(x, kind):
            return importlib.import_module(f"{__package__}._{root}")
    return None


def view(x: Any, stream: Optional[int] = None) -> View:
    """The View of a tensor: torch's, numpy's (uint16 is bf16 bits), or any DLPack object's.
    `stream` is told to a DLPack producer on a GPU, which then orders its work before it."""
    found = ops(x)
    if found:
        at: View = found.view(x)
        return at
    if hasattr(x, "__dlpack__"):
        return View(*_dlpack.read(x, stream))
    raise UsageError(f"{type(x).__name__} is not a tensor: torch, numpy or __dlpack__ is needed")


def check_output(name: str, at: View) -> None:
    """What is written has to be writable, and no element of it another one's too."""
    if at.readonly:
        raise UsageError(f"{name} is written, but {at.readonly}")
    for axis, (size, stride) in enumerate(zip(at.shape, at.strides)):
        if size > 1 and stride == 0 and 0 not in at.shape:
            raise ShapeError(f"{name} is written, but its axis {axis}, of length {size}, has "
                             "stride 0: its elements are one and the same", "ATTNC_ERR_SHAPE")
