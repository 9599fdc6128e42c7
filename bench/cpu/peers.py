"""Who is compared, and how each is asked for one compile: a process of its own from nothing,
or a process that has compiled before and stays.

A peer that is not installed is a Missing with the reason; the caller skips it by name.
"""
import json
import os
import shutil
import subprocess
import sys

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
    """A process that compiles once and ends.  `run`: what spawn says of it and its children
    (seconds, cpu, max_rss), and the lines of JSON that it wrote."""

    def __init__(self, command, stdin="", env=None):
        self.command, self.stdin, self.env = command, stdin, {**os.environ, **(env or {})}

    def run(self, spawn):
        """spawn: the program made from spawn.c."""
        r = subprocess.run([spawn, *self.command], input=self.stdin, env=self.env, text=True,
                           capture_output=True)
        if r.returncode:
            raise RuntimeError(r.stderr[-400:])
        *said, took = [json.loads(x) for x in r.stdout.splitlines() if x.startswith("{")]
        if took["exit"]:
            raise RuntimeError(f"{self.command[0]}: exit {took['exit']}: {r.stderr[-400:]}")
        return took, said


class Worker:
    """A process that compiles once for each line it is sent and answers with JSON.  Its first
    line is kept as `hello`."""

    def __init__(self, command, env=None):
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.DEVNULL, text=True,
                                      env={**os.environ, **(env or {})})
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


def attnc_command(spec, arch):
    return [sys.executable, os.path.join(HERE, "attnc_compile.py"), spec, f"sm_{arch}"]


def attnc_once(build, spec, arch, folder):
    return Once([os.path.join(build, "bin", "attnc"), "compile", spec, "--arch", f"sm_{arch}",
                 "-o", folder, "--emit", "ptx"], env={"ATTNC_CACHE": "0"})
