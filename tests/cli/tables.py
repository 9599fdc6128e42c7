"""Lines of tuning tables, as tests write them: each with its checksum."""
import hashlib
import json
import math
import os


def sealed(line):
    """The object as a line, as runtime/jsonl.c seals it."""
    text = json.dumps(line, separators=(",", ":"), ensure_ascii=False)[:-1]
    return f'{text},"sum":"{hashlib.sha256(text.encode()).hexdigest()[:16]}"}}\n'


def bucket(sizes):
    """Octaves of b * h, sq and sk, half of one rounded away from zero."""
    return [math.floor(math.log2(n) + 0.5) for n in
            (sizes["b"] * sizes["h"], sizes["sq"], sizes["sk"])]


def record(device, spec_hash, sizes, schedule, value, level="measure", **more):
    """A record; more: members that differ."""
    return {"schema": "attnc.tune/1", "device": device, "cc": 80, "sms": 108, "name": "given",
            "spec_hash": spec_hash, "op": "fwd", "bucket": bucket(sizes), "sizes": sizes,
            "schedule": schedule, "value": value, "unit": "est_cycles", "level": level,
            "validity": "correct", "attnc": 200, **more}


def path(folder, device, end=".jsonl"):
    return os.path.join(folder, "".join(c if c.isalnum() or c in "-._" else "_"
                                        for c in device) + end)


def write(folder, device, *lines):
    """Appends sealed lines, and texts as they are."""
    os.makedirs(folder, exist_ok=True)
    with open(path(folder, device), "a", encoding="utf-8") as f:
        f.writelines(x if isinstance(x, str) else sealed(x) for x in lines)
