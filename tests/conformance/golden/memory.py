"""Kernels of loads, stores, atomics and copies: each thread owns 16 bytes wherever it looks,
filled from an input of that size."""
from .forms import WIDTH
from .ptx import Body

POLICY = "0x12F0000000000000"  # of an L2 cache hint: evict first, as createpolicy makes it
CONSTANTS = ", ".join(str((37 * k + 11) % 256) for k in range(64))
SPACES = ("global", "shared", "shared::cta", "shared::cluster", "local", "const", "param",
          "param::entry", "param::func")
DECLARED = {"shared": ".shared .align 16 .b8 own_shared[2048];",
            "local": ".local .align 16 .b8 own_local[16];",
            "const": f".const .align 16 .b8 own_const[64] = {{{CONSTANTS}}};"}


ECHO = """.func (.param .align 16 .b8 r[16]) golden_echo(.param .align 16 .b8 x[16])
{
  .reg .b64 %d<2>;
  ld.param.v2.b64 {%d0, %d1}, [x];
  st.param.v2.b64 [r], {%d0, %d1};
  ret;
}"""


def start(form, row, sm):
    wide = any("b128" in slot for slot in form.slots)  # with .sys, of PTX 8.4
    body = Body("", sm, max(form.version, 84 if wide else 0), row.n)
    body.begin()
    return body


def space_of(instance):
    """Parameters of functions: the argument and the result of a call."""
    found = [m for m in instance.mods if m in SPACES]
    space = found[-1].split("::")[0] if found else "generic"
    own = space == "param" and (found[-1] == "param::func" or instance.form.opcode == "st")
    return "argument" if own else space


def dotted(space):
    return {"generic": "", "argument": ".param"}.get(space, f".{space}")


def where(body, space):
    """The address of this thread's 16 bytes in a space, made once; not filled."""
    places = body.__dict__.setdefault("places", {})
    if space not in places:
        places[space] = place(body, space)
    return places[space]


def place(body, space):
    if space in ("global", "generic"):
        source = body.address("b64x2.0")
        if space == "global":
            return source
        generic = body.new("d")
        body.emit(f"cvta.global.u64 {generic}, {source};")
        return generic
    if space == "param":
        body.address("b64x2.0")
        return "in0"  # the address of the input: a result says whether it was read
    if space == "argument":
        return "own_argument"
    declared = body.locals if space == "local" else body.globals
    if DECLARED[space] not in declared:
        declared.append(DECLARED[space])
    at = body.new("d")
    body.emit(f"mov.u64 {at}, own_{space};")
    if space != "local":
        lane = body.new("d")
        body.emit(f"cvt.u64.u32 {lane}, {body.tid};")
        if space == "const":
            body.emit(f"and.b64 {lane}, {lane}, 3;")
        body.emit(f"mad.lo.u64 {at}, {lane}, 16, {at};")
    return at


def fill(body, space, k):
    """This thread's 16 bytes of input, plus k, are in the space."""
    if space in ("const", "param") or (space in ("global", "generic") and k == 0):
        return
    low, high = sixteen(body)
    a = body.new("d")
    body.emit(f"add.u64 {a}, {low}, {k};")
    body.emit(f"st{dotted(space)}.v2.b64 [{where(body, space)}], {{{a}, {high}}};")


def open_call(body):
    if ECHO not in body.globals:
        body.globals.append(ECHO)
    body.emit("{ .param .align 16 .b8 own_argument[16]; .param .align 16 .b8 own_result[16];")


def call(body):
    body.emit("call (own_result), golden_echo, (own_argument);")


def sixteen(body):
    if "sixteen" not in body.__dict__:
        body.sixteen = body.new("d"), body.new("d")
        source = body.address("b64x2.0")
        body.emit(f"ld.global.v2.b64 {{{', '.join(body.sixteen)}}}, [{source}];")
    return body.sixteen


def vector(registers):
    return registers[0] if len(registers) == 1 else f"{{{', '.join(registers)}}}"


def vector_of(instance):
    return next((int(m[1]) for m in instance.mods if m in ("v2", "v4", "v8")), 1)


def too_wide(instance):
    return vector_of(instance) * WIDTH[instance.types[0]] > 128


def value(body, kind, role):
    if kind != "b128":
        return body.load(f"{kind if WIDTH[kind] > 8 else 'b16'}.{role}")
    q = body.new("q")
    body.emit(f"mov.b128 {q}, {{{body.load('b64.0')}, {body.load('b64.1')}}};")
    return q


def policy(body, instance):
    """The operand that an L2 cache hint needs, in a register."""
    if not instance.has("L2::cache_hint"):
        return ""
    d = body.new("d")
    body.emit(f"mov.b64 {d}, {POLICY};")
    return f", {d}"


