"""torch's part: views of tensors, the caller's current stream, and what the drop-in functions
do to tensors.  Imported when a tensor of torch is first seen."""
from typing import Any, List, Sequence, Tuple

import torch

from .arrays import View

DTYPES = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32",
          torch.int32: "i32"}
if hasattr(torch, "uint32"):
    DTYPES[torch.uint32] = "u32"
    DTYPES[torch.uint64] = "u64"
DTYPES[torch.uint8] = "u8"
NATIVE = {name: dtype for dtype, name in DTYPES.items()}
NATIVE_FLOAT = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}
DEVICES = ("cpu", "cuda")
FRAMEWORK, VECTOR = "torch", "torch.tensor({}, dtype=torch.int32, device=q.device)"

# The raw handle of the current stream, without making a Stream object of it.
_raw_stream = getattr(torch._C, "_cuda_getCurrentRawStream", None)


def view(x: torch.Tensor) -> View:
    kind, index = x.device.type, x.device.index
    if kind == "cuda" and torch.version.hip is not None:
        kind = "hip"
    if dispatches(x) or kind == "meta":
        raise TypeError(NO_MEMORY.format("a tensor on meta" if kind == "meta" else
                                         f"a {type(x).__name__}"))
    if kind not in DEVICES:
        raise TypeError(f"tensors on {kind} are not supported: cuda or cpu")
    if x.layout is not torch.strided:
        raise TypeError(f"{x.layout} tensors are not supported: call to_dense()")
    if x.is_neg() or x.is_conj():
        raise TypeError("a tensor that is negated or conjugated when read: call "
                        "resolve_neg() or resolve_conj()")
    return View(x.data_ptr(), tuple(x.shape), x.stride(), DTYPES.get(x.dtype, str(x.dtype)),
                (kind, index or 0), x, readonly(x))


# Subclasses that dispatch (FakeTensor, DTensor, …) stand for memory that they do not have.
NO_MEMORY = ("{} has no memory of its own to launch on, and this function no operator of torch, as "
             "flash_attn_func has one: call it on tensors that hold their values")


def dispatches(x: torch.Tensor) -> bool:
    return type(x).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__


def needs_operator(x: object) -> bool:
    """As peers.needs_operator has it; of what is no tensor no."""
    return isinstance(x, torch.Tensor) and (
        (x.requires_grad and torch.is_grad_enabled()) or dispatches(x) or x.device.type == "meta"
        or torch._C._functorch.is_functorch_wrapped_tensor(x))


def readonly(x: torch.Tensor) -> str:
    """Why torch itself would not write into `x`, as View has it."""
    if x.requires_grad and torch.is_grad_enabled():
        return "it requires a gradient, which would not know: call under torch.no_grad()"
    if x.is_inference() and not torch.is_inference_mode_enabled():
        return "it is an inference tensor: call under torch.inference_mode()"
    return ""


def contiguous(x: torch.Tensor) -> torch.Tensor:
    """Contiguous, and aligned as fresh memory is."""
    y = x.contiguous()
    return y if y.data_ptr() % 16 == 0 else y.clone()


def packed(x: torch.Tensor) -> torch.Tensor:
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else contiguous(x)


