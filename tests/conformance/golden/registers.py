"""Kernels of instructions from registers to registers: operands as ops.def writes them decide
what is loaded, and each instance's results are stored."""
from .forms import WIDTH
from .ptx import Body

LUT = (0xE8, 0x96, 0xCA, 0x40)  # lop3: majority, xor, select, a & b & !c


def operand_type(text, types):
    """"0": the first type of the mnemonic; "W": twice as wide; a name is itself."""
    text = text.rstrip(">")
    if text == "W":
        return types[0][0] + str(2 * WIDTH[types[0]])
    return types[int(text)] if text.isdigit() else text


def is_byte(text, types):
    """A register of 8 bits, and no wider one."""
    return not text.endswith(">") and WIDTH.get(operand_type(text, types)) == 8


def input_names(instance, row):
    """The input of each operand that is read; None for a constant."""
    names, role = [], 0
    for text in instance.form.operands:
        if text.startswith("=") or text.endswith("?"):
            continue
        if text == "#":
            names.append(None)
        elif text == "f32x4":
            names.append([f"f32.{role + k}" for k in range(4)])
        elif text in ("p", "!p"):
            names.append(f"pred.{role}")
        else:
            kind = operand_type(text, instance.types)
            shift = text == "u32" and role > 0
            names.append(f"u32.small.{role}" if shift else f"{kind}.{row.inputs or role}")
        role += 1
    return names


def destination(body, text, types):
    """(what to write in the instruction, [(register, type)])."""
    if text.startswith("p|p") and not {"f16", "bf16"} & set(types):
        p, q = body.new("p"), body.new("p")
        return f"{p}|{q}", [(p, "pred"), (q, "pred")]
    if text == "0|p":
        d, p = body.new(types[0]), body.new("p")
        return f"{d}|{p}", [(d, types[0]), (p, "pred")]
    kind = "pred" if text.startswith("p") else operand_type(text, types)
    d = body.new("b" if is_byte(text, types) else kind)
    return d, [(d, kind)]


def value(body, instance, operand, name):
    """A register, or a vector of them, with an input."""
    if isinstance(name, list):
        return "{" + ", ".join(body.load(n) for n in name) + "}"
    x = body.load(name)
    if is_byte(operand, instance.types):
        byte = body.new("b")
        body.emit(f"mov.b16 {{{byte}, _}}, {x};")
        return byte
    return x


def one(body, instance, row, constant=None, negate=False):
    """One instruction and the stores of what it writes."""
    operands = instance.form.operands
    text, made = destination(body, operands[0][1:], instance.types)
    words = [text]
    for operand, name in zip(operands[1:], input_names(instance, row)):
        x = str(constant) if name is None else value(body, instance, operand, name)
        words.append("!" + x if operand == "!p" and negate else x)
    body.emit(f"{instance.name} {', '.join(words)};")
    tags = [instance.name] + [str(constant)] * (constant is not None) + ["!"] * negate
    for k, (register, kind) in enumerate(made):
        if register.startswith("%b"):
            byte, register, kind = register, body.new("h"), "b16"
            body.emit(f"mov.b16 {register}, {{{byte}, 0}};")
        body.store(register, kind, " ".join(tags + [f"#{k}"] * (len(made) > 1)))


def idle_sat(instance):
    """A conversion between whole numbers of which none can be out of range: .sat is refused."""
    if instance.form.opcode != "cvt" or not instance.has("sat") or len(instance.types) != 2:
        return False
    (to, m), (source, n) = ((t[0], WIDTH[t]) for t in instance.types)
    return {to, source} <= {"s", "u"} and (m >= n if to == source else to == "s" and m > n)


def build(form, variants, row, sm):
    body = Body("", sm, form.version, row.n)
    body.begin()
    for instance in variants:
        if idle_sat(instance):
            continue
        for constant in LUT if "#" in form.operands else (None,):
            one(body, instance, row, constant)
        if "!p" in form.operands:
            one(body, instance, row, negate=True)
    return body


