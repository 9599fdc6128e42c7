"""The tensors and numbers of a spec's call, as the library says them: which there are, their
types, axes and slots.  Nothing of a call is known here by heart."""
import json

from . import _lib, errors
from .sizes import Sizes

FORWARD = 0  # ATTNC_OP_FWD


class Signature:
    """Of a spec's op.  tensors, scalars: {name: row}, in the order of their slots."""

    def __init__(self, text: str):
        said = json.loads(text)
        self.tensors = {t["name"]: t for t in said["tensors"]}
        self.scalars = {s["name"]: s for s in said["scalars"]}
        self.inputs = tuple(n for n, t in self.tensors.items() if t["access"] != "out")
        self.outputs = tuple(n for n, t in self.tensors.items() if t["access"] != "in")
        self.slots = 1 + max(t["slot"] for t in self.tensors.values())

    def sizes(self, views) -> Sizes:
        """From the shapes of the inputs; ShapeError names what does not agree."""
        known = {}
        for name in self.inputs:
            axes, shape = self.tensors[name]["shape"], views[name].shape
            if len(shape) != len(axes):
                raise errors.ShapeError(f"{name} has {len(shape)} axes; [{_listed(axes)}] are "
                                        "needed", "ATTNC_ERR_SHAPE")
            for axis, n in zip(axes, shape):
                if isinstance(axis, int) and n != axis:
                    raise errors.ShapeError(f"{name}: a row has {n} elements, not {axis}",
                                            "ATTNC_ERR_SHAPE")
                if known.setdefault(axis, n) != n:
                    raise errors.ShapeError(f"{axis}: {known[axis]} and {n} do not agree",
                                            "ATTNC_ERR_SHAPE")
        return Sizes(*(known[name] for name in Sizes._fields))

    def shape(self, name, sizes):
        values = sizes._asdict()
        return tuple(values.get(axis, axis) for axis in self.tensors[name]["shape"])

    def struct(self, name, view):
        """The attnc_tensor of a view; ShapeError where its elements lie as no call takes them."""
        row = self.tensors[name]
        if row["contiguous"]:
            if not view.contiguous():
                raise errors.ShapeError(f"{name} is not contiguous", "ATTNC_ERR_SHAPE")
            return _lib.Tensor(data=view.address)
        if view.strides[-1] != 1 and view.nbytes:
            raise errors.ShapeError(f"{name}: elements of a row are not one after another",
                                    "ATTNC_ERR_SHAPE")
        by_axis = dict(zip(row["shape"], view.strides))
        strides = [by_axis[axis] for axis in row["axes"]]
        strides[-1] = 1
        return _lib.Tensor(data=view.address, stride=tuple(strides))

    def structs(self, views):
        """attnc_tensors by slot."""
        made = [_lib.Tensor() for _ in range(self.slots)]
        for name, view in views.items():
            made[self.tensors[name]["slot"]] = self.struct(name, view)
        return made

    def numbers(self, given):
        """{name: number or None} as scalars by slot: NaN is the spec's own."""
        found = [float("nan")] * (1 + max((s["slot"] for s in self.scalars.values()), default=-1))
        for name, value in given.items():
            if name not in self.scalars:
                raise errors.UsageError(f"{name}: the call has no number of that name; it has "
                                        f"{', '.join(self.scalars)}")
            if value is not None:
                found[self.scalars[name]["slot"]] = value
        return found


def _listed(axes):
    return ", ".join(str(axis) for axis in axes)
