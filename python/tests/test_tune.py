"""attnc.tune on the emulated device: the best is kept, what is asked is done, it can be stopped."""
import os
import sys
import tempfile

import common
from common import CAUSAL

import attnc

SIZES = "b1 h2/1 s64"


class Tune(common.Case):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.context = attnc.Context("emu", tune_dir=self.folder.name)

    def source(self):
        return self.context.plan(CAUSAL, SIZES).info["source"]

    def tune(self, **more):
        return attnc.tune(CAUSAL, SIZES, context=self.context, top=3, **more)

    def test_kept(self):
        seen = []
        self.assertNotEqual(self.source(), "exact")
        found = self.tune(progress=lambda *told: seen.append(told))
        self.assertEqual([c["verdict"] for c in found["candidates"]], ["best", "ok", "ok"])
        self.assertTrue(found["recorded"])
        self.assertEqual(self.source(), "exact")
        used = self.context.explain_key(CAUSAL, SIZES)["schedule"]
        best = found["candidates"][0]["schedule"]
        self.assertEqual({k: best[k] for k in used if k in best}, {k: v for k, v in used.items()
                                                                   if k in best})
        self.assertEqual({stage for stage, _, _ in seen}, {"compile", "measure"})
        self.assertTrue(all(0 <= done <= total for _, done, total in seen))

    def test_worker(self):
        """It is this interpreter, unless the environment names another program."""
        os.environ["ATTNC_TUNE_WORKER"] = "/nowhere"
        self.addCleanup(os.environ.pop, "ATTNC_TUNE_WORKER", None)
        with self.assertRaisesRegex(attnc.CacheError, "/nowhere"):
            self.tune(dry=True)
        del os.environ["ATTNC_TUNE_WORKER"]
        self.assertEqual(sys.modules["attnc.tune"].worker()[0], os.fsencode(sys.executable))
        self.assertEqual(self.tune(dry=True)["candidates"][0]["verdict"], "best")

    def test_asked(self):
        found = self.tune(dry=True, within={"num_warps": 4}, timeout=30, jobs=1)
        self.assertFalse(found["recorded"])
        self.assertGreater(found["outside"], 0)
        for c in found["candidates"]:
            self.assertTrue(c.get("default") or c["schedule"]["num_warps"] == 4)
        self.assertNotEqual(self.source(), "exact")
        for wrong in ({"level": "hasty"}, {"repeat": -1}, {"top": 2.5},
                      {"within": {"no_such": 1}}):
            with self.assertRaises(attnc.UsageError):
                attnc.tune(CAUSAL, SIZES, context=self.context, **wrong)

    def test_stopped(self):
        with self.assertRaises(attnc.AttncError) as caught:
            self.tune(progress=lambda stage, done, total: stage == "measure" and done == 1)
        self.assertEqual(caught.exception.status, "ATTNC_ERR_CANCELLED")
        self.assertEqual(len(caught.exception.tuning["candidates"]), 3)
        self.assertNotEqual(self.source(), "exact")

        def interrupt(*_):
            raise KeyboardInterrupt
        with self.assertRaises(KeyboardInterrupt):
            self.tune(progress=interrupt)

    def test_tables(self):
        """What one context tuned, another has from its table, and forgets."""
        self.tune()
        table = attnc.tune_export(context=self.context)
        there = attnc.Context("emu", tune_dir=os.path.join(self.folder.name, "there"))
        told = attnc.tune_import(table + "torn", context=there)
        self.assertEqual((told["added"], told["known"]), (1, 0))
        self.assertIn("torn", told["notes"][-1])
        mine, theirs = (attnc.tune_list(context=c) for c in (self.context, there))
        self.assertEqual(mine["sha256"], theirs["sha256"])
        self.assertEqual(there.plan(CAUSAL, SIZES).info["source"], "exact")
        merged, told = attnc.tune_merge(table, table.rstrip("\n"), "no line")
        self.assertEqual((merged, told["lines"], told["skipped"]), (table, 1, 1))
        self.assertEqual(attnc.tune_list(CAUSAL, "b1 h9 s4096", context=there)["records"], [])
        self.assertEqual(attnc.tune_forget(CAUSAL, SIZES, device="other", context=there), 0)
        self.assertEqual(attnc.tune_forget(CAUSAL, SIZES, context=there), 1)
        self.assertNotEqual(there.plan(CAUSAL, SIZES).info["source"], "exact")

    def test_pinned_table(self):
        self.tune()
        path = os.path.join(self.folder.name, "pinned")
        with open(path, "w", encoding="utf-8") as f:
            f.write(attnc.tune_export(context=self.context))
        pinned = attnc.Context("emu", tune_table=path)
        os.remove(path)  # it was read
        self.assertEqual(pinned.plan(CAUSAL, SIZES).info["source"], "exact")
        self.assertEqual(len(pinned.info["tune_table"]["sha256"]), 64)
        for refused in (lambda: attnc.tune(CAUSAL, SIZES, context=pinned, top=1),
                        lambda: attnc.tune_import("", context=pinned),
                        lambda: attnc.tune_forget(context=pinned)):
            with self.assertRaisesRegex(attnc.UsageError, "pinned"):
                refused()
        with self.assertRaisesRegex(attnc.CacheError, "pinned"):
            attnc.Context("emu", tune_table=path)


if __name__ == "__main__":
    common.main()
