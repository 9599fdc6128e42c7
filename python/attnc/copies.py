"""What copying and pickling mean for what holds a handle of the library."""


class Shared:
    """Immutable, of this process: a copy is the object itself, so that what holds one can be
    copied; pickling is refused with `PICKLE`, what to do instead."""

    __slots__ = ()
    PICKLE = ""

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __reduce_ex__(self, protocol):
        raise TypeError(f"attnc.{type(self).__name__} cannot be pickled: {self.PICKLE}")
