"""scripts/hopper-tables without an assembler: what it makes of given answers, and that its
check fails where the page differs."""
import contextlib
import importlib.machinery
import importlib.util
import io
import os
import re
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOADER = importlib.machinery.SourceFileLoader(
    "hopper_tables", os.path.join(ROOT, "scripts", "hopper-tables"))
SPEC = importlib.util.spec_from_loader("hopper_tables", LOADER)
made = importlib.util.module_from_spec(SPEC)
LOADER.exec_module(made)

SCHEDULE = {"template": "fwd_wgmma", "block_m": 128, "block_n": 128, "num_warps": 8,
            "num_stages": 2, "q_in_regs": 1, "intra_wg_overlap": True, "pingpong": False, "cluster": 2}


def loop(tensor, **ops):
    ops = {"HGMMA.SS": tensor, **{k.replace("_", "."): v for k, v in ops.items()}}
    return {"ops": ops, "instructions": sum(ops.values()), "classes": {"tensor": tensor}}


def answer(remarks=()):
    least = loop(32, FFMA=128, MUFU_EX2=130, FMUL=128, BAR=4)
    loops = [{"main": True, "aside": 7, "least": least, **loop(32, FFMA=64, FSEL=999)},
             {"main": False, "ops": {"BRA": 1}, "instructions": 1, "classes": {"control": 1}}]
    return {"kernel": {"template": "fwd_wgmma", "schedule": dict(SCHEDULE)},
            "sass": {"registers": 168, "spill_stores": 4, "spill_loads": 8,
                     "remarks": list(remarks), "kernels": [{"loops": loops}]}}


class Tables(unittest.TestCase):
    def test_schedules(self):
        row = made.schedules_table({(128, "causal", "bf16"): answer()})[-1]
        self.assertEqual(row, "| 128 | causal | bf16 | fwd_wgmma | 128x128 w8 s2 intra_wg_overlap "
                              "cluster=2 | 168 | 12 | none | 128x128 RS |")
        row = made.schedules_table({(64, "full", "fp16"): answer(["(C7513) wgmma"])})[-1]
        self.assertIn("| C7513 | 192x192 SS |", row)

    def test_every_case_has_a_peer(self):
        for dim in made.DIMS:
            self.assertEqual(set(made.FA3[dim]), set(made.MASKS))

    def test_instructions(self):
        lines = made.instructions_table(answer(), 128)
        self.assertIn("2 tiles a trip", lines[0])
        self.assertIn("| FFMA | 64 | 64 |", lines)
        self.assertIn("| MUFU | 64 | 65 |", lines)
        self.assertIn("| FADD | 64 | 0 |", lines)
        self.assertIn("| BAR | 0 | 2 |", lines)
        self.assertIn("| all | 352 | 195 |", lines)
        self.assertNotIn("HGMMA", "".join(lines))
        self.assertIn("5.50 by the model, 3.05 ours", lines[-1])

    def test_variants(self):
        lines = made.variants_table({"plain": answer(), "softcap": answer()})
        self.assertEqual(lines[-1], "| softcap | 390 | 9.75 | +0 | 1063 | 26.57 | 168 | 12 |")
        names = [name for name, _ in made.VARIANTS]
        self.assertEqual(names[0], "plain")
        self.assertEqual(len(set(names)), len(names))

    def test_fields(self):
        a = answer()
        for k in a["sass"]["kernels"]:
            k["instructions"] = 1000
            for x in k["loops"]:
                x.get("least", x)["classes"].update(mufu=2, move=3)
        lines = made.fields_table(made.FIELDS, [a] * len(made.FIELDS))
        self.assertEqual(len(lines), len(made.FIELDS) + 2)
        self.assertEqual(lines[3], "| 128 causal 128x128 | `intra_wg_overlap=false` | 390 | 2, 3 | 7 "
                                   "| 1063 | 160 | 1000 | 12 | none |")
        self.assertIn("; specialize: all sizes | `scheduler=lpt` |", "".join(lines))

    def test_peers(self):
        theirs = made.Peer(128, "causal", 128, 128, False, 480, 600, 3000)
        full = theirs._replace(mask="full", p_in_smem=True, full=500, partial=None)
        ours = answer()
        ours["sass"]["kernels"][0]["instructions"] = 2000
        lines = made.peers_table([theirs, full], [ours, ours])
        self.assertIn("| 128 causal 128x128 | registers | 480 | 390 | 7.50 | 6.09 | 600 | 1063 "
                      "| 3000 | 2000 |", lines)
        self.assertIn("| 128 full 128x128 | shared memory | 500 | 390 | 7.81 | 6.09 | – | – "
                      "| 3000 | 2000 |", lines)
        self.assertEqual(made.beside(theirs)["q_stages"], 1)
        self.assertEqual(made.beside(full)["p_in_smem"], True)

    def test_peers_are_as_the_page_has_them(self):
        """Tiles are those of FA3; counts those of docs/flash-attention-3.md, whose loops have
        their wgmma."""
        with open(os.path.join(ROOT, "docs", "flash-attention-3.md"), encoding="utf-8") as f:
            page = f.read()
        wgmma = iter([int(n) for n in re.search(r"^\| HGMMA (.*)$", page, re.M).group(1)
                      .strip(" |").split(" | ")])
        for c in made.PEERS:
            self.assertEqual(f"{c.block_m}x{c.block_n} {'SS' if c.p_in_smem else 'RS'}",
                             made.FA3[c.head_dim][c.mask])
            self.assertEqual(c.partial is None, c.mask == "full")
            loops = [c.full + next(wgmma)]
            loops.append(c.partial + next(wgmma) if c.partial else "–")
            row = re.search(rf"^\| {c.head_dim} \| {c.mask} \|.*", page, re.M).group(0)
            self.assertTrue(row.endswith(f"| {c.kernel} | {loops[0]} | {loops[1]} |"), row)
        self.assertEqual(list(wgmma), [])

    def test_every_field_is_explained(self):
        """The page's list has only fields that the template takes, in their order."""
        def read(name):
            with open(os.path.join(ROOT, name), encoding="utf-8") as f:
                return f.read()
        ours = re.findall(r"^  X\((\w+),", read("schedule/schedule.h"), re.M)
        ours += re.findall(r"^  X\((\w+),", read("templates/sched_wgmma.h"), re.M)
        rows = re.search(r"^\| field \|.*\n\|.*\n((?:\|.*\n)*)", read("docs/hopper.md"), re.M)
        explained = re.findall(r"^\| `(\w+)` \|", rows.group(1), re.M)
        self.assertGreater(len(explained), 10)
        self.assertEqual(explained, [x for x in ours if x in explained])
        self.assertEqual(set(made.BASE) - set(ours), set())


