"""transformers' models, tiny and random, with attn_implementation="attnc" beside "eager": logits within the
contract, tokens of a greedy generation with a static cache.  Nothing is downloaded."""
import os
import re

import common

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
torch = common.need("torch")
transformers = common.need("transformers")
import attnc._walks
import attnc.huggingface

TINY = dict(vocab_size=96, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            pad_token_id=0, bos_token_id=1, eos_token_id=2, max_position_embeddings=128)
GROUPED = dict(TINY, num_key_value_heads=2, head_dim=16)

# name: (class, its configuration, kind of inputs)
MODELS = {
    "bert": ("BertModel", TINY, "padded"),
    "gpt2": ("GPT2LMHeadModel", dict(vocab_size=96, n_embd=64, n_layer=2, n_head=4, n_positions=128, bos_token_id=1,
                                     eos_token_id=2, pad_token_id=0), "padded"),
    "llama": ("LlamaForCausalLM", GROUPED, "padded"),
    "mistral": ("MistralForCausalLM", dict(GROUPED, sliding_window=8), "padded"),
    "gemma2": ("Gemma2ForCausalLM", dict(GROUPED, sliding_window=8, query_pre_attn_scalar=16), "padded"),
    "gemma3": ("Gemma3ForCausalLM", dict(GROUPED, sliding_window=8, query_pre_attn_scalar=16,
                                         layer_types=["sliding_attention", "full_attention"]), "padded"),
    "gpt_oss": ("GptOssForCausalLM", dict(GROUPED, sliding_window=8, num_local_experts=4, num_experts_per_tok=2,
                                          layer_types=["sliding_attention", "full_attention"]), "padded"),
    "qwen3": ("Qwen3ForCausalLM", GROUPED, "padded"),
    "llama4": ("Llama4ForCausalLM", dict(GROUPED, attention_chunk_size=8, intermediate_size_mlp=96, num_local_experts=2,
                                         num_experts_per_tok=1, layer_types=["chunked_attention", "full_attention"],
                                         no_rope_layers=[1, 0]), "padded"),
    "t5": ("T5ForConditionalGeneration", dict(vocab_size=96, d_model=64, d_kv=16, d_ff=96, num_layers=2, num_heads=4,
                                              pad_token_id=0, decoder_start_token_id=0), "pair"),
    "whisper": ("WhisperForConditionalGeneration", dict(
        vocab_size=96, d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=96, decoder_ffn_dim=96, num_mel_bins=8, max_source_positions=20,
        max_target_positions=64, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1), "sound"),
    "vit": ("ViTModel", dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
                             image_size=32, patch_size=8), "image"),
}
GENERATE = [n for n in MODELS if n not in ("bert", "vit", "whisper", "t5")]


def inputs(kind):
    g = torch.Generator().manual_seed(3)
    tokens = torch.randint(3, 96, (2, 21), generator=g)
    if kind == "padded":
        seen = torch.ones_like(tokens)
        seen[1, :6] = 0  # on the left, as generation has it
        return dict(input_ids=tokens, attention_mask=seen)
    if kind == "pair":
        seen = torch.ones_like(tokens)
        seen[0, 15:] = 0
        return dict(input_ids=tokens, attention_mask=seen, decoder_input_ids=tokens[:, :9])
    if kind == "sound":
        return dict(input_features=torch.randn(2, 8, 40, generator=g), decoder_input_ids=tokens[:, :9])
    return dict(pixel_values=torch.randn(2, 3, 32, 32, generator=g))


def output(made):
    return made.logits if "logits" in made else made.last_hidden_state


