"""Phase `fields`: what each field of fwd_wgmma's schedule gives (docs/hopper.md), case by case.

Beside the default, which is what a plan gets without tuning, stand the same schedule with one
field at each of its other values; where that alone is illegal, the same value with what the
compiler takes beside it, and where that is another tile, the default of that tile; and the best of a
short tune.  All of a case take turns in one run.  A value
that is refused, disqualified by a remark of the driver's compiler or not reached is skipped by
name; one whose output is not the default's fails the phase's check.

On the emulated device a few variants are verified, and est_cycles stand where times would."""
import concurrent.futures
import json
import math
import os
import time
from typing import NamedTuple, Optional

from kit.results import Skip

import cases
import forward
import process
import timing
import world

TEMPLATE, TARGET, CAPABILITY = "fwd_wgmma", "sm_90a", "9.0"
DEFAULT, CONSTANT, TUNED = "default", "specialize=sizes", "tuned"
# What a field may be besides what it is; the truths and the enumerations have all their others, a
# number that is not listed has what its template gives as an example, its least and its most.
# The tile and its warps are the cost model's and the tuner's to choose: TUNED says what they give.
OTHERS = {
    "block_m": lambda now: (), "block_n": lambda now: (), "num_warps": lambda now: (),
    "num_stages": lambda now: (now - 1, now + 1), "cluster": lambda now: (1, 2),
    "q_stages": lambda now: (1, 2), "poly_exp2": lambda now: (0, 2, 4, 8, 16)}
# Where a value is not legal beside the default's other fields, or there is no room for it, these are
# what is kept of the default with it, then nothing; the compiler chooses the rest.
KEPT = (("block_m", "block_n"), ())
CONSTANTS = ("b", "h", "hk", "sq", "sk")  # what scheduler=lpt takes as constants of the kernel
TINY = ("intra_wg_overlap=false", "pack_gqa=true", "lazy_rescale=true")  # of a tiny run; one is refused
TOP, ROUNDS = (24, 8), (20, 10)  # candidates of the tune, samples; the second with --quick
COMPILES = 8        # at a time
HANG_SECONDS = 20   # a first launch takes milliseconds


# What a lost device ended, and with its frames the plans and tensors of the case: to free them
# would wait for a launch that never ends.
HELD = []


class Variant(NamedTuple):
    name: str             # the row of the report: "intra_wg_overlap=false"
    schedule: Optional[dict]  # all of it, the template too; None: what a plan gets
    constant: bool = False


class Lost(RuntimeError):
    """The device is of no more use to this process: a launch that does not end, or a fault."""


# ---- which variants there are: pure ----

def text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def others(field, now):
    """The values of a field besides `now`."""
    import attnc
    row, = (f for f in attnc.schedule_fields() if f["name"] == field)
    if row["kind"] == "bool":
        return [not now]
    if row["kind"] == "enum":
        found = row["names"]
    elif field in OTHERS:
        found = OTHERS[field](now)
    else:
        found = sorted({row["min"], int(row["example"]), row["max"]})
    return [v for v in found if v != now and (isinstance(v, str) or v >= row["min"])]


def variants(default):
    """[(variant, its field or None)] of a default schedule: a field at another value each."""
    made = [(Variant(CONSTANT, default, True), None)]
    for field in default:
        for value in others(field, default[field]) if field != "template" else ():
            constant = (field, value) == ("scheduler", "lpt")
            made.append((Variant(f"{field}={text(value)}", {**default, field: value}, constant),
                         field))
    return made


def opened(alone, field):
    """The value with fewer and fewer fields of the default."""
    return [alone._replace(schedule={k: alone.schedule[k] for k in ("template", *kept, field)})
            for kept in KEPT]


def named(variant, default, plan):
    """With all that the plan has, and what of it is not the default's in its name."""
    has = {"template": plan.info["template"], **plan.info["schedule"]}
    words = [f"{k}={text(v)}" for k, v in has.items() if default.get(k) != v]
    more = [w for w in words if w != variant.name]
    return variant._replace(name=" ".join([variant.name, *more]), schedule=has)


def tiles(default, plans):
    """The default of each tile that a plan has and the default has not."""
    found = {tuple(p.info["schedule"][k] for k in KEPT[0]) for _, p in plans}
    return [(Variant(f"{m}x{n}", {"template": default["template"], "block_m": m, "block_n": n}),
             None)
            for m, n in sorted(found - {tuple(default[k] for k in KEPT[0])})]


def spec(case, constant=False):
    """The case's spec; groups are pinned, which pack_gqa takes."""
    made = cases.spec(case)
    if case["h"] != case["hk"]:
        made["group_size"] = case["h"] // case["hk"]
    if constant:
        made["specialize"] = list(CONSTANTS)
    return made


def pins(schedule):
    """A schedule in the words of --schedule."""
    return ",".join(f"{k}={text(v)}" for k, v in schedule.items())


# ---- the phase ----

