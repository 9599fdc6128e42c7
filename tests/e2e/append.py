"""New keys and values in a cache, and states that are merged: dense and in pages, kinds of
embeddings, lengths, dims, dtypes, layouts, targets and schedules, so that every two values meet in
some case.

    append.py ATTNC [--op append|merge|fwd|prefix] [--cases N] [--seed S] [--shard I/N] [--list]

What the cache held is random, and must be what it was but for the new rows; the table has what no
page is wherever no new row is. `prefix` is op fwd of specs with shared_prefix: all queries over a
prefix, each sequence over its own keys, both merged. Of op fwd new keys are a step ahead of attention, or queries are
turned, and what the cache held where the new keys go is NaN. Of states to merge every fourth, and
all of some rows, have seen no key, and their outputs are NaN. A case that fails prints its spec.
--list runs nothing: do all pairs meet, is a case refused? Passed: exit 0 of every `attnc run --verify`: no
finding of the emulator, every row right, nothing else changed."""
import itertools
import sys

import factors

NAMES = ("cache_batch_idx", "cu_seqlens_k_new", "rotary_at", "seqused_k")
DIMS = ("head_dim: 64", "head_dim: 80", "head_dim: 128", "head_dim: 256", "head_dim: 512",
        "head_dim: 192\nhead_dim_v: 128", "head_dim: 32\nhead_dim_v: 512")
TARGETS = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_90a", "sm_120")
APPEND = {
    "page": (1, 3, 16, 64, 256, 300),
    "table": ("true", "kv", "false"),
    "mix": tuple(m for n in range(5) for m in itertools.combinations(NAMES, n)),
    "new": (1, 2, 5, 17, 64),
    "sk": (64, 131, 200),
    "heads": ("h4/2", "h2", "h3/1", "h10/5"),
    "rope": ("", "dim: 32", "dim: 64", "dim: 20", "dim: 8", "dim: 32, interleaved: true",
             "dim: 64, interleaved: true", "dim: 6, interleaved: true", "dim: 2"),
    "angles": ("fp32", "fp16", "bf16"),
    "more": ("", "specialize: [page_size]", "specialize: [strides]", "specialize: [hk, sk]",
             "causal: true\nreturn_lse: true"),
    "dims": DIMS,
    "dtype": ("fp16", "bf16", "fp32", "{q: fp16, k: bf16, v: fp16, o: fp16}"),
    "layout": ("bshd", "bhsd", "{q: bshd, k: bhsd, v: bshd, o: bshd}"),
    "target": TARGETS,
    "warps": ("", "1", "2", "4", "8", "32"),
}
MERGE = {
    "parts": (0, 1, 2, 3, 7, 33),
    "sq": (1, 2, 5, 17, 64),
    "heads": ("h4", "h1", "h5"),
    "b": (1, 3),
    "packed": ("", "seqlens: [cu_seqlens_q]"),
    "lse": ("return_lse: true", "return_lse: true\nlse_base: 2", ""),
    "o_parts": ("", "o_parts: fp16", "o_parts: bf16"),
    "more": ("", "specialize: [strides]", "specialize: [parts]", "specialize: [h, sq]"),
    "dims": DIMS,
    "dtype": ("fp16", "bf16", "fp32"),
    "layout": ("bshd", "bhsd"),
    "target": TARGETS,
    "warps": ("", "1", "2", "4", "8", "32"),
}