def build_ld(form, variants, row, sm):
    body = start(form, row, sm)
    for instance in variants:
        space, kind = space_of(instance), instance.types[0]
        if too_wide(instance) or (space == "param" and WIDTH[kind] * vector_of(instance) > 64):
            continue
        called = space == "argument"
        if called:
            open_call(body)
        fill(body, space, 0)
        if called:
            call(body)
        wide = kind if WIDTH[kind] > 16 or kind[0] == "f" else "b32"
        parts = [body.new(wide) for _ in range(vector_of(instance))]
        at = "own_result" if called else where(body, space)
        body.emit(f"{instance.name} {vector(parts)}, [{at}]{policy(body, instance)};")
        if called:
            body.emit("}")
        for k, part in enumerate(parts):
            if space == "param":
                body.store(is_in0(body, part, wide, WIDTH[kind], k), "pred",
                           f"{instance.name} [{k}] is the parameter's")
            else:
                body.store(part, wide, f"{instance.name} [{k}]")
    return body


def is_in0(body, x, wide, bits, k):
    """Is x the k-th group of so many bits of parameter in0?  An address says nothing by
    itself, and is another one in every run."""
    whole, e, p = body.new("d"), body.new("d"), body.new("p")
    body.emit(f"ld.param.u64 {whole}, [in0];")
    body.emit(f"shr.u64 {whole}, {whole}, {bits * k % 64};")
    body.emit(f"mov.b64 {e}, {x};" if WIDTH[wide] == 64 else
              f"cvt.u64.u{WIDTH[wide]} {e}, {x};")
    for d in (whole, e) if bits < 64 else ():
        body.emit(f"and.b64 {d}, {d}, {(1 << bits) - 1};")
    body.emit(f"setp.eq.b64 {p}, {e}, {whole};")
    return p


def build_st(form, variants, row, sm):
    body = start(form, row, sm)
    for k, instance in enumerate(variants):
        if too_wide(instance):
            continue
        space, kind = space_of(instance), instance.types[0]
        called = space == "argument"
        if called:
            open_call(body)
        fill(body, space, k + 1)
        parts = [value(body, kind, 1 + i % 2) for i in range(vector_of(instance))]
        at = where(body, space)
        body.emit(f"{instance.name} [{at}], {vector(parts)}{policy(body, instance)};")
        low, high = body.new("d"), body.new("d")
        if called:
            call(body)
            at = "own_result"
        body.emit(f"ld{dotted(space)}.v2.b64 {{{low}, {high}}}, [{at}];")
        if called:
            body.emit("}")
        body.store(low, "b64", f"{instance.name} low")
        body.store(high, "b64", f"{instance.name} high")
    return body


def sources(body, instance, kind, space):
    """(16 bytes that are there before, [a register for each element]) of a vector or b128."""
    count = next((int(m[1:]) for m in instance.mods if m in ("v2", "v4", "v8")), 1)
    low, high = (body.load(f"b64.{k}") for k in (4, 5))
    body.emit(f"st{space}.v2.b64 [{where(body, space_of(instance))}], {{{low}, {high}}};")
    if kind != "b128":
        return [body.load(f"{kind}.{k}") for k in range(count)]
    q, other = body.new("q"), body.new("q")
    body.emit(f"mov.b128 {q}, {{{body.load('b64.0')}, {body.load('b64.1')}}};")
    if not instance.has("cas"):
        return [q]
    odd = every_other(body, high, body.load("b64.1"), 64)
    body.emit(f"mov.b128 {other}, {{{low}, {odd}}};")
    return [other, q]


def wide_atom(body, instance, returns):
    """A vector, or 128 bits."""
    space, kind = space_of(instance), instance.types[0]
    at, name = where(body, space), dotted(space)
    values = sources(body, instance, kind, name)
    old = [body.new(kind) for _ in values][:1 if kind == "b128" else None]

    def braced(registers):
        return "{" + ", ".join(registers) + "}"
    words = values if kind == "b128" else [braced(values)]
    text = [old[0] if kind == "b128" else braced(old)] * returns + [f"[{at}]"] + words
    text += [POLICY] * instance.has("L2::cache_hint")
    body.emit(f"{instance.name} {', '.join(text)};")
    for k, d in enumerate(old * returns):
        body.store(d, kind, f"{instance.name} old {k}")
    low, high = body.new("d"), body.new("d")
    body.emit(f"ld{name}.v2.b64 {{{low}, {high}}}, [{at}];")
    body.store(low, "b64", f"{instance.name} new")
    body.store(high, "b64", f"{instance.name} new, high")


