"""The phase `fields` and the triples of `correctness`: which variants there are, what is refused,
disqualified or wrong, and the report.  Plans are real ones of the emulated device; tensors, events
and launches are stand-ins, so that a launch takes as long as the test says."""
import io
import os
import time
import traceback
import unittest
from types import SimpleNamespace
from unittest import mock

import common
from test_suite import Stream

import cases
import fields
import folder
import peers
import timing
import triples
import world
from kit import fields_report, results
from kit.stats import geomean

CASE = cases.case("bf16", 64, 256, True, 2, b=1)
REMARK = "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async are serialized"


def setUpModule():
    global context
    import attnc
    common.where()
    os.environ["ATTNC_EMU"] = "arch=sm_90"  # of `attnc tune`, a process of its own
    context = attnc.Context("emu", emulator="arch=sm_90", cache="off")
    timing.WARM_MS = 0.1


class Rows(list):
    """A tensor [rows, d], as far as fields.off looks at it."""

    def float(self):
        return self

    def __sub__(self, other):
        return Rows([x - y for x, y in zip(a, b)] for a, b in zip(self, other))

    def norm(self, dim):
        assert dim == -1
        return Norms(sum(x * x for x in row) ** 0.5 for row in self)


class Norms(list):
    def clamp_min(self, least):
        return Norms(max(x, least) for x in self)

    def __truediv__(self, other):
        return Norms(x / y for x, y in zip(self, other))

    def max(self):
        return max(self, key=lambda x: (x != x, x))  # torch's: a NaN is the largest


class Event:
    """Ends at once, unless `query` is given."""

    def __init__(self, stream, query=lambda: True):
        self.stream, self.query = stream, query

    def record(self):
        self.at = self.stream.now

    def elapsed_time(self, end):
        return end.at - self.at


def place():
    """The folder with the library and the command line: a build has them in two."""
    library = common.where().path
    return folder.look(os.path.dirname(library)) or folder.look(library)


def suite(temporary, late=False):
    kept = results.Results("gpu", os.path.join(temporary, "r.json"),
                           {"compute_capability": "9.0"}, {}, log=io.StringIO())
    return SimpleNamespace(
        where=place(), folder=temporary, kind="emu", quick=True, tiny=False, emulated=False,
        only="", results=kept, say=lambda text: None, late=lambda: late, left=lambda: 100.0)


def default_schedule(case=CASE):
    _, plan, why = fields.planned(context, case, fields.Variant(fields.DEFAULT, None))
    assert why is None, why
    return {"template": plan.info["template"], **plan.info["schedule"]}


