"""Instructions that the host executes for a call: from C, for a prepared launch of Python, for a plan, for
flash_attn_func, and for its operator of torch.

    bench/cpu/instructions.py BUILD       a build's folder, with lib/libattnc.so and lib/libcuda_stub.so

Launches go to a driver that does nothing (tests/stub), so that what is counted is the way there; tensors of torch say
that they are on a GPU.  Counted by callgrind, which does not depend on what else the machine does, over CALLS calls
after as many; needs valgrind with its headers, a C compiler, and torch's environment (scripts/deps --torch).
"""
import ctypes as C
import os
import re
import subprocess
import sys
import tempfile

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CALLS = 200
MARKS = """
#include <valgrind/callgrind.h>

void count_from(void)
{
  CALLGRIND_START_INSTRUMENTATION;
  CALLGRIND_ZERO_STATS;
}

void count_to(const char *name)
{
  CALLGRIND_DUMP_STATS_AT(name);
  CALLGRIND_STOP_INSTRUMENTATION;
}
"""


def count(folder, build):
    """In the process that valgrind watches: {case: what is called}, each between two marks."""
    sys.path[:0] = [os.path.join(TREE, "python"), os.path.join(TREE, "python", "tests")]
    import torch
    torch.cuda.is_current_stream_capturing = lambda: False
    import attnc
    import attnc.torch
    from attnc import _lib, _torch, overhead
    mark = C.CDLL(os.path.join(folder, "marks.so"))
    loop = C.CDLL(os.path.join(folder, "loop.so"))
    loop.attnc_loop.restype, loop.attnc_loop.argtypes = C.c_double, [C.c_void_p] * 5 + [C.c_long]
    stub = os.path.join(build, "lib", "libcuda_stub.so")
    context = attnc.Context(stub, cache="off")
    plan = context.plan(overhead.SPEC, overhead.SIZES)
    at = [0x10000 * i for i in range(1, 5)]
    others = [0x10000 * i for i in range(11, 15)]
    view = _torch.view
    _torch.view = lambda x: view(x)._replace(device=("cuda", 0))
    _torch.stream = lambda device: 0
    attnc.set_context("cuda", attnc.Context(stub, cache="off"))
    q, k, v = (torch.zeros(1, 128, 4, 64, dtype=torch.float16) for _ in "qkv")
    options = (None, 0.0, None, 0.125, True, -1, -1, 0.0, False)
    q_grad = q.clone().requires_grad_()

    def function():
        with torch.no_grad():
            attnc.flash_attn_func(q, k, v, causal=True)

    def operator():
        with torch.no_grad():
            torch.ops.attnc.flash_attn(q, k, v, *options)

    with context.driver.current():
        launch = overhead.prepared(plan, at)
        launch(*others)
        turns = [at, others]

        def in_turn():
            launch(*turns[0])
            turns.reverse()

        def from_c(n):
            loop.attnc_loop(C.cast(_lib.library().attnc_launch, C.c_void_p), launch._plan_at, launch._args_at,
                            launch._state_at, launch._error_at, n)

        cases = {"C": from_c, "prepared launch": in_turn, "prepared launch, same addresses": launch.relaunch,
                 "flash_attn_func": function, "operator": operator,
                 "flash_attn_func, gradient wanted": lambda: attnc.flash_attn_func(q_grad, k, v, causal=True),
                 "scaled_dot_product_attention": lambda: attnc.torch.scaled_dot_product_attention(q, k, v)}
        for name, call in cases.items():
            for counted in (False, True):
                if counted:
                    mark.count_from()
                if name == "C":
                    from_c(CALLS)
                else:
                    for _ in range(CALLS):
                        call()
                if counted:
                    mark.count_to(name.encode())


def compile_(source, made):
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-fPIC", "-shared", f"-I{TREE}/include", "-o", made, source],
                   check=True)


def results(folder):
    """{case: instructions of a call} of callgrind's dumps."""
    found = {}
    for name in sorted(os.listdir(folder)):
        if name.startswith("out"):
            with open(os.path.join(folder, name), encoding="utf-8") as f:
                text = f.read()
            said = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.M)
            total = re.search(r"^(?:summary|totals): (\d+)", text, re.M)
            if said and total:
                found[said.group(1)] = int(total.group(1)) / CALLS
    return found


def main(build):
    torch = os.environ.get("ATTNC_TORCH") or os.path.expanduser("~/.cache/attnc-torch")
    with tempfile.TemporaryDirectory() as folder:
        marks = os.path.join(folder, "marks.c")
        with open(marks, "w", encoding="utf-8") as f:
            f.write(MARKS)
        compile_(marks, os.path.join(folder, "marks.so"))
        compile_(os.path.join(TREE, "bench", "cpu", "loop.c"), os.path.join(folder, "loop.so"))
        environment = {**os.environ, "LD_LIBRARY_PATH": os.path.join(torch, "cuda-stubs"), "OMP_NUM_THREADS": "1",
                       "ATTNC_LIBRARY": os.path.join(build, "lib", "libattnc.so"), "ATTNC_ASSEMBLER": "none",
                       "PYTHONPYCACHEPREFIX": os.path.join(torch, "pycache"), "PYTHONHASHSEED": "0"}
        subprocess.run(["valgrind", "--tool=callgrind", "--instr-atstart=no", "-q",
                        f"--callgrind-out-file={folder}/out", os.path.join(torch, "bin", "python"),
                        os.path.abspath(__file__), "--count", folder, build], env=environment, check=True)
        found = results(folder)
        for name, n in found.items():
            print(f"{name:34} {n:10,.0f} instructions, {n / found['C']:6.1f} times C's")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--count"]:
        count(*sys.argv[2:4])
    elif len(sys.argv) == 2:
        main(os.path.abspath(sys.argv[1]))
    else:
        sys.exit(__doc__)
