"""Seeded inputs by name: `make("f32.0", n)` is n elements of f32 for a first operand.

A name is a type, what is drawn, and the operand it is for.  The same name and n give the same
bytes on every machine: the generator is written out here, and nothing is rounded by a library.
"""
import array
import math
import struct

MASK = (1 << 64) - 1
# exponent bits, mantissa bits
FLOATS = {"f16": (5, 10), "bf16": (8, 7), "f32": (8, 23), "tf32": (8, 23), "f64": (11, 52),
          "e4m3": (4, 3), "e5m2": (5, 2), "e3m2": (3, 2), "e2m3": (2, 3), "e2m1": (2, 1)}
# packed types that are drawn as whole numbers
PACKED = {"u16x2": 32, "s16x2": 32, "e4m3x2": 16, "e5m2x2": 16, "e2m3x2": 16, "e3m2x2": 16,
          "ue8m0x2": 16, "e2m1x2": 16}
CODES = {8: "B", 16: "H", 32: "I", 64: "Q"}


class Random:
    """SplitMix64, seeded by a text."""

    def __init__(self, text):
        self.state = 0x9E3779B97F4A7C15
        for byte in text.encode():
            self.state = (self.state ^ byte) * 0x100000001B3 & MASK
        self.bits()

    def bits(self, n=64):
        self.state = self.state + 0x9E3779B97F4A7C15 & MASK
        x = self.state
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
        x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
        return (x ^ x >> 31) >> 64 - n

    def below(self, n):
        return self.bits() % n

    def pick(self, choices):
        return choices[self.below(len(choices))]


# ---- numbers as bits ----

def compose(kind, sign, exponent, mantissa):
    e, m = FLOATS[kind]
    return sign << e + m | exponent << m | mantissa


def specials(kind):
    """Zeros, subnormals, the ends of the range, infinities, quiet and signalling NaN, and
    some common numbers."""
    e, m = FLOATS[kind]
    bias, top, half, full = (1 << e - 1) - 1, (1 << e) - 1, 1 << m - 1, (1 << m) - 1
    values = [(0, 0, 0), (1, 0, 0), (0, 0, 1), (1, 0, half | 1), (0, 0, full), (0, 1, 0),
              (1, 1, 0), (0, top - 1, full), (1, top - 1, full), (0, top, 0), (1, top, 0),
              (0, top, half), (0, top, 1), (1, top, full), (0, bias, 0), (1, bias, 0),
              (0, bias, 1), (0, bias - 1, 0), (1, bias, half), (0, bias + m, 1)]
    return [compose(kind, *v) for v in values]


def near_one(rng, kind, spread):
    e, m = FLOATS[kind]
    bias = (1 << e - 1) - 1
    return compose(kind, rng.bits(1), bias - spread + rng.below(2 * spread + 1), rng.bits(m))


