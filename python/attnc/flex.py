"""flex_attention: masks and scores as expressions, in text or as functions.

The function, its arguments and their meaning are FlexAttention's of torch where they have the
same name: tensors are [batch, heads, seqlen, head_dim], `scale` is the factor of the scores,
the LSE is to base e.  The mask is given as `mask_mod`: which tiles it hides follows from the
expression.  Whose mask is a table that no expression is short enough for gives its block mask.
"""
import json
from typing import Any, Callable, Dict, Optional, Sequence, Tuple, Union

from . import _arguments, _flash, blocks
from ._types import Fields, Numbers, Tensor, Tensors
from .errors import UsageError
from .peers import drop_in, needs_operator
from .sizes import Sizes
from .spec import Spec
from .trace import Tracer

Mods = Union[None, str, Callable[..., Any], Sequence[Union[str, Callable[..., Any]]]]
LAYOUTS = {"bhsd": (0, 1, 2, 3), "bshd": (0, 2, 1, 3)}  # where b, h, s, d are


def _axes(layout: str, x: Tensor) -> Tuple[int, ...]:
    return tuple(x.shape[i] for i in LAYOUTS[layout])


def _lengths(layout: str, q: Tensor, k: Tensor, v: Tensor) -> Dict[str, int]:
    """{axis: its length} of the call, in the order of Sizes; ValueError names what does not agree."""
    if layout not in LAYOUTS:
        raise UsageError(f"layout={layout!r} is not one of {', '.join(LAYOUTS)}")
    for name, x in dict(q=q, k=k, v=v).items():
        if len(x.shape) != 4:
            raise ValueError(f"{name} has {len(x.shape)} axes; batch, heads, seqlen and "
                             "head_dim are needed")
    (b, h, sq, d), (bk, hk, sk, dk) = _axes(layout, q), _axes(layout, k)
    if bk != b or dk != d or _axes(layout, v)[:3] != (bk, hk, sk):
        raise ValueError(f"shapes do not agree: q {tuple(q.shape)}, k {tuple(k.shape)}, "
                         f"v {tuple(v.shape)}")
    if not b or not hk or h % hk:
        raise ValueError(f"heads of q, {h}, must be a multiple of those of k and v, {hk}, and "
                         f"batch size, {b}, positive")
    return dict(b=b, h=h, hk=hk, q=sq, kv=sk)


def _listed(mods: Any) -> Sequence[Any]:
    return mods if isinstance(mods, (list, tuple)) else () if mods is None else (mods,)


def _traced(lengths: Dict[str, int], score_mod: Any, mask_mod: Any, block_mask: Any, tensors: Optional[Tensors],
            scalars: Optional[Numbers]) -> Tuple[Fields, Tensors]:
    """(fields of a spec, {name: array})."""
    tracer = Tracer(lengths, tensors, scalars)
    lists = ({}, {}, []) if block_mask is None else blocks.take(block_mask, **lengths)
    masks = [*_listed(mask_mod), *lists[2]]
    fields = {"mask_mod": [tracer.mask(m) for m in masks],
              "score_mod": [tracer.score(m) for m in _listed(score_mod)], **lists[0]}
    fields["tensors"], data = tracer.tensors()
    fields["scalars"] = {name: float(x) for name, x in tracer.scalars.items()}
    return {name: x for name, x in fields.items() if x}, {**data, **lists[1]}


def _made(fields: Fields) -> Spec:
    """The Spec of these fields, kept by what is in its kernel: numbers of scalars are not."""
    key = json.dumps({**fields, "scalars": list(fields.get("scalars", ()))}, sort_keys=True)
    with _flash._lock:
        if key not in _flash._specs:
            _flash._specs[key] = Spec.from_dict(fields)
        return _flash._specs[key]


def _fields(dtype: str, dims: Tuple[int, int], layout: str, return_lse: bool, mods: Fields) -> Fields:
    return {"attnc": 1, "name": "flex_attention", "dtype": dtype, "head_dim": dims[0],
            "head_dim_v": dims[1], "layout": layout, "return_lse": return_lse, **mods}


