"""What functions of FlexAttention's form, mask_mod(b, h, q_idx, kv_idx) and
score_mod(score, b, h, q_idx, kv_idx), compute, as the text of expressions.

A function is called once, with Symbols (expr.py).  The tables that it captures, arrays and
tensors of its closure, its globals, its defaults, and those of the functions that it captures
in turn, by themselves or in lists, tuples and dicts, are put in its way as Tables, which a
Symbol may index.  Other numbers that it captures are constants of the expression.
"""
import builtins
import functools
import types
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, NoReturn, Optional, Sequence, Set, Tuple, Union

from . import _symbol, arrays, expr
from ._symbol import Symbol, fault, shown
from ._types import Tensors
from .errors import UsageError

Memo = Dict[int, types.FunctionType]  #: what was made of a function, by its id
MAX_AXES = 4
# A variable that an index may be, and the axis that it goes along.
AXES = {"kv_idx": "kv", "q_idx": "q", "b": "b", "h": "h", "hk": "hk"}
TYPES = {"i32": "i32", "int32": "i32", "torch.int32": "i32", "fp32": "f32", "fp16": "f32",
         "bf16": "f32"}
UNSIGNED = ("uint8", "u8", "u32", "u64", "bool")


class Declared(NamedTuple):
    """A table with what `tensors` may say of it; see `table`."""

    data: Any
    axes: Optional[Sequence[Union[str, int]]]
    monotone: bool
    least: Optional[int]


def table(data: Any, axes: Optional[Sequence[Union[str, int]]] = None, monotone: bool = False,
          least: Optional[int] = None) -> Declared:
    """A table for `tensors`.  axes: a name of b, h, hk, q, kv, or a number, for each; left
    out, they are found from its shape and its indices.  monotone: its elements do not decrease
    along the last axis, which lets a kernel leave out tiles that a mask hides.  least: no
    element is below it, so that one that is 0 or more can be an index; of an array on the host
    it is found.  Both are the caller's word."""
    return Declared(data, axes, monotone, least)


class Table:
    """A captured array while its function is traced."""

    def __init__(self, tracer: "Tracer", name: str, data: Any, at: Tuple[Any, ...] = ()) -> None:
        self._tracer, self._name, self._data, self._at = tracer, name, data, at
        self._shape, self._dtype = tracer.what_of(name, data)

    @property
    def shape(self) -> Tuple[int, ...]:
        return self._shape[len(self._at):]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Union["Table", Symbol]:
        at = (*self._at, *(index if isinstance(index, tuple) else (index,)))
        if len(at) > len(self._shape):
            raise fault(f"{self._name} has {len(self._shape)} axes, and {len(at)} indices")
        if len(at) < len(self._shape):
            return Table(self._tracer, self._name, self._data, at)
        return self._tracer.load(self, at)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise fault(f"`.{name}` of the table {self._name} has no expression: it is only read, by "
                    "an index for each of its axes")

    def __iter__(self) -> NoReturn:
        raise fault(f"iterating over the table {self._name} has no expression")

    def __bool__(self) -> NoReturn:
        raise fault(f"the table {self._name} has no truth value while it is traced")

    __array_ufunc__ = None  # numpy leaves it to the other operand, which says what is wrong


