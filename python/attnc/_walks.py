"""What transformers' mask functions say of the keys that a row can see, so that tiles are skipped.

A mask comes as bits, which say everything and of which nothing is known before they are read.  The function that
they were made from is an intersection of rules of transformers.masking_utils; those that are a band or chunks are
found here by name and go to the kernel beside the bits: whatever the others hide, no key is seen that these hide.
A function that is not known adds no rule, and only costs time.
"""
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Union

import torch

HOME = "transformers.masking_utils"


class Walk(NamedTuple):
    """Of a mask (b, 1, sq, sk): query i and key j have distance i + offset - j."""

    causal: bool
    window: Tuple[int, int]  #: -1 is unbounded
    chunk: int  #: 0: none
    offset: Union[int, torch.Tensor]
    sq: int
    sk: int
    whole: bool  #: the rules are all there is: the bits say no more


def _captured(function: Callable[..., Any]) -> Dict[str, Any]:
    """What a function closes over, by name."""
    cells = getattr(function, "__closure__", None) or ()
    return {n: c.cell_contents for n, c in zip(function.__code__.co_freevars, cells)}


def _rules(function: Callable[..., Any]) -> List[Callable[..., Any]]:
    """The functions whose intersection it is."""
    if _name(function) != "and_masks.and_mask":
        return [function]
    return [rule for f in _captured(function)["mask_functions"] for rule in _rules(f)]


def _name(function: Callable[..., Any]) -> str:
    if getattr(function, "__module__", "") != HOME:
        return ""
    return function.__qualname__.replace(".<locals>", "")


def walk_of(function: Callable[..., Any], padded: bool, offset: Union[int, torch.Tensor], sq: int,
            sk: int) -> Optional[Walk]:
    """None where no rule is known.  padded: there is a mask of padding beside the function."""
    causal, left, right, chunk, whole = False, -1, -1, 0, not padded
    for rule in _rules(function):
        name = _name(rule)
        has = _captured(rule) if name else {}
        if name == "causal_mask_function":
            causal = True
        elif name == "sliding_window_overlay.inner_mask":
            left = _narrower(left, has["sliding_window"] - 1)
        elif name == "sliding_window_bidirectional_overlay.inner_mask":
            left, right = (_narrower(n, has["sliding_window"]) for n in (left, right))
        elif name == "chunked_overlay.inner_mask":
            # With padding chunks begin where it ends: then it is known only how far a chunk reaches.
            chunk = 0 if padded else has["chunk_size"]
            left = _narrower(left, has["chunk_size"] - 1)
        elif name != "bidirectional_mask_function":
            whole = False
    if not causal and (left, right, chunk) == (-1, -1, 0):
        return None
    return Walk(causal, (left, right), chunk, offset, sq, sk, whole)


def _narrower(a: int, b: int) -> int:
    return b if a < 0 else min(a, b)


def fields_of(walk: Walk, sq: int, sk: int, batches: int, device: torch.device) -> Optional[Dict[str, Any]]:
    """What attnc.torch.attention has for it; None where the tensors are not those of the mask, or where the rules
    cannot be aligned: of a cache that is not full keys behind the last query have to be hidden by causality."""
    if (walk.sq, walk.sk) != (sq, sk):
        return None
    found: Dict[str, Any] = {"causal": walk.causal, "window": walk.window, "chunk": walk.chunk}
    offset = walk.offset
    if isinstance(offset, int) and offset in (0, sk - sq):
        return {**found, "top_left": offset != sk - sq}
    if not walk.causal:
        return None
    used = offset + sq
    if isinstance(used, torch.Tensor):
        used = used.to(device, torch.int32).clamp(max=sk).expand(batches)
    else:
        used = torch.full((batches,), min(used, sk), dtype=torch.int32, device=device)
    return {**found, "top_left": False, "seqused_k": used.contiguous()}
