"""Tuning: which of the legal schedules is the fastest for a problem, kept for later plans."""
import ctypes as C
import json
import os
import sys
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Tuple, Union

from . import _lib, errors
from .context import Context
from .sizes import SizesLike, whole
from .spec import SpecLike, _check, load_spec, problem, schedule as make_schedule

LEVELS = ("estimate", "measure", "patient", "exhaustive")


WORKER = "import ctypes, sys; sys.exit(ctypes.CDLL(sys.argv[1]).attnc_tune_worker(None))"


def worker() -> Any:
    """This interpreter, with the same library: a wheel has no command.  None leaves the choice
    to the library: of $ATTNC_TUNE_WORKER, and in a program that embeds Python."""
    if not sys.executable or os.environ.get("ATTNC_TUNE_WORKER"):
        return None
    words = [sys.executable, "-I", "-c", WORKER, _lib.library()._name]
    return (C.c_char_p * (len(words) + 1))(*map(_lib.encode, words))


class Progress:
    """The library's callback over Python's; what that raises ends the sweep, and is raised
    from the call."""

    def __init__(self, told: Optional[Callable[[str, int, int], Any]]) -> None:
        self.told = told
        self.raised: Optional[BaseException] = None
        self.callback = _lib.PROGRESS(self.step)

    def step(self, _: object, progress: Any) -> int:
        p = progress.contents
        try:
            return bool(self.told and self.told(_lib.decode(p.stage), p.done, p.total))
        except BaseException as e:
            self.raised = e
            return 1


def options(level: str, l2: str, numbers: Mapping[str, Any], within: Optional[Mapping[str, Any]], dry: bool,
            resume: bool, seqlens: Any, progress: Progress) -> Any:
    if level not in LEVELS:
        raise errors.UsageError(f"level: {level!r} is not one of {', '.join(LEVELS)}")
    if l2 not in ("warm", "cold"):
        raise errors.UsageError(f"l2: {l2!r} is neither 'warm' nor 'cold'")
    made = _lib.TuneOptions(level=LEVELS.index(level) + 1, l2=int(l2 == "cold"), dry=bool(dry), resume=bool(resume),
                            progress=progress.callback, within=make_schedule(within),
                            seqlens=_lib.encode(lengths_text(seqlens)),
                            worker=worker())
    for name, value in numbers.items():
        if value is not None:
            kind = dict(_lib.TuneOptions._fields_)[name]
            setattr(made, name, float(value) if kind is C.c_double else whole(name, value))
    return made


def lengths_text(seqlens: Any) -> Optional[str]:
    """"3/20,0/5" of (queries, keys) or of numbers that are both; a text is one already."""
    if seqlens is None or isinstance(seqlens, str):
        return seqlens
    pairs = (x if isinstance(x, (tuple, list)) else (x, x) for x in seqlens)
    return ",".join("/".join(str(whole("seqlens", n)) for n in pair) for pair in pairs)


def tune(spec: SpecLike, sizes: SizesLike, *, context: Optional[Context] = None,
         device: int = 0, level: str = "measure", top: Optional[int] = None,
         jobs: Optional[int] = None, repeat: Optional[int] = None,
         timeout: Optional[float] = None, budget: Optional[float] = None, seed: int = 1,
         within: Optional[Mapping[str, Any]] = None,
         strides: Optional[Mapping[str, Any]] = None, dry: bool = False, resume: bool = False,
         shard: int = 0, shards: int = 1, l2: str = "warm",
         seqlens: Union[None, str, Sequence[Union[int, Tuple[int, int]]]] = None,
         progress: Optional[Callable[[str, int, int], Any]] = None) -> Dict[str, Any]:
    """Measures schedules for the problem on the context's device and keeps the best in the
    tuning table, which later plans consult.

    level: how much of the space is tried: "estimate", "measure", "patient", "exhaustive";
        top: a number of schedules instead.  within: only those with these values.
    jobs: threads that compile; repeat: launches timed; timeout: seconds for each step of a
        candidate; budget: seconds after which none but the default is begun; dry: keep nothing;
        resume: take what earlier sweeps measured of the same kernels;
        shard, shards: measure that part of the candidates, for a sweep that resumes all parts;
        l2: "warm", or "cold": nothing of the call is in the L2 cache when a timed launch begins.
    seqlens: lengths of the sequences, [3, (0, 5), 17] or "3,0/5,17", b of them, at most sq and
        sk; sizes that follow from them may be left out; None: drawn.
    progress: called as progress(stage, done, total); what is true, or an exception, stops it.

    Returns what attnc_tuning_json says: "candidates", the best first, "recorded", "unit" …
    Raises CheckError where no schedule passed, AttncError where progress stopped it; both have
    the same in `tuning`.
    """
    spec, lib, told = load_spec(spec), _lib.library(), Progress(progress)
    context = context or Context()
    numbers = dict(top=top, jobs=jobs, repeat=repeat, timeout=timeout, budget=budget, seed=seed,
                   shard=shard, shards=shards)
    handle, error = C.c_void_p(), _lib.Error()
    status = lib.attnc_tune(context._handle, spec._handle, problem(spec, sizes, device, strides),
                            options(level, l2, numbers, within, dry, resume, seqlens, told), C.byref(handle),
                            error)
    found: Any = json.loads(lib.attnc_tuning_json(handle)) if handle else None
    lib.attnc_tuning_release(handle)
    if told.raised is not None:
        raise told.raised
    try:
        _check(status, error)
    except errors.AttncError as e:
        e.tuning = found
        raise
    made: Dict[str, Any] = found
    return made
