"""Sequences of a call of the drop-in functions: what their offsets, lengths and page tables say, checked
as far as nothing waits for a GPU."""
from typing import Any, Callable, List, NamedTuple, Optional, Tuple, Union

from . import arrays
from ._arguments import HEAD_DIM_V_MAX, check_heads, dtype_of, whole
from ._flash import Sequences, padding_of, usable
from ._types import Ops, Tensor, Tensors

Rotary = Tuple[Tensor, Tensor, bool]  #: cos, sin, interleaved


def vector(ops: Ops, q: Tensor, name: str, x: Tensor, n: Optional[int]) -> Tensor:
    """An int32 vector of the call, of n numbers (None: any), where q is."""
    if arrays.ops(x) is not ops:
        raise TypeError(f"{name}: an int32 vector of {ops.FRAMEWORK} is needed, as q is, not "
                        f"{type(x).__module__}.{type(x).__name__}: {ops.VECTOR.format(name)}")
    at = ops.view(x)
    if len(at.shape) != 1:
        raise TypeError(f"{name}: a vector is needed, not {len(at.shape)} axes")
    if at.dtype != "i32":
        raise TypeError(f"{name}: int32 is needed, not {at.dtype}")
    if at.device != ops.view(q).device:
        raise ValueError(f"{name} must be on the device of q")
    if n is not None and at.shape[0] != n:
        raise ValueError(f"{name} has {at.shape[0]} numbers, not {n}")
    return ops.contiguous(x)


def _offsets(ops: Ops, q: Tensor, name: str, cu_seqlens: Tensor, total: int, longest: int) -> Tuple[Tensor, int]:
    """The vector, and how many sequences it tells; numbers on a GPU are not looked at, which would
    wait for it."""
    x = vector(ops, q, name, cu_seqlens, None)
    n = x.shape[0] - 1
    if n < 1:
        raise ValueError(f"{name} must have two numbers or more")
    if ops.view(x).device[0] == "cpu":
        _check_offsets(name, ops.integers(x), total, longest)
    return x, n


def _check_offsets(name: str, at: List[int], total: int, longest: int) -> None:
    if at[0] or any(a > b for a, b in zip(at, at[1:])) or at[-1] > total:
        raise ValueError(f"{name} must rise from 0 to at most {total}, with two numbers or more")
    most = max(b - a for a, b in zip(at, at[1:]))
    if most > longest:
        raise ValueError(f"max_seqlen_{name[-1]}={longest}, but a sequence has {most}")


def packed(ops: Ops, q: Tensor, k: Tensor, cu: Tuple[Tensor, Tensor], longest: Tuple[int, int],
           used: Tuple[Optional[Tensor], Optional[Tensor]]) -> Sequences:
    """Of what a call gives for queries and for keys: offsets, the longest, how many rows count."""
    tensors, n = {}, []
    for side, x, at, most in zip("qk", (q, k), cu, longest):
        name = f"cu_seqlens_{side}"
        tensors[name], its = _offsets(ops, q, name, at, x.shape[0], most)
        n.append(its)
    if n[0] != n[1]:
        raise ValueError(f"cu_seqlens_q has {n[0]} sequences, cu_seqlens_k {n[1]}")
    for side, x in zip("qk", used):
        if x is not None:
            tensors[f"seqused_{side}"] = vector(ops, q, f"seqused_{side}", x, n[0])
    return Sequences(n[0], *longest, tensors)


# ---- caches ----


class Cache(NamedTuple):
    """How flash_attn_with_kvcache was told which keys are a sequence's."""

    seqlens: Any
    batch_idx: Optional[Tensor]
    leftpad: Optional[Tensor]
    table: Optional[Tensor]
    cu_seqlens_q: Optional[Tensor]
    max_seqlen_q: Any


def _within(ops: Ops, name: str, x: Tensor, most: int) -> Tensor:
    if ops.view(x).device[0] == "cpu" and any(not 0 <= n <= most for n in ops.integers(x)):
        raise ValueError(f"{name} has a number that is not from 0 to {most}")
    return x


def _table_of(ops: Ops, q: Tensor, table: Tensor, rows: Optional[int]) -> Tensor:
    """int32 (rows, max_pages), where q is; rows None: any."""
    if arrays.ops(table) is not ops:
        raise TypeError(f"block_table: an int32 tensor of {ops.FRAMEWORK} is needed, as q is, not "
                        f"{type(table).__module__}.{type(table).__name__}")
    at = ops.view(table)
    if at.dtype != "i32":
        raise TypeError(f"block_table: int32 is needed, not {at.dtype}")
    if len(at.shape) != 2 or (rows is not None and at.shape[0] != rows):
        raise ValueError(f"block_table has shape {tuple(at.shape)}, not "
                         f"({'batches' if rows is None else rows}, pages of each)")
    if at.device != ops.view(q).device:
        raise ValueError("block_table must be on the device of q")
    return ops.packed(table)


