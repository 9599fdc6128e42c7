"""Kernels of matrix instructions: fragments as they come, and tiles in shared memory."""
from .ptx import Body

def start(form, row, sm):
    body = Body("", sm, form.version, row.n)
    body.begin()
    return body


ELEMENTS = ("f16", "bf16", "tf32", "f32", "f64", "u8", "s8", "s32", "e4m3", "e5m2", "e3m2",
            "e2m3", "e2m1")


def element_types(instance):
    """Of d, a, b and c; wmma names d and c alone where a and b are f16."""
    named = [m for m in instance.mods if m in ELEMENTS]
    return named if len(named) == 4 else [named[0], "f16", "f16", named[1]]


def result_type(d):
    return "f16x2" if d == "f16" else d


def build_mma(form, variants, row, sm):
    """Each warp multiplies its own matrices, of the class that inputs.CLASSES gives it."""
    body = start(form, row, sm)
    counts = [int(o.rsplit("x", 1)[1]) for o in form.operands]
    for instance in variants:
        d, *kinds = element_types(instance)
        operands, role = [], 0
        for kind, count in zip(kinds, counts[1:]):
            registers = [body.load(f"{kind}.frag.{role + k}") for k in range(count)]
            operands.append(f"{{{', '.join(registers)}}}")
            role += count
        result = [body.new("d" if d == "f64" else "r") for _ in range(counts[0])]
        body.emit(f"{instance.name} {{{', '.join(result)}}}, {', '.join(operands)};")
        for k, register in enumerate(result):
            body.store(register, result_type(d), f"{instance.name} d{k}")
    return body


def tile(body):
    """512 bytes of shared memory for each warp, filled with 16 bytes a lane.  Returns
    (the warp's tile, the address of a row that this lane names: rows in mixed order)."""
    body.globals.append(f".shared .align 128 .b8 tiles[{16 * body.block}];")
    base, warp, own, row = (body.new("d") for _ in range(4))
    mixed, low = body.new("r"), body.new("r")
    body.emit(f"mov.u64 {base}, tiles;")
    body.emit(f"and.b32 {low}, {body.tid}, 0x3e0;")
    body.emit(f"cvt.u64.u32 {warp}, {low};")
    body.emit(f"mad.lo.u64 {warp}, {warp}, 16, {base};")
    body.emit(f"cvt.u64.u32 {own}, {body.tid};")
    body.emit(f"mad.lo.u64 {own}, {own}, 16, {base};")
    body.emit(f"mad.lo.u32 {mixed}, {body.tid}, 13, 5;")
    body.emit(f"and.b32 {mixed}, {mixed}, 31;")
    body.emit(f"cvt.u64.u32 {row}, {mixed};")
    body.emit(f"mad.lo.u64 {row}, {row}, 16, {warp};")
    return own, row


def sixteen(body):
    x, y = body.new("d"), body.new("d")
    body.emit(f"ld.global.v2.b64 {{{x}, {y}}}, [{body.address('b64x2.0')}];")
    return x, y


def address(body, instance, at):
    """Of shared memory, or generic where the instance says nothing."""
    if instance.has("shared", "shared::cta"):
        return at
    d = body.new("d")
    body.emit(f"cvta.shared.u64 {d}, {at};")
    return d


def build_ldmatrix(form, variants, row, sm):
    body = start(form, row, sm)
    own, at = tile(body)
    x, y = sixteen(body)
    body.emit(f"st.shared.v2.b64 [{own}], {{{x}, {y}}};")
    body.emit("bar.warp.sync 0xffffffff;")
    count = int(form.operands[0][-1])
    for instance in variants:
        parts = [body.new("r") for _ in range(count)]
        body.emit(f"{instance.name} {{{', '.join(parts)}}}, [{address(body, instance, at)}];")
        for k, part in enumerate(parts):
            body.store(part, "b32", f"{instance.name} [{k}]")
    return body


def build_stmatrix(form, variants, row, sm):
    """Stored over zeros, each lane then reads its own 16 bytes."""
    body = start(form, row, sm)
    own, at = tile(body)
    count = int(form.operands[1][-1])
    for instance in variants:
        zero, x, y = body.new("d"), body.new("d"), body.new("d")
        parts = [body.load(f"b32.{1 + k}") for k in range(count)]
        body.emit(f"mov.b64 {zero}, 0;")
        body.emit(f"st.shared.v2.b64 [{own}], {{{zero}, {zero}}};")
        body.emit("bar.warp.sync 0xffffffff;")
        body.emit(f"{instance.name} [{address(body, instance, at)}], {{{', '.join(parts)}}};")
        body.emit("bar.warp.sync 0xffffffff;")
        body.emit(f"ld.shared.v2.b64 {{{x}, {y}}}, [{own}];")
        body.emit("bar.warp.sync 0xffffffff;")
        body.store(x, "b64", f"{instance.name} low")
        body.store(y, "b64", f"{instance.name} high")
    return body


def build_movmatrix(form, variants, row, sm):
    body = start(form, row, sm)
    d = body.new("r")
    body.emit(f"{variants[0].name} {d}, {body.load('b32.1')};")
    body.store(d, "b32", variants[0].name)
    return body
