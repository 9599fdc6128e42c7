"""torch.library operators of the drop-in functions: what torch.compile puts into its graph, and what
autograd differentiates.

    torch.ops.attnc.flash_attn, .flash_attn_varlen, .flash_attn_kvcache, .flash_attn_append,
    .flash_attn_combine, and the gradients .flash_attn_bwd and .flash_attn_varlen_bwd

An operator's kernel is the eager function, called below autograd; its fake kernel says shapes alone.
`TRACED` has, by the name of a drop-in function, what is called in its place where a graph is traced or a
gradient is wanted: the same arguments, in plain torch and operators.  Saved for a backward pass are q, k, v,
out, the LSE and the state of the random numbers, and what the caller gave of slopes and lengths.
"""
from typing import Any, Callable, Dict, Optional, Tuple, Union

import torch

from . import _backward, _flash, flash
from . import _torch as ops
from ._arguments import scale_of, slopes_of, window_of
from ._dropout import DRAWS, LSE_ALONE, Rows, share_of, state_of, weighed, weights_of
from ._types import Tensor

_LIB: Any = torch.library.Library("attnc", "FRAGMENT")  # type: ignore[no-untyped-call]
_BOTH = ("CPU", "CUDA")
_TAGS = (torch.Tag.pt2_compliant_tag, torch.Tag.needs_exact_strides)

# The arguments that the dense and the packed operator share.
_OPTIONS = ("Tensor? alibi_slopes, float dropout_p, Tensor? rng_state, float? softmax_scale, bool causal, SymInt window_left, "
            "SymInt window_right, float softcap, bool deterministic")
_LENGTHS = ("Tensor cu_seqlens_q, Tensor? cu_seqlens_k, SymInt max_seqlen_q, SymInt max_seqlen_k, "
            "Tensor? seqused_q, Tensor? seqused_k, Tensor? block_table")
_CACHE = ("Tensor? cache_seqlens, Tensor? cache_batch_idx, Tensor? cache_leftpad, Tensor? page_table, "
          "Tensor? alibi_slopes, Tensor? cu_seqlens_q, SymInt? max_seqlen_q, float? softmax_scale, bool causal, "
          "SymInt window_left, SymInt window_right, float softcap, SymInt num_splits, SymInt attention_chunk, "
          "bool? pack_gqa")
_NEW = ("Tensor k, Tensor v, Tensor? rotary_cos, Tensor? rotary_sin, bool rotary_interleaved, "
        "Tensor? cu_seqlens_k_new, Tensor? rotary_seqlens")


def define(schema: str, kernel: Callable[..., Any], fake: Callable[..., Any],
           tags: Tuple[torch.Tag, ...] = ()) -> Any:
    """An operator of both devices; returns torch's handle of it."""
    name = schema.partition("(")[0]
    _LIB.define(schema, tags=(*_TAGS, *tags))
    for device in _BOTH:
        _LIB.impl(name, kernel, device)
    torch.library.register_fake(f"attnc::{name}", fake, lib=_LIB)
    torch.library.register_vmap(f"attnc::{name}", _no_vmap(name), lib=_LIB)
    return getattr(torch.ops.attnc, name)


def _no_vmap(name: str) -> Callable[..., Any]:
    def refused(info: Any, in_dims: Any, *args: Any, **given: Any) -> None:
        raise NotImplementedError(f"vmap of {name} is not supported: batch and heads are axes of its tensors")
    return refused


def _lse_of(dropout_p: float) -> Any:
    """What returns the LSE: with dropout not the mask, too, which is of all queries and keys."""
    return LSE_ALONE if dropout_p else True


# ---- dense and packed ----


def _flash_attn(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, alibi_slopes: Optional[torch.Tensor],
                dropout_p: float, rng_state: Optional[torch.Tensor], softmax_scale: Optional[float], causal: bool,
                window_left: int, window_right: int, softcap: float,
                deterministic: bool) -> Tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        out, lse, _ = flash.flash_attn_func(
            q, k, v, dropout_p, softmax_scale, causal, (window_left, window_right), softcap, alibi_slopes,
            deterministic, _lse_of(dropout_p), rng_state=rng_state)
    return out.contiguous(), lse


