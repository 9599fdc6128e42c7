"""FlashInfer's wrappers of keys and values in pages, by their names: plan() for a batch, run() for each layer.

plan() looks at the offsets that it is given, as FlashInfer's does, and makes a table of each sequence's
pages of them; run() looks at no number and waits for nothing.  What is FlashInfer's and neither
FlashAttention's nor attnc's own: the LSE is to base 2, [rows, heads], and -inf for a row that sees no key.
"""
from typing import Any, Optional, Tuple

from . import arrays
from ._arguments import dtype_of, ops_of, scale_of, softcap_of, truth, whole
from ._flash import Options, Sequences, attend, padding_of, usable
from ._ops import append, merged
from ._sequences import check_cache, group_of, into, sink_of
from ._types import Ops, Tensor
from ._types import Tensors
from .peers import drop_in, refuse

DTYPES = {"float16": "fp16", "half": "fp16", "fp16": "fp16", "bfloat16": "bf16", "bf16": "bf16"}


def _dtype(name: str, said: Any) -> str:
    word = str(said).rsplit(".", maxsplit=1)[-1]
    if word not in DTYPES:
        raise NotImplementedError(f"{name}={said} is not supported: fp16 and bf16 are")
    return DTYPES[word]


def _kv_of(cache: Any, kv_layout: str) -> Tuple[Tensor, Tensor]:
    """(k, v), each [pages, page_size, heads, head_dim], of a pair or of one tensor."""
    k, v = cache if isinstance(cache, (tuple, list)) else (cache[:, 0], cache[:, 1])
    return (k, v) if kv_layout == "NHD" else (k.swapaxes(1, 2), v.swapaxes(1, 2))


