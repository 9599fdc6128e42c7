"""What the tests of the command line share: the program in a world of its own (HOME, caches
and ATTNC_ variables), spec files, safetensors."""
import json
import os
import struct
import subprocess
import tempfile
import unittest

ATTNC = os.environ.get("ATTNC", "attnc")
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

CAUSAL = """attnc: 1
name: causal
dtype: bf16
head_dim: 32
causal: true
return_lse: true
"""


class Case(unittest.TestCase):
    """Each test has a directory, which is also HOME."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="attnc-cli-")
        self.addCleanup(folder.cleanup)
        self.dir = folder.name
        self.env = {k: v for k, v in os.environ.items()
                    if not k.startswith(("ATTNC_", "XDG_", "NO_COLOR"))}
        self.env.update(HOME=self.dir, TMPDIR=self.dir, TERM="xterm")

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data.encode() if isinstance(data, str) else data)
        return self.path(name)

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def spec(self, text=CAUSAL, name="causal.attn.yaml"):
        return self.write(name, text)

    def attnc(self, *args, code=0, env=None, stdin=None, timeout=300):
        """Runs it and checks the exit code; a signal's death is never the right one."""
        r = subprocess.run([ATTNC, *args], capture_output=True, text=True, cwd=self.dir,
                           errors="backslashreplace", env={**self.env, **(env or {})},
                           input=stdin, timeout=timeout)
        if r.returncode != code:
            self.fail(f"attnc {args}: exit {r.returncode}, not {code}\n"
                      f"{r.stdout}\n{r.stderr}")
        return r

    def json(self, *args, code=0, **kw):
        """The one JSON object that --json prints."""
        r = self.attnc(*args, "--json", code=code, **kw)
        try:
            return json.loads(r.stdout)
        except ValueError as e:
            self.fail(f"attnc {args} --json: {e}\n{r.stdout}\n{r.stderr}")


SIZES = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8, "I32": 4}


def safetensors(tensors, header=None, pad=b""):
    """{name: (dtype, shape, bytes)} as a file; header: text instead of the right one."""
    entries, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        entries[name] = {"dtype": dtype, "shape": shape,
                         "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = (header if header is not None else json.dumps(entries)).encode()
    return struct.pack("<Q", len(text)) + text + data + pad


def read_safetensors(raw):
    n, = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + n])
    return {name: (t["dtype"], t["shape"], raw[8 + n:][slice(*t["data_offsets"])])
            for name, t in header.items() if name != "__metadata__"}


def bf16(values):
    """Round to nearest even."""
    out = []
    for x in values:
        u, = struct.unpack("<I", struct.pack("<f", x))
        out.append((u + 0x7fff + (u >> 16 & 1)) >> 16)
    return struct.pack(f"<{len(out)}H", *out)


def from_bf16(raw):
    return [struct.unpack("<f", struct.pack("<I", u << 16))[0]
            for u in struct.unpack(f"<{len(raw) // 2}H", raw)]


def main():
    assert os.access(ATTNC, os.X_OK), f"ATTNC is {ATTNC}"
    unittest.main()
