"""vLLM's attention backend of attnc, under the interface of vllm/v1/attention/backend.py (FOLLOWED says of when).

Pages are (blocks, 2, block_size, kv heads, head_dim), in the order NHD or HND that vLLM chooses: a block is the
outermost axis in memory, so that layers, groups of them and connectors can share one pool.  New keys and values are
written by do_kv_cache_update, before forward.  Lengths, offsets and tables stay on the GPU: nothing waits for it.
"""
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Dict, List, Optional, Tuple, Type, Union

import torch
from vllm.v1.attention.backend import (AttentionBackend, AttentionCGSupport, AttentionImpl, AttentionMetadataBuilder,
                                       AttentionType, CommonAttentionMetadata, MultipleOf)
from vllm.v1.attention.backends.utils import get_kv_cache_layout

from ._arguments import HEAD_DIM_MAX
from .errors import UnsupportedError
from .spec import Spec, schedules
from .vllm import flash_attn_varlen_func, reshape_and_cache_flash

FOLLOWED = "vLLM main at 0014ca6b (2026), whose interface v0.25.0 to v0.32.0 document"
DTYPES = {torch.float16: "fp16", torch.bfloat16: "bf16"}
CACHE_DTYPES = {"auto": None, "float16": torch.float16, "bfloat16": torch.bfloat16}
ENCODERS = (AttentionType.ENCODER, AttentionType.ENCODER_ONLY)


def _why_not_here(head_size: int, dtype: torch.dtype, has_sink: bool, capability: Any) -> List[str]:
    """Attnc's own reason why prompts or single tokens would have no kernel, or only the one that is slow."""
    text = (f"attnc: 1\nname: vllm\ndtype: {DTYPES[dtype]}\nhead_dim: {head_size}\ncausal: true\npage_table: true\n"
            "seqlens: [cu_seqlens_q, seqused_k]\n" + ("sink: fp32\n" if has_sink else ""))
    target = f"sm_{capability.major}{capability.minor}"
    try:
        for queries in (1, 512):
            best = schedules(Spec.from_text(text), target, f"b8 h1 sq{queries} sk1024")[0]
            if best["template"].startswith("ref_"):
                return [f"{target}: of {dtype} and head_size {head_size} there is only the reference kernel, which is slow"]
    except UnsupportedError as e:
        return [f"{target}: {e}"]
    return []


