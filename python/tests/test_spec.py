"""Specs, sizes, kernels: what needs no device and no package."""
import copy
import glob
import os
import pathlib
import pickle
import tempfile
import threading

import common
from common import CAUSAL
import attnc
from attnc import sizes

SPECS = sorted(glob.glob(os.path.join(common.SOURCE, "specs", "*.attn.yaml")))


class Tiles(common.Case):
    def spec(self, **mask):
        return attnc.load_spec({"attnc": 1, "name": "x", "dtype": "fp16", "head_dim": 64, **mask})

    def test_pictures(self):
        """As loops decide, and as they are; FULL tiles of two parts, which only pairs know."""
        for mask, decided, exact in [
                ({"causal": True}, ["+  ", "#+ ", "##+"], None),
                ({"mask_mod": "kv_idx < 64 * h"}, ["   "] * 3, None),
                ({"mask_mod": "kv_idx < 4 || q_idx - kv_idx <= 122"}, ["###", "+##", "++#"],
                 None),
                ({"mask_mod": "kv_idx < 4 || q_idx - kv_idx <= 124"}, ["###", "+##", "++#"],
                 ["###", "###", "++#"]),
                ({"mask_mod": "kv_idx % 2 < 2"}, ["###"] * 3, None)]:
            spec = self.spec(**mask)
            for rows, how in (decided, False), (exact or decided, True):
                found = attnc.tiles(spec, "b1 h2 s192", exact=how)
                self.assertEqual(found.rows, tuple(rows), mask)
                text = "".join(rows)
                self.assertEqual(found[:5], (3, 3, *map(text.count, " +#")))
        self.assertEqual(attnc.tiles(self.spec(mask_mod="kv_idx < 64 * h"), "b1 h2 s192", h=1).rows,
                         ("#  ",) * 3)
        self.assertEqual(attnc.tiles(self.spec(causal=True), "b1 h2 s96", 64, 32).rows,
                         ("++ ", "##+"))

    def test_refused(self):
        table = self.spec(tensors={"doc": {"dtype": "i32", "axes": ["b", "kv"]}},
                          mask_mod="doc[b, kv_idx] == 0")
        self.assertEqual(attnc.tiles(table, "b1 h2 s64").rows, ("+",))
        for said, call in [
                ("tensor doc is missing", lambda: attnc.tiles(table, "b1 h2 s64", exact=True)),
                ("number gain is missing", lambda: attnc.tiles(self.spec(
                    scalars={"gain": "run_time"}, mask_mod="kv_idx < gain"), "b1 h2 s64",
                    exact=True)),
                ("no head 2", lambda: attnc.tiles(table, "b1 h2 s64", h=2)),
                ("at least one row", lambda: attnc.tiles(table, "b1 h2 s64", 0)),
                ("docs: the call has no input", lambda: attnc.tiles(table, "b1 h2 s64", docs=1))]:
            self.raises(attnc.UsageError, said, call)

    def test_why(self):
        for mask, said in [
                ({}, "there is no mask"), ({"causal": True}, "not behind q_idx [+] sk - sq: a bound"),
                ({"window": [3, -1]}, "not before q_idx [+] sk - sq - 3: a bound"),
                ({"mask_mod": "q_idx >= kv_idx || kv_idx < 77"},
                 r"one range(.|\n)*not behind max.q_idx, 76.: a limit"),
                ({"mask_mod": "(q_idx & kv_idx) == 0"}, "asked of a tile: "),
                ({"mask_mod": "doc[q_idx] == doc[kv_idx]",
                  "tensors": {"doc": {"dtype": "i32", "axes": ["kv"]}}},
                 "doc: not declared monotone"),
                ({"mask_mod": "doc[q_idx] == doc[kv_idx]",
                  "tensors": {"doc": {"dtype": "fp32", "axes": ["kv"]}}}, "an element is f32")]:
            self.assertRegex(self.spec(**mask).why, said)