def _check_pages(ops: Ops, sequences: Sequences, k: Tensor) -> None:
    """That the pages of keys that count are pages; of a table on a GPU nothing is looked at."""
    at, size = sequences.tensors, k.shape[1]
    if ops.view(at["page_table"]).device[0] != "cpu":
        return
    lists = at["page_table"].tolist()
    numbers = {n: ops.integers(x) for n, x in at.items() if n != "page_table"}
    for b in range(sequences.b):
        end = numbers.get("seqused_k", [sequences.sk] * sequences.b)[b]
        first = numbers.get("leftpad_k", [0] * sequences.b)[b]
        row = numbers.get("cache_batch_idx", range(sequences.b))[b]
        for i in range(first // size, -(-end // size) if first < end else 0):
            if not 0 <= lists[row][i] < k.shape[0]:
                raise ValueError(f"block_table[{row}, {i}] is {lists[row][i]}, not one of the "
                                 f"{k.shape[0]} pages")


def check_cache(ops: Ops, q: Tensor, k: Tensor, v: Tensor) -> None:
    """A cache is taken as it lies: copies of it would cost more than the attention.  Only rows that
    no kernel has, of a head_dim that is no multiple of 8, are copied, as FlashAttention copies them."""
    if not len(k.shape) == len(v.shape) == 4:
        raise ValueError("a cache has 4 axes: batches or pages, rows, heads, head_dim")
    if tuple(v.shape[:-1]) != tuple(k.shape[:-1]) or q.shape[-1] != k.shape[-1]:
        raise ValueError(f"shapes do not agree: q {tuple(q.shape)}, k {tuple(k.shape)}, "
                         f"v {tuple(v.shape)}")
    check_heads(q.shape[-2], k.shape[-2], q.shape[-1])
    if not 0 < v.shape[-1] <= HEAD_DIM_V_MAX:
        raise NotImplementedError(f"head_dim of v, {v.shape[-1]}: 1 to {HEAD_DIM_V_MAX} are supported")
    if any(not padding_of(x) and usable(ops, x) is not x for x in (k, v)):
        raise ValueError("a cache is not copied: whole rows, addresses and strides of multiples of 16 "
                         "bytes are needed")


# ---- what else callers of caches say ----

FEW_ROWS = 64  # of a key head: what decode_wgmma has in a block; of decode_mma a block has 32


def group_of(q: Tensor, k: Tensor, sq: int, pack_gqa: Optional[bool] = None) -> int:
    """How many query heads share a key head, where the kernel is to have them in one block: where they
    and the queries are few, unless pack_gqa says; 0: it need not know."""
    group = q.shape[-2] // k.shape[-2]
    packs = group * sq <= FEW_ROWS if pack_gqa is None else pack_gqa
    return group if group > 1 and packs else 0


def sink_of(ops: Ops, sink: Optional[Tensor], h: int) -> Tuple[Optional[Tensor], str]:
    """(a logit of each head as kernels take it, its dtype)."""
    if sink is None:
        return None, "none"
    if arrays.ops(sink) is not ops:
        raise TypeError(f"sinks: a tensor of {ops.FRAMEWORK} is needed, as q is")
    at = ops.view(sink)
    if at.shape != (h,) or at.dtype not in ("fp32", "fp16", "bf16"):
        raise ValueError(f"sinks of shape {tuple(at.shape)}, {at.dtype}: ({h},) is needed, fp32, fp16 or "
                         "bf16")
    return ops.contiguous(sink), at.dtype


def into(ops: Ops, out: Optional[Tensor], head_dim: int,
         run: Callable[[Optional[Tensor]], Tuple[Tensor, Optional[Tensor]]]) -> Tuple[Tensor, Optional[Tensor]]:
    """run(out or None) gives (out, lse): written into the caller's `out` if there is one; copied where
    kernels cannot write there.  Rows that were padded have head_dim elements again."""
    direct = out is not None and not padding_of(out) and usable(ops, out) is out
    made, lse = run(out if direct else None)
    if made.shape[-1] != head_dim:
        made = made[..., :head_dim]
    if out is None or direct:
        return made, lse
    ops.copy(out, made)
    return out, lse


def packed_over_pages(ops: Ops, q: Tensor, k: Tensor, v: Tensor, cu: Tuple[Tensor, Optional[Tensor]],
                      longest: Tuple[int, int], used: Tuple[Optional[Tensor], Optional[Tensor]],
                      table: Tensor) -> Sequences:
    """Packed queries over pages: of keys the lengths are told, or are the differences of offsets."""
    check_cache(ops, q, k, v)
    at, b = _offsets(ops, q, "cu_seqlens_q", cu[0], q.shape[0], longest[0])
    table = _table_of(ops, q, table, b)
    room = table.shape[1] * k.shape[1]
    if longest[1] > room:
        raise ValueError(f"max_seqlen_k={longest[1]}, but block_table has pages of {room} rows")
    tensors = {"cu_seqlens_q": at}
    if used[0] is not None:
        tensors["seqused_q"] = vector(ops, q, "seqused_q", used[0], b)
    if used[1] is not None:
        keys = vector(ops, q, "seqused_k", used[1], b)
    elif cu[1] is None:
        raise ValueError("seqused_k or cu_seqlens_k must say how many rows of the pages count")
    else:
        offsets = vector(ops, q, "cu_seqlens_k", cu[1], b + 1)
        keys = ops.contiguous(offsets[1:] - offsets[:-1])
    tensors["seqused_k"] = _within(ops, "seqused_k", keys, longest[1])
    tensors["page_table"] = table
    sequences = Sequences(b, *longest, tensors)
    _check_pages(ops, sequences, k)
    return sequences


def _queries(ops: Ops, q: Tensor, cache: Cache, tensors: Tensors) -> Tuple[int, int]:
    """How many sequences there are, and the longest's queries."""
    if cache.cu_seqlens_q is None:
        if len(q.shape) != 4:
            raise ValueError("q must have 4 axes: batch, seqlen, heads, head_dim; with cu_seqlens_q 3")
        if q.shape[0] == 0:
            raise ValueError("batch size must be positive")
        return q.shape[0], q.shape[1]
    if len(q.shape) != 3 or cache.max_seqlen_q is None:
        raise ValueError("with cu_seqlens_q q has 3 axes, rows, heads, head_dim, and max_seqlen_q is "
                         "needed")
    longest = whole("max_seqlen_q", cache.max_seqlen_q)
    tensors["cu_seqlens_q"], b = _offsets(ops, q, "cu_seqlens_q", cache.cu_seqlens_q, q.shape[0],
                                          longest)
    return b, longest


def _lengths(ops: Ops, q: Tensor, given: Any, b: int, room: int) -> Tensor:
    try:
        n = whole("cache_seqlens", given) if not hasattr(given, "shape") or given.shape == () else None
    except TypeError:
        n = None  # a vector of another framework, which is said
    if n is None:
        return _within(ops, "cache_seqlens", vector(ops, q, "cache_seqlens", given, b), room)
    if not 0 <= n <= room:
        raise ValueError(f"cache_seqlens={n} is not from 0 to {room}")
    return ops.int32s(b, n, q)


class New(NamedTuple):
    """New tokens of a cache: their rows, and how keys and queries are turned."""

    k: Tensor
    v: Tensor
    cu_seqlens: Optional[Tensor]  #: offsets of rows that are packed
    cos: Tensor
    sin: Tensor
    interleaved: bool
    positions: Optional[Tensor]  #: of the first row; None: the rows that there were


def _check_new(ops: Ops, k: Tensor, v: Tensor, new: New, b: int) -> Union[int, Tensor]:
    """How many rows each sequence gets, a number or a vector."""
    axes = 3 if new.cu_seqlens is not None else 4
    if new.v is None or not len(new.k.shape) == len(new.v.shape) == axes:
        raise ValueError("k and v of new tokens are needed together, of 4 axes: batch, seqlen, heads, "
                         "head_dim; with cu_seqlens_k_new 3")
    dtype_of(ops, k, new.k, new.v)
    for what, x, of in (("keys", new.k, k), ("values", new.v, v)):
        if tuple(x.shape[-2:]) != tuple(of.shape[-2:]) or tuple(x.shape[:-1]) != tuple(new.k.shape[:-1]):
            raise ValueError(f"new {what} have shape {tuple(x.shape)}, their cache {tuple(of.shape)}")
    if new.cu_seqlens is not None:
        at, its = _offsets(ops, k, "cu_seqlens_k_new", new.cu_seqlens, new.k.shape[0], new.k.shape[0])
        if its != b:
            raise ValueError(f"cu_seqlens_k_new has {its} sequences, q {b}")
        return at[1:] - at[:-1]
    if new.k.shape[0] != b:
        raise ValueError(f"k has {new.k.shape[0]} batches, q {b}")
    return int(new.k.shape[1])


def rotary_of(ops: Ops, q: Tensor, new: New, d: int) -> Optional[Rotary]:
    """(cos, sin, interleaved) as kernels take them, or None."""
    if new.cos is None and new.sin is None:
        return None
    if new.cos is None or new.sin is None or new.k is None:
        raise ValueError("rotary_cos and rotary_sin are needed together, and with k and v of new tokens")
    dtype = dtype_of(ops, q, q, q)[0]
    for name, x in (("rotary_cos", new.cos), ("rotary_sin", new.sin)):
        if arrays.ops(x) is not ops or ops.view(x).device != ops.view(q).device:
            raise TypeError(f"{name}: a tensor of {ops.FRAMEWORK} is needed, where q is")
        if ops.view(x).dtype not in (dtype, "fp32"):
            raise TypeError(f"{name} is {ops.view(x).dtype}: {dtype}, as q is, or fp32 is needed")
        if len(x.shape) != 2 or tuple(x.shape) != tuple(new.cos.shape):
            raise ValueError(f"{name} has shape {tuple(x.shape)}: both are (positions, rotary_dim / 2)")
    dim = 2 * new.cos.shape[1]
    if dim == 0 or dim % 16 or dim > d or new.cos.shape[0] == 0:
        raise ValueError(f"rotary_dim, {dim}, must be a multiple of 16, at most head_dim, {d}, and there "
                         "must be positions")
    return new.cos, new.sin, new.interleaved


def cached(ops: Ops, q: Tensor, k: Tensor, v: Tensor, cache: Cache,
           new: Optional[New] = None) -> Tuple[Sequences, Optional[Tensor]]:
    """Of a cache, dense or of pages; and, where new rows come, behind which of each sequence."""
    tensors: Tensors = {}
    b, sq = _queries(ops, q, cache, tensors)
    check_cache(ops, q, k, v)
    chosen, paged = cache.batch_idx is not None, cache.table is not None
    table: Tensor = _table_of(ops, q, cache.table, None if chosen else b) if paged else None
    room = table.shape[1] * k.shape[1] if paged else k.shape[1]
    if not paged and not chosen and k.shape[0] != b:
        raise ValueError(f"the cache has {k.shape[0]} batches, q has {b}")
    if new is not None and cache.seqlens is None:
        raise ValueError("k and v of new tokens need cache_seqlens: behind which rows they come")
    at: Tensor = None
    if cache.seqlens is not None:
        tensors["seqused_k"] = at = _lengths(ops, q, cache.seqlens, b, room)
    if new is not None:
        tensors["seqused_k"] = _within(ops, "cache_seqlens, with the rows of k,", at + _check_new(
            ops, k, v, new, b), room)
    if cache.leftpad is not None:
        tensors["leftpad_k"] = _within(ops, "cache_leftpad", vector(
            ops, q, "cache_leftpad", cache.leftpad, b), room)
    if chosen:
        most = (table if paged else k).shape[0] - 1
        tensors["cache_batch_idx"] = _within(ops, "cache_batch_idx", vector(
            ops, q, "cache_batch_idx", cache.batch_idx, b), most)
    if paged:
        tensors["page_table"] = table
    sequences = Sequences(b, sq, room, tensors)
    if paged:
        _check_pages(ops, sequences, k)
    return sequences, at


def with_new(ops: Ops, new: New, sequences: Sequences, at: Tensor, rotary: Optional[Rotary],
             first: Tensor) -> Sequences:
    """The same call with what its new rows are: each sequence had `at` of them, of which the first new one
    stands at position `first`."""
    tensors = {n: x for n, x in sequences.tensors.items() if n != "seqused_k"}
    tensors.update(k_new=usable(ops, new.k), v_new=usable(ops, new.v), append_at=at)
    if new.cu_seqlens is not None:
        tensors["cu_seqlens_k_new"] = ops.contiguous(new.cu_seqlens)
    if rotary:
        tensors.update(rotary_cos=ops.contiguous(rotary[0]), rotary_sin=ops.contiguous(rotary[1]))
        if first is not at:
            tensors["rotary_at"] = first
    return sequences._replace(tensors=tensors)


def rope_of(ops: Ops, rotary: Optional[Rotary]) -> Tuple[Any, ...]:
    """The spec's numbers of rotary_of."""
    return (2 * rotary[0].shape[1], rotary[2], ops.view(rotary[0]).dtype) if rotary else ()
