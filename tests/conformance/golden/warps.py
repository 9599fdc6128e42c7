"""Kernels in which lanes or warps act on each other: shuffles, votes, barriers, branches.

Members of a warp's mask branch into the instruction together; what others store is what they
had before."""
from .ptx import Body


def start(form, row, sm, block=128):
    body = Body("", sm, form.version, row.n, block)
    body.begin()
    return body


def zeroed(body, kind):
    d = body.new(kind)
    if kind == "pred":
        body.emit(f"setp.ne.u32 {d}, 0, 0;")
    else:
        body.emit(f"mov.{kind} {d}, 0;")
    return d


def members(body):
    """(mask, predicate: this lane is in it)"""
    mask, bit, p = body.load("u32.mask.0"), body.new("r"), body.new("p")
    body.emit(f"mov.u32 {bit}, %lanemask_eq;")
    body.emit(f"and.b32 {bit}, {bit}, {mask};")
    body.emit(f"setp.ne.u32 {p}, {bit}, 0;")
    return mask, p


def among(body, p, text):
    """text, for the lanes where p."""
    label = body.label()
    body.emit(f"@!{p} bra {label};")
    body.emit(text)
    body.lines.append(f"{label}:")
    body.emit("bar.warp.sync 0xffffffff;")


def build_shfl(form, variants, row, sm):
    body = start(form, row, sm)
    a, b, c = body.load("b32.1"), body.load("u32.small.0"), body.new("r")
    body.emit(f"shr.u32 {c}, {body.load('u32.mask.1')}, 8;")
    body.emit(f"and.b32 {c}, {c}, 0x1f1f;")  # clamp and segment: the same in a warp
    for instance in variants:
        for tag, operand in (("", c), (" 31", "31"), (" 0", "0"), (" 0x1c1f", "0x1c1f")):
            d, p = body.new("r"), body.new("p")
            body.emit(f"{instance.name} {d}|{p}, {a}, {b}, {operand}, 0xffffffff;")
            body.store(d, "b32", f"{instance.name}{tag}")
            body.store(p, "pred", f"{instance.name}{tag} p")
    return body


def build_vote(form, variants, row, sm):
    body = start(form, row, sm)
    mask, inside = members(body)
    for instance in variants:
        kind = "pred" if instance.has("pred") else "b32"
        for bang in ("", "!"):
            d = zeroed(body, kind)
            among(body, inside, f"{instance.name} {d}, {bang}{body.load('pred.0')}, {mask};")
            body.store(d, kind, f"{instance.name} {bang}p")
    return body


def build_match(form, variants, row, sm):
    body = start(form, row, sm)
    mask, inside = members(body)
    for instance in variants:
        x = body.load("u32.lanes.1")
        if instance.has("b64"):
            wide = body.new("d")
            body.emit(f"mov.b64 {wide}, {{{body.load('u32.lanes.2')}, {x}}};")
            x = wide
        d, p = zeroed(body, "b32"), zeroed(body, "pred")
        both = f"{d}|{p}" if instance.has("all") else d
        among(body, inside, f"{instance.name} {both}, {x}, {mask};")
        body.store(d, "b32", instance.name)
        body.store(p, "pred", f"{instance.name} p")
    return body


def build_redux(form, variants, row, sm):
    body = start(form, row, sm)
    mask, inside = members(body)
    for instance in variants:
        d = zeroed(body, "b32")
        among(body, inside, f"{instance.name} {d}, {body.load('b32.1')}, {mask};")
        body.store(d, "b32", instance.name)
    return body


def build_mask(form, variants, row, sm):
    """activemask, elect: nothing is read but the mask."""
    body = start(form, row, sm)
    mask, inside = members(body)
    for instance in variants:
        d, p = zeroed(body, "b32"), zeroed(body, "pred")
        among(body, inside, f"{instance.name} {d};" if form.opcode == "activemask" else
              f"{instance.name} {d}|{p}, {mask};")
        body.store(d, "b32", instance.name)
        body.store(p, "pred", f"{instance.name} p")
    return body


# ---- barriers ----

def other_warp(body):
    """Shared memory of one word a thread: (this thread's, the one of the next warp)."""
    if not body.globals:
        body.globals.append(f".shared .align 16 .b8 words[{4 * body.block}];")
    mine, theirs = body.new("r"), body.new("r")
    base = body.new("r")
    body.emit(f"mov.u32 {base}, words;")
    body.emit(f"mad.lo.u32 {mine}, {body.tid}, 4, {base};")
    body.emit(f"add.u32 {theirs}, {body.tid}, 32;")
    body.emit(f"and.b32 {theirs}, {theirs}, {body.block - 1};")
    body.emit(f"mad.lo.u32 {theirs}, {theirs}, 4, {base};")
    return mine, theirs


