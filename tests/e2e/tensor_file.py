"""Safetensors files, of tests that have no numpy."""
import json
import struct

# A spec's dtype: the file's word, and struct's letter; bf16 is the upper half of an fp32.
TYPES = {"fp32": ("F32", "f"), "fp16": ("F16", "e"), "i32": ("I32", "i"), "u32": ("U32", "I"),
         "u64": ("U64", "Q"), "u8": ("U8", "B"), "bf16": ("BF16", None)}


def _packed(numbers, letter):
    if letter:
        return struct.pack(f"<{len(numbers)}{letter}", *numbers)
    return b"".join(struct.pack("<f", x)[2:] for x in numbers)


def write(path, tensors):
    """name → (dtype, shape, numbers)."""
    head, data = {}, b""
    for name, (dtype, shape, numbers) in tensors.items():
        word, letter = TYPES[dtype]
        raw = _packed(numbers, letter)
        head[name] = {"dtype": word, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def read(path):
    """name → numbers."""
    with open(path, "rb") as f:
        n, = struct.unpack("<Q", f.read(8))
        head, data = json.loads(f.read(n)), f.read()
    letters, out = dict(TYPES.values()), {}
    for name, x in head.items():
        if name != "__metadata__":
            raw, letter = data[slice(*x["data_offsets"])], letters[x["dtype"]]
            out[name] = struct.unpack(f"<{len(raw) // struct.calcsize(letter)}{letter}", raw)
    return out