def float_bits(kind, role, n):
    """First all pairs of specials, then bits at random, numbers near one, wide exponents,
    and numbers close to what the first operand has at that place."""
    e, m = FLOATS[kind]
    rng, special = Random(f"{kind} {role}"), specials(kind)
    first = float_bits(kind, 0, n) if role else None
    out = []
    for i in range(n):
        draws = [rng.bits(1 + e + m), near_one(rng, kind, 3),
                 near_one(rng, kind, (1 << e - 1) - 2), rng.pick(special), rng.bits(3)]
        if i < len(special) ** 2 and role < 2:
            out.append(special[(i % len(special), i // len(special))[role]])
        elif role and i % 5 == 4:
            out.append(first[i] ^ draws[4] ^ (i & 1) << e + m)
        else:
            out.append(draws[(i + role) % 4])
    return out


def whole_bits(bits, role, n):
    """All pairs of some whole numbers, then bits at random, short ones, and both signs."""
    rng = Random(f"whole {bits} {role}")
    top = 1 << bits - 1
    special = [0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 63, 64, 65, top, top - 1, top + 1,
               2 * top - 1, 2 * top - 2, 0x55 * (2 * top - 1) // 255]
    special = [x % (2 * top) for x in special]
    out = []
    for i in range(n):
        draws = [rng.bits(bits), rng.bits(bits) >> rng.below(bits), rng.below(80) % (2 * top),
                 -rng.below(300) % (2 * top), rng.pick(special)]
        if i < len(special) ** 2 and role < 2:
            out.append(special[(i % len(special), i // len(special))[role]])
        else:
            out.append(draws[(i + role) % 5])
    return out


# ---- sweeps for functions of one number ----

def f32(x):
    return struct.unpack("<I", struct.pack("<f", x))[0]


def spread(rng, low, high, n):
    return [f32(low + (high - low) * (i + rng.bits(20) / 2.0 ** 20) / n) for i in range(n)]


def sweep(name, n):
    """Specials, then numbers over the range in which a function says something."""
    rng = Random(f"sweep {name}")
    out = specials("f32")
    quarter = (n - len(out)) // 4
    low, high = {"ex2": (-152.0, 130.0), "sin": (-2 * math.pi, 2 * math.pi),
                 "tanh": (-12.0, 12.0)}.get(name, (0.5, 2.0))
    out += spread(rng, low, high, 2 * quarter)
    out += spread(rng, 0.0, 1.0, quarter)  # dense where a table is looked up
    while len(out) < n:
        bits = rng.bits(32)
        if name == "sin":  # nothing is promised beyond 2 pi
            bits = min(bits & 0x7FFFFFFF, f32(6.25)) | bits & 0x80000000
        out.append(bits)
    return out[:n]


def every16(n):
    return [i & 0xFFFF for i in range(n)]


# ---- matrices: one fragment register of each lane, by the class of the warp's product ----

CLASSES = ("ones", "normal", "wide", "whole", "special", "small", "cancel", "bits")


def entry(rng, kind, what):
    e, m = FLOATS[kind]
    bias = (1 << e - 1) - 1
    if what == "ones":
        return compose(kind, rng.bits(1), bias, 0) if rng.bits(2) else 0
    if what == "whole":
        return encode(kind, rng.below(17) - 8)
    if what == "special":
        return rng.pick(specials(kind)) if rng.below(16) == 0 else near_one(rng, kind, 2)
    if what == "small":
        return compose(kind, rng.bits(1), 0, rng.bits(m)) if rng.bits(1) else near_one(
            rng, kind, 1)
    if what == "bits":
        return rng.bits(1 + e + m)
    return near_one(rng, kind, {"normal": 2, "wide": min(bias // 2, 20), "cancel": 0}[what])


def encode(kind, value):
    """A small whole number in a float type."""
    if value == 0:
        return 0
    e, m = FLOATS[kind]
    sign, value = int(value < 0), abs(value)
    power = value.bit_length() - 1
    return compose(kind, sign, (1 << e - 1) - 1 + power, (value << m >> power) - (1 << m))


def whole_entry(rng, kind, what):
    """A whole number of 8 or 32 bits: of any size, or close to an end of the range."""
    bits = int(kind[1:])
    if what in ("ones", "whole", "small"):
        return rng.below(17) - (0 if kind[0] == "u" else 8) & (1 << bits) - 1
    if what in ("special", "cancel"):
        return (1 << bits - 1) + rng.below(5) - 2 & (1 << bits) - 1
    return rng.bits(bits)


def narrow_entry(rng, kind, what):
    """A byte with an element of 8 bits or fewer where products look for it."""
    bits = entry(rng, kind, what)
    return bits << 2 & 0xFF if kind == "e2m1" else bits & 0xFF


def fragment(kind, role, n):
    """Register `role` of a matrix of `kind`: as many entries as 32 bits hold."""
    rng = Random(f"fragment {kind} {role}")
    out = []
    for i in range(n):
        what = CLASSES[i // 32 % len(CLASSES)]
        if kind in ("f16", "bf16"):
            out.append(entry(rng, kind, what) | entry(rng, kind, what) << 16)
        elif kind in ("u8", "s8"):
            out.append(sum(whole_entry(rng, kind, what) << 8 * k for k in range(4)))
        elif kind == "s32":
            out.append(whole_entry(rng, kind, what))
        elif kind in ("e4m3", "e5m2", "e3m2", "e2m3", "e2m1"):
            out.append(sum(narrow_entry(rng, kind, what) << 8 * k for k in range(4)))
        else:
            out.append(entry(rng, kind, what))
    return out


# ---- names ----

def values(name, n):
    kind, what, *rest = name.split(".")
    if what == "sweep":
        return sweep(rest[0], n)
    role = int(rest[0]) if rest else 0
    if what == "all":
        return every16(n)
    if what == "frag":
        return fragment(kind, role, n)
    if what == "lanes":  # whole numbers of which lanes of a warp often have the same
        rng = Random(f"lanes {role}")
        few = [rng.bits(32) for _ in range(4)]
        return [few[rng.below(1 + i // 32 % 4)] for i in range(n)]
    if what == "mask":  # one for each warp: all lanes, then some
        rng = Random(f"mask {role}")
        masks = [0xFFFFFFFF] + [rng.bits(32) | 1 << rng.below(32) for _ in range(n // 32)]
        return [masks[i // 32] for i in range(n)]
    if what == "small":
        rng = Random(f"small {role}")
        return [rng.below(72) for _ in range(n)]
    role = int(what)
    if kind == "b64x2":
        return whole_bits(64, role + 2, 2 * n)
    if kind in ("f16x2", "bf16x2"):
        low, high = (float_bits(kind[:-2], r, n) for r in (role, role + 2))
        return [x | y << 16 for x, y in zip(low, high)]
    if kind == "f32x2":
        low, high = (float_bits("f32", r, n) for r in (role, role + 2))
        return [x | y << 32 for x, y in zip(low, high)]
    if kind in PACKED:
        return whole_bits(PACKED[kind], role, n)
    if kind in FLOATS:
        return float_bits(kind, role, n)
    return whole_bits(int(kind[1:]), role, n)


def width(name):
    """Bits of an element."""
    kind = name.split(".")[0]
    if name.startswith("f64.frag."):
        return 64
    if kind in ("f16x2", "bf16x2", "tf32") or ".frag." in name:
        return 32
    if kind in PACKED:
        return PACKED[kind]
    if kind in ("u8", "s8", "b8"):
        return 16  # the upper byte of the register is not the instruction's business
    return {"f16": 16, "bf16": 16, "f32": 32, "f64": 64, "f32x2": 64, "b64x2": 128}.get(kind) or int(kind[1:])


def make(name, n):
    """The bytes of n elements."""
    code = CODES[min(width(name), 64)]
    bits = 8 * array.array(code).itemsize
    return array.array(code, [v & (1 << bits) - 1 for v in values(name, n)]).tobytes()
