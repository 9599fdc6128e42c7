"""Cases of several factors, so that every two values of any two factors meet in some case."""
import argparse
import itertools
import random
import sys
import tempfile

TRIES = 60  # of which the case is taken that has most pairs which none had


def pairs_of(factors, case):
    at = [(name, factors[name].index(value)) for name, value in case.items()]
    return set(itertools.combinations(at, 2))


def cases(factors, possible, n, seed):
    """n cases, {factor: value}, and the pairs that none of them has."""
    rng, found, made = random.Random(seed), set(), []
    while len(made) < n:
        tries = [{name: rng.choice(values) for name, values in factors.items()}
                 for _ in range(TRIES)]
        best = max(filter(possible, tries), default=None,
                   key=lambda c: len(pairs_of(factors, c) - found))
        if best:
            found |= pairs_of(factors, best)
            made.append(best)
    return made, _missing(factors, possible, found)


def _missing(factors, possible, found):
    """Pairs of values that no case has, though with some values of the others it could be one."""
    left, rng = [], random.Random(0)
    for (a, one), (b, other) in itertools.combinations(factors.items(), 2):
        for (i, x), (j, y) in itertools.product(enumerate(one), enumerate(other)):
            some = ({**{n: rng.choice(v) for n, v in factors.items()}, a: x, b: y}
                    for _ in range(TRIES))
            if ((a, i), (b, j)) not in found and any(map(possible, some)):
                left.append((a, x, b, y))
    return left


def arguments(n):
    """Of a program that runs a list of n cases."""
    p = argparse.ArgumentParser()
    p.add_argument("attnc")
    p.add_argument("--cases", type=int, default=n)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--shard", default="0/1", help="case i where i %% N is I")
    p.add_argument("--pairs", action="store_true", help="only: are there pairs that no case has?")
    return p


def each(a, factors, possible, one, wanted=lambda case: True):
    """What one(folder, case, i) says of the shard's cases; with --pairs the program ends before."""
    drawn, left = cases(factors, possible, a.cases, a.seed)
    print(f"{len(drawn)} cases, {len(left)} pairs that none has")
    if a.pairs:
        print(*left, sep="\n", end="\n" if left else "")
        sys.exit(bool(left))
    first, step = map(int, a.shard.split("/"))
    with tempfile.TemporaryDirectory() as folder:
        return [one(folder, drawn[i], i) for i in range(first, len(drawn), step) if wanted(drawn[i])]


def end(good):
    """The exit code of a list whose cases were right or not."""
    print(f"{sum(good)} of {len(good)} right")
    return int(not all(good))
