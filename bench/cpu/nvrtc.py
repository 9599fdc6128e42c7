"""NVRTC compiling flash_fwd.cu to PTX in this process.

    python nvrtc.py LIBNVRTC.so ARCH [FILE]

Compiles once for every line of its input, so that the caller says when, and answers each with
a line of JSON: ms.  The first line is its own: version, load_ms (of the library).  At the end the PTX is left in FILE.
"""
import ctypes as C
import json
import os
import sys
import time

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "flash_fwd.cu")


class Nvrtc:
    def __init__(self, path):
        self.lib = C.CDLL(path)

    def call(self, name, *arguments):
        code = getattr(self.lib, "nvrtc" + name)(*arguments)
        if code:
            raise RuntimeError(f"nvrtc{name}: error {code}")

    def version(self):
        major, minor = C.c_int(), C.c_int()
        self.call("Version", C.byref(major), C.byref(minor))
        return f"{major.value}.{minor.value}"

    def compile(self, text, arch):
        program, n = C.c_void_p(), C.c_size_t()
        options = (C.c_char_p * 1)(f"--gpu-architecture=compute_{arch}".encode())
        self.call("CreateProgram", C.byref(program), text, b"flash_fwd.cu", 0, None, None)
        try:
            self.call("CompileProgram", program, 1, options)
            self.call("GetPTXSize", program, C.byref(n))
            ptx = C.create_string_buffer(n.value)
            self.call("GetPTX", program, ptx)
            return ptx.value
        finally:
            self.call("DestroyProgram", C.byref(program))


def say(**values):
    print(json.dumps(values), flush=True)


def main(path, arch, ptx=None):
    start = time.perf_counter()
    nvrtc = Nvrtc(path)
    say(version=nvrtc.version(), load_ms=1e3 * (time.perf_counter() - start))
    with open(SOURCE, "rb") as f:
        text = f.read()
    for _ in sys.stdin:
        start = time.perf_counter()
        made = nvrtc.compile(text, arch)
        say(ms=1e3 * (time.perf_counter() - start))
    if ptx:
        with open(ptx, "wb") as f:
            f.write(made)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
