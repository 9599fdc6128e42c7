"""What FlashAttention, FlashInfer and vLLM have and attnc has not: refused by name, with what
to do instead.

Two tables: functions and classes, which `attnc.NAME` finds and whose call is refused, so that
a program that imports them and never calls them runs; and arguments, which a function of
attnc that has none of that name refuses unless they are given as if they were not.
"""
import difflib
import functools
import inspect
import sys
from typing import Any, Callable, Collection, Dict, NoReturn, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

PAGED = "of keys and values in pages, call {}"
DECODE = PAGED.format("flash_attn_with_kvcache, which takes block_table and cache_seqlens")
APPEND = "new tokens go into a cache by flash_attn_with_kvcache, or append_paged_kv_cache"
MERGE = "call it on each part of the keys, and merge_states on the results"
SPARSE = "no block-sparse masks yet: causal and window_size are what a mask can be"
LATENT = "multi-head latent attention is not supported yet: expand it to q, k and v"
QUANTISED = "fp8 and fp4 are not supported yet: give fp16 or bf16"
PLANNED = "nothing is planned before a call: leave it out"
SPLIT = ("flash_attn_with_kvcache takes num_splits; by themselves keys are split as the length of each row "
         "says, whatever else is in the batch")
ROTATE = "rotary embedding is not part of a call yet: rotate q and k before it"
SINK = "attention sinks are not supported yet"
EXPRESSION = "call attnc.flex_attention, which takes expressions and functions"
LENGTHS = ("call flash_attn_varlen_func, which takes seqused_q and seqused_k, or a plan of a spec "
           "with `seqlens`")
ITEMS = "scoring several items at once is not supported yet: one call for each"
PARALLEL = "context parallelism is not supported: call it on all keys"

# name: instead
FUNCTIONS = {
    # FlashAttention, vLLM
    "get_scheduler_metadata": PLANNED,
    "sparse_attn_func": SPARSE,
    "sparse_attn_varlen_func": SPARSE,
    "flash_mla_with_kvcache": LATENT,
    "get_mla_metadata": PLANNED,
    "reshape_and_cache_flash": APPEND,
    "is_fa_version_supported": "there is one version: attnc.load_spec(…).check(target) says "
                               "what a target can do",
    "fa_version_unsupported_reason": "there is one version: attnc.load_spec(…).check(target) "
                                     "says why not",
    # FlashInfer
    "single_decode_with_kv_cache": "call flash_attn_func(q[None, None], k[None], v[None])[0, 0] "
                                   "(kv_layout NHD)",
    "single_prefill_with_kv_cache": "call flash_attn_func(q[None], k[None], v[None], causal=…, "
                                    "softmax_scale=sm_scale)[0] (kv_layout NHD)",
    "single_prefill_with_kv_cache_return_lse":
        "call flash_attn_func(q[None], k[None], v[None], return_attn_probs=True): its LSE is to "
        "base e, not 2",
    "BatchPrefillWithRaggedKVCacheWrapper": "call flash_attn_varlen_func: qo_indptr and "
                                            "kv_indptr are its cu_seqlens_q and cu_seqlens_k",
    "BatchDecodeMlaWithPagedKVCacheWrapper": LATENT,
    "BatchMLAPagedAttentionWrapper": LATENT,
    "BatchAttention": PAGED.format("flash_attn_varlen_func with block_table"),
    "BatchAttentionWithAttentionSinkWrapper": SINK,
    "BatchPrefillWithSharedPrefixPagedKVCacheWrapper": MERGE,
    "BatchDecodeWithSharedPrefixPagedKVCacheWrapper": MERGE,
    "MultiLevelCascadeAttentionWrapper": MERGE,
    "PODWithPagedKVCacheWrapper": PAGED.format("flash_attn_varlen_func with block_table"),
    "BatchPODWithPagedKVCacheWrapper": PAGED.format("flash_attn_varlen_func with block_table"),
    "BlockSparseAttentionWrapper": SPARSE,
    "VariableBlockSparseAttentionWrapper": SPARSE,
    "append_paged_mla_kv_cache": LATENT,
    "fast_decode_plan": PLANNED,
    "cudnn_batch_decode_with_kv_cache": DECODE,
    "cudnn_batch_prefill_with_kv_cache": PAGED.format("flash_attn_varlen_func with block_table"),
    "trtllm_batch_decode_with_kv_cache": DECODE,
    "trtllm_batch_context_with_kv_cache": PAGED.format("flash_attn_varlen_func with block_table"),
    "trtllm_fmha_v2_prefill": PAGED.format("flash_attn_varlen_func with block_table"),
    "xqa": DECODE,
    "xqa_mla": LATENT,
}

