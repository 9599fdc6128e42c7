"""mask_mod and score_mod in kernels: each template against the fp64 reference, with the hazards
that others met.

    mods.py ATTNC [--shard I/N]

Passed: exit 0 of `attnc run --verify`: no finding of the emulator, every row within its bound."""
import os
import subprocess
import sys
import tempfile

DOC = "doc: {dtype: i32, axes: [b, kv]}"
# name: (fields, shape)
CASES = {
    "prefix": ('mask_mod: "kv_idx <= q_idx || kv_idx < 21"', "b1 h2/1 sq70 sk90"),
    "chunks": ('mask_mod: "q_idx // 24 == kv_idx // 24"', "b1 h2/1 sq70 sk90"),
    "dilated": ('mask_mod: "(q_idx - kv_idx) % 3 == 0 && abs(q_idx - kv_idx) < 40"',
                "b1 h2/1 sq70 sk90"),
    "rows and elements": ('causal: true\nmask_mod: ["kv_idx > q_idx - 30 + 8 * h", '
                          '"(kv_idx ^ q_idx) % 3 != 0"]', "b2 h4/2 sq90 sk70"),
    "documents": (f'causal: true\ntensors: {{{DOC}}}\nmask_mod: "doc[b, q_idx] % 3 == '
                  'doc[b, kv_idx] % 3"', "b2 h2/1 sq70 sk70"),
    "bits of packed words": ('tensors: {w: {dtype: u32, axes: [b, q, kv/32]}}\nmask_mod: '
                             '"(w[b, q_idx, kv_idx // 32] >> kv_idx & 1) == 1"',
                             "b2 h2/1 sq70 sk150"),
    "bits of packed words, in a window":
        ('window: [50, 9]\ntensors: {w: {dtype: u32, axes: [b, q, kv/32]}}\nmask_mod: '
         '"(1 & w[b, q_idx, kv_idx >> 5] >> (kv_idx & 31)) != 0"', "b1 h2/1 sq70 sk150"),
    "bits of packed words, from an offset":
        ('tensors: {w: {dtype: u32, axes: [h, kv/32]}}\nmask_mod: '
         '"(w[h, (kv_idx + 13) // 32] >> (kv_idx + 13) % 32 & 1) == 1"', "b1 h4/2 sq70 sk150"),
    "bits behind both ends of their words":
        ('tensors: {w: {dtype: u32, axes: [q, 2]}}\nmask_mod: "kv_idx < q_idx || '
         '(w[q_idx, (kv_idx - 45 + b) // 32] >> (kv_idx - 45 + b) & 1) == 1"', "b2 h2/1 sq70 sk170"),
    "bits of words that are not of their own index":
        ('tensors: {w: {dtype: u32, axes: [q, kv/32]}}\nmask_mod: '
         '"(w[q_idx, kv_idx // 32] >> kv_idx + 1 & 1) == 1"', "b1 h2/1 sq70 sk90"),
    "bits of no words": ('tensors: {w: {dtype: u32, axes: [b, kv/32]}}\nmask_mod: '
                         '"(w[b, kv_idx // 32] >> kv_idx & 1) == 0"', "b1 h2/1 sq20 sk0"),
    "heads": ('mask_mod: "h % 2 == 0 ? kv_idx < 40 : kv_idx >= 50 - b"', "b2 h4/2 sq70 sk90"),
    "softcap": ('causal: true\nscore_mod: "30 * tanh(score / 30)"', "b1 h2/1 sq70 sk90"),
    "softcap by a scalar, at saturation":
        ('scalars: {cap: 0.25}\nsoftmax_scale: 40\nscore_mod: "cap * tanh(score / cap)"',
         "b1 h2/1 sq70 sk90"),
    "alibi": ("tensors: {slope: {dtype: fp32, axes: [h]}}\nscore_mod: "
              '"score - abs(slope[h]) * abs(q_idx + sk - sq - kv_idx)"', "b2 h4/2 sq70 sk90"),
    "bias, any broadcast": ("tensors: {most: {dtype: fp16, axes: [b, h, q, kv]}, "
                            "some: {dtype: bf16, axes: [q, kv]}, one: {dtype: fp32, axes: [kv]}}\n"
                            'score_mod: "score + most[b, h, q_idx, kv_idx] + some[q_idx, kv_idx] '
                            '* one[kv_idx]"', "b2 h4/2 sq70 sk90"),
    "distances up to 2^24 are exact": # a whole one off is half a logit
        ('score_mod: "score + 0.5 * (f32(q_idx + 16776000 - kv_idx) - 16776000.0) + 0.25 * '
         '(abs(kv_idx - 16776000 - h) - 16776000.0)"', "b1 h2/1 sq70 sk90"),
    "distances beyond 2^24, either way, and of two keys":
        ('score_mod: "score - 1e-7 * abs(q_idx + 33554433 - kv_idx) + 1e-7 * f32(h + kv_idx - '
         '33554433 - q_idx) - 0.125 * abs(kv_idx + kv_idx - q_idx)"', "b1 h2/1 sq70 sk90"),
    "a bias of pairs": ("causal: true\nbias: {axes: [b, h, q, kv], dtype: bf16}",
                        "b2 h4/2 sq150 sk190"),
    "a bias of pairs, in a window": ("window: [70, 9]\nbias: {axes: [h, q, kv], dtype: fp16}",
                                     "b2 h4/2 sq150 sk190"),
    "a bias of pairs, tiles left out, and more behind it":
        ('mask_mod: "kv_idx // 32 % 3 != 1"\nbias: {axes: [q, kv], dtype: fp32}\n'
         'tensors: {most: {dtype: fp16, axes: [b, hk, q, kv]}}\n'
         'score_mod: "score * 0.5 + most[b, hk, q_idx, kv_idx]"', "b2 h4/2 sq90 sk190"),
    "a bias of pairs, no keys": ("bias: {axes: [b, q, kv], dtype: fp16}", "b1 h2/1 sq20 sk0"),
    "several mods, in order": ('scalars: {gain: 0.5}\nscore_mod: ["score * score", "score - gain", '
                               '"score < 1 ? score : 1 + log2(score)"]', "b1 h2/1 sq70 sk90"),
    "factors of the tanh of the mod before":
        ('softcap: 1.5\nscalars: {gain: 0.75}\nscore_mod: ["score * gain", "2.0 * tanh(score)", '
         '"score / gain", "tanh(score) * 3.0"]', "b1 h2/1 sq70 sk90"),
    "all functions": ('score_mod: "score / 3 + sigmoid(score) - exp(-abs(score)) + log2(1 + '
                      'score * score) + sqrt(abs(score) + h) + exp2(min(score, 2)) + relu(score) + '
                      'floor(score) + tanh(score)"', "b1 h4/2 sq70 sk90"),
    # Hazards (a window off by one, empty rows, -inf - -inf, broadcast, empty tables).
    "window, inclusive at both ends":
        ('mask_mod: "abs(q_idx + sk - sq - kv_idx) <= 5 && kv_idx != 1000"', "b1 h1 sq40 sk70"),
    "top-left and bottom-right at once":
        ('align: top_left\ncausal: true\nmask_mod: "kv_idx >= q_idx + sk - sq - 9 && kv_idx != 3"',
         "b1 h1 sq40 sk44"),
    "more queries than keys, rows without a key":
        ('causal: true\nmask_mod: "kv_idx % 2 == 0 || q_idx > 60"', "b1 h2/1 sq90 sk40"),
    "no row has a key": ('mask_mod: "kv_idx > sk + q_idx"', "b1 h2/1 sq20 sk40"),
    "the first tile is hidden, keys only in the last": ('mask_mod: "kv_idx < 3 && kv_idx != q_idx"',
                                                         "b1 h2/1 sq40 sk200"),
    "the last tile is hidden": ('mask_mod: "kv_idx % 200 > 190 || kv_idx == q_idx"',
                                "b1 h2/1 sq40 sk200"),
    "scores of -inf hide keys": ('score_mod: "kv_idx % 3 == 0 || q_idx == 5 ? -inf : score"',
                                 "b1 h2/1 sq40 sk70"),
    "scores of -inf, whole rows": ('score_mod: "q_idx % 2 == 0 ? -inf : score"',
                                   "b1 h2/1 sq40 sk200"),
    "scores of +inf and NaN": ('score_mod: "q_idx == 3 && kv_idx == 7 ? inf : q_idx == 5 && '
                               'kv_idx == 9 ? inf - inf : score"', "b1 h2/1 sq40 sk70"),
    "scores beyond exp2": ('score_mod: "score * 1e6"', "b1 h2/1 sq40 sk70"),
    "no keys": (f'tensors: {{{DOC}}}\nmask_mod: "doc[b, kv_idx] == doc[b, q_idx]"',
                "b1 h2/1 sq20 sk0"),
    "indices out of range": ("tensors: {t: {dtype: fp16, axes: [h, 7]}, u: {dtype: fp32, axes: [q]}}"
                             '\nscore_mod: "score + t[h + 1, kv_idx - q_idx] * u[q_idx - kv_idx * '
                             '100]"', "b1 h4/2 sq70 sk90"),
    "a scalar that is a constant": ('scalars: {cap: 3.0}\nspecialize: [cap]\n'
                                    'score_mod: "cap * tanh(score / cap)"', "b1 h2/1 sq40 sk70"),
    "wraps": ('mask_mod: "(kv_idx * 1000003 * (q_idx + 77777) >> 3 & 1) == 1"',
              "b1 h2/1 sq40 sk70"),
}
HOPPER = "template=fwd_wgmma,block_n=64,"
# arch, dtype, head_dim, schedule, more fields
RUNS = (
    ("sm_80", "fp32", 16, "template=ref_fwd", ""),
    ("sm_75", "fp16", 24, "template=fwd_mma", ""),
    ("sm_80", "bf16", 32, "template=fwd_mma,block_m=128,num_warps=4,block_n=64,num_stages=2", ""),
    ("sm_90a", "bf16", 64, HOPPER + "block_m=64", ""),
    ("sm_90a", "fp16", 64, HOPPER + "block_m=128,lazy_rescale=true,scheduler=persistent", ""),
    ("sm_90a", "fp16", 64, HOPPER + "block_m=128,scheduler=persistent,cross_tile=true,q_stages=2",
     ""),
    ("sm_90a", "fp16", 32, HOPPER + "block_m=128,pack_gqa=true,intra_wg_overlap=false",
     "group_size: 2\n"),
)


