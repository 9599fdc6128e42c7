"""tune on the emulator: the table, the record that later plans consult, and injected
candidates, each rejected with its reason."""
import os
import re
import signal
import subprocess
import time

from common import ATTNC, CAUSAL, SOURCE, Case, main

EMU = ["--device", "emu", "--arch", "sm_80"]
SHAPE = ["--shape", "b1 h1 s128"]
SMALL = ["--shape", "b1 h1 s16"]


class Tune(Case):
    def test_best_is_kept_and_consulted(self):
        spec = self.spec()
        run = ["run", spec, *EMU, *SHAPE]
        self.assertNotEqual(self.json(*run)["results"][0]["plan"]["source"], "exact")
        j = self.json("tune", spec, *EMU, *SHAPE, "--top", "6", "-j", "2", "--rank")
        self.assertEqual((j["schema"], j["unit"]), ("attnc.tune/1", "est_cycles"))
        self.assertEqual(len(j["candidates"]), 6)
        best = j["candidates"][0]
        self.assertEqual(best["verdict"], "best")
        self.assertEqual([c["verdict"] for c in j["candidates"][1:]], ["ok"] * 5)
        values = [c["est_cycles"] for c in j["candidates"]]
        self.assertEqual(values, sorted(values))
        self.assertTrue(all(c["max_error"] <= c["bound"] for c in j["candidates"]))
        self.assertEqual(j["ranked"], 6)
        plan = self.json(*run)["results"][0]["plan"]
        self.assertEqual(plan["source"], "exact")
        for field in ("block_m", "block_n", "num_warps", "num_stages", "q_in_regs"):
            self.assertEqual(plan["schedule"].get(field), best["schedule"][field])

    def test_text(self):
        r = self.attnc("tune", self.spec(), *EMU, *SHAPE, "--top", "3", "--rank")
        self.assertRegex(r.stdout, r"\Acausal  b1 h1 s128  sm_80 on ")
        self.assertRegex(r.stdout, r"\n  schedule +est_cycles +± +registers +error +verdict\n")
        self.assertRegex(r.stdout, r"rank correlation of the cost model over 3 schedules: ")
        self.assertIn("left out by --top", r.stdout)
        self.assertRegex(r.stderr, r"kept \w+ \d+x\d+ ")
        self.assertNotIn("\r", r.stderr)  # no progress line: not a terminal

    def test_injected(self):
        """Wrong, oversized and hanging candidates are rejected, each with its reason."""
        spec = self.spec(CAUSAL.replace("head_dim: 32", "head_dim: 128"))
        j = self.json("tune", spec, *EMU, "--shape", "b1 h1 s64", "--top", "2", "--timeout", "5",
                      "--inject", "wrong,oversized,hang",
                      env={"ATTNC_EMU": "fuel=1000000000000000"})
        injected = {c["injected"]: c for c in j["candidates"] if "injected" in c}
        self.assertEqual(injected["wrong"]["verdict"], "rejected")
        self.assertRegex(injected["wrong"]["reason"], r"wrong result: error ")
        self.assertEqual(injected["oversized"]["verdict"], "refused")
        self.assertRegex(injected["oversized"]["reason"], r"\d+ bytes of shared memory")
        self.assertEqual(injected["hang"]["verdict"], "rejected")
        self.assertRegex(injected["hang"]["reason"], r"launch: no end within 5 s, killed")
        self.assertEqual([c["verdict"] for c in j["candidates"][:2]], ["best", "ok"])

    def test_hang_by_fuel(self):
        """An emulator that gives up by itself is a reason as well."""
        j = self.json("tune", self.spec(), *EMU, *SHAPE, "--top", "1", "--inject", "hang",
                      env={"ATTNC_EMU": "fuel=1000000"})
        hang = j["candidates"][1]
        self.assertEqual(hang["verdict"], "rejected")
        self.assertTrue(re.search(r"fuel|finding|launch", hang["reason"]), hang["reason"])

    def test_interrupt_keeps_nothing(self):
        p = subprocess.Popen([ATTNC, "tune", self.spec(), *EMU, *SHAPE, "--top", "1", "--inject",
                              "hang"], cwd=self.dir, text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE,
                             env={**self.env, "ATTNC_EMU": "fuel=1000000000000000"})
        time.sleep(4)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 130)
        self.assertIn("nothing was kept", err)
        self.assertIn("not reached", out)

    def test_shards_and_resume(self):
        """Two runs of a job array and one that resumes keep what one run would."""
        spec = self.spec()
        tune = ["tune", spec, *EMU, *SHAPE, "--top", "6"]
        whole = self.json(*tune, "--dry-run")
        self.assertEqual(self.attnc(*tune, "--shard", "2/2", code=2).stdout, "")
        self.attnc(*tune, "--shard", "auto", code=2)
        array = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "2",
                 "SLURM_ARRAY_TASK_MIN": "6"}
        one = self.json(*tune, "--shard", "0/2")
        two = self.json(*tune, "--shard", "auto", env=array)
        self.assertEqual(one["why_not"], "one shard of several")
        self.assertEqual(len(one["candidates"]) + len(two["candidates"]), 7)
        met = self.json(*tune, "--resume")
        self.assertTrue(all(c.pop("resumed") for c in met["candidates"]))
        self.assertEqual(met["candidates"], whole["candidates"])
        self.assertTrue(met["recorded"])

    def test_levels(self):
        args = ["tune", self.spec(CAUSAL + "schedule: {block_m: 64, num_warps: 4}\n"), *EMU,
                *SHAPE]
        j = self.json(*args, "--schedule", "block_n=64")
        self.assertEqual((j["left_out"], j["recorded"]), (0, True))
        self.assertGreater(j["outside"], 0)
        self.assertNotEqual(j["level"], "exhaustive")  # of all, what --schedule says is a part
        j = self.json(*args)
        self.assertEqual((j["level"], j["recorded"], j["outside"]), ("exhaustive", True, 0))
        r = self.attnc(*args, "--level", "estimate")
        self.assertIn("nothing was kept: the tuning table has a record of level exhaustive",
                      r.stderr)
        self.assertIn("left out by --level", r.stdout)
        self.attnc(*args, "--level", "lazy", code=2)

    def test_worker_is_not_for_people(self):
        r = self.attnc("tune-worker", stdin="{}\n", code=2)
        self.assertIn("started by attnc tune", r.stderr)

    def test_pins_are_kept(self):
        spec = self.spec(CAUSAL + "schedule: {block_m: 64, num_warps: 4}\n")
        j = self.json("tune", spec, *EMU, *SHAPE, "--top", "2")
        self.assertGreater(j["pinned_away"], 0)
        for c in j["candidates"]:
            self.assertEqual((c["schedule"]["block_m"], c["schedule"]["num_warps"]), (64, 4))

    def test_unknown_fault(self):
        self.attnc("tune", self.spec(), *EMU, *SHAPE, "--inject", "weed", code=2)


