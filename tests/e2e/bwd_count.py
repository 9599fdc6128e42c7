"""How many multiply-adds bwd_mma and bwd_wgmma execute: those of the tiles that have a pair which is seen, of
both roles, and no other.

    bwd_count.py ATTNC [--shard I/N]    a mask a line
    bwd_count.py - --self-test          can it fail?

Tiles of a band begin with the first row or column that is seen, in one pass for all gradients with the
multiple of 16 below; those of other masks at multiples of their size.  Each block has one tile at least.
The one pass, too, of causal attention at sq = sk = 4096: at most 1.05 times the five products of the pairs that
are seen, by the counts of its default tiles."""
import argparse
import json
import os
import subprocess
import sys
import tempfile

SQ, SK, D, DV = 150, 200, 32, 64
BM, BN, DQ_M, DQ_N = 32, 64, 64, 32  # of a tile of the pass over keys, and of that over queries
SHIFT = SK - SQ
MASKS = {  # fields; is a pair seen; do tiles begin where the first pair is?
    "full": ("", lambda q, k: True, True),
    "causal": ("causal: true\n", lambda q, k: k <= q + SHIFT, True),
    "window": ("window: [37, 10]\n", lambda q, k: -37 <= k - q - SHIFT <= 10, True),
    "blocks": ('mask_mod: "q_idx // 64 == kv_idx // 64"\n', lambda q, k: q // 64 == k // 64, False),
    "keys": ('mask_mod: "kv_idx // 32 % 3 != 1"\n', lambda q, k: k // 32 % 3 != 1, False),
}
STAGES = {1: 2, 2: 2, 3: 1}
TEMPLATES = {"bwd_mma": "sm_80", "bwd_wgmma": "sm_90a"}
SUMS = 16  # rows of dq that are added to at once
LONG, WORST = 4096, 1.05


def tiles(rows, columns, block, tile, seen, from_first, step=1):
    """Those of all blocks of rows."""
    n = 0
    for r in range(0, rows, block):
        has = [c for c in range(columns) if any(seen(x, c) for x in range(r, min(r + block, rows)))]
        if from_first:
            n += max(1, -(-(has[-1] + 1 - has[0] // step * step) // tile)) if has else 1
        else:
            n += max(1, len({c // tile for c in has}))
    return n


def rows(template, passes):
    """Queries of a tile that goes by: a warpgroup has 64 of dQ."""
    return 64 if template == "bwd_wgmma" and passes == 1 else BM


def multiply_adds(name, passes, template="bwd_mma"):
    """Of one head."""
    bm = rows(template, passes)
    _, seen, from_first = MASKS[name]
    step = SUMS if passes == 1 else 1
    of_keys = tiles(SK, SQ, BN, bm, lambda k, q: seen(q, k), from_first, step) * BN * bm
    if passes == 1:
        return of_keys * (3 * D + 2 * DV)
    of_queries = tiles(SQ, SK, DQ_M, DQ_N, seen, from_first) * DQ_M * DQ_N
    again = D if passes == 3 else 0  # the scores once more
    return of_keys * (2 * (D + DV) + again) + of_queries * (2 * D + DV)


def schedule_of(template, passes):
    hopper = template == "bwd_wgmma"
    pins = [f"template={template}", f"block_m={rows(template, passes)}", f"block_n={BN}", f"passes={passes}",
            f"num_warps={8 if hopper else 4}", f"num_stages={STAGES[passes]}"]
    own = (DQ_M, DQ_N, 1, 4) if passes > 1 else (0, 0, 0, 0)
    names = ("dq_block_m", "dq_block_n", "dq_stages") + (() if hopper else ("dq_warps",))
    return ",".join(pins + [f"{n}={x}" for n, x in zip(names, own)])


def executed(attnc, name, passes, template):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "count.attn.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"attnc: 1\nname: count\ndtype: fp16\nhead_dim: {D}\nhead_dim_v: {DV}\n"
                    f"return_lse: true\n{MASKS[name][0]}")
        done = subprocess.run([attnc, "run", path, "--op", "bwd", "--arch", TEMPLATES[template], "--shape",
                               f"b1 h2/1 sq{SQ} sk{SK}", "--schedule", schedule_of(template, passes), "--device", "emu",
                               "--no-cache", "--verify", "--stats", "--json", "-q"],
                              capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stdout[-400:]}{done.stderr}")
    return json.loads(done.stdout)["results"][0]["stats"]["macs"]


def share_of_long(bm, bn):
    """Executed over useful products of one pass, causal, sq = sk = LONG: a block of keys sees the rows from its first key on."""
    executed = sum(-(-(LONG - k) // bm) * bm * bn for k in range(0, LONG, bn))
    return executed / (LONG * (LONG + 1) // 2)


def tiles_of_default(attnc, d):
    """block_m and block_n of one pass, as it is chosen for LONG."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "long.attn.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"attnc: 1\nname: long\ndtype: fp16\nhead_dim: {d}\ncausal: true\n")
        subprocess.run([attnc, "compile", path, "--op", "bwd", "--arch", "sm_80", "--shape", f"b2 h16 s{LONG}", "--schedule",
                        "template=bwd_mma,passes=1", "--emit", "json", "-o", folder], check=True, capture_output=True)
        name, = (n for n in os.listdir(folder) if n.endswith(".json"))
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            schedule = json.load(f)["schedule"]
    return schedule["block_m"], schedule["block_n"]


def long(attnc, d):
    bm, bn = tiles_of_default(attnc, d)
    share = share_of_long(bm, bn)
    good = share <= WORST
    print(f"{'ok' if good else 'FAIL'}  head_dim {d}, {bm}x{bn}: {share:.3f} of the products of seen pairs", flush=True)
    return good


def counts(attnc, name, passes, template):
    got, want = executed(attnc, name, passes, template), 2 * multiply_adds(name, passes, template)
    print(f"{'ok' if got == want else 'FAIL'}  {template}, {name}, {passes} passes: {got} multiply-adds, "
          f"{want} of tiles that are seen", flush=True)
    return got == want


def self_test():
    assert tiles(64, 64, 32, 32, lambda q, k: k <= q, True) == 3
    assert tiles(64, 64, 32, 32, lambda q, k: False, True) == 2
    assert tiles(64, 96, 32, 32, lambda q, k: k // 32 != 1, False) == 4
    assert [tiles(32, 79, 32, 32, lambda k, q: q >= k + 15, True, step) for step in (1, SUMS)] == [2, 3]
    assert share_of_long(64, 128) < WORST < share_of_long(256, 256)
    assert multiply_adds("causal", 2) < multiply_adds("full", 2) < multiply_adds("full", 3)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("attnc")
    p.add_argument("--shard", default="0/1")
    p.add_argument("--self-test", action="store_true")
    o = p.parse_args()
    if o.self_test:
        return self_test()
    first, step = map(int, o.shard.split("/"))
    work = [(counts, m, n, how) for how in TEMPLATES for m in MASKS for n in STAGES] + [(long, d) for d in (64, 128)]
    return not all([test(o.attnc, *args) for test, *args in work[first::step]])


if __name__ == "__main__":
    sys.exit(main())
