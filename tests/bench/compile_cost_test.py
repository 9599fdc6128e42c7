"""What a cold compile, spec to PTX, costs beside plain causal's, and the front end of
expressions, in instructions by callgrind (Debian: valgrind).

    compile_cost_test.py ATTNC          fails above LIMIT times plain causal's, and above FRONT
    compile_cost_test.py --self-test    can it fail?

Exit 77: there is no valgrind."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIMIT = 1.5
FRONT = 8_000_000  # parse, check, normal form, canonical text: 6.0 million took 0.72 ms
# The specs that compile longest: a listed mask of bits, and a mask of two tables.
SPECS = ("natten_2d_morton", "shared_prefix")
TARGET, SHAPE = "sm_80", "b4 h8 s4096"


def counted(attnc, spec, function, folder):
    """Instructions inside of the function."""
    out = os.path.join(folder, "callgrind")
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", f"--toggle-collect={function}",
         f"--callgrind-out-file={out}", attnc, "compile", spec, "--arch", TARGET, "--shape", SHAPE,
         "-o", os.path.join(folder, "made")],
        capture_output=True, text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("ATTNC_")})
    if done.returncode:
        raise SystemExit(f"{spec}: exit {done.returncode}: {done.stderr[-2000:]}")
    with open(out, encoding="utf-8") as f:
        return int(re.search(r"^summary: (\d+)", f.read(), re.M)[1])


def plain(text):
    """The same problem, of a causal mask alone."""
    kept = re.findall(r"^(?:dtype|head_dim): .*$", text, re.M)
    return "\n".join(["attnc: 1", "name: plain", *kept, "causal: true"]) + "\n"


def judge(name, own, causal, front):
    bad = []
    if own > LIMIT * causal:
        bad.append(f"{name}: {own / causal:.2f} times plain causal, {LIMIT} is the limit")
    if front > FRONT:
        bad.append(f"{name}: its front end is {front} instructions, {FRONT} is the limit")
    return bad


def self_test():
    assert not judge("a", 150, 100, FRONT)
    assert len(judge("a", 151, 100, FRONT + 1)) == 2
    assert plain("# x\nattnc: 1\nname: y\ndtype: fp16\nhead_dim: 32\nmask_mod: z\n") == (
        "attnc: 1\nname: plain\ndtype: fp16\nhead_dim: 32\ncausal: true\n")


def main():
    if sys.argv[1] == "--self-test":
        return self_test()
    if not shutil.which("valgrind"):
        print("SKIPPED: no valgrind")
        return 77
    bad = []
    with tempfile.TemporaryDirectory(prefix="attnc-cost-") as folder:
        for name in SPECS:
            path = os.path.join(ROOT, "specs", f"{name}.attn.yaml")
            beside = os.path.join(folder, "plain.attn.yaml")
            with open(path, encoding="utf-8") as f, open(beside, "w", encoding="utf-8") as to:
                to.write(plain(f.read()))
            own, causal = (counted(sys.argv[1], x, "attnc_compile_with", folder)
                           for x in (path, beside))
            front = counted(sys.argv[1], path, "attnc_spec_load", folder)
            print(f"{name}: {own} instructions, plain causal {causal}: {own / causal:.2f} times; "
                  f"front end {front}", flush=True)
            bad += judge(name, own, causal, front)
    print("\n".join(bad) or "within the limits")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