SHIM = r"""
#include "abi/cuda.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
/* The emulator behind a driver's entry points alone, so that it passes for a GPU.  It has
 * no clock: times are made up, from 1 to 1.6 ms. */
static CUresult
elapsed(float *ms, CUevent from, CUevent to)
{
  static int calls;
  *ms = 1 + 0.1f * (float)(calls++ % 7);
  return from && to ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
#define X(need, name, args)                                                             \
  __attribute__((used)) static void *to_##name;                                         \
  __asm__(".globl " #name "\n.type " #name ",@function\n" #name ":\n\tjmp *to_" #name "(%rip)\n");
CUDA_ENTRY_TABLE(X)
#undef X
/* The log of a compiler that says $SHIM_SAYS, unless the driver has the result already. */
static CUresult (*real_load)(CUmodule *, const void *, unsigned, CUjit_option *, void **);
static CUresult
load(CUmodule *m, const void *image, unsigned n, CUjit_option *options, void **values)
{
  CUresult r = real_load(m, image, n, options, values);
  const char *says = getenv("SHIM_SAYS");
  for (unsigned i = 0; says && getenv("CUDA_CACHE_DISABLE") && i < n; i++)
    if (options[i] == CU_JIT_INFO_LOG_BUFFER)
      snprintf(values[i], 256, "%s\n", says);
  return r;
}
__attribute__((constructor)) static void
fill(void)
{
  void *h = dlopen(EMU, RTLD_NOW | RTLD_LOCAL);
#define X(need, name, args) to_##name = dlsym(h, #name);
  CUDA_ENTRY_TABLE(X)
#undef X
  to_cuEventElapsedTime = (void *)elapsed;
  *(void **)&real_load = to_cuModuleLoadDataEx;
  to_cuModuleLoadDataEx = (void *)load;
}
"""


