"""What bench/report says of the phase `fields`: each value of a field of the schedule beside the
default, case by case, and over all cases that took it."""
from .stats import geomean
from .tables import digits, ratio, table

DEFAULT = "default"
UNITS = {"time": "TFLOP/s", "est_cycles": "est_cycles"}


def heading(case):
    """d128 causal 4096; the heads where they are grouped."""
    words = f"d{case['d']} {'causal' if case['causal'] else 'full'} {case['sq']}"
    return words if case["h"] == case["hk"] else f"{words} h{case['h']}/{case['hk']}"


def cells_of(data):
    """({row: {case: ratio or one word for why there is none}}, cases), each in the order in
    which it was met."""
    rows, cases = {}, {}

    def put(row, cell):
        name = heading(row["case"])
        cases.setdefault(name)
        rows.setdefault(row["subject"], {})[name] = cell
    for m in data["measurements"]:
        if m["phase"] == "fields":
            put(m, m["derived"]["ratio"])
    for s in data["skipped"]:
        if s["phase"] == "fields" and s["subject"] != "all" and "d" in s["case"]:
            put(s, word(s["why"]))
    for c in data["checks"]:
        if c["phase"] == "fields" and not c["pass"]:
            put(c, "WRONG")
    return rows, list(cases)


def word(why):
    """refused, out of time, C7510."""
    first = why.split(":")[0]
    if first == "disqualified":
        at = why.find("C75")
        return why[at:at + 5] if at >= 0 else first
    return first if first in ("refused", "out of time") else "skipped"


def mean(cells):
    """The geometric mean of the ratios among the cells, and of how many."""
    found = [x for x in cells.values() if not isinstance(x, str)]
    return f"{ratio(geomean(found))} of {len(found)}" if found else "–"


def fields_block(data):
    rows, cases = cells_of(data)
    if not rows:
        return "", {}
    measured = [m for m in data["measurements"] if m["phase"] == "fields"]
    base = {heading(m["case"]): m["derived"].get("tflops", m["median"]) for m in measured
            if m["subject"] == DEFAULT}
    unit = UNITS[measured[0]["metric"]] if measured else ""
    lines = [(f"{DEFAULT}, {unit}", *(digits(base[c]) if c in base else "–" for c in cases), "")]
    order = [n for n in rows if n not in (DEFAULT, "tuned")] + ["tuned"] * ("tuned" in rows)
    if any(isinstance(x, str) for x in rows.get(DEFAULT, {}).values()):
        order.insert(0, DEFAULT)
    for name in sorted(order, key=lambda n: (n == "tuned", n.split()[0])):
        cells = rows[name]
        lines.append((name, *(shown(cells.get(c, "–")) for c in cases), mean(cells)))
    said = "Speed beside the default schedule of the case, above 1 is faster:\n\n"
    return said + table(("", *cases, "geometric mean"), lines), {}


def shown(cell):
    return cell if isinstance(cell, str) else ratio(cell)