class Models(common.Case):
    @classmethod
    def setUpClass(cls):
        attnc.huggingface.register()
        transformers.logging.set_verbosity_error()

    def model(self, name):
        kind, fields, _ = MODELS[name]
        of = getattr(transformers, kind)
        torch.manual_seed(11)
        model = of(of.config_class(**fields)).eval()
        with torch.no_grad():
            for p in model.parameters():  # scores that matter: those of a fresh model are near 0
                if p.dim() > 1:
                    p.mul_(4)
        return model

    def run_as(self, model, implementation, given):
        model.set_attn_implementation(implementation)
        self.assertEqual(model.config._attn_implementation, implementation)
        kept = model.dtype
        with torch.no_grad():
            return output(model(**{n: x.to(kept) if x.is_floating_point() else x for n, x in given.items()})).double()

    def check(self, name, dtype=torch.float16):
        """At most twice eager's error, both against eager in float32 with the same parameters.  (In float64 eager
        has NaN where a row sees nothing, and gpt-oss's experts are not computed.)"""
        model, given = self.model(name), inputs(MODELS[name][2])
        calls = []
        forward = attnc.huggingface.attention_forward

        def counted(*args, **kw):
            calls.append(1)
            return forward(*args, **kw)

        transformers.AttentionInterface.register("attnc", counted)
        self.addCleanup(transformers.AttentionInterface.register, "attnc", forward)
        wanted = self.run_as(model.to(dtype).float(), "eager", given)
        model.to(dtype)
        plain, ours = self.run_as(model, "eager", given), self.run_as(model, "attnc", given)
        self.assertGreaterEqual(len(calls), 2, "the model does not dispatch")
        rows = given.get("attention_mask") if "decoder_input_ids" not in given else None
        rows = torch.ones(wanted.shape[:2]) if rows is None else rows
        error, theirs = ((x - wanted)[rows.bool()].abs().max().item() for x in (ours, plain))
        bound = 2 * theirs + 1e-3 * wanted[rows.bool()].abs().max().item()
        print(f"{name}: {error:.2e}, eager {theirs:.2e}")
        self.assertLessEqual(error, bound)

    def check_gradients(self, name):
        """Of all parameters: at most twice as far from eager's in float32 as eager's own in 16 bits."""
        model, given, found = self.model(name).to(torch.bfloat16).float(), inputs(MODELS[name][2]), {}
        with torch.no_grad():
            rows = torch.ones(output(model(**given)).shape[:2])
        if "decoder_input_ids" not in given:
            rows = given.get("attention_mask", rows)
        for what, dtype in (("right", torch.float32), ("eager", torch.bfloat16), ("attnc", torch.bfloat16)):
            model.to(dtype).set_attn_implementation("eager" if what == "right" else what)
            model.zero_grad()
            made = output(model(**{n: x.to(dtype) if x.is_floating_point() else x for n, x in given.items()})).float()
            (made[rows.bool()].tanh().sum(-1)).mean().backward()
            found[what] = {n: p.grad.double() for n, p in model.named_parameters() if p.grad is not None}
        self.assertEqual(found["right"].keys(), found["attnc"].keys())
        largest = max(x.norm().item() for x in found["right"].values())
        for n, right in found["right"].items():
            error, theirs = ((found[x][n] - right).norm().item() for x in ("attnc", "eager"))
            # That of a bias of keys is 0, since softmax does not see it: what both have of it is rounding.
            unseen = 1e-4 * largest if right.norm().item() < 1e-4 * largest else 0
            self.assertLessEqual(error, 2 * theirs + 2e-2 * right.norm().item() + unseen, n)

    def check_generation(self, name, dtype=torch.float32):
        """The same tokens, with a static cache, after a prompt that is padded."""
        model, given = self.model(name).to(dtype), inputs("padded")
        found = []
        for implementation in ("eager", "attnc"):
            model.set_attn_implementation(implementation)
            found.append(model.generate(**given, max_new_tokens=5, do_sample=False, cache_implementation="static",
                                        disable_compile=True))
        self.assertEqual(found[0].tolist(), found[1].tolist())

    def check_generation_16(self, name, dtype):
        """The same tokens up to the first at which eager's two best logits are nearer than the contract allows."""
        model, given = self.model(name).to(dtype).float(), inputs("padded")
        generate = dict(max_new_tokens=5, do_sample=False, cache_implementation="static", disable_compile=True)
        model.to(dtype).set_attn_implementation("eager")
        wanted = model.generate(**given, **generate)
        seen = torch.nn.functional.pad(given["attention_mask"], (0, wanted.shape[1] - given["input_ids"].shape[1]), value=1)
        plain = self.run_as(model, "eager", dict(input_ids=wanted, attention_mask=seen))
        model.set_attn_implementation("attnc")
        found = model.generate(**given, **generate)
        right = self.run_as(model.float(), "eager", dict(input_ids=wanted, attention_mask=seen))
        compared = 0
        for row, (a, b) in enumerate(zip(wanted.tolist(), found.tolist())):
            for at in range(given["input_ids"].shape[1], len(a)):
                logits, exact = plain[row, at - 1], right[row, at - 1]
                bound = 2 * (logits - exact).abs().max() + 1e-3 * exact.abs().max()
                best = logits.topk(2).values
                if a[at] == 2 or best[0] - best[1] <= 2 * bound:  # ended, or either may be chosen
                    break
                self.assertEqual(a[at], b[at], f"row {row}, token {at}: {best.tolist()} apart by more than {bound}")
                compared += 1
        print(f"{name} {dtype}: {compared} tokens compared")
        self.assertGreater(compared, 0)

    def test_refusals(self):
        module, q = torch.nn.Module(), torch.randn(1, 2, 3, 16).half()
        forward = attnc.huggingface.attention_forward
        self.raises(NotImplementedError, "output_attentions", forward, module, q, q, q, None, output_attentions=True)
        self.raises(NotImplementedError, "relative_keys is not known", forward, module, q, q, q, None, relative_keys=q)

    def test_mask_is_kept(self):
        """What the mask hides has no part: other values there give the same bits."""
        model, given = self.model("llama").to(torch.float16), inputs("padded")
        other = dict(given, input_ids=torch.where(given["attention_mask"] == 0, 5, given["input_ids"]))
        a, b = (self.run_as(model, "attnc", x)[1, 6:] for x in (given, other))
        self.assertTrue(torch.equal(a, b))


