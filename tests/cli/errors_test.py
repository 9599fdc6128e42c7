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
                (["run", spec, "--repeat", "0"], "--repeat: 0 is not an integer"),
                (["run", spec, "--repeat", "5x"], "--repeat: 5x is not an integer"),
                (["run", spec, "--repeat", "+5"], "--repeat: +5 is not an integer"),
                (["run", spec, "--seed", "-0"], "--seed: -0 is not an integer"),
                (["run", spec, "--seed", " 1"], "--seed:  1 is not an integer"),
                (["help", "rnu"], "did you mean run?"),
                (["run", spec, "--device", "gpu"], "--device: gpu is not one of"),
                (["run", spec, "--shape", "b1 q4"], "q4 is no word of a problem"),
                (["run", spec, "--shape", "d64"], "the shape says head_dim 64/64"),
                (["run", spec, "--shape", "fp16"], "the shape says fp16"),
                (["run", spec, "--shape", "full"], "the shape says full"),
                (["run", spec, "--schedule", "blockm=64"], "did you mean block_m?"),
                (["run", spec, "--schedule", "block_m"], "'block_m' is not name=value"),
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

    def test_devices_that_are_no_targets(self):
        """What is suggested runs there."""
        spec = self.spec()
        for name, text in (("sm_100", "kernels for sm_90 run on such a device"),
                           ("sm_103a", "kernels for sm_90 run on such a device"),
                           ("sm_87", "kernels for sm_86 run on such a device"),
                           ("sm_121", "kernels for sm_120 run on such a device"),
                           ("sm_70", "no kernel runs on such a device, the first is sm_75")):
            for args in (["check", spec], ["run", spec], ["explain", spec], ["key", spec],
                         ["compile", spec, "-o", "d"]):
                with self.subTest(args=args, name=name):
                    self.says(*args, "--arch", name, code=4, text=text)

    def test_refused_schedules(self):
        """By the template that was meant."""
        spec = self.spec()
        for pin, text in (("block_m=48", "fwd_mma: block_m 48 is not 1 to 4 times 16 rows for each "
                                         "of 4 warps; ref_fwd: "),
                          ("intra_wg_overlap=true", "fwd_wgmma: the target has no wgmma"),
                          ("template=fwd_mma,intra_wg_overlap=true",
                           "fwd_mma: it has no option 'intra_wg_overlap'")):
            for command in ("run", "explain", "key"):
                with self.subTest(pin=pin, command=command):
                    r = self.attnc(command, spec, "--arch", "sm_80", "--schedule", pin, code=4)
                    self.assertIn("no legal schedule on sm_80: " + text, r.stderr)

    def test_illegal_pin_names_the_limit(self):
        spec = self.spec(CAUSAL.replace("head_dim: 32", "head_dim: 128"))
        pin = "template=fwd_mma,block_m=32,block_n=128,num_stages=3,num_warps=2"
        for command in (["compile", "-o", self.path("d"), "--arch", "sm_80"], ["explain"]):
            r = self.attnc(command[0], spec, *command[1:], "--schedule", pin, code=4)
            self.assertRegex(r.stderr, r"\d+ bytes of shared memory")

    # Every command that takes a spec, and with a shape.
    TAKE = (["check"], ["compile", "--arch", "sm_80", "-o", "d"], ["run", "--device", "emu"],
            ["tune", "--device", "emu", "--shape", "s64"], ["explain"], ["key"],
            ["bench", "compile"])

    def test_shapes(self):
        """Refused in the same way by every command, before anything else is done."""
        spec = self.spec()
        for command in self.TAKE[1:]:
            for shape, code, text in (("\n", 2, "the shape says nothing"),
                                      ("b+1", 2, "b+1 is no word of a problem"),
                                      ("b-0", 2, "b-0 is no word of a problem"),
                                      ("b1 h3/2 s16", 4, "h is 3, not a multiple of hk, 2")):
                with self.subTest(command=command, shape=shape):
                    r = self.attnc(*command, spec, "--shape", shape, code=code)
                    self.assertIn(text, r.stderr)

    def test_files(self):
        os.mkdir(self.path("dir.attn.yaml"))
        for command in self.TAKE:
            for name, text in (("nope.yaml", "open nope.yaml: No such file or directory"),
                               ("dir.attn.yaml", "read dir.attn.yaml: Is a directory")):
                with self.subTest(command=command, name=name):
                    r = self.attnc(*command, name, code=8)
                    self.assertIn(text, r.stderr)
                    self.assertEqual(r.stderr.count(name), 1, r.stderr)
        self.write("file", "")
        r = self.attnc("compile", self.spec(), "--arch", "sm_80", "-o", self.path("file/x"),
                       code=8)
        self.assertIn("file", r.stderr)

    def test_pipes(self):
        """One that somebody writes is read, however late; one that nobody writes is refused."""
        for name in ("empty", "late"):
            os.mkfifo(self.path(name))
        self.write("spec", CAUSAL)
        alone = (8, "", "read empty: a pipe that nobody writes to")
        scripts = {
            '"$0" check empty': alone,
            '"$0" run empty --device emu': alone,
            '"$0" tune empty --device emu --shape s64': alone,
            '(sleep 0.3; exec > late; sleep 2.2; cat spec) & "$0" check late':
                (0, "late: causal: ", ""),
            '"$0" check <(cat spec)': (0, "causal: ", ""),
            '"$0" check <(sleep 2.2; cat spec)': (0, "causal: ", ""),
        }
        running = {s: subprocess.Popen(["bash", "-c", s, ATTNC], cwd=self.dir, env=self.env,
                                       text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                   for s in scripts}
        for script, p in running.items():
            code, out, error = scripts[script]
            stdout, stderr = p.communicate(timeout=60)
            self.assertEqual(p.returncode, code, script + stderr)
            self.assertIn(out, stdout)
            self.assertIn(error, stderr)

    def test_some_of_several(self):
        """Exit 9 where some of several items failed, whatever the reasons; else the first's."""
        good, bad = self.spec(), self.spec("attnc: 1\n", "bad.attn.yaml")
        for command in self.TAKE[:3]:
            with self.subTest(command=command):
                shape = [] if command == ["check"] else ["--shape", "b1 h1 s16"]
                self.attnc(*command, good, "missing.yaml", bad, *shape, code=9)
                self.attnc(*command, "missing.yaml", bad, *shape, code=8)
                self.attnc(*command, bad, "missing.yaml", *shape, code=3)
                j = self.json(*command, "missing.yaml", good, *shape, code=9)
                entry = (j.get("specs") or j.get("results") or j.get("kernels"))[0]
                self.assertEqual(entry["error"]["exit"], 8)
                self.assertNotIn("target", entry)

    def test_bytes_that_are_no_text(self):
        """In a file's name: every item stands in the JSON, with those bytes written out."""
        self.spec(CAUSAL, b"good\xff.yaml".decode(errors="surrogateescape"))
        self.spec(b"attnc: 1\nname: \xff\n", b"bad\xc3.yaml".decode(errors="surrogateescape"))
        names = [b"none\xe9.yaml", b"bad\xc3.yaml", b"good\xff.yaml"]
        for command in self.TAKE[:3]:
            shape = [] if command == ["check"] else ["--shape", "b1 h1 s16"]
            j = self.json(*command, *names, *shape, code=9)
            found = j.get("specs") or j.get("results") or j.get("kernels")
            self.assertEqual([x["file"] for x in found],
                             ["none\\xe9.yaml", "bad\\xc3.yaml", "good\\xff.yaml"])
            self.assertIn("open none\\xe9.yaml", found[0]["error"]["message"])
            self.assertIn("bad\\xc3.yaml", found[1]["error"]["message"])
        j = self.json("doctor", "--device", "emu", code=8,
                      env={"ATTNC_CACHE_DIR": b"/dev/null/\xff"})
        self.assertEqual(j["found"]["variables"]["ATTNC_CACHE_DIR"]["value"],
                         "/dev/null/\\xff")

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
        r = self.attnc("check", good, bad, code=9)
        self.assertIn("causal: ", r.stdout)
        j = self.json("check", good, bad, code=9)
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

    def test_every_target(self):
        """By which template, and why by no faster one: a line a target, codes below."""
        spec = self.spec("attnc: 1\nname: wide\ndtype: bf16\nhead_dim: 512\n")
        r = self.attnc("check", spec, "--arch", "all")
        lines = r.stdout.splitlines()
        self.assertIn("  sm_75   ref_fwd", lines)
        self.assertIn("          A0411 fwd_mma: the target's mma does not multiply this dtype", lines)
        self.assertIn("  sm_80   fwd_mma", lines)
        self.assertNotIn("A0410", r.stdout)  # nobody asks for wgmma on sm_80
        j = self.json("check", spec, "--arch", "all")
        hopper, = (t for t in j["specs"][0]["targets"] if t["name"] == "sm_90a")
        said = {t["template"]: t for t in hopper["templates"]}
        self.assertEqual([t["code"] for t in said["fwd_wgmma"]["reasons"]], ["A0412", "A0412"])
        self.assertTrue(said["fwd_mma"]["chosen"])
        self.assertFalse(said["ref_fwd"]["chosen"])
        # What some target supports is fine; what one that is named does not is not.
        pinned = self.spec("attnc: 1\nname: pinned\ndtype: bf16\nhead_dim: 64\n"
                           "schedule: {template: fwd_wgmma}\n", "pinned.attn.yaml")
        r = self.attnc("check", pinned, "--arch", "all")
        self.assertIn("  sm_80   not supported", r.stdout)
        self.assertIn("  sm_90a  fwd_wgmma", r.stdout)
        self.attnc("check", pinned, "--arch", "sm_80", code=4)


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
        self.write("in.safetensors", raw)
        r = self.attnc("run", self.spec(), "--device", "emu", "--input", "in.safetensors",
                       code=code)
        self.assertIn(text, r.stderr)
        self.assertIn(": in.safetensors: ", r.stderr)

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

    def test_endless(self):
        """Judged by what has come: a header says how much is worth reading."""
        run = ["run", self.spec(), "--device", "emu", "--input"]
        r = self.attnc(*run, "/dev/zero", code=8, timeout=20)
        self.assertIn("/dev/zero: not a safetensors file", r.stderr)
        good = self.write("in.safetensors", safetensors(ONE))
        for start, text in (("echo 12345678", "larger than 16 MiB"),
                            (f"cat {good}", "after the last")):
            r = subprocess.run(["sh", "-c", f'({start}; exec cat /dev/zero) | "$0" "$@"', ATTNC,
                                *run, "-"], cwd=self.dir, env=self.env, capture_output=True,
                               text=True, timeout=20)
            self.assertEqual(r.returncode, 8, r.stderr)
            self.assertIn(text, r.stderr)
        r = subprocess.run(["sh", "-c", f'cat {good} | "$0" "$@"', ATTNC, *run, "-"],
                           cwd=self.dir, env=self.env, capture_output=True, timeout=300)
        self.assertEqual(r.returncode, 0, r.stderr)


if __name__ == "__main__":
    main()
