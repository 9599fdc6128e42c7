"""The one-line notation of end-to-end cases (tests/e2e/trial.h), as far as this suite needs it:
what a case asks of a spec, and a schedule for each case that names a template alone."""
import re
from collections import Counter

WORD = re.compile(r"(b|sq|sk)(\d+)$")
TARGETS = re.compile(r"sm_\d+a?$")
LAYOUTS = ("bshd", "bhsd", "padded", "packed")
SPECIAL = {"none": [], "sizes": ["b", "h", "hk", "sq", "sk"], "strides": ["strides"],
           "all": ["b", "h", "hk", "sq", "sk", "strides"]}


def read(path):
    """The cases of a file: lines that are neither empty nor comments."""
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                yield line.strip()


def parse(text):
    """{word's meaning: value}; ValueError for a word it does not know."""
    t = {"dtype": None, "layout": "bshd", "special": "none", "scale": "default", "lse": True,
         "causal": False, "top_left": False, "window": None, "template": None, "schedule": None}
    for word in text.split():
        m = WORD.match(word)
        if m:
            t[m.group(1)] = int(m.group(2))
        elif word in ("fp16", "bf16"):
            t["dtype"] = word
        elif re.match(r"h\d", word):
            h, _, hk = word[1:].partition("/")
            t["h"], t["hk"] = int(h), int(hk or h)
        elif re.match(r"d\d", word):
            d, _, dv = word[1:].partition("/")
            t["d"], t["dv"] = int(d), int(dv or d)
        elif word in ("causal", "top_left"):
            t[word] = True
        elif word in LAYOUTS:
            t["layout"] = word
        elif word == "nolse":
            t["lse"] = False
        elif TARGETS.match(word):
            t["target"] = word
        elif word.split("=")[0] in ("special", "scale", "seed", "window"):
            name, value = word.split("=")
            t[name] = [int(x) for x in value.split(",")] if name == "window" else value
        elif re.match(r"(ref_fwd|fwd_\w+)", word):
            t["template"], _, t["schedule"] = word.partition(":")
        else:
            raise ValueError(f"{text}: cannot read {word!r}")
    return t


def spec(t):
    """The case's spec as a dict, in a layout that the command line has."""
    made = {"attnc": 1, "name": "trial", "dtype": t["dtype"], "head_dim": t["d"]}
    if t["dv"] != t["d"]:
        made["head_dim_v"] = t["dv"]
    for name in ("causal", "window"):
        if t[name]:
            made[name] = t[name]
    if t["top_left"]:
        made["align"] = "top_left"
    if t["lse"]:
        made["return_lse"] = True
    if t["layout"] == "bhsd":
        made["layout"] = "bhsd"
    if SPECIAL[t["special"]]:
        made["specialize"] = SPECIAL[t["special"]]
    return made


def shape(t):
    return f"b{t['b']} h{t['h']}/{t['hk']} sq{t['sq']} sk{t['sk']}"


def for_cli(text):
    """(spec, shape, target, template), or why the command line cannot say it."""
    t = parse(text)
    if t["layout"] in ("padded", "packed"):
        return f"the command line has no {t['layout']} tensors"
    if t["scale"] != "default":
        return "the scale is the test program's"
    return spec(t), shape(t), t["target"], t["template"]


# ---- schedules, as tests/e2e/pick.c chooses them ----

def schedule_text(s):
    from attnc._lib import SCHEDULE_FIELDS
    if s["template"] == "fwd_wgmma":
        return "fwd_wgmma:" + ",".join(f"{k}={str(s[k]).lower()}" for k in SCHEDULE_FIELDS
                                       if k in s)
    letter = "q" if s["q_in_regs"] else "Q"
    return (f"{s['template']}:{s['block_m']}x{s['block_n']}s{s['num_stages']}"
            f"w{s['num_warps']}{letter}")


def legal(t):
    """The legal schedules of a case, of its template if any is; those that the notation can
    say."""
    import attnc
    made = {**spec(t), "specialize": [n for n in SPECIAL[t["special"]] if n != "strides"]}
    found = attnc.schedules(made, t["target"], shape(t))
    own = [s for s in found if s["template"] == t["template"]]
    if own and t["template"] == "fwd_wgmma":  # thousands
        own = [own[int(t["seed"]) * 2654435761 % 2**32 % len(own)]]
    return [schedule_text(s) for s in own or found]


def with_schedules(texts):
    """(cases with a schedule each, [(case, why not)]): in the order of the list the one that
    was used least so far, of those the one that is legal in the fewest cases."""
    rows, unsaid = [], []
    for text in texts:
        t = parse(text)
        if t["schedule"]:
            rows.append((text, t, None))
            continue
        found = legal(t)
        if found:
            rows.append((text, t, found))
        else:
            unsaid.append((text, "no legal schedule"))
    count, used = Counter(s for _, _, found in rows for s in found or ()), Counter()
    made = []
    for text, t, found in rows:
        if found:
            best = min(found, key=lambda s: (used[s], count[s]))
            used[best] += 1
            text = text.replace(f" {t['template']}", f" {best}")
        made.append(text)
    return made, unsaid
