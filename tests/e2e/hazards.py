"""What other libraries were bitten by, each by its name, against what is right by counting.

    hazards.py ATTNC

Queries are zeros, so that a row's weights follow from its masks, its score_mod, bias and sink alone,
and the first column of V is the key's index: the mean of the keys that a row sees is off where one
key too many or too few is seen.  Rows are computed here in a few lines, on their own, and compared
with each template's output.  What is no kernel's is asked of the command line."""
import math
import os
import re
import subprocess
import sys
import tempfile

from tensor_file import read, write

DIM, HEADS = 16, 2
INF = math.inf
RUNS = (("sm_80", "fp32", "ref_fwd"), ("sm_75", "fp16", "fwd_mma"), ("sm_80", "fp16", "fwd_mma"),
        ("sm_90a", "fp16", "fwd_wgmma"))


class Hazard:
    """fields; sq, sk; sees(i, j) and score(i, j) of query i and key j; the sink of each head;
    tables: name → (dtype, shape, numbers)."""

    def __init__(self, fields, sq, sk, sees=lambda i, j: True, score=lambda i, j: 0.0, sink=None,
                 tables=None, base=math.e):
        self.fields, self.sq, self.sk, self.sees, self.score = fields, sq, sk, sees, score
        self.sink, self.tables, self.base = sink, tables or {}, base

    def row(self, head, i):
        """The first column of O, and the LSE."""
        scores = {j: self.score(i, j) for j in range(self.sk) if self.sees(i, j)}
        scores = {j: s for j, s in scores.items() if s != -INF}
        sink = self.sink[head] if self.sink else -INF
        top = max([sink, *scores.values()])
        if top == -INF:
            return 0.0, -INF
        weight = {j: math.exp(s - top) for j, s in scores.items()}
        total = sum(weight.values()) + (math.exp(sink - top) if sink != -INF else 0)
        mean = sum(j * w for j, w in weight.items()) / total
        return mean, (top + math.log(total)) / math.log(self.base)


