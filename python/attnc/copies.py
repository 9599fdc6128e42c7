"""What copying and pickling mean for what holds a handle of the library."""
from typing import NoReturn, TypeVar

Own = TypeVar("Own")


class Shared:
    """Immutable, of this process: a copy is the object itself, so that what holds one can be
    copied; pickling is refused with `PICKLE`, what to do instead."""

    __slots__ = ()
    PICKLE = ""

    def __copy__(self: Own) -> Own:
        return self

    def __deepcopy__(self: Own, memo: object) -> Own:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"attnc.{type(self).__name__} cannot be pickled: {self.PICKLE}")
