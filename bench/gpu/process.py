"""Programs that may take too long: each in a process group of its own, which is ended as a whole,
so that nothing keeps the device busy behind the next measurement."""
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
            try:
                os.killpg(process.pid, signal.SIGKILL)  # whatever it started and left behind
            except ProcessLookupError:
                pass
            process.wait()
        texts = []
        for f in (out, err):
            f.seek(0)
            texts.append(f.read())
        return Said(code, *texts)
