"""Golden microkernels without a GPU: the table covers every form, kernels assemble and run, a
recording replays bit by bit, and what differs is told.

    test_golden.py [--shard I/N] [unittest arguments]   which kernels are assembled and run
"""
import concurrent.futures
import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "bench", "gpu", "tests")]

import common  # noqa: E402

from golden import forms  # noqa: E402

GOLDEN = os.path.join(HERE, "golden", "golden")
SHARD = "0/1"
PTXAS = shutil.which("ptxas") or shutil.which("ptxas", path="/usr/local/cuda/bin")


def golden(*words):
    said = subprocess.run([sys.executable, GOLDEN, *words], capture_output=True, text=True)
    return said.returncode, said.stdout + said.stderr


def setUpModule():
    common.where()


class Forms(common.Case):
    def test_slots(self):
        text = '''SET("r", "rn|rz")
            FORM("add @r? ftz? f32", "=0 0 0", 0, 10, math, A) /* FORM("x", "", 0, 0, a, b) */'''
        form, = forms.parse(text)
        names = [i.name for i in forms.instances(form)]
        self.assertEqual(names, ["add.f32", "add.ftz.f32", "add.rn.f32", "add.rn.ftz.f32",
                                 "add.rz.f32", "add.rz.ftz.f32"])
        with self.assertRaisesRegex(ValueError, "2 forms, 1 of them"):
            forms.parse('FORM("a", "", 0, 10, b, c) FORM("a", SOME)')

    def test_pairs_meet(self):
        slots = [list("abc"), ["", "x"], list("12345"), ["p", "q"]]
        rows = forms.pairs(slots)
        self.assertLess(len(rows), 22)
        for i in range(4):
            for j in range(i):
                met = {(row[i], row[j]) for row in rows}
                self.assertEqual(len(met), len(slots[i]) * len(slots[j]))

    def test_every_form_has_a_kernel_or_a_reason(self):
        from golden import table
        made = {m for k in table.kernels() for m in k.forms}
        for form in forms.read():
            row = table.row_of(form)
            if row.build:
                self.assertIn(form.mnemonic, made)
            else:
                self.assertTrue(row.why, form.mnemonic)
        with self.assertRaises(KeyError):
            table.row_of(forms.parse('FORM("tcgen05 fence", "", 90, 80, a, b)')[0])

    def test_what_is_left_out_is_refused_by_the_emulator(self):
        """So that an instance comes back when the emulator learns it."""
        from golden import device, table
        emulated = device.Device(common.where().emulator, "arch=sm_90")
        left_out = 0
        for form in forms.read():
            for instance in forms.instances(form):
                if not table.not_emulated(instance):
                    continue
                row = table.row_of(form)
                body = row.build(form, [instance], row, 90)
                if not body.outputs:
                    continue  # refused by every assembler
                left_out += 1
                with self.assertRaises(device.Refused, msg=instance.name):
                    emulated.load(body.finish([form.mnemonic]).ptx)
        self.assertGreater(left_out, 20)


class Inputs(common.Case):
    def test_they_are_what_they_were(self):
        """Recordings name inputs: another generator needs other names."""
        from golden import inputs
        whole = hashlib.sha256()
        for name in ("f32.0", "f32.1", "f64.1", "bf16x2.0", "s32.1", "u8.0", "b64x2.0",
                     "f32.sweep.ex2", "f32.sweep.sin", "f16.all", "bf16.frag.5", "tf32.frag.4",
                     "u32.lanes.1", "u32.mask.0", "u32.small.2"):
            whole.update(inputs.make(name, 512))
        self.assertEqual(whole.hexdigest()[:16], INPUTS)

    def test_specials_meet(self):
        from golden import inputs
        pairs = set(zip(inputs.values("f32.0", 1024), inputs.values("f32.1", 1024)))
        n = len(inputs.specials("f32"))
        self.assertGreaterEqual(n, 18)
        self.assertTrue({(a, b) for a in inputs.specials("f32")
                         for b in inputs.specials("f32")} <= pairs)

    def test_encoded_numbers(self):
        from golden import inputs
        for value in range(-8, 9):
            bits = inputs.encode("f16", value)
            self.assertEqual(struct.unpack("<e", struct.pack("<H", bits))[0], value)
            bits = inputs.encode("bf16", value)
            self.assertEqual(struct.unpack("<f", struct.pack("<I", bits << 16))[0], value)


INPUTS = "9edd1979f7128b55"


