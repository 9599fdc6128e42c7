"""What ptxas takes and the emulator does not, and the other way round: all of it has a reason.

A statement for each instance of each form of ops.def is made at the form's least target and
version, at the next target, at the target below and at the version below.  Around each form
modifiers are left out, added, and exchanged for others that its opcode knows; those are made for
three chips.  Where one of the two takes what the other refuses, a line of the file must say why:

    SIGN REGEX : REASON     -: ptxas alone takes it, +: the emulator alone

REGEX is the whole mnemonic, or the mnemonic, a space and target:version.  A line that nothing
needs is an error in a run of all forms.

    forms_difference.py SHARD OPS.def EMULATOR.so PTXAS FILE    SHARD i/n: each n-th form from i
    forms_difference.py --self-test
"""
import collections
import itertools
import json
import os
import random
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

import emu_forms  # noqa: E402

from golden import forms as golden  # noqa: E402

# Since which PTX version ptxas knows the target.
SINCE = {"75": 63, "80": 70, "86": 71, "87": 74, "89": 78, "90": 78, "90a": 80, "100": 86,
         "100a": 86, "100f": 88, "103": 88, "103a": 88, "110": 90, "110a": 90, "110f": 90,
         "120": 87, "120a": 87, "120f": 88, "121": 88, "121a": 88}
PLAIN = [t for t in SINCE if t.isdigit()]
VERSIONS = [63, 64, 65, 70, 71, 72, 73, 74, 75, 76, 77, 78, 80, 81, 82, 83, 84, 85, 86, 87, 88, 90]
NEWEST = 90
CHIPS = [("90a", NEWEST), ("100a", NEWEST), ("120a", NEWEST)]
# Opcodes whose modifiers have a place: a new one is tried in front, before the types and last.
PLACED = {"bar", "barrier", "brx", "cp", "fence", "mbarrier", "shf", "wgmma", "wmma"}
FEW_WIDTHS = re.compile(r"m64n(?!8k|24k|256k)\d+k")  # of a warpgroup's products all but these
BASES = 3


def read_rows(path):
    """(mnemonic, operands, builder, needs, version) of each form; needs: a list of targets."""
    with open(path, encoding="utf-8") as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    lists = dict(re.findall(r'ON\((\w+),\s*"([^"]*)"\)', text))
    rows = re.findall(r'FORM\("([^"]*)",\s*"([^"]*)",\s*(\w+),\s*(\d+),\s*(\w+),', text)
    return [(m, o, b, lists.get(on.removeprefix("ON_"), on).split("|"), int(v))
            for m, o, on, v, b in rows]


def levels(needs, version):
    """The least target and version, the next target, the one below, the version below."""
    if needs[0].isdigit():
        above = [t for t in PLAIN if int(t) >= int(needs[0])]
        below = [t for t in PLAIN if int(t) < int(needs[0])][-1:]
    else:
        above, below = needs, [re.sub(r"\D", "", needs[0])]
    first = above[0]
    out = [(t, max(version, SINCE[t])) for t in above[:2]] + [(t, NEWEST) for t in below]
    return out + [(first, v) for v in VERSIONS if SINCE[first] <= v < version][-1:]


def choices(sets, mnemonic):
    every = itertools.product(*emu_forms.slots(sets, mnemonic))
    return [[m for m in c if m] for c in every if not any(m and FEW_WIDTHS.match(m) for m in c)]


def known_mods(sets, rows):
    known = collections.defaultdict(dict)
    for mnemonic, *_ in rows:
        for slot in emu_forms.slots(sets, mnemonic):
            known[mnemonic.split()[0]].update(
                (m, True) for m in slot if m and not FEW_WIDTHS.match(m))
    return known


def edits(opcode, mods, known):
    """The modifiers without one of them, with another in its place, and with one more."""
    types = next((i for i, m in enumerate(mods) if m in emu_forms.TYPES), len(mods))
    places = sorted({0, types, len(mods)}) if opcode in PLACED else [types]
    others = [m for m in known if m not in mods]
    for i in range(len(mods)):
        yield mods[:i] + mods[i + 1:]
        for other in others:
            yield mods[:i] + [other] + mods[i + 1:]
    for other in others:
        for place in places:
            yield mods[:place] + [other] + mods[place:]


def statement(row, mods):
    """None: operands cannot be made for these modifiers."""
    try:
        return emu_forms.statement(row[:3], mods)
    except (IndexError, StopIteration, ValueError, KeyError):
        return None


