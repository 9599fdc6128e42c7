"""Whoever asks, the same schedule is chosen for the same reason: in random states of the tuning
tables `attnc key`, `explain` and `run`, a plan through the C library and Python's agree, and the
reason is what the records say, by a reading of the rules of its own (docs/tuning.md)."""
import math
import os
import random
import sys

import tables
from common import SOURCE, Case, main

sys.path.insert(0, os.path.join(SOURCE, "python"))
os.environ.setdefault("ATTNC_LIBRARY", os.path.realpath(os.path.join(
    os.path.dirname(os.environ["ATTNC"]), "..", "lib", "libattnc.so")))
import attnc  # noqa: E402  (it has to find the library)

DEVICE, SMS = "attnc emulated sm_80", 108
STATES = int(os.environ.get("STATES", "50"))
SPEC = "attnc: 1\nname: agree\ndtype: bf16\nhead_dim: 32\ncausal: true\n"
ASKED = {"b": 1, "h": 2, "hk": 2, "sq": 64, "sk": 64}
LEVELS = ["estimate", "measure", "patient", "exhaustive"]
BLOCKS = [(32, 2), (64, 4), (128, 8)]  # block_m and num_warps that are legal together


def schedule(rng):
    m, warps = rng.choice(BLOCKS)
    s = {"template": "fwd_mma", "block_m": m, "block_n": rng.choice([32, 64]),
         "num_stages": rng.choice([1, 2]), "num_warps": warps}
    if rng.random() < 0.15:
        s["block_m"] = 100  # no kernel has it
    return s


def record(rng, spec_hash):
    sizes = dict(ASKED)
    for name in ("h", "sq", "sk"):
        sizes[name] = max(1, sizes[name] << rng.choice([0, 0, 0, 0, 1, 3, 5]))
    device, sms, cc, unit = rng.choice(
        [(DEVICE, SMS, 80, "est_cycles")] * 3 +
        [("attnc emulated sm_86", 54, 86, "est_cycles"), ("another sm_80", 216, 80, "est_cycles"),
         ("a GPU", 108, 80, "ms"), ("attnc emulated sm_90", 132, 90, "est_cycles")])
    return tables.record(device, rng.choice([spec_hash] * 4 + ["0" * 64]), sizes, schedule(rng),
                         rng.randrange(1, 1000) / 8, rng.choice(LEVELS), sms=sms, cc=cc, unit=unit)


def forgetting(rng, spec_hash):
    line = {"schema": "attnc.forget/1", "device": DEVICE}
    if rng.random() < 0.7:
        line["spec_hash"] = spec_hash
    if rng.random() < 0.5:
        line["bucket"] = tables.bucket(ASKED)
    return line


def layer(rng, spec_hash):
    """[(line, whether it can be read)]"""
    out = []
    for _ in range(rng.choice([0, 1, 2, 4, 8])):
        kind = rng.random()
        if kind < 0.1:
            out.append((forgetting(rng, spec_hash), True))
        elif kind < 0.2:
            out.append((rng.choice(["not JSON\n", "{}\n", "\n"]), False))
        elif kind < 0.3:
            out.append(({**record(rng, spec_hash), "schema": "attnc.tune/2"}, False))
        else:
            out.append((record(rng, spec_hash), True))
    return out


def counting(lines, spec_hash):
    """The records that count, in order."""
    kept = []
    for x in lines:
        if x["schema"] == "attnc.forget/1":
            kept = [r for r in kept if r["device"] != x["device"] or
                    x.get("spec_hash", r["spec_hash"]) != r["spec_hash"] or
                    x.get("bucket", r["bucket"]) != r["bucket"]]
            continue
        same = [r for r in kept if all(r[k] == x[k] for k in
                                       ("device", "spec_hash", "bucket", "schedule"))]
        if same and LEVELS.index(x["level"]) < LEVELS.index(same[0]["level"]):
            continue
        kept = [r for r in kept if r not in same] + [x]
    return [r for r in kept if r["spec_hash"] == spec_hash]


