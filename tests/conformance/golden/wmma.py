"""Kernels of wmma: a whole product each, from memory to memory, since nothing is said of where
elements lie in between."""
import re

from .matrices import ELEMENTS, element_types, result_type
from .ptx import Body

SPACES = ("global", "shared", "shared::cta")
BITS = {"f64": 64, "f32": 32, "s32": 32, "tf32": 32, "f16": 16, "bf16": 16, "u8": 8, "s8": 8}
SHAPES = {"f64": "m8n8k4", "tf32": "m16n16k8"}
WARP = 2048  # bytes of shared memory for a matrix of a warp


def shape_of(instance):
    shape = next(m for m in instance.mods if re.fullmatch(r"m\d+n\d+k\d+", m))
    return shape, dict(zip("mnk", map(int, re.findall(r"\d+", shape))))


def types_of(instance, shape):
    """d, a, b, c: what the instance names, and something that goes with it."""
    if "mma" in instance.mods:
        return element_types(instance)
    kind = next(m for m in instance.mods if m in ELEMENTS)
    if kind in ("f16", "f32") and shape != "m16n16k8":
        accumulator = "f32" if {"a", "b"} & set(instance.mods) else kind
        return [accumulator, "f16", "f16", accumulator]
    if kind == "f32":
        kind = "tf32"
    first = {"s32": "s8"}.get(kind, kind)
    last = {"f64": "f64", "bf16": "f32", "tf32": "f32"}.get(first, "s32")
    return [last, first, first, last]


class Product:
    """One chain of load, mma and store; the instance is one link of it."""

    def __init__(self, body, instance):
        self.body, self.instance = body, instance
        self.shape, self.size = shape_of(instance)
        self.kinds = dict(zip("dabc", types_of(instance, self.shape)))
        self.layouts = {"a": "row", "b": "col", "c": "row", "d": "row"}
        named = [m for m in instance.mods if m in ("row", "col")]
        self.own = next(m for m in instance.mods if m in ("load", "store", "mma"))
        if self.own == "mma":
            self.layouts.update(zip("ab", named))
        else:
            self.role = next(m for m in instance.mods if len(m) == 1)
            self.layouts[self.role] = named[0]

    def rows_columns(self, role):
        m, n, k = self.size["m"], self.size["n"], self.size["k"]
        return {"a": (m, k), "b": (k, n)}.get(role, (m, n))

    def bytes(self, role):
        rows, columns = self.rows_columns(role)
        return rows * columns * BITS[self.kinds[role]] // 8

    def registers(self, role):
        kind = self.kinds[role]
        n = 8 if kind == "f16" and role in "ab" else \
            self.bytes(role) // 32 // (8 if kind == "f64" else 4)
        return [self.body.new("d" if kind == "f64" else "r") for _ in range(n)]

    def space(self, role):
        """Of the operand that the instance is about; None: generic."""
        if self.own == "mma" or role != self.role:
            return "shared"
        return next((m for m in self.instance.mods if m in SPACES), None)

    def name(self, role):
        if self.own != "mma" and role == self.role:
            return self.instance.name
        verb = "store" if role == "d" else "load"
        return f"wmma.{verb}.{role}.sync.aligned.{self.layouts[role]}.{self.shape}.shared." \
               f"{self.kinds[role]}"

    def product_name(self):
        if self.own == "mma":
            return self.instance.name
        kinds = self.kinds
        types = [kinds[r] for r in ("dc" if kinds["a"] == "f16" else "dabc")]
        return f"wmma.mma.sync.aligned.{self.layouts['a']}.{self.layouts['b']}.{self.shape}." \
            + ".".join(types)

    def words(self, role):
        """Of 32 bits (f64: 64), a lane's."""
        wide = self.kinds[role] == "f64"
        return self.bytes(role) // 32 // (8 if wide else 4), 64 if wide else 32

    def fill(self, role, at, space):
        count, bits = self.words(role)
        first = {"a": 0, "b": 8, "c": 16}[role]
        for j in range(max(count, 1)):
            x = self.body.load(f"{self.kinds[role]}.frag.{first + j}")
            self.body.emit(f"st.{space}.b{bits} [{at}+{32 * bits // 8 * j}], {x};")

    def keep(self, at):
        count, bits = self.words("d")
        for j in range(count):
            x = self.body.new("d" if bits == 64 else "r")
            self.body.emit(f"ld.shared.b{bits} {x}, [{at}+{32 * bits // 8 * j}];")
            self.body.store(x, result_type(self.kinds["d"]), f"{self.instance.name} {j}")


