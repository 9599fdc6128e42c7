"""torch's other forms of attention: nested tensors, varlen_attn, autocast; the same kernel on every rank; nothing that
waits for a GPU."""
import inspect
import json
import os
import subprocess
import sys

import common

torch = common.need("torch")
from torch.nn.attention import varlen as theirs
from torch.nn.functional import scaled_dot_product_attention as torchs

import attnc.torch as ours
from attnc import _ragged

H, HK, D = 4, 2, 32
LENGTHS = (5, 40, 17)
WITHIN = 4e-3


def nested(lengths, heads, seed, dtype=torch.float16, grad=False):
    """(jagged [b, h, s, d], its parts [s, h, d])"""
    g = torch.Generator().manual_seed(seed)
    parts = [torch.randn(n, heads, D, generator=g).to(dtype) for n in lengths]
    made = torch.nested.nested_tensor(parts, layout=torch.jagged, requires_grad=grad)
    return made, parts


def exact(q, k, v, causal=False):
    """Of parts [s, h, d], in float32, as torch has it."""
    q, k, v = (x.float().transpose(0, 1)[None] for x in (q, k, v))
    return torchs(q, k, v, is_causal=causal, enable_gqa=True)[0].transpose(0, 1)


class Nested(common.Case):
    def check(self, q_lengths, k_lengths, heads, causal=False, **options):
        (q, qs), (k, ks), (v, vs) = nested(q_lengths, heads[0], 1), nested(k_lengths, heads[1], 2), nested(k_lengths, heads[1], 3)
        if q_lengths == k_lengths:  # the same lengths are one axis
            k, v = (torch.nested.nested_tensor_from_jagged(torch.cat(x), q.offsets()) for x in (ks, vs))
        else:
            v = torch.nested.nested_tensor_from_jagged(torch.cat(vs), k.offsets())
        out = ours.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)), is_causal=causal, enable_gqa=True)
        self.assertEqual(out.shape, q.transpose(1, 2).shape)
        for found, *parts in zip(out.transpose(1, 2).unbind(), qs, ks, vs):
            self.assertLessEqual((found - exact(*parts, causal)).abs().max().item(), WITHIN)

    def test_forward(self):
        self.check(LENGTHS, LENGTHS, (H, H))
        self.check(LENGTHS, LENGTHS, (H, HK), True)
        self.check(LENGTHS, (9, 33, 21), (H, HK))
        self.check(LENGTHS, (9, 33, 21), (H, H), True)

    def test_gradients(self):
        found = []
        for function in (ours.scaled_dot_product_attention, None):
            x = [nested(LENGTHS, H, seed, grad=True)[0] for seed in (1, 2, 3)]
            k, v = (torch.nested.nested_tensor_from_jagged(y.values(), x[0].offsets()) for y in x[1:])
            if function:
                out = function(*(y.transpose(1, 2) for y in (x[0], k, v)), is_causal=True)
                out.transpose(1, 2).values().float().square().sum().backward()
            else:
                sum(exact(*p, True).square().sum() for p in zip(*(y.unbind() for y in x))).backward()
            found.append([y.grad.values().float() for y in x])
        for a, b in zip(*found):
            self.assertLessEqual((a - b).abs().max().item(), 3e-2)

    def test_views_with_holes(self):
        """Rows of a padded tensor that count, as narrow makes them."""
        x = torch.randn(3, 40, H, D).half()
        start, length = torch.tensor([0, 3, 20]), torch.tensor([7, 30, 20])
        q = torch.nested.narrow(x, 1, start, length, layout=torch.jagged)
        out = ours.scaled_dot_product_attention(*[q.transpose(1, 2)] * 3)
        for b in range(3):
            part = x[b, start[b]:start[b] + length[b]]
            row = out.transpose(1, 2).values()[q.offsets()[b]:q.offsets()[b] + length[b]]
            self.assertLessEqual((row - exact(part, part, part)).abs().max().item(), WITHIN)

    def test_refusals(self):
        q = nested(LENGTHS, H, 1)[0].transpose(1, 2)
        call = ours.scaled_dot_product_attention
        self.raises(ValueError, "nested all or none", call, q, q, torch.ones(3, H, 9, D))
        self.raises(NotImplementedError, "attn_mask of nested", call, q, q, q, torch.ones(1))
        strided = torch.nested.nested_tensor([torch.ones(H, 3, D)])
        self.raises(NotImplementedError, "layout torch.strided", call, *[strided] * 3)
        self.raises(ValueError, "seqlen is ragged", call, *[q.transpose(1, 2)] * 3)