class Variants(common.Case):
    def test_cases_are_what_was_asked_for(self):
        made = cases.fields()
        plain = {(c["d"], c["causal"], c["sq"]) for c in made if c["h"] == c["hk"]}
        self.assertEqual(plain, {(d, causal, s) for d in (64, 128, 256)
                                 for causal in (True, False) for s in (1024, 4096, 16384)})
        self.assertTrue(all(c["b"] * c["sq"] == cases.TOKENS for c in made))
        known = [cases.label(c) for c in cases.forward()]
        self.assertTrue(all(cases.label(c) in known for c in made))
        self.assertEqual(len(cases.fields(quick=True)), 7)

    def test_a_smaller_tile_has_room(self):
        """Where the default's tile leaves no room, the value stands on one that does, beside the
        default of that tile."""
        case = cases.case("bf16", 256, 1024, True, 8)
        default = default_schedule(case)
        wanted = [v for v in fields.variants(default) if v[0].name == "cross_tile=true"]
        s = suite(self.folder())
        with s.results.phase("fields"):
            (variant, plan), = fields.compiled(s, case, context, wanted, default)
        self.assertTrue(variant.name.startswith("cross_tile=true "), variant.name)
        self.assertTrue(plan.info["schedule"]["cross_tile"])
        (tile, _), = fields.tiles(default, [(variant, plan)])
        made = plan.info["schedule"]
        self.assertEqual(tile.name, f"{made['block_m']}x{made['block_n']}")
        self.assertIsNone(fields.planned(context, case, tile)[2])
        self.assertEqual(fields.tiles(made | {"template": "fwd_wgmma"}, [(variant, plan)]), [])

    def test_each_differs_in_one_field_and_all_values_are_there(self):
        import attnc
        rows = {f["name"]: f for f in attnc.schedule_fields()}
        default = default_schedule()
        seen = {}
        for alone, named in fields.variants(default)[1:]:
            other = {k: v for k, v in alone.schedule.items() if default[k] != v}
            self.assertEqual(len(other), 1, alone)
            (field, value), = other.items()
            self.assertEqual(alone.name, f"{field}={fields.text(value)}")
            self.assertEqual(named, field)
            seen.setdefault(field, {default[field]}).add(value)
        listed = {"num_stages": {1, 2, 3}, "cluster": {1, 2}, "q_stages": {1, 2},
                  "poly_exp2": {0, 2, 4, 8, 16}}
        for field in default.keys() - {"template", "block_m", "block_n", "num_warps"}:
            row = rows[field]
            wanted = ({True, False} if row["kind"] == "bool" else
                      set(row["names"]) if row["kind"] == "enum" else
                      listed.get(field, {row["min"], int(row["example"]), row["max"]}))
            self.assertEqual(seen[field], wanted, field)

    def test_others_of_a_number(self):
        self.assertEqual(fields.others("num_stages", 1), [2])
        self.assertEqual(fields.others("poly_exp2", 4), [0, 2, 8, 16])
        with mock.patch.dict(fields.OTHERS):
            del fields.OTHERS["poly_exp2"]
            self.assertEqual(fields.others("poly_exp2", 4), [0, 16])

    def test_the_compiler_says_what_a_value_takes(self):
        default = {**default_schedule(), "q_stages": 2, "scheduler": "persistent"}
        wanted = [v for v in fields.variants(default) if v[0].name == "scheduler=grid"]
        s = suite(self.folder())
        with s.results.phase("fields"):
            (variant, plan), = fields.compiled(s, CASE, context, wanted, default)
        self.assertEqual(variant.name, "scheduler=grid q_stages=1")
        self.assertEqual(plan.info["schedule"]["scheduler"], "grid")
        self.assertIn("q_stages 2 has no use", s.results.data["skipped"][0]["why"])

    def test_exact_has_its_sizes_as_constants(self):
        exact = next(a for a, _ in fields.variants(default_schedule())
                     if a.name == "scheduler=lpt")
        _, plan, why = fields.planned(context, CASE, exact)
        self.assertIsNone(why)
        self.assertEqual(plan.info["requires"]["sizes"]["sq"], 256)

    def test_groups_are_pinned_for_pack_gqa(self):
        case = {**CASE, "h": 4, "hk": 1}
        packed = next(a for a, _ in fields.variants(default_schedule(case))
                      if a.name == "pack_gqa=true")
        self.assertIsNone(fields.planned(context, case, packed)[2])
        self.assertRegex(fields.planned(context, CASE, packed)[2], "^refused: .*group_size")


class Plans(common.Case):
    def compiled(self, plan, late=False):
        s = suite(self.folder(), late=late)
        with s.results.phase("fields"):
            found = fields.compiled(s, CASE, SimpleNamespace(plan=plan),
                                    [(fields.Variant("intra_wg_overlap=false", {}), None)])
        return found, s.results.data

    def test_remarks_disqualify(self):
        found, data = self.compiled(lambda *a, **k: SimpleNamespace(
            info={"diagnostics": [REMARK]}))
        self.assertEqual((found, data["checks"]), ([], []))
        self.assertEqual(data["skipped"][0]["why"], f"disqualified: {REMARK}")

    def test_what_fails_to_compile_fails_the_phase(self):
        def plan(*a, **k):
            raise __import__("attnc").CompileError("the assembler\nsays no", 1)
        found, data = self.compiled(plan)
        self.assertEqual(found, [])
        self.assertFalse(data["checks"][0]["pass"])
        self.assertIn("CompileError: the assembler", data["checks"][0]["why"])

    def test_what_there_is_no_time_for_is_skipped_by_name(self):
        found, data = self.compiled(None, late=True)
        self.assertEqual((found, data["skipped"][0]["subject"], data["skipped"][0]["why"]),
                         ([], "intra_wg_overlap=false", "out of time"))


