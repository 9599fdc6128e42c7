"""Products of one warpgroup, without a pause, beside the arithmetic of another one.

Warpgroup 0 multiplies A, 64 x 64, by B, 64 x N, again and again into the same sums, with one group
of PRODUCTS in flight while the next is issued; A from shared memory (SS) or from registers (RS).
Warpgroup 1 begins a group of GROUP instructions of one kind every `pace` clocks, or as soon as it
can where that is later; with pace 0 it never pauses, and with ALONE it ends at once.  It goes on
until warpgroup 0 has finished, and says how many groups it was."""
import functools

from .text import HASH, MASK, Text, barrier
from . import units

PRODUCTS = 32          # wgmma of a loop: eight times the four steps of 16 that A and B have
STEPS, DEPTH, ROWS = 4, 64, 64
GROUP = 256            # instructions of the other warpgroup between two looks at the clock
A_BYTES = ROWS * DEPTH * 2
ALONE = MASK           # a pace: the other warpgroup does nothing
SIDES = ("FFMA", "FMNMX", "MUFU", "F2FP")
WIDTHS = (64, 128, 256)


def sign_bits(word):
    """Of the two bf16 that word i of the operands holds: 0 for 1, 1 for -1."""
    h = word * HASH & MASK
    return h >> 15 & 1, h >> 31


def fill(t, base, size):
    """Words of +1 and -1, as bf16."""
    i, at, word, more, again = *t.reg("r", 3), t.reg("p"), t.label()
    t(f"mov.u32 {i}, {t.tid};")
    t.place(again)
    t(f"mul.lo.u32 {word}, {i}, 0x{HASH:x};",
      f"and.b32 {word}, {word}, 0x80008000;", f"or.b32 {word}, {word}, 0x{units.ONE_BF16:x};",
      f"mad.lo.u32 {at}, {i}, 4, {base};", f"st.shared.b32 [{at}], {word};",
      f"add.u32 {i}, {i}, {t.threads};", f"setp.lt.u32 {more}, {i}, {size // 4};",
      f"@{more} bra {again};", "fence.proxy.async.shared::cta;", "bar.sync 0;")


