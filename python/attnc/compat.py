"""attnc under the names that programs import FlashAttention by:

    import attnc.compat
    attnc.compat.install("flash_attn")     # before the program that says `import flash_attn`

gives this process `flash_attn`, `flash_attn.flash_attn_interface`, `flash_attn.bert_padding`,
`flash_attn_interface` (FlashAttention 3) and `flash_attn.cute` (4).  What they have and attnc has not is an
ImportError that says so.  Needs torch.
"""
import importlib.abc
import importlib.util
import sys
import types
from typing import Any, Dict, Iterable, Mapping, NoReturn, Optional, Tuple

from ._types import Tensor
from .peers import FUNCTIONS, refuse

FOLLOWED = "2.8.3"  #: the version of FlashAttention whose names and order these are
ROOTS = ("flash_attn", "flash_attn_interface")


# ---- FlashAttention 2's functions under autograd, which sequence-parallel programs call ----


def _flash_attn_forward(q: Tensor, k: Tensor, v: Tensor, dropout_p: float,
                        softmax_scale: Optional[float], causal: bool, window_size_left: int, window_size_right: int,
                        softcap: float, alibi_slopes: Optional[Tensor],
                        return_softmax: bool) -> Tuple[Any, ...]:
    """(out, softmax_lse, S_dmask, rng_state), without a gradient."""
    import torch
    from ._operators import rng_state_of
    state = rng_state_of(None, dropout_p, q, q.shape[0], q.shape[2])
    out, lse = torch.ops.attnc.flash_attn(q, k, v, alibi_slopes, dropout_p, state, softmax_scale, causal,
                                          window_size_left, window_size_right, softcap, False)
    sizes, options = (q.shape[0], q.shape[1], k.shape[1]), (softmax_scale, causal, (window_size_left, window_size_right),
                                                           softcap, dropout_p)
    return out, lse, _mask(return_softmax, state, q, k, sizes, options, alibi_slopes), state


def _flash_attn_varlen_forward(q: Tensor, k: Tensor, v: Tensor, cu_seqlens_q: Tensor,
                               cu_seqlens_k: Tensor, max_seqlen_q: int, max_seqlen_k: int, dropout_p: float,
                               softmax_scale: Optional[float], causal: bool, window_size_left: int = -1,
                               window_size_right: int = -1, softcap: float = 0.0,
                               alibi_slopes: Optional[Tensor] = None, return_softmax: bool = False,
                               block_table: Optional[Tensor] = None, leftpad_k: Optional[Tensor] = None,
                               seqused_k: Optional[Tensor] = None,
                               zero_tensors: bool = False, num_splits: int = 0) -> Tuple[Any, ...]:
    import torch
    from ._operators import rng_state_of
    refuse(leftpad_k=leftpad_k, num_splits=num_splits)
    batches = cu_seqlens_q.shape[0] - 1
    state = rng_state_of(None, dropout_p, q, batches, q.shape[1])
    out, lse = torch.ops.attnc.flash_attn_varlen(
        q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, None, seqused_k, block_table, alibi_slopes,
        dropout_p, state, softmax_scale, causal, window_size_left, window_size_right, softcap, False)
    sizes, options = (batches, max_seqlen_q, max_seqlen_k), (softmax_scale, causal, (window_size_left, window_size_right),
                                                            softcap, dropout_p)
    rows = [(cu_seqlens_q, None, max_seqlen_q), (cu_seqlens_k, seqused_k, max_seqlen_k)]
    return out, lse, _mask(return_softmax, state, q, k, sizes, options, alibi_slopes, rows, block_table), state


def _mask(wanted: bool, state: Optional[Tensor], q: Tensor, k: Tensor, sizes: Tuple[int, ...], options: Tuple[Any, ...],
          alibi_slopes: Optional[Tensor], rows: Any = None, block_table: Optional[Tensor] = None) -> Tensor:
    from . import _torch as ops
    from ._dropout import Rows
    from ._operators import s_dmask
    if not wanted or state is None:
        return q.new_empty((0,))
    if block_table is not None:
        raise NotImplementedError("return_softmax with dropout_p and block_table: S_dmask is not made of keys in pages")
    return s_dmask(state, q, k, sizes, options, alibi_slopes, rows and tuple(Rows(ops, *x) for x in rows))


