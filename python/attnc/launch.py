"""Launches prepared for one shape: the arguments packed once, the pointers filled in at each
call.

The cost of a call is one crossing into C and five stores: no dict, no allocation, no check of
shapes.  The caller promises that what is pointed to has the shapes, strides and dtypes that
the launch was prepared with.
"""
import ctypes as C

from . import _lib, errors

QWORDS = C.sizeof(_lib.Tensor) // 8
CONTEXT = [name for name, _ in errors.STATUSES].index("ATTNC_ERR_CONTEXT")


def tensor_struct(view, order):
    """An attnc_tensor of (b, h, s, d) strides; `order` is the view's layout, "bshd"."""
    by_axis = dict(zip(order, view.strides))
    return _lib.Tensor(data=view.address,
                       stride=tuple(by_axis[axis] for axis in "bhs") + (1, 0))


class Launch:
    """Made by Plan.prepare.  Belongs to one thread at a time; any number may be made.

    It keeps its plan, but no tensor: memory must live until the device is done with it.
    """

    __slots__ = ("plan", "sizes", "workspace_bytes", "_tensors", "_data", "_args",
                 "_args_at", "_state", "_state_at", "_error", "_error_at", "_plan_at",
                 "_launch")

    def __init__(self, plan, sizes, tensors, softmax_scale=None, workspace=(0, 0)):
        lib = _lib.library()
        self.plan, self.sizes = plan, sizes
        self.workspace_bytes = plan.workspace(sizes)
        self._tensors = (_lib.Tensor * len(_lib.SLOTS))(*tensors)
        self._data = memoryview(self._tensors).cast("B").cast("Q")
        scalars = () if softmax_scale is None else (softmax_scale,)
        self._args = _lib.call_args(_lib.Sizes(**sizes._asdict()), tensors, scalars,
                                    workspace=workspace[0], workspace_bytes=workspace[1])
        self._args.tensors = self._tensors
        n = lib.attnc_plan_state_bytes(plan._handle)
        self._state = C.create_string_buffer(n + 63)  # zeroed; used from a 64-byte boundary
        self._state_at = C.c_void_p(-(-C.addressof(self._state) // 64) * 64)
        self._error = _lib.Error()
        self._error_at = C.c_void_p(C.addressof(self._error))
        self._args_at = C.c_void_p(C.addressof(self._args))
        self._plan_at = plan._handle
        self._launch = lib.attnc_launch

    def __call__(self, q: int, k: int, v: int, o: int, lse: int = 0, stream: int = 0) -> None:
        """Enqueues on `stream` (0: the default one).  q … lse are device addresses, as
        `tensor.data_ptr()` returns; lse only if the spec returns it."""
        data = self._data
        data[0] = q
        data[QWORDS] = k
        data[2 * QWORDS] = v
        data[3 * QWORDS] = o
        data[4 * QWORDS] = lse
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

    def __reduce_ex__(self, protocol):
        raise TypeError("attnc.Launch cannot be copied or pickled: it belongs to one thread, and "
                        "its arguments are addresses; prepare another")

    def use_workspace(self, address: int, nbytes: int) -> None:
        """Device memory for the kernel's own use: at least `workspace_bytes`."""
        self._args.workspace, self._args.workspace_bytes = address, nbytes

    def _again(self, status, stream):
        """Where another device is current, or none: once more on the plan's own."""
        if status == CONTEXT:
            with self.plan.context.driver.current(self.plan.device):
                status = self._launch(self._plan_at, self._args_at, stream, self._state_at,
                                      self._error_at)
        if status:
            raise errors.make(status, _lib.decode(self._error.message),
                              self._error.driver_code)
