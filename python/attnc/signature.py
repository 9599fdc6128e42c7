"""The tensors and numbers of a spec's call, as the library says them: which there are, their
types, axes and slots.  Nothing of a call is known here by heart."""
import json
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from . import _lib, errors
from ._types import Axis, Longest, Shape
from .arrays import BYTES, View
from .sizes import Sizes, whole

OPS = ("fwd", "append", "merge", "dropout_mask", "bwd")  # ATTNC_OP_FWD …
FORWARD = 0
Views = Mapping[str, View]
CHOSEN = ("num_splits", "max_items")  # sizes that are nobody's axis, and 0 where they are not given


def op_of(name: str) -> int:
    """The number of an op; UsageError for what is none."""
    if name not in OPS:
        raise errors.UsageError(f"op: {name!r} is not one of {', '.join(OPS)}")
    return OPS.index(name)


class Signature:
    """Of a spec's op.  tensors, scalars: {name: row}, in the order of their slots."""

    def __init__(self, text: str) -> None:
        said = json.loads(text)
        self.tensors = {t["name"]: t for t in said["tensors"]}
        self.scalars = {s["name"]: s for s in said["scalars"]}
        self.inputs = tuple(n for n, t in self.tensors.items() if t["access"] != "out")
        self.outputs = tuple(n for n, t in self.tensors.items() if t["access"] != "in")
        self.size_names = tuple(said["sizes"])
        self.slots = 1 + max((t["slot"] for t in self.tensors.values()), default=-1)

    def sizes(self, views: Views, longest: Optional[Longest] = None) -> Sizes:
        """From the shapes of the inputs; ShapeError names what does not agree.  A table that
        expressions read may be longer than the call.  longest: sq and sk, which shapes of packed
        sequences, and of pages, do not say, all rows of them where they are not given; and what no
        shape says, num_splits and max_items."""
        known: Dict[str, int] = {}
        for name in self.inputs:
            if name not in views:
                raise errors.UsageError(f"{name} is missing")
            axes, shape = self.tensors[name]["shape"], views[name].shape
            if len(shape) != len(axes):
                raise errors.ShapeError(f"{name} has {len(shape)} axes; [{_listed(axes)}] are "
                                        "needed", "ATTNC_ERR_SHAPE")
            if self.tensors[name].get("longer"):
                continue
            for axis, n in zip(axes, shape):
                if isinstance(axis, int) and n != axis:
                    raise errors.ShapeError(f"{name}: a row has {n} elements, not {axis}",
                                            "ATTNC_ERR_SHAPE")
                axis, more = _size_of(axis)
                if known.setdefault(axis, n - more) != n - more:
                    raise errors.ShapeError(f"{axis}: {known[axis]} and {n - more} do not agree",
                                            "ATTNC_ERR_SHAPE")
        self._take_written(known, views)
        self._take_longest(known, longest or {})
        self._take_open(known)
        sizes = Sizes(**{name: known[name] for name in self.size_names},
                      **{name: whole(name, (longest or {}).get(name) or 0) for name in CHOSEN})
        for name in (n for n in self.inputs if self.tensors[n].get("longer")):
            self._check_table(name, views[name].shape, self.shape(name, sizes))
        return sizes

    def _take_written(self, known: Dict[str, int], views: Views) -> None:
        """Sizes that no input says, from the outputs that are given."""
        for name in (n for n in self.outputs if n in views):
            for axis, n in zip(self.tensors[name]["shape"], views[name].shape):
                if not isinstance(axis, int):
                    axis, more = _size_of(axis)
                    known.setdefault(axis, n - more)

    def _take_longest(self, known: Dict[str, int], longest: Longest) -> None:
        rows = {"sq": known.get("total_q"), "sk": known.get("total_k"), "s_new": known.get("total_new")}
        if "max_pages" in known:
            rows["sk"] = known["max_pages"] * known["page_size"]
        if "max_prefix_pages" in known:
            rows["sp"] = known["max_prefix_pages"] * known["page_size"]
        for name, total in rows.items():
            given = longest.get(name)
            if name not in known and total is not None:
                known[name] = total if given is None else whole(name, given)
            elif given is not None and given != known[name]:
                raise errors.ShapeError(f"{name} is {known[name]} by the shapes, not {given}",
                                        "ATTNC_ERR_SHAPE")

    def _take_open(self, known: Dict[str, int]) -> None:
        """Sizes that every call has, and no tensor of this one."""
        for name, other in (("h", "hk"), ("hk", "h"), ("sq", None), ("sk", None)):
            if name in self.size_names:
                known.setdefault(name, known.get(other, 1) if other else 1)

    def _check_table(self, name: str, shape: Shape, due: Shape) -> None:
        for axis, n, least in zip(self.tensors[name]["shape"], shape, due):
            if n < least or (n != least and isinstance(axis, int)):
                raise errors.ShapeError(f"{name} has shape {list(shape)}; {list(due)} is needed"
                                        ", or longer along an axis that is a size of the call",
                                        "ATTNC_ERR_SHAPE")

    def shape(self, name: str, sizes: Sizes) -> Shape:
        values = sizes._asdict()
        return tuple(_length(axis, values) for axis in self.tensors[name]["shape"])

    def padding(self, name: str, view: View) -> Optional[int]:
        """Where rows of a table do not lie as far apart as kernels want them: how many elements
        behind each make it so.  None: nothing has to be done."""
        row = self.tensors[name]
        step = row["align"] // BYTES[row["dtype"]]
        if not row.get("longer") or all(s % step == 0 for s in view.strides[:-1]):
            return None
        return int(-view.shape[-1] % step)

    def struct(self, name: str, view: View) -> Any:
        """The attnc_tensor of a view; ShapeError where its elements lie as no call takes them."""
        row = self.tensors[name]
        if row["contiguous"]:
            if not view.contiguous():
                raise errors.ShapeError(f"{name} is not contiguous", "ATTNC_ERR_SHAPE")
            return _lib.Tensor(data=view.address)
        if view.strides[-1] != 1 and view.nbytes:
            raise errors.ShapeError(f"{name}: elements of a row are not one after another",
                                    "ATTNC_ERR_SHAPE")
        left = list(zip(row["shape"], view.strides))  # an axis may stand twice in a tensor
        strides = [left.pop([a for a, _ in left].index(axis))[1] for axis in row["axes"]]
        strides[-1] = 1
        return _lib.Tensor(data=view.address, stride=tuple(strides))

    def structs(self, views: Views) -> List[Any]:
        """attnc_tensors by slot."""
        made = [_lib.Tensor() for _ in range(self.slots)]
        for name, view in views.items():
            made[self.tensors[name]["slot"]] = self.struct(name, view)
        return made

    def split(self, given: Mapping[str, Any]) -> Tuple[Dict[str, Any], Dict[str, Any]]:
        """What a call is given by name, as its tensors and its numbers; what is None is not
        given.  UsageError names what the call does not have."""
        known = {n: x for n, x in given.items() if x is not None}
        for name in known:
            if name not in self.tensors and name not in self.scalars:
                raise errors.UsageError(f"{name}: the call has nothing of that name; it has "
                                        f"{', '.join((*self.tensors, *self.scalars))}")
        return ({n: x for n, x in known.items() if n in self.tensors},
                {n: x for n, x in known.items() if n in self.scalars})

    def numbers(self, given: Mapping[str, Optional[float]]) -> List[float]:
        """{name: number or None} as scalars by slot: NaN is the spec's own."""
        found = [float("nan")] * (1 + max((s["slot"] for s in self.scalars.values()), default=-1))
        for name, value in given.items():
            if name not in self.scalars:
                raise errors.UsageError(f"{name}: the call has no number of that name; it has "
                                        f"{', '.join(self.scalars)}")
            if value is not None:
                found[self.scalars[name]["slot"]] = value
        for name, row in self.scalars.items():
            if row["default"] is None and given.get(name) is None:
                raise errors.UsageError(f"{name} is missing: the spec has no value of it")
        return found


def _length(axis: Axis, sizes: Mapping[str, int]) -> int:
    """Of "sk" its value, of "b+1" one more, of "sk/32" how many blocks of 32 are begun, of a
    number itself."""
    name, slash, by = str(axis).partition("/")
    size, _, more = name.partition("+")
    if size not in sizes:
        return int(axis)
    return -(-sizes[size] // int(by)) if slash else sizes[size] + int(more or 0)


def _size_of(axis: Axis) -> Tuple[Any, int]:
    """("b", 1) of "b+1"."""
    name, _, more = str(axis).partition("+")
    return (name, int(more)) if more else (axis, 0)


def take_longest(more: Dict[str, Any]) -> Dict[str, Any]:
    """Takes sizes that no tensor says out of what a call is given by name."""
    return {name: more.pop(name) for name in ("sq", "sk", "s_new", "sp", *CHOSEN) if name in more}


def _listed(axes: Iterable[Axis]) -> str:
    return ", ".join(str(axis) for axis in axes)
