"""A list of problems: what it prints and writes, how far it says it is, and its parts on a
fleet: by the variables of each launcher and the job files of examples/fleet, merged, as one."""
import csv
import json
import os
import pty
import re
import select
import signal
import subprocess
import xml.etree.ElementTree as xml

from common import ATTNC, CAUSAL, SOURCE, Case, main

EMU = ["--device", "emu", "--arch", "sm_80"]
TOP = ["--top", "3"]
SHAPES = """# sizes for both, and for one
b1 h1 s64
b1 h2 sq32 sk128   # longer keys
other b1 h4/2 s32
"""
N = 5  # problems
FLEET = os.path.join(SOURCE, "examples", "fleet")


class Lists(Case):
    def setUp(self):
        super().setUp()
        self.specs = [self.spec(), self.spec(CAUSAL.replace("causal", "other", 1).replace(
            "causal: true", "window: [16, 0]"), "other.attn.yaml")]
        self.shapes = self.write("shapes", SHAPES)
        self.args = [*self.specs, "--shapes", self.shapes, *EMU, *TOP]


class Output(Lists):
    def test_list(self):
        j = self.json("tune", *self.args, "--csv", "a.csv", "--svg", "a.svg", "--rank")
        self.assertEqual((j["schema"], j["elsewhere"]), ("attnc.sweeps/1", 0))
        self.assertEqual([(p["name"], p["shape"], p["recorded"]) for p in j["problems"]],
                         [("causal", "b1 h1 s64", True), ("other", "b1 h1 s64", True),
                          ("causal", "b1 h2 sq32 sk128", True),
                          ("other", "b1 h2 sq32 sk128", True), ("other", "b1 h4/2 s32", True)])
        self.assertTrue(all(p["ranked"] == 3 for p in j["problems"]))
        with open(self.path("a.csv"), newline="", encoding="utf-8") as f:
            rows = list(csv.DictReader(f))
        self.assertEqual(len(rows), 3 * N)
        for row, c in zip(rows, (c for p in j["problems"] for c in p["candidates"])):
            self.assertEqual(float(row["value"]), c["est_cycles"])
            self.assertEqual(int(row["block_m"]), c["schedule"]["block_m"])
            for option in row["options"].split(","):
                name, value = option.split("=")
                self.assertEqual(value, json.dumps(c["schedule"][name]).strip('"'))
        self.check_picture(j)
        self.assertEqual(len(self.json("tune", "list")["records"]), N)

    def check_picture(self, j):
        svg = "{http://www.w3.org/2000/svg}"
        tree = xml.parse(self.path("a.svg"))
        cells = sum(len({(c["schedule"]["block_m"], c["schedule"]["block_n"])
                         for c in p["candidates"]}) for p in j["problems"])
        self.assertEqual(len(tree.findall(f".//{svg}rect[@class='cell']")), cells)
        self.assertEqual(len(tree.findall(f".//{svg}circle")), 3 * N)
        lines = tree.findall(f".//{svg}polyline")
        self.assertEqual(len(lines), N)
        for line in lines:  # the best so far: never up, and 1 at the end
            ys = [float(p.split(",")[1]) for p in line.get("points").split()]
            self.assertEqual(ys, sorted(ys))
        texts = [t.text for t in tree.iter(f"{svg}text")]
        self.assertEqual(sum("b1 h1 s64" in t for t in texts), 2)

    def test_text(self):
        r = self.attnc("tune", *self.specs, "--shape", "b1 h1 s64", *EMU, *TOP)
        self.assertEqual(r.stdout.count("\n  schedule "), 2)
        self.assertIn("other b1 h1 s64: kept", r.stderr)
        r = self.attnc("tune", *self.specs, "--shape", "b1 h1 s64", *EMU, *TOP, "--csv",
                       "/nowhere/a.csv", code=8)
        self.assertIn("/nowhere/a.csv", r.stderr)

    def test_one_of_several_fails(self):
        """It does not end the list; Ctrl-C does, and what was kept before stays."""
        self.spec(CAUSAL + "schedule: {template: fwd_mma, block_m: 100}\n", "other.attn.yaml")
        two = [*self.specs, "--shape", "b1 h1 s64", *EMU]
        j = self.json("tune", *two, *TOP, "--csv", "a.csv", "--svg", "a.svg", code=9)
        self.assertTrue(j["problems"][0]["recorded"])
        self.assertIn("block_m", j["problems"][1]["error"])
        self.assertEqual(self.read("a.csv").count(b"\r\n"), 4)
        xml.parse(self.path("a.svg"))
        p = subprocess.Popen([ATTNC, "tune", self.specs[0], "--shapes",
                              self.write("two", "b1 h1 s32\nb1 h1 s128\n"), *EMU, "--top", "1",
                              "--inject", "hang", "--timeout", "8", "--json"], cwd=self.dir,
                             text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env={**self.env, "ATTNC_EMU": "fuel=1000000000000000"})
        for line in p.stderr:  # the first is kept when its hanging candidate was given up
            if "kept" in line:
                break
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 130, err)
        self.assertIn("interrupted", err)
        j = json.loads(out)
        self.assertEqual([x.get("recorded") for x in j["problems"]], [True, False])

    def test_refused(self):
        for text, says in (("b1 q4\n", "shapes:1: q4"), ("other b1 h1 s32\n", "no sizes for causal"),
                           ("\n\nb1 h3/2 s8\n", "shapes:3: h is 3"), ("causal\n", "shapes:1: b, h, sq and sk"), ("other h2\n", "shapes:1: b,")):
            self.write("shapes", text)
            r = self.attnc("tune", *self.args, code=4 if "h3" in text else 2)
            self.assertIn(says, r.stderr)
        self.attnc("tune", *self.specs, *EMU, code=2)
        self.attnc("tune", *self.args, "--shape", "b1 h1 s64", code=2)
        self.attnc("tune", self.specs[0], "--shapes", "/nowhere", *EMU, code=8)

    def test_progress(self):
        """On a terminal: which problem of how many, how far, and when all will be done."""
        master, slave = pty.openpty()
        p = subprocess.Popen([ATTNC, "tune", *self.args], cwd=self.dir, env=self.env,
                             stdout=subprocess.DEVNULL, stderr=slave)
        os.close(slave)
        seen = ""
        while select.select([master], [], [], 120)[0]:
            try:
                seen += os.read(master, 4096).decode()
            except OSError:  # its end is closed
                break
        os.close(master)
        self.assertEqual(p.wait(), 0)
        self.assertRegex(seen, rf"\r\x1b\[K\[1/{N}\] compiling \d/3")
        self.assertRegex(seen, rf"\r\x1b\[K\[{N}/{N}, \d+ s left\] (compil|measur)ing \d/3")


