"""Plots as SVG text: lines over sizes, and bars.  No script, no font of our own, text that can
be read out; the same input gives the same bytes.

Colours are Okabe and Ito's, told apart by colour-blind readers; the first is attnc's.
"""
import html
import math

COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
INK, FAINT = "#222222", "#dddddd"


def text(x, y, words, anchor="start", size=12, colour=INK):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
            f'fill="{colour}">{html.escape(str(words))}</text>')


def rule(x1, y1, x2, y2, colour=FAINT):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'stroke="{colour}"/>')


def page(width, height, title, said, body):
    """said: what a reader who does not see the picture is told."""
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" role="img">',
        f"<title>{html.escape(title)}</title>", f"<desc>{html.escape(said)}</desc>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        text(16, 24, title, size=15), *body, "</svg>", ""])


def steps(top, n=5):
    """Round numbers from 0 past `top`."""
    size = 10 ** math.floor(math.log10(top / n))
    size = next(size * k for k in (1, 2, 5, 10) if top / (size * k) <= n)
    return [i * size for i in range(math.ceil(top / size - 1e-9) + 1)]


def powers(low, high, base):
    first, last = math.floor(math.log(low, base) + 1e-9), math.ceil(math.log(high, base) - 1e-9)
    return [base ** i for i in range(first, max(last, first + 1) + 1)]


class Axis:
    """Numbers to pixels: a log axis of `base`, or a linear one from 0 (base None)."""

    def __init__(self, values, base, start, end):
        self.base, self.start, self.end = base, start, end
        self.marks = powers(min(values), max(values), base) if base else steps(max(values))

    def at(self, value):
        low, high = self.marks[0], self.marks[-1]
        if self.base:
            low, high, value = (math.log(x, self.base) for x in (low, high, value))
        return self.start + (self.end - self.start) * (value - low) / (high - low)


def lines(title, said, series, x_name, y_name, y_base=None, label=str, width=720, height=400):
    """series: {name: [(x, y)]}, x on a log2 axis.  label: of the marks of y."""
    left, right, top, bottom = 84, width - 150, 48, height - 52
    xs = [x for points in series.values() for x, _ in points]
    x_axis = Axis(xs, 2, left, right)
    y_axis = Axis([y for points in series.values() for _, y in points], y_base, bottom, top)
    body = []
    for mark in x_axis.marks:
        body += [rule(x_axis.at(mark), top, x_axis.at(mark), bottom),
                 text(x_axis.at(mark), bottom + 18, mark, "middle")]
    for mark in y_axis.marks:
        body += [rule(left, y_axis.at(mark), right, y_axis.at(mark)),
                 text(left - 8, y_axis.at(mark) + 4, label(mark), "end")]
    body += [text((left + right) / 2, height - 12, x_name, "middle"),
             text(left, top - 8, y_name, size=11)]
    ends = []
    for i, (name, points) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        at = [(x_axis.at(x), y_axis.at(y)) for x, y in sorted(points)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" '
                    'stroke-width="2"/>')
        body += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in at]
        ends.append([at[-1][1], name, colour])
    for y, name, colour in apart(ends):
        body.append(text(right + 10, y + 4, name, colour=colour))
    return page(width, height, title, said, body)


def apart(ends, gap=15):
    """Labels in the order of their heights, none over another."""
    placed = []
    for y, name, colour in sorted(ends):
        y = max(y, placed[-1][0] + gap) if placed else y
        placed.append((y, name, colour))
    return placed


def bars(title, said, rows, label, width=720):
    """rows: [(name, value)]; one horizontal bar each, from 0.  label: of a value."""
    left, right, step, top = 190, width - 110, 30, 44
    most = max(value for _, value in rows)
    body = []
    for i, (name, value) in enumerate(rows):
        y, long = top + i * step, (right - left) * value / most
        body += [text(left - 8, y + 15, name, "end"),
                 f'<rect x="{left}" y="{y}" width="{max(long, 1):.1f}" height="20" '
                 f'fill="{COLOURS[0] if name.startswith("attnc") else COLOURS[1]}"/>',
                 text(left + long + 6, y + 15, label(value))]
    return page(width, top + len(rows) * step + 10, title, said, body)
