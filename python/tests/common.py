"""What the tests of the Python binding share: a world of their own, tensors, an oracle.

Each test file is a program: `NAME.py [unittest arguments]`.  $ATTNC_LIBRARY is the library
under test, $ATTNC_STUB a driver that records (tests/stub), where there is one.  A program
that needs a package which is not installed runs again in the environment that `scripts/deps
--torch` made; where there is none it says so and exits with 77, or, where $ATTNC_NEED_TORCH is
set as .ci/run does, fails.
"""
import ctypes as C
import hashlib
import json
import os
import struct
import sys
import tempfile
import unittest

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(SOURCE, "python"))

# Before HOME and the like are the test's own.  The same folder as scripts/torch-environment has.
TORCH = os.environ.get("ATTNC_TORCH") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "attnc-torch")
KEPT = ("ATTNC_LIBRARY", "ATTNC_STUB", "ATTNC_TORCH", "ATTNC_NEED_TORCH")
for name in [n for n in os.environ if n.startswith(("ATTNC_", "XDG_")) and n not in KEPT]:
    del os.environ[name]
_home = tempfile.TemporaryDirectory(prefix="attnc-python-")
os.environ["HOME"] = _home.name

CAUSAL = {"attnc": 1, "name": "causal", "dtype": "fp16", "head_dim": 32, "causal": True}
STUB = os.environ.get("ATTNC_STUB")


class StubMap(C.Structure):
    """tests/stub/stub.h: a tensor map."""

    _fields_ = [("address", C.c_uint64), ("dims", C.c_uint64 * 5), ("strides", C.c_uint64 * 4),
                *((name, C.c_uint8) for name in ("rank", "type", "interleave", "swizzle", "l2",
                                                 "fill")),
                ("box", C.c_uint16 * 5), ("element_strides", C.c_uint16 * 5)]


class StubLaunch(C.Structure):
    """tests/stub/stub.h."""

    _fields_ = [("entry", C.c_char * 64), ("grid", C.c_uint * 3), ("block", C.c_uint * 3),
                ("shared", C.c_uint), ("stream", C.c_void_p), ("n_params", C.c_int),
                ("sizes", C.c_int * 64), ("values", C.c_uint64 * 64), ("maps", StubMap * 4),
                ("misaligned", C.c_int), ("extended", C.c_bool), ("serialized", C.c_bool),
                ("cluster", C.c_uint * 3)]


def write_entry(folder, key, recipe, ptx):
    """A kernel by hand in a cache, as runtime/entry.h lays it out; `key` in hex."""
    texts = [t.encode() for t in ("", json.dumps(recipe), ptx)]
    head = (b"attncE1\n" + struct.pack("<Q", 1) + bytes.fromhex(key)
            + struct.pack("<3Q", *map(len, texts)))
    body = b"".join(t + b"\0" for t in texts)
    path = os.path.join(folder, "entries", key[:2], key[2:])
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with open(path, "wb") as f:
        f.write(head + hashlib.sha256(head + body).digest() + body)


def stub():
    """The recording driver, with nothing recorded yet."""
    os.environ["ATTNC_ASSEMBLER"] = "none"  # it reads parameters in PTX, which a cubin has none of
    lib = C.CDLL(STUB)
    lib.stub_launch_at.restype = StubLaunch
    lib.stub_fail.argtypes = [C.c_char_p, C.c_int, C.c_int]
    lib.stub_calls.argtypes = [C.c_char_p]
    lib.stub_reset()
    return lib


def need(package):
    """The package; where this Python has it not, the program starts again in torch's environment;
    else exit 77, which CTest shows as skipped, with this line in the log."""
    try:
        found = __import__(package)
        if package == "torch" and not found.cuda.is_available():
            # It asks the CUDA runtime for a device, which scripts/torch-stubs has none of.
            found.cuda.is_current_stream_capturing = lambda: False
        return found
    except ImportError as e:
        python = os.path.join(TORCH, "bin", "python")
        if os.path.exists(python) and os.path.realpath(sys.prefix) != os.path.realpath(TORCH):
            _home.cleanup()
            environment = {**os.environ, "ATTNC_TORCH": TORCH, "LD_LIBRARY_PATH": os.path.join(TORCH, "cuda-stubs"),
                           "PYTHONPYCACHEPREFIX": os.path.join(TORCH, "pycache")}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            os.execve(python, [python, *sys.argv], environment)
        if os.environ.get("ATTNC_NEED_TORCH"):
            sys.exit(f"{package} is not there ({e}), and ATTNC_NEED_TORCH is set: scripts/deps --torch")
        print(f"SKIPPED: {package} is not installed: scripts/deps --torch")
        sys.exit(77)


def main():
    import attnc
    attnc.library_version()  # not to be found: an error, never a skipped test
    unittest.main()


class Case(unittest.TestCase):
    def raises(self, kind, pattern, function, *args, **kw):
        with self.assertRaisesRegex(kind, pattern) as caught:
            function(*args, **kw)
        return caught.exception