LAUNCHERS = [
    lambda i, n: {"SLURM_ARRAY_TASK_ID": f"{i + 5}", "SLURM_ARRAY_TASK_COUNT": f"{n}",
                  "SLURM_ARRAY_TASK_MIN": "5", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"},
    lambda i, n: {"SLURM_PROCID": f"{i}", "SLURM_NTASKS": f"{n}"},
    lambda i, n: {"JOB_COMPLETION_INDEX": f"{i}", "JOB_COMPLETIONS": f"{n}"},
    lambda i, n: {"OMPI_COMM_WORLD_RANK": f"{i}", "OMPI_COMM_WORLD_SIZE": f"{n}"},
    lambda i, n: {"PMI_RANK": f"{i}", "PMI_SIZE": f"{n}"},
    lambda i, n: {"RANK": f"{i}", "WORLD_SIZE": f"{n}"},
]


class Fleet(Lists):
    """A part of a list is measured where its launcher says which; the whole is measured once."""

    whole = None

    def setUp(self):
        super().setUp()
        if Fleet.whole is None:
            self.attnc("tune", *self.args, "-q", env={"ATTNC_TUNE_DIR": self.path("one")})
            Fleet.whole = self.merged("one")

    def merged(self, *folders):
        """Tables and trials of the folders as one text."""
        files = [os.path.join(self.dir, d, f) for d in folders
                 for f in sorted(os.listdir(self.path(d)))]
        return self.attnc("tune", "merge", *files).stdout

    def parts_of(self, launcher, *args):
        """The problems of each of two parts."""
        parts = []
        for i in range(2):
            env = {"ATTNC_TUNE_DIR": self.path(f"part{i}"), **launcher(i, 2)}
            j = self.json("tune", *args, "--shard", "auto", env=env)
            parts.append([(p["name"], p["shape"]) for p in j["problems"]])
            self.assertEqual(len(j["problems"]) + j["elsewhere"], N)
        return parts

    def test_variables(self):
        """Each launcher's parts are those of the first, whose tables are merged."""
        parts = self.parts_of(LAUNCHERS[0], *self.args)
        self.assertEqual(len(set(sum(parts, []))), N)
        self.assertEqual(self.merged("part0", "part1"), self.whole)
        self.assertEqual(self.merged("part1", "part0"), self.whole)
        one = [*self.args[:-len(TOP)], "--top", "1", "--dry-run"]
        for launcher in LAUNCHERS[1:]:
            self.assertEqual(self.parts_of(launcher, *one), parts, launcher(0, 2))
        everything = self.json("tune", *self.args, "--shard", "7/8", code=0)
        self.assertEqual((everything["problems"], everything["elsewhere"]), ([], N))

    def job(self, command, i, env):
        subprocess.run(command, cwd=self.dir, check=True, capture_output=True, timeout=120,
                       env={**self.env, "ATTNC": ATTNC, "TUNED": self.path("tuned"), **env(i, 2)})

    def test_job_files(self):
        """The job files as they stand."""
        with open(f"{FLEET}/kubernetes-job.yaml", encoding="utf-8") as f:
            script = re.search(r">-\n((?: {14}.*\n)+)", f.read()).group(1)
        script = script.replace("/shared/specs/*.attn.yaml --shapes /shared/specs/shapes.txt",
                                " ".join(self.args)).replace("/shared", self.dir)
        script = script.replace("attnc tune", f"{ATTNC} tune")
        kubernetes = ["/bin/sh", "-c", " ".join(script.split())]
        for command, env in (([f"{FLEET}/slurm.sbatch", "--", *self.args], LAUNCHERS[0]),
                             ([f"{FLEET}/mpi.sh", *self.args], LAUNCHERS[3]),
                             (kubernetes, LAUNCHERS[2])):
            for i in range(2):
                self.job(command, i, env)
            parts = [f"tuned/{d}" for d in sorted(os.listdir(self.path("tuned")))]
            self.assertEqual(len(parts), 2)
            self.assertEqual(self.merged(*parts), self.whole, command[0])
            os.rename(self.path("tuned"), self.path(f"tuned{env(0, 2)}"))


if __name__ == "__main__":
    main()
