"""A context: a driver library, the caches, the tuning tables; and what it hands out, plans.

A Context may be used from many threads; one is enough for a device kind.  It is released when
the last reference to it and to its plans is gone.
"""
import ctypes as C
import json
import os
import weakref
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from . import _driver, _lib, errors
from .copies import Shared
from .plan import Plan
from .sizes import SizesLike
from .spec import SpecLike, _check, load_spec, problem, schedule as make_schedule, taken_text

CACHES = {None: 0, "off": 1, "ro": 2, "rw": 3}


def _open_driver(device: str, settings: Optional[str]) -> _driver.Driver:
    """"cuda", "emu", "auto" (a GPU where there is one, else the emulator) or a path."""
    emulator = _lib.beside("libattnc-emu.so")
    cuda = os.environ.get("ATTNC_LIBCUDA") or "libcuda.so.1"
    if device == "emu":
        return _driver.open_driver(emulator, settings)
    if device == "cuda":
        return _driver.open_driver(cuda, settings)
    if device != "auto":
        return _driver.open_driver(os.fspath(device), settings)
    try:
        return _driver.open_driver(cuda)
    except errors.NoDeviceError:
        if "ATTNC_LIBCUDA" in os.environ:
            raise
        return _driver.open_driver(emulator, settings)


class Context(Shared):
    """Plans for one driver library.

    device: "auto" (a GPU where a driver and a device are found, else the emulator), "cuda",
        "emu", or the path of a driver library.  $ATTNC_LIBCUDA names the library of "cuda".
    emulator: the emulator's settings, "arch=sm_86,threads=1"; arch only before its first use.
    cache: "off", "ro" or "rw"; None: $ATTNC_CACHE.  cache_dir, tune_dir: None: the defaults.
    tune_table: a file, the only tuning table then: read now and never written.
    cc: "1": compile in another process, attnc-cc, "0" in this one, else its path; None:
        $ATTNC_CC.
    target: compile for this target, not the device's best.
    log: called as log(level, message), from any thread.

    Raises NoDeviceError where there is no such library or device.
    """

    PICKLE = "it belongs to a driver of this process; make one where it is needed"

    def __init__(self, device: str = "auto", *, emulator: Optional[str] = None, cache: Optional[str] = None,
                 cache_dir: Optional[str] = None, tune_dir: Optional[str] = None, tune_table: Optional[str] = None,
                 target: Optional[str] = None, cc: Optional[str] = None,
                 log: Optional[Callable[[int, str], None]] = None) -> None:
        if cache not in CACHES:
            raise errors.UsageError(f"cache: {cache!r} is not one of off, ro, rw")
        self.driver = _open_driver(device, emulator)
        self.emulated: bool = self.driver.emulated
        self._log = _lib.LOG((lambda _, level, text: log(level, _lib.decode(text)))
                             if log else 0)
        options = _lib.Options(
            libcuda=_lib.encode(self.driver.path), cache_dir=_lib.encode(cache_dir),
            cache=CACHES[cache], tune_dir=_lib.encode(tune_dir), log=self._log,
            target=_lib.encode(target), tune_table=_lib.encode(tune_table),
            cc=_lib.encode(cc))
        lib, self._handle, error = _lib.library(), C.c_void_p(), _lib.Error()
        _check(lib.attnc_context_create(options, C.byref(self._handle), error), error)
        weakref.finalize(self, lib.attnc_context_release, self._handle).atexit = False

    @property
    def info(self) -> Dict[str, Any]:
        """Settings, devices and counters: where things are, and what stats() says."""
        said: Dict[str, Any] = json.loads(_lib.library().attnc_context_json(self._handle))
        return said

    def stats(self) -> Dict[str, int]:
        """What it has counted: hits of each layer, misses, compiles, loads and the times that
        they took, in microseconds; ATTNC_STATS_TABLE in attnc.h says what each is."""
        s = self._stats()
        return {name: getattr(s, name) for name, _ in s._fields_ if name != "size"}

    def prometheus(self) -> str:
        """stats() in the text format that Prometheus reads."""
        s, lib = self._stats(), _lib.library()
        room = lib.attnc_stats_prometheus(s, None, 0) + 1
        buffer = C.create_string_buffer(room)
        lib.attnc_stats_prometheus(s, buffer, room)
        return buffer.value.decode()

    def _stats(self) -> Any:
        s, error = _lib.Stats(), _lib.Error()
        _check(_lib.library().attnc_context_stats(self._handle, s, error), error)
        return s

    def plan(self, spec: SpecLike, sizes: SizesLike, *, device: int = 0,
             schedule: Optional[Mapping[str, Any]] = None,
             strides: Optional[Mapping[str, Any]] = None, nowait: bool = False,
             stream: int = 0, mean_lengths: Optional[Tuple[int, int]] = None,
             op: str = "fwd") -> Plan:
        """A kernel for `spec`, loaded on device `device`: found in a cache, or compiled.

        sizes: hints for the choice of a schedule, and the values of what the spec
        specialises; a plan serves every other size too.  schedule: the caller's own, which
        must be legal.  nowait: PendingError instead of waiting for a compile.  stream: the
        CUstream that the plan is for, as an integer: while it is being captured, a plan that
        is not loaded is NotPreparedError, and nothing is compiled.  mean_lengths: queries and
        keys of a sequence in the mean, where sequences have lengths of their own; None: as
        total_q and total_k say, else a quarter of the longest's is assumed.  op: "fwd", "bwd", "append"
        or "merge", what of the spec is computed.
        """
        spec, lib = load_spec(spec), _lib.library()
        handle, error = C.c_void_p(), _lib.Error()
        asked = problem(spec, sizes, device, strides, nowait, stream, mean_lengths, op)
        if schedule is None:
            status = lib.attnc_plan_get(self._handle, spec._handle, asked, C.byref(handle),
                                        error)
        else:
            status = lib.attnc_plan_get_with(self._handle, spec._handle, asked,
                                             make_schedule(schedule), C.byref(handle), error)
        _check(status, error)
        return Plan(self, spec, handle, device, op)

    def prepare(self, spec: SpecLike, sizes: SizesLike, *, device: int = 0,
                schedule: Optional[Mapping[str, Any]] = None,
                strides: Optional[Mapping[str, Any]] = None,
                mean_lengths: Optional[Tuple[int, int]] = None, op: str = "fwd") -> None:
        """plan() for later: what it would answer is loaded, and kept as long as the context,
        so that the same request finds it, while a stream is captured too."""
        spec, error = load_spec(spec), _lib.Error()
        _check(_lib.library().attnc_prepare(
            self._handle, spec._handle,
            problem(spec, sizes, device, strides, mean_lengths=mean_lengths, op=op),
            None if schedule is None else make_schedule(schedule), error), error)

    def explain_key(self, spec: SpecLike, sizes: SizesLike, *, device: int = 0,
                    schedule: Optional[Mapping[str, Any]] = None,
                    mean_lengths: Optional[Tuple[int, int]] = None,
                    op: str = "fwd") -> Dict[str, Any]:
        """The key of the cache entry, and the fields it is the hash of; the schedule, its
        source, and the lengths that were assumed for it."""
        out, error = C.c_void_p(), _lib.Error()
        spec = load_spec(spec)  # which has to live for the call
        _check(_lib.library().attnc_key_explain(
            self._handle, spec._handle, problem(spec, sizes, device, mean_lengths=mean_lengths, op=op),
            make_schedule(schedule), C.byref(out), error), error)
        said: Dict[str, Any] = json.loads(taken_text(out))
        return said
