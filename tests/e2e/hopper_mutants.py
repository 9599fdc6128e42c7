"""What orders fwd_wgmma, decode_wgmma, decode_mma, mixed and the steps of a shared prefix, taken
away or weakened one statement at a time: the emulator must tell, under one of its settings.

    hopper_mutants.py ATTNC SURVIVORS [--kernel NAME] [--shard I/N] [--jobs N] [-v]

Statements: each wait, fence, arrival, expect_tx, barrier, commit and setmaxnreg of the
generated PTX, those between the braces of inline text as well.  Found: a finding, a wrong
result, or a hang that is reported.  SURVIVORS lists, one a line, `kernel: mutation` of those
that nobody finds, each with its reason; the list must be exact, so that a check that goes
blind shows, and the kernel itself is as if it were in the list.  --kernel takes the mutants
of one kernel alone; --shard I/N each N-th mutant, from the I-th."""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile

SETTINGS = ("async=lazy", "async=eager,sched=random,seed=5", "async=random,sched=rr,seed=2")
BASE = ("block_m=128,block_n=64,num_warps=12,num_stages=2,p_in_smem=false,intra_wg_overlap=true,"
        "pingpong=true,scheduler=persistent,cluster=1,pack_gqa=false,tma_store=true,q_stages=1,"
        "cross_tile=false,lazy_rescale=false,poly_exp2=0,narrow_diagonal=false,"
        "private_epilogue=true,o_in_v=false")
# Blocks enough that a CTA has several: 2 * 16 * 9 of 132 multiprocessors.
KERNELS = {
    "persistent": ("causal: true\n", "b9 h16/4 sq200 sk150", {}),
    "p_in_smem": ("", "b1 h2/1 sq130 sk200", {"p_in_smem": "true", "scheduler": "grid"}),
    "plain": ("", "b1 h2/1 sq130 sk200",
              {"intra_wg_overlap": "false", "scheduler": "grid", "tma_store": "false"}),
    "cross": ("", "b9 h16/4 sq200 sk150", {"cross_tile": "true", "q_stages": "2"}),
    "cluster": ("", "b1 h2/1 sq200 sk200", {"cluster": "2", "scheduler": "grid"}),
    "joined": ("causal: true\n", "b9 h16/4 sq200 sk190",
               {"private_epilogue": "false", "narrow_diagonal": "true"}),
    "listed": ("mask_mod: kv_idx // 32 % 3 != 1 && kv_idx <= q_idx + 70\n", "b1 h2/1 sq130 sk200",
               {"scheduler": "grid"}),
    "biased": ("bias: {axes: [h, q, kv], dtype: fp16}\n", "b1 h2/1 sq130 sk250",
               {"scheduler": "grid"}),
    "dynamic": ("causal: true\n", "b9 h16/4 sq200 sk150", {"scheduler": "dynamic"}),
    # O leaves through two stages of V; through the only one, by blocks of one to three tiles.
    "o_in_v": ("causal: true\n", "b9 h16/4 sq200 sk150", {"o_in_v": "true"}),
    "o_in_one_v": ("causal: true\n", "b9 h16/4 sq300 sk300",
                   {"o_in_v": "true", "block_n": "128", "num_stages": "1"}),
}
# Sequences of lengths of their own: whole boxes of O, boxes that end inside, blocks that are none.
LENGTHS = {
    "packed": "130/200,0/7,64/64,200/131,1/90",
    "padded": "130/200,0/7,64/64,70/9,1/90",
    # Tickets of blocks that are none, behind and before others of the same CTA.
    "drawn": "64/64,0/7,65/9,1/5,33/70,0/0,70/3,5/64,2/66,0/1",
    # A list of which each warp has two trips, and CTAs several blocks.
    "sorted": ",".join(["64/64,0/7,165/9,1/5,33/170,0/0,170/3,5/64"] * 9 + ["1/3"] * 228),
}
KERNELS |= {
    "packed": ("causal: true\nseqlens: [cu_seqlens_q, cu_seqlens_k]\n", "b5 h2/1 sq200 sk200",
               {"scheduler": "grid"}),
    "padded": ("seqlens: [seqused_q, seqused_k, leftpad_k]\n", "b5 h2/1 sq200 sk200",
               {"scheduler": "grid"}),
    "drawn": ("seqlens: [seqused_q, seqused_k]\n", "b10 h16/4 sq70 sk70",
              {"scheduler": "dynamic"}),
    "sorted": ("seqlens: [cu_seqlens_q, cu_seqlens_k]\n", "b300 h1 sq170 sk170",
               {"scheduler": "dynamic", "device_items": "true"}),
}
KERNELS |= {
    "blocks": ("causal: true\nblock_list: {block: [128, 64]}\n", "b1 h4/2 sq300 sk500",
               {"scheduler": "grid"}),
    # Lists of more tiles than a warp looks at in one trip.
    "classes": ('mask_mod: "(q_idx >> 5 ^ kv_idx >> 5) % 3 == 0"\n', "b1 h2/1 sq130 sk700",
                {"scheduler": "grid", "classes": "step", "block_n": "16"}),
}
# Rows in pages, of two tables; and few rows, with parts of a row that meet.
LENGTHS |= {
    "pages": "130/200,130/7,130/64,130/131",
    "decode": "3/200,3/7,3/64,3/131",
    "decode_items": "3/250,3/7,3/0,3/131",
    "decode_pages": "3/200,3/7,3/64,3/131",
}
DECODE = {"template": "decode_wgmma", "block_m": "64", "block_n": "64", "num_warps": "5",
          "num_stages": "2", "pack_gqa": "true", "split_keys": "0"}