class Specs(common.Case):
    def test_every_spec_of_the_tree(self):
        self.assertGreater(len(SPECS), 9)
        for path in SPECS:
            spec = attnc.load_spec(path)
            self.assertEqual(spec.name, os.path.basename(path)[:-len(".attn.yaml")])
            self.assertEqual(len(spec.hash), 64)

    def test_sources_agree(self):
        text = "attnc: 1\nname: causal\ndtype: fp16\nhead_dim: 32\ncausal: true\n"
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "causal.attn.yaml")
            path.write_text(text, encoding="utf-8")
            made = [attnc.load_spec(x) for x in (text, CAUSAL, path, str(path))]
        self.assertEqual({s.hash for s in made}, {made[0].hash})
        self.assertIs(attnc.load_spec(made[0]), made[0])
        self.assertEqual(made[0].canonical,
                         "attnc: 1\ncausal: true\ndtype: fp16\nhead_dim: 32\n")
        self.assertEqual(made[0].fields["head_dim_v"], 32)

    def test_all_errors_with_places(self):
        e = self.raises(attnc.SpecError, "unknown key `casual`", attnc.Spec.from_text,
                        "attnc: 1\nname: x\ndtype: bf17\nhead_dim: 7\ncasual: true\n", "x.yaml")
        self.assertEqual(e.status, "ATTNC_ERR_SPEC")
        self.assertEqual([(d.file, d.line, d.col) for d in e.diagnostics],
                         [("x.yaml", 3, 8), ("x.yaml", 4, 11), ("x.yaml", 5, 1)])
        self.assertTrue(all(d.error and d.code > 0 for d in e.diagnostics))
        self.assertEqual(e.diagnostics[0].help, "did you mean `bf16`?")
        self.assertIn("x.yaml:3:8: error[A", str(e))
        self.assertIsInstance(e, ValueError)

    def test_bytes_that_are_no_text(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "bad.attn.yaml")
            with open(path, "wb") as f:
                f.write(b"attnc: 1\nname: \xff\xfe\n")
            self.raises(attnc.SpecError, "bad.attn.yaml", attnc.load_spec, path)
        self.raises(OSError, "nowhere", attnc.load_spec, "nowhere.attn.yaml")
        for wrong in (0, None, 1.5, ["attnc: 1"]):  # 0 is not standard input
            self.raises(TypeError, "PathLike", attnc.load_spec, wrong)
        for call in (attnc.load_spec(CAUSAL).check, lambda t: attnc.compile(CAUSAL, t),
                     lambda t: attnc.schedules(CAUSAL, t, "b1 h1 s1")):
            self.raises(attnc.UsageError, "target: 80 is not", call, 80)

    def test_unsupported_is_not_bad(self):
        pin = {"template": "fwd_mma", "block_m": 4096}
        spec = attnc.load_spec({**CAUSAL, "schedule": pin})
        e = self.raises(attnc.UnsupportedError, "no legal schedule", spec.check, "sm_80")
        self.assertTrue(e.diagnostics)
        attnc.load_spec(CAUSAL).check("sm_80")
        self.raises(attnc.AttncError, "sm_12345", spec.check, "sm_12345")

    def test_copies(self):
        """A spec by its text, its name and its warnings with it; what belongs to a process is
        shared by copies and not pickled."""
        text = "attnc: 1\nname: causal\ndtype: fp16\nhead_dim: 32\ncausal: true\n"
        spec = attnc.Spec.from_text(text, "here.yaml")
        for other in (copy.deepcopy(spec), copy.copy(spec), pickle.loads(pickle.dumps(spec))):
            self.assertIsNot(other, spec)
            self.assertEqual((other.hash, other.fields, other.warnings),
                             (spec.hash, spec.fields, spec.warnings))
        e = self.raises(attnc.SpecError, "head_dim", attnc.load_spec, {**CAUSAL, "head_dim": 7})
        other = pickle.loads(pickle.dumps(e))
        self.assertEqual((str(other), other.status, other.diagnostics),
                         (str(e), e.status, e.diagnostics))
        kernel = attnc.compile(CAUSAL, "sm_80")
        self.assertIs(copy.deepcopy(kernel), kernel)
        self.raises(TypeError, "attnc.Kernel cannot be pickled: its ptx", pickle.dumps, kernel)

    def test_names(self):
        """What `from attnc import *` brings is attnc's."""
        for name in ("Context", "Plan", "Spec", "flash_attn_func", "load_spec", "verify"):
            self.assertIn(name, attnc.__all__)
        self.assertFalse({"TYPE_CHECKING", "typing", "missing"} & set(attnc.__all__))

    def test_schema_and_targets(self):
        self.assertIn("head_dim", attnc.schema()["properties"])
        self.assertIn("sm_80", attnc.targets())


class SizesTest(common.Case):
    def test_notation(self):
        none = (0,) * (len(sizes.Sizes._fields) - 5)
        self.assertEqual(sizes.sizes("b2 h8/2 sq128 sk1024"), (2, 8, 2, 128, 1024) + none)
        self.assertEqual(sizes.sizes("b1 h4 s256"), (1, 4, 4, 256, 256) + none)
        self.assertEqual(sizes.sizes(dict(b=1, h=4, sq=3)), (1, 4, 4, 3, 3) + none)
        self.assertEqual(sizes.sizes(str(sizes.sizes("b2 h8/2 s5"))), (2, 8, 2, 5, 5) + none)
        packed = sizes.sizes("b2 h8/2 s5 total_q7 total_k9 bc4")
        self.assertEqual(packed, (2, 8, 2, 5, 5, 7, 9, 4) + none[3:])
        self.assertEqual(sizes.sizes(str(packed)), packed)
        paged = sizes.sizes("b2 h8/2 s5 pages7 page_size16 max_pages3")
        self.assertEqual(paged, (2, 8, 2, 5, 5, 0, 0, 0, 7, 16, 3) + none[6:])
        self.assertEqual(sizes.sizes(str(paged)), paged)

        others = sizes.sizes("b2 h8/2 s5 s_new2 total_new9 rotary_len64 parts4")
        self.assertEqual([others.s_new, others.total_new, others.rotary_len, others.parts], [2, 9, 64, 4])
        self.assertEqual(sizes.sizes(str(others)), others)

        class Whole:  # numpy's and torch's integers are of this kind
            def __index__(self):
                return 7
        self.assertEqual(sizes.sizes(dict(b=Whole(), h=1, sq=Whole())), (7, 1, 1, 7, 7) + none)

    def test_what_is_wrong(self):
        for wrong, why in (("b2 x4", "x4"), ("b2 b3 h1 s1", "twice"), ("h4 s1", "no b"),
                           ("b1 h4 sq3 s4", "twice"), ("b1/2 h4 s4", "b1/2"), ("", "no b"),
                           (dict(b=1, h=1, sq=1, d=4), "unknown d"),
                           ("b99999999999999999999 h1 s1", "b is 9+, not 0 to"),
                           ("b-1 h1 s1", "b-1"), (dict(b=-1, h=1, sq=1), "b is -1"),
                           (dict(b=1, h=1, sq=1.5), "sq: 1.5 is not an integer"),
                           (dict(b=True, h=1, sq=1), "b: True is not an integer"),
                           (sizes.Sizes(1, 1, 1, 1, 2 ** 64), "sk is 18446744073709551616")):
            self.raises(attnc.UsageError, why, sizes.sizes, wrong)
            self.raises(attnc.UsageError, why, attnc.schedules, CAUSAL, "sm_80", wrong)


