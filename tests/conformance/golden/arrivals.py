"""Kernels of mbarriers, and of bulk copies that have no tensor: what one thread leaves, others
find once they have waited."""
from .tensors import TILE, begin_arrivals, by_first, eight, hint, publish, region, start, wait

THREADS = TILE // 8
SPACE = "shared::cta"


def neighbour(body):
    """Where the next thread's eight bytes are."""
    if "next" not in body.__dict__:
        body.next = body.new("r")
        body.emit(f"add.u32 {body.next}, {body.tid}, 1;")
        body.emit(f"and.b32 {body.next}, {body.next}, {THREADS - 1};")
        base = body.new("r")
        body.emit(f"mov.u32 {base}, tile;")
        body.emit(f"mad.lo.u32 {body.next}, {body.next}, 8, {base};")
    return body.next


def arrived(body, instance):
    """The mbarrier's address, as the instance takes it."""
    if instance.has("shared", "shared::cta"):
        return "[arrived]"
    if "generic" not in body.__dict__:
        body.generic = body.new("d")
        body.emit(f"mov.u64 {body.generic}, arrived;")
        body.emit(f"cvta.shared.u64 {body.generic}, {body.generic};")
    return f"[{body.generic}]"


def leave(body, k):
    d = body.new("d")
    body.emit(f"add.u64 {d}, {body.load('b64.0')}, {k};")
    body.emit(f"st.shared.b64 [{body.own}], {d};")


def find(body, variant):
    """The next thread's, which nobody overwrites before all have looked."""
    d = body.new("d")
    if ".relaxed." in variant:  # tells nobody of it
        body.emit("bar.sync 0;")
    body.emit(f"ld.shared.b64 {d}, [{neighbour(body)}];")
    body.store(d, "b64", variant)
    body.emit("bar.sync 0;")


def init(body, count, name=f"mbarrier.init.{SPACE}.b64", at="[arrived]"):
    by_first(body, [f"{name} {at}, {count};"])
    body.emit("bar.sync 0;")


def inval(body, name=f"mbarrier.inval.{SPACE}.b64", at="[arrived]"):
    body.emit("bar.sync 0;")
    by_first(body, [f"{name} {at};"])
    body.emit("bar.sync 0;")


def first_phase(body):
    """As chips without try_wait have it too."""
    again, p = body.label(), body.new("p")
    body.lines.append(f"{again}:")
    body.emit(f"mbarrier.test_wait.parity.{SPACE}.b64 {p}, [arrived], 0;")
    body.emit(f"@!{p} bra {again};")


def begin(form, row, sm):
    body = start(form, row, sm)
    body.load("b64.0")
    return body


def build_made(form, variants, row, sm):
    """init and inval: an mbarrier of every thread, one after another in the same place."""
    body = begin(form, row, sm)
    for k, instance in enumerate(variants):
        makes = instance.has("init")
        at = arrived(body, instance)
        if makes:
            init(body, THREADS, instance.name, at)
        else:
            init(body, THREADS)
        leave(body, k)
        token = body.new("d")
        body.emit(f"mbarrier.arrive.{SPACE}.b64 {token}, [arrived];")
        first_phase(body)
        find(body, instance.name)
        if makes:
            inval(body)
        else:
            inval(body, instance.name, at)
    return body


def build_arrive(form, variants, row, sm):
    """Every thread arrives, or the first for all of them and for bytes besides."""
    body = begin(form, row, sm)
    for k, instance in enumerate(variants):
        alone, partly = instance.has("expect_tx", "complete_tx"), instance.has("noComplete")
        for count in (2,) if partly else (1, 2) if sm >= 90 and not alone else (1,):
            token = body.new("d")
            init(body, 1 if alone else THREADS * (count + partly))
            leave(body, k)
            if alone:
                body.emit("bar.sync 0;")
                by_first(body, accounts(body, instance, token))
            else:
                body.emit(f"{instance.name} {token}, {arrived(body, instance)}"
                          f"{', 2' * (count > 1)};")
            if partly:
                body.emit(f"mbarrier.arrive.{SPACE}.b64 {token}, [arrived];")
            first_phase(body)
            find(body, f"{instance.name} {count}")
            if instance.has("arrive_drop"):
                second_phase(body, f"{instance.name} {count} dropped", partly)
            inval(body)
    return body


def second_phase(body, variant, partly):
    """Who was dropped is not due any more: nobody, or one arrival a thread."""
    p = body.new("p")
    if partly:
        body.emit(f"mbarrier.arrive.{SPACE}.b64 _, [arrived];")
        body.emit("bar.sync 0;")
    body.emit(f"mbarrier.test_wait.parity.{SPACE}.b64 {p}, [arrived], {int(partly)};")
    body.store(p, "pred", variant)