KERNELS |= {
    "pages": ("causal: true\npage_table: kv\nseqlens: [seqused_k]\n",
              "b4 h2/1 sq130 sk200 page_size48", {"scheduler": "grid"}),
    "decode": ("group_size: 8\nseqlens: [seqused_k]\n", "b4 h8/1 sq3 sk200", DECODE),
    "decode_items": ("group_size: 8\nseqlens: [seqused_k]\n", "b4 h8/1 sq3 sk250",
                     DECODE | {"split_keys": "128", "num_stages": "1"}),
    "decode_pages": ("group_size: 8\npage_table: true\nseqlens: [seqused_k]\n"
                     "mask_mod: kv_idx // 32 % 3 != 1 || q_idx < 2\n",
                     "b4 h8/1 sq3 sk200 page_size48", DECODE),
}
# The same of warps that copy by themselves: parts that their last CTA adds up, and that a step does;
# warps that share rows; a batch of both classes; a prefix that all read.
LENGTHS |= {
    "own_keys": "3/250,3/7,3/0,3/131",
    "step": "3/250,3/7,3/0,3/131",
    "shared_rows": "3/200,3/7,3/64,3/131",
    "mixed": "1/130,70/90,3/200,1/0",
    "prefix": "1/100,1/70",
}
MMA = {"template": "decode_mma", "block_m": "16", "block_n": "32", "num_warps": "2", "num_stages": "2",
       "warps_n": "1", "q_in_regs": "true", "pack_gqa": "true", "split_keys": "128", "combine": "false"}
