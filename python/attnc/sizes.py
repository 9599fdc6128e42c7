"""Sizes of a problem: b batches, h query heads, hk key heads, sq queries, sk keys; of packed
sequences total_q and total_k rows besides, bc batches of a cache; of a paged one pages of page_size
rows, max_pages of a sequence.  Of op append s_new and total_new new keys and rotary_len positions, of op
merge parts; of a prefix that sequences share sp keys, of a paged one max_prefix_pages.  num_splits
and max_items choose how keys are split; 0: by the kernel's rule."""
import operator
import re
from typing import Any, Dict, Mapping, NamedTuple, Union

from .errors import UsageError

MAX = 2 ** 63 - 1  # of the C type; what a kernel takes at most is the library's to say
WORD = re.compile(r"(b|h|sq|sk|s|total_q|total_k|bc|pages|page_size|max_pages|s_new|"
                  r"total_new|rotary_len|parts|num_splits|max_items|sp|max_prefix_pages)([0-9]+)(?:/([0-9]+))?$")


def whole(name: str, value: Any) -> int:
    """An int of what is a whole number, numpy's and torch's too; UsageError names another."""
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise UsageError(f"{name}: {value!r} is not an integer")


class Sizes(NamedTuple):
    """Sizes of a call; `h` is a multiple of `hk`."""

    b: int
    h: int
    hk: int
    sq: int
    sk: int
    total_q: int = 0
    total_k: int = 0
    bc: int = 0
    pages: int = 0
    page_size: int = 0
    max_pages: int = 0
    s_new: int = 0
    total_new: int = 0
    rotary_len: int = 0
    parts: int = 0
    num_splits: int = 0
    max_items: int = 0
    sp: int = 0
    max_prefix_pages: int = 0

    def __str__(self) -> str:
        more = "".join(f" {n}{x}" for n, x in zip(self._fields[5:], self[5:]) if x)
        return f"b{self.b} h{self.h}/{self.hk} sq{self.sq} sk{self.sk}{more}"


SizesLike = Union[Sizes, str, Mapping[str, int]]


def parse(notation: str) -> Dict[str, int]:
    """Sizes from "b2 h8/2 sq128 sk1024"; `h8` is h8/8, `s256` is sq256 sk256;
    total_q300, total_k300, bc8, pages9, page_size16, max_pages3, s_new2, total_new9, rotary_len64 and
    parts4 are words too."""
    seen: Dict[str, int] = {}
    for word in notation.split():
        m = WORD.match(word)
        if not m or (m.group(3) and m.group(1) != "h"):
            raise UsageError(f"sizes {notation!r}: cannot read {word!r}; b2 h8/2 sq128 sk1024 "
                             "is meant")
        name, value = m.group(1), int(m.group(2))
        new = {"s": {"sq": value, "sk": value},
               "h": {"h": value, "hk": int(m.group(3) or value)}}.get(name, {name: value})
        if seen.keys() & new.keys():
            raise UsageError(f"sizes {notation!r}: {word!r} is given twice")
        seen.update(new)
    return seen


def sizes(source: SizesLike) -> Sizes:
    """Sizes from sizes, notation or a mapping.  In a mapping hk is h, and sk is sq, where
    left out; b, h and sq must be there.  UsageError says what is missing."""
    if isinstance(source, Sizes):
        values = source._asdict()
    else:
        values = parse(source) if isinstance(source, str) else dict(source)
    values.setdefault("hk", values.get("h"))
    values.setdefault("sk", values.get("sq"))
    values = {**Sizes._field_defaults, **values}
    wrong = [n for n in Sizes._fields if values.get(n) is None]
    extra = sorted(values.keys() - set(Sizes._fields))
    if wrong or extra:
        raise UsageError(f"sizes {source!r}: " + (f"no {', '.join(wrong)}" if wrong else
                                                  f"unknown {', '.join(extra)}"))
    values = {n: whole(n, x) for n, x in values.items()}
    for name, value in values.items():
        if not 0 <= value <= MAX:
            raise UsageError(f"sizes {source!r}: {name} is {value}, not 0 to {MAX}")
    return Sizes(**values)
