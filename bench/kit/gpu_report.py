"""What bench/report says of the GPU suite: throughput by length beside the peers, where attnc
is behind, and what users wait for.

Throughput is any measurement with `derived.tflops`; the length of its case is `sq`, and b is
left out of what it is called, since all cases have the same number of tokens.
"""
from .calibrate_report import calibrate_block, rank_block, variants_block
from .cpu_report import memory_block, rows_of
from .fields_report import fields_block
from .stats import geomean
from .svg import bars, lines
from .tables import digits, measured, quantity, ratio, table

NAMES = {"attnc": "attnc", "sdpa_flash": "SDPA flash", "sdpa_cudnn": "SDPA cuDNN",
         "flash_attn": "FlashAttention 2", "flash_attn_3": "FlashAttention 3",
         "flex": "FlexAttention", "triton": "Triton"}
UNSAID = ("b", "sq", "sk")


def name_of(subject):
    return NAMES.get(subject, subject)


def words(case):
    """A case in one line, without what is on the axis."""
    said = []
    for key, value in case.items():
        if key in UNSAID or value is None:
            continue
        if value is False:
            said.append({"causal": "full"}.get(key, f"no {key}"))
            continue
        said.append(key if value is True else str(value) if key == "dtype" else f"{key} {value}")
    return ", ".join(said)


def throughput(data, phase):
    """{words of a case: {length: {subject: TFLOP/s}}}"""
    found = {}
    for m in data["measurements"]:
        if m["phase"] == phase and "tflops" in m.get("derived", {}):
            by_length = found.setdefault(words(m["case"]), {})
            by_length.setdefault(m["case"]["sq"], {})[m["subject"]] = m["derived"]["tflops"]
    return found


def ratios(by_length):
    """[(length, attnc's, best peer, its name)] where both were measured."""
    for length, row in sorted(by_length.items()):
        peers = {n: x for n, x in row.items() if n != "attnc"}
        if "attnc" in row and peers:
            best = max(peers, key=peers.get)
            yield length, row["attnc"], peers[best], best


def throughput_block(phase):
    def make(data):
        text, plots = [], {}
        for i, (case, by_length) in enumerate(throughput(data, phase).items()):
            subjects = list(dict.fromkeys(n for row in by_length.values() for n in row))
            shares = {length: a / b for length, a, b, _ in ratios(by_length)}
            text.append(f"{case}, TFLOP/s:\n\n" + table(
                ("length", *map(name_of, subjects), "of the best peer"),
                [(n, *(digits(row[s]) if s in row else "–" for s in subjects),
                  ratio(shares[n]) if n in shares else "–")
                 for n, row in sorted(by_length.items())], "r" * (len(subjects) + 2)))
            series = {name_of(s): [(n, row[s]) for n, row in by_length.items() if s in row]
                      for s in subjects}
            longest = max(by_length)
            said = f"At length {longest}: " + ", ".join(
                f"{name_of(s)} {digits(x)}" for s, x in by_length[longest].items())
            plots[f"{phase}-{i + 1}"] = lines(f"{phase}: {case}", said, series,
                                              "length of a sequence", "TFLOP/s", None, digits)
        return "\n\n".join(text), plots
    return make


def behind_block(data):
    """The cells where attnc is behind the best peer, the worst first."""
    cells, ahead = [], []
    for phase in dict.fromkeys(m["phase"] for m in data["measurements"]):
        for case, by_length in throughput(data, phase).items():
            for length, ours, best, peer in ratios(by_length):
                (cells if ours < best else ahead).append(
                    (ours / best, f"{phase}: {case}", length, name_of(peer)))
    if not cells and not ahead:
        return "", {}
    mean = geomean(share for share, *_ in cells + ahead)
    text = (f"attnc is ahead of the best peer in {len(ahead)} of {len(cells) + len(ahead)} cells; "
            f"over all of them, {ratio(mean)} of it (geometric mean).")
    if cells:
        text += "\n\n" + table(("behind", "length", "best peer", "of it"), [
            (case, length, peer, ratio(share)) for share, case, length, peer in sorted(cells)],
            "lrlr")
    return text, {}


def latency_block(data):
    """Times that a user waits, one table and plot a case."""
    text, plots, cases = [], {}, {}
    for m in data["measurements"]:
        if m["phase"] == "latency" and m["metric"] == "time":
            cases.setdefault(words(m["case"]), []).append(m)
    for i, (case, rows) in enumerate(cases.items()):
        text.append(table((case, "median"), [(name_of(m["subject"]), measured(m))
                                             for m in rows]))
        made = [(name_of(m["subject"]), m["median"]) for m in rows]
        said = "; ".join(f"{n}: {quantity(x, rows[0]['unit'])}" for n, x in made)
        plots[f"latency-{i + 1}"] = bars(case, said, made,
                                         lambda x, unit=rows[0]["unit"]: quantity(x, unit))
    return "\n\n".join(text), plots


def peak_block(data):
    """Device memory as it was used, by length."""
    by_length = {}
    for m in rows_of(data, "memory", "memory_peak"):
        by_length.setdefault(m["case"]["sq"], {})[m["subject"]] = m
    subjects = list(dict.fromkeys(n for row in by_length.values() for n in row))
    text = table(("length", *map(name_of, subjects)), [
        (n, *(quantity(row[s]["median"], "bytes") if s in row else "–" for s in subjects))
        for n, row in sorted(by_length.items())], "r" * (len(subjects) + 1))
    return text if subjects else "", {}


def checks_block(data):
    """What was compared, phase by phase, and every comparison that failed."""
    phases, wrong = {}, []
    for c in data["checks"]:
        passed, all_ = phases.get(c["phase"], (0, 0))
        phases[c["phase"]] = passed + c["pass"], all_ + 1
        if not c["pass"]:
            said = c["case"].get("notation") or words(c["case"])
            wrong.append((c["phase"], name_of(c["subject"]), said, first_line(c.get("why", ""))))
    text = table(("phase", "passed", "of"), [(n, *row) for n, row in phases.items()])
    if wrong:
        text += "\n\n" + table(("wrong", "subject", "case", "why"), wrong, "llll")
    return text if phases else "", {}


def first_line(text):
    return (text.splitlines() or [""])[0].replace("|", "/")[:200]


def skipped_block(data):
    """What was asked for and not measured, the same reasons together."""
    found = {}
    for s in data["skipped"]:
        found.setdefault((s["phase"], name_of(s["subject"]), first_line(s["why"])),
                         []).append(s["case"])
    rows = [(phase, subject, words(cases[0]) if len(cases) == 1 else f"{len(cases)} cases", why)
            for (phase, subject, why), cases in found.items()]
    return table(("phase", "subject", "what", "why not"), rows, "llll") if rows else "", {}


ALL = ("correctness", "golden", "calibrate", "memory", "forward", "latency", "rank", "fields")
BLOCKS = {f"gpu.{phase}": ((phase,), throughput_block(phase))
          for phase in ("forward", "backward", "decode")} | {
    "gpu.behind": (("forward", "backward", "decode"), behind_block),
    "gpu.latency": (("latency",), latency_block),
    "gpu.memory": (("memory",), memory_block),
    "gpu.fields": (("fields",), fields_block),
    "gpu.calibrate": (("calibrate",), calibrate_block),
    "gpu.rank": (("rank",), rank_block),
    "gpu.variants": (("variants",), variants_block),
    "gpu.peak": (("memory",), peak_block),
    "gpu.checks": (ALL, checks_block),
    "gpu.skipped": (ALL, skipped_block)}
