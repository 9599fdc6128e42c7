"""decode_clocks: of the default schedules of decode_mma and decode_wgmma, what the machine instructions
of the main loop take of a multiprocessor against what the memory takes, and bytes on their way to it.

    decode_clocks.py ATTNC [--shard I/N]

Eight sequences of up to 8192 keys, eight key heads, a query each; every target, head_dim, number of rows, in pages
or not; of decode_wgmma with the loop of the warp that loads. Passed: exit 0 of every `attnc explain --sass-stats`; issuing and multiplying take at most 0.6 of the time
in which the memory brings the keys, on the target's own part and on others of it; as many bytes are
on their way as the target table asks for; nothing is spilled. 77: there is no ptxas."""
import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile

MOST = 0.6
# Bytes a clock and multiprocessor of other parts than that of the target table, by NVIDIA's data
# sheets: H100 SXM 3352 GB/s, 132 at 1.755 GHz; RTX 4090 1008 GB/s, 128 at 2.52 GHz.
PARTS = {"sm_90": {"H100": 14.5}, "sm_90a": {"H100": 14.5}, "sm_89": {"RTX 4090": 3.1}}
TARGETS = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_90a", "sm_120")
DIMS = (64, 96, 128, 192, 256, 512)
GROUPS = {"decode_mma": (1, 8, 32), "decode_wgmma": (20, 32, 64)}
NO_PTXAS = 4


def spec(target, dim, group, pages):
    return (f"attnc: 1\nname: decode\ndtype: {'fp16' if target == 'sm_75' else 'bf16'}\n"
            f"head_dim: {dim}\ngroup_size: {group}\nseqlens: [seqused_k]\nreturn_lse: true\n"
            f"page_table: {'true' if pages else 'false'}\n")


def cases():
    """(template, target, head_dim, group_size, pages)"""
    mma = [("decode_mma", target, dim, group, pages) for dim, group, pages, target in
           itertools.product(DIMS, GROUPS["decode_mma"], (False, True), TARGETS)
           if not (target == "sm_75" and dim > 256)]
    return mma + [("decode_wgmma", "sm_90a", dim, group, pages) for dim, group, pages in
                  itertools.product(DIMS, GROUPS["decode_wgmma"], (False, True)) if dim <= 256]


def faults(j, template, target, dim):
    """Sentences; all that is asked of one answer."""
    loop, model, ptxas = j.get("main_loop"), j.get("model", {}), j["ptxas"]
    if model.get("template") != template or not loop:
        return [f"is {model.get('template')}'s, without a main loop"]
    found = []
    busy = max(loop["issue_clocks_key"], loop["product_clocks_key"])
    parts = {"the target's part": loop["memory_clocks_key"]}
    parts.update({name: 2 * dim * 2 / rate for name, rate in PARTS.get(target, {}).items()})
    for name, memory in parts.items():
        if not 0 < busy <= MOST * memory:
            found.append(f"{busy:.3g} clocks a key of {memory:.3g} on {name}")
    if model["in_flight_kb"] < model["in_flight_wanted_kb"]:
        found.append(f"{model['in_flight_kb']} KB on their way, not {model['in_flight_wanted_kb']}")
    if ptxas["spill_stores"] or ptxas["spill_loads"]:
        found.append(f"{ptxas['spill_stores']} bytes spilled")
    return found


def ask(attnc, folder, case):
    template, target, dim, group, pages = case
    path = os.path.join(folder, "decode.attn.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(spec(*case[1:]))
    shape = f"b8 h{8 * group}/8 sq1 sk8192" + (" page_size16" if pages else "")
    r = subprocess.run([attnc, "explain", path, "--arch", target, "--shape", shape, "--sass-stats",
                        "--schedule", f"template={template}", "--json"], capture_output=True, text=True)
    if r.returncode:
        return r.returncode, [r.stderr.strip()]
    return 0, faults(json.loads(r.stdout), template, target, dim)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("attnc")
    p.add_argument("--shard", default="0/1", help="case i where i %% N is I")
    a = p.parse_args()
    first, step = map(int, a.shard.split("/"))
    mine = cases()[first::step]
    bad = 0
    folder = tempfile.mkdtemp()
    for case in mine:
        code, found = ask(a.attnc, folder, case)
        if code == NO_PTXAS:
            print("SKIPPED: ptxas is not found")
            return 77
        for what in found:
            print("FAIL  {} {} head_dim {} group_size {} pages {}: ".format(*case) + what)
        bad += bool(found)
    shutil.rmtree(folder)
    print(f"{len(mine)} schedules, {bad} at fault")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
