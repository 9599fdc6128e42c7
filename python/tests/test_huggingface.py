"""transformers' models, tiny and random, with attn_implementation="attnc" beside "eager": logits within the
contract, tokens of a greedy generation with a static cache.  Nothing is downloaded."""
import os
import re

import common

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
torch = common.need("torch")
transformers = common.need("transformers")
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
        labels = given.get("decoder_input_ids", given.get("input_ids"))
        rows = torch.ones_like(labels) if "decoder_input_ids" in given else given["attention_mask"]
        for what, dtype in (("right", torch.float32), ("eager", torch.bfloat16), ("attnc", torch.bfloat16)):
            model.to(dtype).set_attn_implementation("eager" if what == "right" else what)
            model.zero_grad()
            made = output(model(**given)).float()
            (made[rows.bool()].tanh().sum(-1)).mean().backward()
            found[what] = {n: p.grad.double() for n, p in model.named_parameters() if p.grad is not None}
        self.assertEqual(found["right"].keys(), found["attnc"].keys())
        largest = max(x.norm().item() for x in found["right"].values())
        for n, right in found["right"].items():
            error, theirs = ((found[x][n] - right).norm().item() for x in ("attnc", "eager"))
            # That of a bias of keys is 0, since softmax does not see it: what both have of it is rounding.
            unseen = 1e-4 * largest if right.norm().item() < 1e-4 * largest else 0
            self.assertLessEqual(error, 2 * theirs + 2e-2 * right.norm().item() + unseen, n)

    def test_gradients(self):
        for name in ("llama", "gemma2", "bert"):
            with self.subTest(name):
                self.check_gradients(name)

    def test_gradients_of_biases(self):
        """T5's table of relative positions, gpt-oss's sinks."""
        for name in ("t5", "gpt_oss"):
            with self.subTest(name):
                self.check_gradients(name)

    def check_generation(self, name, dtype=torch.float32):
        """The same tokens, with a static cache, after a prompt that is padded."""
        model, given = self.model(name).to(dtype), inputs("padded")
        found = []
        for implementation in ("eager", "attnc"):
            model.set_attn_implementation(implementation)
            found.append(model.generate(**given, max_new_tokens=5, do_sample=False, cache_implementation="static",
                                        disable_compile=True))
        self.assertEqual(found[0].tolist(), found[1].tolist())

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
for _name in GENERATE:
    setattr(Models, f"test_generate_{_name}", lambda self, name=_name: self.check_generation(name))

if __name__ == "__main__":
    common.main()
