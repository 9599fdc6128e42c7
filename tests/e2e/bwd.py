"""Gradients: dims, masks, modifiers, lengths of sequences, groups, layouts, dtypes, targets and
templates, so that every two values meet in some case.

    bwd.py ATTNC [--cases N] [--seed S] [--shard I/N] [--template NAME] [--list]

The forward pass runs first, on the same emulated device, and the backward one has its o and LSE. Of
sequences of lengths of their own the rows of none hold NaN, and gradients there must hold what they held.
--template: the cases of one alone. A case that fails prints its spec. --list runs nothing: do all
pairs meet, is a case refused? Passed: exit 0 of every `attnc run --op bwd --verify`: no finding of the emulator, every row
of every gradient within the contract (docs/backward.md)."""
import sys

import factors

TARGETS = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_90a", "sm_120")
# A template and one more word of its schedule, with the targets that have it.
HOW = {
    ("ref_bwd", ""): TARGETS,
    ("ref_bwd", "block_m=4,num_warps=4"): TARGETS,
    ("bwd_mma", ""): TARGETS,
    ("bwd_mma", "passes=2,num_stages=2,block_m=16,block_n=64,num_warps=4"): TARGETS[1:],
    ("bwd_mma", "passes=3,num_stages=1,block_m=16,dq_stages=1"): TARGETS,
    ("bwd_mma", "passes=3,num_stages=2,block_m=16,dq_stages=2,dq_block_n=16"): TARGETS[1:],
    ("bwd_mma", "passes=1"): TARGETS,
    ("bwd_mma", "passes=1,num_stages=2,block_m=32,block_n=32,num_warps=2"): TARGETS[1:],
    ("bwd_mma", "passes=1,num_stages=1,block_m=32,block_n=128,num_warps=8"): TARGETS,
    ("bwd_wgmma", ""): ("sm_90a",),
    ("bwd_wgmma", "passes=1,block_m=64,block_n=64,num_warps=8,num_stages=1"): ("sm_90a",),
    ("bwd_wgmma", "passes=3,num_stages=1,block_m=16,block_n=128,num_warps=12,dq_stages=1,dq_block_m=128,"
                  "dq_block_n=16"): ("sm_90a",),
}
LENGTHS = ("", "cu_seqlens_q cu_seqlens_k", "cu_seqlens_q", "cu_seqlens_k", "seqused_q seqused_k", "seqused_k",
           "cu_seqlens_q cu_seqlens_k seqused_k", "leftpad_k", "seqused_k leftpad_k", "cu_seqlens_k leftpad_k")
FACTORS = {
    "dims": ("head_dim: 16", "head_dim: 32", "head_dim: 64", "head_dim: 80", "head_dim: 96",
             "head_dim: 128", "head_dim: 160", "head_dim: 192", "head_dim: 256",
             "head_dim: 192\nhead_dim_v: 128", "head_dim: 64\nhead_dim_v: 128"),
    "mask": ("", "causal: true", "causal: true\nalign: top_left", "window: [20, 5]",
             "causal: true\nwindow: [17, 0]", "causal: true\nattention_chunk: 16",
             "causal: true\nprefix_len: true", "mask_bits: true", 'mask_mod: "doc[b, kv_idx] == mark[b, q_idx]"',
             'mask_mod: "kv_idx % 3 != 1 || q_idx < 20"', 'mask_mod: "kv_idx > 200"'),
    "score": ("", "softcap: 1.5", "alibi_slopes: h", "alibi_slopes: bh",
              "bias: {axes: [h, q, kv], dtype: fp16}", "bias: {axes: [kv], dtype: fp32}",
              "softcap: 0.7\nbias: {axes: [b, q], dtype: bf16}",
              'score_mod: "score * (1.0 + 0.25 * f32(h)) + tanh(score * score)"',
              'score_mod: ["score * gain[h] + row[b, q_idx]", "0.5 * tanh(score) + 0.1 * score * row[b, q_idx]"]',
              'score_mod: ["max(score, 0.2 * score)", "score * sigmoid(score) - f32(kv_idx) / 64"]'),
    "more": ("", "sink: fp32", "grad: [lse]", "lse_base: 2", "lse_base: 2\ngrad: [lse]", "sink: bf16\ngrad: [lse]",
             "deterministic: true", "GRAD", "sink: fp32\nGRAD", "GRAD\nlse_base: 2", "specialize: [strides]", "specialize: [sq, sk]", "specialize: [softmax_scale]"),
    "dropout": ("", "0.25", "0.9", "0"),
    "lengths": LENGTHS,
    "size": ("sq33 sk33", "sq20 sk65", "sq50 sk17", "sq1 sk40", "sq40 sk1", "sq64 sk64", "sq9 sk130"),
    "heads": ("h2", "h4/2", "h3/1"),
    "dtype": ("fp16", "bf16", "fp32", "{q: fp16, k: bf16, v: fp16, o: fp32}"),
    "layout": ("bshd", "bhsd", "{q: bshd, k: bhsd, v: bshd, o: bhsd}"),
    "target": TARGETS,
    "how": tuple(HOW),
}