def _get_block_size_n(device: object, head_dim: int, is_dropout: bool, is_causal: bool) -> int:
    """How many keys of S_dmask are relative to one largest score: all of a row."""
    return 1 << 30


def _flash_attn_backward(dout: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor,
                         softmax_lse: Tensor, dq: Optional[Tensor], dk: Optional[Tensor],
                         dv: Optional[Tensor], dropout_p: float, softmax_scale: Optional[float], causal: bool,
                         window_size_left: int, window_size_right: int, softcap: float,
                         alibi_slopes: Optional[Tensor], deterministic: bool,
                         rng_state: Optional[Tensor] = None) -> Tensor:
    """Writes dq, dk, dv; returns the sums of dout · out, fp32 (b, h, sq)."""
    import torch
    _write((dq, dk, dv), torch.ops.attnc.flash_attn_bwd(
        dout, None, q, k, v, out, softmax_lse, alibi_slopes, dropout_p, rng_state, softmax_scale, causal,
        window_size_left, window_size_right, softcap, deterministic))
    return (dout.float() * out.float()).sum(-1).transpose(1, 2).contiguous()


def _flash_attn_varlen_backward(dout: Tensor, q: Tensor, k: Tensor, v: Tensor,
                                out: Tensor, softmax_lse: Tensor, dq: Optional[Tensor],
                                dk: Optional[Tensor], dv: Optional[Tensor], cu_seqlens_q: Tensor,
                                cu_seqlens_k: Tensor, max_seqlen_q: int, max_seqlen_k: int, dropout_p: float,
                                softmax_scale: Optional[float], causal: bool, window_size_left: int,
                                window_size_right: int, softcap: float, alibi_slopes: Optional[Tensor],
                                deterministic: bool, rng_state: Optional[Tensor] = None,
                                zero_tensors: bool = False) -> Tensor:
    import torch
    _write((dq, dk, dv), torch.ops.attnc.flash_attn_varlen_bwd(
        dout, None, q, k, v, out, softmax_lse, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, None, None,
        None, alibi_slopes, dropout_p, rng_state, softmax_scale, causal, window_size_left, window_size_right, softcap,
        deterministic))
    return (dout.float() * out.float()).sum(-1).transpose(0, 1).contiguous()


def _write(to: Iterable[Optional[Tensor]], made: Iterable[Tensor]) -> None:
    for x, y in zip(to, made):
        if x is not None:
            x.copy_(y)


# ---- FlashAttention 3 and 4: other orders, the same functions ----


def _fa3_func(q: Tensor, k: Tensor, v: Tensor, softmax_scale: Optional[float] = None,
              causal: bool = False, qv: Optional[Tensor] = None, q_descale: Optional[Tensor] = None,
              k_descale: Optional[Tensor] = None, v_descale: Optional[Tensor] = None,
              window_size: Tuple[int, int] = (-1, -1), attention_chunk: int = 0, softcap: float = 0.0,
              num_splits: int = 1, pack_gqa: Optional[bool] = None, deterministic: bool = False, sm_margin: int = 0,
              return_attn_probs: bool = False) -> Any:
    from . import flash
    refuse(qv=qv, q_descale=q_descale, k_descale=k_descale, v_descale=v_descale, attention_chunk=attention_chunk,
           num_splits=num_splits, pack_gqa=pack_gqa, sm_margin=sm_margin)
    made = flash.flash_attn_func(q, k, v, 0.0, softmax_scale, causal, window_size, softcap, None, deterministic,
                                 return_attn_probs)
    return made[:2] if return_attn_probs else made


