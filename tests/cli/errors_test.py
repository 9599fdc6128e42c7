"""Every way to go wrong ends with the right exit code, a reason, and no crash."""
import glob
import json
import os
import pty
import re
import subprocess

from common import ATTNC, CAUSAL, SOURCE, Case, main, safetensors

BAD = sorted(glob.glob(os.path.join(SOURCE, "tests", "bad", "*.attn.yaml")))


class Usage(Case):
    def says(self, *args, code, text):
        r = self.attnc(*args, code=code)
        self.assertIn(text, r.stderr)
        self.assertRegex(r.stderr, r"\Aattnc: error: ")
        self.assertEqual(r.stdout, "")
        j = self.json(*args, code=code)
        if j["schema"] == "attnc.run/1":
            j = j["results"][0]["error"]
        else:
            self.assertEqual(j["schema"], "attnc.error/1")
        self.assertEqual(j["exit"], code)
        self.assertIn(text, j["message"])

    def test_usage(self):
        spec = self.spec()
        for args, text in (
                ([], "no command"),
                (["rnu"], "did you mean run?"),
                (["check"], "attnc check needs SPEC"),
                (["run", spec, "--verfy"], "did you mean --verify?"),
                (["run", spec, "--repeat", "0"], "--repeat: 0 is not a whole number"),
                (["run", spec, "--repeat", "5x"], "--repeat: 5x is not a whole number"),
                (["run", spec, "--device", "gpu"], "--device: gpu is not one of"),
                (["run", spec, "--shape", "b1 q4"], "q4 is no word of a problem"),
                (["run", spec, "--shape", "d64"], "the shape says head_dim 64/64"),
                (["run", spec, "--shape", "fp16"], "the shape says fp16"),
                (["run", spec, "--shape", "full"], "the shape says full"),
                (["run", spec, "--schedule", "blockm=64"], "did you mean block_m?"),
                (["run", spec, "--schedule", "block_m"], "block_m is not name=value"),
                (["run", spec, spec, "--input", "x"], "--input and --output take one spec"),
                (["run", spec, "--color", "maybe"], "--color: maybe is not one of"),
                (["compile", spec], "attnc compile needs -o DIR"),
                (["compile", spec, "-o", "d"], "attnc compile needs --arch"),
                (["compile", spec, "-o", "d", "--arch", "sm_80", "--emit", "ptxx"],
                 "did you mean ptx?"),
                (["compile", spec, "-o", "d", "--arch", "sm_80", "--from", "c", "f"],
                 "--from: c is not one of"),
                (["compile", spec, "-o", "d", "--arch", "sm_80", "--from", "ptx"],
                 "--from=ptx takes one spec"),
                (["explain", spec, "--dump", "tiles"], "did you mean tile?"),
                (["tune", spec], "attnc tune needs --shape"),
                (["cache", "empty"], "empty is not one of"),
                (["bench", "run"], "run is not one of"),
        ):
            with self.subTest(args=args):
                self.says(*args, code=2, text=text)

    def test_unsupported(self):
        spec = self.spec()
        for args in (["check", spec, "--arch", "sm_8"], ["run", spec, "--arch", "sm_8"],
                     ["compile", spec, "-o", "d", "--arch", "sm_80,sm_8"],
                     ["explain", spec, "--arch", "sm_8"], ["key", spec, "--arch", "sm_8"]):
            with self.subTest(args=args):
                self.says(*args, code=4, text="did you mean sm_80?")

    def test_illegal_pin_names_the_limit(self):
        spec = self.spec(CAUSAL.replace("head_dim: 32", "head_dim: 128"))
        pin = "template=fwd_mma,block_m=32,block_n=128,num_stages=3,num_warps=2"
        for command in (["compile", "-o", self.path("d"), "--arch", "sm_80"], ["explain"]):
            r = self.attnc(command[0], spec, *command[1:], "--schedule", pin, code=4)
            self.assertRegex(r.stderr, r"\d+ bytes of shared memory")

    def test_files(self):
        self.attnc("check", "missing.yaml", code=8)
        self.attnc("run", "missing.yaml", code=8)
        self.attnc("explain", self.dir, code=8)
        self.write("file", "")
        r = self.attnc("compile", self.spec(), "--arch", "sm_80", "-o", self.path("file/x"),
                       code=8)
        self.assertIn("file", r.stderr)

    def test_no_device(self):
        r = self.attnc("run", self.spec(), "--device", "cuda", code=6,
                       env={"ATTNC_LIBCUDA": "/nonexistent/libcuda.so"})
        self.assertIn("/nonexistent/libcuda.so", r.stderr)
        r = self.attnc("run", self.spec(), code=6, env={"ATTNC_LIBCUDA": "libm.so.6"})
        self.assertIn("cuInit", r.stderr)


