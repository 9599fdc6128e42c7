"""Phase `golden`: microkernels recorded on the device, and replayed on the emulator at once.

The recording lies beside the result file.  On the emulated device it records itself, which shows
that the way works and proves nothing about a chip."""
import os
import sys

import process

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
GOLDEN = os.path.join(ROOT, "tests", "conformance", "golden", "golden")
TINY = "redux"  # forms that a tiny run records
JOBS = 4        # processes that record: a driver compiles in each
PACKING = 15    # seconds that are left for writing the file


def golden(suite, *words):
    return process.run([sys.executable, GOLDEN, *words, "--attnc", suite.where.path],
                       max(10, suite.left()))


def run(suite):
    name = f"golden-sm_{suite.results.data['device']['compute_capability'].replace('.', '')}"
    name += f"-{suite.results.data['device'].get('driver') or 'emulator'}.zip"
    beside = suite.folder if suite.emulated else os.path.dirname(suite.results.file)
    path = os.path.join(beside, name)
    only = ["--only", TINY] if suite.tiny else []
    if suite.emulated:
        said = golden(suite, "record", "--device", "emu", "--arch", "sm_80", "-o", path, *only)
    else:
        said = golden(suite, "record", "--device", "cuda", "-o", path, *only, "--jobs", str(JOBS),
                      "--seconds", f"{max(10, suite.left() - PACKING):.0f}")
    keep(suite, "device", "record", said)
    if os.path.exists(path) and not suite.record_only:
        keep(suite, "emulator", "replay", golden(suite, "replay", path))


def keep(suite, subject, what, said):
    lines = (said.out + said.err).strip().splitlines()
    if said.code is None:
        suite.results.skip(subject, {"golden": what}, said.why)
    else:
        suite.results.check(subject, {"golden": what}, said.code == 0, "\n".join(lines[:200]))
    for line in lines[-3:]:
        suite.say(f"  {line}")
