"""attnc compiling a spec in this process.

    python attnc_compile.py SPEC TARGET            (with python/ on PYTHONPATH)

Compiles once for each line of its input and answers with a line of JSON: ms, the milliseconds
of each stage.  The first line is its own: version, code_id, llvm, load_ms (of LLVM).
"""
import json
import sys
import time

import attnc

STAGES = ("front", "tile", "lower", "passes", "codegen")


def say(**values):
    print(json.dumps(values), flush=True)


def main(path, target):
    spec = attnc.load_spec(path)
    kernel = attnc.compile(spec, target)
    recipe = kernel.recipe
    say(version=recipe["attnc"], code_id=recipe["code_id"], llvm=recipe["llvm"],
        load_ms=1e3 * kernel.seconds["load"])
    for _ in sys.stdin:
        start = time.perf_counter()
        kernel = attnc.compile(spec, target)
        ms = 1e3 * (time.perf_counter() - start)
        say(ms=ms, stages={s: 1e3 * kernel.seconds[s] for s in STAGES})


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
