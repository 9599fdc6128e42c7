"""Specs computed a second time by plain Python, which knows fields and expressions from the pages
alone (tests/expr_oracle.py has the expressions), and compared with what `attnc run` gives.

    plain.py ATTNC [--seed S] [--shard I/N]

The specs of specs/ whose sequences have one length, and as many random ones of tests/e2e/fields.py:
all that a spec says but its dims and dtypes, on ref_fwd in fp32 and on the templates of 16 bits.
Numbers of tensors are eighths, so that no rounding is in them. A case that fails prints its spec."""
import argparse
import glob
import json
import math
import os
import random
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.dirname(HERE))

import expr_oracle  # noqa: E402
import fields  # noqa: E402
import tensor_file  # noqa: E402

DIM, INF = 16, math.inf
# arch, dtype, template, what a number of that output may be off by
RUNS = (("sm_80", "fp32", "ref_fwd", 1e-5), ("sm_80", "fp16", "fwd_mma", 4e-3),
        ("sm_90a", "fp16", "fwd_wgmma", 4e-3), ("sm_75", "fp16", "fwd_mma", 4e-3))
SHAPES = ({"b": 1, "h": 2, "hk": 1, "sq": 70, "sk": 150}, {"b": 2, "h": 2, "hk": 2, "sq": 90, "sk": 66},
          {"b": 1, "h": 4, "hk": 2, "sq": 130, "sk": 130}, {"b": 2, "h": 3, "hk": 1, "sq": 33, "sk": 200})
# Fields that say which bytes are there and how they are computed, not what is computed; those
# behind: what this page has no words for.
HOW = ("attnc", "name", "doc", "dtype", "head_dim", "head_dim_v", "group_size", "layout", "schedule",
       "return_lse")
ELSEWHERE = ("seqlens", "page_table", "block_list")
RANDOM_SPECS = 60


# ---- specs: the YAML that ours have ----

PLAIN = re.compile(r"true|false|-?\d+(\.\d*)?(e-?\d+)?")  # as in JSON


def flow(text):
    """A value on one line."""
    text = text.strip()
    if text[0] not in "\"[{":
        return json.loads(text if PLAIN.fullmatch(text) else json.dumps(text))
    return json.loads(re.sub(r'"[^"]*"|[\w./-]*[a-zA-Z_/][\w./-]*', _quoted, text))


def _quoted(m):
    word = m.group()
    return word if word[0] == '"' or PLAIN.fullmatch(word) else json.dumps(word)


def spec_fields(text):
    """Keys and values of a document; a block is one text behind `|`, else a map of names."""
    found, blocks = {}, {}
    for line in text.splitlines():
        if line[:1] in ("", "#"):
            continue
        if line[0] == " ":
            blocks[key].append(line.strip())
            continue
        key, _, rest = line.partition(":")
        rest = re.sub(r"(^|\s)#.*", "", rest).strip()
        found[key] = rest if rest in ("", "|") else flow(rest)
        blocks[key] = []
    for key, lines in blocks.items():
        if found[key] == "|":
            found[key] = " ".join(lines)
        elif found[key] == "" and key not in HOW:
            found[key] = {name: flow(x) for name, _, x in (line.partition(":") for line in lines)}
    return found


def mods():
    """name → (parameters, text), from the table of named mods."""
    with open(os.path.join(ROOT, "specs/mods/mods.def"), encoding="utf-8") as f:
        table = f.read()
    out = {}
    for m in re.finditer(r'^MOD\((\w+), \w+, "([^"]*)", "[^"]*",((?:\s*"[^"]*")+),', table, re.M):
        out[m[1]] = m[2].split(), "".join(re.findall(r'"([^"]*)"', m[3]))
    return out


MODS = mods()


def expressions(said):
    """Nodes of a mask_mod or score_mod: a text, a named mod, a list of them; None: nothing."""
    if said is None:
        return []
    if isinstance(said, list):
        return [x for each in said for x in expressions(each)]
    if isinstance(said, dict):
        names, text = MODS[said["use"]]
        for name in names:
            x = said["with"][name]
            text = re.sub(rf"\b{name}\b", x if isinstance(x, str) else f"({x})", text)
        said = text
    return [expr_oracle.read(said)]


# ---- the tensors of a call ----

