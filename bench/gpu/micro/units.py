"""How often an instruction can begin on a sub-partition, and how long until its result is there.

`interval`: eight warps, two on each sub-partition, with independent results in turn.  `latency`: a
lone warp in which each instruction takes the one before's result.  The loop's own three
instructions are in both; they are at most 3 of 259."""
import functools
from typing import Callable, NamedTuple

from .text import MASK, Text, bits, mixed

WARPS, PARTITIONS = 8, 4
CHAINS = 8        # independent results of an interval
ONE_BF16 = 0x3F803F80


class Op(NamedTuple):
    """`start(t)` makes what all steps share.  `first(t, k, shared)`: the registers of chain k;
    `step(t, own, shared, k, turn)` writes one instruction (FMNMX: by turns the one and the other).
    `final(lane, k, count)`: the 32-bit results of chain k after so many steps.  keep: which of a
    chain's registers are results."""
    sass: str
    target: str
    body: int      # instructions in the loop
    start: Callable
    first: Callable
    step: Callable
    final: Callable


def plain(t, k, shared):
    return [t.number(bits(1.0))]


def ffma_start(t):
    return t.number(bits(-1.0)), t.number(0)


def ffma(t, own, shared, k, turn):
    t(f"fma.rn.ftz.f32 {own[0]}, {own[0]}, {shared[0]}, {shared[1]};")


def fmnmx_start(t):
    return t.number(bits(2.0)), t.number(bits(1.0))


def fmnmx(t, own, shared, k, turn):
    t(f"{('max', 'min')[turn % 2]}.ftz.f32 {own[0]}, {own[0]}, {shared[turn % 2]};")


def ex2(t, own, shared, k, turn):
    t(f"ex2.approx.ftz.f32 {own[0]}, {own[0]};")


def f2fp(t, own, shared, k, turn):
    t(f"cvt.rn.bf16x2.f32 {own[0]}, {own[0]}, {own[0]};")


def shfl_first(t, k, shared):
    r = t.number(977 * k)
    t(f"add.u32 {r}, {r}, {t.lane};")
    return [r]


def shfl(t, own, shared, k, turn):
    t(f"shfl.sync.bfly.b32 {own[0]}, {own[0]}, 1, 31, 0xffffffff;")


def hmma_start(t):
    return [t.number(ONE_BF16) for _ in range(6)]


def hmma_first(t, k, shared):
    return [t.number(0) for _ in range(4)]


def hmma(t, own, shared, k, turn):
    d = "{" + ", ".join(own) + "}"
    t(f"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {d}, {{{', '.join(shared[:4])}}}, "
      f"{{{', '.join(shared[4:])}}}, {d};")


def nothing(t):
    return ()


OPS = {
    "FFMA": Op("FFMA", "sm_80", 256, ffma_start, plain, ffma, lambda l, k, c: [bits(1.0)]),
    "FMNMX": Op("FMNMX", "sm_80", 256, fmnmx_start, plain, fmnmx, lambda l, k, c: [bits(1.0)]),
    "MUFU": Op("MUFU.EX2", "sm_80", 64, nothing, lambda t, k, s: [t.number(0)], ex2,
               lambda l, k, c: [bits(float("inf")) if c else 0]),
    "F2FP": Op("F2FP", "sm_80", 256, nothing, lambda t, k, s: [t.number(ONE_BF16)], f2fp,
               lambda l, k, c: [ONE_BF16]),
    "SHFL": Op("SHFL", "sm_80", 64, nothing, shfl_first, shfl, lambda l, k, c: [977 * k + l]),
    "HMMA": Op("HMMA", "sm_80", 64, hmma_start, hmma_first, hmma,
               lambda l, k, c: [bits(16.0 * c)] * 4),
}


@functools.lru_cache(None)
def total(op, warps, chains, count):
    """The sum over warps, lanes and chains."""
    return warps * sum(mixed(x) for lane in range(32) for k in range(chains)
                       for x in op.final(lane, k, count)) & MASK


