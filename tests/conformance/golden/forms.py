"""The emulator's forms as data: emulator/ptx/ops.def read, and each form's instances.

A form is a mnemonic with slots ("add @rnd? ftz? sat? f32"); an instance fills every slot.
`instances` gives all of them where there are at most MANY, else a list in which every pair of
modifiers of two slots occurs.
"""
import collections
import itertools
import os
import re
from typing import List, NamedTuple, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__)))))
OPS = os.path.join(ROOT, "emulator", "ptx", "ops.def")
MANY = 130
WIDTH = {"b8": 8, "u8": 8, "s8": 8, "b16": 16, "u16": 16, "s16": 16, "f16": 16, "bf16": 16,
         "e4m3x2": 16, "e5m2x2": 16, "e2m3x2": 16, "e3m2x2": 16, "ue8m0x2": 16, "e2m1x2": 8,
         "e4m3x4": 32, "e5m2x4": 32, "e2m3x4": 32, "e3m2x4": 32, "e2m1x4": 16, "f32x2": 64,
         "u16x2": 32, "s16x2": 32,
         "b32": 32, "u32": 32, "s32": 32, "f32": 32, "f16x2": 32, "bf16x2": 32, "tf32": 32,
         "b64": 64, "u64": 64, "s64": 64, "f64": 64, "b128": 128, "pred": 1}
# A modifier that needs more than its form says.
MOD_SM = {"cluster": 90, "shared::cluster": 90}


class Form(NamedTuple):
    mnemonic: str        # as ops.def has it: the form's name
    operands: List[str]
    sm: int
    version: int         # PTX version × 10
    slots: List[List[str]]  # the choices of each word behind the opcode; "" leaves it out
    suffix: str = ""     # of the target: "a", "f"

    @property
    def opcode(self):
        return self.mnemonic.split()[0]


class Instance(NamedTuple):
    form: Form
    mods: Tuple[str, ...]

    @property
    def name(self):
        """The mnemonic as PTX writes it."""
        return ".".join((self.form.opcode, *self.mods))

    @property
    def types(self):
        return [m for m in self.mods if m in WIDTH]

    @property
    def sm(self):
        return max([self.form.sm] + [MOD_SM[m] for m in self.mods if m in MOD_SM])

    def has(self, *mods):
        return any(m in self.mods for m in mods)


def parse(text):
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    sets = dict(re.findall(r'SET\("(\w+)",\s*"([^"]*)"\)', text))
    lists = dict(re.findall(r'ON\("?(\w+)"?,\s*"(\d+[af])[^"]*"\)', text))
    rows = re.findall(r'FORM\("([^"]*)",\s*"([^"]*)",\s*(\w+),\s*(\d+),\s*\w+,\s*\w+\)', text)
    if len(rows) != text.count("FORM("):
        raise ValueError(f"{text.count('FORM(')} forms, {len(rows)} of them read")
    return [form(m, o.split(), lists.get(on.removeprefix("ON_"), on), int(v),
                 [choices(w, sets) for w in m.split()[1:]]) for m, o, on, v in rows]


def form(mnemonic, operands, target, version, slots):
    sm = target.rstrip("af")
    suffix = target[len(sm):]
    return Form(mnemonic, operands, int(sm), max(version, 88) if suffix == "f" else version,
                slots, suffix)


def choices(word, sets):
    """The modifiers that a slot may hold; "" if it may be left out."""
    names = [sets[n[1:]].split("|") if n.startswith("@") else [n]
             for n in word.rstrip("?").split("|")]
    names = [[n.replace("#", str(k)) for k in range(8, 257, 8)] if "#" in n else [n]
             for n in itertools.chain(*names)]
    return [""] * word.endswith("?") + list(itertools.chain(*names))


def read():
    with open(OPS, encoding="utf-8") as f:
        return parse(f.read())


def pairs(slots):
    """Few rows in which every two choices of two slots meet, always the same ones."""
    every = [[(i, a) for a in range(len(slot))] for i, slot in enumerate(slots)]
    left = {pair for x, y in itertools.combinations(every, 2) for pair in itertools.product(x, y)}
    used, rows = collections.Counter(), []
    while left:
        row = dict(min(left))
        for i in range(len(slots)):
            if i not in row:
                row[i] = max(every[i], key=lambda c: (
                    sum(tuple(sorted((c, other))) in left for other in row.items()),
                    -used[c], -c[1]))[1]
        used.update(row.items())
        left -= set(itertools.combinations(sorted(row.items()), 2))
        rows.append(tuple(slots[i][row[i]] for i in range(len(slots))))
    return rows


def instances(form):
    n = 1
    for slot in form.slots:
        n *= len(slot)
    rows = list(itertools.product(*form.slots)) if n <= MANY else pairs(form.slots)
    return [Instance(form, tuple(m for m in row if m)) for row in rows]
