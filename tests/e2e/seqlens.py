"""Sequences of lengths of their own: each kind and mix of `seqlens` with masks, modifiers, dims,
dtypes, layouts, targets and schedules, so that every two values meet in some case.

    seqlens.py ATTNC [--cases N] [--seed S] [--shard I/N] [--list]

Lengths are 0, 1, one less and one more than a tile, all equal, one long among many short. Rows of
no sequence hold NaN and infinity; afterwards those of O and the LSE must hold what they held. A
case that fails prints its spec. --list runs nothing: do all pairs meet, is a case refused?
Passed: exit 0 of every `attnc run --verify`: no finding of the emulator, every row right."""
import itertools
import sys

import factors

NAMES = ("cu_seqlens_q", "cu_seqlens_k", "seqused_q", "seqused_k", "leftpad_k", "cache_batch_idx")
MIXES = tuple(m for n in range(1, 7) for m in itertools.combinations(NAMES, n)
              if not {"cu_seqlens_k", "cache_batch_idx"} <= set(m))
FACTORS = {
    "mix": MIXES,
    "lengths": ("3/20,0/5,17/0,9", "1/1,1/40,40/1", "31/33,32/32,33/31,0/0", "63/65,65/63,64/64",
                "40,40,40", "130,1,3,0,2,0,5"),
    "mask": ("", "causal: true", "causal: true\nalign: top_left", "window: [20, 5]",
             "causal: true\nwindow: [9, 0]", "attention_chunk: 16\ncausal: true",
             "causal: true\nprefix_len: true", 'mask_mod: "{q} == {k}"',
             'mask_mod: "kv_idx % 3 != 1 || q_idx < 20"'),
    "score": ("", "softcap: 1.5", "alibi_slopes: h", "alibi_slopes: bh",
              "bias: {{axes: [h, {qa}, {ka}], dtype: fp16}}", "bias: {{axes: [{qa}], dtype: fp32}}",
              "bias: {{axes: [b, h, {ka}], dtype: bf16}}",
              'score_mod: "score + 0.5 * f32({k}) - f32(sk - sq) / 64"'),
    "more": ("return_lse: true", "return_lse: true\nlse_base: 2", "sink: fp32\nreturn_lse: true",
             ""),
    "axes": ("padded", "packed"),
    "dims": ("head_dim: 32", "head_dim: 64", "head_dim: 64\nhead_dim_v: 32", "head_dim: 128"),
    "dtype": ("fp16", "bf16"),
    "layout": ("bshd", "bhsd"),
    "heads": ("h4/2", "h2", "h3/1"),
    "room": (0, 3),
    "how": (("sm_80", "template=ref_fwd"), ("sm_75", "template=fwd_mma"),
            ("sm_80", "template=fwd_mma"), ("sm_120", "template=fwd_mma,block_m=64,num_warps=4"),
            ("sm_90a", "template=fwd_wgmma,block_m=64"),
            ("sm_90a", "template=fwd_wgmma,block_m=128,scheduler=persistent"),
            ("sm_90a", "template=fwd_wgmma,scheduler=dynamic,block_m=64"),
            ("sm_90a", "template=fwd_wgmma,block_m=64,cluster=2"),
            ("sm_90a", "template=fwd_wgmma,block_m=64,pack_gqa=true"),
            ("sm_90a", "template=fwd_wgmma,block_m=64,p_in_smem=true,tma_store=false"),
            ("sm_80", "template=fwd_mma,device_items=true"),
            ("sm_90a", "template=fwd_wgmma,block_m=64,scheduler=dynamic,device_items=true")),
}
GROUPED = "h4/2"  # two heads a group, as pack_gqa has them


def possible(case):
    packed = {"cu_seqlens_q", "cu_seqlens_k"} & set(case["mix"])
    if case["axes"] == "packed" and not packed:
        return False
    target, schedule = case["how"]
    if "cluster=2" in schedule and case["mask"].startswith("mask_mod"):
        return False  # a mask of several ranges takes no cluster
    if "pack_gqa" in schedule and case["heads"] != GROUPED:
        return False
    if "device_items" in schedule and set(case["mix"]) == {"cache_batch_idx"}:
        return False  # it gives no lengths
    return not (target == "sm_75" and case["dtype"] == "bf16")


def spec_of(case):
    packed = case["axes"] == "packed"
    group = "group_size: 2\n" if "pack_gqa" in case["how"][1] else ""
    qa = "tq" if packed and "cu_seqlens_q" in case["mix"] else "q"
    ka = "tk" if packed and "cu_seqlens_k" in case["mix"] else "kv"
    names = dict(q="row[b, q_idx]", k="key[b, kv_idx]", qa=qa, ka=ka)
    text = [f"attnc: 1\nname: seqlens\ndtype: {case['dtype']}\n{case['dims']}\n"
            f"layout: {case['layout']}\n{group}seqlens: [{', '.join(case['mix'])}]"]
    text += [case[x].format(**names) for x in ("mask", "score")] + [case["more"]]
    declared = [f"{name}: {{dtype: i32, axes: [b, {axis}], monotone: true}}"
                for name, axis in (("row", qa), ("key", ka)) if f"{name}[" in "".join(text)]
    if declared:
        text.append(f"tensors: {{{', '.join(declared)}}}")
    return "\n".join(text) + "\n"


def shape_of(case):
    pairs = [(x.split("/") * 2)[:2] for x in case["lengths"].split(",")]
    sq, sk = (max(int(p[i]) for p in pairs) + case["room"] for i in (0, 1))
    return f"b{len(pairs)} {case['heads']} sq{sq} sk{sk}"


def made(case, _):
    target, schedule = case["how"]
    return factors.Case(spec_of(case), target, shape_of(case), schedule, case["lengths"])


def main():
    a = factors.arguments(720).parse_args()
    return factors.each(a, FACTORS, possible, made)


if __name__ == "__main__":
    sys.exit(main())
