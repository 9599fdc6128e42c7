"""attnc as an attention backend of vLLM: what vLLM finds by the entry point `vllm.general_plugins`.

    vllm serve MODEL --attention-backend CUSTOM

Every process of vLLM calls `register` when it starts, which names the class and imports nothing of attnc's kernels;
the backend is vllm_backend.AttncBackend, and it is used where CUSTOM is chosen.
"""
import warnings

BACKEND = "attnc.vllm_backend.AttncBackend"


def register() -> None:
    """Names attnc's backend as vLLM's CUSTOM; another plugin's that is there already stays, with a warning."""
    from vllm.v1.attention.backends.registry import AttentionBackendEnum, register_backend
    custom = AttentionBackendEnum.CUSTOM
    if custom.is_overridden() and custom.get_path() != BACKEND:
        warnings.warn(f"vLLM's CUSTOM attention backend is {custom.get_path()} already: attnc is not registered",
                      stacklevel=2)
        return
    register_backend(custom, BACKEND)
