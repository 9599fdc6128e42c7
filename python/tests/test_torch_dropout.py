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


if __name__ == "__main__":
    common.main()
