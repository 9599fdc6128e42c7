"""How many multiply-adds bwd_mma executes: those of the tiles that have a pair which is seen, of
both roles, and no other.

    bwd_count.py ATTNC [--shard I/N]    a mask a line
    bwd_count.py - --self-test          can it fail?

Tiles of a band begin with the first row or column that is seen, those of other masks at
multiples of their size.  Each block has one tile at least."""
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
PASSES = {2: "num_stages=2", 3: "num_stages=1"}


def tiles(rows, columns, block, tile, seen, from_first):
    """Those of all blocks of rows."""
    n = 0
    for r in range(0, rows, block):
        has = [c for c in range(columns) if any(seen(x, c) for x in range(r, min(r + block, rows)))]
        if from_first:
            n += max(1, -(-(has[-1] + 1 - has[0]) // tile)) if has else 1
        else:
            n += max(1, len({c // tile for c in has}))
    return n


def multiply_adds(name, passes):
    """Of one head."""
    _, seen, from_first = MASKS[name]
    of_keys = tiles(SK, SQ, BN, BM, lambda k, q: seen(q, k), from_first) * BN * BM
    of_queries = tiles(SQ, SK, DQ_M, DQ_N, seen, from_first) * DQ_M * DQ_N
    again = D if passes == 3 else 0  # the scores once more
    return of_keys * (2 * (D + DV) + again) + of_queries * (2 * D + DV)


def executed(attnc, name, passes):
    schedule = (f"template=bwd_mma,block_m={BM},block_n={BN},num_warps=4,passes={passes},"
                f"{PASSES[passes]},dq_block_m={DQ_M},dq_block_n={DQ_N},dq_warps=4,dq_stages=1")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "count.attn.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"attnc: 1\nname: count\ndtype: fp16\nhead_dim: {D}\nhead_dim_v: {DV}\n"
                    f"return_lse: true\n{MASKS[name][0]}")
        done = subprocess.run([attnc, "run", path, "--op", "bwd", "--arch", "sm_80", "--shape",
                               f"b1 h2/1 sq{SQ} sk{SK}", "--schedule", schedule, "--device", "emu",
                               "--no-cache", "--verify", "--stats", "--json", "-q"],
                              capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stdout[-400:]}{done.stderr}")
    return json.loads(done.stdout)["results"][0]["stats"]["macs"]


def self_test():
    assert tiles(64, 64, 32, 32, lambda q, k: k <= q, True) == 3
    assert tiles(64, 64, 32, 32, lambda q, k: False, True) == 2
    assert tiles(64, 96, 32, 32, lambda q, k: k // 32 != 1, False) == 4
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
    failed = 0
    for name, passes in [(m, n) for m in MASKS for n in PASSES][first::step]:
        got, want = executed(o.attnc, name, passes), 2 * multiply_adds(name, passes)
        failed += got != want
        print(f"{'ok' if got == want else 'FAIL'}  {name}, {passes} passes: {got} multiply-adds, "
              f"{want} of tiles that are seen", flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