class Specs(Case):
    def test_every_bad_spec(self):
        self.assertGreaterEqual(len(BAD), 60)
        for path in BAD:
            with self.subTest(path=path):
                r = self.attnc("check", path, code=3)
                self.assertRegex(r.stderr, r":\d+:\d+: error\[A\d{4}\]: |: error\[A\d{4}\]: ")
                self.assertIn("not a valid spec", r.stdout)

    def test_other_commands_say_it_too(self):
        bad = self.spec(CAUSAL.replace("head_dim: 32", "headdim: 33"))
        for args in (["run", bad], ["explain", bad], ["key", bad],
                     ["compile", bad, "--arch", "sm_80", "-o", "d"],
                     ["tune", bad, "--shape", "s64"], ["bench", "compile", bad]):
            with self.subTest(args=args):
                r = self.attnc(*args, code=3)
                self.assertRegex(r.stderr, r"causal.attn.yaml:4:1: error\[A\d{4}\]: ")
                self.assertIn("^", r.stderr)

    def test_json_has_the_place(self):
        bad = self.spec(CAUSAL.replace("head_dim: 32", "headdim: 32"))
        j = self.json("check", bad, code=3)
        entry = j["specs"][0]
        self.assertFalse(entry["ok"])
        d = entry["diagnostics"][0]
        self.assertEqual((d["line"], d["column"], d["level"]), (4, 1, "error"))
        self.assertRegex(d["code"], r"\AA\d{4}\Z")
        self.assertIn("head_dim", d["help"])

    def test_several(self):
        good, bad = self.spec(), self.spec("attnc: 1\n", "bad.attn.yaml")
        r = self.attnc("check", good, bad, code=3)
        self.assertIn("causal: ", r.stdout)
        j = self.json("check", good, bad, code=3)
        self.assertEqual([s["ok"] for s in j["specs"]], [True, False])
        self.assertEqual(len(j["specs"][0]["spec_hash"]), 64)

    def test_stdin(self):
        r = self.attnc("check", "-", stdin=CAUSAL)
        self.assertIn("causal", r.stdout)
        r = self.attnc("check", "-", stdin="attnc: 2\n", code=3)
        self.assertIn("<stdin>:1:", r.stderr)

    def test_unsupported_reasons(self):
        mixed = self.spec("attnc: 1\nname: mixed\ndtype: {q: fp16, k: bf16, v: bf16, o: fp32}\n"
                          "head_dim: 64\nschedule: {template: fwd_mma}\n")
        r = self.attnc("check", mixed, "--arch", "sm_80", code=4)
        self.assertIn("error[A", r.stderr)
        j = self.json("check", mixed, code=4)
        for target in j["specs"][0]["targets"]:
            self.assertFalse(target["supported"])
            self.assertTrue(target["reasons"])


