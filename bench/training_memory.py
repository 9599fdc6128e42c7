#!/usr/bin/env python3
"""Device memory of a forward and a backward pass, beside plain attention in torch.

    bench/training_memory.py                              prints the table
    bench/training_memory.py --write docs/performance.md  puts it into the page, and its plot beside it
    bench/training_memory.py --check docs/performance.md  exit 1: the page says something else

Of attnc: what is there when op bwd runs, which is most: its tensors by the plan's signature, and the workspace by
attnc_plan_workspace. Of torch: the peak of what is alive, of fake tensors, which have no memory and so any length,
counted by torch's MemTracker over softmax(q kᵀ, masked) v and its gradients, in the same 16 bits. Needs torch."""
import argparse
import os
import re
import sys

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TREE, "bench"), os.path.join(TREE, "python")]

from kit import svg  # noqa: E402

LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)
HEADS, ARCH = 16, "sm_90a"
CASES = {"head_dim 64": (64, 0), "head_dim 64, dropout": (64, 0.1), "head_dim 128": (128, 0)}
PLACE = re.compile(r"(<!-- training memory -->\n)(.*?)(<!-- /training memory -->)", re.S)


def ours(context, length, head_dim, dropout):
    """(bytes, of these workspace), of op bwd and of op fwd, whichever is more."""
    import attnc
    fields = dict(attnc=1, name="training", dtype="bf16", head_dim=head_dim, causal=True, return_lse=True,
                  deterministic=True, **({"dropout": True} if dropout else {}))
    spec, sizes, most = attnc.load_spec(fields), f"b1 h{HEADS} sq{length} sk{length}", (0, 0)
    rows = dict(b=1, h=HEADS, hk=HEADS, sq=length, sk=length, d=head_dim, dv=head_dim)
    for op in ("fwd", "bwd"):
        plan = context.plan(spec, sizes, op=op)
        tensors = 0
        for t in plan.signature.tensors.values():
            n = BYTES[t["dtype"]]
            for axis in t["axes"]:
                n *= axis if isinstance(axis, int) else rows[axis]
            tensors += n
        workspace = plan.workspace(sizes)
        most = max(most, (tensors + workspace, workspace))
    return most


BYTES = {"bf16": 2, "fp32": 4, "u64": 8}


def plains(length, head_dim, dropout):
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed._tools.mem_tracker import MemTracker
    with FakeTensorMode():
        q, k, v, dout = (torch.empty(1, HEADS, length, head_dim, dtype=torch.bfloat16) for _ in range(4))
        hidden = torch.empty(length, length, dtype=torch.bool)
        for x in (q, k, v):
            x.requires_grad_()
        tracker = MemTracker()
        tracker.track_external(q, k, v, dout, hidden)
        with tracker:
            weights = ((q @ k.mT) * head_dim ** -0.5).masked_fill(hidden, -torch.inf).softmax(-1)
            if dropout:
                weights = torch.dropout(weights, dropout, True)
            grads = torch.autograd.grad(weights @ v, (q, k, v), dout)
        peak, = (x["Total"] for x in tracker.get_tracker_snapshot("peak").values())
        del grads
    return peak


def size(n):
    return f"{n / 1e9:.3g} GB" if n >= 1e9 else f"{n / 1e6:.3g} MB"


def block(page):
    """The text of the block, and {path: SVG}."""
    import attnc
    os.environ.setdefault("ATTNC_EMU", f"arch={ARCH}")
    context = attnc.Context("emu")
    text = "| | length | attnc | of it workspace | plain attention | less by |\n|---|---:|---:|---:|---:|---:|\n"
    series = {}
    for name, (head_dim, dropout) in CASES.items():
        for length in LENGTHS:
            (mine, workspace), its = ours(context, length, head_dim, dropout), plains(length, head_dim, dropout)
            text += f"| {name} | {length} | {size(mine)} | {size(workspace)} | {size(its)} | {its / mine:.3g} × |\n"
            if not dropout:
                series.setdefault(f"attnc, {head_dim}", []).append((length, mine / 1e9))
                series.setdefault(f"plain, {head_dim}", []).append((length, its / 1e9))
    folder = os.path.splitext(os.path.basename(page or "performance.md"))[0]
    said = "; ".join(f"{n} at {x[-1][0]}: {x[-1][1]:.3g} GB" for n, x in series.items())
    plot = svg.lines("Device memory of forward and backward", said, series, "queries and keys", "GB", 10,
                     lambda y: f"{y:g}")
    return f"{text}\n![{said}]({folder}/training-memory.svg)\n", {f"{folder}/training-memory.svg": plot}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--write", metavar="PAGE")
    p.add_argument("--check", metavar="PAGE")
    a = p.parse_args()
    page = a.write or a.check
    text, plots = block(page)
    if not page:
        print(text)
        return 0
    with open(page, encoding="utf-8") as f:
        before = f.read()
    after, n = PLACE.subn(lambda m: m.group(1) + text + m.group(3), before)
    files = {page: after, **{os.path.join(os.path.dirname(page), n): x for n, x in plots.items()}}
    if n != 1:
        print(f"{page}: {n} places for the block")
        return 1
    wrong = 0
    for path, content in files.items():
        if a.check:
            with open(path, encoding="utf-8") as f:
                if f.read() != content:
                    print(f"{path}: not what bench/training_memory.py --write makes")
                    wrong = 1
        else:
            with open(path, "w", encoding="utf-8") as f:
                f.write(content)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
