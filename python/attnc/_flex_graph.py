"""flex_attention in a graph of torch.compile: without a break.

What a function of a mask or a score comes to is found while the graph is made, from the function itself and from what
it has captured; the graph has the expression.  What was captured is read again where the graph runs, from the place
where the function has it, so that torch.compile guards it: another tensor there is another input, another number or
another function another graph.  Of tensors nothing but the shape is part of the graph: an index that is a table's element is
not known to be at least 0, unless it is unsigned.
"""
import json
import types
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import torch

from . import blocks
from ._general import attend
from .errors import UsageError
from .trace import Tracer, _is_filled, _is_foreign, _names, is_tensor

Path = Tuple[Tuple[str, Any], ...]
NUMBERS = (bool, int, float)
PLAIN = (str, bytes, type(None), type, types.ModuleType, types.BuiltinFunctionType, torch.dtype, torch.device)
SMALL = (torch.int32, torch.uint32, torch.float32, torch.float16, torch.bfloat16)
NARROW = (torch.bool, torch.int8, torch.uint8, torch.int16)  # whose numbers int32 has


class _Unseen(Tracer):
    """Looks at no element of a table: they may be others when the graph runs."""

    def least(self, of: Any) -> int:
        self.lowest.setdefault(of._name, -2**31)
        return super().least(of)


def _captured(f: Callable[..., Any], path: Path, seen: List[int]) -> Iterator[Tuple[Path, str, Any]]:
    """(where, name, value) of what a function captures, of functions that it calls too."""
    if isinstance(f, types.MethodType):
        yield from _captured(f.__func__, (*path, ("method", "")), seen)
        return
    if not isinstance(f, types.FunctionType) or id(f) in seen:
        return
    seen.append(id(f))
    found: List[Tuple[Path, str, Any]] = []
    for i, (name, cell) in enumerate(zip(f.__code__.co_freevars, f.__closure__ or ())):
        if _is_filled(cell):
            found.append(((*path, ("closure", i)), name, cell.cell_contents))
    for name in sorted(_names(f.__code__) & f.__globals__.keys()):
        found.append(((*path, ("global", name)), name, f.__globals__[name]))
    for i, x in enumerate(f.__defaults__ or ()):
        found.append(((*path, ("default", i)), f"default {i}", x))
    for at, name, x in found:
        if isinstance(x, types.FunctionType):
            yield at, name, x
            if not _is_foreign(x):
                yield from _captured(x, at, seen)
        elif is_tensor(x) or isinstance(x, NUMBERS):
            yield at, name, x
        elif not isinstance(x, PLAIN):
            raise UsageError(f"{name}, of type {type(x).__name__}, is captured by a function of flex_attention: in a "
                             "compiled graph it may capture tensors, numbers and functions")


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _plan(mods: Tuple[Any, Any], block_mask: Any, sizes: Tuple[int, ...]) -> Tuple[Any, ...]:
    """(the spec's text, names of tables, where each is, where numbers and functions are) of (score_mod, mask_mod)."""
    b, h, hk, sq, sk = sizes
    lengths = dict(b=b, h=h, hk=hk, q=sq, kv=sk)
    tracer = _Unseen(lengths)
    lists: Dict[str, Any] = {} if block_mask is None else blocks.take(block_mask, **lengths)[0]
    score_mod, mask_mod = mods
    fields: Dict[str, Any] = {}
    if mask_mod is not None:
        fields["mask_mod"] = [tracer.mask(mask_mod)]
    if score_mod is not None:
        fields["score_mod"] = [tracer.score(score_mod)]
    fields.update(lists)
    rows, _ = tracer.tensors()
    if rows:
        fields["tensors"] = rows
    where: Dict[int, Path] = {}
    numbers: List[Path] = []
    for root, f in (("score", score_mod), ("mask", mask_mod)):
        for path, _, x in _captured(f, ((root, ""),), []) if callable(f) else ():
            if is_tensor(x):
                where.setdefault(id(x), path)
            else:
                numbers.append(path)
    for name in rows:
        x = tracer.data[name]
        if not isinstance(x, torch.Tensor) or x.dtype not in SMALL + NARROW:
            raise UsageError(f"{name}: in a compiled graph a table is a tensor of torch, of int32, float32, float16 or "
                             "bfloat16")
    text = "".join(f"{n}: {json.dumps(x)}\n" for n, x in fields.items())
    return text, tuple(rows), tuple(where[id(tracer.data[n])] for n in rows), tuple(numbers)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _hold(found: Any) -> None:
    """The graph holds for this number or this function alone: torch.compile looks at what it gives away as a constant."""


def _reach(mods: Tuple[Any, Any], path: Path) -> Any:
    """What lies at a place, as torch.compile follows it."""
    found: Any = None
    for kind, key in path:
        if kind in ("score", "mask"):
            found = mods[kind == "mask"]
        elif kind == "method":
            found = found.__func__
        elif kind == "closure":
            found = found.__closure__[key].cell_contents
        elif kind == "global":
            found = found.__globals__[key]
        else:
            found = found.__defaults__[key]
    return found


def _static(x: Any) -> int:
    """A size as a number of the graph: another one is another graph."""
    return int(f"{x}")


def _lists(block_mask: Any, b: int, h: int) -> Dict[str, torch.Tensor]:
    """As blocks.take has them."""
    found = {}
    for name in blocks.NAMES:
        x = getattr(block_mask, name)
        x = getattr(block_mask, name.replace("full_", "")) * 0 if x is None else x
        found[name] = x.expand(b, h, *x.shape[2:])
    return found


def flex_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, score_mod: Optional[Callable[..., Any]],
                   block_mask: Any, scale: Optional[float]) -> Tuple[torch.Tensor, torch.Tensor]:
    """(out, lse) of [b, h, s, d] tensors, in a graph."""
    b, h, sq, _ = query.shape
    sizes = tuple([_static(n) for n in (b, h, key.shape[1], sq, key.shape[2])])
    mask_mod = getattr(block_mask, "mask_mod", None)
    if getattr(mask_mod, "__name__", "") == blocks.WHOLE:
        mask_mod = None
    mods = (score_mod, mask_mod)
    text, names, places, numbers = _plan(mods, block_mask, sizes)
    for path in numbers:
        x = _reach(mods, path)
        _hold(f"{x}" if isinstance(x, NUMBERS) else x)
    tables = {}
    for name, path in zip(names, places):
        x = _reach(mods, path)
        x = x.reshape(1) if x.dim() == 0 else x
        tables[name] = x.to(torch.int32) if x.dtype in NARROW else x
    if block_mask is not None:
        tables.update(_lists(block_mask, b, h))
    out, lse = attend(text, query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), tables,
                      {"softmax_scale": query.shape[-1] ** -0.5 if scale is None else scale})
    return out.transpose(1, 2), lse
