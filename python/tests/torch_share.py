"""The everyday share of the tests that need torch, in one process: importing torch and its compiler takes as
long as most of them together.  Each file by itself, whole, is a slow test."""
import sys
import unittest

import common

common.need("torch")
common.need("transformers")

FILES = ("test_torch", "test_torch_varlen", "test_torch_dropout", "test_torch_functions", "test_operators",
         "test_huggingface", "test_gradients", "test_compat", "test_call_sites", "test_xformers",
         "test_vllm", "test_dnabert2", "test_ragged")
# What they leave to the slow tests: (the beginning of) names.  Grids of the functions run everyday on numpy's arrays
# (test_flash.py), by the same plans; dropout's gradients are those of test_gradients.
LEFT = ("test_torch.Host.test_grid", "test_torch_varlen.Host.test_grid", "test_torch_dropout.TorchDropout.test_gradients",
        "test_torch_dropout.TorchDropout.test_two_calls",
        "test_torch.Flex.test_as_torchs", "test_torch.Host.test_compiled", "test_operators.Operators.test_caches",
        "test_operators.Every.test_opcheck", "test_operators.Every.test_whole",
        "test_operators.Operators.test_combine", "test_operators.Compiled.test_packed",
        "test_operators.Compiled.test_combine", "test_operators.Compiled.test_exported",
        "test_gradients.Gradients.test_dense", "test_gradients.Gradients.test_scores",
        "test_gradients.Gradients.test_flex", "test_gradients.Gradients.test_operators",
        "test_gradients.Gradients.test_packed_in", "test_gradients.Gradients.test_compiled",
        "test_xformers.XFormers.test_dense", "test_xformers.XFormers.test_gradients",
        "test_gradients.Transformer.test_it_learns", "test_huggingface.Walks.test_rules",
        *(f"test_call_sites.Megatron.test_{site}" for site in ("decode", "flash", "audio", "version_4")),
        *(f"test_vllm.Plugin.test_{what}" for what in ("steps", "options", "heads_first", "encoder", "reasons")),
        *(f"test_ragged.{test}" for test in ("Nested.test_forward", "Nested.test_gradients", "Varlen.test_values",
                                             "Varlen.test_comp",
                                             "Varlen.test_pages", "Autocast.test_training", "Ranks", "Waiting.test_nothing")),
        "test_dnabert2.Service", "test_dnabert2.Attention.test_functions",
        "test_huggingface.Models.test_generate", "test_huggingface.Models.test_gradients",
        "test_gradients.Gradients.test_bias_and_sinks",
        *(f"test_huggingface.Models.test_{model}" for model in (
            "bert", "gpt2", "llama", "mistral", "gemma3", "qwen3", "whisper", "vit", "gemma2_bf16", "t5_bf16",
            "gpt_oss")))


def tests(suite):
    for x in suite:
        yield from tests(x) if isinstance(x, unittest.TestSuite) else [x]


def main():
    found = list(tests(unittest.defaultTestLoader.loadTestsFromNames(FILES)))
    unused = [name for name in LEFT if not any(t.id().startswith(name) for t in found)]
    assert not unused, f"no test has the name {unused}"
    share = unittest.TestSuite(t for t in found if not t.id().startswith(LEFT))
    sys.exit(not unittest.TextTestRunner().run(share).wasSuccessful())


if __name__ == "__main__":
    main()
