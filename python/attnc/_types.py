"""Names of what functions of this package take and return."""
import os
from types import ModuleType
from typing import Any, Dict, Mapping, Tuple, Union

Tensor = Any  #: torch's, numpy's array, or what speaks DLPack: none of these packages need be there
Ops = ModuleType  #: what is done to the tensors of a framework: _torch, _numpy
Tensors = Dict[str, Tensor]  #: by the names that a call has for them
Numbers = Dict[str, Any]  #: the same of numbers, None where the spec's own holds
Fields = Dict[str, Any]  #: of a spec
Shape = Tuple[int, ...]
Device = Tuple[str, int]  #: ("cpu", 0), ("cuda", ordinal)
Longest = Mapping[str, int]  #: sizes that no shape says
Key = Tuple[Any, ...]  #: all that a prepared launch depends on
Axis = Union[str, int]  #: "sk", "b+1", "sk/32", 4
Path = Union[str, "os.PathLike[str]"]
