"""fwd_wgmma from YAML to a judged result: its whole schedule space in a sample that is the
same every time, each case under every asynchronous policy and several orders of the warps.

    hopper.py ATTNC [--shard I/N] [--jobs N] [-v]

The sample is BLOCKS blocks of EACH cases; a shard is every N-th block, from the I-th.  A case is
a spec, sizes and some fields of the schedule, drawn from the values below; the others are left to
the cost model.  Which draws are legal only the program is asked.  Passed: exit 0 (no finding of
the emulator, every row within the bound of the fp64 reference) and the same bits of o and lse
under all settings.  Exit 1 names the cases that failed, with the command that runs them."""
import argparse
import concurrent.futures
import hashlib
import os
import random
import subprocess
import sys
import tempfile

BLOCKS, EACH = 50, 6
SETTINGS = ("async=lazy", "async=eager,sched=random,seed=7", "async=random,seed=3",
            "async=random,sched=rr,seed=11")
MASKS = ("", "causal: true\n", "causal: true\nalign: top_left\n", "window: [40, 0]\n",
         "window: [25, 30]\n", "window: [60, 60]\nalign: top_left\n", "window: [-1, 9]\n")
DIMS = ((16, 16), (24, 24), (40, 40), (64, 64), (64, 128), (80, 80), (96, 96), (128, 128),
        (128, 64), (40, 112), (96, 160), (160, 160), (192, 192), (192, 128), (256, 256))
SIZES = ("b1 h2/1 sq200 sk333", "b2 h4/2 sq129 sk64", "b1 h8/1 sq1 sk500", "b1 h2/2 sq70 sk1",
         "b1 h4/4 sq33 sk0", "b1 h4/1 sq400 sk130", "b2 h8/2 sq128 sk256", "b1 h2/1 sq256 sk192", "b9 h16/4 sq70 sk90",
         "b5 h32/8 sq140 sk48")
SPECIAL = ("", "", "specialize: [b, h, hk, sq, sk]\n", "specialize: [sq, sk, strides]\n")
PINNED = 0.35  # of the fields
# What the program says of a draw that it does not take.
REFUSED = ("no legal schedule", "is specialised: the problem must give it")
FACTORS = {
    "block_m": (64, 128, 192), "block_n": (16, 32, 48, 64, 80, 96, 112, 128, 160, 176, 192),
    "num_stages": (1, 2, 3), "p_in_smem": (False, True), "intra_wg_overlap": (True, False),
    "pingpong": (True, False), "scheduler": ("grid", "persistent", "lpt", "dynamic"), "cluster": (1, 2),
    "pack_gqa": (False, True), "tma_store": (True, False), "q_stages": (1, 2),
    "cross_tile": (False, True), "lazy_rescale": (False, True), "poly_exp2": (0, 3, 16),
    "narrow_diagonal": (False, True), "private_epilogue": (True, False),
    "o_in_v": (False, True),
}


def group(size):
    heads = size.split()[1][1:].split("/")
    return int(heads[0]) // int(heads[1])


def draw(rng):
    """A case: its spec, its size and the fields of its schedule that are pinned."""
    size, mask, (d, dv) = rng.choice(SIZES), rng.choice(MASKS), rng.choice(DIMS)
    pins = {name: rng.choice(values) for name, values in FACTORS.items() if rng.random() < PINNED}
    spec = (f"attnc: 1\nname: case\ndtype: {rng.choice(('fp16', 'bf16'))}\nhead_dim: {d}\n"
            f"head_dim_v: {dv}\n{mask}layout: {rng.choice(('bshd', 'bhsd'))}\n"
            f"return_lse: {rng.choice(('true', 'false'))}\n{rng.choice(SPECIAL)}")
    if rng.random() < 0.5:
        spec += f"group_size: {group(size)}\n"
    return spec, size, pins


def text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


class Runner:
    def __init__(self, attnc, folder):
        self.attnc, self.folder = attnc, folder

    def command(self, n, case):
        spec, size, s = case
        path = os.path.join(self.folder, f"{n}.attn.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(spec)
        pins = ",".join(["template=fwd_wgmma"] + [f"{k}={text(v)}" for k, v in s.items()])
        return path, ["--arch", "sm_90a", "--shape", size, "--schedule", pins]

    def legal(self, n, case):
        path, args = self.command(n, case)
        r = subprocess.run([self.attnc, "key", path, *args], capture_output=True, text=True)
        if r.returncode and not any(words in r.stderr for words in REFUSED):
            raise RuntimeError(f"{r.stderr}\n{' '.join(args)}\n{case[0]}")
        return r.returncode == 0

    def run(self, n, case):
        """None, or what is wrong."""
        path, args = self.command(n, case)
        digests = set()
        for i, setting in enumerate(SETTINGS):
            out = os.path.join(self.folder, f"{n}.{i}.safetensors")
            command = [self.attnc, "run", path, *args, "--device", "emu", "--verify", "--no-cache",
                       "-q", "--timeout", "300", "-o", out]
            env = dict(os.environ, ATTNC_EMU=setting)
            r = subprocess.run(command, capture_output=True, text=True, env=env)
            if r.returncode:
                return f"{setting}: {r.stdout}{r.stderr}\n{' '.join(command)}\n{case[0]}"
            with open(out, "rb") as f:
                digests.add(hashlib.sha256(f.read()).hexdigest())
            os.unlink(out)
        return None if len(digests) == 1 else f"the bits differ\n{' '.join(command)}\n{case[0]}"


def covered(cases, enough):
    """Each value of each factor occurs in a sample that is large; returns how many pairs of
    values do."""
    pairs = set()
    for name, values in FACTORS.items():
        for value in values:
            if enough and not any(c[2].get(name) == value for c in cases):
                raise SystemExit(f"no case has {name}={text(value)}")
    for _, _, s in cases:
        items = list(s.items())
        pairs.update((a, b) for i, a in enumerate(items) for b in items[i + 1:])
    return len(pairs)


def block(number, runner, pool, jobs):
    """The block's legal cases, and how many were drawn for them."""
    rng, cases, drawn = random.Random(f"block {number}"), [], 0
    while len(cases) < EACH:
        batch = [draw(rng) for _ in range(4 * jobs)]
        ok = list(pool.map(lambda c: runner.legal(id(c), c), batch))
        drawn += len(batch)
        cases += [c for c, fine in zip(batch, ok) if fine]
    return cases[:EACH], drawn


def main():
    p = argparse.ArgumentParser()
    p.add_argument("attnc")
    p.add_argument("--shard", default="0/1")
    p.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    p.add_argument("-v", action="store_true")
    o = p.parse_args()
    first, step = map(int, o.shard.split("/"))
    with tempfile.TemporaryDirectory() as folder, \
         concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
        runner, cases, drawn = Runner(o.attnc, folder), [], 0
        for number in range(first, BLOCKS, step):
            legal, tried = block(number, runner, pool, o.jobs)
            cases, drawn = cases + legal, drawn + tried
        pairs, bad = covered(cases, step == 1), 0
        for n, why in enumerate(pool.map(lambda k: runner.run(k, cases[k]), range(len(cases)))):
            bad += why is not None
            if why or o.v:
                print(f"{'FAIL' if why else 'pass'} {n}: {cases[n][1]} {cases[n][2]}\n{why or ''}")
        print(f"{len(cases) - bad} of {len(cases)} passed under {len(SETTINGS)} settings each; "
              f"{drawn} drawn, {pairs} pairs of values")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
