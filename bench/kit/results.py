"""Result files: attnc.results/1, as bench/results/README.md describes it.

A Results is filled phase by phase and written whole after each: `save` makes a temporary file
beside the target and renames it, so that a reader sees the old file or the new one.  `load`
and `check` refuse what the description does not have; nothing here knows what is measured.
"""
import contextlib
import datetime
import json
import os
import platform
import re
import sys
import time
import traceback

from .stats import summary

SCHEMA = "attnc.results/1"
NEEDED = {"schema": str, "suite": str, "command": list, "started": str, "ended": str,
          "complete": bool, "device": dict, "host": dict, "versions": dict, "notes": list,
          "phases": list, "measurements": list, "checks": list, "skipped": list}
ROWS = {"phases": ({"name", "status", "seconds"}, {"why"}),
        "measurements": ({"phase", "subject", "case", "metric", "unit", "samples", "n",
                          "median", "least", "most", "spread"}, {"derived", "context"}),
        "checks": ({"phase", "subject", "case", "pass"}, {"why"}),
        "skipped": ({"phase", "subject", "case", "why"}, set())}
STATUSES = ("ok", "failed", "skipped")


class Skip(Exception):
    """Raised in a phase that does not apply here; the message is the reason."""


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def slug(name):
    """A folder's name of a device's: `NVIDIA H200` is nvidia-h200."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unknown"


def host():
    """What is known of this machine."""
    found = {"os": platform.platform(), "cores": len(os.sched_getaffinity(0)),
             "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")}
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as f:
        names = re.findall(r"^model name\s*:\s*(.+)$", f.read(), re.M)
        found["cpu"] = names[0] if names else platform.machine()
    return found


class Results:
    """One run of one suite.  `file`: where it is kept; every phase ends with a `save`."""

    def __init__(self, suite, file, device, versions, command=None, log=sys.stderr):
        self.file, self.log = file, log
        self.data = {"schema": SCHEMA, "suite": suite, "command": list(command or sys.argv),
                     "started": now(), "ended": now(), "complete": False,
                     "device": dict(device), "host": host(), "versions": dict(versions),
                     "notes": [], "phases": [], "measurements": [], "checks": [],
                     "skipped": []}
        self._phase = None

    def note(self, sentence):
        if sentence not in self.data["notes"]:
            self.data["notes"].append(sentence)

    @contextlib.contextmanager
    def phase(self, name):
        """A phase: what it raises is kept as its reason, and the next one goes on.  Only
        an interrupt and an exit end the run, after a save."""
        row, start = {"name": name, "status": "ok"}, time.monotonic()
        self._phase = name
        try:
            yield self
        except Skip as e:
            row.update(status="skipped", why=str(e))
        except Exception as e:
            row.update(status="failed", why=f"{type(e).__name__}: {e}")
            traceback.print_exc(file=self.log)
        except BaseException as e:
            row.update(status="failed", why=type(e).__name__)
            raise
        finally:
            row["seconds"] = round(time.monotonic() - start, 3)
            self.data["phases"].append(row)
            self._phase = None
            self.save()

    def fail(self, why):
        """The phase that runs is marked failed when it ends without an exception."""
        raise PhaseFailed(why)

    def measure(self, subject, case, metric, unit, samples, derived=None, context=None):
        """Keeps a measurement of the phase that runs, and returns it."""
        row = {"phase": self._phase, "subject": subject, "case": dict(case),
               "metric": metric, "unit": unit, "samples": [float(x) for x in samples],
               **summary(samples)}
        row.update({k: v for k, v in (("derived", derived), ("context", context)) if v})
        self.data["measurements"].append(row)
        return row

    def check(self, subject, case, ok, why=""):
        row = {"phase": self._phase, "subject": subject, "case": dict(case), "pass": bool(ok)}
        self.data["checks"].append({**row, "why": why} if why else row)

    def skip(self, subject, case, why):
        self.data["skipped"].append({"phase": self._phase, "subject": subject,
                                     "case": dict(case), "why": why})

    def finish(self):
        self.data["complete"] = True
        self.save()

    @property
    def ok(self):
        return (all(p["status"] != "failed" for p in self.data["phases"])
                and all(c["pass"] for c in self.data["checks"]))

    def save(self):
        self.data["ended"] = now()
        check(self.data)
        write_atomically(self.file, dump(self.data))


class PhaseFailed(Exception):
    """A phase's own verdict: what it did is kept, and it did not go well."""


def dump(data):
    """JSON with one measurement a line: files that can be compared line by line."""
    lines = ["{"]
    for name, value in data.items():
        if name in ROWS and value:
            rows = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in value)
            lines.append(f" {json.dumps(name)}: [\n  {rows}],")
        else:
            lines.append(f" {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)},")
    lines[-1] = lines[-1][:-1]
    return "\n".join([*lines, "}", ""])


def write_atomically(path, text):
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def check(data):
    """ValueError that names what is not as the description says."""
    def refuse(what):
        raise ValueError(f"not {SCHEMA}: {what}")

    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        refuse("schema")
    for name, kind in NEEDED.items():
        if not isinstance(data.get(name), kind):
            refuse(f"{name} is missing or no {kind.__name__}")
    if data.keys() - NEEDED.keys():
        refuse(f"unknown {', '.join(sorted(data.keys() - NEEDED.keys()))}")
    for name, (needed, optional) in ROWS.items():
        for i, row in enumerate(data[name]):
            if not isinstance(row, dict) or needed - row.keys() or row.keys() - needed - optional:
                refuse(f"{name}[{i}]: {row}")
    for i, row in enumerate(data["measurements"]):
        if any(row[k] != v for k, v in summary(row["samples"]).items()):
            refuse(f"measurements[{i}]: the summary is not of its samples")
    for i, row in enumerate(data["phases"]):
        if row["status"] not in STATUSES:
            refuse(f"phases[{i}]: status {row['status']}")


def load(path):
    """The checked contents of a result file."""
    with open(path, encoding="utf-8") as f:
        try:
            data = json.load(f)
        except ValueError as e:
            raise ValueError(f"{path}: {e}") from None
    try:
        check(data)
    except ValueError as e:
        raise ValueError(f"{path}: {e}") from None
    return data
