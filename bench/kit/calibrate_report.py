"""What bench/report says of phase `calibrate` and of `rank`."""
from .tables import digits, table

MORE = (("from_l2", "of them from L2"), ("sm_mhz", "MHz"), ("power_w", "W"))


def beside(m):
    """Is it a wgmma's interval, with or without another warpgroup's instructions?"""
    return m["subject"] == "HGMMA" and m["metric"] == "interval"


def calibrate_block(data):
    """Each row measured, and what was expected, by whom; products apart, as a matrix."""
    found = [m for m in data["measurements"] if m["phase"] == "calibrate"]
    parts = [plain([m for m in found if not beside(m)]), matrix([m for m in found if beside(m)])]
    return "\n\n".join(p for p in parts if p), {}


def plain(found):
    rows = []
    for m in found:
        context = m.get("context", {})
        wanted = digits(context["expected"]) if "expected" in context else "–"
        more = ", ".join(f"{digits(context[k])} {what}" for k, what in MORE if k in context)
        case = " ".join(f"{k} {v}" for k, v in m["case"].items() if v not in ("", "none"))
        case = case.replace(" asked none", "").replace(" asked", "").strip()
        rows.append((f"{m['metric']} {m['subject']} {case}".strip(), digits(m["median"]),
                     m["unit"], wanted, context.get("source", ""), more))
    head = ("what", "measured", "unit", "expected", "by", "beside it")
    return table(head, rows, "lrlrll") if rows else ""


def matrix(found):
    """A row for each width, form and kind of instruction: clocks a wgmma alone, and beside as many
    of these as were asked for, with how many were issued a clock and sub-partition."""
    alone = {(m["case"]["n"], m["case"]["a"]): digits(m["median"]) for m in found
             if not m["case"]["beside"]}
    rows = {}
    for m in found:
        case = m["case"]
        if case["beside"]:
            rows.setdefault((case["n"], case["a"], case["beside"]), {})[case["asked"]] = (
                f"{digits(m['median'])} ({digits(m['context']['issued_a_clock'])})")
    asked = sorted({a for cells in rows.values() for a in cells}, key=share)
    made = [(*key, alone.get(key[:2], "–"), *(cells.get(a, "") for a in asked))
            for key, cells in rows.items()]
    return ("Clocks a wgmma m64nNk16 (instructions issued beside it, a clock and sub-partition):"
            "\n\n" + table(("n", "A", "beside", "alone", *asked), made,
                           "rll" + "r" * (1 + len(asked)))) if made else ""


def share(asked):
    """What was asked for as a number: "1/8", and "all" last."""
    return 1 / int(asked[2:]) if asked != "all" else 2


def rank_block(data):
    rows = [(f"d{m['case']['d']}", "causal" if m["case"]["causal"] else "full", m["case"]["sq"],
             len(m["context"]["candidates"]), digits(m["median"]))
            for m in data["measurements"] if m["metric"] == "rank_correlation"]
    head = ("head_dim", "mask", "length", "schedules", "rank correlation")
    return table(head, rows, "llrrr") if rows else "", {}


def variants_block(data):
    """Each field of the spec, and how many times the plain call's time it takes."""
    rows = [(m["case"]["variant"], f"d{m['case']['d']}",
             "causal" if m["case"]["causal"] else "full", m["case"]["shape"], digits(m["median"]),
             m["unit"], digits(m["derived"]["of_plain"]) if "derived" in m else "–")
            for m in data["measurements"] if m["phase"] == "variants"]
    head = ("field", "head_dim", "mask", "shape", "measured", "unit", "of the plain call")
    return table(head, rows, "llllrlr") if rows else "", {}
