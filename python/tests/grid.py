"""FlashAttention's argument grid, scaled to what the emulated device runs: all of it is too
much for any run, so a run takes a fixed random part of it, in which every value of every
argument occurs."""
import random

GRID = {
    "dtype": ("fp16", "bf16"),
    "heads": ((4, 4), (4, 2), (6, 1)),
    "causal": (False, True),
    "window": ((-1, -1), (-1, -1), (17, 0), (0, 9), (40, -1), (-1, 13), (33, 200), (500, 500)),
    "head_dim": (32, 40, 59, 64, 80, 96, 111, 128, 160, 192, 224, 256),
    "lengths": ((113, 203), (128, 217), (108, 256), (256, 128), (203, 113), (128, 128),
                (127, 128), (1, 128), (64, 1), (255, 250)),
    "softmax_scale": (None, None, 0.3, 0.02),
    "softcap": (0.0, 0.0, 15.0),
    "alibi": (None, None, "h", "bh"),
    "return_attn_probs": (True, False),
    "form": ("plain", "plain", "kvpacked", "qkvpacked", "strided", "varlen"),
}


def cases(n, seed=7):
    """n problems as dicts; the same ones for the same n."""
    rng = random.Random(seed)
    decks = {name: [] for name in GRID}
    for _ in range(n):
        case = {}
        for name, values in GRID.items():
            if not decks[name]:  # each value once before any comes again
                decks[name] = list(values)
                rng.shuffle(decks[name])
            case[name] = decks[name].pop()
        yield case


def text(case):
    (h, hk), (sq, sk) = case["heads"], case["lengths"]
    words = [case["form"], case["dtype"], f"h{h}/{hk}", f"sq{sq}", f"sk{sk}",
             f"d{case['head_dim']}"]
    words += ["causal"] if case["causal"] else []
    words += [f"window{list(case['window'])}", f"scale {case['softmax_scale']}"]
    words += [f"softcap {case['softcap']}", f"alibi {case['alibi']}"]
    words += ["lse"] if case["return_attn_probs"] else []
    return " ".join(words)