class Tracer:
    """Of one call.  lengths: of the axes b, h, hk, q, kv; declared: {name: Declared or array},
    scalars: {name: number}."""

    def __init__(self, lengths: Dict[str, int], declared: Optional[Mapping[str, Any]] = None,
                 scalars: Optional[Mapping[str, float]] = None) -> None:
        self.lengths = lengths
        self.scalars = dict(scalars or {})
        self.declared = {n: t if isinstance(t, Declared) else table(t)
                         for n, t in (declared or {}).items()}
        self.names: Dict[int, str] = {id(t.data): n for n, t in self.declared.items()}
        self.data: Dict[str, Any] = {n: t.data for n, t in self.declared.items()}
        self.indices: Dict[str, List[Tuple[str, ...]]] = {n: [] for n in self.data}
        self.lowest: Dict[str, int] = {}  # elements of tables on the host
        both = sorted(self.scalars.keys() & self.declared.keys())
        if both:
            raise UsageError(f"{both[0]} is in `tensors` and in `scalars`")

    # ---- tables ----

    def what_of(self, name: str, data: Any) -> Tuple[Tuple[int, ...], str]:
        """(shape, dtype as arrays.view names it)."""
        at = arrays.view(data)
        return tuple(at.shape), at.dtype

    def table_of(self, data: Any, name: str) -> Union[Table, Symbol]:
        """The Table of an array that is called `name` where it is captured."""
        if id(data) not in self.names:
            plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in name.lower())[:56]
            free, n = plain + "_", 1  # no slot, size or variable is called so
            while free in self.data:
                n += 1
                free = f"{plain}_{n}"
            self.names[id(data)], self.data[free], self.indices[free] = free, data, []
        name = self.names[id(data)]
        found = Table(self, name, data)
        if not found._shape:  # a number in memory: read when the kernel runs
            return self.load(found, (0,))
        if len(found._shape) > MAX_AXES:
            raise fault(f"{name} has {len(found._shape)} axes: a table has at most {MAX_AXES}")
        return found

    def load(self, of: Table, at: Tuple[Any, ...]) -> Symbol:
        made = [self.index(of, i, x) for i, x in enumerate(at)]
        self.indices[of._name].append(tuple(x.text for x in made))
        kind = "f32" if TYPES.get(of._dtype) == "f32" else "i32"
        found = Symbol(f"{of._name}[{', '.join(x.text for x in made)}]", kind,
                       self.least(of) if kind == "i32" else _symbol.LEAST,
                       words=3 + sum(x.words + 1 for x in made))
        if of._dtype in ("bool", "torch.bool"):
            return expr.not_equal(found, 0)
        return found

    def least(self, of: Table) -> int:
        """Of its elements: declared, of the dtype, or found on the host."""
        name, plain = of._name, of._dtype.replace("torch.", "")
        said = self.declared[name].least if name in self.declared else None
        if said is not None:
            return said
        if plain in UNSIGNED:
            return 0
        if name not in self.lowest:
            ops = arrays.ops(of._data)
            known = (ops and plain.startswith(("int", "i32")) and 0 not in of._shape
                     and arrays.view(of._data).device[0] == "cpu")
            self.lowest[name] = int(of._data.min()) if known else _symbol.LEAST
        return self.lowest[name]

    @staticmethod
    def index(of: Table, axis: int, x: Any) -> Symbol:
        where = f"{of._name}, index {axis + 1}"
        if x is None or x is Ellipsis or isinstance(x, slice):
            raise fault(f"{where}: a slice has no expression; take it before the function")
        at = _symbol.symbol(x)
        if at.type != "i32":
            raise fault(f"{where}: `{shown(at)}` is {at.type}; an index is i32"
                        + ("; write attnc.expr.i32(x)" if at.type == "f32" else ""))
        if at.lo < 0:
            raise fault(f"{where}: `{shown(at)}` can be {at.lo}, as far as its interval says; "
                        "numpy and torch read that from the end, an expression reads the first "
                        "element: write attnc.expr.maximum(x, 0) or, of a "
                        "table's element, attnc.table(…, least=0) in `tensors`")
        return at

    # ---- functions ----

    def replaced(self, value: Any, name: str, memo: Memo) -> Any:
        """What a function finds in the place of what it captured."""
        if name in self.scalars:
            return Symbol(name, "f32")
        if is_tensor(value):
            return self.table_of(value, name)
        if isinstance(value, types.FunctionType) and not _is_foreign(value):
            return self.function(value, memo)
        if isinstance(value, types.MethodType):
            return types.MethodType(self.replaced(value.__func__, name, memo), value.__self__)
        if isinstance(value, functools.partial):
            return functools.partial(
                self.replaced(value.func, name, memo),
                *(self.replaced(x, name, memo) for x in value.args),
                **{n: self.replaced(x, n, memo) for n, x in value.keywords.items()})
        if type(value) in (list, tuple):
            return type(value)(self.replaced(x, name, memo) for x in value)
        if type(value) is dict:
            return {n: self.replaced(x, n if isinstance(n, str) else name, memo)
                    for n, x in value.items()}
        return value

    def function(self, f: types.FunctionType, memo: Memo) -> types.FunctionType:
        """The function with Tables in the place of what it captured; itself where there are
        none."""
        if id(f) in memo:
            return memo[id(f)]
        cells = tuple(types.CellType() for _ in f.__closure__ or ())
        names = _names(f.__code__)
        scope = dict(f.__globals__)
        made = types.FunctionType(f.__code__, scope, f.__name__, None, cells or None)
        memo[id(f)] = made
        for name in names & (scope.keys() | self.scalars.keys() | self.declared.keys()):
            if name in scope:
                scope[name] = self.replaced(scope[name], name, memo)
            elif not hasattr(builtins, name):
                scope[name] = (Symbol(name, "f32") if name in self.scalars
                               else self.table_of(self.data[name], name))
        for name, old, new in zip(f.__code__.co_freevars, f.__closure__ or (), cells):
            if _is_filled(old):
                new.cell_contents = self.replaced(old.cell_contents, name, memo)
        first = f.__code__.co_argcount - len(f.__defaults__ or ())
        made.__defaults__ = f.__defaults__ and tuple(
            self.replaced(x, f.__code__.co_varnames[first + i], memo)
            for i, x in enumerate(f.__defaults__))
        made.__kwdefaults__ = f.__kwdefaults__ and {
            n: self.replaced(x, n, memo) for n, x in f.__kwdefaults__.items()}
        return made

    def variables(self) -> List[Symbol]:
        return [Symbol(name, "i32", 0, max(self.lengths[AXES[name]] - 1, 0))
                for name in ("b", "h", "q_idx", "kv_idx")]

    def call(self, what: str, f: Callable[..., Any], *first: Symbol) -> Symbol:
        faults = _symbol._active.faults = []
        try:
            found = self.replaced(f, what, {})(*first, *self.variables())
        except Exception as e:
            if faults and e is not faults[0]:
                raise faults[0] from e
            raise
        finally:
            del _symbol._active.faults
        if faults:
            raise faults[0]
        return _symbol.symbol(found)

    def mask(self, mod: Any) -> str:
        """The text of a mask_mod: text itself, or a function."""
        if isinstance(mod, str):
            return self.read(mod)
        return expr._truth(self.call("mask_mod", _callable("mask_mod", mod)), "a mask_mod").text

    def score(self, mod: Any) -> str:
        if isinstance(mod, str):
            return self.read(mod)
        found = self.call("score_mod", _callable("score_mod", mod), Symbol("score", "f32"))
        if found.type == "bool":
            raise fault(f"a score_mod gives a number, not true or false: `{shown(found)}`")
        return found.text

    def read(self, text: str) -> str:
        """Notes the indices of tables in a text, for their axes."""
        for name in self.declared:
            self.indices[name] += _indices(text, name)
        return text

    # ---- what comes out ----

    def tensors(self) -> Tuple[Dict[str, Any], Dict[str, Any]]:
        """({name: its declaration in a spec}, {name: array}) of the tables that are read."""
        rows: Dict[str, Any] = {}
        data: Tensors = {}
        for name in self.data:
            if not self.indices[name] and name not in self.declared:
                continue
            data[name], dtype = _usable(name, self.data[name])
            rows[name] = {"dtype": dtype, "axes": self.axes(name, arrays.view(data[name]).shape)}
            if name in self.declared and self.declared[name].monotone:
                rows[name]["monotone"] = True
        return rows, data

    def axes(self, name: str, shape: Tuple[int, ...]) -> List[Union[str, int]]:
        given = self.declared[name].axes if name in self.declared else None
        if given is not None:
            return list(given)
        return [self.axis(n, {at[i] for at in self.indices[name] if i < len(at)})
                for i, n in enumerate(shape)]

    def axis(self, length: int, indices: Set[str]) -> Union[str, int]:
        """A name where the axis is as long as that size, and is indexed by its variable; where
        nothing else indexes it, it may be longer.  Else its length."""
        for variable, axis in AXES.items():
            if variable in indices and (length == self.lengths[axis]
                                        or length > self.lengths[axis] and len(indices) == 1):
                return axis
        return length


