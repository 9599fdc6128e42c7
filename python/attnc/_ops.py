"""Ops beside the forward pass for tensors of torch and numpy: new rows of a cache,
states that are merged.  Launches are prepared once for each shape, as those of _flash.py."""
from typing import Any, Optional, Tuple

from . import arrays
from ._flash import HEAD_DIM_MIN, context_of, keep, kept, run_prepared, spec_of_fields
from ._types import Device, Fields, Ops, Tensor, Tensors
from ._types import Numbers


class _Prepared:
    """A launch of an op for tensors of these shapes."""

    def __init__(self, ops: Ops, op: str, fields: Fields, tensors: Tensors, device: Device) -> None:
        spec = spec_of_fields(fields)
        sizes = spec.signature_of(op).sizes({n: ops.view(x) for n, x in tensors.items()})
        self.device = device
        self.numbers: Numbers = {}
        self.launch = None
        self.plan = context_of(device[0]).plan(spec, sizes, device=device[1], op=op,
                                               stream=ops.stream(device))


def run(ops: Ops, op: str, fields: Fields, tensors: Tensors, like: Tensor) -> None:
    """tensors: all of the op's call, outputs too, by name; they are where `like` is."""
    key = (op, *sorted((n, str(x)) for n, x in fields.items()),
           *((n, *ops.key(x), ops.strides(x)) for n, x in tensors.items()))
    call = kept(key)
    if call is None:
        call = keep(key, _Prepared(ops, op, fields, tensors, ops.view(like).device))
    run_prepared(call, ops, tensors)


def _spec(name: str, dtype: str, head_dim: int, head_dim_v: int, **more: Any) -> Fields:
    return {"attnc": 1, "name": name, "dtype": dtype, "head_dim": head_dim, "head_dim_v": head_dim_v,
            **more}


def _rope(ops: Ops, cos: Tensor, sin: Tensor, interleaved: bool) -> Tuple[Fields, Tensors]:
    """The spec's field, and the tables by name."""
    return ({"rope": {"dim": 2 * cos.shape[-1], "interleaved": interleaved, "dtype": ops.view(cos).dtype}},
            {"rotary_cos": ops.contiguous(cos), "rotary_sin": ops.contiguous(sin)})


def append(ops: Ops, cache: Tuple[Tensor, Tensor], new: Tuple[Tensor, Tensor], at: Tensor, where: Tensors,
           packed: Optional[Tensor] = None,
           rotary: Optional[Tuple[Tensor, Tensor, bool, Optional[Tensor]]] = None) -> None:
    """Writes new = (k, v), [b, s, hk, d], or packed by offsets [total, hk, d], into cache = (k, v), from
    rows `at` of each sequence on.  where: page_table, cache_batch_idx.  rotary: (cos, sin, interleaved,
    positions or None: at), of k."""
    (k, v), (k_new, v_new) = cache, new
    tensors = dict(k=k, v=v, k_new=k_new, v_new=v_new, append_at=at, **where)
    named = [n for n in ("cache_batch_idx",) if n in where]
    fields = _spec("flash_append", ops.view(k).dtype, k.shape[-1], v.shape[-1],
                   page_table="page_table" in where)
    if packed is not None:
        tensors["cu_seqlens_k_new"] = packed
        named.append("cu_seqlens_k_new")
    if rotary:
        cos, sin, interleaved, positions = rotary
        more, tables = _rope(ops, cos, sin, interleaved)
        fields.update(more)
        tensors.update(tables)
        if positions is not None:
            tensors["rotary_at"] = positions
            named.append("rotary_at")
    run(ops, "append", {**fields, "seqlens": named}, tensors, k)


def merge(ops: Ops, parts: Tensor, lses: Tensor, out: Tensor, lse_base: str = "e") -> Tensor:
    """parts [n, b, s, h, d] and lses [n, b, h, s], fp32, into out [b, s, h, d]; returns the LSE [b, h, s]."""
    (_, b, s, h, d), view = parts.shape, ops.view
    lse = ops.empty_fp32((b, h, s), parts)
    fields = _spec("flash_merge", view(out).dtype, d, d, o_parts=view(parts).dtype, return_lse=True,
                   **({} if lse_base == "e" else {"lse_base": lse_base}))
    run(ops, "merge", fields, dict(o_parts=parts, lse_parts=lses, o=out, lse=lse), parts)
    return lse


def merged(ops: Ops, parts: Tensor, lses: Tensor, out: Tensor, lse_base: str) -> Tensor:
    """merge of parts of any head_dim and strides; out as the caller has it."""
    d = parts.shape[-1]
    padded = -d % 8 or max(0, HEAD_DIM_MIN - d)
    rows = ops.pad_last(parts, padded) if padded else _rows_of_16_bytes(ops, parts)
    direct = not padded and _rows_of_16_bytes(ops, out) is out
    made = out if direct else ops.empty((*out.shape[:-1], d + padded), out)
    lse = merge(ops, rows, ops.contiguous(lses), made, lse_base)
    if not direct:
        ops.copy(out, made[..., :d])
    return lse


def _rows_of_16_bytes(ops: Ops, x: Tensor) -> Tensor:
    y = ops.packed(x)
    at = ops.view(y)
    step = 16 // arrays.BYTES[at.dtype]
    return ops.contiguous(y) if at.address % 16 or any(s % step for s in at.strides[:-1]) else y
