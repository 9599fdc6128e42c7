"""Phase `rank`: does the cost model put schedules in the order in which they are measured?  By
`attnc tune --rank`, of the best by the model for a few cases; nothing is kept in a tuning table
that others read."""
import json
import os

from kit.results import Skip

import cases
import forward
import process

TOP, TINY_TOP = 16, 2
STEP_SECONDS = "10"  # for one step of a candidate: one that hangs costs no case


def run(suite):
    if not suite.where.cli:
        raise Skip("there is no command `attnc` in the folder")
    for case in cases.rank(suite.tiny):
        if suite.late():
            suite.results.skip("attnc", case, "out of time")
            continue
        suite.say(f"  {cases.label(case)}")
        one(suite, case)
        suite.results.save()


def one(suite, case):
    file = os.path.join(suite.folder, "rank.attn.yaml")
    with open(file, "w", encoding="utf-8") as f:
        json.dump(cases.spec(case), f)
    command = forward.tune_command(suite, file, case, TINY_TOP if suite.tiny else TOP)
    said = process.run([*command, "--rank", "--timeout", STEP_SECONDS], max(10, suite.left()),
                       {"ATTNC_TUNE_DIR": os.path.join(suite.folder, "rank")})
    if said.code is None:
        suite.results.skip("attnc", case, said.why)
        return
    made = json.loads(said.out) if said.code == 0 else {}
    suite.results.check("attnc", case, said.code == 0, "" if said.code == 0 else said.why)
    if made:
        keep(suite, case, made)


def keep(suite, case, made):
    """On the emulated device the order is of est_cycles, which says nothing of a chip."""
    if suite.emulated or made["rank_correlation"] is None:
        return
    unit = made["unit"]
    rows = [{"schedule": c["schedule"], "cost": c["cost"], unit: c[unit]}
            for c in made["candidates"] if unit in c and "cost" in c]
    suite.results.measure("attnc", case, "rank_correlation", "of 1", [made["rank_correlation"]],
                          context={"candidates": rows,
                                   "rejected": len(made["candidates"]) - len(rows)})
