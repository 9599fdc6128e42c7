"""Lists of cases of several factors, so that every two values of any two factors meet in some case.

A list draws cases from its factors, says which are possible, and makes a Case of each. A case is taken
only where the library has a plan for it: `e2e_refused` is asked, which runs nothing. So no case of a
list is refused, and what is refused is seen in pairs of values that no case has, and in a count that has
a limit."""
import argparse
import itertools
import os
import random
import subprocess
import sys
import tempfile
from typing import NamedTuple

TRIES = 60  # of which the case is taken that has most pairs which none had
MOST_REFUSED = 20  # as many cases have one that was refused when they were drawn
TOLD = 20  # of those that are refused


class Case(NamedTuple):
    """What `attnc run` is asked for; `more`: further options."""

    spec: str
    target: str
    shape: str
    schedule: str = ""
    lengths: str = ""
    op: str = "fwd"
    more: tuple = ()


class Met:
    """Which values have met, each a bit of a number."""

    def __init__(self, factors):
        self.bit, n = {}, 0
        for name, values in factors.items():
            for value in values:
                self.bit[name, value] = n
                n += 1
        self.of = [1 << i for i in range(n)]

    def bits(self, case):
        at = [self.bit[item] for item in case.items()]
        return at, sum(1 << i for i in at)

    def news(self, case):
        """Pairs that had not met, each counted twice."""
        at, all_of = self.bits(case)
        return sum(bin(all_of & ~self.of[i]).count("1") for i in at)

    def add(self, case):
        at, all_of = self.bits(case)
        for i in at:
            self.of[i] |= all_of

    def have(self, one, other):
        return self.of[self.bit[one]] >> self.bit[other] & 1


def cases(factors, possible, n, seed, has_plan):
    """n cases and what is left, {factor: value}, which has_plan(case, i) takes, so that all pairs meet; and
    the pairs that none of them has."""
    rng, met, made = random.Random(seed), Met(factors), []
    while len(made) < n:
        tries = [{name: rng.choice(values) for name, values in factors.items()}
                 for _ in range(TRIES)]
        ranked = sorted(filter(possible, tries), key=met.news, reverse=True)
        best = next((case for case in ranked if has_plan(case, len(made))), None)
        if best:
            met.add(best)
            made.append(best)
    left = [pair for pair in itertools.combinations(met.bit, 2)
            if pair[0][0] != pair[1][0] and not met.have(*pair) and not _meet(
                pair, factors, possible, met, made, has_plan)]
    return made, [(*one, *other) for one, other in left]


def _meet(pair, factors, possible, met, made, has_plan):
    """Makes a case of a pair that none has; false: it could be one, and the library has no plan for it."""
    rng, could = random.Random(0), False
    for _ in range(TRIES):
        case = {**{n: rng.choice(v) for n, v in factors.items()}, **dict(pair)}
        if possible(case):
            could = True
            if has_plan(case, len(made)):
                met.add(case)
                made.append(case)
                return True
    return not could


def command(attnc, path, case, seed):
    words = [attnc, "run", path, "--op", case.op, "--no-cache", "--device", "emu", "--arch", case.target,
             "--shape", case.shape, "--seed", str(seed), "--verify", "-q", *case.more]
    words += ["--schedule", case.schedule] if case.schedule else []
    return words + (["--seqlens", case.lengths] if case.lengths else [])


class Plans:
    """Has the library a plan for a case? `refused`: (why, case) of each that it has none for."""

    def __init__(self, attnc, folder):
        asks = os.path.join(os.path.dirname(attnc), "e2e_refused")
        self.path, self.refused = os.path.join(folder, "asked.attn.yaml"), []
        self.asks = subprocess.Popen([asks], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def have(self, case):
        with open(self.path, "w", encoding="utf-8") as f:
            f.write(case.spec)
        self.asks.stdin.write("\t".join(command("attnc", self.path, case, 1)) + "\n")
        self.asks.stdin.flush()
        why = self.asks.stdout.readline()
        if not why:
            raise RuntimeError("e2e_refused has ended")
        if why != "\n":
            self.refused.append((why.strip(), case))
        return why == "\n"

    def close(self):
        self.asks.communicate()


def run(attnc, folder, case, name, seed):
    """Was every row right? A case that fails is printed, with its spec."""
    path = os.path.join(folder, "case.attn.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(case.spec)
    words = command(attnc, path, case, seed)
    r = subprocess.run(words, capture_output=True, text=True)
    if r.returncode:
        print(f"FAIL  {name}: exit {r.returncode}: {' '.join(words[3:])}\n{case.spec}"
              f"{r.stdout[-600:]}{r.stderr[-600:]}", flush=True)
    return r.returncode == 0


def arguments(n):
    """Of a program that runs a list of n cases."""
    p = argparse.ArgumentParser()
    p.add_argument("attnc")
    p.add_argument("--cases", type=int, default=n)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--shard", default="0/1", help="case i where i %% N is I")
    p.add_argument("--list", action="store_true", help="draw the list, say what is refused, run nothing")
    return p


def drawn(a, factors, possible, made_of):
    """The cases, as values and as a Case each; is it a list as it should be?"""
    with tempfile.TemporaryDirectory() as folder:
        plans = Plans(a.attnc, folder)
        values, left = cases(factors, possible, a.cases, a.seed, lambda case, i: plans.have(made_of(case, i)))
        plans.close()
    print(f"{len(values)} cases, {len(left)} pairs that none has, {len(plans.refused)} refused while they were drawn")
    for pair in left:
        print("no case has", *pair)
    many = len(plans.refused) * MOST_REFUSED > len(values)
    for why, case in plans.refused[:TOLD] if a.list or many else ():
        print(f"refused: {why}: {case.target} {case.schedule} {case.shape} {case.lengths}\n{case.spec}")
    return values, [made_of(case, i) for i, case in enumerate(values)], not left and not many


def each(a, factors, possible, made_of, wanted=lambda case: True):
    """The exit code: 0 where the list is whole and the shard's cases, made_of(case, i), are right."""
    values, made, whole = drawn(a, factors, possible, made_of)
    if a.list:
        return int(not whole)
    first, step = map(int, a.shard.split("/"))
    with tempfile.TemporaryDirectory() as folder:
        good = [run(a.attnc, folder, made[i], i, i) for i in range(first, len(made), step) if wanted(values[i])]
    return int(end(good) or not whole)


def end(good):
    """The exit code of a list whose cases were right or not."""
    print(f"{sum(good)} of {len(good)} right")
    return int(not all(good))