class AttncBackend(AttentionBackend):
    """What vLLM asks before it chooses, and which classes do the work."""

    accept_output_buffer: bool = True
    supported_dtypes: ClassVar[List[torch.dtype]] = list(DTYPES)
    supported_kv_cache_dtypes: ClassVar[List[Any]] = list(CACHE_DTYPES)
    forward_includes_kv_cache_update: bool = False

    @staticmethod
    def get_name() -> str:
        return "CUSTOM"  # by which vLLM looks it up in its own list

    @staticmethod
    def get_impl_cls() -> Type["AttncImpl"]:
        return AttncImpl

    @staticmethod
    def get_builder_cls() -> Type["AttncMetadataBuilder"]:
        return AttncMetadataBuilder

    @staticmethod
    def get_supported_kernel_block_sizes() -> List[Any]:
        return [MultipleOf(1)]

    @staticmethod
    def get_kv_cache_shape(num_blocks: int, block_size: int, num_kv_heads: int, head_size: int,
                           cache_dtype_str: str = "auto") -> Tuple[int, ...]:
        return num_blocks, 2, block_size, num_kv_heads, head_size

    @staticmethod
    def get_kv_cache_stride_order(include_num_layers_dimension: bool = False) -> Tuple[int, ...]:
        layout = get_kv_cache_layout()
        inner = {"NHD": (2, 3, 4), "HND": (3, 2, 4)}
        if layout not in inner:
            raise ValueError(f"KV cache layout {layout!r}: NHD or HND is needed")
        if include_num_layers_dimension:  # it is axis 0 then, and lies behind the block
            return (1, 0, 2, *(axis + 1 for axis in inner[layout]))
        return (0, 1, *inner[layout])

    @classmethod
    def supports_head_size(cls, head_size: int) -> bool:
        return head_size % 8 == 0 and 0 < head_size <= HEAD_DIM_MAX

    @classmethod
    def supports_sink(cls) -> bool:
        return True

    @classmethod
    def supports_non_causal(cls) -> bool:
        return True

    @classmethod
    def supports_attn_type(cls, attn_type: str) -> bool:
        return attn_type in (AttentionType.DECODER, AttentionType.ENCODER_DECODER, *ENCODERS)

    @classmethod
    def validate_configuration(
            cls, head_size: int, dtype: torch.dtype, kv_cache_dtype: Optional[str], block_size: Optional[int],
            use_mla: bool = False, has_sink: bool = False, use_sparse: bool = False, use_mm_prefix: bool = False,
            use_per_head_quant_scales: bool = False, device_capability: Any = None,
            attn_type: str = AttentionType.DECODER, use_non_causal: bool = False, use_batch_invariant: bool = False,
            use_kv_connector: bool = False, **others: Any) -> List[str]:
        """Every reason why not, in words that say what would do; empty: attnc computes it.  A demand of a newer
        vLLM that this function does not know is a reason, too."""
        reasons = []
        if not cls.supports_head_size(head_size):
            reasons.append(f"head_size {head_size}: a multiple of 8, at most {HEAD_DIM_MAX}, is needed")
        if dtype not in DTYPES:
            reasons.append(f"dtype {dtype}: float16 or bfloat16 is needed")
        if kv_cache_dtype is not None and kv_cache_dtype not in CACHE_DTYPES:
            reasons.append(f"kv_cache_dtype {kv_cache_dtype}: caches have the dtype of the model")
        elif kv_cache_dtype is not None and CACHE_DTYPES[kv_cache_dtype] not in (None, dtype):
            reasons.append(f"kv_cache_dtype {kv_cache_dtype}: the model's dtype is {dtype}, and attnc does not convert")
        if block_size is not None and block_size < 1:
            reasons.append(f"block_size {block_size}: at least 1 is needed")
        asked = {"use_mla: multi-head latent attention": use_mla, "use_sparse: sparse attention": use_sparse,
                 "use_mm_prefix: prefixes of images that see one another": use_mm_prefix,
                 "use_per_head_quant_scales: quantised caches": use_per_head_quant_scales,
                 "use_batch_invariant: the kernel is chosen by the longest of a batch, so that its sums may be in "
                 "another order": use_batch_invariant}
        reasons += [f"{what}: not supported" for what, wanted in asked.items() if wanted]
        reasons += [f"{name}={value!r} is not known to attnc" for name, value in others.items() if value]
        if not cls.supports_attn_type(attn_type):
            reasons.append(f"attention type {attn_type}: not supported")
        if not reasons and device_capability is not None:
            reasons = _why_not_here(head_size, dtype, has_sink, device_capability)
        return reasons


@dataclass
class AttncMetadata:
    """Of a batch, for all layers of a group; tensors are on the GPU."""

    num_actual_tokens: int
    max_query_len: int
    max_seq_len: int  #: may be more than the longest has
    query_start_loc: torch.Tensor  #: int32 (requests + 1,)
    seq_lens: torch.Tensor  #: int32 (requests,)
    block_table: torch.Tensor  #: int32 (requests, blocks of the longest)
    slot_mapping: torch.Tensor
    causal: bool


class AttncMetadataBuilder(AttentionMetadataBuilder):
    """Metadata is what vLLM has already: nothing is planned, copied or looked at."""

    # Launches read lengths where they lie, and are as large as the longest that was said at capture.
    _cudagraph_support: ClassVar[AttentionCGSupport] = AttentionCGSupport.UNIFORM_BATCH
    supports_update_block_table: bool = True

    def __init__(self, kv_cache_spec: Any, layer_names: List[str], vllm_config: Any, device: torch.device) -> None:
        super().__init__(kv_cache_spec, layer_names, vllm_config, device)

    def build(self, common_prefix_len: int, common_attn_metadata: CommonAttentionMetadata,
              fast_build: bool = False) -> AttncMetadata:
        """common_prefix_len is no part of it: use_cascade_attention says no.  fast_build: it is always fast."""
        common = common_attn_metadata
        if not isinstance(common.causal, bool):
            raise NotImplementedError("causal of each request is not supported: one of the batch is")
        return AttncMetadata(common.num_actual_tokens, common.max_query_len, common.max_seq_len,
                             common.query_start_loc, common.seq_lens, common.block_table_tensor,
                             common.slot_mapping, common.causal)

    def update_block_table(self, metadata: AttncMetadata, blk_table: torch.Tensor,
                           slot_mapping: torch.Tensor) -> AttncMetadata:
        return replace(metadata, block_table=blk_table, slot_mapping=slot_mapping)


