"""`deterministic: true`: gradients have the same bits whichever block of threads is first, however many are
resident, in whatever turns warps run and whenever copies land.

    deterministic.py ATTNC [--shard I/N] [--self-test]

A case is a kernel and a setting of the emulated device: its gradients, byte for byte, beside those of the plain
setting, which are verified; and `orders`, under which the device compares memory itself.  --self-test: other numbers
are told from the same."""
import argparse
import itertools
import os
import subprocess
import sys
import tempfile

BASE = "attnc: 1\nname: same\nhead_dim: 32\nreturn_lse: true\ndeterministic: true\ngrad: [lse]\n"
TILES = "block_m=32,block_n=32,num_warps=2,dq_block_m=32,dq_block_n=32,dq_warps=2"
KERNELS = (  # target, schedule, fields
    ("sm_80", "template=ref_bwd", "dtype: fp32\ncausal: true\n"),
    ("sm_80", "template=ref_bwd", "dtype: bf16\nsink: fp32\ngrad: [lse, sink]\n"),
    ("sm_80", f"template=bwd_mma,passes=2,{TILES}", "dtype: bf16\ncausal: true\n"),
    ("sm_80", f"template=bwd_mma,passes=3,{TILES}", "dtype: fp16\nwindow: [40, 9]\ndropout: true\n"),
    ("sm_75", f"template=bwd_mma,passes=3,{TILES},num_stages=1,dq_stages=1",
     "dtype: fp16\nseqlens: [cu_seqlens_q, cu_seqlens_k]\ncausal: true\n"),
    ("sm_90a", "template=bwd_wgmma", "dtype: bf16\nhead_dim: 64\ncausal: true\n"),
    ("sm_90a", "template=bwd_wgmma", "dtype: fp16\nhead_dim: 64\nsoftcap: 2.0\n"),
)
PLAIN = "ctas=forward"
SETTINGS = (
    "ctas=reverse,sched=rr,async=eager,resident=1",
    "ctas=random,sched=random,async=random,resident=2,seed=3",
    "ctas=random,sched=block,async=lazy,resident=64,seed=4",
    "ctas=reverse,sched=random,async=lazy,resident=7,seed=5",
    "ctas=random,sched=rr,async=random,resident=17,threads=2,seed=6",
    "ctas=forward,sched=rr,async=lazy,resident=64,threads=2",
    "ctas=reverse,sched=block,async=random,resident=3,seed=7",
    "orders=6,seed=8",
)


def gradients(attnc, folder, kernel, setting, seed=11):
    """The bytes of all outputs; None: a finding, or wrong."""
    target, schedule, fields = kernel
    spec, out = os.path.join(folder, "same.attn.yaml"), os.path.join(folder, "out.safetensors")
    lines = dict(line.split(": ", 1) for line in (BASE + fields).splitlines())  # the last of two counts
    with open(spec, "w", encoding="utf-8") as f:
        f.write("".join(f"{k}: {v}\n" for k, v in lines.items()))
    command = [attnc, "run", spec, "--op", "bwd", "--no-cache", "--device", "emu", "--arch", target, "--schedule", schedule,
               "--shape", "b2 h4/2 sq150 sk110", "--seed", str(seed), "--verify", "-q", "-o", out]
    if "dropout" in lines:
        command += ["--scalar", "dropout_p=0.25"]
    r = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, ATTNC_EMU=setting))
    if r.returncode:
        print(f"FAIL  {setting}: exit {r.returncode}: {' '.join(command[3:])}\n{r.stdout[-600:]}{r.stderr[-600:]}")
        return None
    with open(out, "rb") as f:
        return f.read()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("attnc")
    p.add_argument("--shard", default="0/1")
    p.add_argument("--self-test", action="store_true")
    a = p.parse_args()
    first, step = map(int, a.shard.split("/"))
    work, plain, wrong = list(itertools.product(KERNELS, SETTINGS))[first::step], {}, 0
    with tempfile.TemporaryDirectory() as folder:
        if a.self_test:
            one, other = (gradients(a.attnc, folder, KERNELS[2], PLAIN, seed) for seed in (11, 12))
            return int(one is None or other is None or one == other)
        for kernel, setting in work:
            if kernel not in plain:
                plain[kernel] = gradients(a.attnc, folder, kernel, PLAIN)
            got = gradients(a.attnc, folder, kernel, setting)
            if got is None or got != plain[kernel]:
                print(f"FAIL  {kernel}: other bits under {setting}")
                wrong += 1
    print(f"{len(work) - wrong} of {len(work)} the same")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
