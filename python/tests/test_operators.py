"""torch's operators of the drop-in functions: torch.library's own checks of them, graphs without a break,
shapes without values, gradients against torch's mathematics."""
import warnings

import common

torch = common.need("torch")
import attnc
from torch._dynamo.testing import CompileCounter
from torch.library import opcheck

ATTNC = torch.ops.attnc
CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")


def tensors(*shapes, seed=0, dtype=torch.float16):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(s, generator=g).to(dtype) for s in shapes]


def ints(*values):
    return torch.tensor(values, dtype=torch.int32)


def dense(seed=0, d=32, sq=24, sk=40):
    return tensors((2, sq, 4, d), (2, sk, 2, d), (2, sk, 2, d), seed=seed)


def packed(seed=0):
    q, k, v = tensors((50, 4, 32), (70, 2, 32), (70, 2, 32), seed=seed)
    return q, k, v, ints(0, 20, 50), ints(0, 33, 70), 30, 37


def pages(seed=0):
    """Queries, two pages' worth of a cache, and which pages are whose."""
    q, k, v, new, new_v = tensors((2, 1, 4, 32), (5, 16, 2, 32), (5, 16, 2, 32), (2, 1, 2, 32), (2, 1, 2, 32),
                                  seed=seed)
    return q, k, v, ints(20, 9), torch.tensor([[3, 1], [0, -1]], dtype=torch.int32), new, new_v


class Operators(common.Case):
    """What torch itself tests of an operator."""

    def check(self, operator, *args):
        opcheck(operator, args, test_utils=CHECKS)

    def test_dense(self):
        options = (0.0, None, 0.125, True, -1, -1, 0.0, False)
        self.check(ATTNC.flash_attn.default, *dense(), None, *options)
        self.check(ATTNC.flash_attn.default, *dense(d=20), torch.ones(4), 0.0, None, None, False, 5, 3, 30.0, True)

    def test_packed(self):
        self.check(ATTNC.flash_attn_varlen.default, *packed(), None, None, None, None, 0.0, None, None, True, -1, -1,
                   0.0, False)

    def test_caches(self):
        q, k, v, lengths, table, new, new_v = pages()
        options = (lengths, None, None, table, None, None, None, None, True, -1, -1, 0.0, 0, 0, None)
        self.check(ATTNC.flash_attn_kvcache.default, q, k, v, *options)
        self.check(ATTNC.flash_attn_append.default, q, k, v, *options, new, new_v, None, None, True, None, None)

    def test_combine(self):
        parts, lses = torch.randn(3, 2, 5, 4, 32), torch.randn(3, 2, 5, 4)
        self.check(ATTNC.flash_attn_combine.default, parts, lses, torch.float16)


class Compiled(common.Case):
    """Whole graphs: `fullgraph=True` refuses a break."""

    def setUp(self):
        torch._dynamo.reset()
        warnings.simplefilter("ignore")

    def same(self, function, *args, dynamic=None):
        with torch.no_grad():
            wanted = function(*args)
            got = torch.compile(function, backend="aot_eager", fullgraph=True, dynamic=dynamic)(*args)
        for a, b in zip(torch.utils._pytree.tree_leaves(got), torch.utils._pytree.tree_leaves(wanted)):
            self.assertTrue(torch.equal(a, b))

    def test_dense(self):
        self.same(lambda q, k, v: attnc.flash_attn_func(q * 2, k, v, causal=True, window_size=(7, 0)) + 1, *dense())
        self.same(lambda q, k, v: attnc.flash_attn_func(
            q, k, v, softcap=20.0, alibi_slopes=torch.ones(4), return_attn_probs=True), *dense(d=20))
        self.same(lambda x: attnc.flash_attn_qkvpacked_func(x, 0.0, 0.1), torch.stack(tensors(*[(1, 9, 2, 32)] * 3), 2))

    def test_any_sizes(self):
        """One graph for all lengths."""
        count = CompileCounter()
        f = torch.compile(lambda q, k, v: attnc.flash_attn_func(q, k, v, causal=True), backend=count, fullgraph=True,
                          dynamic=True)
        for sq, sk in ((8, 24), (16, 32), (33, 40)):
            q, k, v = dense(sq=sq, sk=sk)
            self.assertTrue(torch.equal(f(q, k, v), attnc.flash_attn_func(q, k, v, causal=True)))
        self.assertEqual(count.frame_count, 1)

    def test_packed(self):
        self.same(lambda *args: attnc.flash_attn_varlen_func(*args, causal=True, return_attn_probs=True), *packed())
        x = torch.stack(tensors(*[(50, 2, 32)] * 3), 1)
        self.same(lambda x, at: attnc.flash_attn_varlen_qkvpacked_func(x, at, 30), x, ints(0, 20, 50))

    def test_cache(self):
        """What is written into a cache is seen behind the call, in the graph and outside."""
        def step(q, k, v, lengths, table, new, new_v):
            return attnc.flash_attn_with_kvcache(q, k, v, new * 2, new_v, cache_seqlens=lengths, block_table=table,
                                                 causal=True) + k[3, :1, :1].sum()

        def both(function):
            args = pages()
            with torch.no_grad():
                return function(*args), args[1], args[2]

        for a, b in zip(both(step), both(torch.compile(step, backend="aot_eager", fullgraph=True))):
            self.assertTrue(torch.equal(a, b))
        self.same(lambda q, k, v, at, table: attnc.flash_attn_with_kvcache(
            q, k, v, cache_seqlens=at, block_table=table, return_softmax_lse=True), *pages()[:5])
        q, k, v = dense(sq=1)
        self.same(lambda q, k, v: attnc.flash_attn_with_kvcache(q, k, v, cache_seqlens=17), q, k, v)

    def test_combine(self):
        self.same(lambda o, lse: attnc.flash_attn_combine(o * 2, lse, out_dtype=torch.bfloat16),
                  torch.randn(3, 2, 5, 4, 32), torch.randn(3, 2, 5, 4))

    def test_exported(self):
        class Module(torch.nn.Module):
            def forward(self, q, k, v):
                return attnc.flash_attn_func(q, k, v, causal=True)

        q, k, v = dense()
        program = torch.export.export(Module(), (q, k, v))
        self.assertIn("torch.ops.attnc.flash_attn.default", program.graph_module.code)
        self.assertTrue(torch.equal(program.module()(q, k, v), attnc.flash_attn_func(q, k, v, causal=True)))