def is_tensor(x: object) -> bool:
    return arrays.ops(x) is not None or (hasattr(type(x), "__dlpack__")
                                         and not isinstance(x, type))


def _is_foreign(f: types.FunctionType) -> bool:
    """Another package's own; not what it made of the caller's, as torch's and_masks does."""
    root = (f.__module__ or "").partition(".")[0]
    return root in ("numpy", "torch", __package__) and not f.__closure__


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents
        return True
    except ValueError:  # a variable that has no value yet
        return False


def _names(code: types.CodeType) -> Set[str]:
    """Of the globals that the code and the functions within it read."""
    found = set(code.co_names)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            found |= _names(inner)
    return found


def _callable(what: str, mod: Any) -> Callable[..., Any]:
    if not callable(mod):
        raise UsageError(f"{what}: {type(mod).__name__} is neither text nor a function")
    made: Callable[..., Any] = mod
    return made


def _indices(text: str, name: str) -> List[Tuple[str, ...]]:
    """The texts of the indices of `name[…]` in an expression."""
    found: List[Tuple[str, ...]] = []
    at = 0
    while True:
        at = text.find(name, at)
        if at < 0:
            return found
        end = at + len(name)
        alone = at == 0 or not (text[at - 1].isalnum() or text[at - 1] == "_")
        rest = text[end:].lstrip()
        if alone and rest.startswith("["):
            found.append(_split(rest[1:]))
        at = end


def _split(text: str) -> Tuple[str, ...]:
    """Up to the bracket that closes, at commas."""
    parts, depth = [""], 0
    for c in text:
        if c in "])" and depth == 0:
            break
        depth += (c in "[(") - (c in "])")
        if c == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return tuple(x.strip() for x in parts)


def _usable(name: str, data: Any) -> Tuple[Any, str]:
    """The array, as it is or of a dtype that tables have, and that dtype."""
    at = arrays.view(data)
    ops = arrays.ops(data)
    if not at.shape and ops:
        data, at = data.reshape(1), arrays.view(data.reshape(1))
    if TYPES.get(at.dtype) == "f32":
        return data, at.dtype
    if TYPES.get(at.dtype) == "i32":
        return data, "i32"
    try:
        return ops.as_int32(data), "i32"
    except (AttributeError, TypeError, ValueError) as e:
        why = f": {e}" if ops and not isinstance(e, AttributeError) else ""
        raise UsageError(f"{name} is {at.dtype}, and tables are int32, float32, float16 or "
                         f"bfloat16{why}") from None
