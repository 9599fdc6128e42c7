"""Plans: a kernel loaded on a device, called on tensors.

Tensors have the shapes of the spec's layout (`bshd`: [b, s, h, d]).  On a plan of the emulated
device host tensors are copied to the device's memory, and the outputs back; everything else
must be on the plan's device already.
"""
import contextlib
import ctypes as C
import json
import weakref
from typing import Any, Dict, Optional

from . import _driver, _lib, arrays, errors
from .copies import Shared
from .launch import Launch, tensor_struct
from .peers import uncompiled
from .sizes import Sizes, SizesLike, sizes as make_sizes
from .spec import sizes_struct

INPUTS = ("q", "k", "v")


def sizes_of(spec, views) -> Sizes:
    """The sizes of a call from the shapes of q, k, v; ShapeError names what does not agree."""
    axes = {}
    for name in INPUTS:
        shape, order = views[name].shape, spec.fields["layout"][name]
        if len(shape) != 4:
            raise errors.ShapeError(f"{name} has {len(shape)} axes; {order} is needed",
                                    "ATTNC_ERR_SHAPE")
        axes[name] = dict(zip(order, shape))
    q, k, v = (axes[name] for name in INPUTS)
    wanted = [("head_dim", "d", q, k), ("b", "b", q, k), ("b", "b", q, v), ("sk", "s", k, v),
              ("hk", "h", k, v)]
    for what, axis, one, other in wanted:
        if one[axis] != other[axis]:
            raise errors.ShapeError(f"{what}: {one[axis]} and {other[axis]} do not agree",
                                    "ATTNC_ERR_SHAPE")
    for name, axis, field in (("q", q, "head_dim"), ("v", v, "head_dim_v")):
        if axis["d"] != spec.fields[field]:
            raise errors.ShapeError(f"{name}: {field} is {axis['d']}, not "
                                    f"{spec.fields[field]}", "ATTNC_ERR_SHAPE")
    return Sizes(q["b"], q["h"], k["h"], q["s"], k["s"])


def output_shapes(spec, sizes):
    axes = {"b": sizes.b, "h": sizes.h, "s": sizes.sq, "d": spec.fields["head_dim_v"]}
    return (tuple(axes[a] for a in spec.fields["layout"]["o"]), (sizes.b, sizes.h, sizes.sq))


