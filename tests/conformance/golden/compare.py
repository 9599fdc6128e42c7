"""Two raw outputs of one kernel: where they differ, and by how much."""
import array
import math
import struct
from collections import Counter
from typing import NamedTuple

from .forms import WIDTH
from .inputs import CODES
from .table import bound_of


class Verdict(NamedTuple):
    variant: str
    equal: int      # elements with the same bits
    near: int       # others within the bound
    wrong: int      # neither
    first: int      # the first wrong element, -1
    ulps: dict      # of finite floats: {distance in units in the last place: how many}
    got: str        # bits of the first wrong element
    wanted: str


def region(data, output):
    return data[output.offset:output.offset + output.n * WIDTH[output.type] // 8]


def number(bits, kind):
    if kind == "f16":
        return struct.unpack("<e", bits.to_bytes(2, "little"))[0]
    if kind == "bf16":
        return struct.unpack("<f", (bits << 16).to_bytes(4, "little"))[0]
    size = WIDTH[kind] // 8
    return struct.unpack("<f" if size == 4 else "<d", bits.to_bytes(size, "little"))[0]


def ordered(bits, kind):
    """Whole numbers in the order of the floats whose bits they are."""
    sign = 1 << WIDTH[kind] - 1
    return -(bits & sign - 1) if bits & sign else bits


def parts(bits, kind):
    """The floats of an element: [(bits, kind)]."""
    if kind in ("f16x2", "bf16x2"):
        return [(bits & 0xFFFF, kind[:-2]), (bits >> 16, kind[:-2])]
    return [(bits, kind)]


def within(a, b, kind, bound):
    for (x, k), (y, _) in zip(parts(a, kind), parts(b, kind)):
        if x == y:
            continue
        p, q = number(x, k), number(y, k)
        if math.isnan(p) and math.isnan(q):
            continue
        if not (math.isfinite(p) and math.isfinite(q)) or abs(p - q) > (
                bound.relative * max(abs(p), abs(q)) + bound.absolute):
            return False
    return True


def distance(a, b, kind):
    found = 0
    for (x, k), (y, _) in zip(parts(a, kind), parts(b, kind)):
        if math.isfinite(number(x, k)) and math.isfinite(number(y, k)):
            found = max(found, abs(ordered(x, k) - ordered(y, k)))
    return found


def is_float(kind):
    return kind[0] == "f" or kind in ("bf16", "bf16x2", "tf32")


def compare(output, got, wanted):
    """The verdict on one output; equal bits, or the bound of its instance, decide."""
    a, b = region(got, output), region(wanted, output)
    if a == b:
        return Verdict(output.variant, output.n, 0, 0, -1, {}, "", "")
    code, bound, ulps = CODES[WIDTH[output.type]], bound_of(output.variant), Counter()
    wrong, near, first = 0, 0, None
    for i, (x, y) in enumerate(zip(array.array(code, a), array.array(code, b))):
        if x == y:
            continue
        if is_float(output.type):
            ulps[distance(x, y, output.type)] += 1
        if any(bound) and is_float(output.type) and within(x, y, output.type, bound):
            near += 1
            continue
        wrong += 1
        first = first or (i, f"{x:#x}", f"{y:#x}")
    i, x, y = first or (-1, "", "")
    return Verdict(output.variant, output.n - near - wrong, near, wrong, i, dict(ulps), x, y)
