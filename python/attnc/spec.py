"""Specs and what can be made of one without a device: checks, kernels, schedules.

A Spec is immutable and may be shared between threads.  It is made from a file, from YAML
text, or from a dict with the same keys; SpecError has everything that is wrong, each with
its place.
"""
import ctypes as C
import json
import re
import os
import weakref
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple, Union

from . import _lib, errors
from ._types import Path
from .copies import Shared
from .signature import Signature, op_of
from .sizes import Sizes, SizesLike, sizes as make_sizes, whole



def _check(status: int, error: Any, diagnostics: Iterable[errors.Diagnostic] = ()) -> None:
    if status:
        raise errors.make(status, _lib.decode(error.message), error.driver_code, diagnostics)


def _target(name: str) -> bytes:
    if not isinstance(name, str):
        raise errors.UsageError(f"target: {name!r} is not a name like \"sm_80\"")
    return _lib.encode(name)


class Diags:
    """The diagnostics of one call; give it `pointer`, then ask for `items` and `text`."""

    def __init__(self) -> None:
        self.lib, self.pointer = _lib.library(), C.c_void_p()
        _check(self.lib.attnc_diags_create(C.byref(self.pointer)), _lib.Error())
        weakref.finalize(self, self.lib.attnc_diags_release, self.pointer).atexit = False

    def items(self) -> Iterator[errors.Diagnostic]:
        for i in range(self.lib.attnc_diags_count(self.pointer)):
            d = self.lib.attnc_diags_get(self.pointer, i).contents
            yield errors.Diagnostic(bool(d.error), d.code, _lib.decode(d.file), d.line, d.col,
                                    _lib.decode(d.message), _lib.decode(d.source), d.width,
                                    _lib.decode(d.help))

    def text(self) -> str:
        n = self.lib.attnc_diags_format(self.pointer, 0, None, 0)
        buffer = C.create_string_buffer(n + 1)
        self.lib.attnc_diags_format(self.pointer, 0, buffer, n + 1)
        return _lib.decode(buffer.value).rstrip("\n")


class Spec:
    """What is computed.  `Spec.from_file`, `Spec.from_text`, `Spec.from_dict`, or
    `attnc.load_spec`, which takes any of the three.

    Attributes: name, hash (64 hex digits, over what is computed), canonical (the text that
    the hash is over), fields (the spec as a dict, defaults filled in), why (how loops over
    keys follow from the mask: sentences, each a line).
    """

    def __init__(self, text: str, name: str = "<text>") -> None:
        lib, handle, diags = _lib.library(), C.c_void_p(), Diags()
        raw = text.encode("utf-8", "surrogateescape")
        status = lib.attnc_spec_load(raw, len(raw), _lib.encode(name), C.byref(handle),
                                     diags.pointer)
        if status:
            raise errors.make(status, diags.text(), diagnostics=diags.items())
        self._handle, self._source = handle, (text, name)
        weakref.finalize(self, lib.attnc_spec_release, handle).atexit = False
        self.warnings: List[errors.Diagnostic] = list(diags.items())
        self.fields: Dict[str, Any] = json.loads(lib.attnc_spec_json(handle))
        self.name: str = self.fields["name"]
        self.hash: str = self.fields["hash"]
        self.canonical: str = self.fields["canonical"]
        self.why: str = _lib.decode(lib.attnc_spec_why(handle))
        self._signatures: Dict[str, Signature] = {}
        self.signature = self.signature_of("fwd")

    def signature_of(self, op: str) -> Signature:
        """The tensors and numbers of a call: "fwd", "bwd", "append" or "merge"."""
        if op not in self._signatures:
            said = _lib.library().attnc_spec_signature(self._handle, op_of(op))
            self._signatures[op] = Signature(_lib.decode(said))
        return self._signatures[op]

    @classmethod
    def from_text(cls, text: str, name: str = "<text>") -> "Spec":
        """From YAML; `name` is what diagnostics call it."""
        return cls(text, name)

    @classmethod
    def from_file(cls, path: Path) -> "Spec":
        """From a file; OSError if it cannot be read."""
        with open(os.fspath(path), encoding="utf-8", errors="surrogateescape", newline="") as f:
            return cls(f.read(), os.fspath(path))

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], name: str = "<dict>") -> "Spec":
        """From {"attnc": 1, "name": …, "dtype": …, "head_dim": …, …}: the keys of the YAML."""
        return cls(json.dumps(dict(fields), indent=1), name)

    def check(self, target: str) -> None:
        """UnsupportedError, with every reason, if this cannot run on `target` ("sm_80")."""
        diags = Diags()
        status = _lib.library().attnc_spec_check(self._handle, _target(target), diags.pointer)
        if status:
            raise errors.make(status, diags.text(), diagnostics=diags.items())

    def __reduce__(self) -> Tuple[Any, ...]:
        """Copied and pickled by its text."""
        return Spec, self._source

    def __repr__(self) -> str:
        return f"<attnc.Spec {self.name} {self.hash[:12]}>"


