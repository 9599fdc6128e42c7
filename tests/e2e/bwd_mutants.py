"""What orders bwd_mma and bwd_wgmma, taken away or weakened one statement at a time: the emulator must tell.

    bwd_mutants.py ATTNC SURVIVORS [--kernel NAME] [--shard I/N] [--jobs N] [-v]

Statements: each barrier of the block, each commit and wait of copies, each addition to workspace; of
bwd_wgmma those of hopper_mutants.py, and what the lanes that load columns do.  Found: a finding, a wrong
result, or a hang that is reported.  SURVIVORS lists, one a line, `kernel: mutation` of those that
nobody finds, each with its reason; the list must be exact.  The kernel itself is as if it were in
the list."""
import argparse
import concurrent.futures
import os
import random
import re
import subprocess
import sys
import tempfile

import tensor_file
from hopper_mutants import RULES as HOPPER, WHOLE, known_survivors, turned

SETTINGS = ("async=lazy", "async=random,sched=random,seed=5")
SQ, SK, H, HK, D = 150, 110, 4, 2, 32
KEYS = "block_m=32,block_n=32,num_warps=2"
TILES = f"{KEYS},dq_block_m=32,dq_block_n=32,dq_warps=2"
KERNELS = {  # target, fields, schedule
    "two": ("sm_80", "causal: true\n", f"{TILES},passes=2,num_stages=2,dq_stages=1"),
    "three": ("sm_80", "causal: true\n", f"{TILES},passes=3,num_stages=1,dq_stages=2"),
    "one": ("sm_80", "causal: true\n", f"{KEYS},passes=1,num_stages=2"),
    "one_stage": ("sm_80", "causal: true\n", f"{KEYS},passes=1,num_stages=1"),
    "one_turing": ("sm_75", "causal: true\n", f"{KEYS},passes=1,num_stages=1"),
    "turing": ("sm_75", "causal: true\n", f"{TILES},passes=3,num_stages=1,dq_stages=1"),
    "hopper_two": ("sm_90a", "causal: true\n", "block_m=32,block_n=128,num_warps=12,dq_block_m=128,"
                   "dq_block_n=32,passes=2,num_stages=2,dq_stages=2"),
    "hopper_three": ("sm_90a", 'mask_mod: "kv_idx // 32 % 3 != 1 && q_idx // 32 % 3 != 1"\n',
                     "block_m=32,block_n=64,num_warps=8,dq_block_m=64,dq_block_n=32,passes=3,num_stages=1,"
                     "dq_stages=1"),
    "hopper_one": ("sm_90a", "causal: true\n", "block_m=128,block_n=128,num_warps=12,dq_block_m=0,dq_block_n=0,"
                   "passes=1,num_stages=2,dq_stages=0"),
}
KEYS_OF = {"hopper_one": 200}  # so that two blocks of them add to a row of dq
TEMPLATE = {"sm_90a": "bwd_wgmma"}
OF_SUMS = (
    ("no addition", r"@p red[^;]*;", ""),
    ("store instead of addition", r"(@p )red\.relaxed\.gpu(\.global)\.add((?:\.v4)?\.f32[^;]*;)", r"\1st\2\3"),
)
RULES = (
    ("no barrier", r"bar\.sync [^;]*;", ""),
    ("no commit", r"cp\.async\.commit_group;", ""),
    ("no wait", r"cp\.async\.wait_group \d+;", ""),
    ("weaker wait", r"(cp\.async\.wait_group )(\d+)(;)", 1),
)
OF_LANES = (
    ("no copy of a lane", r"@p cp\.async\.ca[^;]*;", ""),
    ("no arrival of the lanes", r"cp\.async\.mbarrier\.arrive\.noinc[^;]*;", ""),
    ("lanes that do not wait for their copies", r"cp\.async\.mbarrier\.arrive\.noinc(\.shared::cta\.b64 )([^;]*;)",
     r"mbarrier.arrive.release.cta\1_, \2"),
)


def mutants(ptx, target):
    for what, pattern, change in OF_SUMS + (HOPPER + OF_LANES if target in TEMPLATE else RULES):
        for n, m in enumerate(re.finditer(pattern, ptx)):
            if isinstance(change, str):
                new = m.expand(change)
            elif change is None:
                new = turned(m)
            else:
                new = m.group(1) + str(int(m.group(2)) + change) + m.group(3)
            yield f"{what} {n + 1}", ptx[:m.start()] + new + ptx[m.end():]