NONE = (None,)
# name: (the values that are as good as none, instead)
ARGUMENTS = {
    # FlashAttention-2's own, not supported yet
    "dropout_p": ((None, 0), "the operator of torch has no dropout yet: call it under torch.no_grad()"),
    "rng_state": (NONE, "with a gradient the state is drawn: leave it out"),
    "block_table": (NONE, DECODE),
    # FlashAttention 3 and 4
    "qv": (NONE, LATENT),
    "q_descale": (NONE, QUANTISED),
    "k_descale": (NONE, QUANTISED),
    "v_descale": (NONE, QUANTISED),
    "attention_chunk": ((None, 0), "no chunked mask yet: window_size is the nearest to it"),
    "num_splits": ((None, 0, 1), SPLIT),
    "pack_gqa": (NONE, "the schedule says it: attnc.Context().plan(…, "
                       "schedule={\"pack_gqa\": True})"),
    "sm_margin": ((None, 0), "a launch takes the multiprocessors that are free: leave it out"),
    "seqused_q": (NONE, LENGTHS),
    "seqused_k": (NONE, LENGTHS),
    "leftpad_k": (NONE, LENGTHS),
    "cache_leftpad": (NONE, LENGTHS),
    "cu_seqlens_k_new": (NONE, APPEND),
    "rotary_seqlens": (NONE, ROTATE),
    "cache_seqlens": (NONE, DECODE),
    "cache_batch_idx": (NONE, DECODE),
    "page_table": (NONE, DECODE),
    "rotary_cos": (NONE, ROTATE),
    "rotary_sin": (NONE, ROTATE),
    "learnable_sink": (NONE, SINK),
    "score_mod": (NONE, EXPRESSION),
    "mask_mod": (NONE, EXPRESSION),
    "aux_tensors": (NONE, EXPRESSION),
    "aux_scalars": (NONE, EXPRESSION),
    "block_sparse_tensors": (NONE, SPARSE),
    "gather_kv_indices": (NONE, SPARSE),
    "return_lse": ((None, False), "return_attn_probs=True returns (out, softmax_lse, S_dmask)"),
    # FlexAttention
    "block_mask": (NONE, EXPRESSION + ", and block masks"),
    "kernel_options": (NONE, PLANNED),
    "return_aux": (NONE, "return_lse=True returns (out, lse)"),
    # vLLM
    "q_v": (NONE, LATENT),
    "return_softmax_lse": ((None, False),
                           "return_attn_probs=True returns (out, softmax_lse, S_dmask)"),
    "out": (NONE, "a plan writes into what it is given: attnc.Context().plan(…)(q, k, v, out)"),
    "scheduler_metadata": (NONE, PLANNED),
    "fa_version": (NONE, "attnc chooses the kernel by the device: leave it out"),
    "s_aux": (NONE, SINK),
    "cp_world_size": ((None, 1), PARALLEL),
    "cp_rank": ((None, 0), PARALLEL),
    "cp_tot_seqused_k": (NONE, PARALLEL),
    # FlashInfer
    "sm_scale": (NONE, "it is called softmax_scale here"),
    "logits_soft_cap": ((None, 0), "it is called softcap here"),
    "window_left": ((None, -1), "it is window_size=(window_left, -1) here"),
    "kv_layout": ((None, "NHD"), "[batch, seqlen, heads, head_dim] is what k and v are: "
                                 "k.transpose(1, 2) makes it of HND without a copy"),
    "pos_encoding_mode": ((None, "NONE"), ROTATE + "; \"ALIBI\" is alibi_slopes here"),
    "rope_scale": (NONE, ROTATE),
    "rope_theta": (NONE, ROTATE),
    "custom_mask": (NONE, EXPRESSION),
    "packed_custom_mask": (NONE, EXPRESSION),
    "k_scale": ((None, 1), QUANTISED),
    "v_scale": ((None, 1), QUANTISED),
    "sinks": (NONE, SINK),
    "q_scale": ((None, 1), QUANTISED),
    "fixed_split_size": (NONE, SPLIT),
    "q_len_per_req": ((None, 1), "call BatchPrefillWithPagedKVCacheWrapper, which takes several queries of "
                                 "a sequence"),
    "use_fp16_qk_reduction": ((None, False), "sums are fp32: leave it out"),
    "prefix_len_ptr": (NONE, ITEMS),
    "token_pos_in_items_ptr": (NONE, ITEMS),
    "token_pos_in_items_len": ((None, 0), ITEMS),
    "max_item_len_ptr": (NONE, ITEMS),
    "jit_args": (NONE, EXPRESSION),
    "mask": (NONE, "merge the rows that it says, and keep the others"),
    "enable_pdl": ((None, False), PLANNED),
    "backend": ((None, "auto"), "attnc chooses the kernel by the device: leave it out"),
    # torch
    "attn_mask": (NONE, EXPRESSION),
    "is_causal": ((None, False), "causal=True is aligned at the last query and key, torch's "
                                 "is_causal at the first ones: the same where there are as "
                                 "many of both"),
    "scale": (NONE, "it is called softmax_scale here"),
    "enable_gqa": ((None, False, True), "heads of k and v may be fewer as they are"),
}


