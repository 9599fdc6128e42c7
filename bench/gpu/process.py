"""Programs that may take too long: each in a process group of its own, which is ended as a whole,
so that nothing keeps the device busy behind the next measurement."""
import contextlib
import os
import signal
import subprocess
import tempfile
from typing import NamedTuple, Optional


class Said(NamedTuple):
    code: Optional[int]   # None: it took too long and was ended
    out: str
    err: str

    @property
    def why(self):
        """One line for what went wrong."""
        if self.code is None:
            return "out of time"
        lines = (self.err.strip() or self.out.strip() or "no reason given").splitlines()
        return f"exit {self.code}: {lines[-1][:400]}"


def children():
    """{process: those that it started} of all processes."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", encoding="utf-8",
                                                errors="replace") as f:
            parent = int(f.read().rpartition(")")[2].split()[1])
            found.setdefault(parent, []).append(int(name))
    return found


def end(pid):
    """Ends a process group and the groups of all that its leader started, however deep."""
    below, found = children(), [pid]
    for parent in found:
        found += below.get(parent, [])
    for one in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            (os.killpg if os.getpgid(one) == one else os.kill)(one, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # what it left behind, whose parent is gone


def run(command, seconds=None, env=None):
    """Waits at most so many seconds (None: for ever)."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, start_new_session=True,
                                   stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})
        try:
            code = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            end(process.pid)
            process.wait()
        texts = []
        for f in (out, err):
            f.seek(0)
            texts.append(f.read())
        return Said(code, *texts)