def length(axis, z):
    if isinstance(axis, int):
        return axis
    name, _, by = axis.partition("/")
    return -(-z[{"q": "sq", "kv": "sk"}.get(name, name)] // int(by or 1))


def declared(spec, z):
    """name → (dtype, shape, monotone) of all tensors but q, k and v."""
    out = {name: (t["dtype"], [length(a, z) for a in t["axes"]], t.get("monotone", False))
           for name, t in spec.get("tensors", {}).items()}
    slopes = {"h": ["h"], "bh": ["b", "h"]}.get(spec.get("alibi_slopes"))
    if slopes:
        out["alibi_slopes"] = "fp32", [z[a] for a in slopes], False
    if "bias" in spec:
        out["bias"] = spec["bias"]["dtype"], [length(a, z) for a in spec["bias"]["axes"]], False
    if spec.get("sink", "none") != "none":
        out["sink"] = spec["sink"], [z["h"]], False
    if spec.get("prefix_len"):
        out["prefix_len"] = "i32", [z["b"]], False
    if spec.get("mask_bits"):
        out["mask_bits"] = "u32", [z["b"], z["sq"], -(-z["sq" if spec["mask_bits"] == "new" else "sk"] // 32)], False
    return out


def number(rng, name, dtype, z):
    if name == "prefix_len":
        return rng.randrange(-4, z["sk"] + 4)
    if dtype in ("i32", "u32"):
        return rng.randrange(4) if dtype == "i32" else rng.choice((0, 0xffffffff, rng.randrange(1 << 32)))
    if name in ("bias", "sink") and rng.random() < 1 / 16:
        return -INF
    return rng.randrange(-16, 17) / (64 if name == "alibi_slopes" else 8)


def numbers(rng, name, dtype, shape, monotone, z):
    n = math.prod(shape)
    if not monotone:
        return [number(rng, name, dtype, z) for _ in range(n)]
    if shape[-1] < 16:  # offsets
        rows = [sorted(rng.randrange(z["sk"] + 1) for _ in range(shape[-1])) for _ in range(n // shape[-1])]
        return [x for row in rows for x in row]
    run = rng.randrange(5, 40)
    return [i % shape[-1] // run for i in range(n)]


def tensors(rng, spec, z, dtype):
    out = {}
    for name in "qkv":
        shape = [z["b"], z["sq" if name == "q" else "sk"], z["h" if name == "q" else "hk"], DIM]
        out[name] = dtype, shape, [rng.randrange(-12, 13) / 8 for _ in range(math.prod(shape))]
    for name, (of, shape, monotone) in declared(spec, z).items():
        out[name] = of, shape, numbers(rng, name, of, shape, monotone, z)
    return out


# ---- attention ----

class Spec:
    def __init__(self, said, z, data):
        self.said, self.z = said, z
        self.tables = {name: expr_oracle.Table(shape, x if t in ("i32", "u32") else list(map(float, x)),
                                               0 if t in ("i32", "u32") else 0.0)
                       for name, (t, shape, x) in data.items()}
        for name, (t, _, x) in data.items():
            if t == "u32":
                self.tables[name].data = list(map(expr_oracle.wrapped, x))
        self.masks, self.scores = expressions(said.get("mask_mod")), expressions(said.get("score_mod"))
        self.scale = float(said.get("softmax_scale", DIM ** -.5))
        self.bias = [{"q": 2, "kv": 3, "b": 0, "h": 1}[a] for a in said.get("bias", {}).get("axes", ())]
        self.scalars = {n: expr_oracle.single(x) for n, x in said.get("scalars", {}).items()}

    def names(self, b, h, i, j):
        return {"b": b, "h": h, "hk": h // (self.z["h"] // self.z["hk"]), "q_idx": i, "kv_idx": j,
                "sq": self.z["sq"], "sk": self.z["sk"], **self.scalars}

    def bit(self, b, i, j):
        new = self.said["mask_bits"] == "new"
        if new:
            j -= self.z["sk"] - self.z["sq"]
        return new and j < 0 or self.tables["mask_bits"].at([b, i, j // 32]) >> (j % 32) & 1

    def sees(self, b, i, j, names):
        s = self.said
        at = i if s.get("align") == "top_left" else i + self.z["sk"] - self.z["sq"]
        left, right = s.get("window", (-1, -1))
        prefix = s.get("prefix_len") and j < self.tables["prefix_len"].at([b])
        chunk = s.get("attention_chunk", 0)
        return ((not s.get("causal") or j <= at or prefix) and (left < 0 or j >= at - left)
                and (right < 0 or j <= at + right) and (not chunk or at // chunk == j // chunk)
                and all(expr_oracle.value(m, names, self.tables) for m in self.masks)
                and (not s.get("mask_bits") or self.bit(b, i, j)))

    def score(self, b, h, i, j, x, names):
        if "softcap" in self.said:
            x = self.said["softcap"] * math.tanh(x / self.said["softcap"])
        if "alibi_slopes" in self.tables:
            slope = self.tables["alibi_slopes"].at([h] if self.said["alibi_slopes"] == "h" else [b, h])
            x -= slope * abs(i + self.z["sk"] - self.z["sq"] - j)
        if self.bias:
            x += self.tables["bias"].at([(b, h, i, j)[a] for a in self.bias])
        for mod in self.scores:
            x = expr_oracle.real(expr_oracle.value(mod, {**names, "score": x}, self.tables))
        return x

    def row(self, b, h, i):
        """(O's row, its LSE)."""
        names, hk = self.names(b, h, i, 0), h // (self.z["h"] // self.z["hk"])
        q = self.vector("q", b, i, h, self.z["h"])
        seen = []
        for j in range(self.z["sk"]):
            names["kv_idx"] = j
            if self.sees(b, i, j, names):
                k = self.vector("k", b, j, hk, self.z["hk"])
                x = self.score(b, h, i, j, self.scale * sum(map(float.__mul__, q, k)), names)
                seen += [(x, j)] if x != -INF else []
        sink = self.tables["sink"].at([h]) if "sink" in self.tables else -INF
        top = max([sink, *(x for x, _ in seen)])
        if top == -INF:
            return [0.0] * DIM, -INF
        weights = [(math.exp(x - top), self.vector("v", b, j, hk, self.z["hk"])) for x, j in seen]
        total = sum(w for w, _ in weights) + math.exp(sink - top)
        return ([sum(w * v[d] for w, v in weights) / total for d in range(DIM)],
                (top + math.log(total)) / math.log(self.said.get("lse_base", math.e)))

    def vector(self, name, b, s, h, heads):
        rows = self.z["sq" if name == "q" else "sk"]
        at = ((b * rows + s) * heads + h) * DIM
        return self.tables[name].data[at:at + DIM]


# ---- a case ----

def cases():
    """(name, text) of each spec."""
    out = []
    for path in sorted(glob.glob(os.path.join(ROOT, "specs/*.attn.yaml"))):
        with open(path, encoding="utf-8") as f:
            text = f.read()
        if not set(ELSEWHERE) & set(spec_fields(text)):
            out.append((os.path.basename(path), text))
    return out + [(f"random {i}", fields.spec_of(random.Random(f"plain {i}"), "sm_75", "fwd_mma"))
                  for i in range(RANDOM_SPECS)]


def written(said, dtype):
    """The fields that say what is computed, as JSON."""
    kept = {k: x for k, x in said.items() if k not in HOW}
    if "specialize" in kept:
        kept["specialize"] = [x for x in kept["specialize"] if x in kept or x in ("sq", "sk")]
    return json.dumps({"attnc": 1, "name": "plain", "dtype": dtype, "head_dim": DIM, "return_lse": True,
                       **kept})


def fault(attnc, folder, case, seed, how):
    arch, dtype, template, bound = how
    rng = random.Random(f"{seed} {case[0]}")
    z, said = rng.choice(SHAPES), spec_fields(case[1])
    spec, into, out = (os.path.join(folder, n) for n in ("s.attn.yaml", "in", "out"))
    data = tensors(rng, said, z, dtype)
    with open(spec, "w", encoding="utf-8") as f:
        f.write(written(said, dtype))
    tensor_file.write(into, data)
    run = subprocess.run([attnc, "run", spec, "--arch", arch, "--schedule", f"template={template}",
                          "--device", "emu", "--input", into, "--output", out, "--no-cache", "-q"],
                         capture_output=True, text=True)
    if run.returncode:
        return f"exit {run.returncode}: {run.stdout[-400:]}{run.stderr[-400:]}"
    got, plain = tensor_file.read(out), Spec(said, z, data)
    for b in range(z["b"]):
        for h in range(z["h"]):
            for i in range(z["sq"]):
                o, lse = plain.row(b, h, i)
                at = ((b * z["sq"] + i) * z["h"] + h) * DIM
                pairs = [*zip(got["o"][at:at + DIM], o), (got["lse"][(b * z["h"] + h) * z["sq"] + i], lse)]
                for have, want in pairs:
                    if not (have == want or abs(have - want) <= bound * (1 + abs(want))):
                        return f"batch {b}, head {h}, row {i}: {have}, not {want}"
    return ""


def main():
    p = argparse.ArgumentParser()
    p.add_argument("attnc")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--shard", default="0/1", help="case i where i %% N is I")
    a = p.parse_args()
    i, n = map(int, a.shard.split("/"))
    all_cases = [(case, how) for how in RUNS for case in cases()][i::n]
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for case, how in all_cases:
            said = fault(a.attnc, folder, case, a.seed, how)
            if said:
                wrong += 1
                print(f"FAIL  {case[0]}, {how[2]} {how[0]}: {said}\n{case[1]}", flush=True)
    print(f"{len(all_cases)} cases, {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
