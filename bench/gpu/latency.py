"""Phase `latency`: what users wait for.  From a spec to the first result in a new process, with
nothing in any cache (cold) and with what the last process left there (warm); the host's part of
a launch; the time that a sweep of schedules takes.

On the emulated device every step runs, and only that it works is kept: there are no times."""
import json
import os
import sys
import time

from kit.results import Skip

import cases
import forward
import process
import timing
import world

HERE = os.path.dirname(os.path.abspath(__file__))
LAUNCHES = 500  # of which a sample of the host's time is made


def run(suite):
    starts(suite)
    launches(suite)
    sweep(suite)


# ---- starts ----

def cold(suite, subject, caches):
    """One process: its line of JSON."""
    env = {name: os.path.join(caches, sub) for name, sub in world.CACHES.items()}
    for path in env.values():
        os.makedirs(path, exist_ok=True)
    said = process.run([sys.executable, os.path.join(HERE, "cold.py"), subject, suite.where.path,
                        suite.kind, "tiny" if suite.tiny else "full"],
                       max(20, min(180, suite.left())), env)
    if said.code != 0:
        raise RuntimeError(said.why)
    return json.loads(said.out.splitlines()[-1])


def starts(suite):
    case = cases.latency(suite.tiny)
    subjects = ["attnc"] if suite.emulated else ["attnc", "flex", "triton"]
    if not suite.emulated:
        try:
            world.torch()
        except Skip as e:
            raise Skip(f"cold starts are timed with torch's tensors: {e}") from None
    rounds = 1 if suite.tiny else 2 if suite.quick else 5
    found = {}
    for r in range(rounds):
        for subject in subjects[r % len(subjects):] + subjects[:r % len(subjects)]:
            if suite.late():
                suite.results.skip(subject, {"start": "cold", "round": r, **case}, "out of time")
                continue
            caches = os.path.join(suite.folder, f"caches-{subject}-{r}")
            try:
                for start in ("cold", "warm"):
                    found.setdefault((subject, start), []).append(cold(suite, subject, caches))
            except RuntimeError as e:
                suite.results.skip(subject, {"start": "cold", **case}, str(e))
                if subject == "attnc":
                    suite.results.check(subject, {"start": "cold", **case}, False, str(e))
    keep_starts(suite, case, found)


def keep_starts(suite, case, found):
    for (subject, start), rows in found.items():
        what = {"start": start, **case}
        if subject == "attnc":
            layer = {"cold": "miss", "warm": "disk"}[start]
            ok = all(row["stages"]["layer"] == layer for row in rows)
            suite.results.check(subject, what, ok, "" if ok else
                                f"the cache answered {[row['stages']['layer'] for row in rows]}")
        if not suite.emulated:
            suite.results.measure(subject, what, "time", "ms", [row["ms"] for row in rows],
                                  context={"stages": [row["stages"] for row in rows]})


# ---- launches ----

def launches(suite):
    case = {"start": "launch", **cases.overhead(suite.tiny)}
    if suite.emulated:
        suite.results.skip("all", case, "the emulator executes a launch before it returns")
        return
    torch = world.torch()
    if suite.late():
        suite.results.skip("all", case, "out of time")
        return
    import peers
    timer = timing.Timer(torch)
    tensors = peers.Tensors(torch, case)
    makers = peers.subjects(suite.context(), True, lambda call: 1e-3 * timer.warm(call)[0])
    calls = {}
    for name, make in makers.items():
        call = forward.attempt(suite, name, case, lambda: warmed(timer, make(case, tensors)))
        if call:
            calls[name] = call
    found = {name: [] for name in calls}
    for _, name in timing.turns(calls, 3 if suite.quick else 10):
        found[name] += timer.host_us(calls[name], LAUNCHES)
    for name, us in found.items():
        suite.results.measure(name, case, "time", "us", us)


def warmed(timer, call):
    timer.warm(call)
    return call


# ---- sweeps ----

def sweep(suite):
    """attnc tune, whole: compiles, checks and times every legal schedule that it is given."""
    case = cases.latency(suite.tiny)
    what = {"start": "sweep", **case}
    if not suite.where.cli or suite.late():
        suite.results.skip("attnc", what, "out of time" if suite.where.cli else
                           "there is no command `attnc` in the folder")
        return
    file = os.path.join(suite.folder, "sweep.attn.yaml")
    with open(file, "w", encoding="utf-8") as f:
        json.dump(cases.spec(case), f)
    command = forward.tune_command(suite, file, case)
    if suite.tiny:
        command += ["--top", "2"]
    start = time.perf_counter()
    said = process.run(command, max(30, suite.left()),
                       {"ATTNC_TUNE_DIR": os.path.join(suite.folder, "sweep")})
    ms = 1e3 * (time.perf_counter() - start)
    if said.code is None:
        suite.results.skip("attnc", what, said.why)
        return
    suite.results.check("attnc", what, said.code == 0, "" if said.code == 0 else said.why)
    if said.code:
        return
    rows = json.loads(said.out)["candidates"]
    verdicts = [row["verdict"] for row in rows]
    context = {"candidates": len(rows), "best": rows[verdicts.index("best")]["schedule"],
               "rejected": sum(v not in ("best", "ok") for v in verdicts)}
    if not suite.emulated:
        suite.results.measure("attnc", what, "time", "ms", [ms], context=context)
        forward.attempt(suite, "triton", what, lambda: triton_sweep(suite, case, what))


def triton_sweep(suite, case, what):
    """The same for our Triton kernel: compiles and times its configurations, one by one."""
    import peers
    timer = timing.Timer(world.torch())
    maker = peers.Triton(suite.quick, lambda call: 1e-3 * timer.warm(call)[0])
    maker(case, peers.Tensors(timer.torch, case))
    suite.results.measure("triton", what, "time", "ms", [1e3 * maker.seconds],
                          context={"candidates": len(maker.tried)})
