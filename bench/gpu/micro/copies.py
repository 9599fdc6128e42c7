"""Tensor copies of tiles of 128 rows of 128 bytes from L2 into a ring in shared memory.

`stream`: one thread keeps STAGES tiles in flight; every CTA walks over a region that fits in L2,
from a place of its own.  With a cluster of two each CTA fetches half of every tile for both, and a
stage is filled again when both have seen it full: arrivals of CTA scope say so, since no thread reads
what was copied, and those of cluster scope are fences in the machine code.  `small`: one box of 1 KiB at a time."""
from .text import HASH, MASK, Text, Box, barrier, wait

ROWS, ROW_BYTES, STAGES = 128, 128, 8
TILE = ROWS * ROW_BYTES
SMALL = 8                  # rows of the small box
STEP = 37                  # tiles between the starts of neighbouring CTAs
COPY = "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"


def word(row):
    """What every word of a row of the region is."""
    return (row + 1) * HASH & MASK


def tile_sum(first_row, rows):
    return ROW_BYTES // 4 * sum(word(r) for r in range(first_row, first_row + rows)) & MASK


class Stream:
    """The issuing thread's registers: where the CTA is in the region, in tiles, and the map."""

    def __init__(self, t, ring, full, cluster):
        self.t, self.ring, self.full, self.cluster = t, ring, full, cluster
        self.tile, self.tiles = t.reg("r"), t.pace  # pace: tiles of the region
        self.map, self.row, self.leader = t.reg("d"), t.reg("r"), t.reg("r")
        t(f"mov.u64 {self.map}, map;", f"cvta.param.u64 {self.map}, {self.map};")
        cta = t.reg("r")
        t(f"mov.u32 {cta}, %ctaid.x;")
        if cluster > 1:
            t(f"mov.u32 {self.leader}, %cluster_ctarank;", f"shr.u32 {cta}, {cta}, 1;")
        t(f"mul.lo.u32 {self.tile}, {cta}, {STEP};",
          f"rem.u32 {self.tile}, {self.tile}, {self.tiles};")

    def fetch(self, stage):
        """Arms the stage's barrier, and begins the copy of the next tile; of half of it, for both."""
        t, token, wrapped = self.t, self.t.reg("d"), self.t.reg("p")
        at, mask = f"{self.ring}+{stage * TILE}", ""
        t(f"mbarrier.arrive.expect_tx.shared::cta.b64 {token}, [{self.full}+{8 * stage}], {TILE};",
          f"mul.lo.u32 {self.row}, {self.tile}, {ROWS};")
        if self.cluster > 1:
            here, both = t.reg("r"), t.reg("r")
            half = ROWS // 2
            t(f"mad.lo.u32 {self.row}, {self.leader}, {half}, {self.row};",
              f"mad.lo.u32 {here}, {self.leader}, {half * ROW_BYTES}, {self.ring};",
              f"mov.u32 {both}, 3;")
            pair = t.reg("h")
            t(f"cvt.u16.u32 {pair}, {both};")
            at, mask = f"{here}+{stage * TILE}", f", {pair}"
        cast = ".multicast::cluster" if self.cluster > 1 else ""
        t(f"{COPY}{cast} [{at}], [{self.map}, {{0, {self.row}}}], "
          f"[{self.full}+{8 * stage}]{mask};",
          f"add.u32 {self.tile}, {self.tile}, 1;",
          f"setp.ge.u32 {wrapped}, {self.tile}, {self.tiles};",
          f"@{wrapped} mov.u32 {self.tile}, 0;")


