"""xFormers' function on classes that have its names and attributes, against plain attention."""
import common

torch = common.need("torch")
from attnc.xformers import memory_efficient_attention


class SeqInfo:
    def __init__(self, *lengths):
        self.seqstart = torch.tensor([0, *lengths]).cumsum(0).int()
        self.max_seqlen, self.min_seqlen = max(lengths), min(lengths)


def made(name, *, bases=(), **attributes):
    return type(name, bases, attributes)()


def mask(name, sq, sk, window=(-1, -1)):
    i, j = torch.arange(sq)[:, None], torch.arange(sk)
    at = i if "BottomRight" not in name else i + sk - sq
    seen = torch.ones(sq, sk, dtype=torch.bool)
    if "Causal" in name or "LowerTriangular" in name:
        seen &= j <= at
    if window[0] >= 0:
        seen &= j >= at - window[0]
    if window[1] >= 0:
        seen &= j <= at + window[1]
    return seen


def plain(q, k, v, seen, bias=0.0):
    q, k, v = (x.float().transpose(1, 2) for x in (q, k, v))
    s = ((q @ k.mT) * q.shape[-1] ** -0.5 + bias).masked_fill(~seen, -torch.inf)
    return (torch.softmax(s, -1).nan_to_num(0) @ v).transpose(1, 2)


class XFormers(common.Case):
    def setUp(self):
        torch.manual_seed(4)
        self.q, self.k, self.v = (torch.randn(2, n, 4, 32).half() for n in (21, 40, 40))

    def near(self, a, b):
        self.assertEqual(a.shape, b.shape)
        self.assertLessEqual((a.float() - b.float()).abs().max().item(), 4e-3)

    def test_dense(self):
        for name, more, window in (("LowerTriangularMask", {}, (-1, -1)),
                                   ("LowerTriangularFromBottomRightMask", {}, (-1, -1)),
                                   ("LowerTriangularFromBottomRightLocalAttentionMask", {"_window_size": 6}, (5, -1)),
                                   ("LocalAttentionFromBottomRightMask", {"window_left": 3, "window_right": 4}, (3, 4))):
            with self.subTest(name):
                out = memory_efficient_attention(self.q, self.k, self.v, made(name, **more))
                self.near(out, plain(self.q, self.k, self.v, mask(name, 21, 40, window)))

    def test_tensors(self):
        whole = torch.ones(21, 40, dtype=torch.bool)
        bias = torch.randn(2, 4, 21, 40).half()
        self.near(memory_efficient_attention(self.q, self.k, self.v, bias), plain(self.q, self.k, self.v, whole, bias))
        lower = made("LowerTriangularMaskWithTensorBias", bases=(type("LowerTriangularMask", (), {}),), _bias=bias)
        self.near(memory_efficient_attention(self.q, self.k, self.v, lower),
                  plain(self.q, self.k, self.v, mask("Causal", 21, 40), bias))
        self.near(memory_efficient_attention(self.q[:, :, 0], self.k[:, :, 0], self.v[:, :, 0]),
                  plain(*(x[:, :, :1] for x in (self.q, self.k, self.v)), whole)[:, :, 0])
        grouped = self.q.view(2, 21, 2, 2, 32)
        k, v = (x[:, :, :2, None].expand(-1, -1, -1, 2, -1) for x in (self.k, self.v))
        self.near(memory_efficient_attention(grouped, k, v).flatten(2, 3),
                  plain(self.q, k.flatten(2, 3), v.flatten(2, 3), whole))

    def test_sequences(self):
        q_info, k_info = SeqInfo(10, 32), SeqInfo(35, 45)
        q, k, v = (x.reshape(1, -1, 4, 32) for x in (self.q, self.k, self.v))
        for name, more, window in (("BlockDiagonalMask", {}, (-1, -1)), ("BlockDiagonalCausalMask", {}, (-1, -1)),
                                   ("BlockDiagonalCausalFromBottomRightMask", {}, (-1, -1)),
                                   ("BlockDiagonalCausalLocalAttentionFromBottomRightMask", {"_window_size": 7}, (6, -1))):
            with self.subTest(name):
                out = memory_efficient_attention(q, k, v, made(name, q_seqinfo=q_info, k_seqinfo=k_info, **more))
                parts = [plain(q[:, a:b], k[:, c:d], v[:, c:d], mask(name, b - a, d - c, window))
                         for a, b, c, d in ((0, 10, 0, 35), (10, 42, 35, 80))]
                self.near(out, torch.cat(parts, 1))

    def test_gradients(self):
        q, k, v = (x.clone().requires_grad_() for x in (self.q, self.k, self.v))
        out = memory_efficient_attention(q, k, v, made("LowerTriangularMask"))
        g = torch.autograd.grad(out.float().sum(), (q, k, v))
        wanted = torch.autograd.grad(plain(q, k, v, mask("Causal", 21, 40)).sum(), (q, k, v))
        for a, b in zip(g, wanted):
            self.assertLessEqual((a - b).abs().max().item(), 1e-2)

    def test_refusals(self):
        self.raises(NotImplementedError, "PagedBlockDiagonal.* not supported", memory_efficient_attention, self.q,
                    self.k, self.v, made("PagedBlockDiagonalPaddedKeysMask"))
        self.raises(NotImplementedError, "op:", memory_efficient_attention, self.q, self.k, self.v, op=print)


if __name__ == "__main__":
    common.main()
