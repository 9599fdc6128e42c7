"""The frame of a microbenchmark: registers, a counted loop between two clocks, a record a warp.

Every kernel has the entry `micro` and these parameters, 8 bytes each: `out`, where the records go;
`n`, the trips of the measured loop; `pace`, a kernel's own number; `zero`, which is 0 and which no
assembler knows to be 0: what is computed with it is computed.  A kernel with a tensor map has it
behind them.  Inputs are such that the result is known for any n: `sum` of a record is made of a
warp's results, modulo 2^32, and `expected` of the kernel says what it must be.
"""
import contextlib
import struct
from typing import Callable, Dict, NamedTuple, Optional

VERSION = "8.0"
RECORD = struct.Struct("<QQQQIIQ")  # of a warp, see Record
MASK = 0xFFFFFFFF
HASH = 0x9E3779B1
CLASSES = {"h": "b16", "r": "b32", "d": "b64", "p": "pred"}


class Record(NamedTuple):
    """What one warp says: clocks of its multiprocessor and nanoseconds of the device when the loop
    began and when it was over, the sum of its results, its multiprocessor, and how often it went
    round where the kernel and not `n` decides that."""
    start: int
    end: int
    start_ns: int
    end_ns: int
    sum: int
    sm: int
    rounds: int


class Box(NamedTuple):
    """A tensor map's box: rows of 128 bytes, of a tensor of such rows."""
    rows: int


class Kernel(NamedTuple):
    name: str
    target: str                       # sm_80, sm_90a: the PTX's own
    ptx: str
    threads: int
    counts: Dict[str, int]            # machine instructions that a loop of the code must have
    expected: Callable[..., int]      # (n, cta, geometry): the sum over a CTA's warps
    shared: int = 0                   # bytes, dynamic
    cluster: int = 1
    box: Optional[Box] = None

    @property
    def sm(self):
        return int(self.target[3:].rstrip("a"))

    def runs_on(self, sm):
        return sm == self.sm if self.target.endswith("a") else sm >= self.sm


def mixed(x):
    return (x >> 15 ^ x) * HASH & MASK


def bits(x):
    """Of an fp32 number."""
    return struct.unpack("<I", struct.pack("<f", x))[0]


