"""`first` with phases that are none: its table, what goes on behind a phase that fails or overruns,
what is resumed, what is left when it is ended from outside."""
import importlib.machinery
import importlib.util
import os
import signal
import subprocess
import sys
import time
import unittest

import common

import phases
import summary
from kit import gpu_report, results
from phases import Phase


def program(name):
    """A program of this folder, as a module."""
    loader = importlib.machinery.SourceFileLoader(name, os.path.join(common.GPU, name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


first = program("first")
first.say = lambda text: None

# A phase of a test: what it does, told by its name, as `run` would.
FAKE = '''
import os, subprocess, sys, time
sys.path.insert(0, {bench!r})
from kit.results import Results, Skip
name, file = sys.argv[1:]
r = Results("gpu", file, {{"name": "Fake", "emulated": True}}, {{}}, log=open(os.devnull, "w"))
if name == "dies":
    sys.exit("no such thing")
if name == "none":
    sys.exit(6)
with r.phase(name):
    r.note("of " + name)
    r.measure("x", {{"s": 1}}, "time", "ms", [float(os.environ.get("FAKE", "1"))])
    r.check("x", {{}}, name != "wrong", "it is wrong")
    r.save()
    if name == "hangs":
        child = subprocess.Popen(["sleep", "60"], start_new_session=True)
        open(os.path.join(os.path.dirname(file), "pid"), "w").write(str(child.pid))
        time.sleep(60)
    if name == "raises":
        raise RuntimeError("half way")
    if name == "skips":
        raise Skip("torch is not installed")
r.finish()
sys.exit(0 if r.ok else 1)
'''.format(bench=os.path.join(common.ROOT, "bench"))


def fake(name, seconds=20):
    return Phase(name, name, 1.0, seconds, (), name)


class First(common.Case):
    def setUp(self):
        self.place = self.folder()
        self.file = os.path.join(self.place, "first.json")
        self.begun = []

    def made(self, table, within=None, resume=False):
        def command(phase, seconds, part):
            self.begun.append(phase.name)
            return [sys.executable, "-c", FAKE, phase.name, part]
        run = first.First(self.file, command, tuple(table), within)
        if resume:
            run.resume(self.file)
        return run

    def ran(self, names, begin=None, **more):
        run = self.made([fake(n, 1 if n == "hangs" else 20) for n in names], **more)
        run.run(begin)
        return run

    def states(self):
        return {p["name"]: p["status"] for p in results.load(self.file)["phases"]}

    def measured(self):
        return [(m["phase"], m["median"]) for m in results.load(self.file)["measurements"]]

    def test_every_phase_has_its_turn(self):
        run = self.ran(["fine", "dies", "raises", "hangs", "skips", "wrong", "last"])
        self.assertEqual(self.states(), {"fine": "ok", "dies": "failed", "raises": "failed",
                                         "hangs": "failed", "skips": "skipped", "wrong": "ok",
                                         "last": "ok"})
        data = results.load(self.file)
        whys = {p["name"]: p.get("why") for p in data["phases"]}
        self.assertEqual(whys["dies"], "exit 1: no such thing")
        self.assertEqual(whys["raises"], "RuntimeError: half way")
        self.assertEqual(whys["hangs"],
                         "over its budget of 1 s: what it had measured is kept")
        self.assertEqual([p for p, _ in self.measured()],
                         ["fine", "raises", "hangs", "skips", "wrong", "last"])
        self.assertTrue(data["complete"])
        self.assertFalse(run.results.ok)
        self.assertEqual(os.listdir(self.place).count("first.json"), 1)
        self.assertFalse([n for n in os.listdir(self.place) if n.endswith(".part")])
        self.over_with_its_child()
        self.summary_of(data, run)

    def over_with_its_child(self):
        """What the overrunning phase had started, in a session of its own, has ended as well."""
        with open(os.path.join(self.place, "pid"), encoding="utf-8") as f:
            pid = f.read()
        for _ in range(200):
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
                    if f.read().split()[2] == "Z":
                        return
            except FileNotFoundError:
                return
            time.sleep(0.02)
        self.fail("a process of the phase is still there")

    def summary_of(self, data, run):
        said = summary.text(data, run.table, self.file)
        self.assertIn("| hangs | failed | 1 of 1 |", said)
        self.assertIn("| skips | skipped |", said)
        self.assertIn("torch is not installed", said)
        self.assertIn("WRONG wrong x {}: it is wrong", said)
        self.assertIn(f"keep: {self.file}", said)

    def test_what_is_done_is_left_alone(self):
        self.ran(["one", "dies", "skips"])
        self.begun.clear()
        os.environ["FAKE"] = "2"
        self.addCleanup(os.environ.pop, "FAKE")
        self.ran(["one", "dies", "skips", "more"], resume=True)
        self.assertEqual(self.begun, ["dies", "more"])
        self.assertEqual(self.measured(), [("one", 1), ("skips", 1), ("more", 2)])
        self.assertEqual(list(self.states()), ["one", "dies", "skips", "more"])

    def test_it_begins_where_it_is_told(self):
        run = self.ran(["one", "two", "three"], begin="two")
        self.assertEqual(self.begun, ["two", "three"])
        self.assertFalse(run.results.data["complete"])
        self.ran(["one", "two", "three"], resume=True)
        self.assertEqual(self.begun, ["two", "three", "one"])
        self.assertEqual(list(self.states()), ["one", "two", "three"])
        self.assertTrue(results.load(self.file)["complete"])

    def test_a_phase_without_its_time_is_not_begun(self):
        run = self.made([fake("short", 4), fake("long", 1000)], within=10)
        run.run()
        self.assertEqual(self.begun, ["short"])
        self.assertFalse(results.load(self.file)["complete"])
        self.assertIn("| long | not begun |", summary.text(run.results.data, run.table, self.file))

    def test_a_first_phase_that_leaves_nothing_is_told_as_well(self):
        self.ran(["dies", "fine"])
        self.assertEqual(self.states(), {"dies": "failed", "fine": "ok"})
        self.assertTrue(results.load(self.file)["complete"])

    def test_without_a_device_nothing_goes_on(self):
        run = self.ran(["none", "fine"])
        self.assertEqual((run.code, self.begun), (6, ["none"]))
        self.assertFalse(os.path.exists(self.file))

    def test_what_a_run_left_that_was_killed_is_found(self):
        self.ran(["one"])
        run = self.made([fake("one"), fake("hangs"), fake("last")], resume=True)
        code = subprocess.Popen([sys.executable, "-c", FAKE, "hangs", run.part(fake("hangs"))],
                                start_new_session=True)
        self.addCleanup(lambda: first.process.end(code.pid))
        while not os.path.exists(os.path.join(self.place, "pid")):
            time.sleep(0.02)
        first.process.end(code.pid)
        code.wait()
        run.run("last")
        self.assertEqual(self.states(), {"one": "ok", "hangs": "failed", "last": "ok"})
        self.assertEqual([p for p, _ in self.measured()], ["one", "hangs", "last"])

    def test_a_signal_keeps_what_there_is(self):
        """As a lent machine ends it: the first phase is over, the second one goes on."""
        code = f"""
import sys
sys.argv = ["first"]
sys.path[:0] = [{os.path.dirname(os.path.abspath(__file__))!r}]
import test_first as t, signal
from phases import Phase
signal.signal(signal.SIGTERM, t.first.stop)
run = t.first.First({self.file!r}, lambda p, s, part: [sys.executable, "-c", t.FAKE, p.name, part],
                    (t.fake("one"), t.fake("hangs", 50)))
run.run()"""
        process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
        while not os.path.exists(os.path.join(self.place, "pid")):
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(20), 128 + signal.SIGTERM)
        self.assertEqual(self.states(), {"one": "ok", "hangs": "failed"})
        self.assertIn("interrupted", results.load(self.file)["phases"][1]["why"])
        self.over_with_its_child()


class Table(common.Case):
    def test_budgets_leave_room(self):
        whole = sum(p.seconds for p in phases.FIRST)
        self.assertLess(whole, phases.CALL_SECONDS)
        self.assertLess(phases.CALL_SECONDS, phases.DEVICE_SECONDS)
        self.assertEqual(len({p.name for p in phases.PHASES}), len(phases.PHASES))
        shares = [p.share for p in phases.PHASES]
        self.assertEqual((shares, shares[-1]), (sorted(shares), 1.0))

    def test_every_phase_is_there(self):
        for p in phases.PHASES:
            self.assertTrue(callable(getattr(__import__(p.module), "run")), p.name)

    def test_run_knows_the_words_of_every_phase(self):
        run, before = program("run"), sys.argv
        self.addCleanup(setattr, sys, "argv", before)
        for p in phases.FIRST:
            sys.argv = ["run", "--phases", p.name, "--budget", "1", *p.words]
            self.assertEqual(run.arguments().phases, [p.name])

    def test_the_peers_of_forward_have_names(self):
        words = phases.named("forward").words
        subjects = words[words.index("--subjects") + 1].split(",")
        self.assertLessEqual(set(subjects), set(gpu_report.NAMES))
        self.assertLessEqual({"attnc", "sdpa_cudnn", "flash_attn"}, set(subjects))

    def test_the_page_has_the_budgets(self):
        with open(os.path.join(common.ROOT, "docs", "first-gpu.md"), encoding="utf-8") as f:
            page = f.read()
        for p in phases.FIRST:
            self.assertIn(f"| `{p.name}` | {p.seconds} |", page)

    def test_the_command_line(self):
        said = subprocess.run([os.path.join(common.GPU, "first"), "--list"], capture_output=True,
                              text=True)
        self.assertIn("| calibrate | 45 |", said.stdout)
        for words in (["--device", "emu"], ["--from", "nowhere"],
                      ["--out", "a", "--resume", "b"]):
            said = subprocess.run([os.path.join(common.GPU, "first"), *words],
                                  capture_output=True, text=True)
            self.assertEqual(said.returncode, 2, words)


if __name__ == "__main__":
    unittest.main()