class _Paged:
    """Pages of a batch: which, and how many rows of them count."""

    def __init__(self, workspace: Any, kv_layout: str, use_cuda_graph: bool, indices_buffer: Optional[Tensor],
                 backend: str, jit_args: Any) -> None:
        refuse(backend=backend, jit_args=jit_args)
        if kv_layout not in ("NHD", "HND"):
            raise ValueError(f"kv_layout={kv_layout!r} is neither NHD nor HND")
        if truth("use_cuda_graph", use_cuda_graph) and indices_buffer is None:
            raise ValueError("use_cuda_graph: the buffer of page indices says how many pages a sequence "
                             "has at most")
        self._like, self._layout, self._graph = workspace, kv_layout, bool(use_cuda_graph)
        self._most = indices_buffer.shape[0] if self._graph and indices_buffer is not None else None
        self._asked: Any = None  # of plan(): what run() is to get
        self._tensors: Tensors = {}

    @property
    def is_cuda_graph_enabled(self) -> bool:
        """Whether plan() writes into the memory that a captured run() reads."""
        return self._graph

    def reset_workspace_buffer(self, float_workspace_buffer: Any, int_workspace_buffer: Any = None) -> None:
        """Its device is where the batch is; its memory is not needed."""
        self._like = float_workspace_buffer

    def end_forward(self) -> None:
        """FlashInfer's has nothing to do either."""

    def _keep(self, ops: Ops, name: str, x: Tensor) -> None:
        """A tensor of the batch; in the memory of the one before where a graph reads that."""
        x = ops.beside(x, self._like)
        old = self._tensors.get(name)
        if self._graph and old is not None:
            if tuple(old.shape) != tuple(x.shape):
                raise ValueError(f"{name} has shape {tuple(x.shape)}, but {tuple(old.shape)} was planned "
                                 "first: a captured graph keeps its batch size")
            ops.copy(old, x)
        else:
            self._tensors[name] = x

    def plan_pages(self, indptr: Tensor, indices: Tensor, last_page_len: Tensor, page_size: int,
                   block_tables: Optional[Tensor] = None, seq_lens: Optional[Tensor] = None) -> Tuple[int, int]:
        """Keeps the tables; returns the most keys that a sequence has."""
        ops = arrays.ops(indptr)
        if not ops or not all(arrays.ops(x) is ops for x in (indices, last_page_len)):
            raise TypeError("offsets, page indices and last_page_len must all be tensors of torch or all "
                            "arrays of numpy")
        ends, last = ops.integers(indptr), ops.integers(last_page_len)
        if len(ends) != len(last) + 1 or len(ends) < 2:
            raise ValueError(f"offsets of {len(ends) - 1} sequences, last_page_len of {len(last)}")
        if ends[0] or any(a > b for a, b in zip(ends, ends[1:])) or ends[-1] > indices.shape[0]:
            raise ValueError(f"offsets of pages must rise from 0 to at most {indices.shape[0]}")
        counts = [b - a for a, b in zip(ends, ends[1:])]
        for n, rows in zip(counts, last):
            if not (1 <= rows <= page_size if n else rows in (0, page_size)):
                raise ValueError(f"last_page_len={rows} of a sequence of {n} pages of {page_size} rows")
        most = self._most or max(1, *counts)
        if max(counts) > most:
            raise ValueError(f"a sequence has {max(counts)} pages, the buffer of page indices {most}")
        lengths = [(n - 1) * page_size + rows if n else 0 for n, rows in zip(counts, last)]
        self._keep(ops, "seqused_k", ops.vector(lengths) if seq_lens is None else seq_lens)
        self._keep(ops, "page_table", ops.page_table(indptr, indices, most) if block_tables is None
                   else block_tables)
        return len(counts), self._tensors["page_table"].shape[1] * page_size if self._graph else max(
            1, *lengths)

    @property
    def table(self) -> Tensor:
        """int32 [batch, pages]: the pages of each sequence."""
        return self._tensors["page_table"]

    def _plan(self, heads: Tuple[int, int], page_size: int, dims: Tuple[int, int], causal: bool, window_left: int,
              softcap: Optional[float], sm_scale: Optional[float], dtypes: Tuple[Any, Any, Any],
              longest: Tuple[int, int, int], disable_split_kv: bool) -> None:
        """What run() asks for, and checks its tensors against."""
        q, kv, o = (_dtype(n, x) for n, x in zip(("q_data_type", "kv_data_type", "o_data_type"), dtypes))
        if kv != q or o != q:
            raise NotImplementedError(f"kv_data_type={kv}, o_data_type={o}: q's, {q}, is supported")
        window = whole("window_left", window_left)
        self._asked = dict(
            dtype=q, heads=heads, page_size=page_size, dims=dims, causal=causal, b_sq_sk=longest,
            window=(window if window >= 0 else -1, -1), scale=scale_of(sm_scale, dims[0]),
            softcap=softcap_of(softcap or 0.0),
            splits=1 if truth("disable_split_kv", disable_split_kv) else 0)

    def _check(self, q: Tensor, k: Tensor, v: Tensor, dtype: str) -> None:
        a = self._asked
        shapes = {"queries": (tuple(q.shape[-2:]), (a["heads"][0], a["dims"][0])),
                  "keys": (tuple(k.shape[1:]), (a["page_size"], a["heads"][1], a["dims"][0])),
                  "values": (tuple(v.shape[1:]), (a["page_size"], a["heads"][1], a["dims"][1]))}
        for name, (found, planned) in shapes.items():
            if found != planned:
                raise ValueError(f"{name} end in {found}, planned was {planned}")
        if dtype != a["dtype"]:
            raise ValueError(f"q is {dtype}, planned was {a['dtype']}")

    def _run(self, q: Tensor, cache: Any, packed: bool, out: Optional[Tensor], want_lse: bool,
             window_left: Optional[int], sinks: Optional[Tensor]) -> Tuple[Tensor, Tensor]:
        """(out, lse or None) of q [b, 1, h, d], or of packed [rows, h, d]."""
        if self._asked is None:
            raise RuntimeError("plan() comes before run()")
        a, (k, v) = self._asked, _kv_of(cache, self._layout)
        ops = ops_of(q, k, v)
        check_cache(ops, q, k, v)
        self._check(q, k, v, dtype_of(ops, q, k, v)[0])
        sink, kind = sink_of(ops, sinks, q.shape[-2])
        b, sq, sk = a["b_sq_sk"]
        if packed and self._graph:
            sq = q.shape[0]
        window = a["window"] if window_left is None else (max(-1, whole("window_left", window_left)), -1)
        sequences = Sequences(b, sq, sk, self._tensors)
        options = Options(a["scale"], a["causal"], window, a["softcap"], "none", want_lse,
                          sequences.lengths(), True, lse_base="2", sink=kind,
                          group=group_of(q, k, sq), splits=a["splits"])
        head_dim = v.shape[-1]
        q, k, v = (usable(ops, x) for x in (q, k, v))
        return into(ops, out, head_dim, lambda at: attend(
            ops, q, k, v, options, None, sequences, out=at, sink=sink, plus_inf=False))