FWD = {
    "page": (1, 3, 16, 64, 300),
    "table": ("true", "kv", "false"),
    "append": ("append: true", ""),
    "mix": tuple(m for n in range(3) for m in itertools.combinations(
        ("cache_batch_idx", "leftpad_k", "cu_seqlens_k_new", "cu_seqlens_q", "rotary_at"), n)),
    "sq": (1, 2, 5, 17, 70),
    "sk": (100, 131, 200),
    "heads": ("h4/2", "h2", "h8/1"),
    "rope": ("", "dim: 64", "dim: 20", "dim: 32, interleaved: true", "dim: 6, interleaved: true"),
    "angles": ("fp32", "fp16", "bf16"),
    "mask": ("", "causal: true", "window: [20, 5]", "causal: true\nwindow: [40, 0]",
             "causal: true\nprefix_len: true", "mask_bits: new", "softcap: 1.5\nalibi_slopes: h"),
    "more": ("return_lse: true", "sink: fp32\nreturn_lse: true", "specialize: [strides]"),
    "dims": ("head_dim: 64", "head_dim: 80", "head_dim: 128", "head_dim: 192\nhead_dim_v: 128"),
    "dtype": ("fp16", "bf16"),
    "layout": ("bshd", "bhsd"),
    "how": (("sm_80", "template=ref_fwd"), ("sm_75", "template=fwd_mma"),
            ("sm_80", "template=fwd_mma"), ("sm_90a", "template=fwd_wgmma"),
            ("sm_120", "template=fwd_mma"), ("sm_75", "template=decode_mma"),
            ("sm_86", "template=decode_mma"), ("sm_90a", "template=decode_mma"),
            ("sm_80", "template=decode_mma,split_keys=512"), ("sm_90a", "template=decode_wgmma"),
            ("sm_75", "template=mixed"), ("sm_80", "template=mixed"), ("sm_90a", "template=mixed"),
            ("sm_90a", "template=mixed_wgmma")),
}


PREFIX = {
    "sp": (0, 1, 33, 64, 300, 1100),
    "page": (1, 3, 16, 64, 300),
    "table": ("true", "false"),
    "append": ("append: true", ""),
    "mix": tuple(m for n in range(3) for m in itertools.combinations(
        ("cache_batch_idx", "leftpad_k", "cu_seqlens_q", "seqused_q", "seqused_k", "cu_seqlens_k",
         "rotary_at"), n)),
    "b": (1, 3, 7),
    "sq": (1, 2, 5, 17, 70),
    "sk": (70, 131, 600),
    "heads": ("h4/2", "h2", "h8/1"),
    "rope": ("", "dim: 64", "dim: 20", "dim: 32, interleaved: true"),
    "angles": ("fp32", "fp16", "bf16"),
    "mask": ("", "causal: true", "window: [-1, 3]", "causal: true\nsoftcap: 1.5"),
    "more": ("return_lse: true", "sink: fp32\nreturn_lse: true", "return_lse: true\nlse_base: 2",
             "specialize: [sp]", "batch_invariant: true"),
    "dims": ("head_dim: 64", "head_dim: 80", "head_dim: 128", "head_dim: 192\nhead_dim_v: 128"),
    "dtype": ("fp16", "bf16"),
    "layout": ("bshd", "bhsd"),
    "how": (("sm_80", "template=ref_fwd"), ("sm_75", "template=fwd_mma"),
            ("sm_80", "template=fwd_mma"), ("sm_120", "template=fwd_mma"),
            ("sm_75", "template=decode_mma"), ("sm_86", "template=decode_mma"),
            ("sm_90a", "template=decode_mma"), ("sm_80", "template=decode_mma,split_keys=512"),
            ("sm_90", "template=decode_mma,split_keys=512"), ("sm_90a", "template=decode_wgmma"),
            ("sm_80", "template=mixed"), ("sm_120", "template=mixed")),
}


def has_template(case):
    """Few queries of wide heads have no registers on sm_75; mixed batches are packed."""
    target, schedule = case["how"]
    few = "decode_mma" in schedule or "mixed" in schedule
    wide = target == "sm_75" and few and "192" in case["dims"]
    return not wide and ("mixed" not in schedule or "cu_seqlens_q" in case["mix"])


def possible_prefix(case):
    mix = set(case["mix"])
    if not has_template(case):
        return False
    if case["append"] and mix & {"seqused_k", "cu_seqlens_k"}:
        return False
    if "cu_seqlens_k" in mix and (case["table"] == "true" or "cache_batch_idx" in mix):
        return False
    if case["how"][0] == "sm_75" and case["dtype"] == "bf16":
        return False
    if "sp" in case["more"] and not case["sp"]:
        return False
    if "wgmma" in case["how"][1] and case["table"] != "false":
        if case["page"] % 8 or "leftpad_k" in mix:
            return False
    return not ("rotary_at" in mix and not case["rope"])


def possible_fwd(case):
    target, schedule = case["how"]
    mix = case["mix"]
    if not has_template(case):
        return False
    if not case["append"] and (not case["rope"] or "cu_seqlens_k_new" in mix):
        return False
    if target == "sm_75" and case["dtype"] == "bf16":
        return False
    if case["rope"] and ("fwd_wgmma" in schedule or "mixed_wgmma" in schedule):
        return False
    if "wgmma" in schedule and case["table"] != "false":
        if case["page"] % 8 or "leftpad_k" in mix:
            return False  # boxes of rows lie in one page, and begin with the first key
    if "rotary_at" in mix and not case["rope"]:
        return False
    packed = {"cu_seqlens_q", "cu_seqlens_k_new"} & set(mix)
    return not ("strides" in case["more"] and packed)


