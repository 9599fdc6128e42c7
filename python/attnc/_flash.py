"""What the drop-in functions are made of: contexts, checks of arguments, prepared launches.

`attend` runs one problem, dense or packed.  Launches are kept per thread and shape; `direct` is the short
way for tensors that were seen before and need nothing but new memory and new addresses.
"""
import os
import threading
from typing import Any, Dict, NamedTuple, Optional, Tuple, TypeVar

from . import arrays, errors
from ._arguments import dtype_of
from ._dropout import mask_of
from ._types import Fields, Key, Ops, Tensor, Tensors
from .context import Context
from .plan import Plan
from .sizes import Sizes
from .spec import Spec

Call = TypeVar("Call")
KEPT_LAUNCHES = 512  #: prepared launches a thread keeps, one for each shape
HEAD_DIM_MIN, HEAD_DIM_STEP = 8, 8

_lock = threading.RLock()
_contexts: Dict[str, Context] = {}
_specs: Dict[Any, Spec] = {}
_kept = threading.local()


def set_context(kind: str, context: Context) -> None:
    """Makes the functions of this module use `context` for tensors on "cpu" or on "cuda".
    Without it they create Context("emu") and Context("cuda") when first needed."""
    if kind not in ("cpu", "cuda"):
        raise errors.UsageError(f"set_context: {kind!r} is not cpu or cuda")
    with _lock:
        _contexts[kind] = context
        _forget()


def _forget() -> None:
    """Prepared launches belong to a context, and to a process."""
    global _kept
    _kept = threading.local()


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()
    _contexts.clear()
    _specs.clear()
    _forget()


os.register_at_fork(after_in_child=_after_fork)


def context_of(kind: str) -> Context:
    if kind not in _contexts:
        with _lock:
            if kind not in _contexts:
                _contexts[kind] = Context("emu" if kind == "cpu" else "cuda")
    return _contexts[kind]


class Options(NamedTuple):
    """What a problem is, but for its tensors.  alibi: the axes of the slopes, "none", "h" or "bh".
    seqlens: the tensors that give each sequence its own length."""

    scale: float
    causal: bool
    window: Tuple[int, int]
    softcap: float  #: 0: none
    alibi: str
    want_lse: bool
    seqlens: Tuple[str, ...] = ()
    paged: bool = False  #: k and v are pages
    lse_base: str = "e"
    sink: str = "none"  #: its dtype
    chunk: int = 0  #: attention_chunk; 0: none
    group: int = 0  #: query heads of a key head, where a kernel is made for them; 0: any
    append: bool = False  #: new tokens go into the cache first
    rope: Tuple[Any, ...] = ()  #: of them and of queries: elements of a head, interleaved, dtype of the angles
    splits: int = 0  #: of the keys, where a kernel splits them; 0: by its rule; no part of the spec
    dropout: float = 0.0  #: the share of weights that is dropped; whether there is one is part of the spec


BY_OTHER_FIELDS = ("page_table", "k_new", "v_new", "append_at", "rotary_cos", "rotary_sin")


class Sequences(NamedTuple):
    """Sequences of lengths of their own: b of them, the longest's queries and keys, and the tensors
    by name that say where they are and how long."""

    b: int
    sq: int
    sk: int
    tensors: Tensors

    def lengths(self) -> Tuple[str, ...]:
        """The names that the spec's `seqlens` has."""
        return tuple(name for name in self.tensors if name not in BY_OTHER_FIELDS)


def spec_of(dtype: str, head_dim: int, head_dim_v: int, options: Options) -> Spec:
    """The numbers of a call are no part of the kernel."""
    key = (dtype, head_dim, head_dim_v, options.softcap > 0, options.dropout > 0, *options[1:3], *options[4:-2])
    if key not in _specs:
        _specs[key] = Spec.from_dict(options_fields(dtype, head_dim, head_dim_v, options))
    return _specs[key]


def options_fields(dtype: str, head_dim: int, head_dim_v: int, options: Options) -> Fields:
    """The fields of the spec."""
    more = {"softcap": options.softcap > 0 and 1.0, "attention_chunk": options.chunk,
            "group_size": options.group, "dropout": options.dropout > 0,
            "append": options.append,
            "rope": options.rope and dict(zip(("dim", "interleaved", "dtype"), options.rope)),
            "lse_base": options.want_lse and options.lse_base != "e" and options.lse_base}
    return {"attnc": 1, "name": "flash_attn", "dtype": dtype, "head_dim": head_dim,
            "head_dim_v": head_dim_v, "causal": options.causal, "window": list(options.window),
            "alibi_slopes": options.alibi, "sink": options.sink, "return_lse": options.want_lse,
            "seqlens": list(options.seqlens), "page_table": options.paged,
            **{name: value for name, value in more.items() if value}}