def wide(case):
    """Columns of dk and dv together, and of the wider one."""
    dims = [int(x) for x in case["dims"].replace("head_dim_v:", "").replace("head_dim:", "").split()]
    return 2 * dims[0] if len(dims) == 1 else sum(dims), max(dims)


def has_registers(case):
    """Of bwd_mma and bwd_wgmma: what a warp keeps of gradients, expressions and copies on their way."""
    both, widest = wide(case)
    if case["target"] == "sm_75" and widest > 128:
        return False
    if widest == 256 and (case["score"] or case["dropout"] or "mod" in case["mask"]):
        return False
    if case["score"] and case["dropout"] and (widest == 192 or (both == 192 and "passes=2" in case["how"][1])):
        return False
    return both <= 192 or "passes=2" not in case["how"][1]


def all_at_once(case):
    """With passes=1: a warp keeps both gradients; eight have 32 columns of dq in turns."""
    both, _ = wide(case)
    dim = int(case["dims"].split()[1])
    if "deterministic" in case["more"] or both > (128 if case["target"] == "sm_75" else 192):
        return False
    return dim % 32 == 0 or "num_warps=8" not in case["how"][1]


def grads_of(case):
    """Of what the case has: all that may be listed."""
    names = [n for n in ("alibi_slopes", "bias") if n in case["score"]]
    names += ["sink"] if "sink" in case["more"] else []
    return ["lse", *names, *(n for n in ("gain", "row") if f"{n}[" in case["score"])]


def possible(case):
    if case["target"] not in HOW[case["how"]]:
        return False
    if case["how"][0] != "ref_bwd" and "GRAD" in case["more"] and grads_of(case) != ["lse"]:
        return False  # it has no gradients of tables
    if case["how"][0] != "ref_bwd" and not has_registers(case):
        return False
    if "passes=1" in case["how"][1] and not all_at_once(case):
        return False
    if case["how"][0] != "ref_bwd" and case["dtype"] not in ("fp16", "bf16"):
        return False
    if case["how"][0] != "ref_bwd" and case["target"] == "sm_75" and case["dtype"] == "bf16":
        return False
    return not ("cu_" in case["lengths"] and "specialize: [s" in case["more"])


def spec_of(case):
    packed = [f"t{'q' if n == 'cu_seqlens_q' else 'k'}" for n in case["lengths"].split() if n.startswith("cu_")]
    q, kv = "tq" if "tq" in packed else "q", "tk" if "tk" in packed else "kv"
    named = ", ".join(case["lengths"].split())
    score = case["score"].replace("[h, q, kv]", f"[h, {q}, {kv}]").replace("[kv]", f"[{kv}]").replace("[b, q]", (
        f"[b, {q}]" if q == "q" else f"[{q}]"))
    text = [f"attnc: 1\nname: gradients\ndtype: {case['dtype']}\n{case['dims']}\nlayout: {case['layout']}",
            "return_lse: true", f"seqlens: [{named}]", case["mask"], score, case["more"].replace("GRAD", f"grad: [{', '.join(grads_of(case))}]")]
    if case["dropout"]:
        text.append("dropout: true")
    declared = []
    if "doc[" in case["mask"]:
        declared += ["doc: {dtype: i32, axes: [b, kv], monotone: true}",
                     "mark: {dtype: i32, axes: [b, q], monotone: true}"]
    if "gain[" in case["score"]:
        declared += ["gain: {dtype: fp32, axes: [h]}", f"row: {{dtype: bf16, axes: [b, {q}]}}" if q == "q" else
                     f"row: {{dtype: bf16, axes: [{q}]}}"]
        text = [x.replace("row[b, q_idx]", "row[q_idx]") if q == "tq" else x for x in text]
    if declared:
        text.append(f"tensors: {{{', '.join(declared)}}}")
    return "\n".join(text) + "\n"


def made(case):
    template, word = case["how"]
    schedule = f"template={template}" + (f",{word}" if word else "")
    shape = f"b{3 if case['lengths'] else 2} {case['heads']} {case['size']}"
    more = ("--scalar", f"dropout_p={case['dropout']}") if case["dropout"] else ()
    return factors.Case(spec_of(case), case["target"], shape, schedule, op="bwd", more=more)


def main():
    p = factors.arguments(800)
    p.add_argument("--template")
    a = p.parse_args()
    return factors.each(a, FACTORS, possible, lambda case, i: made(case),
                        lambda case: a.template in (None, case["how"][0]))


if __name__ == "__main__":
    sys.exit(main())
