"""Recordings on disk: one zip file a GPU, of a driver.

`meta.json` names the GPU, its driver, and for each kernel its forms, PTX text, launch, inputs
(by name and digest) and outputs; `ptx/NAME` and `out/NAME` are the text and the raw bytes.  A
kernel that the GPU refused has `refused`, the reason, and no bytes.  The same recording gives
the same file, byte for byte.
"""
import hashlib
import json
import os
import zipfile

from . import inputs
from .ptx import Kernel, Map, Output

SCHEMA = "attnc.golden/1"
EPOCH = (2000, 1, 1, 0, 0, 0)


class Stale(Exception):
    """The generator's inputs are not what was recorded with."""


def digest_of(name, n, made={}):
    if (name, n) not in made:
        data = inputs.make(name, n)
        made[name, n] = data, hashlib.sha256(data).hexdigest()[:16]
    return made[name, n]


def data_of(kernel):
    return [digest_of(name, kernel.n)[0] for name in kernel.inputs]


def describe(kernel):
    maps = {"maps": [list(m) for m in kernel.maps]} if kernel.maps else {}
    return {"name": kernel.name, "forms": list(kernel.forms), "sm": kernel.sm,
            "grid": kernel.grid, "block": kernel.block, "n": kernel.n,
            "inputs": [[i, digest_of(i, kernel.n)[1]] for i in kernel.inputs],
            "outputs": [list(o) for o in kernel.outputs], **maps}


def write(path, about, kernels, results):
    """results: {name: bytes, or a text that says why there are none}."""
    rows, members = [], []
    for kernel in kernels:
        result = results[kernel.name]
        row = describe(kernel)
        members.append((f"ptx/{kernel.name}", kernel.ptx.encode()))
        if isinstance(result, bytes):
            members.append((f"out/{kernel.name}", result))
        else:
            row["refused"] = result
        rows.append(json.dumps(row))
    text = json.dumps({"schema": SCHEMA, **about})[:-1]
    text += ', "kernels": [\n' + ",\n".join(rows) + "\n]}\n"
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    temporary = path + ".tmp"
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_LZMA) as z:
        for name, data in [("meta.json", text.encode()), *members]:
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type = zipfile.ZIP_LZMA
            z.writestr(info, data)
    os.replace(temporary, path)


class Recording:
    """A recording read: `about`, and pairs of kernels and what the GPU made of them."""

    def __init__(self, path):
        self.path = path
        with zipfile.ZipFile(path) as z:
            self.about = json.loads(z.read("meta.json"))
            if self.about.get("schema") != SCHEMA:
                raise ValueError(f"{path}: not {SCHEMA}")
            rows = self.about.pop("kernels")
            self.kernels = [kernel_of(row, z.read(f"ptx/{row['name']}").decode())
                            for row in rows]
            self.digests = {row["name"]: dict(row["inputs"]) for row in rows}
            self.refused = {row["name"]: row["refused"] for row in rows if "refused" in row}
            self.results = {row["name"]: z.read(f"out/{row['name']}") for row in rows
                            if "refused" not in row}

    def data_of(self, kernel):
        """The inputs, which must be what they were."""
        for name in kernel.inputs:
            if digest_of(name, kernel.n)[1] != self.digests[kernel.name][name]:
                raise Stale(f"{kernel.name}: input {name} is no longer what was recorded "
                            "with; give the new one another name")
        return data_of(kernel)


def kernel_of(row, text):
    return Kernel(row["name"], tuple(row["forms"]), row["sm"], text, row["grid"], row["block"],
                  tuple(name for name, _ in row["inputs"]),
                  [Output(*o) for o in row["outputs"]], row["n"],
                  tuple(Map(*(tuple(x) if isinstance(x, list) else x for x in m))
                        for m in row.get("maps", ())))
