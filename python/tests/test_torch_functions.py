"""attnc.torch: torch's functions of attention, against torch's own in float32."""
import common

torch = common.need("torch")
from torch.library import opcheck
from torch.nn.functional import scaled_dot_product_attention as torchs

import attnc.torch as ours

B, H, HK, SQ, SK, D = 2, 4, 2, 19, 45, 32
MASKS = [(B, 1, SQ, SK), (SQ, SK), (1, 1, 1, SK), (B, 1, 1, SK), (B, H, SQ, SK), (1, H, SQ, SK), (H, 1, SK)]


class Functions(common.Case):
    def setUp(self):
        torch.manual_seed(5)
        self.q = torch.randn(B, H, SQ, D).half()
        self.k, self.v = (torch.randn(B, HK, SK, D).half() for _ in "kv")

    def same(self, mask=None, **options):
        """Within twice what torch's own loses in 16 bits."""
        given = (self.q, self.k, self.v)
        floats = mask is not None and mask.dtype != torch.bool
        wanted = torchs(*(x.float() for x in given), mask.float() if floats else mask, enable_gqa=True, **options)
        theirs = torchs(*given, mask.half() if floats else mask, enable_gqa=True, **options)
        got = ours.scaled_dot_product_attention(*given, mask, enable_gqa=True, **options)
        self.assertEqual((got.shape, got.dtype), (theirs.shape, theirs.dtype))
        bound = 2 * (theirs - wanted).abs().max().item() + 1e-3
        self.assertLessEqual((got - wanted).abs().max().item(), bound)

    def test_masks(self):
        for shape in MASKS:
            with self.subTest(shape):
                self.same(torch.rand(shape) < 0.6)
                self.same(torch.randn(shape))
                self.same(torch.randn(shape).half(), scale=0.3)

    def test_causal(self):
        """From the first query and key on, more keys or fewer."""
        self.same(is_causal=True)
        self.q, self.k, self.v = torch.randn(1, 4, 50, D).half(), *(torch.randn(1, 4, 20, D).half() for _ in "kv")
        self.same(is_causal=True)

    def test_row_without_keys(self):
        mask = torch.ones(SQ, SK, dtype=torch.bool)
        mask[3] = False
        out = ours.scaled_dot_product_attention(self.q, self.k, self.v, mask, enable_gqa=True)
        self.assertTrue((out[:, :, 3] == 0).all())
        self.assertTrue((out[:, :, 4] != 0).any())

    def test_mask_written_again(self):
        """Bits are kept with a mask until it changes."""
        mask = torch.ones(1, 1, SQ, SK, dtype=torch.bool)
        self.same(mask)
        mask[..., :30] = False
        self.same(mask)

    def test_more_axes(self):
        q, k, v = (x[None] for x in (self.q, self.k, self.v))
        out = ours.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        self.assertEqual(out.shape, q.shape)
        out = ours.scaled_dot_product_attention(self.k[0], self.k[0], self.v[0])
        self.assertEqual(out.shape, self.k[0].shape)

    def test_more_than_torch(self):
        """A window, a cap and sinks, against their definition."""
        s = (self.q.float() @ self.k.float().repeat_interleave(2, 1).mT) * 0.2
        s = 20 * torch.tanh(s / 20)
        distance = torch.arange(SK) - torch.arange(SQ)[:, None]
        s = s.masked_fill((distance > 3) | (distance < -5), -torch.inf)
        sinks = torch.randn(H)
        p = torch.softmax(torch.cat([s, sinks[None, :, None, None].expand(B, -1, SQ, 1)], -1), -1)[..., :-1]
        out, lse = ours.attention(self.q, self.k, self.v, window=(5, 3), softcap=20.0, sinks=sinks, scale=0.2)
        self.assertLessEqual((out - p @ self.v.float().repeat_interleave(2, 1)).abs().max().item(), 4e-3)
        wanted = torch.logaddexp(torch.logsumexp(s, -1), sinks[None, :, None].expand(B, -1, SQ))
        self.assertLessEqual((lse - wanted).abs().max().item(), 2e-3)

    def test_flex(self):
        out, lse = ours.flex_attention(self.q, self.k, self.v, lambda s, b, h, q, k: s - 0.1 * (q - k).abs(),
                                       enable_gqa=True, return_lse=True)
        bias = -0.1 * (torch.arange(SQ)[:, None] - torch.arange(SK)).abs()
        wanted = torchs(self.q.float(), self.k.float(), self.v.float(), bias, enable_gqa=True)
        self.assertLessEqual((out - wanted).abs().max().item(), 4e-3)
        self.assertEqual(lse.shape, (B, H, SQ))

    def test_operator(self):
        text = "attnc: 1\nname: t\ndtype: fp16\nbias: {axes: [h, kv], dtype: fp32}\n"
        args = (text, *(x.transpose(1, 2) for x in (self.q, self.k, self.v)), "bias", [torch.randn(H, SK)],
                "softmax_scale", [0.2], 0, 0)
        opcheck(torch.ops.attnc.attention.default, args,
                test_utils=("test_schema", "test_autograd_registration", "test_faketensor"))

    def test_refusals(self):
        call = ours.scaled_dot_product_attention
        self.raises(ValueError, "dropout_p", call, self.q, self.k, self.v, None, 1.5, enable_gqa=True)
        self.raises(ValueError, "enable_gqa", call, self.q, self.k, self.v)
        self.raises(ValueError, "broadcast", call, self.q, self.q, self.q, torch.ones(3, 5, dtype=torch.bool))
        self.raises(TypeError, "float64", call, *[self.q.double()] * 3)
        self.raises(ValueError, "together", call, self.q, self.q, self.q, torch.ones(SQ, SQ), is_causal=True)


if __name__ == "__main__":
    common.main()
