"""attnc: attention kernels from a spec, compiled while the program runs.

    import attnc
    plan = attnc.Context().plan("llama3_8b_prefill.attn.yaml", "b1 h32/8 s4096")
    o = plan(q, k, v)                       # torch, numpy, or anything that speaks DLPack

    from attnc import flash_attn_func       # FlashAttention-2's functions, by name

Needs libattnc.so and nothing else; numpy and torch are used where their tensors come in.
"""
import typing as _typing

from . import expr
from ._flash import set_context
from .context import Context
from .errors import (AlignError, AttncError, CacheError, CheckError, CompileError, DeviceError,
                     Diagnostic, ExpressionError, NoDeviceError, NotPreparedError, PendingError,
                     ShapeError, SpecError, UnsupportedError, UsageError)
from .flash import (flash_attn_combine, flash_attn_func, flash_attn_kvpacked_func, flash_attn_qkvpacked_func,
                    flash_attn_varlen_func, flash_attn_varlen_kvpacked_func,
                    flash_attn_varlen_qkvpacked_func, flash_attn_with_kvcache)
from .flashinfer import (BatchDecodeWithPagedKVCacheWrapper, BatchPrefillWithPagedKVCacheWrapper,
                         CUDAGraphBatchDecodeWithPagedKVCacheWrapper, append_paged_kv_cache, merge_state,
                         merge_state_in_place, merge_states)
from .flex import flex_attention, flex_spec
from .launch import Launch
from .plan import Plan
from .sizes import Sizes
from .spec import Kernel, Spec, compile, load_spec, schedule_fields, schedules, schema, targets
from .tiles import Tiles, tiles
from .trace import table
from .tables import tune_export, tune_forget, tune_import, tune_list, tune_merge
from .tune import tune
from .verify import Verdict, verify

if not _typing.TYPE_CHECKING:  # which would take every name for one of ours
    from .peers import missing as __getattr__

__version__ = "0.2.0"


def library_version() -> str:
    """The version of libattnc.so."""
    from ._lib import library
    n = library().attnc_version()
    return f"{n // 10000}.{n // 100 % 100}.{n % 100}"


__all__ = [
    "AlignError", "AttncError", "BatchDecodeWithPagedKVCacheWrapper", "BatchPrefillWithPagedKVCacheWrapper",
    "CUDAGraphBatchDecodeWithPagedKVCacheWrapper", "CacheError", "CheckError", "CompileError", "Context",
    "DeviceError", "Diagnostic", "ExpressionError", "Kernel", "Launch", "NoDeviceError", "NotPreparedError",
    "PendingError", "Plan", "ShapeError", "Sizes", "Spec", "SpecError", "Tiles", "UnsupportedError",
    "UsageError", "Verdict", "append_paged_kv_cache", "compile", "expr", "flash_attn_combine",
    "flash_attn_func", "flash_attn_kvpacked_func", "flash_attn_qkvpacked_func", "flash_attn_varlen_func",
    "flash_attn_varlen_kvpacked_func", "flash_attn_varlen_qkvpacked_func", "flash_attn_with_kvcache",
    "flex_attention", "flex_spec", "library_version", "load_spec", "merge_state", "merge_state_in_place",
    "merge_states", "schedule_fields", "schedules", "schema", "set_context", "table", "targets", "tiles",
    "tune", "tune_export", "tune_forget", "tune_import", "tune_list", "tune_merge", "verify"]