KERNELS |= {
    "own_keys": ("group_size: 4\npage_table: true\nseqlens: [seqused_k]\n",
                 "b4 h4/1 sq3 sk250 page_size48", MMA),
    "step": ("group_size: 4\nsink: fp32\nseqlens: [seqused_k]\n", "b4 h4/1 sq3 sk250",
             MMA | {"combine": "true", "num_stages": "3"}),
    "shared_rows": ("group_size: 4\ncausal: true\nseqlens: [seqused_k]\n", "b4 h4/1 sq3 sk200",
                    MMA | {"num_warps": "4", "warps_n": "4", "split_keys": "0"}),
    "mixed": ("group_size: 4\ncausal: true\nseqlens: [cu_seqlens_q, seqused_k]\n",
              "b4 h4/1 sq70 sk200", {
                  "template": "mixed", "block_m": "64", "block_n": "32", "num_warps": "4",
                  "num_stages": "2", "prefill.q_in_regs": "true", "decode.block_m": "16",
                  "decode.block_n": "64", "decode.num_stages": "2", "decode.num_warps": "4",
                  "decode.warps_n": "1", "decode.q_in_regs": "true", "decode.pack_gqa": "true",
                  "decode.split_keys": "64"}),
    "prefix": ("group_size: 4\ncausal: true\nshared_prefix: true\nseqlens: [seqused_k]\n",
               "b2 h4/1 sq1 sk100 sp150", MMA),
}
# Of these some entries alone: what the others have is another kernel's here.
ENTRIES = {"own_keys": ("decode",), "mixed": ("plan", "forward"), "prefix": ("prefix_plan", "merge")}
WHOLE = "nothing taken away"  # the kernel itself, of which nothing may be found
GUARD = r"(?:@p )?"
RULES = (  # what, the statement, what takes its place
    ("no mbarrier wait", r"WAIT_\w+: mbarrier\.try_wait[^;]*; @!p bra WAIT_\w+;", ""),
    ("parity turned", r"(mbarrier\.try_wait\.parity[^;]*\], )(%\w+|\d)(;)", None),
    ("no arrival", GUARD + r"mbarrier\.arrive\.release[^;]*;", ""),
    ("no expect_tx", GUARD + r"mbarrier\.arrive\.expect_tx[^;]*;", ""),
    ("more bytes", r"(mbarrier\.arrive\.expect_tx[^;]*, )(\d+)(;)", 16),
    ("fewer bytes", r"(mbarrier\.arrive\.expect_tx[^;]*, )(\d+)(;)", -16),
    ("more arrivals", r"(mbarrier\.init[^;]*, )(\d+)(;)", 1),
    ("fewer arrivals", r"(mbarrier\.init[^;]*, )([2-9]|\d\d)(;)", -1),
    ("no fence of mbarriers", GUARD + r"fence\.mbarrier_init[^;]*;", ""),
    ("no proxy fence", r"fence\.proxy\.async[^;]*;", ""),
    ("no wgmma.fence", r"wgmma\.fence[^;]*;", ""),
    ("no wgmma commit", r"wgmma\.commit_group[^;]*;", ""),
    ("no wgmma wait", r"wgmma\.wait_group[^;]*;", ""),
    ("weaker wgmma wait", r"(wgmma\.wait_group\.sync\.aligned )(\d)(;)", 1),
    ("no barrier", r"bar\.sync [^;]*;", ""),
    ("no arrival at a barrier", GUARD + r"bar\.arrive [^;]*;", ""),
    ("no warp barrier", r"bar\.warp\.sync[^;]*;", ""),
    ("no bulk commit", GUARD + r"cp\.async\.bulk\.commit_group;", ""),
    ("no bulk wait", r"cp\.async\.bulk\.wait_group[^;]*;", ""),
    ("no cluster barrier", r"barrier\.cluster\.\w+\.?[^;]*;", ""),
    ("no setmaxnreg", r"setmaxnreg\.inc[^;]*;", ""),
    ("added to nothing", r"setp\.ne\.b32 set, [^;]*;", "setp.eq.b32 set, 0, 0;"),
    ("added to never", r"setp\.ne\.b32 set, [^;]*;", "setp.ne.b32 set, 0, 0;"),
    ("the first columns of a table", r"(bulk\.tensor\.\dd\.shared[^;]*, \{)%r\d+", r"\g<1>0"),
    ("no word", r"st\.shared::cta\.b32 [^;]*;", ""),
    ("no ticket", GUARD + r"atom\.relaxed[^;]*;", ""),
    ("a ticket of the CTA's own", r"(atom\.relaxed\.)gpu", r"\1cta"),
    ("no end of the tickets", r"(atom\.relaxed\.gpu\.global\.)inc", r"\1add"),
    ("nothing counted", r"@p red\.shared\.add[^;]*;", ""),
    ("nothing taken", r"@q st\.shared[^;]*;", ""),
    ("no sum of a warp", r"@p st\.shared\.b32[^;]*;", ""),
    ("no zeros", r"st\.shared\.v4\.b32 [^;]*\{(%r\d+),\1,\1,\1\};", ""),
)