def empty(shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    return torch.empty(shape, dtype=like.dtype, device=like.device)


def empty_of(shape: Sequence[int], like: torch.Tensor, dtype: Any) -> torch.Tensor:
    """dtype: torch's own; None: that of `like`."""
    return torch.empty(shape, dtype=dtype or like.dtype, device=like.device)


def empty_fp32(shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.float32, device=like.device)


def empty_u8(shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.uint8, device=like.device)


def random_state(like: torch.Tensor, draws: int) -> torch.Tensor:
    """Seed and offset of a call's random numbers, u64 [2] where `like` is: those of the device's own
    generator, which is advanced by so many draws; of the CPU a seed from torch's, torch.manual_seed decides."""
    if like.device.type != "cuda":
        return torch.stack([torch.randint(2**63 - 1, (), dtype=torch.int64),
                            torch.zeros((), dtype=torch.int64)]).view(torch.uint64)
    if torch.cuda.is_current_stream_capturing():  # each replay draws anew, on the device
        return torch.stack([torch.randint(2**63 - 1, (), dtype=torch.int64, device=like.device),
                            torch.zeros((), dtype=torch.int64, device=like.device)]).view(torch.uint64)
    generator = torch.cuda.default_generators[like.device.index or 0]
    offset, seed = generator.get_offset(), generator.initial_seed()
    generator.set_offset(offset + draws)
    state = torch.empty(2, dtype=torch.int64, device=like.device)
    for x, n in zip(state, (seed, offset)):  # numbers of a launch: a copy from the host would be waited for
        x.fill_(n - 2**64 if n >= 2**63 else n)
    return state.view(torch.uint64)


def state(x: Any) -> torch.Tensor:
    """The same of a caller's; int64 has the same bits."""
    if not isinstance(x, torch.Tensor) or x.dtype not in (torch.int64, torch.uint64):
        raise TypeError("rng_state: a tensor of uint64 or int64 is needed")
    return x.contiguous().view(torch.uint64)


def scores(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """q kᵀ in fp32, (b, h, sq, sk), of (b, s, heads, d)."""
    q, k = q.detach().float(), k.detach().float()
    return torch.einsum("bqhd,bkhd->bhqk", q, k.repeat_interleave(q.shape[2] // k.shape[2], 2))


def tanh(x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x)


def below(x: torch.Tensor, n: int) -> torch.Tensor:
    """As indices of n rows."""
    return x.clamp(0, max(n - 1, 0)).long()


def weights(s: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """exp(s - the largest that is seen of the row), 0 where nothing is seen."""
    if not s.shape[-1]:
        return s
    s = torch.where(seen, s, -torch.inf)
    most = s.amax(-1, keepdim=True)
    return torch.exp(s - torch.where(torch.isinf(most), 0, most))


def times(signs: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """Of the signs' dtype, rounded; `by` is the corner of what there is."""
    last = (0, signs.shape[3] - by.shape[3], 0, signs.shape[2] - by.shape[2])
    return (torch.nn.functional.pad(by, last) * signs).to(signs.dtype)


def signs(keep: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """1 where it is not 0, else -1, of like's dtype."""
    return (keep.to(torch.int8) * 2 - 1).to(like.dtype)


def made(shape: Sequence[int], dtype: str, likes: Sequence[Any]) -> torch.Tensor:
    """Of attnc's `dtype`, where the first of `likes` is."""
    return torch.empty(shape, dtype=NATIVE[dtype], device=likes[0].device)


def zeros(shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    return torch.zeros(shape, dtype=like.dtype, device=like.device)


def zeros_fp32(shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.float32, device=like.device)


def copy(to: torch.Tensor, source: torch.Tensor) -> None:
    to.copy_(source)


def broadcast(x: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """A view of that shape, whose axes of length 1 have a stride of 0."""
    return x.expand(shape)


def pad_last(x: torch.Tensor, n: int) -> torch.Tensor:
    return torch.nn.functional.pad(x, (0, n))


def minus_to_plus_inf(x: torch.Tensor) -> None:
    x.masked_fill_(x == -torch.inf, torch.inf)


def integers(x: torch.Tensor) -> List[int]:
    if x.dtype != torch.int32:
        raise TypeError(f"int32 is needed, not {x.dtype}")
    return x.tolist()


def int32s(n: int, value: int, like: torch.Tensor) -> torch.Tensor:
    """n times the number, where `like` is."""
    return torch.full((n,), value, dtype=torch.int32, device=like.device)


def vector(numbers: Sequence[int]) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.int32)


def beside(x: torch.Tensor, like: Any) -> torch.Tensor:
    """int32 and contiguous, on the device of `like`."""
    return x.to(like.device if isinstance(like, torch.Tensor) else x.device, torch.int32).contiguous()


def page_table(offsets: torch.Tensor, pages: torch.Tensor, most: int) -> torch.Tensor:
    """int32 [n, most]: of n runs of `pages` from offsets[i] on; behind the end of a run -1."""
    offsets, column = offsets.to(pages.device, torch.int64), torch.arange(most, device=pages.device)
    at = offsets[:-1, None] + column
    found = pages.to(torch.int32)[at.clamp(max=max(0, len(pages) - 1))] if len(pages) else -torch.ones_like(at)
    return torch.where(at < offsets[1:, None], found, -1).to(torch.int32)


def move_last(x: torch.Tensor, axis: int) -> torch.Tensor:
    """A view whose last axis is that one: axis 0 of [a, b, c] makes [b, c, a]."""
    return x.movedim(axis, -1)


def slots(x: torch.Tensor, room: int, like: torch.Tensor) -> torch.Tensor:
    """int32; below 0: room."""
    x = x.to(like.device)
    return torch.where(x < 0, room, x).to(torch.int32)


def counted(n: int, like: torch.Tensor) -> torch.Tensor:
    """0 … n - 1."""
    return torch.arange(n, dtype=torch.int32, device=like.device)


def stack(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(tensors))


def row_counts(mask: torch.Tensor) -> torch.Tensor:
    return mask.sum(dim=-1, dtype=torch.int32)


def true_indices(mask: torch.Tensor) -> torch.Tensor:
    return torch.nonzero(mask.flatten(), as_tuple=False).flatten()


def offsets(lengths: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.pad(torch.cumsum(lengths, dim=0, dtype=torch.int32), (1, 0))


def as_int32(x: torch.Tensor) -> torch.Tensor:
    """A copy; TypeError where the values may be other numbers and cannot be looked at without
    waiting for the device, ValueError where one does not fit."""
    if x.dtype == torch.int64 and x.device.type != "cpu":
        raise TypeError("convert it, .to(torch.int32), where its values fit")
    if x.dtype not in (torch.int64, torch.int16, torch.int8, torch.uint8, torch.bool):
        raise TypeError(f"{x.dtype} has numbers that int32 has not")
    y = x.to(torch.int32)
    if x.dtype == torch.int64 and bool((y != x).any()):
        raise ValueError("it has numbers that int32 has not")
    return y


def needs_grad(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> bool:
    return (q.requires_grad or k.requires_grad or v.requires_grad) and torch.is_grad_enabled()


def stream(device: Tuple[str, int]) -> int:
    """The current stream of a device, as an integer; 0 on the CPU."""
    kind, index = device
    if kind != "cuda":
        return 0
    if _raw_stream is not None:
        return int(_raw_stream(index))
    return torch.cuda.current_stream(index).cuda_stream


def scratch(nbytes: int, like: torch.Tensor, zeroed: int = 0) -> torch.Tensor:
    """Device memory of the caching allocator: safe to drop once the launch is enqueued.
    zeroed: so many of its first bytes are zero."""
    made = torch.empty(nbytes, dtype=torch.uint8, device=like.device)
    if zeroed:
        made[:zeroed].zero_()
    return made


def key(x: torch.Tensor) -> Tuple[Any, ...]:
    """All of a tensor that a launch is packed from, but for its address."""
    return x.shape, x.stride(), x.dtype, x.device


def key_of_rows(x: torch.Tensor) -> Tuple[Any, ...]:
    """The same of packed [rows, heads, head_dim], of any number of rows."""
    return x.shape[1:], x.stride(), x.dtype, x.device


def strides(x: torch.Tensor) -> Tuple[int, ...]:
    return x.stride()
