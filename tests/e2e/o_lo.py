"""return_o_lo: the forward pass writes what rounding left out of o, and op bwd reads it.

    o_lo.py ATTNC [--cases N] [--seed S] [--shard I/N] [--list]

A case is of the forward pass, whose o and o_lo together must be o as fp32 has it, or of op bwd, whose
plain computation has that o as well.  Passed: exit 0 with --verify."""
import sys

import factors

TEMPLATES = {("fwd", "ref_fwd"): ("sm_75", "sm_80", "sm_90a"), ("fwd", "fwd_mma"): ("sm_75", "sm_80", "sm_90a", "sm_120"),
             ("bwd", "ref_bwd"): ("sm_75", "sm_80"), ("bwd", "bwd_mma"): ("sm_75", "sm_80", "sm_120"),
             ("bwd", "bwd_wgmma"): ("sm_90a",)}
FACTORS = {
    "dims": ("head_dim: 16", "head_dim: 72", "head_dim: 128", "head_dim: 64\nhead_dim_v: 128", "head_dim: 256"),
    "dtype": ("fp16", "bf16"),
    "more": ("causal: true", "window: [9, 4]", "dropout: true", "sink: fp32\ngrad: [lse]", "softcap: 2.0"),
    "lengths": ("", "cu_seqlens_q, cu_seqlens_k", "seqused_q, seqused_k"),
    "size": ("b2 h4/2 sq33 sk70", "b2 h2 sq70 sk33", "b3 h3/1 sq1 sk40"),
    "target": ("sm_75", "sm_80", "sm_90a", "sm_120"),
    "how": tuple(TEMPLATES),
}


def possible(case):
    """What registers and targets forbid besides is refused as the list is drawn."""
    if case["target"] not in TEMPLATES[case["how"]]:
        return False
    if "ref" in case["how"][1]:
        return True
    wide = case["dims"] == "head_dim: 256" and (case["target"] == "sm_75" or "cap" in case["more"] or "dropout" in case["more"])
    return not wide and (case["target"], case["dtype"]) != ("sm_75", "bf16")


def made(case):
    op, template = case["how"]
    spec = (f"attnc: 1\nname: o_lo\ndtype: {case['dtype']}\n{case['dims']}\nreturn_lse: true\nreturn_o_lo: true\n"
            f"seqlens: [{case['lengths']}]\n{case['more']}\n")
    more = ("--scalar", "dropout_p=0.25") if "dropout" in case["more"] else ()
    return factors.Case(spec, case["target"], case["size"], f"template={template}", op=op, more=more)


def main():
    return factors.each(factors.arguments(60).parse_args(), FACTORS, possible, lambda case, i: made(case))


if __name__ == "__main__":
    sys.exit(main())
