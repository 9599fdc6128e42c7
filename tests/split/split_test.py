"""A kernel of two launches, a memset and a workspace of run-time size (split_fwd.c) through
every door: the command line, Python, a bundle, C that was written from its recipe; and what
each of them says where workspace or an entry is missing."""
import contextlib
import ctypes as C
import json
import os
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(SOURCE, "python"))
try:
    import numpy as np
except ImportError:
    print("SKIPPED: numpy is not installed")
    sys.exit(77)

import attnc  # noqa: E402
from attnc import _driver, _lib  # noqa: E402

ATTNC = os.environ["ATTNC"]
SPEC = {"attnc": 1, "name": "two", "dtype": "fp16", "head_dim": 32, "causal": True,
        "return_lse": True}
TEXT = "attnc: 1\nname: two\ndtype: fp16\nhead_dim: 32\ncausal: true\nreturn_lse: true\n"
B, H, HK, SQ, SK, D = 2, 4, 2, 37, 50, 32
SIZES = f"b{B} h{H}/{HK} sq{SQ} sk{SK}"
ENTRIES = ["attnc_split_fwd_partial_sm_80", "attnc_split_fwd_combine_sm_80"]
CUDA_H = """#include "abi/cuda.h"
#define X(need, name, args) CUresult name args;
CUDA_ENTRY_TABLE(X)
#undef X
"""


def after(end, nbytes):
    """Where a region of so many bytes ends behind another: docs/recipe.md, "Workspace"."""
    return (end + 255) // 256 * 256 + nbytes


def workspace(b, h, sq):
    return after(after(after(0, 2 * b * h * sq * D * 4), 2 * b * h * sq * 4), b * h * sq * 4)


NEEDED = workspace(B, H, SQ)


def tensors():
    rng = np.random.default_rng(7)
    return [rng.standard_normal(shape).astype(np.float16)
            for shape in ((B, SQ, H, D), (B, SK, HK, D), (B, SK, HK, D))]


