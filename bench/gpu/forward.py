"""Phase `forward`: how fast each subject is, case by case, and whether it is right.

On the emulated device there are no times and no peers: the command line verifies each case and
counts est_cycles."""
import json
import os
import time

from kit.results import Skip

import cases
import process
import timing
import world


def wanted(suite):
    """The cases; what the spec cannot say yet is skipped by name."""
    import attnc
    has, missing = cases.features(attnc.schema())
    for name, why in missing.items():
        suite.results.skip("attnc", {"feature": name}, why)
    found = cases.forward(suite.quick, suite.tiny, has)
    return [c for c in found if suite.only in cases.label(c)]


def run(suite):
    (emulated if suite.emulated else on_gpu)(suite, wanted(suite))


# ---- on the emulated device ----

def emulated(suite, wanted_cases):
    suite.results.note("The device is the emulator: est_cycles is an estimate from its "
                       "counters, never a time.")
    if not suite.where.cli:
        raise Skip("there is no command `attnc` in the folder")
    for case in wanted_cases:
        if suite.late():
            suite.results.skip("attnc", case, "out of time")
            continue
        result = cli_run(suite, case)
        ok = result["verdict"] == "PASS" and not result["findings"]
        suite.results.check("attnc", case, ok, "" if ok else json.dumps(
            [result["verdict"], result["findings"][:3]]))
        suite.results.measure("attnc", case, "est_cycles", "cycles",
                              [result["stats"]["est_cycles"]],
                              context={"schedule": result["plan"]["schedule"],
                                       "source": result["plan"]["source"]})


def cli_run(suite, case, *words, spec=None):
    """attnc run --verify --stats of a case, with more words, of another spec: its JSON."""
    file = os.path.join(suite.folder, "case.attn.yaml")
    with open(file, "w", encoding="utf-8") as f:
        json.dump(spec or cases.spec(case), f)
    said = process.run([suite.where.cli, "run", file, "--device", "emu", "--shape",
                        cases.shape(case), "--verify", "--stats", "--json", "-q", *words], 300)
    made = json.loads(said.out or "{}")
    if "results" not in made:
        raise RuntimeError(f"{cases.label(case)}: {made.get('message', said.why)}")
    return made["results"][0]


# ---- on a GPU ----

def on_gpu(suite, wanted_cases):
    torch = world.torch()
    timer = timing.Timer(torch)
    for sentence in timing.METHOD:
        suite.results.note(sentence)
    import peers
    makers = peers.subjects(suite.context(), suite.quick, lambda call: 1e-3 * timer.warm(call)[0])
    if suite.subjects:
        unknown = set(suite.subjects) - makers.keys()
        if unknown:
            suite.results.fail(f"no subject {', '.join(unknown)}; there are {', '.join(makers)}")
        makers = {name: makers[name] for name in suite.subjects}
    rounds = 10 if suite.quick else 30
    with world.Clocks() as clocks:
        for i, case in enumerate(wanted_cases):
            if suite.late():
                suite.results.skip("all", case, "out of time")
                continue
            suite.say(f"  {i + 1} of {len(wanted_cases)}: {cases.label(case)}")
            one_case(suite, case, makers, timer, rounds, clocks)
            suite.results.save()


def one_case(suite, case, makers, timer, rounds, clocks):
    """Everybody made ready, checked, and timed in turns."""
    import peers
    if suite.tune:
        tune(suite, case)
    tensors = peers.Tensors(timer.torch, case)
    calls = {}
    for name, make in makers.items():
        call = attempt(suite, name, case, lambda: checked(suite, name, case, tensors, make))
        if call:
            calls[name] = call
    start = time.monotonic()
    found = timer.interleaved(calls, rounds)
    clock = clocks.between(start, time.monotonic())
    for name, ms in found.items():
        row = suite.results.measure(name, case, "time", "ms", ms,
                                    context={**context_of(calls[name]), **clock})
        seconds = 1e-3 * row["median"]
        row["derived"] = {"tflops": cases.flops(case) / seconds * 1e-12,
                          "bytes_per_s": cases.bytes_moved(case) / seconds}


def attempt(suite, name, case, make):
    """make(); a peer that cannot is skipped with its reason, attnc fails the check."""
    try:
        return make()
    except Skip as e:
        suite.results.skip(name, case, str(e))
    except Exception as e:  # a peer's own kind of error: its first line is the reason
        why = f"{type(e).__name__}: {(str(e).splitlines() or [''])[0]}"
        if name == "attnc":
            suite.results.check(name, case, False, why)
        suite.results.skip(name, case, why)
    return None


def checked(suite, name, case, tensors, make):
    """A call whose output is right; a wrong one is a failed check, and is not timed."""
    import peers
    call = make(case, tensors)
    off = peers.error(case, tensors, call())
    ok = off <= peers.TOLERANCE[case["dtype"]]
    suite.results.check(name, case, ok, "" if ok else f"relative error {off:.3g}")
    if not ok:
        raise Skip(f"its result is wrong: relative error {off:.3g}")
    return call


def context_of(call):
    """What a call says of itself."""
    if hasattr(call, "plan"):
        info = call.plan.info
        return {k: info[k] for k in ("schedule", "target", "source", "registers",
                                     "spilled_bytes", "notes") if k in info}
    return {"config": list(call.config)} if hasattr(call, "config") else {}


def tune(suite, case):
    """attnc tune for the case; the plans that follow find its winner."""
    file = os.path.join(suite.folder, "tune.attn.yaml")
    with open(file, "w", encoding="utf-8") as f:
        json.dump(cases.spec(case), f)
    said = process.run(tune_command(suite, file, case), max(30, suite.left()))
    if said.code != 0:
        suite.results.skip("attnc tune", case, said.why)


def tune_command(suite, file, case, top=None):
    """Of the `top` best by the cost model; None: of 12 with --quick, else of all."""
    top = top or (12 if suite.quick else None)
    words = ["--top", str(top)] if top else []
    return [suite.where.cli, "tune", file, "--device", suite.kind, "--shape", cases.shape(case),
            "--json", "-q", *words]