class Text:
    """The text of a kernel under construction."""

    def __init__(self, name, target, threads, shared=0, cluster=1, box=None):
        self.name, self.target, self.threads = name, target, threads
        self.shared, self.cluster, self.box = shared, cluster, box
        self.lines, self.globals, self.made = [], [], dict.fromkeys(CLASSES, 0)
        self.labels = 0
        self.tid, self.warp, self.lane, self.zero, self.n, self.pace = self.reg("r", 6)
        self.sum = self.reg("r")
        self.rounds, self.start, self.start_ns = self.reg("d", 3)
        self.prologue()

    def reg(self, kind, count=None):
        """One register of a class (a letter of CLASSES), or a list of them."""
        first = self.made[kind]
        self.made[kind] += 1 if count is None else count
        names = [f"%{kind}{k}" for k in range(first, self.made[kind])]
        return names[0] if count is None else names

    def __call__(self, *lines):
        self.lines += [f"  {line}" for line in lines]

    def label(self):
        self.labels += 1
        return f"L{self.labels}"

    def place(self, label):
        self.lines.append(f"{label}:")

    def shared_memory(self, name, size, align=16):
        """A static buffer, and a register with its address."""
        self.globals.append(f".shared .align {align} .b8 {name}[{size}];")
        address = self.reg("r")
        self(f"mov.u32 {address}, {name};")
        return address

    def dynamic_memory(self, align=1024):
        """The dynamic buffer's address, and the buffer is aligned."""
        self.globals.append(f".extern .shared .align {align} .b8 dynamic[];")
        address = self.reg("r")
        self(f"mov.u32 {address}, dynamic;")
        return address

    def number(self, value):
        """A register with these 32 bits, which the assembler does not know."""
        r = self.reg("r")
        self(f"or.b32 {r}, {self.zero}, 0x{value & MASK:x};")
        return r

    def prologue(self):
        wide = self.reg("d")
        for register, name in ((self.n, "n"), (self.pace, "pace"), (self.zero, "zero")):
            self(f"ld.param.u64 {wide}, [{name}];", f"cvt.u32.u64 {register}, {wide};")
        self(f"mov.u32 {self.tid}, %tid.x;", f"shr.u32 {self.warp}, {self.tid}, 5;",
             f"and.b32 {self.lane}, {self.tid}, 31;", f"mov.u32 {self.sum}, 0;",
             f"mov.u64 {self.rounds}, 0;")

    # ---- the measured part ----

    def begin(self):
        self(f"mov.u64 {self.start_ns}, %globaltimer;", f"mov.u64 {self.start}, %clock64;")

    @contextlib.contextmanager
    def loop(self, trips=None):
        """What is written inside runs `trips` times (n, if not given), at least once; the counter
        counts down to 0."""
        left, again, more = self.reg("r"), self.label(), self.reg("p")
        self(f"mov.u32 {left}, {trips or self.n};")
        self.place(again)
        self('.pragma "nounroll";')
        yield left
        self(f"sub.u32 {left}, {left}, 1;", f"setp.ne.u32 {more}, {left}, 0;",
             f"@{more} bra {again};")

    @contextlib.contextmanager
    def only(self, predicate):
        """Where the predicate holds; "!%p1" where it does not."""
        over = self.label()
        flipped = predicate[1:] if predicate.startswith("!") else f"!{predicate}"
        self(f"@{flipped} bra {over};")
        yield
        self.place(over)

    def clock(self):
        """The clocks behind the loop: the two that `keep` takes."""
        end, end_ns = self.reg("d", 2)
        self(f"mov.u64 {end}, %clock64;", f"mov.u64 {end_ns}, %globaltimer;")
        return end, end_ns

    def end(self, results=()):
        """The clocks behind the loop and the record; results: registers for the sum, mixed."""
        times = self.clock()
        self.add_mixed(results)
        self.keep(*times)

    def add_mixed(self, registers):
        """mixed(x) of each: what all threads have alike would else be lost, 2^k times the same."""
        low = self.reg("r")
        for r in registers:
            self(f"shr.u32 {low}, {r}, 15;", f"xor.b32 {low}, {low}, {r};",
                 f"mad.lo.u32 {self.sum}, {low}, 0x{HASH:x}, {self.sum};")

    def keep(self, end, end_ns):
        """The record."""
        where, first, index, sm = self.reg("d"), self.reg("p"), self.reg("r"), self.reg("r")
        self(f"redux.sync.add.u32 {self.sum}, {self.sum}, 0xffffffff;",
             f"mov.u32 {index}, %ctaid.x;",
             f"mad.lo.u32 {index}, {index}, {self.threads // 32}, {self.warp};",
             f"ld.param.u64 {where}, [out];", f"cvta.to.global.u64 {where}, {where};",
             f"mad.wide.u32 {where}, {index}, {RECORD.size}, {where};",
             f"mov.u32 {sm}, %smid;", f"setp.eq.u32 {first}, {self.lane}, 0;")
        with self.only(first):
            self(f"st.global.v2.u64 [{where}], {{{self.start}, {end}}};",
                 f"st.global.v2.u64 [{where}+16], {{{self.start_ns}, {end_ns}}};",
                 f"st.global.v2.u32 [{where}+32], {{{self.sum}, {sm}}};",
                 f"st.global.u64 [{where}+40], {self.rounds};")

    def kernel(self, counts, expected):
        parameters = [f".param .u64 {p}" for p in ("out", "n", "pace", "zero")]
        if self.box:
            parameters.append(".param .align 64 .b8 map[128]")
        directives = [f".maxntid {self.threads}, 1, 1"]
        if self.cluster > 1:
            directives += [".explicitcluster", f".reqnctapercluster {self.cluster}, 1, 1"]
        head = [f".version {VERSION}", f".target {self.target}", ".address_size 64",
                *self.globals, f".visible .entry micro({', '.join(parameters)})", *directives, "{"]
        head += [f"  .reg .{CLASSES[c]} %{c}<{k}>;" for c, k in self.made.items() if k]
        text = "\n".join([*head, *self.lines, "  ret;", "}", ""])
        return Kernel(self.name, self.target, text, self.threads, counts, expected, self.shared,
                      self.cluster, self.box)


def records(data):
    return [Record(*row) for row in RECORD.iter_unpack(data)]


def barrier(t, address, count):
    """Thread 0 makes mbarriers [(offset, arrivals)] at an address, and all threads and copies see
    them; returns the predicate of thread 0."""
    first = t.reg("p")
    t(f"setp.eq.u32 {first}, {t.tid}, 0;")
    with t.only(first):
        for at, arrivals in count:
            t(f"mbarrier.init.shared::cta.b64 [{address}+{at}], {arrivals};")
        t("fence.mbarrier_init.release.cluster;")
    t("bar.sync 0;")
    return first


def wait(t, at, parity):
    """Spins until the phase of this parity is over; `at`: what stands in brackets."""
    again, done = t.label(), t.reg("p")
    t.place(again)
    t(f"mbarrier.try_wait.parity.shared::cta.b64 {done}, [{at}], {parity};",
      f"@!{done} bra {again};")
