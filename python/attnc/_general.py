"""One operator of torch for every spec: torch.ops.attnc.attention, and its gradients.

A caller has the spec as text (`text_of`, which torch.compile can follow), the call's other tensors by name and
its numbers by name.  Tensors are [b, s, h, d], or packed or paged as the spec says; the LSE is -inf for a row
without keys.  Where no gradient is wanted and nothing is traced, `attend` launches without the dispatcher.
"""
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import torch

from . import _torch as ops
from ._flash import context_of, keep, kept, run_prepared, usable
from ._operators import define, twice
from ._types import Fields, Numbers, Tensors
from .spec import Spec

_specs: Dict[str, Spec] = {}


def text_of(fields: Fields) -> str:
    """Fields of a spec as lines of its text."""
    return "".join([name + ": " + _value(value) + "\n" for name, value in fields.items()])


def _value(x: Any) -> str:
    if isinstance(x, bool):
        return "true" if x else "false"
    if isinstance(x, dict):
        return "{" + ", ".join([n + ": " + _value(y) for n, y in x.items()]) + "}"
    if isinstance(x, (list, tuple)):
        return "[" + ", ".join([_value(y) for y in x]) + "]"
    return str(x)


def _spec(text: str) -> Spec:
    if text not in _specs:
        _specs[text] = Spec.from_text(text)
    return _specs[text]


class _Prepared:
    """A launch of an op for tensors of these shapes."""

    def __init__(self, text: str, op: str, tensors: Tensors, numbers: Numbers, longest: Mapping[str, int]) -> None:
        spec = _spec(text)
        sizes = spec.signature_of(op).sizes({n: ops.view(x) for n, x in tensors.items()}, longest)
        self.device, self.launch = ops.view(next(iter(tensors.values()))).device, None
        self.numbers = {**numbers, **longest}
        self.plan = context_of(self.device[0]).plan(spec, sizes, device=self.device[1], op=op,
                                                    stream=ops.stream(self.device))


def _run(text: str, op: str, tensors: Tensors, numbers: Numbers, longest: Mapping[str, int]) -> None:
    key = (text, op, *numbers.items(), *longest.items(),
           *((n, *ops.key(x), ops.strides(x)) for n, x in tensors.items()))
    call = kept(key)
    if call is None:
        call = keep(key, _Prepared(text, op, tensors, numbers, longest))
    run_prepared(call, ops, tensors)


def _longest(max_q: int, max_k: int) -> Dict[str, int]:
    return {n: x for n, x in (("sq", max_q), ("sk", max_k)) if x}


def _padded_text(text: str, q: torch.Tensor, v: torch.Tensor) -> str:
    """The spec has the rows that kernels have; `usable` pads tensors to them."""
    return f"{text}head_dim: {q.shape[-1]}\nhead_dim_v: {v.shape[-1]}\n"


def _outputs(q: torch.Tensor, v: torch.Tensor, cu_q: bool) -> Tuple[Tuple[int, ...], Tuple[int, ...]]:
    shape = (*q.shape[:-1], v.shape[-1])
    if cu_q:
        return shape, (q.shape[1], q.shape[0])
    return shape, (q.shape[0], q.shape[2], q.shape[1])


def _attention(spec: str, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, names: str,
               tensors: Sequence[torch.Tensor], number_names: str, numbers: Sequence[float], max_q: int,
               max_k: int) -> Tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        width = v.shape[-1]
        q, k, v = (usable(ops, x) for x in (q, k, v))
        shape, rows = _outputs(q, v, "cu_seqlens_q" in names.split())
        out, lse = q.new_empty(shape), q.new_empty(rows, dtype=torch.float32)
        _run(_padded_text(spec, q, v) + "return_lse: true\n", "fwd", dict(q=q, k=k, v=v, o=out, lse=lse, **_named(
            names, tensors)), dict(zip(number_names.split(), numbers)), _longest(max_q, max_k))
    return out if out.shape[-1] == width else out[..., :width].contiguous(), lse


def _attention_fake(spec: str, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, names: str,
                    *rest: Any) -> Tuple[torch.Tensor, torch.Tensor]:
    shape, rows = _outputs(q, v, "cu_seqlens_q" in names.split())
    return q.new_empty(shape), q.new_empty(rows, dtype=torch.float32)


def _named(names: str, tensors: Sequence[torch.Tensor]) -> Tensors:
    """As kernels take them: rows that they can read."""
    return {n: ops.state(x) if n == "rng_state" else _row(x) for n, x in zip(names.split(), tensors)}


def _row(x: torch.Tensor) -> torch.Tensor:
    """Rows of floating-point tensors are read 16 bytes at a time: so many bytes apart, or a copy whose rows
    are."""
    if not x.is_floating_point():
        return x.contiguous()
    step = 16 // x.element_size()
    if x.stride(-1) == 1 and x.data_ptr() % 16 == 0 and not any(s % step for s in x.stride()[:-1]):
        return x
    return torch.nn.functional.pad(x, (0, -x.shape[-1] % step))[..., :x.shape[-1]]