class Varlen(common.Case):
    def setUp(self):
        torch.manual_seed(1)
        self.q, self.k, self.v = (torch.randn(62, h, D).half() for h in (H, HK, HK))
        self.at = torch.tensor([0, 5, 45, 62], dtype=torch.int32)

    def parts(self, *tensors):
        return zip(*(x.split(LENGTHS) for x in tensors))

    def test_signatures(self):
        """Those of the installed torch: names, order, defaults."""
        for name in ("varlen_attn", "varlen_attn_out"):
            mine, its = (inspect.signature(getattr(x, name)).parameters for x in (ours, theirs))
            self.assertEqual([(n, p.kind, p.default) for n, p in mine.items()], [(n, p.kind, p.default) for n, p in its.items()])

    def test_values(self):
        for window in ((-1, -1), (-1, 0), (7, 0), (3, 2)):
            out, lse = ours.varlen_attn(self.q, self.k, self.v, self.at, self.at, 40, 40, window_size=window, enable_gqa=True,
                                        return_aux=theirs.AuxRequest(lse=True))
            self.assertEqual((lse.shape, lse.dtype), ((H, 62), torch.float32))
            for found, q, k, v in self.parts(out, self.q, self.k, self.v):
                distance = torch.arange(len(k)) - torch.arange(len(q))[:, None]
                seen = torch.ones_like(distance, dtype=torch.bool)
                seen &= (distance >= -window[0]) | (window[0] < 0)
                seen &= (distance <= window[1]) | (window[1] < 0)
                wanted = torchs(*(x.float().transpose(0, 1)[None] for x in (q, k, v)), seen, enable_gqa=True)[0]
                self.assertLessEqual((found - wanted.transpose(0, 1)).abs().max().item(), WITHIN)
            into = torch.empty_like(self.q)
            again = ours.varlen_attn_out(into, self.q, self.k, self.v, self.at, self.at, 40, 40, window_size=window,
                                         enable_gqa=True)
            self.assertIs(again, into)
            self.assertTrue(torch.equal(into, out))

    def test_pages(self):
        pages = torch.randn(2, 9, 16, HK, D).half()
        table = torch.tensor([[3, 1, 0], [8, 2, 5], [4, 6, 7]], dtype=torch.int32)
        used = torch.tensor([20, 48, 17], dtype=torch.int32)
        given = (*pages, self.at, None, 40, 48)
        options = dict(window_size=(-1, 0), enable_gqa=True, seqused_k=used, block_table=table)
        out = ours.varlen_attn(self.q, *given, **options)
        self.assertTrue(torch.equal(ours.varlen_attn_out(torch.empty_like(out), self.q, *given, **options), out))
        for b, (found, q) in enumerate(self.parts(out, self.q)):
            k, v = (x[table[b]].flatten(0, 1)[:used[b]] for x in pages)
            s = torch.einsum("qhd,khd->hqk", q.float(), k.float().repeat_interleave(2, 1)) * D ** -0.5
            distance = torch.arange(len(k)) - torch.arange(len(q))[:, None] - (len(k) - len(q))
            p = s.masked_fill(distance > 0, -torch.inf).softmax(-1).nan_to_num(0)
            wanted = torch.einsum("hqk,khd->qhd", p, v.float().repeat_interleave(2, 1))
            self.assertLessEqual((found - wanted).abs().max().item(), WITHIN)

    def test_compiled(self):
        call = lambda q, k, v, at: ours.varlen_attn(q * 2, k, v, at, at, 40, 40, window_size=(-1, 0), enable_gqa=True)
        wanted = call(self.q, self.k, self.v, self.at)
        found = torch.compile(call, backend="aot_eager", fullgraph=True)(self.q, self.k, self.v, self.at)
        self.assertTrue(torch.equal(found, wanted))

    def test_refusals(self):
        call = lambda **more: ours.varlen_attn(self.q, self.k, self.v, self.at, self.at, 40, 40, **{"enable_gqa": True, **more})
        self.raises(ValueError, "enable_gqa", call, enable_gqa=False)
        self.raises(NotImplementedError, "num_splits=4", call, num_splits=4)
        self.raises(NotImplementedError, "softmax_scale", call, scale=-1.0)


