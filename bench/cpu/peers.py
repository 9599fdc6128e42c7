"""Who is compared, and how each is asked for one compile: a process of its own from nothing,
or a process that has compiled before and stays.

A peer that is not installed is a Missing with the reason; the caller skips it by name.
"""
import json
import os
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
CUDA = ("/usr/local/cuda", "/usr/lib/cuda", "/opt/cuda")


class Missing(Exception):
    """This peer is not here; the message says what was looked for."""


def nvcc():
    for path in (shutil.which("nvcc"), *(f"{c}/bin/nvcc" for c in CUDA)):
        if path and os.access(path, os.X_OK):
            return path
    raise Missing("no nvcc on the path or in " + ", ".join(CUDA))


def nvrtc():
    for folder in (f"{c}/{lib}" for c in CUDA for lib in ("lib64", "lib")):
        path = f"{folder}/libnvrtc.so"
        if os.path.exists(path):
            return path
    raise Missing("no libnvrtc.so in a CUDA toolkit in " + ", ".join(CUDA))


def triton(python):
    """The interpreter, if it has Triton."""
    r = subprocess.run([python, "-c", "import triton"], capture_output=True, text=True)
    if r.returncode:
        why = (r.stderr.strip().splitlines() or ["it does not start"])[-1]
        raise Missing(f"{os.path.basename(python)} has no Triton: {why}")
    return python


class Once:
    """A process that compiles once and ends: `run` gives seconds and the largest resident
    memory of it and its children."""

    def __init__(self, command, stdin="", env=None):
        self.command, self.stdin, self.env = command, stdin, {**os.environ, **(env or {})}

    def run(self):
        start = time.perf_counter()
        child = subprocess.Popen(self.command, stdin=subprocess.PIPE, env=self.env,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        child.stdin.write(self.stdin.encode())
        child.stdin.close()
        said = child.stderr.read()
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        child.stderr.close()
        if child.returncode:
            raise RuntimeError(f"{self.command[0]}: exit {child.returncode}: "
                               f"{said.decode(errors='replace')[-400:]}")
        return seconds, used.ru_maxrss * 1024


class Worker:
    """A process that compiles once for each line it is sent and answers with JSON.  Its first
    line is kept as `hello`."""

    def __init__(self, command):
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.DEVNULL, text=True)
        self.hello = self.answer()

    def answer(self):
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self.child.args[:2])}: ended, "
                               f"exit {self.child.wait()}")
        return json.loads(line)

    def compile(self):
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        return self.answer()

    def close(self):
        self.child.stdin.close()
        self.child.wait()
        self.child.stdout.close()


def nvcc_once(arch, out):
    return Once([nvcc(), "-ptx", f"-arch=sm_{arch}", os.path.join(HERE, "flash_fwd.cu"), "-o",
                 out])


def nvrtc_command(arch, out):
    return [sys.executable, os.path.join(HERE, "nvrtc.py"), nvrtc(), str(arch), out]


def triton_command(python, arch, out):
    return [triton(python), os.path.join(HERE, "triton_fwd.py"), str(arch), out]


def attnc_once(build, spec, arch, folder):
    return Once([os.path.join(build, "bin", "attnc"), "compile", spec, "--arch", f"sm_{arch}",
                 "-o", folder, "--emit", "ptx"], env={"ATTNC_CACHE": "0"})
