"""attnc laid out as a kernel of the Hub (scripts/hub-kernel), loaded as `kernels` loads one: from its path, under a name
of its own, where no other attnc can be imported; and by transformers, with a `kernels` that gives it without a network."""
import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile

import common

torch = common.need("torch")
common.need("transformers")
import attnc

LIBRARIES = os.path.dirname(os.path.realpath(attnc._lib.library()._name))
LOADED = """
import importlib.util, sys, torch
torch.cuda.is_current_stream_capturing = lambda: False
def load(folder, name):
    spec = importlib.util.spec_from_file_location(name, folder + "/__init__.py")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
kernel = load(sys.argv[1], "attnc_0123abcd")
assert "attnc" not in sys.modules
q = torch.randn(40, 4, 32).half().requires_grad_()
at = torch.tensor([0, 12, 40], dtype=torch.int32)
def exact(q):
    s = torch.einsum("qhd,khd->hqk", q, q) * 32 ** -0.5
    s = s.masked_fill(torch.ones(len(q), len(q)).triu(1).bool(), -torch.inf)
    return torch.einsum("hqk,khd->qhd", s.softmax(-1), q)
"""
FUNCTIONS = LOADED + """
out = kernel.flash_attn_varlen_func(q, q, q, at, at, 28, 28, causal=True)
wanted = torch.cat([exact(x) for x in q.detach().float().split((12, 28))])
assert (out - wanted).abs().max() < 4e-3
out.float().sum().backward()
assert q.grad.abs().max() > 0
assert kernel._lib.library()._name.startswith(sys.argv[1]), kernel._lib.library()
older = load(sys.argv[1] + "/attnc", "older")
assert older.flash_attn_varlen_func.__name__ == "flash_attn_varlen_func"
"""
MODEL = LOADED + """
import transformers.integrations.hub_kernels as h
import transformers.modeling_flash_attention_utils as u
h.is_kernels_available = lambda: True
h.get_kernel = lambda *a, **given: kernel
h.load_and_register_attn_kernel("attnc/attnc")
from transformers import LlamaConfig, LlamaForCausalLM
config = LlamaConfig(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                     num_key_value_heads=2, vocab_size=50)
torch.manual_seed(0)
model = LlamaForCausalLM(config).half().eval()
ids = torch.arange(3, 24)[None]
with torch.no_grad():
    wanted = model.float()(input_ids=ids).logits
    model.half()
    model.config._attn_implementation = "attnc/attnc"
    u.lazy_import_flash_attention("attnc/attnc")
    found = model(input_ids=ids).logits
assert u._loaded_implementation == "attnc/attnc"
assert u._flash_fn.__module__.startswith("attnc_0123abcd"), u._flash_fn
assert (found - wanted).abs().max() < 5e-3, (found - wanted).abs().max()
"""


class Hub(common.Case):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="attnc-hub-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.script = os.path.join(common.SOURCE, "scripts", "hub-kernel")
        done = subprocess.run([sys.executable, cls.script, cls.folder.name, LIBRARIES], capture_output=True, text=True,
                              check=True)
        cls.variant = done.stdout.strip()

    def test_layout(self):
        """As kernel-requirements of huggingface/kernels has it, August 2026."""
        self.assertEqual(os.path.relpath(self.variant, self.folder.name), "build/torch-cuda")
        with open(os.path.join(self.variant, "metadata.json"), encoding="utf-8") as f:
            metadata = json.load(f)
        self.assertLessEqual({"id", "name", "version", "license", "backend", "digest"}, metadata.keys())
        self.assertEqual((metadata["id"], metadata["backend"]["type"]), ("attnc", "cuda"))
        there = {os.path.relpath(os.path.join(root, n), self.variant)
                 for root, _, names in os.walk(self.variant) for n in names}
        files = metadata["digest"]["files"]
        self.assertEqual(there - {"metadata.json"}, files.keys())
        for name, wanted in files.items():
            with open(os.path.join(self.variant, name), "rb") as f:
                self.assertEqual(base64.b64encode(hashlib.sha256(f.read()).digest()).decode(), wanted)
        for name in ("__init__.py", "attnc/__init__.py", "lib/libattnc.so.0"):
            self.assertIn(name, files)

    def test_imports_are_relative(self):
        """Of the package itself nothing is imported by its name, but in a program's own text."""
        for name in os.listdir(self.variant):
            if name.endswith(".py") and name != "overhead.py":  # a program, `python -m attnc.overhead`
                with open(os.path.join(self.variant, name), encoding="utf-8") as f:
                    text = re.sub(r'\"\"\".*?\"\"\"', "", f.read(), flags=re.S)
                self.assertNotRegex(text, r"(?m)^\s*(import attnc|from attnc)\b", name)

    def run_code(self, code):
        environment = {n: x for n, x in os.environ.items() if n not in ("ATTNC_LIBRARY", "PYTHONPATH")}
        done = subprocess.run([sys.executable, "-c", code, self.variant], cwd=self.folder.name, env=environment,
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])

    def test_functions(self):
        self.run_code(FUNCTIONS)

    def test_transformers(self):
        """A model by `attn_implementation="attnc/attnc"`: the functions as transformers wraps them."""
        self.run_code(MODEL)

    def test_refusals(self):
        for arguments, said in (((self.folder.name, LIBRARIES), "there already"),
                                ((os.path.join(self.folder.name, "x"), self.folder.name), "has no libattnc.so.0"),
                                ((), "hub-kernel")):
            done = subprocess.run([sys.executable, self.script, *arguments], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(said, done.stderr)


if __name__ == "__main__":
    common.main()
