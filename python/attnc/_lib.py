"""The C library as ctypes sees it: structs and functions of attnc_rt.h and attnc.h, each
from one table, and the loading of libattnc.so.

Nothing here is for users.  Structs are laid out as in the headers (a test compiles a C
program that prints sizes and offsets); a struct that begins with `size` fills it in itself.
The library is looked for, in this order: $ATTNC_LIBRARY (a file), beside this package in
`lib/` (what a wheel packs), above it (the portable folder), in the build folders of a source
tree, on the loader's path.
"""
import ctypes as C
import os
import threading
from typing import Any, List, Mapping, Optional, Sequence, Tuple, overload

from ._types import Path

i32, i64, u32, u64 = C.c_int, C.c_int64, C.c_uint32, C.c_uint64
size_t, text, pointer, f64 = C.c_size_t, C.c_char_p, C.c_void_p, C.c_double

LOG = C.CFUNCTYPE(None, pointer, i32, text)


class Struct(C.Structure):
    """One of the library's structs, zeroed, its `size` set where it has one."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        if self._fields_[0][0] == "size":
            self.size = C.sizeof(self)


def struct(name: str, *fields: Tuple[str, Any]) -> Any:
    return type(name, (Struct,), {"_fields_": list(fields), "__slots__": ()})


SIZE = ("size", size_t)
Diag = struct("Diag", ("error", i32), ("code", i32), ("file", text), ("line", i32),
              ("col", i32), ("message", text), ("source", text), ("width", i32),
              ("help", text))
Error = struct("Error", ("status", i32), ("driver_code", i32), ("message", C.c_char * 504))
Tensor = struct("Tensor", ("data", pointer), ("stride", i64 * 5))
Sizes = struct("Sizes", SIZE, *((name, i64) for name in (
    "b", "h", "hk", "sq", "sk", "total_q", "total_k", "bc", "pages", "page_size",
    "max_pages", "s_new", "total_new", "rotary_len", "parts", "num_splits", "max_items",
    "sp", "max_prefix_pages")))
Args = struct("Args", SIZE, ("sizes", C.POINTER(Sizes)), ("tensors", C.POINTER(Tensor)),
              ("tensor_size", size_t), ("n_tensors", u32), ("n_scalars", u32),
              ("scalars", C.POINTER(f64)), ("workspace", pointer),
              ("workspace_bytes", size_t))
Problem = struct("Problem", SIZE, ("op", i32), ("device", i32), ("sizes", C.POINTER(Sizes)),
                 ("tensors", C.POINTER(Tensor)), ("tensor_size", size_t), ("n_tensors", u32),
                 ("flags", u32), ("stream", pointer), ("mean_q", i64), ("mean_k", i64))
Schedule = struct("Schedule", SIZE, ("template_name", text),
                  *((name, i32) for name in ("block_m", "block_n", "num_stages", "num_warps")),
                  ("options", text))
CompileOptions = struct("CompileOptions", SIZE, ("dump", text), ("from_", text),
                        ("text", text), ("ptx_version", text))
TileCounts = struct("TileCounts", SIZE, *((name, i64) for name in (
    "q_tiles", "kv_tiles", "empty", "partial", "full", "visited")))
TileChoice = struct("TileChoice", SIZE, ("block_m", i32), ("block_n", i32), ("b", i64),
                    ("h", i64), ("exact", i32))
Options = struct("Options", SIZE, ("libcuda", text), ("cache_dir", text), ("cache", i32),
                 ("tune_dir", text), ("log", LOG), ("log_user", pointer),
                 ("compile", C.POINTER(CompileOptions)), ("target", text),
                 ("tune_readonly", text), ("tune_table", text), ("device", text),
                 ("cc", text), ("cc_limits", text), ("assembler", text))
OutputVerdict = struct("OutputVerdict", ("max_error", f64), ("bound", f64),
                       ("bad_rows", i64))
Verdict = struct("Verdict", SIZE, ("pass_", i32), ("slot", i32),
                 *((name, i64) for name in ("rows", "bad_rows", "b", "h", "q")),
                 ("outputs", C.POINTER(OutputVerdict)), ("output_size", size_t),
                 ("n_outputs", size_t), ("before", C.POINTER(pointer)), ("n_before", size_t))
TuneFilter = struct("TuneFilter", SIZE, ("device", text), ("spec_hash", text),
                    ("sizes", C.POINTER(Sizes)))
TuneProgress = struct("TuneProgress", SIZE, ("stage", text), ("done", i32), ("total", i32),
                      ("seconds", f64), ("schedule", C.POINTER(Schedule)))
PROGRESS = C.CFUNCTYPE(i32, pointer, C.POINTER(TuneProgress))
TuneOptions = struct("TuneOptions", SIZE, *((name, i32) for name in (
    "level", "top", "jobs", "repeat", "dry", "resume", "shard", "shards")), ("timeout", f64), ("budget", f64),
                     ("seed", u64), ("within", C.POINTER(Schedule)),
                     ("worker", C.POINTER(text)), ("progress", PROGRESS), ("user", pointer),
                     ("inject", text), ("seqlens", text), ("l2", i32))
Tuned = struct("Tuned", SIZE, *((name, i32) for name in (
    "state", "is_default", "resumed", "samples", "registers", "spilled_bytes")),
               ("schedule", C.POINTER(Schedule)), ("reason", text), ("injected", text),
               *((name, f64) for name in ("cost", "value", "spread", "max_error", "bound")))
# Rows of ATTNC_STATS_TABLE.
Stats = struct("Stats", SIZE, *((name, u64) for name in (
    "plan_hits", "kernel_hits", "disk_hits", "readonly_hits", "misses", "compiles",
    "compile_errors", "compile_us", "loads", "load_errors", "load_us", "stored",
    "store_errors", "corrupt", "read_errors", "evicted", "lock_waits", "lock_us",
    "lock_hits", "lock_timeouts", "not_prepared", "cc_started", "cc_compiled", "cc_died",
    "cc_failed", "cc_remembered",
    "cubin_hits", "assembled", "assemble_errors", "assemble_us", "cubins_refused",
    "launches")))
EmuStats = struct("EmuStats", SIZE, *((name, u64) for name in (
    "launches", "ctas", "warp_instructions", "thread_instructions", "mma", "macs",
    "shared_accesses", "bank_conflicts", "global_sectors", "global_sectors_ideal",
    "barriers", "est_cycles", "findings")), ("host_seconds", f64))

# C names of the structs whose layout a test compares.
C_NAMES = {"attnc_diag": Diag, "attnc_error": Error, "attnc_tensor": Tensor,
           "attnc_sizes": Sizes, "attnc_args": Args, "attnc_problem": Problem,
           "attnc_schedule": Schedule, "attnc_compile_options": CompileOptions,
           "attnc_tile_counts": TileCounts, "attnc_tile_choice": TileChoice,
           "attnc_options": Options, "attnc_stats": Stats,
           "attnc_output_verdict": OutputVerdict, "attnc_verdict": Verdict,
           "attnc_tune_filter": TuneFilter, "attnc_tune_progress": TuneProgress,
           "attnc_tune_options": TuneOptions,
           "attnc_tuned": Tuned, "attncEmuStats": EmuStats}

NOWAIT = 1


def ref(kind: Any) -> Any:
    return C.POINTER(kind)


out, status, error = C.POINTER(pointer), i32, C.POINTER(Error)

# name: (result, arguments).  Opaque handles are plain pointers.
FUNCTIONS = {
    # attnc_rt.h
    "attnc_status_name": (text, status),
    "attnc_status_string": (text, status),
    "attnc_version": (i32,),
    "attnc_bundle_open": (status, text, out, error),
    "attnc_bundle_open_memory": (status, pointer, size_t, out, error),
    "attnc_bundle_plan": (status, pointer, text, out, error),
    "attnc_bundle_release": (None, pointer),
    "attnc_plan_retain": (None, pointer),
    "attnc_plan_release": (None, pointer),
    "attnc_plan_workspace": (status, pointer, ref(Sizes), ref(size_t)),
    "attnc_plan_slot": (i32, pointer, text),
    "attnc_plan_scalar": (i32, pointer, text),
    "attnc_plan_json": (text, pointer),
    "attnc_plan_zeroed_bytes": (size_t, pointer),
    "attnc_plan_faults": (i32, pointer, pointer, C.POINTER(u32), C.POINTER(Error)),
    "attnc_plan_state_bytes": (size_t, pointer),
    "attnc_launch": (status, pointer, pointer, pointer, pointer, pointer),
    # attnc.h
    "attnc_diags_create": (status, out),
    "attnc_diags_release": (None, pointer),
    "attnc_diags_count": (size_t, pointer),
    "attnc_diags_get": (ref(Diag), pointer, size_t),
    "attnc_diags_format": (size_t, pointer, i32, text, size_t),
    "attnc_spec_load": (status, text, size_t, text, out, pointer),
    "attnc_spec_release": (None, pointer),
    "attnc_spec_name": (text, pointer),
    "attnc_spec_canonical": (text, pointer),
    "attnc_spec_hash": (text, pointer),
    "attnc_spec_json": (text, pointer),
    "attnc_spec_why": (text, pointer),
    "attnc_spec_signature": (text, pointer, i32),
    "attnc_spec_check": (status, pointer, text, pointer),
    "attnc_spec_templates": (status, pointer, text, out, error),
    "attnc_spec_schema": (text,),
    "attnc_targets": (ref(text),),
    "attnc_compile": (status, pointer, ref(Problem), text, ref(Schedule), out, error),
    "attnc_kernel_release": (None, pointer),
    "attnc_kernel_ptx": (text, pointer, ref(size_t)),
    "attnc_kernel_json": (text, pointer),
    "attnc_kernel_dump": (text, pointer, text),
    "attnc_kernel_seconds": (f64, pointer, text),
    "attnc_compile_with": (status, pointer, ref(Problem), text, ref(Schedule),
                           ref(CompileOptions), out, error),
    "attnc_target_table": (text,),
    "attnc_target_check": (status, text, error),
    "attnc_schedule_fields": (text,),
    "attnc_schedule_check": (status, ref(Schedule), error),
    "attnc_schedules": (status, pointer, ref(Problem), text, i32, out, error),
    "attnc_text_free": (None, pointer),
    "attnc_tiles": (status, pointer, ref(Sizes), i32, i32, ref(TileCounts), text, size_t,
                    error),
    "attnc_tiles_of": (status, pointer, ref(Args), ref(TileChoice), ref(TileCounts), text,
                       size_t, error),
    "attnc_context_create": (status, ref(Options), out, error),
    "attnc_context_release": (None, pointer),
    "attnc_context_json": (text, pointer),
    "attnc_context_stats": (status, pointer, ref(Stats), error),
    "attnc_stats_prometheus": (size_t, ref(Stats), pointer, size_t),
    "attnc_plan_get": (status, pointer, pointer, ref(Problem), out, error),
    "attnc_plan_get_with": (status, pointer, pointer, ref(Problem), ref(Schedule), out,
                            error),
    "attnc_prepare": (status, pointer, pointer, ref(Problem), ref(Schedule), error),
    "attnc_key_explain": (status, pointer, pointer, ref(Problem), ref(Schedule), out, error),
    "attnc_compile_worker": (status, error),
    "attnc_compile_replay": (status, text, size_t, out, error),
    "attnc_reference": (status, pointer, i32, ref(Args), ref(i64), size_t, ref(ref(f64)), u32,
                        error),
    "attnc_verify": (status, pointer, i32, ref(Args), ref(Verdict), error),
    "attnc_tune": (status, pointer, pointer, ref(Problem), ref(TuneOptions), out, error),
    "attnc_tuning_release": (None, pointer),
    "attnc_tuning_count": (size_t, pointer),
    "attnc_tuning_get": (ref(Tuned), pointer, size_t),
    "attnc_tuning_json": (text, pointer),
    "attnc_tune_worker": (status, error),
    "attnc_tune_list": (status, pointer, ref(TuneFilter), out, error),
    "attnc_tune_export": (status, pointer, ref(TuneFilter), out, error),
    "attnc_tune_import": (status, pointer, text, size_t, out, error),
    "attnc_tune_merge": (status, text, size_t, out, out, error),
    "attnc_tune_forget": (status, pointer, ref(TuneFilter), out, error),
    "attnc_tune_record": (status, pointer, pointer, ref(Problem), ref(Schedule), f64, text,
                          error),
    "attnc_cache_stat": (status, pointer, out, error),
    "attnc_cache_verify": (status, pointer, out, error),
    "attnc_cache_gc": (status, pointer, out, error),
    "attnc_cache_clear": (status, pointer, out, error),
}



def call_args(sizes: Struct, tensors: Any, scalars: Sequence[float] = (), **more: Any) -> Any:
    """An attnc_args of a Sizes, Tensors and numbers, each by slot; it keeps what it points to."""
    made = tensors if isinstance(tensors, C.Array) else (Tensor * len(tensors))(*tensors)
    numbers = (f64 * len(scalars))(*scalars)
    return Args(sizes=C.pointer(sizes), tensors=made, tensor_size=C.sizeof(Tensor),
                n_tensors=len(made), scalars=numbers, n_scalars=len(numbers), **more)


PACKAGE = os.path.dirname(os.path.abspath(__file__))
SONAME = "libattnc.so.0"
BUILDS = ("release", "portable/attnc-portable", "dev", "clang", "asan")


def candidates() -> List[Tuple[str, bool]]:
    """(path, must it load?) of the library, best first."""
    chosen = os.environ.get("ATTNC_LIBRARY")
    if chosen:
        return [(chosen, True)]
    build = os.path.join(PACKAGE, "..", "..", "build")
    folders = [os.path.join(PACKAGE, "lib"), os.path.join(PACKAGE, "..", "..")]
    folders += [os.path.join(build, name, sub) for name in BUILDS for sub in ("lib", "")]
    files = (os.path.join(folder, SONAME) for folder in folders)
    found = [(os.path.realpath(f), True) for f in files if os.path.exists(f)]
    return [*found[:1], (SONAME, False)]


def declare(lib: C.CDLL, functions: Mapping[str, Tuple[Any, ...]]) -> C.CDLL:
    """Types of the functions; one that the library lacks is an OSError that names it."""
    for name, (result, *arguments) in functions.items():
        try:
            function = getattr(lib, name)
        except AttributeError:
            raise OSError(f"{lib._name}: has no {name}: another version of attnc") from None
        function.restype, function.argtypes = result, arguments
    return lib


def open_library() -> C.CDLL:
    wrong = None
    for path, must in candidates():
        try:
            return declare(C.CDLL(path), FUNCTIONS)
        except OSError as e:
            wrong = e
            if must:
                break
    raise OSError(f"libattnc.so cannot be loaded ({wrong}); build it (scripts/build), or "
                  "set ATTNC_LIBRARY to its path")


_lock = threading.Lock()
_loaded = None


def library() -> C.CDLL:
    """libattnc.so, loaded at the first call; safe from any thread.  OSError if it is not
    to be found."""
    global _loaded
    if _loaded is None:
        with _lock:
            if _loaded is None:
                _loaded = open_library()
    return _loaded


def beside(name: str) -> str:
    """Path of a library that is shipped beside libattnc.so; the bare name, for the loader
    to find, where libattnc.so was found by its bare name."""
    folder = os.path.dirname(library()._name)
    return os.path.join(folder, name) if folder else name


@overload
def decode(value: bytes) -> str: ...
@overload
def decode(value: None) -> None: ...
def decode(value: Optional[bytes]) -> Optional[str]:
    return None if value is None else value.decode("utf-8", "replace")


@overload
def encode(value: Path) -> bytes: ...
@overload
def encode(value: None) -> None: ...
def encode(value: Optional[Path]) -> Optional[bytes]:
    return None if value is None else os.fsencode(value)
