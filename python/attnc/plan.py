"""Plans: a kernel loaded on a device, called on tensors.

Tensors have the shapes of the spec's layout (`bshd`: [b, s, h, d]).  On a plan of the emulated
device host tensors are copied to the device's memory, and the outputs back; everything else
must be on the plan's device already.
"""
import contextlib
import ctypes as C
import json
import weakref
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from . import _driver, _lib, arrays, errors
from ._types import Longest, Numbers, Tensor, Tensors
from .copies import Shared
from .launch import Launch
from .peers import uncompiled
from .signature import CHOSEN, take_longest
from .sizes import SizesLike, sizes as make_sizes
from .spec import Spec, sizes_struct

if TYPE_CHECKING:
    from .context import Context


class Plan(Shared):
    """Made by Context.plan.  Immutable, may be called from many threads.

    Attributes: spec, op, signature (what a call of it has), choices (of num_splits and max_items those
    that its kernel knows, which others refuse), context, device (ordinal), info (dict: recipe, registers, spills, where
    the schedule came from, seconds), zeroed_bytes (the first bytes of a workspace that must be
    zero before its first launch; launches leave them so), runs_without_workspace (what it is for
    is counters alone, and launches may do without).
    """

    PICKLE = ("its kernel is loaded on a device of this process; pickle its spec, and ask a "
              "context for a plan again")

    def __init__(self, context: "Context", spec: Spec, handle: C.c_void_p, device: int, op: str = "fwd") -> None:
        lib = _lib.library()
        self.context, self.spec, self.device, self._handle = context, spec, device, handle
        self.op, self.signature = op, spec.signature_of(op)
        weakref.finalize(self, lib.attnc_plan_release, handle).atexit = False
        self.info: Dict[str, Any] = json.loads(lib.attnc_plan_json(handle))
        said = json.dumps([self.info["workspace"], self.info["steps"]])
        self.choices = tuple(name for name in CHOSEN if f'"{name}"' in said)
        self.zeroed_bytes: int = lib.attnc_plan_zeroed_bytes(handle)
        self.runs_without_workspace = any("grid_without_workspace" in step.get("launch", {})
                                          for step in self.info["steps"])

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

    def prepare(self, q: Optional[Tensor] = None, k: Optional[Tensor] = None, v: Optional[Tensor] = None,
                o: Optional[Tensor] = None, lse: Optional[Tensor] = None, **more: Any) -> Launch:
        """A Launch for tensors like these, which are on the plan's device.

        lse: fp32, contiguous [b, h, sq]; only, and always, if the spec returns it.  more: as
        of a call of the plan.
        """
        longest = take_longest(more)
        tensors, numbers = self._given(dict(q=q, k=k, v=v, o=o, lse=lse), more)
        views = self._views(tensors)
        if any(x.device[0] == "cpu" for x in views.values()):
            raise errors.UsageError("prepare: tensors must be on the device; host tensors can "
                                    "be given to a call of the plan")
        return self._prepare(views, numbers, longest)

    def _given(self, tensors: Tensors, more: Tensors) -> Tuple[Tensors, Numbers]:
        """Tensors and numbers of a call by name."""
        for name in (n for n, x in tensors.items() if x is not None):
            self._row(name)
        others, numbers = self.signature.split(more)
        return {**tensors, **others}, numbers

    def _row(self, name: str) -> Dict[str, Any]:
        row: Optional[Dict[str, Any]] = self.signature.tensors.get(name)
        if row is None:
            raise errors.UsageError(
                f"{name}: the spec does not return it (return_{name}: true)" if name in ("o", "lse") else
                f"{name}: op {self.op} has no tensor of that name")
        return row

    def _views(self, tensors: Tensors, stream: Optional[int] = None) -> Dict[str, arrays.View]:
        views = {n: arrays.view(x, stream) for n, x in tensors.items() if x is not None}
        for name, x in views.items():
            row = self._row(name)
            if x.dtype != row["dtype"]:
                raise errors.UsageError(f"{name} is {x.dtype}, not {row['dtype']}")
            if x.device[0] not in ("cpu", "cuda"):
                raise errors.UsageError(f"{name} is on {x.device[0]}: cuda or cpu is needed")
            if row["access"] != "in":
                arrays.check_output(name, x)
        if len({x.device for x in views.values()}) > 1:
            raise errors.UsageError("tensors are on several devices: " + ", ".join(
                f"{n} on {x.device[0]}:{x.device[1]}" for n, x in views.items()))
        return views

    def _prepare(self, views: Dict[str, arrays.View], numbers: Optional[Numbers] = None,
                 longest: Optional[Longest] = None) -> Launch:
        call = self.signature
        for name in call.tensors.keys() - views.keys():
            raise errors.UsageError(f"{name} is missing")
        sizes = call.sizes(views, longest)
        for name in call.outputs:
            if views[name].shape != call.shape(name, sizes):
                raise errors.ShapeError(f"{name} has shape {list(views[name].shape)}, not "
                                        f"{list(call.shape(name, sizes))}", "ATTNC_ERR_SHAPE")
        return Launch(self, sizes, call.structs(views), call.numbers(numbers or {}))

    # ---- a call ----

    @uncompiled
    def __call__(self, q: Optional[Tensor] = None, k: Optional[Tensor] = None, v: Optional[Tensor] = None,
                 o: Optional[Tensor] = None, lse: Optional[Tensor] = None, *, stream: Optional[int] = None,
                 **more: Any) -> Any:
        """Attention of q, k, v; returns o, or (o, lse) if the spec returns the LSE.  Of another op its
        tensors by name; returns what is written, k and v of append as they are given. With the
        spec's `append` k and v are written as well.

        o and lse are made, as q's framework does, where they are not given.  more: by name
        the other tensors that the call has, and its numbers, of which the spec's own are
        taken where they are left out or None: softmax_scale=0.1, doc=ids; of packed sequences
        sq and sk, the longest, which are all rows where they are left out.  stream: a
        CUstream as an integer; None: torch's current stream, else the default one.  On a
        GPU this returns at once.  Host tensors run on the emulated device and are waited
        for; what the emulator finds wrong is a CheckError.
        """
        longest = take_longest(more)
        tensors, numbers = self._given(dict(q=q, k=k, v=v, o=o, lse=lse), more)
        call = self.signature
        inputs = {n: tensors[n] for n in call.inputs if tensors.get(n) is not None}
        if not inputs:
            raise errors.UsageError(f"{call.inputs[0]} is missing")
        first = next(iter(inputs.values()))
        found, device = arrays.ops(first), arrays.view(first, stream).device
        given = tensors
        outputs = self._outputs(inputs, given, longest)
        if stream is None:
            stream = found.stream(device) if found else 0
        tensors = {**inputs, **outputs}
        if device[0] == "cpu":
            self._on_host(tensors, numbers, longest, [n for n in outputs if outputs[n] is given.get(n)])
        else:
            self._on_device(tensors, numbers, longest, stream)
        kept = tuple(outputs.values())  # of the caller's, where nothing else is written
        made = tuple(x for n, x in outputs.items() if call.tensors[n]["access"] == "out") or kept
        return made if len(made) > 1 else made[0]

    def _aligned(self, name: str, x: Tensor) -> Tensor:
        """The tensor, or a copy with the rows that the kernel wants."""
        short, found = self.signature.padding(name, arrays.view(x)), arrays.ops(x)
        return x if short is None or not found else found.pad_last(x, short)

    def _outputs(self, inputs: Tensors, given: Tensors, longest: Longest) -> Tensors:
        """Every output by its name, made like the inputs where it is not given."""
        call, like = self.signature, next(iter(inputs.values()))
        wanted = {name: given.get(name) for name in call.outputs}
        if any(x is None for x in wanted.values()):
            found = arrays.ops(like)
            if not found:
                raise errors.UsageError(f"{', '.join(wanted)} must be given: "
                                        f"{type(like).__name__} is neither torch's nor numpy's")
            sizes = call.sizes({n: arrays.view(x) for n, x in inputs.items()}, longest)
            for name in (n for n, x in wanted.items() if x is None):
                wanted[name] = found.made(call.shape(name, sizes), call.tensors[name]["dtype"],
                                          tuple(inputs.values()))
        return wanted

    def _on_device(self, tensors: Tensors, numbers: Numbers, longest: Longest, stream: int) -> None:
        tensors = {n: self._aligned(n, x) for n, x in tensors.items()}
        launch = self._prepare(self._views(tensors, stream), numbers, longest)
        if launch.workspace_bytes and not self.runs_without_workspace:
            scratch = arrays.ops(next(iter(tensors.values())))
            if not scratch:
                raise errors.UsageError(f"{launch.workspace_bytes} bytes of workspace are "
                                        "needed: prepare a launch and use_workspace")
            memory = scratch.scratch(launch.workspace_bytes, next(iter(tensors.values())),
                                     self.zeroed_bytes)
            launch.use_workspace(memory.data_ptr(), launch.workspace_bytes)
        launch.relaunch(stream)

    # ---- host tensors ----

    def _on_host(self, tensors: Tensors, numbers: Numbers, longest: Longest, kept: List[str]) -> None:
        """Copies in, launches, copies out.  Needs the emulated device: on a GPU it would
        hide transfers that cost more than the attention.  kept: outputs of the caller's, whose rows
        that no kernel writes stay as they are."""
        driver, call = self.context.driver, self.signature
        if not driver.emulated:
            raise errors.UsageError("tensors on the host need the emulated device, "
                                    f"Context('emu'); this plan is of {driver.path}")
        views = self._views(tensors)  # what is wrong is said before anything is written
        packed = {n: self._aligned(n, _host_tensor(n, x, views[n])) for n, x in tensors.items()}
        views = {n: arrays.view(x) for n, x in packed.items()}
        with contextlib.ExitStack() as stack:
            stack.enter_context(driver.current(self.device))
            memory = {n: stack.enter_context(_driver.Memory(driver, x.nbytes))
                      for n, x in views.items()}
            for name in (*call.inputs, *(n for n in kept if n not in call.inputs)):
                memory[name].write(views[name].address)
            launch = self._prepare({n: x._replace(address=memory[n].address)
                                    for n, x in views.items()}, numbers, longest)
            if launch.workspace_bytes:
                own = stack.enter_context(_driver.Memory(driver, launch.workspace_bytes))
                own.zero(self.zeroed_bytes)
                launch.use_workspace(own.address, own.nbytes)
            launch.relaunch()
            driver.synchronize()
            for name in call.outputs:
                memory[name].read(views[name].address)
        for name in call.outputs:
            if packed[name] is not tensors[name]:
                arrays.ops(packed[name]).copy(tensors[name], packed[name])
        _refuse_findings(driver)


def _host_tensor(name: str, x: Tensor, at: arrays.View) -> Tensor:
    """The tensor, or a contiguous stand-in for it."""
    found = arrays.ops(x)
    if at.contiguous():
        return x
    if not found:
        raise errors.ShapeError(f"{name} is not contiguous", "ATTNC_ERR_SHAPE")
    return found.contiguous(x)


def _refuse_findings(driver: _driver.Driver) -> None:
    findings = driver.findings()
    if findings:
        raise errors.CheckError("the emulator found:\n" + "\n".join(findings),
                                "ATTNC_ERR_CHECK")
