"""Recording: every kernel on a device, each result a file of its own until all are packed.

The kernels run in a process apart: one that hangs or spoils the context costs itself, is noted
with the reason, and the next process goes on behind it.
"""
import os
import subprocess
import tempfile
import time

from . import store
from .device import Broken, Device, Refused

GIVE_UP = 3  # kernels in a row that end their process: then it is not the kernels


def work(kernels, folder, path, settings):
    """In the process apart: runs what has no result yet, in order."""
    device = Device(path, settings)
    about = device.about()
    for kernel in kernels:
        target = os.path.join(folder, kernel.name)
        if os.path.exists(target + ".out") or os.path.exists(target + ".why"):
            continue
        if not kernel.runs_on(about["sm"]):
            keep(target + ".why", f"needs {kernel.target}".encode())
            continue
        try:
            data = device.run(kernel.ptx, kernel.grid, kernel.block, store.data_of(kernel),
                              kernel.out_bytes, kernel.maps)
            findings = device.findings()
            if findings:
                raise Refused("; ".join(findings[:3]))
            keep(target + ".out", data)
        except Refused as e:
            keep(target + ".why", str(e).encode())
        except Broken as e:
            keep(target + ".why", str(e).encode())
            return 3  # the context is of no use: a new process
    return 0


def keep(path, data):
    with open(path + ".tmp", "wb") as f:
        f.write(data)
    os.replace(path + ".tmp", path)


NO_TIME = "out of time"


def run(kernels, command, patience=60, until=None):
    """{name: bytes or a reason}.  command: the words that start `work` on these kernels in a
    process apart, but for the folder; patience: seconds without a result until it is ended;
    until: when, by time.monotonic(), the rest is left with the reason NO_TIME."""
    with tempfile.TemporaryDirectory(prefix="attnc-golden-") as folder:
        idle = 0
        while True:
            pending = [k for k in kernels if not done(folder, k)]
            if not pending:
                return {k.name: result(folder, k) for k in kernels}
            if until and time.monotonic() > until:
                return {k.name: result(folder, k) if done(folder, k) else NO_TIME
                        for k in kernels}
            why, hung = one_process([*command, folder], kernels, folder, patience, until)
            left = [k for k in pending if not done(folder, k)]
            idle = idle + 1 if len(left) == len(pending) else 0
            if idle == GIVE_UP:
                raise RuntimeError(f"{GIVE_UP} processes ended without a result: {why}")
            if left and (hung or idle) and why != NO_TIME:
                keep(os.path.join(folder, left[0].name + ".why"), why.encode())


def one_process(command, kernels, folder, patience, until=None):
    """Runs it to its end, or ends it when results stop coming, or it is time: (why, did it
    hang?)"""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        count, since = -1, time.monotonic()
        while process.poll() is None:
            time.sleep(0.02)
            now = sum(done(folder, k) for k in kernels)
            if now != count:
                count, since = now, time.monotonic()
            hung = time.monotonic() - since > patience
            if hung or until and time.monotonic() > until:
                process.kill()
                process.wait()
                return (f"no result within {patience} s" if hung else NO_TIME), hung
        log.seek(0)
        return f"exit {process.returncode}: {log.read().strip()[-2000:]}", False


def done(folder, kernel):
    return any(os.path.exists(os.path.join(folder, kernel.name + e)) for e in (".out", ".why"))


def result(folder, kernel):
    path = os.path.join(folder, kernel.name)
    if os.path.exists(path + ".out"):
        with open(path + ".out", "rb") as f:
            return f.read()
    with open(path + ".why", encoding="utf-8", errors="replace") as f:
        return f.read()


def driver_version():
    """Of the kernel module, "580.1"; empty where there is none."""
    try:
        with open("/proc/driver/nvidia/version", encoding="utf-8") as f:
            words = f.readline().split()
        return next((w for w in words if w[0].isdigit() and "." in w), "")
    except OSError:
        return ""