def build_carry(form, variants, row, sm):
    """The carry that goes in comes from a sum; the one that comes out is added to 0."""
    body = Body("", sm, form.version, row.n)
    body.begin()
    for instance in variants:
        low = body.new("r")
        body.emit(f"add.cc.u32 {low}, {body.load('u32.0')}, {body.load('u32.1')};")
        one(body, instance, row)
        if instance.has("cc"):
            d = body.new("r")
            body.emit(f"addc.u32 {d}, 0, 0;")
            body.store(d, "u32", f"{instance.name} carry")
    return body


SELECTORS = {1: ["", ".b2", ".h0", ".h1", ".b0"], 2: ["", ".h13", ".h20"], 4: ["", ".b7160", ".b2231"]}
WRITTEN = {1: ["", ".b3", ".h0"], 2: ["", ".h1"], 4: ["", ".b20"]}


def build_video(form, variants, row, sm):
    """Each with a few selectors; vmad with signs."""
    body = Body("", sm, form.version, row.n)
    body.begin()
    n = int(form.opcode[-1]) if form.opcode[-1].isdigit() else 1
    a, b, c = (body.load(f"b32.{k}") for k in range(3))
    for k, instance in enumerate(variants):
        second = n == 1 and instance.has("add", "min", "max")
        mad = form.opcode == "vmad"
        for j in range(2):
            select = SELECTORS[n]
            x, y = select[(k + j) % len(select)], select[(k + 2 * j + 1) % len(select)]
            z = "" if second or mad else WRITTEN[n][(k + j) % len(WRITTEN[n])]
            sign = "-" if mad and j and not instance.has("po") else ""
            third = f", {c}" if n > 1 or second or mad or z else ""
            d = body.new("b32")
            body.emit(f"{instance.name} {d}{z}, {sign}{a}{x}, {b}{y}{third};")
            body.store(d, "b32", f"{instance.name} {z} {sign}{x} {y}")
    return body


def build_mov(form, variants, row, sm):
    """Registers, packing and unpacking, and special registers."""
    body = Body("", sm, form.version, row.n)
    body.begin()
    for instance in variants:
        kind = instance.types[0]
        d = body.new(kind)
        body.emit(f"{instance.name} {d}, {body.load(kind + '.0')};")
        body.store(d, kind, instance.name)
    pack(body)
    return body


def build_mov_wide(form, variants, row, sm):
    """128 bits: from two of 64 and from four of 32, moved, and back into both."""
    body = Body("", sm, form.version, row.n)
    body.begin()
    for count, kind in ((2, "b64"), (4, "b32")):
        q, r, parts = body.new("q"), body.new("q"), [body.new(kind) for _ in range(count)]
        whole = [body.load(f"{kind}.{k}") for k in range(count)]
        body.emit(f"mov.b128 {q}, {{{', '.join(whole)}}};")
        body.emit(f"mov.b128 {r}, {q};")
        body.emit(f"mov.b128 {{{', '.join(parts)}}}, {r};")
        for k, part in enumerate(parts):
            body.store(part, kind, f"mov.b128 {k} of {count}")
        body.store(r, "b128", f"mov.b128 of {count}")
    return body


def pack(body):
    for wide, narrow, n in (("b32", "b16", 2), ("b64", "b32", 2), ("b64", "b16", 4)):
        parts, x = [body.new(narrow) for _ in range(n)], body.load(f"{wide}.1")
        body.emit(f"mov.{wide} {{{', '.join(parts)}}}, {x};")
        for k, part in enumerate(parts):
            body.store(part, narrow, f"mov.{wide} unpack {k} of {n}")
        d = body.new(wide)
        body.emit(f"mov.{wide} {d}, {{{', '.join(reversed(parts))}}};")
        body.store(d, wide, f"mov.{wide} pack {n}")
    for name in ("%tid.x", "%tid.y", "%ntid.x", "%ntid.z", "%ctaid.x", "%nctaid.x", "%laneid",
                 "%lanemask_eq", "%lanemask_le", "%lanemask_lt", "%lanemask_ge",
                 "%lanemask_gt"):
        d = body.new("r")
        body.emit(f"mov.u32 {d}, {name};")
        body.store(d, "u32", f"mov.u32 {name}")


def build_mov_pred(form, variants, row, sm):
    body = Body("", sm, form.version, row.n)
    body.begin()
    d = body.new("p")
    body.emit(f"mov.pred {d}, {body.load('pred.0')};")
    body.store(d, "pred", "mov.pred")
    return body
