"""What is measured, row by row: the kernel, how it is launched, how a number is made of the records,
and the number that is expected, with its source.  An expected number is never a measured one."""
import statistics
from typing import Callable, NamedTuple, Optional

from . import copies, products, units, waits

ALL = 1                       # waves: a CTA for each multiprocessor
SHORT, LONG = 2e6, 1e7        # clocks of a sample
HUGE = 1.2e8                  # of a launch of `sustained`
ROW_SECONDS = 20              # for a row, which takes some milliseconds; then its process ends
CHAIN = 8                     # launches of `sustained`, and CTAs a multiprocessor of a `relaunch`
REPEATED = 64                 # kernels one behind the other
REGION = 1024                 # tiles: 16 MiB, which any L2 of these chips holds

GUIDE = "CUDA guide"   # throughput of arithmetic instructions
SHARED = "128 bytes a clock"  # of a multiprocessor's shared memory
GUESS = "a guess"      # nobody's measurement
PEAK = "data sheet"    # 989 TFLOP/s at 1.83 GHz on 132 multiprocessors: 4096 FLOP a clock and one
FIT = "FA3 model"      # a model of FlashAttention-3's inner loops, fitted to published speeds


class Row(NamedTuple):
    subject: str
    case: dict
    metric: str                    # interval, latency, rate, clock
    unit: str
    kernel: Callable               # () -> Kernel
    value: Callable                # (launches of records, Setting) -> number
    trip: float                    # about how many clocks a trip of the loop takes
    waves: int = 0                 # CTAs a multiprocessor; 0: one CTA
    clocks: float = SHORT          # of a sample
    pace: int = 0
    launches: int = 1
    ahead: float = 0               # clocks of the first launch, which keeps the device from
                                   # beginning the others until all are there
    expected: Optional[Callable] = None   # (context) -> number
    source: str = ""
    context: Callable = lambda launches, setting: {}

    @property
    def label(self):
        return " ".join([self.metric, self.subject, *map(str, self.case.values())])


class Setting(NamedTuple):
    """How a row was run."""
    kernel: object
    n: int


def by_cta(records, warps):
    return [records[at:at + warps] for at in range(0, len(records), warps)]


def span(records):
    """Clocks from the first warp's start to the last one's end."""
    return max(r.end for r in records) - min(r.start for r in records)


