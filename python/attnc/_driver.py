"""The driver library itself, for what a launch does not do: device memory for host arrays
on the emulated device, the primary context around a call, findings.

One Driver per path and process, never closed (a driver cannot be unloaded).  Safe from any
thread: `current` pushes the device's primary context on the calling thread's stack and pops
it again.
"""
import contextlib
import ctypes as C
import threading
from typing import Any, Dict, Iterator, List, Optional, Type

from . import _lib, errors

handle, address = C.c_void_p, C.c_uint64

ENTRIES = {
    "cuInit": (C.c_int, C.c_uint),
    "cuGetErrorName": (C.c_int, C.c_int, C.POINTER(C.c_char_p)),
    "cuGetErrorString": (C.c_int, C.c_int, C.POINTER(C.c_char_p)),
    "cuDeviceGetCount": (C.c_int, C.POINTER(C.c_int)),
    "cuDeviceGet": (C.c_int, C.POINTER(C.c_int), C.c_int),
    "cuDevicePrimaryCtxRetain": (C.c_int, C.POINTER(handle), C.c_int),
    "cuCtxPushCurrent_v2": (C.c_int, handle),
    "cuCtxPopCurrent_v2": (C.c_int, C.POINTER(handle)),
    "cuCtxSynchronize": (C.c_int,),
    "cuMemAlloc_v2": (C.c_int, C.POINTER(address), C.c_size_t),
    "cuMemFree_v2": (C.c_int, address),
    "cuMemcpyHtoD_v2": (C.c_int, address, handle, C.c_size_t),
    "cuMemcpyDtoH_v2": (C.c_int, handle, address, C.c_size_t),
}
EMULATOR = {
    "attncEmuConfigure": (C.c_int, C.c_char_p, C.c_char_p, C.c_size_t),
    "attncEmuGetStats": (None, C.POINTER(_lib.EmuStats)),
    "attncEmuResetStats": (None,),
    "attncEmuTakeFindings": (C.c_size_t, C.c_char_p, C.c_size_t),
}

_lock = threading.Lock()
_open: Dict[str, "Driver"] = {}


def open_driver(path: str, settings: Optional[str] = None) -> "Driver":
    """The driver at `path`, started.  settings: of the emulator, "arch=sm_86,threads=1", to
    be given before its first use.  NoDeviceError if there is no such library or device."""
    with _lock:
        if path not in _open:
            _open[path] = Driver(path, settings)
        elif settings:
            _open[path].configure(settings)
        return _open[path]


class Driver:
    """`emulated`: the library is attnc's emulator; `path`: what was opened."""

    def __init__(self, path: str, settings: Optional[str] = None) -> None:
        try:
            self.lib = _lib.declare(C.CDLL(path), ENTRIES)
        except OSError as e:
            raise errors.NoDeviceError(str(e), "ATTNC_ERR_NO_DEVICE") from None
        self.path = path
        self.contexts: Dict[int, C.c_void_p] = {}
        self.emulated = hasattr(self.lib, "attncEmuConfigure")
        if self.emulated:
            _lib.declare(self.lib, EMULATOR)
        if settings:
            self.configure(settings)
        self.call("cuInit", 0)
        n = C.c_int()
        self.call("cuDeviceGetCount", C.byref(n))
        if n.value < 1:
            raise errors.NoDeviceError(f"{path}: no device", "ATTNC_ERR_NO_DEVICE")

    def call(self, name: str, *arguments: Any) -> None:
        """Calls an entry; an error of the driver is a DeviceError that names it."""
        code = getattr(self.lib, name)(*arguments)
        if code:
            raise self.failure(name, code)

    def failure(self, name: str, code: int) -> errors.AttncError:
        what, why = C.c_char_p(), C.c_char_p()
        self.lib.cuGetErrorName(code, C.byref(what))
        self.lib.cuGetErrorString(code, C.byref(why))
        none = code in (100, 101)
        kind: Type[errors.AttncError] = errors.NoDeviceError if none else errors.DeviceError
        said = [_lib.decode(what.value) or str(code)]
        if why.value and why.value != what.value:
            said.append(_lib.decode(why.value))
        return kind(": ".join([name, *said]),
                    "ATTNC_ERR_NO_DEVICE" if none else "ATTNC_ERR_DEVICE", code)

    # ---- contexts ----

    def context(self, ordinal: int) -> C.c_void_p:
        """The primary context of a device, retained once and kept."""
        with _lock:
            if ordinal not in self.contexts:
                device, made = C.c_int(), handle()
                self.call("cuDeviceGet", C.byref(device), ordinal)
                self.call("cuDevicePrimaryCtxRetain", C.byref(made), device)
                self.contexts[ordinal] = made
            return self.contexts[ordinal]

    @contextlib.contextmanager
    def current(self, ordinal: int = 0) -> Iterator["Driver"]:
        """With the device's primary context current on this thread."""
        self.call("cuCtxPushCurrent_v2", self.context(ordinal))
        try:
            yield self
        finally:
            self.call("cuCtxPopCurrent_v2", C.byref(handle()))

    def synchronize(self) -> None:
        self.call("cuCtxSynchronize")

    # ---- the emulator's own ----

    def configure(self, settings: str) -> None:
        if not self.emulated:
            raise errors.UsageError(f"{self.path} is no emulator: settings {settings!r} are "
                                    "not for it")
        reason = C.create_string_buffer(256)
        if self.lib.attncEmuConfigure(settings.encode(), reason, len(reason)):
            raise errors.UsageError(f"emulator: {settings!r}: {_lib.decode(reason.value)}")

    def findings(self) -> List[str]:
        """What the emulator saw kernels do wrong since the last call, one a line."""
        n = self.lib.attncEmuTakeFindings(None, 0) if self.emulated else 0
        if not n:
            return []
        buffer = C.create_string_buffer(n + 1)
        self.lib.attncEmuTakeFindings(buffer, n + 1)
        return _lib.decode(buffer.value).splitlines()

    def stats(self) -> Dict[str, Any]:
        """Counters of the emulator over all launches since the last reset, as a dict."""
        if not self.emulated:
            raise errors.UsageError(f"{self.path} is no emulator: it has no counters")
        s = _lib.EmuStats()
        self.lib.attncEmuGetStats(s)
        return {name: getattr(s, name) for name, *_ in s._fields_[1:]}

    def reset_stats(self) -> None:
        if self.emulated:
            self.lib.attncEmuResetStats()


class Memory:
    """Device memory of the current context: freed by `free`, or on leaving `with`."""

    def __init__(self, driver: Driver, nbytes: int) -> None:
        self.driver, self.nbytes, at = driver, nbytes, address()
        driver.call("cuMemAlloc_v2", C.byref(at), max(nbytes, 16))
        self.address = at.value

    def write(self, host: int) -> None:
        self.driver.call("cuMemcpyHtoD_v2", self.address, host, self.nbytes)

    def read(self, host: int) -> None:
        self.driver.call("cuMemcpyDtoH_v2", host, self.address, self.nbytes)

    def zero(self, nbytes: int) -> None:
        """The first so many bytes."""
        if nbytes:
            self.driver.call("cuMemcpyHtoD_v2", self.address, C.create_string_buffer(nbytes),
                             nbytes)

    def free(self) -> None:
        self.driver.call("cuMemFree_v2", self.address)

    def __enter__(self) -> "Memory":
        return self

    def __exit__(self, *_: object) -> None:
        self.free()