def stream(cluster):
    t = Text(f"stream of {cluster}", "sm_90a", 128, STAGES * TILE + 1024, cluster,
             Box(ROWS // cluster))
    raw, bars = t.dynamic_memory(), t.shared_memory("bars", 16 * STAGES, 8)
    ring, empty = t.reg("r"), t.reg("r")
    t(f"add.u32 {ring}, {raw}, 1023;", f"and.b32 {ring}, {ring}, 0xfffffc00;",
      f"add.u32 {empty}, {bars}, {8 * STAGES};")
    counts = [(8 * s, 1) for s in range(STAGES)] + [(8 * (STAGES + s), 2) for s in range(STAGES)]
    first = barrier(t, bars, counts)
    if cluster > 1:
        meet(t)
    flow = Stream(t, ring, bars, cluster)
    parity = t.reg("r")
    t(f"mov.u32 {parity}, 0;")
    t.begin()
    with t.only(first):
        for s in range(STAGES):
            flow.fetch(s)
        with t.loop() as left:
            turn(t, flow, parity, empty, left)
    t("bar.sync 0;")
    if cluster > 1:
        meet(t)
    times = t.clock()
    add_up(t, ring, bars)
    t.keep(*times)
    return t.kernel({"UTMALDG": STAGES}, lambda n, cta, g: ring_sum(n, cta // cluster, g.pace))


def meet(t):
    t("barrier.cluster.arrive.aligned;", "barrier.cluster.wait.aligned;")


def turn(t, flow, parity, empty, left):
    """Each stage once: waited for, and filled again unless it is the last time."""
    last = t.reg("p")
    t(f"setp.eq.u32 {last}, {left}, 1;")
    for s in range(STAGES):
        wait(t, f"{flow.full}+{8 * s}", parity)
        over = t.label()
        t(f"@{last} bra {over};")
        if flow.cluster > 1:
            for rank in range(2):
                there, r = t.reg("r"), t.reg("r")
                t(f"mov.u32 {r}, {rank};", f"mapa.shared::cluster.u32 {there}, {empty}, {r};",
                  f"mbarrier.arrive.shared::cluster.b64 _, [{there}+{8 * s}];")
            wait(t, f"{empty}+{8 * s}", parity)
        flow.fetch(s)
        t.place(over)
    t(f"xor.b32 {parity}, {parity}, 1;")


def add_up(t, ring, full):
    """All threads: the words that the last turn left in the ring.  Each waits for the last phase
    of every stage itself, so that what the copies wrote is there for it."""
    seen = t.reg("r")
    t(f"sub.u32 {seen}, {t.n}, 1;", f"and.b32 {seen}, {seen}, 1;")
    for s in range(STAGES):
        wait(t, f"{full}+{8 * s}", seen)
    at, x = t.reg("r"), t.reg("r")
    t(f"mad.lo.u32 {at}, {t.tid}, 4, {ring};")
    trips = t.reg("r")
    t(f"mov.u32 {trips}, {STAGES * TILE // 4 // t.threads};")
    with t.loop(trips):
        t(f"ld.shared.b32 {x}, [{at}];", f"add.u32 {t.sum}, {t.sum}, {x};",
          f"add.u32 {at}, {at}, {4 * t.threads};")


def ring_sum(n, group, tiles):
    """The last STAGES tiles of n turns that began at the group's place."""
    begin = group * STEP % tiles + (n - 1) * STAGES
    return sum(tile_sum((begin + s) % tiles * ROWS, ROWS) for s in range(STAGES)) & MASK


def small():
    """A box of 1 KiB, asked for and waited for, one after the other: always the same, in L2."""
    t = Text("latency TMA", "sm_90", 32, 0, 1, Box(SMALL))
    tile, bar = t.shared_memory("tile", SMALL * ROW_BYTES, 128), t.shared_memory("bar", 8, 8)
    first = barrier(t, bar, [(0, 1)])
    address, token, x, at = t.reg("d"), t.reg("d"), t.reg("r"), t.reg("r")
    t(f"mov.u64 {address}, map;", f"cvta.param.u64 {address}, {address};")
    t.begin()
    with t.loop():
        for i in range(2):
            with t.only(first):
                t(f"mbarrier.arrive.expect_tx.shared::cta.b64 {token}, [{bar}], "
                  f"{SMALL * ROW_BYTES};",
                  f"{COPY} [{tile}], [{address}, {{0, 0}}], [{bar}];")
            wait(t, bar, i)
    times = t.clock()
    t(f"mad.lo.u32 {at}, {t.lane}, 4, {tile};")
    for row in range(SMALL):
        t(f"ld.shared.b32 {x}, [{at}+{row * ROW_BYTES}];", f"add.u32 {t.sum}, {t.sum}, {x};")
    t.keep(*times)
    return t.kernel({"UTMALDG": 2}, lambda n, cta, g: tile_sum(0, SMALL))
