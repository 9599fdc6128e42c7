"""How many tiles of specs/shared_prefix.attn.yaml at 4096 are multiplied, beside those that hold a pair
which is seen: by the products that the emulated device executes.

    prefix_products.py ATTNC [--sets N]     a kernel and a set of documents a line
    prefix_products.py - --self-test        can it fail?

Passed: of all sets of a kernel at most LIMIT times the tiles that hold a pair."""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

import tensor_file

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SPEC = os.path.join(ROOT, "specs", "shared_prefix.attn.yaml")
S, D, DOCUMENTS, PROMPTS, LIMIT = 4096, 64, 8, 9, 1.05
KERNELS = (("sm_80", "template=fwd_mma", 64, 128), ("sm_80", "template=fwd_mma", 64, 64),
           ("sm_90a", "template=fwd_wgmma", 128, 128))


def tables(number):
    """Of each token its document; of each document the one that is its prompt, itself where it is one."""
    rng = random.Random(number)
    cuts = set(rng.sample(range(1, S), DOCUMENTS - 1))
    document, prompt, last = [], [], 0
    for i in range(S):
        document.append((document[-1] if document else 0) + (i in cuts))
    for d in range(PROMPTS):
        last = d if d == 0 or rng.random() < 0.35 else last
        prompt.append(last)
    return document, prompt


def needed(document, prompt, rows, keys):
    """Tiles that hold a pair; each block of rows has one at least."""
    n, first, last = 0, {}, {}
    for i, d in enumerate(document):
        first.setdefault(d, i)
        last[d] = i
    for block in range(0, len(document), rows):
        tiles = set()
        for q in range(block, min(block + rows, len(document))):
            own, of = document[q], prompt[document[q]]
            tiles.update(range(first[own] // keys, q // keys + 1))
            if of < own and of in first:
                tiles.update(range(first[of] // keys, last[of] // keys + 1))
        n += max(1, len(tiles))
    return n


def executed(attnc, folder, kernel, document, prompt, numbers):
    target, template, rows, keys = kernel
    path = os.path.join(folder, "in")
    tensor_file.write(path, {**{n: ("bf16", [1, S, 1, D], numbers) for n in "qkv"},
                             "document": ("i32", [S], document), "prompt": ("i32", [PROMPTS], prompt)})
    done = subprocess.run([attnc, "run", SPEC, "--arch", target, "--device", "emu", "--no-cache", "-q", "--stats",
                           "--json", "--input", path, "--schedule",
                           f"{template},block_m={rows},block_n={keys},classes=intervals"],
                          capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"exit {done.returncode}: {done.stderr[-600:]}")
    return json.loads(done.stdout)["results"][0]["stats"]["macs"] / (2 * rows * keys * D)


def judge(kernel, counts):
    """counts: (executed, needed) of each set."""
    ratio = sum(x for x, _ in counts) / sum(n for _, n in counts)
    bad = ratio > LIMIT or any(x < n for x, n in counts)
    print(f"{'FAIL' if bad else 'pass'} {kernel[0]} {kernel[1]} {kernel[2]}x{kernel[3]}: {ratio:.4f} of {len(counts)} "
          f"sets, at most {max(x / n for x, n in counts):.4f}", flush=True)
    return bad


def self_test():
    small = [0, 0, 0, 1, 1, 1, 2, 2]
    assert needed(small, [0, 0, 0], 2, 2) == 1 + 2 + 3 + 3
    assert needed(small, [0, 1, 1], 4, 4) == 1 + 2
    assert needed([0] * 4, [0], 2, 4) == 2
    assert not judge(KERNELS[0], [(105, 100), (100, 100)]) and judge(KERNELS[0], [(111, 100), (100, 100)])
    assert judge(KERNELS[0], [(99, 100), (101, 100)])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("attnc")
    p.add_argument("--sets", type=int, default=6)
    p.add_argument("--self-test", action="store_true")
    a = p.parse_args()
    if a.self_test:
        return self_test()
    rng, bad = random.Random(1), 0
    some = [rng.gauss(0, 1) for _ in range(S)]
    numbers = [some[i * 7919 % S] for i in range(S * D)]
    with tempfile.TemporaryDirectory() as folder:
        for kernel in KERNELS:
            counts = []
            for number in range(1, a.sets + 1):
                document, prompt = tables(number)
                counts.append((executed(a.attnc, folder, kernel, document, prompt, numbers),
                               needed(document, prompt, *kernel[2:])))
            bad += judge(kernel, counts)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