class Walks(common.Case):
    """What masks are made from is found, and is never narrower than they are."""

    def mask(self, function, sq, sk, offset=0, padding=None):
        return attnc.huggingface.attention_mask(2, sq, sk, q_offset=offset, mask_function=function,
                                                attention_mask=padding, allow_is_causal_skip=False)

    def test_rules(self):
        from transformers import masking_utils as m
        zero, padding = torch.zeros(2, dtype=torch.long), torch.ones(2, 40, dtype=torch.bool)
        padding[1, :6] = False
        functions = {
            "causal": (m.causal_mask_function, dict(causal=True, window=(-1, -1), chunk=0)),
            "sliding": (m.sliding_window_causal_mask_function(8), dict(causal=True, window=(7, -1), chunk=0)),
            "both sides": (m.sliding_window_bidirectional_mask_function(8), dict(causal=False, window=(8, 8), chunk=0)),
            "chunked": (m.chunked_causal_mask_function(8, zero), dict(causal=True, window=(7, -1), chunk=8)),
        }
        q, k, v = (torch.randn(2, 2, 40, 16) for _ in "qkv")
        for name, (function, wanted) in functions.items():
            for sq, offset in ((40, 0), (9, 31), (9, 12), (1, torch.tensor(12))):
                for padded in (None, padding):
                    mask = self.mask(function, sq, 40, offset, padded)
                    walk = mask._attnc_walk
                    found = {n: getattr(walk, n) for n in wanted}
                    self.assertEqual(found, {**wanted, "chunk": 0} if padded is not None else wanted, name)
                    self.assertEqual(walk.whole, padded is None)
                    fields = attnc._walks.fields_of(walk, sq, 40, 2, q.device)
                    if fields is None:
                        self.assertEqual((name, sq), ("both sides", sq) if sq != 40 else None)
                        continue
                    alone, _ = attnc.torch.attention(q[:, :, :sq], k, v, **fields)
                    both, _ = attnc.torch.attention(q[:, :, :sq], k, v, attn_mask=mask, **fields)
                    bits, _ = attnc.torch.attention(q[:, :, :sq], k, v, attn_mask=mask)
                    self.assertLessEqual((both - bits).abs().max().item(), 1e-5, (name, sq, offset))
                    if padded is None:
                        self.assertLessEqual((alone - bits).abs().max().item(), 1e-5, (name, sq, offset))

    def test_others(self):
        """What is no intersection of known rules is bits alone, or not all there is."""
        from transformers import masking_utils as m
        image = m.blockwise_overlay(torch.zeros(2, 40, dtype=torch.long))
        self.assertIsNone(self.mask(m.or_masks(m.causal_mask_function, image), 40, 40)._attnc_walk)
        walk = self.mask(m.and_masks(image, m.causal_mask_function), 40, 40)._attnc_walk
        self.assertEqual((walk.causal, walk.whole), (True, False))
        moved = m.remap_positions_for_packed_sequence(m.causal_mask_function, torch.zeros(2, 40, dtype=torch.long))
        self.assertIsNone(self.mask(moved, 40, 40)._attnc_walk)

    def test_one_query_of_a_static_cache(self):
        """Slots behind it are hidden though no mask of padding says so."""
        mask = attnc.huggingface.attention_mask(2, 1, 40, q_offset=12)
        self.assertEqual(mask[0, 0, 0].tolist(), [j <= 12 for j in range(40)])
        self.assertIsNone(attnc.huggingface.attention_mask(2, 1, 40, q_offset=39))

    def test_tiles_are_skipped(self):
        """Keys and values that no row of a block sees are not read: of NaN there, nothing comes of it."""
        from transformers import masking_utils as m
        zero, s = torch.zeros(1, dtype=torch.long), 256
        padding = torch.ones(1, s, dtype=torch.bool)
        padding[:, :3] = False
        q, k, v = (torch.randn(1, 2, s, 16).half() for _ in "qkv")
        k[:, :, :32], v[:, :, :32] = torch.nan, torch.nan
        for function in (m.sliding_window_causal_mask_function(8), m.chunked_causal_mask_function(16, zero),
                         m.sliding_window_bidirectional_mask_function(8)):
            mask = attnc.huggingface.attention_mask(1, s, s, mask_function=function, attention_mask=padding)
            out, _ = attnc.huggingface.attention_forward(torch.nn.Module(), q, k, v, mask)
            self.assertTrue(out[:, 192:].isfinite().all())
            bits, _ = attnc.torch.attention(q, k, v, attn_mask=mask)
            self.assertFalse(bits[:, :, 192:].isfinite().all(), "bits alone hide no tile: the test shows nothing")


class Page(common.Case):
    def test_blocks(self):
        """Those of docs/torch.md, in order, in one program."""
        with open(os.path.join(common.SOURCE, "docs", "torch.md"), encoding="utf-8") as f:
            blocks = re.findall(r"^```python\n(.*?)^```", f.read(), re.S | re.M)
        self.assertGreaterEqual(len(blocks), 2)
        world = {}
        for i, block in enumerate(blocks):
            exec(compile(block, f"torch.md block {i}", "exec"), world)


for _name in MODELS:
    setattr(Models, f"test_{_name}", lambda self, name=_name: self.check(name))
    setattr(Models, f"test_{_name}_bf16", lambda self, name=_name: self.check(name, torch.bfloat16))
    setattr(Models, f"test_gradients_{_name}", lambda self, name=_name: self.check_gradients(name))
for _name in GENERATE:
    setattr(Models, f"test_generate_{_name}", lambda self, name=_name: self.check_generation(name))
    for _dtype in (torch.float16, torch.bfloat16):
        setattr(Models, f"test_generate_{_name}_{'fp16' if _dtype == torch.float16 else 'bf16'}",
                lambda self, name=_name, dtype=_dtype: self.check_generation_16(name, dtype))

if __name__ == "__main__":
    common.main()
