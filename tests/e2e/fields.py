"""Fields that change masks and scores, many at a time, on every template: random specs of them
with random tensors at ragged sizes, judged against the fp64 reference by `attnc run --verify`.

    fields.py ATTNC [--cases N] [--seed S] [--shard I/N]

Each field stands in about half of the specs, with any other.  A case that fails prints its spec.
Passed: exit 0 of every run."""
import argparse
import os
import random
import subprocess
import sys
import tempfile

TEMPLATES = (("sm_80", "ref_fwd"), ("sm_80", "fwd_mma"), ("sm_75", "fwd_mma"),
             ("sm_90a", "fwd_wgmma"), ("sm_90a", "fwd_wgmma"))
# A field, and the lines that it may be.
FIELDS = {
    "causal": ("causal: true", "causal: true\nalign: top_left", "causal: true\nprefix_len: true",
               "causal: true\nalign: top_left\nprefix_len: true"),
    "window": ("window: [20, 5]", "window: [-1, 9]", "window: [33, -1]"),
    "chunk": ("attention_chunk: 7", "attention_chunk: 64"),
    "mask": ('mask_mod: "kv_idx % 3 != 1 || q_idx < 20"',
             'mask_mod: "doc[b, q_idx] == doc[b, kv_idx]"',
             'mask_mod: "(words[h, kv_idx // 24] >> q_idx & 1) == 1"'),
    "bits": ("mask_bits: true", "mask_bits: new"),
    "softcap": ("softcap: 1.5", "softcap: 20.0\nspecialize: [softcap]"),
    "alibi": ("alibi_slopes: h", "alibi_slopes: bh"),
    "bias": ("bias: {axes: [b, h, q, kv], dtype: bf16}", "bias: {axes: [h, kv], dtype: fp32}",
             "bias: {axes: [q, kv], dtype: fp16}", "bias: {axes: [b, q], dtype: fp32}",
             "bias: {axes: [h, q, kv], dtype: fp32}", "bias: {axes: [b, q, kv], dtype: bf16}"),
    "score": ('score_mod: "score * gain - 0.125 * f32(h)"',),
    "sink": ("sink: fp32", "sink: fp16"),
    "lse": ("return_lse: true", "return_lse: true\nlse_base: 2"),
    "layout": ("layout: bhsd",),
}
DECLARED = ("tensors: {doc: {dtype: i32, axes: [b, kv], monotone: true}, "
            "words: {dtype: u32, axes: [h, kv/24]}}\nscalars: {gain: 0.75}\n")
SHAPES = ("b2 h4/2 sq70 sk90", "b2 h4/2 sq80 sk104", "b1 h3/1 sq90 sk70",
          "b2 h2 sq1 sk101", "b1 h4/1 sq33 sk33")


def spec_of(rng, target, template):
    dtypes = {"ref_fwd": ("fp16", "bf16", "fp32"), "fwd_mma": ("fp16", "bf16"),
              "fwd_wgmma": ("fp16", "bf16")}[template]
    lines = [rng.choice(ways) for ways in FIELDS.values() if rng.random() < .5]
    dtypes = dtypes[:1 if target == "sm_75" else 3]
    return (f"attnc: 1\nname: fields\ndtype: {rng.choice(dtypes)}\n"
            f"head_dim: {rng.choice((32, 64))}\n{DECLARED}" + "".join(x + "\n" for x in lines))


def run(attnc, folder, rng, i):
    target, template = TEMPLATES[i % len(TEMPLATES)]
    text, shape = spec_of(rng, target, template), rng.choice(SHAPES)
    path = os.path.join(folder, "fields.attn.yaml")
    with open(path, "w") as f:
        f.write(text)
    r = subprocess.run([attnc, "run", path, "--no-cache", "--device", "emu", "--arch", target,
                        "--schedule", f"template={template}", "--shape", shape, "--seed",
                        str(rng.randrange(1 << 30)), "--verify"], capture_output=True, text=True)
    if r.returncode:
        print(f"FAIL  case {i}: {template} {target} {shape}, exit {r.returncode}\n{text}"
              f"{r.stdout[-600:]}{r.stderr[-600:]}")
    return r.returncode == 0


def main():
    p = argparse.ArgumentParser()
    p.add_argument("attnc")
    p.add_argument("--cases", type=int, default=200)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--shard", default="0/1", help="case i where i %% N is I")
    a = p.parse_args()
    first, step = map(int, a.shard.split("/"))
    with tempfile.TemporaryDirectory() as folder:
        good = [run(a.attnc, folder, random.Random(f"{a.seed} {i}"), i)
                for i in range(first, a.cases, step)]
    print(f"{sum(good)} of {len(good)} right")
    return int(not all(good))


if __name__ == "__main__":
    sys.exit(main())