class Autocast(common.Case):
    def test_dtypes(self):
        """As torch's own: of autocast's dtype, whatever the arguments'."""
        q, k, v = torch.randn(1, H, 9, D), torch.randn(1, H, 9, D).bfloat16(), torch.randn(1, H, 9, D).half()
        for dtype in (torch.bfloat16, torch.float16):
            with torch.autocast("cpu", dtype):
                out, wanted = (f(q, k, v) for f in (ours.scaled_dot_product_attention, torchs))
                self.assertEqual((out.dtype, wanted.dtype), (dtype, dtype))
                self.assertLessEqual((out.float() - wanted.float()).abs().max().item(), 2e-2)
                self.assertEqual(ours.flex_attention(q, k, v).dtype, dtype)
        self.raises(TypeError, "one dtype", ours.scaled_dot_product_attention, q, k, v)
        x, at = torch.randn(9, H, D), torch.tensor([0, 9], dtype=torch.int32)
        with torch.autocast("cpu", torch.float16):
            self.assertEqual(ours.varlen_attn(x, x, x, at, at, 9, 9).dtype, torch.float16)

    def test_training(self):
        """A layer in float32 under autocast, with a scaler of gradients, eagerly and in a graph."""
        torch.manual_seed(3)
        layer, x = torch.nn.Linear(64, 3 * 64), torch.randn(2, 20, 64)
        found = {}
        for name, attend in (("attnc", ours.scaled_dot_product_attention), ("torch", torchs)):
            def loss(x, attend=attend):
                with torch.autocast("cpu", torch.float16):
                    q, k, v = layer(x).unflatten(-1, (3, 2, 32)).permute(2, 0, 3, 1, 4).unbind()
                    return attend(q, k, v, is_causal=True).float().square().mean()

            for how in (loss, torch.compile(loss, backend="aot_eager", fullgraph=True)):
                scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
                layer.zero_grad()
                scaler.scale(how(x)).backward()
                found[name, how is loss] = layer.weight.grad / 256
        for a in found.values():
            self.assertLessEqual((a - found["torch", True]).norm() / found["torch", True].norm(), 1e-2)


class Ranks(common.Case):
    CODE = """
import sys
sys.path.insert(0, sys.argv[1])
import json, torch
torch.cuda.is_current_stream_capturing = lambda: False
import attnc, attnc.torch
keys, plan = [], attnc.Context.plan
def kept(*args, **given):
    made = plan(*args, **given)
    keys.append(made.info["ptx_sha256"])
    return made
attnc.Context.plan = kept
q, k, v = (torch.randn(1, h, 33, 32).half() for h in (4, 2, 2))
table = torch.randn(33)
attnc.torch.scaled_dot_product_attention(q, k, v, torch.ones(33, 33, dtype=torch.bool), enable_gqa=True)
attnc.torch.flex_attention(q, k, v, lambda s, b, h, i, j: s + table[j], enable_gqa=True)
attnc.flash_attn_func(*(x.transpose(1, 2) for x in (q, k, v)), softcap=3.0, alibi_slopes=torch.ones(4))
print(json.dumps(keys))
"""

    def test_same_key(self):
        """Of every process of a job, whatever its rank, its order of hashing, its devices."""
        found = []
        for rank in ("0", "3"):
            environment = {**os.environ, "RANK": rank, "LOCAL_RANK": rank, "PYTHONHASHSEED": rank, "CUDA_VISIBLE_DEVICES": rank}
            done = subprocess.run([sys.executable, "-c", self.CODE, os.path.join(common.SOURCE, "python")], env=environment,
                                  capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout))
        self.assertEqual(found[0], found[1])
        self.assertEqual(len(set(found[0])), 3)


class Waiting(common.Case):
    def test_nothing_waits(self):
        """On tensors that stand for a GPU's whose numbers nobody has: asking for one is an error."""
        from torch._subclasses import FakeTensorMode

        import attnc
        with FakeTensorMode(allow_non_fake_inputs=False):
            q, k = (torch.empty(2, n, 40, D, dtype=torch.float16, device="cuda") for n in (H, HK))
            rows = torch.empty(62, H, D, dtype=torch.float16, device="cuda")
            at = torch.empty(4, dtype=torch.int32, device="cuda")
            mask = torch.empty(2, 1, 40, 40, dtype=torch.bool, device="cuda")
            for out in (ours.scaled_dot_product_attention(q, k, k, mask, enable_gqa=True),
                        ours.attention(q, k, k, sinks=torch.empty(H, device="cuda"), seqused_k=at[:2], top_left=False,
                                       causal=True)[0],
                        attnc.flash_attn_func(*(x.transpose(1, 2) for x in (q, k, k)), causal=True).transpose(1, 2)):
                self.assertEqual((out.shape, out.device.type), (q.shape, "cuda"))
            self.assertEqual(ours.varlen_attn(rows, rows, rows, at, at, 40, 40).shape, rows.shape)
            cache = k.transpose(1, 2)
            out = attnc.flash_attn_with_kvcache(q.transpose(1, 2)[:, :1], cache, cache, cache_seqlens=at[:2])
            self.assertEqual(out.shape, (2, 1, H, D))

    def test_longest(self):
        """Of a nested tensor's sequences: as torch was told, or as offsets in memory of the host say."""
        x = torch.nested.nested_tensor_from_jagged(torch.randn(62, H, D).half(), torch.tensor([0, 5, 45, 62]))
        self.assertEqual(_ragged.Rows("x", x.transpose(1, 2)).longest, 40)
        known = torch.nested.nested_tensor_from_jagged(x.values(), x.offsets(), max_seqlen=50)
        self.assertEqual(_ragged.Rows("x", known.transpose(1, 2)).longest, 50)


if __name__ == "__main__":
    common.main()