OF_LISTS = (  # of kernels whose call lists blocks
    ("no number of a list", r"@p ld\.global\.nc\.b32[^;]*;", ""),
)
OF_CLASSES = (  # of kernels whose first launches list tiles
    ("no class, or word of a list", r"@p st\.global\.b32[^;]*;", ""),
)
OF_PAGES = (
    ("no id of a page", r"@p ld\.global\.nc\.b32[^;]*;", ""),
    ("ids of no page", r"mov\.b32 %r\d+, -1; (?=@p ld\.global\.nc)", ""),
    ("the first lane's page", r"(shfl\.sync\.idx\.b32[^;]*, )%r\d+(, 31)", r"\g<1>0\2"),
)
OF_DECODES = (  # Q comes by threads, and parts meet by a counter
    ("no wait for copies", r"cp\.async\.wait_group[^;]*;", ""),
    ("no copy", r"(?:@p )?cp\.async\.cg[^;]*;", ""),
    ("no fence of a part", r"@p fence\.acq_rel\.gpu;", ""),
    ("no order of the counter", r"atom\.acq_rel\.gpu", "atom.relaxed.gpu"),
    ("nobody counts", r"@p atom\.acq_rel[^;]*;", ""),
    ("nobody is the last", r"@me st\.shared\.b32[^;]*;", ""),
    ("no part", r"st\.global\.v[24]\.f32[^;]*;", ""),
    ("no word of the plan", r"@p st\.global\.b32[^;]*;", ""),
)
OF_WARPS = (  # that copy by themselves
    ("no commit", r"cp\.async\.commit_group;", ""),
    ("weaker wait", r"(cp\.async\.wait_group )(\d+)(;)", 1),
)
OF_LENGTHS = (  # of kernels with LENGTHS alone; of their loads V's have the most coordinates
    ("no slide", r"(bulk\.tensor\.%dd\.shared[^;]*\{\d+, )%%r\d+", r"\g<1>0"),
    ("O behind the end", r"setp\.ne\.s32 p, [^;]*; (?=@p ld\.shared\.v4)",
     "setp.eq.s32 p, 0, 0; "),
    ("LSE behind the end", r"setp\.ne\.s32 p, [^;]*; (?=@p st\.global\.f32)",
     "setp.eq.s32 p, 0, 0; "),
    ("whole boxes of O alone", r"@%%p\d+ bra\s+(\$L\w+);\s+bra\.uni\s+\$L\w+;\s+\1:"
     r"(?=(?:(?!\$L)[\s\S])*?bulk\.tensor[^;]*global\.shared)", r"bra.uni \1;\n\1:"),
    ("no box of O", r"@p cp\.async\.bulk\.tensor[^;]*global\.shared[^;]*;", ""),
)


def turned(match):
    """The parity, the other way round; a register is turned in one of its own."""
    old = match.group(2)
    if not old.startswith("%"):
        return match.group(1) + str(1 - int(old)) + match.group(3)
    return ("{ .reg .b32 turned; xor.b32 turned, " + old + ", 1; " + match.group(1) + "turned" +
            match.group(3) + " }")


def rules(ptx, name):
    if "block_list" in KERNELS[name][0]:
        return RULES + OF_LISTS
    if "classes" in KERNELS[name][2]:
        return RULES + OF_CLASSES
    if name not in LENGTHS:
        return RULES
    own = OF_PAGES if "page_table" in KERNELS[name][0] else ()
    own += OF_DECODES if "template" in KERNELS[name][2] else ()
    own += OF_WARPS if "wgmma" not in KERNELS[name][2].get("template", "wgmma") else ()
    most = max(re.findall(r"bulk\.tensor\.(\d)d\.shared", ptx), default="4")
    return RULES + own + tuple((what, pattern.replace("%d", most).replace("%%", "%"), change)
                         for what, pattern, change in OF_LENGTHS)


def is_of(ptx, name, place):
    """Is it in an entry whose statements are tried?"""
    entry = re.findall(r"\.entry attnc_(?:decode_mma|mixed)_(\w+)_sm_", ptx[:place])
    return name not in ENTRIES or bool(entry) and entry[-1] in ENTRIES[name]


