"""Dropout: which positions are kept, and attention that drops.

    dropout.py ATTNC [--cases N] [--seed S] [--shard I/N] [--list]
    dropout.py ATTNC --bits | --mutants

--bits: op dropout_mask on the emulated device against the definition of docs/dropout.md, written down
a second time here: FlashAttention-2's test vector, a million positions of a random seed whose offsets
carry, and the share that is kept.
--mutants: is a kernel with one number of its dropout another one noticed?
Else cases of masks, modifiers, lengths, groups of heads, layouts, dtypes, dims, shares, targets and
schedules, so that every two values meet in some case. --list runs nothing: do all pairs meet, is a case
refused?
Passed: exit 0 of every `attnc run --verify`: no finding of the emulator, every row right."""
import math
import os
import random
import re
import subprocess
import sys
import tempfile

import factors
import tensor_file

# ---- the definition, position by position ----


def philox(seed, counter):
    """Philox 4x32, 7 rounds, of a counter of 128 bits: 16 bytes, low ones first."""
    word = (1 << 32) - 1
    c = [counter >> 32 * i & word for i in range(4)]
    key = [seed & word, seed >> 32]
    for _ in range(7):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ key[0], b & word, a >> 32 ^ c[3] ^ key[1], a & word]
        key = [key[0] + 0x9E3779B9 & word, key[1] + 0xBB67AE85 & word]
    return b"".join(x.to_bytes(4, "little") for x in c)


