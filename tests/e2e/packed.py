"""What a FULL tile costs where sequences are packed: its machine instructions, by ptxas, beside
those of the same schedule of a dense batch.

    packed.py ATTNC [--shard I/N]    a cell a line; fails above LIMIT, and where either spills
    packed.py - --self-test          can it fail?

Exit 77: there is no ptxas."""
import argparse
import json
import os
import subprocess
import sys
import tempfile

LIMIT = 1.01
TARGETS = ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90a", "sm_120"]
DIMS = [64, 96, 128, 192, 256]
SHAPE = "b8 h8 s4096"
CELLS = [(target, dim) for target in TARGETS for dim in DIMS]
PACKED = "seqlens: [cu_seqlens_q, cu_seqlens_k]\n"


class NoPtxas(Exception):
    pass


def explain(attnc, target, dim, more, schedule):
    dtype = "fp16" if target == "sm_75" else "bf16"
    text = (f"attnc: 1\nname: tile\ndtype: {dtype}\nhead_dim: {dim}\ncausal: true\n"
            f"return_lse: true\n{more}")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tile.attn.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        command = [attnc, "explain", path, "--arch", target, "--shape", SHAPE, "--sass-stats",
                   "--json"]
        if schedule:
            command += ["--schedule", schedule]
        done = subprocess.run(command, capture_output=True, text=True)
    answer = json.loads(done.stdout)
    if done.returncode == 4 and "no ptxas" in answer.get("message", ""):
        raise NoPtxas(answer["message"])
    if done.returncode:
        raise SystemExit(f"{target} {dim}: {answer.get('message')}")
    return answer


def tile(answer):
    """The shortest way through the loop over tiles: of the last kernel, where one lists blocks
    ahead of it."""
    main = [x for k in answer["sass"]["kernels"] for x in k["loops"] if x["main"]]
    return main[-1]["least"]["instructions"]


def dense(answer):
    """The packed kernel's schedule, but for its list of blocks."""
    fields = {k: v for k, v in answer["kernel"]["schedule"].items() if k != "device_items"}
    return ",".join(f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in fields.items())


def spilled(answer):
    return answer["sass"]["spill_stores"] + answer["sass"]["spill_loads"]


def judge(packed, plain):
    """What is wrong with a cell; "": nothing."""
    if spilled(packed) or spilled(plain):
        return f"spills {spilled(packed)} and {spilled(plain)} bytes"
    if tile(packed) > LIMIT * tile(plain):
        return f"more than {LIMIT} times"
    return ""


def self_test():
    def answer(n, spills=0):
        loop = {"main": True, "least": {"instructions": n}}
        other = {"main": False, "least": {"instructions": 9999}}
        return {"sass": {"spill_stores": spills, "spill_loads": spills,
                         "kernels": [{"loops": [other]}, {"loops": [other, loop]}]}}
    assert not judge(answer(430), answer(426)) and not judge(answer(400), answer(426))
    assert "times" in judge(answer(431), answer(426))
    assert "spills 8" in judge(answer(426, 4), answer(426))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("attnc")
    p.add_argument("--shard", default="0/1")
    p.add_argument("--self-test", action="store_true")
    words = p.parse_args()
    if words.self_test:
        return self_test()
    first, step = map(int, words.shard.split("/"))
    failed = 0
    for target, dim in CELLS[first::step]:
        try:
            packed = explain(words.attnc, target, dim, PACKED, None)
        except NoPtxas as e:
            print(f"SKIPPED: {e}")
            return 77
        plain = explain(words.attnc, target, dim, "", dense(packed))
        bad = judge(packed, plain)
        failed += bool(bad)
        a, b = tile(packed), tile(plain)
        s = packed["kernel"]["schedule"]
        print(f"{'FAIL' if bad else 'ok'}  {target} head_dim {dim} {s['block_m']}x{s['block_n']}: "
              f"{a} packed, {b} dense, {100 * (a / b - 1):+.2f} % {bad}", flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