def _flash_attn_fake(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor,
                     *options: Any) -> Tuple[torch.Tensor, torch.Tensor]:
    b, sq, h, d = q.shape
    return q.new_empty((b, sq, h, d)), q.new_empty((b, h, sq), dtype=torch.float32)


def _flash_attn_varlen(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, cu_seqlens_q: torch.Tensor,
                       cu_seqlens_k: Optional[torch.Tensor], max_seqlen_q: int, max_seqlen_k: int,
                       seqused_q: Optional[torch.Tensor], seqused_k: Optional[torch.Tensor],
                       block_table: Optional[torch.Tensor], alibi_slopes: Optional[torch.Tensor], dropout_p: float,
                       rng_state: Optional[torch.Tensor], softmax_scale: Optional[float], causal: bool,
                       window_left: int, window_right: int, softcap: float,
                       deterministic: bool) -> Tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        out, lse, _ = flash.flash_attn_varlen_func(
            q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p, softmax_scale, causal,
            (window_left, window_right), softcap, alibi_slopes, deterministic, _lse_of(dropout_p), block_table,
            seqused_q=seqused_q, seqused_k=seqused_k, rng_state=rng_state)
    return out.contiguous(), lse


def _flash_attn_varlen_fake(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor,
                            *options: Any) -> Tuple[torch.Tensor, torch.Tensor]:
    rows, h, d = q.shape
    return q.new_empty((rows, h, d)), q.new_empty((h, rows), dtype=torch.float32)


flash_attn = define(f"flash_attn(Tensor q, Tensor k, Tensor v, {_OPTIONS}) -> (Tensor, Tensor)",
                    _flash_attn, _flash_attn_fake)
flash_attn_varlen = define(
    f"flash_attn_varlen(Tensor q, Tensor k, Tensor v, {_LENGTHS}, {_OPTIONS}) -> (Tensor, Tensor)",
    _flash_attn_varlen, _flash_attn_varlen_fake)

# ---- their gradients ----

_SAVED = "Tensor dout, Tensor? dlse, Tensor q, Tensor k, Tensor v, Tensor out, Tensor softmax_lse"


def _gradients_fake(dout: torch.Tensor, dlse: Optional[torch.Tensor], q: torch.Tensor, k: torch.Tensor,
                    v: torch.Tensor, *rest: Any) -> Tuple[torch.Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in (q, k, v))


def _flash_attn_bwd(dout: torch.Tensor, dlse: Optional[torch.Tensor], q: torch.Tensor, k: torch.Tensor,
                    v: torch.Tensor, out: torch.Tensor, softmax_lse: torch.Tensor,
                    *options: Any) -> Tuple[torch.Tensor, ...]:
    return _backward.dense((dout, dlse), (q, k, v, out, softmax_lse), options)


def _flash_attn_varlen_bwd(dout: torch.Tensor, dlse: Optional[torch.Tensor], q: torch.Tensor, k: torch.Tensor,
                           v: torch.Tensor, out: torch.Tensor, softmax_lse: torch.Tensor,
                           *more: Any) -> Tuple[torch.Tensor, ...]:
    return _backward.packed((dout, dlse), (q, k, v, out, softmax_lse), more[:7], more[7:])


flash_attn_bwd = define(f"flash_attn_bwd({_SAVED}, {_OPTIONS}) -> (Tensor, Tensor, Tensor)",
                        _flash_attn_bwd, _gradients_fake)
flash_attn_varlen_bwd = define(
    f"flash_attn_varlen_bwd({_SAVED}, {_LENGTHS}, {_OPTIONS}) -> (Tensor, Tensor, Tensor)",
    _flash_attn_varlen_bwd, _gradients_fake)