def _fa3_varlen_func(q: Tensor, k: Tensor, v: Tensor, cu_seqlens_q: Tensor,
                     cu_seqlens_k: Tensor, max_seqlen_q: int, max_seqlen_k: int,
                     seqused_q: Optional[Tensor] = None, seqused_k: Optional[Tensor] = None,
                     softmax_scale: Optional[float] = None, causal: bool = False, qv: Optional[Tensor] = None,
                     q_descale: Optional[Tensor] = None, k_descale: Optional[Tensor] = None,
                     v_descale: Optional[Tensor] = None, window_size: Tuple[int, int] = (-1, -1),
                     attention_chunk: int = 0, softcap: float = 0.0, num_splits: int = 1,
                     pack_gqa: Optional[bool] = None, deterministic: bool = False, sm_margin: int = 0,
                     return_attn_probs: bool = False) -> Any:
    from . import flash
    refuse(qv=qv, q_descale=q_descale, k_descale=k_descale, v_descale=v_descale, attention_chunk=attention_chunk,
           num_splits=num_splits, pack_gqa=pack_gqa, sm_margin=sm_margin)
    made = flash.flash_attn_varlen_func(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, 0.0,
                                        softmax_scale, causal, window_size, softcap, None, deterministic,
                                        return_attn_probs, seqused_q=seqused_q, seqused_k=seqused_k)
    return made[:2] if return_attn_probs else made


def _window(window_size: Tuple[Optional[int], Optional[int]]) -> Tuple[int, int]:
    """FlashAttention 4 writes None for -1."""
    left, right = (-1 if n is None else n for n in window_size)
    return left, right


def _fa4_func(q: Tensor, k: Tensor, v: Tensor, qv: Optional[Tensor] = None,
              gather_kv_indices: Optional[Tensor] = None, softmax_scale: Optional[float] = None,
              causal: bool = False, window_size: Tuple[Optional[int], Optional[int]] = (None, None),
              learnable_sink: Optional[Tensor] = None, softcap: float = 0.0, num_splits: int = 1,
              pack_gqa: Optional[bool] = None, deterministic: bool = False, return_lse: bool = False,
              **others: Any) -> Any:
    """(out, lse), lse None unless it is wanted; the order is that of 0251105a, 2026-08-15."""
    refuse(qv=qv, gather_kv_indices=gather_kv_indices, learnable_sink=learnable_sink, num_splits=num_splits,
           pack_gqa=pack_gqa)
    _refuse_others(others)
    made = _fa3_func(q, k, v, softmax_scale, causal, window_size=_window(window_size), softcap=softcap,
                     deterministic=deterministic, return_attn_probs=return_lse)
    return made if return_lse else (made, None)


def _fa4_varlen_func(q: Tensor, k: Tensor, v: Tensor, qv: Optional[Tensor] = None,
                     cu_seqlens_q: Any = None, cu_seqlens_k: Any = None, max_seqlen_q: Any = None,
                     max_seqlen_k: Any = None, min_seqlen_k: Optional[int] = None,
                     seqused_q: Optional[Tensor] = None, seqused_k: Optional[Tensor] = None,
                     gather_kv_indices: Optional[Tensor] = None, page_table: Optional[Tensor] = None,
                     softmax_scale: Optional[float] = None, causal: bool = False,
                     window_size: Tuple[Optional[int], Optional[int]] = (None, None),
                     learnable_sink: Optional[Tensor] = None, softcap: float = 0.0, num_splits: int = 1,
                     pack_gqa: Optional[bool] = None, deterministic: bool = False, return_lse: bool = False,
                     **others: Any) -> Any:
    """min_seqlen_k is a hint, and none of attnc's."""
    from . import flash
    refuse(qv=qv, gather_kv_indices=gather_kv_indices, learnable_sink=learnable_sink, num_splits=num_splits,
           pack_gqa=pack_gqa)
    _refuse_others(others)
    made = flash.flash_attn_varlen_func(
        q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, 0.0, softmax_scale, causal,
        _window(window_size), softcap, None, deterministic, return_lse, page_table, seqused_q=seqused_q,
        seqused_k=seqused_k)
    return made[:2] if return_lse else (made, None)


