"""What goes wrong, as exceptions.

Every failure of the library is an AttncError or one of its kinds; the kind follows from the
status.  SpecError and UnsupportedError carry `diagnostics`, one for each thing that is wrong
with a spec, and their text shows all of them with line, caret and help.
"""
from typing import Any, Iterable, NamedTuple, Optional, Tuple


class Diagnostic(NamedTuple):
    """One thing that is wrong with a spec."""

    error: bool  #: False: a warning
    code: int  #: 123 is printed as A0123
    file: str  #: the name given when the spec was loaded
    line: int  #: from 1; 0: the whole file
    col: int
    message: str  #: one sentence
    source: Optional[str]  #: the line of the file
    width: int  #: columns to underline
    help: Optional[str]  #: what to write instead


class AttncError(Exception):
    """A call of the library failed.

    status: the name of its status ("ATTNC_ERR_SHAPE"); driver_code: the CUresult behind it,
    0 if it was not the driver; diagnostics: what is wrong with a spec, else empty; tuning: what a
    sweep that failed has measured, else None.
    """

    def __init__(self, message: str, status: str = "ATTNC_ERR_USAGE", driver_code: int = 0,
                 diagnostics: Iterable[Diagnostic] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.driver_code = driver_code
        self.diagnostics = list(diagnostics)
        self.tuning: Any = None


class UsageError(AttncError, ValueError):
    """A call or its arguments are not as documented."""


class ExpressionError(UsageError):
    """A mask_mod or score_mod does what no expression can say."""


class SpecError(AttncError, ValueError):
    """The spec is not valid; `diagnostics` has every reason."""


class UnsupportedError(AttncError):
    """Valid, but not supported on this target or by any template."""


class ShapeError(AttncError, ValueError):
    """The sizes of the call do not fit the kernel."""


class AlignError(AttncError, ValueError):
    """A pointer or stride is not a multiple of 16 bytes."""


class CompileError(AttncError, RuntimeError):
    """Compilation failed."""


class NoDeviceError(AttncError, RuntimeError):
    """No driver library or no device."""


class DeviceError(AttncError, RuntimeError):
    """The driver reported an error, or its context is not the one of the plan."""


class CacheError(AttncError, OSError):
    """A file or the cache could not be used."""


class PendingError(AttncError):
    """Being compiled in the background; ask again."""


class NotPreparedError(DeviceError):
    """The kernel is not loaded, and the stream is being captured: prepare it before."""


class CheckError(AttncError):
    """A result failed verification, or the emulator saw a kernel do something wrong."""


# Name and exception of each status, in the order of attnc_status.
STATUSES: Tuple[Tuple[str, Any], ...] = (
    ("ATTNC_OK", None),
    ("ATTNC_ERR_USAGE", UsageError),
    ("ATTNC_ERR_SPEC", SpecError),
    ("ATTNC_ERR_UNSUPPORTED", UnsupportedError),
    ("ATTNC_ERR_SHAPE", ShapeError),
    ("ATTNC_ERR_ALIGN", AlignError),
    ("ATTNC_ERR_COMPILE", CompileError),
    ("ATTNC_ERR_INTERNAL", AttncError),
    ("ATTNC_ERR_NO_DEVICE", NoDeviceError),
    ("ATTNC_ERR_DEVICE", DeviceError),
    ("ATTNC_ERR_CONTEXT", DeviceError),
    ("ATTNC_ERR_IO", CacheError),
    ("ATTNC_ERR_CACHE", CacheError),
    ("ATTNC_ERR_NOMEM", MemoryError),
    ("ATTNC_ERR_PENDING", PendingError),
    ("ATTNC_ERR_NOT_PREPARED", NotPreparedError),
    ("ATTNC_ERR_CHECK", CheckError),
    ("ATTNC_ERR_TIMEOUT", AttncError),
    ("ATTNC_ERR_CANCELLED", AttncError),
)


def make(status: int, message: Optional[str], driver_code: int = 0,
         diagnostics: Iterable[Diagnostic] = ()) -> Exception:
    """The exception for a status; MemoryError is Python's own."""
    name, kind = STATUSES[status] if status < len(STATUSES) else (str(status), AttncError)
    if kind is MemoryError:
        return MemoryError(message)
    made: Exception = kind(message or name, name, driver_code, diagnostics)
    return made
