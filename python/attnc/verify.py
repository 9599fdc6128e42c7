"""The accuracy contract, on host tensors: is this output of attention right?"""
import ctypes as C
from typing import NamedTuple, Optional, Tuple

from . import _lib, arrays, errors
from .launch import tensor_struct
from .plan import sizes_of
from .spec import FORWARD, SpecLike, load_spec, sizes_struct

CHECK = [name for name, _ in errors.STATUSES].index("ATTNC_ERR_CHECK")


class Verdict(NamedTuple):
    """What the comparison with the fp64 reference found."""

    passed: bool
    max_error: float  #: of o, absolute
    bound: float  #: that row's bound
    lse_error: float  #: largest |lse - reference|
    rows: int
    bad_rows: int
    worst: Tuple[int, int, int]  #: (b, h, q_idx) of the worst row, relative to its bound


def verify(spec: SpecLike, q, k, v, o, lse=None, *,
           softmax_scale: Optional[float] = None) -> Verdict:
    """Compares o, and lse where the spec returns it, with the fp64 reference, on the CPU.

    Host tensors in the spec's layout.  A wrong result is a Verdict that did not pass, not an
    exception.
    """
    spec = load_spec(spec)
    names = ("q", "k", "v", "o", "lse")
    views = {n: arrays.view(x) for n, x in zip(names, (q, k, v, o, lse)) if x is not None}
    if any(x.device[0] != "cpu" for x in views.values()):
        raise errors.UsageError("verify: tensors must be on the host")
    layout = spec.fields["layout"]
    tensors = [tensor_struct(views[n], layout[n]) for n in names[:4]]
    if lse is not None:
        tensors.append(_lib.Tensor(data=views["lse"].address))
    args = _lib.call_args(sizes_struct(sizes_of(spec, views)), tensors,
                          () if softmax_scale is None else (softmax_scale,))
    outputs = (_lib.OutputVerdict * len(_lib.SLOTS))()
    verdict = _lib.Verdict(outputs=outputs, output_size=C.sizeof(_lib.OutputVerdict),
                           n_outputs=len(outputs))
    error = _lib.Error()
    status = _lib.library().attnc_verify(spec._handle, FORWARD, args, verdict, error)
    if status not in (0, CHECK):
        raise errors.make(status, _lib.decode(error.message), error.driver_code)
    o, lse = (outputs[_lib.SLOTS.index(name)] for name in ("o", "lse"))
    return Verdict(bool(verdict.pass_), o.max_error, o.bound, lse.max_error, verdict.rows,
                   verdict.bad_rows, (verdict.b, verdict.h, verdict.q))
