"""Running a microkernel on whatever driver library is given: a GPU's, or the emulator's.

One Device a process (the emulator takes its architecture once).  A kernel that the driver does
not take is a Refused with the driver's log; an error that spoils the context is Broken.
"""
import ctypes as C

from attnc import _driver, errors

from . import ptx

ENTRIES = {
    "cuDriverGetVersion": (C.c_int, C.POINTER(C.c_int)),
    "cuDeviceGetName": (C.c_int, C.c_char_p, C.c_int, C.c_int),
    "cuDeviceGetAttribute": (C.c_int, C.POINTER(C.c_int), C.c_int, C.c_int),
    "cuModuleLoadDataEx": (C.c_int, C.POINTER(C.c_void_p), C.c_char_p, C.c_uint, C.c_void_p,
                           C.c_void_p),
    "cuModuleUnload": (C.c_int, C.c_void_p),
    "cuModuleGetFunction": (C.c_int, C.POINTER(C.c_void_p), C.c_void_p, C.c_char_p),
    "cuFuncSetAttribute": (C.c_int, C.c_void_p, C.c_int, C.c_int),
    "cuMemsetD8_v2": (C.c_int, C.c_uint64, C.c_ubyte, C.c_size_t),
    "cuLaunchKernel": (C.c_int, C.c_void_p, *[C.c_uint] * 7, C.c_void_p, C.c_void_p,
                       C.c_void_p),
}
# Later than the others: a driver without them runs what needs none.
ENCODE = (C.c_int, C.c_void_p, C.c_int, C.c_uint32, C.c_uint64, C.c_void_p, C.c_void_p,
          C.c_void_p, C.c_void_p, C.c_int, C.c_int, C.c_int, C.c_int)
MAP_TYPES = {t: k for k, t in enumerate("u8 u16 u32 s32 u64 s64 f16 f32 f64 bf16".split())}
MAP_BYTES = 128
LOG, LOG_SIZE, ERROR_LOG, ERROR_LOG_SIZE = 3, 4, 5, 6  # CU_JIT_…
MAJOR, MINOR = 75, 76                                  # compute capability


class Refused(Exception):
    """The driver does not load the kernel."""


class Broken(Exception):
    """The launch failed: nothing can be asked of this context any more."""


class Device:
    """path: of a driver library; settings: of the emulator."""

    def __init__(self, path, settings=None):
        self.driver = _driver.open_driver(path, settings)
        _driver._lib.declare(self.driver.lib, ENTRIES)
        self.driver.call("cuCtxPushCurrent_v2", self.driver.context(0))

    def attribute(self, number):
        value = C.c_int()
        self.driver.call("cuDeviceGetAttribute", C.byref(value), number, 0)
        return value.value

    def about(self):
        """Name, compute capability ("90") and the driver's CUDA version of device 0."""
        name, version = C.create_string_buffer(256), C.c_int()
        self.driver.call("cuDeviceGetName", name, 256, 0)
        self.driver.call("cuDriverGetVersion", C.byref(version))
        return {"name": name.value.decode(), "emulated": self.driver.emulated,
                "sm": 10 * self.attribute(MAJOR) + self.attribute(MINOR),
                "cuda": f"{version.value // 1000}.{version.value % 1000 // 10}"}

    def run(self, text, grid, block, inputs, out_bytes, maps=()):
        """The bytes that the entry `golden` of the PTX text writes."""
        module = self.load(text)
        memory = []
        try:
            function = C.c_void_p()
            self.driver.call("cuModuleGetFunction", C.byref(function), module, b"golden")
            out = self.memory(memory, out_bytes)
            self.driver.call("cuMemsetD8_v2", out.address, ptx.FILL, max(out_bytes, 16))
            arguments = [out.address]
            for data in inputs:
                arguments.append(self.memory(memory, len(data)).address)
                memory[-1].write(data)
            names = ["out"] + [f"in{k}" for k in range(len(inputs))]
            at = dict(zip(names, arguments))
            encoded = [self.encode(m, at[m.on] + m.at) for m in maps]
            self.launch(function, grid, block, arguments, encoded)
            result = C.create_string_buffer(out_bytes)
            out.read(result)
            return result.raw
        finally:
            for m in memory:
                m.free()
            self.driver.call("cuModuleUnload", module)

    def memory(self, kept, size):
        kept.append(_driver.Memory(self.driver, size))
        return kept[-1]

    def load(self, text):
        module, log = C.c_void_p(), C.create_string_buffer(8192)
        options = (C.c_int * 2)(ERROR_LOG, ERROR_LOG_SIZE)
        values = (C.c_void_p * 2)(C.addressof(log), C.c_void_p(len(log)))
        code = self.driver.lib.cuModuleLoadDataEx(C.byref(module), text.encode(), 2, options,
                                                  values)
        if code:
            why = str(self.driver.failure("cuModuleLoadDataEx", code))
            raise Refused(f"{why}: {log.value.decode(errors='replace').strip()}")
        return module

    def encode(self, m, address):
        """The bytes of a tensor map, in memory aligned as they must be."""
        _driver._lib.declare(self.driver.lib, {"cuTensorMapEncodeTiled": ENCODE})
        kept = (C.c_ubyte * (2 * MAP_BYTES))()
        space = (C.c_ubyte * MAP_BYTES).from_buffer(kept, -C.addressof(kept) % MAP_BYTES)
        self.driver.call("cuTensorMapEncodeTiled", C.addressof(space), MAP_TYPES[m.type],
                         len(m.dims), address, (C.c_uint64 * 5)(*m.dims),
                         (C.c_uint64 * 5)(*m.strides), (C.c_uint32 * 5)(*m.box),
                         (C.c_uint32 * 5)(*m.steps), 0, m.swizzle, 0, m.fill)
        return space

    def launch(self, function, grid, block, arguments, maps=()):
        self.enqueue(function, grid, block, arguments, maps)
        self.finish()

    def enqueue(self, function, grid, block, arguments, maps=(), shared=0):
        """arguments: of 8 bytes each; shared: bytes of dynamic shared memory."""
        values = [C.c_uint64(a) for a in arguments] + list(maps)
        pointers = (C.c_void_p * len(values))(*[C.addressof(v) for v in values])
        self.unbroken("cuLaunchKernel", function, grid, 1, 1, block, 1, 1, shared, None, pointers,
                      None)

    def finish(self):
        """Waits for all that was enqueued."""
        self.unbroken("cuCtxSynchronize")

    def unbroken(self, name, *arguments):
        try:
            self.driver.call(name, *arguments)
        except errors.AttncError as e:
            raise Broken("; ".join([str(e), *self.findings()])) from None

    def findings(self):
        """What the emulator found wrong; notes are left out."""
        return [f for f in self.driver.findings() if "note[" not in f]