def braces(registers):
    return "{" + ", ".join(registers) + "}"


def start(form, row, sm):
    body = Body("", sm, form.version, row.n)
    body.begin()
    body.globals += [f".shared .align 128 .b8 tile_{r}[{WARP * body.block // 32}];"
                     for r in "abcd"]
    body.warp, body.lane = body.new("d"), {4: body.new("d"), 8: body.new("d")}
    low = body.new("r")
    body.emit(f"shr.u32 {low}, {body.tid}, 5;")
    body.emit(f"mul.wide.u32 {body.warp}, {low}, {WARP};")
    body.emit(f"and.b32 {low}, {body.tid}, 31;")
    for size, lane in body.lane.items():
        body.emit(f"mul.wide.u32 {lane}, {low}, {size};")
    return body


def tile(body, role, size):
    """(the warp's tile, this lane's first word in it) in shared memory."""
    base, own = body.new("d"), body.new("d")
    body.emit(f"mov.u64 {base}, tile_{role};")
    body.emit(f"add.u64 {base}, {base}, {body.warp};")
    body.emit(f"add.u64 {own}, {base}, {body.lane[size]};")
    return base, own


def outside(body, product, role, size):
    """The same in an output: as many words of each thread as the matrix has."""
    count, bits = product.words(role)
    base, own, warp = body.new("d"), body.new("d"), body.new("d")
    body.emit(f"shr.u64 {warp}, {body.i}, 5;")
    start_at = body.end
    for j in range(count):
        body.skip("b64" if bits == 64 else "b32", f"{product.instance.name} in memory {j}")
    body.emit(f"ld.param.u64 {base}, [out];")
    body.emit(f"cvta.to.global.u64 {base}, {base};")
    body.emit(f"mad.lo.u64 {base}, {warp}, {count * 32 * size}, {base};")
    body.emit(f"add.u64 {base}, {base}, {start_at};")
    body.emit(f"add.u64 {own}, {base}, {body.lane[size]};")
    return base, own


def operand(body, product, role):
    """The address as the instruction wants it, and where this lane reads and writes."""
    space, size = product.space(role), 8 if product.kinds[role] == "f64" else 4
    if space == "global":
        base, own = outside(body, product, role, size)
    else:
        base, own = tile(body, role, size)
    if role != "d":
        product.fill(role, own, "global" if space == "global" else "shared")
    if space is None:
        generic = body.new("d")
        body.emit(f"cvta.shared.u64 {generic}, {base};")
        base = generic
    return base, own


def chain(body, instance):
    product = Product(body, instance)
    at = {role: operand(body, product, role) for role in "abcd"}
    registers = {role: product.registers(role) for role in "abcd"}
    body.emit("bar.sync 0;")
    for role in "abc":
        body.emit(f"{product.name(role)} {braces(registers[role])}, [{at[role][0]}];")
    body.emit(f"{product.product_name()} " +
              ", ".join(braces(registers[role]) for role in "dabc") + ";")
    body.emit(f"{product.name('d')} [{at['d'][0]}], {braces(registers['d'])};")
    body.emit("bar.sync 0;")
    if product.space("d") != "global":
        product.keep(at["d"][1])
    body.emit("bar.sync 0;")


def build(form, variants, row, sm):
    body = start(form, row, sm)
    for instance in variants:
        chain(body, instance)
    return body