class Kernels(common.Case):
    def test_compile(self):
        kernel = attnc.compile(CAUSAL, "sm_80", dump="tile")
        self.assertIn(".target sm_80", kernel.ptx)
        self.assertIn(".entry " + kernel.recipe["steps"][0]["launch"]["entry"], kernel.ptx)
        self.assertGreater(kernel.seconds["total"], 0)
        self.assertTrue(kernel.dump("tile"))
        self.assertIsNone(kernel.dump("ll"))
        self.assertEqual(kernel.ptx, attnc.compile(CAUSAL, "sm_80").ptx)

    def test_schedules(self):
        legal = attnc.schedules(CAUSAL, "sm_80", "b1 h8 s1024")
        every = attnc.schedules(CAUSAL, "sm_80", "b1 h8 s1024", refused=True)
        self.assertGreater(len(legal), 1)
        self.assertGreater(len(every), len(legal))
        self.assertTrue(any("reason" in s for s in every))
        chosen = {n: legal[0][n] for n in ("template", "block_m", "block_n", "num_stages",
                                           "num_warps")}
        recipe = attnc.compile(CAUSAL, "sm_80", schedule=chosen).recipe
        self.assertEqual({n: recipe["schedule"].get(n, recipe.get(n)) for n in chosen}, chosen)

    def test_schedule_values(self):
        size = "b1 h8 s1024"
        best = attnc.schedules(CAUSAL, "sm_90a", size)[0]
        self.assertEqual(best["template"], "fwd_wgmma")
        known = {f["name"] for f in attnc.schedule_fields()}
        fields = {n: best[n] for n in best if n == "template" or n in known}
        self.assertEqual(attnc.compile(CAUSAL, "sm_90a", schedule=fields).recipe["schedule"],
                         {n: v for n, v in fields.items() if n != "template"})
        pins = {"scheduler": "grid", "poly_exp2": 2, "lazy_rescale": True, "block_m": 128}
        made = attnc.compile(CAUSAL, "sm_90a", schedule={**pins, "intra_wg_overlap": None})
        self.assertEqual({n: made.recipe["schedule"][n] for n in pins}, pins)
        for field, value in (("intra_wg_overlap", "yes"), ("scheduler", "fast"), ("block_m", True),
                             ("block_m", 64.0), ("cluster", "2"), ("block_m", 0),
                             ("poly_exp2", 17), ("poly_exp2", -1), ("q_in_regs", 3),
                             ("size", 8), ("options", "x"), ("template_name", "x"),
                             ("intra_wg_overlap", "true"), ("block_m", "64,block_n=3")):
            self.raises(attnc.UsageError, field, attnc.compile, CAUSAL, "sm_90a",
                        schedule={field: value})

    def test_refusals(self):
        self.raises(attnc.UsageError, "block_x", attnc.compile, CAUSAL, "sm_80",
                    schedule={"block_x": 3})
        self.raises(attnc.UnsupportedError, "", attnc.compile, CAUSAL, "sm_80",
                    schedule={"template": "fwd_mma", "block_m": 4096})
        e = self.raises(attnc.AttncError, "sk", attnc.compile,
                        {**CAUSAL, "specialize": ["sk"]}, "sm_80")
        self.assertEqual(e.status, "ATTNC_ERR_USAGE")
        kernel = attnc.compile({**CAUSAL, "specialize": ["sk"]}, "sm_80", sizes="b1 h1 sq8 sk64")
        self.assertTrue(kernel.ptx)

    def test_threads(self):
        """One spec from four threads."""
        spec, texts = attnc.load_spec(CAUSAL), []
        threads = [threading.Thread(target=lambda: texts.append(
            attnc.compile(spec, "sm_86").ptx)) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(len(texts), 4)
        self.assertEqual(len(set(texts)), 1)


if __name__ == "__main__":
    common.main()
