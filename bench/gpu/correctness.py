"""Phase `correctness`: the end-to-end matrix of tests/e2e/cases.txt on the device.

By the program e2e_matrix where the folder has it or a C compiler makes it here (it needs
libattnc.so and libjansson), else by `attnc run --verify`, case by case, for the cases that the
command line can say.  Then fwd_wgmma's schedule fields, each at each of its values (triples.py)."""
import collections
import json
import os
import re
import shutil

import notation
import process
import triples

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CASES = os.path.join(ROOT, "tests", "e2e", "cases.txt")
SOURCES = [f"tests/e2e/{n}.c" for n in ("matrix", "run", "device", "number", "case", "facts",
                                         "call", "drawn")]
SOURCES += ["tests/oracle.c", "cli/problem.c"]
SOURCES += [f"harness/{n}.c" for n in ("signature", "append", "seqlens", "lists", "pages", "random",
                                       "tensors")]
SOURCES += [f"base/{n}.c" for n in ("str", "arena", "err", "dtype", "call", "call_tensor",
                                    "hash", "hash_block")]
LINE = re.compile(r"(pass|FAIL|skip)\s+(?:[0-9.]+ s\s+)?(\{.*? seed=\d+)\s*(.*)")
TINY = 8  # cases of a tiny run
EACH = 2  # cases of a value in a sample
PART, PART_SECONDS = 24, 40  # cases of a process of the matrix; of a sample it may take so long


def run(suite):
    trials = wanted(suite)
    program = suite.where.matrix or build(suite)
    if program:
        by_matrix(suite, program, trials)
    else:
        by_cli(suite, trials)
    triples.run(suite)


# ---- which cases ----

MODIFIERS = ("mask_mod", "prefix_len", "attention_chunk", "softcap", "alibi_slopes", "bias",
             "score_mod", "sink", "lse_base")


def values(text):
    """What a case has that others may lack: template with dtype, mask, head_dim, modifiers; and its
    target."""
    p = notation.parts(text)
    own = {}
    for m in re.finditer(r"(\w+): (\[[^]]*\]|[^,]+)", p["fields"].strip("{}")):
        own.setdefault(m[1], m[2])  # a tensor that is declared has a dtype too, behind the spec's
    template = re.match(r"template=(\w+)", p["schedule"])[1]
    mask = "window" if "window" in own else "causal" if own.get("causal") == "true" else "full"
    has = [own["dtype"], mask, own["head_dim"], *(x for x in MODIFIERS if x in own)]
    return {p["target"], *((template, x) for x in has)}


def runs_on(text, capability):
    """Does a device of compute capability "9.0" take the case's target?"""
    target, sm = notation.parts(text)["target"][3:], int(capability.replace(".", ""))
    return int(target[:-1]) == sm if target.endswith("a") else int(target) <= sm


def sampled(trials, capability):
    """EACH cases of every value, as far as there are so many: the first that bring one which
    earlier ones have too seldom."""
    seen, chosen = collections.Counter(), []
    for text in trials:
        if runs_on(text, capability) and any(seen[v] < EACH for v in values(text)):
            seen.update(values(text))
            chosen.append(text)
    return chosen


def wanted(suite):
    trials = list(notation.read(CASES))
    if suite.sample:
        trials = sampled(trials, suite.results.data["device"]["compute_capability"])
    return trials[::max(1, len(trials) // TINY)] if suite.tiny else trials


# ---- the program ----

def build(suite):
    """e2e_matrix made here, or None and a note."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        suite.results.note("correctness: no C compiler here, so the command line's cases alone")
        return None
    out = os.path.join(suite.folder, "e2e_matrix")
    folder = os.path.dirname(suite.where.library)
    launching = os.path.exists(os.path.join(folder, "libattnc_rt.so"))  # what libattnc leaves to it
    said = process.run(
        [compiler, "-O2", "-std=gnu11", "-D_GNU_SOURCE", f'-DSOURCE_DIR="{ROOT}"',
         f'-DBUILD_DIR="{suite.where.path}"', "-I", ROOT, "-I", os.path.join(ROOT, "include"),
         *(os.path.join(ROOT, s) for s in SOURCES), "-o", out, f"-L{folder}", "-lattnc",
         *["-lattnc_rt"] * launching, f"-Wl,-rpath,{folder}", "-ljansson", "-lm", "-ldl", "-lpthread"])
    if said.code:
        suite.results.note("correctness: e2e_matrix does not compile here, so the command line's "
                           f"cases alone: {said.why}")
        return None
    return out


def by_matrix(suite, program, trials):
    """In parts, so that a kernel that does not end costs its part alone."""
    env = {"ATTNC_TEST_EMU": suite.where.emulator}
    file = os.path.join(suite.folder, "part.txt")
    for at in range(0, len(trials), PART):
        part = trials[at:at + PART]
        if suite.late():
            suite.results.skip("attnc", {"cases": f"{len(trials) - at} of the matrix"},
                               "out of time")
            return
        with open(file, "w", encoding="utf-8") as f:
            f.write("\n".join([*part, ""]))
        most = min(suite.left(), PART_SECONDS) if suite.sample else suite.left()
        said = process.run([program, "-v", "--device", suite.kind, "--cases", file], most, env)
        seen = keep(suite, said.out)
        suite.results.save()
        rest = {"cases": f"{len(part) - seen} of the matrix"}
        if said.code is None and suite.late():
            suite.results.skip("attnc", rest, "out of time")
        elif said.code is None:
            suite.results.check("attnc", rest, False, f"no end within {most:.0f} s")
        elif said.code not in (0, 1) or seen < len(part):
            suite.results.check("attnc", rest, False, f"e2e_matrix: {said.why}")


def keep(suite, said):
    """The matrix's lines as checks; how many there were."""
    seen = 0
    for line in said.splitlines():
        m = LINE.match(line)
        if not m:
            continue
        word, text, why = m.groups()
        if word == "skip":
            suite.results.skip("attnc", {"notation": text}, why or "not for this device")
        else:
            suite.results.check("attnc", {"notation": text}, word == "pass", why)
        seen += 1
    return seen


# ---- the command line ----

def by_cli(suite, trials):
    for text in trials:
        case = {"notation": text}
        said = notation.for_cli(text)
        if isinstance(said, str):
            suite.results.skip("attnc", case, said)
        elif suite.late():
            suite.results.skip("attnc", case, "out of time")
        else:
            one_by_cli(suite, case, *said)


def one_by_cli(suite, case, spec, shape, target, schedule):
    file = os.path.join(suite.folder, "case.attn.yaml")
    with open(file, "w", encoding="utf-8") as f:
        f.write(spec)
    said = process.run([suite.where.cli, "run", file, "--device", suite.kind, "--arch", target,
                        "--shape", shape, "--verify", "--json", "-q", "--no-cache",
                        "--schedule", schedule], 300)
    if said.code == 4:
        suite.results.skip("attnc", case, json.loads(said.out).get("message", "unsupported"))
    else:
        suite.results.check("attnc", case, said.code == 0, "" if said.code == 0 else said.why)
