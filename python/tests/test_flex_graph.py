"""attnc.torch.flex_attention in whole graphs of torch.compile, against the same call outside of one."""
import common

torch = common.need("torch")
from torch.nn.attention.flex_attention import create_block_mask

import attnc.torch as ours
from attnc import expr

B, H, S, D = 2, 4, 40, 32
slopes = torch.linspace(0.1, 0.4, H)


def causal(b, h, q_idx, kv_idx):
    return q_idx >= kv_idx


def alibi(score, b, h, q_idx, kv_idx):
    return score - slopes[h] * (q_idx - kv_idx).abs()


def helper(x):
    return 20.0 * expr.tanh(x / 20.0)


def capped(score, b, h, q_idx, kv_idx):
    return helper(score)


def with_table(table):
    return lambda score, b, h, q_idx, kv_idx: score + table[kv_idx]


def with_number(number):
    return lambda score, b, h, q_idx, kv_idx: score * number


class Graphs(common.Case):
    def setUp(self):
        torch._dynamo.reset()
        torch.manual_seed(1)
        self.x = [torch.randn(B, H, S, D).half() for _ in "qkv"]

    def compiled(self, **options):
        """flex_attention between other operators, whole."""
        def call(q, k, v, score_mod, block_mask):
            return ours.flex_attention(q * 2, k, v, score_mod, block_mask, 0.1) + 1
        return torch.compile(call, backend="aot_eager", fullgraph=True, **options)

    def same(self, run, score_mod=None, block_mask=None, x=None):
        q, k, v = x or self.x
        wanted = ours.flex_attention(q * 2, k, v, score_mod, block_mask, 0.1) + 1
        self.assertTrue(torch.equal(run(q, k, v, score_mod, block_mask), wanted))
        return wanted

    def test_functions(self):
        run = self.compiled()
        for mod in (None, alibi, capped, with_table(torch.randn(S)), with_number(0.5)):
            self.same(run, mod)

    def test_block_masks(self):
        document = torch.arange(S, dtype=torch.int32) // 13
        masks = [create_block_mask(f, None, None, S, S, device="cpu", BLOCK_SIZE=16) for f in (
            causal, lambda b, h, q_idx, kv_idx: document[q_idx] == document[kv_idx])]
        run = self.compiled()
        for mask in masks:
            self.same(run, None, mask)
            self.same(run, alibi, mask)
        self.same(self.compiled(), None, create_block_mask(causal, B, H, S, S, device="cpu", BLOCK_SIZE=16))

    def test_what_is_captured_changes(self):
        """Another tensor, its numbers, another number, another function: never what was there before."""
        run, table = self.compiled(), torch.randn(S)
        mod = with_table(table)
        first = self.same(run, mod)
        table.mul_(-1)
        self.assertFalse(torch.equal(self.same(run, mod), first))
        self.same(run, with_table(torch.randn(S)))
        mod.__closure__[0].cell_contents = torch.randn(2 * S)
        self.same(run, mod)
        for number in (0.5, 0.25, 3):
            self.same(run, with_number(number))
        global slopes
        self.addCleanup(globals().__setitem__, "slopes", slopes)
        self.same(run, alibi)
        slopes = torch.ones(H)
        self.same(run, alibi)

    def test_another_helper(self):
        run = self.compiled()
        self.same(run, capped)
        self.addCleanup(globals().__setitem__, "helper", helper)
        globals()["helper"] = lambda x: x * 0.5
        self.same(run, capped)

    def test_lengths(self):
        run = self.compiled()
        for s in (40, 24, 33):
            self.same(run, alibi, None, [x[:, :, :s] for x in self.x])

    def test_gradients(self):
        """Of q, k, v and of what is captured."""
        table = torch.randn(S).requires_grad_()
        mod, found = with_table(table), []
        for run in (lambda q, k, v: ours.flex_attention(q, k, v, mod),
                    torch.compile(lambda q, k, v: ours.flex_attention(q, k, v, mod), backend="aot_eager", fullgraph=True)):
            x = [y.clone().requires_grad_() for y in self.x]
            table.grad = None
            run(*x).float().square().sum().backward()
            found.append([y.grad for y in (*x, table)])
        for a, b in zip(*found):
            self.assertTrue(torch.equal(a, b))

    def test_lse(self):
        q, k, v = self.x
        call = lambda q, k, v: ours.flex_attention(q, k, v, alibi, return_lse=True)
        for a, b in zip(torch.compile(call, backend="aot_eager", fullgraph=True)(q, k, v), call(q, k, v)):
            self.assertTrue(torch.equal(a, b))

    def test_refusals(self):
        """What cannot be followed is an error with its name, not a stale graph."""
        class Settings:
            gain = 0.5

        def refused(mod, said):
            torch._dynamo.reset()
            with self.assertRaisesRegex(Exception, said):
                self.compiled()(*self.x, mod, None)

        settings, offsets = Settings(), torch.arange(S)
        refused(lambda score, b, h, q_idx, kv_idx: score * settings.gain, "Settings, is captured")
        refused(with_table(offsets), "in a compiled graph a table is a tensor of torch, of int32")
        index = torch.arange(S, dtype=torch.int32)
        table = torch.randn(S)
        refused(lambda score, b, h, q_idx, kv_idx: score + table[index[kv_idx]], "can be -2147483648")


if __name__ == "__main__":
    common.main()
