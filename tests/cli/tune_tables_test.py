"""Tuning tables as a whole: listed, exported, imported, merged, told to forget; layers and the
pinned table; what is torn, foreign or cannot be written."""
import json
import os
import random
import shutil
import subprocess

import tables
from common import ATTNC, CAUSAL, Case, main

DEVICE = "attnc emulated sm_80"
EMU = ["--device", "emu", "--arch", "sm_80"]
SHAPE = "b1 h1 s64"
SIZES = {"b": 1, "h": 1, "hk": 1, "sq": 64, "sk": 64}


def schedule(block_m=64, **more):
    return {"template": "fwd_mma", "block_m": block_m, "block_n": 64, "num_stages": 2,
            "num_warps": block_m // 16, **more}


class Tables(Case):
    def setUp(self):
        super().setUp()
        self.spec_path = self.spec()
        self.hash = self.json("key", self.spec_path, *EMU)["fields"]["spec_hash"]
        self.user = os.path.join(self.dir, ".local/share/attnc/tune")

    def record(self, block_m=64, value=1.0, sizes=SIZES, **more):
        return tables.record(DEVICE, self.hash, sizes, schedule(block_m), value, **more)

    def chosen(self, shape=SHAPE, **more):
        """(source, block_m) of what would be launched."""
        j = self.json("key", self.spec_path, "--shape", shape, *EMU, **more)
        return j["source"], j["schedule"]["block_m"]

    def records(self, *args, **more):
        j = self.json("tune", "list", *args, **more)
        self.assertEqual(j["schema"], "attnc.tune_list/1")
        return [(r["device"], r["schedule"]["block_m"], r["value"]) for r in j["records"]]


class Whole(Tables):
    def test_list_and_forget(self):
        far = {**SIZES, "sq": 4096, "sk": 4096}
        tables.write(self.user, DEVICE, self.record(64, 3.0), self.record(32, 2.0),
                     self.record(64, 1.0), self.record(64, 0.5, level="estimate"),
                     self.record(128, 5.0, far))
        tables.write(self.user, "other", {**self.record(16, 1.0), "device": "other"})
        self.assertEqual(self.records(self.spec_path), [
            (DEVICE, 32, 2.0), (DEVICE, 64, 1.0), (DEVICE, 128, 5.0), ("other", 16, 1.0)])
        self.assertEqual(self.records("--on", "other"), [("other", 16, 1.0)])
        self.assertEqual(self.records("--shape", "b1 h1 s4096"), [(DEVICE, 128, 5.0)])
        self.assertEqual(self.chosen(), ("exact", 64))
        self.attnc("tune", "forget", code=2)
        self.attnc("tune", "forget", "--all", "--on", "other", code=2)
        r = self.attnc("tune", "forget", self.spec_path, "--shape", SHAPE)
        self.assertEqual(r.stdout, "3 forgotten\n")
        self.assertEqual(self.records("--on", DEVICE), [(DEVICE, 128, 5.0)])
        self.assertNotEqual(self.chosen()[0], "exact")
        tables.write(self.user, DEVICE, self.record(32, 2.0))  # what comes later counts again
        self.assertEqual(self.chosen(), ("exact", 32))
        self.assertEqual(self.json("tune", "forget", "--all")["forgotten"], 2)
        self.assertEqual(self.records(), [])
        self.assertIn("0 records", self.attnc("tune", "list").stdout)

    def test_export_import(self):
        tables.write(self.user, DEVICE, self.record(64, 3.0), self.record(32, 2.0))
        self.attnc("tune", "export", "-o", "out.jsonl")
        text = self.read("out.jsonl").decode()
        self.assertEqual(self.attnc("tune", "export").stdout, text)
        self.assertEqual(self.json("tune", "export"),
                         {"schema": "attnc.tune_export/1", "lines": 2, "text": text})
        there = {"ATTNC_TUNE_DIR": self.path("there")}
        j = self.json("tune", "import", "out.jsonl", env=there)
        self.assertEqual((j["added"], j["known"], j["skipped"]), (2, 0, 0))
        j = self.json("tune", "import", "-", env=there, stdin=text)
        self.assertEqual((j["added"], j["known"]), (0, 2))
        self.assertEqual(self.json("tune", "list")["sha256"],
                         self.json("tune", "list", env=there)["sha256"])
        self.assertEqual(self.chosen(env=there), self.chosen())
        self.attnc("tune", "forget", "--all", env=there)
        self.assertEqual(self.json("tune", "import", "out.jsonl", env=there)["added"], 2)
        self.assertEqual(self.chosen(env=there), ("exact", 32))

    def test_merged_shards_say_what_the_shards_do(self):
        """Random tables, lines that forget among them, cut in two: their merges one behind the
        other count as the whole does, and so do the merges of those."""
        rng = random.Random(5)
        near = {**SIZES, "sq": 1024}
        forgets = [{"schema": "attnc.forget/1", "device": DEVICE, **more} for more in (
            {}, {"spec_hash": self.hash}, {"bucket": tables.bucket(near)}, {"spec_hash": "other"})]

        def merged(text):
            return self.attnc("tune", "merge", "-", stdin=text).stdout

        def counts(text):
            return sorted(x for x in merged(text).splitlines() if "attnc.forget/1" not in x)

        seen = set()
        for _ in range(12):
            lines = [tables.sealed(rng.choice(forgets) if rng.random() < 0.2 else self.record(
                rng.choice((32, 64)), rng.randrange(1, 9), rng.choice((SIZES, near)),
                level=rng.choice(("measure", "patient")))) for _ in range(rng.randrange(2, 14))]
            cut = rng.randrange(len(lines))
            whole, first, second = "".join(lines), "".join(lines[:cut]), "".join(lines[cut:])
            for text in (merged(first) + second, first + merged(second),
                         merged(first) + merged(second), merged(whole)):
                self.assertEqual(counts(text), counts(whole), whole)
            seen.add((bool(counts(whole)), "attnc.forget/1" in second))
        self.assertIn((True, True), seen)

    def test_merge(self):
        """The order of files of different problems does not matter, nor how often each comes."""
        near = {**SIZES, "sq": 1024}
        trial = {"schema": "attnc.trial/1", "device": DEVICE, "ptx": "ab", "value": 1.0}
        one = [self.record(64, 3.0), self.record(64, 2.0), trial]
        two = [self.record(32, 2.0, near), trial]
        for name, lines in (("a", one), ("b", two)):
            self.write(name, "".join(map(tables.sealed, lines)))
        merged = self.attnc("tune", "merge", "a", "b").stdout
        self.assertEqual(sorted(merged.splitlines()),
                         sorted(tables.sealed(x)[:-1] for x in [*one[1:2], *two]))
        self.assertEqual(self.attnc("tune", "merge", "b", "a").stdout, merged)
        self.assertEqual(self.attnc("tune", "merge", "-", "a", stdin=merged).stdout, merged)
        self.attnc("tune", "merge", "a", "b", "-o", "both")
        self.assertEqual(self.json("tune", "import", "both")["added"], 3)
        self.assertEqual(self.json("tune", "import", "both")["known"], 3)
        with open(tables.path(self.user, DEVICE, ".trials.jsonl"), encoding="utf-8") as f:
            self.assertEqual(f.read(), tables.sealed(trial))


class Layers(Tables):
    def test_system_and_user(self):
        system = self.path("system")
        tables.write(system, DEVICE, self.record(32, 1.0, level="patient"))
        env = {"ATTNC_TUNE_READONLY": f"/nowhere:{system}"}
        self.assertEqual(self.chosen(env=env), ("exact", 32))
        tables.write(self.user, DEVICE, self.record(64, 0.5))  # less was tried
        self.assertEqual(self.chosen(env=env), ("exact", 32))
        tables.write(self.user, DEVICE, self.record(128, 0.9, level="exhaustive"))
        self.assertEqual(self.chosen(env=env), ("exact", 128))
        before = self.read("system/attnc_emulated_sm_80.jsonl")
        os.chmod(system, 0o555)
        self.attnc("tune", "forget", self.spec_path, env=env)
        self.assertNotEqual(self.chosen(env=env)[0], "exact")
        os.chmod(system, 0o755)
        self.assertEqual(self.read("system/attnc_emulated_sm_80.jsonl"), before)
        kinds = [x["kind"] for x in self.json("tune", "list", env=env)["layers"]]
        self.assertEqual(kinds, ["system", "system", "user"])

    def test_beside_the_library(self):
        """Tables that are installed with the library are the system's, unless others are named."""
        prefix = self.path("prefix")
        lib = os.path.realpath(os.path.join(os.path.dirname(ATTNC), "..", "lib"))
        os.makedirs(f"{prefix}/bin")
        os.makedirs(f"{prefix}/lib/machine")
        shutil.copy(ATTNC, f"{prefix}/bin/attnc")
        for name in os.listdir(lib):
            if name.startswith(("libattnc.so", "libattnc_rt.so", "libattnc-emu.so")):
                shutil.copy(f"{lib}/{name}", f"{prefix}/lib/machine", follow_symlinks=False)
        tables.write(f"{prefix}/share/attnc/tune", DEVICE, self.record(32, 1.0))
        env = {**self.env, "LD_LIBRARY_PATH": f"{prefix}/lib/machine"}
        listed = [f"{prefix}/bin/attnc", "tune", "list", "--json"]
        for more, n in (({}, 1), ({"ATTNC_TUNE_READONLY": "/nowhere"}, 0)):
            out = subprocess.run(listed, env={**env, **more}, check=True, stdout=subprocess.PIPE)
            j = json.loads(out.stdout)
            self.assertEqual(len(j["records"]), n, j)
            self.assertEqual(j["layers"][0]["kind"], "system")

    def test_pinned(self):
        """Whatever else there is, and whoever asks, the pinned table decides."""
        self.write("pinned", tables.sealed(self.record(32, 9.0)))
        tables.write(self.user, DEVICE, self.record(64, 0.5, level="exhaustive"))
        env = {"ATTNC_TUNE_TABLE": self.path("pinned")}
        for rank in range(4):
            home = {"HOME": self.path(f"rank{rank}"), "RANK": str(rank), **env}
            self.assertEqual(self.chosen(env=home), ("exact", 32))
        self.assertEqual(self.records(env=env), [(DEVICE, 32, 9.0)])
        r = self.attnc("tune", self.spec_path, *EMU, "--shape", SHAPE, "--top", "1", env=env, code=2)
        self.assertIn("ATTNC_TUNE_TABLE", r.stderr)
        self.attnc("tune", "import", "pinned", env=env, code=2)
        self.attnc("tune", "forget", "--all", env=env, code=2)
        self.attnc("tune", self.spec_path, *EMU, "--shape", SHAPE, "--top", "1", "--dry-run", env=env)
        gone = {"ATTNC_TUNE_TABLE": "/nowhere"}
        self.assertIn("/nowhere", self.attnc("tune", "list", env=gone, code=8).stderr)
        self.assertIn("/nowhere", self.attnc("key", self.spec_path, *EMU, env=gone, code=8).stderr)


class BadInput(Tables):
    def test_lines(self):
        good = self.record(64, 1.0)
        newer = tables.sealed({**good, "schema": "attnc.tune/2"})
        lines = [tables.sealed(good), newer, tables.sealed(self.record(32, 0.1))[:-20] + "\n",
                 "edited by hand\n", tables.sealed({**good, "device": ""}),
                 tables.sealed(self.record(96, 0.1))[:60]]
        tables.write(self.user, DEVICE, *lines)
        self.assertEqual(self.chosen(), ("exact", 64))
        r = self.attnc("key", self.spec_path, "--shape", SHAPE, *EMU)
        self.assertEqual(r.stderr, "")
        j = self.json("tune", "list", env={"ATTNC_LOG": "debug"})
        self.assertEqual((len(j["records"]), j["skipped"]), (1, 4))
        self.write("bad", "".join(lines))
        r = self.attnc("tune", "merge", "bad")
        self.assertEqual(r.stdout, lines[0])
        for says in (":2 is skipped: another schema", ":3 is skipped: its checksum",
                     ":4 is skipped: its checksum", ":5 is skipped: no device",
                     "bad: the last line is torn"):
            self.assertIn(says, r.stderr)
        j = self.json("tune", "import", "bad", env={"ATTNC_TUNE_DIR": self.path("there")})
        self.assertEqual((j["added"], j["skipped"]), (1, 5))
        self.write("zeros", b"\0" * 100)
        self.assertIn("not a table", self.attnc("tune", "merge", "zeros", code=2).stderr)
        self.assertEqual(self.attnc("tune", "merge", "/dev/null").stdout, "")
        self.attnc("tune", "merge", "/nowhere", code=8)
        self.attnc("tune", "list", "--shape", "b1", code=2)

    def test_a_directory_that_is_not_written(self):
        """Nothing is lost that could be read; what cannot be kept is said."""
        if os.geteuid() == 0:
            ro = "/proc/self"  # root writes wherever the mode forbids it
        else:
            ro = self.path("ro")
            os.mkdir(ro, 0o555)
        env = {"ATTNC_TUNE_DIR": ro + "/tune"}
        self.write("table", tables.sealed(self.record()))
        self.attnc("tune", "list", env=env)
        self.chosen(env=env)
        self.attnc("tune", "import", "table", env=env, code=8)
        r = self.attnc("tune", self.spec_path, *EMU, "--shape", SHAPE, "--top", "1", env=env, code=8)
        self.assertIn(ro, r.stderr)
        self.assertIn("cannot be kept", r.stderr)

    def test_imports_at_once(self):
        """Lines of processes that append together are whole, every one."""
        for i in range(4):
            self.write(f"t{i}", "".join(tables.sealed(self.record(64, 1 + i + k / 100,
                                                                  {**SIZES, "sq": 64 << k}))
                                        for k in range(10)))
        running = [subprocess.Popen([ATTNC, "tune", "import", f"t{i}"], cwd=self.dir, env=self.env,
                                    stdout=subprocess.DEVNULL) for i in range(4)]
        self.assertEqual([p.wait(timeout=60) for p in running], [0] * 4)
        j = self.json("tune", "list")
        self.assertEqual((len(j["records"]), j["skipped"]), (10, 0))
        with open(tables.path(self.user, DEVICE), encoding="utf-8") as f:
            lines = [json.loads(x) for x in f if x.strip()]
        self.assertEqual(len(lines), 40)


if __name__ == "__main__":
    main()
