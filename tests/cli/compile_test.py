"""compile, explain, key, cache, schema, bench: what they print and write."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import unittest

from common import CAUSAL, SOURCE, Case, main


class Compile(Case):
    def compile(self, *args, spec=None, arch="sm_80", code=0):
        return self.json("compile", spec or self.spec(), "--arch", arch, "-o",
                         self.path("out"), *args, code=code)

    def check_manifest(self):
        """Every line's hash is right, and every file has a line."""
        names = []
        for line in self.read("out/MANIFEST.sha256").decode().splitlines():
            digest, name = line.split("  ")
            self.assertEqual(hashlib.sha256(self.read(f"out/{name}")).hexdigest(), digest)
            names.append(name)
        self.assertEqual(names, sorted(names))
        self.assertEqual(set(os.listdir(self.path("out"))), {*names, "MANIFEST.sha256"})
        return names

    def test_files(self):
        j = self.compile("--emit", "ptx,json,ll", arch="sm_80,sm_90a")
        names = [f"causal.{t}.{x}" for t in ("sm_80", "sm_90a") for x in ("json", "ll", "ptx")]
        self.assertEqual(self.check_manifest(), names)
        self.assertEqual([f["name"] for f in j["files"]], names)
        self.assertEqual([k["target"] for k in j["kernels"]], ["sm_80", "sm_90a"])
        self.assertIn(b".version 8.0\n.target sm_90a\n", self.read("out/causal.sm_90a.ptx"))
        exact = json.loads(self.read("out/causal.sm_90a.json"))
        self.assertEqual((exact["exact"], exact["min_driver"]), (True, 12000))
        recipe = json.loads(self.read("out/causal.sm_80.json"))
        self.assertEqual(recipe["schema"], "attnc.kernel/3")
        self.assertIn(f"// attnc mark {recipe['mark']} template=fwd_mma,block_m=".encode(),
                      self.read("out/causal.sm_80.ptx").split(b"\n")[0])
        self.assertEqual(recipe["ptx_sha256"],
                         hashlib.sha256(self.read("out/causal.sm_80.ptx")).hexdigest())
        subprocess.run(["sha256sum", "-c", "--quiet", "MANIFEST.sha256"], check=True,
                       cwd=self.path("out"))

    def test_directories_grow(self):
        self.compile()
        other = self.spec(CAUSAL.replace("name: causal", "name: other"), "other.attn.yaml")
        self.compile(spec=other)
        self.assertEqual(self.check_manifest(), [f"{n}.sm_80.{x}" for n in ("causal", "other")
                                                 for x in ("json", "ptx")])
        self.write("out/MANIFEST.sha256", "no manifest\n")
        r = self.attnc("compile", other, "--arch", "sm_80", "-o", self.path("out"), code=8)
        self.assertIn("not a line of sha256sum", r.stderr)

    def test_same_bytes_twice(self):
        self.compile("--emit", "ptx,json,ll,c")
        first = self.read("out/MANIFEST.sha256")
        self.compile("--emit", "ptx,json,ll,c")
        self.assertEqual(first, self.read("out/MANIFEST.sha256"))

    def test_partly(self):
        """One spec that is bad, one that is not: the good one is written, exit 9."""
        r = self.attnc("compile", self.spec(), self.spec("attnc: 1\n", "bad.attn.yaml"),
                       "--arch", "sm_80", "-o", self.path("out"), code=9)
        self.assertIn("error[A", r.stderr)
        self.assertEqual(self.check_manifest(), ["causal.sm_80.json", "causal.sm_80.ptx"])
        r = self.attnc("compile", self.spec(), self.spec(name="again.attn.yaml"),
                       "--arch", "sm_80", "-o", self.path("out"), code=9)
        self.assertIn("another spec before this is named causal", r.stderr)

    def test_nothing_is_written_for_nothing(self):
        self.attnc("compile", self.spec("attnc: 1\n"), "--arch", "sm_80", "-o",
                   self.path("out"), code=3)
        self.assertFalse(os.path.exists(self.path("out/MANIFEST.sha256")))

    def test_specialised_values_must_be_given(self):
        spec = self.spec(CAUSAL + "specialize: [sq, sk]\n")
        r = self.attnc("compile", spec, "--arch", "sm_80", "-o", self.path("out"), code=2)
        self.assertIn("sq", r.stderr)
        self.compile("--shape", "b1 h4 s128", spec=spec)
        recipe = json.loads(self.read("out/causal.sm_80.json"))
        self.assertEqual(recipe["requires"]["sizes"], {"sq": 128, "sk": 128})

    def test_from_ptx(self):
        self.compile()
        edited = self.read("out/causal.sm_80.ptx").decode().replace("ex2.approx", "rcp.approx")
        j = self.compile("--from=ptx", self.write("edited.ptx", edited))
        self.assertEqual(len(j["kernels"]), 1)
        self.assertEqual(self.read("out/causal.sm_80.ptx").decode(), edited)
        r = self.attnc("compile", self.spec(), self.path("edited.ptx"), "--from=ptx",
                       "--emit=ll", "--arch", "sm_80", "-o", self.path("out"), code=2)
        self.assertIn("--from=ptx", r.stderr)

    def refused(self, stage, text, says, *args, spec=None, code=2):
        """What is refused leaves no file behind."""
        shutil.rmtree(self.path("refused"), ignore_errors=True)
        r = self.attnc("compile", spec or self.spec(), self.write("given", text),
                       f"--from={stage}", "--arch", "sm_80", "-o", self.path("refused"), *args,
                       code=code)
        self.assertIn(says, r.stderr)
        self.assertEqual(os.listdir(self.path("refused")), [])
        return r.stderr

    def test_from_another_schedule(self):
        """The schedule of a text is named, and with it the text is taken."""
        how = "block_m=64,block_n=64,num_warps=4"
        for stage in "ptx", "ll":
            self.compile("--emit", "ptx,ll", "--schedule", how)
            text = self.read(f"out/causal.sm_80.{stage}").decode()
            ptx = self.read("out/causal.sm_80.ptx")
            said = self.refused(stage, text, "is not the text of this recipe")
            named = re.search(r"--schedule (\S+);", said)[1]
            self.assertIn("block_m=64,block_n=64", named)
            j = self.compile(f"--from={stage}", self.write("edited", text), "--schedule", named)
            self.assertEqual(j["kernels"][0]["schedule"]["block_m"], 64)
            self.assertEqual(self.read("out/causal.sm_80.ptx"), ptx)

    def test_from_another_kernel(self):
        """The same schedule, but other tensors, other parameters or other constants."""
        self.compile()
        text = self.read("out/causal.sm_80.ptx").decode()
        for spec, args in ((CAUSAL.replace("bf16", "fp16"), []),
                           (CAUSAL.replace("return_lse: true\n", ""), []),
                           (CAUSAL + "specialize: [sk]\n", ["--shape", "b1 h4 s128"])):
            self.refused("ptx", text, "is not the text of this recipe", *args,
                         spec=self.spec(spec, "other.attn.yaml"))
        named = self.spec(CAUSAL.replace("name: causal", "name: other"), "other.attn.yaml")
        self.compile("--from=ptx", self.write("edited.ptx", text), spec=named)

    def test_from_another_kernel_of_one_schedule(self):
        """Constants of the kernel that no parameter shows."""
        how = ["--schedule", "template=fwd_mma,block_m=64,block_n=64,num_stages=2,num_warps=4"]
        scaled = CAUSAL + "specialize: [softmax_scale]\nsoftmax_scale: 0.25\n"
        for one, other in ((CAUSAL, CAUSAL.replace("head_dim: 32", "head_dim: 48")),
                           (scaled, scaled.replace("0.25", "0.5"))):
            self.compile(*how, spec=self.spec(one, "one.attn.yaml"))
            text = self.read("out/causal.sm_80.ptx").decode()
            self.refused("ptx", text, "is not the text of this recipe", *how,
                         spec=self.spec(other, "other.attn.yaml"))

    def test_from_a_later_version(self):
        """The driver that the recipe asks for is that of the text's own .version."""
        self.compile()
        text = self.read("out/causal.sm_80.ptx").decode()
        later = self.write("later.ptx", text.replace(".version 7.0", ".version 8.6"))
        self.compile("--from=ptx", later)
        recipe = json.loads(self.read("out/causal.sm_80.json"))
        self.assertEqual((recipe["ptx_version"], recipe["min_driver"]), (86, 12070))
        self.refused("ptx", text.replace(".version 7.0", ".version 9.7"), ".version 9.7")

    def test_from_garbage(self):
        self.compile("--emit", "ptx,ll")
        ptx = self.read("out/causal.sm_80.ptx").decode()
        ll = self.read("out/causal.sm_80.ll").decode()
        for text in "", "garbage\n", "// attnc mark\n", ptx[ptx.index("\n") + 1:]:
            self.refused("ptx", text, "does not begin with the mark")
        for text in "", "no IR", ll[ll.index("\n") + 1:]:
            self.refused("ll", text, "does not begin with the mark")
        mark = ptx[:ptx.index("\n") + 1]
        self.refused("ptx", mark, "has no entry attnc_fwd_mma_sm_80")
        self.refused("ptx", mark + "garbage", "has no entry attnc_fwd_mma_sm_80")
        self.refused("ptx", mark + "/* .entry attnc_fwd_mma_sm_80() */", "has no entry")
        self.refused("ptx", ptx.replace("\t.param .u64", "\t//.param .u64", 1), "parameters")
        self.refused("ptx", ptx.replace("\t.param .u64", "\t.param .u32", 1), "has 4 bytes")
        self.refused("ll", ll[:ll.index("\n") + 1], "has no entry")

    def test_from_ll(self):
        self.compile("--emit", "ptx,ll")
        ptx = self.read("out/causal.sm_80.ptx")
        self.compile("--from=ll", self.path("out/causal.sm_80.ll"))
        self.assertEqual(self.read("out/causal.sm_80.ptx"), ptx)
        mark = self.read("out/causal.sm_80.ll").decode().split("\n")[0]
        r = self.attnc("compile", self.spec(), self.write("bad.ll", mark + "\nno IR"),
                       "--from=ll", "--arch", "sm_80", "-o", self.path("out"), code=5)
        self.assertRegex(r.stderr, r"error: .*2:")

    def test_pinned(self):
        pin = "template=fwd_mma,block_m=64,block_n=64,num_stages=2,num_warps=4"
        j = self.compile("--schedule", pin)
        self.assertEqual(j["kernels"][0]["schedule"]["block_m"], 64)
        self.assertEqual(j["kernels"][0]["schedule"]["template"], "fwd_mma")

    def test_cubin_or_the_reason(self):
        without = {"PATH": "/nonexistent", "CUDA_HOME": "/nonexistent"}
        if os.path.exists("/usr/local/cuda/bin/ptxas") or shutil.which("ptxas"):
            self.compile("--emit", "cubin,ptx")
            self.assertEqual(self.read("out/causal.sm_80.cubin")[:4], b"\x7fELF")
            text = self.attnc("explain", self.spec(), "--sass").stdout
            self.assertRegex(text, r"ptxas +\d+ registers, 0 bytes of spill stores")
        if not os.path.exists("/usr/local/cuda/bin/ptxas"):
            r = self.attnc("compile", self.spec(), "--arch", "sm_80", "-o", self.path("out"),
                           "--emit", "cubin", env=without, code=4)
            self.assertIn("no ptxas", r.stderr)

    def test_a_broken_ptxas_is_told(self):
        folder = self.path("bin")
        os.mkdir(folder)
        self.write("bin/ptxas", "#!/bin/sh\necho 'ptxas fatal: as injected' >&2\nexit 255\n")
        os.chmod(self.path("bin/ptxas"), 0o755)
        r = self.attnc("compile", self.spec(), "--arch", "sm_80", "-o", self.path("out"),
                       "--emit", "cubin", env={"PATH": folder + ":/usr/bin:/bin"}, code=5)
        self.assertIn("as injected", r.stderr)


