"""Gradients of the drop-in functions' tensors by op bwd: what FlashAttention's arguments come to there.

Launches are prepared once for each shape, as those of the forward pass in _flash.py."""
from typing import Any, Mapping, Optional, Tuple

import torch

from . import _torch as ops
from ._arguments import scale_of, slopes_of, window_of
from ._flash import (Options, context_of, keep, kept, options_fields, run_prepared, spec_of_fields,
                     usable)
from ._types import Fields, Numbers, Tensors


class _Prepared:
    """A launch of op bwd for tensors of these shapes."""

    def __init__(self, fields: Fields, tensors: Tensors, numbers: Numbers, longest: Mapping[str, int]) -> None:
        spec = spec_of_fields(fields)
        sizes = spec.signature_of("bwd").sizes({n: ops.view(x) for n, x in tensors.items()}, longest)
        self.device = ops.view(next(iter(tensors.values()))).device
        self.numbers, self.launch = {**numbers, **longest}, None
        self.plan = context_of(self.device[0]).plan(spec, sizes, device=self.device[1], op="bwd",
                                                    stream=ops.stream(self.device))


def run(fields: Fields, tensors: Tensors, numbers: Numbers, longest: Optional[Mapping[str, int]] = None) -> None:
    """Op bwd of a spec on all of its tensors, by name."""
    longest = longest or {}
    key = ("bwd", *((n, str(x)) for n, x in fields.items()), *numbers.items(), *longest.items(),
           *((n, *ops.key(x), ops.strides(x)) for n, x in tensors.items()))
    call = kept(key)
    if call is None:
        call = keep(key, _Prepared(fields, tensors, numbers, longest))
    run_prepared(call, ops, tensors)


def _spread(x: torch.Tensor) -> torch.Tensor:
    """Without axes of stride 0, as gradients of sums have them."""
    return x if all(s or n == 1 for s, n in zip(x.stride(), x.shape)) else x.contiguous()


def _gradients(options: Options, deterministic: bool, grads: Tuple[torch.Tensor, Optional[torch.Tensor]],
               saved: Tuple[torch.Tensor, ...], tensors: Tensors, numbers: Numbers,
               longest: Optional[Mapping[str, int]] = None) -> Tuple[torch.Tensor, ...]:
    """(dq, dk, dv) of (dout, dlse) and (q, k, v, out, lse); tensors: what else the call has."""
    (dout, dlse), (q, k, v, out, lse) = grads, saved
    head_dim = q.shape[-1]
    q, k, v, out, dout = (usable(ops, _spread(x)) for x in (q, k, v, out, dout))
    fresh = torch.zeros if longest else torch.empty  # rows of no sequence are not written
    dq, dk, dv = (fresh(x.shape, dtype=x.dtype, device=x.device) for x in (q, k, v))
    fields = {**options_fields(ops.view(q).dtype, q.shape[-1], v.shape[-1], options)}
    if dlse is not None:
        fields["grad"] = ["lse"]
        tensors["dlse"] = dlse.float().contiguous()
    if deterministic:
        fields["deterministic"] = True
    lse = torch.where(lse == torch.inf, -torch.inf, lse)  # FlashAttention's of a row that sees no key
    run(fields, dict(q=q, k=k, v=v, o=out, lse=lse, do=dout, dq=dq, dk=dk, dv=dv, **tensors), numbers, longest)
    return tuple(x if x.shape[-1] == head_dim else x[..., :head_dim].contiguous() for x in (dq, dk, dv))


def _numbers(options: Options, state: Optional[torch.Tensor], tensors: Tensors) -> Numbers:
    """Of a call; the state of its random numbers goes to its tensors."""
    numbers = {"softmax_scale": options.scale, "softcap": options.softcap, "dropout_p": options.dropout}
    if options.dropout:
        tensors["rng_state"] = ops.state(state)
    return {n: x for n, x in numbers.items() if x or n == "softmax_scale"}


def dense(grads: Tuple[torch.Tensor, Optional[torch.Tensor]], saved: Tuple[torch.Tensor, ...],
          rest: Tuple[Any, ...]) -> Tuple[torch.Tensor, ...]:
    alibi_slopes, dropout_p, state, scale, causal, left, right, softcap, deterministic = rest
    q, k = saved[:2]
    slopes, alibi = slopes_of(ops, alibi_slopes, q.shape[0], q.shape[2])
    options = Options(scale_of(scale, q.shape[-1]), causal, window_of((left, right), causal, q.shape[1], k.shape[1]),
                      softcap, alibi, True, dropout=dropout_p)
    more = {} if slopes is None else {"alibi_slopes": slopes}
    return _gradients(options, deterministic, grads, saved, more, _numbers(options, state, more))


def packed(grads: Tuple[torch.Tensor, Optional[torch.Tensor]], saved: Tuple[torch.Tensor, ...],
           lengths: Tuple[Any, ...], rest: Tuple[Any, ...]) -> Tuple[torch.Tensor, ...]:
    """Rows of no sequence have a gradient of 0."""
    cu_q, cu_k, sq, sk, used_q, used_k, table = lengths
    alibi_slopes, dropout_p, state, scale, causal, left, right, softcap, deterministic = rest
    if table is not None:
        raise NotImplementedError("block_table: keys and values in pages have no gradient")
    q = saved[0]
    given = dict(cu_seqlens_q=cu_q, cu_seqlens_k=cu_k, seqused_q=used_q, seqused_k=used_k)
    tensors = {n: x.contiguous() for n, x in given.items() if x is not None}
    slopes, alibi = slopes_of(ops, alibi_slopes, cu_q.shape[0] - 1, q.shape[1])
    options = Options(scale_of(scale, q.shape[-1]), causal, window_of((left, right), causal, sq, sk), softcap, alibi,
                      True, tuple(tensors), dropout=dropout_p)
    if slopes is not None:
        tensors["alibi_slopes"] = slopes
    return _gradients(options, deterministic, grads, saved, tensors, _numbers(options, state, tensors),
                      dict(sq=sq, sk=sk))