class Bytes:
    """The random byte of each position of a call."""

    def __init__(self, seed, offset, heads):
        self.seed, self.offset, self.heads, self.drawn = seed, offset, heads, {}

    def at(self, b, h, q, k):
        lane = 4 * (q % 8) + k % 8 // 2
        low = self.offset + 32 * (b * self.heads + h) + lane & (1 << 64) - 1
        counter = low | q // 16 << 64 | k // 32 << 96
        if counter not in self.drawn:
            self.drawn[counter] = philox(self.seed, counter)
        return self.drawn[counter][4 * (k % 32 // 8) + 2 * (q % 16 // 8) + k % 2]


SEED, HEADS, B, H = 1234, 4, 1, 2  # offset 0
VECTOR = {(0, 0): 225, (0, 1): 211, (8, 0): 76, (0, 8): 208, (0, 16): 174, (5, 37): 190, (127, 255): 128}


def most_byte(p):
    """Of what is kept; 1 - p is rounded to fp32, whose 24 bits are whole numbers of 2^-24 here."""
    return round((1 - p) * 2**24) * 255 >> 24


def mask(attnc, folder, state, shape, p, arch):
    spec, inputs, out = (os.path.join(folder, x) for x in ("mask.attn.yaml", "in", "out"))
    with open(spec, "w", encoding="utf-8") as f:
        f.write("attnc: 1\nname: mask\ndtype: fp16\nhead_dim: 64\ndropout: true\n")
    tensor_file.write(inputs, {"rng_state": ("u64", [2], state)})
    subprocess.run([attnc, "run", spec, "--op", "dropout_mask", "--no-cache", "--device", "emu", "--arch", arch,
                    "--input", inputs, "--output", out, "--scalar", f"dropout_p={p!r}", "--verify", "-q",
                    "--shape", "b{} h{} sq{} sk{}".format(*shape)], check=True, stdout=subprocess.DEVNULL)
    return tensor_file.read(out)["keep"]


def check_vector(attnc, folder):
    """Each byte is the last that is kept with one share, and the first that is not with the next."""
    ours, sq, sk = Bytes(SEED, 0, HEADS), 128, 256
    for (q, k), byte in VECTOR.items():
        assert ours.at(B, H, q, k) == byte, (q, k)
        for most, kept in ((byte, 1), (byte - 1, 0)):
            p = 1 - (most + 0.5) / 255
            assert most_byte(p) == most
            keep = mask(attnc, folder, (SEED, 0), (B + 1, HEADS, sq, sk), p, "sm_80")
            assert keep[((B * HEADS + H) * sq + q) * sk + k] == kept, (q, k, most)


def check_million(attnc, folder, seed):
    """The offset's lower word carries on its way through the heads, and its upper one ends."""
    rng, shape = random.Random(seed), (2, 3, 407, 411)
    for arch, offset, p in (("sm_75", (1 << 32) - 70, 0.1), ("sm_90a", (1 << 64) - 100, 0.7)):
        state = (rng.getrandbits(64), offset)
        keep, ours = mask(attnc, folder, state, shape, p, arch), Bytes(*state, shape[1])
        most, n, at = most_byte(p), 0, 0
        for b in range(shape[0]):
            for h in range(shape[1]):
                for q in range(shape[2]):
                    for k in range(shape[3]):
                        kept = ours.at(b, h, q, k) <= most
                        assert keep[at] == kept, (arch, state, b, h, q, k)
                        n, at = n + kept, at + 1
        assert at > 10**6
        share, due = n / at, (most + 1) / 256
        sigma = math.sqrt(due * (1 - due) / at)
        print(f"{arch}: {at} positions alike; {share:.6f} kept of {due:.6f}, {(share - due) / sigma:+.2f} sigma")
        assert abs(share - due) < 4 * sigma


# ---- mutants ----

# What is replaced, by what: each place where it stands is a mutant, of places alike in a loop the first two.
MUTATIONS = (
    (r"(mul\.wide\.u32 .*), -845247145;", r"\1, -845247147;"), (r"(mul\.wide\.u32 .*), -766435501;", r"\1, -766435503;"),
    (r"(add\.s32 .*), -1640531527;", r"\1, -1640531526;"), (r"(add\.s32 .*), -1150833019;", r"\1, -1150833018;"),
    (r"(mul\.lo\.s32 .*), 255;", r"\1, 254;"), (r"(selp\.b32 .*), 127, 255,", r"\1, 127, 254,"),
    (r"(selp\.b32 .*), 127, 255,", r"\1, 255, 255,"), (r"(mul\.lo\.s32 .*), 16843009;", r"\1, 65537;"),
    (r"(and\.b32 .*), 2139062143;", r"\1, 2139062142;"), (r"(prmt\.b32 .*), 39304;", r"\1, 34969;"),
    (r"(prmt\.b32 .*), 48042;", r"\1, 39304;"),
    (r"(mul\.rn\.ftz\.f32 .*), 0f4B800000;", r"\1, 0f4B000000;"),
)
PLACES = 2


def mutants(text):
    """(line, text of the kernel) of each."""
    for pattern, by in MUTATIONS:
        for m in list(re.finditer(pattern, text))[:PLACES]:
            yield f"{m.group()} -> {m.expand(by)}", text[:m.start()] + m.expand(by) + text[m.end():]


def run_mutants(a):
    """Shares on both sides of a half, whose bytes are compared in two ways."""
    survived = n = 0
    with tempfile.TemporaryDirectory() as folder:
        spec, edited = os.path.join(folder, "mutant.attn.yaml"), os.path.join(folder, "edited.ptx")
        with open(spec, "w", encoding="utf-8") as f:
            f.write("attnc: 1\nname: mutant\ndropout: true\ndtype: fp16\nhead_dim: 64\nreturn_lse: true\n")
        how = ["--arch", "sm_80", "--schedule", "template=fwd_mma,block_m=64,block_n=64,num_warps=4,num_stages=2", "-q"]
        subprocess.run([a.attnc, "compile", spec, "-o", folder, "--emit", "ptx", *how], check=True,
                       stdout=subprocess.DEVNULL)
        with open(os.path.join(folder, "mutant.sm_80.ptx"), encoding="utf-8") as f:
            text = f.read()
        for what, mutant in [("nothing", text), *mutants(text)]:
            with open(edited, "w", encoding="utf-8") as f:
                f.write(mutant)
            codes = [subprocess.run([a.attnc, "run", spec, "--no-cache", "--device", "emu", "--shape", "b2 h2 sq70 sk90",
                                     "--scalar", f"dropout_p={p}", "--verify", *how], capture_output=True,
                                    env={**os.environ, "ATTNC_LOAD_PTX": edited}).returncode for p in (0.3, 0.7)]
            assert set(codes) <= {0, 1}, (what, codes)
            assert what != "nothing" or codes == [0, 0]
            n, survived = n + (what != "nothing"), survived + (what != "nothing" and not any(codes))
            if what != "nothing" and not any(codes):
                print("survives:", what)
    print(f"{n - survived} of {n} mutants are noticed")
    return int(survived > 0 or n < 15)


# ---- cases ----

FACTORS = {
    "p": (0.0, 0.1, 0.5, 0.7, 0.999),
    "mask": ("", "causal: true", "causal: true\nalign: top_left", "window: [20, 5]",
             "causal: true\nwindow: [37, 0]", "attention_chunk: 16\ncausal: true", "causal: true\nprefix_len: true",
             "mask_bits: true", 'mask_mod: "kv_idx % 3 != 1 || q_idx < 20"',
             "block_list: {block: [384, 384]}"),
    "score": ("", "softcap: 1.5", "alibi_slopes: bh", "bias: {axes: [h, q, kv], dtype: fp16}",
              'score_mod: "score + 0.5 * f32(kv_idx) / 64"'),
    "more": ("", "return_lse: true", "return_lse: true\nlse_base: 2", "sink: fp32\nreturn_lse: true",
             "specialize: [sq, sk]", "specialize: [strides]"),
    "seqlens": ("", "cu_seqlens_q, cu_seqlens_k", "seqused_q, seqused_k", "cu_seqlens_q, seqused_k, leftpad_k",
                "seqused_k, cache_batch_idx"),
    "paged": ("", "page_table: true"),
    "sizes": ("sq70 sk150", "sq33 sk31", "sq1 sk97", "sq200 sk64", "sq130 sk130", "sq17 sk0"),
    "heads": ("b2 h4/2", "b1 h2", "b3 h3/1"),
    "dims": ("head_dim: 32", "head_dim: 64", "head_dim: 96", "head_dim: 128", "head_dim: 64\nhead_dim_v: 32",
             "head_dim: 192\nhead_dim_v: 128", "head_dim: 256", "head_dim: 512"),
    "dtype": ("fp16", "bf16", "fp32"),
    "layout": ("bshd", "bhsd"),
    "how": (("sm_80", "template=ref_fwd"), ("sm_75", "template=ref_fwd"), ("sm_75", "template=fwd_mma"),
            ("sm_80", "template=fwd_mma"), ("sm_80", "template=fwd_mma,block_n=16"),
            ("sm_86", "template=fwd_mma"), ("sm_89", "template=fwd_mma"), ("sm_90", "template=fwd_mma"),
            ("sm_120", "template=fwd_mma,block_m=64,num_warps=4"), ("sm_90a", "template=fwd_wgmma"),
            ("sm_90a", "template=fwd_wgmma,block_m=128,scheduler=persistent"),
            ("sm_90a", "template=fwd_wgmma,scheduler=dynamic,block_m=64"),
            ("sm_90a", "template=fwd_wgmma,block_m=64,p_in_smem=true"),
            ("sm_90a", "template=fwd_wgmma,block_m=64,intra_wg_overlap=false")),
}


def has_registers(case):
    """Wide heads leave few for tables, pages and edges of a mask."""
    schedule, mask = case["how"][1], case["mask"]
    pinned = "block_n=16" in schedule or "fwd_mma,block_m=64" in schedule
    much = "bias" in case["score"] or "mask_bits" in mask
    if case["dims"] == "head_dim: 512" and "fwd_mma" in schedule or case["dims"] == "head_dim: 256" and pinned:
        edges = "chunk" in mask or "prefix" in mask or "window" in mask or case["score"].startswith("alibi")
        return not (much or edges or case["paged"]) and not (pinned and "512" in case["dims"])
    if case["dims"] == "head_dim: 256" and "wgmma,block_m=128" in schedule:
        return not (much or "mask_mod" in mask)
    return True


def possible(case):
    target, schedule = case["how"]
    lists, paged = case["mask"].startswith("block_list"), case["paged"] != ""
    packed = "cu_seqlens" in case["seqlens"]
    if case["dtype"] == "fp32" and "ref_fwd" not in schedule:
        return False
    if target == "sm_75" and case["dtype"] == "bf16" and "ref_fwd" not in schedule:
        return False
    if "wgmma" in schedule and (paged or case["dims"] == "head_dim: 512"):
        return False
    if target == "sm_75" and case["dims"] == "head_dim: 512" and "fwd_mma" in schedule:
        return False  # no room for its rows of q, k and v
    if lists and (case["seqlens"] or paged):
        return False
    if paged and "cu_seqlens_k" in case["seqlens"]:
        return False
    if not has_registers(case):
        return False
    if "sk" in case["more"] and case["sizes"].endswith("sk0"):
        return False  # 0 is a size that is open
    return not ("strides" in case["more"] and packed)


def spec_of(case):
    seqlens = f"seqlens: [{case['seqlens']}]" if case["seqlens"] else ""
    return "\n".join(x for x in (
        f"attnc: 1\nname: dropped\ndropout: true\ndtype: {case['dtype']}\n{case['dims']}\nlayout: {case['layout']}",
        case["mask"], case["score"], case["more"], seqlens, case["paged"]) if x) + "\n"


def made(case, _):
    target, schedule = case["how"]
    shape = f"{case['heads']} {case['sizes']}" + (" page_size16" if case["paged"] else "")
    return factors.Case(spec_of(case), target, shape, schedule, more=("--scalar", f"dropout_p={case['p']}"))


def run_bits(a):
    with tempfile.TemporaryDirectory() as folder:
        check_vector(a.attnc, folder)
        check_million(a.attnc, folder, a.seed)
    return 0


def main():
    p = factors.arguments(420)
    p.add_argument("--bits", action="store_true")
    p.add_argument("--mutants", action="store_true")
    a = p.parse_args()
    if a.bits or a.mutants:
        return run_bits(a) if a.bits else run_mutants(a)
    return factors.each(a, FACTORS, possible, made)


if __name__ == "__main__":
    sys.exit(main())
