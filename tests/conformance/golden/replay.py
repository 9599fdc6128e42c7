"""Replaying a recording on the emulator, and which forms have none."""
import os
import re
from collections import defaultdict

from .compare import compare
from .device import Broken, Device, Refused
from .forms import ROOT, read
from .table import row_of

PAGE = os.path.join(ROOT, "docs", "emulator-unproven.md")
ARCHS = (75, 80, 86, 87, 89, 90, 100, 103, 110, 120, 121)  # what the emulator can be
PROVEN = "chip"                # the basis of a row of the page that recordings confirm


def arch_for(sm):
    """The emulator's architecture for a recording of sm_NN: it, or the nearest below."""
    below = [a for a in ARCHS if a <= sm]
    if not below or below[-1] // 10 != sm // 10:
        raise ValueError(f"sm_{sm}: the emulator has no such architecture")
    return below[-1]


def replay(recording, emulator, report):
    """Calls report(kernel, verdicts or a reason) for every kernel that has a result."""
    arch = arch_for(recording.about["gpu"]["sm"])
    device = Device(emulator, f"arch=sm_{arch}")
    for kernel in recording.kernels:
        wanted = recording.results.get(kernel.name)
        if wanted is None:
            continue
        inputs = recording.data_of(kernel)
        try:
            got = device.run(kernel.ptx, kernel.grid, kernel.block, inputs, kernel.out_bytes,
                             kernel.maps)
        except (Refused, Broken) as e:
            report(kernel, f"the emulator: {e}")
            device.findings()
            continue
        findings = device.findings()
        report(kernel, "; ".join(findings[:3]) if findings else
               [compare(o, got, wanted) for o in kernel.outputs])


# ---- what is confirmed, and what the page says ----

def page_rows(text):
    """[(opcodes with a modifier or not, basis)] of the page's table of forms."""
    rows = re.findall(r"^\| `([^`]+)` \| (\w+) \|", text, re.M)
    return [([w.strip() for w in names.split(";")] if ";" in names else names.split(), basis)
            for names, basis in rows]


def row_for(form, rows):
    """The page's row of a form: the first that names its opcode, and its modifier if any."""
    has = {m for slot in form.slots for m in slot}
    for k, (names, _) in enumerate(rows):
        for name in names:
            opcode, *mods = name.split()
            if opcode == form.opcode and has.issuperset(mods):
                return k
    return None


def page_against(confirmed, text=None):
    """What the page should say otherwise, as sentences; confirmed: mnemonics of forms whose
    every recording the emulator reproduces."""
    if text is None:
        with open(PAGE, encoding="utf-8") as f:
            text = f.read()
    rows, forms, wrong = page_rows(text), defaultdict(list), []
    for form in read():
        k = row_for(form, rows)
        if k is None:
            wrong.append(f"{form.mnemonic} is in no row")
        elif row_of(form).build:
            forms[k].append(form.mnemonic)
    for k, (names, basis) in enumerate(rows):
        missing = [m for m in forms[k] if m not in confirmed]
        if basis == PROVEN and missing:
            wrong.append(f"`{' '.join(names)}` says {PROVEN}, but nothing confirms "
                         f"{', '.join(missing[:3])}")
        elif basis != PROVEN and forms[k] and not missing:
            wrong.append(f"`{' '.join(names)}` says {basis}; recordings confirm every form "
                         f"of it: it can say {PROVEN}")
    return wrong
