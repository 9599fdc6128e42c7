"""run and doctor on the emulator, judged by an attention of its own in plain Python."""
import math
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import time

from common import (ATTNC, CAUSAL, SOURCE, Case, bf16, from_bf16, main, read_safetensors,
                    safetensors)

LIB = os.path.join(os.path.dirname(ATTNC), "..", "lib", "libattnc-emu.so")
EMU = ["--device", "emu", "--arch", "sm_80"]


def attention(q, k, v, group, causal):
    """Rows of o and lse for q[h][i], k[hk][j], v[hk][j]: lists of floats."""
    o, lse = [], []
    for h, head in enumerate(q):
        keys, values = k[h // group], v[h // group]
        o.append([])
        lse.append([])
        for i, row in enumerate(head):
            last = i + len(keys) - len(head) if causal else len(keys) - 1
            s = [sum(a * b for a, b in zip(row, key)) / math.sqrt(len(row))
                 for key in keys[:max(0, last + 1)]]
            if not s:
                o[-1].append([0.0] * len(values[0]))
                lse[-1].append(-math.inf)
                continue
            top = max(s)
            p = [math.exp(x - top) for x in s]
            total = sum(p)
            o[-1].append([sum(w * val[d] for w, val in zip(p, values)) / total
                          for d in range(len(values[0]))])
            lse[-1].append(top + math.log(total))
    return o, lse


def tensor(heads, bhsd):
    """heads[h][s][d] as the elements of [1, s, h, d] or [1, h, s, d], and that shape."""
    h, s, d = len(heads), len(heads[0]), len(heads[0][0])
    if bhsd:
        return [x for head in heads for row in head for x in row], [1, h, s, d]
    return [x for i in range(s) for head in heads for x in head[i]], [1, s, h, d]


def untensor(flat, shape, bhsd):
    _, a, b, d = shape
    rows = [flat[i:i + d] for i in range(0, len(flat), d)]
    if bhsd:
        return [rows[h * b:(h + 1) * b] for h in range(a)]
    return [[rows[i * b + h] for i in range(a)] for h in range(b)]


class Right(Case):
    """The result is attention, and lies in the file where the layout says."""

    def check(self, layout, causal, h, hk, sq, sk):
        spec = self.spec(f"attnc: 1\nname: t\ndtype: bf16\nhead_dim: 16\nhead_dim_v: 24\n"
                         f"causal: {str(causal).lower()}\nreturn_lse: true\n"
                         f"layout: {{q: {layout}, k: bshd, v: bhsd, o: {layout}}}\n")
        rng = random.Random(h * 1000 + sq * 10 + sk)
        parts, tensors = {}, {}
        for name, heads, s, d, bhsd in (("q", h, sq, 16, layout == "bhsd"),
                                        ("k", hk, sk, 16, False), ("v", hk, sk, 24, True)):
            values = [[from_bf16(bf16([rng.gauss(0, 1) for _ in range(d)])) for _ in range(s)]
                      for _ in range(heads)]
            flat, shape = tensor(values, bhsd)
            parts[name] = values
            tensors[name] = ("BF16", shape, bf16(flat))
        self.attnc("run", spec, *EMU, "--input", self.write("in.st", safetensors(tensors)),
                   "--output", self.path("out.st"), "--verify")
        out = read_safetensors(self.read("out.st"))
        want_o, want_lse = attention(parts["q"], parts["k"], parts["v"], h // hk, causal)
        dtype, shape, raw = out["o"]
        self.assertEqual((dtype, shape), ("BF16", tensor(want_o, layout == "bhsd")[1]))
        got = untensor(from_bf16(raw), shape, layout == "bhsd")
        for a, b in zip([x for i in got for j in i for x in j],
                        [x for i in want_o for j in i for x in j]):
            self.assertLess(abs(a - b), 0.03)
        dtype, shape, raw = out["lse"]
        self.assertEqual((dtype, shape), ("F32", [1, h, sq]))
        for a, b in zip(struct.unpack(f"<{h * sq}f", raw), [x for row in want_lse for x in row]):
            self.assertTrue(a == b or abs(a - b) < 1e-3, (a, b))

    def test_bshd(self):
        self.check("bshd", False, 2, 2, 5, 7)

    def test_bhsd_causal_grouped(self):
        self.check("bhsd", True, 4, 2, 9, 6)  # the first queries see no key

    def test_decode_like(self):
        self.check("bshd", True, 4, 1, 1, 70)


class Declared(Case):
    """Tensors and numbers that a spec declares, by their names."""

    SPEC = ("attnc: 1\nname: t\ndtype: bf16\nhead_dim: 16\n"
            "tensors: {doc: {dtype: i32, axes: [b, kv]}, t: {dtype: fp32, axes: [h, 3]}}\n"
            "scalars: {gain: 0.5, cap: run_time}\n")

    def given(self, doc=(1, 5), t=(2, 3), kind="I32"):
        one = ("BF16", [1, 5, 2, 16], bf16([0.25] * 160))
        n = math.prod(doc)
        return self.write("in.st", safetensors({
            "q": one, "k": one, "v": one, "t": ("F32", list(t), bytes(4 * math.prod(t))),
            "doc": (kind, list(doc), struct.pack(f"<{n}i", *range(n)))}))

    def test_files_and_numbers(self):
        run = ["run", self.spec(self.SPEC), *EMU, "--verify", "--input"]
        self.attnc(*run, self.given(), "--scalar", "cap=2.5")
        self.attnc(*run, self.given(doc=(3, 9)), "--scalar", "softmax_scale=0.5,cap=1,gain=-1")
        for args, code, why in (
                ([], 2, "cap has no value in the spec: --scalar cap="),
                (["--scalar", "cap=1,gain"], 2, "'gain': name=number is expected"),
                (["--scalar", "cap=1,gains=2"], 2, "the call has no number gains"),
                (["--scalar", "cap=2x"], 2, "cap: '2x' is no number"),
                (["--scalar", "cap=1,softmax_scale=-1"], 2, "softmax_scale is -1")):
            self.assertIn(why, self.attnc(*run, self.given(), *args, code=code).stderr)
        for given, code, why in (
                (dict(doc=(1, 4)), 4, "doc is [1, 4], not [1, 5]"),
                (dict(t=(2, 4)), 4, "t is [2, 4], not [2, 3]"),
                (dict(kind="F32"), 2, "doc is F32, the spec's I32")):
            r = self.attnc(*run, self.given(**given), "--scalar", "cap=1", code=code)
            self.assertIn(why, r.stderr)

    def test_packed_bits(self):
        """Words of 32 keys, in a file that has more of them than the call."""
        spec = self.spec("attnc: 1\nname: t\ndtype: bf16\nhead_dim: 16\nmask_bits: true\n")

        def given(words, kind="U32"):
            one, n = ("BF16", [1, 40, 2, 16], bf16([0.25] * 1280)), 40 * words
            return self.write("in.st", safetensors({
                "q": one, "k": one, "v": one,
                "mask_bits": (kind, [1, 40, words], struct.pack(f"<{n}I", *range(n)))}))
        run = ["run", spec, *EMU, "--verify", "--input"]
        for words in (2, 3):
            self.attnc(*run, given(words))
        self.assertIn("mask_bits is [1, 40, 1], not [1, 40, 2]",
                      self.attnc(*run, given(1), code=4).stderr)
        self.assertIn("mask_bits is I32, the spec's U32",
                      self.attnc(*run, given(2, "I32"), code=2).stderr)

    def test_bias(self):
        """Rows of 75 elements are copied to aligned ones, from a file and at random."""
        spec = self.spec("attnc: 1\nname: t\ndtype: bf16\nhead_dim: 16\n"
                         "bias: {axes: [q, kv], dtype: fp16}\nalibi_slopes: h\n")
        one = ("BF16", [1, 75, 2, 16], bf16([0.25] * 2400))
        given = self.write("in.st", safetensors({
            "q": one, "k": one, "v": one, "alibi_slopes": ("F32", [2], bytes(8)),
            "bias": ("F16", [75, 75], struct.pack("<5625e", *(i % 7 for i in range(5625))))}))
        self.attnc("run", spec, *EMU, "--verify", "--input", given)
        self.attnc("run", spec, *EMU, "--verify", "--shape", "b1 h2 s75")

    def test_random(self):
        self.attnc("run", self.spec(self.SPEC), *EMU, "--verify", "--scalar", "cap=1", "--shape",
                   "b2 h2 s33")


class Run(Case):
    def test_text(self):
        text = self.attnc("run", self.spec(), *EMU, "--verify", "--shape", "b1 h2 s100").stdout
        self.assertRegex(text, r"\Acausal  b1 h2 s100  PASS\n  schedule   \w+ \d+x\d+ ")
        self.assertRegex(text, r"\n  tiles      \d+ empty, \d+ partial, \d+ full of \d+ a head\n")
        self.assertRegex(text, r"\n  verified   200 of 200 rows\n")
        self.assertNotIn("time", text)  # an emulator has none

    def test_brief(self):
        r = self.attnc("run", self.spec(), *EMU, "--verify", "--brief", "--shape", "b1 h2 s100")
        self.assertRegex(r.stdout, r"\Acausal +\w+ \d+x\d+ w\d+ s\d+\b.*  tiles \d+/\d+/\d+  "
                         r"max error \d\.\de-\d+ \(bound \d\.\de-\d+\)  PASS\n\Z")
        self.assertIn("device: ", r.stderr)
        r = self.attnc("run", self.spec(), *EMU, "--brief", "--shape", "s64", "-q")
        self.assertRegex(r.stdout, r"  not verified\n\Z")
        self.assertEqual(r.stderr, "")

    def test_json(self):
        j = self.json("run", self.spec(), self.spec(CAUSAL.replace("bf16", "fp16"), "b.yaml"),
                      *EMU, "--verify", "--stats", "--shape", "b2 h4/2 sq33 sk65")
        self.assertEqual(len(j["results"]), 2)
        for r in j["results"]:
            self.assertEqual((r["verdict"], r["exit"], r["findings"]), ("PASS", 0, []))
            self.assertEqual(r["shape"], "b2 h4/2 sq33 sk65")
            self.assertTrue(r["verify"]["pass"])
            self.assertEqual(r["verify"]["rows"], 2 * 4 * 33)
            self.assertGreater(r["stats"]["thread_instructions"], 0)
            self.assertEqual(r["stats"]["findings"], 0)
            self.assertTrue(r["emulated"])

    def test_profile(self):
        j = self.json("run", self.spec(), *EMU, "--profile", "--shape", "b1 h1 s64")
        rows = j["results"][0]["profile"]
        self.assertTrue(any("mma.sync" in row["text"] for row in rows))
        self.assertIn("mma.sync", self.attnc("run", self.spec(), *EMU, "--profile", "--shape",
                                             "b1 h1 s64").stdout)

    def test_seeds(self):
        def o(seed):
            self.attnc("run", self.spec(), *EMU, "--shape", "s16 h1", "--seed", seed, "-o",
                       self.path("o.st"))
            return self.read("o.st")
        self.assertEqual(o("3"), o("3"))
        self.assertNotEqual(o("3"), o("4"))

    def test_empty_sizes(self):
        for shape in ("b0 h2 s16", "h2 sq0 sk16", "h2 sq16 sk0", "h1 s1"):
            with self.subTest(shape=shape):
                self.attnc("run", self.spec(), *EMU, "--verify", "--shape", shape)

    def test_heads_must_divide(self):
        r = self.attnc("run", self.spec(), *EMU, "--shape", "h3/2 s16", code=4)
        self.assertIn("hk", r.stderr)

    def test_shapes_file(self):
        self.write("shapes.txt", "# sizes\nother b9\ncausal b1 h6/3 sq20 sk40\n")
        spec = self.spec()
        j = self.json("run", spec, *EMU)
        self.assertEqual(j["results"][0]["shape"], "b1 h6/3 sq20 sk40")
        j = self.json("run", spec, *EMU, "--shape", "sk8")
        self.assertEqual(j["results"][0]["shape"], "b1 h6/3 sq20 sk8")
        self.write("shapes.txt", "causal b1 x\n")
        r = self.attnc("run", spec, *EMU, code=2)
        self.assertIn("x is no word", r.stderr)
        os.unlink(self.path("shapes.txt"))
        j = self.json("run", self.spec(CAUSAL + "group_size: 4\n"), *EMU, "--no-cache")
        self.assertEqual(j["results"][0]["shape"], "b1 h8/2 s256")

    def test_pinned_schedule_and_arch(self):
        j = self.json("run", self.spec(), "--device", "emu", "--arch", "sm_90", "--verify",
                      "--shape", "s64 h1", "--schedule", "template=ref_fwd")
        plan = j["results"][0]["plan"]
        self.assertEqual((plan["template"], plan["source"], plan["target"]),
                         ("ref_fwd", "pinned", "sm_90"))

    def test_the_exact_target(self):
        """A device of capability 9.0 takes sm_90a where nothing else is said; the chip that
        is emulated is the same for both."""
        args = ["run", self.spec(), "--device", "emu", "--verify", "--shape", "s64 h1"]
        for more, env, target in (((), {"ATTNC_EMU": "arch=sm_90"}, "sm_90a"),
                                  (("--arch", "sm_90"), {}, "sm_90"),
                                  (("--arch", "sm_90a"), {}, "sm_90a")):
            r = self.json(*args, *more, env=env)["results"][0]
            self.assertEqual((r["plan"]["target"], r["verdict"]), (target, "PASS"))

    def test_second_run_is_a_hit(self):
        args = ["run", self.spec(), *EMU, "--shape", "s64 h1"]
        layers = [self.json(*args)["results"][0]["plan"]["layer"] for _ in range(2)]
        self.assertEqual(layers, ["miss", "disk"])
        self.assertEqual(self.json(*args, "--no-cache")["results"][0]["plan"]["layer"], "miss")
        self.assertEqual(self.json("cache", "stat")["entries"], 1)
        self.json("cache", "clear")
        self.assertEqual(self.json("cache", "stat")["entries"], 0)

    def test_damaged_cache(self):
        self.attnc("run", self.spec(), *EMU, "--shape", "s64 h1")
        folder = self.json("cache", "stat")["dir"]
        entries = [os.path.join(at, f) for at, _, names in os.walk(folder) for f in names]
        for path in entries:
            with open(path, "r+b") as f:
                f.seek(os.path.getsize(path) // 2)
                f.write(b"damage")
        j = self.json("cache", "verify", code=1)
        self.assertEqual(len(j["bad"]), 1)
        self.attnc("run", self.spec(), *EMU, "--shape", "s64 h1", "--verify")

    def test_unwritable_output(self):
        r = self.attnc("run", self.spec(), *EMU, "--shape", "s16 h1", "-o", "no/such/o.st",
                       code=8)
        self.assertIn("no/such", r.stderr)


class Wrong(Case):
    """What is wrong with a kernel is seen: ATTNC_LOAD_PTX runs an edited one."""

    def edited(self, edit):
        ptx = self.attnc("explain", self.spec(), "--dump=ptx", "--shape", "h1 s100").stdout
        changed = edit(ptx)
        self.assertNotEqual(changed, ptx)
        return {"ATTNC_LOAD_PTX": self.write("edited.ptx", changed)}

    def run_edited(self, edit, code):
        env = self.edited(edit)
        return self.json("run", self.spec(), *EMU, "--shape", "h1 s100", "--verify", env=env,
                         code=code)["results"][0]

    def test_wrong_result(self):
        r = self.run_edited(lambda t: t.replace("ex2.approx", "rcp.approx"), code=1)
        self.assertEqual(r["verdict"], "FAIL")
        self.assertGreater(r["verify"]["bad_rows"], 0)

    def test_finding(self):
        r = self.run_edited(lambda t: re.sub(r"\n\s*(bar|barrier)\S*\s[^;]*;", "", t), code=1)
        self.assertEqual(r["verdict"], "FINDINGS")
        self.assertRegex(r["findings"][0], r"\Aptx:\d+: error\[[\w-]+\]: ")

    def test_wrong_settings(self):
        """Of the emulator: said once, and nothing runs with others."""
        for args in ((), ("--arch", "sm_86")):
            r = self.attnc("run", self.spec(), *EMU, *args, "--shape", "s16 h1",
                           env={"ATTNC_EMU": "arch=bogus"}, code=7)
            self.assertEqual(r.stdout, "")
            self.assertEqual(r.stderr.count("INVALID_VALUE"), 1)
            self.assertIn("ATTNC_EMU: 'arch=bogus' is not one of sm_75|sm_80", r.stderr)

    def test_device_error(self):
        r = self.run_edited(lambda t: t.replace("\tret;", "\trot;", 1), code=7)
        self.assertIn("cuModuleLoadDataEx", r["error"]["message"])

    def test_no_entry(self):
        r = self.run_edited(lambda t: t.replace(".entry", ".entri", 1), code=8)
        self.assertRegex(r["error"]["message"], r"edited.ptx: has no entry attnc_fwd_mma_sm_80")

    def test_other_parameters(self):
        r = self.run_edited(lambda t: t.replace(".entry", ".entry attnc_none() { ret; }\n"
                                                ".visible .entry", 1)
                            .replace("\t.param .u64", "\t.param .u32", 1), code=8)
        self.assertRegex(r["error"]["message"], r"parameter \d of entry \S+ has 4 bytes, .* 8")

    def test_another_schedule(self):
        """A text is run with the schedule that it was made with, and with no other."""
        how = "block_m=64,block_n=64,num_warps=4"
        text = self.attnc("explain", self.spec(), "--dump=ptx", "--shape", "h1 s100",
                          "--schedule", how).stdout
        env = {"ATTNC_LOAD_PTX": self.write("edited.ptx", text)}
        r = self.json("run", self.spec(), *EMU, "--shape", "h1 s100", "--verify", env=env,
                      code=8)["results"][0]["error"]["message"]
        self.assertIn("edited.ptx: is not the text of this recipe", r)
        named = re.search(r"--schedule (\S+);", r)[1]
        self.assertIn("block_m=64", named)
        r = self.json("run", self.spec(), *EMU, "--shape", "h1 s100", "--verify", env=env,
                      *["--schedule", named])["results"][0]
        self.assertEqual(r["verdict"], "PASS")

    def test_no_mark(self):
        r = self.run_edited(lambda t: t[t.index("\n") + 1:], code=8)
        self.assertIn("does not begin with the mark", r["error"]["message"])

    HANG = "{\n$injected:\n\tbra $injected;\n"

    def hang(self):
        env = self.edited(lambda t: t[:t.index(".entry")]
                          + t[t.index(".entry"):].replace("{\n", self.HANG, 1))
        return {**env, "ATTNC_EMU": "fuel=1000000000000000"}

    def test_timeout(self):
        started = time.monotonic()
        r = self.attnc("run", self.spec(), *EMU, "--shape", "h1 s100", "--timeout", "2",
                       env=self.hang(), code=124)
        self.assertIn("time limit", r.stderr)
        self.assertLess(time.monotonic() - started, 30)

    def test_interrupt(self):
        p = subprocess.Popen([ATTNC, "run", self.spec(), *EMU, "--shape", "h1 s100"],
                             env={**self.env, **self.hang()}, cwd=self.dir, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(2)
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=30)
        self.assertEqual(p.returncode, 130)
        self.assertIn("interrupted", err)


class Doctor(Case):
    def test_self_test(self):
        j = self.json("doctor", "--device", "emu")
        self.assertTrue(j["ok"])
        self.assertEqual(j["found"]["self-test"]["state"], "ok")
        self.assertEqual(j["found"]["emulator"]["state"], "ok")
        text = self.attnc("doctor", "--device", "emu", env={"ATTNC_LOG": "info"}).stdout
        self.assertRegex(text, r"ok +ATTNC_LOG +info\n")

    def test_what_is_missing(self):
        j = self.json("doctor", env={"ATTNC_LIBCUDA": "/nonexistent.so"}, code=6)
        self.assertFalse(j["ok"])
        self.assertIn("/nonexistent.so", j["found"]["self-test"]["text"])

    def copied(self, *libraries):
        """The program and some of its libraries in folders of their own."""
        lib = os.path.dirname(os.path.realpath(LIB))
        for folder, files in (("bin", [os.path.realpath(ATTNC)]), ("lib", [
                os.path.join(lib, n) for n in ("libattnc.so.0", "libattnc_rt.so.0", "libattnc-emu.so",
                                               *libraries)])):
            os.makedirs(self.path(folder))
            for f in files:
                shutil.copy(f, self.path(folder))
        return self.path("bin/attnc")

    def test_libraries(self):
        """The compiler's library is there, is not, or cannot be opened: said as it is, although
        the self-test's kernel is in the cache."""
        spec = self.spec()
        self.json("doctor", "--device", "emu")
        self.attnc("run", spec, *EMU, "--shape", "s16 h1")
        program, library = self.copied("libattnc_llvm.so"), self.path("bin/../lib/libattnc_llvm.so")
        run = lambda *args: subprocess.run([program, *args, "--device", "emu"], env=self.env,
                                           capture_output=True, text=True)
        r = run("doctor")
        self.assertEqual(r.returncode, 0, r.stdout)
        self.assertIn(library, r.stdout)
        self.assertRegex(r.stdout, r"self-test .*; miss: .* compile [1-9]")
        os.unlink(self.path("lib/libattnc_llvm.so"))
        r = run("doctor")
        self.assertEqual(r.returncode, 5, r.stdout)
        self.assertRegex(r.stdout, r"bad  self-test .*libattnc_llvm\.so cannot be opened.*; "
                         r"there is no " + re.escape(library))
        self.write("lib/libattnc_llvm.so", "no library")
        for command in (["doctor"], ["run", spec, "--no-cache", "--shape", "s16 h1"]):
            r = run(*command)
            self.assertEqual(r.returncode, 5, r.stdout)
            self.assertIn(library + " cannot be opened: ", r.stdout + r.stderr)
            self.assertNotIn("No such file", r.stderr)

    def test_whole_table(self):
        """Every variable of --help, with its value or its default."""
        rows = self.json("--help")["environment"]
        env = {"ATTNC_DUMP": "spec", "ATTNC_DUMP_DIR": self.dir}
        text = self.attnc("doctor", "--device", "emu", env=env).stdout
        found = self.json("doctor", "--device", "emu", env=env)["found"]["variables"]
        self.assertEqual(list(found), [r["name"] for r in rows])
        for row in rows:
            value = env.get(row["name"])
            self.assertEqual(found[row["name"]], {"value": value, "default": row["default"]})
            shown = value or (row["default"] + " " if row["default"] else "") + "(not set)"
            self.assertRegex(text, f"(?m)^{'ok' if value else 'no'} +{row['name']} +"
                             + (re.escape(shown) if value or row["default"] else "not set"))

    def test_faults(self):
        """What is there and not to be used is a fault."""
        j = self.json("doctor", "--device", "emu", env={"ATTNC_EMU": "arch=bogus"}, code=7)
        self.assertEqual(j["found"]["emulator"]["state"], "bad")
        self.assertIn("arch=bogus", j["found"]["emulator"]["text"])
        self.write("file", "")
        j = self.json("doctor", "--device", "emu",
                      env={"ATTNC_CACHE_DIR": self.path("file/cache")}, code=8)
        self.assertEqual((j["found"]["cache"]["state"], j["found"]["self-test"]["state"]),
                         ("bad", "ok"))
        self.assertIn("cannot be written", j["found"]["cache"]["text"])

    def test_python(self):
        """Found as `python3` finds it, or not, and why."""
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
        j = self.json("doctor", "--device", "emu", env={
            "PATH": path, "PYTHONPATH": os.path.join(SOURCE, "python")})
        if not os.environ.get("SANITIZE"):
            self.assertEqual(j["found"]["python"]["state"], "ok", j["found"]["python"])
            self.assertIn(os.path.join(SOURCE, "python", "attnc"), j["found"]["python"]["text"])
        j = self.json("doctor", "--device", "emu", env={"PATH": self.dir})
        self.assertEqual(j["found"]["python"]["state"], "no")

    def test_no_llvm(self):
        j = self.json("doctor", "--device", "emu", env={"ATTNC_LLVM": "/nonexistent.so"}, code=5)
        self.assertIn("/nonexistent.so", j["found"]["self-test"]["text"])


HARNESS = r"""
#include "causal.h"
#include <stdio.h>
#include <stdlib.h>
#define CU(call) do { int r_ = (call); if (r_) { fprintf(stderr, #call ": %d\n", r_); exit(1); } } while (0)
enum { H = 2, S = 100, D = 32 };
int main(int argc, char **argv)
{
  static unsigned char host[H * S * D * 2];
  const size_t n = sizeof host;
  causal_args a = {.b = 1, .h = H, .hk = H, .sq = S, .sk = S, .softmax_scale = 0.17677669f};
  CUdeviceptr *at[4] = {&a.q, &a.k, &a.v, &a.o};
  long long *stride[4] = {a.q_stride, a.k_stride, a.v_stride, a.o_stride};
  causal_kernel k;
  CUdevice d;
  CUcontext c;
  FILE *f = fopen(argv[1], "rb");
  if (!f || argc != 2) return 2;
  CU(cuInit(0));
  CU(cuDeviceGet(&d, 0));
  CU(cuDevicePrimaryCtxRetain(&c, d));
  CU(cuCtxSetCurrent(c));
  CU(causal_load(&k));
  for (int i = 0; i < 4; i++) {
    CU(cuMemAlloc_v2(at[i], n));
    stride[i][0] = S * H * D; stride[i][1] = D; stride[i][2] = H * D; stride[i][3] = 1;
    if (i < 3 && fread(host, 1, n, f) != n) return 3;
    CU(cuMemcpyHtoD_v2(*at[i], host, n));
  }
  CU(cuMemAlloc_v2(&a.lse, H * S * 4));
  CU(causal_launch(&k, &a, NULL));
  CU(cuCtxSynchronize());
  CU(cuMemcpyDtoH_v2(host, a.o, n));
  fwrite(host, 1, n, stdout);
  a.o_stride[2] += 1;
  CU(causal_launch(&k, &a, NULL) == CUDA_ERROR_INVALID_VALUE ? 0 : 1);
  CU(causal_unload(&k));
  for (int i = 0; i < 4; i++)
    CU(cuMemFree_v2(*at[i]));
  CU(cuMemFree_v2(a.lse));
  CU(cuDevicePrimaryCtxRelease_v2(d));
  return fclose(f);
}
"""


class GeneratedC(Case):
    def test_names_that_c_has_not(self):
        for name in ("for", "int", "class", "linux", "q_stride", "workspace_bytes", "__x"):
            spec = self.spec(CAUSAL + f"scalars: {{{name}: 1.0}}\n")
            r = self.attnc("compile", spec, "--arch", "sm_80", "--emit", "c", "-o",
                           self.path("out"), code=4)
            self.assertIn(f"{name} cannot be the name of an argument in C", r.stderr)

    def test_same_result_without_attnc(self):
        """--emit c, built against the driver's declarations and linked with the emulator."""
        self.attnc("compile", self.spec(), "--arch", "sm_80,sm_90", "--emit", "c", "-o",
                   self.path("out"))
        rng = random.Random(1)
        tensors = {n: ("BF16", [1, 100, 2, 32], bf16([rng.gauss(0, 1) for _ in range(6400)]))
                   for n in "qkv"}
        raw = self.write("raw", b"".join(t[2] for t in tensors.values()))
        self.attnc("run", self.spec(), *EMU, "--input",
                   self.write("in.st", safetensors(tensors)), "-o", self.path("o.st"),
                   "--verify")
        self.write("cuda.h", '#include "abi/cuda.h"\n'
                   "#define X(need, name, args) CUresult name args;\n"
                   "CUDA_ENTRY_TABLE(X)\n#undef X\n")
        self.write("main.c", HARNESS)
        subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-Wall", "-Wextra", "-Werror",
                        *os.environ.get("SANITIZE", "").split(),
                        "-I", self.dir, "-I", self.path("out"), "-I", SOURCE,
                        self.path("main.c"), self.path("out/causal.c"), LIB,
                        f"-Wl,-rpath,{os.path.dirname(os.path.realpath(LIB))}", "-o",
                        self.path("main")], check=True)
        r = subprocess.run([self.path("main"), raw], capture_output=True, check=True,
                           env=self.env)
        got = from_bf16(r.stdout)
        want = from_bf16(read_safetensors(self.read("o.st"))["o"][2])
        self.assertEqual(len(got), len(want))
        self.assertLess(max(abs(a - b) for a, b in zip(got, want)), 0.02)


if __name__ == "__main__":
    main()
