"""fwd_wgmma's fields for the phase `correctness`: (spec, shape, pinned fields) triples, drawn as
tests/e2e/hopper.py draws its own and the same every time, until there are COUNT legal ones and
every value of every factor occurs.  Each is run by the command line against the fp64 reference."""
import concurrent.futures
import json
import os
import random
import sys

import process

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(os.path.dirname(os.path.dirname(HERE)), "tests", "e2e"))
import hopper  # noqa: E402

TARGET, CAPABILITY = "sm_90a", "9.0"
COUNT, TINY, SEED = 40, 2, 9
AT_ONCE = 4
SECONDS = 120  # for one; a kernel that does not end takes no more than that
MOST = 4000    # draws, of which about one in two is legal


def values(case):
    """What a triple has that others may lack."""
    spec, size, schedule = case
    lines = {line for line in spec.splitlines() if line.split(":")[0] not in ("attnc", "name")}
    return lines | {size} | set(schedule.items())


def wanted():
    """The values that the list must have: fields, sizes, head_dims, dtypes, masks."""
    made = {(name, value) for name, row in hopper.FACTORS.items() for value in row}
    made |= set(hopper.SIZES) | {"dtype: fp16", "dtype: bf16", "layout: bshd", "layout: bhsd"}
    made |= {f"head_dim: {d}" for d, _ in hopper.DIMS}
    return made | {line for mask in hopper.MASKS for line in mask.splitlines()}


def legal(case):
    """Does the compiler take it for TARGET?  Strides, which the command line gives, are no
    part of the answer."""
    import attnc
    spec, size, schedule = case
    try:
        attnc.compile(spec.replace(", strides]", "]"), TARGET, sizes=size,
                      schedule={"template": "fwd_wgmma", **schedule})
    except (attnc.UnsupportedError, attnc.UsageError) as e:
        if not any(words in str(e) for words in hopper.REFUSED):
            raise
        return False
    return True


def drawn(count=COUNT, seed=SEED):
    """The triples.  First those that bring a value which no earlier one has, then others."""
    rng, missing, chosen, others = random.Random(seed), wanted(), [], []
    for _ in range(MOST):
        if not missing and len(chosen) + len(others) >= count:
            return (chosen + others)[:max(count, len(chosen))]
        case = hopper.draw(rng)
        new = values(case) & missing
        if (new or len(others) < count) and legal(case):
            (chosen if new else others).append(case)
            missing -= new
    raise RuntimeError(f"no legal triple was found for {sorted(map(str, missing))}")


def notation(case):
    """One line: the spec's fields, the size, the schedule."""
    spec, size, schedule = case
    fields = [line for line in spec.splitlines() if line.split(":")[0] not in ("attnc", "name")]
    return f"{', '.join(fields)}; {size}; {pins(schedule)}"


def pins(schedule):
    return ",".join(["template=fwd_wgmma",
                     *(f"{k}={hopper.text(v)}" for k, v in schedule.items())])


def run(suite):
    capability = suite.results.data["device"]["compute_capability"]
    if not suite.where.cli or not suite.emulated and capability != CAPABILITY:
        why = (f"for compute capability {CAPABILITY}, and this is {capability}"
               if suite.where.cli else "there is no command `attnc` in the folder")
        suite.results.skip("attnc", {"notation": "fields of fwd_wgmma"}, why)
        return
    chosen = drawn()[:TINY] if suite.tiny else drawn()
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        said = pool.map(lambda i: one(suite, i, chosen[i]), range(len(chosen)))
        for case, why in zip(chosen, said):
            keep(suite, {"notation": notation(case)}, why)


def one(suite, i, case):
    """What the command line says, in a process of its own: one that hangs is ended."""
    if suite.late():
        return process.Said(None, "", "")
    spec, size, schedule = case
    file = os.path.join(suite.folder, f"fields-{i}.attn.yaml")
    with open(file, "w", encoding="utf-8") as f:
        f.write(spec)
    seconds = round(min(SECONDS, max(5, suite.left())))
    return process.run([suite.where.cli, "run", file, "--device", suite.kind, "--arch", TARGET,
                        "--shape", size, "--schedule", pins(schedule), "--verify", "--json",
                        "-q", "--no-cache", "--timeout", str(seconds)], seconds + 5)


def keep(suite, case, said):
    if said.code is None:
        suite.results.skip("attnc", case, said.why)
        return
    suite.results.check("attnc", case, said.code == 0,
                        "" if said.code == 0 else message(said))


def message(said):
    """What the command line says against it."""
    try:
        row = json.loads(said.out)["results"][0]
    except (ValueError, KeyError, IndexError):
        return said.why
    error = row.get("error", {}).get("message")
    return f"{row['verdict']}: {error or row['findings'][:3] or row.get('verify', '')}"
