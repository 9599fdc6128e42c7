"""What a tensor is to attnc: an address, a shape, strides in elements, a dtype, a device.

Tensors of torch and numpy are recognised without importing either; anything else that speaks
DLPack is read through its capsule.  A module of `Ops` (_torch, _numpy) does what only its
framework can: allocate, copy, pad.
"""
import importlib
import sys
from typing import Any, NamedTuple, Tuple

from . import _dlpack
from .errors import UsageError

BYTES = {"fp16": 2, "bf16": 2, "fp32": 4}


class View(NamedTuple):
    """Somebody's tensor.  `keep` keeps the memory alive; the view does not own it."""

    address: int
    shape: Tuple[int, ...]
    strides: Tuple[int, ...]  #: in elements
    dtype: str  #: "fp16", "bf16", "fp32", or the framework's own name of another
    device: Tuple[str, int]  #: ("cpu", 0), ("cuda", ordinal)
    keep: Any

    @property
    def nbytes(self):
        n = BYTES[self.dtype]
        for size in self.shape:
            n *= size
        return n

    def contiguous(self):
        """Are its elements one after another, the last axis innermost?"""
        wanted = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides)):
            if size != 1 and stride != wanted:
                return 0 in self.shape
            wanted *= size
        return True


def ops(x):
    """The module for the framework of `x`; None if it is neither torch's nor numpy's."""
    root = type(x).__module__.partition(".")[0]
    if root in ("torch", "numpy"):
        return importlib.import_module(f"{__package__}._{root}")
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(x, torch.Tensor):
        return importlib.import_module(f"{__package__}._torch")
    if numpy is not None and isinstance(x, numpy.ndarray):
        return importlib.import_module(f"{__package__}._numpy")
    return None


def view(x, stream=None) -> View:
    """The View of a tensor: torch's, numpy's (uint16 is bf16 bits), or any DLPack object's.
    `stream` is told to a DLPack producer on a GPU, which then orders its work before it."""
    found = ops(x)
    if found:
        return found.view(x)
    if hasattr(x, "__dlpack__"):
        return View(*_dlpack.read(x, stream))
    raise UsageError(f"{type(x).__name__} is not a tensor: torch, numpy or __dlpack__ is needed")