def build_atom(form, variants, row, sm):
    """Each thread at its own address: what was there, what is there."""
    body = start(form, row, sm)
    returns = form.operands[0].startswith("=")
    for k, instance in enumerate(variants):
        space, kind = space_of(instance), instance.types[0]
        if space == "shared" and instance.has("L2::cache_hint"):
            continue  # refused by every assembler
        if kind == "b128" or "v0" in form.operands:
            wide_atom(body, instance, returns)
            continue
        at, b = where(body, space), body.load(f"{kind}.1")
        name = "" if space == "generic" else f".{space}"
        bits = WIDTH[kind]
        a = body.load(f"{kind}.0")
        body.emit(f"st{name}.b{bits} [{at}], {a};")
        words = [f"[{at}]", b]
        if instance.has("cas"):  # every other thread finds what it compares with
            words = [f"[{at}]", every_other(body, a, b, bits), b]
        d = body.new(kind)
        text = ", ".join([d] * returns + words + [POLICY] * instance.has("L2::cache_hint"))
        body.emit(f"{instance.name} {text};")
        if returns:
            body.store(d, kind, f"{instance.name} old")
        e = body.new(kind)
        body.emit(f"ld{name}.b{bits} {e}, [{at}];")
        body.store(e, kind, f"{instance.name} new")
    return body


def every_other(body, a, b, bits):
    odd, p, c = body.new("r"), body.new("p"), body.new(f"b{bits}")
    body.emit(f"and.b32 {odd}, {body.tid}, 1;")
    body.emit(f"setp.ne.u32 {p}, {odd}, 0;")
    body.emit(f"selp.b{bits} {c}, {a}, {b}, {p};")
    return c


def build_cvta(form, variants, row, sm):
    """There and back: the same 16 bytes are found."""
    body = start(form, row, sm)
    for instance in variants:
        space = space_of(instance)
        fill(body, space, 1)
        at, d = where(body, space), body.new("d")
        if space == "param":
            at = body.new("d")
            body.emit(f"mov.u64 {at}, in0;")
        if instance.has("to"):
            generic = body.new("d")
            body.emit(f"cvta.{space}.u64 {generic}, {at};")
            at = generic
        body.emit(f"{instance.name} {d}, {at};")
        name = f".{space}" if instance.has("to") else ""
        low = body.new("d")
        body.emit(f"ld{name}.b64 {low}, [{d}];")
        if space == "param":
            low = is_in0(body, low, "b64", 64, 0)
        body.store(low, "b64", instance.name)
    return body


def build_isspacep(form, variants, row, sm):
    """Each question asked about an address of each space."""
    body = start(form, row, sm)
    addresses = []
    for space in ("global", "shared", "local", "const"):
        d = body.new("d")
        body.emit(f"cvta.{space}.u64 {d}, {where(body, space)};")
        addresses.append((space, d))
    for instance in variants:
        for space, address in addresses:
            p = body.new("p")
            body.emit(f"{instance.name} {p}, {address};")
            body.store(p, "pred", f"{instance.name} of {space}")
    return body


# ---- more than 16 bytes, caches ----

def wide(body):
    """The address of this thread's own 32 bytes, in global memory."""
    if "own_wide" not in body.__dict__:
        body.globals.append(f".global .align 32 .b8 own_wide[{32 * body.n}];")
        body.own_wide = body.new("d")
        body.emit(f"mov.u64 {body.own_wide}, own_wide;")
        body.emit(f"mad.lo.u64 {body.own_wide}, {body.i}, 32, {body.own_wide};")
    return body.own_wide


def build_wide(form, variants, row, sm):
    """Loads and stores of 32 bytes."""
    body = start(form, row, sm)
    low, high = sixteen(body)
    for instance in variants:
        kind, n = instance.types[0], vector_of(instance)
        at, to = wide(body), wide(body)
        if not instance.has("global"):
            to = body.new("d")
            body.emit(f"cvta.global.u64 {to}, {at};")
        body.emit(f"st.global.v2.b64 [{at}], {{{low}, {high}}};")
        body.emit(f"st.global.v2.b64 [{at}+16], {{{high}, {low}}};")
        if form.opcode == "ld":
            parts = [body.new(kind) for _ in range(n)]
            body.emit(f"{instance.name} {vector(parts)}, [{to}]{policy(body, instance)};")
            for k in (0, 3, n - 1):
                body.store(parts[k], kind, f"{instance.name} [{k}]")
            continue
        parts = [body.load(f"{kind}.{k % 3}") for k in range(n)]
        body.emit(f"{instance.name} [{to}], {vector(parts)}{policy(body, instance)};")
        for k in range(4):
            d = body.new("d")
            body.emit(f"ld.global.b64 {d}, [{at}+{8 * k}];")
            body.store(d, "b64", f"{instance.name} {k}")
    return body


