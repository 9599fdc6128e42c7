"""What ptxas makes of default schedules of bwd_mma, and on sm_90a of bwd_wgmma: of every head_dim on
every target nothing may spill, whatever masks, sequences or expressions there are, and no remark
C75xx says that products run one after the other.

    bwd_gate.py ATTNC [--shard I/N] [--target T] [--dim D] [-v]   a cell a line
    bwd_gate.py - --self-test                                     can it fail?

Exit 77: there is no ptxas."""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

TARGETS = ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_90a", "sm_120"]
TEMPLATE = dict.fromkeys(TARGETS, "bwd_mma") | {"sm_90a": "bwd_wgmma"}
DIMS = [(d, d) for d in range(8, 257, 8)] + [(192, 128), (128, 192), (64, 256), (256, 64)]
# By turns: a cell has one of them.
MORE = [
    "causal: true\n",
    "",
    "window: [500, 100]\n",
    "causal: true\nseqlens: [cu_seqlens_q, cu_seqlens_k]\n",
    "causal: true\nprefix_len: true\n",
    "mask_mod: \"(q_idx // 16) % 3 == (kv_idx // 16) % 3\"\n",
    "causal: true\nsink: fp32\nseqlens: [seqused_q, seqused_k]\n",
    "causal: true\nsoftcap: 30\n",
    "causal: true\ndropout: true\n",
    "alibi_slopes: h\ncausal: true\n",
    "bias: {axes: [h, q, kv], dtype: fp16}\nsoftcap: 2\n",
]
SHAPES = ["b2 h16/4 s4096", "b1 h4 s300"]
# No schedule fits: a warp's gradients and what is on its way to it take more registers.
REFUSED = {("sm_75", dim) for dim in DIMS if max(dim) > 168}
REFUSED |= {(target, dim) for target in TARGETS for dim in DIMS if max(dim) > 208}


def cells():
    for i, dim in enumerate(DIMS):
        for k, target in enumerate(TARGETS):
            yield target, dim, MORE[(i + k) % len(MORE)], SHAPES[(i + k) % len(SHAPES)]


def spilled(log):
    """Bytes by entry, of those that spill any."""
    entry, found = "", {}
    for line in log.splitlines():
        name = re.search(r"Compiling entry function '(\w+)'", line)
        entry = name.group(1) if name else entry
        n = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line)
        if n and (n.group(1) != "0" or n.group(2) != "0"):
            found[entry] = int(n.group(1)) + int(n.group(2))
    return found


def serialised(log):
    """Remarks that products do not run beside each other."""
    return sorted(set(re.findall(r"C75\d\d", log)))


def text_of(target, dim, more):
    dtype = "fp16" if target == "sm_75" else "bf16"
    return (f"attnc: 1\nname: gate\ndtype: {dtype}\nhead_dim: {dim[0]}\nhead_dim_v: {dim[1]}\n"
            f"{more}")


def judge(attnc, target, dim, more, shape):
    """What is wrong (NULL: nothing), and what was compiled."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "gate.attn.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text_of(target, dim, more))
        out = os.path.join(folder, "out")
        done = subprocess.run([attnc, "compile", path, "--op", "bwd", "--arch", target, "--shape",
                               shape, "--schedule", f"template={TEMPLATE[target]}", "--emit", "ptx,json", "-o",
                               out], capture_output=True, text=True)
        plain = target != "sm_75" and "bias" not in more
        if done.returncode == 4 and (target, dim) in REFUSED and not plain:
            return None, "refused"
        if done.returncode:
            return done.stderr.strip(), ""
        ptx, = [os.path.join(out, n) for n in os.listdir(out) if n.endswith(".ptx")]
        made = subprocess.run(["ptxas", "-v", f"-arch={target}", ptx, "-o", os.devnull],
                              capture_output=True, text=True)
    what = re.search(r"bwd_\w+ \d.*?(?=  )", done.stdout)
    if made.returncode:
        return made.stderr.strip(), what and what.group(0)
    spills = spilled(made.stderr)
    bad = ", ".join([f"{entry} spills {n} bytes" for entry, n in spills.items()] + serialised(made.stderr))
    return bad or None, what and what.group(0)


def self_test():
    log = ("ptxas info    : Compiling entry function 'a' for 'sm_80'\n"
           "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
           "ptxas info    : Compiling entry function 'b' for 'sm_80'\n"
           "    8 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads\n")
    assert spilled(log) == {"b": 12}
    assert not spilled(log.split("entry function 'b'")[0])
    assert serialised("info : (C7512) Potential Performance Loss: wgmma.mma_async") == ["C7512"]
    assert not serialised(log)
    seen = {(more, target) for target, _, more, _ in cells()}
    assert len(seen) == len(MORE) * len(TARGETS)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("attnc")
    p.add_argument("--shard", default="0/1")
    p.add_argument("--target", choices=TARGETS)
    p.add_argument("--dim", type=int)
    p.add_argument("--self-test", action="store_true")
    o = p.parse_args()
    if o.self_test:
        return self_test()
    if not shutil.which("ptxas"):
        print("SKIPPED: no ptxas")
        return 77
    first, step = map(int, o.shard.split("/"))
    failed = 0
    for target, dim, more, shape in list(cells())[first::step]:
        if (o.target and target != o.target) or (o.dim and dim[0] != o.dim):
            continue
        bad, what = judge(o.attnc, target, dim, more, shape)
        failed += bad is not None
        print(f"{'ok' if bad is None else 'FAIL'}  {target} {dim[0]}/{dim[1]} "
              f"{more.strip()!r} {what} {bad or ''}", flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
