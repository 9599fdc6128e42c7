"""Functions traced to expressions: what has one, and what is refused by name.  No package is
needed: tables are in test_flex.py."""
import functools
import math
import operator
import os
import random
import sys

import common
import attnc

sys.path.insert(0, os.path.join(common.SOURCE, "tests"))
import expr_oracle
from attnc import expr
from attnc.trace import Tracer

LENGTHS = {"b": 2, "h": 8, "hk": 4, "q": 64, "kv": 96}
GAIN = 0.5
POSITION = 7


def canonical(**mods):
    text = attnc.load_spec({"attnc": 1, "name": "x", "dtype": "fp16", "head_dim": 64,
                            **mods}).canonical
    return text.replace("attnc: 1\ndtype: fp16\nhead_dim: 64\n", "")


def helper(x, y):
    return abs(x - y) <= POSITION


def nested(b, h, q_idx, kv_idx):
    return helper(q_idx, kv_idx) | (lambda k: k < POSITION)(kv_idx)


def counted(h, n):
    return h if n == 0 else counted(h + 1, n - 1)


# (a function, the text that means the same)
MASKS = [
    (lambda b, h, q, k: q >= k, "q_idx >= kv_idx"),
    (lambda b, h, q, k: (q + expr.sk - expr.sq >= k) & (q < 5), "q_idx + sk - sq >= kv_idx && "
                                                                "q_idx < 5"),
    (lambda b, h, q, k: (q >= k) | ~(k < 4), "q_idx >= kv_idx || !(kv_idx < 4)"),
    (lambda b, h, q, k: (q >= k) ^ (h > b), "(q_idx >= kv_idx) != (h > b)"),
    (lambda b, h, q, k: (q // 8 == k // 8) & (k % 3 != 1), "q_idx // 8 == kv_idx // 8 && "
                                                           "kv_idx % 3 != 1"),
    (lambda b, h, q, k: 10 - q * -2 > k - (q - 3), "10 - q_idx * -2 > kv_idx - (q_idx - 3)"),
    (lambda b, h, q, k: (q - k).abs().clamp(min=2, max=9) < 5,
     "min(max(abs(q_idx - kv_idx), 2), 9) < 5"),
    (lambda b, h, q, k: ((q & 12) | 1) ^ (k << 2) == k >> 1,
     "(((q_idx & 12) | 1) ^ (kv_idx << 2)) == kv_idx >> 1"),
    (lambda b, h, q, k: expr.where(h % 2 == 0, q >= k, q <= k), "h % 2 == 0 ? q_idx >= kv_idx : "
                                                                "q_idx <= kv_idx"),
    (lambda b, h, q, k: (q < k) * 3 + (k > 2) == 4,
     "(q_idx < kv_idx ? 1 : 0) * 3 + (kv_idx > 2 ? 1 : 0) == 4"),
    (lambda b, h, q, k: -q + ~k < math.floor(q / 3), "-q_idx + ~kv_idx < "
                                                     "i32(floor(q_idx / 3))"),
    (lambda b, h, q, k: expr.logical_and(q > 1, expr.logical_not(q > 5)), "q_idx > 1 && "
                                                                          "!(q_idx > 5)"),
    (lambda b, h, q, k: b.new_ones((), dtype="torch.bool") & (q > k), "true && q_idx > kv_idx"),
    (lambda b, h, q, k: counted(h, 3) < expr.hk, "h + 1 + 1 + 1 < hk"),
    (nested, "abs(q_idx - kv_idx) <= 7 || kv_idx < 7"),
    (functools.partial(lambda n, b, h, q, k: q - k < n, 12), "q_idx - kv_idx < 12"),
]
SCORES = [
    (lambda s, b, h, q, k: s, "score"),
    (lambda s, b, h, q, k: 50 * expr.tanh(s / 50), "50.0 * tanh(score / 50.0)"),
    (lambda s, b, h, q, k: s - GAIN * (h + 1) * abs(q - k), "score - 0.5 * f32(h + 1) * "
                                                            "f32(abs(q_idx - kv_idx))"),
    (lambda s, b, h, q, k: expr.where(q >= k, s, -math.inf), "q_idx >= kv_idx ? score : -inf"),
    (lambda s, b, h, q, k: s.relu() ** 2 + s.sigmoid(), "relu(score) * relu(score) + "
                                                        "sigmoid(score)"),
    (lambda s, b, h, q, k: s * 2.0 ** (-8.0 * (h + 1) / 16),
     "score * exp2(f32(-8.0 * f32(h + 1) / 16.0) * 1.0)"),
    (lambda s, b, h, q, k: expr.maximum(s, 1e-5) / q, "max(score, 1e-05) / q_idx"),
    (lambda s, b, h, q, k: s.float() + k.to("torch.float32") - (q > k).float(),
     "score + f32(kv_idx) - f32(q_idx > kv_idx ? 1 : 0)"),
]
REFUSED = [
    (lambda b, h, q, k: q if q > k else k, r"`q_idx > kv_idx` has no value.*`if`"),
    (lambda b, h, q, k: 0 <= q < k, r"`q_idx >= 0` has no value.*a < b < c"),
    (lambda b, h, q, k: q > 1 and k > 1, r"`q_idx > 1` has no value.*`and`"),
    (lambda b, h, q, k: bool(q == k), r"`q_idx == kv_idx` has no value.*bool\(\)"),
    (lambda b, h, q, k: q in (1, 2), r"`1 == q_idx|`q_idx == 1"),
    (lambda b, h, q, k: int(q) > 1, r"int\(\) has no expression"),
    (lambda b, h, q, k: math.sin(q) > 0, r"float\(\) has no expression"),
    (lambda b, h, q, k: [True, False][q], r"index of a list"),
    (lambda b, h, q, k: all(x for x in q), r"iterating has no"),
    (lambda b, h, q, k: q[k], r"an index of a number"),
    (lambda b, h, q, k: q.cumsum(0) > 1, r"`\.cumsum` of `q_idx` has no expression"),
    (lambda b, h, q, k: q, r"a mask_mod wants true or false, not i32: `q_idx`"),
    (lambda b, h, q, k: q / 2 // 3 > 1, r"`q_idx / 2 // 3`: // of f32"),
    (lambda b, h, q, k: q % 1.5 > 1, r"`q_idx % 1.5`: % of f32"),
    (lambda b, h, q, k: q << k > 1, r"`q_idx << kv_idx`: the count .* can be 95"),
    (lambda b, h, q, k: q ** k > 1, r"\*\* .* has no expression"),
    (lambda b, h, q, k: q + 2 ** 31 > k, r"2147483648 does not fit i32"),
    (lambda b, h, q, k: q * 1e40 > k, r"1e\+40 does not fit f32"),
    (lambda b, h, q, k: q * math.nan > k, r"NaN is no constant"),
    (lambda b, h, q, k: q > "3", r"builtins.str is no number"),
    (lambda b, h, q, k: ~(q / 2) > 1, r"~ of f32"),
    (lambda b, h, q, k: expr.logical_or(q, k), r"logical_or wants true or false, not i32"),
    (lambda b, h, q, k: expr.gelu(q / 2) > 1, r"gelu by the error function"),
    (lambda b, h, q, k: round(q / 2) > 1, r"round\(\) has no"),
    (lambda b, h, q, k: _swallowed(q), r"int\(\) has no expression"),
]


def _swallowed(q):
    try:
        int(q)
    except ValueError:
        pass
    return q > 1


def doubled(s, b, h, q, k):
    for _ in range(12):
        s = s * s
    return s


# Random functions, as texts that are Python for plain numbers and for symbols alike.
PLAIN = {"where": lambda c, a, b: a if c else b, "low": min, "high": max, "tanh": math.tanh,
         "no": operator.not_, "floor": math.floor}
SYMBOLS = {"where": expr.where, "low": expr.minimum, "high": expr.maximum, "tanh": expr.tanh,
           "no": expr.logical_not, "floor": lambda x: expr.symbol(x).__floor__()}


def whole(rng, deep):
    a = functools.partial(whole, rng, deep - 1)
    ways = [lambda: f"({a()} {rng.choice('+-')} {a()})", lambda: f"{a()} * {rng.randrange(-3, 4)}",
            lambda: f"({a()}) // {rng.choice((1, 2, 7, -3))}", lambda: f"({a()}) % {rng.choice((2, 5, 9))}",
            lambda: f"({a()} {rng.choice('&|^')} {a()})", lambda: f"~({a()})", lambda: f"abs({a()})",
            lambda: f"({a()} >> {rng.randrange(9)})", lambda: f"{rng.choice(('low', 'high'))}({a()}, {a()})",
            lambda: f"where({truth(rng, deep - 1)}, {a()}, {a()})",
            lambda: f"floor({real(rng, deep - 1)} / 4)"]
    return rng.choice(ways)() if deep > 0 else rng.choice(["q", "k", "q", "k", "h", "b", str(rng.randrange(9))])


def truth(rng, deep):
    a, x = functools.partial(truth, rng, deep - 1), functools.partial(whole, rng, deep - 1)
    ways = [lambda: f"(({a()}) {rng.choice('&|^')} ({a()}))", lambda: f"no({a()})",
            lambda: f"where({a()}, {a()}, {a()})"]
    compare = f"({x()} {rng.choice(('<', '<=', '>', '>=', '==', '!='))} {x()})"
    return rng.choice(ways)() if deep > 0 and rng.random() < .6 else compare


def real(rng, deep):
    a = functools.partial(real, rng, deep - 1)
    ways = [lambda: f"({a()} {rng.choice('+-*')} {a()})", lambda: f"({a()}) / {rng.choice((2, -4, 0.5))}",
            lambda: f"tanh({a()})", lambda: f"({a()} + {whole(rng, deep - 1)})",
            lambda: f"where({truth(rng, deep - 1)}, {a()}, {a()})", lambda: f"high({a()}, {a()})"]
    leaves = ["0.75", "-2.5"] + ["s"] * (4 if rng.scored else 0)
    return rng.choice(ways)() if deep > 0 else rng.choice(leaves)


class Traced(common.Case):
    def test_random(self):
        """What a function is traced to, computed by another evaluator than attnc's, is what the
        function is of plain numbers."""
        rng = random.Random(13)
        for i in range(160):
            rng.scored = i % 2 == 0
            text = (truth if i % 2 else real)(rng, 4)
            head = "lambda b, h, q, k: " if i % 2 else "lambda s, b, h, q, k: "
            traced = eval(head + text, dict(SYMBOLS))
            node = expr_oracle.read((Tracer(LENGTHS).mask if i % 2 else Tracer(LENGTHS).score)(traced))
            for _ in range(12):
                at = {"s": rng.randrange(-40, 40) / 8, "b": rng.randrange(2), "h": rng.randrange(8),
                      "q": rng.randrange(64), "k": rng.randrange(96)}
                names = {**at, "q_idx": at["q"], "kv_idx": at["k"], "score": at["s"]}
                want = eval(text, dict(PLAIN), at)
                got = expr_oracle.value(node, names, {})
                with self.subTest(text, **at):
                    self.assertEqual(type(got), bool if i % 2 else float)
                    self.assertAlmostEqual(got, want, delta=1e-9 * (1 + abs(want)))

    def test_masks(self):
        for function, text in MASKS:
            with self.subTest(text):
                self.assertEqual(canonical(mask_mod=Tracer(LENGTHS).mask(function)),
                                 canonical(mask_mod=text))

    def test_scores(self):
        for function, text in SCORES:
            with self.subTest(text):
                if "exp2" in text:  # by powers of a constant: log2 of 2 is 1
                    text = "score * exp2(-8.0 * f32(h + 1) / 16.0 * 1.0)"
                self.assertEqual(canonical(score_mod=Tracer(LENGTHS).score(function)),
                                 canonical(score_mod=text))

    def test_refused_by_name(self):
        for function, pattern in REFUSED:
            with self.subTest(pattern):
                e = self.raises(attnc.ExpressionError, pattern, Tracer(LENGTHS).mask, function)
                self.assertIsInstance(e, ValueError)
        self.raises(attnc.ExpressionError, "not true or false", Tracer(LENGTHS).score,
                    lambda s, b, h, q, k: s > 1)
        self.raises(attnc.ExpressionError, "more than 2048 words", Tracer(LENGTHS).score, doubled)
        self.raises(attnc.UsageError, "int is neither text nor", Tracer(LENGTHS).mask, 3)
        self.raises(TypeError, "argument", Tracer(LENGTHS).mask, lambda b, h, q: q > 1)
        self.raises(ZeroDivisionError, "zero", Tracer(LENGTHS).mask, lambda b, h, q, k: 1 // 0)

    def test_nothing_is_left_of_a_trace(self):
        before = dict(nested.__globals__)
        Tracer(LENGTHS, scalars={"POSITION": 3.0}).mask(nested)
        self.assertEqual(before.keys(), nested.__globals__.keys())
        self.assertTrue(all(nested.__globals__[n] is x for n, x in before.items()))
        self.assertRaises(ValueError, bool, expr.sq > 1)  # outside of one as well

    def test_scalars(self):
        mask = Tracer(LENGTHS, scalars={"GAIN": 1, "cap": 2})
        self.assertEqual(mask.score(lambda s, b, h, q, k: s * GAIN + cap),  # noqa: F821
                         "score * GAIN + cap")
        self.assertEqual(Tracer(LENGTHS).score(lambda s, b, h, q, k: s * GAIN), "score * 0.5")

    def test_intervals(self):
        """Of what is computed, by trying it: every value is within."""
        def values(f, ranges):
            symbols = [expr.Symbol(n, "i32", *r) for n, r in zip("xy", ranges)]
            found = f(*symbols)
            for x in range(ranges[0][0], ranges[0][1] + 1):
                for y in range(ranges[1][0], ranges[1][1] + 1):
                    plain = expr.symbol(f(x, y))
                    self.assertEqual(plain.lo, plain.hi)
                    self.assertTrue(found.lo <= plain.lo <= found.hi, (found, plain))

        for f in (lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y,
                  lambda x, y: x // (y + 9), lambda x, y: x % 4, lambda x, y: abs(x) - abs(y),
                  lambda x, y: expr.minimum(x, y) * expr.maximum(x, -y), lambda x, y: -x,
                  lambda x, y: expr.clip(x, -1, 3), lambda x, y: ~y, lambda x, y: x << (y & 3)):
            for ranges in (((-5, 5), (-4, 4)), ((0, 7), (-3, -1)), ((-9, -2), (2, 6))):
                values(f, ranges)


if __name__ == "__main__":
    common.main()
