"""Kernels of clusters of two CTAs: each other's shared memory, their barrier, arrivals and
copies across; and setmaxnreg.  Each thread owns eight bytes of a tile in its CTA."""
from .forms import WIDTH
from .ptx import Body

PAIR = ".explicitcluster .reqnctapercluster 2, 1, 1"
TILE = 2048
SYNC = ("barrier.cluster.arrive.aligned;", "barrier.cluster.wait.aligned;")


def start(form, row, sm, directives=PAIR):
    body = Body("", sm, form.version, row.n)
    body.directives = [directives]
    body.begin()
    body.globals += [f".shared .align 128 .b8 tile[{TILE}];",
                     ".shared .align 8 .b8 arrived[8];"]
    body.own, body.peer, body.first = body.new("r"), body.new("r"), body.new("p")
    body.emit(f"mov.u32 {body.own}, tile;")
    body.emit(f"mad.lo.u32 {body.own}, {body.tid}, 8, {body.own};")
    body.emit(f"mov.u32 {body.peer}, %cluster_ctarank;")
    body.emit(f"xor.b32 {body.peer}, {body.peer}, 1;")
    body.emit(f"setp.eq.u32 {body.first}, {body.tid}, 0;")
    body.parity = 0
    return body


def sync(body):
    for line in SYNC:
        body.emit(line)


def fill(body, k=0):
    """This thread's word of input, plus k, is in its place."""
    d = body.new("d")
    body.emit(f"add.u64 {d}, {body.load('b64.0')}, {k};")
    body.emit(f"st.shared.b64 [{body.own}], {d};")


def mapped(body, address):
    """The same place in the other CTA."""
    r = body.new("r")
    body.emit(f"mapa.shared::cluster.u32 {r}, {address}, {body.peer};")
    return r


def store_own(body, variant, at=0):
    d = body.new("d")
    body.emit(f"ld.shared.b64 {d}, [{body.own}+{at}];")
    body.store(d, "b64", variant)


# ---- addresses ----

def address(body, instance):
    """(shared address as the instance takes it, its class)"""
    if not instance.has("u64"):
        return body.own, "r"
    d = body.new("d")
    body.emit(f"cvt.u64.u32 {d}, {body.own};")
    if not instance.has("shared::cluster"):
        body.emit(f"cvta.shared.u64 {d}, {d};")
    return d, "d"


def build_mapa(form, variants, row, sm):
    """What lies there, and which bits of the address are others."""
    body = start(form, row, sm)
    fill(body)
    sync(body)
    for instance in variants:
        at, kind = address(body, instance)
        there, bits, d = body.new(kind), body.new(kind), body.new("d")
        body.emit(f"{instance.name} {there}, {at}, {body.peer};")
        space = ".shared::cluster" if instance.has("shared::cluster") else ""
        body.emit(f"ld{space}.b64 {d}, [{there}];")
        body.store(d, "b64", instance.name)
        width = "b64" if kind == "d" else "b32"
        body.emit(f"xor.{width} {bits}, {there}, {at};")
        body.store(bits, width, f"{instance.name} bits")
    sync(body)
    return body


def build_ctarank(form, variants, row, sm):
    body = start(form, row, sm)
    for instance in variants:
        at, kind = address(body, instance)
        there = body.new(kind)
        space = ".shared::cluster" if instance.has("shared::cluster") else ""
        width = "u64" if kind == "d" else "u32"
        body.emit(f"mapa{space}.{width} {there}, {at}, {body.peer};")
        for x, which in ((at, "own"), (there, "other")):
            rank = body.new("r")
            body.emit(f"{instance.name} {rank}, {x};")
            body.store(rank, "b32", f"{instance.name} {which}")
    return body


# ---- the barrier ----

def build_barrier(form, variants, row, sm):
    """What one CTA writes before it meets the other, that one reads behind."""
    body = start(form, row, sm)
    for k, instance in enumerate(variants):
        arrives = instance.has("arrive")
        fill(body, k)
        if instance.has("relaxed"):
            body.emit("fence.acq_rel.cluster;")
        body.emit(f"{instance.name};" if arrives else SYNC[0])
        body.emit(SYNC[1] if arrives else f"{instance.name};")
        d = body.new("d")
        body.emit(f"ld.shared::cluster.b64 {d}, [{mapped(body, body.own)}];")
        body.store(d, "b64", instance.name)
        sync(body)
    return body