class Compare(common.Case):
    def verdict(self, variant, kind, got, wanted):
        from golden import compare, ptx
        code = {"f32": "<f", "f16": "<H", "u32": "<I", "f16x2": "<I"}[kind]
        data = [b"".join(struct.pack(code, x) for x in xs) for xs in (got, wanted)]
        return compare.compare(ptx.Output(variant, kind, 0, len(got)), *data)

    def test_exact_forms_need_the_same_bits(self):
        v = self.verdict("add.f32", "f32", [1.0, 2.0, 0.0], [1.0, 2.0000002, -0.0])
        self.assertEqual((v.equal, v.near, v.wrong, v.first, v.ulps), (1, 0, 2, 1, {0: 1, 1: 1}))

    def test_approximations_have_the_bound_of_their_form(self):
        inf, nan = float("inf"), float("nan")
        v = self.verdict("ex2.approx.ftz.f32", "f32", [1.0, 2.0, inf, nan, 4.0],
                         [1.0000001, 2.1, inf, nan, inf])
        self.assertEqual((v.equal, v.near, v.wrong, v.first), (2, 1, 2, 1))
        v = self.verdict("tanh.approx.f16x2", "f16x2", [0x3C003C00], [0x3C003BFF])
        self.assertEqual((v.near, v.wrong, v.ulps), (1, 0, {1: 1}))
        v = self.verdict("sin.approx.f32", "f32", [1e-7, 0.1], [2e-7, 0.10001])
        self.assertEqual((v.near, v.wrong), (1, 1))


@unittest.skipUnless(PTXAS, "ptxas is not installed")
class Assemble(common.Case):
    def test_every_kernel_assembles(self):
        from golden import table
        place = self.folder()

        def assemble(kernel):
            path = os.path.join(place, kernel.name)
            with open(path, "w", encoding="utf-8") as f:
                f.write(kernel.ptx)
            said = subprocess.run([PTXAS, f"-arch={kernel.target}", "-o", path + ".cubin", path],
                                  capture_output=True, text=True)
            return kernel.name, said.returncode, said.stderr[:400]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            first, step = map(int, SHARD.split("/"))
            for name, code, why in pool.map(assemble, table.kernels()[first::step]):
                self.assertEqual(code, 0, f"{name}: {why}")


class Recordings(common.Case):
    def recording(self, only="redux sync a", *words):
        path = os.path.join(self.folder(), "golden.zip")
        code, said = golden("record", "--device", "emu", "--only", only, "-o", path, *words)
        self.assertEqual(code, 0, said)
        return path

    def test_every_kernel_is_recorded_and_replayed(self):
        for arch in ("sm_90", "sm_100"):
            code, said = golden("selftest", "--arch", arch, "--shard", SHARD)
            self.assertEqual(code, 0, said)
            self.assertIn("no difference", said)
            # all but those of forms that came after the emulated chip, or are another's
            done, every = map(int, re.search(r"(\d+) of (\d+) kernels recorded", said).groups())
            others = re.search(r"(\d+) are for newer ones", said)
            self.assertEqual(done + (int(others[1]) if others else 0), every)
            # a thirtieth of the list may have more of them than the whole
            self.assertGreater(done, every * (0.8 if SHARD == "0/1" else 0.5))

    def test_the_same_recording_is_the_same_file(self):
        """By however many processes."""
        several = self.recording("redux sync a", "--jobs", "2", "--seconds", "500")
        with open(self.recording(), "rb") as a, open(several, "rb") as b:
            self.assertEqual(a.read(), b.read())

    def test_another_bit_is_told(self):
        from golden import store
        path = self.recording()
        r = store.Recording(path)
        kernel = r.kernels[1]
        output = kernel.outputs[0]
        data = bytearray(r.results[kernel.name])
        data[output.offset + 4 * 77 + 2] ^= 1
        r.results[kernel.name] = bytes(data)
        store.write(path, r.about, r.kernels, r.results)
        code, said = golden("replay", path)
        self.assertEqual(code, 1, said)
        self.assertIn(f"FAIL {output.variant}: 1 elements differ; element 77 is", said)

    def test_approximations_have_a_histogram(self):
        from golden import store
        path = self.recording("ex2 approx ftz? f32")
        r = store.Recording(path)
        kernel = r.kernels[0]
        data = bytearray(r.results[kernel.name])
        one = next(i for i in range(0, 4096, 4) if data[i + 3] == 0x3F and data[i] not in (0, 255))
        data[one] += 1
        r.results[kernel.name] = bytes(data)
        store.write(path, r.about, r.kernels, r.results)
        code, said = golden("replay", path)
        self.assertEqual(code, 0, said)
        self.assertIn(f"near {kernel.outputs[0].variant}: {kernel.n - 1} equal, 1 by 1 ulp", said)

    def test_the_emulator_proves_nothing_about_chips(self):
        code, said = golden("replay", self.recording())
        self.assertEqual(code, 0, said)
        self.assertIn(f"0 of {len(forms.read())} forms are confirmed", said)

    def test_inputs_that_changed_are_noticed(self):
        from golden import inputs, store
        r = store.Recording(self.recording())
        r.digests[r.kernels[0].name][r.kernels[0].inputs[0]] = "0" * 16
        with self.assertRaises(store.Stale):
            r.data_of(r.kernels[0])
        self.assertEqual(len(inputs.make(r.kernels[0].inputs[0], 8)), 32)


