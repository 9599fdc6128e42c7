"""Phase `calibrate`: what a multiprocessor can do, in clocks, by kernels of our own (micro/): how
often instructions can begin and how long they take, wgmma beside other arithmetic, tensor copies
from L2 with and without multicast, barriers, one kernel after another.  constants.py puts
beside it what the tables of the compiler and the cost models say.

Each kernel's result is checked, on a GPU too.  On the emulated device that is all: its clocks count
instructions.  The rows run in a process apart (micro/work.py); one that ends it is a failed check."""
import json
import os
import signal
import statistics
import sys

import process
import world
from micro import rows as micro

WORK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "micro", "work.py")
GIVE_UP = 3  # processes in a row that end without a row: then it is not the rows
NOTE = ("calibrate: clocks of the multiprocessor, read in the kernel around a loop of many trips; "
        "expected numbers are of the source named beside them, and were not measured.")


def run(suite):
    suite.results.note(NOTE)
    rows, first, idle = micro.rows(), 0, 0
    with world.Clocks() as clocks:
        while first < len(rows) and idle < GIVE_UP:
            if suite.late():
                break
            said = work(suite, first)
            done = [json.loads(line) for line in said.out.splitlines() if line.startswith("{")]
            for found in done:
                keep(suite, rows[found["row"]], found, clocks)
            suite.results.save()
            idle = 0 if done else idle + 1
            first = done[-1]["row"] + 1 if done else first
            if first < len(rows) and said.code is not None:
                ended(suite, rows[first], said)
                first += 1
    for row in rows[first:]:
        suite.results.skip(row.subject, named(row), "out of time" if idle < GIVE_UP else
                           f"{GIVE_UP} processes in a row ended without a row")


def work(suite, first):
    words = [sys.executable, WORK, "--attnc", suite.where.path, "--device", suite.kind, "--first",
             str(first)] + ["--tiny"] * suite.tiny
    return process.run(words, max(5, suite.left()))


def named(row):
    return {"metric": row.metric, **row.case}


def ended(suite, row, said):
    """The process ended in this row."""
    late = f"no result within {micro.ROW_SECONDS} s"
    why = late if said.code == -signal.SIGALRM else said.why
    suite.results.check(row.subject, named(row), False, f"{row.label}: {why}")


def keep(suite, row, found, clocks):
    """A line of the process apart."""
    if "skip" in found:
        suite.results.skip(row.subject, named(row), found["skip"])
        return
    suite.results.check(row.subject, named(row), "wrong" not in found, found.get("wrong", ""))
    if "wrong" in found or suite.emulated:
        return
    context = {k: statistics.median(c[k] for c in found["contexts"])
               for k in found["contexts"][0]}
    expected = row.expected(context) if row.expected else None
    if expected == expected and expected is not None:  # NaN: the model has no answer
        context.update(expected=expected)
    if row.metric == "clock":  # the others are over before nvidia-smi has been asked twice
        context.update({k: v for k, v in clocks.between(found["from"], found["to"]).items()
                        if k == "power_w"})
    if "expected" in context:
        context["source"] = row.source
    suite.results.measure(row.subject, row.case, row.metric, row.unit, found["samples"],
                          context=context)
