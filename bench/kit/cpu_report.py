"""What bench/report says of the CPU suite: one function a block, each from one result file to
Markdown and plots."""
from . import tables
from .svg import bars, lines
from .tables import digits, measured, quantity, ratio

NAMES = {"attnc": "attnc", "nvcc": "nvcc -ptx", "nvrtc": "NVRTC", "triton": "Triton",
         "standard": "standard attention"}
STAGE_TEXT = {
    "attnc": {"front": "spec to schedule", "tile": "tile program: words, checks, memory",
              "lower": "to LLVM IR", "passes": "passes over it", "codegen": "LLVM, to PTX"},
    "triton": {"front": "Python source to Triton IR", "ttir": "passes over it",
               "ttgir": "to GPU IR, passes", "llir": "to LLVM IR, passes",
               "ptx": "LLVM, to PTX", "cubin": "ptxas"}}


def table(head, rows, align=None):
    """"" without rows: a phase that kept nothing has no table."""
    rows = list(rows)
    return tables.table(head, rows, align) if rows else ""


def rows_of(data, phase, metric="time", **case):
    """Measurements of a phase whose case has these values."""
    return [m for m in data["measurements"] if m["phase"] == phase and m["metric"] == metric
            and all(m["case"].get(k) == v for k, v in case.items())]


def skipped(data, phase):
    found = [f"{NAMES.get(s['subject'], s['subject'])}: {s['why']}" for s in data["skipped"]
             if s["phase"] == phase]
    return "\n\nNot measured: " + "; ".join(found) + "." if found else ""


def against_attnc(rows):
    ours = next(m["median"] for m in rows if m["subject"] == "attnc")
    return [(NAMES[m["subject"]], measured(m), ratio(m["median"] / ours)) for m in rows]


def plotted(rows, name, title):
    made = [(NAMES[m["subject"]], m["median"]) for m in rows]
    said = "; ".join(f"{n}: {quantity(x, rows[0]['unit'])}" for n, x in made)
    return {name: bars(title, said, made, lambda x: quantity(x, rows[0]["unit"]))}


def compile_block(data):
    """From nothing, and in a process that has compiled before."""
    process = rows_of(data, "process", to="ptx")
    warm = rows_of(data, "compile", to="ptx")
    text, plots = [], {}
    if process:
        cpu = {m["subject"]: m for m in rows_of(data, "process", "cpu")}
        rows = [(*row, quantity(cpu[m["subject"]]["median"], "ms") if m["subject"] in cpu else "–")
                for row, m in zip(against_attnc(process), process)]
        text.append("A new process each time, from the source to PTX:\n\n" + table(
            ("", "median", "of attnc's", "CPU time"), rows) + skipped(data, "process"))
        plots |= plotted(process, "compile-process", "Source to PTX, a new process")
    if warm:
        text.append("In a process that has compiled before:\n\n" + table(
            ("", "median", "of attnc's"), against_attnc(warm)) + skipped(data, "compile"))
        plots |= plotted(warm, "compile-warm", "Source to PTX, in a running process")
    return "\n\n".join(text), plots


def stages_block(data):
    text = []
    for subject, names in STAGE_TEXT.items():
        rows = [m for m in rows_of(data, "compile") if m["subject"] == subject
                and "stage" in m["case"]]
        if not rows:
            continue
        total = sum(m["median"] for m in rows)
        by_stage = {m["case"]["stage"]: m for m in rows}
        text.append(table((f"{NAMES[subject]}, stage", "", "median", "share"), [
            (f"`{s}`", names[s], quantity(by_stage[s]["median"], "ms"),
             digits(100 * by_stage[s]["median"] / total, 2) + " %")
            for s in names if s in by_stage], "llrr"))
    return "\n\n".join(text), {}


def cache_block(data):
    texts = {"miss": "a miss: compiled, stored, loaded", "disk": "found on disk, in a new context",
             "disk, up to the driver": "of that, up to the driver's load call",
             "memory": "found in memory"}
    rows = {m["case"]["layer"]: m for m in rows_of(data, "cache")}
    return table(("`attnc_plan_get`", "median"), [
        (what, measured(rows[layer])) for layer, what in texts.items() if layer in rows]), {}


def rss_block(data):
    texts = {"miss": "attnc, a program that compiles one kernel and loads it",
             "disk": "attnc, the same program when the kernel is in the cache"}
    rows = [(f"{NAMES[m['subject']]}, source to PTX", m) for m in rows_of(data, "process", "rss")]
    rows += [(texts[m["case"]["layer"]], m) for m in rows_of(data, "cache", "rss")]
    return table(("largest resident memory of the process", ""), [
        (name, quantity(m["median"], "bytes")) for name, m in rows]), {}


def launch_block(data):
    rows = {m["subject"]: m for m in rows_of(data, "launch")}
    texts = {"c": "from C, new addresses", "python": "from Python, new addresses",
             "python, same addresses": "from Python, the addresses of the last call"}
    return table(("one launch, on a driver that does nothing", "median", "least", "over C"), [
        (texts[n], quantity(m["median"], "us"), quantity(m["least"], "us"),
         "" if n == "c" else quantity(m["median"] - rows["c"]["median"], "us"))
        for n, m in rows.items()]), {}


def emulator_block(data):
    wall = {str(m["case"]): m for m in rows_of(data, "emulator")}
    return table(("checks", "tensor cores", "threads", "median", "CPU time",
                  "M thread instructions a CPU second"), [
        (c["checks"], {"bit": "bit by bit", "fast": "fp32"}[c["mma"]], c["threads"],
         measured(wall[str(c)]), measured(m),
         digits(m["derived"]["million_thread_instructions_per_s"]))
        for m in rows_of(data, "emulator", "cpu") for c in (m["case"],)], "llrrrr"), {}


def memory_block(data):
    rows = rows_of(data, "memory", "memory")
    by = {(m["subject"], m["case"]["sq"]): m["median"] for m in rows}
    lengths = sorted({m["case"]["sq"] for m in rows})
    if not lengths:
        return "", {}
    text = table(("length", "attnc", "standard attention", "less by"), [
        (s, quantity(by["attnc", s], "bytes"), quantity(by["standard", s], "bytes"),
         ratio(by["standard", s] / by["attnc", s])) for s in lengths], "rrrr")
    series = {NAMES[n]: [(s, by[n, s] / 1e9) for s in lengths] for n in ("attnc", "standard")}
    said = f"At length {lengths[-1]}: " + ", ".join(
        f"{n} {digits(points[-1][1])} GB" for n, points in series.items())
    return text, {"memory": lines("Device memory of a forward pass, 16384 tokens", said, series,
                                  "length of a sequence", "GB", 10, digits)}


# name of the block: phases that it needs one of, and what makes it
BLOCKS = {"cpu.compile": (("process", "compile"), compile_block),
          "cpu.stages": (("compile",), stages_block),
          "cpu.cache": (("cache",), cache_block),
          "cpu.launch": (("launch",), launch_block),
          "cpu.rss": (("process", "cache"), rss_block),
          "cpu.emulator": (("emulator",), emulator_block),
          "cpu.memory": (("memory",), memory_block)}