def spans(launches, s):
    return [span(cta) for records in launches
            for cta in by_cta(records, s.kernel.threads // 32)]


def per(count):
    """Median clocks of a CTA, by so many in a trip."""
    def value(launches, s):
        return statistics.median(spans(launches, s)) / (s.n * count)
    return value


def fixed(number):
    return lambda context: number


# ---- instructions alone ----

INTERVALS = {"FFMA": (1, GUIDE), "FMNMX": (2, GUIDE), "MUFU": (8, GUIDE),
             "F2FP": (2, GUESS), "SHFL": (4, GUIDE), "HMMA": (6.4, FIT)}
LATENCIES = {"FFMA": 4, "FMNMX": None, "MUFU": 22, "F2FP": None, "SHFL": 24, "HMMA": None}


def instructions():
    each = units.WARPS // units.PARTITIONS
    for name, (expected, source) in INTERVALS.items():
        body = units.OPS[name].body
        yield Row(name, {}, "interval", "clocks", lambda name=name: units.interval(name),
                  per(body * each), expected * body * each, expected=fixed(expected),
                  source=source)
    yield Row("LDSM.x4", {}, "interval", "clocks", units.ldsm_interval, per(units.LOADS * each),
              16 * units.LOADS * each, expected=fixed(16), source=SHARED)
    for name, expected in LATENCIES.items():
        body = units.OPS[name].body
        yield Row(name, {}, "latency", "clocks", lambda name=name: units.latency(name), per(body),
                  (expected or 20) * body, expected=expected and fixed(expected), source=GUESS)
    yield Row("LDS", {}, "latency", "clocks", units.lds_latency, per(units.LOADS),
              30 * units.LOADS, expected=fixed(30), source=GUESS)
    yield Row("LDSM", {}, "latency", "clocks", units.ldsm_latency, per(units.LOADS),
              33 * units.LOADS, expected=fixed(33), source=GUESS)


# ---- waiting ----

def barriers():
    yield Row("mbarrier", {"from": "arrive", "to": "wait seen"}, "latency", "clocks",
              waits.mbarrier, per(2 * waits.HANDS), 2 * waits.HANDS * 60)
    for threads in (128, 256):
        yield Row("BAR", {"threads": threads}, "latency", "clocks",
                  lambda threads=threads: waits.meeting(threads), per(waits.MEETINGS),
                  waits.MEETINGS * 24, expected=fixed(24), source=GUESS)
    yield Row("BAR", {"turn of": "warpgroups"}, "latency", "clocks", waits.turn,
              per(2 * waits.HANDS), 2 * waits.HANDS * 30)
    yield Row("TMA", {"bytes": copies.SMALL * copies.ROW_BYTES}, "latency", "clocks", copies.small,
              per(2), 1500, pace=1, expected=fixed(750), source=GUESS)
    yield Row("relaunch", {"of": "a CTA"}, "latency", "clocks",
              lambda: waits.span(waits.ALONE_ON_SM), between_ctas, 64, waves=CHAIN, clocks=2e4,
              expected=fixed(700), source=GUESS)
    yield Row("relaunch", {"of": "a kernel"}, "latency", "ns", waits.span, between_kernels, 64,
              clocks=64, launches=REPEATED, ahead=4e6)


def between_ctas(launches, s):
    """NaN where no multiprocessor had two."""
    found = [g for records in launches for g in waits.gaps(records, s.kernel.threads // 32)]
    return statistics.median(found) if found else float("nan")


def between_kernels(launches, s):
    """Nanoseconds from start to start of kernels of some hundred clocks, behind the first one."""
    starts = [min(r.start_ns for r in records) for records in launches[1:]]
    return (starts[-1] - starts[0]) / (len(starts) - 1)


# ---- copies ----

def streams():
    for cluster, expected in ((1, 23), (2, 46)):
        yield Row("TMA", {"cluster": cluster}, "rate", "bytes a clock",
                  lambda cluster=cluster: copies.stream(cluster), received, 5700, waves=ALL,
                  pace=REGION, expected=fixed(expected), source=FIT,
                  context=lambda launches, s, cluster=cluster:
                  {"from_l2": received(launches, s) / cluster})


def received(launches, s):
    """Bytes that arrive in a multiprocessor's shared memory each clock: of the issuing warp, of
    the median CTA."""
    issued = [cta[0] for records in launches for cta in by_cta(records, s.kernel.threads // 32)]
    clocks = statistics.median(r.end - r.start for r in issued)
    return s.n * copies.STAGES * copies.TILE / clocks


# ---- products ----

# Instructions a clock and sub-partition that are asked for; 0 at the end: as many as it can.
PACES = {"FFMA": (8, 4, 2, 0), "FMNMX": (8, 4, 0), "F2FP": (8, 4, 0), "MUFU": (32, 16, 0)}
TAX = {"FFMA": 0.4, "FMNMX": 0.4, "F2FP": 0.4, "MUFU": 4.5}  # clocks of the tensor cores, by FIT


def hgmma():
    for width in products.WIDTHS:
        for rs in (False, True):
            for side, spaces in PACES.items():
                for space in ((None,) if side == "FFMA" else ()) + spaces:
                    yield product(width, rs, side, space)


def asked(space):
    return "none" if space is None else f"1/{space}" if space else "all"


def product(width, rs, side, space):
    case = {"n": width, "a": "RS" if rs else "SS", "beside": side if space is not None else "",
            "asked": asked(space)}
    return Row("HGMMA", case, "interval", "clocks", lambda: products.hgmma(width, rs, side), busy,
               products.PRODUCTS * width / 2, waves=ALL, clocks=LONG, pace=pace_of(space),
               expected=lambda context: taxed(width, side, context), context=beside,
               source=PEAK if space is None else FIT)


def pace_of(space):
    return products.ALONE if space is None else products.GROUP * space


def busy(launches, s):
    """Clocks that a wgmma takes, of the warpgroup that multiplies."""
    found = [span(cta[:4]) for records in launches
             for cta in by_cta(records, s.kernel.threads // 32)]
    return statistics.median(found) / (s.n * products.PRODUCTS)


def beside(launches, s):
    """What the other warpgroup really issued, a clock and sub-partition, while it was at it; the
    SM clock."""
    others = [r for records in launches for cta in by_cta(records, s.kernel.threads // 32)
              for r in cta[4:]]
    rate = statistics.median(r.rounds * products.GROUP / max(1, r.end - r.start) for r in others)
    return {"issued_a_clock": rate, "sm_mhz": megahertz(launches, s)}


def taxed(width, side, context):
    share = TAX[side] * context["issued_a_clock"]
    return width / 2 / (1 - share) if share < 0.9 else float("nan")


def megahertz(launches, s):
    """The SM clock of the last launch, by both of its clocks."""
    found = [1e3 * (r.end - r.start) / (r.end_ns - r.start_ns)
             for r in launches[-1] if r.end_ns > r.start_ns and r.end > r.start]
    return statistics.median(found) if found else float("nan")


def sustained():
    """Does the clock hold, all multiprocessors busy for half a second?"""
    for side, space in (("FFMA", None), ("FFMA", 0), ("MUFU", 0)):
        yield Row("HGMMA", {"n": 256, "a": "SS", "beside": side if space is not None else "",
                            "asked": asked(space), "for": "0.5 s"}, "clock", "MHz",
                  lambda side=side: products.hgmma(256, False, side), megahertz,
                  products.PRODUCTS * 128, waves=ALL, clocks=HUGE, pace=pace_of(space),
                  launches=CHAIN, context=beside)


def rows():
    return [*instructions(), *barriers(), *streams(), *hgmma(), *sustained()]