def _keep(ctx: Any, inputs: Tuple[Any, ...], output: Tuple[torch.Tensor, ...]) -> None:
    """Tensors are saved, so that what is changed in place before the backward pass is an error."""
    q, k, v, *rest = inputs
    ctx.set_materialize_grads(False)
    tensors = [x for x in rest if isinstance(x, torch.Tensor)]
    ctx.places = [None if isinstance(x, torch.Tensor) else (x,) for x in rest]
    ctx.save_for_backward(q, k, v, *output, *tensors)


def _differentiate(operator: Callable[..., Any]) -> Callable[..., Tuple[Any, ...]]:
    def backward(ctx: Any, dout: Optional[Tensor], dlse: Optional[Tensor]) -> Tuple[Any, ...]:
        q, k, v, out, lse, *tensors = ctx.saved_tensors
        left = iter(tensors)
        rest = [next(left) if place is None else place[0] for place in ctx.places]
        if dout is None and dlse is None:
            return (None,) * (3 + len(rest))
        dout = torch.zeros_like(out) if dout is None else dout
        found = operator(dout, dlse, q, k, v, out, lse, *rest)
        return (*found, *(None for _ in rest))
    return backward


def twice(ctx: Any, *grads: Any) -> None:
    raise NotImplementedError("a gradient of attnc's gradients (create_graph=True, a double backward pass) is not "
                              "supported: call torch's scaled_dot_product_attention there, with SDPBackend.MATH")


for _name in ("flash_attn", "flash_attn_varlen"):
    torch.library.register_autograd(f"attnc::{_name}", _differentiate(getattr(torch.ops.attnc, _name + "_bwd")),
                                    setup_context=_keep, lib=_LIB)
    torch.library.register_autograd(f"attnc::{_name}_bwd", twice, lib=_LIB)


# ---- dropout ----


def _random_state(like: torch.Tensor, draws: int) -> torch.Tensor:
    return ops.random_state(like, draws).view(torch.int64).clone()


def _dropout_mask(rng_state: torch.Tensor, like: torch.Tensor, b: int, sq: int, sk: int,
                  dropout_p: float) -> torch.Tensor:
    options = _flash.Options(1.0, False, (-1, -1), 0.0, "none", False, dropout=dropout_p)
    mask: torch.Tensor = _flash.dropped(ops, like, options, ops.state(rng_state), b, sq, sk)
    return mask