def _window(sliding_window: Optional[int], attn_type: str) -> Tuple[int, int]:
    """(left, right) of a window that counts the row's own key."""
    if sliding_window is None:
        return -1, -1
    return sliding_window - 1, sliding_window - 1 if attn_type in ENCODERS else 0


class AttncImpl(AttentionImpl):
    """Attention of one layer."""

    def __init__(self, num_heads: int, head_size: int, scale: float, num_kv_heads: Optional[int] = None,
                 alibi_slopes: Optional[List[float]] = None, sliding_window: Optional[int] = None,
                 kv_cache_dtype: str = "auto", logits_soft_cap: Optional[float] = None,
                 attn_type: str = AttentionType.DECODER, kv_sharing_target_layer_name: Optional[str] = None,
                 sinks: Optional[torch.Tensor] = None) -> None:
        if kv_cache_dtype not in CACHE_DTYPES:
            raise NotImplementedError(f"kv_cache_dtype={kv_cache_dtype!r} is not supported: caches have the dtype of "
                                      "the model")
        if getattr(self, "total_cp_world_size", 1) > 1:
            raise NotImplementedError("context parallelism is not supported: its LSEs are not merged")
        self.num_heads, self.head_size, self.scale = num_heads, head_size, float(scale)
        self.num_kv_heads = num_kv_heads or num_heads
        self.kv_cache_dtype = kv_cache_dtype
        self.window = _window(sliding_window, attn_type)
        self.softcap = logits_soft_cap or 0.0
        self.attn_type = attn_type
        self.kv_sharing_target_layer_name = kv_sharing_target_layer_name
        self.sinks = sinks
        self.slopes = None if alibi_slopes is None else torch.tensor(alibi_slopes, dtype=torch.float32)
        if sinks is not None and tuple(sinks.shape) != (num_heads,):
            raise ValueError(f"sinks have shape {tuple(sinks.shape)}, of {num_heads} heads")

    def forward(self, layer: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, kv_cache: torch.Tensor,
                attn_metadata: Optional[AttncMetadata], output: Optional[torch.Tensor] = None,
                output_scale: Optional[torch.Tensor] = None,
                output_block_scale: Optional[torch.Tensor] = None) -> torch.Tensor:
        """Writes into output (tokens, heads, head_size), or (tokens, heads · head_size), and returns it; without
        metadata, in the run that finds how much memory there is, zeros."""
        if output is None:
            raise ValueError("output is needed: accept_output_buffer says so")
        if output_scale is not None or output_block_scale is not None:
            raise NotImplementedError("output_scale is not supported: outputs are not quantised")
        if attn_metadata is None:
            return output.zero_()
        at, n = attn_metadata, attn_metadata.num_actual_tokens
        common: Dict[str, Any] = dict(cu_seqlens_q=at.query_start_loc, max_seqlen_q=at.max_query_len, softmax_scale=self.scale,
                      window_size=self.window, softcap=self.softcap, alibi_slopes=self._slopes(query),
                      s_aux=self.sinks, fa_version=3, out=output.view(-1, self.num_heads, self.head_size)[:n])
        if self.attn_type in ENCODERS:
            flash_attn_varlen_func(query[:n], key[:n], value[:n], cu_seqlens_k=at.query_start_loc,
                                   max_seqlen_k=at.max_query_len, causal=False, **common)
        else:
            k, v = kv_cache.unbind(1)
            room = at.block_table.shape[1] * k.shape[1]
            flash_attn_varlen_func(query[:n], k, v, seqused_k=at.seq_lens, max_seqlen_k=min(at.max_seq_len, room),
                                   block_table=at.block_table, causal=at.causal, **common)
        return output

    def do_kv_cache_update(self, layer: Any, key: Optional[torch.Tensor], value: Optional[torch.Tensor],
                           kv_cache: torch.Tensor, slot_mapping: torch.Tensor) -> None:
        """New keys and values into the pages, before forward."""
        if self.attn_type in ENCODERS or self.kv_sharing_target_layer_name is not None or key is None or value is None:
            return
        k, v = kv_cache.unbind(1)
        reshape_and_cache_flash(key, value, k, v, slot_mapping)

    def _slopes(self, query: torch.Tensor) -> Union[torch.Tensor, None]:
        if self.slopes is not None and self.slopes.device != query.device:
            self.slopes = self.slopes.to(query.device)
        return self.slopes
