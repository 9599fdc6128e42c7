"""The online softmax at its limits: maxima that rise, fall, stay or jump from tile to tile, at
logits of 1 to 1e10 of either sign, rows of all kinds in one warp, scores of -inf, +inf and NaN.

    extremes.py ATTNC

A head is a series of scores; its rows multiply them by sizes and factors that differ, of both
signs.  One launch has them all, for each schedule of SCHEDULES.  Passed: exit 0 of `attnc run
--verify`, so no finding and every row within the bound of the fp64 reference, NaN where that is."""
import array
import json
import math
import os
import random
import struct
import subprocess
import sys
import tempfile

KEYS, DIM = 333, 16
SINK = 6e4  # where there is one: above some rows, below others
ROOT = 1.5e4  # what keys are multiplied by: fp16 ends at 6.5e4
SIZES = (1.0, 1e3, 1e5, 2.9e6, 4.2e6, 6e6, 1.3e7, 1e8, 4e8, 2e9, 1e10)
FACTORS = (1, 1.5, -1, .25, 1e-3, 0, 2, -1e-3)
SERIES = {
    "rise": lambda x, r: x,
    "fall": lambda x, r: 1 - x,
    "negative": lambda x, r: -1 - r.random(),
    "rise across 0": lambda x, r: 2 * x - 1,
    "fall across 0": lambda x, r: 1 - 2 * x,
    "random": lambda x, r: r.gauss(0, 1),
    "nearly equal": lambda x, r: 1 + r.randint(-3, 3) * 2.0 ** -8,
    "nearly equal, negative": lambda x, r: -1 + r.randint(-3, 3) * 2.0 ** -8,
    "equal": lambda x, r: 1,
    "steps": lambda x, r: round(8 * x) / 8 - .5,
    "-inf beside": lambda x, r: -math.inf if .2 < x < .7 else x,
    "-inf": lambda x, r: -math.inf,
    "+inf among": lambda x, r: math.inf if x == 100 / KEYS else x,
    "NaN among": lambda x, r: math.nan if x == 101 / KEYS else x,
}
HOPPER = "template=fwd_wgmma,block_n=64,"
SCHEDULES = {
    "sm_75": (("fp16", ""), ("bf16", "template=ref_fwd"), ("fp32", "")),
    "sm_80": (("fp16", ""), ("bf16", "template=fwd_mma,block_m=128,num_warps=4,num_stages=2"),
              ("fp32", ""), ("fp16", "template=ref_fwd")),
    "sm_90a": (("fp16", HOPPER + "block_m=64"), ("bf16", HOPPER + "lazy_rescale=true"),
               ("fp16", HOPPER + "intra_wg_overlap=false,lazy_rescale=true,poly_exp2=4"),
               ("bf16", HOPPER + "poly_exp2=16,cross_tile=true,q_stages=2,scheduler=persistent")),
}


def bf16(x):
    """Bits, rounded to nearest even."""
    u = struct.unpack("<I", struct.pack("<f", x))[0]
    return 0x7fc0 if x != x else (u + 0x7fff + (u >> 16 & 1)) >> 16


def packed(numbers, dtype):
    if dtype == "fp32":
        return array.array("f", numbers).tobytes()
    if dtype == "bf16":
        return array.array("H", map(bf16, numbers)).tobytes()
    return struct.pack(f"<{len(numbers)}e", *numbers)


def write(path, dtype, tensors):
    head, data = {}, b""
    for name, (shape, numbers) in tensors.items():
        raw = packed(numbers, dtype)
        head[name] = {"dtype": {"fp32": "F32", "bf16": "BF16", "fp16": "F16"}[dtype],
                      "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(head).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def tensors(rng):
    """[b, s, 1, d]: b the series.  The first of DIM columns has all of the score, but for what is
    infinite or NaN, which the second has in K beside a 1 in Q."""
    rows = [min(size / ROOT, 3e4) * f for f in FACTORS for size in SIZES]
    rest = [0] * (DIM - 2)
    q = [x for _ in SERIES for row in rows for x in [row, 1, *rest]]
    k = []
    for series in SERIES.values():
        for j in range(KEYS):
            x = series(j / KEYS, rng)
            k += ([x * ROOT, 0] if math.isfinite(x) else [0, x]) + rest
    v = [rng.gauss(0, 1) for _ in k]
    return {"q": ([len(SERIES), len(rows), 1, DIM], q), "k": ([len(SERIES), KEYS, 1, DIM], k),
            "v": ([len(SERIES), KEYS, 1, DIM], v), "sink": ([1], [SINK])}


def offset(rng):
    """[b, s, 1, d] of 128 columns: scores about a large negative number of each of three batches,
    made of one column; their LSE is as wrong as a product on tensor cores, which cut off."""
    q, k, v, d = [], [], [], 128
    for score in (-1e4, -2.45e5, -1e6):
        for _ in range(64):
            q += [448, *(rng.gauss(0, 4) for _ in range(d - 1))]
        for _ in range(300):
            k += [score / 448 + rng.gauss(0, 3), *(rng.gauss(0, 4) for _ in range(d - 1))]
            v += [rng.gauss(0, 1) for _ in range(d)]
    return {"q": ([3, 64, 1, d], q), "k": ([3, 300, 1, d], k), "v": ([3, 300, 1, d], v)}


def run(attnc, folder, target, dtype, causal, schedule, inputs=None, more=""):
    spec = os.path.join(folder, "s.attn.yaml")
    shape = f"head_dim: {DIM}\nsoftmax_scale: 1.0\n" if not inputs else "head_dim: 128\n"
    with open(spec, "w") as f:
        f.write(f"attnc: 1\nname: extremes\ndtype: {dtype}\n{shape}"
                f"causal: {str(causal).lower()}\nreturn_lse: true\n{more}")
    command = [attnc, "run", spec, "--no-cache", "--device", "emu", "--arch", target, "--input",
               os.path.join(folder, inputs or dtype), "--verify"]
    command += ["--schedule", schedule] if schedule else []
    r = subprocess.run(command, capture_output=True, text=True)
    if r.returncode:
        print(f"FAIL  {dtype} {target} {schedule or 'default'}{' causal' if causal else ''} {more}: "
              f"exit {r.returncode}\n{r.stdout[-600:]}{r.stderr[-300:]}")
    return r.returncode == 0


def main(attnc):
    made, good = tensors(random.Random(1)), True
    with tempfile.TemporaryDirectory() as folder:
        for dtype in ("fp16", "bf16", "fp32"):
            write(os.path.join(folder, dtype), dtype, made)
        write(os.path.join(folder, "offset"), "bf16", offset(random.Random(2)))
        for target, schedules in SCHEDULES.items():
            for dtype, schedule in schedules:
                good = run(attnc, folder, target, dtype, False, schedule) and good
            dtype, schedule = schedules[0]
            good = run(attnc, folder, target, dtype, True, schedule) and good
            dtype, schedule = schedules[1]
            good = run(attnc, folder, target, dtype, True, schedule,
                       more=f"sink: {dtype}\nlse_base: 2\n") and good
            good = run(attnc, folder, target, "bf16", False, "", "offset") and good
    return int(not good)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
