"""Symbolic numbers: the class, constants, and what of Python has no expression.  expr.py has the
functions, and makes them the operators and methods of Symbol.
"""
import inspect
import math
import numbers
import struct
import threading
from typing import Any, Callable, Dict, Mapping, NoReturn, Optional, Tuple

from .errors import ExpressionError

LEAST, MOST = -2 ** 31, 2 ** 31 - 1  #: of i32
MAX_WORDS = 2048  #: of one expression
LEAF = 14  #: binds tighter than every operator
# By the names that numpy, torch and Symbols have; of expr.py.
FUNCTIONS: Dict[str, Callable[..., Any]] = {}
METHODS: Dict[str, Callable[..., Any]] = {}

_active = threading.local()


def fault(message: str) -> ExpressionError:
    """The error to raise.  trace() raises the first one even where numpy or torch put another
    in its place."""
    error = ExpressionError(message)
    found = getattr(_active, "faults", None)
    if found is not None:
        found.append(error)
    return error


class Symbol:
    """A number or truth value that only a launch knows.  text: its expression."""

    __slots__ = ("text", "type", "lo", "hi", "level", "words")
    __hash__ = None  # type: ignore[assignment]
    __array_priority__ = 1000

    def __init__(self, text: str, type: str, lo: int = LEAST, hi: int = MOST, level: int = LEAF,
                 words: int = 1) -> None:
        self.text, self.type, self.level, self.words = text, type, level, words
        fits = type == "i32" and LEAST <= lo and hi <= MOST  # else it may wrap
        self.lo, self.hi = (lo, hi) if fits else (LEAST, MOST)
        if words > MAX_WORDS:
            raise fault(f"the expression has more than {MAX_WORDS} words; a part that is used "
                        f"twice stands in it twice: {shown(self)}")

    def __repr__(self) -> str:
        return f"<attnc.Symbol {self.type} {shown(self)}>"

    # ---- what an expression cannot say ----

    def __bool__(self) -> NoReturn:
        raise fault(f"`{shown(self)}` has no value while it is traced: `if`, `and`, `or`, `not`, "
                    "`in`, bool() and a < b < c have no expression; write &, |, ~ and "
                    "attnc.expr.where(condition, then, else)")

    def _no_number(self, what: str, instead: str) -> NoReturn:
        raise fault(f"`{shown(self)}` has no value while it is traced: {what} has no "
                    f"expression{instead}")

    def __int__(self) -> NoReturn:
        self._no_number("int()", "; write attnc.expr.i32(x)")

    def __float__(self) -> NoReturn:
        self._no_number("float()", "; write attnc.expr.f32(x)")

    def __index__(self) -> NoReturn:
        self._no_number("an index of a list, tuple or array that was not captured",
                        "; a table is a variable that the function captures, by itself or in a "
                        "list, or a name of `tensors`")

    def __iter__(self) -> NoReturn:
        self._no_number("iterating", "")

    def __len__(self) -> NoReturn:
        self._no_number("len()", "")

    def __getitem__(self, index: object) -> NoReturn:
        self._no_number("an index of a number", "; only tables have one")

    def __round__(self, digits: Optional[int] = None) -> NoReturn:
        self._no_number("round()", "; write attnc.expr.floor(x + 0.5)")

    def __array__(self, *args: Any, **kw: Any) -> NoReturn:
        self._no_number("an array of it", "")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # a protocol that somebody asks for
            raise AttributeError(name)
        raise fault(f"`.{name}` of `{shown(self)}` has no expression; there are "
                    f"{', '.join(sorted(METHODS))}")

    # ---- other packages' functions ----

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kw: Any) -> Any:
        if method != "__call__":
            raise fault(f"numpy.{ufunc.__name__}.{method} has no expression")
        return call("numpy", ufunc.__name__, args, kw)

    def __array_function__(self, function: Any, types: Any, args: Tuple[Any, ...], kw: Mapping[str, Any]) -> Any:
        return call("numpy", function.__name__, args, kw)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Tuple[Any, ...] = (),
                           kw: Optional[Mapping[str, Any]] = None) -> Any:
        return call("torch", function.__name__, args, kw or {})


def call(package: str, name: str, args: Tuple[Any, ...], kw: Mapping[str, Any]) -> Any:
    """Ours for a package's function or method of that name; arguments that say nothing are left
    out, as inplace=False."""
    plain = name.strip("_")
    found = FUNCTIONS.get(plain) or METHODS.get(plain)
    if found is None:
        raise fault(f"{package}.{name} has no expression; there are "
                    f"{', '.join(sorted(FUNCTIONS))}")
    kw = {n: x for n, x in kw.items() if x is not None and x is not False}
    try:
        inspect.signature(found).bind(*args, **kw)
    except TypeError as e:
        raise fault(f"{package}.{name}, so called, has no expression: {e}") from None
    return found(*args, **kw)


def shown(x: Symbol) -> str:
    return x.text if len(x.text) <= 60 else x.text[:57] + "…"


# ---- constants and conversions ----


def _whole(value: int) -> Symbol:
    if not LEAST <= value <= MOST:
        raise fault(f"{value} does not fit i32")
    return Symbol(str(value), "i32", value, value, LEAF if value >= 0 else 12,
                  1 if value >= 0 else 2)


def _real(value: float) -> Symbol:
    if math.isnan(value):
        raise fault("NaN is no constant of an expression")
    try:
        struct.pack("<f", value)
    except OverflowError:
        raise fault(f"{value!r} does not fit f32") from None
    text = repr(float(value))
    return Symbol(text, "f32", level=12 if text[0] == "-" else LEAF, words=1 + (text[0] == "-"))


def symbol(x: Any) -> Symbol:
    """A Symbol of a Symbol or of a number."""
    if isinstance(x, Symbol):
        return x
    if isinstance(x, bool) or type(x).__name__ == "bool_" or (
            type(x).__module__ == "numpy" and type(x).__name__ == "bool"):
        return Symbol("true" if x else "false", "bool")
    if isinstance(x, numbers.Integral):
        return _whole(int(x))
    if isinstance(x, numbers.Real):
        return _real(float(x))
    raise fault(f"a {type(x).__module__}.{type(x).__name__} is no number that an expression can "
                "have; a table is read by an index for each of its axes")


Number = Any  #: what symbol() takes
Unary = Callable[[Number], Symbol]
Binary = Callable[[Number, Number], Symbol]
