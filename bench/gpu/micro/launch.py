"""Runs a microbenchmark on a driver, a GPU's or the emulator's: the records of each launch."""
import ctypes as C
import struct
from typing import NamedTuple

from golden import ptx
from golden.device import Device

from . import copies
from .text import RECORD, records

MAX_DYNAMIC = 8   # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
STATIC = 48 << 10  # what a kernel may have without asking


class Geometry(NamedTuple):
    """Of a launch: CTAs, and the kernel's own number."""
    ctas: int
    pace: int = 0


class Wrong(Exception):
    """A kernel's sum is not what it must be, or the emulator found something."""


class Runner:
    """On one device; kernels are loaded once, and the region of the copies is filled once."""

    def __init__(self, path, settings=None):
        self.device = Device(path, settings)
        self.driver = self.device.driver
        self.loaded, self.region = {}, None

    def function(self, kernel):
        if kernel.name not in self.loaded:
            module, function = self.device.load(kernel.ptx), C.c_void_p()
            self.driver.call("cuModuleGetFunction", C.byref(function), module, b"micro")
            if kernel.shared > STATIC:
                self.driver.call("cuFuncSetAttribute", function, MAX_DYNAMIC, kernel.shared)
            self.loaded[kernel.name] = function
        return self.loaded[kernel.name]

    def map(self, kernel, tiles):
        """The kernel's tensor map over a region of so many tiles, in which each word of a row is
        copies.word(row)."""
        rows, width = tiles * copies.ROWS, copies.ROW_BYTES
        if self.region is None or self.region[0] < tiles:
            memory, keep = self.device.memory([], rows * width), self.region
            memory.write(b"".join(struct.pack("<I", copies.word(r)) * (width // 4)
                                  for r in range(rows)))
            self.region = tiles, memory
            if keep:
                keep[1].free()
        box = ptx.Map("in0", 0, "bf16", (width // 2, rows), (width,), (width // 2, kernel.box.rows),
                      (1, 1), 3, 0)
        return self.device.encode(box, self.region[1].address)

    def run(self, kernel, n, geometry, launches=1, first=None):
        """[the records of a launch, warp by warp] of launches one behind the other; Wrong where a
        sum is not right.  first: n of the first launch, if it is another."""
        trips = [first or n] + [n] * (launches - 1)
        function = self.function(kernel)
        maps = [self.map(kernel, geometry.pace)] if kernel.box else []
        size = geometry.ctas * kernel.threads // 32 * RECORD.size
        out = self.device.memory([], size * launches)
        try:
            for k, trip in enumerate(trips):
                self.device.enqueue(function, geometry.ctas, kernel.threads,
                                    [out.address + k * size, trip, geometry.pace, 0], maps,
                                    kernel.shared)
            self.device.finish()
            data = C.create_string_buffer(size * launches)
            out.read(data)
        finally:
            out.free()
        made = records(data.raw)
        per = len(made) // launches
        found = [made[k * per:(k + 1) * per] for k in range(launches)]
        for trip, launch in zip(trips, found):
            judge(kernel, trip, geometry, launch)
        findings = self.device.findings()
        if findings:
            raise Wrong(f"{kernel.name}: {'; '.join(findings[:3])}")
        return found


def judge(kernel, n, geometry, launch):
    """Wrong if a CTA's sum is not the expected one."""
    warps = kernel.threads // 32
    for cta in range(geometry.ctas):
        own = launch[cta * warps:(cta + 1) * warps]
        got, wanted = sum(r.sum for r in own) & 0xFFFFFFFF, kernel.expected(n, cta, geometry)
        if got != wanted:
            raise Wrong(f"{kernel.name}, n {n}, CTA {cta}: the sum is {got:#x}, not {wanted:#x}")
        if any(r.end < r.start for r in own):
            raise Wrong(f"{kernel.name}: a clock went back")