def spec_of_fields(fields: Fields) -> Spec:
    """Of a dict of them, made once."""
    key = str(sorted((n, str(x)) for n, x in fields.items()))
    if key not in _specs:
        _specs[key] = Spec.from_dict(fields)
    return _specs[key]


# ---- one problem ----


def padding_of(x: Tensor) -> int:
    """How many zeros a row of `x` is short of a head_dim that kernels have."""
    return max(HEAD_DIM_MIN - int(x.shape[-1]), -int(x.shape[-1]) % HEAD_DIM_STEP)


def usable(ops: Ops, x: Tensor) -> Tensor:
    """Rows of `x` whole, and pointer and strides multiples of 16 bytes; else a copy."""
    short = padding_of(x)
    if short > 0:
        return ops.pad_last(x, short)
    y = ops.packed(x)
    at = ops.view(y)
    step = 16 // arrays.BYTES[at.dtype]
    if at.address % 16 or any(s % step for s in at.strides[:-1]):
        return ops.contiguous(y)
    return y


class _Prepared:
    """What is known of a call once its shapes are: how to run it, and how to allocate for it."""

    def __init__(self, ops: Ops, q: Tensor, k: Tensor, v: Tensor, options: Options,
                 sequences: Optional[Sequences] = None) -> None:
        dtype, self.device = dtype_of(ops, q, k, v)
        kind, index = self.device
        self.numbers = {"softmax_scale": options.scale}
        if options.softcap:
            self.numbers["softcap"] = options.softcap
        if options.dropout:
            self.numbers["dropout_p"] = options.dropout
        if sequences:
            sizes, self.lse_shape = self._sequences(q, k, sequences)
        else:
            (b, sq, h, _), (_, sk, hk, _) = q.shape, k.shape
            sizes, self.lse_shape = Sizes(b, h, hk, sq, sk), (b, h, sq)
        spec = spec_of(dtype, q.shape[-1], v.shape[-1], options)
        self.plan = context_of(kind).plan(spec, sizes, device=index, stream=ops.stream(self.device))
        if options.splits and "num_splits" in self.plan.choices:
            self.numbers["num_splits"] = options.splits
        # Every row sees a key, whatever causal and window say.
        self.sees_all = not sequences and 0 < sizes.sk >= sizes.sq
        self.launch: Any = None  # the Launch, once it is prepared

    def _sequences(self, q: Tensor, k: Tensor, sequences: Sequences) -> Tuple[Sizes, Tuple[int, ...]]:
        """Sizes, and the shape of the LSE."""
        at, sizes = sequences.tensors, dict(b=sequences.b, h=q.shape[-2], hk=k.shape[-2],
                                            sq=sequences.sq, sk=sequences.sk)
        self.numbers.update(sq=sequences.sq, sk=sequences.sk)
        for side, x in zip("qk", (q, k)):
            if f"cu_seqlens_{side}" in at:
                sizes[f"total_{side}"] = x.shape[0]
        if "page_table" in at:
            sizes.update(pages=k.shape[0], page_size=k.shape[1], max_pages=at["page_table"].shape[1])
        if "cache_batch_idx" in at:
            sizes["bc"] = (at["page_table"] if "page_table" in at else k).shape[0]
        if "k_new" in at:
            sizes["total_new" if "cu_seqlens_k_new" in at else "s_new"] = at["k_new"].shape[-3]
        if "rotary_cos" in at:
            sizes["rotary_len"] = at["rotary_cos"].shape[0]
        self.totals = {n: x for n, x in sizes.items() if n.startswith("total_")}
        rows = (sizes["total_q"],) if "total_q" in sizes else (sequences.sq,)
        batches = () if "total_q" in sizes else (sequences.b,)
        return Sizes(**sizes), (*batches, q.shape[-2], *rows)

    def resize(self, q: Tensor, k: Tensor, new: Optional[Tensor] = None) -> None:
        """Packed tensors of other rows: the plan and what is prepared serve any."""
        rows = (("total_q", q), ("total_k", k), ("total_new", new))
        totals = {n: x.shape[0] for n, x in rows if n in self.totals and x is not None}
        if self.totals == totals:
            return
        self.totals = totals
        if "total_q" in totals:
            self.lse_shape = self.lse_shape[0], totals["total_q"]
        if self.launch:
            self.launch.resize(**totals)


