"""What calls cost the host, in instructions by callgrind (Debian: valgrind) and allocations,
beside what they cost at the last review.

host_cost_test.py PROGRAM BASELINE                  fails above a row of the baseline
ATTNC_UPDATE=1 host_cost_test.py PROGRAM BASELINE   writes it anew
host_cost_test.py --self-test                       can it fail?

Exit 77: there is no valgrind."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

# The workload and the case of the program, how often, the environment: each has a cache of its
# own.
PLAIN = {"ATTNC_ASSEMBLER": "none", "ATTNC_CACHE_ZSTD": "0"}
CASES = {
    "bare": ("prefill", "bare", 40, PLAIN),
    "launch": ("prefill", "launch", 40, PLAIN),
    "launch_state": ("prefill", "launch_state", 40, PLAIN),
    "launch_again": ("prefill", "launch_again", 40, PLAIN),
    "decode_bare": ("decode", "bare", 40, PLAIN),
    "decode_launch": ("decode", "launch", 40, PLAIN),
    "decode_launch_state": ("decode", "launch_state", 40, PLAIN),
    "decode_launch_again": ("decode", "launch_again", 40, PLAIN),
    "memory_hit": ("prefill", "memory_hit", 20, PLAIN),
    "disk_hit": ("prefill", "disk_hit", 6, PLAIN),
    "disk_hit_zstd": ("prefill", "disk_hit", 6, {"ATTNC_ASSEMBLER": "none"}),
    "disk_hit_cubin": ("prefill", "disk_hit", 6,
                       {"ATTNC_CACHE_ZSTD": "0", "ATTNC_ASSEMBLER": "driver"}),
    "disk_hit_zstd_cubin": ("prefill", "disk_hit", 6, {"ATTNC_ASSEMBLER": "driver"}),
}
# Of these the driver's own share is taken.
OVER = {f"{kind}{case}": f"{kind}bare" for kind in ("", "decode_")
        for case in ("launch", "launch_state", "launch_again")}
LEAST, MOST = 0.85, 1.05  # of a row: below it the row is stale, above it is a rise
ROW = re.compile(r"(\w+) +(\d+) +(\d+)")
HEAD = """\
# Instructions and allocations of a call on the host, by tests/bench/host_cost_test.py, gcc 12 on
# x86-64, SHA-256 in plain C (valgrind has not the instructions).  launch…: attnc_launch, less a
# bare cuLaunchKernel of the same driver, which `bare` is: new addresses without a state, with
# one, and the same addresses again; decode…: the same of a plan of several steps, a token of
# each of 8 sequences in pages, whose keys are split.  disk_hit…: a new context, attnc_plan_get,
# the release.  A call whose arguments are not the last ones evaluates the grid's axes anew, each
# that differs once.
# case               instructions  allocations
"""


def run(command, env):
    done = subprocess.run(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**{k: v for k, v in os.environ.items() if not k.startswith("ATTNC_")}, **env})
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr[-3000:]}")
    return done.stdout


def measure(program, name, folder):
    """(instructions, allocations) of one call."""
    workload, case, n, env = CASES[name]
    cache, out = os.path.join(folder, name), os.path.join(folder, f"{name}.callgrind")
    os.mkdir(cache, 0o700)
    run([program, workload, case, "1", cache], env)  # so that nothing is compiled in valgrind
    said = run(["valgrind", "--tool=callgrind", "--toggle-collect=measured",
                f"--callgrind-out-file={out}", program, workload, case, str(n), cache],
               env)
    with open(out, encoding="utf-8") as f:
        total = int(re.search(r"^summary: (\d+)", f.read(), re.M)[1])
    return total // n, int(said.split()[0])


def judge(rows, now):
    """What is wrong, a line each."""
    bad = []
    for name in sorted({*rows, *now}):
        if name not in rows or name not in now:
            bad.append(f"{name}: {'no row' if name in now else 'no case'}")
            continue
        (was, was_allocated), (is_now, allocated) = rows[name], now[name]
        if is_now > was * MOST or allocated > was_allocated:
            bad.append(f"{name}: {is_now} instructions, {allocated} allocations: more than "
                       f"{was}, {was_allocated}")
        elif is_now < was * LEAST:
            bad.append(f"{name}: {is_now} instructions, the row says {was}: ATTNC_UPDATE=1")
    return bad


def read(path):
    with open(path, encoding="utf-8") as f:
        rows = (ROW.fullmatch(line.strip()) for line in f if not line.startswith("#"))
        return {m[1]: (int(m[2]), int(m[3])) for m in rows}


def self_test():
    rows = {"launch": (1000, 0), "memory_hit": (40000, 1)}
    wrong = [({**rows, "launch": (1060, 0)}, "more than"), ({**rows, "launch": (1000, 1)}, "more"),
             ({**rows, "launch": (800, 0)}, "says"), ({"launch": (1000, 0)}, "no case"),
             ({**rows, "other": (1, 1)}, "no row")]
    assert not judge(rows, rows) and not judge(rows, {**rows, "launch": (1010, 0)})
    for now, word in wrong:
        said = judge(rows, now)
        assert len(said) == 1 and word in said[0], (now, said)


def main():
    if sys.argv[1] == "--self-test":
        return self_test()
    if not shutil.which("valgrind"):
        print("SKIPPED: no valgrind")
        return 77
    program, baseline = sys.argv[1:3]
    with tempfile.TemporaryDirectory(prefix="attnc-cost-") as folder:
        now = {name: measure(program, name, folder) for name in CASES}
    for name in OVER:
        now[name] = (now[name][0] - now[OVER[name]][0], now[name][1])
    if os.environ.get("ATTNC_UPDATE") == "1":
        with open(baseline, "w", encoding="utf-8") as f:
            f.write(HEAD)
            f.writelines(f"{name:20} {a:12d} {b:12d}\n" for name, (a, b) in now.items())
    for name, (instructions, allocations) in now.items():
        print(f"{name:20} {instructions:12d} {allocations:12d}")
    bad = judge(read(baseline), now)
    print("\n".join(bad) or "no more than they were")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
