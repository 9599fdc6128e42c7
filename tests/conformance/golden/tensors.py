"""Kernels of tensor copies: boxes of every rank and swizzle, inside their tensor, over its
edges, and outside of it, between global memory and a tile in shared memory."""
from .forms import WIDTH
from .ptx import Body, Map, ROWS_OF_TILE

TILE = 2048             # bytes: sixteen rows of the widest swizzle
POLICY = "0x12F0000000000000"
# rows of a box, and of the tensor, along dimensions 1 and up
BOXES = {1: (), 2: (16,), 3: (4, 4), 4: (4, 2, 2), 5: (2, 2, 2, 2)}
TENSORS = {1: (), 2: (20,), 3: (5, 4), 4: (4, 3, 2), 5: (3, 2, 2, 2)}
SPAN = (48, 32, 64, 128)  # bytes of a row, by swizzle
LOADED = ("f16", "f32", "bf16", "u8", "u64", "f64", "s32", "u16")
REDUCED = {"add": ("u32", "s32", "u64", "f16", "bf16", "f32"),
           "min": ("u32", "s32", "u64", "s64", "f16", "bf16"),
           "max": ("u32", "s32", "u64", "s64", "f16", "bf16"),
           "inc": ("u32",), "dec": ("u32",)}
BITS = ("u32", "s32", "u64", "s64")


def rank_of(instance):
    return next(int(m[0]) for m in instance.mods if len(m) == 2 and m[1] == "d")


def gathers(instance):
    return instance.has("tile::gather4", "tile::scatter4")


def tensor(on, at, rank, swizzle, kind, k, single=False):
    """A map over the memory `on` + at; every third steps over every other row.  single: of one
    row, as they are gathered."""
    size = WIDTH[kind] // 8
    inner = SPAN[swizzle] // size
    step = 2 if rank > 1 and k % 3 == 2 and not single else 1
    rows = (1,) if single else BOXES[rank]
    box = (inner, *(r * (step if d == 0 else 1) for d, r in enumerate(rows)))
    dims = (inner - 1, *TENSORS[rank])
    strides, stride = [], SPAN[swizzle]
    for count in TENSORS[rank]:
        strides.append(stride)
        stride *= count
    steps = (1, *(step if d == 0 else 1 for d in range(len(rows))))
    floats = kind[0] == "f" or kind == "bf16"
    return Map(on, at, kind, dims, tuple(strides), box, steps, swizzle, int(floats and k % 2))


def corners(m, gathered=False):
    """Coordinates: inside, before the first, behind the last, nowhere near.  gathered: a column
    and four rows."""
    rank = len(m.dims)
    if gathered:
        yield from ((0, 3, 1, 7, 2), (-3, -1, 4, 19, 20), (m.dims[0] - 2, 0, 19, -5, 6),
                    (-2147483648, 1, 2, 3, 4))
        return
    yield (0,) * rank
    yield (-3, -1, 1, 0, 0)[:rank]
    yield tuple(d - 1 - (k == 0) for k, d in enumerate(m.dims))
    yield (-2147483648, *m.dims[1:])


def start(form, row, sm):
    body = Body("", sm, form.version, row.n, ROWS_OF_TILE)
    body.begin()
    body.globals += [f".shared .align 1024 .b8 tile[{TILE}];",
                     ".shared .align 8 .b8 arrived[8];"]
    body.own, body.first, body.parity = body.new("r"), body.new("p"), 0
    body.emit(f"mov.u32 {body.own}, tile;")
    body.emit(f"mad.lo.u32 {body.own}, {body.tid}, 8, {body.own};")
    body.emit(f"setp.eq.u32 {body.first}, {body.tid}, 0;")
    return body


def map_of(body, m):
    """The generic address of a map among the parameters."""
    d = body.new("d")
    body.emit(f"mov.b64 {d}, {body.map(m)};")
    body.emit(f"cvta.param.u64 {d}, {d};")
    return d


def hint(body, instance):
    if not instance.has("L2::cache_hint"):
        return ""
    d = body.new("d")
    body.emit(f"mov.b64 {d}, {POLICY};")
    return f", {d}"


def box(address, coordinates):
    return f"[{address}, {{{', '.join(map(str, coordinates))}}}]"


def by_first(body, lines):
    """Thread 0 alone runs these."""
    skip = body.label()
    body.emit(f"@!{body.first} bra {skip};")
    for line in lines:
        body.emit(line)
    body.lines.append(f"{skip}:")


def publish(body):
    """What threads wrote is there for the copies of any of them."""
    body.emit("fence.proxy.async;")
    body.emit("bar.sync 0;")