SINK = ("fp32", [HEADS], [0.5, -1.25])
RIGHT = {"sq": 40, "sk": 70}   # queries are the last 40 of 70
MORE = {"sq": 70, "sk": 40}    # the first 30 queries see no key where the last is the last's
HAZARDS = {
    "a window's left is inclusive":
        Hazard("window: [5, 0]", **RIGHT, sees=lambda i, j: i + 25 <= j <= i + 30),
    "a window's right is inclusive":
        Hazard("window: [0, 3]", **RIGHT, sees=lambda i, j: i + 30 <= j <= i + 33),
    "a window of 0 and 0 is the diagonal":
        Hazard("window: [0, 0]", **RIGHT, sees=lambda i, j: j == i + 30),
    "bottom right, fewer queries than keys":
        Hazard("causal: true", **RIGHT, sees=lambda i, j: j <= i + 30),
    "top left, fewer queries than keys":
        Hazard("causal: true\nalign: top_left", **RIGHT, sees=lambda i, j: j <= i),
    "bottom right, more queries than keys: rows without a key":
        Hazard("causal: true", **MORE, sees=lambda i, j: j <= i - 30),
    "top left, more queries than keys":
        Hazard("causal: true\nalign: top_left\nwindow: [6, 0]", **MORE,
               sees=lambda i, j: i - 6 <= j <= i),
    "the first tile of keys is hidden":
        Hazard('mask_mod: "kv_idx >= 190"', 40, 200, sees=lambda i, j: j >= 190),
    "the last tile of keys is hidden":
        Hazard('mask_mod: "kv_idx < 3"', 40, 200, sees=lambda i, j: j < 3),
    "no row has a key":
        Hazard('mask_mod: "kv_idx > sk + q_idx"', 40, 70, sees=lambda i, j: False),
    "the LSE's base is 2": Hazard("lse_base: 2", **RIGHT, base=2.0),
    "the LSE's base is 2, with a sink":
        Hazard("lse_base: 2\nsink: fp32\ncausal: true", **MORE, sees=lambda i, j: j <= i - 30,
               sink=SINK[2], tables={"sink": SINK}, base=2.0),
    "-inf minus -inf: scores of -inf in whole rows":
        Hazard('score_mod: "q_idx % 2 == 0 ? -inf : score"', 40, 200,
               score=lambda i, j: -INF if i % 2 == 0 else 0.0),
    "-inf minus -inf: scores of -inf in the first tiles":
        Hazard('score_mod: "kv_idx < 150 + q_idx ? -inf : score"', 40, 200,
               score=lambda i, j: -INF if j < 150 + i else 0.0),
    "no keys": Hazard("causal: true", 20, 0),
    "no keys, with a sink: the LSE is the sink":
        Hazard("sink: fp32", 20, 0, sink=SINK[2], tables={"sink": SINK}),
    "a sink on a row without keys":
        Hazard("sink: fp32\ncausal: true", **MORE, sees=lambda i, j: j <= i - 30, sink=SINK[2],
               tables={"sink": SINK}),
    "a sink of -inf is none, on a row without keys too":
        Hazard("sink: fp32\ncausal: true", **MORE, sees=lambda i, j: j <= i - 30,
               sink=[-INF, -INF], tables={"sink": ("fp32", [HEADS], [-INF, -INF])}),
    "softcap at saturation: the score is the cap":
        Hazard("softcap: 2.5\nbias: {axes: [q, kv], dtype: fp32}\nsoftmax_scale: 1000", 40, 70,
               score=lambda i, j: 2.5 + 0.01 * j,
               tables={"bias": ("fp32", [40, 70], [.01 * j for i in range(40) for j in range(70)])}),
    "a bias of -inf for whole rows":
        Hazard("bias: {axes: [q], dtype: fp32}", 40, 70,
               score=lambda i, j: -INF if i % 3 == 0 else 0.0,
               tables={"bias": ("fp32", [40], [-INF if i % 3 == 0 else 0. for i in range(40)])}),
    "a bias of -inf for whole rows, by pairs":
        Hazard("bias: {axes: [q, kv], dtype: fp16}", 40, 200,
               score=lambda i, j: -INF if i % 3 == 0 or j < 70 else 0.125 * (j % 9),
               tables={"bias": ("fp16", [40, 200],
                                [-INF if i % 3 == 0 or j < 70 else 0.125 * (j % 9)
                                 for i in range(40) for j in range(200)])}),
    "a bias of -inf for all keys of a tile":
        Hazard("bias: {axes: [kv], dtype: fp32}", 40, 200,
               score=lambda i, j: -INF if j < 130 else 0.0,
               tables={"bias": ("fp32", [200], [-INF if j < 130 else 0. for j in range(200)])}),
    "a table of length 0 reads 0":
        Hazard('tensors: {t: {dtype: fp32, axes: [kv]}, d: {dtype: i32, axes: [kv]}}\nsink: fp32\n'
               'mask_mod: "d[q_idx] == d[kv_idx]"\nscore_mod: "score + t[q_idx]"', 20, 0,
               sink=SINK[2], tables={"sink": SINK, "t": ("fp32", [0], []), "d": ("i32", [0], [])}),
    "a table is read at its nearest element outside":
        Hazard('tensors: {t: {dtype: fp32, axes: [9]}}\nscore_mod: "score + t[kv_idx - q_idx]"', 40, 70,
               score=lambda i, j: .25 * min(max(j - i, 0), 8),
               tables={"t": ("fp32", [9], [.25 * n for n in range(9)])}),
}


def inputs(x, dtype):
    """Of batch 1; keys are their own index in V's first column."""
    rows = [j if d == 0 else 1.0 for j in range(x.sk) for _ in range(HEADS) for d in range(DIM)]
    ones = [1.0] * len(rows)
    query = 64.0 if "softcap" in x.fields else 0.0
    return {"q": (dtype, [1, x.sq, HEADS, DIM], [query] * (x.sq * HEADS * DIM)),
            "k": (dtype, [1, x.sk, HEADS, DIM], ones), "v": (dtype, [1, x.sk, HEADS, DIM], rows),
            **x.tables}


def differs(got, want):
    return not (got == want or abs(got - want) <= 2e-3 * (1 + abs(want)))


