"""The same attention forward as flash_fwd.cu for Triton: bf16, head_dim 128, causal, tiles of
128 x 64, 8 warps, 2 stages; any lengths, heads and strides; a masked and an unmasked body.

    python triton_fwd.py ARCH [FILE]

Compiles it ahead of time for sm_ARCH, no GPU needed, once for every line of its input and with
nothing taken from Triton's cache; answers each with a line of JSON: ms, the milliseconds of
each stage (front, ttir, ttgir, llir, ptx, cubin: the last is ptxas).
The first line is its own: version, load_ms (of the package).  At the end the PTX is left in
FILE.
"""
import json
import os
import sys
import tempfile
import time

started = time.perf_counter()
os.environ["TRITON_ALWAYS_COMPILE"] = "1"
folder = tempfile.TemporaryDirectory(prefix="attnc-triton-")
os.environ["TRITON_CACHE_DIR"] = folder.name

import triton  # noqa: E402  (its cache is read from the environment when it is imported)
import triton.language as tl  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

load_ms = 1e3 * (time.perf_counter() - started)


@triton.jit
def walk(acc, total, top, q, k, v, stride_k, stride_v, lo, hi, rows, sk, shift, scale,
         BN: tl.constexpr, D: tl.constexpr, MASKED: tl.constexpr):
    """Keys lo … hi for one block of queries."""
    cols = tl.arange(0, BN)
    dims = tl.arange(0, D)
    for start in range(lo, hi, BN):
        at = start + cols
        if MASKED:
            kt = tl.load(k + at[None, :] * stride_k + dims[:, None], mask=at[None, :] < sk,
                         other=0.0)
        else:
            kt = tl.load(k + at[None, :] * stride_k + dims[:, None])
        s = tl.dot(q, kt)
        if MASKED:
            seen = (at[None, :] <= rows[:, None] + shift) & (at[None, :] < sk)
            s = tl.where(seen, s, float("-inf"))
        new = tl.maximum(top, tl.max(s, 1))
        base = tl.where(new == float("-inf"), 0.0, new * scale)
        p = tl.math.exp2(s * scale - base[:, None])
        keep = tl.math.exp2(top * scale - base)
        total = total * keep + tl.sum(p, 1)
        acc = acc * keep[:, None]
        if MASKED:
            vt = tl.load(v + at[:, None] * stride_v + dims[None, :], mask=at[:, None] < sk,
                         other=0.0)
        else:
            vt = tl.load(v + at[:, None] * stride_v + dims[None, :])
        acc = tl.dot(p.to(tl.bfloat16), vt, acc)
        top = new
    return acc, total, top


@triton.jit
def flash_fwd(q, k, v, o, q_b, q_h, q_s, k_b, k_h, k_s, v_b, v_h, v_s, o_b, o_h, o_s, h, hk, sq,
              sk, softmax_scale, BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr):
    head, batch = tl.program_id(1), tl.program_id(2)
    first, shift = tl.program_id(0) * BM, sk - sq
    head_k = head // (h // hk)
    rows, dims = first + tl.arange(0, BM), tl.arange(0, D)
    k += batch * k_b + head_k * k_h
    v += batch * v_b + head_k * v_h
    tile = tl.load(q + batch * q_b + head * q_h + rows[:, None] * q_s + dims[None, :],
                   mask=rows[:, None] < sq, other=0.0)
    scale = softmax_scale * 1.4426950408889634
    acc = tl.zeros([BM, D], tl.float32)
    total = tl.zeros([BM], tl.float32)
    top = tl.full([BM], float("-inf"), tl.float32)
    seen = tl.maximum(tl.minimum(sk, first + BM + shift), 0)
    whole = tl.maximum(tl.minimum(sk, first + 1 + shift), 0) // BN * BN
    acc, total, top = walk(acc, total, top, tile, k, v, k_s, v_s, 0, whole, rows, sk, shift,
                           scale, BN, D, False)
    acc, total, top = walk(acc, total, top, tile, k, v, k_s, v_s, whole, seen, rows, sk, shift,
                           scale, BN, D, True)
    acc = tl.where(total[:, None] > 0, acc / total[:, None], 0.0)
    tl.store(o + batch * o_b + head * o_h + rows[:, None] * o_s + dims[None, :],
             acc.to(tl.bfloat16), mask=rows[:, None] < sq)


def source():
    """Pointers and strides are multiples of 16 bytes, as attnc asks of them."""
    signature, divisible = {}, {}
    for i, name in enumerate(flash_fwd.arg_names):
        pointer, stride = name in "qkvo", name[1:2] == "_"
        signature[name] = ("*bf16" if pointer else "i64" if stride else
                           "fp32" if name == "softmax_scale" else
                           "constexpr" if name in ("BM", "BN", "D") else "i32")
        if pointer or stride:
            divisible[i,] = [["tt.divisibility", 16]]
    return ASTSource(fn=flash_fwd, signature=signature, attrs=divisible,
                     constexprs={"BM": 128, "BN": 64, "D": 128})


stages = {}


def listen(*, src, metadata, metadata_group, times, cache_hit):
    assert not cache_hit
    stages.update({name: us / 1e3 for name, us in times.lowering_stages},
                  front=times.ir_initialization / 1e3)


def compile_once(arch):
    stages.clear()
    start = time.perf_counter()
    kernel = triton.compile(source(), target=GPUTarget("cuda", arch, 32),
                            options={"num_warps": 8, "num_stages": 2})
    return 1e3 * (time.perf_counter() - start), kernel


def say(**values):
    print(json.dumps(values), flush=True)


def main(arch, ptx=None):
    triton.knobs.compilation.listener = listen
    say(version=triton.__version__, load_ms=load_ms)
    for _ in sys.stdin:
        ms, kernel = compile_once(arch)
        say(ms=ms, stages=stages)
    if ptx:
        with open(ptx, "w", encoding="utf-8") as f:
            f.write(kernel.asm["ptx"])


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(int(sys.argv[1]), *sys.argv[2:])