def run_prepared(call: Any, ops: Ops, tensors: Tensors) -> None:
    """Launches what is known of a call on all of its tensors, by name."""
    plan, launch = call.plan, call.launch
    if call.device[0] == "cpu":
        plan(**tensors, **call.numbers)
        return
    if launch is None:
        launch = call.launch = plan.prepare(**tensors, **call.numbers)
    if launch.workspace_bytes and not plan.runs_without_workspace:
        scratch = ops.scratch(launch.workspace_bytes, next(iter(tensors.values())), plan.zeroed_bytes)
        launch.use_workspace(scratch.data_ptr(), launch.workspace_bytes)
    launch(*(tensors[name].data_ptr() for name in plan.signature.tensors),
           stream=ops.stream(call.device))


PACKED_BY = {"k_new": "cu_seqlens_k_new", "v_new": "cu_seqlens_k_new"}


def key_of(ops: Ops, sequences: Optional[Sequences], offsets: Optional[str], x: Tensor) -> Tuple[Any, ...]:
    """What of a tensor a launch is packed from: of one packed by these offsets whatever its rows."""
    packed = sequences and offsets in sequences.tensors
    found: Key = ops.key_of_rows(x) if packed else ops.key(x)
    return found


def kept(key: Key) -> Any:
    """What this thread has prepared by that key, or None."""
    try:
        return _kept.table.get(key)
    except AttributeError:
        _kept.table = {}
        return None


def keep(key: Key, call: Call) -> Call:
    if len(_kept.table) >= KEPT_LAUNCHES:
        del _kept.table[next(iter(_kept.table))]
    _kept.table[key] = call
    return call


def prepared(ops: Ops, q: Tensor, k: Tensor, v: Tensor, options: Options, out: Tensor,
             sequences: Optional[Sequences] = None) -> _Prepared:
    """From this thread's table; the key is all that a launch is packed from."""
    key = (*key_of(ops, sequences, "cu_seqlens_q", q), *key_of(ops, sequences, "cu_seqlens_k", k),
           *key_of(ops, sequences, "cu_seqlens_k", v), ops.strides(out), options,
           sequences and (*sequences[:3], *((n, *key_of(ops, sequences, PACKED_BY.get(n), x))
                                            for n, x in sequences.tensors.items())))
    found: Optional[_Prepared] = kept(key)
    if found is None:
        found = keep(key, _Prepared(ops, q, k, v, options, sequences))
    if sequences:
        found.resize(q, k, sequences.tensors.get("k_new"))
    return found


def dropped(ops: Ops, q: Tensor, options: Options, state: Tensor, b: int, sq: int, sk: int) -> Tensor:
    """The signs of a call's S_dmask (_dropout.mask_of)."""
    kind, index = ops.view(q).device
    spec = spec_of_fields({"attnc": 1, "name": "dropout_mask", "dtype": "fp16", "head_dim": 64, "dropout": True})

    def plan(sizes: Sizes) -> Plan:
        return context_of(kind).plan(spec, sizes, device=index, op="dropout_mask", stream=ops.stream((kind, index)))
    return mask_of(ops, plan, state, q, b, q.shape[-2], sq, sk, options.dropout)


def attend(ops: Ops, q: Tensor, k: Tensor, v: Tensor, options: Options, slopes: Optional[Tensor] = None,
           sequences: Optional[Sequences] = None, out: Optional[Tensor] = None, sink: Optional[Tensor] = None,
           plus_inf: bool = True, rng_state: Optional[Tensor] = None) -> Tuple[Tensor, Optional[Tensor]]:
    """Attention of usable [b, s, h, d] tensors, of packed [total, h, d], or of pages: (out, lse or
    None).  out: where to write, usable.  plus_inf: the LSE of a row that sees no key is +inf, as
    FlashAttention-2's, not -inf."""
    if out is None:
        out = ops.empty((*q.shape[:-1], v.shape[-1]), q)
    call = prepared(ops, q, k, v, options, out, sequences)
    lse = ops.empty_fp32(call.lse_shape, q) if options.want_lse else None
    tensors = dict(q=q, k=k, v=v, o=out, lse=lse, alibi_slopes=slopes, sink=sink, rng_state=rng_state,
                   **(sequences.tensors if sequences else {}))
    run_prepared(call, ops, {name: x for name, x in tensors.items() if x is not None})
    if lse is not None and plus_inf and not call.sees_all:
        ops.minus_to_plus_inf(lse)
    return out, lse


