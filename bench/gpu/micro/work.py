"""The process in which rows are measured: `calibrate` starts it, and starts it again behind a row
that ended it.  One line of JSON for each row: its index, samples and contexts, or why it has none."""
import argparse
import json
import math
import os
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
GPU, ROOT = os.path.dirname(HERE), os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path[:0] = [os.path.join(ROOT, "bench"), GPU, os.path.join(ROOT, "tests", "conformance")]

import folder  # noqa: E402

SAMPLES, LONG_SAMPLES = 5, 1
TINY_TRIPS, TINY_TILES, TINY_CTAS, TINY_LAUNCHES = 3, 16, 2, 3
MULTIPROCESSORS = 16  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT


def arguments():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--attnc", required=True)
    p.add_argument("--device", choices=("cuda", "emu"), default="cuda")
    p.add_argument("--first", type=int, default=0, help="the index of the first row")
    p.add_argument("--tiny", action="store_true", help="a few trips, two CTAs, one sample")
    return p.parse_args()


def trips(row, clocks):
    return max(1, round(clocks / row.trip))


def measured(runner, row, a, multiprocessors):
    """(samples, contexts) of a row."""
    from micro.launch import Geometry
    from micro.rows import Setting
    kernel = row.kernel()
    whole = multiprocessors // kernel.cluster * kernel.cluster
    ctas = max(1, row.waves * (TINY_CTAS if a.tiny else whole))
    n = TINY_TRIPS if a.tiny else trips(row, row.clocks)
    pace = TINY_TILES if a.tiny and kernel.box else row.pace
    launches = min(row.launches, TINY_LAUNCHES) if a.tiny else row.launches
    first = trips(row, row.ahead) if row.ahead and not a.tiny else None
    long = row.clocks * row.launches > 1e8
    count = 1 if a.tiny else LONG_SAMPLES if long else SAMPLES
    samples, contexts = [], []
    for k in range(count + (not a.tiny)):
        found = runner.run(kernel, n, Geometry(ctas, pace), launches, first)
        if a.tiny or k:  # the first run loads and warms
            samples.append(row.value(found, Setting(kernel, n)))
            contexts.append(row.context(found, Setting(kernel, n)))
    return samples, contexts


def one(runner, row, a, sm, multiprocessors):
    from golden.device import Refused
    from micro.launch import Wrong
    kernel = row.kernel()
    if not kernel.runs_on(sm):
        return {"skip": f"the kernel is for {kernel.target}, and this is sm_{sm}"}
    try:
        samples, contexts = measured(runner, row, a, multiprocessors)
    except (Refused, Wrong) as e:
        return {"wrong": str(e)}
    if a.device == "cuda" and not all(math.isfinite(x) for x in samples):
        return {"skip": "no sample has a number"}
    return {"samples": samples, "contexts": contexts}


def main():
    a = arguments()
    where = folder.find(a.attnc)
    from micro.launch import Runner
    from micro.rows import ROW_SECONDS, rows
    import world
    path, _ = world.library(where, a.device)
    runner = Runner(path, "arch=sm_90" if a.device == "emu" else None)
    sm, multiprocessors = runner.device.about()["sm"], runner.device.attribute(MULTIPROCESSORS)
    for i, row in enumerate(rows()):
        if i >= a.first:
            signal.alarm(ROW_SECONDS)
            start = time.monotonic()
            found = one(runner, row, a, sm, multiprocessors)
            print(json.dumps({"row": i, **found, "from": start, "to": time.monotonic()}),
                  flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
