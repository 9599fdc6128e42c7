"""Waiting: an mbarrier's arrival until another warp has seen it, barriers of a CTA, turns of two
warpgroups, and what lies between one CTA or kernel and the next."""
from .text import MASK, Text, barrier, bits, mixed, wait
from . import units

HANDS = 16   # arrivals each way of a loop
MEETINGS = 32
SPAN = 16    # FFMA of a loop of `span`, one after the other
ALONE_ON_SM = 128 << 10  # dynamic shared memory of which a multiprocessor has not twice as much


def mbarrier():
    """Two warps: each arrives for the other, which waits for it and arrives back."""
    t = Text("latency mbarrier", "sm_90", 64)
    at = t.shared_memory("hands", 16, 8)
    first = t.reg("p")
    leader, token = t.reg("p"), t.reg("d")
    barrier(t, at, [(0, 1), (8, 1)])
    t(f"setp.eq.u32 {first}, {t.warp}, 0;", f"setp.eq.u32 {leader}, {t.lane}, 0;")

    def hand(offset):
        t(f"@{leader} mbarrier.arrive.shared::cta.b64 {token}, [{at}+{offset}];")

    def look(offset, i):
        wait(t, f"{at}+{offset}", i % 2)
        t(f"add.u32 {t.sum}, {t.sum}, 1;")
    other, over = t.label(), t.label()
    t(f"@!{first} bra {other};")
    t.begin()
    with t.loop():
        for i in range(HANDS):
            hand(0)
            look(8, i)
    t(f"bra {over};")
    t.place(other)
    t.begin()
    with t.loop():
        for i in range(HANDS):
            look(0, i)
            hand(8)
    t.place(over)
    t.end()
    return t.kernel({"SYNCS.ARRIVE": HANDS}, lambda n, cta, g: 64 * n * HANDS & MASK)


def meeting(threads):
    t = Text(f"latency BAR {threads}", "sm_80", threads)
    t("bar.sync 0;")
    t.begin()
    with t.loop():
        for _ in range(MEETINGS):
            t("bar.sync 0;")
        t(f"add.u32 {t.sum}, {t.sum}, 1;")
    t.end()
    return t.kernel({"BAR": MEETINGS}, lambda n, cta, g: threads * n & MASK)


def turn():
    """Two warpgroups: one arrives at a barrier that the other waits at, by turns."""
    t = Text("latency turn", "sm_80", 256)
    second = t.reg("p")
    t(f"setp.ge.u32 {second}, {t.tid}, 128;", "bar.sync 0;")
    other, over = t.label(), t.label()
    t(f"@{second} bra {other};")
    for own, theirs, begins in ((1, 2, True), (2, 1, False)):
        t.begin()
        with t.loop():
            for _ in range(HANDS):
                lines = [f"bar.arrive {theirs}, 256;", f"bar.sync {own}, 256;"]
                t(*(lines if begins else reversed(lines)))
            t(f"add.u32 {t.sum}, {t.sum}, 1;")
        if begins:
            t(f"bra {over};")
            t.place(other)
    t.place(over)
    t.end()
    return t.kernel({"BAR": 2 * HANDS}, lambda n, cta, g: 256 * n & MASK)


def span(shared=0):
    """A CTA that takes about 64 n clocks and has its multiprocessor to itself, if it has that much
    shared memory."""
    t = Text("span" + (" alone" if shared else ""), "sm_80", 128, shared)
    op = units.OPS["FFMA"]
    common = op.start(t)
    own = op.first(t, 0, common)
    t.begin()
    with t.loop():
        for i in range(SPAN):
            op.step(t, own, common, 0, i)
    t.end(own)
    return t.kernel({"FFMA": SPAN}, lambda n, cta, g: 128 * mixed(bits(1.0)) & MASK)


def gaps(records, warps):
    """Clocks from the last warp's end of a CTA to the first one's start of the next CTA on the same
    multiprocessor."""
    spans = {}
    for at in range(0, len(records), warps):
        cta = records[at:at + warps]
        spans.setdefault(cta[0].sm, []).append((min(r.start for r in cta),
                                                max(r.end for r in cta)))
    return [later[0] - earlier[1] for on_sm in spans.values()
            for earlier, later in zip(sorted(on_sm), sorted(on_sm)[1:])]