def mutants(ptx, name):
    """(name, text); the n-th of a kind by its place in the kernel."""
    for what, pattern, change in rules(ptx, name):
        for n, m in enumerate(re.finditer(pattern, ptx)):
            if not is_of(ptx, name, m.start()):
                continue
            if isinstance(change, str):
                new = m.expand(change)
            elif change is None:
                new = turned(m)
            else:
                new = m.group(1) + str(int(m.group(2)) + change) + m.group(3)
            yield f"{what} {n + 1}", ptx[:m.start()] + new + ptx[m.end():]


class Kernel:
    def __init__(self, attnc, folder, name):
        mask, self.size, changes = KERNELS[name]
        base = {"template": "fwd_wgmma"} | dict(f.split("=") for f in BASE.split(","))
        fields = changes if "template" in changes else base | changes
        pins = ",".join(f"{k}={v}" for k, v in fields.items())
        self.name, self.attnc, self.folder = name, attnc, folder
        self.spec = os.path.join(folder, f"{name}.attn.yaml")
        with open(self.spec, "w", encoding="utf-8") as f:
            f.write(f"attnc: 1\nname: {name}\ndtype: bf16\nhead_dim: 64\nreturn_lse: true\n{mask}")
        self.args = ["--arch", "sm_90a", "--shape", self.size, "--schedule", pins]
        self.lengths = ["--seqlens", LENGTHS[name]] if name in LENGTHS else []
        out = subprocess.run([attnc, "compile", self.spec, *self.args, "--emit", "ptx", "-o",
                              os.path.join(folder, name)],
                             capture_output=True, text=True)
        if out.returncode:
            raise RuntimeError(out.stderr)
        self.ptx = self.find_ptx()

    def find_ptx(self):
        for root, _, names in os.walk(os.path.join(self.folder, self.name)):
            for n in names:
                if n.endswith(".ptx"):
                    with open(os.path.join(root, n), encoding="utf-8") as f:
                        return f.read()
        raise RuntimeError(f"{self.name}: no PTX was written")

    def found(self, n, text):
        path = os.path.join(self.folder, f"{self.name}-{n}.mutant")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        for setting in SETTINGS:
            env = dict(os.environ, ATTNC_EMU=setting + ",fuel=40000000", ATTNC_LOAD_PTX=path)
            r = subprocess.run([self.attnc, "run", self.spec, *self.args, "--device", "emu",
                                "--verify", "--no-cache", "-q", "--timeout", "120", *self.lengths],
                               capture_output=True, text=True, env=env)
            if r.returncode:
                return True
        return False


def known_survivors(path):
    with open(path, encoding="utf-8") as f:
        lines = (line.split("#")[0].strip() for line in f)
        return {line for line in lines if line}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("attnc")
    p.add_argument("survivors")
    p.add_argument("--kernel", choices=KERNELS)
    p.add_argument("--shard", default="0/1")
    p.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    p.add_argument("-v", action="store_true")
    o = p.parse_args()
    with tempfile.TemporaryDirectory() as folder, \
         concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
        work = []
        for name in [o.kernel] if o.kernel else KERNELS:
            k = Kernel(o.attnc, folder, name)
            work += [(k, what, text) for what, text in [(WHOLE, k.ptx), *mutants(k.ptx, name)]]
        first, step = map(int, o.shard.split("/"))
        work = work[first::step]
        found = list(pool.map(lambda w: w[0].found(w[1].replace(" ", "-"), w[2]), work))
        alive = {f"{k.name}: {what}" for (k, what, _), yes in zip(work, found) if not yes}
    known, tried = known_survivors(o.survivors), {f"{k.name}: {what}" for k, what, _ in work}
    known |= {f"{name}: {WHOLE}" for name in KERNELS}
    if o.kernel:
        known = {line for line in known if line.startswith(o.kernel + ":")}
    new, gone = sorted(alive - known), sorted((known & tried) - alive)
    for line in new:
        print(f"FAIL  nobody finds  {line}")
    for line in gone:
        print(f"FAIL  listed, but found  {line}")
    if step == 1:
        for line in sorted(known - tried):
            print(f"FAIL  listed, but there is no such mutant  {line}")
            gone.append(line)
    print(f"{len(work)} mutants, {len(work) - len(alive)} found, {len(alive)} survive")
    return 1 if new or gone else 0


if __name__ == "__main__":
    sys.exit(main())