# ---- mbarriers and copies ----

def begin_arrivals(body, count):
    body.emit(f"@{body.first} mbarrier.init.shared::cta.b64 [arrived], {count};")
    body.emit(f"@{body.first} fence.mbarrier_init.release.cluster;")
    sync(body)


def wait(body):
    again, p = body.label(), body.new("p")
    body.lines.append(f"{again}:")
    body.emit(f"mbarrier.try_wait.parity.shared::cta.b64 {p}, [arrived], {body.parity};")
    body.emit(f"@!{p} bra {again};")
    body.parity ^= 1


def arrive(body, instance, at):
    """Thread 0's arrival in the other CTA, alone or with what it is due."""
    if instance.has("arrive", "arrive_drop"):
        bytes_ = ", 0" if instance.has("expect_tx") else ""
        body.emit(f"@{body.first} {instance.name} _, [{at}]{bytes_};")
        return
    opposite = "expect_tx" if instance.has("complete_tx") else "complete_tx"
    for name in sorted((instance.name, f"mbarrier.{opposite}.shared::cluster.b64"),
                       key=lambda n: "complete" in n):
        body.emit(f"@{body.first} {name} [{at}], 64;")
    body.emit(f"@{body.first} mbarrier.arrive.shared::cluster.b64 _, [{at}];")


def build_mbarrier(form, variants, row, sm):
    """The other CTA's arrival tells of what all its threads wrote here."""
    body = start(form, row, sm)
    bar = body.new("r")
    body.emit(f"mov.u32 {bar}, arrived;")
    there, at = mapped(body, body.own), mapped(body, bar)
    begin_arrivals(body, 1)
    for k, instance in enumerate(variants):
        d = body.new("d")
        body.emit(f"add.u64 {d}, {body.load('b64.0')}, {k};")
        body.emit(f"st.shared::cluster.b64 [{there}], {d};")
        body.emit("bar.sync 0;")
        arrive(body, instance, at)
        wait(body)
        if instance.has("relaxed"):  # tells nobody of it
            sync(body)
        store_own(body, instance.name)
        sync(body)
        if instance.has("arrive_drop"):  # nobody is due any more
            sync(body)
            body.emit(f"@{body.first} mbarrier.inval.shared::cta.b64 [arrived];")
            body.emit("bar.sync 0;")
            begin_arrivals(body, 1)
            body.parity = 0
    return body


def expect(body):
    body.emit(f"@{body.first} mbarrier.arrive.expect_tx.shared::cta.b64 _, [arrived], "
              f"{TILE // 2};")


