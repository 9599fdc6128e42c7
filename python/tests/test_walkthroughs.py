"""The walk-throughs, docs/walk-*.md: their blocks in order, each page in a process of its own."""
import os
import re
import sys

import common

common.need("numpy")
NEEDS = {"walk-model": ("torch", "transformers")}


def run(page):
    """The blocks of a page in one program."""
    for package in NEEDS.get(page, ()):
        common.need(package)
    path = os.path.join(common.SOURCE, "docs", page + ".md")
    with open(path, encoding="utf-8") as f:
        blocks = re.findall(r"^```python\n(.*?)^```", f.read(), re.S | re.M)
    world = {"__name__": "walk"}
    for i, block in enumerate(blocks):
        exec(compile(block, f"{page} block {i + 1}", "exec"), world)
    return len(blocks)


class Walks(common.Case):
    def test_variant(self):
        self.assertGreaterEqual(run("walk-variant"), 8)

    def test_slow(self):
        self.assertGreaterEqual(run("walk-slow"), 6)


class Model(common.Case):
    def test_model(self):
        self.assertGreaterEqual(run("walk-model"), 5)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--model"]:
        del sys.argv[1]
        del Walks
        for needed in NEEDS["walk-model"]:
            common.need(needed)
    else:
        del Model
    common.main()