def run(suite):
    wanted = [c for c in cases.fields(suite.quick, suite.tiny) if suite.only in cases.label(c)]
    (emulated if suite.emulated else on_gpu)(suite, wanted)


def late(suite, name, case):
    """Is it too late for this?  Then it is skipped by name."""
    if suite.late():
        suite.results.skip(name, case, "out of time")
    return suite.late()


def refused(suite, variant, case, why):
    suite.results.skip(variant.name, case, f"refused: {why.splitlines()[0]}")


# ---- on the emulated device ----

def emulated(suite, wanted):
    if not suite.where.cli:
        raise Skip("there is no command `attnc` in the folder")
    for case in wanted:
        if late(suite, "all", case):
            continue
        made = said_by_cli(suite, case)
        default = {"template": made["plan"]["template"], **made["plan"]["schedule"]}
        base = keep(suite, Variant(DEFAULT, default), case, made, None)
        for alone, _ in variants(default):
            if alone.name in TINY:
                keep(suite, alone, case, said_by_cli(suite, case, alone), base)


def said_by_cli(suite, case, variant=None):
    words = ["--schedule", pins(variant.schedule)] if variant else []
    constant = variant is not None and variant.constant
    return forward.cli_run(suite, case, "--arch", TARGET, *words, spec=spec(case, constant))


def keep(suite, variant, case, made, base):
    """A run of the command line's as a check and est_cycles, which it returns."""
    if "plan" not in made:
        refused(suite, variant, case, made["error"]["message"])
        return None
    ok = made["verdict"] == "PASS" and not made["findings"]
    suite.results.check(variant.name, case, ok, "" if ok else json.dumps(
        [made["verdict"], made["findings"][:3]]))
    row = suite.results.measure(variant.name, case, "est_cycles", "cycles",
                                [made["stats"]["est_cycles"]],
                                context={"schedule": made["plan"]["schedule"]})
    row["derived"] = {"ratio": (base or row["median"]) / row["median"]}
    return row["median"]


# ---- on a GPU ----

def on_gpu(suite, wanted):
    """Plans come from a context with an empty tuning table: nothing that was tuned before, by
    --tune or the tune below, is taken for a default."""
    capability = suite.results.data["device"]["compute_capability"]
    if capability != CAPABILITY:
        raise Skip(f"{TEMPLATE} is for compute capability {CAPABILITY}, and this is {capability}")
    import attnc
    timer = timing.Timer(world.torch())
    context = attnc.Context(suite.kind, tune_dir=os.path.join(suite.folder, "untuned"))
    for sentence in (*timing.METHOD, "fields: each beside the default in turns; a ratio above 1 "
                     "is faster; specialize=sizes is the default with its sizes as constants."):
        suite.results.note(sentence)
    with world.Clocks() as clocks:
        for i, case in enumerate(wanted):
            if late(suite, "all", case):
                continue
            suite.say(f"  {i + 1} of {len(wanted)}: {cases.label(case)}")
            try:
                one_case(suite, case, context, timer, clocks)
            except Lost as e:
                HELD.append(e)
                raise
            suite.results.save()


def one_case(suite, case, context, timer, clocks):
    """Everything made ready, compared, and timed in turns."""
    import peers
    _, default, why = planned(context, case, Variant(DEFAULT, None))
    if why:
        suite.results.check(DEFAULT, case, False, why)
        return
    schedule = {"template": default.info["template"], **default.info["schedule"]}
    if schedule["template"] != TEMPLATE:
        suite.results.skip(DEFAULT, case, f"the default is {schedule['template']}")
        return
    tensors = peers.Tensors(timer.torch, case)
    judge = Judge(suite, case, tensors)
    calls = judge.default(default)
    if not calls:
        return
    plans = compiled(suite, case, context, variants(schedule), schedule)
    plans += compiled(suite, case, context, tiles(schedule, plans))
    best = tuned(suite, case)
    if best:
        plans += compiled(suite, case, context, [(Variant(TUNED, best), None)])
    for variant, plan in plans:
        if not late(suite, variant.name, case):
            calls.update(judge.variant(variant.name, plan))
    timed(suite, case, calls, timer, clocks)


# ---- plans ----

def compiled(suite, case, context, wanted, default=None):
    """[(variant, plan)] of those that are legal and not disqualified, a few at a time."""
    def make(pair):
        alone, field = pair
        if suite.late():
            return [(alone, None, "out of time")]
        made = [planned(context, case, alone)]
        for fewer in opened(alone, field) if field and is_refused(made[0]) else ():
            row = planned(context, case, fewer)
            if not is_refused(row):
                made.append((named(fewer, default, row[1]) if row[1] else fewer, *row[1:]))
                break
        return made
    with concurrent.futures.ThreadPoolExecutor(COMPILES) as pool:
        rows = [row for rows in pool.map(make, wanted) for row in rows]
    for variant, _, why in rows:
        if why and why.startswith("failed"):
            suite.results.check(variant.name, case, False, why)
        elif why:
            suite.results.skip(variant.name, case, why)
    return [(variant, plan) for variant, plan, why in rows if not why]


