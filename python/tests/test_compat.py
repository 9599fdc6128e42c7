"""attnc.compat: FlashAttention's modules by name.  test_call_sites.py has the programs that call them."""
import importlib

import common

torch = common.need("torch")
import attnc
import attnc.compat


def tensors(*shapes):
    g = torch.Generator().manual_seed(1)
    return [torch.randn(s, generator=g).half() for s in shapes]


class Compat(common.Case):
    def setUp(self):
        attnc.compat.install("flash_attn")
        self.addCleanup(attnc.compat.uninstall)
        self.q, self.k, self.v = tensors((2, 24, 4, 32), (2, 40, 2, 32), (2, 40, 2, 32))

    def test_names(self):
        import flash_attn
        from flash_attn import flash_attn_func, flash_attn_varlen_func  # noqa: F401
        from flash_attn.bert_padding import pad_input, unpad_input  # noqa: F401
        from flash_attn.flash_attn_interface import flash_attn_qkvpacked_func  # noqa: F401
        self.assertEqual(flash_attn.__version__, attnc.compat.FOLLOWED)
        self.assertIs(flash_attn_func, attnc.flash_attn_func)
        self.assertTrue(hasattr(flash_attn, "flash_attn_func"))

    def test_the_rest_is_named(self):
        with self.assertRaisesRegex(ImportError, "flash_attn_unpadded_func.*; it has .*flash_attn_varlen_func"):
            from flash_attn.flash_attn_interface import flash_attn_unpadded_func  # noqa: F401
        with self.assertRaisesRegex(ImportError, "no get_scheduler_metadata for flash_attn_interface"):
            from flash_attn_interface import get_scheduler_metadata  # noqa: F401
        with self.assertRaisesRegex(ModuleNotFoundError, "attnc has no flash_attn.layers"):
            importlib.import_module("flash_attn.layers.rotary")
        attnc.compat.uninstall()
        with self.assertRaises(ModuleNotFoundError):
            importlib.import_module("flash_attn")

    def test_another_one(self):
        import sys
        import types
        attnc.compat.uninstall()
        sys.modules["flash_attn"] = types.ModuleType("flash_attn")
        self.addCleanup(sys.modules.pop, "flash_attn", None)
        self.raises(RuntimeError, "flash_attn is imported already", attnc.compat.install)

    def test_packed_forward(self):
        """num_splits, which FlashAttention has there since August 2026: 0 is none, more is refused."""
        from flash_attn.flash_attn_interface import _flash_attn_varlen_forward
        q, k, v = (x.flatten(0, 1) for x in (self.q, self.k, self.v))
        at = tuple(torch.tensor(x, dtype=torch.int32) for x in ((0, 24, 48), (0, 40, 80)))
        given = (q, k, v, *at, 24, 40, 0.0, None, True)
        out, lse, _, _ = _flash_attn_varlen_forward(*given, num_splits=0)
        wanted = attnc.flash_attn_func(self.q, self.k, self.v, causal=True)
        self.assertTrue(torch.equal(out.view(wanted.shape), wanted))
        self.assertEqual(lse.shape, (4, 48))
        self.raises(RuntimeError, "num_splits=2 is not supported", _flash_attn_varlen_forward, *given, num_splits=2)

    def test_dropout_by_state(self):
        from flash_attn.flash_attn_interface import _flash_attn_forward
        torch.manual_seed(3)
        out, _, mask, state = _flash_attn_forward(self.q, self.k, self.v, 0.2, 0.2, False, -1, -1, 0.0, None, True)
        again, _, other = attnc.flash_attn_func(self.q, self.k, self.v, 0.2, 0.2, return_attn_probs=True,
                                                rng_state=state)
        self.assertTrue(torch.equal(out, again) and torch.equal(mask, other))

    def test_three_and_four(self):
        """Other orders: softmax_scale and causal in FlashAttention 2's place of dropout_p and softmax_scale."""
        from flash_attn.cute import flash_attn_func as four
        from flash_attn_interface import flash_attn_func as three
        wanted, lse, _ = attnc.flash_attn_func(self.q, self.k, self.v, softmax_scale=0.2, causal=True,
                                               window_size=(9, 0), return_attn_probs=True)
        for found in (three(self.q, self.k, self.v, 0.2, True, window_size=(9, 0), return_attn_probs=True),
                      four(self.q, self.k, self.v, None, None, 0.2, True, (9, None), return_lse=True)):
            self.assertTrue(torch.equal(found[0], wanted) and torch.equal(found[1], lse))
        self.assertIsNone(four(self.q, self.k, self.v)[1])
        self.raises(NotImplementedError, "qv", three, self.q, self.k, self.v, qv=self.q)
        self.raises(NotImplementedError, "qv", four, self.q, self.k, self.v, self.q)
        self.raises(NotImplementedError, "mask_mod", four, self.q, self.k, self.v, mask_mod=print)


if __name__ == "__main__":
    common.main()