class AsIfAGpu(Case):
    """What only happens on a GPU: events, repeats, a final in turns, a record in ms."""

    def setUp(self):
        super().setUp()
        if os.uname().machine != "x86_64":
            self.skipTest("the shim is written for x86-64")
        emu = os.path.realpath(os.path.join(os.path.dirname(ATTNC), "..", "lib",
                                            "libattnc-emu.so"))
        self.shim = self.path("libshim.so")
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-I", SOURCE,
                        f'-DEMU="{emu}"', "-o", self.shim, self.write("shim.c", SHIM)],
                       check=True)
        self.gpu = {"ATTNC_LIBCUDA": self.shim}

    def test_serialised_is_no_candidate(self):
        says = "ptxas info    : (C7510) Potential Performance Loss: serialized"
        r = self.json("tune", self.spec(), *SHAPE, "--top", "2",
                      env={**self.gpu, "SHIM_SAYS": says}, code=1)
        self.assertEqual([(c["verdict"], c["reason"]) for c in r["candidates"]],
                         [("rejected", says)] * 2)
        r = self.json("tune", self.spec(), *SHAPE, "--top", "2", env=self.gpu)
        self.assertEqual({c["verdict"] for c in r["candidates"]}, {"best", "ok"})

    def test_run_is_timed(self):
        r = self.json("run", self.spec(), "--verify", "--repeat", "5", *SMALL, env=self.gpu)
        r = r["results"][0]
        self.assertFalse(r["emulated"])
        self.assertEqual((r["verdict"], r["ms"]["n"]), ("PASS", 5))
        self.assertTrue(0 < r["ms"]["least"] <= r["ms"]["median"] <= r["ms"]["most"])
        text = self.attnc("run", self.spec(), "--repeat", "2", *SMALL, env=self.gpu).stdout
        self.assertRegex(text, r"\n  time       \d+\.\d{4} ms, median of 2 \(")
        self.attnc("run", self.spec(), "--device", "emu", *SMALL, env=self.gpu, code=6)

    def test_tune(self):
        args = ["tune", self.spec(), *SMALL, "--top", "4", "--repeat", "3", "--rank"]
        j = self.json(*args, "--inject", "wrong", env=self.gpu)
        self.assertEqual(j["unit"], "ms")
        verdicts = [c["verdict"] for c in j["candidates"]]
        self.assertEqual(verdicts, ["best", "ok", "ok", "ok", "rejected"])
        times = [c["ms"] for c in j["candidates"][:4]]
        self.assertEqual(times, sorted(times))
        self.assertTrue(all(c["spread"] >= 0 for c in j["candidates"][:4]))
        plan = self.json("run", self.spec(), *SMALL, env=self.gpu)["results"][0]["plan"]
        self.assertEqual(plan["source"], "exact")
        self.assertRegex(self.attnc(*args, env=self.gpu).stdout, r"\n  schedule +ms +± ")


if __name__ == "__main__":
    main()
