"""Who is measured: attnc and its peers, each made ready for one case on the same tensors.

`ready[NAME](case, t)` gives a call without arguments that launches on torch's current stream
and returns the output as [b, s, h, d]; Skip says why a subject is not in a case.  What does not
work on this GPU or with this torch raises, and is skipped with that reason.
"""
import math

from kit.results import Skip

import cases

DTYPES = {"fp16": "float16", "bf16": "bfloat16"}
DEVICE = "cuda"
TOLERANCE = {"fp16": 2e-3, "bf16": 1.6e-2}  # ‖o − reference‖ / ‖reference‖


class Tensors:
    """q, k, v: random normal, [b, s, h, d], on the device."""

    def __init__(self, torch, case, seed=1):
        self.torch = torch
        make = torch.Generator(device=DEVICE).manual_seed(seed)
        dtype = getattr(torch, DTYPES[case["dtype"]])
        q_shape = (case["b"], case["sq"], case["h"], case["d"])
        k_shape = (case["b"], case["sk"], case["hk"], case["d"])
        self.q, self.k, self.v = (
            torch.randn(shape, generator=make, device=DEVICE, dtype=dtype)
            for shape in (q_shape, k_shape, k_shape))


def heads_first(*tensors):
    """[b, h, s, d] views, as torch's functions want them; nothing is copied."""
    return [x.transpose(1, 2) for x in tensors]


class Attnc:
    """Plans by case; one context."""

    def __init__(self, context):
        self.context = context

    def plan(self, case):
        return self.context.plan(cases.spec(case), cases.shape(case))

    def __call__(self, case, t):
        return launching(self.plan(case), t)


def launching(plan, t):
    """A call of a plan of attnc's, with an output of its own."""
    o = t.torch.full_like(t.q, float("nan"))
    launch = plan.prepare(t.q, t.k, t.v, o)
    if launch.workspace_bytes:
        scratch = t.torch.zeros(launch.workspace_bytes, dtype=t.torch.uint8, device=DEVICE)
        launch.use_workspace(scratch.data_ptr(), launch.workspace_bytes)
    stream = t.torch.cuda.current_stream().cuda_stream

    def call():
        launch.relaunch(stream)
        return o
    call.keep = (launch, t)
    call.plan = plan
    return call


def sdpa(backend):
    def make(case, t):
        from torch.nn.attention import SDPBackend, sdpa_kernel
        from torch.nn.functional import scaled_dot_product_attention
        if case.get("window"):
            raise Skip("scaled_dot_product_attention has no window but as a dense mask")
        q, k, v = heads_first(t.q, t.k, t.v)
        chosen, grouped = getattr(SDPBackend, backend), case["h"] != case["hk"]

        def bare():
            return scaled_dot_product_attention(q, k, v, is_causal=case["causal"],
                                                enable_gqa=grouped)

        def call():
            with sdpa_kernel(chosen):
                return bare().transpose(1, 2)
        call.bare, call.around = bare, lambda: sdpa_kernel(chosen)
        return call
    return make


def flash_attn(module):
    """FlashAttention's own package: version 2 as flash_attn, 3 as flash_attn_interface."""
    def make(case, t):
        try:
            function = __import__(module).flash_attn_func
        except ImportError as e:
            raise Skip(f"{module} is not installed ({e})") from None
        window = tuple(case.get("window", (-1, -1)))

        def call():
            o = function(t.q, t.k, t.v, causal=case["causal"], window_size=window)
            return o[0] if isinstance(o, tuple) else o
        return call
    return make


def mask_mod(case, torch):
    """FlexAttention's mask function of a case; None where nothing is hidden."""
    shift = case["sk"] - case["sq"]
    left, right = case.get("window", (-1, -1))
    if case["causal"]:
        right = 0 if right < 0 else min(right, 0)
    if left < 0 and right < 0:
        return None

    def visible(b, h, q_idx, kv_idx):
        seen = kv_idx == kv_idx
        if right >= 0:
            seen = seen & (kv_idx <= q_idx + shift + right)
        if left >= 0:
            seen = seen & (kv_idx >= q_idx + shift - left)
        return seen
    return visible


def block_mask(case, t):
    from torch.nn.attention.flex_attention import create_block_mask
    visible = mask_mod(case, t.torch)
    return visible and create_block_mask(visible, None, None, case["sq"], case["sk"],
                                         device=t.q.device)


def flex(case, t):
    from torch.nn.attention.flex_attention import flex_attention
    t.torch._dynamo.reset()  # each case is compiled for its own sizes, however many there are
    compiled = t.torch.compile(flex_attention, dynamic=False)
    q, k, v = heads_first(t.q, t.k, t.v)
    mask, grouped = block_mask(case, t), case["h"] != case["hk"]

    def call():
        return compiled(q, k, v, block_mask=mask, enable_gqa=grouped).transpose(1, 2)
    return call


class Triton:
    """Our Triton kernel with the fastest configuration of the case's head_dim and mask, found
    once at the first length that asks: `tried` and `seconds` are of the last search."""

    def __init__(self, quick, time_of):
        self.quick, self.time_of, self.found = quick, time_of, {}

    def __call__(self, case, t):
        try:
            import triton_fwd
        except ImportError as e:
            raise Skip(f"triton is not installed ({e})") from None
        if case["d"] & case["d"] - 1:
            raise Skip("our Triton kernel takes powers of two as head_dim")
        o = t.torch.empty_like(t.q)

        def make(config):
            return triton_fwd.prepare(t.q, t.k, t.v, o, case["causal"], case.get("window"),
                                      config)
        key = (case["dtype"], case["d"], case["causal"], bool(case.get("window")))
        if key not in self.found:
            self.found[key], self.tried, self.seconds = triton_fwd.sweep(
                make, self.time_of, triton_fwd.configs(case["d"], self.quick))
        call = make(self.found[key])
        call.config = self.found[key]
        return call


def subjects(context, quick, time_of):
    """{name: maker}, attnc first."""
    return {"attnc": Attnc(context), "sdpa_flash": sdpa("FLASH_ATTENTION"),
            "sdpa_cudnn": sdpa("CUDNN_ATTENTION"), "flash_attn": flash_attn("flash_attn"),
            "flash_attn_3": flash_attn("flash_attn_interface"), "flex": flex,
            "triton": Triton(quick, time_of)}


# ---- is it right? ----

def reference(case, t, b, h, rows):
    """Rows of one head in fp32."""
    torch = t.torch
    group = case["h"] // case["hk"]
    q = t.q[b, rows, h].float()
    k, v = t.k[b, :, h // group].float(), t.v[b, :, h // group].float()
    scores = q @ k.T / math.sqrt(case["d"])
    visible = mask_mod(case, torch)
    if visible:
        kv_idx = torch.arange(case["sk"], device=q.device)
        scores = scores.masked_fill(~visible(b, h, rows[:, None], kv_idx[None, :]), -math.inf)
    return torch.softmax(scores, -1) @ v


def error(case, t, o):
    """The largest relative error of the first and the last head, over up to 512 rows of
    each: evenly spread ones, with the first and the last."""
    torch = t.torch
    n = min(case["sq"], 512)
    rows = torch.linspace(0, case["sq"] - 1, n, device=t.q.device).round().long()
    worst = 0.0
    for b, h in {(0, 0), (case["b"] - 1, case["h"] - 1)}:
        wanted = reference(case, t, b, h, rows)
        off = (o[b, rows, h].float() - wanted).norm() / wanted.norm()
        worst = max(worst, float(off) if bool(torch.isfinite(off)) else math.inf)
    return worst
