"""Memory of a training step: the page has what bench/training_memory.py makes, and ours grows with the length alone."""
import os
import sys
import unittest

import common

common.need("torch")
TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TREE, "bench"))


class Memory(unittest.TestCase):
    def test_page(self):
        import training_memory
        page = os.path.join(TREE, "docs", "performance.md")
        with open(page, encoding="utf-8") as f:
            made, plots = training_memory.block(page)
            self.assertIn(made, f.read())
        for name, svg in plots.items():
            with open(os.path.join(os.path.dirname(page), name), encoding="utf-8") as f:
                self.assertEqual(f.read(), svg)

    def test_ratio(self):
        """Linear beside quadratic: twice the length, twice and four times the bytes."""
        import training_memory as m
        import attnc
        context = attnc.Context("emu")
        for head_dim, dropout in m.CASES.values():
            near, far = (m.ours(context, n, head_dim, dropout)[0] for n in (4096, 8192))
            self.assertAlmostEqual(far / near, 2, delta=1e-4)
            self.assertGreater(m.plains(8192, head_dim, dropout) / m.plains(4096, head_dim, dropout), 3.5)


if __name__ == "__main__":
    common.main()
