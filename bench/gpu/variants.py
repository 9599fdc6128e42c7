"""Phase `variants`: each field of the spec that `forward` does not have, on the device: is it right,
and how long does it take beside the same call without it?

By the command line, one process a call: it makes the tensors that a field asks for, compares with
fp64, and times by events.  First all are verified at sizes that are cheap to verify, several at a
time, then timed, alone, each behind the plain call that it is compared with.  On the emulated device
they are verified, and est_cycles stand where times would."""
import concurrent.futures
import json
import os

from kit.results import Skip

import cases
import process

AT_ONCE = 4          # that are verified
STEP_SECONDS = 20    # for one; a kernel that does not end takes no more than that
REPEAT = 20
TINY = 3             # that are timed in a tiny run
NOT_TAKEN = 4        # the command's exit code where no template takes a spec


def run(suite):
    if not suite.where.cli:
        raise Skip("there is no command `attnc` in the folder")
    rows = [v for v in cases.VARIANTS if suite.only in v.name]
    right = verified(suite, rows)
    if not suite.emulated:
        timed(suite, [v for v in rows if v in right][:TINY if suite.tiny else None])


def said(suite, variant, number, words):
    """What the command line says of a call of the variant; None: out of time."""
    if suite.late():
        return None
    file = os.path.join(suite.folder, f"variant-{number}.attn.yaml")
    with open(file, "w", encoding="utf-8") as f:
        json.dump(variant.spec(), f)
    seconds = round(min(STEP_SECONDS, max(5, suite.left())))
    return process.run([suite.where.cli, "run", file, "--device", suite.kind, "--json", "-q",
                        "--no-cache", "--timeout", str(seconds), *words], seconds + 5)


def result(answer):
    """The command's JSON of the one spec; {} where it has none."""
    try:
        return json.loads(answer.out)["results"][0]
    except (ValueError, KeyError, IndexError):
        return {}


# ---- right? ----

def verified(suite, rows):
    """Those that are right."""
    words = ["--verify", "--stats", "--shape"] if suite.emulated else ["--verify", "--shape"]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(
            lambda i: said(suite, rows[i], i, [*words, rows[i].small, *rows[i].numbers]),
            range(len(rows))))
    right = []
    for variant, answer in zip(rows, answers):
        if keep(suite, variant, answer):
            right.append(variant)
    suite.results.save()
    return right


def keep(suite, variant, answer):
    """A check of the variant; is it right?"""
    case = {**variant.case(), "shape": variant.small}
    if answer is None or answer.code is None:
        suite.results.skip("attnc", case, "out of time")
        return False
    found = result(answer)
    if answer.code == NOT_TAKEN:
        suite.results.skip("attnc", case, answer.why)
        return False
    ok = answer.code == 0 and found.get("verdict") == "PASS"
    why = "" if ok else f"{found.get('verdict')}: {found.get('findings') or answer.why}"
    suite.results.check("attnc", case, ok, why)
    if ok and "stats" in found:
        suite.results.measure("attnc", case, "est_cycles", "cycles",
                              [found["stats"]["est_cycles"]], context=context(found))
    return ok


def context(found):
    return {"template": found["plan"]["template"], "schedule": found["plan"]["schedule"]}


# ---- how long? ----

def timed(suite, rows):
    """Each behind its plain call, which is timed once for all that have it."""
    plain = {}
    for number, variant in enumerate(rows):
        base = variant.plain()
        key = (json.dumps(base.spec()), base.shape)
        if variant.fields and key not in plain:
            plain[key] = time(suite, base, number)
        row, beside = time(suite, variant, number), plain.get(key)
        if row and beside:
            row["derived"] = {"of_plain": row["median"] / beside["median"]}
        suite.results.save()


def time(suite, variant, number):
    """The measurement, or None and why not."""
    shape = [variant.small] if suite.tiny else [variant.shape, *variant.words]
    answer = said(suite, variant, number, ["--repeat", str(REPEAT), "--shape", *shape, *variant.numbers])
    case = {**variant.case(), "shape": shape[0]}
    found = result(answer) if answer else {}
    if "ms" not in found:
        why = ("out of time" if answer is None or answer.code is None else
               "an emulated device has no time" if found.get("emulated") else answer.why)
        suite.results.skip("attnc", case, why)
        return None
    ms = found["ms"]
    more = {k: ms[k] for k in ("least", "most", "n")}
    return suite.results.measure("attnc", case, "time", "ms", [ms["median"]],
                                 context={**context(found), **more})
