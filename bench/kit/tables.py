"""Markdown tables and the numbers in them: three digits that matter, with a unit that fits."""

UNITS = {"bytes": (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1)),
         "ms": (("s", 1e3), ("ms", 1), ("us", 1e-3), ("ns", 1e-6)),
         "us": (("s", 1e6), ("ms", 1e3), ("us", 1), ("ns", 1e-3))}


def digits(x, n=3):
    """Three digits, no exponent: 0.0123, 1.23, 12.3, 1230."""
    if x == 0:
        return "0"
    whole = len(str(int(abs(x)))) if abs(x) >= 1 else 0
    places = n - whole
    if not whole:
        while abs(x) * 10 ** (places - n + 1) < 1:
            places += 1
    return f"{x:.{max(places, 0)}f}" if places > 0 else str(int(round(x, places)))


def quantity(x, unit):
    """12.3 ms, 4.56 GB: in the largest unit of its kind that leaves a whole number."""
    for name, size in UNITS.get(unit, ((unit, 1),)):
        if abs(x) >= size:
            return f"{digits(x / size)} {name}"
    return f"{digits(x)} {unit}"


def measured(m):
    """A measurement's median, and its spread as a share of it."""
    share = 100 * m["spread"] / m["median"] if m["median"] else 0
    return f"{quantity(m['median'], m['unit'])} ± {digits(share, 2)} %"


def ratio(x):
    return f"{digits(x)} ×"


def table(head, rows, align=None):
    """align: a letter a column, l or r; the first is left, the others right, if not given."""
    align = align or "l" + "r" * (len(head) - 1)
    marks = ["---:" if a == "r" else "---" for a in align]
    return "\n".join("| " + " | ".join(str(c) for c in row) + " |" for row in (head, marks, *rows))
