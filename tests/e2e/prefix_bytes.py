"""Is a prefix that all sequences share read from memory once for the batch?

    prefix_bytes.py ATTNC

Of decode_mma on sm_75, whose copies are loads that the emulator counts in sectors, for batches whose
queries of a key head are one block of rows: what 2048 keys more of a prefix add, beside the sectors
that those keys are, dense and in pages. Passed: at most 1.02 of them, whatever the batch; and of a
batch whose rows are two blocks twice as many, so that the count is one of what is read."""
import json
import os
import subprocess
import sys
import tempfile

FROM, TO, HK, D, BYTES, SECTOR = 1024, 3072, 2, 64, 2, 32
MOST = 1.02
SPEC = ("attnc: 1\nname: prefix\ndtype: fp16\nhead_dim: 64\ngroup_size: 4\ncausal: true\n"
        "shared_prefix: true\n")
HOW = "template=decode_mma,block_m=32,block_n=64,num_warps=4,pack_gqa=true,split_keys=0"


def sectors(attnc, path, b, sp, more):
    run = subprocess.run(
        [attnc, "run", path, "--no-cache", "--device", "emu", "--arch", "sm_75", "--schedule", HOW,
         "--shape", f"b{b} h{4 * HK}/{HK} sq1 sk64 sp{sp}{more}", "--json", "--stats"],
        capture_output=True, text=True, check=True)
    return json.loads(run.stdout)["results"][0]["stats"]["global_sectors"]


def main():
    attnc, wrong = sys.argv[1], 0
    needed = (TO - FROM) * HK * 2 * D * BYTES / SECTOR
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "prefix.attn.yaml")
        for b, fields, more, times in ((1, "", "", 1), (8, "", "", 1), (16, "", "", 2),
                                       (8, "page_table: true\n", " page_size16", 1)):
            with open(path, "w", encoding="utf-8") as f:
                f.write(SPEC + fields)
            found = (sectors(attnc, path, b, TO, more) - sectors(attnc, path, b, FROM, more)) / needed
            good = times * 0.999 <= found <= times * MOST
            wrong += not good
            print(f"{'ok  ' if good else 'FAIL'}  {b} sequences{', ' + fields.strip() if fields else ''}: "
                  f"{found:.4f} of the prefix's sectors, {times} wanted", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
