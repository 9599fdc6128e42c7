"""Writing a microkernel: registers, loads of inputs, stores of outputs, and what the host must
know to launch it.

Every kernel has one entry, `golden`: the address of the outputs, then one address for each
input, then tensor maps over them.  Thread i of the grid has element i of every input and of every output; outputs lie one
after another.  Outputs start as bytes 0xEE.
"""
import hashlib
import json
import re
from typing import List, NamedTuple, Tuple

from .forms import WIDTH

VERSION = 83  # of PTX, at least: param::entry, and a driver of CUDA 12.3
BLOCK = 128
ROWS_OF_TILE = 256  # threads that have 8 bytes each of a tile
FILL = 0xEE
CLASS = {1: "p", 8: "h", 16: "h", 32: "r", 64: "d", 128: "q"}
DECLARE = {"p": "pred", "b": "b8", "h": "b16", "r": "b32", "d": "b64", "q": "b128"}


class Output(NamedTuple):
    variant: str   # the instance it is a result of, and which result
    type: str      # of an element
    offset: int    # in bytes
    n: int


class Map(NamedTuple):
    """A tensor map: cuTensorMapEncodeTiled's arguments, over an output or input."""
    on: str        # "out", "in0", …
    at: int        # bytes behind its start
    type: str
    dims: Tuple[int, ...]
    strides: Tuple[int, ...]  # bytes, of dimensions 1 and up
    box: Tuple[int, ...]
    steps: Tuple[int, ...]
    swizzle: int
    fill: int


class Kernel(NamedTuple):
    name: str
    forms: Tuple[str, ...]    # mnemonics of ops.def
    sm: int
    ptx: str
    grid: int
    block: int
    inputs: Tuple[str, ...]   # names for inputs.make, of n elements each
    outputs: List[Output]
    n: int
    maps: Tuple[Map, ...] = ()  # parameters behind the inputs

    @property
    def target(self):
        """As the text has it: sm_90; sm_90a, which runs on no later chip; sm_100f, on those of
        its family."""
        return re.search(r"^.target (\w+)$", self.ptx, re.M)[1]

    def runs_on(self, sm):
        if self.target.endswith("f"):
            return self.sm <= sm and self.sm // 10 == sm // 10
        return self.sm == sm if self.target.endswith("a") else self.sm <= sm

    @property
    def out_bytes(self):
        last = self.outputs[-1]
        return last.offset + last.n * WIDTH[last.type] // 8


