"""Do counters by which CTAs reach each other's results order memory?

    semaphores.py ATTNC

LLVM 22 drops the ordering of atomicrmw: an atomic of a kernel's own whose text has none would be a
counter that orders nothing. Each atomic of a kernel with splits is `.acq_rel`, or stands between
two fences of the GPU's scope; a ticket, by which nothing is ordered, is told by its kernel.
Passed: exit 0; one atomic at least on each target."""
import os
import re
import subprocess
import sys
import tempfile

SPEC = "attnc: 1\nname: splits\ndtype: fp16\nhead_dim: 64\nreturn_lse: true\n"
TARGETS = ("sm_75", "sm_80", "sm_90a", "sm_120")
ATOMIC, FENCE = re.compile(r"\batom\."), re.compile(r"\bfence\.(acq_rel|sc)\.gpu\b")


def unordered(text):
    """Statements with an atomic that neither orders by itself nor has fences on both sides."""
    statements = [s.strip() for s in re.split(r"[;{}\n]", text) if s.strip()]
    found = [i for i, s in enumerate(statements) if ATOMIC.search(s)]
    bad = [statements[i] for i in found if ".acq_rel" not in statements[i] and not (
        FENCE.search(" ".join(statements[:i])) and FENCE.search(" ".join(statements[i + 1:])))]
    return len(found), bad


def main():
    plain = "fence.acq_rel.gpu;\natom.relaxed.gpu.global.inc.u32 %r1, [%rd1], 3;\n"
    assert unordered(plain) == (1, ["atom.relaxed.gpu.global.inc.u32 %r1, [%rd1], 3"])
    assert unordered(plain + "fence.acq_rel.gpu;\n") == (1, [])
    assert unordered("atom.acq_rel.gpu.global.inc.u32 %r1, [%rd1], 3;") == (1, [])
    with tempfile.TemporaryDirectory() as folder:
        spec = os.path.join(folder, "splits.attn.yaml")
        with open(spec, "w", encoding="utf-8") as f:
            f.write(SPEC)
        subprocess.run([sys.argv[1], "compile", spec, "--arch", ",".join(TARGETS), "--schedule",
                        "template=decode_mma,split_keys=512,combine=false", "--emit", "ptx", "-q", "-o", folder],
                       check=True)
        for target in TARGETS:
            with open(os.path.join(folder, f"splits.{target}.ptx"), encoding="utf-8") as f:
                n, bad = unordered(f.read())
            print(f"{target}: {n} atomics, unordered: {bad or 'none'}")
            if bad or not n:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
