"""Walks of masks in kernels: each template against the fp64 reference, and are the tiles that
it multiplies those that the mask shows?

    walks.py ATTNC [--shard I/N]

Passed: exit 0 of `attnc run --verify`: no finding of the emulator, every row within its bound;
where the tiles of a mask can all be proved, or a first step lists them, as many products were
executed as `attnc tiles` counts in truth; and NaN and infinities behind the last key that a row sees change no bit."""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

DOC = "tensors: {doc: {dtype: i32, axes: [b, kv], monotone: true}}\n"
SAME = '"doc[b, q_idx] == doc[b, kv_idx]"'
# name: (fields, all tiles of 64 are proved)
CASES = {
    "prefix": ("mask_mod: q_idx >= kv_idx || kv_idx < 77", True),
    "prefix of a batch": ("tensors: {prefix: {dtype: i32, axes: [b]}}\n"
                          'mask_mod: "q_idx >= kv_idx || kv_idx < 20 * prefix[b]"', False),
    "chunks": ("mask_mod: q_idx // 64 == kv_idx // 64", True),
    "chunks of positions": ("causal: true\nmask_mod: (q_idx + sk - sq) // 96 == kv_idx // 96", False),
    "min and max": ("mask_mod: kv_idx <= min(q_idx + 40, 130) && kv_idx >= max(q_idx - 60, 10)",
                    False),
    "by head": ('mask_mod: "h % 2 == 0 ? kv_idx <= q_idx : kv_idx >= q_idx"', False),
    "sinks": ("causal: true\nmask_mod: kv_idx < 4 || q_idx + sk - sq - kv_idx <= 60", True),
    "sinks, from the top left": ("causal: true\nalign: top_left\n"
                                 "mask_mod: kv_idx < 4 || q_idx - kv_idx <= 30", True),
    "global and local": ("mask_mod: kv_idx < 5 || q_idx < 5 || abs(q_idx - kv_idx) <= 40", True),
    "every other block": ("mask_mod: q_idx // 64 % 2 == kv_idx // 64 % 2", True),
    "dilated blocks": ("mask_mod: kv_idx // 64 % 3 == 0 && kv_idx <= q_idx", True),
    "not here": ("mask_mod: kv_idx // 64 != q_idx // 64", True),
    "no keys": ("mask_mod: kv_idx // 64 % 2 == 0 && kv_idx > q_idx + sk", True),
    "holes at both ends": ("mask_mod: kv_idx // 32 % 4 == 1", False),
    "rows without keys": ("mask_mod: q_idx // 16 == kv_idx // 32 + 1", False),
    "documents": (DOC + "mask_mod: " + SAME, True),
    "packed documents": (DOC + "causal: true\nalign: top_left\nmask_mod: " + SAME, True),
    "blocks of a table": ("tensors: {kind: {dtype: i32, axes: [b, q/64, kv/64]}}\nmask_mod: "
                          '"kind[b, q_idx // 64, kv_idx // 64] % 3 != 1"', True),
    "blocks of a table, whole and in part":
        ("tensors: {kind: {dtype: i32, axes: [h, q/128, kv/64]}}\nmask_mod: "
         '"kind[h, q_idx // 128, kv_idx >> 6] >= 4 || kind[h, q_idx // 128, kv_idx >> 6] >= 2 && '
         'q_idx + sk - sq >= kv_idx"', False),
    "unsorted documents": (DOC.replace(", monotone: true", "") + "causal: true\nmask_mod: " + SAME,
                           False),
    "bits of an index": ('mask_mod: "((q_idx >> 5 ^ kv_idx >> 5) & 5) == 0"', False),
    "elements of each batch and head":
        ("tensors: {kind: {dtype: i32, axes: [b, h, 3, 5]}}\nmask_mod: "
         '"kind[b, h, q_idx // 96, (kv_idx + 40) // 80] % 2 == 0"', False),
    "an element's element":
        ("tensors: {doc: {dtype: i32, axes: [b, kv], monotone: true}, of: {dtype: i32, axes: [9]}}\n"
         'mask_mod: "of[doc[b, q_idx]] == doc[b, kv_idx] || doc[b, q_idx] == doc[b, kv_idx]"', False),
}
# Of which rows' keys are one range: a step that lists their tiles is refused.
ONE_RANGE = ("prefix", "chunks", "chunks of positions", "min and max", "by head",
             "no keys", "rows without keys")
MMA, WGMMA = "template=fwd_mma,", "template=fwd_wgmma,block_n=64,"
# arch, schedule
RUNS = (
    ("sm_80", "template=ref_fwd"),
    ("sm_80", MMA + "block_m=64,block_n=64,num_warps=4,num_stages=2"),
    ("sm_80", MMA + "block_m=64,block_n=32,num_warps=2,num_stages=3"),
    ("sm_75", MMA + "block_m=64,block_n=32,num_warps=4"),
    ("sm_90a", WGMMA + "block_m=64"),
    ("sm_90a", WGMMA + "block_m=64,num_stages=1,intra_wg_overlap=false,scheduler=persistent"),
    ("sm_90a", WGMMA + "block_m=128,num_stages=3,lazy_rescale=true"),
    ("sm_90a", WGMMA + "block_m=128,scheduler=dynamic,p_in_smem=true"),
    ("sm_90a", WGMMA + "block_m=192,scheduler=persistent"),
    ("sm_90a", WGMMA + "block_m=128,pack_gqa=true"),
    ("sm_80", MMA + "block_m=64,block_n=64,num_warps=4,num_stages=2,classes=step"),
    ("sm_80", MMA + "block_m=32,block_n=96,num_warps=2,num_stages=3,classes=step"),
    ("sm_75", MMA + "block_m=64,block_n=64,num_warps=4,classes=step"),
    ("sm_90a", WGMMA + "block_m=64,classes=step"),
    ("sm_90a", WGMMA + "block_m=128,scheduler=dynamic,num_stages=3,classes=step"),
    ("sm_90a", WGMMA + "block_m=192,scheduler=persistent,classes=step"),
)
RAGGED, WHOLE = "b2 h2 sq150 sk230", "b1 h2 sq256 sk384"
DIM = 32


