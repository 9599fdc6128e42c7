"""attnc in transformers' models:

    import attnc.huggingface
    attnc.huggingface.register()
    model = AutoModel.from_pretrained(…, attn_implementation="attnc")

registers the attention and, without which transformers would drop masks, the form in which it wants them: bool,
(b, 1, sq, sk), or none where causality says all.  Of sliding windows, chunks and causality that such a mask was made
from the kernel is told beside it (_walks.py), and looks at no tile that they hide.
"""
from typing import Any, Dict, Optional, Tuple

import torch

from ._walks import fields_of, walk_of
from .torch import attention

NAME = "attnc"
# What models pass beside the tensors and has no part in the result: caches, positions that are in q and k
# already, windows and lengths that are in the mask already.
SAID_BY_MASK = ("sliding_window", "position_ids", "cache_position", "use_cache", "is_sliding", "output_hidden_states",
                "return_dict", "cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "layer_idx",
                "token_type_ids", "num_items_in_batch", "logits_to_keep", "head_mask", "output_router_logits")


def attention_forward(module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
                      attention_mask: Optional[torch.Tensor], dropout: float = 0.0, scaling: Optional[float] = None,
                      is_causal: Optional[bool] = None, position_bias: Optional[torch.Tensor] = None,
                      softcap: Optional[float] = None, s_aux: Optional[torch.Tensor] = None,
                      output_attentions: bool = False, **others: Any) -> Tuple[torch.Tensor, None]:
    """((b, sq, h, d), None) of query (b, h, sq, d), key and value (b, hk, sk, d): transformers' AttentionInterface.

    softcap: Gemma 2's; s_aux: gpt-oss's sinks, (h,); position_bias: T5's, added to the scores.
    """
    unknown = [n for n, x in others.items() if x is not None and n not in SAID_BY_MASK]
    if unknown or others.get("head_mask") is not None:
        raise NotImplementedError(f"{', '.join(unknown) or 'head_mask'} is not known to attnc: attn_implementation="
                                  "\"eager\" computes it")
    if output_attentions:
        raise NotImplementedError("output_attentions: the weights are never in memory; attn_implementation=\"eager\" "
                                  "returns them")
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    rules: Dict[str, Any] = {"causal": query.shape[2] > 1 and attention_mask is None and bool(causal)}
    if attention_mask is not None:
        rules, attention_mask = _rules_beside(attention_mask, query, key)
    if attention_mask is not None and attention_mask.dtype != torch.bool and position_bias is not None:
        attention_mask, position_bias = attention_mask + position_bias, None
    if attention_mask is not None:
        attention_mask = attention_mask[..., :key.shape[2]]
    out, _ = attention(query, key, value, attn_mask=attention_mask, bias=position_bias, scale=scaling, softcap=softcap,
                       sinks=s_aux, dropout_p=dropout, **rules)
    return out.transpose(1, 2), None


def _rules_beside(mask: torch.Tensor, query: torch.Tensor,
                  key: torch.Tensor) -> Tuple[Dict[str, Any], Optional[torch.Tensor]]:
    """What is known of a mask, as attention has it, and the mask unless that is all."""
    walk: Any = getattr(mask, "_attnc_walk", None)
    rules = walk and fields_of(walk, query.shape[2], key.shape[2], query.shape[0], query.device)
    if not rules:
        return {}, mask
    return rules, None if walk.whole else mask


def attention_mask(batch_size: int, q_length: int, kv_length: int, q_offset: Any = 0, kv_offset: Any = 0,
                   mask_function: Any = None, attention_mask: Optional[torch.Tensor] = None,
                   allow_is_causal_skip: bool = True, **others: Any) -> Optional[torch.Tensor]:
    """transformers' sdpa_mask, and what its function says of tiles with it."""
    from transformers.masking_utils import causal_mask_function, sdpa_mask
    function = causal_mask_function if mask_function is None else mask_function
    # One query sees all keys only where none lies behind it, as slots of a static cache do.
    last = q_offset + q_length == kv_offset + kv_length
    skip = allow_is_causal_skip and isinstance(last, bool) and (q_length > 1 or last)
    mask = sdpa_mask(batch_size=batch_size, q_length=q_length, kv_length=kv_length, q_offset=q_offset,
                     kv_offset=kv_offset, mask_function=function, attention_mask=attention_mask,
                     allow_is_causal_skip=skip, **others)
    if mask is not None and not torch.compiler.is_compiling():
        mask._attnc_walk = walk_of(  # type: ignore[attr-defined]
            function, attention_mask is not None, q_offset - kv_offset, q_length, kv_length)
    return mask


def register(name: str = NAME) -> None:
    """Makes attn_implementation=name known to transformers, of this process."""
    from transformers import AttentionInterface, AttentionMaskInterface
    AttentionInterface.register(name, attention_forward)
    AttentionMaskInterface.register(name, attention_mask)
