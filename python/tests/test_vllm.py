"""attnc's backend of vLLM, on the part of its interface that fake_vllm.py has: requests in steps as a scheduler has
them, over pages that layers share, against attention's definition in float32."""
import inspect
import os
import re
import warnings

import common

torch = common.need("torch")
import fake_vllm

fake_vllm.install()
import attnc.vllm_plugin

H, HK, D, BLOCK, BLOCKS = 4, 2, 32, 16, 24
WITHIN = 4e-3


class Runner:
    """Requests with tokens of their own: which blocks they have, what was computed; two layers."""

    def __init__(self, backend, dtype=torch.float16, **options):
        self.backend, self.options, self.dtype = backend, options, dtype
        self.impls = [backend.get_impl_cls()(H, D, D ** -0.5, HK, **{"alibi_slopes": None, **options}) for _ in "ab"]
        self.caches = fake_vllm.allocate(backend, BLOCKS, BLOCK, HK, D, dtype, layers=2)
        self.builder = backend.get_builder_cls()(None, ["a", "b"], None, torch.device("cpu"))
        self.free = torch.randperm(BLOCKS).tolist()
        self.blocks, self.seen = {}, {}  # of a request; [layer]: its keys and values so far

    def _grow(self, request, tokens):
        have = self.blocks.setdefault(request, [])
        while len(have) * BLOCK < tokens:
            have.append(self.free.pop())

    def _metadata(self, step, causal=True):
        lengths = [self.length(r) + n for r, n in step]
        slots = []
        for (request, n), length in zip(step, lengths):
            self._grow(request, length)
            slots += [self.blocks[request][i // BLOCK] * BLOCK + i % BLOCK for i in range(length - n, length)]
        most = max(len(self.blocks[r]) for r, _ in step)
        table = torch.tensor([self.blocks[r] + [0] * (most - len(self.blocks[r])) for r, _ in step], dtype=torch.int32)
        offsets = torch.tensor([0, *torch.tensor([n for _, n in step]).cumsum(0).tolist()], dtype=torch.int32)
        return self.builder.build(0, fake_vllm.CommonAttentionMetadata(
            offsets, offsets, torch.tensor(lengths, dtype=torch.int32), len(step), len(slots), max(n for _, n in step),
            max(lengths) + 7, table, torch.tensor(slots), causal))

    def length(self, request):
        return len(self.seen.get((request, 0), ((), ()))[0])

    def step(self, step, causal=True, padding=3):
        """[(request, new tokens)]; yields for each layer and request q, all its keys and values, and the output."""
        metadata = self._metadata(step, causal)
        for index, (impl, cache) in enumerate(zip(self.impls, self.caches)):
            total = metadata.num_actual_tokens
            q, k, v = (torch.randn(total + padding, n, D).to(self.dtype) for n in (H, HK, HK))
            out = torch.full((total + padding, H, D), 7.0, dtype=self.dtype)
            impl.do_kv_cache_update(fake_vllm.Layer(), k, v, cache, metadata.slot_mapping)
            assert impl.forward(fake_vllm.Layer(), q, k, v, cache, metadata, output=out) is out
            assert (out[total:] == 7).all(), "rows of padding were written"
            at = 0
            for request, n in step:
                rows = slice(at, at + n)
                old = self.seen.get((request, index), (k[:0], v[:0]))
                self.seen[request, index] = tuple(torch.cat([a, b[rows]]) for a, b in zip(old, (k, v)))
                yield q[rows], *self.seen[request, index], out[rows]
                at += n


def exact(q, k, v, causal=True, window=None, softcap=0.0, slopes=None, sinks=None):
    q, k, v = q.float(), *(x.float().repeat_interleave(H // HK, 1) for x in (k, v))
    s = torch.einsum("qhd,khd->hqk", q, k) * D ** -0.5
    distance = torch.arange(len(k)) - torch.arange(len(q))[:, None] - (len(k) - len(q))
    if softcap:
        s = softcap * torch.tanh(s / softcap)
    if slopes is not None:
        s = s - torch.tensor(slopes)[:, None, None] * distance.abs()
    if causal:
        s = s.masked_fill(distance > 0, -torch.inf)
    if window:
        s = s.masked_fill(distance <= -window, -torch.inf)
    if sinks is not None:
        s = torch.cat([s, sinks[:, None, None].expand(-1, len(q), 1)], -1)
    return torch.einsum("hqk,khd->qhd", torch.softmax(s, -1)[..., :len(k)], v)


def valid(**more):
    """A configuration that attnc computes, as vLLM's selector gives it."""
    return dict(dict(head_size=D, dtype=torch.float16, kv_cache_dtype="auto", block_size=BLOCK, use_mla=False,
                     has_sink=False, use_sparse=False, use_mm_prefix=False, use_per_head_quant_scales=False,
                     device_capability=fake_vllm.DeviceCapability(9, 0), attn_type="decoder", use_non_causal=False,
                     use_batch_invariant=False, use_kv_connector=False), **more)


class Plugin(common.Case):
    def setUp(self):
        fake_vllm.overrides.clear()
        fake_vllm.layout = "NHD"
        torch.manual_seed(2)

    def backend(self):
        attnc.vllm_plugin.register()
        return fake_vllm.AttentionBackendEnum.CUSTOM.get_class()

    def test_followed(self):
        from attnc import vllm_backend
        self.assertEqual(vllm_backend.FOLLOWED, fake_vllm.FOLLOWED)

    def test_entry_point(self):
        """That of the package, called in every process, more than once."""
        places = [os.path.join(common.SOURCE, *folder, "pyproject.toml") for folder in ((), ("python",))]
        with open(next(p for p in places if os.path.exists(p)), encoding="utf-8") as f:
            module, name = re.search(
                r'^\[project.entry-points."vllm.general_plugins"\]\nattnc = "(.*):(.*)"', f.read(), re.M).groups()
        register = getattr(__import__(module, fromlist=[name]), name)
        register()
        register()
        self.assertEqual(fake_vllm.AttentionBackendEnum.CUSTOM.get_class().__name__, "AttncBackend")

    def test_another_one(self):
        fake_vllm.register_backend(fake_vllm.AttentionBackendEnum.CUSTOM, "other.Backend")
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            attnc.vllm_plugin.register()
        self.assertIn("other.Backend already", str(found[0].message))
        self.assertEqual(fake_vllm.AttentionBackendEnum.CUSTOM.get_path(), "other.Backend")

    def test_signatures(self):
        """Those of the interface: every argument, in order."""
        backend = self.backend()
        for mine, theirs in ((backend.get_impl_cls(), fake_vllm.AttentionImpl),
                             (backend.get_builder_cls(), fake_vllm.AttentionMetadataBuilder)):
            for name in ("__init__", "forward", "build"):
                if hasattr(theirs, name):
                    wanted = list(inspect.signature(getattr(theirs, name)).parameters)
                    self.assertEqual(list(inspect.signature(getattr(mine, name)).parameters)[:len(wanted)], wanted)
        self.assertIn("sinks", inspect.signature(backend.get_impl_cls()).parameters)

    def test_layout(self):
        backend = self.backend()
        self.assertEqual(backend.get_name(), "CUSTOM")
        self.assertEqual(backend.get_kv_cache_block_dim(BLOCK, HK, D), 0)
        self.assertFalse(backend.forward_includes_kv_cache_update)
        for fake_vllm.layout in ("NHD", "HND"):
            self.assertTrue(backend.indexes_kv_by_block_stride())
            for layered in (False, True):
                order = backend.get_kv_cache_stride_order(layered)
                self.assertEqual(sorted(order), list(range(5 + layered)))
            cache = fake_vllm.allocate(backend, 3, BLOCK, HK, D, torch.float16, layers=2)[1]
            self.assertEqual(cache.shape, (3, 2, BLOCK, HK, D))
            self.assertEqual(cache.stride(3) > cache.stride(2), fake_vllm.layout == "HND")

    def test_graphs(self):
        builder = self.backend().get_builder_cls()
        self.assertEqual(builder.get_cudagraph_support(None, None), fake_vllm.AttentionCGSupport.UNIFORM_BATCH)
        runner = Runner(self.backend())
        metadata = runner._metadata([("a", 3)])
        table, slots = metadata.block_table + 1, metadata.slot_mapping + 1
        other = runner.builder.update_block_table(metadata, table, slots)
        self.assertIs(other.block_table, table)
        self.assertIs(other.slot_mapping, slots)
        self.assertIs(other.seq_lens, metadata.seq_lens)

    def test_reasons(self):
        """Every reason is said, in words; none where attnc computes it."""
        validate = self.backend().validate_configuration
        for given in (valid(), valid(dtype=torch.bfloat16, kv_cache_dtype="bfloat16", has_sink=True, block_size=256),
                      valid(head_size=256, device_capability=fake_vllm.DeviceCapability(8, 0)), valid(block_size=None),
                      valid(attn_type="encoder_only", use_non_causal=True, use_kv_connector=True),
                      valid(device_capability=fake_vllm.DeviceCapability(7, 5))):
            self.assertEqual(validate(**given), [])
        for changed, said in ((dict(head_size=36), "head_size 36: a multiple of 8"),
                              (dict(head_size=512), "head_size 512"),
                              (dict(dtype=torch.float32), "float32"),
                              (dict(kv_cache_dtype="fp8"), "kv_cache_dtype fp8"),
                              (dict(kv_cache_dtype="bfloat16"), "does not convert"),
                              (dict(use_mla=True), "use_mla"), (dict(use_sparse=True), "use_sparse"),
                              (dict(use_mm_prefix=True), "use_mm_prefix"),
                              (dict(use_per_head_quant_scales=True), "quantised"),
                              (dict(use_batch_invariant=True), "use_batch_invariant"),
                              (dict(attn_type="other"), "attention type other"),
                              (dict(use_what_is_new=True), "use_what_is_new=True is not known"),
                              (dict(dtype=torch.bfloat16, device_capability=fake_vllm.DeviceCapability(7, 5)), "sm_75"),
                              (dict(device_capability=fake_vllm.DeviceCapability(7, 0)), "sm_70")):
            found = validate(**valid(**changed))
            self.assertEqual(len(found), 1, (changed, found))
            self.assertIn(said, found[0])
        self.assertEqual(len(validate(**valid(head_size=36, use_mla=True, dtype=torch.float32))), 3)

    def check(self, steps, options=None, **definition):
        runner, rows = Runner(self.backend(), **(options or {})), 0
        for step in steps:
            for q, k, v, out in runner.step(step):
                self.assertLessEqual((out.float() - exact(q, k, v, **definition)).abs().max().item(), WITHIN, step)
                rows += len(out)
        return rows

    STEPS = [[("a", 21)], [("a", 1), ("b", 37)], [("a", 1), ("b", 1)], [("a", 1), ("b", 1), ("c", 5)],
             [("c", 20), ("a", 3), ("b", 3)], [("a", 1), ("b", 1), ("c", 1)]]

    def test_steps(self):
        """Prompts, parts of prompts, drafts and decodes, alone and together."""
        self.assertEqual(self.check(self.STEPS), 2 * sum(n for step in self.STEPS for _, n in step))

    def test_heads_first(self):
        fake_vllm.layout = "HND"
        self.check(self.STEPS[:4])

    def test_options(self):
        sinks = torch.randn(H)
        for options, definition in ((dict(sliding_window=9), dict(window=9)),
                                    (dict(logits_soft_cap=5.0), dict(softcap=5.0)),
                                    (dict(alibi_slopes=[0.5, 0.25, 0.1, 0.05]), dict(slopes=[0.5, 0.25, 0.1, 0.05])),
                                    (dict(sinks=sinks), dict(sinks=sinks))):
            self.check(self.STEPS[:3], options, **definition)

    def test_encoder(self):
        """Without a cache, in both directions."""
        impl = self.backend().get_impl_cls()(H, D, D ** -0.5, HK, None, None, "auto", None, "encoder_only")
        runner = Runner(self.backend())
        metadata = runner._metadata([("a", 9), ("b", 30)])
        q, k, v = (torch.randn(39, n, D).half() for n in (H, HK, HK))
        out = impl.forward(fake_vllm.Layer(), q, k, v, torch.empty(0), metadata, torch.empty(39, H * D).half())
        for at in (slice(0, 9), slice(9, 39)):
            wanted = exact(q[at], k[at], v[at], causal=False)
            self.assertLessEqual((out.view(39, H, D)[at] - wanted).abs().max().item(), WITHIN)

    def test_shared_keys(self):
        """A layer that has another one's cache writes nothing into it."""
        impl = self.backend().get_impl_cls()(H, D, D ** -0.5, HK, kv_sharing_target_layer_name="a")
        cache = torch.full((2, 2, BLOCK, HK, D), torch.nan)
        x = torch.ones(3, HK, D)
        impl.do_kv_cache_update(fake_vllm.Layer(), x, x, cache, torch.arange(3))
        self.assertTrue(cache.isnan().all())

    def test_profiling(self):
        """Without metadata: the run that finds how much memory is free."""
        impl = self.backend().get_impl_cls()(H, D, D ** -0.5, HK)
        out = torch.ones(3, H, D)
        impl.forward(fake_vllm.Layer(), None, None, None, None, None, out)
        self.assertTrue((out == 0).all())

    def test_refusals(self):
        make, runner = self.backend().get_impl_cls(), Runner(self.backend())
        self.raises(NotImplementedError, "fp8", make, H, D, 0.1, HK, kv_cache_dtype="fp8")
        self.raises(ValueError, "sinks", make, H, D, 0.1, HK, sinks=torch.ones(3))
        self.raises(NotImplementedError, "causal of each", runner._metadata, [("a", 3)], torch.ones(1, dtype=torch.bool))
        impl = make(H, D, 0.1, HK)
        self.raises(ValueError, "output is needed", impl.forward, None, None, None, None, None, None)
        self.raises(NotImplementedError, "output_scale", impl.forward, None, None, None, None, None, None, torch.ones(1),
                    torch.ones(1))
        fake_vllm.AttentionImpl.total_cp = 2
        self.addCleanup(setattr, fake_vllm.AttentionImpl, "total_cp", 1)
        self.raises(NotImplementedError, "context parallelism", make, H, D, 0.1, HK)


if __name__ == "__main__":
    common.main()
