"""How a mask cuts the scores of one head into tiles."""
import ctypes as C
from typing import Any, NamedTuple, Tuple

from . import _lib, arrays, errors
from .sizes import SizesLike, sizes as make_sizes
from .spec import SpecLike, _check, load_spec, sizes_struct


class Tiles(NamedTuple):
    """Counts of tiles, and their picture, a str for each row of tiles: " " EMPTY, "+" PARTIAL,
    "#" FULL."""

    q_tiles: int
    kv_tiles: int
    empty: int
    partial: int
    full: int
    visited: int  #: not EMPTY, and one for each block of queries that sees no key
    rows: Tuple[str, ...]


def tiles(spec: SpecLike, sizes: SizesLike, block_m: int = 64, block_n: int = 64, *, b: int = 0, h: int = 0,
          exact: bool = False, **tensors: Any) -> Tiles:
    """The tiles of block_m queries by block_n keys of one batch and query head.

    tensors: host arrays that the mask reads, by name; of one that is left out nothing is known.
    exact: by trying every query with every key, not as a kernel's loop decides.
    """
    spec, sizes = load_spec(spec), make_sizes(sizes)
    call = spec.signature
    for name in tensors:
        if name not in call.inputs:
            raise errors.UsageError(f"{name}: the call has no input of that name")
    views = {n: arrays.view(x) for n, x in tensors.items() if x is not None}
    if any(x.device[0] != "cpu" for x in views.values()):
        raise errors.UsageError("tiles: tensors must be on the host")
    args = _lib.call_args(sizes_struct(sizes), call.structs(views))
    choice = _lib.TileChoice(block_m=block_m, block_n=block_n, b=b, h=h, exact=int(exact))
    counts, error = _lib.TileCounts(), _lib.Error()
    room = -(-sizes.sq // max(block_m, 1)) * -(-sizes.sk // max(block_n, 1))
    picture = C.create_string_buffer(room + 1)
    _check(_lib.library().attnc_tiles_of(spec._handle, args, choice, counts, picture, room,
                                         error), error)
    n = counts.kv_tiles
    rows = tuple(picture.raw[i * n:(i + 1) * n].decode() for i in range(counts.q_tiles))
    return Tiles(counts.q_tiles, counts.kv_tiles, counts.empty, counts.partial, counts.full, counts.visited, rows)