def _dropout_mask_fake(rng_state: torch.Tensor, like: torch.Tensor, b: int, sq: int, sk: int,
                       dropout_p: float) -> torch.Tensor:
    return like.new_empty((b, like.shape[-2], (sq + 127) // 128 * 128, (sk + 127) // 128 * 128))


define("random_state(Tensor like, SymInt draws) -> Tensor", _random_state,
       lambda like, draws: like.new_empty((2,), dtype=torch.int64), (torch.Tag.nondeterministic_seeded,))
define("dropout_mask(Tensor rng_state, Tensor like, SymInt b, SymInt sq, SymInt sk, float dropout_p) -> Tensor",
       _dropout_mask, _dropout_mask_fake)


def rng_state_of(rng_state: Optional[torch.Tensor], dropout_p: float, q: torch.Tensor, batches: int,
                 heads: int) -> Optional[torch.Tensor]:
    """The caller's, or a new one, int64 [2]; None without dropout."""
    if not dropout_p:
        return None
    if rng_state is None:
        state: torch.Tensor = torch.ops.attnc.random_state(q, DRAWS * batches * heads)
    else:
        state = state_of(ops, rng_state, q, batches, heads).view(torch.int64)
    return state


# ---- caches: no gradients ----


def _flash_attn_kvcache(q: torch.Tensor, k_cache: torch.Tensor, v_cache: torch.Tensor,
                        cache_seqlens: Optional[torch.Tensor], cache_batch_idx: Optional[torch.Tensor],
                        cache_leftpad: Optional[torch.Tensor], page_table: Optional[torch.Tensor],
                        alibi_slopes: Optional[torch.Tensor], cu_seqlens_q: Optional[torch.Tensor],
                        max_seqlen_q: Optional[int], softmax_scale: Optional[float], causal: bool, window_left: int,
                        window_right: int, softcap: float, num_splits: int, attention_chunk: int,
                        pack_gqa: Optional[bool], k: Optional[torch.Tensor] = None, v: Optional[torch.Tensor] = None,
                        rotary_cos: Optional[torch.Tensor] = None, rotary_sin: Optional[torch.Tensor] = None,
                        rotary_interleaved: bool = True, cu_seqlens_k_new: Optional[torch.Tensor] = None,
                        rotary_seqlens: Optional[torch.Tensor] = None) -> Tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        out, lse = flash.flash_attn_with_kvcache(
            q, k_cache, v_cache, k, v, rotary_cos, rotary_sin, cache_seqlens, cache_batch_idx, cache_leftpad,
            page_table, softmax_scale, causal, (window_left, window_right), softcap, rotary_interleaved,
            alibi_slopes, num_splits, True, cu_seqlens_q=cu_seqlens_q, max_seqlen_q=max_seqlen_q,
            attention_chunk=attention_chunk, pack_gqa=pack_gqa, cu_seqlens_k_new=cu_seqlens_k_new,
            rotary_seqlens=rotary_seqlens)
    return out.contiguous(), lse


def _flash_attn_kvcache_fake(q: torch.Tensor, k_cache: torch.Tensor, v_cache: torch.Tensor,
                             *options: Any) -> Tuple[torch.Tensor, torch.Tensor]:
    rows = (q.shape[1], q.shape[0]) if q.dim() == 3 else (q.shape[0], q.shape[2], q.shape[1])
    return q.new_empty((*q.shape[:-1], v_cache.shape[-1])), q.new_empty(rows, dtype=torch.float32)


flash_attn_kvcache = define(
    f"flash_attn_kvcache(Tensor q, Tensor k_cache, Tensor v_cache, {_CACHE}) -> (Tensor, Tensor)",
    _flash_attn_kvcache, _flash_attn_kvcache_fake)
flash_attn_append = define(
    f"flash_attn_append(Tensor q, Tensor(a!) k_cache, Tensor(b!) v_cache, {_CACHE}, {_NEW}) -> (Tensor, Tensor)",
    _flash_attn_kvcache, _flash_attn_kvcache_fake)


def _flash_attn_combine(out_partial: torch.Tensor, lse_partial: torch.Tensor,
                        out_dtype: Any) -> Tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        out, lse = flash.flash_attn_combine(out_partial, lse_partial, None, out_dtype)
    return out, lse.contiguous()


def _flash_attn_combine_fake(out_partial: torch.Tensor, lse_partial: torch.Tensor,
                             out_dtype: Any) -> Tuple[torch.Tensor, torch.Tensor]:
    return (out_partial.new_empty(out_partial.shape[1:], dtype=out_dtype or out_partial.dtype),
            lse_partial.new_empty(lse_partial.shape[1:]))


flash_attn_combine = define(
    "flash_attn_combine(Tensor out_partial, Tensor lse_partial, ScalarType? out_dtype) -> (Tensor, Tensor)",
    _flash_attn_combine, _flash_attn_combine_fake)

# ---- what is traced in the place of the functions ----


def _no_gradient(**tensors: Optional[torch.Tensor]) -> None:
    for name, x in tensors.items():
        if x is not None and x.requires_grad and torch.is_grad_enabled():
            raise NotImplementedError(f"{name} requires a gradient, which is not computed: detach it")


def _options(alibi_slopes: Optional[torch.Tensor], dropout_p: float, rng_state: Optional[torch.Tensor],
             softmax_scale: Optional[float], causal: bool, window_size: Tuple[int, int], softcap: float,
             deterministic: bool) -> Tuple[Any, ...]:
    left, right = window_size
    return (alibi_slopes, dropout_p, rng_state, None if softmax_scale is None else float(softmax_scale), bool(causal),
            left, right, float(softcap), bool(deterministic))


def _length(x: Any) -> int:
    """A number; a tensor of one is read."""
    return int(x) if isinstance(x, torch.Tensor) else x


def s_dmask(rng_state: torch.Tensor, q: torch.Tensor, k: torch.Tensor, sizes: Tuple[int, ...], options: Tuple[Any, ...],
            alibi_slopes: Optional[torch.Tensor] = None, rows: Optional[Tuple[Rows, Rows]] = None) -> Any:
    """S_dmask of a call with dropout; sizes: batches and the longest sequences', rows: where they are packed."""
    scale, causal, window, softcap, dropout_p = options
    slopes, _ = slopes_of(ops, alibi_slopes, sizes[0], q.shape[-2])
    own = _flash.Options(scale_of(scale, q.shape[-1]), causal, window_of(window, causal, *sizes[1:]), softcap, "none", False)
    signs = torch.ops.attnc.dropout_mask(rng_state, q.detach(), *sizes, dropout_p)
    return weighed(ops, signs, weights_of(ops, q, k, own, slopes, rows))


def _result(out: torch.Tensor, lse: torch.Tensor, return_attn_probs: bool, mask: Optional[Callable[[], Any]]) -> Any:
    """mask: makes S_dmask; None: nothing is dropped."""
    if not return_attn_probs:
        return out
    return out, lse, mask() if mask else out.new_empty((0,))


def _traced_func(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, dropout_p: float = 0.0,
                 softmax_scale: Optional[float] = None, causal: bool = False, window_size: Tuple[int, int] = (-1, -1),
                 softcap: float = 0.0, alibi_slopes: Optional[torch.Tensor] = None, deterministic: bool = False,
                 return_attn_probs: bool = False, *, rng_state: Optional[torch.Tensor] = None) -> Any:
    _no_gradient(alibi_slopes=alibi_slopes)
    share, sizes = share_of(dropout_p), (q.shape[0], q.shape[1], k.shape[1])
    state = rng_state_of(rng_state, share, q, q.shape[0], q.shape[2])
    out, lse = torch.ops.attnc.flash_attn(q, k, v, *_options(
        alibi_slopes, share, state, softmax_scale, causal, window_size, softcap, deterministic))
    options = softmax_scale, causal, window_size, softcap, share
    return _result(out, lse, return_attn_probs,
                   None if state is None else lambda: s_dmask(state, q, k, sizes, options, alibi_slopes))


def _traced_varlen_func(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, cu_seqlens_q: torch.Tensor,
                        cu_seqlens_k: torch.Tensor, max_seqlen_q: int, max_seqlen_k: int, dropout_p: float = 0.0,
                        softmax_scale: Optional[float] = None, causal: bool = False,
                        window_size: Tuple[int, int] = (-1, -1), softcap: float = 0.0,
                        alibi_slopes: Optional[torch.Tensor] = None, deterministic: bool = False,
                        return_attn_probs: bool = False, block_table: Optional[torch.Tensor] = None, *,
                        seqused_q: Optional[torch.Tensor] = None, seqused_k: Optional[torch.Tensor] = None,
                        rng_state: Optional[torch.Tensor] = None) -> Any:
    _no_gradient(alibi_slopes=alibi_slopes)
    share, sizes = share_of(dropout_p), (cu_seqlens_q.shape[0] - 1, _length(max_seqlen_q), _length(max_seqlen_k))
    state = rng_state_of(rng_state, share, q, sizes[0], q.shape[1])
    out, lse = torch.ops.attnc.flash_attn_varlen(
        q, k, v, cu_seqlens_q, cu_seqlens_k, *sizes[1:], seqused_q, seqused_k, block_table, *_options(
            alibi_slopes, share, state, softmax_scale, causal, window_size, softcap, deterministic))
    options = softmax_scale, causal, window_size, softcap, share

    def mask() -> Any:
        assert state is not None
        if block_table is not None:
            raise NotImplementedError("return_attn_probs with dropout_p and block_table: S_dmask is not made of keys "
                                      "in pages; rng_state and op dropout_mask say which are kept")
        rows = Rows(ops, cu_seqlens_q, seqused_q, sizes[1]), Rows(ops, cu_seqlens_k, seqused_k, sizes[2])
        return s_dmask(state, q, k, sizes, options, alibi_slopes, rows)
    return _result(out, lse, return_attn_probs, None if state is None else mask)


def _traced_kvcache(q: torch.Tensor, k_cache: torch.Tensor, v_cache: torch.Tensor, k: Optional[torch.Tensor] = None,
                    v: Optional[torch.Tensor] = None, rotary_cos: Optional[torch.Tensor] = None,
                    rotary_sin: Optional[torch.Tensor] = None,
                    cache_seqlens: Optional[Union[int, torch.Tensor]] = None,
                    cache_batch_idx: Optional[torch.Tensor] = None, cache_leftpad: Optional[torch.Tensor] = None,
                    block_table: Optional[torch.Tensor] = None, softmax_scale: Optional[float] = None,
                    causal: bool = False, window_size: Tuple[int, int] = (-1, -1), softcap: float = 0.0,
                    rotary_interleaved: bool = True, alibi_slopes: Optional[torch.Tensor] = None, num_splits: int = 0,
                    return_softmax_lse: bool = False, *, page_table: Optional[torch.Tensor] = None,
                    cu_seqlens_q: Optional[torch.Tensor] = None, max_seqlen_q: Optional[int] = None,
                    attention_chunk: int = 0, pack_gqa: Optional[bool] = None,
                    cu_seqlens_k_new: Optional[torch.Tensor] = None,
                    rotary_seqlens: Optional[torch.Tensor] = None) -> Any:
    _no_gradient(q=q, k_cache=k_cache, v_cache=v_cache, k=k, v=v)
    if block_table is not None and page_table is not None:
        raise TypeError("block_table and page_table are one: give either")
    if k is None and not (v is None and rotary_cos is None and rotary_sin is None and cu_seqlens_k_new is None
                          and rotary_seqlens is None):
        raise ValueError("v, rotary tables, cu_seqlens_k_new and rotary_seqlens are of new tokens, and need k")
    if isinstance(cache_seqlens, int):
        batch = q.shape[0] if cu_seqlens_q is None else cu_seqlens_q.shape[0] - 1
        cache_seqlens = torch.full((batch,), cache_seqlens, dtype=torch.int32, device=q.device)
    left, right = window_size
    cache = (cache_seqlens, cache_batch_idx, cache_leftpad, page_table if block_table is None else block_table,
             alibi_slopes, cu_seqlens_q, max_seqlen_q, softmax_scale, bool(causal), left, right, float(softcap),
             num_splits or 0, attention_chunk, pack_gqa)
    if k is None:
        out, lse = torch.ops.attnc.flash_attn_kvcache(q, k_cache, v_cache, *cache)
    else:
        out, lse = torch.ops.attnc.flash_attn_append(q, k_cache, v_cache, *cache, k, v, rotary_cos, rotary_sin,
                                                     bool(rotary_interleaved), cu_seqlens_k_new, rotary_seqlens)
    return (out, lse) if return_softmax_lse else out


def _traced_combine(out_partial: torch.Tensor, lse_partial: torch.Tensor, out: Optional[torch.Tensor] = None,
                    out_dtype: Any = None) -> Tuple[torch.Tensor, torch.Tensor]:
    _no_gradient(out_partial=out_partial, lse_partial=lse_partial)
    made, lse = torch.ops.attnc.flash_attn_combine(out_partial, lse_partial,
                                                   out_dtype if out is None else out.dtype)
    return (made if out is None else out.copy_(made)), lse


TRACED: Dict[str, Callable[..., Any]] = {"flash_attn_func": _traced_func, "flash_attn_varlen_func": _traced_varlen_func,
          "flash_attn_with_kvcache": _traced_kvcache, "flash_attn_combine": _traced_combine}