class _Direct:
    """A call that needs nothing but new memory and new addresses: tensors on a GPU that the
    kernel takes as they are."""

    __slots__ = ("ops", "launch", "device", "lse_shape", "sees_all")

    def __init__(self, ops: Ops, call: _Prepared) -> None:
        self.ops, self.launch, self.device = ops, call.launch, call.device
        self.lse_shape, self.sees_all = call.lse_shape, call.sees_all

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, return_attn_probs: object) -> Any:
        """The result; None where the addresses or a gradient need more than this."""
        ops, at = self.ops, (q.data_ptr(), k.data_ptr(), v.data_ptr())
        if (at[0] | at[1] | at[2]) & 15 or ops.needs_grad(q, k, v):
            return None
        out = q.new_empty(q.shape)
        if not return_attn_probs:
            self.launch(*at, out.data_ptr(), stream=ops.stream(self.device))
            return out
        lse = ops.empty_fp32(self.lse_shape, q)
        self.launch(*at, out.data_ptr(), lse.data_ptr(), stream=ops.stream(self.device))
        if not self.sees_all:
            ops.minus_to_plus_inf(lse)
        return out, lse, ops.empty((0,), q)


class _DirectPacked:
    """The same of packed sequences, of any number of rows; lengths are vectors that lie as they should."""

    __slots__ = ("ops", "call", "order")

    def __init__(self, ops: Ops, call: _Prepared, names: Tuple[str, ...]) -> None:
        """names: of the lengths that a call gives, in its order."""
        self.ops, self.call = ops, call
        tensors = call.plan.signature.tensors
        own = [name for name in tensors if name not in names]  # queries, keys, values, outputs
        self.order = tuple(own.index(n) if n in own else 5 + names.index(n) for n in tensors)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, lengths: Tuple[Optional[Tensor], ...],
                 return_attn_probs: object) -> Any:
        ops, call = self.ops, self.call
        if (q.data_ptr() | k.data_ptr() | v.data_ptr()) & 15 or ops.needs_grad(q, k, v):
            return None
        call.resize(q, k)
        out = q.new_empty(q.shape)
        lse = ops.empty_fp32(call.lse_shape, q) if return_attn_probs else None
        tensors = (q, k, v, out, lse, *lengths)
        call.launch(*[tensors[i].data_ptr() for i in self.order], stream=ops.stream(call.device))
        if lse is None:
            return out
        ops.minus_to_plus_inf(lse)
        return out, lse, ops.empty((0,), q)


def direct_packed(q: Tensor, k: Tensor, v: Tensor, lengths: Tuple[Optional[Tensor], ...],
                  options: Tuple[Any, ...]) -> Tuple[Any, Any]:
    """direct, of packed sequences: their rows are no part of the key."""
    try:
        key = (*[(x.shape[1:], x.stride(), x.dtype, x.device) for x in (q, k, v)],
               *[x if x is None else (x.shape, x.stride(), x.dtype, x.device) for x in lengths], options)
        return key, _kept.direct.get(key)
    except (AttributeError, TypeError):
        _kept.direct = getattr(_kept, "direct", {})
        return None, None


def direct(q: Tensor, k: Tensor, v: Tensor, options: Tuple[Any, ...]) -> Tuple[Any, Any]:
    """(key, call or None) for tensors of torch; (None, None) for others.  The key has every
    argument, so that what was allowed once is allowed again."""
    try:
        key = (q.shape, q.stride(), q.dtype, q.device, k.shape, k.stride(), k.dtype, k.device,
               v.shape, v.stride(), v.dtype, v.device, options)
        return key, _kept.direct.get(key)
    except (AttributeError, TypeError):  # numpy's, or a window_size that is a list
        _kept.direct = getattr(_kept, "direct", {})
        return None, None


def keep_direct(key: Key, ops: Ops, call: _Prepared, names: Optional[Tuple[str, ...]] = None) -> None:
    """names: of the lengths of packed sequences."""
    if call.device[0] == "cuda" and (not call.launch.workspace_bytes or
                                     call.plan.runs_without_workspace):
        if len(_kept.direct) >= KEPT_LAUNCHES:
            del _kept.direct[next(iter(_kept.direct))]
        _kept.direct[key] = _Direct(ops, call) if names is None else _DirectPacked(ops, call, names)


def result_of(ops: Ops, out: Tensor, lse: Optional[Tensor], head_dim: int, return_attn_probs: object,
              mask: Optional[Tensor] = None) -> Any:
    if out.shape[-1] != head_dim:
        out = out[..., :head_dim]
    return (out, lse, ops.empty((0,), out) if mask is None else mask) if return_attn_probs else out