def run(attnc, folder, name, fields, shape, how):
    arch, dtype, dim, schedule, more = how
    if more and "h4/2" not in shape:
        shape = shape.replace("h2/1", "h2").replace("h1 ", "h2/1 ").replace("h2 ", "h2/1 ")
    spec = os.path.join(folder, "spec.yaml")
    with open(spec, "w", encoding="utf-8") as f:
        f.write(f"attnc: 1\nname: mods\ndtype: {dtype}\nhead_dim: {dim}\nreturn_lse: true\n"
                f"{more}{fields}\n")
    said = subprocess.run([attnc, "run", spec, "--shape", shape, "--verify", "--arch", arch,
                           "--schedule", schedule, "--device", "emu", "--no-cache", "-q", "--brief"],
                          capture_output=True, text=True)
    if said.returncode:
        print(f"{name}, {arch} {schedule} {shape}\n{fields}\n{said.stdout}{said.stderr}")
    return said.returncode == 0


def main():
    attnc = sys.argv[1]
    i, n = map(int, (sys.argv[3] if len(sys.argv) > 3 else "0/1").split("/"))
    cases = [(name, *case, how) for how in RUNS for name, case in CASES.items()
             if "cross_tile" not in how[3] or "mask_mod" not in case[0]][i::n]
    with tempfile.TemporaryDirectory() as folder:
        wrong = sum(not run(attnc, folder, *case) for case in cases)
    print(f"{len(cases)} cases, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