def build_barrier(form, variants, row, sm):
    """A word goes through shared memory to another warp, with and without a thread count."""
    body = start(form, row, sm)
    mine, theirs = other_warp(body)
    x = body.load("b32.1")
    for instance in variants:
        for words in ("1", f"2, {body.block}"):
            d = body.new("r")
            body.emit(f"st.shared.b32 [{mine}], {x};")
            body.emit(f"{instance.name} {words};")
            body.emit(f"ld.shared.b32 {d}, [{theirs}];")
            body.emit("bar.sync 0;")
            body.emit(f"st.shared.b32 [{mine}], {d};")
            body.emit("bar.sync 0;")
            body.store(d, "b32", f"{instance.name} {words}")
    return body


def build_arrive(form, variants, row, sm):
    """Odd warps write and arrive, even ones wait and read."""
    body = start(form, row, sm)
    mine, theirs = other_warp(body)
    odd, p = body.new("r"), body.new("p")
    body.emit(f"and.b32 {odd}, {body.tid}, 32;")
    body.emit(f"setp.ne.u32 {p}, {odd}, 0;")
    for instance in variants:
        d, reads, done = zeroed(body, "b32"), body.label(), body.label()
        body.emit(f"@!{p} bra {reads};")
        body.emit(f"st.shared.b32 [{mine}], {body.load('b32.1')};")
        body.emit(f"{instance.name} 1, {body.block};")
        body.emit(f"bra {done};")
        body.lines.append(f"{reads}:")
        body.emit(f"bar.sync 1, {body.block};")
        body.emit(f"ld.shared.b32 {d}, [{theirs}];")
        body.lines.append(f"{done}:")
        body.emit("bar.sync 0;")
        body.store(d, "b32", instance.name)
    return body


def build_bar_red(form, variants, row, sm):
    body = start(form, row, sm)
    for instance in variants:
        kind = "pred" if instance.has("pred") else "u32"
        for words in ("1", f"2, {body.block}"):
            for bang in ("", "!"):
                d = body.new(kind)
                body.emit(f"{instance.name} {d}, {words}, {bang}{body.load('pred.0')};")
                body.store(d, kind, f"{instance.name} {words} {bang}p")
    return body


def build_warp_sync(form, variants, row, sm):
    body = start(form, row, sm)
    mine, _ = other_warp(body)
    next_lane, d = body.new("r"), body.new("r")
    body.emit(f"st.shared.b32 [{mine}], {body.load('b32.1')};")
    body.emit(f"{variants[0].name} 0xffffffff;")
    body.emit(f"xor.b32 {next_lane}, {mine}, 4;")
    body.emit(f"ld.shared.b32 {d}, [{next_lane}];")
    body.store(d, "b32", variants[0].name)
    return body


# ---- control ----

def build_bra(form, variants, row, sm):
    """Loops of as many turns as the lane says; with .uni as the warp says."""
    body = start(form, row, sm)
    for instance in variants:
        n, d, p, top = body.new("r"), zeroed(body, "u32"), body.new("p"), body.label()
        source = "u32.mask.0" if instance.has("uni") else "u32.small.0"
        body.emit(f"and.b32 {n}, {body.load(source)}, 15;")
        body.lines.append(f"{top}:")
        body.emit(f"mad.lo.u32 {d}, {d}, 3, {n};")
        body.emit(f"sub.u32 {n}, {n}, 1;")
        body.emit(f"setp.gt.s32 {p}, {n}, 0;")
        body.emit(f"@{p} {instance.name} {top};")
        body.store(d, "u32", instance.name)
    return body


def build_brx(form, variants, row, sm):
    body = start(form, row, sm)
    for instance in variants:
        n, d = body.new("r"), body.new("r")
        source = "u32.mask.0" if instance.has("uni") else "u32.small.0"
        body.emit(f"and.b32 {n}, {body.load(source)}, 3;")
        arms, table, end = [body.label() for _ in range(4)], body.label(), body.label()
        body.lines.append(f"{table}: .branchtargets {', '.join(arms)};")
        body.emit(f"{instance.name} {n}, {table};")
        for k, arm in enumerate(arms):
            body.lines.append(f"{arm}:")
            body.emit(f"mov.u32 {d}, {101 + k};")
            body.emit(f"bra {end};")
        body.lines.append(f"{end}:")
        body.store(d, "u32", instance.name)
    return body


def build_exit(form, variants, row, sm):
    """With .uni a whole CTA leaves, then two of three lanes; what is left stores."""
    body = start(form, row, sm)
    for instance in sorted(variants, key=lambda v: not v.has("uni")):
        p, d = body.new("p"), body.new("r")
        if instance.has("uni"):
            body.emit(f"mov.u32 {d}, %ctaid.x;")
        else:
            body.emit(f"rem.u32 {d}, {body.load('u32.small.0')}, 3;")
        body.emit(f"setp.ne.u32 {p}, {d}, 0;")
        body.emit(f"@{p} {instance.name};")
        body.store(body.tid, "u32", instance.name)
    return body