SpecLike = Union[Spec, Path, Mapping[str, Any]]


def load_spec(source: SpecLike) -> Spec:
    """A Spec from a Spec, a dict, a path, or YAML text (a str with a line break)."""
    if isinstance(source, Spec):
        return source
    if isinstance(source, Mapping):
        return Spec.from_dict(source)
    if isinstance(source, str) and "\n" in source:
        return Spec.from_text(source)
    return Spec.from_file(source)


def problem(spec: Spec, sizes: Optional[SizesLike], device: Optional[int] = None,
            strides: Optional[Mapping[str, Any]] = None, nowait: bool = False, stream: int = 0,
            mean_lengths: Optional[Tuple[int, int]] = None, op: str = "fwd") -> Any:
    """An attnc_problem on a device, or, without one, on the current one; strides: {"q":
    (b, h, s, d) in elements, …} for specs that specialise them; stream: the CUstream that
    the plan is for, as an integer, 0: of none in particular; mean_lengths: (queries, keys) of a
    sequence in the mean, None: not known."""
    at = 0 if device is None else whole("device", device) + 1  # the C field counts from 1
    if device is not None and not 0 < at < 2 ** 31:
        raise errors.UsageError(f"there is no device {device}")
    call = spec.signature_of(op)
    tensors = (_lib.Tensor * call.slots)()
    for name, values in (strides or {}).items():
        if name not in call.tensors:
            raise errors.UsageError(f"strides: no tensor is called {name!r}")
        for i, value in enumerate(values):
            if not -2 ** 63 <= whole(f"strides of {name}", value) < 2 ** 63:
                raise errors.UsageError(f"strides of {name}: {value} does not fit 64 bits")
            tensors[call.tensors[name]["slot"]].stride[i] = value
    p = _lib.Problem(op=op_of(op), device=at, flags=_lib.NOWAIT if nowait else 0,
                     tensors=tensors, tensor_size=C.sizeof(_lib.Tensor),
                     n_tensors=len(tensors), stream=stream)
    if mean_lengths is not None:
        queries, keys = mean_lengths
        p.mean_q, p.mean_k = whole("mean_lengths", queries), whole("mean_lengths", keys)
    if sizes is not None:
        p.sizes = C.pointer(sizes_struct(make_sizes(sizes)))
    return p


def schedule_fields() -> List[Dict[str, Any]]:
    """What a schedule may name, as the templates declare it: name, kind, bounds, meaning."""
    said: List[Dict[str, Any]] = json.loads(_lib.library().attnc_schedule_fields())
    return said


def _written(key: str, value: Any) -> str:
    """key=value as options have it; the library knows the names and what they may be."""
    word = isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value)
    if isinstance(value, bool):
        value = str(value).lower()
    elif not isinstance(value, int) and (not word or value in ("true", "false")):
        raise errors.UsageError(f"schedule: {key}={value!r} is not a value of it")
    return f"{key}={value}"


