"""Where attnc's files are: a build folder (bin/, lib/), an installed tree, the portable folder.

`find` looks in the folder given, else in $ATTNC_LIBRARY's, else in the build folders of this
tree, and points the Python binding at the library it found.
"""
import os
import sys
from typing import NamedTuple, Optional

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILDS = ("build/portable/attnc-portable", "build/release", "build/dev")


class Folder(NamedTuple):
    path: str
    library: str              # libattnc.so
    emulator: str             # libattnc-emu.so
    cli: Optional[str]        # the command `attnc`
    matrix: Optional[str]     # e2e_matrix, where it was built


def first(path, *names):
    for name in names:
        file = os.path.join(path, name)
        if os.path.exists(file):
            return file
    return None


def look(path):
    """The Folder at `path`, or None if there is no libattnc.so in it."""
    library = first(path, "libattnc.so", "lib/libattnc.so", "lib64/libattnc.so")
    emulator = first(path, "libattnc-emu.so", "lib/libattnc-emu.so", "lib64/libattnc-emu.so")
    if not library or not emulator:
        return None
    return Folder(path, library, emulator, first(path, "attnc", "bin/attnc"),
                  first(path, "e2e_matrix", "bin/e2e_matrix"))


def find(path=None):
    """Exits with 2 and the reason where nothing is found.  After it `import attnc` is of that
    folder."""
    chosen = os.environ.get("ATTNC_LIBRARY")
    tried = [path] if path else [os.path.dirname(chosen)] if chosen else [
        os.path.join(ROOT, b) for b in BUILDS]
    for place in tried:
        found = look(os.path.abspath(place))
        if found:
            os.environ["ATTNC_LIBRARY"] = found.library
            python = os.path.join(ROOT, "python")
            if python not in sys.path:
                sys.path.insert(0, python)
            return found
    print("no libattnc.so and libattnc-emu.so in " + ", ".join(tried) +
          ": build attnc (scripts/build portable), or name the folder with --attnc",
          file=sys.stderr)
    sys.exit(2)