FUNCTION = """.func (.param .b32 r) golden_power(.param .b32 x, .param .b32 n)
{
  .reg .b32 %r<4>; .reg .pred %p;
  ld.param.b32 %r0, [x];
  ld.param.b32 %r1, [n];
  mov.b32 %r2, 1;
  setp.eq.u32 %p, %r1, 0;
  @%p bra END;
  sub.u32 %r3, %r1, 1;
  { .param .b32 a; .param .b32 b; .param .b32 c; st.param.b32 [a], %r0; st.param.b32 [b], %r3;
    call (c), golden_power, (a, b); ld.param.b32 %r2, [c]; }
  mad.lo.u32 %r2, %r2, %r0, %r1;
END:
  st.param.b32 [r], %r2;
  ret;
}"""


def build_call(form, variants, row, sm):
    """A function that calls itself as often as the lane says, by name and by address."""
    body = start(form, row, sm)
    body.globals.append(FUNCTION)
    n, f = body.new("r"), body.new("d")
    body.emit(f"and.b32 {n}, {body.load('u32.small.0')}, 7;")
    body.emit(f"mov.u64 {f}, golden_power;")
    body.emit("shape: .callprototype (.param .b32 _) _ (.param .b32 _, .param .b32 _);")
    x = body.load("u32.1")
    for instance in variants:
        for to, last in (("golden_power", ""), (f, ", shape")):
            d = body.new("r")
            body.emit("{")
            body.emit(".param .b32 a; .param .b32 b; .param .b32 c;")
            body.emit(f"st.param.b32 [a], {x};")
            body.emit(f"st.param.b32 [b], {n};")
            body.emit(f"{instance.name} (c), {to}, (a, b){last};")
            body.emit(f"ld.param.b32 {d}, [c];")
            body.emit("}")
            body.store(d, "u32", f"{instance.name}{last}")
    return body


def build_stack(form, variants, row, sm):
    """Memory on the stack is the thread's own, and is there again when it was given back."""
    body = start(form, row, sm)
    x = body.load("u32.1")
    for instance in variants:
        kind = instance.types[0]
        before, a, b, same, d = (body.new(kind), body.new(kind), body.new(kind), body.new("p"),
                                 body.new("r"))
        body.emit(f"stacksave.{kind} {before};")
        body.emit(f"alloca.{kind} {a}, 64, 16;")
        body.emit(f"st.local.b32 [{a}+60], {x};")
        body.emit(f"ld.local.b32 {d}, [{a}+60];")
        body.emit(f"stackrestore.{kind} {before};")
        body.emit(f"alloca.{kind} {b}, 64, 16;")
        body.emit(f"setp.eq.{kind} {same}, {a}, {b};")
        body.store(d, "u32", f"{instance.name} is memory")
        body.store(same, "pred", f"{instance.name} comes again")
    return body


def build_nothing(form, variants, row, sm):
    """Runs, and the data behind it is what it was."""
    body = start(form, row, sm)
    at = body.address("b32.1")
    generic = body.new("d")
    body.emit(f"cvta.global.u64 {generic}, {at};")
    for instance in variants:
        operand = {"nanosleep": " 20", "prefetch": f" [{generic}]", "pmevent": " 3",
                   "prefetchu": f" [{generic}]"}.get(form.opcode, "")
        if instance.has("global"):
            operand = f" [{at}]"
        if form.opcode == "applypriority":
            line = body.new("d")
            body.emit(f"and.b64 {line}, {at if instance.has('global') else generic}, -128;")
            operand = f" [{line}], 128"
        if form.opcode == "cp":
            line = body.new("d")
            body.emit(f"and.b64 {line}, {at}, -16;")
            hint = ", 0x12F0000000000000" if instance.has("L2::cache_hint") else ""
            operand = f" [{line}], 16{hint}"
        if instance.has("local"):
            body.locals[:] = [".local .align 16 .b8 spare[16];"]
            operand = " [spare]"
        d = body.new("r")
        body.emit(f"{instance.name}{operand};")
        body.emit(f"ld.global.b32 {d}, [{at}];")
        body.store(d, "b32", instance.name)
    return body


def build_fence(form, variants, row, sm):
    """A word written before it is read after it."""
    body = start(form, row, sm)
    mine, _ = other_warp(body)
    for k, instance in enumerate(variants):
        x, d = body.new("r"), body.new("r")
        body.emit(f"add.u32 {x}, {body.load('b32.1')}, {k};")
        body.emit(f"st.shared.b32 [{mine}], {x};")
        body.emit(f"{instance.name};")
        body.emit(f"ld.shared.b32 {d}, [{mine}];")
        body.store(d, "b32", instance.name)
    return body