class Plan(Shared):
    """Made by Context.plan.  Immutable, may be called from many threads.

    Attributes: spec, context, device (ordinal), info (dict: recipe, registers, spills, where
    the schedule came from, seconds).
    """

    PICKLE = ("its kernel is loaded on a device of this process; pickle its spec, and ask a "
              "context for a plan again")

    def __init__(self, context, spec, handle, device):
        lib = _lib.library()
        self.context, self.spec, self.device, self._handle = context, spec, device, handle
        weakref.finalize(self, lib.attnc_plan_release, handle).atexit = False
        self.info: Dict[str, Any] = json.loads(lib.attnc_plan_json(handle))
        self._tensors = {t["name"]: t for t in self.info["tensors"]}

    def workspace(self, sizes: SizesLike) -> int:
        """Bytes of device memory that a launch of these sizes, or less, needs besides its
        tensors."""
        n = C.c_size_t()
        status = _lib.library().attnc_plan_workspace(
            self._handle, sizes_struct(make_sizes(sizes)), C.byref(n))
        if status:
            raise errors.make(status, f"no workspace for {sizes}")
        return n.value

    # ---- on the device ----

    def prepare(self, q, k, v, o, lse=None, *, softmax_scale: Optional[float] = None) -> Launch:
        """A Launch for tensors like these, which are on the plan's device.

        lse: fp32, contiguous [b, h, sq]; only, and always, if the spec returns it.
        """
        views = self._views(dict(q=q, k=k, v=v, o=o, lse=lse))
        if any(x.device[0] == "cpu" for x in views.values()):
            raise errors.UsageError("prepare: tensors must be on the device; host tensors can "
                                    "be given to a call of the plan")
        return self._prepare(views, softmax_scale)

    def _views(self, tensors, stream=None):
        views = {n: arrays.view(x, stream) for n, x in tensors.items() if x is not None}
        for name, x in views.items():
            if name not in self._tensors:
                raise errors.UsageError(f"{name}: the spec does not return it "
                                        f"(return_{name}: true)")
            wanted = self._tensors[name]["dtype"]
            if x.dtype != wanted:
                raise errors.UsageError(f"{name} is {x.dtype}, not {wanted}")
            if x.device[0] not in ("cpu", "cuda"):
                raise errors.UsageError(f"{name} is on {x.device[0]}: cuda or cpu is needed")
            if self._tensors[name]["access"] != "in":
                arrays.check_output(name, x)
        if len({x.device for x in views.values()}) > 1:
            raise errors.UsageError("tensors are on several devices: " + ", ".join(
                f"{n} on {x.device[0]}:{x.device[1]}" for n, x in views.items()))
        return views

    def _prepare(self, views, softmax_scale):
        sizes = sizes_of(self.spec, views)
        shapes = dict(zip(("o", "lse"), output_shapes(self.spec, sizes)))
        returned = ("o", "lse") if self.spec.fields["return_lse"] else ("o",)
        for name in ("o", "lse"):
            if (name in views) != (name in returned):
                raise errors.UsageError(
                    f"{name} is missing" if name in returned
                    else "lse: the spec does not return it (return_lse: true)")
            if name in views and views[name].shape != shapes[name]:
                raise errors.ShapeError(f"{name} has shape {list(views[name].shape)}, not "
                                        f"{list(shapes[name])}", "ATTNC_ERR_SHAPE")
        if "lse" in views and not views["lse"].contiguous():
            raise errors.ShapeError("lse is not contiguous", "ATTNC_ERR_SHAPE")
        for name in ("q", "k", "v", "o"):
            if views[name].strides[-1] != 1 and views[name].nbytes:
                raise errors.ShapeError(f"{name}: elements of a row are not one after another",
                                        "ATTNC_ERR_SHAPE")
        layout = self.spec.fields["layout"]
        tensors = [tensor_struct(views[n], layout[n]) for n in ("q", "k", "v", "o")]
        if "lse" in views:
            tensors.append(_lib.Tensor(data=views["lse"].address))
        return Launch(self, sizes, tensors, softmax_scale)

    # ---- a call ----

    @uncompiled
    def __call__(self, q, k, v, o=None, lse=None, *, softmax_scale: Optional[float] = None,
                 stream: Optional[int] = None):
        """Attention of q, k, v; returns o, or (o, lse) if the spec returns the LSE.

        o and lse are made, as q's framework does, where they are not given.  stream: a
        CUstream as an integer; None: torch's current stream, else the default one.  On a
        GPU this returns at once.  Host tensors run on the emulated device and are waited
        for; what the emulator finds wrong is a CheckError.
        """
        found, device = arrays.ops(q), arrays.view(q, stream).device
        outputs = self._outputs(q, k, v, o, lse)
        if stream is None:
            stream = found.stream(device) if found else 0
        tensors = dict(q=q, k=k, v=v, **outputs)
        if device[0] == "cpu":
            self._on_host(tensors, softmax_scale)
        else:
            self._on_device(tensors, softmax_scale, stream)
        made = tuple(outputs.values())
        return made if len(made) > 1 else made[0]

    def _outputs(self, q, k, v, o, lse):
        wanted = dict(o=o, lse=lse) if self.spec.fields["return_lse"] else dict(o=o)
        if lse is not None and "lse" not in wanted:
            raise errors.UsageError("lse: the spec does not return it (return_lse: true)")
        if any(x is None for x in wanted.values()):
            found = arrays.ops(q)
            if not found:
                raise errors.UsageError("o, and lse where it is returned, must be given: "
                                        f"{type(q).__name__} is neither torch's nor numpy's")
            views = {n: arrays.view(x) for n, x in dict(q=q, k=k, v=v).items()}
            shapes = output_shapes(self.spec, sizes_of(self.spec, views))
            for (name, x), shape in zip(wanted.items(), shapes):
                if x is None:
                    wanted[name] = found.made(shape, self._tensors[name]["dtype"], (q, k, v))
        return wanted

    def _on_device(self, tensors, softmax_scale, stream):
        launch = self._prepare(self._views(tensors, stream), softmax_scale)
        if launch.workspace_bytes:
            scratch = arrays.ops(tensors["q"])
            if not scratch:
                raise errors.UsageError(f"{launch.workspace_bytes} bytes of workspace are "
                                        "needed: prepare a launch and use_workspace")
            memory = scratch.scratch(launch.workspace_bytes, tensors["q"])
            launch.use_workspace(memory.data_ptr(), launch.workspace_bytes)
        launch.relaunch(stream)

    # ---- host tensors ----

    def _on_host(self, tensors, softmax_scale):
        """Copies in, launches, copies out.  Needs the emulated device: on a GPU it would
        hide transfers that cost more than the attention."""
        driver = self.context.driver
        if not driver.emulated:
            raise errors.UsageError("tensors on the host need the emulated device, "
                                    f"Context('emu'); this plan is of {driver.path}")
        views = self._views(tensors)  # what is wrong is said before anything is written
        packed = {n: _host_tensor(n, x, views[n]) for n, x in tensors.items()}
        views = {n: arrays.view(x) for n, x in packed.items()}
        with contextlib.ExitStack() as stack:
            stack.enter_context(driver.current(self.device))
            memory = {n: stack.enter_context(_driver.Memory(driver, x.nbytes))
                      for n, x in views.items()}
            for name in INPUTS:
                memory[name].write(views[name].address)
            launch = self._prepare({n: x._replace(address=memory[n].address)
                                    for n, x in views.items()}, softmax_scale)
            if launch.workspace_bytes:
                own = stack.enter_context(_driver.Memory(driver, launch.workspace_bytes))
                launch.use_workspace(own.address, own.nbytes)
            launch.relaunch()
            driver.synchronize()
            for name in views.keys() - set(INPUTS):
                memory[name].read(views[name].address)
        for name in views.keys() - set(INPUTS):
            if packed[name] is not tensors[name]:
                arrays.ops(packed[name]).copy(tensors[name], packed[name])
        _refuse_findings(driver)


def _host_tensor(name, x, at):
    """The tensor, or a contiguous stand-in for it."""
    found = arrays.ops(x)
    if at.contiguous():
        return x
    if not found:
        raise errors.ShapeError(f"{name} is not contiguous", "ATTNC_ERR_SHAPE")
    return found.contiguous(x)


def _refuse_findings(driver):
    findings = driver.findings()
    if findings:
        raise errors.CheckError("the emulator found:\n" + "\n".join(findings),
                                "ATTNC_ERR_CHECK")