class Page(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        made.PAGE = os.path.join(folder.name, "hopper.md")
        self.tables = {"schedules": ["| 1 |"], "assembler": ["ptxas V1.2.3"]}
        made.tables = lambda shard: self.tables
        self.write("before\n<!-- made: schedules -->\n<!-- end -->\nbetween\n"
                   "<!-- made: assembler -->\nold\n<!-- end -->\nafter\n")

    def write(self, text):
        with open(made.PAGE, "w") as f:
            f.write(text)

    def run_it(self, *words):
        with contextlib.redirect_stdout(io.StringIO()):
            return made.main(list(words))

    def test_update_then_check(self):
        self.assertEqual(self.run_it("--check"), 77)  # by no known assembler
        self.assertEqual(self.run_it("--update"), 0)
        self.assertEqual(self.run_it("--check"), 0)
        with open(made.PAGE) as f:
            self.assertEqual(f.read(), "before\n<!-- made: schedules -->\n| 1 |\n<!-- end -->\n"
                             "between\n<!-- made: assembler -->\nptxas V1.2.3\n<!-- end -->\n"
                             "after\n")

    def test_check_fails_where_the_page_differs(self):
        self.run_it("--update")
        self.tables["schedules"] = ["| 2 |"]
        self.assertEqual(self.run_it("--check"), 1)

    def test_a_shard_is_looked_up_row_by_row(self):
        self.tables["schedules"] = ["| 1 |", "| 2 |", "| 3 |"]
        self.run_it("--update")
        self.tables["schedules"] = ["| 2 |"]
        self.assertEqual(self.run_it("--check", "1/3"), 0)
        self.tables["schedules"] = ["| 2"]
        self.assertEqual(self.run_it("--check", "1/3"), 1)

    def test_a_page_without_marks(self):
        self.write("nothing\n")
        with self.assertRaises(SystemExit):
            self.run_it("--update")

    def test_without_ptxas(self):
        def none(shard):
            raise made.NoPtxas("no ptxas")
        made.tables = none
        self.assertEqual(self.run_it("--check"), 77)
        self.assertEqual(self.run_it("--nonsense"), 2)


if __name__ == "__main__":
    unittest.main()
