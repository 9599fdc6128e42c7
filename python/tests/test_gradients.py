"""Gradients through torch's autograd: against the same mathematics in float64, beside torch's own in 16 bits; a
transformer of two layers that learns."""
import common

torch = common.need("torch")
from torch.library import opcheck

import attnc
import attnc.torch

F64 = torch.float64


def leaves(*shapes, seed=0, dtype=torch.float16):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(s, generator=g).to(dtype).requires_grad_() for s in shapes]


def plain(q, k, v, seen=None, change=lambda s: s):
    """[b, s, h, d], in its own dtype: out and the LSE."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
    s = change((q @ k.mT) * q.shape[-1] ** -0.5)
    if seen is not None:
        s = s.masked_fill(~seen, -torch.inf)
    p = torch.softmax(s, -1).nan_to_num(0)
    return (p @ v).transpose(1, 2), torch.logsumexp(s, -1)


def causal(sq, sk):
    return torch.arange(sk) <= torch.arange(sq)[:, None] + sk - sq


class Gradients(common.Case):
    def judge(self, run, wanted, inputs, with_lse=False):
        """run and wanted make (out, lse) of the inputs; each gradient at most twice as wrong as torch's in the
        inputs' dtype, and a thousandth of the largest."""
        def grads(f, dtype):
            given = [x.detach().to(dtype or x.dtype).requires_grad_() for x in inputs]
            out, lse = f(*given)
            g = torch.Generator().manual_seed(9)
            dout = torch.randn(out.shape, generator=g).to(inputs[0].dtype)
            loss = (out.to(F64) * dout.to(F64)).sum()
            if with_lse:
                weight = torch.randn(lse.shape, generator=g)
                loss = loss + torch.where(torch.isfinite(lse), lse * weight.to(lse.dtype), 0).sum()
            return torch.autograd.grad(loss, given)

        ours, right, theirs = grads(run, None), grads(wanted, F64), grads(wanted, inputs[0].dtype)
        for a, b, c, x in zip(ours, right, theirs, inputs):
            self.assertEqual((a.shape, a.dtype), (x.shape, x.dtype))
            bound = 2 * (c.to(F64) - b).abs().max().item() + 1e-3 * b.abs().max().item()
            self.assertLessEqual((a.to(F64) - b).abs().max().item(), bound)

    def flash(self, inputs, wanted, with_lse=False, **options):
        self.judge(lambda *x: attnc.flash_attn_func(*x, return_attn_probs=True, **options)[:2], wanted, inputs, with_lse)

    def test_dense(self):
        """Grouped heads, more queries than keys, a head_dim that is padded, both dtypes, the LSE's gradient."""
        for d, sq, sk, dtype in ((32, 24, 40, torch.float16), (20, 40, 24, torch.float16), (64, 17, 33, torch.bfloat16)):
            with self.subTest(d=d):
                x = leaves((2, sq, 4, d), (2, sk, 2, d), (2, sk, 2, d), dtype=dtype)
                self.flash(x, lambda *x: plain(*x, causal(sq, sk)), causal=True)
                self.flash(x, lambda *x: plain(*x, causal(sq, sk)), True, causal=True)

    def test_scores(self):
        x = leaves((1, 21, 4, 32), (1, 37, 4, 32), (1, 37, 4, 32))
        self.flash(x, lambda *x: plain(*x, change=lambda s: 15 * torch.tanh(s / 15)), softcap=15.0)
        distance = (torch.arange(21)[:, None] + 16 - torch.arange(37)).abs()
        slopes = torch.tensor([0.5, 0.25, 0.1, 0.0])
        self.flash(x, lambda *x: plain(*x, (distance <= 6), lambda s: s - slopes[:, None, None].to(s.dtype) * distance),
                   window_size=(6, 6), alibi_slopes=slopes)

    def test_packed(self):
        q, k, v = leaves((50, 4, 32), (70, 2, 32), (70, 2, 32))
        cu_q, cu_k = (torch.tensor(x, dtype=torch.int32) for x in ((0, 20, 45), (0, 33, 70)))

        def wanted(q, k, v):
            parts = [plain(q[None, a:b], k[None, c:d], v[None, c:d], causal(b - a, d - c))[0][0]
                     for a, b, c, d in ((0, 20, 0, 33), (20, 45, 33, 70))]
            return torch.cat(parts), None

        self.judge(lambda *x: (attnc.flash_attn_varlen_func(*x, cu_q, cu_k, 25, 37, causal=True)[:45], None), wanted,
                   (q, k, v))
        dq, = torch.autograd.grad(attnc.flash_attn_varlen_func(q, k, v, cu_q, cu_k, 25, 37)[:45].sum(), q)
        self.assertTrue((dq[45:] == 0).all(), "rows of no sequence")

    def test_packed_in_one_tensor(self):
        qkv, = leaves((2, 19, 3, 2, 32))
        self.judge(lambda x: (attnc.flash_attn_qkvpacked_func(x, causal=True), None),
                   lambda x: plain(*x.unbind(2), causal(19, 19)), (qkv,))

    def test_dropout(self):
        """With the same mask; a second call, and one of torch's function, draw another."""
        x, state = leaves(*[(1, 40, 2, 32)] * 3), torch.tensor([123, 8])
        with torch.no_grad():
            keep = attnc.flash_attn_func(*x, 0.3, return_attn_probs=True, rng_state=state)[2][:, :, :40, :40] > 0

        def wanted(q, k, v):
            q, k, v = (y.transpose(1, 2) for y in (q, k, v))
            p = torch.softmax(((q @ k.mT) * 32 ** -0.5).masked_fill(~causal(40, 40), -torch.inf), -1)
            return ((p * keep / 0.7) @ v).transpose(1, 2), None

        self.judge(lambda *x: (attnc.flash_attn_func(*x, 0.3, causal=True, rng_state=state), None), wanted, x)
        torch.manual_seed(1)
        a, b = (attnc.flash_attn_func(*x, 0.3) for _ in range(2))
        self.assertFalse(torch.equal(a, b))
        torch.manual_seed(1)
        out = attnc.torch.scaled_dot_product_attention(*(y.transpose(1, 2) for y in x), dropout_p=0.3)
        self.assertTrue(torch.equal(out.transpose(1, 2), a))

    def test_torchs(self):
        x = leaves((2, 4, 19, 32), (2, 2, 30, 32), (2, 2, 30, 32))
        mask, turned = torch.rand(2, 1, 19, 30) < 0.7, lambda x: [y.transpose(1, 2) for y in x]

        def wanted(*x):
            out, lse = plain(*turned(x), mask)
            return out.transpose(1, 2), lse

        self.judge(lambda *x: attnc.torch.attention(*x, attn_mask=mask), wanted, x, True)

    def test_flex(self):
        x = leaves((2, 4, 19, 32), (2, 2, 30, 32), (2, 2, 30, 32))
        slopes = torch.rand(4)

        def score(s, b, h, q, k):
            return 10 * torch.tanh(s / 10) - slopes[h] * (q - k).abs()

        distance = (torch.arange(19)[:, None] - torch.arange(30)).abs()

        def wanted(*x):
            out, lse = plain(*(y.transpose(1, 2) for y in x), torch.arange(30) <= torch.arange(19)[:, None] + 3,
                             lambda s: 10 * torch.tanh(s / 10) - slopes[:, None, None].to(s.dtype) * distance)
            return out.transpose(1, 2), lse

        self.judge(lambda *x: attnc.flex_attention(*x, score, mask_mod=lambda b, h, q, k: k <= q + 3, return_lse=True),
                   wanted, x, True)

    def test_bias_and_sinks(self):
        """Of a bias, broadcast or not, of sinks, and of a table that a function captures."""
        x = leaves((2, 4, 19, 32), (2, 2, 40, 32), (2, 2, 40, 32))
        sinks, = leaves((4,), seed=7, dtype=torch.float32)

        def wanted(q, k, v, bias, sinks):
            k, v = (y.repeat_interleave(2, 1) for y in (k, v))
            s = torch.cat([(q @ k.mT) * 32 ** -0.5 + bias, sinks[None, :, None, None].expand(2, -1, 19, 1)], -1)
            return torch.softmax(s, -1)[..., :-1] @ v, None

        for shape in ((2, 4, 19, 40), (1, 4, 19, 40), (1, 1, 1, 40)):
            with self.subTest(shape):
                bias, = leaves(shape, seed=3)
                self.judge(lambda q, k, v, b, s: (attnc.torch.attention(q, k, v, bias=b, sinks=s)[0], None), wanted,
                           (*x, bias, sinks))
        table, = leaves((4, 19), seed=8, dtype=torch.float32)
        distance = (torch.arange(40) - torch.arange(19)[:, None]).to(F64)

        def flex(q, k, v, t):
            return attnc.flex_attention(q, k, v, lambda s, b, h, i, j: s + t[h, i] * (j - i)), None

        def plainly(q, k, v, t):
            k, v = (y.repeat_interleave(2, 1) for y in (k, v))
            return torch.softmax((q @ k.mT) * 32 ** -0.5 + (t[:, :, None] * distance).to(q.dtype), -1) @ v, None

        self.judge(flex, plainly, (*x, table))

    def test_accumulated(self):
        """A leaf that is used twice; a result that is not."""
        q, k, v = leaves(*[(1, 16, 2, 32)] * 3)
        out, _, _ = attnc.flash_attn_func(q, q, v, return_attn_probs=True)
        out.sum().backward()
        self.assertIsNone(k.grad)
        first = q.grad.clone()
        attnc.flash_attn_func(q, q, v).sum().backward()
        self.assertTrue(torch.equal(q.grad, 2 * first))

    def test_saved(self):
        """q, k, v, out, the LSE and, of dropout, the state of random numbers, as they are: no copy."""
        q, k, v = leaves(*[(1, 16, 2, 32)] * 3)
        saved, state = [], torch.tensor([5, 6])
        with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
            out, lse, _ = attnc.flash_attn_func(q, k, v, 0.2, return_attn_probs=True, rng_state=state)
        self.assertEqual([x.data_ptr() for x in saved], [x.data_ptr() for x in (q, k, v, out, lse, state)])

    def test_written_between(self):
        q, k, v = leaves(*[(1, 16, 2, 32)] * 3)
        x = k * 1
        out = attnc.flash_attn_func(q, x, v)
        x.zero_()
        self.raises(RuntimeError, "modified by an inplace operation", out.sum().backward)

    def test_refusals(self):
        q, k, v = leaves(*[(1, 16, 2, 32)] * 3)
        out = attnc.flash_attn_func(q, k, v)
        dq, = torch.autograd.grad(out.sum(), q, create_graph=True)
        self.raises(NotImplementedError, "double backward", dq.sum().backward)
        slopes = torch.ones(2, requires_grad=True)
        self.raises(NotImplementedError, "alibi_slopes requires a gradient", attnc.flash_attn_func, q, k, v,
                    alibi_slopes=slopes)
        self.raises(NotImplementedError, "k_cache requires a gradient", attnc.flash_attn_with_kvcache, q.detach(), k,
                    v.detach())

    def test_compiled(self):
        """The backward pass too is one graph."""
        q, k, v = leaves(*[(1, 16, 2, 32)] * 3)

        def f(q, k, v):
            return (attnc.flash_attn_func(q * 2, k, v, 0.1, causal=True) * v).sum()

        torch.manual_seed(4)
        wanted = torch.autograd.grad(f(q, k, v), (q, k, v))
        torch.manual_seed(4)
        got = torch.autograd.grad(torch.compile(f, backend="aot_eager", fullgraph=True)(q, k, v), (q, k, v))
        for a, b in zip(got, wanted):
            self.assertTrue(torch.equal(a, b))

    def test_operators(self):
        q, k, v = leaves((1, 16, 2, 32), (1, 20, 2, 32), (1, 20, 2, 32))
        opcheck(torch.ops.attnc.flash_attn.default, (q, k, v, None, 0.0, None, None, True, -1, -1, 0.0, False))
        text = "attnc: 1\nname: t\ndtype: fp16\n"
        opcheck(torch.ops.attnc.attention.default, (text, q, k, v, "", [], "softmax_scale", [0.2], 0, 0))