def normal(r, *shape):
    n = 1
    for x in shape:
        n *= x
    return "fp16", list(shape), [r.gauss(0, 1) for _ in range(n)]


class Kernel:
    def __init__(self, attnc, folder, name):
        self.target, more, pins = KERNELS[name]
        self.name, self.attnc, self.folder = name, attnc, folder
        self.spec = os.path.join(folder, f"{name}.attn.yaml")
        with open(self.spec, "w", encoding="utf-8") as f:
            f.write(f"attnc: 1\nname: {name}\ndtype: fp16\nhead_dim: {D}\nreturn_lse: true\n{more}")
        self.pins = ["--arch", self.target, "--schedule", f"template={TEMPLATE.get(self.target, 'bwd_mma')},{pins}"]
        self.inputs = self.make_inputs()
        out = os.path.join(folder, name)
        self.call("compile", self.spec, "--op", "bwd", *self.pins, "--emit", "ptx,json", "-o", out)
        ptx, = [n for n in os.listdir(out) if n.endswith(".ptx")]
        with open(os.path.join(out, ptx), encoding="utf-8") as f:
            self.ptx = f.read()

    def call(self, *words):
        r = subprocess.run([self.attnc, *words], capture_output=True, text=True)
        if r.returncode:
            raise RuntimeError(r.stderr)

    def make_inputs(self):
        """Those of the backward pass, with what the forward pass gives."""
        r = random.Random(7)
        keys = KEYS_OF.get(self.name, SK)
        paths = [os.path.join(self.folder, f"{self.name}.{x}") for x in ("in", "out", "all")]
        given = {"q": normal(r, 1, SQ, H, D), "k": normal(r, 1, keys, HK, D),
                 "v": normal(r, 1, keys, HK, D)}
        tensor_file.write(paths[0], given)
        self.call("run", self.spec, "--arch", self.target, "--device", "emu", "--input", paths[0],
                  "-o", paths[1], "-q")
        made = tensor_file.read(paths[1])
        given |= {"o": ("fp16", [1, SQ, H, D], made["o"]), "lse": ("fp32", [1, H, SQ], made["lse"]),
                  "do": normal(r, 1, SQ, H, D)}
        tensor_file.write(paths[2], given)
        return paths[2]

    def found(self, n, text):
        path = os.path.join(self.folder, f"{self.name}-{n}.mutant")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        for setting in SETTINGS:
            env = dict(os.environ, ATTNC_EMU=setting + ",fuel=40000000", ATTNC_LOAD_PTX=path)
            r = subprocess.run([self.attnc, "run", self.spec, "--op", "bwd", *self.pins, "--input",
                                self.inputs, "--device", "emu", "--verify", "--no-cache", "-q",
                                "--timeout", "120"], capture_output=True, text=True, env=env)
            if r.returncode:
                return True
        return False


def main():
    p = argparse.ArgumentParser()
    p.add_argument("attnc")
    p.add_argument("survivors")
    p.add_argument("--kernel", choices=KERNELS)
    p.add_argument("--shard", default="0/1")
    p.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    o = p.parse_args()
    with tempfile.TemporaryDirectory() as folder, \
         concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
        work = []
        for name in [o.kernel] if o.kernel else KERNELS:
            k = Kernel(o.attnc, folder, name)
            work += [(k, what, text) for what, text in [(WHOLE, k.ptx), *mutants(k.ptx, k.target)]]
        first, step = map(int, o.shard.split("/"))
        work = work[first::step]
        found = list(pool.map(lambda w: w[0].found(w[1].replace(" ", "-"), w[2]), work))
        alive = {f"{k.name}: {what}" for (k, what, _), yes in zip(work, found) if not yes}
    known = known_survivors(o.survivors) | {f"{name}: {WHOLE}" for name in KERNELS}
    tried = {f"{k.name}: {what}" for k, what, _ in work}
    new, gone = sorted(alive - known), sorted((known & tried) - alive)
    if step == 1 and not o.kernel:
        gone += sorted(known - tried)
    for line in new:
        print(f"FAIL  nobody finds  {line}")
    for line in gone:
        print(f"FAIL  listed, and found or not there  {line}")
    print(f"{len(work)} mutants, {len(work) - len(alive)} found, {len(alive)} survive")
    return 1 if new or gone else 0


if __name__ == "__main__":
    sys.exit(main())
