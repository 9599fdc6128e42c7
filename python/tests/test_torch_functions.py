"""attnc.torch: torch's functions of attention, against torch's own in float32."""
import inspect

import common

torch = common.need("torch")
from torch.library import opcheck
from torch.nn.functional import scaled_dot_product_attention as torchs

import attnc.torch as ours
from attnc import _sdpa

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


class Provider(common.Case):
    """Of scaled_dot_product_attention on CUDA: the functions that are registered, called as the dispatcher would."""

    def setUp(self):
        torch.manual_seed(6)
        self.x = [torch.randn(2, 4, 30, 32).half() for _ in "qkv"]

    def test_signatures(self):
        """Those of the installed torch: every argument but what goes to torch's own kernel, in order."""
        for name, own in _sdpa.OPERATORS.items():
            theirs = _sdpa._schema(name).arguments
            ours = inspect.signature(own).parameters
            mine = [n for n, p in ours.items() if p.kind is not p.VAR_KEYWORD]
            self.assertEqual(mine, [a.name for a in theirs if a.name in mine], name)
            left = {a.name for a in theirs} - set(mine)
            self.assertLessEqual(left, {*_sdpa.NOT_TAKEN, "compute_auxiliary"}, name)
            for a in theirs:
                if a.name in mine:
                    self.assertEqual(a.kwarg_only, ours[a.name].kind is inspect.Parameter.KEYWORD_ONLY, a.name)

    def test_registered(self):
        """Named, and no more, until the user activates it; then aten's operators on CUDA are ours."""
        ours.register()
        self.assertIn("attnc", torch.nn.attention.list_flash_attention_impls())
        self.assertIsNone(torch.nn.attention.current_flash_attention_impl())
        torch.nn.attention.activate_flash_attention_impl("attnc")
        self.addCleanup(torch.nn.attention.restore_flash_attention_impl)
        self.assertEqual(torch.nn.attention.current_flash_attention_impl(), "attnc")

    def test_forward_and_backward(self):
        q, k, v = (x.clone().requires_grad_() for x in self.x)
        made = _sdpa.scaled_dot_product_flash_attention(*self.x, 0.0, True, scale=0.2)
        self.assertEqual(len(made), len(_sdpa._schema("_scaled_dot_product_flash_attention").returns))
        wanted = ours.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.2)
        self.assertLessEqual((made[0] - wanted).abs().max().item(), 2e-3)
        dout = torch.randn_like(wanted)
        grads = torch.autograd.grad(wanted, (q, k, v), dout)
        found = _sdpa.scaled_dot_product_flash_attention_backward(
            dout, *self.x, made[0], made[1], None, None, 30, 30, 0.0, True, *made[6:8], scale=0.2)
        for a, b in zip(found, grads):
            self.assertLessEqual((a - b).abs().max().item(), 1e-2)
        turned = [x.transpose(1, 2) for x in self.x]
        out, lse, *_ = _sdpa.flash_attention_forward(*turned, None, None, 30, 30, 0.0, True, False, scale=0.2)
        self.assertTrue(torch.equal(out, made[0].transpose(1, 2)) and torch.equal(lse, made[1]))
        rows = [x.flatten(0, 1) for x in turned]
        cu = torch.tensor([0, 30, 60], dtype=torch.int32)
        packed, lse, *_ = _sdpa.flash_attention_forward(*rows, cu, cu, 30, 30, 0.0, True, False, scale=0.2)
        self.assertTrue(torch.equal(packed.view(out.shape), out))
        dq, _, _ = _sdpa.flash_attention_backward(dout.transpose(1, 2).flatten(0, 1), *rows, packed, lse, cu, cu, 30, 30,
                                                  0.0, True, None, None, scale=0.2)
        self.assertLessEqual((dq.view(out.shape) - found[0].transpose(1, 2)).abs().max().item(), 1e-2)

    def test_fallback(self):
        """With torch's own keys and arguments, and a reason that can be asked for."""
        calls, name = [], "_scaled_dot_product_flash_attention"
        call = _sdpa.choosing(name, _sdpa.OPERATORS[name], lambda keys, *args, **given: calls.append((keys, args, given)))
        call("keys", *self.x, 0.5, True, scale=0.1)
        self.assertEqual((calls[0][0], calls[0][1][3:], calls[0][2]), ("keys", (0.5, True), {"scale": 0.1}))
        call("keys", *(x.float() for x in self.x))
        self.assertIn("dropout", str(ours.fallbacks()))
        self.assertIn("float32", str(ours.fallbacks()))
        self.assertEqual(len(call("keys", *self.x)), 9)
        self.assertEqual(len(calls), 2)


if __name__ == "__main__":
    common.main()
