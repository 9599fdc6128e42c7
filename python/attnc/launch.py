"""Launches prepared for one shape: the arguments packed once, the pointers filled in at each
call.

The cost of a call is one crossing into C and five stores: no dict, no allocation, no check of
shapes.  The caller promises that what is pointed to has the shapes, strides and dtypes that
the launch was prepared with.
"""
import ctypes as C
from typing import TYPE_CHECKING, Any, NoReturn, Sequence

from . import _lib, errors
from .sizes import Sizes

if TYPE_CHECKING:
    from .plan import Plan

QWORDS = C.sizeof(_lib.Tensor) // 8
CONTEXT = [name for name, _ in errors.STATUSES].index("ATTNC_ERR_CONTEXT")


class Launch:
    """Made by Plan.prepare.  Belongs to one thread at a time; any number may be made.

    It keeps its plan, but no tensor: memory must live until the device is done with it.
    """

    __slots__ = ("plan", "sizes", "workspace_bytes", "_data", "_at", "_args",
                 "_args_at", "_state", "_state_at", "_error", "_error_at", "_plan_at",
                 "_launch")

    def __init__(self, plan: "Plan", sizes: Sizes, tensors: Sequence[Any], scalars: Sequence[float] = ()) -> None:
        lib = _lib.library()
        self.plan, self.sizes = plan, sizes
        self.workspace_bytes = plan.workspace(sizes)
        made = (_lib.Tensor * len(tensors))(*tensors)
        self._args = _lib.call_args(_lib.Sizes(**sizes._asdict()), made, scalars)
        self._data = memoryview(made).cast("B").cast("Q")
        self._at = tuple(t["slot"] * QWORDS for t in plan.signature.tensors.values())
        n = lib.attnc_plan_state_bytes(plan._handle)
        self._state = C.create_string_buffer(n + 63)  # zeroed; used from a 64-byte boundary
        self._state_at = C.c_void_p(-(-C.addressof(self._state) // 64) * 64)
        self._error = _lib.Error()
        self._error_at = C.c_void_p(C.addressof(self._error))
        self._args_at = C.c_void_p(C.addressof(self._args))
        self._plan_at = plan._handle
        self._launch = lib.attnc_launch

    def __call__(self, *addresses: int, stream: int = 0) -> None:
        """Enqueues on `stream` (0: the default one).  Device addresses, as
        `tensor.data_ptr()` returns, of the call's tensors in the order of their slots: q, k,
        v, o, and lse if the spec returns it."""
        if len(addresses) != len(self._at):
            raise errors.UsageError(f"launch: {len(addresses)} addresses for the tensors "
                                    f"{', '.join(self.plan.signature.tensors)}")
        data = self._data
        for at, address in zip(self._at, addresses):
            data[at] = address
        status = self._launch(self._plan_at, self._args_at, stream, self._state_at,
                              self._error_at)
        if status:
            self._again(status, stream)

    def relaunch(self, stream: int = 0) -> None:
        """Enqueues with the addresses of the last call, or of `prepare`."""
        status = self._launch(self._plan_at, self._args_at, stream, self._state_at,
                              self._error_at)
        if status:
            self._again(status, stream)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("attnc.Launch cannot be copied or pickled: it belongs to one thread, and "
                        "its arguments are addresses; prepare another")

    def resize(self, **sizes: int) -> None:
        """Other sizes for the calls to come, as resize(total_q=96, total_k=96) of packed
        sequences whose rows are more or fewer now; strides stay, and only what depends on
        these sizes is packed anew.  `workspace_bytes` may grow."""
        self.sizes = self.sizes._replace(**sizes)
        own = self._args.sizes.contents
        for name, n in sizes.items():
            setattr(own, name, n)
        if self.workspace_bytes:
            self.workspace_bytes = self.plan.workspace(self.sizes)

    def use_workspace(self, address: int, nbytes: int) -> None:
        """Device memory for the kernel's own use: at least `workspace_bytes`, of which the
        first `plan.zeroed_bytes` are zero before its first launch."""
        self._args.workspace, self._args.workspace_bytes = address, nbytes

    def _again(self, status: int, stream: int) -> None:
        """Where another device is current, or none: once more on the plan's own."""
        if status == CONTEXT:
            with self.plan.context.driver.current(self.plan.device):
                status = self._launch(self._plan_at, self._args_at, stream, self._state_at,
                                      self._error_at)
        if status:
            raise errors.make(status, _lib.decode(self._error.message),
                              self._error.driver_code)
