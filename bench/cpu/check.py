"""Runs the PTX of flash_fwd.cu on the emulated device, and has attnc_verify judge it.

    python check.py FLASH_FWD.ptx           (with python/ on PYTHONPATH)

A peer that computes something else would be no peer.  Lengths are ragged, sq != sk, heads
grouped, strides padded.  Prints one line for each problem; exit 1 if one is wrong.
"""
import array
import ctypes as C
import random
import sys

import attnc
from attnc import _driver, _lib
from attnc.signature import FORWARD
from attnc.spec import sizes_struct

SPEC = {"attnc": 1, "name": "flash_fwd", "dtype": "bf16", "head_dim": 128, "causal": True}
PROBLEMS = ("b2 h4/2 s200", "b1 h2/1 sq100 sk333", "b1 h2 sq300 sk130", "b1 h1 sq1 sk64",
            "b1 h1 sq128 sk512")
D, BLOCK_M, THREADS, SHARED, OPT_IN = 128, 128, 256, 98304, 8

ENTRIES = {
    "cuModuleLoadDataEx": (C.c_int, C.POINTER(C.c_void_p), C.c_char_p, C.c_uint, C.c_void_p,
                           C.c_void_p),
    "cuModuleGetFunction": (C.c_int, C.POINTER(C.c_void_p), C.c_void_p, C.c_char_p),
    "cuFuncSetAttribute": (C.c_int, C.c_void_p, C.c_int, C.c_int),
    "cuLaunchKernel": (C.c_int, C.c_void_p, *[C.c_uint] * 7, C.c_void_p, C.c_void_p,
                       C.c_void_p),
}


class Tensor(C.Structure):
    """What the kernel takes: an address and three strides."""

    _fields_ = [("at", C.c_uint64), ("b", C.c_int64), ("h", C.c_int64), ("s", C.c_int64)]


def normal_bf16(rng, n):
    """bf16 bits, rounded towards zero."""
    floats = array.array("f", (rng.gauss(0, 1) for _ in range(n)))
    return array.array("H", (x >> 16 for x in array.array("I", floats.tobytes())))


class Buffer:
    """A [b, s, h, d] tensor on the host and on the device, with a gap behind each row of
    heads."""

    def __init__(self, driver, stack, rng, b, s, h):
        self.strides = (s * (h * D + 16), D, h * D + 16)
        self.host = normal_bf16(rng, b * s * (h * D + 16))
        self.memory = _driver.Memory(driver, 2 * len(self.host))
        stack.append(self.memory)
        self.address = self.host.buffer_info()[0]
        self.memory.write(self.address)

    def kernel(self):
        return Tensor(self.memory.address, *self.strides)

    def attnc(self):
        return _lib.Tensor(data=self.address, stride=(*self.strides, 1, 0))


def load(driver, ptx):
    _lib.declare(driver.lib, ENTRIES)
    module, function = C.c_void_p(), C.c_void_p()
    driver.call("cuModuleLoadDataEx", C.byref(module), ptx, 0, None, None)
    driver.call("cuModuleGetFunction", C.byref(function), module, b"flash_fwd")
    driver.call("cuFuncSetAttribute", function, OPT_IN, SHARED)
    return function


def launch(driver, function, buffers, n):
    scale = C.c_float(D ** -0.5)
    values = [b.kernel() for b in buffers] + [C.c_int(x) for x in (n.h, n.hk, n.sq, n.sk)]
    pointers = (C.c_void_p * 9)(*(C.addressof(x) for x in (*values, scale)))
    driver.call("cuLaunchKernel", function, -(-n.sq // BLOCK_M), n.h, n.b, THREADS, 1, 1,
                SHARED, None, pointers, None)
    driver.synchronize()
    buffers[3].memory.read(buffers[3].address)


def verdict(spec, buffers, n):
    args = _lib.call_args(sizes_struct(n), [b.attnc() for b in buffers])
    outputs = (_lib.OutputVerdict * spec.signature.slots)()
    found = _lib.Verdict(outputs=outputs, output_size=C.sizeof(_lib.OutputVerdict),
                         n_outputs=len(outputs))
    _lib.library().attnc_verify(spec._handle, FORWARD, args, found, _lib.Error())
    return found, outputs[spec.signature.tensors["o"]["slot"]]


def run(driver, function, text):
    n, rng, held = attnc.sizes.sizes(text), random.Random(text), []
    shapes = ((n.sq, n.h), (n.sk, n.hk), (n.sk, n.hk), (n.sq, n.h))
    buffers = [Buffer(driver, held, rng, n.b, s, h) for s, h in shapes]
    launch(driver, function, buffers, n)
    (found, o), findings = verdict(attnc.load_spec(SPEC), buffers, n), driver.findings()
    for memory in held:
        memory.free()
    print(f"{text}: largest error {o.max_error:.3g}, {found.rows} rows, "
          f"{len(findings)} findings: {'PASS' if found.pass_ and not findings else 'FAIL'}")
    for line in findings:
        print("  " + line)
    return found.pass_ and not findings


def main(path):
    with open(path, "rb") as f:
        ptx = f.read()
    driver = attnc.Context("emu", cache="off").driver
    with driver.current():
        function = load(driver, ptx)
        return 0 if all([run(driver, function, text) for text in PROBLEMS]) else 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
