"""attnc tiles, and the mask of attnc explain: counts, reasons, pictures."""
import re
import unittest

import common

SINKS = """attnc: 1
name: sinks
dtype: fp16
head_dim: 64
causal: true
mask_mod: kv_idx < 4 || q_idx - kv_idx <= 60
"""
DOCUMENTS = """attnc: 1
name: documents
dtype: fp16
head_dim: 64
tensors: {doc: {dtype: i32, axes: [b, kv], monotone: true}}
mask_mod: doc[b, q_idx] == doc[b, kv_idx]
"""
HEADS = """attnc: 1
name: heads
dtype: fp16
head_dim: 64
mask_mod: kv_idx < 64 * h
"""
SHARED = """attnc: 1
name: behind_a_prefix
dtype: fp16
head_dim: 64
causal: true
shared_prefix: true
"""
SMALL = ("--shape", "b1 h2 s256", "--tile", "32x32")


def picture(text):
    return re.findall(r"^  ([.+#ox]+)$", text, re.M)


class Tiles(common.Case):
    def test_text(self):
        text = self.attnc("tiles", self.spec(SINKS), *SMALL).stdout
        self.assertIn("8 x 8 of 32x32: 38 empty, 26 partial, 0 full; 26 are computed (41 %)", text)
        self.assertIn("in truth 8 x 8 of 32x32: 38 empty, 25 partial, 1 full", text)
        self.assertIn("found    100.0 % of the empty ones, 0.0 % of the full ones; computed are 1 x",
                      text)
        self.assertIn("not behind q_idx + sk - sq: a bound of the band", text)
        self.assertIn("asked of a tile: kv_idx <= 3 || kv_idx >= q_idx - 60", text)
        self.assertIn("; not known: o empty, x full):", text)
        self.assertEqual(picture(text)[:4], ["+.......", "x+......", "+++.....", "++++...."])

    def test_json_is_the_same(self):
        one, two = self.json("tiles", self.spec(SINKS), self.spec(HEADS, "h.attn.yaml"),
                             *SMALL)["specs"]
        self.assertEqual((one["name"], two["name"]), ("sinks", "heads"))
        counts = one["decided"]
        self.assertEqual([counts[n] for n in ("empty", "partial", "full", "visited")],
                         [38, 26, 0, 26])
        self.assertEqual("".join(one["rows"]).count("+"), counts["partial"])
        self.assertEqual(two["truth"]["empty"], 64)

    def test_prefix(self):
        """Keys of a prefix count too, those of a partial tile at its end."""
        for command in ("tiles", "explain"):
            text = self.attnc(command, self.spec(SHARED), "--shape", "b2 h2 sq64 sk64 sp144",
                              *(("--tile", "64x64") if command == "tiles" else
                                ("--arch", "sm_80", "--schedule", "block_m=64,block_n=64"))).stdout
            self.assertIn("1 x 4 of 64x64: 0 empty, 2 partial, 2 full", text)
            self.assertEqual(picture(text), ["##++"])

    def test_choice(self):
        rows = [self.json("tiles", self.spec(HEADS), *SMALL, "--head", h)["specs"][0]["rows"]
                for h in "01"]
        self.assertEqual(rows, [[" " * 8] * 8, ["##      "] * 8])
        seeds = [self.json("tiles", self.spec(DOCUMENTS), *SMALL, "--seed", s)["specs"][0]
                 for s in "112"]
        self.assertEqual(seeds[0], seeds[1])
        self.assertNotEqual(seeds[0]["rows"], seeds[2]["rows"])
        self.assertEqual(seeds[0]["decided"], seeds[0]["truth"])
        for args, said in (("--tile", "64"), "not MxN"), (("--tile", "0x4"), "not MxN"), (
                ("--head", "2"), "--head: 2 is not"), (("--batch", "1"), "--batch: 1 is not"):
            self.assertIn(said, self.attnc("tiles", self.spec(), *SMALL, *args, code=2).stderr)

    def test_large(self):
        """Too many pairs to try: what loops decide is shown all the same."""
        text = self.attnc("tiles", self.spec(), "--shape", "b1 h1 s65536").stdout
        self.assertNotIn("in truth", text)
        self.assertEqual(len(picture(text)), 32)
        self.assertIn("Mask, 2048 queries by 1024 keys a character", text)

    def test_what_the_mask_does_not_read(self):
        """A bias of 2^40 numbers is not drawn; a table of the mask beside it is."""
        large = ("--shape", "b64 h64 s16384", "--tile", "128x128")
        bias = "bias: {axes: [b, h, q, kv], dtype: fp32}\n"
        for spec in (SINKS, DOCUMENTS):
            plain = self.attnc("tiles", self.spec(spec), *large).stdout
            self.assertEqual(self.attnc("tiles", self.spec(spec + bias), *large).stdout, plain)

    def test_svg(self):
        self.attnc("tiles", self.spec(SINKS), *SMALL, "--svg", "mask.svg")
        svg = self.read("mask.svg").decode()
        self.assertIn("<title>sinks: 32 queries by 32 keys a tile</title>", svg)
        cells = sum(int(w) // 8 for w in re.findall(r'width="(\d+)" height="8"', svg))
        self.assertEqual(cells, 26)
        both = self.spec(SINKS), self.spec(HEADS, "h.attn.yaml")
        self.assertIn("one file, but 2 specs",
                      self.attnc("tiles", *both, *SMALL, "--svg", "x.svg", code=2).stderr)

    def test_explain(self):
        text = self.attnc("explain", self.spec(), "--shape", "b1 h2 s256", "--schedule",
                          "block_m=32,block_n=32", "--svg", "mask.svg").stdout
        self.assertIn("loop       one range of keys a row", text)
        self.assertEqual(picture(text)[1], "#+......")
        self.assertIn("32 queries by 32 keys", self.read("mask.svg").decode())
        j = self.json("explain", self.spec(), "--shape", "b1 h2 s256")
        self.assertEqual(j["mask"]["decided"]["full"], j["mask"]["truth"]["full"])


if __name__ == "__main__":
    unittest.main()