def box_bytes(m):
    n = WIDTH[m.type] // 8
    for count, step in zip(m.box, m.steps):
        n *= -(-count // step)
    return n


# ---- loads ----

def begin_arrivals(body):
    by_first(body, ["mbarrier.init.shared::cta.b64 [arrived], 1;",
                    "fence.mbarrier_init.release.cluster;"])
    body.emit("bar.sync 0;")


def wait(body):
    again, p = body.label(), body.new("p")
    body.lines.append(f"{again}:")
    body.emit(f"mbarrier.try_wait.parity.shared::cta.b64 {p}, [arrived], {body.parity};")
    body.emit(f"@!{p} bra {again};")
    body.parity ^= 1


def load(body, instance, m, address, coordinates):
    mask = ", 1" if instance.has("multicast::cluster") else ""
    token = body.new("d")
    by_first(body, [
        f"mbarrier.arrive.expect_tx.shared::cta.b64 {token}, [arrived], "
        f"{box_bytes(m) * (4 if gathers(instance) else 1)};",
        f"{instance.name} [tile], {box(address, coordinates)}, [arrived]{mask}"
        f"{hint(body, instance)};"])
    wait(body)


def build_load(form, variants, row, sm):
    body = start(form, row, sm)
    body.address("b64x2.0")
    begin_arrivals(body)
    for k, instance in enumerate(variants):
        m = tensor("in0", 16 * (k % 4), rank_of(instance), k % 4, LOADED[k % len(LOADED)], k,
                   gathers(instance))
        address = map_of(body, m)
        for c, coordinates in enumerate(corners(m, gathers(instance))):
            body.emit(f"st.shared.b64 [{body.own}], 0x1122334455667788;")
            publish(body)
            load(body, instance, m, address, coordinates)
            d = body.new("d")
            body.emit(f"ld.shared.b64 {d}, [{body.own}];")
            body.emit("bar.sync 0;")
            body.store(d, "b64", f"{instance.name} swizzle {m.swizzle} {m.type} corner {c}")
    return body


# ---- stores and reductions ----

def reduction_of(instance):
    return next((m for m in instance.mods if m in ("add", "min", "max", "inc", "dec", "and",
                                                   "or", "xor")), None)


def region(body, variant):
    """Two outputs one behind the other, 16 bytes of each thread: where they start."""
    at = body.end
    for half in range(2):
        body.skip("b64", f"{variant} [{half}]")
    return at


def build_store(form, variants, row, sm):
    """The tile goes out to where 0xEE is, or, reduced, to numbers."""
    body = start(form, row, sm)
    for k, instance in enumerate(variants):
        what = reduction_of(instance)
        kinds = REDUCED.get(what, BITS) if what else LOADED
        kind, rank = kinds[k % len(kinds)], rank_of(instance)
        for c in range(4):
            name = f"{instance.name} swizzle {k % 4} {kind} corner {c}"
            at = region(body, name)
            m = tensor("out", at, rank, k % 4, kind, k, gathers(instance))
            numbers = kind if kind[0] == "f" or kind == "bf16" else "b64"
            if what:
                for half in range(2):
                    body.emit(f"st.global.b64 [{body.out[8]}+{at + half * 8 * body.n}], "
                              f"{eight(body, numbers, half)};")
            body.emit(f"st.shared.b64 [{body.own}], {eight(body, numbers, 2)};")
            publish(body)
            address = map_of(body, m)
            by_first(body, [
                f"{instance.name} {box(address, list(corners(m, gathers(instance)))[c])}, [tile]"
                f"{hint(body, instance)};",
                "cp.async.bulk.commit_group;", "cp.async.bulk.wait_group 0;"])
            body.emit("bar.sync 0;")
    return body


def eight(body, kind, role):
    """Eight bytes of numbers of a kind, for this thread."""
    if WIDTH[kind] == 64:
        return body.load(f"{kind}.{role}")
    key = ("eight", kind, role)
    if key not in body.loaded:
        parts = [body.load(f"{kind}.{4 * role + i}") for i in range(64 // WIDTH[kind])]
        body.loaded[key] = body.new("d")
        body.emit(f"mov.b64 {body.loaded[key]}, {{{', '.join(parts)}}};")
    return body.loaded[key]


# ---- hints and fences: the data behind them is what it was ----

def build_quiet(form, variants, row, sm):
    body = start(form, row, sm)
    at = body.address("b64x2.0")
    for k, instance in enumerate(variants):
        boxes = instance.has("bulk")
        m = tensor("in0", 0, rank_of(instance) if boxes else 2, k % 4, "f16", k,
                   gathers(instance))
        address = map_of(body, m)
        if boxes:
            operands = box(address, next(corners(m, gathers(instance)))) + hint(body, instance)
        elif instance.has("const"):
            declared = ".const .align 64 .b8 nothing[128];"
            body.globals += [declared] if declared not in body.globals else []
            operands = "[nothing]"
        else:
            operands = f"[{body.map(m) if instance.has('param') else address}]"
        if form.opcode == "fence":
            operands = f"[{at_map(body)}], 128"
        body.emit(f"{instance.name} {operands};")
        d = body.new("d")
        body.emit(f"ld.global.b64 {d}, [{at}];")
        body.store(d, "b64", instance.name)
    return body


def at_map(body):
    """128 bytes of a variable in global memory, aligned as a map is."""
    declared, d = ".global .align 128 .b8 spare_map[128];", body.new("d")
    body.globals += [declared] if declared not in body.globals else []
    body.emit(f"mov.b64 {d}, spare_map;")
    return d
