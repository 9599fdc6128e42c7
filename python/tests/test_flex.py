"""flex_attention: tables that functions capture, and the spec that comes of them."""
import functools

import common

numpy = common.need("numpy")
import attnc  # noqa: E402
from attnc import expr  # noqa: E402

B, H, HK, SQ, SK = 2, 4, 2, 96, 96
Q = numpy.zeros((B, H, SQ, 32), numpy.float16)
K = numpy.zeros((B, HK, SK, 32), numpy.float16)
LONG = numpy.zeros((B, HK, 2 * SK, 32), numpy.float16)
DOC = numpy.repeat(numpy.arange(12, dtype=numpy.int32), 8)
OFFSETS = numpy.arange(0, 97, 8, dtype=numpy.int32)
BIAS = numpy.zeros((H, 31), numpy.float32)
PARTS = [BIAS[:, :16], BIAS[:, 15:]]
WINDOW = numpy.array(5, numpy.int32)
SEEN = numpy.zeros((B, SQ, SK), bool)


def tensors(seed, sq=SQ, sk=SK, d=32, dv=32):
    rng = numpy.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(numpy.float16)
            for shape in ((B, H, sq, d), (B, HK, sk, d), (B, HK, sk, dv))]


def by_numpy(q, k, v, score=None, mask=None, scale=None):
    """(out, LSE) in float64: the functions are called on arrays of all indices."""
    at = numpy.ix_(*(numpy.arange(n) for n in (B, H, q.shape[2], k.shape[2])))
    k, v = (numpy.repeat(x, H // HK, 1).astype(float) for x in (k, v))
    s = numpy.einsum("bhqd,bhkd->bhqk", q.astype(float), k) * (scale or q.shape[3] ** -0.5)
    s = score(s, *at) if score else s
    s = numpy.where(mask(*at), s, -numpy.inf) if mask else s
    top = numpy.maximum(s.max(-1, keepdims=True), -1e30)
    p = numpy.exp(s - top)
    total = p.sum(-1, keepdims=True)
    with numpy.errstate(divide="ignore"):
        lse = (numpy.log(total) + top)[..., 0]
    return numpy.einsum("bhqk,bhkd->bhqd", p / numpy.maximum(total, 1e-300), v), lse


def mods(q=Q, k=K, **given):
    """What the canonical text says of them."""
    lines = attnc.flex_spec(q, k, k, **given).canonical.splitlines()
    return "\n".join(x for x in lines if x.split(":")[0] in (
        "causal", "mask_mod", "score_mod", "tensors", "scalars"))


def document(b, h, q_idx, kv_idx):
    return DOC[q_idx] == DOC[kv_idx]


def and_masks(*masks):
    """As torch's: a function of functions that it captures."""
    return lambda *at: functools.reduce(lambda x, y: x & y, (m(*at) for m in masks))


def packed(b, h, q, k):
    return (k >= OFFSETS[DOC[q]]) & (q >= k)


class Flex(common.Case):
    def same(self, found, mask_mod, *rows):
        self.assertEqual(found, f'mask_mod: "{mask_mod}"\ntensors: {{{", ".join(rows)}}}')

    def test_captured_tables(self):
        row = "doc_: {dtype: i32, axes: [kv]}"
        self.same(mods(mask_mod=document), "doc_[q_idx] == doc_[kv_idx]", row)
        other = DOC.copy()

        def of(table, at=slice(0)):
            return lambda b, h, q, k: table[q] == table[k]

        self.same(mods(mask_mod=and_masks(document, of(other))),
                  "doc_[q_idx] == doc_[kv_idx] && table_[q_idx] == table_[kv_idx]", row,
                  row.replace("doc", "table"))
        self.same(mods(mask_mod=[of(other), of(DOC)]),  # two of one name
                  "table_[q_idx] == table_[kv_idx] && table_2[q_idx] == table_2[kv_idx]",
                  row.replace("doc", "table"), row.replace("doc_", "table_2"))
        self.same(mods(mask_mod=functools.partial(lambda t, b, h, q, k, *, u=DOC: t[q] == u[k],
                                                  other)),
                  "u_[kv_idx] == mask_mod_[q_idx]", "u_: {dtype: i32, axes: [kv]}",
                  "mask_mod_: {dtype: i32, axes: [q]}")
        self.same(mods(mask_mod=lambda b, h, q, k: k < WINDOW), "kv_idx + 1 <= window_[0]",
                  "window_: {dtype: i32, axes: [1]}")
        self.same(mods(mask_mod=lambda b, h, q, k: SEEN[b][q, k]),
                  "seen_[b, q_idx, kv_idx] != 0", "seen_: {dtype: i32, axes: [b, q, kv]}")

    def test_lists_of_tables(self):
        def score(score, b, h, q, k):
            for n, part in enumerate(PARTS):
                score = score + expr.where(k == n, part[h, expr.clip(k - q, 0, 15)], 0.0)
            return score

        text = mods(score_mod=score)
        self.assertIn("parts_[h, min(max(kv_idx - q_idx, 0), 15)]", text)
        self.assertIn("parts_2: {dtype: fp32, axes: [h, 16]}", text)

    def test_axes(self):
        """A size's name where the table is as long and is indexed so; else its length."""
        def axes(table, index, q=Q, k=K):
            text = mods(q, k, mask_mod=lambda b, h, q, k: table[index(b, h, q, k)] > 0)
            return text[text.index("axes:") + 6:-2]

        whole = functools.partial(numpy.ones, dtype=numpy.int32)
        for shape, index, wanted in [
                ((B, H, SK), lambda b, h, q, k: (b, h, k), "[b, h, kv]"),
                ((SQ,), lambda b, h, q, k: q, "[q]"),
                ((SQ + 8,), lambda b, h, q, k: q, "[q]"),
                ((SQ + 8,), lambda b, h, q, k: q + 8, "[104]"),
                ((SQ,), lambda b, h, q, k: q // 8, "[96]"),
                ((SQ - 1,), lambda b, h, q, k: q, "[95]"),
                ((HK,), lambda b, h, q, k: expr.hk, "[hk]"),
                ((H, B), lambda b, h, q, k: (b, h), "[b, 2]")]:
            self.assertEqual(axes(whole(shape), index), wanted)
        self.assertEqual(axes(whole((2 * SK,)), lambda b, h, q, k: k, k=LONG), "[kv]")
        self.assertEqual(axes(whole((2 * SK,)), lambda b, h, q, k: q, k=LONG), "[q]")

    def test_declared(self):
        given = {"doc": attnc.table(DOC, axes=["kv"], monotone=True)}
        row = "doc: {dtype: i32, axes: [kv], monotone: true}"
        text = "doc[q_idx] == doc[kv_idx]"
        self.same(mods(mask_mod="doc[ kv_idx ] == doc[q_idx]", tensors=given), text, row)
        self.same(mods(mask_mod=document, tensors=given), text, row)  # known by the array
        self.same(mods(mask_mod=lambda b, h, q, k: doc[q] == doc[k],  # noqa: F821
                       tensors=given), text, row)
        self.same(mods(mask_mod=text, tensors={"doc": DOC}), text,
                  "doc: {dtype: i32, axes: [kv]}")
        self.same(mods(mask_mod="table[h, kv_idx, (q_idx) % 31] > 0.0",
                       tensors={"table": numpy.zeros((H, SK, 31), numpy.float32)}),
                  "table[h, kv_idx, q_idx % 31] > 0.0",
                  "table: {dtype: fp32, axes: [h, kv, 31]}")
        self.assertEqual(mods(score_mod=lambda s, b, h, q, k: s * gain,  # noqa: F821
                              scalars={"gain": 2}),
                         "scalars: {gain: run_time}\nscore_mod: \"score * gain\"")
        self.raises(attnc.UsageError, "gain is in `tensors` and in `scalars`", mods,
                    mask_mod=text, tensors={"gain": DOC}, scalars={"gain": 1})

    def test_indices(self):
        """Below 0 an index means another thing in numpy and torch."""
        self.assertIn("offsets_[doc_[q_idx]]", mods(mask_mod=packed))
        for kind in (numpy.int64, numpy.uint8, numpy.int16):
            ids = DOC.astype(kind)
            self.assertIn("offsets_[ids_[q_idx]]",
                          mods(mask_mod=lambda b, h, q, k: OFFSETS[ids[q]] > k))
        below = DOC - 1
        self.assertIn("below[q_idx]", mods(
            mask_mod=lambda b, h, q, k: OFFSETS[below[q]] > k,
            tensors={"below": attnc.table(below, least=0)}))
        reach = numpy.zeros(2 * SK - 1, numpy.float32)
        mods(score_mod=lambda s, b, h, q, k: s + reach[q - k + SK - 1])
        for index, said in [
                (lambda q, k: OFFSETS[below[q]], r"offsets_, index 1: `below_\[q_idx\]` can be -1"),
                (lambda q, k: OFFSETS[q - k], r"`q_idx - kv_idx` can be -95"),
                (lambda q, k: reach[q - k + SK - 2], r"`q_idx - kv_idx \+ 96 - 2` can be -1"),
                (lambda q, k: OFFSETS[-1] + q, r"`-1` can be -1"),
                (lambda q, k: OFFSETS[q / 2], r"`q_idx / 2` is f32; an index is i32"),
                (lambda q, k: OFFSETS[q > k], r"`q_idx > kv_idx` is bool"),
                (lambda q, k: OFFSETS[q:], "a slice has no expression"),
                (lambda q, k: OFFSETS[None, q], "2 indices"),
                (lambda q, k: SEEN[..., q, k], "a slice has no expression"),
                (lambda q, k: OFFSETS[q, k], "offsets_ has 1 axes, and 2 indices"),
                (lambda q, k: OFFSETS.sum() + q, r"`\.sum` of the table offsets_"),
                (lambda q, k: q + OFFSETS, r"a attnc.trace.Table is no number"),
                (lambda q, k: numpy.take(OFFSETS, q), "is no number|has no expression"),
                (lambda q, k: numpy.sin(q), "numpy.sin has no expression"),
                (lambda q, k: numpy.cumsum(q), "numpy.cumsum has no expression"),
                (lambda q, k: self.hidden[q], "an index of a list, tuple or array that was not")]:
            with self.subTest(said):
                self.raises(attnc.ExpressionError, said, mods,
                            mask_mod=lambda b, h, q, k: index(q, k) > 0)

    hidden = DOC

    def test_numpy_functions(self):
        def score(s, b, h, q, k):
            x = numpy.where(numpy.logical_and(q >= k, q > 3), numpy.tanh(s), numpy.float32(2) - s)
            return numpy.maximum(numpy.clip(x, -1, None), numpy.int64(3) * numpy.abs(q - k))

        self.assertEqual(mods(score_mod=score), mods(score_mod=(
            "max(max(q_idx >= kv_idx && q_idx > 3 ? tanh(score) : 2.0 - score, -1), "
            "3 * abs(q_idx - kv_idx))")))

    def test_dtypes(self):
        for dtype, said in [(numpy.float64, "float64"), (numpy.int64, "numbers that int32"),
                            (numpy.complex64, "complex64"), (numpy.uint32, "numbers that int32")]:
            wide = numpy.zeros(SK, dtype)
            wide[3] = 2 ** 31
            self.raises(attnc.UsageError, said, mods, mask_mod=lambda b, h, q, k: wide[k] > 0)
        for dtype, name in [(numpy.float16, "fp16"), (numpy.uint16, "bf16")]:
            narrow = numpy.zeros(SK, dtype)
            self.assertIn(f"dtype: {name}", mods(score_mod=lambda s, b, h, q, k: s + narrow[k]))

    def test_same_spec(self):
        """A function and its text, a number of `scalars` and another one, are one kernel."""
        causal = attnc.flex_spec(Q, K, K, mask_mod=lambda b, h, q, k: q + expr.sk - expr.sq >= k)
        self.assertEqual(causal.canonical, attnc.load_spec(
            {"attnc": 1, "name": "c", "dtype": "fp16", "head_dim": 32,
             "causal": True}).canonical)
        one, two = (attnc.flex_spec(Q, K, K, "score * gain", scalars={"gain": x}) for x in (1, 2))
        self.assertIs(one, two)

    def check(self, score=None, mask=None, seed=1, **given):
        shape = {n: given.pop(n) for n in ("sq", "sk", "d", "dv") if n in given}
        q, k, v = tensors(seed, **shape)
        out, lse = attnc.flex_attention(q, k, v, score, mask_mod=mask, return_lse=True, **given)
        wanted, its_lse = by_numpy(q, k, v, score, mask, given.get("scale"))
        self.assertEqual(out.dtype, numpy.float16)
        numpy.testing.assert_allclose(out, wanted, atol=4e-3)
        numpy.testing.assert_allclose(lse, its_lse, atol=1e-4)

    def test_runs(self):
        """On the emulated device, against the same functions on arrays of all indices."""
        slopes = (2.0 ** -numpy.arange(1, H + 1)).astype(numpy.float32)
        kept = numpy.arange(SK, dtype=numpy.int64) % 5 > 1
        self.check(lambda s, b, h, q, k: 20 * numpy.tanh(s / 20) - slopes[h] * numpy.abs(q - k),
                   lambda b, h, q, k: (DOC[q] == DOC[k]) | (k < 3))
        self.check(None, lambda b, h, q, k: kept[k] & (q - k >= 10 * h), seed=2)  # rows without keys
        self.check(lambda s, b, h, q, k: s + BIAS[h, numpy.clip(k - q, -15, 15) + 15] * (b + 1),
                   seed=3, sq=40, sk=70, d=20, dv=24, scale=0.3)
        self.check(None, packed, seed=4)

    def test_runs_as_text(self):
        q, k, v = tensors(5)
        table = numpy.linspace(-1, 1, SK).astype(numpy.float32)
        given = dict(mask_mod=["q_idx >= kv_idx", "kv_idx % 2 == 0"], tensors={"table": table})
        for gain in (0.5, -2.0):  # one kernel
            out = attnc.flex_attention(q, k, v, "score + gain * table[kv_idx]",
                                       scalars={"gain": gain}, **given)
            wanted, _ = by_numpy(q, k, v, lambda s, b, h, i, j: s + gain * table[j],
                                 lambda b, h, i, j: (i >= j) & (j % 2 == 0))
            numpy.testing.assert_allclose(out, wanted, atol=4e-3)
        turned = [x.swapaxes(1, 2) for x in (q, k, v)]  # and strides of the caller's
        again = attnc.flex_attention(*turned, "score + gain * table[kv_idx]",
                                     scalars={"gain": gain}, layout="bshd", **given)
        numpy.testing.assert_array_equal(again.swapaxes(1, 2), out)

    def test_arguments(self):
        for error, said, call in [
                (attnc.UsageError, "layout='bsh'", lambda: attnc.flex_attention(Q, K, K,
                                                                               layout="bsh")),
                (ValueError, "shapes do not agree", lambda: attnc.flex_attention(Q, K, LONG)),
                (ValueError, "heads of q, 4", lambda: attnc.flex_attention(
                    Q, K[:, [0, 1, 1]], K[:, [0, 1, 1]])),
                (attnc.UsageError, "block_mask has no kv_num_blocks",
                 lambda: attnc.flex_attention(Q, K, K, block_mask=object())),
                (TypeError, "no argument 'tensor'; did you mean tensors",
                 lambda: attnc.flex_attention(Q, K, K, tensor={})),
                (attnc.SpecError, "unknown tensor `doc`",
                 lambda: attnc.flex_attention(Q, K, K, mask_mod="doc[q_idx] > 0"))]:
            self.raises(error, said, call)


if __name__ == "__main__":
    common.main()
