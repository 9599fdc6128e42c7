"""Keys and values in pages: sizes of a page, one table or two, sequences' kinds of lengths, masks,
modifiers, dims, dtypes, layouts, targets and schedules, so that every two values meet in some case.

    pages.py ATTNC [--cases N] [--seed S] [--shard I/N] [--hazards] [--list]

The harness deals pages out in random order, lets every other sequence share its first one, and
fills the tables behind a sequence's end, and before its first key, with what no page is: -1,
2^31 - 1, the number of pages. Rows and pages of no sequence are NaN. A case that fails prints its
spec. --hazards runs the list of HAZARDS instead; --list runs nothing: do all
pairs meet, is a case refused?
Passed: exit 0 of every `attnc run --verify`: no finding of the emulator, every row right."""
import itertools
import random
import sys
import tempfile

import factors

NAMES = ("seqused_k", "leftpad_k", "cache_batch_idx", "cu_seqlens_q", "seqused_q")
MIXES = tuple(m for n in range(6) for m in itertools.combinations(NAMES, n))
FACTORS = {
    "page": (1, 3, 16, 64, 256, 300),
    "table": ("true", "kv", "false"),  # false: the dense call beside it
    "mix": MIXES,
    "sq": (1, 2, 5, 17, 64),
    "sk": (70, 131, 200),
    "heads": ("h4/2", "h2", "h3/1", "h8/1"),
    "mask": ("", "causal: true", "causal: true\nalign: top_left", "window: [20, 5]",
             "causal: true\nwindow: [40, 0]", "attention_chunk: 32\ncausal: true",
             "causal: true\nprefix_len: true", 'mask_mod: "kv_idx % 3 != 1 || q_idx < 20"',
             'mask_mod: "kv_idx < 4 || kv_idx > sk - 40"', "mask_bits: true", "mask_bits: new"),
    "score": ("", "softcap: 1.5", "alibi_slopes: h", "alibi_slopes: bh",
              "bias: {axes: [h, q, kv], dtype: fp16}", "bias: {axes: [b, kv], dtype: fp32}",
              'score_mod: "score + 0.5 * f32(kv_idx) / 64"'),
    "more": ("return_lse: true", "return_lse: true\nlse_base: 2", "sink: fp32\nreturn_lse: true",
             "specialize: [page_size]", "specialize: [strides]"),
    "dims": ("head_dim: 64", "head_dim: 80", "head_dim: 128", "head_dim: 256",
             "head_dim: 192\nhead_dim_v: 128"),
    "dtype": ("fp16", "bf16"),
    "layout": ("bshd", "bhsd", "{q: bshd, k: bhsd, v: bshd, o: bshd}"),
    "how": (("sm_80", "template=ref_fwd"), ("sm_75", "template=fwd_mma"),
            ("sm_80", "template=fwd_mma"), ("sm_86", "template=fwd_mma"),
            ("sm_89", "template=fwd_mma,num_stages=1"), ("sm_90a", "template=fwd_mma,num_warps=4"),
            ("sm_120", "template=fwd_mma,block_m=64,num_warps=4"),
            ("sm_75", "template=decode_mma"), ("sm_80", "template=decode_mma"),
            ("sm_90a", "template=decode_mma"), ("sm_90a", "template=fwd_wgmma"),
            ("sm_90a", "template=fwd_wgmma,scheduler=dynamic"),
            ("sm_90a", "template=decode_wgmma")),
}

# What goes wrong in pages, each by itself: name, page_size, fields, shape, lengths.
PLAIN = "page_table: true\nseqlens: [seqused_k]\nreturn_lse: true"
HAZARDS = (
    ("ids_behind_the_end", 16, PLAIN, "b3 h4/2 sq2 sk90", "2/17,2/90,1/33"),
    ("first_page_shared", 16, PLAIN, "b4 h4/2 sq1 sk64", "1/64,1/40,1/64,1/16"),
    ("page_of_one_row", 1, PLAIN, "b2 h4/2 sq3 sk70", "3/70,3/69"),
    ("length_0", 16, PLAIN, "b3 h2 sq2 sk40", "2/0,2/40,2/0"),
    ("length_1", 16, PLAIN, "b3 h2 sq1 sk40", "1/1,1/40,1/1"),
    ("all_lengths_0", 16, PLAIN, "b2 h2 sq1 sk40", "1/0,1/0"),
    ("one_page", 64, PLAIN, "b2 h2 sq1 sk64", "1/64,1/3"),
    ("last_page_in_part", 64, PLAIN, "b2 h2 sq1 sk129", "1/129,1/65"),
    ("page_larger_than_all", 300, PLAIN, "b2 h2 sq1 sk20", "1/20,1/7"),
    ("tables_apart", 16, PLAIN.replace("true\ns", "kv\ns"), "b2 h2 sq1 sk70", "1/70,1/50"),
    ("before_the_first_key", 4, PLAIN.replace("[", "[leftpad_k, "), "b3 h2 sq2 sk90",
     "2/10,2/50,2/88"),
    ("rows_of_a_table", 16, PLAIN.replace("[", "[cache_batch_idx, "), "b3 h2 sq2 sk70",
     "2/70,2/1,2/33"),
    ("no_lengths", 16, "page_table: true", "b2 h2 sq3 sk50", None),
    ("end_of_a_tile", 16, PLAIN, "b3 h2 sq1 sk130", "1/64,1/128,1/65"),
    ("window_within_a_page", 256, PLAIN + "\nwindow: [3, 0]", "b2 h2 sq2 sk300", "2/300,2/5"),
)


