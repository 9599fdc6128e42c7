"""Lists of blocks (`block_list`) with masks, modifiers, dims, dtypes, layouts, targets and
schedules, so that every two values meet in some case; gradients, too.

    blocks.py ATTNC [--cases N] [--seed S] [--shard I/N] [--list]

`attnc run` draws the lists: rows of blocks with no block, with one kind alone, with both; in
rising order or in any; sometimes an entry is no block. Entries behind the lengths are numbers of
no block, and keys and values of blocks that no list of their heads names are NaN. A case that
fails prints its spec. --list runs nothing: do all pairs meet, is a case
refused?
Passed: exit 0 of every `attnc run --verify`: no finding of the emulator, every row right."""
import sys

import factors

FACTORS = {
    "block": ((64, 64), (128, 128), (128, 64), (64, 128), (192, 96), (256, 32)),
    "mask": ("", "causal: true", "causal: true\nalign: top_left", "window: [40, 25]",
             "causal: true\nprefix_len: true", "attention_chunk: 48",
             'mask_mod: "doc[b, q_idx] == doc[b, kv_idx]"',
             'mask_mod: "kv_idx % 3 != 1 || q_idx < 20"', "mask_bits: true"),
    "score": ("", "softcap: 1.5", "alibi_slopes: h", "bias: {axes: [h, q, kv], dtype: fp16}",
              "bias: {axes: [b, kv], dtype: fp32}", 'score_mod: "score + 0.5 * f32(h)"'),
    "more": ("return_lse: true", "return_lse: true\nlse_base: 2", "sink: fp32\nreturn_lse: true",
             "", "return_lse: true\nspecialize: [sq, sk]"),
    "dims": ("head_dim: 32", "head_dim: 64", "head_dim: 64\nhead_dim_v: 32", "head_dim: 128"),
    "dtype": ("fp16", "bf16"),
    "layout": ("bshd", "bhsd"),
    "shape": ("b2 h4/2 sq70 sk90", "b1 h2 sq200 sk300", "b2 h2/1 sq128 sk256", "b1 h3/1 sq1 sk400",
              "b1 h1 sq260 sk77", "b1 h2 sq65 sk1"),
    "how": (("sm_80", "template=ref_fwd", 4, 1), ("sm_75", "template=fwd_mma", 32, 16),
            ("sm_80", "template=fwd_mma", 32, 16), ("sm_80", "template=fwd_mma,num_stages=2", 32, 16),
            ("sm_120", "template=fwd_mma,block_m=64,num_warps=4,block_n=32", 64, 32),
            ("sm_90a", "template=fwd_wgmma,block_m=64,block_n=32,scheduler=grid", 64, 32),
            ("sm_90a", "template=fwd_wgmma,block_m=64,block_n=64,scheduler=persistent", 64, 64),
            ("sm_90a", "template=fwd_wgmma,block_m=128,block_n=64,scheduler=dynamic", 128, 64),
            ("sm_90a", "template=fwd_wgmma,block_m=192,block_n=96", 192, 96),
            ("sm_90a", "template=fwd_wgmma,block_m=64,block_n=64,intra_wg_overlap=false", 64, 64),
            ("sm_90a", "template=fwd_wgmma,block_m=128,block_n=128,scheduler=persistent,o_in_v=true",
             128, 128),
            ("sm_80", "template=ref_bwd", 4, 1), ("sm_75", "template=ref_bwd,block_m=8,num_warps=8", 8, 1)),
}


LONG = ("b1 h2 sq200 sk300", "b1 h1 sq260 sk77")


def possible(case):
    (rows, keys), (target, schedule, bm, bn) = case["block"], case["how"]
    gradients = "ref_bwd" in schedule
    if gradients and (case["shape"] in LONG or "return_lse" not in case["more"]):
        return False
    wide = "bm=192" in schedule or bm == 192
    return not (rows % bm or keys % bn or (target == "sm_75" and case["dtype"] == "bf16")
                or (wide and "128" in case["dims"]))


def spec_of(case):
    rows, keys = case["block"]
    text = [f"attnc: 1\nname: blocks\ndtype: {case['dtype']}\n{case['dims']}\n"
            f"layout: {case['layout']}\nblock_list: {{block: [{rows}, {keys}]}}"]
    text += [case[x] for x in ("mask", "score", "more")]
    if "doc[" in case["mask"]:
        text.append("tensors: {doc: {dtype: i32, axes: [b, kv], monotone: true}}")
    return "\n".join(filter(None, text)) + "\n"


def made(case, _):
    target, schedule = case["how"][:2]
    return factors.Case(spec_of(case), target, case["shape"], schedule, op="bwd" if "bwd" in schedule else "fwd")


def main():
    a = factors.arguments(160).parse_args()
    return factors.each(a, FACTORS, possible, made)


if __name__ == "__main__":
    sys.exit(main())