def said(*command):
    return subprocess.run(command, capture_output=True, text=True)


def right(attnc, spec, arch, schedule, shape):
    if "pack_gqa" in schedule:
        shape = shape.replace("h2", "h4/2")
    run = said(attnc, "run", spec, "--shape", shape, "--verify", "--arch", arch, "--schedule", schedule,
               "--device", "emu", "--no-cache", "-q", "--stats", "--json")
    if run.returncode:
        return f"{run.stdout[-600:]}{run.stderr}", None
    return "", json.loads(run.stdout)["results"][0]


def products(stats, rows):
    """Tiles of 64 keys: the multiplications of both products by those of one tile."""
    return stats["macs"] / (2 * rows * 64 * DIM)


def wanted(attnc, spec, rows):
    """What a walk visits, of two heads: each block has one tile at least."""
    tiles = json.loads(said(attnc, "tiles", spec, "--json", "--tile", f"{rows}x64", "--shape",
                            WHOLE).stdout)["specs"][0]
    found = tiles["decided"]["visited"], tiles["truth"]["visited"]
    if "truth" in tiles and found[0] < found[1]:
        raise SystemExit(f"{spec}: a tile is left out that is seen")
    return 2 * sum(max(1, len(row.replace(" ", ""))) for row in tiles["rows"])


def numbers(rng, rows, bad_from):
    """fp16 of [1, rows, 2, DIM]; from a row on nothing finite."""
    row = [rng.gauss(0, 1) for _ in range(rows * 2 * DIM)]
    bad = bad_from * 2 * DIM
    row[bad:] = [(float("nan"), float("inf"))[i % 2] for i in range(len(row[bad:]))]
    return struct.pack(f"<{len(row)}e", *row)


def write(path, rows, bad_from):
    """q, k and v, the same for every bad_from up to it."""
    rng, head, data = random.Random(1), {}, b""
    for name, n in zip("qkv", (rows[0], rows[1], rows[1])):
        x = numbers(rng, n, n if name == "q" else bad_from)
        head[name] = {"dtype": "F16", "shape": [1, n, 2, DIM],
                      "data_offsets": [len(data), len(data) + len(x)]}
        data += x
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def unseen(attnc, folder, spec, arch, schedule):
    """Query 99 is the last, and sees key 99 at most."""
    outs = []
    for bad_from in (330, 100):
        into, out = os.path.join(folder, "in"), os.path.join(folder, "out")
        write(into, (100, 330), bad_from)
        run = said(attnc, "run", spec, "--arch", arch, "--schedule", schedule, "--device", "emu",
                   "--input", into, "--output", out, "--no-cache", "-q")
        if run.returncode:
            return f"{run.stdout}{run.stderr}"
        with open(out, "rb") as f:
            outs.append(f.read())
    return "" if outs[0] == outs[1] else "what no row sees changes the result"


def exact(attnc, spec, rows):
    """What a walk over lists visits: of both heads just the tiles that hold a pair that is seen."""
    return sum(json.loads(said(attnc, "tiles", spec, "--json", "--tile", f"{rows}x64", "--head", str(h),
                               "--shape", WHOLE).stdout)["specs"][0]["truth"]["visited"]
               for h in range(2))


def check(attnc, folder, name, arch, schedule):
    fields, proved = CASES[name]
    step = "classes=step" in schedule
    spec = os.path.join(folder, "spec.yaml")
    group = "group_size: 2\n" if "pack_gqa" in schedule else ""
    with open(spec, "w", encoding="utf-8") as f:
        f.write(f"attnc: 1\nname: walks\ndtype: fp16\nhead_dim: {DIM}\nreturn_lse: true\n"
                f"{group}{fields}\n")
    fault, result = right(attnc, spec, arch, schedule, RAGGED)
    if step and name in ONE_RANGE:
        refused = "no legal schedule" in fault
        fault = "" if refused else f"a step for a mask of one range is not refused\n{fault}"
        step = False
    counted = "block_n=64" in schedule and "block_m=192" not in schedule
    if not fault and result and (proved or step) and counted and "pack_gqa" not in schedule:
        rows = 128 if "block_m=128" in schedule else 64
        fault, result = right(attnc, spec, arch, schedule, WHOLE)
        have = products(result["stats"], rows) if result else None
        want = exact(attnc, spec, rows) if step else wanted(attnc, spec, rows)
        if not fault and have != want:
            fault = f"{have} tiles were multiplied, not {want}"
    if not fault and result and name == "sinks, from the top left" and "pack_gqa" not in schedule:
        fault = unseen(attnc, folder, spec, arch, schedule)
    if fault:
        print(f"{name}, {arch} {schedule}\n{fields}\n{fault}")
    return not fault


def main():
    attnc = sys.argv[1]
    i, n = map(int, (sys.argv[3] if len(sys.argv) > 3 else "0/1").split("/"))
    cases = [(name, *how) for how in RUNS for name in CASES][i::n]
    with tempfile.TemporaryDirectory() as folder:
        wrong = sum(not check(attnc, folder, *case) for case in cases)
    print(f"{len(cases)} cases, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