def _given(ops: Ops, lse: Tensor, to: Optional[Tensor]) -> Tensor:
    """The LSE, in the caller's memory if there is some."""
    if to is None:
        return ops.contiguous(lse)
    ops.copy(to, lse)
    return to


class BatchDecodeWithPagedKVCacheWrapper(_Paged):
    """One query of each sequence of a batch over its pages."""

    @drop_in
    def __init__(self, float_workspace_buffer: Any, kv_layout: str = "NHD", use_cuda_graph: bool = False,
                 use_tensor_cores: bool = False, paged_kv_indptr_buffer: Optional[Tensor] = None,
                 paged_kv_indices_buffer: Optional[Tensor] = None,
                 paged_kv_last_page_len_buffer: Optional[Tensor] = None, backend: str = "auto",
                 jit_args: Any = None) -> None:
        """float_workspace_buffer: a tensor where the batch is; its memory is not needed.  With
        use_cuda_graph plan() writes where a captured run() reads: a table of as many pages for each
        sequence as paged_kv_indices_buffer has."""
        truth("use_tensor_cores", use_tensor_cores)  # they are, where rows are enough
        super().__init__(float_workspace_buffer, kv_layout, use_cuda_graph, paged_kv_indices_buffer,
                         backend, jit_args)

    @drop_in
    def plan(self, indptr: Tensor, indices: Tensor, last_page_len: Tensor, num_qo_heads: int, num_kv_heads: int,
             head_dim: int, page_size: int, pos_encoding_mode: str = "NONE", window_left: int = -1,
             logits_soft_cap: Optional[float] = None, q_data_type: Any = "float16", kv_data_type: Any = None,
             o_data_type: Any = None, data_type: Any = None, sm_scale: Optional[float] = None,
             rope_scale: Optional[float] = None, rope_theta: Optional[float] = None, non_blocking: bool = True,
             block_tables: Optional[Tensor] = None, seq_lens: Optional[Tensor] = None,
             fixed_split_size: Optional[int] = None, disable_split_kv: bool = False, q_len_per_req: int = 1) -> None:
        """Sequence i has the pages indices[indptr[i]:indptr[i + 1]], of the last of which last_page_len[i]
        rows count: int32 [batch + 1], [pages of all] and [batch].  block_tables, seq_lens: the same as a table, int32
        [batch, pages], and lengths, int32 [batch], which are then not made."""
        refuse(pos_encoding_mode=pos_encoding_mode, rope_scale=rope_scale, rope_theta=rope_theta,
               fixed_split_size=fixed_split_size,
               q_len_per_req=q_len_per_req)
        truth("non_blocking", non_blocking)
        b, sk = self.plan_pages(indptr, indices, last_page_len, page_size, block_tables, seq_lens)
        q_data_type = data_type or q_data_type
        self._plan((num_qo_heads, num_kv_heads), page_size, (head_dim, head_dim), False, window_left,
                   logits_soft_cap, sm_scale,
                   (q_data_type, kv_data_type or q_data_type, o_data_type or q_data_type), (b, 1, sk),
                   disable_split_kv)

    begin_forward = plan

    @drop_in
    def run(self, q: Tensor, paged_kv_cache: Any, *, q_scale: Optional[float] = None, k_scale: Optional[float] = None,
            v_scale: Optional[float] = None, out: Optional[Tensor] = None, lse: Optional[Tensor] = None,
            return_lse: bool = False, enable_pdl: Optional[bool] = None, window_left: Optional[int] = None,
            sinks: Optional[Tensor] = None) -> Any:
        """q: [batch, heads, head_dim]; paged_kv_cache: a pair (k, v), or both in one tensor,
        [pages, 2, page_size, heads, head_dim] (HND: [pages, 2, heads, page_size, head_dim]).
        Returns out, of q's shape; with return_lse (out, lse), fp32 [batch, heads], to base 2."""
        refuse(q_scale=q_scale, k_scale=k_scale, v_scale=v_scale, enable_pdl=enable_pdl)
        if len(q.shape) != 3 or (self._asked and q.shape[0] != self._asked["b_sq_sk"][0]):
            raise ValueError(f"q has shape {tuple(q.shape)}: [batch, heads, head_dim] is needed")
        want = truth("return_lse", return_lse)
        at = None if out is None else out[:, None]
        made, its = self._run(q[:, None], paged_kv_cache, False, at, want, window_left, sinks)
        made = made[:, 0] if out is None else out
        return (made, _given(arrays.ops(q), its[..., 0], lse)) if want else made

    def run_return_lse(self, q: Tensor, paged_kv_cache: Any, **more: Any) -> Any:
        """run, of q [batch, heads, head_dim], with return_lse=True."""
        return self.run(q, paged_kv_cache, return_lse=True, **more)


