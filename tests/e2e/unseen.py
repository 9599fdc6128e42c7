"""Keys that a block of rows does not see leave its rows alone.

    unseen.py [--cases N] [-v] [TARGET …]     default: 16 cases of each of sm_75, sm_80,
    sm_90a

For blocks of rows that one CTA (or cluster) has: with NaN and infinities in every row of K and V
that no row of the block sees, o and lse of its rows have the same bits as without; with NaN in the
rows that they see, others.  What a block is follows from the schedule (docs/templates.md, "Keys
that nobody sees").  Cases are drawn by a seed; each launch has another order of warps and another
policy of asynchronous copies.  Exit 1 names the cases that failed, 77: no numpy."""
import argparse
import os
import random
import subprocess
import sys
import tempfile

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(SOURCE, "python"))
SETTINGS = ("sched=block,async=lazy", "sched=rr,async=eager", "sched=random,async=random,seed=3")
MASKS = ({"causal": True}, {"window": [20, 3]}, {"causal": True, "align": "top_left"},
         {"window": [40, 0]}, {"window": [-1, 9]}, {"window": [33, 20], "align": "top_left"},
         {"window": [7, -1]}, {"causal": True, "window": [15, -1]}, {"window": [0, 0]})
SIZES = ((1, 2, 2, 100, 130), (1, 2, 1, 77, 33), (2, 4, 2, 65, 257), (1, 4, 1, 1, 100),
         (1, 4, 2, 130, 70), (1, 2, 1, 200, 200), (1, 1, 1, 33, 1), (1, 2, 2, 64, 64),
         (2, 2, 1, 150, 9))
DIMS = ((64, 64), (16, 16), (40, 24), (128, 128), (64, 128))
SHARED_DIMS = ((16, 264), (512, 24), (8, 328))  # of warps that share rows


def mma(*tiles):
    names = ("block_m", "block_n", "num_stages", "num_warps", "q_in_regs", "warps_n")
    return [dict(zip(names, t), template="fwd_mma") for t in tiles]


