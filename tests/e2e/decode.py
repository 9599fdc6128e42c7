"""decode_mma, decode_wgmma, mixed, mixed_wgmma: few rows, or few beside many, against masks, modifiers,
sequences, pages, forced numbers of parts, dims, dtypes, layouts, targets and schedules, so that every
two values meet in some case.

    decode.py ATTNC [--template T] [--cases N] [--seed S] [--shard I/N] [--list]

Numbers of keys are 0, 1, one less and one more than what a warp, a tile has. Rows of no
sequence hold NaN and infinity; afterwards those of O and the LSE must hold what they held. A case
that fails prints its spec. --list runs nothing: do all pairs meet, is a case refused?
Passed: exit 0 of every `attnc run --verify`: no finding of the emulator, every row right; of the
whole list no case is refused."""
import functools
import sys

import factors

FACTORS = {
    "mix": ((), ("seqused_k",), ("seqused_q", "seqused_k"), ("cu_seqlens_q", "seqused_k"),
            ("seqused_k", "leftpad_k"), ("seqused_k", "cache_batch_idx"), ("cu_seqlens_k",),
            ("cu_seqlens_q", "cu_seqlens_k")),
    "sq": (1, 2, 5, 17, 64),
    "keys": ((0, 1), (15, 16, 17), (31, 33, 32), (63, 64, 65), (127, 129, 128), (255, 257),
             (300, 7, 130, 0), (511, 513, 1025), (4097, 640)),
    "mask": ("", "causal: true", "causal: true\nalign: top_left", "window: [20, 5]",
             "causal: true\nwindow: [90, 0]", "attention_chunk: 16\ncausal: true",
             "causal: true\nprefix_len: true", 'mask_mod: "kv_idx % 3 != 1 || q_idx < 20"',
             'mask_mod: "kv_idx < 4 || kv_idx > sk - 60"', "mask_bits: true", "mask_bits: new"),
    "score": ("", "softcap: 1.5", "alibi_slopes: h", "bias: {axes: [h, q, kv], dtype: fp16}",
              "bias: {axes: [b, h, kv], dtype: bf16}",
              'score_mod: "score + 0.01 * f32(kv_idx) - f32(h) / 4"'),
    "more": ("return_lse: true", "return_lse: true\nlse_base: 2", "sink: fp32\nreturn_lse: true",
             ""),
    "dims": ("head_dim: 64", "head_dim: 80", "head_dim: 96", "head_dim: 128", "head_dim: 192",
             "head_dim: 256", "head_dim: 192\nhead_dim_v: 128", "head_dim: 64\nhead_dim_v: 128",
             "head_dim: 40\nhead_dim_v: 72", "head_dim: 512", "head_dim: 96\nhead_dim_v: 320"),
    "dtype": ("fp16", "bf16"),
    "layout": ("bshd", "bhsd"),
    "heads": ("h4/4", "h4/2\ngroup_size: 2", "h8/1\ngroup_size: 8", "h5/1\ngroup_size: 5",
              "h32/2\ngroup_size: 16", "h12/1\ngroup_size: 12", "h20/1\ngroup_size: 20", "h6/2"),
    "target": ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_90a", "sm_120"),
    "how": ("", "block_m=16", "block_m=32", "num_warps=2", "q_in_regs=false", "num_stages=1",
            "block_n=128", "pack_gqa=false", "num_warps=4,warps_n=4,block_n=32",
            "num_warps=4,warps_n=4,block_n=64", "num_warps=2,warps_n=2,block_n=16",
            "block_m=32,num_warps=2,warps_n=2,block_n=32"),
    "page": (0, 1, 3, 16, 64, 256, 300),  # 0: dense
    "table": ("true", "kv"),
    "parts": ("", "num_splits1", "num_splits2", "num_splits7"),
    "split": ("", "split_keys=0", "split_keys=128", "split_keys=256", "split_keys=512",
              "split_keys=128,combine=true", "split_keys=128,combine=false"),
}
PACKED = (("cu_seqlens_q", "seqused_k"), ("cu_seqlens_q", "cu_seqlens_k"), ("cu_seqlens_q",),
          ("cu_seqlens_q", "seqused_k", "cache_batch_idx"), ("cu_seqlens_q", "seqused_k", "leftpad_k"),
          ("cu_seqlens_q", "seqused_q", "seqused_k"))
NARROW = ("head_dim: 64", "head_dim: 80", "head_dim: 128", "head_dim: 192\nhead_dim_v: 128",
          "head_dim: 256", "head_dim: 40\nhead_dim_v: 72")