class CUDAGraphBatchDecodeWithPagedKVCacheWrapper(BatchDecodeWithPagedKVCacheWrapper):
    """BatchDecodeWithPagedKVCacheWrapper with use_cuda_graph."""

    def __init__(self, workspace_buffer: Any, indptr_buffer: Tensor, indices_buffer: Tensor,
                 last_page_len_buffer: Tensor, kv_layout: str = "NHD", use_tensor_cores: bool = False) -> None:
        super().__init__(workspace_buffer, kv_layout, True, use_tensor_cores, indptr_buffer,
                         indices_buffer, last_page_len_buffer)


class BatchPrefillWithPagedKVCacheWrapper(_Paged):
    """Several queries of each sequence of a batch, packed, over its pages."""

    @drop_in
    def __init__(self, float_workspace_buffer: Any, kv_layout: str = "NHD", use_cuda_graph: bool = False,
                 qo_indptr_buf: Optional[Tensor] = None, paged_kv_indptr_buf: Optional[Tensor] = None,
                 paged_kv_indices_buf: Optional[Tensor] = None, paged_kv_last_page_len_buf: Optional[Tensor] = None,
                 custom_mask_buf: Optional[Tensor] = None, mask_indptr_buf: Optional[Tensor] = None,
                 backend: str = "auto", jit_args: Any = None) -> None:
        """As BatchDecodeWithPagedKVCacheWrapper's."""
        refuse(custom_mask=custom_mask_buf if custom_mask_buf is not None else mask_indptr_buf)
        super().__init__(float_workspace_buffer, kv_layout, use_cuda_graph, paged_kv_indices_buf, backend,
                         jit_args)

    @drop_in
    def plan(self, qo_indptr: Tensor, paged_kv_indptr: Tensor, paged_kv_indices: Tensor,
             paged_kv_last_page_len: Tensor, num_qo_heads: int, num_kv_heads: int, head_dim_qk: int, page_size: int,
             head_dim_vo: Optional[int] = None, custom_mask: Optional[Tensor] = None,
             packed_custom_mask: Optional[Tensor] = None, causal: bool = False, pos_encoding_mode: str = "NONE",
             use_fp16_qk_reduction: bool = False, sm_scale: Optional[float] = None, window_left: int = -1,
             logits_soft_cap: Optional[float] = None, rope_scale: Optional[float] = None,
             rope_theta: Optional[float] = None, q_data_type: Any = "float16", kv_data_type: Any = None,
             o_data_type: Any = None, non_blocking: bool = True, prefix_len_ptr: Optional[Tensor] = None,
             token_pos_in_items_ptr: Optional[Tensor] = None, token_pos_in_items_len: int = 0,
             max_item_len_ptr: Optional[Tensor] = None, seq_lens: Optional[Tensor] = None,
             block_tables: Optional[Tensor] = None, fixed_split_size: Optional[int] = None,
             disable_split_kv: bool = False) -> None:
        """Queries of sequence i are rows qo_indptr[i] … qo_indptr[i + 1] of q, int32 [batch + 1]; pages as those of
        BatchDecodeWithPagedKVCacheWrapper.plan.  causal is aligned at the last query and last key."""
        refuse(custom_mask=custom_mask, packed_custom_mask=packed_custom_mask,
               pos_encoding_mode=pos_encoding_mode, use_fp16_qk_reduction=use_fp16_qk_reduction,
               rope_scale=rope_scale, rope_theta=rope_theta, prefix_len_ptr=prefix_len_ptr,
               token_pos_in_items_ptr=token_pos_in_items_ptr,
               token_pos_in_items_len=token_pos_in_items_len, max_item_len_ptr=max_item_len_ptr,
               fixed_split_size=fixed_split_size)
        truth("non_blocking", non_blocking)
        b, sk = self.plan_pages(paged_kv_indptr, paged_kv_indices, paged_kv_last_page_len, page_size,
                            block_tables, seq_lens)
        ops = arrays.ops(qo_indptr)
        if ops is not arrays.ops(paged_kv_indptr):
            raise TypeError("qo_indptr must be a tensor as paged_kv_indptr is")
        ends = ops.integers(qo_indptr)
        if len(ends) != b + 1 or ends[0] or any(x > y for x, y in zip(ends, ends[1:])):
            raise ValueError(f"qo_indptr must rise from 0, with {b + 1} numbers")
        self._rows = ends[-1]
        self._keep(ops, "cu_seqlens_q", qo_indptr)
        sq = max(1, *(y - x for x, y in zip(ends, ends[1:])))
        self._plan((num_qo_heads, num_kv_heads), page_size, (head_dim_qk, head_dim_vo or head_dim_qk),
                   truth("causal", causal), window_left, logits_soft_cap, sm_scale,
                   (q_data_type, kv_data_type or q_data_type, o_data_type or q_data_type), (b, sq, sk),
                   disable_split_kv)

    begin_forward = plan

    @drop_in
    def run(self, q: Tensor, paged_kv_cache: Any, *, q_scale: Optional[float] = None, k_scale: Optional[float] = None,
            v_scale: Optional[float] = None, out: Optional[Tensor] = None, lse: Optional[Tensor] = None,
            return_lse: bool = False, enable_pdl: Optional[bool] = None, window_left: Optional[int] = None,
            sinks: Optional[Tensor] = None) -> Any:
        """q: [rows, heads, head_dim].  As BatchDecodeWithPagedKVCacheWrapper.run; lse is [rows, heads]."""
        refuse(q_scale=q_scale, k_scale=k_scale, v_scale=v_scale, enable_pdl=enable_pdl)
        if len(q.shape) != 3 or (self._asked and q.shape[0] < self._rows):
            raise ValueError(f"q has shape {tuple(q.shape)}: [rows, heads, head_dim] is needed, with as "
                             "many rows as qo_indptr says")
        want = truth("return_lse", return_lse)
        made, its = self._run(q, paged_kv_cache, True, out, want, window_left, sinks)
        return (made, _given(arrays.ops(q), its.swapaxes(0, 1), lse)) if want else made

    def run_return_lse(self, q: Tensor, paged_kv_cache: Any, **more: Any) -> Any:
        """run, of q [rows, heads, head_dim], with return_lse=True."""
        return self.run(q, paged_kv_cache, return_lse=True, **more)