def is_refused(row):
    return (row[2] or "").startswith("refused")


def planned(context, case, variant):
    """(variant, plan or None, None or why it is not to be timed)"""
    from attnc import errors
    try:
        plan = context.plan(spec(case, variant.constant), cases.shape(case),
                            schedule=variant.schedule)
    except errors.UnsupportedError as e:
        return variant, None, f"refused: {str(e).splitlines()[0]}"
    except errors.AttncError as e:
        return variant, None, f"failed: {type(e).__name__}: {str(e).splitlines()[0]}"
    remarks = plan.info["diagnostics"]
    return variant, plan, f"disqualified: {remarks[0]}" if remarks else None


def tuned(suite, case):
    """The best schedule of a short `attnc tune`, whose table nobody else reads; or None."""
    if not suite.where.cli:
        suite.results.skip(TUNED, case, "there is no command `attnc` in the folder")
        return None
    if late(suite, TUNED, case):
        return None
    file = os.path.join(suite.folder, "fields.attn.yaml")
    with open(file, "w", encoding="utf-8") as f:
        json.dump(spec(case), f)
    said = process.run(forward.tune_command(suite, file, case, TOP[suite.quick]),
                       max(30, suite.left()),
                       {"ATTNC_TUNE_DIR": os.path.join(suite.folder, "fields")})
    if said.code is None:
        suite.results.skip(TUNED, case, said.why)
    elif said.code:
        suite.results.check(TUNED, case, False, said.why)
    else:
        return next((row["schedule"] for row in json.loads(said.out)["candidates"]
                     if row["verdict"] == "best"), None)
    return None


# ---- are they right? ----

def finished(torch, call):
    """The output of a first launch; Lost if it does not end, or breaks the device."""
    o, end = call(), torch.cuda.Event()
    end.record()
    over = time.monotonic() + HANG_SECONDS
    while not ended(end):
        if time.monotonic() > over:
            raise Lost(f"a launch did not end within {HANG_SECONDS} s")
        time.sleep(0.001)
    return o


def ended(event):
    try:
        return event.query()
    except RuntimeError as e:  # torch's own kind of error: the kernel broke the device
        raise Lost(str(e).splitlines()[0]) from None


def off(o, wanted):
    """The largest error of a row, relative to the row's norm: of all rows, since a wrong block
    of them is lost in the norm of the whole."""
    difference = (o.float() - wanted.float()).norm(dim=-1)
    share = float((difference / wanted.float().norm(dim=-1).clamp_min(1e-30)).max())
    return share if math.isfinite(share) else math.inf


class Judge:
    """What runs and is right, of one case."""

    def __init__(self, suite, case, tensors):
        import peers
        self.suite, self.case, self.t, self.wanted = suite, case, tensors, None
        self.bound, self.launching = peers.TOLERANCE[case["dtype"]], peers.launching
        self.error = peers.error

    def keep(self, name, ok, why):
        self.suite.results.check(name, self.case, ok, "" if ok else why)
        return ok

    def first(self, name, plan):
        """(call, its output), or None and a failed check; Lost ends the phase."""
        try:
            call = self.launching(plan, self.t)
            return call, finished(self.t.torch, call)
        except Lost as e:
            self.keep(name, False, str(e))
            raise Lost(f"{name}, {cases.label(self.case)}: {e}") from None
        except Exception as e:  # attnc's errors and torch's: one variant's, not the phase's
            self.keep(name, False, f"{type(e).__name__}: {(str(e).splitlines() or [''])[0]}")
            return None

    def default(self, plan):
        """{DEFAULT: call}, or {} where there is nothing to compare with."""
        found = self.first(DEFAULT, plan)
        if not found:
            return {}
        call, self.wanted = found
        worst = self.error(self.case, self.t, self.wanted)
        ok = self.keep(DEFAULT, worst <= self.bound, f"relative error {worst:.3g}")
        return {DEFAULT: call} if ok else {}

    def variant(self, name, plan):
        """{name: call}, or {} where the output is not the default's."""
        found = self.first(name, plan)
        if not found:
            return {}
        call, o = found
        worst = off(o, self.wanted)
        ok = self.keep(name, worst <= self.bound,
                       f"not the default's output: a row is off by {worst:.3g} of its norm")
        return {name: call} if ok else {}


# ---- times ----

def timed(suite, case, calls, timer, clocks):
    start = time.monotonic()
    found = timer.interleaved(calls, ROUNDS[suite.quick])
    clock = clocks.between(start, time.monotonic())
    base = None
    for name, ms in found.items():
        row = suite.results.measure(name, case, "time", "ms", ms, context={
            **forward.context_of(calls[name]), **clock})
        base = base or row["median"]  # the default's: it comes first
        row["derived"] = {"tflops": cases.flops(case) / row["median"] * 1e-9,
                          "ratio": base / row["median"]}