# What another template has instead.
OTHERS = {
    "mixed": {
        "mix": PACKED,
        "sq": (5, 17, 64, 130),
        "dims": NARROW,
        "how": ("", "block_m=64,num_warps=4", "num_stages=1", "prefill.q_in_regs=false",
                "decode.block_m=16", "decode.block_m=32", "decode.num_warps=2,decode.block_n=32",
                "decode.pack_gqa=false"),
        "split": ("", "decode.split_keys=128", "decode.split_keys=256", "decode.split_keys=512"),
    },
    "mixed_wgmma": {
        "mix": PACKED,
        "sq": (5, 17, 64, 130),
        "dims": NARROW,
        "page": (0, 8, 16, 24, 64, 256),
        "target": ("sm_90a",),
        "how": ("", "block_m=64,num_warps=8", "block_m=128,num_warps=12", "prefill.p_in_smem=true",
                "prefill.scheduler=persistent", "prefill.scheduler=persistent,prefill.q_stages=2",
                "decode.block_m=16", "decode.block_m=32", "decode.pack_gqa=false"),
        "split": ("", "decode.split_keys=128", "decode.split_keys=256", "decode.split_keys=512"),
    },
    "decode_wgmma": {
        "page": (0, 8, 16, 24, 64, 256),
        "target": ("sm_90a",),
        "how": ("", "block_n=32", "block_n=128", "block_n=16", "num_stages=1", "num_stages=2",
                "num_stages=4", "pack_gqa=false"),
        "heads": ("h4/4", "h4/2\ngroup_size: 2", "h8/1\ngroup_size: 8", "h5/1\ngroup_size: 5",
                  "h32/2\ngroup_size: 16", "h12/1\ngroup_size: 12", "h40/1\ngroup_size: 40",
                  "h64/1\ngroup_size: 64", "h6/2"),
    },
}


def possible(template, case):
    """Rules that a template has, so that few cases are refused: of head_dim 512 not one warp has
    O, 256 on sm_75; nor are there 64 keys of it in 99 KB, nor 128 of 192, nor 64 of 256 in 64."""
    if case["page"] and "cu_seqlens_k" in case["mix"]:
        return False  # packed keys are in no pages
    if case["parts"] and case["split"] == "split_keys=0":
        return False  # nothing is split
    wide = max(int(x.split(": ")[1]) for x in case["dims"].split("\n"))
    turing, how = case["target"] == "sm_75", case["how"]
    if turing and (case["dtype"] == "bf16" or wide > 256 or how == "block_n=128"):
        return False
    hopper = "wgmma" in template
    if case["page"] and "leftpad_k" in case["mix"] and hopper:
        return False  # a tile would begin inside of a box of rows
    if template == "mixed" and turing and wide > 160:
        return False
    if "mixed" in template:
        return not (wide == 256 and "decode.block_m=32" in how)  # as of decode_mma
    if hopper:
        return wide <= 256 and not (wide >= 192 and how in ("block_n=128", "num_stages=4"))
    if wide > (160 if turing else 256) and how in ("num_warps=2", "block_n=128"):
        return False
    if wide == 128 and how == "block_m=32" and (case["score"] or case["mask"] == "mask_bits: new"):
        return False  # 128 columns and addresses of tables; warps that share rows have room
    if how.startswith("block_m=32,") and (turing or wide > 128):
        return False
    if turing and wide == 256 and how == "num_warps=4,warps_n=4,block_n=64":
        return False
    if wide > 256 and "warps_n=2" in how:
        return False
    small = case["target"] in ("sm_86", "sm_89", "sm_120")
    if wide > 256 and "block_n=64" in how and small:
        return False
    return not (wide >= 192 and small and how == "block_n=128")


def spec_of(case):
    text = [f"attnc: 1\nname: decode\ndtype: {case['dtype']}\n{case['dims']}\n"
            f"layout: {case['layout']}"]
    if case["mix"]:
        text.append(f"seqlens: [{', '.join(case['mix'])}]")
    if case["page"]:
        text.append(f"page_table: {case['table']}")
    text += [case["mask"], case["score"], case["more"]] + case["heads"].split("\n")[1:]
    return "\n".join(text) + "\n"


def problem_of(case, kinds):
    """Its shape, its sequences' lengths: kinds of numbers of queries, all of them and half, and one."""
    heads, keys = case["heads"].split("\n")[0], case["keys"]
    sq, sk = case["sq"], max(keys)
    shape = f"b{len(keys)} {heads} sq{sq} sk{sk} {case['parts']}"
    if case["page"]:
        shape += f" page_size{case['page']}"
    if not case["mix"]:
        return shape, ""
    own_q = {"cu_seqlens_q", "seqused_q"} & set(case["mix"])
    queries = [(sq, sq // 2, 1)[i % kinds] if own_q else sq for i in range(len(keys))]
    return shape, ",".join(f"{q}/{k}" for q, k in zip(queries, keys))


def made(template, case):
    words = [f"template={template}", *(x for x in (case["how"], case["split"]) if x)]
    shape, lengths = problem_of(case, 3 if "mixed" in template else 2)
    return factors.Case(spec_of(case), case["target"], shape, ",".join(words), lengths)


def main():
    p = factors.arguments(800)
    p.add_argument("--template", default="decode_mma", choices=("decode_mma", *OTHERS))
    a = p.parse_args()
    of, rule = FACTORS | OTHERS.get(a.template, {}), functools.partial(possible, a.template)
    return factors.each(a, of, rule, lambda case, i: made(a.template, case))


if __name__ == "__main__":
    sys.exit(main())