class Block(torch.nn.Module):
    """One layer; `attend` is what is tried."""

    def __init__(self, width, heads, attend):
        super().__init__()
        self.heads, self.attend = heads, attend
        self.first, self.second = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.qkv, self.out = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
        self.wide, self.narrow = torch.nn.Linear(width, 2 * width), torch.nn.Linear(2 * width, width)

    def forward(self, x):
        b, s, w = x.shape
        q, k, v = self.qkv(self.first(x)).view(b, s, 3, self.heads, w // self.heads).unbind(2)
        x = x + self.out(self.attend(q, k, v).reshape(b, s, w))
        return x + self.narrow(torch.nn.functional.gelu(self.wide(self.second(x))))


class Model(torch.nn.Module):
    def __init__(self, attend, words=24, width=64, length=32):
        super().__init__()
        torch.manual_seed(2)
        self.words, self.places = torch.nn.Embedding(words, width), torch.nn.Parameter(torch.randn(length, width) / 8)
        self.layers = torch.nn.Sequential(*(Block(width, 2, attend) for _ in range(2)))
        self.head = torch.nn.Linear(width, words)

    def forward(self, tokens):
        return self.head(self.layers(self.words(tokens) + self.places))

    def loss(self, tokens):
        found = self(tokens[:, :-1])
        return torch.nn.functional.cross_entropy(found.flatten(0, 1).float(), tokens[:, 1:].flatten())


def ours(q, k, v):
    """Attention in 16 bits, of a model in 32."""
    return attnc.flash_attn_func(q.half(), k.half(), v.half(), causal=True).to(q.dtype)


def in_16_bits(q, k, v):
    return plain(q.half(), k.half(), v.half(), causal(q.shape[1], k.shape[1]))[0].to(q.dtype)


def exact(q, k, v):
    return plain(q, k, v, causal(q.shape[1], k.shape[1]))[0]


class Transformer(common.Case):
    tokens = (torch.arange(33) * 5 + torch.arange(4)[:, None] * 7) % 24  # a rule that can be learned

    def test_gradients(self):
        """Of all parameters: at most twice what 16 bits cost a plain attention."""
        found = {}
        for name, attend in (("ours", ours), ("theirs", in_16_bits), ("right", exact)):
            model = Model(attend).to(F64 if name == "right" else torch.float32)
            model.loss(self.tokens).backward()
            found[name] = {n: p.grad.to(F64) for n, p in model.named_parameters()}
        for name, right in found["right"].items():
            error, theirs = ((found[x][name] - right).norm() for x in ("ours", "theirs"))
            self.assertLessEqual(error, 2 * theirs + 1e-4 * right.norm(), name)

    def test_it_learns(self):
        losses = {}
        for name, attend in (("ours", ours), ("exact", exact)):
            model = Model(attend)
            steps = torch.optim.AdamW(model.parameters(), 3e-3)
            losses[name] = []
            for _ in range(20):
                loss = model.loss(self.tokens)
                steps.zero_grad()
                loss.backward()
                steps.step()
                losses[name].append(loss.item())
        print("loss of 20 steps: %.3f to %.3f, exactly %.3f" % (losses["ours"][0], losses["ours"][-1], losses["exact"][-1]))
        self.assertLess(losses["ours"][-1], 0.5 * losses["ours"][0])
        for a, b in zip(losses["ours"], losses["exact"]):
            self.assertLess(abs(a - b), 0.05 * b + 0.02)


if __name__ == "__main__":
    common.main()