def kernel(attnc, folder, name, target, dtype, template):
    x = HAZARDS[name]
    spec, into, out = (os.path.join(folder, n) for n in ("s.attn.yaml", "in", "out"))
    with open(spec, "w", encoding="utf-8") as f:
        f.write(f"attnc: 1\nname: hazards\ndtype: {dtype}\nhead_dim: {DIM}\nreturn_lse: true\n"
                f"{x.fields}\n")
    write(into, inputs(x, dtype))
    run = subprocess.run([attnc, "run", spec, "--arch", target, "--schedule", f"template={template}",
                          "--device", "emu", "--input", into, "--output", out, "--verify",
                          "--no-cache", "-q"], capture_output=True, text=True)
    if run.returncode:
        return run.stdout[-400:] + run.stderr[-400:]
    got = read(out)
    for h in range(HEADS):
        for i in range(x.sq):
            o, lse = x.row(h, i)
            at = got["o"][(i * HEADS + h) * DIM], got["lse"][h * x.sq + i]
            if differs(at[0], o) or differs(at[1], lse):
                return f"head {h}, row {i}: o and LSE are {at}, not {(o, lse)}"
    return ""


# ---- what no kernel decides ----

def key(attnc, folder, fields):
    spec = os.path.join(folder, "k.attn.yaml")
    with open(spec, "w", encoding="utf-8") as f:
        f.write(f"attnc: 1\nname: key\ndtype: fp16\nhead_dim: 64\n{fields}")
    return subprocess.run([attnc, "key", spec, "--arch", "sm_80", "--shape", "b1 h2 s64"],
                          capture_output=True, text=True, check=True).stdout


def numbers_in_the_key(attnc, folder):
    """A number of a call is in the key of no kernel, but where the spec makes it a constant."""
    fields = ("softcap: {}\n", "scalars: {{cap: {}}}\nscore_mod: cap * tanh(score / cap)\n",
              "softmax_scale: {}\n")
    for text in fields:
        name = "cap" if "scalars" in text else text.split(":")[0]
        fixed = text + f"specialize: [{name}]\n"
        if key(attnc, folder, text.format(1.5)) != key(attnc, folder, text.format(2.5)):
            return f"another {name} is another kernel"
        if key(attnc, folder, fixed.format(1.5)) == key(attnc, folder, fixed.format(2.5)):
            return f"a constant {name} is not in the key"
    return ""


def batches_change_no_bits(attnc, folder):
    """The rows of a sequence are the same bits whatever stands beside it in the batch."""
    outs = []
    spec, into, out = (os.path.join(folder, n) for n in ("b.attn.yaml", "in", "out"))
    with open(spec, "w", encoding="utf-8") as f:
        f.write("attnc: 1\nname: batch\ndtype: fp16\nhead_dim: 16\ncausal: true\nreturn_lse: true\n")
    rows = [((7 * n) % 64 - 32) / 16 for n in range(100 * HEADS * DIM)]
    for b in (1, 3):
        write(into, {name: ("fp16", [b, 100, HEADS, DIM], rows + [1.5] * (len(rows) * (b - 1)))
                     for name in "qkv"})
        subprocess.run([attnc, "run", spec, "--arch", "sm_90a", "--device", "emu", "--input", into,
                        "--output", out, "--no-cache", "-q"], check=True, capture_output=True)
        got = read(out)
        outs.append((got["o"][:len(rows)], got["lse"][:100 * HEADS]))
    return "" if outs[0] == outs[1] else "a batch's bits depend on the others"


OTHERS = {"numbers in the key": numbers_in_the_key, "batches change no bits": batches_change_no_bits}


def unlisted():
    """Cases that the page of these tests does not name, and names that are no case."""
    page = os.path.join(os.path.dirname(os.path.abspath(__file__)), "README.md")
    with open(page, encoding="utf-8") as f:
        named = set(re.findall('"([^"]+)"', f.read().split("## What others were bitten by")[1]))
    return named ^ {*HAZARDS, *OTHERS}


def main(attnc):
    wrong = count = 0
    for name in unlisted():
        wrong += 1
        print(f"FAIL  tests/e2e/README.md and hazards.py: one of them has no {name!r}")
    with tempfile.TemporaryDirectory() as folder:
        cases = [(f"{name}, {template} {target}", lambda n=name, how=(target, dtype, template):
                  kernel(attnc, folder, n, *how)) for name in HAZARDS for target, dtype, template in RUNS]
        cases += [(name, lambda f=f: f(attnc, folder)) for name, f in OTHERS.items()]
        for name, case in cases:
            fault = case()
            count += 1
            if fault:
                wrong += 1
                print(f"FAIL  {name}: {fault}")
    print(f"{count} cases, {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
