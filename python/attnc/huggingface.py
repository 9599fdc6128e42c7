"""attnc in transformers' models:

    import attnc.huggingface
    attnc.huggingface.register()
    model = AutoModel.from_pretrained(…, attn_implementation="attnc")

registers the attention and, without which transformers would drop masks, the form in which it wants them: bool,
(b, 1, sq, sk), or none where causality says all.
"""
import torch

from .torch import attention

NAME = "attnc"
# What models pass beside the tensors and has no part in the result: caches, positions that are in q and k
# already, windows and lengths that are in the mask already.
SAID_BY_MASK = ("sliding_window", "position_ids", "cache_position", "use_cache", "is_sliding", "output_hidden_states",
                "return_dict", "cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "layer_idx",
                "token_type_ids", "num_items_in_batch", "logits_to_keep", "head_mask", "output_router_logits")


def attention_forward(module, query, key, value, attention_mask, dropout=0.0, scaling=None, is_causal=None,
                      position_bias=None, softcap=None, s_aux=None, output_attentions=False, **others):
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
    causal = query.shape[2] > 1 and attention_mask is None and bool(causal)
    additive = attention_mask is not None and attention_mask.dtype != torch.bool
    if additive and position_bias is not None:
        attention_mask, position_bias = attention_mask + position_bias, None
    if attention_mask is not None:
        attention_mask = attention_mask[..., :key.shape[2]]
    out, _ = attention(query, key, value, attn_mask=attention_mask, bias=position_bias, causal=causal, scale=scaling,
                       softcap=softcap, sinks=s_aux, dropout_p=dropout)
    return out.transpose(1, 2), None


def register(name=NAME):
    """Makes attn_implementation=name known to transformers, of this process."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask
    AttentionInterface.register(name, attention_forward)
    AttentionMaskInterface.register(name, sdpa_mask)
