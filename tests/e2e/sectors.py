"""Bytes that a decoding step reads: the 32-byte sectors of K and V, and of the table of pages, that
the emulated device counts, beside those of the keys that count.

    sectors.py ATTNC [--shard I/N]    a case a line; fails above LIMITS, and where a result is wrong
    sectors.py - --self-test          can it fail?"""
import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile

SECTOR, BYTES = 32, 2
LIMITS = {1: 1.10, 16: 1.02, 64: 1.02, 0: 1.02}  # by page_size; 0: no pages
# Four warps of mixed's decoding part ask for ids, also ahead of items that do not come: 1.0216 with
# them, 1.0000 of K and V alone, which may be no more than LIMITS.
OWN_LIMITS = {("mixed", 16): 1.022, ("mixed", 64): 1.022}
LENGTHS = (4096, 5003)  # of two sequences, which share nothing
# template, target, head_dim, rows of queries that one tile has: heads of a group (decode_mma packs
# them) or queries of a head.
KERNELS = (("decode_mma", "sm_80", 128, "h4/1", 1), ("decode_mma", "sm_75", 64, "h4/1", 1),
           ("decode_wgmma", "sm_90a", 128, "h32/1", 1), ("mixed", "sm_80", 64, "h4/1", 1),
           ("fwd_mma", "sm_80", 128, "h1/1", 16), ("fwd_mma", "sm_75", 64, "h1/1", 16))
PACKED = ("mixed",)  # templates of packed queries
WHOLE_BOXES = ("decode_wgmma",)  # whose pages have 8 rows at least
CASES = [(k, page) for k, page in itertools.product(KERNELS, sorted(LIMITS))
         if not (k[0] in WHOLE_BOXES and 0 < page < 8)]


def wanted(dim, hk):
    """Sectors of K and V of the keys that count: rows are whole sectors."""
    return 2 * sum(LENGTHS) * hk * dim * BYTES // SECTOR


def run(attnc, kernel, page):
    template, target, dim, heads, sq = kernel
    group = int(heads[1:].split("/")[0])
    text = (f"attnc: 1\nname: sectors\ndtype: fp16\nhead_dim: {dim}\ngroup_size: {group}\n"
            "causal: true\nseqlens: [" + ("cu_seqlens_q, " if template in PACKED else "") +
            "seqused_k]\n" + ("page_table: true\n" if page else ""))
    shape = f"b{len(LENGTHS)} {heads} sq{sq} sk{max(LENGTHS)}"
    shape += f" page_size{page}" if page else ""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "sectors.attn.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        lengths = ",".join(f"{sq}/{n}" for n in LENGTHS)
        done = subprocess.run(
            [attnc, "run", path, "--device", "emu", "--arch", target, "--shape", shape,
             "--seqlens", lengths, "--schedule", f"template={template}", "--verify", "--stats",
             "--json"], capture_output=True, text=True)
    answer = json.loads(done.stdout)
    if done.returncode:
        raise SystemExit(f"{kernel} page_size {page}: exit {done.returncode}: {done.stdout[-2000:]}")
    return answer["results"][0]


def judge(read, page, want, template=""):
    """The ratio, and what is wrong with it."""
    n = read["k"] + read["v"] + read.get("page_table", 0)
    if n < want:
        return n / want, "less than there is: a load is not counted"
    limit = OWN_LIMITS.get((template, page), LIMITS[page])
    keys = read["k"] + read["v"] > LIMITS[page] * want
    return n / want, f"more than {limit}" if n > limit * want or keys else ""


def self_test():
    assert judge({"k": 50, "v": 50}, 0, 100) == (1.0, "")
    assert judge({"k": 50, "v": 50, "page_table": 3}, 16, 100)[1]
    assert judge({"k": 5000, "v": 5000, "page_table": 221}, 16, 10000, "mixed")[1]
    assert judge({"k": 5000, "v": 5201}, 16, 10000, "mixed")[1]
    assert not judge({"k": 5000, "v": 5000, "page_table": 219}, 16, 10000, "mixed")[1]
    assert not judge({"k": 50, "v": 50, "page_table": 3}, 1, 100)[1]
    assert "not counted" in judge({"k": 50, "v": 0}, 1, 100)[1]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("attnc")
    p.add_argument("--shard", default="0/1")
    p.add_argument("--self-test", action="store_true")
    words = p.parse_args()
    if words.self_test:
        return self_test()
    first, step = map(int, words.shard.split("/"))
    failed = 0
    for kernel, page in CASES[first::step]:
        read = run(words.attnc, kernel, page)["stats"]["sectors_read"]
        ratio, bad = judge(read, page, wanted(kernel[2], 1), kernel[0])
        failed += bool(bad)
        print(f"{'FAIL' if bad else 'ok'}  {kernel[0]} {kernel[1]} head_dim {kernel[2]} page_size "
              f"{page or '-'}: k {read['k']} v {read['v']} page_table {read.get('page_table', 0)}: "
              f"{ratio:.4f} {bad}", flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
