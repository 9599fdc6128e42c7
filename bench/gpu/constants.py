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


class Rate(NamedTuple):
    """A column of target.def, by its name there, in the device's row; exact: that of its own
    architecture alone, sm_90a."""
    column: str
    exact: bool = False


class Literal(NamedTuple):
    """A number in a source file, by what stands around it."""
    file: str
    pattern: str


class Constant(NamedTuple):
    """measured: (of) -> number, where of(metric, subject, case…) is a median or KeyError."""
    what: str
    unit: str
    place: object
    measured: Callable


def a_clock(subject, each):
    """Of a multiprocessor, from clocks between two instructions of a sub-partition."""
    return lambda of: PARTITIONS * each / of("interval", subject)


def copied(cluster):
    return lambda of: of("rate", "TMA", cluster=cluster) / cluster


CONSTANTS = (
    Constant("mma.sync", "products a clock", Rate("mma macs/clk"), a_clock("HMMA", HMMA_MACS)),
    Constant("wgmma", "products a clock", Rate("wgmma macs/clk", True),
             lambda of: WGMMA_MACS / of("interval", "HGMMA", n=256, a="SS", asked="none")),
    Constant("MUFU", "a clock", Rate("mufu/clk"), a_clock("MUFU", LANES)),
    Constant("FFMA", "a clock", Rate("fp32/clk"), a_clock("FFMA", LANES)),
    Constant("shared memory", "bytes a clock", Rate("shared bytes/clk"),
             a_clock("LDSM.x4", LDSM_BYTES)),
    Constant("L2", "bytes a clock", Rate("L2 bytes/clk"), copied(1)),
    Constant("L2", "bytes a clock", Rate("L2 bytes/clk", True), copied(1)),
    Constant("L2, of a cluster of two", "bytes a clock", Rate("L2 bytes/clk", True), copied(2)),
    Constant("a CTA behind another", "clocks", Literal("templates/cost.h", r"COST_LAUNCH = (\d+)"),
             lambda of: of("latency", "relaunch", of="a CTA")),
    Constant("first bytes of TMA", "clocks", Literal("templates/cost.h", r"COST_TMA = (\d+)"),
             lambda of: of("latency", "TMA")),
)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def said(place, sm):
    """(where, the number in the sources); None where target.def has no row for the device."""
    if isinstance(place, Literal):
        found = re.search(place.pattern, read(place.file))
        if not found:
            raise ValueError(f"{place.file} has no longer what {place.pattern!r} finds: "
                             "bench/gpu/constants.py must follow")
        return place.file, float(found[1])
    text, target = read(TARGETS), f"sm_{sm}" + "a" * place.exact
    columns = [c.strip(" *\n") for c in re.search(r"/\*(.*?)\*/", text, re.S)[1].split(",")]
    if place.column not in columns:
        raise ValueError(f"{TARGETS} has no column {place.column!r} any more: "
                         "bench/gpu/constants.py must follow")
    row = re.search(rf"^TARGET\(({target}, .*)\)$", text, re.M)
    return row and (f"{TARGETS}, {target}", float(row[1].split(",")[columns.index(place.column)]))


def finder(data):
    def of(metric, subject, **case):
        for m in data["measurements"]:
            if (m["phase"], m["metric"], m["subject"]) == ("calibrate", metric, subject) and all(
                    m["case"].get(k) == v for k, v in case.items()):
                return m["median"]
        raise KeyError(f"{metric} {subject} {case}")
    return of


def compared(data):
    """[(constant, where, the sources' number, the measured one)] of what was measured."""
    sm, of, found = data["device"]["compute_capability"].replace(".", ""), finder(data), []
    for constant in CONSTANTS:
        try:
            measured = constant.measured(of)
        except KeyError:
            continue
        there = said(constant.place, sm)
        if there:
            found.append((constant, *there, measured))
    return found


def text(data):
    made = [(c.what, where, f"{number:g}", digits(measured), c.unit, ratio(measured / number))
            for c, where, number, measured in compared(data)]
    return table(("constant", "of", "says", "measured", "unit", "of it"), made, "llrrlr")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    from kit.results import load
    print(text(load(sys.argv[1])))


if __name__ == "__main__":
    main()