class Body:
    """The text of one kernel under construction, for n elements."""

    def __init__(self, name, sm, version, n, block=BLOCK):
        self.name, self.sm, self.version = name, max(sm, 80), max(version, VERSION)
        if self.sm >= 100:
            self.version = max(self.version, 87 if self.sm >= 120 else 86)
        self.n, self.block = n, min(block, n)
        self.lines, self.globals, self.locals = [], [], []
        self.count = dict.fromkeys("pbhrdq", 0)
        self.inputs, self.outputs, self.loaded, self.end = [], [], {}, 0
        self.tid, self.i = self.new("r"), self.new("d")
        self.out, self.maps, self.suffix, self.directives = {}, [], "", []

    def new(self, kind):
        """A fresh register: of a class, or of what a type needs."""
        kind = kind if kind in self.count else CLASS[WIDTH[kind]]
        self.count[kind] += 1
        return f"%{kind}{self.count[kind] - 1}"

    def emit(self, text):
        self.lines.append(f"  {text}")

    def label(self):
        self.labels = getattr(self, "labels", 0) + 1
        return f"L{self.labels}"

    def at(self, base, size):
        """A register with base + i × size; base is a parameter."""
        start, address = self.new("d"), self.new("d")
        self.emit(f"ld.param.u64 {start}, [{base}];")
        self.emit(f"cvta.to.global.u64 {start}, {start};")
        self.emit(f"mad.lo.u64 {address}, {self.i}, {size}, {start};")
        return address

    def address(self, name):
        """Where this thread's element of an input is, in global memory."""
        if name not in self.inputs:
            self.inputs.append(name)
        return self.at(f"in{self.inputs.index(name)}", input_bytes(name))

    def load(self, name):
        """This thread's element of an input, loaded once; a name "pred.N" is a predicate."""
        if name not in self.loaded:
            self.loaded[name] = (self.predicate if name.startswith("pred.") else
                                 self.element)(name)
        return self.loaded[name]

    def element(self, name):
        bits = input_bytes(name) * 8
        x = self.new(CLASS[bits])
        self.emit(f"ld.global.b{bits} {x}, [{self.address(name)}];")
        return x

    def predicate(self, name):
        bits, p = self.load(f"u32.lanes.{name[5:]}"), self.new("p")
        low = self.new("r")
        self.emit(f"and.b32 {low}, {bits}, 1;")
        self.emit(f"setp.ne.b32 {p}, {low}, 0;")
        return p

    def store(self, register, kind, variant):
        """Makes a register an output; one of class p is 0 or 1."""
        if register.startswith("%p"):
            one, kind = self.new("r"), "u8"
            self.emit(f"selp.u32 {one}, 1, 0, {register};")
            register = one
        elif kind == "b128":
            for half, d in zip(("low", "high"), self.halves(register)):
                self.store(d, "b64", f"{variant} {half}")
            return
        elif kind in ("u8", "s8", "b8"):
            kind = "b16"
        size = WIDTH[kind] // 8
        self.emit(f"st.global.b{8 * size} [{self.out[size]}+{self.end}], {register};")
        self.outputs.append(Output(variant, kind, self.end, self.n))
        self.end += -(-self.n * size // 16) * 16

    def halves(self, register):
        """The two registers of 64 bits that one of 128 is."""
        low, high = self.new("d"), self.new("d")
        self.emit(f"mov.b128 {{{low}, {high}}}, {register};")
        return low, high

    def skip(self, kind, variant):
        """An output that others than its threads write."""
        self.outputs.append(Output(variant, kind, self.end, self.n))
        self.end += -(-self.n * WIDTH[kind] // 8 // 16) * 16

    def map(self, m):
        """The name of the parameter that is a tensor map."""
        if m not in self.maps:
            self.maps.append(m)
        return f"map{self.maps.index(m)}"

    def begin(self):
        """The part that every kernel has: thread index, address of the outputs."""
        a, b = self.new("r"), self.new("r")
        self.emit(f"mov.u32 {self.tid}, %tid.x;")
        self.emit(f"mov.u32 {a}, %ctaid.x;")
        self.emit(f"mad.lo.u32 {b}, {a}, {self.block}, {self.tid};")
        self.emit(f"cvt.u64.u32 {self.i}, {b};")
        for size in (1, 2, 4, 8):
            self.out[size] = self.at("out", size)

    def finish(self, forms):
        parameters = [f".param .u64 {p}" for p in
                      ["out"] + [f"in{k}" for k in range(len(self.inputs))]]
        parameters += [f".param .align 64 .b8 map{k}[128]" for k in range(len(self.maps))]
        head = [f".version {self.version // 10}.{self.version % 10}",
                f".target sm_{self.sm}{self.suffix}", ".address_size 64", *self.globals,
                ".visible .entry golden(" +
                ", ".join(parameters) + ")", *self.directives, "{"]
        head += [f"  .reg .{DECLARE[c]} %{c}<{k}>;" for c, k in self.count.items() if k]
        text = "\n".join([*head, *self.locals, *self.lines, "  ret;", "}", ""])
        return Kernel(self.name, tuple(forms), self.sm, text, self.n // self.block, self.block,
                      tuple(self.inputs), self.outputs, self.n, tuple(self.maps))


def input_bytes(name):
    from . import inputs
    return inputs.width(name) // 8


def digest(kernel):
    """What a recording is of: text, launch, inputs by name."""
    what = json.dumps([kernel.ptx, kernel.grid, kernel.block, kernel.inputs, kernel.n] +
                      ([kernel.maps] if kernel.maps else []))
    return hashlib.sha256(what.encode()).hexdigest()
