"""What the emulator accepts, the assembler accepts.

Reads emulator/ptx/ops.def, makes statements of every form (and spoils some of them), and asks
both: what the emulator takes and ptxas refuses is an error.  The other way round is allowed
for one legal statement in ten: the emulator has fewer forms.

    emu_forms.py SHARD OPS.def EMULATOR.so PTXAS TARGET:VERSION…     such as 0/1 … 80:70
    emu_forms.py exact:SHARD OPS.def …

SHARD i/n: every n-th form, from the i-th.  exact: a few statements of every form as the
table has them, and where the other way round is an error too: so a form's targets are those
of ptxas, none fewer."""
import ctypes
import itertools
import os
import random
import re
import subprocess
import sys
import tempfile

TYPES = {"pred", "b8", "b16", "b32", "b64", "b128", "u8", "u16", "u32", "u64", "s8", "s16", "s32",
         "s64", "u16x2", "s16x2", "f16", "f16x2", "bf16", "bf16x2", "e4m3x2", "e5m2x2", "e2m3x2", "e3m2x2", "e2m1x2",
         "ue8m0x2", "e4m3x4", "e5m2x4", "e2m3x4", "e3m2x4", "e2m1x4", "tf32", "f32", "f32x2",
         "f64"}
PACKED = {"u16x2": 32, "s16x2": 32, "f16x2": 32, "bf16x2": 32, "tf32": 32, "f32x2": 64, "e2m1x2": 8,
          "e4m3x2": 16, "e5m2x2": 16, "e2m3x2": 16, "e3m2x2": 16, "ue8m0x2": 16, "e2m1x4": 16,
          "e4m3x4": 32, "e5m2x4": 32, "e2m3x4": 32, "e3m2x4": 32}
SPACES = ("global", "shared", "shared::cta", "shared::cluster", "local", "const", "param",
          "param::entry", "param::func")
STRANGE = ["f32", "s32", "ftz", "rn", "sat", "u64", "b16", "relu", "cta", "shared", "v2",
           "aligned", "f16", "lo"]
EACH, FEW, BATCH = 40, 4, 300
HEAD = """.version %d.%d
.target sm_%s
.address_size 64
.func ff() { ret; }
.func (.param .align 16 .b8 r[16]) gg(.param .align 16 .b8 a[16]) { ret; }
.visible .entry k(.param .u64 par) {
.reg .pred %%p<40>; .reg .b16 %%rs<40>; .reg .b32 %%r<140>; .reg .b64 %%rd<40>;
.reg .b8 %%b<40>; .reg .f32 %%f<140>; .reg .f64 %%fd<40>;%s
.shared .align 16 .b8 sh[64]; .param .align 16 .b8 arg[16]; .param .align 16 .b8 res[16];
tt: .branchtargets END;
call (res), gg, (arg);
%s
call (_), gg, (arg);
END: ret;
}
"""


def read_forms(path):
    text = open(path, encoding="utf-8").read()
    sets = dict(re.findall(r'SET\("(\w+)",\s*"([^"]*)"\)', text))
    forms = re.findall(r'FORM\("([^"]*)",\s*"([^"]*)",\s*\w+,\s*\d+,\s*(\w+),', text)
    if len(forms) != len(re.findall(r"^FORM\(\"", text, re.M)):
        sys.exit("not every form is read")
    return sets, forms


def slots(sets, mnemonic):
    """For each slot what may stand there; None: nothing."""
    for slot in mnemonic.split()[1:]:
        optional, slot = slot.endswith("?"), slot.rstrip("?")
        names = sets[slot[1:]] if slot[0] == "@" else slot
        if "#" in names:  # columns of a product of a warpgroup
            names = "|".join(names.replace("#", str(n)) for n in range(8, 257, 8))
        yield ([None] if optional else []) + names.split("|")


def bits(name):
    return PACKED.get(name) or int(re.sub(r"\D", "", name) or 1)


def register(name, k, exact=False):
    """exact: a wider one will not do."""
    if name == "pred":
        return f"%p{k}"
    if name == "f32":
        return f"%f{k}"
    if name == "f64":
        return f"%fd{k}"
    if exact and bits(name) == 8:
        return f"%b{k}"
    return ("%rs", "%r", "%rd", "%q")[sum(bits(name) > n for n in (16, 32, 64))] + str(k)


def address(builder, mods, k):
    if builder == "cp_async":
        return "[%rd1]" if k else "[sh]"
    if builder == "tensormap_copy":
        return "[%r1]" if k else "[%rd1]"
    if builder in ("tma_load", "tma_store"):
        return "[%r1]" if k else "[sh]"
    if builder in ("bulk_load", "bulk_store"):
        return "[%rd1]" if k == (builder == "bulk_load") else "[sh]"
    space = next((m for m in mods if m in SPACES), "")
    if space.startswith("param"):
        return "[arg]" if builder == "st" else "[res]" if space == "param::func" else "[par]"
    return "[%r1]" if space.startswith("shared") else "[%rd1]"