def build_policy(form, variants, row, sm):
    """A policy says nothing by its bits; a load with it finds what it would without."""
    body = start(form, row, sm)
    at = where(body, "global")
    for instance in variants:
        d, x = body.new("d"), body.new("d")
        if instance.has("cvt"):
            body.emit(f"mov.b64 {x}, {POLICY};")
            words = [x]
        elif instance.has("range"):
            words = [f"[{at}]", "256", "1024"]
        else:
            words = ["0.5"]
        body.emit(f"{instance.name} {', '.join([d, *words])};")
        body.emit(f"ld.global.L2::cache_hint.b64 {x}, [{at}], {d};")
        body.store(x, "b64", instance.name)
    return body


def build_fill(form, variants, row, sm):
    """The first thread fills a part of what all have written."""
    body = start(form, row, sm)
    at, first, base = where(body, "shared"), body.new("p"), body.new("d")
    body.emit(f"setp.eq.u32 {first}, {body.tid}, 0;")
    body.emit(f"mov.u64 {base}, own_shared;")
    for k, instance in enumerate(variants):
        to = base
        if not instance.has("shared::cta"):
            to = body.new("d")
            body.emit(f"cvta.shared.u64 {to}, {base};")
        fill(body, "shared", k + 1)
        body.emit("bar.sync 0;")
        body.emit(f"@{first} {instance.name} [{to}+24], 1000, 0;")
        body.emit("bar.sync 0;")
        low, high = body.new("d"), body.new("d")
        body.emit(f"ld.shared.v2.b64 {{{low}, {high}}}, [{at}];")
        body.store(low, "b64", f"{instance.name} low")
        body.store(high, "b64", f"{instance.name} high")
        body.emit("bar.sync 0;")
    return body


# ---- cp.async ----

def build_cp_async(form, variants, row, sm):
    """Whole copies, and ones of which only some bytes, or none, come from the source."""
    body = start(form, row, sm)
    shared, source = where(body, "shared"), where(body, "global")
    for k, instance in enumerate(variants):
        wait = ("cp.async.commit_group;\n  cp.async.wait_group 0;", "cp.async.wait_all;")[k % 2]
        for bytes_ in (4, 8, 16) if instance.has("ca") else (16,):
            for limit in ("", "zero", "some", "ignore"):
                fill(body, "shared", k + 1)
                body.emit(f"{instance.name} [{shared}], [{source}], {bytes_}"
                          f"{rest(body, limit, bytes_)}{policy(body, instance)};")
                body.emit(wait)
                low, high = body.new("d"), body.new("d")
                body.emit(f"ld.shared.v2.b64 {{{low}, {high}}}, [{shared}];")
                tag = f"{instance.name} {bytes_} {limit}".rstrip()
                body.store(low, "b64", f"{tag} low")
                body.store(high, "b64", f"{tag} high")
    return body


def rest(body, limit, size):
    if limit == "ignore":
        return f", {body.load('pred.0')}"
    if limit == "some":
        n = body.new("r")
        body.emit(f"rem.u32 {n}, {body.load('u32.small.0')}, {size + 1};")
        return f", {n}"
    return ", 0" if limit == "zero" else ""


def build_cp_wait(form, variants, row, sm):
    """Three groups in flight; waiting for all but N, or for everything."""
    body = start(form, row, sm)
    source = where(body, "global")
    body.globals.append(".shared .align 16 .b8 stages[6144];")
    base, lane = body.new("d"), body.new("d")
    body.emit(f"mov.u64 {base}, stages;")
    body.emit(f"cvt.u64.u32 {lane}, {body.tid};")
    body.emit(f"mad.lo.u64 {base}, {lane}, 16, {base};")
    for instance in variants:
        commits = instance.has("commit_group")
        for left in ("2", "1", "0") if "#" in form.operands else ("",):
            for stage in range(3):
                body.emit(f"cp.async.cg.shared.global [{base}+{2048 * stage}], [{source}], 16;")
                body.emit("cp.async.commit_group;")
            body.emit("cp.async.wait_group 0;" if commits else f"{instance.name} {left};")
            for stage in range(3 - int(left or 0)):
                d = body.new("d")
                body.emit(f"ld.shared.b64 {d}, [{base}+{2048 * stage}];")
                body.store(d, "b64", f"{instance.name} {left} stage {stage}")
            body.emit("cp.async.wait_all;")
    return body