class Explain(Case):
    def test_text(self):
        text = self.attnc("explain", self.spec(), "--shape", "b1 h4 s256", "--schedule",
                          "block_m=64,block_n=64", "--all").stdout
        self.assertRegex(text, r"schedule +\w+ 64x64")
        self.assertIn("6 empty, 4 partial, 6 full", text)
        self.assertIn("  +...\n  #+..\n  ##+.\n  ###+\n", text)
        self.assertIn("causal: true", text)
        self.assertIn("is the limit", text)

    def test_large_pictures_are_of_larger_blocks(self):
        text = self.attnc("explain", self.spec(), "--shape", "b1 h4 s16384").stdout
        rows = [line for line in text.splitlines() if re.fullmatch(r"  [.+#]+", line)]
        self.assertTrue(4 <= len(rows) <= 32 and all(len(row) <= 66 for row in rows))

    def test_gradients(self):
        """Of op bwd the tiles of each pass; schedules of all numbers of passes, refused ones too."""
        shape = ("--op", "bwd", "--shape", "b1 h4 s256", "--arch", "sm_80")
        pins = ("template=bwd_mma,passes=2,num_stages=2,block_m=16,block_n=64,num_warps=4,dq_block_m=64,dq_block_n=32,"
                "dq_warps=4,dq_stages=1")
        j = self.json("explain", self.spec(), *shape, "--schedule", pins, "--all")
        self.assertEqual((j["tiles"]["q_tiles"], j["tiles"]["kv_tiles"]), (16, 4))
        self.assertEqual((j["dq_tiles"]["q_tiles"], j["dq_tiles"]["kv_tiles"]), (4, 8))
        self.assertEqual(j["key"], self.json("key", self.spec(), *shape, "--schedule", pins)["key"])
        said = {row.get("passes") for row in j["schedules"] if "reason" in row}
        self.assertLessEqual({1, 2, 3}, said)
        j = self.json("explain", self.spec(), *shape[:-1], "sm_90a", "--all")
        self.assertIn("bwd_wgmma", json.dumps(j["schedules"]))

    def test_dump(self):
        ptx = self.attnc("explain", self.spec(), "--dump=ptx").stdout
        self.assertIn(".entry", ptx)
        both = self.attnc("explain", self.spec(), "--dump=tile,ptx").stdout
        self.assertIn("==== tile ====\n", both)
        self.assertTrue(both.endswith(f"==== ptx ====\n{ptx}"))
        j = self.json("explain", self.spec(), "--dump=all")
        self.assertEqual(j["dump"]["ptx"], ptx)
        self.assertIn("tile", j["dump"])

    def test_key_is_that_of_key(self):
        spec = self.spec()
        shape = ("--shape", "b1 h4 s256", "--arch", "sm_86")
        j = self.json("explain", spec, *shape)
        self.assertEqual(j["key"], self.json("key", spec, *shape)["key"])
        self.assertEqual(self.attnc("key", spec, *shape).stdout, j["key"] + "\n")
        fields = self.attnc("key", spec, *shape, "--explain").stdout
        self.assertRegex(fields, r"\n +target +sm_86\n")
        other = self.json("key", spec, *shape, "--schedule", "block_m=32,block_n=32")
        self.assertNotEqual(other["key"], j["key"])


class Others(Case):
    def test_schema(self):
        with open(os.path.join(SOURCE, "schema", "attention-spec-v1.schema.json"),
                  encoding="utf-8") as f:
            self.assertEqual(json.loads(self.attnc("schema").stdout), json.load(f))

    def test_cache(self):
        for what in ("stat", "verify", "gc", "clear"):
            j = self.json("cache", what)
            self.assertEqual(j["schema"], "attnc.cache/1")
            self.assertIn(j.get("entries", 0), (0,))
            self.attnc("cache", what)
        self.assertIn(self.dir, self.json("cache", "stat")["dir"])

    def test_bench(self):
        j = self.json("bench", "compile", "--repeat", "2")
        self.assertEqual(j["n"], 2)
        for stage in "front tile lower passes codegen total not_llvm".split():
            self.assertGreater(j["ms"][stage]["median"], 0, stage)
        self.assertLess(j["ms"]["not_llvm"]["median"], j["ms"]["total"]["median"])


if __name__ == "__main__":
    unittest.TestCase.maxDiff = 2000
    main()
