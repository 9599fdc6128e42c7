"""The part of vLLM's interface that a backend of attention meets, written anew for tests.

It follows vLLM's main branch at commit 0014ca6b (2026), vllm/v1/attention/backend.py and backends/registry.py, whose
names, arguments and order v0.25.0 to v0.32.0 document; 0.33.0 was the newest release when this was written, on
2026-12-01, and has not been run with it.  Not here: configurations, layers, schedulers, workers.
"""
import sys
import types
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

import torch

FOLLOWED = "vLLM main at 0014ca6b (2026), whose interface v0.25.0 to v0.32.0 document"
layout = "NHD"  # what vLLM's configuration chose
overrides = {}


class AttentionType(str, Enum):
    DECODER = "decoder"
    ENCODER = "encoder"
    ENCODER_ONLY = "encoder_only"
    ENCODER_DECODER = "encoder_decoder"


class AttentionCGSupport(Enum):
    ALWAYS = 3
    UNIFORM_BATCH = 2
    UNIFORM_SINGLE_TOKEN_DECODE = 1
    NEVER = 0


class AttentionBackendEnum(Enum):
    FLASH_ATTN = "vllm.v1.attention.backends.flash_attn.FlashAttentionBackend"
    CUSTOM = None

    def get_path(self):
        path = overrides.get(self, self.value)
        if not path:
            raise ValueError(f"{self.name} must be registered before use")
        return path

    def get_class(self):
        module, _, name = self.get_path().rpartition(".")
        return getattr(__import__(module, fromlist=[name]), name)

    def is_overridden(self):
        return self in overrides


def register_backend(backend, class_path=None, is_mamba=False):
    if class_path is not None:
        overrides[backend] = class_path
    return lambda x: x


class DeviceCapability(NamedTuple):
    major: int
    minor: int


class MultipleOf:
    def __init__(self, base):
        self.base = base


class AttentionBackend(ABC):
    forward_includes_kv_cache_update = True

    @staticmethod
    @abstractmethod
    def get_name(): ...

    @staticmethod
    @abstractmethod
    def get_impl_cls(): ...

    @staticmethod
    @abstractmethod
    def get_builder_cls(): ...

    @staticmethod
    @abstractmethod
    def get_kv_cache_shape(num_blocks, block_size, num_kv_heads, head_size, cache_dtype_str="auto"): ...

    @classmethod
    def get_kv_cache_block_dim(cls, block_size, num_kv_heads, head_size, cache_dtype_str="auto"):
        marked = 1234567
        return cls.get_kv_cache_shape(marked, block_size, num_kv_heads, head_size, cache_dtype_str).index(marked)

    @classmethod
    def indexes_kv_by_block_stride(cls):
        inner, layered = (cls.get_kv_cache_stride_order(include_num_layers_dimension=x) for x in (False, True))
        return len(layered) == len(inner) + 1 and layered[0] != 0


@dataclass
class CommonAttentionMetadata:
    query_start_loc: torch.Tensor
    query_start_loc_cpu: torch.Tensor
    seq_lens: torch.Tensor
    num_reqs: int
    num_actual_tokens: int
    max_query_len: int
    max_seq_len: int
    block_table_tensor: torch.Tensor
    slot_mapping: torch.Tensor
    causal: object = True


class AttentionMetadataBuilder(ABC):
    _cudagraph_support = AttentionCGSupport.NEVER
    reorder_batch_threshold = None
    supports_update_block_table = False

    @abstractmethod
    def __init__(self, kv_cache_spec, layer_names, vllm_config, device):
        self.kv_cache_spec, self.layer_names = kv_cache_spec, layer_names
        self.vllm_config, self.device = vllm_config, device

    @classmethod
    def get_cudagraph_support(cls, vllm_config, kv_cache_spec):
        return cls._cudagraph_support

    @abstractmethod
    def build(self, common_prefix_len, common_attn_metadata, fast_build=False): ...

    def build_for_cudagraph_capture(self, common_attn_metadata):
        return self.build(common_prefix_len=0, common_attn_metadata=common_attn_metadata)

    def build_for_drafting(self, common_attn_metadata, draft_index):
        return self.build(common_prefix_len=0, common_attn_metadata=common_attn_metadata, fast_build=True)

    def use_cascade_attention(self, *args, **given):
        return False


class AttentionImpl(ABC):
    can_return_lse_for_decode = False
    total_cp = 1  # processes that share the keys of a sequence

    def __new__(cls, *args, **given):
        made = super().__new__(cls)
        made.dcp_world_size = made.total_cp_world_size = AttentionImpl.total_cp
        return made

    @abstractmethod
    def __init__(self, num_heads, head_size, scale, num_kv_heads=None, alibi_slopes=None, sliding_window=None,
                 kv_cache_dtype="auto", logits_soft_cap=None, attn_type=AttentionType.DECODER,
                 kv_sharing_target_layer_name=None): ...

    @abstractmethod
    def forward(self, layer, query, key, value, kv_cache, attn_metadata, output, output_scale=None,
                output_block_scale=None): ...


@dataclass
class Layer:
    """Scales of quantised caches, which a layer has."""

    _q_scale: torch.Tensor = field(default_factory=lambda: torch.ones(1))
    _k_scale: torch.Tensor = field(default_factory=lambda: torch.ones(1))
    _v_scale: torch.Tensor = field(default_factory=lambda: torch.ones(1))


MODULES = {
    "vllm": (),
    "vllm.v1": (),
    "vllm.v1.attention": (),
    "vllm.v1.attention.backend": (AttentionBackend, AttentionCGSupport, AttentionImpl, AttentionMetadataBuilder,
                                  AttentionType, CommonAttentionMetadata, MultipleOf),
    "vllm.v1.attention.backends": (),
    "vllm.v1.attention.backends.registry": (AttentionBackendEnum, register_backend),
    "vllm.v1.attention.backends.utils": (),
}


def get_kv_cache_layout():
    return layout


def install():
    for path, content in MODULES.items():
        module = types.ModuleType(path)
        module.__path__ = []
        module.__dict__.update({x.__name__: x for x in content})
        sys.modules[path] = module
    sys.modules["vllm.v1.attention.backends.utils"].get_kv_cache_layout = get_kv_cache_layout


def allocate(backend, num_blocks, block_size, num_kv_heads, head_size, dtype, layers):
    """The caches of so many layers, in one piece of memory where the backend allows it, as vLLM's runner has them:
    bytes in the order of get_kv_cache_stride_order, seen in that of get_kv_cache_shape."""
    shape = backend.get_kv_cache_shape(num_blocks, block_size, num_kv_heads, head_size)
    if not backend.indexes_kv_by_block_stride():
        raise ValueError("layers of this backend cannot share blocks")
    order = backend.get_kv_cache_stride_order(include_num_layers_dimension=True)
    logical = (layers, *shape)
    memory = torch.full([logical[axis] for axis in order], float("nan"), dtype=dtype)
    return list(memory.permute([order.index(axis) for axis in range(len(order))]).unbind(0))