class Color(Case):
    def on_a_terminal(self, *args, **env):
        """stderr of attnc as a terminal sees it."""
        ours, theirs = pty.openpty()
        p = subprocess.Popen([ATTNC, *args], stdout=subprocess.DEVNULL, stderr=theirs,
                             env={**self.env, **env}, cwd=self.dir)
        os.close(theirs)
        text = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:
                break
            if not part:
                break
            text += part
        os.close(ours)
        p.wait()
        return text.decode()

    def test_color(self):
        bad = self.spec("attnc: 2\n")
        self.assertIn("\x1b[", self.on_a_terminal("check", bad))
        self.assertNotIn("\x1b[", self.on_a_terminal("check", bad, NO_COLOR="1"))
        self.assertNotIn("\x1b[", self.on_a_terminal("check", bad, TERM="dumb"))
        self.assertNotIn("\x1b[", self.on_a_terminal("check", bad, "--color=never"))
        self.assertIn("\x1b[", self.on_a_terminal("check", bad, "--color=always", NO_COLOR="1"))
        self.assertNotIn("\x1b[", self.attnc("check", bad, code=3).stderr)
        self.assertIn("\x1b[", self.attnc("check", bad, "--color", "always", code=3).stderr)


ONE = {"q": ("BF16", [1, 2, 1, 32], bytes(128)), "k": ("BF16", [1, 2, 1, 32], bytes(128)),
       "v": ("BF16", [1, 2, 1, 32], bytes(128))}


class Safetensors(Case):
    def refused(self, raw, code, text):
        path = self.write("in.safetensors", raw)
        r = self.attnc("run", self.spec(), "--device", "emu", "--input", path, code=code)
        self.assertIn(text, r.stderr)

    def test_malformed(self):
        good = safetensors(ONE)
        header = json.dumps({"q": {"dtype": "BF16", "shape": [1, 2, 1, 32],
                                   "data_offsets": [0, 128]},
                             "k": {"dtype": "BF16", "shape": [1, 2, 1, 32],
                                   "data_offsets": [64, 192]}})
        for raw, text in (
                (b"", "shorter than 8 bytes"),
                (good[:7], "shorter than 8 bytes"),
                (good[:40], "ends within the header"),
                (good[:-1], "past the end"),
                (good + b"\0", "after the last"),
                (b"\xff" * 8 + good[8:], "larger than 16 MiB"),
                (b"\0\0\0\x7f\0\0\0\0" + good[8:], "larger than 16 MiB"),
                (safetensors({}, header=header, pad=bytes(192)), "overlaps"),
                (safetensors({}, header="{" * 5000), "not a safetensors file"),
                (safetensors({}, header="[" * 5000), "not a safetensors file"),
                (safetensors({}, header='{"q":{"dtype":"BF16","shape":[9223372036854775807,2],'
                             '"data_offsets":[0,4]}}', pad=bytes(4)), "too large"),
        ):
            with self.subTest(text=text):
                self.refused(raw, 8, text)

    def test_wrong_tensors(self):
        for change, code, text in (
                ({"v": None}, 2, "the input has no tensor v"),
                ({"q": ("F16", [1, 2, 1, 32], bytes(128))}, 2, "q is F16, the spec's BF16"),
                ({"q": ("BF16", [2, 1, 32], bytes(128))}, 4, "q has 3 dimensions"),
                ({"q": ("BF16", [1, 2, 2, 16], bytes(128))}, 4, "the input's q is"),
                ({"k": ("BF16", [1, 1, 1, 64], bytes(128))}, 4, "the input's k is"),
                ({"v": ("BF16", [1, 1, 2, 32], bytes(128))}, 4, "the input's v is"),
        ):
            with self.subTest(text=text):
                tensors = {k: v for k, v in {**ONE, **change}.items() if v}
                self.refused(safetensors(tensors), code, text)

    def test_missing(self):
        r = self.attnc("run", self.spec(), "--device", "emu", "--input", "no", code=8)
        self.assertTrue(re.search(r"no: ", r.stderr))


if __name__ == "__main__":
    main()
