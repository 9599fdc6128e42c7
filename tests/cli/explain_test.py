"""attnc explain --sass-stats: what ptxas makes of a kernel, counted."""
import os
import shutil
import unittest

import common

PTXAS = shutil.which("ptxas") or "/usr/local/cuda/bin/ptxas"
CUDA = unittest.skipUnless(os.path.exists(PTXAS), "ptxas is not found")


class WhatRunDoes(common.Case):
    """run, explain and key come to one schedule, and say where it is from."""

    def sources(self, *args):
        run = self.json("run", self.spec(), *args)["results"][0]["plan"]
        explain = self.json("explain", self.spec(), *args)
        key = self.json("key", self.spec(), *args)
        schedule = dict(run["schedule"], template=run["template"])
        self.assertEqual(key["schedule"], schedule)
        self.assertEqual(dict(explain["kernel"]["schedule"], template=run["template"]), schedule)
        self.assertEqual(explain["kernel"]["target"], run["target"])
        self.assertEqual({run["source"], explain["source"]}, {key["source"]})
        return key["source"], schedule

    def test_sources(self):
        size = ["--shape", "b1 h2 s256"]
        self.assertEqual(self.sources(*size)[0], "model")
        source, pinned = self.sources(*size, "--schedule", "block_n=32,num_warps=2")
        self.assertEqual((source, pinned["block_n"], pinned["num_warps"]), ("pinned", 32, 2))
        self.sources(*size, "--arch", "sm_90a")
        tuned = self.json("tune", self.spec(), *size, "--top", "3")["candidates"]
        best, = (c for c in tuned if c["verdict"] == "best")
        self.assertEqual(self.sources(*size), ("exact", best["schedule"]))
        self.assertEqual(self.sources("--shape", "b1 h2 s512")[0], "near")
        self.assertIn("the tuning table's for these sizes",
                      self.attnc("explain", self.spec(), *size).stdout)
        self.assertIn("exact", self.attnc("key", self.spec(), *size, "--explain").stdout)
        self.assertEqual(self.sources(*size, "--arch", "sm_90")[0], "model")  # another device
        self.assertEqual(self.sources(*size, "--arch", "sm_86")[0], "family")
        self.assertIn("another device of its family",
                      self.attnc("explain", self.spec(), *size, "--arch", "sm_86").stdout)

    def test_bytes_in_flight(self):
        how = ("--arch", "sm_80", "--shape", "b4 h2 sq1 sk2048", "--schedule")
        text = self.attnc("explain", self.spec(), *how, "template=decode_mma").stdout
        self.assertRegex(text, r"(?m)^in flight +[0-9.]+ KB a multiprocessor, the target's memory "
                               r"asks for 18$")
        self.assertNotIn("in flight",
                         self.attnc("explain", self.spec(), *how, "template=fwd_mma").stdout)

    def test_targets(self):
        rows = {t["name"]: t for t in self.json("targets")["targets"]}
        self.assertEqual((rows["sm_90"]["capability"], rows["sm_90"]["exact"]), ("9.0", False))
        self.assertIs(rows["sm_90a"]["exact"], True)
        self.assertEqual(rows["sm_80"]["cuda"], "11.0")
        self.assertRegex(self.attnc("targets").stdout, r"(?m)^sm_90a +9\.0 alone +8\.0 +12\.0$")


