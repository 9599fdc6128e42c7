"""The places where Megatron-LM and DeepSpeed call FlashAttention, on attnc.compat.install("flash_attn").

Each test has the names, order, keywords and shapes of one of them, and says which file of which commit it follows;
nothing of theirs is needed.  What comes out is compared with the definition of attention in float32.
"""
import importlib
import inspect

import common

torch = common.need("torch")
import attnc.compat

MEGATRON = "NVIDIA/Megatron-LM d98e8a64, 2026-08-22"
DEEPSPEED = "deepspeedai/DeepSpeed edaa7221, 2026-08-22"
H, HK, D = 4, 2, 32
WITHIN = 4e-3


def exact(q, k, v, causal=False, window=(-1, -1), scale=None, sink=None):
    """Of [s, h, d], aligned at the last query and key."""
    q, k, v = q.float(), *(x.float().repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    s = torch.einsum("qhd,khd->hqk", q, k) * (q.shape[-1] ** -0.5 if scale is None else scale)
    distance = torch.arange(k.shape[0]) - torch.arange(q.shape[0])[:, None] - (k.shape[0] - q.shape[0])
    hidden = (distance > 0) & causal
    if window[0] >= 0:
        hidden |= distance < -window[0]
    if window[1] >= 0:
        hidden |= distance > window[1]
    s = s.masked_fill(hidden, -torch.inf)
    if sink is not None:
        s = torch.cat([s, sink[:, None, None].expand(-1, s.shape[1], 1)], -1)
    p = torch.softmax(s, -1)[..., :k.shape[0]]
    return torch.einsum("hqk,khd->qhd", p, v)


def sink_of(out, lse, sink, heads_last):
    """Megatron's correction: a weight of its own by the LSE."""
    return out.float() * torch.sigmoid(heads_last(lse)[..., None].float() - sink[:, None])


class Sites(common.Case):
    def setUp(self):
        attnc.compat.install("flash_attn")
        self.addCleanup(attnc.compat.uninstall)
        torch.manual_seed(4)

    def near(self, found, wanted):
        self.assertEqual(found.shape, wanted.shape)
        self.assertLessEqual((found.float() - wanted).abs().max().item(), WITHIN)

    def made(self, *shape):
        return torch.randn(shape).half()


class Megatron(Sites):
    __doc__ = f"{MEGATRON}: megatron/core/transformer/attention.py."

    def test_imports(self):
        """The versions that it finds: 2, and neither 3, under its names, nor 4, which it knows by a distribution."""
        import flash_attn
        from flash_attn import flash_attn_varlen_func, flash_attn_with_kvcache  # noqa: F401
        self.assertGreaterEqual(tuple(int(n) for n in flash_attn.__version__.split(".")), (2, 7, 3))
        for name in ("flash_attn_3.flash_attn_interface", "flashattn_hopper.flash_attn_interface", "flash_mla",
                     "flash_attn.layers.rotary"):
            with self.assertRaises(ImportError):
                importlib.import_module(name)
        from flash_attn.cute import flash_attn_varlen_func as four  # noqa: F401
        with self.assertRaises(importlib.metadata.PackageNotFoundError):
            importlib.metadata.version("flash-attn-4")

    def pages(self):
        """Keys of two requests, 45 and 20, in pages of 16, and which are whose."""
        k, v = self.made(7, 16, HK, D), self.made(7, 16, HK, D)
        table = torch.tensor([[4, 0, 6], [1, 5, 2]], dtype=torch.int32)
        rows = [tuple(x[table[b]].flatten(0, 1)[:n] for x in (k, v)) for b, n in enumerate((45, 20))]
        return k, v, table, rows

    def test_prefill_over_pages(self):
        """flash_decode_and_prefill, not is_decode_only, of version 2."""
        from flash_attn import flash_attn_varlen_func
        k, v, table, rows = self.pages()
        q, sink = self.made(12 + 20, H, D), torch.randn(H)
        cu_q, cu_k = (torch.tensor(x, dtype=torch.int32) for x in ((0, 12, 32), (0, 45, 65)))
        for window in ((-1, -1), (9, 0)):
            common_ = dict(softmax_scale=D ** -0.5, causal=True, window_size=window, block_table=table)
            out = flash_attn_varlen_func(q, k, v, cu_q, cu_k, 20, 45, return_attn_probs=False, **common_)
            with_lse, lse, _ = flash_attn_varlen_func(q, k, v, cu_q, cu_k, 20, 45, return_attn_probs=True, **common_)
            self.assertTrue(torch.equal(out, with_lse))
            corrected = sink_of(out, lse, sink, lambda x: x.T)
            for at, (keys, values) in zip((slice(0, 12), slice(12, 32)), rows):
                self.near(out[at], exact(q[at], keys, values, True, window))
                self.near(corrected[at], exact(q[at], keys, values, True, window, sink=sink))

    def test_decode_over_pages(self):
        """The same function, is_decode_only: by keyword, num_splits 0."""
        from flash_attn import flash_attn_with_kvcache
        k, v, table, rows = self.pages()
        q, sink = self.made(2, 1, H, D), torch.randn(H)
        given = {"q": q, "k_cache": k, "v_cache": v, "cache_seqlens": torch.tensor([45, 20], dtype=torch.int32),
                 "softmax_scale": D ** -0.5, "causal": True, "window_size": (-1, -1), "block_table": table,
                 "num_splits": 0}
        inspect.signature(flash_attn_with_kvcache).bind(**given)
        out = flash_attn_with_kvcache(**given)
        out, lse = flash_attn_with_kvcache(**given, return_softmax_lse=True)
        corrected = sink_of(out, lse, sink, lambda x: x.permute(0, 2, 1))
        for b, (keys, values) in enumerate(rows):
            self.near(out[b], exact(q[b], keys, values))
            self.near(corrected[b], exact(q[b], keys, values, sink=sink))

    def test_flash_decoding(self):
        """flash_decode: [s, b, h, d] turned, a new key each, rotary embedding in the call, an offset of all."""
        from flash_attn import flash_attn_with_kvcache
        q, k, v = (self.made(1, 2, n, D) for n in (H, HK, HK))
        k_memory, v_memory = self.made(40, 2, HK, D), self.made(40, 2, HK, D)
        angle = torch.arange(40)[:, None] * 0.9 ** torch.arange(D // 2)
        cos, sin = angle.cos().half(), angle.sin().half()
        given = dict(q=q.permute(1, 0, 2, 3), k_cache=k_memory.permute(1, 0, 2, 3),
                     v_cache=v_memory.permute(1, 0, 2, 3), k=k.permute(1, 0, 2, 3), v=v.permute(1, 0, 2, 3),
                     rotary_cos=cos, rotary_sin=sin, cache_seqlens=17, rotary_interleaved=False)
        out, lse = flash_attn_with_kvcache(**given, return_softmax_lse=True)
        self.assertEqual(lse.shape, (2, H, 1))

        def turned(x):
            a, b = x.float().chunk(2, -1)
            c, s = cos[17].float(), sin[17].float()
            return torch.cat([a * c - b * s, b * c + a * s], -1)

        self.assertTrue(torch.equal(v_memory[17], v[0]))
        self.near(k_memory[17], turned(k[0]))
        for b in range(2):
            self.near(out[b], exact(turned(q[:, b]), k_memory[:18, b], v_memory[:18, b]))

    def test_audio(self):
        """megatron/core/models/audio/nemo_transformer_encoder.py."""
        from flash_attn import flash_attn_func
        q, k, v = (self.made(1, 33, H, D) for _ in "qkv")
        self.near(flash_attn_func(q, k, v, dropout_p=0, causal=False, window_size=(5, 5))[0],
                  exact(q[0], k[0], v[0], window=(5, 5)))

    def test_version_4(self):
        """What it would call where a distribution flash-attn-4 is there: pages and lengths by keyword."""
        from flash_attn.cute import flash_attn_varlen_func
        k, v, table, rows = self.pages()
        q = self.made(32, H, D)
        out, lse = flash_attn_varlen_func(
            q, k, v, cu_seqlens_q=torch.tensor([0, 12, 32], dtype=torch.int32), max_seqlen_q=20, max_seqlen_k=45,
            seqused_k=torch.tensor([45, 20], dtype=torch.int32), page_table=table, softmax_scale=D ** -0.5,
            causal=True, window_size=(-1, -1), num_splits=0)
        self.assertIsNone(lse)
        for at, (keys, values) in zip((slice(0, 12), slice(12, 32)), rows):
            self.near(out[at], exact(q[at], keys, values, True))


class DeepSpeed(Sites):
    __doc__ = f"{DEEPSPEED}: deepspeed/sequence/fpdt_layer.py, of flash_attn 2.7.0 and up."

    def test_chunks(self):
        """Attention of a sequence in chunks: parts merged by their LSEs, gradients of parts by the whole's LSE."""
        from flash_attn.flash_attn_interface import _flash_attn_backward, _flash_attn_forward
        q, k, v = (self.made(2, 48, n, D) for n in (H, HK, HK))
        dout, scale, n = self.made(2, 48, H, D), D ** -0.5, 16
        pieces = [slice(i, i + n) for i in range(0, 48, n)]
        outs, lses = [], []
        for i, at in enumerate(pieces):
            out = lse = None
            for j, keys in enumerate(pieces[:i + 1]):
                part, part_lse, _, _ = _flash_attn_forward(
                    q[:, at], k[:, keys], v[:, keys], 0.0, scale, causal=i == j, window_size_left=-1,
                    window_size_right=-1, softcap=0.0, alibi_slopes=None, return_softmax=False)
                part_lse = part_lse.transpose(-2, -1).unsqueeze(-1)
                if out is None:
                    out, lse = part.float(), part_lse
                    continue
                new = lse + torch.log1p(torch.exp(part_lse - lse))
                out, lse = torch.exp(lse - new) * out + torch.exp(part_lse - new) * part.float(), new
            outs.append(out.half())
            lses.append(lse.squeeze(-1).transpose(1, 2).contiguous())
        grads = [torch.zeros(x.shape) for x in (q, k, v)]
        for i, at in enumerate(pieces):
            for j, keys in enumerate(pieces[:i + 1]):
                made = [torch.zeros_like(x[:, s]) for x, s in ((q, at), (k, keys), (v, keys))]
                _flash_attn_backward(dout[:, at], q[:, at], k[:, keys], v[:, keys], outs[i], lses[i], *made, 0.0, scale,
                                     i == j, -1, -1, 0.0, None, False, rng_state=None)
                for whole, x, s in zip(grads, made, (at, keys, keys)):
                    whole[:, s] += x.float()
        leaves = [x.float().requires_grad_() for x in (q, k, v)]
        wanted = torch.stack([exact(*(x[b] for x in leaves), causal=True) for b in range(2)])
        self.near(torch.cat(outs, 1), wanted)
        wanted.backward(dout.float())
        for found, leaf in zip(grads, leaves):
            self.assertLessEqual((found - leaf.grad).abs().max().item(), 2e-2)

    def test_ragged(self):
        """tests/unit/inference/v2/kernels/ragged_ops/test_blocked_flash.py, whose scale is 1."""
        from flash_attn.flash_attn_interface import flash_attn_varlen_func
        q, k, v = self.made(25, H, D), self.made(60, HK, D), self.made(60, HK, D)
        cu_q, cu_k = (torch.tensor(x, dtype=torch.int32) for x in ((0, 1, 25), (0, 20, 60)))
        out = flash_attn_varlen_func(q, k, v, cu_q, cu_k, 24, 40, softmax_scale=1.0, causal=True)
        for a, b in ((slice(0, 1), slice(0, 20)), (slice(1, 25), slice(20, 60))):
            self.near(out[a], exact(q[a], k[b], v[b], True, scale=1.0))


if __name__ == "__main__":
    common.main()
