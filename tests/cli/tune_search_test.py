"""What the tuner finds with how much, on the emulator, whose values are exact: at most a quarter
of the measurements of an exhaustive sweep, and within 3 % of its optimum; killed at random and
resumed, it ends with the table of one that was not; what was rejected once is not run again.

PROBLEMS=n: the first n of the table alone."""
import json
import os
import random
import subprocess
import time

import tables
from common import ATTNC, CAUSAL, SOURCE, Case, main

EMU = ["--device", "emu", "--arch", "sm_80"]
PROBLEMS = """
llama3_8b_prefill      b1 h4/1 s192
mistral_7b_window      b1 h4/1 s160
bloom_560m_alibi       b1 h4 s180
bert_base              b1 h2 s200
bigbird_base           b1 h2 s260
block_diffusion        b1 h2 s200
document_offsets       b1 h2 s200
alphafold2_msa_row     b1 h2 s170
dilated_window         b1 h3 s200
flamingo_cross         b1 h2 sq150 sk220
gpt2                   b2 h3 s100
prefix_lm              b1 h2 s220
"""


class Search(Case):
    def measured(self, j):
        return {json.dumps(c["schedule"], sort_keys=True): c["est_cycles"]
                for c in j["candidates"] if "est_cycles" in c}

    def one(self, name, shape):
        """The exhaustive sweep leaves its trials; the short one takes those, which are what it
        would measure."""
        args = ["tune", os.path.join(SOURCE, "specs", f"{name}.attn.yaml"), "--shape", shape, *EMU]
        env = {"ATTNC_TUNE_DIR": self.path(name)}
        every = self.measured(self.json(*args, "-q", env=env, timeout=1500))
        short = self.json(*args, "--level", "measure", "--resume", "-q", env=env, timeout=600)
        few = self.measured(short)
        self.assertTrue(all(c.get("resumed") for c in short["candidates"]))
        self.assertLessEqual(few.items(), every.items())
        best, most = min(few.values()) / min(every.values()), max(every.values())
        print(f"{name:22} {shape:20} {len(few):3} of {len(every):3} measured, best is "
              f"{best:.3f} of the optimum, the worst {most / min(every.values()):.2f}", flush=True)
        self.assertLessEqual(len(few), len(every) / 4)
        self.assertLessEqual(best, 1.03)

    def test_a_quarter_finds_it(self):
        rows = [x.split(None, 1) for x in PROBLEMS.split("\n") if x]
        for name, shape in rows[:int(os.environ.get("PROBLEMS", len(rows)))]:
            with self.subTest(name):
                self.one(name, shape.strip())


class Killed(Case):
    def test_killed_and_resumed(self):
        """Killed with SIGKILL, its worker too, at moments drawn anew until it comes to its end."""
        rng, spec = random.Random(4), self.spec()
        args = ["tune", spec, "--shape", "b1 h1 s64", *EMU, "--top", "12", "-q"]
        start = time.monotonic()
        self.attnc(*args, env={"ATTNC_TUNE_DIR": self.path("whole")})
        took = time.monotonic() - start
        env, killed, limit = {**self.env, "ATTNC_TUNE_DIR": self.path("parts")}, 0, took
        while True:
            p = subprocess.Popen([ATTNC, *args, "--resume", "--jobs", "1"], env=env,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                self.assertEqual(p.wait(rng.random() * limit), 0)
                break
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
                killed += 1
                limit *= 1.05
        print(f"killed {killed} times")
        self.assertGreater(killed, 0)
        table = tables.path("", "attnc emulated sm_80")
        self.assertEqual(self.read(f"parts/{table}"), self.read(f"whole/{table}"))
        trials = tables.path("", "attnc emulated sm_80", ".trials.jsonl")
        merged = [self.attnc("tune", "merge", f"{d}/{trials}").stdout for d in ("parts", "whole")]
        self.assertEqual(*merged)

    def test_quarantine(self):
        """A candidate that an earlier sweep died of is left alone, and the sweep goes on."""
        args = ["tune", self.spec(), "--shape", "b1 h1 s64", *EMU, "--top", "4"]
        env = {"ATTNC_TUNE_DIR": self.path("t")}
        first = self.json(*args, env=env)["candidates"]
        path = tables.path(self.path("t"), "attnc emulated sm_80", ".trials.jsonl")
        with open(path, encoding="utf-8") as f:
            lines = [json.loads(x) for x in f]
        os.remove(path)
        for x in lines:
            del x["sum"]
            if x["schedule"] == first[0]["schedule"]:
                for name in ("value", "spread", "samples", "max_error", "bound", "registers",
                             "spilled_bytes"):
                    del x[name]
                x["reason"] = "launch: the worker died of signal 11 (SIGSEGV)"
        tables.write(self.path("t"), "attnc emulated sm_80.trials", *lines[:3])
        again = {json.dumps(c["schedule"]): c for c in
                 self.json(*args, "--resume", env=env)["candidates"]}
        dead = again.pop(json.dumps(first[0]["schedule"]))
        self.assertEqual((dead["verdict"], dead["reason"], dead["resumed"]),
                         ("rejected", "launch: the worker died of signal 11 (SIGSEGV)", True))
        self.assertEqual(sorted(c["verdict"] for c in again.values()), ["best", "ok", "ok"])


if __name__ == "__main__":
    main()
