"""Which sums of gradients depend on the order in which blocks of threads come: the emulator runs each launch
under several (docs/emulator.md, Under several orders).

    bwd_orders.py ATTNC        one pass for all, and `deterministic: true`

One pass: what is reported is dQ's sums in workspace, by the additions that make them, and nothing else: dk and
dv are not named. `deterministic: true`: nothing is reported, and the bytes of dq, dk and dv are the same
whatever the order, the policy of warps and copies, and the number of blocks that are resident."""
import json
import os
import re
import subprocess
import sys
import tempfile

SHAPE = "b1 h4/2 sq100 sk130"
TILES = "template=bwd_mma,block_m=32,block_n=32,num_warps=2"
ONE_PASS = f"{TILES},passes=1"
ORDERS = "orders=4,seed=3"
SETTINGS = (ORDERS, "ctas=reverse,sched=rr,async=eager,resident=1", "ctas=random,seed=7,sched=random,async=random,resident=64")
SPEC = "attnc: 1\nname: orders\ndtype: fp16\nhead_dim: 32\nreturn_lse: true\ncausal: true\n"
FINDING = re.compile(r"error\[([\w-]+)\]: parameter (\d+) .*\((\w+)\): .*?(\w+)\.", re.DOTALL)


class Spec:
    def __init__(self, attnc, folder, name, more):
        self.attnc, self.out = attnc, os.path.join(folder, name)
        self.path = f"{self.out}.attn.yaml"
        with open(self.path, "w", encoding="utf-8") as f:
            f.write(SPEC + more)

    def call(self, setting, schedule, *more):
        """Of a backward pass: exit code, and what it says."""
        r = subprocess.run([self.attnc, "run", self.path, "--op", "bwd", "--no-cache", "--device", "emu", "--arch", "sm_80",
                            "--schedule", schedule, "--shape", SHAPE, "-q", *more], capture_output=True, text=True,
                           env=dict(os.environ, ATTNC_EMU=setting))
        return r.returncode, r.stdout + r.stderr

    def gradients(self, setting, schedule):
        code, text = self.call(setting, schedule, "--verify", "-o", self.out)
        with open(self.out, "rb") as f:
            return code, text, f.read()

    def region_of(self, schedule, kernel, parameter):
        """The region of workspace that a parameter of a kernel points to; None: to none."""
        subprocess.run([self.attnc, "compile", self.path, "--op", "bwd", "--arch", "sm_80", "--schedule", schedule,
                        "--emit", "json", "-o", f"{self.out}.d"], check=True, capture_output=True)
        name, = (n for n in os.listdir(f"{self.out}.d") if n.endswith(".json"))
        with open(os.path.join(f"{self.out}.d", name), encoding="utf-8") as f:
            recipe = json.load(f)
        launch, = (s["launch"] for s in recipe["steps"] if s.get("launch", {}).get("entry") == kernel)
        at = launch["params"][parameter].get("workspace")
        return None if at is None else recipe["workspace"][at]["name"]


def one_pass(attnc, folder):
    s = Spec(attnc, folder, "one", "")
    code, text = s.call(ORDERS, ONE_PASS)
    found = [line for line in text.splitlines() if "error[" in line]
    if code != 1 or len(found) != 1:
        return f"exit {code}, {len(found)} findings: {text}"
    m = FINDING.search(found[0])
    if not m or m.group(1) != "order-dependent" or "red.relaxed.gpu.global.add.f32" not in found[0]:
        return f"it is no addition that depends on the order: {found[0]}"
    region = s.region_of(ONE_PASS, m.group(3), int(m.group(2)))
    return None if region == "dq_sums" else f"parameter {m.group(2)} of {m.group(3)} is {region}: {found[0]}"


def deterministic(attnc, folder):
    s = Spec(attnc, folder, "same", "deterministic: true\n")
    code, text = s.call(ORDERS, ONE_PASS)
    if code != 4 or "deterministic" not in text:
        return f"one pass is legal: exit {code}: {text}"
    first = None
    for setting in SETTINGS:
        code, text, bits = s.gradients(setting, TILES)
        first = first or bits
        if code or bits != first:
            return f"{setting}: exit {code}, {'the same' if bits == first else 'other'} bytes: {text}"
    return None


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for test in (one_pass, deterministic):
            wrong = test(sys.argv[1], folder)
            failed += wrong is not None
            print(f"{'FAIL' if wrong else 'ok'}  {test.__name__} {wrong or ''}")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