# ---- states ----


def _states(v: Tensor, s: Tensor) -> Ops:
    """Of [rows, sets, heads, head_dim] and [rows, sets, heads]."""
    ops: Optional[Ops] = arrays.ops(v)
    if not ops or arrays.ops(s) is not ops:
        raise TypeError("v and s must both be tensors of torch or both arrays of numpy")
    if len(v.shape) != 4 or tuple(s.shape) != tuple(v.shape[:-1]):
        raise ValueError(f"v has shape {tuple(v.shape)}, s {tuple(s.shape)}: [rows, sets, heads, head_dim] "
                         "and [rows, sets, heads] are needed")
    if ops.view(s).dtype != "fp32":
        raise TypeError(f"s is {ops.view(s).dtype}: float32 is needed")
    return ops


@drop_in
def merge_states(v: Tensor, s: Tensor) -> Tuple[Tensor, Tensor]:
    """States of attention over several sets of keys made one: v [rows, sets, heads, head_dim], s
    [rows, sets, heads], fp32, their LSEs to base 2.  Returns (v, s) of all keys, [rows, heads, head_dim]
    and [rows, heads].  A set whose LSE is -inf has no key and counts for nothing."""
    ops = _states(v, s)
    out = ops.empty((v.shape[0], *v.shape[2:]), v)
    lse = merged(ops, v.swapaxes(0, 1)[:, None], ops.move_last(s, 0)[:, None], out[None], "2")
    return out, ops.contiguous(lse[0].swapaxes(0, 1))