def wgmma(block_m, block_n, stages, **more):
    return dict(template="fwd_wgmma", block_m=block_m, block_n=block_n, num_stages=stages,
                num_warps=4 + block_m // 16, **more)


HOWS = {
    "sm_75": mma((64, 32, 1, 4, False), (64, 16, 1, 4, True), (128, 32, 1, 8, False)),
    "sm_80": [{"template": "ref_fwd", "num_warps": 4, "block_m": 4}] + mma(
        (64, 64, 2, 4, True), (64, 32, 1, 4, False), (32, 32, 3, 2, False), (128, 64, 1, 8, True),
        (64, 48, 2, 4, False), (64, 96, 2, 4, True), (32, 32, 1, 4, False, 2),
        (32, 64, 1, 4, False, 4)),
    "sm_90a": [
        wgmma(64, 48, 2), wgmma(64, 64, 1, scheduler="persistent", q_stages=2, cross_tile=True),
        wgmma(128, 80, 2, scheduler="persistent", cluster=2),
        wgmma(64, 32, 3, intra_wg_overlap=False),
        wgmma(128, 64, 2, scheduler="persistent", q_stages=2), wgmma(192, 64, 2),
        wgmma(64, 64, 2, pack_gqa=True), wgmma(64, 96, 2, narrow_diagonal=True),
        wgmma(128, 64, 2, pack_gqa=True, cluster=2, scheduler="persistent"),
        wgmma(128, 176, 1, p_in_smem=True), wgmma(64, 16, 2, cluster=2, lazy_rescale=True),
        wgmma(128, 112, 2, private_epilogue=False)],
}


def sees(np, mask, sq, sk):
    """Who sees whom, by the mask's definition."""
    shift = 0 if mask.get("align") == "top_left" else sk - sq
    rel = np.arange(sk)[None, :] - np.arange(sq)[:, None] - shift
    left, right = mask.get("window", (-1, -1))
    seen = np.ones((sq, sk), bool)
    if mask.get("causal"):
        seen &= rel <= 0
    if left >= 0:
        seen &= rel >= -left
    if right >= 0:
        seen &= rel <= right
    return seen


def spoilt(np, x, keys):
    """NaN and both infinities in turn."""
    y = x.copy()
    bad = np.array([np.nan, np.inf, -np.inf], np.float16)
    rows, heads, cols = np.nonzero(keys)[0], x.shape[2], x.shape[3]
    pattern = (rows[:, None, None] + np.arange(heads)[:, None] + np.arange(cols)) % 3
    y[:, rows] = bad[pattern]
    return y


class Target:
    def __init__(self, name):
        import numpy as np
        import attnc
        self.np, self.attnc, self.name, self.runs = np, attnc, name, 0
        self.arch = "arch=" + name.rstrip("a") + ",threads=1,"
        self.context = self.attnc.Context("emu", emulator=self.arch + SETTINGS[0], target=name,
                                          cache="off")

    def tensor(self, rng, b, s, h, d, heads_first):
        shape = (b, h, s, d) if heads_first else (b, s, h, d)
        x = rng.standard_normal(shape).astype(self.np.float16)
        return x.transpose(0, 2, 1, 3) if heads_first else x

    def launch(self, plan, q, k, v, rows):
        """o and lse of these rows, as bits."""
        self.runs += 1
        self.context.driver.configure(SETTINGS[self.runs % len(SETTINGS)])
        o, lse = plan(q, k, v)
        return o[:, rows].tobytes() + lse[:, :, rows].tobytes()

    def case(self, spec, size, how, heads_first):
        """None, or what is wrong."""
        np, (b, h, hk, sq, sk) = self.np, size
        rng = np.random.default_rng(sq * 1000 + sk)
        q = self.tensor(rng, b, sq, h, spec["head_dim"], False)
        k = self.tensor(rng, b, sk, hk, spec["head_dim"], heads_first)
        v = self.tensor(rng, b, sk, hk, spec["head_dim_v"], heads_first)
        plan = self.context.plan(self.attnc.load_spec(spec), dict(zip(("b", "h", "hk", "sq", "sk"),
                                                                      size)), schedule=how)
        seen = sees(np, spec, sq, sk)
        n = how["block_m"] * how.get("cluster", 1) // (h // hk if how.get("pack_gqa") else 1)
        starts = range(0, sq, n)
        for at in {0, starts[len(starts) // 2], starts[-1]}:
            rows = slice(at, min(at + n, sq))
            keys = seen[rows].any(0)
            right = self.launch(plan, q, k, v, rows)
            if self.launch(plan, q, spoilt(np, k, ~keys), spoilt(np, v, ~keys), rows) != right:
                return f"rows {at} to {rows.stop - 1} change with keys that none of them sees"
            if keys.any() and self.launch(plan, q, k, spoilt(np, v, keys), rows) == right:
                return f"rows {at} to {rows.stop - 1} are the same whatever they see"
        findings = self.context.driver.findings()
        return findings[0] if findings else None


def run(name, cases, verbose):
    target, bad = Target(name), 0
    rng = random.Random(7)
    for i in range(cases):
        how = dict(HOWS[name][i % len(HOWS[name])])
        size = rng.choice([s for s in SIZES if not how.get("pack_gqa") or s[1] > s[2]])
        d, dv = rng.choice(SHARED_DIMS if how.get("warps_n") else
                           DIMS if how.get("block_n", 0) < 90 else DIMS[:3])
        spec = dict(attnc=1, name="case", dtype="fp16", head_dim=d, head_dim_v=dv,
                    return_lse=True, **MASKS[i % len(MASKS)])
        if how.get("pack_gqa") or rng.random() < 0.3:
            spec["group_size"] = size[1] // size[2]
        if rng.random() < 0.2:
            spec["specialize"] = ["sq", "sk"]
        why = target.case(spec, size, how, rng.random() < 0.5)
        bad += why is not None
        if why or verbose:
            print(f"{'FAIL' if why else 'pass'}  {name} {spec} {size} {how}  {why or ''}",
                  flush=True)
    print(f"{cases - bad} of {cases} cases of {name} passed, {target.runs} launches")
    return bad != 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=16)
    parser.add_argument("-v", action="store_true")
    parser.add_argument("targets", nargs="*", default=[])
    o = parser.parse_args()
    try:
        import numpy  # noqa: F401
    except ImportError:
        print("skipped: needs numpy")
        return 77
    if len(o.targets) == 1:
        with tempfile.TemporaryDirectory(prefix="attnc-unseen-") as home:
            os.environ["HOME"] = home
            return run(o.targets[0], o.cases, o.v)
    bad = 0  # an emulated device has one architecture for the life of a process
    for name in o.targets or HOWS:
        bad |= subprocess.run([sys.executable, "-B", __file__, f"--cases={o.cases}", name]
                              + (["-v"] if o.v else [])).returncode
    return bad


if __name__ == "__main__":
    sys.exit(main())