def _attention_bwd(dout: torch.Tensor, dlse: Optional[torch.Tensor], q: torch.Tensor, k: torch.Tensor,
                   v: torch.Tensor, out: torch.Tensor, lse: torch.Tensor, spec: str, names: str,
                   tensors: Sequence[torch.Tensor], number_names: str, numbers: Sequence[float], max_q: int,
                   max_k: int, wanted: str, deterministic: bool) -> List[torch.Tensor]:
    width, width_v = q.shape[-1], v.shape[-1]
    spread = [x if all(s or n == 1 for s, n in zip(x.stride(), x.shape)) else x.contiguous()
              for x in (q, k, v, out, dout)]
    q, k, v, out, dout = (usable(ops, x) for x in spread)
    # Rows of no sequence are not written.
    fresh = torch.zeros_like if max_q or max_k else torch.empty_like
    made = {f"d{n}": fresh(x, memory_format=torch.contiguous_format) for n, x in dict(q=q, k=k, v=v).items()}
    given = _named(names, tensors)
    names_wanted = wanted.split()
    made.update((f"d{n}", torch.zeros_like(given[n], memory_format=torch.contiguous_format)) for n in names_wanted)
    grad = names_wanted
    more: Tensors = {}
    if dlse is not None:
        grad, more = [*names_wanted, "lse"], dict(dlse=dlse.float().contiguous())
    text = _padded_text(spec, q, v) + (f"grad: {_value(grad)}\n" if grad else "") + (
        "deterministic: true\n" if deterministic else "")
    _run(text, "bwd", dict(q=q, k=k, v=v, o=out, lse=lse, do=dout, **given, **more, **made),
         dict(zip(number_names.split(), numbers)), _longest(max_q, max_k))
    widths = [width, width, width_v]
    return [x if x.shape[-1] == n else x[..., :n].contiguous() for x, n in zip(made.values(), widths)] + [
        made[f"d{n}"].contiguous() for n in names_wanted]


def _attention_bwd_fake(dout: torch.Tensor, dlse: Optional[torch.Tensor], q: torch.Tensor, k: torch.Tensor,
                        v: torch.Tensor, out: torch.Tensor, lse: torch.Tensor, spec: str, names: str,
                        tensors: Sequence[torch.Tensor], number_names: str, numbers: Sequence[float], max_q: int,
                        max_k: int, wanted: str, deterministic: bool) -> List[torch.Tensor]:
    return [x.new_empty(x.shape) for x in (q, k, v, *(x for n, x in zip(names.split(), tensors) if n in wanted.split()))]


# Names are words apart by spaces: an empty list of them would look like one of tensors to autograd.
_CALL = "str names, Tensor[] tensors, str number_names, float[] numbers, SymInt max_q, SymInt max_k"
define(f"attention(str spec, Tensor q, Tensor k, Tensor v, {_CALL}) -> (Tensor, Tensor)", _attention, _attention_fake)
define("attention_bwd(Tensor dout, Tensor? dlse, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, str spec, "
       f"{_CALL}, str wanted, bool deterministic) -> Tensor[]", _attention_bwd, _attention_bwd_fake)


def _keep(ctx: Any, inputs: Tuple[Any, ...], output: Tuple[torch.Tensor, ...]) -> None:
    spec, q, k, v, names, tensors, *rest = inputs
    ctx.set_materialize_grads(False)
    ctx.spec, ctx.names, ctx.rest = spec, names, rest
    ctx.wanted = [n for n, x in zip(names.split(), tensors) if x.requires_grad]
    ctx.save_for_backward(q, k, v, *output, *tensors)


def _backward(ctx: Any, dout: Optional[torch.Tensor], dlse: Optional[torch.Tensor]) -> Tuple[Any, ...]:
    q, k, v, out, lse, *tensors = ctx.saved_tensors
    found: Any = [None] * 3
    if dout is not None or dlse is not None:
        dout = torch.zeros_like(out) if dout is None else dout
        found = torch.ops.attnc.attention_bwd(
            dout, dlse, q, k, v, out, lse, ctx.spec, ctx.names, tensors, *ctx.rest, " ".join(ctx.wanted),
            torch.are_deterministic_algorithms_enabled())
    others = dict(zip(ctx.wanted, found[3:]))
    return None, *found[:3], None, [others.get(n) for n in ctx.names.split()], None, None, None, None


torch.library.register_autograd("attnc::attention", _backward, setup_context=_keep)
torch.library.register_autograd("attnc::attention_bwd", twice)


def attend(fields: Union[str, Fields], q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, tensors: Tensors,
           numbers: Mapping[str, float], longest: Tuple[int, int] = (0, 0)) -> Tuple[torch.Tensor, torch.Tensor]:
    """(out, lse) of [b, s, h, d] tensors, or what the spec's fields make of them; fields: without dtype and
    head_dim, which are the tensors' own, as a dict of plain words, or lines of text."""
    if len({x.dtype for x in (q, k, v)}) > 1:
        raise TypeError(f"q is {q.dtype}, k {k.dtype} and v {v.dtype}: one dtype is needed")
    if q.dtype not in ops.NATIVE_FLOAT:
        raise TypeError(f"q is {q.dtype}: float16, bfloat16 and float32 are supported")
    text = fields if isinstance(fields, str) else text_of(fields)
    args = (f"attnc: 1\nname: attention\ndtype: {ops.NATIVE_FLOAT[q.dtype]}\n{text}", q, k, v, " ".join(tensors),
            list(tensors.values()), " ".join(numbers), [float(x) for x in numbers.values()], *longest)
    if torch.compiler.is_compiling() or any(ops.needs_operator(x) for x in (q, k, v, *tensors.values())):
        found: Tuple[torch.Tensor, torch.Tensor] = torch.ops.attnc.attention(*args)
        return found
    return _attention(*args)
