"""A model with DNABERT-2's attention, small and at random, so that the service can be tried without its weights.

What is alike: one projection to q, k and v, padding taken out between layers and put back for attention, a bias
tensor (batch, heads, queries, keys) of ALiBi and padding, and the module's own flash_attn_qkvpacked_func, which
computes attention unless it is None.  What is not: DNABERT-2's byte-pair vocabulary, its sizes and its weights; here a
token is a base.  Written anew; DNABERT-2's code is at huggingface.co/zhihan1996/DNABERT-2-117M.
"""
import math
from types import SimpleNamespace

import torch
from torch import nn

flash_attn_qkvpacked_func = None  # as where Triton is not there: attention is computed below

PADDING, FIRST, LAST, BASES = 0, 1, 2, "ACGTN"


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.num_attention_heads
        self.p_dropout = config.attention_probs_dropout_prob
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size)

    def forward(self, rows, seen, bias):
        """rows (tokens, hidden) of the tokens where seen (batch, length) is true."""
        packed = rows.new_zeros(*seen.shape, 3 * rows.shape[-1])
        packed[seen] = self.Wqkv(rows)
        qkv = packed.unflatten(-1, (3, self.heads, -1))
        if self.p_dropout or flash_attn_qkvpacked_func is None:
            q, k, v = (x.transpose(1, 2) for x in qkv.unbind(2))
            scores = q @ k.mT / math.sqrt(q.shape[-1]) + bias
            weights = nn.functional.dropout(scores.softmax(-1), self.p_dropout, self.training)
            made = (weights.to(v.dtype) @ v).transpose(1, 2)
        else:
            half = qkv if qkv.dtype in (torch.float16, torch.bfloat16) else qkv.half()
            made = flash_attn_qkvpacked_func(half, bias.to(half.dtype)).to(qkv.dtype)
        return self.norm(self.out(made.flatten(2)[seen]) + rows)


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = Attention(config)
        self.gated = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.wo = nn.Linear(config.intermediate_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size)

    def forward(self, rows, seen, bias):
        rows = self.attention(rows, seen, bias)
        gate, x = self.gated(rows).chunk(2, -1)
        return self.norm(self.wo(nn.functional.gelu(gate) * x) + rows)


def slopes_of(heads):
    """ALiBi's, of any number of heads: those of the power of 2 below, and every other one of the next."""
    whole = 2 ** math.floor(math.log2(heads))
    first = [2 ** (-8 * (i + 1) / whole) for i in range(whole)]
    return first + [2 ** (-4 * (2 * i + 1) / whole) for i in range(heads - whole)]


class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.words = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=PADDING)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.register_buffer("slopes", torch.tensor(slopes_of(config.num_attention_heads)), persistent=False)

    def forward(self, input_ids, attention_mask):
        seen, length = attention_mask.bool(), input_ids.shape[1]
        at = torch.arange(length, device=input_ids.device)
        alibi = -self.slopes.float()[:, None, None] * (at[:, None] - at).abs()
        bias = alibi[None] + torch.where(seen, 0.0, -10000.0)[:, None, None]
        rows = self.norm(self.words(input_ids))[seen]
        for layer in self.layers:
            rows = layer(rows, seen, bias)
        hidden = rows.new_zeros(*seen.shape, rows.shape[-1])
        hidden[seen] = rows
        return (hidden,)


def tokenizer(sequences, padding=True, return_tensors="pt"):
    """A base a token, between a first and a last one, padded to the longest."""
    rows = [[FIRST, *(3 + BASES.index(base) for base in sequence), LAST] for sequence in sequences]
    longest = max(len(row) for row in rows)
    return {"input_ids": torch.tensor([row + [PADDING] * (longest - len(row)) for row in rows]),
            "attention_mask": torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])}


def make(seed=7, **changed):
    """(model, tokenizer)."""
    config = SimpleNamespace(**{**dict(vocab_size=3 + len(BASES), hidden_size=64, num_hidden_layers=2,
                                       num_attention_heads=4, intermediate_size=96, attention_probs_dropout_prob=0.0),
                                **changed})
    torch.manual_seed(seed)
    return Model(config).eval(), tokenizer
