"""Attention forward for Triton: the algorithm of its tutorial, blocks of queries that walk over
blocks of keys with a running maximum, written anew: any lengths, grouped heads, strides, causal
and window aligned bottom-right.  Keys that no query of a block may see are not visited; only the
blocks that the mask cuts pay for it.
"""
import math
import time

import triton
import triton.language as tl

# By the largest head_dim they are for: block_m, block_n, stages, warps, the likeliest first.
# What a GPU has no room for fails to launch and is left out.
CONFIGS = {
    128: [(128, 64, 3, 8), (128, 128, 2, 8), (128, 64, 3, 4), (64, 64, 3, 4), (128, 128, 3, 8),
          (128, 32, 4, 4), (64, 128, 3, 4), (64, 32, 4, 4), (128, 32, 3, 8), (64, 64, 2, 4)],
    256: [(128, 64, 2, 8), (64, 64, 2, 4), (128, 32, 3, 8), (64, 32, 3, 4), (64, 32, 2, 4),
          (128, 32, 2, 8), (128, 64, 1, 8)]}
QUICK = 4  # configurations that a quick run tries


def configs(d, quick=False):
    found = CONFIGS[min(n for n in CONFIGS if n >= d)]
    return found[:QUICK] if quick else found


@triton.jit
def blocks(acc, total, top, q, k, v, k_s, v_s, low, high, rows, sk, scale, left, right,
           BN: tl.constexpr, D: tl.constexpr, CUT: tl.constexpr, WINDOW: tl.constexpr):
    """Keys low … high, a multiple of BN apart; CUT: some of them are hidden."""
    dims = tl.arange(0, D)
    for start in range(low, high, BN):
        keys = start + tl.arange(0, BN)
        if CUT:
            kt = tl.load(k + keys[None, :] * k_s + dims[:, None], mask=keys[None, :] < sk,
                         other=0.0)
        else:
            kt = tl.load(k + keys[None, :] * k_s + dims[:, None])
        s = tl.dot(q, kt)
        if CUT:
            seen = (keys[None, :] < sk) & (keys[None, :] <= rows[:, None] + right)
            if WINDOW:
                seen = seen & (keys[None, :] >= rows[:, None] - left)
            s = tl.where(seen, s, float("-inf"))
        new = tl.maximum(top, tl.max(s, 1))
        base = tl.where(new == float("-inf"), 0.0, new)
        p = tl.exp2((s - base[:, None]) * scale)
        keep = tl.exp2((top - base) * scale)
        if CUT:
            vt = tl.load(v + keys[:, None] * v_s + dims[None, :], mask=keys[:, None] < sk,
                         other=0.0)
        else:
            vt = tl.load(v + keys[:, None] * v_s + dims[None, :])
        acc = tl.dot(p.to(vt.dtype), vt, acc * keep[:, None])
        total = total * keep + tl.sum(p, 1)
        top = new
    return acc, total, top


@triton.jit
def attention(q, k, v, o, q_b, q_h, q_s, k_b, k_h, k_s, v_b, v_h, v_s, o_b, o_h, o_s,
              h, group, sq, sk, scale, left, right,
              BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr, CAUSAL: tl.constexpr,
              WINDOW: tl.constexpr):
    """One block of BM queries of one head.  scale: softmax scale × log2(e).  left, right: how
    far before and after its own position a query sees (right is large without a mask)."""
    n_blocks = tl.cdiv(sq, BM)
    at = tl.program_id(0)
    if CAUSAL:
        at = n_blocks - 1 - at  # the longest first
    batch, head = (tl.program_id(1) // h).to(tl.int64), (tl.program_id(1) % h).to(tl.int64)
    rows, dims = at * BM + tl.arange(0, BM), tl.arange(0, D)
    k += batch * k_b + head // group * k_h
    v += batch * v_b + head // group * v_h
    tile = tl.load(q + batch * q_b + head * q_h + rows[:, None] * q_s + dims[None, :],
                   mask=rows[:, None] < sq, other=0.0)
    shift = sk - sq
    place = rows + shift
    acc = tl.zeros([BM, D], tl.float32)
    total = tl.zeros([BM], tl.float32)
    top = tl.full([BM], float("-inf"), tl.float32)

    first, last = at * BM + shift, at * BM + BM - 1 + shift
    begin, end = 0, sk
    whole_begin, whole_end = 0, sk // BN * BN
    if CAUSAL:
        end = tl.maximum(tl.minimum(sk, last + right + 1), 0)
        whole_end = tl.maximum(tl.minimum(sk, first + right + 1), 0) // BN * BN
    if WINDOW:
        begin = tl.maximum(first - left, 0) // BN * BN
        whole_begin = tl.cdiv(tl.maximum(last - left, 0), BN) * BN
    whole_begin = tl.minimum(tl.maximum(whole_begin, begin), tl.cdiv(end, BN) * BN)
    whole_end = tl.maximum(whole_end, whole_begin)
    if WINDOW:
        acc, total, top = blocks(acc, total, top, tile, k, v, k_s, v_s, begin,
                                 tl.minimum(whole_begin, end), place, sk, scale, left, right,
                                 BN, D, True, WINDOW)
    acc, total, top = blocks(acc, total, top, tile, k, v, k_s, v_s, whole_begin, whole_end,
                             place, sk, scale, left, right, BN, D, False, WINDOW)
    acc, total, top = blocks(acc, total, top, tile, k, v, k_s, v_s, whole_end, end, place, sk,
                             scale, left, right, BN, D, True, WINDOW)
    acc = tl.where(total[:, None] > 0, acc / total[:, None], 0.0)
    tl.store(o + batch * o_b + head * o_h + rows[:, None] * o_s + dims[None, :],
             acc.to(o.dtype.element_ty), mask=rows[:, None] < sq)


def prepare(q, k, v, o, causal, window=None, config=CONFIGS[128][0]):
    """A call without arguments that launches on torch tensors [b, s, h, d].  head_dim must be
    a power of two, the last stride one."""
    (b, sq, h, d), (sk, hk) = q.shape, k.shape[1:3]
    left, right = window or (-1, -1)
    ends = causal or right >= 0
    right = 0 if causal else right if right >= 0 else sq + sk
    block_m, block_n, stages, warps = config
    strides = [x.stride(axis) for x in (q, k, v, o) for axis in (0, 2, 1)]
    scale = math.log2(math.e) / math.sqrt(d)
    grid = (triton.cdiv(sq, block_m), b * h)

    def call():
        attention[grid](q, k, v, o, *strides, h, h // hk, sq, sk, scale, max(left, 0), right,
                        BM=block_m, BN=block_n, D=d, CAUSAL=ends, WINDOW=left >= 0,
                        num_stages=stages, num_warps=warps)
        return o
    return call


def sweep(make, time_of, configs):
    """(fastest config, {config: seconds a launch, or the reason why none}, seconds spent).
    make: config to a call; time_of: a call to seconds."""
    start, found = time.perf_counter(), {}
    for config in configs:
        try:
            found[config] = time_of(make(config))
        except Exception as e:  # does not fit this GPU: Triton has several classes for it
            found[config] = f"{type(e).__name__}: {e}"
    good = {c: t for c, t in found.items() if not isinstance(t, str)}
    if not good:
        raise RuntimeError(f"no configuration runs: {found}")
    return min(good, key=good.get), found, time.perf_counter() - start