def examples():
    """Arguments of every operator that there is."""
    dropped = torch.tensor([7, 0], dtype=torch.int64)
    options, lengths = (None, 0.0, None, 0.125, True, -1, -1, 0.0, False), (None, None, None)
    q, k, v = dense()
    out, lse = ATTNC.flash_attn(q, k, v, *options)
    p, pk, pv, at_q, at_k, sq, sk = packed()
    packed_out, packed_lse = ATTNC.flash_attn_varlen(p, pk, pv, at_q, at_k, sq, sk, *lengths, *options)
    cq, ck, cv, used, table, new, new_v = pages()
    cache = (used, None, None, table, None, None, None, None, True, -1, -1, 0.0, 0, 0, None)
    text = "attnc: 1\nname: t\ndtype: fp16\ncausal: true\nsink: fp32\n"
    call = ("sink", [torch.ones(4)], "softmax_scale", [0.2], 0, 0)
    with_sink, sink_lse = ATTNC.attention(text, q, k, v, *call)
    return {
        "flash_attn": (q, k, v, *options),
        "flash_attn_bwd": (torch.ones_like(out), None, q, k, v, out, lse, *options),
        "flash_attn_varlen": (p, pk, pv, at_q, at_k, sq, sk, *lengths, *options),
        "flash_attn_varlen_bwd": (torch.ones_like(packed_out), None, p, pk, pv, packed_out, packed_lse, at_q, at_k, sq, sk,
                                  *lengths, *options),
        "flash_attn_kvcache": (cq, ck, cv, *cache),
        "flash_attn_append": (cq, ck, cv, *cache, new, new_v, None, None, True, None, None),
        "flash_attn_combine": (torch.randn(3, 2, 5, 4, 32), torch.randn(3, 2, 5, 4), torch.float16),
        "attention": (text, q, k, v, *call),
        "attention_bwd": (torch.ones_like(with_sink), None, q, k, v, with_sink, sink_lse, text, *call, "sink", False),
        "random_state": (q, 64),
        "dropout_mask": (dropped, q, 2, 24, 40, 0.2),
    }


class Every(common.Case):
    """Of the operators that are registered, one by one."""

    RANDOM = ("random_state",)  # of which no two calls are the same

    def names(self):
        import attnc.torch  # noqa: F401  which defines them
        return {n[7:].partition(".")[0] for n in torch._C._dispatch_get_all_op_names() if n.startswith("attnc::")}

    def test_examples(self):
        self.assertEqual(self.names(), examples().keys())

    def test_opcheck(self):
        for name, args in examples().items():
            with self.subTest(name):
                checks = [c for c in CHECKS if name not in self.RANDOM or c != "test_aot_dispatch_dynamic"]
                opcheck(getattr(ATTNC, name).default, args, test_utils=checks)

    def test_whole_graphs(self):
        for name, args in examples().items():
            with self.subTest(name):
                torch._dynamo.reset()
                operator = getattr(ATTNC, name)
                run = torch.compile(lambda *args: operator(*args), backend="aot_eager", fullgraph=True)
                with torch.no_grad():
                    wanted, got = operator(*args), run(*args)
                for a, b in zip(torch.utils._pytree.tree_leaves(got), torch.utils._pytree.tree_leaves(wanted)):
                    self.assertEqual((a.shape, a.dtype), (b.shape, b.dtype))
                    self.assertTrue(name in self.RANDOM or torch.equal(a, b))

    def test_vmap(self):
        """Refused by name, each."""
        for name, args in examples().items():
            with self.subTest(name):
                first = next(i for i, x in enumerate(args) if isinstance(x, torch.Tensor))
                operator = getattr(ATTNC, name)
                with self.assertRaisesRegex(NotImplementedError, f"vmap of {name} is not supported"):
                    torch.vmap(lambda x: operator(*args[:first], x, *args[first + 1:]))(args[first][None])


class WithoutValues(common.Case):
    def test_shapes(self):
        from torch._subclasses import FakeTensorMode
        with FakeTensorMode() as mode:
            q, k, v = (mode.from_tensor(x) for x in dense())
            out, lse, _ = attnc.flash_attn_func(q, k, v, return_attn_probs=True)
            self.assertEqual((out.shape, lse.shape, lse.dtype), (q.shape, (2, 4, 24), torch.float32))
        out = attnc.flash_attn_func(*(x.to("meta") for x in dense()))
        self.assertEqual((out.shape, out.device.type), ((2, 24, 4, 32), "meta"))

    def test_vmap(self):
        q, k, v = (x[:, None] for x in dense())
        with self.assertRaisesRegex(NotImplementedError, "vmap of flash_attn is not supported"):
            torch.vmap(attnc.flash_attn_func)(q, k, v)


if __name__ == "__main__":
    common.main()