def possible_append(case):
    if case["table"] == "false" and "page_size" in case["more"]:
        return False
    if "rotary_at" in case["mix"] and not case["rope"]:
        return False
    if "strides" in case["more"] and "cu_seqlens_k_new" in case["mix"]:
        return False
    if case["rope"] == "dim: 64" and case["dims"] == DIMS[-1]:
        return False
    return not (case["rope"].startswith("dim: 64") and "head_dim: 32" in case["dims"])


def possible_merge(case):
    if case["more"] == "specialize: [parts]" and case["parts"] == 0:
        return False
    return not (case["packed"] and case["more"] in ("specialize: [strides]",
                                                     "specialize: [h, sq]"))


def append_spec(case):
    rope = f"rope: {{{case['rope']}, dtype: {case['angles']}}}\n" if case["rope"] else ""
    mix = f"seqlens: [{', '.join(case['mix'])}]\n" if case["mix"] else ""
    text = (f"page_table: {case['table']}\n{mix}{rope}{case['more']}\n")
    shape = f"b3 {case['heads']} sq{min(case['new'], case['sk'])} sk{case['sk']}"
    return text, shape + (f" page_size{case['page']}" if case["table"] != "false" else "")


def merge_spec(case):
    text = f"{case['packed']}\n{case['lse']}\n{case['o_parts']}\n{case['more']}\n"
    return text, f"b{case['b']} {case['heads']} sq{case['sq']} sk8 parts{case['parts']}"


def fwd_spec(case):
    rope = f"rope: {{{case['rope']}, dtype: {case['angles']}}}\n" if case["rope"] else ""
    mix = f"seqlens: [{', '.join(case['mix'])}]\n" if case["mix"] else ""
    text = (f"page_table: {case['table']}\n{mix}{rope}{case['append']}\n{case['mask']}\n"
            f"{case['more']}\n")
    shape = f"b3 {case['heads']} sq{case['sq']} sk{case['sk']}"
    return text, shape + (f" page_size{case['page']}" if case["table"] != "false" else "")


def prefix_spec(case):
    rope = f"rope: {{{case['rope']}, dtype: {case['angles']}}}\n" if case["rope"] else ""
    mix = f"seqlens: [{', '.join(case['mix'])}]\n" if case["mix"] else ""
    text = (f"shared_prefix: true\npage_table: {case['table']}\n{mix}{rope}{case['append']}\n"
            f"{case['mask']}\n{case['more']}\n")
    shape = f"b{case['b']} {case['heads']} sq{case['sq']} sk{case['sk']} sp{case['sp']}"
    return text, shape + (f" page_size{case['page']}" if case["table"] != "false" else "")


OPS = {"fwd": (FWD, possible_fwd, fwd_spec, 480),
       "prefix": (PREFIX, possible_prefix, prefix_spec, 480),
       "append": (APPEND, possible_append, append_spec, 360),
       "merge": (MERGE, possible_merge, merge_spec, 120)}


NAMED = {"prefix": "fwd"}


def schedule_of(case):
    """Of op fwd the template says; else rows of a block, a warp each."""
    if "how" in case:
        return case["how"]
    warps = case["warps"]
    return case["target"], f"block_m={warps},num_warps={warps}" if warps else ""


def made(op, case):
    text, shape = OPS[op][2](case)
    target, schedule = schedule_of(case)
    spec = (f"attnc: 1\nname: {op}ed\ndtype: {case['dtype']}\n{case['dims']}\n"
            f"layout: {case['layout']}\n{text}")
    return factors.Case(spec, target, shape, schedule, op=NAMED.get(op, op))


def main():
    p = factors.arguments(None)
    p.add_argument("--op", choices=tuple(OPS), default="append")
    a = p.parse_args()
    values, possible, _, n = OPS[a.op]
    a.cases = a.cases or n
    return factors.each(a, values, possible, lambda case, i: made(a.op, case))


if __name__ == "__main__":
    sys.exit(main())