class Right(common.Case):
    def test_one_wrong_row_of_many_is_seen(self):
        good = Rows([[3.0, 4.0]] * 10000)
        self.assertEqual(fields.off(good, good), 0)
        bad = Rows(good[:-1] + [[3.0, 3.5]])
        self.assertAlmostEqual(fields.off(bad, good), 0.1)
        self.assertEqual(fields.off(Rows(good[1:] + [[3.0, float("nan")]]), good), float("inf"))

    def finished(self, query):
        cuda = SimpleNamespace(Event=lambda: Event(Stream(), query))
        return fields.finished(SimpleNamespace(cuda=cuda), lambda: "output")

    def test_a_launch_that_does_not_end(self):
        self.addCleanup(setattr, fields, "HANG_SECONDS", fields.HANG_SECONDS)
        fields.HANG_SECONDS = 0.02
        answers = iter([False, False, True])
        self.assertEqual(self.finished(lambda: next(answers)), "output")
        with self.assertRaisesRegex(fields.Lost, "did not end"):
            self.finished(lambda: False)

    def test_a_launch_that_breaks_the_device(self):
        def query():
            raise RuntimeError("CUDA error: an illegal memory access\nmore")
        with self.assertRaisesRegex(fields.Lost, "illegal memory access$"):
            self.finished(query)


class OnGpu(common.Case):
    """The whole phase as on a GPU, on a device whose time is said here."""

    def setUp(self):
        self.stream = Stream()
        torch = self.stream.torch()
        torch.cuda.Event = staticmethod(lambda enable_timing=False: Event(self.stream))
        self.output = {True: Rows([[1.0, 2.0]]), False: Rows([[1.0, 2.1]])}
        for module, name, value in (
                (world, "torch", lambda: torch), (peers, "launching", self.launching),
                (peers, "Tensors", lambda torch, case: SimpleNamespace(torch=torch)),
                (peers, "error", lambda case, t, o: 0.001), (fields, "TOP", (2, 2)),
                (cases, "fields", lambda quick, tiny: [CASE])):
            self.addCleanup(setattr, module, name, getattr(module, name))
            setattr(module, name, value)

    def launching(self, plan, t):
        """Without intra_wg_overlap it takes twice as long, and with lazy_rescale it is wrong."""
        s = plan.info["schedule"]
        run = self.stream.call("launch", 1.0 if s["intra_wg_overlap"] else 2.0)

        def call():
            run()
            return self.output[not s["lazy_rescale"]]
        call.plan = plan
        return call

    def run_phase(self, s):
        with s.results.phase("fields"):
            fields.run(s)
        s.results.save()
        return results.load(s.results.file)

    def test_a_case(self):
        data = self.run_phase(suite(self.folder()))
        self.assertEqual(data["phases"][0]["status"], "ok", data["phases"])
        rows = {m["subject"]: m for m in data["measurements"]}
        self.assertGreaterEqual(rows.keys(), {"default", "specialize=sizes", "intra_wg_overlap=false",
                                              "scheduler=lpt", "cluster=2", "tma_store=false",
                                              "scheduler=persistent", "tuned"})
        for m in rows.values():
            self.assertEqual((m["unit"], m["n"]), ("ms", 10))
            slow = 1 if m["context"]["schedule"]["intra_wg_overlap"] else 2
            self.assertAlmostEqual(m["derived"]["ratio"], 1 / slow)
            self.assertAlmostEqual(m["derived"]["tflops"], cases.flops(CASE) * 1e-9 / slow)
        wrong = {c["subject"]: c["why"] for c in data["checks"] if not c["pass"]}
        self.assertEqual(set(wrong) - {"tuned"}, {"lazy_rescale=true"})
        self.assertIn("not the default's output", wrong["lazy_rescale=true"])
        self.assertNotIn("lazy_rescale=true", rows)
        why = {x["subject"]: x["why"] for x in data["skipped"]}
        self.assertIn("group_size", why["pack_gqa=true"])
        text, plots = fields_report.fields_block(data)
        self.assertEqual(plots, {})
        self.assertIn("| intra_wg_overlap=false | 0.500 × | 0.500 × of 1 |", text)
        self.assertIn("| pack_gqa=true | refused | – |", text)
        self.assertIn("| lazy_rescale=true | WRONG | – |", text)

    def test_a_default_that_is_wrong_ends_its_case(self):
        peers.error = lambda case, t, o: 0.5
        data = self.run_phase(suite(self.folder()))
        self.assertEqual([(c["subject"], c["pass"]) for c in data["checks"]],
                         [("default", False)])
        self.assertEqual(data["measurements"], [])

    def test_a_device_that_is_lost_ends_the_phase(self):
        def lost(torch, call):
            raise fields.Lost("it hangs")
        self.addCleanup(setattr, fields, "finished", fields.finished)
        fields.finished = lost
        data = self.run_phase(suite(self.folder()))
        self.assertEqual(data["phases"][0]["status"], "failed")
        self.assertIn("default, bf16 d64", data["phases"][0]["why"])
        frames = {f.f_code.co_name: f.f_locals
                  for f, _ in traceback.walk_tb(fields.HELD.pop().__traceback__)}
        self.assertEqual(frames["one_case"]["default"].info["template"], fields.TEMPLATE)
        self.assertFalse(data["checks"][0]["pass"])

    def test_without_time_and_on_other_chips(self):
        data = self.run_phase(suite(self.folder(), late=True))
        self.assertEqual(data["skipped"][0]["why"], "out of time")
        s = suite(self.folder())
        s.results.data["device"]["compute_capability"] = "8.0"
        self.assertEqual(self.run_phase(s)["phases"][0]["status"], "skipped")
        s = suite(self.folder())
        s.only = "d128"
        data = self.run_phase(s)
        self.assertEqual((data["checks"], data["skipped"]), ([], []))