class SassStats(common.Case):
    @CUDA
    def test_json_adds_up(self):
        j = self.json("explain", self.spec(), "--arch", "sm_90", "--sass-stats")
        s = j["sass"]
        self.assertGreater(s["registers"], 30)
        self.assertEqual([s["spill_stores"], s["spill_loads"], s["stack"]], [0, 0, 0])
        self.assertEqual(s["remarks"], [])
        self.assertEqual(len(s["kernels"]), 1)
        kernel = s["kernels"][0]
        for part in [kernel, *kernel["loops"], *[x["least"] for x in kernel["loops"]]]:
            self.assertEqual(sum(part["ops"].values()), part["instructions"])
            self.assertEqual(sum(part["classes"].values()), part["instructions"])
        loop, = [x for x in kernel["loops"] if x["main"]]  # of tiles with a mask and without
        self.assertEqual(loop["ops"]["HMMA"], loop["least"]["ops"]["HMMA"])
        self.assertGreater(loop["ops"]["FSEL"], 0)
        self.assertEqual(loop["least"]["ops"].get("FSEL", 0), 0)
        self.assertNotIn("unknown", kernel["classes"])

    @CUDA
    def test_text(self):
        text = self.attnc("explain", self.spec(), "--arch", "sm_90", "--sass-stats").stdout
        self.assertRegex(text, r"ptxas +\d+ registers, 0 bytes of spill stores, 0 of loads")
        self.assertRegex(text, r"  stack +0 bytes, \d+ barriers")
        self.assertRegex(text, r"  remarks +none")
        self.assertRegex(text, r"  loop 1: 0x[0-9a-f]{5} to 0x[0-9a-f]{5}, depth 1")
        self.assertRegex(text, r"; \d+ the shortest way through")
        self.assertRegex(text, r"  opcode +class +kernel +loop 1 +least")
        self.assertRegex(text, r"  MUFU\.EX2 +mufu +\d+ +\d+ +\d+")

    @CUDA
    def test_schedule(self):
        pin = "template=ref_fwd"
        j = self.json("explain", self.spec(), "--arch", "sm_80", "--sass-stats", "--schedule",
                      pin)
        self.assertNotIn("tensor", j["sass"]["kernels"][0]["classes"])
        self.assertFalse(any(x["main"] for x in j["sass"]["kernels"][0]["loops"]))
        text = self.attnc("explain", self.spec(), "--sass-stats", "--schedule", pin).stdout
        self.assertIn("no loop has tensor-core instructions", text)

    @CUDA
    def test_ptx_in_the_place_of_a_spec(self):
        mine = self.json("explain", self.spec(), "--arch", "sm_90", "--sass-stats")
        ptx = self.write("theirs.ptx", self.attnc("explain", self.spec(), "--arch", "sm_90",
                                                  "--dump", "ptx").stdout)
        theirs = self.json("explain", ptx, "--arch", "sm_90")
        self.assertEqual(theirs["schema"], "attnc.explain_ptx/1")
        self.assertEqual(theirs["sass"], mine["sass"])
        text = self.attnc("explain", ptx, "--arch", "sm_90").stdout
        self.assertRegex(text, r"ptxas +\d+ registers, 0 bytes of spill stores, 0 of loads")
        self.assertRegex(text, r"  MUFU\.EX2 +mufu +\d+ +\d+ +\d+")

    def test_ptx_asked_like_a_spec(self):
        ptx = self.write("theirs.ptx", ".version 8.0\n")
        r = self.attnc("explain", ptx, code=2)
        self.assertIn("--arch must say for which target", r.stderr)
        r = self.attnc("explain", ptx, "--arch", "sm_90", "--shape", "s128", code=2)
        self.assertIn("--shape is about a spec, not about PTX", r.stderr)
        r = self.attnc("explain", self.path("nowhere.ptx"), "--arch", "sm_90", code=8)
        self.assertIn("nowhere.ptx", r.stderr)

    @CUDA
    def test_ptx_that_is_none(self):
        ptx = self.write("theirs.ptx", "no PTX at all\n")
        r = self.attnc("explain", ptx, "--arch", "sm_90", code=5)
        self.assertIn("attnc: error:", r.stderr)

    def test_without_ptxas(self):
        r = self.attnc("explain", self.spec(), "--sass-stats", code=4,
                       env={"ATTNC_PTXAS": self.path("nowhere")})
        self.assertIn("no ptxas: not in $ATTNC_PTXAS", r.stderr)
        j = self.json("explain", self.spec(), "--sass-stats", code=4,
                      env={"ATTNC_PTXAS": self.path("nowhere")})
        self.assertEqual(j["schema"], "attnc.error/1")

    def test_a_cubin_that_is_none(self):
        path = self.write("ptxas", "#!/bin/sh\nwhile [ $# -gt 1 ]; do shift; done\n"
                          "echo broken > \"$1\"\n")
        os.chmod(path, 0o755)
        r = self.attnc("explain", self.spec(), "--sass-stats", code=5,
                       env={"ATTNC_PTXAS": path})
        self.assertIn("cubin: 7 bytes are no ELF file", r.stderr)


if __name__ == "__main__":
    unittest.main()