def expected(q, k, v):
    """In fp64: O [b, sq, h, d] and the logarithms [b, h, sq]."""
    k, v = (np.repeat(x.astype(np.float64), H // HK, axis=2) for x in (k, v))
    x = np.einsum("bqhd,bkhd->bhqk", q.astype(np.float64), k) / np.sqrt(D)
    x = np.where(np.arange(SQ)[:, None] + SK - SQ >= np.arange(SK), x, -np.inf)
    most = x.max(axis=-1, keepdims=True)
    p = np.exp(x - most)
    total = p.sum(axis=-1, keepdims=True)
    return np.einsum("bhqk,bkhd->bqhd", p / total, v), (most + np.log(total))[..., 0]


def attnc_run(*arguments, **environment):
    return subprocess.run([ATTNC, *arguments], capture_output=True, text=True,
                          env={**os.environ, "ATTNC_CACHE": "off", **environment})


class Doors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with contextlib.ExitStack() as stack:
            cls.dir = stack.enter_context(tempfile.TemporaryDirectory(prefix="attnc-split-"))
            cls.addClassCleanup(stack.pop_all().close)
        cls.spec = os.path.join(cls.dir, "two.attn.yaml")
        with open(cls.spec, "w", encoding="utf-8") as f:
            f.write(TEXT)
        cls.out = os.path.join(cls.dir, "out")
        done = attnc_run("compile", cls.spec, "--schedule", "template=split_fwd", "--arch",
                         "sm_80,sm_90", "-o", cls.out, "--emit", "ptx,json,c")
        assert done.returncode == 0, done.stderr
        cls.context = attnc.Context("emu", emulator="arch=sm_80", cache="off")
        cls.driver = cls.context.driver
        cls.q, cls.k, cls.v = tensors()
        cls.o, cls.lse = expected(cls.q, cls.k, cls.v)

    def read(self, name):
        with open(os.path.join(self.out, name), encoding="utf-8") as f:
            return f.read()

    def right(self, o, lse):
        np.testing.assert_allclose(o.astype(np.float64), self.o, rtol=0, atol=2e-3)
        np.testing.assert_allclose(lse, self.lse, rtol=0, atol=1e-3)

    # ---- the recipe ----

    def test_recipe(self):
        recipe = json.loads(self.read("two.sm_80.json"))
        self.assertEqual([r["name"] for r in recipe["workspace"]],
                         ["o_parts", "lse_parts", "zeros"])
        first, one, two = recipe["steps"]
        self.assertEqual(first["memset"]["workspace"], 2)
        self.assertEqual(first["memset"]["bytes"], recipe["workspace"][2]["bytes"])
        self.assertEqual([s["launch"]["entry"] for s in (one, two)], ENTRIES)
        self.assertEqual(one["launch"]["grid"][0], {"mul": [2, {"ceil_div": ["sq", 4]}]})
        self.assertNotIn("serialization", two["launch"])
        tensors = [{p["tensor"] for p in s["launch"]["params"] if "tensor" in p}
                   for s in (one, two)]
        self.assertEqual(tensors, [{0, 1, 2}, {3, 4}])  # each entry has what it reads
        self.assertFalse({"sk", "hk"} & {p.get("size") for p in two["launch"]["params"]})
        recipe = json.loads(self.read("two.sm_90.json"))
        self.assertTrue(recipe["steps"][2]["launch"]["serialization"])
        self.assertNotIn("serialization", recipe["steps"][1]["launch"])
        ptx = self.read("two.sm_90.ptx")
        self.assertEqual(ptx.count(".visible .entry"), 2)
        self.assertEqual(ptx.count("griddepcontrol.launch_dependents"), 1)
        self.assertEqual(ptx.count("griddepcontrol.wait"), 1)
        self.assertEqual(ptx.count("attnc_shared[]"), 1)

    # ---- the command line ----

    def test_run(self):
        for arch in ("sm_75", "sm_80", "sm_90"):
            done = attnc_run("run", self.spec, "--shape", SIZES, "--schedule",
                             "template=split_fwd", "--arch", arch, "--device", "emu", "--verify")
            self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
            self.assertIn("PASS", done.stdout)

    def test_explain(self):
        done = attnc_run("explain", self.spec, "--schedule", "template=split_fwd", "--dump",
                         "tile,spans,ptx")
        self.assertEqual(done.returncode, 0, done.stderr)
        for entry in ENTRIES:
            self.assertIn(f"kernel {entry}  sm_80", done.stdout)
            self.assertIn(f".entry {entry}(", done.stdout)

    def test_explain_sass(self):
        done = attnc_run("explain", self.spec, "--schedule", "template=split_fwd",
                         "--sass-stats", "--json")
        if "ptxas" in done.stderr and done.returncode:
            self.skipTest("no ptxas")
        self.assertEqual(done.returncode, 0, done.stderr)
        for entry in ENTRIES:
            self.assertIn(entry, done.stdout)

    def test_an_entry_is_missing(self):
        """As a driver would be asked in vain, after half of the work."""
        at = os.path.join(self.dir, "half.ptx")
        text = self.read("two.sm_80.ptx")
        head, _, tail = text.partition(".visible .entry " + ENTRIES[1])
        with open(at, "w", encoding="utf-8") as f:
            f.write(head + tail.partition("\n}\n")[2])
        done = attnc_run("run", self.spec, "--shape", SIZES, "--schedule", "template=split_fwd",
                         "--arch", "sm_80", "--device", "emu", ATTNC_LOAD_PTX=at)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f"has no entry {ENTRIES[1]}", done.stderr + done.stdout)
        done = attnc_run("compile", self.spec, at, "--schedule", "template=split_fwd", "--arch",
                         "sm_80", "-o", os.path.join(self.dir, "half"), "--from=ptx")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(f"has no entry {ENTRIES[1]}", done.stderr)

    def test_the_second_launch_does_not_wait(self):
        """Where it may begin before the first has ended, the emulator says what it reads."""
        at = os.path.join(self.dir, "early.ptx")
        with open(at, "w", encoding="utf-8") as f:
            f.write(self.read("two.sm_90.ptx").replace("griddepcontrol.wait;", ""))
        done = attnc_run("run", self.spec, "--shape", SIZES, "--schedule", "template=split_fwd",
                         "--arch", "sm_90", "--device", "emu", ATTNC_LOAD_PTX=at)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("griddepcontrol.wait", done.stdout + done.stderr)

    # ---- Python, and the workspace ----

    def plan(self):
        return self.context.plan(SPEC, SIZES, schedule={"template": "split_fwd"})

    def test_python(self):
        plan = self.plan()
        self.assertEqual(plan.workspace(SIZES), NEEDED)
        self.assertEqual(plan.workspace(f"b1 h{H}/{HK} sq1 sk{SK}"), workspace(1, H, 1))
        self.right(*plan(self.q, self.k, self.v))

    def on_device(self, stack):
        """Addresses of q, k, v, o and lse, and what reads the last two back."""
        outputs = [np.empty((B, SQ, H, D), np.float16), np.empty((B, H, SQ), np.float32)]
        memory = []
        for x in (self.q, self.k, self.v, *outputs):
            memory.append(stack.enter_context(_driver.Memory(self.driver, x.nbytes)))
        for x, m in zip((self.q, self.k, self.v), memory):
            m.write(x.ctypes.data)

        def back():
            self.driver.synchronize()
            for x, m in zip(outputs, memory[3:]):
                m.read(x.ctypes.data)
            return outputs
        return [m.address for m in memory], back

    def test_workspace_is_missing_or_too_small(self):
        plan = self.plan()
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.driver.current(0))
            addresses, back = self.on_device(stack)
            own = stack.enter_context(_driver.Memory(self.driver, NEEDED))
            views = {n: view for n, view in zip("qkv", map(_view, (self.q, self.k, self.v)))}
            views.update(o=_view(np.empty((B, SQ, H, D), np.float16)),
                         lse=_view(np.empty((B, H, SQ), np.float32)))
            launch = plan._prepare(views)
            want = f"a workspace of {NEEDED} bytes is needed, "
            with self.assertRaisesRegex(attnc.UsageError, want + "0 are given"):
                launch(*addresses)
            launch.use_workspace(own.address, NEEDED - 1)
            with self.assertRaisesRegex(attnc.UsageError, want + f"{NEEDED - 1} are given"):
                launch(*addresses)
            launch.use_workspace(own.address + 8, NEEDED)
            with self.assertRaises(attnc.AlignError):
                launch(*addresses)
            launch.use_workspace(own.address, NEEDED)
            for _ in range(2):  # what a launch leaves there does not matter to the next
                launch(*addresses)
                self.right(*back())

    # ---- a bundle ----

    def test_bundle(self):
        lib = _lib.library()
        bundle, handle, error = C.c_void_p(), C.c_void_p(), _lib.Error()
        with mock.patch.dict(os.environ, ATTNC_LIBCUDA=self.driver.path):
            self.assertEqual(lib.attnc_bundle_open(self.out.encode(), C.byref(bundle),
                                                   C.byref(error)), 0, error.message)
        with self.driver.current(0):
            self.assertEqual(lib.attnc_bundle_plan(bundle, b"two", C.byref(handle),
                                                   C.byref(error)), 0, error.message)
        plan = attnc.Plan(self.context, attnc.load_spec(SPEC), handle, 0)
        self.assertEqual(plan.workspace(SIZES), NEEDED)
        self.right(*plan(self.q, self.k, self.v))
        lib.attnc_bundle_release(bundle)

    # ---- emitted C ----

    def emitted(self):
        with open(os.path.join(self.out, "cuda.h"), "w", encoding="utf-8") as f:
            f.write(CUDA_H)
        path = os.path.join(self.out, "two.so")
        subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-Wall", "-Wextra", "-Werror",
                        "-shared", "-fPIC", f"-I{self.out}", f"-I{SOURCE}",
                        os.path.join(self.out, "two.c"), "-o", path], check=True)
        C.CDLL(self.driver.path, mode=C.RTLD_GLOBAL)
        return C.CDLL(path)

    def test_emitted_c(self):
        lib = self.emitted()
        kernel, stride = Kernel(), (C.c_longlong * 5)
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.driver.current(0))
            (q, k, v, o, lse), back = self.on_device(stack)
            own = stack.enter_context(_driver.Memory(self.driver, NEEDED))
            query, key = stride(SQ * H * D, D, H * D, 1), stride(SK * HK * D, D, HK * D, 1)
            args = Args(B, H, HK, SQ, SK, q, query, k, key, v, key, o, query, lse,
                        float("nan"), 0, 0)
            need = C.c_size_t()
            self.assertEqual(lib.two_load(C.byref(kernel)), 0)
            self.assertEqual(lib.two_workspace(C.byref(kernel), C.byref(args), C.byref(need)), 0)
            self.assertEqual(need.value, NEEDED)
            refused = lib.two_launch(C.byref(kernel), C.byref(args), None)
            self.assertEqual(refused, 1)  # CUDA_ERROR_INVALID_VALUE
            args.workspace, args.workspace_bytes = own.address, NEEDED
            self.assertEqual(lib.two_launch(C.byref(kernel), C.byref(args), None), 0)
            self.right(*back())
            self.assertEqual(lib.two_unload(C.byref(kernel)), 0)


class Kernel(C.Structure):
    """As two.h has them."""

    _fields_ = [("module", C.c_void_p), ("functions", C.c_void_p * 2), ("target", C.c_int),
                ("sm_count", C.c_int)]


class Args(C.Structure):
    _fields_ = [*((n, C.c_longlong) for n in ("b", "h", "hk", "sq", "sk")),
                *(f for n in "qkvo"
                  for f in ((n, C.c_uint64), (n + "_stride", C.c_longlong * 5))),
                ("lse", C.c_uint64), ("softmax_scale", C.c_float), ("workspace", C.c_uint64),
                ("workspace_bytes", C.c_size_t), ("num_splits", C.c_longlong),
                ("max_items", C.c_longlong)]


def _view(x):
    from attnc import arrays
    return arrays.view(x)


if __name__ == "__main__":
    unittest.main()
