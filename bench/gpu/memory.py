"""Phase `memory`: device memory of a forward pass by length, beside attention that writes its
scores out.  Computed from the plan's own workspace and the tensors; on a GPU also measured, as
torch's allocator sees it."""
import math

from kit.results import Skip

import cases
import world

NOTE = ("Memory, computed: q, k, v, o and the plan's workspace; standard attention besides keeps "
        "scores and probabilities, [b, h, sq, sk] each, in the dtype. Measured: the peak of "
        "torch's allocator over what was there before the inputs.")


def run(suite):
    suite.results.note(NOTE)
    context = suite.context()
    for case in cases.memory(suite.tiny):
        plan = context.plan(cases.spec(case), cases.shape(case))
        ours = cases.tensor_bytes(case) + plan.workspace(cases.shape(case))
        standard = cases.standard_bytes(case)
        suite.results.measure("attnc", case, "memory", "bytes", [ours],
                              derived={"ratio": standard / ours})
        suite.results.measure("standard", case, "memory", "bytes", [standard])
    if not suite.emulated:
        try:
            measured(suite)
        except Skip as e:
            suite.results.skip("all", {"memory": "measured"}, str(e))


def plain(case, t):
    """Attention as it is written down, in the dtype."""
    torch = t.torch
    group = case["h"] // case["hk"]
    q, k, v = (x.transpose(1, 2) for x in (t.q, t.k, t.v))
    if group > 1:
        k, v = (x.repeat_interleave(group, 1) for x in (k, v))
    scores = q @ k.transpose(-1, -2) / math.sqrt(case["d"])
    if case["causal"]:
        hidden = torch.ones(case["sq"], case["sk"], dtype=torch.bool,
                            device=q.device).triu(1 + case["sk"] - case["sq"])
        scores.masked_fill_(hidden, -math.inf)
    return (torch.softmax(scores, -1) @ v).transpose(1, 2)


def measured(suite):
    """Peaks; Skip without torch."""
    torch = world.torch()
    import peers
    makers = {"attnc": lambda case, t: peers.Attnc(suite.context())(case, t)(),
              "standard": plain}
    for case in cases.memory(suite.tiny):
        for name, make in makers.items():
            torch.cuda.empty_cache()
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            try:
                t = peers.Tensors(torch, case)
                make(case, t)
                torch.cuda.synchronize()
            except torch.cuda.OutOfMemoryError:
                suite.results.skip(name, case, "does not fit this GPU's memory")
                continue
            finally:
                t = None
            suite.results.measure(name, case, "memory_peak", "bytes",
                                  [torch.cuda.max_memory_allocated() - before])