def schedule(fields: Optional[Mapping[str, Any]]) -> Any:
    """A pointer to an attnc_schedule, or None: {"template": "fwd_mma", "block_m": 128, …}."""
    if fields is None:
        return None
    named = {k: v for k, v in fields.items() if v is not None}
    made = _lib.Schedule(template_name=_lib.encode(named.pop("template", None)))
    made.options = ",".join(_written(k, v) for k, v in named.items()).encode()
    return C.pointer(made)


class Kernel(Shared):
    """A kernel compiled for one target: `ptx` (text) and `recipe` (dict: how to launch it).

    seconds: {stage: seconds} of the compile; dump(stage): a stage's text if it was kept.
    """

    PICKLE = "its ptx and recipe can be"
    STAGES = ("front", "tile", "lower", "passes", "codegen", "load", "total")

    def __init__(self, handle: C.c_void_p) -> None:
        lib = _lib.library()
        self._handle = handle
        weakref.finalize(self, lib.attnc_kernel_release, handle).atexit = False
        self.ptx: str = _lib.decode(lib.attnc_kernel_ptx(handle, None))
        self.recipe: Dict[str, Any] = json.loads(lib.attnc_kernel_json(handle))
        self.seconds = {s: lib.attnc_kernel_seconds(handle, s.encode()) for s in self.STAGES}

    def dump(self, stage: str) -> Optional[str]:
        """The text of a stage that `dump` of compile named, else None."""
        kept: Optional[bytes] = _lib.library().attnc_kernel_dump(self._handle, stage.encode())
        return None if kept is None else _lib.decode(kept)


def compile(spec: SpecLike, target: str, *, sizes: Optional[SizesLike] = None,
            schedule: Optional[Mapping[str, Any]] = None, dump: Optional[str] = None,
            ptx_version: Optional[str] = None) -> Kernel:
    """Compiles for `target` ("sm_80"): pure, no driver, no cache.

    sizes are needed only where the spec specialises them.  dump: stages to keep, for
    example "tile,ll".  Raises SpecError, UnsupportedError, CompileError.
    """
    spec, handle, error = load_spec(spec), C.c_void_p(), _lib.Error()
    options = _lib.CompileOptions(dump=_lib.encode(dump), ptx_version=_lib.encode(ptx_version))
    _check(_lib.library().attnc_compile_with(
        spec._handle, problem(spec, sizes), _target(target), _schedule(schedule), options,
        C.byref(handle), error), error)
    return Kernel(handle)


_schedule = schedule  # the name is also an argument


def taken_text(pointer: C.c_void_p) -> str:
    """The text that a call left to us, as a str; frees it."""
    lib = _lib.library()
    try:
        return _lib.decode(C.string_at(pointer))
    finally:
        lib.attnc_text_free(pointer)


def schedules(spec: SpecLike, target: str, sizes: SizesLike, *,
              refused: bool = False) -> List[Dict[str, Any]]:
    """The legal schedules, best first by the cost model; `refused` adds the illegal ones,
    each with its "reason"."""
    spec, out, error = load_spec(spec), C.c_void_p(), _lib.Error()
    _check(_lib.library().attnc_schedules(spec._handle, problem(spec, sizes), _target(target),
                                          int(refused), C.byref(out), error), error)
    said: List[Dict[str, Any]] = json.loads(taken_text(out))
    return said


def targets() -> List[str]:
    """The targets that kernels can be compiled for."""
    found: List[str] = []
    for name in _lib.library().attnc_targets():
        if name is None:
            return found
        found.append(name.decode())
    return found


def schema() -> Dict[str, Any]:
    """The JSON Schema of spec version 1."""
    said: Dict[str, Any] = json.loads(_lib.library().attnc_spec_schema())
    return said


def sizes_struct(sizes: Sizes) -> Any:
    return _lib.Sizes(**sizes._asdict())