def flex_spec(q: Tensor, k: Tensor, v: Tensor, score_mod: Mods = None, *, mask_mod: Mods = None,
              block_mask: Any = None, tensors: Optional[Tensors] = None, scalars: Optional[Numbers] = None,
              return_lse: bool = False, layout: str = "bhsd") -> Spec:
    """The Spec that flex_attention computes with these arguments: its `fields` have what
    functions were traced to."""
    ops, lengths = _arguments.ops_of(q, k, v), _lengths(layout, q, k, v)
    mods, _ = _traced(lengths, score_mod, mask_mod, block_mask, tensors, scalars)
    q, v = _flash.usable(ops, q), _flash.usable(ops, v)
    return _made(_fields(_arguments.dtype_of(ops, q, k, v)[0], (q.shape[-1], v.shape[-1]), layout,
                         return_lse, mods))


def _differentiable(q: Tensor, k: Tensor, v: Tensor, layout: str, mods: Fields, data: Tensors, scale: Optional[float],
                    return_lse: bool) -> Any:
    """By torch's operator of any spec, whose tensors are [b, s, h, d]."""
    from ._general import attend
    numbers = {"softmax_scale": _arguments.scale_of(scale, q.shape[-1]), **mods.get("scalars", {})}
    text = "".join(f"{n}: {json.dumps(x)}\n" for n, x in mods.items())
    turned = layout == "bhsd"
    q, k, v = (x.swapaxes(1, 2) if turned else x for x in (q, k, v))
    out, lse = attend(text, q, k, v, data, numbers)
    out = out.swapaxes(1, 2) if turned else out
    return (out, lse) if return_lse else out


@drop_in
def flex_attention(q: Tensor, k: Tensor, v: Tensor, score_mod: Mods = None, *, mask_mod: Mods = None,
                   block_mask: Any = None, tensors: Optional[Tensors] = None, scalars: Optional[Numbers] = None,
                   scale: Optional[float] = None, return_lse: bool = False, layout: str = "bhsd") -> Any:
    """softmax(score_mod(q k^T scale) where mask_mod) v, as torch's FlexAttention has it.

    q: (b, h, sq, d); k: (b, hk, sk, d); v: (b, hk, sk, dv), h a multiple of hk; fp16 or bf16;
    layout="bshd": (b, sq, h, d) and so on.  score_mod, mask_mod: an expression in text
    (docs/expressions.md), a function score_mod(score, b, h, q_idx, kv_idx) or mask_mod(b, h,
    q_idx, kv_idx), or a list of them: scores go through all in order, a key is seen where all
    masks hold.  block_mask: which blocks of queries and keys are looked at, FlexAttention's
    BlockMask or any object with its tensors: those of kv_indices by mask_mod and by its own
    mask_mod, those of full_kv_indices whole.  tensors: {name: array or attnc.table(…)}, what texts read, and what is to be
    known of tables that functions capture.  scalars: {name: number} that are no part of the
    kernel.

    Returns out, or (out, lse) with return_lse: fp32 (b, h, sq), -inf for a row without keys.
    ExpressionError: a function does what no expression can say.
    """
    lengths = _lengths(layout, q, k, v)
    mods, data = _traced(lengths, score_mod, mask_mod, block_mask, tensors, scalars)
    if needs_operator(q, k, v, *data.values()):
        return _differentiable(q, k, v, layout, mods, data, scale, return_lse)
    ops = _arguments.ops_of(q, k, v)
    dtype, device = _arguments.dtype_of(ops, q, k, v)
    wide, head_dim = v.shape[-1], q.shape[-1]
    q, k, v = (_flash.usable(ops, x) for x in (q, k, v))
    spec = _made(_fields(dtype, (q.shape[-1], v.shape[-1]), layout,
                         _arguments.truth("return_lse", return_lse), mods))
    plan = _flash.context_of(device[0]).plan(spec, Sizes(*lengths.values()), device=device[1],
                                             stream=ops.stream(device))
    numbers = mods.get("scalars", {})
    made = plan(q, k, v, softmax_scale=_arguments.scale_of(scale, head_dim), **data, **numbers)
    out, *lse = made if isinstance(made, tuple) else (made,)
    out = out if out.shape[-1] == wide else out[..., :wide]
    return (out, *lse) if lse else out
