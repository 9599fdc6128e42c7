"""What is being measured: the device, its driver, the versions of everything, and the clocks
while it is measured.  Nothing here changes a setting of the device."""
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time

from kit.results import Skip

SMI = "nvidia-smi"
# Every cache that attnc, torch, Triton or the driver keeps between processes.
CACHES = {"ATTNC_CACHE_DIR": "attnc", "ATTNC_TUNE_DIR": "tune", "TRITON_CACHE_DIR": "triton",
          "TORCHINDUCTOR_CACHE_DIR": "inductor", "CUDA_CACHE_PATH": "driver"}
MULTIPROCESSORS = 16  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT


def query(fields):
    """nvidia-smi's words for device 0 of this process."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0]
    return [f"--query-gpu={','.join(fields)}", f"--id={visible or 0}",
            "--format=csv,noheader,nounits"]


def smi(fields):
    """The first device's values of nvidia-smi's query, as texts; {} where it does not answer."""
    if not shutil.which(SMI):
        return {}
    said = subprocess.run([SMI, *query(fields)], capture_output=True, text=True)
    values = [v.strip() for v in (said.stdout.splitlines() or [""])[0].split(",")]
    return dict(zip(fields, values)) if said.returncode == 0 and len(values) == len(
        fields) else {}


def number(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def device(where, kind):
    """The result file's `device`.  Exits with code 6 and the reason where there is none."""
    from attnc import errors
    from golden.device import Device
    from golden.record import driver_version
    try:
        d = Device(*library(where, kind))
    except errors.AttncError as e:
        print(f"bench/gpu/run: {e}", file=sys.stderr)
        sys.exit(6)
    about = d.about()
    found = {"name": about["name"], "emulated": about["emulated"],
             "compute_capability": f"{about['sm'] // 10}.{about['sm'] % 10}",
             "multiprocessors": d.attribute(MULTIPROCESSORS), "cuda_driver": about["cuda"]}
    if not about["emulated"]:
        rows = smi(["driver_version", "memory.total", "power.limit", "clocks.max.sm"])
        found["driver"] = rows.get("driver_version") or driver_version()
        for key, name, factor in (("memory_bytes", "memory.total", 1 << 20),
                                  ("power_limit_w", "power.limit", 1),
                                  ("max_sm_mhz", "clocks.max.sm", 1)):
            if number(rows.get(name)):
                found[key] = number(rows[name]) * factor
    return found


def library(where, kind):
    """(path, settings) of the driver library of --device."""
    if kind == "emu":
        return where.emulator, "arch=sm_80"
    return os.environ.get("ATTNC_LIBCUDA") or "libcuda.so.1", None


def versions():
    import attnc
    recipe = attnc.compile({"attnc": 1, "name": "version", "dtype": "fp16", "head_dim": 64},
                           "sm_80").recipe
    found = {"attnc": recipe["attnc"], "code_id": recipe["code_id"], "llvm": recipe["llvm"],
             "python": sys.version.split()[0]}
    try:
        t = torch()
        found.update(torch=t.__version__, cuda=str(t.version.cuda),
                     cudnn=str(t.backends.cudnn.version()))
        import triton
        found["triton"] = triton.__version__
    except (Skip, ImportError):
        pass
    return found


def torch():
    """torch with a device; Skip says what is missing."""
    try:
        import torch as t
    except ImportError as e:
        raise Skip(f"torch is not installed ({e})") from None
    if not t.cuda.is_available():
        raise Skip("torch finds no CUDA device")
    return t


class Clocks:
    """nvidia-smi asked again and again, beside the work; `between` says what the SM clock and
    the power were.  Without nvidia-smi it says nothing."""

    FIELDS = ("clocks.sm", "power.draw", "temperature.gpu")
    KEYS = ("sm_mhz", "power_w", "temperature_c")
    PAUSE = 0.1  # seconds between two questions

    def __init__(self):
        self.rows, self.over = [], threading.Event()
        self.thread = threading.Thread(target=self.ask, daemon=True)
        if shutil.which(SMI):
            self.thread.start()

    def ask(self):
        while not self.over.is_set():
            said = smi(self.FIELDS)
            if said:
                self.rows.append((time.monotonic(), [number(v) for v in said.values()]))
            self.over.wait(self.PAUSE)

    def between(self, start, end):
        rows = [values for at, values in self.rows if start <= at <= end]
        found = {}
        for key, column in zip(self.KEYS, zip(*rows)):
            seen = [v for v in column if v is not None]
            if seen:
                found[key] = statistics.median(seen)
        seen = [v[0] for v in rows if v[0] is not None]
        if seen:
            found.update(sm_mhz_least=min(seen), sm_mhz_most=max(seen))
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        if self.thread.is_alive():
            self.thread.join()
