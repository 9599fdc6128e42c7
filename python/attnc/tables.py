"""Tuning tables as a whole: what is in them, and how they get from one machine to others."""
import ctypes as C
import json
from typing import Any, Dict, Optional, Tuple

from . import _lib
from .context import Context
from .sizes import SizesLike, sizes as read_sizes
from .spec import SpecLike, _check, load_spec, taken_text


def _ask(name: str, context: Optional[Context], spec: Optional[SpecLike], sizes: Optional[SizesLike],
         device: Optional[str]) -> str:
    of = load_spec(spec) if spec else None
    given = _lib.Sizes(**read_sizes(sizes)._asdict()) if sizes is not None else None
    meant = _lib.TuneFilter(device=_lib.encode(device),
                            spec_hash=_lib.encode(of.hash) if of else None,
                            sizes=C.pointer(given) if given else None)
    out, error = C.c_void_p(), _lib.Error()
    _check(getattr(_lib.library(), name)((context or Context())._handle, meant, C.byref(out),
                                         error), error)
    return taken_text(out)


def tune_list(spec: Optional[SpecLike] = None, sizes: Optional[SizesLike] = None, *,
              device: Optional[str] = None, context: Optional[Context] = None) -> Dict[str, Any]:
    """The records that count: all, or of a spec, of sizes like these, of devices of this name.
    "sha256" is the hash of what tune_export writes: equal where machines choose alike."""
    said: Dict[str, Any] = json.loads(_ask("attnc_tune_list", context, spec, sizes, device))
    return said


def tune_export(spec: Optional[SpecLike] = None, sizes: Optional[SizesLike] = None, *,
                device: Optional[str] = None, context: Optional[Context] = None) -> str:
    """The same records as a table of their own: text for a file, for tune_import, or for
    Context(tune_table=FILE)."""
    return _ask("attnc_tune_export", context, spec, sizes, device)


def tune_forget(spec: Optional[SpecLike] = None, sizes: Optional[SizesLike] = None, *,
                device: Optional[str] = None, context: Optional[Context] = None) -> int:
    """Has these records count no more, and says how many they were."""
    said: int = json.loads(_ask("attnc_tune_forget", context, spec, sizes, device))["forgotten"]
    return said


def tune_import(table: str, *, context: Optional[Context] = None) -> Dict[str, Any]:
    """Adds the lines of a table, or of trials, to the user's own: how many were added, known,
    skipped, and in "notes" why."""
    out, error, text = C.c_void_p(), _lib.Error(), _lib.encode(table)
    _check(_lib.library().attnc_tune_import((context or Context())._handle, text, len(text),
                                            C.byref(out), error), error)
    said: Dict[str, Any] = json.loads(taken_text(out))
    return said


def tune_merge(*tables: str) -> Tuple[str, Dict[str, Any]]:
    """One table of several, each record once, and what was left out of them."""
    text = _lib.encode("".join(t if t.endswith("\n") or not t else t + "\n" for t in tables))
    merged, told, error = C.c_void_p(), C.c_void_p(), _lib.Error()
    _check(_lib.library().attnc_tune_merge(text, len(text), C.byref(merged), C.byref(told),
                                           error), error)
    return taken_text(merged), json.loads(taken_text(told))
