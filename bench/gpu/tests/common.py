"""What the tests of the GPU suite share.  Each file is a program: `NAME.py [unittest arguments]`;
$ATTNC_LIBRARY is the library under test.  What needs a package that is not there is exit 77."""
import os
import sys
import tempfile
import unittest

GPU = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(os.path.dirname(GPU))
sys.path[:0] = [os.path.join(ROOT, "bench"), os.path.join(ROOT, "python"), GPU]

for name in [n for n in os.environ if n.startswith("ATTNC_") and n != "ATTNC_LIBRARY"]:
    del os.environ[name]
_home = tempfile.TemporaryDirectory(prefix="attnc-gpu-tests-")
os.environ["HOME"] = _home.name


def where():
    import folder
    return folder.find()


def built():
    """The same with its programs: the build folder of the library under test."""
    import folder
    library = where().library
    return folder.find(os.path.dirname(os.path.dirname(library)))


def need(package):
    try:
        return __import__(package)
    except ImportError:
        print(f"SKIPPED: {package} is not installed")
        sys.exit(77)


class Case(unittest.TestCase):
    def folder(self):
        made = tempfile.TemporaryDirectory(prefix="attnc-gpu-test-")
        self.addCleanup(made.cleanup)
        return made.name
