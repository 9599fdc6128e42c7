"""The phases of the GPU suite, in order: one table for `run`, which runs some of them in its own
process, and for `first`, which gives each a process and a budget."""
from typing import NamedTuple, Tuple

DEVICE_SECONDS = 15 * 60   # for which a device is there
CALL_SECONDS = 10 * 60     # for which a command may run: all budgets, and the way there and back


class Phase(NamedTuple):
    """share: of a run's time, what may be over when the phase ends.  seconds: the budget in `first`,
    0 where it has none; words: of `run`, for `first`.  what: for people."""
    name: str
    module: str
    share: float
    seconds: int
    words: Tuple[str, ...]
    what: str


PHASES = (
    Phase("correctness", "correctness", 0.2, 90, ("--sample",),
          "a few cases of every template, dtype, mask and head_dim, against fp64"),
    Phase("golden", "golden_phase", 0.33, 110, ("--record-only",),
          "instructions recorded, bit by bit, for the emulator"),
    Phase("calibrate", "calibrate", 0.36, 45, (),
          "clocks of instructions, products beside them, copies from L2, barriers"),
    Phase("memory", "memory", 0.38, 0, (),
          "device memory beside attention that writes its scores out"),
    Phase("forward", "forward", 0.65, 100,
          ("--quick", "--subjects", "attnc,sdpa_flash,sdpa_cudnn,flash_attn,flash_attn_3"),
          "TFLOP/s beside cuDNN and FlashAttention"),
    Phase("latency", "latency", 0.8, 0, (),
          "spec to first result, cold and warm; launches; a sweep of schedules"),
    Phase("variants", "variants", 0.82, 60, (),
          "each other field of the spec: is it right, and its time beside the call without it"),
    Phase("rank", "rank", 0.85, 70, ("--quick",),
          "the cost model's order of schedules beside the measured one"),
    Phase("fields", "fields", 1.0, 100, ("--quick",),
          "each field of fwd_wgmma's schedule at its other values, beside the default"),
)
FIRST = tuple(p for p in PHASES if p.seconds)
NAMES = tuple(p.name for p in PHASES)


def named(name):
    return next(p for p in PHASES if p.name == name)
