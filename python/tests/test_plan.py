"""Plans and launches on the emulated device: numpy arrays, DLPack objects in device memory,
two devices, threads; and against a driver that records what it is asked."""
import copy
import ctypes as C
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import unittest

import common
from common import CAUSAL

np = common.need("numpy")
import attnc
import oracle
from attnc import _dlpack, _driver

SIZES = attnc.sizes.sizes("b2 h4/2 sq40 sk72")


def tensors(sizes=SIZES, d=32, dtype="fp16", seed=0):
    rng = np.random.default_rng(seed)
    return [oracle.normal(rng, dtype, sizes.b, s, h, d)
            for s, h in ((sizes.sq, sizes.h), (sizes.sk, sizes.hk), (sizes.sk, sizes.hk))]


class DeviceTensor:
    """An array of numpy's in device memory, for others to read through DLPack."""

    def __init__(self, driver, array, versioned=False, flags=0):
        self.array, self.streams = array, []
        self.memory = _driver.Memory(driver, array.nbytes)
        self.memory.write(array.ctypes.data)
        shape = (C.c_int64 * array.ndim)(*array.shape)
        strides = (C.c_int64 * array.ndim)(*(s // array.itemsize for s in array.strides))
        self.kept = (shape, strides)
        code = {"float16": 2, "uint16": 4, "float32": 2}[array.dtype.name]
        # The address is that of the memory less what byte_offset adds.
        tensor = _dlpack.Tensor(self.memory.address - 64, 2, 0, array.ndim, code,
                                array.itemsize * 8, 1, shape, strides, 64)
        self.made = _dlpack.Versioned(1, 1, flags=flags, tensor=tensor) if versioned else tensor
        self.name = b"dltensor_versioned" if versioned else b"dltensor"

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, stream=None):
        self.streams.append(stream)
        new = C.pythonapi.PyCapsule_New
        new.restype, new.argtypes = C.py_object, [C.c_void_p, C.c_char_p, C.c_void_p]
        return new(C.addressof(self.made), self.name, None)

    def back(self):
        out = np.empty_like(self.array)
        self.memory.read(out.ctypes.data)
        return out


class Host(common.Case):
    """numpy arrays: copied to the emulated device and back."""

    @classmethod
    def setUpClass(cls):
        cls.context = attnc.Context("emu")

    def test_call(self):
        plan = self.context.plan({**CAUSAL, "return_lse": True}, SIZES)
        q, k, v = tensors()
        o, lse = plan(q, k, v)
        oracle.check(self, o, q, k, v, 32 ** -0.5, True, (-1, -1))
        self.assertEqual(lse.shape, (2, 4, 40))
        verdict = attnc.verify(plan.spec, q, k, v, o, lse)
        self.assertTrue(verdict.passed)
        self.assertEqual(verdict.rows, 2 * 4 * 40)
        o[0, 3, 1, 2] += 1
        verdict = attnc.verify(plan.spec, q, k, v, o, lse)
        self.assertFalse(verdict.passed)
        self.assertEqual((verdict.bad_rows, verdict.worst), (1, (0, 1, 3)))

    def test_given_outputs_and_scale(self):
        plan = self.context.plan(CAUSAL, SIZES)
        q, k, v = tensors()
        wide = np.zeros((2, 40, 4, 64), np.float16)
        o = wide[..., ::2]  # not contiguous
        self.assertIs(plan(q, k, v, o, softmax_scale=0.5), o)
        oracle.check(self, o, q, k, v, 0.5, True, (-1, -1))
        self.assertTrue((wide[..., 1::2] == 0).all())

    def test_what_a_spec_declares(self):
        spec = {**CAUSAL, "tensors": {"doc": {"dtype": "i32", "axes": ["b", "kv"]},
                                      "pair": {"dtype": "fp32", "axes": ["h", 3, 3]}},
                "scalars": {"gain": 0.5, "cap": "run_time"}}
        plan = self.context.plan(spec, SIZES)
        q, k, v = tensors()
        doc, pair = np.zeros((2, 72), np.int32), np.zeros((4, 3, 3), np.float32)
        longer = np.zeros((3, 100), np.int32)
        plan(q, k, v, doc=np.zeros((72, 2), np.int32).T, pair=pair, cap=2)
        for x in (doc, longer, longer[:, :72]):
            o = plan(q, k, v, doc=x, pair=pair, cap=2)
            verdict = attnc.verify(plan.spec, q, k, v, o, doc=x, pair=pair, cap=2)
            self.assertTrue(verdict.passed)
        good = dict(doc=doc, pair=pair, cap=1)
        usage, shape = attnc.UsageError, attnc.ShapeError
        for kind, why, more in (
                (usage, "doc is missing", dict(doc=None)),
                (usage, "cap is missing: the spec has no value", dict(cap=None)),
                (usage, "docs: the call has nothing of that name; it has q, k, v, o, doc, pair, "
                        "softmax_scale, gain, cap", dict(docs=doc)),
                (usage, "doc is fp32, not i32", dict(doc=doc.astype(np.float32))),
                (shape, r"doc has 1 axes; \[b, sk\] are needed", dict(doc=doc[0])),
                (shape, r"doc has shape \[2, 71\]; \[2, 72\] is needed", dict(doc=doc[:, :71])),
                (shape, r"pair has shape \[4, 3, 4\]; \[4, 3, 3\] is needed",
                 dict(pair=np.zeros((4, 3, 4), np.float32)))):
            self.raises(kind, why, plan, q, k, v, **{**good, **more})

    def test_sizes_of_no_tensor(self):
        """What no tensor of the call has as an axis is 0, wherever sizes are given."""
        spec = attnc.Spec.from_dict(CAUSAL)
        packed = attnc.Spec.from_dict({**CAUSAL, "seqlens": ["cu_seqlens_q", "cu_seqlens_k"]})
        plan = self.context.plan(spec, SIZES)
        for word, whose in (("total_q80", spec), ("total_k9", spec), ("bc2", spec), ("bc2", packed)):
            said = f"b2 h4/2 sq40 sk72 {word}"
            why = r"(total_q|total_k|bc) is \d+; it must be 0: no tensor of the call has such an axis"
            self.raises(attnc.ShapeError, why, self.context.plan, whose, said)
            self.raises(attnc.ShapeError, why, attnc.compile, whose, "sm_80", sizes=said)
            self.raises(attnc.ShapeError, why, attnc.tiles, whose, said)
            if whose is spec:
                self.raises(attnc.ShapeError, "no workspace for", plan.workspace, said)
        self.context.plan(packed, "b2 h4/2 sq40 sk72 total_q80 total_k9")

    def test_packed_masks(self):
        """Bits of all keys, and of the last ones, from a mask of booleans."""
        rng = np.random.default_rng(2)
        for said, keys in (("true", 72), ("new", 40)):
            plan = self.context.plan({**CAUSAL, "mask_bits": True if said == "true" else said},
                                     SIZES)
            q, k, v = tensors()
            seen = rng.random((2, 40, keys)) < .5
            wide = np.zeros((2, 40, -(-keys // 32) * 32), bool)
            wide[..., :keys] = seen
            bits = np.packbits(wide, axis=-1, bitorder="little").view(np.uint32)
            o = plan(q, k, v, mask_bits=bits)
            self.assertTrue(attnc.verify(plan.spec, q, k, v, o, mask_bits=bits).passed)
            self.assertFalse(attnc.verify(plan.spec, q, k, v, o, mask_bits=~bits).passed)
            whole = np.ones((2, 40, 72), np.int32)
            whole[..., 72 - keys:] = seen
            text = {**CAUSAL, "tensors": {"seen": {"dtype": "i32", "axes": ["b", "q", "kv"]}},
                    "mask_mod": "seen[b, q_idx, kv_idx] != 0"}
            self.assertTrue(attnc.verify(text, q, k, v, o, seen=whole).passed)
            words = -(-keys // 32)
            self.raises(attnc.ShapeError, rf"mask_bits has shape \[2, 40, {words - 1}\]; "
                        rf"\[2, 40, {words}\] is needed", plan, q, k, v, mask_bits=bits[..., :-1])
            self.raises(attnc.UsageError, "mask_bits is i32, not u32", plan, q, k, v,
                        mask_bits=bits.view(np.int32))

    def test_fields_with_tensors(self):
        """Rows of a bias are copied to where they are aligned."""
        fields = dict(softcap=4.0, alibi_slopes="bh", prefix_len=True,
                      bias=dict(axes=["h", "q", "kv"], dtype="fp16"))
        sizes = attnc.sizes.sizes("b2 h4/2 sq40 sk75")
        plan = self.context.plan({**CAUSAL, **fields}, sizes)
        q, k, v = tensors(sizes)
        rng = np.random.default_rng(1)
        more = dict(alibi_slopes=rng.random((2, 4), np.float32) / 8, softcap=3.0,
                    prefix_len=np.array([0, 70], np.int32))
        wide = rng.standard_normal((4, 50, 80)).astype(np.float16)
        for bias in (np.ascontiguousarray(wide[:, :40, :75]), wide):
            o = plan(q, k, v, bias=bias, **more)
            self.assertTrue(attnc.verify(plan.spec, q, k, v, o, bias=bias, **more).passed)
            worse = dict(more, prefix_len=np.array([0, 0], np.int32))
            self.assertFalse(attnc.verify(plan.spec, q, k, v, o, bias=bias, **worse).passed)

    def test_outputs_that_cannot_be_written(self):
        """Refused by name, nothing written: an immutable object's bytes, a file's pages."""
        plan = self.context.plan({**CAUSAL, "return_lse": True}, SIZES)
        q, k, v = tensors()
        o, lse = np.empty_like(q), np.empty((2, 4, 40), np.float32)
        bytes_o, bytes_lse = bytes(o.nbytes), bytes(lse.nbytes)
        frozen_o = np.frombuffer(bytes_o, o.dtype).reshape(o.shape)
        frozen_lse = np.frombuffer(bytes_lse, lse.dtype).reshape(lse.shape)
        one_head = np.lib.stride_tricks.as_strided(np.zeros_like(o), o.shape,
                                                   (*o.strides[:2], 0, 2), writeable=True)
        packed = np.zeros(o.shape, [("o", o.dtype), ("other", "u1")])["o"]
        for kind, why, args in (
                (attnc.UsageError, "o is written, but its flags.writeable", (frozen_o, lse)),
                (attnc.UsageError, "lse is written, but its flags.writeable", (o, frozen_lse)),
                (attnc.UsageError, "lse is written, but its flags.writeable", (None, frozen_lse)),
                (attnc.UsageError, "o .* whole numbers of elements", (packed, lse)),
                (attnc.ShapeError, "o .* axis 2, of length 4, has stride 0", (one_head, lse))):
            self.raises(kind, why, plan, q, k, v, *args)
        self.assertEqual((set(bytes_o), set(bytes_lse)), ({0}, {0}))
        with tempfile.TemporaryFile() as f:
            f.write(bytes_o)
            self.raises(attnc.UsageError, "o is written", plan, q, k, v,
                        np.memmap(f, o.dtype, "r", shape=o.shape), lse)
        for x in (q, k, v):
            x.setflags(write=False)
        plan(q, k, v, o, lse)
        self.assertTrue(attnc.verify(plan.spec, q, k, v, o, lse).passed)

    def test_outputs_left_out(self):
        """Made of the type, the shape and the layout that the spec says."""
        q, k, v = tensors(SIZES, 64)
        v = np.ascontiguousarray(v[..., :48])
        fields = {**CAUSAL, "head_dim": 64, "head_dim_v": 48, "return_lse": True}
        for dtype, made in (("fp16", np.float16), ("fp32", np.float32), ("bf16", np.uint16)):
            spec = {**fields, "dtype": {"q": "fp16", "k": "fp16", "v": "fp16", "o": dtype},
                    "layout": {"q": "bshd", "k": "bshd", "v": "bshd", "o": "bhsd"}}
            o, lse = self.context.plan(spec, SIZES)(q, k, v)
            self.assertEqual((o.dtype, o.shape), (made, (2, 4, 40, 48)))
            self.assertEqual((lse.dtype, lse.shape), (np.float32, (2, 4, 40)))
            self.assertTrue(attnc.verify(spec, q, k, v, o, lse).passed)

    def test_fields_of_packed_structures(self):
        """A stride of 6 bytes is one and a half fp32s."""
        spec = {**CAUSAL, "dtype": "fp32"}
        plan = self.context.plan(spec, SIZES)
        q, k, v = (x.astype(np.float32) for x in tensors())
        packed = np.zeros(q.shape, [("q", np.float32), ("other", np.float16)])
        packed["q"] = q
        np.testing.assert_array_equal(plan(packed["q"], k, v), plan(q, k, v))

    def test_layouts(self):
        """bhsd, and one layout for each tensor."""
        q, k, v = tensors(dtype="bf16")
        flip = lambda x: np.ascontiguousarray(x.swapaxes(1, 2))
        spec = {**CAUSAL, "dtype": "bf16"}
        wanted = self.context.plan(spec, SIZES)(q, k, v)
        got = self.context.plan({**spec, "layout": "bhsd"}, SIZES)(*map(flip, (q, k, v)))
        np.testing.assert_array_equal(flip(got), wanted)
        mixed = {"q": "bshd", "k": "bhsd", "v": "bshd", "o": "bhsd"}
        got = self.context.plan({**spec, "layout": mixed}, SIZES)(q, flip(k), v)
        np.testing.assert_array_equal(flip(got), wanted)
        strided = flip(q).swapaxes(1, 2)  # bshd by its strides alone
        np.testing.assert_array_equal(self.context.plan(spec, SIZES)(strided, k, v), wanted)

    def test_one_plan_for_all_sizes(self):
        plan = self.context.plan(CAUSAL, SIZES)
        for text in ("b1 h1 s1", "b1 h2/1 sq9 sk130", "b3 h3 sq65 sk1", "b1 h2 sq5 sk0"):
            sizes = attnc.sizes.sizes(text)
            q, k, v = tensors(sizes)
            oracle.check(self, plan(q, k, v), q, k, v, 32 ** -0.5, True, (-1, -1), what=text)

    def test_broadcast(self):
        """Axes along which a tensor is the same have a stride of 0, which is in no key."""
        spec = {"attnc": 1, "name": "broadcast", "dtype": "fp16", "head_dim": 32,
                "bias": {"axes": ["b", "h", "q", "kv"], "dtype": "fp16"}}
        q = tensors()[0]
        k, v = (np.broadcast_to(x[:1, :, :1], (2, 72, 2, 32)) for x in tensors(seed=2)[1:])
        bias = np.linspace(-1, 1, 40 * 72).astype(np.float16).reshape(1, 1, 40, 72)
        wide = np.broadcast_to(bias, (2, 4, 40, 72))
        plan = self.context.plan(spec, SIZES)
        self.assertEqual(wide.strides[:2] + k.strides[:1], (0, 0, 0))
        want = plan(q, k.copy(), v.copy(), bias=wide.copy())
        np.testing.assert_array_equal(plan(q, k, v, bias=wide), want)
        self.assertTrue(attnc.verify(plan.spec, q, k, v, want, bias=wide).passed)

    def test_specialised(self):
        spec = {**CAUSAL, "specialize": ["h", "hk", "sk"]}
        plan = self.context.plan(spec, SIZES)
        q, k, v = tensors()
        oracle.check(self, plan(q, k, v), q, k, v, 32 ** -0.5, True, (-1, -1))
        e = self.raises(attnc.ShapeError, "sk is 71", plan, q, k[:, :71], v[:, :71])
        self.assertEqual(e.status, "ATTNC_ERR_SHAPE")

    def test_stats(self):
        """Counters as a dict, by the names of the C table, and as Prometheus' text."""
        with tempfile.TemporaryDirectory() as folder:
            c = attnc.Context("emu", cache="rw", cache_dir=folder)
            for _ in range(3):
                c.plan(CAUSAL, "b1 h1 s16")
            s = c.stats()
            self.assertEqual((s["misses"], s["compiles"], s["loads"], s["stored"],
                              s["plan_hits"]), (1, 1, 1, 1, 2))
            self.assertGreater(s["compile_us"], 0)
            self.assertEqual(s, c.info["stats"])
            text = c.prometheus()
            self.assertIn("\nattnc_plan_hits_total 2\n", text)
            self.assertEqual(text.count("# TYPE "), len(s))
            self.assertTrue(text.endswith("\n"))

    def test_prepare(self):
        """What was prepared is there for the same request, and an option's fault is told."""
        c = attnc.Context("emu", cache="off")
        c.prepare(CAUSAL, "b1 h1 s16")
        before = c.stats()
        c.plan(CAUSAL, "b1 h1 s16", stream=0)
        self.assertEqual((before["loads"], c.stats()["loads"]), (1, 1))
        self.assertEqual(c.stats()["plan_hits"], before["plan_hits"] + 1)
        with self.assertRaises(attnc.UnsupportedError):
            c.prepare(CAUSAL, "b1 h1 s16", schedule={"template": "none"})

    def test_captured(self):
        """A plan for a stream under capture: the loaded one is given, another refused, and the
        capture goes on."""
        c = attnc.Context("emu", cache="off")
        driver = c.driver.lib
        stream, graph = C.c_void_p(), C.c_void_p()
        c.prepare(CAUSAL, "b1 h1 s16")
        with c.driver.current():
            self.assertEqual(driver.cuStreamCreate(C.byref(stream), 1), 0)
            self.assertEqual(driver.cuStreamBeginCapture_v2(stream, 0), 0)
            c.plan(CAUSAL, "b1 h1 s16", stream=stream.value)
            with self.assertRaisesRegex(attnc.NotPreparedError, "attnc_prepare"):
                c.plan(CAUSAL, "b1 h1 s16", schedule={"num_stages": 1}, stream=stream.value)
            self.assertEqual(driver.cuStreamEndCapture(stream, C.byref(graph)), 0)
            self.assertEqual(driver.cuGraphDestroy(graph), 0)
            self.assertEqual(driver.cuStreamDestroy_v2(stream), 0)
        self.assertEqual(c.stats()["not_prepared"], 1)

    def test_schedules_and_info(self):
        best = attnc.schedules(CAUSAL, "sm_80", SIZES)[-1]
        fields = {n: best[n] for n in ("template", "block_m", "block_n", "num_stages",
                                       "num_warps", "q_in_regs")}
        plan = self.context.plan(CAUSAL, SIZES, schedule=fields)
        recipe = plan.info.get("recipe", plan.info)
        self.assertEqual(recipe["schedule"]["block_m"], best["block_m"])
        q, k, v = tensors()
        oracle.check(self, plan(q, k, v), q, k, v, 32 ** -0.5, True, (-1, -1))
        self.assertEqual(plan.workspace(SIZES), 0)
        self.assertEqual(len(self.context.explain_key(CAUSAL, SIZES)["key"]), 64)
        self.assertTrue(self.context.info["driver"]["emulated"])

    def test_what_is_wrong(self):
        plan = self.context.plan(CAUSAL, SIZES)
        q, k, v = tensors()
        for kind, why, args in (
                (attnc.UsageError, "q is bf16, not fp16", (q.view(np.uint16), k, v)),
                (attnc.UsageError, "float64", (q.astype(np.float64), k, v)),
                (attnc.ShapeError, "q has 3 axes", (q[0], k, v)),
                (attnc.ShapeError, "k: a row has 16 elements, not 32", (q, k[..., :16], v)),
                (attnc.ShapeError, "sk: 72 and 71", (q, k, v[:, :71])),
                (attnc.ShapeError, "h is 4, not a multiple of hk, 0",
                 (q, k[:, :, :0], v[:, :, :0])),
                (attnc.ShapeError, r"o has shape \[2, 40, 4, 16\]", (q, k, v, q[..., :16])),
                (attnc.UsageError, "lse: the spec does not return it", (q, k, v, None, q)),
                (attnc.UsageError, "list is not a tensor", ([1], k, v)),
                (attnc.UsageError, "float16 is not a tensor", (np.float16(1), k, v)),
                (attnc.UsageError, "masked array", (np.ma.masked_less(q, 0), k, v))):
            self.raises(kind, why, plan, *args)
        self.raises(attnc.UsageError, "on the device", plan.prepare, q, k, v, q)
        for kind, why, given in ((attnc.UsageError, "no device -1", {"device": -1}),
                                 (attnc.UsageError, "no device 2147", {"device": 2 ** 31}),
                                 (attnc.UsageError, "device: 'cuda'", {"device": "cuda"}),
                                 (attnc.NoDeviceError, "", {"device": 63}),
                                 (attnc.UsageError, "strides of q",
                                  {"strides": {"q": (2 ** 63, 1, 1, 1)}})):
            self.raises(kind, why, self.context.plan, CAUSAL, SIZES, **given)

    def test_copies(self):
        """What belongs to a process is shared by copies and not pickled."""
        plan = self.context.plan(CAUSAL, SIZES)
        for x, why in ((plan, "Plan cannot be pickled: .* its spec"),
                       (self.context, "Context cannot be pickled: .* driver")):
            self.assertIs(copy.deepcopy([x])[0], x)
            self.assertIs(copy.copy(x), x)
            self.raises(TypeError, why, pickle.dumps, x)

    def test_threads(self):
        plan = self.context.plan(CAUSAL, SIZES)
        results = {}

        def run(seed):
            q, k, v = tensors(seed=seed)
            results[seed] = (q, k, v, plan(q, k, v))

        threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for q, k, v, o in results.values():
            oracle.check(self, o, q, k, v, 32 ** -0.5, True, (-1, -1))
        self.assertEqual(len(results), 4)


class Device(common.Case):
    """DLPack objects in the memory of the emulated device: nothing is copied."""

    def setUp(self):
        self.context = attnc.Context("emu")
        self.driver = self.context.driver
        self.driver.call("cuCtxPushCurrent_v2", self.driver.context(0))
        self.addCleanup(self.driver.call, "cuCtxPopCurrent_v2", C.byref(C.c_void_p()))

    def device(self, *arrays, versioned=False):
        made = [DeviceTensor(self.driver, x, versioned) for x in arrays]
        for x in made:
            self.addCleanup(x.memory.free)
        return made

    def test_call_and_prepare(self):
        plan = self.context.plan({**CAUSAL, "return_lse": True}, SIZES)
        q, k, v = tensors()
        zeros = np.zeros_like(q), np.zeros((2, 4, 40), np.float32)
        for versioned in (False, True):
            args = self.device(q, k, v, *zeros, versioned=versioned)
            plan(*args, stream=0)
            o, lse = args[3].back(), args[4].back()
            oracle.check(self, o, q, k, v, 32 ** -0.5, True, (-1, -1))
            self.assertTrue(attnc.verify(plan.spec, q, k, v, o, lse).passed)
            self.assertIn(1, args[0].streams)  # DLPack's name for the default stream
        launch = plan.prepare(*args)
        for take in (copy.copy, copy.deepcopy, pickle.dumps):
            self.raises(TypeError, "Launch cannot be copied or pickled", take, launch)
        other = tensors(seed=1)
        more = self.device(*other, *zeros)
        launch(*(x.memory.address for x in more))
        np.testing.assert_array_equal(
            more[3].back(), self.context.plan(plan.spec, SIZES)(*other)[0])
        launch(*(x.memory.address for x in args))
        np.testing.assert_array_equal(args[3].back(), o)
        launch.relaunch()
        self.assertEqual(self.driver.findings(), [])

    def test_read_only_outputs(self):
        """What a versioned capsule's flags say of an output."""
        plan = self.context.plan(CAUSAL, SIZES)
        host = tensors()
        q, k, v = self.device(*host)
        for flags, why in ((1, "o is written, but .* read-only"), (2, "o is written, but .* copy")):
            o = DeviceTensor(self.driver, np.zeros_like(host[0]), True, flags)
            self.addCleanup(o.memory.free)
            self.raises(attnc.UsageError, why, plan, q, k, v, o, stream=0)
            self.raises(attnc.UsageError, why, plan.prepare, q, k, v, o)
            self.assertFalse(o.back().any())
            plan(o, k, v, q, stream=0)  # as an input it is good

    def test_outputs_must_be_given(self):
        plan = self.context.plan(CAUSAL, SIZES)
        q, k, v = self.device(*tensors())
        self.raises(attnc.UsageError, "o must be given", plan, q, k, v)
        host = tensors()[0]
        self.raises(attnc.UsageError, "several devices", plan, q, k, v, host)

    def test_misaligned(self):
        plan = self.context.plan(CAUSAL, SIZES)
        q, k, v, o = self.device(*tensors(), tensors()[0])
        at = [x.memory.address for x in (q, k, v, o)]
        launch = plan.prepare(q, k, v, o)
        e = self.raises(attnc.AlignError, "q: the address", launch, at[0] + 2, *at[1:])
        self.assertEqual(e.status, "ATTNC_ERR_ALIGN")
        self.raises(attnc.UsageError, "tensor o .* is NULL", launch, *at[:3], 0)
        launch(*at)

    def test_findings_are_errors(self):
        """A launch outside its memory is a CheckError of the call that made it."""
        plan = self.context.plan(CAUSAL, SIZES)
        q, k, v, o = self.device(*tensors(), tensors()[0])
        launch = plan.prepare(q, k, v, o)
        try:
            launch(q.memory.address, k.memory.address, v.memory.address, 1 << 20)
        except attnc.DeviceError:
            pass  # the emulated driver may say so at once
        self.assertTrue(self.driver.findings())


class OtherDevices(common.Case):
    """What has to be told before the emulator starts, in processes of their own."""

    def run_python(self, code):
        r = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={
            **os.environ, "PYTHONPATH": os.pathsep.join(
                [os.path.join(common.SOURCE, "python"), os.path.dirname(__file__)])})
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        return r.stdout

    def test_two_devices_and_an_arch(self):
        self.run_python("""
import attnc, numpy as np
c = attnc.Context("emu", emulator="arch=sm_86,devices=2")
q = np.ones((1, 16, 1, 32), np.float16)
spec = {"attnc": 1, "name": "x", "dtype": "fp16", "head_dim": 32}
for device in (1, 0):
    p = c.plan(spec, "b1 h1 s16", device=device)
    assert p.info.get("recipe", p.info)["target"] == "sm_86", p.info
    assert (p(q, q, q) == 1).all()
try:
    c.plan(spec, "b1 h1 s16", device=2)
    raise SystemExit("device 2 of 2")
except attnc.NoDeviceError as e:
    assert "no device 2" in str(e), e
""")

    def test_few_rows_on_hopper(self):
        """Of 17 to 64 rows of a key head decode_wgmma."""
        self.run_python("""
import attnc, numpy as np
attnc.set_context("cpu", attnc.Context("emu", emulator="arch=sm_90a", target="sm_90a"))
made, run = [], attnc.Plan.__call__
def seen(plan, *args, **more):
    made.append(plan.info.get("recipe", plan.info)["template"])
    return run(plan, *args, **more)
attnc.Plan.__call__ = seen
k = np.ones((2, 70, 1, 64), np.float16)
for group, sq in ((8, 1), (8, 3), (20, 3), (1, 40)):
    out = attnc.flash_attn_with_kvcache(np.ones((2, sq, group, 64), np.float16), k, k)
    assert (out == 1).all()
assert made == ["decode_mma"] + ["decode_wgmma"] * 3, made
""")

    def test_auto_and_cache(self):
        out = self.run_python("""
import attnc, os
os.environ["ATTNC_LIBCUDA"] = attnc._lib.beside("libattnc-emu.so")
spec = {"attnc": 1, "name": "x", "dtype": "fp16", "head_dim": 64}
import tempfile
with tempfile.TemporaryDirectory() as folder:
    for expected in ("miss", "disk"):
        c = attnc.Context("auto", cache="rw", cache_dir=folder)
        print(c.plan(spec, "b1 h1 s16").info["layer"] == expected)
        print(c.plan(spec, "b1 h1 s16").info["layer"] == expected)
    c = attnc.Context("emu", cache="off", cache_dir=folder, target="sm_80",
                      log=lambda level, message: print("log" in message or True))
    print(c.plan(spec, "b1 h1 s16").info["layer"] == "miss")
""")
        self.assertEqual(set(out.split()), {"True"})

    def test_no_device(self):
        self.raises(attnc.NoDeviceError, "nowhere", attnc.Context, "/nowhere/libcuda.so")
        self.raises(attnc.UsageError, "cache", attnc.Context, "emu", cache="yes")
        self.raises(attnc.UsageError, "", attnc.Context, "emu", emulator="no such setting")

    def test_wrong_environment(self):
        """A mistake in ATTNC_EMU is an error of whoever starts the driver: this package, or the
        library by itself."""
        for setting, why in (("arch=bogus", "arch=bogus"), ("archh=sm_80", "'archh' is not"),
                             ("fuel=99999999999999999999", "fuel=99999999999999999999")):
            self.run_python(f"""
import attnc, ctypes as C, os
from attnc import _lib
os.environ["ATTNC_EMU"] = {setting!r}
wanted = "cuInit: CUDA_ERROR_INVALID_VALUE: ATTNC_EMU: "
try:
    attnc.Context("emu")
    raise SystemExit("accepted")
except attnc.DeviceError as e:
    assert str(e).startswith(wanted) and {why!r} in str(e), e
error, made = _lib.Error(), C.c_void_p()
options = _lib.Options(libcuda=_lib.encode(_lib.beside("libattnc-emu.so")))
spec = attnc.load_spec({CAUSAL!r})
at = attnc.spec.problem(spec, "b1 h1 s16")
assert _lib.library().attnc_context_create(options, C.byref(made), error) == 0
assert _lib.library().attnc_plan_get(made, spec._handle, at, C.byref(made), error)
text = error.message.decode()
assert text.startswith(wanted) and {why!r} in text and text.count("INVALID_VALUE") == 1, text
os.environ["ATTNC_EMU"] = ""
attnc.Context("emu")
""")

    def test_tickets(self):
        """A kernel that counts: its plan says so, a call zeroes its workspace, and a prepared
        launch does without."""
        self.run_python(f"""
import attnc, numpy as np
c = attnc.Context("emu", emulator="arch=sm_90")
spec = {{**{CAUSAL!r}, "schedule": {{"template": "fwd_wgmma", "scheduler": "dynamic"}}}}
other = {{**{CAUSAL!r}, "schedule": {{"template": "fwd_wgmma", "scheduler": "grid"}}}}
q, k, v = (np.random.default_rng(3).standard_normal((1, 70, 2, 32)).astype(np.float16)
           for _ in range(3))
plan, grid = (c.plan(x, "b1 h2 sq70 sk70") for x in (spec, other))
assert (plan.zeroed_bytes, plan.workspace("b1 h2 sq70 sk70")) == (4, 4)
assert plan.runs_without_workspace and not grid.runs_without_workspace
assert (grid.zeroed_bytes, grid.workspace("b1 h2 sq70 sk70")) == (0, 0)
assert plan.info["workspace"] == [{{"name": "tickets", "bytes": {{"mul": [4]}}, "zero": True}}]
for _ in range(2):
    np.testing.assert_array_equal(plan(q, k, v), grid(q, k, v))
""")


def map_of(slot, rows, heads):
    return {"type": "map", "tensor": slot, "box": [32, 64, 1, 1], "swizzle": 64, "l2": 256,
            "dims": [{"n": 32}, {"size": rows, "stride": 2}, {"size": heads, "stride": 1},
                     {"size": "b", "stride": 0}]}


MAP_PTX = ("// attnc mark " + 32 * "0f" + "\n.version 8.0\n.target sm_90a\n.address_size 64\n.visible .entry attnc_fwd("
           ".param .align 64 .b8 q[128], .param .align 64 .b8 k[128], .param .u64 o)\n"
           "{ ret; }\n")
MAP_RECIPE = {
    "schema": "attnc.kernel/3", "name": "by_hand", "op": "fwd", "target": "sm_90a",
    "exact": True, "min_driver": 12000, "ptx_sha256": "", "template": "by_hand",
    "mark": 32 * "0f",
    "tensors": [{"name": n, "slot": i, "dtype": "fp16", "access": "out" if n == "o" else "in",
                 "axes": ["b", *(("h", "sq") if n in "qo" else ("hk", "sk")), 32],
                 "contiguous": False, "align": 16} for i, n in enumerate("qkvo")],
    "scalars": [], "requires": {"align": 16}, "workspace": 0,
    "steps": [{"launch": {
        "entry": "attnc_fwd", "block": [384, 1, 1], "cluster": [2, 1, 1],
        "serialization": True, "shared": 1024,
        "params": [map_of(0, "sq", "h"), map_of(1, "sk", "hk"), {"type": "ptr", "tensor": 3}],
        "grid": [{"mul": [{"ceil_div": ["sq", 128]}, 2]}, {"size": "h"}, {"size": "b"}]}}]}


@unittest.skipUnless(common.STUB, "no recording driver: ATTNC_STUB is not set")
class Recorded(common.Case):
    """What reaches the driver."""

    def setUp(self):
        self.stub = common.stub()
        self.context = attnc.Context(common.STUB, cache="off")
        self.plan = self.context.plan(CAUSAL, SIZES, device=1)
        driver = self.context.driver
        with driver.current(1):
            self.tensors = [DeviceTensor(driver, x) for x in (*tensors(), tensors()[0])]

    def test_addresses_and_stream(self):
        """No context is current on this thread: the launch goes to the plan's device."""
        launch = self.plan.prepare(*self.tensors, softmax_scale=0.25)
        launch(0x1000, 0x2000, 0x3000, 0x4000, stream=0x1234)
        self.assertEqual(self.stub.stub_launches(), 1)
        got = self.stub.stub_launch_at(0)
        self.assertEqual(got.stream, 0x1234)
        values = list(got.values[:got.n_params])
        for address in (0x1000, 0x2000, 0x3000, 0x4000):
            self.assertIn(address, values)
        self.assertIn(0x3E800000, values)  # 0.25
        for stride in (72 * 2 * 32, 2 * 32, 32, 40 * 4 * 32):
            self.assertIn(stride, values)

    def test_maps_and_clusters(self):
        """Tensor maps, a cluster and serialization, as the recipe of a kernel by hand says."""
        self.plan = self.context = None
        self.stub.stub_cc(1, 90)
        with tempfile.TemporaryDirectory() as folder:
            context = attnc.Context(common.STUB, cache="rw", cache_dir=folder)
            key = context.explain_key(CAUSAL, SIZES, device=1)
            self.assertEqual(key["fields"]["target"], "sm_90a")
            common.write_entry(folder, key["key"], MAP_RECIPE, MAP_PTX)
            plan = context.plan(CAUSAL, SIZES, device=1)
            self.assertEqual(plan.info["layer"], "disk")
            launch = plan.prepare(*self.tensors)
            for address in (0x1000, 0x1000, 0x5000):
                launch(address, 0x2000, 0x3000, 0x4000)
        got = self.stub.stub_launch_at(2)
        self.assertEqual((got.extended, got.serialized, list(got.cluster), got.misaligned),
                         (True, True, [2, 1, 1], 0))
        self.assertEqual(list(got.grid), [2, 4, 2])
        q, k = got.maps[0], got.maps[1]
        self.assertEqual((q.address, k.address, got.values[2]), (0x5000, 0x2000, 0x4000))
        self.assertEqual(list(q.dims[:q.rank]), [32, 40, 4, 2])
        self.assertEqual(list(q.strides[:3]), [4 * 64, 64, 40 * 4 * 64])
        self.assertEqual(list(k.dims[:k.rank]), [32, 72, 2, 2])
        self.assertEqual(list(k.box[:4]), [32, 64, 1, 1])
        self.assertEqual(self.stub.stub_calls(b"cuTensorMapEncodeTiled"), 3)  # Q's twice

    def test_driver_errors(self):
        launch = self.plan.prepare(*self.tensors)
        self.stub.stub_fail(b"cuLaunchKernel", 1, 700)
        e = self.raises(attnc.DeviceError, "cuLaunchKernel: CUDA_ERROR_ILLEGAL_ADDRESS",
                        launch.relaunch)
        self.assertEqual(str(e).count("ILLEGAL_ADDRESS"), 1)
        self.assertEqual((e.status, e.driver_code), ("ATTNC_ERR_DEVICE", 700))
        launch.relaunch()

    def test_host_tensors_are_refused(self):
        self.raises(attnc.UsageError, "emulated", self.plan, *tensors())

    def test_misplaced_error(self):
        self.stub.stub_fail(b"cuModuleLoadDataEx", 0, 218)
        self.raises(attnc.AttncError, "CUDA_ERROR_INVALID_PTX", self.context.plan,
                    {**CAUSAL, "head_dim": 48}, SIZES)

    def test_released(self):
        modules = self.stub.stub_modules()
        plan = self.context.plan({**CAUSAL, "head_dim": 40}, SIZES)
        self.assertEqual(self.stub.stub_modules(), modules + 1)
        del plan
        self.plan = self.context = None
        self.assertEqual(self.stub.stub_modules(), 0)


if __name__ == "__main__":
    common.main()
