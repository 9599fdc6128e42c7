"""`python -m attnc.overhead`: what a launch costs from Python over the same launch from C.

    python -m attnc.overhead DRIVER.so C_LOOP.so [--json]

DRIVER.so: a driver whose launches do nothing (tests/stub), so that what is measured is the way
there.  C_LOOP.so: bench/cpu/loop.c, which launches n times in a loop and returns the seconds.
Each figure is the median of rounds in which C and Python take turns, in microseconds.
"""
import ctypes as C
import json
import statistics
import sys
import time
from typing import Callable, Dict, List, Sequence

import attnc
from attnc import _lib
from attnc.launch import Launch

SPEC = {"attnc": 1, "name": "overhead", "dtype": "fp16", "head_dim": 64, "causal": True}
SIZES = attnc.Sizes(1, 4, 4, 128, 128)
CALLS, ROUNDS = 400, 151  # short rounds: fewer are cut in two by another process


def prepared(plan: attnc.Plan, addresses: Sequence[int]) -> Launch:
    """A launch of contiguous tensors at these addresses."""
    s = SIZES
    tensors = [_lib.Tensor(data=a, stride=(s.sq * s.h * 64, 64, s.h * 64, 1, 0))
               for a in addresses]
    return Launch(plan, s, tensors)


def in_c(loop: C.CDLL, launch: Launch, others: Sequence[int]) -> float:
    """Microseconds of a launch, two sets of addresses in turn, as a caller's would be."""
    launch(*others)
    seconds: float = loop.attnc_loop(
        C.cast(_lib.library().attnc_launch, C.c_void_p), launch._plan_at, launch._args_at,
        launch._state_at, launch._error_at, CALLS)
    return seconds * 1e6 / CALLS


def in_python(call: Launch, one: Sequence[int], other: Sequence[int]) -> float:
    start = time.perf_counter()
    for _ in range(CALLS // 2):
        call(*one)
        call(*other)
    return (time.perf_counter() - start) * 1e6 / CALLS


def same(call: Callable[[], None]) -> float:
    """The same addresses again: packed already."""
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - start) * 1e6 / CALLS


def measure(driver: str, loop: C.CDLL) -> Dict[str, List[float]]:
    """{name: [microseconds of each round]}"""
    context = attnc.Context(driver, cache="off")
    plan = context.plan(SPEC, SIZES)
    one = [0x10000 * i for i in range(1, 5)]
    other = [0x10000 * i for i in range(11, 15)]
    rounds: Dict[str, List[float]] = {"c": [], "python": [], "python, same addresses": []}
    with context.driver.current():
        launch = prepared(plan, one)
        for _ in range(ROUNDS):
            rounds["c"].append(in_c(loop, launch, other))
            rounds["python"].append(in_python(launch, one, other))
            rounds["python, same addresses"].append(same(launch.relaunch))
    return rounds


def main(arguments: List[str]) -> None:
    paths = [a for a in arguments if a != "--json"]
    if len(paths) != 2:
        sys.exit(__doc__)
    loop = C.CDLL(paths[1])
    loop.attnc_loop.restype = C.c_double
    loop.attnc_loop.argtypes = [C.c_void_p] * 5 + [C.c_long]
    rounds = measure(paths[0], loop)
    if "--json" in arguments:
        print(json.dumps(rounds))
        return
    for name, values in rounds.items():
        print(f"{name:24} {statistics.median(values):7.3f} us ({min(values):.3f} to "
              f"{max(values):.3f})")


if __name__ == "__main__":
    main(sys.argv[1:])