class Report(common.Case):
    def test_means_leave_out_what_has_no_ratio(self):
        kept = results.Results("gpu", os.path.join(self.folder(), "r.json"), {}, {})
        with kept.phase("fields"):
            for s, ms in ((1024, 2.0), (4096, 8.0)):
                case = cases.case("bf16", 128, s, True, 16)
                for name, x in (("default", 4.0), ("intra_wg_overlap=false", ms)):
                    row = kept.measure(name, case, "time", "ms", [x])
                    row["derived"] = {"tflops": 400.0, "ratio": 4.0 / x}
                kept.skip("cluster=2", case, f"disqualified: {REMARK}")
            kept.skip("all", cases.case("bf16", 64, 1024, True, 32), "out of time")
            kept.skip("tuned", case, "out of time")
        text, _ = fields_report.fields_block(kept.data)
        self.assertIn("| d128 causal 1024 | d128 causal 4096 | geometric mean |", text)
        self.assertIn("| default, TFLOP/s | 400 | 400 |  |", text)
        self.assertIn(f"| {geomean([2, 0.5]):.2f} × of 2 |", text)
        self.assertIn("| cluster=2 | C7510 | C7510 | – |", text)
        self.assertTrue(text.endswith("| tuned | – | out of time | – |"))
        self.assertEqual(fields_report.fields_block(results.Results(
            "gpu", kept.file, {}, {}).data), ("", {}))


class Triples(common.Case):
    def test_forty_with_every_value(self):
        import hopper
        start = time.monotonic()
        chosen = triples.drawn()
        self.assertEqual(len(chosen), triples.COUNT)
        for name, values in hopper.FACTORS.items():
            self.assertEqual({c[2][name] for c in chosen if name in c[2]}, set(values), name)
        self.assertEqual({c[1] for c in chosen}, set(hopper.SIZES))
        self.assertEqual(triples.wanted() - set().union(*map(triples.values, chosen)), set())
        self.assertEqual(len({triples.notation(c) for c in chosen}), len(chosen))
        self.assertEqual(chosen[:3], triples.drawn(3)[:3])
        self.assertLess(time.monotonic() - start, 60)

    def test_a_result_that_is_wrong_and_one_that_hangs(self):
        s = suite(self.folder())
        with s.results.phase("correctness"):
            for code, out in ((0, ""), (1, '{"results": [{"verdict": "FAIL", "findings": [],'
                              ' "error": {"message": "row 3 is off"}}]}'), (None, "")):
                triples.keep(s, {"notation": "x"}, triples.process.Said(code, out, ""))
        self.assertEqual([(c["pass"], c.get("why", "")) for c in s.results.data["checks"]],
                         [(True, ""), (False, "FAIL: row 3 is off")])
        self.assertEqual(s.results.data["skipped"][0]["why"], "out of time")

    def test_only_on_the_chip_that_they_are_for(self):
        s = suite(self.folder())
        s.results.data["device"]["compute_capability"] = "8.0"
        with s.results.phase("correctness"):
            triples.run(s)
        self.assertIn("this is 8.0", s.results.data["skipped"][0]["why"])


if __name__ == "__main__":
    unittest.main()