def _refuse_others(others: Mapping[str, Any]) -> None:
    given = [n for n, x in others.items() if x is not None]
    if given:
        raise NotImplementedError(f"{', '.join(given)}: of flash_attn.cute not supported; attnc.flex_attention takes "
                                  "masks and scores as functions")


# ---- the modules ----


class _Module(types.ModuleType):
    """What it has not, and another FlashAttention has, is an ImportError when it is imported."""

    def __getattr__(self, name: str) -> NoReturn:
        if name in FUNCTIONS:
            raise ImportError(f"attnc has no {name} for {self.__name__}: {FUNCTIONS[name]}", name=self.__name__)
        if name.startswith("__"):
            raise AttributeError(name)
        raise ImportError(f"attnc's {self.__name__} has no {name}; it has {', '.join(sorted(self.__all__))}",
                          name=self.__name__)


def _modules() -> Dict[str, Dict[str, Any]]:
    """{name: {what is in it}}."""
    from . import bert_padding, flash
    two = {n: getattr(flash, n) for n in (
        "flash_attn_func", "flash_attn_kvpacked_func", "flash_attn_qkvpacked_func", "flash_attn_varlen_func",
        "flash_attn_varlen_kvpacked_func", "flash_attn_varlen_qkvpacked_func", "flash_attn_with_kvcache")}
    inner = {f.__name__: f for f in (_flash_attn_forward, _flash_attn_varlen_forward, _flash_attn_backward,
                                     _flash_attn_varlen_backward, _get_block_size_n)}
    three = {"flash_attn_func": _fa3_func, "flash_attn_varlen_func": _fa3_varlen_func,
             "flash_attn_with_kvcache": flash.flash_attn_with_kvcache,
             "flash_attn_combine": flash.flash_attn_combine}
    four = {"flash_attn_func": _fa4_func, "flash_attn_varlen_func": _fa4_varlen_func,
            "flash_attn_combine": flash.flash_attn_combine}
    return {"flash_attn": {**two, "__version__": FOLLOWED}, "flash_attn.flash_attn_interface": {**two, **inner},
            "flash_attn.bert_padding": {n: getattr(bert_padding, n) for n in ("pad_input", "unpad_input")},
            "flash_attn.cute": four, "flash_attn.cute.interface": four, "flash_attn_interface": three}


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Refuses submodules that there are not, by name."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in ROOTS and name not in sys.modules:
            raise ModuleNotFoundError(f"attnc has no {name}; it has {', '.join(sorted(_modules()))}", name=name)
        return None


def install(name: str = "flash_attn") -> None:
    """Modules of FlashAttention made of attnc's functions, for imports from now on.  RuntimeError if another
    one is imported already."""
    import torch  # noqa: F401  functions of torch tensors

    from . import _operators  # noqa: F401
    if name != "flash_attn":
        raise ValueError(f"install({name!r}): \"flash_attn\" is what can be installed")
    others = [n for n in sys.modules if n.partition(".")[0] in ROOTS and not isinstance(sys.modules[n], _Module)]
    if others:
        raise RuntimeError(f"{others[0]} is imported already, and is not attnc's: install before it is")
    for path, content in _modules().items():
        module = _Module(path, __doc__)
        module.__dict__.update(content, __all__=[n for n in content if not n.startswith("__")], __file__=__file__)
        module.__dict__["__spec__"] = importlib.util.spec_from_loader(path, None, is_package="." not in path)
        if path in ("flash_attn", "flash_attn.cute"):
            module.__dict__["__path__"] = []
        sys.modules[path] = module
        parent, _, last = path.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, module)
    if not any(isinstance(x, _Finder) for x in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def uninstall() -> None:
    """As if it had not been; what was imported keeps what it has."""
    sys.meta_path[:] = [x for x in sys.meta_path if not isinstance(x, _Finder)]
    for path in [n for n, x in sys.modules.items() if isinstance(x, _Module)]:
        del sys.modules[path]