def repeated(name, kind, warps, chains):
    op = OPS[name]
    t = Text(f"{kind} {name}", op.target, 32 * warps)
    shared = op.start(t)
    own = [op.first(t, k, shared) for k in range(chains)]
    t("bar.sync 0;")
    t.begin()
    with t.loop():
        for i in range(op.body):
            op.step(t, own[i % chains], shared, i % chains, i // chains)
    t.end([r for registers in own for r in registers])
    return t.kernel({op.sass: op.body},
                    lambda n, cta, g: total(op, warps, chains, n * op.body // chains))


def interval(name):
    return repeated(name, "interval", WARPS, CHAINS)


def latency(name):
    return repeated(name, "latency", 1, 1)


# ---- shared memory ----

LOADS, TILE = 64, 64 * 512  # ldmatrix.x4 of a loop, each of 512 bytes of its own


def filled(t, size, value):
    """Shared memory of so many bytes in which the word at 4 i is value(i), as text over registers."""
    base = t.shared_memory("tile", size, 128)
    at, word, i, more = t.reg("r"), t.reg("r"), t.reg("r"), t.reg("p")
    again = t.label()
    t(f"mov.u32 {i}, {t.tid};")
    t.place(again)
    t(f"mad.lo.u32 {at}, {i}, 4, {base};", value(word, i, at), f"st.shared.b32 [{at}], {word};",
      f"add.u32 {i}, {i}, {t.threads};", f"setp.lt.u32 {more}, {i}, {size // 4};",
      f"@{more} bra {again};", "bar.sync 0;")
    return base


def ldsm_interval():
    """Each lane has the address of a row of 16 bytes, so that the 8 rows of a matrix are 128 in
    a row; every other trip the neighbours change places."""
    t = Text("interval LDSM", "sm_80", 32 * WARPS)
    base = filled(t, TILE, lambda word, i, at: f"add.u32 {word}, {i}, 1;")
    row = t.reg("r")
    t(f"mad.lo.u32 {row}, {t.lane}, 16, {base};")
    sums = [t.number(0) for _ in range(4)]
    t.begin()
    with t.loop():
        for i in range(LOADS):
            got = t.reg("r", 4)
            t(f"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{{', '.join(got)}}}, [{row}+{512 * i}];")
            for s, pair in zip(sums[2 * (i % 2):], (got[:2], got[2:])):
                t(f"add.u32 {s}, {s}, {pair[0]};", f"add.u32 {s}, {s}, {pair[1]};")
        t(f"xor.b32 {row}, {row}, 16;")
    times = t.clock()
    for s in sums:
        t(f"add.u32 {t.sum}, {t.sum}, {s};")
    t.keep(*times)
    words = sum(range(1, TILE // 4 + 1))
    return t.kernel({"LDSM": LOADS}, lambda n, cta, g: WARPS * n * words & MASK)


def chased(name, sass, load):
    """Each load's address is what the last one loaded: the words hold their own address."""
    t = Text(f"latency {name}", "sm_80", 32)
    base = filled(t, 1024, lambda word, i, at: f"and.b32 {word}, {at}, 0xfffffff0;")
    at, count = t.reg("r"), LOADS
    t(f"mad.lo.u32 {at}, {t.lane}, 16, {base};")
    t.begin()
    with t.loop():
        for _ in range(count):
            load(t, at)
    diff = t.reg("r")
    t(f"sub.u32 {diff}, {at}, {base};")
    t.end([diff])
    return t, {sass: count}


def lds_latency():
    t, counts = chased("LDS", "LDS", lambda t, at: t(f"ld.shared.b32 {at}, [{at}];"))
    return t.kernel(counts, lambda n, cta, g: sum(mixed(16 * lane) for lane in range(32)) & MASK)


def ldsm_latency():
    """Lane l gets word l % 4 of row l / 4, which is the address of that row: after the first load
    the eight rows of the matrix are read by the lanes in another order, of the same few."""
    def load(t, at):
        t(f"ldmatrix.sync.aligned.m8n8.x1.shared.b16 {{{at}}}, [{at}];")
    t, counts = chased("LDSM", "LDSM", load)
    return t.kernel(counts, ldsm_sum)


def ldsm_sum(n, cta, g):
    """The addresses, step by step: they are the same ones after three steps, for any longer way."""
    at = [16 * lane for lane in range(32)]
    for _ in range(min(n * LOADS, 8)):
        at = [at[lane // 4] for lane in range(32)]
    return sum(map(mixed, at)) & MASK