class Worker(common.Case):
    """Processes that hang, crash or end lose what they were at, and nothing else."""

    def kernels(self):
        from golden import table
        return [k for k in table.kernels("redux") if k.runs_on(90)][:3]

    def command(self, text):
        """A worker that runs text for each kernel without a result: folder, name, keep."""
        path = os.path.join(self.folder(), "worker.py")
        names = [k.name for k in self.kernels()]
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"""
import os, sys, time
folder = sys.argv[1]
def keep(name, data=b"ok"):
    open(os.path.join(folder, name + ".out"), "wb").write(data)
for name in {names!r}:
    if any(os.path.exists(os.path.join(folder, name + e)) for e in (".out", ".why")):
        continue
    n = {names!r}.index(name)
{text}
    keep(name)
""")
        return [sys.executable, path]

    def run_worker(self, text, patience=60, until=None):
        from golden import record
        found = record.run(self.kernels(), self.command(text), patience, until)
        return [found[k.name] for k in self.kernels()]

    def test_one_that_crashes(self):
        a, b, c = self.run_worker("    if n == 1: sys.exit('spoiled')")
        self.assertEqual((a, c), (b"ok", b"ok"))
        self.assertEqual(b, "exit 1: spoiled")

    def test_one_that_hangs(self):
        a, b, c = self.run_worker("    if n == 1: time.sleep(60)", 1.5)
        self.assertEqual((a, c), (b"ok", b"ok"))
        self.assertEqual(b, "no result within 1.5 s")

    def test_what_is_late_is_left_out(self):
        from golden import record
        a, b, c = self.run_worker("    if n == 1: time.sleep(60)", until=time.monotonic() + 2.5)
        self.assertEqual((a, b, c), (b"ok", record.NO_TIME, record.NO_TIME))

    def test_it_gives_up_where_nothing_works(self):
        with self.assertRaisesRegex(RuntimeError, "3 processes .* nothing works"):
            self.run_worker("    sys.exit('nothing works')")

    def test_a_kernel_that_ends_its_context(self):
        from golden import record, table
        kernel = table.kernels("redux sync add")[0]
        trap = kernel._replace(name="trap", ptx=kernel.ptx.replace("  ret;", "  trap;"))
        place = self.folder()
        code = record.work([trap, kernel], place, common.where().emulator, "arch=sm_90")
        self.assertEqual(code, 3)
        self.assertRegex(record.result(place, trap), "CUDA_ERROR_")
        self.assertFalse(record.done(place, kernel))


class Page(common.Case):
    TEXT = "| `mma` | {mma} | x |\n| `rcp approx; sqrt approx` | bound | y |\n| `{all}` | text | - |\n"

    def says(self, mma, confirmed):
        from golden import replay
        every = " ".join(dict.fromkeys(f.opcode for f in forms.read()))
        return replay.page_against(confirmed, self.TEXT.format(mma=mma, all=every))

    def test_the_page_is_right(self):
        from golden import replay
        self.assertEqual(replay.page_against(set()), [])

    def test_what_is_confirmed_must_be_said_and_only_that(self):
        mma = {f.mnemonic for f in forms.read() if f.opcode == "mma"}
        self.assertEqual(self.says("model", set()), [])
        self.assertIn("it can say chip", self.says("model", mma)[0])
        self.assertEqual(self.says("chip", mma), [])
        self.assertIn("nothing confirms mma", self.says("chip", set(list(mma)[1:]))[0])

    def test_a_form_without_a_row(self):
        from golden import replay
        self.assertIn("is in no row", replay.page_against(set(), "| `mma` | model | x |\n")[0])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--shard"]:
        SHARD = sys.argv[2]
        del sys.argv[1:3]
    unittest.main()
