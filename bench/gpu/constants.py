#!/usr/bin/env python3
"""What the compiler's tables and cost models say, beside what `calibrate` measured.

    bench/gpu/constants.py RESULT.json

The tables' numbers are read from the sources of this tree, so that a change there shows here."""
import os
import re
import sys
from typing import Callable, NamedTuple

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
if __name__ == "__main__":
    sys.path[:0] = [os.path.join(ROOT, "bench"), HERE]

from kit.tables import digits, ratio, table  # noqa: E402

TARGETS = "compiler/target.def"
WGMMA_MACS, HMMA_MACS, LANES, LDSM_BYTES, PARTITIONS = 64 * 256 * 16, 16 * 8 * 16, 32, 512, 4


class Constant(NamedTuple):
    """pattern: of the number in the file; in target.def, the column of the device's row.
    measured: (of) -> number, where of(metric, subject, case…) is a median or KeyError."""
    what: str
    unit: str
    file: str
    pattern: object
    measured: Callable


def a_clock(subject, each):
    """Of a multiprocessor, from clocks between two instructions of a sub-partition."""
    return lambda of: PARTITIONS * each / of("interval", subject)


def copied(cluster):
    return lambda of: of("rate", "TMA", cluster=cluster) / cluster


CONSTANTS = (
    Constant("mma.sync", "products a clock", TARGETS, -4, a_clock("HMMA", HMMA_MACS)),
    Constant("MUFU", "a clock", TARGETS, -3, a_clock("MUFU", LANES)),
    Constant("FFMA", "a clock", TARGETS, -2, a_clock("FFMA", LANES)),
    Constant("wgmma", "products a clock", "templates/hopper.c",
             r"\.mma = m \* n \* \(d \+ dv\) / (\d+)",
             lambda of: WGMMA_MACS / of("interval", "HGMMA", n=256, a="SS", asked="none")),
    Constant("MUFU", "a clock", "templates/hopper.c", r"\.mufu = .*/ (\d+),",
             a_clock("MUFU", LANES)),
    Constant("shared memory", "bytes a clock", "templates/hopper.c",
             r"\.shared = [^;]*?\) / (\d+),\n", a_clock("LDSM.x4", LDSM_BYTES)),
    Constant("L2, one CTA", "bytes a clock", "templates/hopper.c",
             r"\.load = kv / \((\d+) \* s->cluster\)", copied(1)),
    Constant("L2, of a cluster of two", "bytes a clock", "templates/hopper.c",
             r"\.load = kv / \((\d+) \* s->cluster\)", copied(2)),
    Constant("a block's start, at least", "clocks", "templates/hopper.c",
             r"s->scheduler == SCHED_GRID \? (\d+)",
             lambda of: of("latency", "relaunch", of="a CTA") + of("latency", "TMA")),
    Constant("shared memory", "bytes a clock", "templates/fwd_mma.c", r"kv \+ q\) / (\d+),",
             a_clock("LDSM.x4", LDSM_BYTES)),
    Constant("L2", "bytes a clock", "templates/fwd_mma.c", r"\n      kv / (\d+),", copied(1)),
)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def said(constant, sm):
    """The number in the sources; None where the table has no row of this device."""
    text = read(constant.file)
    if isinstance(constant.pattern, int):
        row = re.search(rf"^TARGET\(sm_{sm}a?, (.*)\)$", text, re.M)
        return row and float(row[1].split(",")[constant.pattern])
    found = re.search(constant.pattern, text)
    if not found:
        raise ValueError(f"{constant.file} has no longer what {constant.pattern!r} finds: "
                         "bench/gpu/constants.py must follow")
    return float(found[1])


def finder(data):
    def of(metric, subject, **case):
        for m in data["measurements"]:
            if (m["phase"], m["metric"], m["subject"]) == ("calibrate", metric, subject) and all(
                    m["case"].get(k) == v for k, v in case.items()):
                return m["median"]
        raise KeyError(f"{metric} {subject} {case}")
    return of


def compared(data):
    """[(constant, the sources' number, the measured one)] of what was measured."""
    sm, of, found = data["device"]["compute_capability"].replace(".", ""), finder(data), []
    for constant in CONSTANTS:
        try:
            measured = constant.measured(of)
        except KeyError:
            continue
        number = said(constant, sm)
        if number is not None:
            found.append((constant, number, measured))
    return found


def text(data):
    made = [(c.what, c.file, f"{number:g}", digits(measured), c.unit, ratio(measured / number))
            for c, number, measured in compared(data)]
    return table(("constant", "of", "says", "measured", "unit", "of it"), made, "llrrlr")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    from kit.results import load
    print(text(load(sys.argv[1])))


if __name__ == "__main__":
    main()
