"""A process of its own for the latency phase: one subject, from a spec or a function to its first
result.  Started by latency.py as

    cold.py SUBJECT FOLDER cuda|emu tiny|full

The framework is imported, the device is awake and the inputs are there before the clock starts.
Prints one line of JSON: ms, and what the subject knows of its own stages.
"""
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "bench"), HERE]

import cases  # noqa: E402
import folder  # noqa: E402


def attnc_on_gpu(where, case):
    import attnc
    torch, t = woken(case)
    o = torch.empty_like(t.q)
    torch.cuda.synchronize()
    start = time.perf_counter()
    plan = attnc.Context("cuda").plan(cases.spec(case), cases.shape(case))
    plan(t.q, t.k, t.v, o)
    torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start), stages(plan)


def attnc_emulated(where, case):
    """The same way through the code, on memory of the emulated device.  Its milliseconds are
    those of the compile and the emulation together: nobody compares them."""
    import attnc
    from attnc import _driver, _lib
    from attnc.launch import Launch
    start = time.perf_counter()
    context = attnc.Context("emu")
    plan = context.plan(cases.spec(case), cases.shape(case))
    sizes = attnc.sizes.sizes(cases.shape(case))
    with context.driver.current():
        memory = []
        for n, s in ((sizes.h, sizes.sq), (sizes.hk, sizes.sk), (sizes.hk, sizes.sk),
                     (sizes.h, sizes.sq)):
            elements = sizes.b * s * n * case["d"]
            memory.append((_driver.Memory(context.driver, 2 * elements), n, s))
            memory[-1][0].write(bytes(2 * elements))
        tensors = [_lib.Tensor(data=m.address, stride=(s * n * case["d"], case["d"],
                                                       n * case["d"], 1, 0))
                   for m, n, s in memory]
        Launch(plan, sizes, tensors).relaunch()
        context.driver.synchronize()
    findings = context.driver.findings()
    if findings:
        raise RuntimeError(findings[0])
    return 1e3 * (time.perf_counter() - start), stages(plan)


def stages(plan):
    return {"layer": plan.info["layer"],
            **{k: 1e3 * v for k, v in plan.info["seconds"].items()}}


def woken(case):
    """torch with a device that has worked, and the case's tensors."""
    import torch
    import peers
    t = peers.Tensors(torch, case)
    (t.q[0, 0] @ t.k[0, 0].T).sum().item()
    torch.cuda.synchronize()
    return torch, t


def peer(maker):
    def run(where, case):
        torch, t = woken(case)
        start = time.perf_counter()
        maker(case, t)()
        torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - start), {}
    return run


def flex(case, t):
    import peers
    return peers.flex(case, t)


def triton(case, t):
    import triton_fwd
    return triton_fwd.prepare(t.q, t.k, t.v, t.torch.empty_like(t.q), case["causal"])


SUBJECTS = {("attnc", "cuda"): attnc_on_gpu, ("attnc", "emu"): attnc_emulated,
            ("flex", "cuda"): peer(flex), ("triton", "cuda"): peer(triton)}


def main(subject, path, kind, size):
    where = folder.find(path)
    if (subject, kind) == ("triton", "cuda"):
        import triton_fwd  # noqa: F401  (its import is not its start)
    ms, found = SUBJECTS[subject, kind](where, cases.latency(size == "tiny"))
    print(json.dumps({"ms": ms, "stages": found}))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