def operand(want, builder, mods, types, k):
    if want == "[]":
        return address(builder, mods, k)
    if want == "=b64" and builder == "mbar_arrive" and "shared::cluster" in mods:
        return "_"
    if want == "[,]":
        rank = next((int(m[0]) for m in mods if re.fullmatch(r"\dd", m)), 1)
        rank = 5 if {"tile::gather4", "tile::scatter4"} & set(mods) else rank
        return "[%rd1, {" + ", ".join(f"%r{9 + i}" for i in range(rank)) + "}]"
    if want == "#":
        return {"cp_async": "16", "lop3": "7", "tma_fence": "128", "tensormap_copy": "128",
                "tensormap": "0",
                "setmaxnreg": "64", "discard": "128", "prefetch": "128",
                "st_bulk": "0"}.get(builder, "1")
    if builder == "call":
        return "ff"
    if builder == "stack" and k == 0:
        return register(types[0], 1)
    if want in ("L", "T"):
        return "END" if want == "L" else "tt"
    exact = not want.endswith(">")
    want = want.lstrip("=!").rstrip(">")
    second, want = want.endswith("|p"), want.removesuffix("|p")
    count = 0
    if want.startswith("v"):
        count = next((int(m[1]) for m in mods if m in ("v2", "v4", "v8")), 0)
        want = want[1:]
    match = re.fullmatch(r"([bsf]\d+)x(\d)", want)
    if match:
        want, count = match[1], int(match[2])
    if want == "*":
        want = types[0] if types else "u64"
    elif want == "W":
        want = types[0][0] + str(2 * bits(types[0]))
    elif want == "p":
        want = "pred"
    elif want.isdigit():
        want = types[int(want)]
    if count:
        return "{" + ", ".join(register(want, max(4, count) * k + i + 1) for i in range(count)) + "}"
    return register(want, k + 1, exact) + (f"|%p{k + 1}" if second else "")


def vector(letter, first, count):
    return "{" + ", ".join(f"%{letter}{first + i}" for i in range(count)) + "}"