def expected(lines, spec_hash):
    """(source, schedule) or None: no record is used."""
    best = None
    for i, r in enumerate(counting(lines, spec_hash)):
        own = r["device"] == DEVICE
        if not own and (r["cc"] // 10 != 8 or r["unit"] != "est_cycles"):
            continue
        want = tables.bucket(ASKED)
        if not own:
            heads = ASKED["b"] * ASKED["h"] * r["sms"] / SMS
            want[0] = math.floor(max(0, math.log2(heads)) + 0.5)
        far = sum(abs(a - b) for a, b in zip(want, r["bucket"]))
        if far > 4 or r["schedule"]["block_m"] == 100:
            continue
        work = math.prod(r["sizes"][k] for k in ("b", "h", "sq", "sk"))
        rank = (not own, not own and r["cc"] != 80, far, -LEVELS.index(r["level"]),
                r["value"] / work * (1 if own else r["sms"]), -i)
        source = "family" if not own else "near" if far else "exact"
        if not best or rank < best[0]:
            best = (rank, source, r["schedule"])
    return best and best[1:]


class Agree(Case):
    def ask_all(self, spec, env, target):
        """{who: (source, schedule)}"""
        shape = ["--shape", "b1 h2 s64", "--device", "emu", "--arch", "sm_80"]
        key = self.json("key", spec, *shape, env=env)
        explain = self.json("explain", spec, *shape, env=env)
        run = self.json("run", spec, *shape, env=env)["results"][0]["plan"]
        os.environ.update(env)
        context = attnc.Context("emu", cache="off", emulator="arch=sm_80", target=target)
        plan = context.plan(SPEC, ASKED)
        python = context.explain_key(SPEC, ASKED)
        out = {"key": (key["source"], key["schedule"]),
               "explain": (explain["source"], explain["kernel"]["schedule"]),
               "run": (run["source"], run["schedule"]),
               "plan": (plan.info["source"], {"template": plan.info["template"],
                                              **plan.info["schedule"]}),
               "explain_key": (python["source"], python["schedule"])}
        names = key["schedule"]
        return {who: (source, {k: s[k] for k in names if k in s})
                for who, (source, s) in out.items()}

    def one(self, seed, spec, spec_hash, seen):
        rng = random.Random(seed)
        folder = self.path(f"state{seed}")
        env = {"ATTNC_TUNE_DIR": f"{folder}/user", "ATTNC_TUNE_READONLY": f"{folder}/system",
               "ATTNC_TUNE_TABLE": "", "HOME": self.dir, "XDG_CACHE_HOME": self.path("cache")}
        lines = []
        for name in ("system", "user"):
            said = layer(rng, spec_hash)
            tables.write(f"{folder}/{name}", "all", *(x for x, _ in said))
            lines += [x for x, readable in said if readable]
        if rng.random() < 0.3:
            said = layer(rng, spec_hash)
            tables.write(folder, "pinned", *(x for x, _ in said))
            env["ATTNC_TUNE_TABLE"] = tables.path(folder, "pinned")
            lines = [x for x, readable in said if readable]
        told = self.ask_all(spec, env, "sm_80")
        first = told["key"]
        self.assertEqual(set(map(str, told.values())), {str(first)}, (seed, told))
        want = expected(lines, spec_hash)
        self.assertEqual(first[0], want[0] if want else "model", (seed, lines))
        for name, value in (want[1] if want else {}).items():
            self.assertEqual(first[1].get(name, value), value, (seed, name))
        seen.add(first[0] + (" pinned table" if env["ATTNC_TUNE_TABLE"] else ""))

    def test_random_states(self):
        spec, seen = self.spec(SPEC), set()
        self.env["XDG_CACHE_HOME"] = self.path("cache")
        spec_hash = self.json("key", spec, "--device", "emu")["fields"]["spec_hash"]
        for seed in range(STATES):
            with self.subTest(seed=seed):
                self.one(seed, spec, spec_hash, seen)
        self.assertLessEqual({"exact", "near", "family", "model"}, seen)
        self.assertGreater(sum("pinned" in x for x in seen), 2)


PADDED = "attnc: 1\nname: padded\ndtype: fp16\nhead_dim: 64\nseqlens: [seqused_q, seqused_k]\n"
PACKED = PADDED.replace("padded", "packed").replace("seqused", "cu_seqlens")
LONG, SHORT, SHAPE = [128] * 4, [128] + [8] * 3, "b4 h2 s128"


class Lengths(Case):
    """What --seqlens says is assumed by all alike, and tuned for."""

    def setUp(self):
        super().setUp()
        self.env["ATTNC_TUNE_DIR"] = self.path("tune")
        os.environ.update(ATTNC_TUNE_DIR=self.path("none"), ATTNC_TUNE_READONLY="",
                          ATTNC_TUNE_TABLE="")
        self.on = ["--device", "emu", "--arch", "sm_80"]

    def agreed(self, text, lengths, env):
        """The schedule that all choose, and the lengths that it was chosen for."""
        spec, total = self.spec(text), {} if "seqused" in text else sum(lengths)
        asked = ["--seqlens", ",".join(map(str, lengths)), "--shape", SHAPE, *self.on]
        key, explain = (self.json(who, spec, *asked, env=env) for who in ("key", "explain"))
        run = self.json("run", spec, *asked, env=env)["results"][0]["plan"]
        context = attnc.Context("emu", cache="off", target="sm_80", tune_dir=env["ATTNC_TUNE_DIR"])
        sizes = dict(b=len(lengths), h=2, sq=max(lengths),
                     **(total and {"total_q": total, "total_k": total}))
        mean = (-(-sum(lengths) // len(lengths)),) * 2
        python = context.explain_key(text, sizes, mean_lengths=mean)
        plan = context.plan(text, sizes, mean_lengths=mean).info
        told = [(x["source"], x["schedule"], x.get("lengths")) for x in (key, python)]
        told.append((explain["source"], explain["kernel"]["schedule"], explain["lengths"]))
        told += [(x["source"], {"template": x.get("template"), **x["schedule"]}, key["lengths"])
                 for x in (run, plan)]
        names = key["schedule"]
        told = [(source, {k: s[k] for k in names}, of) for source, s, of in told]
        self.assertEqual([x for x in told if x != told[0]], [], (text, lengths, told))
        return told[0]

    def test_assumed(self):
        env = {"ATTNC_TUNE_DIR": self.path("none")}
        for text in (PADDED, PACKED):
            (source, long, of_long), (_, short, of_short) = (
                self.agreed(text, lengths, env) for lengths in (LONG, SHORT))
            self.assertEqual((source, of_long), ("model", {"each": 1.0, "of": [[128, 128]] * 4}))
            self.assertLess(abs(sum(q for q, _ in of_short["of"]) / sum(SHORT) - 1), 0.25)
            self.assertNotEqual(long, short)
        said = self.attnc("explain", self.spec(PADDED), "--seqlens", "256/32,256/32", *self.on).stdout
        self.assertRegex(said, r"(?m)^lengths +assumed: 256/32 256/32$")
        for who in ("explain", "key"):  # of a quarter in the mean where nobody says
            of = self.json(who, self.spec(PADDED), "--shape", "b64 h8 s256", *self.on)["lengths"]
            self.assertEqual((of["each"], len(of["of"])), (4.0, 16))
            self.assertAlmostEqual(sum(q for q, _ in of["of"]) / 16 / 256, 0.25, 1)
            self.assertIsNone(self.json(who, self.spec(), *self.on)["lengths"])

    def test_tuned(self):
        spec, lengths = self.spec(PADDED), ["--seqlens", ",".join(map(str, SHORT)), "--shape", SHAPE]
        tuned = self.json("tune", spec, *lengths, "--top", "2", *self.on)
        want = next(x["schedule"] for x in tuned["candidates"] if x["verdict"] == "best")
        source, chosen, _ = self.agreed(PADDED, SHORT, {"ATTNC_TUNE_DIR": self.path("tune")})
        self.assertEqual((source, chosen), ("exact", {k: want[k] for k in chosen}))
        again = self.json("tune", spec, *lengths, "--top", "2", "--resume", *self.on)
        self.assertTrue(all(x["resumed"] for x in again["candidates"]))
        drawn = ["--shape", SHAPE, "--top", "1", "--dry-run"]  # lengths of its own
        for other in (drawn, ["--seqlens", "128,128,8,8", *drawn]):
            found = self.json("tune", spec, *other, "--resume", *self.on)
            self.assertFalse(any(x.get("resumed") for x in found["candidates"]), other)

    def test_refused(self):
        padded, shape = self.spec(PADDED), ["--shape", "b2 h8 s16"]
        for who in ("key", "explain", "tune", "run"):
            for text, said in (("3,17", "do not fit"), ("3", "do not fit"), ("3,x", "lengths are")):
                r = self.attnc(who, padded, "--seqlens", text, *shape, *self.on,
                               code=2 if "lengths" in said else 4)
                self.assertIn(said, r.stderr)
            dense = self.write("dense.attn.yaml", PADDED.partition("seqlens")[0])
            r = self.attnc(who, dense, "--seqlens", "3,5", *self.on, code=2)
            self.assertIn("the spec has no `seqlens`", r.stderr)
        r = self.attnc("tune", padded, "--seqlens", "3,5", "--shapes", padded, *self.on, code=2)
        self.assertIn("lengths of one batch", r.stderr)


if __name__ == "__main__":
    main()
