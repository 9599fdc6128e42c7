"""What `first` says at its end: each phase, what was found, what is wrong, which files to keep."""
import os

import constants
from kit import gpu_report
from kit.tables import table

# Blocks of the report that are short enough, by phase.
SHOWN = (("calibrate", "gpu.calibrate"), ("forward", "gpu.behind"), ("variants", "gpu.variants"),
         ("rank", "gpu.rank"))
MOST = 10  # failures that are printed


def budgets(phases, most):
    rows = [(p.name, p.seconds, p.what) for p in phases]
    return (table(("phase", "seconds", "what"), rows, "lrl") +
            f"\n\n{sum(p.seconds for p in phases)} of {most} seconds")


def state(data, phase):
    """(status, seconds, why) of a phase; without a row it was not begun."""
    for row in data["phases"]:
        if row["name"] == phase.name:
            return row["status"], f"{row['seconds']:.0f}", row.get("why", "")
    return "not begun", "–", ""


def counts(data, name):
    """Checks that passed, and of how many; measurements; what was skipped."""
    checks = [c for c in data["checks"] if c["phase"] == name]
    return (f"{sum(c['pass'] for c in checks)} of {len(checks)}",
            sum(m["phase"] == name for m in data["measurements"]),
            sum(s["phase"] == name for s in data["skipped"]))


def first_line(text):
    return (text.splitlines() or [""])[0].replace("|", "/")[:200]


def phase_table(data, phases):
    rows = []
    for p in phases:
        status, seconds, why = state(data, p)
        rows.append((p.name, status, f"{seconds} of {p.seconds}", *counts(data, p.name),
                     first_line(why)))
    return table(("phase", "", "seconds", "checks", "measured", "skipped", "why"), rows,
                 "llrrrrl")


def wrong(data):
    bad = [c for c in data["checks"] if not c["pass"]]
    made = [f"WRONG {c['phase']} {c['subject']} {c['case']}: {first_line(c.get('why', ''))}"
            for c in bad[:MOST]]
    return made + [f"… and {len(bad) - MOST} more"] * (len(bad) > MOST)


def files(file):
    """The result, and the recordings beside it."""
    folder = os.path.dirname(file)
    return [file, *(os.path.join(folder, n) for n in sorted(os.listdir(folder))
                    if n.startswith("golden-") and n.endswith(".zip"))]


def compared(data):
    try:
        return constants.text(data)
    except (OSError, ValueError) as e:  # a tree that has changed costs this table alone
        return str(e)


def text(data, phases, file):
    device = data["device"]
    parts = [f"# {device['name']}, compute capability {device.get('compute_capability', '?')}, "
             f"driver {device.get('driver', device.get('cuda_driver', '?'))}",
             phase_table(data, phases)]
    for phase, block in SHOWN:
        made, _ = gpu_report.BLOCKS[block][1](data)
        if made and any(m["phase"] == phase for m in data["measurements"]):
            parts.append(f"## {phase}\n\n{made}")
    if any(m["phase"] == "calibrate" for m in data["measurements"]):
        parts.append(f"## our tables beside it\n\n{compared(data)}")
    parts.append("\n".join(wrong(data) or ["no result was wrong"]))
    parts.append("keep: " + " ".join(files(file)))
    return "\n\n".join(parts)
