"""The accuracy contract, on host tensors: is this output of attention right?"""
import ctypes as C
from typing import Any, NamedTuple, Optional, Tuple

from . import _lib, arrays, errors
from ._types import Tensor
from .signature import FORWARD, take_longest
from .spec import SpecLike, load_spec, sizes_struct

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


def verify(spec: SpecLike, q: Tensor, k: Tensor, v: Tensor, o: Tensor, lse: Optional[Tensor] = None,
           **more: Any) -> Verdict:
    """Compares o, and lse where the spec returns it, with the fp64 reference, on the CPU.

    Host tensors in the spec's layout; more: the call's other tensors and numbers by name, and of
    packed sequences sq and sk as a plan takes them.  A wrong result is a Verdict that did not
    pass, not an exception.
    """
    spec, longest = load_spec(spec), take_longest(more)
    call = spec.signature
    tensors, numbers = call.split(more)
    given = dict(q=q, k=k, v=v, o=o, lse=lse, **tensors)
    views = {n: arrays.view(x) for n, x in given.items() if x is not None}
    if any(x.device[0] != "cpu" for x in views.values()):
        raise errors.UsageError("verify: tensors must be on the host")
    args = _lib.call_args(sizes_struct(call.sizes(views, longest)),
                          call.structs({n: x for n, x in views.items() if n in call.tensors}),
                          call.numbers(numbers))
    outputs = (_lib.OutputVerdict * call.slots)()
    verdict = _lib.Verdict(outputs=outputs, output_size=C.sizeof(_lib.OutputVerdict),
                           n_outputs=len(outputs))
    error = _lib.Error()
    status = _lib.library().attnc_verify(spec._handle, FORWARD, args, verdict, error)
    if status not in (0, CHECK):
        raise errors.make(status, _lib.decode(error.message), error.driver_code)
    found = {n: outputs[call.tensors[n]["slot"]] for n in call.outputs}
    o, lse = found["o"], found.get("lse", _lib.OutputVerdict())
    return Verdict(bool(verdict.pass_), o.max_error, o.bound, lse.max_error, verdict.rows,
                   verdict.bad_rows, (verdict.b, verdict.h, verdict.q))
