"""Dropout of torch's tensors, on the CPU through the emulated device: torch.manual_seed decides."""
import unittest

import common

torch = common.need("torch")
import attnc
import test_dropout


class TorchDropout(unittest.TestCase):
    def test_torch(self):
        q, k, v = (torch.from_numpy(x) for x in test_dropout.problem())
        torch.manual_seed(5)
        out, lse, mask = attnc.flash_attn_func(q, k, v, 0.3, return_attn_probs=True)
        test_dropout.Dropout.right(self, *(x.numpy() for x in (out, lse, mask, q, k, v)), 0.3, False)
        torch.manual_seed(5)
        self.assertTrue(torch.equal(attnc.flash_attn_func(q, k, v, 0.3), out))
        state = torch.tensor([77, -1])
        once = attnc.flash_attn_func(q, k, v, 0.3, rng_state=state)
        self.assertTrue(torch.equal(attnc.flash_attn_func(q, k, v, 0.3, rng_state=state), once))
        self.assertFalse(torch.equal(once, out))
        torch.manual_seed(5)
        again = attnc.flash_attn_func(q.clone().requires_grad_(), k, v, 0.3, return_attn_probs=True)
        for a, b in zip(again, (out, lse, mask)):
            self.assertTrue(torch.equal(a, b))

    def gradients(self, function, p, causal):
        """Of plain attention in fp64 with the weights that the call kept; the LSE has a gradient too."""
        own = [torch.from_numpy(x).requires_grad_() for x in test_dropout.problem()]
        torch.manual_seed(9)
        out, lse, mask = function(*own, p, causal=causal, return_attn_probs=True)
        dout, dlse = torch.randn_like(out), torch.randn_like(lse)
        torch.autograd.backward((out, lse), (dout, dlse))
        q, k, v = (x.detach().double().requires_grad_() for x in own)
        group, (sq, sk) = q.shape[2] // k.shape[2], (q.shape[1], k.shape[1])
        keys, values = (x.repeat_interleave(group, 2) for x in (k, v))
        s = torch.einsum("bqhd,bkhd->bhqk", q, keys) / q.shape[-1] ** 0.5
        if causal:
            s = s.masked_fill(torch.arange(sq)[:, None] + sk - sq < torch.arange(sk), -torch.inf)
        keep = (mask[:, :, :sq, :sk] > 0) / (1 - p)
        plain = torch.einsum("bhqk,bkhd->bqhd", s.softmax(-1) * keep, values)
        torch.autograd.backward((plain, s.logsumexp(-1)), (dout.double(), dlse.double()))
        self.assertLess((out.double() - plain).abs().max(), 4e-3)
        for mine, its in zip(own, (q, k, v)):
            self.assertLess((mine.grad.double() - its.grad).abs().max(), 6e-3 * its.grad.abs().max())

    def test_gradients(self):
        self.gradients(attnc.flash_attn_func, 0.25, False)
        self.gradients(attnc.flash_attn_func, 0.5, True)

    def test_gradients_of_packed(self):
        def packed(q, k, v, p, causal, return_attn_probs):
            b, sq, h, d = q.shape
            at = [torch.arange(b + 1, dtype=torch.int32) * x.shape[1] for x in (q, k)]
            out, lse, mask = attnc.flash_attn_varlen_func(
                *(x.flatten(0, 1) for x in (q, k, v)), *at, sq, k.shape[1], p, causal=causal,
                return_attn_probs=return_attn_probs)
            return out.view(b, sq, h, d), lse.view(h, b, sq).transpose(0, 1), mask
        self.gradients(packed, 0.25, True)

    def test_two_calls_in_a_graph(self):
        """They draw on their own, also where all of their arguments are alike."""
        @torch.compile(backend="aot_eager", fullgraph=True)
        def both(q, k, v):
            return attnc.flash_attn_func(q, k, v, 0.5), attnc.flash_attn_func(q, k, v, 0.5)
        q, k, v = (torch.from_numpy(x) for x in test_dropout.problem())
        one, other = both(q, k, v)
        self.assertFalse(torch.equal(one, other))


if __name__ == "__main__":
    common.main()