def build_count(form, variants, row, sm):
    """What was due before the arrival that gave the state."""
    body = begin(form, row, sm)
    for instance in variants:
        token, n = body.new("d"), body.new("r")
        init(body, 9)
        by_first(body, [f"mbarrier.arrive.noComplete.{SPACE}.b64 {token}, [arrived], 2;",
                        f"mbarrier.arrive_drop.noComplete.{SPACE}.b64 {token}, [arrived], 3;"])
        body.emit(f"@!{body.first} mov.b64 {token}, 0;")
        body.emit(f"{instance.name} {n}, {token};")
        body.emit(f"@!{body.first} mov.b32 {n}, 0;")
        body.store(n, "u32", instance.name)
        inval(body)
    return body


def build_async(form, variants, row, sm):
    """Arrivals that the copies before them bring about: alone, or beside the thread's own."""
    body = begin(form, row, sm)
    source = body.address("b64.0")
    for instance in variants:
        token = body.new("d")
        init(body, THREADS)
        body.emit(f"cp.async.ca.shared::cta.global [{body.own}], [{source}], 8;")
        body.emit(f"{instance.name} {arrived(body, instance)};")
        if not instance.has("noinc"):
            body.emit(f"mbarrier.arrive.{SPACE}.b64 {token}, [arrived];")
        first_phase(body)
        find(body, instance.name)
        inval(body)
    return body


def accounts(body, instance, token):
    at = arrived(body, instance)
    expects, completes = (f"mbarrier.{w}_tx.{SPACE}.b64" for w in ("expect", "complete"))
    if instance.has("arrive", "arrive_drop"):
        return [f"{instance.name} {token}, {at}, 48;", f"{completes} [arrived], 48;"]
    own, other = f"{instance.name} {at}, 48;", f"{completes} [arrived], 48;"
    both = [own, other] if instance.has("expect_tx") else [f"{expects} [arrived], 48;", own]
    return both + \
        [f"mbarrier.arrive.{SPACE}.b64 {token}, [arrived];"]


def build_wait(form, variants, row, sm):
    """One arrival of two a thread: not complete; the other: complete, in the end."""
    body = begin(form, row, sm)
    for k, instance in enumerate(variants):
        token, p, q, again = body.new("d"), body.new("p"), body.new("p"), body.label()
        init(body, 2 * THREADS)
        leave(body, k)
        body.emit(f"mbarrier.arrive.{SPACE}.b64 {token}, [arrived];")
        what = "0" if instance.has("parity") else token
        at = arrived(body, instance)
        body.emit(f"{instance.name} {p}, {at}, {what};")
        body.store(p, "pred", f"{instance.name} before")
        body.emit("bar.sync 0;")
        spare = body.new("d")
        body.emit(f"mbarrier.arrive.{SPACE}.b64 {spare}, [arrived];")
        body.lines.append(f"{again}:")
        body.emit(f"{instance.name} {q}, {at}, {what};")
        body.emit(f"@!{q} bra {again};")
        find(body, instance.name)
        inval(body)
    return body


# ---- copies ----

def build_load(form, variants, row, sm):
    """The CTA's part of an input comes into the tile."""
    body = start(form, row, sm)
    source = body.address("b64.0")
    begin_arrivals(body)
    for instance in variants:
        body.emit(f"st.shared.b64 [{body.own}], 0x1122334455667788;")
        publish(body)
        for size in (TILE, 16):
            token = body.new("d")
            by_first(body, [
                f"mbarrier.arrive.expect_tx.{SPACE}.b64 {token}, [arrived], {size};",
                f"{instance.name} [tile], [{source}], {size}, [arrived]{hint(body, instance)};"])
            wait(body)
            d = body.new("d")
            body.emit(f"ld.shared.b64 {d}, [{body.own}];")
            body.emit("bar.sync 0;")
            body.store(d, "b64", f"{instance.name} {size}")
    return body


def build_store(form, variants, row, sm):
    """The tile goes out to where 0xEE is, or, reduced, to numbers."""
    body = start(form, row, sm)
    groups = form.mnemonic.split()[-1].startswith("commit") or "wait_group" in form.mnemonic
    for instance in variants:
        kind = instance.types[0] if instance.types else "b64"
        at = region(body, instance.name)
        target = body.new("d")
        body.emit(f"add.u64 {target}, {body.out[8]}, {at};")
        if instance.types:
            for half in range(2):
                body.emit(f"st.global.b64 [{target}+{half * 8 * body.n}], "
                          f"{eight(body, kind, half)};")
        body.emit(f"st.shared.b64 [{body.own}], {eight(body, kind, 2)};")
        publish(body)
        copy = "cp.async.bulk.global.shared::cta.bulk_group" if groups else instance.name
        commit, waits = "cp.async.bulk.commit_group", "cp.async.bulk.wait_group"
        if groups and instance.has("wait_group"):
            waits = instance.name
        by_first(body, [f"{copy} [{target}], [tile], {TILE}{hint(body, instance)};",
                        f"{commit};", f"{waits} 0;"])
        body.emit("bar.sync 0;")
    return body
