"""The functions of `flash_attn_triton`, the file of FlashAttention in Triton that MosaicBERT and DNABERT-2 carry with
them, and what puts attnc in its place in a model:

    import attnc.flash_attn_triton
    attnc.flash_attn_triton.replace(model)

Such a model calls flash_attn_qkvpacked_func, a name of the module that its layers are defined in, or computes
attention itself where that is None.  `replace` gives the module attnc's function; the model is not touched.
"""
import sys
from types import ModuleType
from typing import Any, Callable, Dict, List, Optional

import torch

from .torch import attention

NAME = "flash_attn_qkvpacked_func"


def flash_attn_func(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: Optional[torch.Tensor] = None,
                    causal: bool = False, softmax_scale: Optional[float] = None) -> torch.Tensor:
    """(b, sq, h, d) of q (b, sq, h, d), k and v (b, sk, h, d).  bias: added to the scores, of a shape that broadcasts
    to (b, h, sq, sk), float16, bfloat16 or float32, without a gradient.  causal is aligned at the first query and key."""
    if bias is not None and bias.requires_grad and torch.is_grad_enabled():
        raise NotImplementedError("bias has no gradient here, as it has none in the Triton file: detach it, or call "
                                  "attnc.torch.attention, whose bias has one")
    out, _ = attention(*(x.transpose(1, 2) for x in (q, k, v)), bias=bias, causal=causal, scale=softmax_scale)
    made: torch.Tensor = out.transpose(1, 2)
    return made


def flash_attn_qkvpacked_func(qkv: torch.Tensor, bias: Optional[torch.Tensor] = None, causal: bool = False,
                              softmax_scale: Optional[float] = None) -> torch.Tensor:
    """flash_attn_func of the three parts of qkv (b, s, 3, h, d)."""
    q, k, v = qkv.unbind(2)
    return flash_attn_func(q, k, v, bias, causal, softmax_scale)


def flash_attn_kvpacked_func(q: torch.Tensor, kv: torch.Tensor, bias: Optional[torch.Tensor] = None,
                             causal: bool = False, softmax_scale: Optional[float] = None) -> torch.Tensor:
    """flash_attn_func of q and the two parts of kv (b, sk, 2, h, d)."""
    k, v = kv.unbind(2)
    return flash_attn_func(q, k, v, bias, causal, softmax_scale)


def _callers(model: torch.nn.Module) -> List[ModuleType]:
    """The modules of Python that classes of the model are defined in and that have the name."""
    names = sorted({type(layer).__module__ for layer in model.modules()})
    return [sys.modules[n] for n in names if n in sys.modules and NAME in vars(sys.modules[n])]


class Replacement:
    """What `replace` did; `restore` undoes it."""

    def __init__(self, callers: List[ModuleType]) -> None:
        self._were: Dict[ModuleType, Optional[Callable[..., Any]]] = {m: vars(m)[NAME] for m in callers}
        for module in callers:
            setattr(module, NAME, flash_attn_qkvpacked_func)

    @property
    def modules(self) -> List[str]:
        """Their names."""
        return [m.__name__ for m in self._were]

    def restore(self) -> None:
        """Gives each module what it had."""
        for module, was in self._were.items():
            setattr(module, NAME, was)
        self._were.clear()


def replace(model: torch.nn.Module) -> Replacement:
    """Lets the layers of a model, and of every other model of the same code, call attnc.  ValueError: none of its
    classes is defined beside a flash_attn_qkvpacked_func."""
    callers = _callers(model)
    if not callers:
        raise ValueError(f"{type(model).__name__}: no module that its layers are defined in has {NAME}, so none of them "
                         "calls it")
    return Replacement(callers)


def why_not(model: torch.nn.Module) -> str:
    """Why attnc does not compute the model's attention; empty: it does."""
    callers = _callers(model)
    if not callers:
        return f"no layer of {type(model).__name__} calls {NAME}"
    for module in callers:
        found = vars(module)[NAME]
        if found is not flash_attn_qkvpacked_func:
            return (f"{module.__name__}.{NAME} is {'None, the model computes attention itself' if found is None else found}"
                    ": attnc.flash_attn_triton.replace(model) was not called")
    own = {m.__name__ for m in callers}
    dropping = [n for n, layer in model.named_modules()
                if type(layer).__module__ in own and getattr(layer, "p_dropout", False)]
    if dropping:
        return f"{dropping[0]} drops weights (attention_probs_dropout_prob), for which the model computes attention itself"
    return ""