def possible(case):
    if case["how"][0] == "sm_75":
        if case["dtype"] == "bf16":
            return False
        if "decode" in case["how"][1] and case["dims"] in FACTORS["dims"][3:]:
            return False  # copies on their way leave O no registers
    if case["table"] == "false" and "page_size" in case["more"]:
        return False
    if "wgmma" in case["how"][1] and case["table"] != "false":
        # boxes of rows that lie in one page, and begin with the first key
        return case["page"] % 8 == 0 and "leftpad_k" not in case["mix"]
    return not ("strides" in case["more"] and "cu_seqlens_q" in case["mix"])


def spec_of(case):
    text = [f"attnc: 1\nname: pages\ndtype: {case['dtype']}\n{case['dims']}\n"
            f"layout: {case['layout']}\npage_table: {case['table']}"]
    if case["mix"]:
        text.append(f"seqlens: [{', '.join(case['mix'])}]")
    return "\n".join(text + [case["mask"], case["score"], case["more"]]) + "\n"


def lengths_of(case, rng):
    """The longest, some other ones, and one of 0; NULL where all must be alike."""
    mix, sq, sk = case["mix"], case["sq"], case["sk"]
    if not mix or mix == ("cache_batch_idx",):
        return None
    own_q = {"cu_seqlens_q", "seqused_q"} & set(mix)
    own_k = {"seqused_k", "leftpad_k"} & set(mix)
    some = [(sq, sk)] + [(rng.randint(0, sq) if own_q else sq, rng.randint(0, sk) if own_k else sk)
                         for _ in range(2)]
    return ",".join(f"{q}/{k}" for q, k in some + ([(sq, 0)] if own_k else []))


def how_of(case):
    """Of wide heads few schedules are legal."""
    target, schedule = case["how"]
    wide = case["dims"] in FACTORS["dims"][3:]
    return target, schedule.partition(",")[0] if wide else schedule


def made(case, seed):
    lengths = lengths_of(case, random.Random(seed))
    b = lengths.count(",") + 1 if lengths else 2
    shape = f"b{b} {case['heads']} sq{case['sq']} sk{case['sk']}"
    if case["table"] != "false":
        shape += f" page_size{case['page']}"
    target, schedule = how_of(case)
    return factors.Case(spec_of(case), target, shape, schedule, lengths or "")


def run_hazards(attnc, folder):
    good = []
    hows = (("sm_80", "template=ref_fwd"), ("sm_75", "template=fwd_mma"),
            ("sm_80", "template=decode_mma"), ("sm_80", "template=fwd_mma"))
    boxes = (("sm_90a", "template=fwd_wgmma"), ("sm_90a", "template=decode_wgmma"))
    for i, (name, page, fields, shape, lengths) in enumerate(HAZARDS):
        spec = f"attnc: 1\nname: pages\ndtype: fp16\nhead_dim: 64\n{fields}\n"
        how = hows[i % 3], hows[3]
        if page % 8 == 0:
            how += (boxes[i % 2],)
        good += [factors.run(attnc, folder, factors.Case(spec, target, f"{shape} page_size{page}", schedule,
                                                         lengths or ""), name, i)
                 for target, schedule in dict.fromkeys(how)]
    return good


def main():
    p = factors.arguments(540)
    p.add_argument("--hazards", action="store_true")
    a = p.parse_args()
    if a.hazards:
        with tempfile.TemporaryDirectory() as folder:
            return factors.end(run_hazards(a.attnc, folder))
    return factors.each(a, FACTORS, possible, made)


if __name__ == "__main__":
    sys.exit(main())
