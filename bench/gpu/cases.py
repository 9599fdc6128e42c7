"""What is measured: cases, the work in one, the spec that says it, and features by name.

A case is a flat dict, the same for every subject: dtype, d, b, h, hk, sq, sk, causal, window
([left, right], inclusive, −1 unbounded; absent without one).  A Variant is a spec with a field that
no peer has in common, and the same spec without it.  Pure: no device, no torch.
"""
from typing import NamedTuple

TOKENS, WIDTH = 16384, 2048      # b × s, and h × d: as the FlashAttention papers measure
HEAD_DIMS, LENGTHS = (128, 64, 256), (512, 1024, 2048, 4096, 8192, 16384)
QUICK_LENGTHS = (1024, 4096, 16384)
TINY_LENGTHS = (64, 96)
FIELD_LENGTHS = (4096, 16384, 1024)
WINDOW = [1023, 0]
GROUP = 4


class Variant(NamedTuple):
    """name: of the field, for people.  base: fields of the plain spec that it is compared with;
    fields: what it has besides.  shape, words: of the command line, for its time; small: sizes
    that are cheap to verify; numbers: words of both."""
    name: str
    base: dict
    fields: dict
    shape: str = "b1 h16 s4096"
    words: tuple = ()
    small: str = "b2 h4/2 sq130 sk200"
    numbers: tuple = ()

    def spec(self):
        return {"attnc": 1, "name": "variant", "dtype": "bf16", **self.base, **self.fields}

    def plain(self):
        return self._replace(name="plain", fields={}, words=(), numbers=())

    def case(self):
        return {"variant": self.name, "d": self.base["head_dim"],
                "causal": self.base.get("causal", False)}


CAUSAL, FULL = {"head_dim": 128, "causal": True}, {"head_dim": 128}
DOCUMENTS = {"tensors": {"document": {"dtype": "i32", "axes": ["b", "kv"], "monotone": True}},
             "mask_mod": "document[b, q_idx] == document[b, kv_idx]"}
BUCKETS = {"tensors": {"relative": {"dtype": "fp32", "axes": ["h", 32]},
                       "bucket": {"dtype": "i32", "axes": [129]}},
           "score_mod": "score + relative[h, bucket[min(max(q_idx - kv_idx, 0), 128)]]"}
# Sequences of one length, packed or padded: the work of the plain call, so that what is beside it is
# what the lengths cost.  Verified with lengths that are drawn.
ALIKE = ("--seqlens", "2048,2048,2048,2048")
BATCH, SELF = "b4 h16 s2048", "b3 h4/2 s130"
VARIANTS = (
    Variant("softcap", CAUSAL, {"softcap": 50.0}),
    Variant("seqlens packed", CAUSAL, {"seqlens": ["cu_seqlens_q", "cu_seqlens_k"]}, BATCH, ALIKE,
            SELF),
    Variant("seqlens padded", FULL, {"seqlens": ["seqused_q", "seqused_k"]}, BATCH, ALIKE),
    Variant("page_table", CAUSAL, {"page_table": True, "seqlens": ["seqused_k"]},
            f"{BATCH} page_size16", ALIKE, "b2 h4/2 sq60 sk150 page_size16"),
    Variant("mask_mod documents", {**CAUSAL, "align": "top_left"}, DOCUMENTS, small=SELF),
    Variant("mask_mod", FULL, {"mask_mod": "q_idx // 512 >= kv_idx // 512"}),
    Variant("score_mod", CAUSAL, BUCKETS, small=SELF),
    Variant("sink", CAUSAL, {"sink": "bf16"}),
    Variant("alibi_slopes", CAUSAL, {"alibi_slopes": "h"}),
    Variant("bias of heads", FULL, {"bias": {"axes": ["h", "q", "kv"], "dtype": "bf16"}},
            "b4 h16 s1024"),
    Variant("bias of all", FULL, {"bias": {"axes": ["q", "kv"], "dtype": "bf16"}}, "b4 h16 s1024"),
    Variant("block_list", CAUSAL, {"block_list": {"block": [128, 128]}}),
    Variant("mask_bits", FULL, {"mask_bits": True}, "b4 h16 s1024"),
    Variant("mask_bits new", FULL, {"mask_bits": "new"}, "b16 h16 sq64 sk4096", (),
            "b2 h4/2 sq60 sk200"),
    Variant("append", CAUSAL, {"append": True}, "b16 h16 sq64 sk4096", (), "b2 h4/2 sq60 sk200"),
    Variant("shared_prefix", CAUSAL, {"shared_prefix": True}, "b16 h16 sq64 sk1024 sp3072", (),
            "b2 h4/2 sq60 sk200 sp100"),
    Variant("rope", CAUSAL, {"rope": {"dim": 128}}),
    Variant("prefix_len", CAUSAL, {"prefix_len": True}),
    Variant("attention_chunk", CAUSAL, {"attention_chunk": 1024}),
    Variant("head_dim 512", {"head_dim": 512, "causal": True}, {}, "b1 h4 s4096"),
    Variant("head_dim_v", {"head_dim": 192, "causal": True}, {"head_dim_v": 128}),
    Variant("dropout", CAUSAL, {"dropout": True}, numbers=("--scalar", "dropout_p=0.1")),
    Variant("return_lse", CAUSAL, {"return_lse": True}),
    Variant("return_o_lo", CAUSAL, {"return_o_lo": True}),
    Variant("lse_base", CAUSAL, {"return_lse": True, "lse_base": 2}),
    Variant("scalars", CAUSAL, {"scalars": {"gain": 0.5}, "score_mod": "score * gain"}),
)