def jobs(path, shard):
    """{(target, version): statements}"""
    rows, (sets, _) = read_rows(path), emu_forms.read_forms(path)
    known = known_mods(sets, rows)
    made = {f.mnemonic: f for f in golden.read()}
    out = collections.defaultdict(dict)
    first, step = map(int, shard.split("/"))
    for row in rows[first::step]:
        for instance in golden.instances(made[row[0]]):
            for level in levels(*row[3:]):
                out[level][statement(row, list(instance.mods))] = True
        opcode, every = row[0].split()[0], choices(sets, row[0])
        rng = random.Random(row[0])
        for mods in [every[0], every[-1]] + rng.sample(every, min(BASES - 2, len(every))):
            for other in edits(opcode, mods, known[opcode]):
                for level in CHIPS:
                    out[level][statement(row, other)] = True
    for statements in out.values():
        statements.pop(None, None)
    return out


def refused_by_emulator(emulator, target, version, texts):
    """A process for each chip: which one is emulated is chosen once."""
    asked = subprocess.run([sys.executable, __file__, "load", emulator, target, str(version)],
                           input=json.dumps(texts), capture_output=True, text=True)
    if asked.returncode:
        sys.exit(f"the emulator: {asked.stdout}{asked.stderr}")
    return json.loads(asked.stdout)


def load(emulator, target, version):
    device = emu_forms.Emulator(emulator, target)
    json.dump([device.refuses(emu_forms.module(target, int(version), [text]))
               for text in json.load(sys.stdin)], sys.stdout)


def differences(work, emulator, ptxas):
    """(sign, mnemonic, level, statement).  What ptxas refuses among others it is asked alone."""
    for (target, version), statements in sorted(work.items()):
        texts = list(statements)
        bad = emu_forms.refused_by_ptxas(ptxas, target, version, texts)
        for text, refused in zip(texts, refused_by_emulator(emulator, target, version, texts)):
            if not refused and text in bad:
                bad.pop(text)
                bad.update(emu_forms.refused_by_ptxas(ptxas, target, version, [text]))
            if refused != (text in bad):
                yield ("+" if text in bad else "-", text.rstrip(";").split(" ")[0],
                       f"{target}:{version}", text)


def parse(text):
    """[(sign, pattern, line)]"""
    reasons = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"([+-]) (\S+(?: \S+)?) : (\S.*)", line)
        if not match:
            raise ValueError(f"no SIGN REGEX : REASON: {line}")
        reasons.append((match[1], re.compile(match[2]), line))
    return reasons


def reason(reasons, sign, mnemonic, level):
    """The line that speaks of it; None."""
    for of, pattern, line in reasons:
        if of == sign and (pattern.fullmatch(mnemonic) or
                           pattern.fullmatch(f"{mnemonic} {level}")):
            return line
    return None


def compare(found, reasons, whole):
    """What is to be said, most of all where there is nothing."""
    used, said = set(), []
    for sign, mnemonic, level, text in found:
        line = reason(reasons, sign, mnemonic, level)
        used.add(line)
        if not line:
            who = "ptxas alone" if sign == "-" else "the emulator alone"
            said.append(f"{level}: {who} takes it, and no line says why: {text}")
    if whole:
        said += [f"nothing needs: {line}" for _, _, line in reasons if line not in used]
    return said


def self_test():
    reasons = parse("# of what\n- ld\\.v4.* : not yet\n+ st : a quirk\n- st 80:70 : older\n")
    assert reason(reasons, "-", "ld.v4.f64", "90a:90") == "- ld\\.v4.* : not yet"
    assert reason(reasons, "+", "ld.v4.f64", "90a:90") is None
    assert reason(reasons, "-", "st", "80:70") and not reason(reasons, "-", "st", "80:71")
    found = [("-", "ld.v4", "75:63", "ld.v4 ;"), ("+", "ld.v4", "75:63", "ld.v4 ;")]
    assert compare(found, reasons, False) == [
        "75:63: the emulator alone takes it, and no line says why: ld.v4 ;"]
    assert compare(found[:1], reasons, True) == ["nothing needs: + st : a quirk",
                                                 "nothing needs: - st 80:70 : older"]
    try:
        parse("ld : without a sign")
    except ValueError:
        pass
    else:
        raise AssertionError
    assert levels(["80"], 70) == [("80", 70), ("86", 71), ("75", 90)]
    assert levels(["80"], 81) == [("80", 81), ("86", 81), ("75", 90), ("80", 80)]
    assert levels(["90a"], 80) == [("90a", 80), ("90", 90)]
    assert list(edits("x", ["a", "u32"], {"a": 1, "b": 1})) == [
        ["u32"], ["b", "u32"], ["a"], ["a", "b"], ["a", "b", "u32"]]


def main(shard, ops, emulator, ptxas, path):
    with open(path, encoding="utf-8") as f:
        reasons = parse(f.read())
    work = jobs(ops, shard)
    said = compare(differences(work, emulator, ptxas), reasons, shard == "0/1")
    print("\n".join(said + [f"{sum(map(len, work.values()))} statements, {len(said)} to explain"]))
    return bool(said)


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        self_test()
    elif sys.argv[1] == "load":
        load(*sys.argv[2:])
    else:
        sys.exit(main(*sys.argv[1:]))