def product(mods):
    """Operands of wgmma: A from a descriptor or from registers, by n."""
    shape = next(m for m in mods if m.startswith("m64n"))
    n, k = (int(x) for x in re.findall(r"\d+", shape)[1:])
    kind = mods[mods.index(shape) + 1]
    out = [vector("r", 0, n // 4) if kind == "f16" else
           vector("r" if kind == "s32" else "f", 0, n // 2)]
    out += [vector("r", 130, 4) if n % 24 == 0 else "%rd1", "%rd2"]
    out += [("0", "1", "%p1", "!%p1")[n // 8 % 4]]
    if kind == "s32":
        return out
    out += [("1", "-1")[n // 16 % 2], "1"]
    return out + (["0"] if k == 16 and n % 24 else []) + (["1"] if k == 16 else [])


def video(opcode, builder, mods, extra):
    """Operands of video instructions; extra: with selectors, or vmad's signs."""
    second = {"add", "min", "max"} & set(mods)
    if builder == "vmad":
        return ["%r1", "-%r2.h1", "%r3", "%r4"] if extra and "po" not in mods else \
            ["%r1", "%r2.b3", "%r3", "%r4"]
    if builder == "video":
        if extra and not second:
            return ["%r1.h1", "%r2.b2", "%r3.h0", "%r4"]
        return ["%r1", "%r2.b0" if extra else "%r2", "7"] + (["%r4"] if second else [])
    if not extra:
        return ["%r1", "%r2", "%r3", "%r4"]
    return ["%r1.h0", "%r2.h13", "%r3.h20", "%r4"] if builder == "video2" else \
        ["%r1.b20", "%r2.b7160", "%r3.b2222", "%r4"]


def statement(form, choice, extra=False):
    """extra: with what may be left out."""
    mnemonic, wants, builder = form
    mods = [c for c in choice if c]
    types = [m for m in mods if m in TYPES]
    name = ".".join([mnemonic.split()[0]] + mods)
    out = []
    if builder.startswith("video") or builder == "vmad":
        return name + " " + ", ".join(video(mnemonic.split()[0], builder, mods, extra)) + ";"
    if builder == "wgmma":
        return name + " " + ", ".join(product(mods)) + ";"
    for k, want in enumerate(wants.split()):
        if not want.endswith("?"):
            out.append(operand(want, builder, mods, types, k))
        elif want == "b64?" and "L2::cache_hint" in mods:
            out.append("%rd30")
        elif want == "0?" and extra:
            out.append(operand("0", builder, mods, types, k))
    if builder == "cp_async" and "L2::cache_hint" in mods:
        out.append("%rd30")
    return name + (" " + ", ".join(out) if out else "") + ";"


def spoilt(rng, text):
    """The statement without one of its modifiers, with another in its place, and with all of
    them in another order."""
    name, _, rest = text.partition(" ")
    parts = name.rstrip(";").split(".")
    if "|" in rest:
        yield name + " " + re.sub(r"\|%p\d+", "", rest)
    if len(parts) < 3:
        return
    k = rng.randrange(1, len(parts))
    for new in ([], [rng.choice(STRANGE)]):
        name = ".".join(parts[:k] + new + parts[k + 1:])
        yield name + " " + rest if rest else name + ";"
    mods = parts[1:]
    rng.shuffle(mods)
    name = ".".join(parts[:1] + mods)
    yield name + " " + rest if rest else name + ";"


def statements(path, shard):
    sets, forms = read_forms(path)
    exact = shard.startswith("exact:")
    first, step = map(int, shard.removeprefix("exact:").split("/"))
    seen = {}
    for form in forms[first::step]:
        rng = random.Random(form[0])  # the same statements in every shard
        choices = list(itertools.product(*slots(sets, form[0])))
        most = FEW if exact else EACH
        if len(choices) > most:
            choices = rng.sample(choices, most)
        for choice in choices:
            text = statement(form, choice)
            seen[text] = True
            seen[statement(form, choice, extra=True)] = True
            if rng.random() < 0.3 and not exact:
                seen.update((t, True) for t in spoilt(rng, text))
    return list(seen)


def module(target, version, lines):
    wide = " .reg .b128 %q<40>;" if version >= 83 else ""
    return HEAD % (version // 10, version % 10, target, wide, "\n".join(lines))


def complaints(ptxas, path, target, version, texts):
    """{statement: reason} of one run; of many an assembler that dies says nothing, and halves
    are asked."""
    text = module(target, version, texts)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    run = subprocess.run([ptxas, f"-arch=sm_{target}", "-c", path, "-o", os.devnull],
                         capture_output=True, text=True)
    lines, bad = text.split("\n"), {}
    for why in (run.stdout + run.stderr).split("\n") if run.returncode else []:
        n = re.search(r"line '?(\d+)", why) if "Advisory" not in why else None
        if n and int(n[1]) <= len(lines) and lines[int(n[1]) - 1] in texts:
            bad[lines[int(n[1]) - 1]] = why
    if run.returncode and not bad:
        if run.returncode > 0 and len(texts) == 1:
            sys.exit(f"ptxas: {run.stdout}{run.stderr}{texts[0]}")
        half = len(texts) // 2
        for part in (texts[:half], texts[half:]) if half else ():
            bad.update(complaints(ptxas, path, target, version, part))
        if not half:
            bad[texts[0]] = "ptxas died of it"
    return bad


def refused_by_ptxas(ptxas, target, version, texts):
    """{statement: reason}, by leaving out what is complained about until nothing is."""
    bad = {}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "t.ptx")
        for start in range(0, len(texts), BATCH):
            left = texts[start:start + BATCH]
            while left:
                found = complaints(ptxas, path, target, version, left)
                bad.update(found)
                left = [t for t in left if t not in found] if found else []
    return bad


class Emulator:
    def __init__(self, path, target):
        os.environ["ATTNC_EMU"] = "arch=sm_" + re.sub(r"\D", "", target)
        self.lib, context = ctypes.CDLL(path), ctypes.c_void_p()
        if self.lib.cuInit(0) or \
                self.lib.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) or \
                self.lib.cuCtxSetCurrent(context):
            sys.exit("the emulator does not start")

    def refuses(self, text):
        handle = ctypes.c_void_p()
        if self.lib.cuModuleLoadDataEx(ctypes.byref(handle), text.encode(), 0, None, None):
            return True
        self.lib.cuModuleUnload(handle)
        return False


def compare(shard, ops, emulator, ptxas, target, version):
    texts = statements(ops, shard)
    bad = refused_by_ptxas(ptxas, target, version, texts)
    device, wrong, fewer = Emulator(emulator, target), 0, 0
    for text in texts:
        refused = device.refuses(module(target, version, [text]))
        fewer += refused and text not in bad
        if refused and text not in bad and shard.startswith("exact:"):
            print(f"sm_{target} {version}: refused, but ptxas takes it: {text}")
            wrong += 1
        if not refused and text in bad:
            print(f"sm_{target} {version}: accepted, but ptxas: {bad[text]}: {text}")
            wrong += 1
    print(f"sm_{target}, PTX {version / 10}: {len(texts)} statements, {len(bad)} refused by "
          f"ptxas; the emulator accepts {wrong} of these, and refuses {fewer} others")
    return wrong or 10 * fewer > len(texts) - len(bad)


def main(shard, ops, emulator, ptxas, *levels):
    wrong = 0
    for level in levels:  # a process each: the architecture is chosen once
        if len(levels) > 1:
            wrong += subprocess.run([sys.executable, __file__, shard, ops, emulator, ptxas,
                                     level]).returncode
        else:
            target, version = level.split(":")
            wrong += compare(shard, ops, emulator, ptxas, target, int(version))
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