# Properties of the spec's schema that this suite measures, or need not: the schema growing one
# that is in no table fails a test, and is then skipped by name here or measured.
MEASURED = ("dtype", "head_dim", "causal", "window")
VARIED = frozenset(name for v in VARIANTS for name in v.fields)
NOT_MEASURED = ("attnc", "name", "doc", "group_size", "align", "softmax_scale", "layout",
                "specialize", "schedule", "o_parts", "batch_invariant",
                "grad", "deterministic")  # of the backward pass, below
# What engines ask for, by the property that a spec would say it with.
WANTED = {}
WANTED_OPS = {"bwd": "backward", "decode": "decoding with split keys"}


def features(schema):
    """(properties of `forward`, {name: why not}) of a spec schema."""
    known = set(schema["properties"])
    missing = {f"{name} ({text})": "the spec has no such field yet"
               for name, text in WANTED.items() if name not in known}
    missing.update({f"{op} ({text})": "there is no such operation yet"
                    for op, text in WANTED_OPS.items()})
    missing.update({name: "this suite has no case for it yet"
                    for name in known - set(MEASURED) - VARIED - set(NOT_MEASURED)})
    return {name for name in MEASURED if name in known}, missing


def case(dtype, d, s, causal, h, hk=None, window=None, b=None):
    made = {"dtype": dtype, "d": d, "b": b or max(1, TOKENS // s), "h": h, "hk": hk or h,
            "sq": s, "sk": s, "causal": causal}
    return {**made, "window": list(window)} if window else made


def forward(quick=False, tiny=False, has=MEASURED):
    """The cases of the forward phase, the most telling ones first."""
    if tiny:
        return tiny_forward(has)
    lengths = QUICK_LENGTHS if quick else LENGTHS
    made = [case(dtype, d, s, causal, WIDTH // d)
            for dtype in (("bf16",) if quick else ("bf16", "fp16"))
            for d in HEAD_DIMS for causal in (True, False) for s in lengths]
    grouped = [case("bf16", 128, s, True, 16, 16 // GROUP) for s in lengths]
    local = [case("bf16", 128, s, True, 16, window=WINDOW) for s in lengths if s > WINDOW[0] + 1]
    if "window" not in has:
        local = []
    return made + (grouped[1:2] + local[-1:] if quick else grouped + local)


def tiny_forward(has):
    made = [case(dtype, d, s, causal, 2, b=1) for dtype, d in (("bf16", 64), ("fp16", 128))
            for causal in (True, False) for s in TINY_LENGTHS]
    made.append(case("bf16", 64, 96, True, 4, 1, b=1))
    return made + [case("bf16", 64, 96, True, 2, window=[31, 0], b=1)] * ("window" in has)


def spec(case, name="bench"):
    """The case's spec, as a dict."""
    made = {"attnc": 1, "name": name, "dtype": case["dtype"], "head_dim": case["d"]}
    if case["causal"]:
        made["causal"] = True
    if case.get("window"):
        made["window"] = case["window"]
    return made


def shape(case):
    """The sizes in the command line's notation."""
    return f"b{case['b']} h{case['h']}/{case['hk']} sq{case['sq']} sk{case['sk']}"


def pairs(case):
    """How many (query, key) pairs of one head the mask lets see each other; bottom-right."""
    shift, left, right = case["sk"] - case["sq"], *case.get("window", (-1, -1))
    right = min(right, 0) if case["causal"] and right >= 0 else 0 if case["causal"] else right
    total = 0
    for i in range(case["sq"]):
        low = max(0, i + shift - left) if left >= 0 else 0
        high = min(case["sk"] - 1, i + shift + right) if right >= 0 else case["sk"] - 1
        total += max(0, high - low + 1)
    return total


def flops(case):
    """Floating-point operations of a forward pass.  As everybody counts: 4 d for each pair of
    query and key, half of all pairs when causal; with a window, the pairs that it leaves."""
    every = case["sq"] * case["sk"]
    counted = (pairs(case) if case.get("window") or case["sq"] != case["sk"] else
               every / 2 if case["causal"] else every)
    return 4.0 * case["d"] * case["b"] * case["h"] * counted


def bytes_moved(case):
    """Each input read once, the output written once."""
    tokens = 2 * case["h"] * case["sq"] + 2 * case["hk"] * case["sk"]
    return 2.0 * case["d"] * case["b"] * tokens


def tensor_bytes(case):
    return int(bytes_moved(case))


def standard_bytes(case):
    """With scores written out: tensors, and scores and probabilities in the dtype, which plain
    code holds at once."""
    return tensor_bytes(case) + 2 * 2 * case["b"] * case["h"] * case["sq"] * case["sk"]


def fields(quick=False, tiny=False):
    """The cases of the fields phase, the most telling ones first; the last has grouped heads,
    which pack_gqa is for."""
    if tiny:
        return [case("bf16", 64, 128, True, 2, b=1)]
    made = [case("bf16", d, s, causal, WIDTH // d)
            for s in FIELD_LENGTHS[:1 if quick else None]
            for d in HEAD_DIMS for causal in (True, False)]
    return [*made, case("bf16", 128, FIELD_LENGTHS[0], True, 16, 16 // GROUP)]


def rank(tiny=False):
    """The cases whose schedules are put in order."""
    if tiny:
        return [case("bf16", 64, 64, True, 2, b=1)]
    return [case("bf16", d, 4096, causal, WIDTH // d) for d in HEAD_DIMS
            for causal in (True, False)]


def memory(tiny=False):
    """The cases of the memory phase."""
    lengths = TINY_LENGTHS if tiny else LENGTHS
    return [case("bf16", 128, s, True, 2 if tiny else 16, b=1 if tiny else None)
            for s in lengths]


def latency(tiny=False):
    """The case whose start is timed."""
    return case("bf16", 128, 64 if tiny else 4096, True, 2 if tiny else 16, b=1)


def overhead(tiny=False):
    """The case whose launches are timed: so small that the device waits for the host."""
    return case("bf16", 64, 64 if tiny else 128, True, 2, b=1)


def label(case):
    """One line for people."""
    mask = "causal" if case["causal"] else "full"
    if case.get("window"):
        mask += f" window {case['window'][0]},{case['window'][1]}"
    return f"{case['dtype']} d{case['d']} {mask} {shape(case)}"