def columns(first_word, rows):
    """[the sum over the rows of element k] of a matrix of such rows of DEPTH elements, swizzled by
    128 bytes, whose first word is that one; it begins at a multiple of 1024 bytes."""
    sums = [0] * DEPTH
    for row in range(rows):
        for place in range(DEPTH // 2):
            k = 8 * (place // 4 ^ row % 8) + 2 * (place % 4)
            low, high = sign_bits(first_word + row * DEPTH // 2 + place)
            sums[k] += 1 - 2 * low
            sums[k + 1] += 1 - 2 * high
    return sums


@functools.lru_cache(None)
def product_sum(width, from_registers, n):
    """The sum of all that warpgroup 0 has after n loops, as a whole number, modulo 2^32."""
    b = columns(A_BYTES // 4, width)
    if from_registers:  # each thread's own four words, at each of the four steps
        total = 0
        a = fragment_columns()
        for step in range(STEPS):
            total += sum(x * y for x, y in zip(a, b[16 * step:16 * step + 16]))
    else:
        total = sum(x * y for x, y in zip(columns(0, ROWS), b))
    return n * (PRODUCTS // STEPS) * total & MASK


def fragment_columns():
    """[the sum over 64 rows of element k of 16] of A in registers: thread l of a warp has elements
    2 (l % 4) and the next in words 0 and 1, and those 8 further on in words 2 and 3."""
    sums = [0] * 16
    for thread in range(128):
        for j in range(4):
            low, high = sign_bits(4 * thread + j)
            k = 2 * (thread % 4) + 8 * (j // 2)
            sums[k] += 1 - 2 * low
            sums[k + 1] += 1 - 2 * high
    return sums


def descriptor(t, base, at):
    """Of a matrix with rows of 128 bytes, swizzled, eight rows in 1024 bytes."""
    low, d = t.reg("r"), t.reg("d")
    fields = 1 << 16 | (1024 >> 4) << 32 | 1 << 62
    t(f"add.u32 {low}, {base}, {at};", f"shr.u32 {low}, {low}, 4;", f"cvt.u64.u32 {d}, {low};",
      f"or.b64 {d}, {d}, 0x{fields:x};")
    return d


def further(t, d, step):
    """The descriptor of the next 16 elements of K: 32 bytes on."""
    if not step:
        return d
    r = t.reg("d")
    t(f"add.u64 {r}, {d}, {2 * step};")
    return r


def fragments(t):
    """A's words in registers."""
    words = []
    for j in range(4):
        w = t.reg("r")
        t(f"mad.lo.u32 {w}, {t.tid}, 4, {j};", f"mul.lo.u32 {w}, {w}, 0x{HASH:x};",
          f"and.b32 {w}, {w}, 0x80008000;", f"or.b32 {w}, {w}, 0x{units.ONE_BF16:x};")
        words.append(w)
    return words


def multiply(t, base, width, from_registers, finished):
    """Warpgroup 0."""
    sums = t.reg("r", width // 2)
    for s in sums:
        t(f"mov.b32 {s}, {t.zero};")
    right = descriptor(t, base, A_BYTES)
    left = None if from_registers else descriptor(t, base, 0)
    words = fragments(t) if from_registers else None
    t("bar.sync 1, 256;")
    t.begin()
    with t.loop():
        t("wgmma.fence.sync.aligned;")
        for i in range(PRODUCTS):
            a = "{" + ", ".join(words) + "}" if from_registers else further(t, left, i % STEPS)
            b = further(t, right, i % STEPS)
            flags = "1, 1, 1, 0" if from_registers else "1, 1, 1, 0, 0"
            t(f"wgmma.mma_async.sync.aligned.m64n{width}k16.f32.bf16.bf16 "
              f"{{{', '.join(sums)}}}, {a}, {b}, {flags};")
        t("wgmma.commit_group.sync.aligned;", "wgmma.wait_group.sync.aligned 1;")
    t("wgmma.wait_group.sync.aligned 0;")
    whole = t.reg("r")
    arrive(t, finished)
    times = t.clock()
    for s in sums:
        t(f"cvt.rni.s32.f32 {whole}, {s};", f"add.u32 {t.sum}, {t.sum}, {whole};")
    t.keep(*times)


def arrive(t, finished):
    token = t.reg("d")
    t(f"mbarrier.arrive.shared::cta.b64 {token}, [{finished}];")


def beside(t, side, finished):
    """Warpgroup 1: groups until `finished`."""
    op = units.OPS[side]
    shared = op.start(t)
    own = [op.first(t, k, shared) for k in range(units.CHAINS)]
    over, again, alone, free, early = t.label(), t.label(), *t.reg("p", 3)
    now, last, since, done = t.reg("r"), t.reg("r"), t.reg("r"), t.reg("p")
    t(f"setp.eq.u32 {alone}, {t.pace}, 0x{ALONE:x};", f"setp.eq.u32 {free}, {t.pace}, 0;",
      "bar.sync 1, 256;")
    t.begin()
    t(f"@{alone} bra {over};", f"mov.u32 {last}, %clock;")
    t.place(again)
    t('.pragma "nounroll";')
    for i in range(GROUP):
        op.step(t, own[i % units.CHAINS], shared, i % units.CHAINS, i // units.CHAINS)
    t(f"add.u64 {t.rounds}, {t.rounds}, 1;")
    with t.only(f"!{free}"):
        look = t.label()
        t.place(look)
        t(f"mov.u32 {now}, %clock;", f"sub.u32 {since}, {now}, {last};",
          f"setp.lt.u32 {early}, {since}, {t.pace};", f"@{early} bra {look};",
          f"mov.u32 {last}, {now};")
    t(f"mbarrier.test_wait.parity.shared::cta.b64 {done}, [{finished}], 0;",
      f"@!{done} bra {again};")
    t.place(over)
    # Alone nothing was done: the chains are as they began, and go into the sum all the same.
    t.end([r for registers in own for r in registers])


def hgmma(width, from_registers, side):
    t = Text(f"hgmma n{width} {'RS' if from_registers else 'SS'} {side}", "sm_90a", 256)
    size = A_BYTES + width * DEPTH * 2
    base = t.shared_memory("operands", size, 1024)
    finished = t.shared_memory("finished", 8, 8)
    fill(t, base, size)
    barrier(t, finished, [(0, 128)])
    second = t.reg("p")
    t(f"setp.ge.u32 {second}, {t.tid}, 128;")
    with t.only(f"!{second}"):
        multiply(t, base, width, from_registers, finished)
    with t.only(second):
        beside(t, side, finished)
    op = units.OPS[side]
    counts = {f"HGMMA.{'RS' if from_registers else 'SS'}": PRODUCTS, op.sass: GROUP}

    def expected(n, cta, geometry):
        worked = geometry.pace != ALONE
        chains = (units.total(op, 4, units.CHAINS, GROUP) if worked
                  else units.total(op, 4, units.CHAINS, 0))
        return product_sum(width, from_registers, n) + chains & MASK
    return t.kernel(counts, expected)