def refuse(**given: Any) -> None:
    """NotImplementedError for the first argument that is not as good as none."""
    for name, value in given.items():
        neutral, instead = ARGUMENTS[name]
        if not any(value is x or _equal(value, x) for x in neutral):
            said = f"{name}={value!r}" if isinstance(value, (bool, int, float, str)) else name
            raise NotImplementedError(f"{said} is not supported: {instead}")


def _equal(value: object, number: object) -> bool:
    return isinstance(value, (int, float, str)) and value == number


def _others(function: str, names: Collection[str], given: Dict[str, Any]) -> Dict[str, Any]:
    """The arguments without those that another library's function has, which are refused."""
    for name in given.keys() - names:
        if name not in ARGUMENTS:
            near = difflib.get_close_matches(name, names, 1)
            raise TypeError(f"{function}() has no argument {name!r}"
                            + (f"; did you mean {near[0]}?" if near else ""))
        refuse(**{name: given[name]})
    return {name: value for name, value in given.items() if name in names}


def drop_in(function: Function) -> Function:
    """A function with the name of another library's: see `refuse`, and `uncompiled`."""
    names = inspect.signature(function).parameters.keys()
    run = uncompiled(function)

    @functools.wraps(function)
    def call(*args: Any, **given: Any) -> Any:
        if not given.keys() <= names:
            given = _others(function.__name__, names, given)
        return run(*args, **given)

    call._torchdynamo_disable = True  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]


def operator(function: Function) -> Function:
    """drop_in of a function that torch.compile follows: to an operator of torch, or to functions that
    have one."""
    names = frozenset(inspect.signature(function).parameters)
    name = function.__name__

    @functools.wraps(function)
    def call(*args: Any, **given: Any) -> Any:
        if not names.issuperset(given):
            given = _others(name, names, given)
        torch = sys.modules.get("torch")
        if torch is not None and torch.compiler.is_compiling():
            from ._operators import TRACED
            traced: Callable[..., Any] = TRACED.get(name, function)
            return traced(*args, **given)
        return function(*args, **given)

    return call  # type: ignore[return-value]


def needs_operator(*tensors: Any) -> bool:
    """Has a call of these to go through torch's dispatcher: is a gradient wanted, or is one of them no
    tensor with values of its own?"""
    if "torch" not in sys.modules:
        return False
    from ._torch import needs_operator as needs
    return any(needs(x) for x in tensors)


def by_operator(name: str, *args: Any, **given: Any) -> Any:
    """The function of that name by its operator."""
    from ._operators import TRACED
    return TRACED[name](*args, **given)


def uncompiled(function: Function) -> Function:
    """torch.compile leaves `function` as it is, a break in the graph: launches go through
    ctypes, where it cannot follow.  Costs a look-up where torch.compile was never used."""

    made: Dict[int, Callable[..., Any]] = {}

    def disabled() -> Any:
        if not made:
            made[0] = sys.modules["torch"].compiler.disable(function)
        return made[0]

    @functools.wraps(function)
    def call(*args: Any, **given: Any) -> Any:
        return (disabled() if "torch._dynamo" in sys.modules else function)(*args, **given)

    for f in (call, disabled):
        f._torchdynamo_disable = True  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]


def missing(name: str) -> Callable[..., Any]:
    """What `attnc.NAME` is where attnc has none: a refusal, if another library has it."""
    if name not in FUNCTIONS:
        raise AttributeError(f"module 'attnc' has no attribute {name!r}")

    def refused(*args: Any, **given: Any) -> NoReturn:
        raise NotImplementedError(f"{name} is not supported: {FUNCTIONS[name]}")

    refused.__name__ = refused.__qualname__ = name
    refused.__doc__ = f"Not supported: {FUNCTIONS[name]}."
    return refused