@drop_in
def merge_state(v_a: Tensor, s_a: Tensor, v_b: Tensor, s_b: Tensor) -> Tuple[Tensor, Tensor]:
    """merge_states of two: v_a, v_b [rows, heads, head_dim]; s_a, s_b [rows, heads]."""
    ops = arrays.ops(v_a)
    if not ops or any(arrays.ops(x) is not ops for x in (s_a, v_b, s_b)):
        raise TypeError("states must all be tensors of torch or all arrays of numpy")
    if tuple(v_a.shape) != tuple(v_b.shape) or tuple(s_a.shape) != tuple(s_b.shape):
        raise ValueError(f"shapes do not agree: {tuple(v_a.shape)} and {tuple(v_b.shape)}, "
                         f"{tuple(s_a.shape)} and {tuple(s_b.shape)}")
    return merge_states(ops.stack((v_a, v_b)).swapaxes(0, 1), ops.stack((s_a, s_b)).swapaxes(0, 1))


@drop_in
def merge_state_in_place(v: Tensor, s: Tensor, v_other: Tensor, s_other: Tensor,
                         mask: Optional[Tensor] = None) -> None:
    """merge_state, written into v and s."""
    refuse(mask=mask)
    made = merge_state(v, s, v_other, s_other)
    for to, x in zip((v, s), made):
        arrays.ops(v).copy(to, x)


@drop_in
def append_paged_kv_cache(append_key: Tensor, append_value: Tensor, batch_indices: Tensor, positions: Tensor,
                          paged_kv_cache: Any, kv_indices: Tensor, kv_indptr: Tensor, kv_last_page_len: Tensor,
                          kv_layout: str = "NHD") -> None:
    """Writes row i of append_key and append_value, [rows, heads, head_dim], into the cache as row
    positions[i] of sequence batch_indices[i].  Its pages are read on the host, as plan() reads them."""
    k, v = _kv_of(paged_kv_cache, kv_layout)
    ops = ops_of(append_key, k, v)
    for name, x in (("key", append_key), ("value", append_value)):
        if len(x.shape) != 3 or tuple(x.shape[1:]) != tuple(k.shape[2:]):
            raise ValueError(f"append_{name} has shape {tuple(x.shape)}: [rows, "
                             f"{', '.join(map(str, k.shape[2:]))}] is needed")
    dtype_of(ops, append_key, append_value, k)
    check_cache(ops, append_key, k, v)
    if padding_of(k):
        raise NotImplementedError(f"head_dim={k.shape[-1]}: a multiple of 8 is needed, a cache is not copied")
    pages = _Paged(k, "NHD", False, None, "auto", None)
    pages.plan_pages(kv_indptr, kv_indices, kv_last_page_len, k.shape[1])
    at, which = (ops.beside(x, k) for x in (positions, batch_indices))
    rows = tuple(usable(ops, x)[:, None] for x in (append_key, append_value))
    append(ops, (k, v), rows, at, dict(page_table=pages.table, cache_batch_idx=which))
