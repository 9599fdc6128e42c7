"""run_ahead: what decode_mma prefetches are the first tiles of each CTA's next item, once, and nothing else.

    run_ahead.py ATTNC [--all]

The emulated device does not see prefetches.  So a kernel is run with a load in each one's place: no finding,
the right result, and of K and V as many sectors more than the keys have as lines were to come.  --all: on
two targets, in pages and in one piece."""
import json
import os
import subprocess
import sys
import tempfile

HK, TILE, PARTS, PAGE, LINE, SECTOR = 8, 64, 32, 16, 128, 32
# target, sequences, their keys, head_dim, stages, in pages?  Of keys that end inside of a page and a tile
# lines are bounded alone.
CASES = (("sm_75", 1, 2048, 64, 1, True), ("sm_75", 1, 2048, 64, 1, False), ("sm_75", 1, 2011, 64, 1, True),
         ("sm_80", 4, 4096, 128, 2, True), ("sm_80", 4, 4096, 128, 2, False))


def call(*words, **env):
    r = subprocess.run(words, capture_output=True, text=True, env=dict(os.environ, **env))
    if r.returncode:
        raise SystemExit(f"FAIL  {r.stdout[-2000:]}{r.stderr[-2000:]}")
    return r.stdout


def with_loads(ptx):
    """The text with loads in the place of prefetches, and how many there are."""
    with open(ptx, encoding="utf-8") as f:
        text = f.read()
    n = text.count("@p prefetch.global.L2 [")
    text = text.replace("{ .reg .pred p; ", "{ .reg .b32 seen; .reg .pred p; ")
    with open(ptx, "w", encoding="utf-8") as f:
        f.write(text.replace("@p prefetch.global.L2 [", "@p ld.global.b32 seen, ["))
    return n


def case(attnc, folder, target, b, sk, dim, stages, pages):
    """What is wrong; None: nothing."""
    spec = os.path.join(folder, "ahead.attn.yaml")
    with open(spec, "w", encoding="utf-8") as f:
        f.write(f"attnc: 1\nname: ahead\ndtype: fp16\nhead_dim: {dim}\ngroup_size: 2\nseqlens: [seqused_k]\n"
                f"page_table: {'true' if pages else 'false'}\n")
    how = ["--arch", target, "--shape", f"b{b} h{2 * HK}/{HK} sq1 sk{sk}" + f" page_size{PAGE}" * pages,
           "--schedule", f"template=decode_mma,block_m=16,block_n={TILE},num_warps=4,num_stages={stages},"
           "warps_n=1,q_in_regs=true,pack_gqa=true,split_keys=64,combine=false", "-q"]
    call(attnc, "compile", spec, *how, "--emit", "ptx", "-o", folder)
    ptx = os.path.join(folder, f"ahead.{target}.ptx")
    if not with_loads(ptx):
        return "nothing is prefetched"
    stats = json.loads(call(attnc, "run", spec, *how, "--device", "emu", "--seqlens", ",".join([f"1/{sk}"] * b),
                            "--verify", "--stats", "--json", "--no-cache", ATTNC_LOAD_PTX=ptx))["results"][0]["stats"]
    row = dim * 2
    items, ctas, tiles = b * HK * PARTS, stats["ctas"] - 1, min(stages, -(-sk // PARTS // TILE))
    keys, lines = b * HK * sk * row // SECTOR, (items - ctas) * tiles * TILE * row // LINE
    read = stats["sectors_read"]
    if items <= ctas:
        return f"{ctas} CTAs have {items} items: none has a second one"
    least = keys + (0 if sk % TILE else lines)
    if read["k"] == read["v"] and least <= read["k"] <= keys + lines and read["k"] > keys:
        return None
    return f"{read['k']} and {read['v']} sectors, not {least} to {keys + lines}"


def main():
    bad = 0
    for x in CASES if "--all" in sys.argv[2:] else CASES[:1]:
        with tempfile.TemporaryDirectory() as folder:
            wrong = case(sys.argv[1], folder, *x)
        print(f"{'FAIL' if wrong else 'ok'}  {' '.join(map(str, x))}  {wrong or ''}", flush=True)
        bad += wrong is not None
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
