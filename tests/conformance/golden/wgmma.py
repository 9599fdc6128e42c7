"""Kernels of matrix products of a warpgroup: every shape and type, A from registers and from
shared memory, both major orders, every swizzle, signs, and C left out."""
from .ptx import Body

WARPGROUP = 128
OPERANDS = 48 << 10      # bytes of shared memory, filled with numbers
B_AT = 8 << 10           # A begins at 0
RAW = 32                 # up to these columns every accumulator is an output
FOLDS, PRIME = 4, 0x9E3779B1
# LBO and SBO by swizzle (none, 32, 64, 128 bytes): with room between what they part
K_MAJOR = ((4096, 272), (16, 768), (16, 1024), (16, 1024))
MN_MAJOR = ((4096, 272), (768, 256), (1536, 512), (3072, 1024))
FAR = 12 << 10           # LBO of B without a swizzle: it has more rows
MODE = (0, 3, 2, 1)


def start(form, row, sm, kinds):
    body = Body("", sm, form.version, row.n, WARPGROUP)
    body.begin()
    body.globals.append(f".shared .align 1024 .b8 operands[{OPERANDS}];")
    fill(body, kinds)
    body.accumulators = [body.new("r") for _ in range(128)]
    return body


def fill(body, kinds):
    """Words of A's type, then of B's, in another order for each stretch of 128."""
    base, at = body.new("r"), body.new("r")
    body.emit(f"mov.u32 {base}, operands;")
    for j in range(OPERANDS // 4 // WARPGROUP):
        of_b = 4 * WARPGROUP * j >= B_AT
        word = body.load(f"{kinds[of_b]}.frag.{8 * of_b + j % 8}")
        body.emit(f"xor.b32 {at}, {body.tid}, {37 * j % WARPGROUP};")
        body.emit(f"mad.lo.u32 {at}, {at}, 4, {base};")
        body.emit(f"st.shared.b32 [{at}+{4 * WARPGROUP * j}], {word};")
    body.emit("fence.proxy.async.shared::cta;")
    body.emit("bar.sync 0;")


def descriptor(body, at, swizzle, mn):
    lead, stride = (MN_MAJOR if mn else K_MAJOR)[swizzle]
    if at and not swizzle:
        lead = FAR
    low, d = body.new("r"), body.new("d")
    body.emit(f"mov.u32 {low}, operands;")
    body.emit(f"add.u32 {low}, {low}, {at};")
    body.emit(f"shr.u32 {low}, {low}, 4;")
    body.emit(f"cvt.u64.u32 {d}, {low};")
    bits = lead >> 4 << 16 | stride >> 4 << 32 | MODE[swizzle] << 62
    body.emit(f"or.b64 {d}, {d}, 0x{bits:x};")
    return d


def shape_of(instance):
    """n, k, and the types of d, a and b."""
    at = next(i for i, m in enumerate(instance.mods) if m.startswith("m64n"))
    n, k = instance.mods[at][4:].split("k")
    return int(n), int(k), instance.mods[at + 1:at + 4]


def has_width(instance):
    """Whole numbers: 8, 16, 24, and then multiples of 16."""
    n, _, (d, _, _) = shape_of(instance)
    return d != "s32" or n == 24 or n % 16 == 0 or n == 8


def braces(registers):
    return "{" + ", ".join(registers) + "}"


def operand_a(body, kind, k, transposed):
    """Registers at every third variant, else a descriptor."""
    if k % 3 == 2:
        return braces([body.load(f"{kind}.frag.{20 + r}") for r in range(4)]), "RS"
    return (descriptor(body, 0, k % 4, transposed),
            f"{'M' if transposed else 'K'}{16 << k % 4 if k % 4 else 0}")


def product(body, instance, k):
    n, depth, (d, a, b) = shape_of(instance)
    count = n // 4 if d == "f16" else n // 2
    own = body.accumulators[:count]
    for j, register in enumerate(own):
        body.emit(f"mov.b32 {register}, {body.load(f'{d}.frag.{16 + j % 4}')};")
    mn_a, mn_b = (bool(k & 2), bool(k & 4)) if depth == 16 else (False, False)
    left, where = operand_a(body, a, k, mn_a)
    swizzle = (k // 4 + k) % 4
    right = descriptor(body, B_AT, swizzle, mn_b)
    scale = ("1", body.new("p"), "0")[k // 3 % 3]
    if scale.startswith("%"):
        body.emit(f"setp.ne.u32 {scale}, {k % 2}, 0;")
    signs = (-1 if k % 5 == 1 else 1), (-1 if k % 7 == 3 else 1)
    flags = [scale] + ([] if d == "s32" else [*map(str, signs)])
    if depth == 16:
        flags += [str(int(mn_b))] if where == "RS" else [str(int(mn_a)), str(int(mn_b))]
    body.emit("wgmma.fence.sync.aligned;")
    body.emit(f"{instance.name} {braces(own)}, {left}, {right}, {', '.join(flags)};")
    body.emit("wgmma.commit_group.sync.aligned;")
    body.emit("wgmma.wait_group.sync.aligned 0;")
    return own, f"{instance.name} {where} {'N' if mn_b else 'K'}{16 << swizzle if swizzle else 0}"


def keep(body, own, kind, n, name):
    """Every accumulator; of wide products the sums of every fourth one."""
    if n <= RAW:
        for j, register in enumerate(own):
            body.store(register, "f16x2" if kind == "f16" else kind, f"{name} d{j}")
        return
    for j in range(FOLDS):
        sum_ = body.new("r")
        body.emit(f"mov.b32 {sum_}, 0;")
        for register in own[j::FOLDS]:
            body.emit(f"mad.lo.u32 {sum_}, {sum_}, {PRIME}, {register};")
        body.store(sum_, "b32", f"{name} sum {j}")


def build(form, variants, row, sm):
    _, _, kinds = shape_of(variants[0])
    body = start(form, row, sm, kinds[1:])
    for k, instance in enumerate(variants):
        own, name = product(body, instance, k)
        n, _, (d, _, _) = shape_of(instance)
        keep(body, own, d, n, name)
    return body


def build_group(form, variants, row, sm):
    """Two products on the same accumulators in two groups, and one on others."""
    body = start(form, row, sm, ("bf16", "bf16"))
    a, b = descriptor(body, 0, 3, False), descriptor(body, B_AT, 3, False)
    first, second = body.accumulators[:4], body.accumulators[4:8]
    step = "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16"
    body.emit("wgmma.fence.sync.aligned;")
    for own, scale in ((first, 0), (first, 1), (second, 0)):
        body.emit(f"{step} {braces(own)}, {a}, {b}, {scale}, 1, 1, 0, 0;")
        body.emit("wgmma.commit_group.sync.aligned;")
    body.emit("wgmma.wait_group.sync.aligned 1;")
    for j, register in enumerate(first):
        body.store(register, "f32", f"{variants[0].name} d{j}")
    body.emit("wgmma.wait_group.sync.aligned 0;")
    for j, register in enumerate(second):
        body.store(register, "f32", f"{variants[0].name} e{j}")
    return body