def build_send(form, variants, row, sm):
    """Half of the tile goes into the other half of the other CTA's."""
    body = start(form, row, sm)
    half, bar = body.new("r"), body.new("r")
    body.emit(f"mov.u32 {half}, tile;")
    body.emit(f"add.u32 {half}, {half}, {TILE // 2};")
    body.emit(f"mov.u32 {bar}, arrived;")
    there, at = mapped(body, half), mapped(body, bar)
    begin_arrivals(body, 1)
    for k, instance in enumerate(variants):
        fill(body, k)
        expect(body)
        body.emit("fence.proxy.async.shared::cta;")
        sync(body)
        if instance.types:  # a reduction: what is there are the lower half's words
            d = body.new("d")
            body.emit(f"ld.shared.b64 {d}, [{body.own}];")
            body.emit(f"xor.b64 {d}, {d}, 0x700000007;")
            body.emit("bar.sync 0;")
            body.emit(f"st.shared.b64 [{body.own}+{TILE // 2}], {d};")
            body.emit("fence.proxy.async.shared::cta;")
            sync(body)
        body.emit(f"@{body.first} {instance.name} [{there}], [tile], {TILE // 2}, [{at}];")
        wait(body)
        store_own(body, instance.name, TILE // 2)
        sync(body)
    return body


def build_st_async(form, variants, row, sm):
    """Each thread's store, or its part of a sum, into the other CTA; all lie behind the
    mbarrier there."""
    body = start(form, row, sm)
    bar, base, there = body.new("r"), body.new("r"), body.new("r")
    body.globals.append(f".shared .align 16 .b8 wide[{16 * body.block}];")
    body.emit(f"mov.u32 {bar}, arrived;")
    body.emit(f"mov.u32 {base}, wide;")
    body.emit(f"mad.lo.u32 {base}, {body.tid}, 16, {base};")
    at, there = mapped(body, bar), mapped(body, base)
    begin_arrivals(body, 1)
    for k, instance in enumerate(variants):
        kind = instance.types[0]
        n = next((int(m[1]) for m in instance.mods if m in ("v2", "v4")), 1)
        size = WIDTH[kind] // 8
        if n * size > 16:
            continue
        low, high = body.load("b64.0"), body.load("b64.1")
        body.emit(f"st.shared.v2.b64 [{base}], {{{high}, {low}}};")
        values = [body.load(f"{kind}.{i % 3}") for i in range(n)]
        body.emit(f"@{body.first} mbarrier.arrive.expect_tx.shared::cta.b64 _, [arrived], "
                  f"{size * n * body.block};")
        sync(body)
        to, mbar = there, at
        if not instance.has("shared::cluster"):
            to, mbar = generic(body, there), generic(body, at)
        value = values[0] if n == 1 else "{" + ", ".join(values) + "}"
        body.emit(f"{instance.name} [{to}], {value}, [{mbar}];")
        wait(body)
        for half, d in enumerate((body.new("d"), body.new("d"))):
            body.emit(f"ld.shared.b64 {d}, [{base}+{8 * half}];")
            body.store(d, "b64", f"{instance.name} {half}")
        sync(body)
    return body


def generic(body, address):
    d = body.new("d")
    body.emit(f"cvt.u64.u32 {d}, {address};")
    body.emit(f"cvta.shared::cluster.u64 {d}, {d};")
    return d


def build_multicast(form, variants, row, sm):
    """CTA 0 fetches for both, then each for itself."""
    body = start(form, row, sm)
    source, mask, lead, one = body.address("b64.0"), body.new("h"), body.new("p"), body.new("r")
    begin_arrivals(body, 1)
    for instance in variants:
        hint = ", 0x12F0000000000000" if instance.has("L2::cache_hint") else ""
        for both in (True, False):
            expect(body)
            sync(body)
            body.emit(f"mov.u32 {one}, %cluster_ctarank;")
            body.emit(f"setp.eq.and.u32 {lead}, {one}, 0, {body.first};" if both else
                      f"setp.eq.u32 {lead}, {body.tid}, 0;")
            body.emit(f"shl.b32 {one}, 1, {one};")
            body.emit(f"mov.b16 {mask}, 3;" if both else f"cvt.u16.u32 {mask}, {one};")
            body.emit(f"@{lead} {instance.name} [tile], [{source}], {TILE // 2}, [arrived], "
                      f"{mask}{hint};")
            wait(body)
            store_own(body, f"{instance.name} {'both' if both else 'own'}")
            sync(body)
    return body


# ---- registers ----

def build_setmaxnreg(form, variants, row, sm):
    """Fewer, then more: what is computed is the same."""
    body = start(form, row, sm, f".reqntid {row.n if row.n < 128 else 128} .maxnreg 128")
    d = body.new("d")
    body.emit(f"add.u64 {d}, {body.load('b64.0')}, 1;")
    for instance in variants:
        other = instance.name.replace(".inc.", ".dec.")
        body.emit(f"{other} 64;")
        body.emit("bar.sync 0;")
        body.emit(f"{instance.name} {64 if instance.has('dec') else 104};")
        body.emit("bar.sync 0;")
        body.emit(f"{other.replace('.dec.', '.inc.')} 128;")
        body.emit("bar.sync 0;")
        body.emit(f"add.u64 {d}, {d}, {body.load('b64.0')};")
        body.store(d, "b64", instance.name)
    return body
