"""The wheel: built from the libraries under test, installed, and used from a folder of its
own."""
import base64
import csv
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile

import common
import attnc

if sys.version_info < (3, 11):
    print("SKIPPED: a wheel is built with Python 3.11 or newer")
    sys.exit(77)
sys.path.insert(0, os.path.join(common.SOURCE, "python"))
import backend

LIBRARIES = os.path.dirname(attnc._lib.library()._name)


class Wheel(common.Case):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="attnc-wheel-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.name = backend.build_wheel(cls.folder.name, {"libraries": LIBRARIES})
        cls.path = os.path.join(cls.folder.name, cls.name)

    def test_record(self):
        """Every file is there with its digest, and no other."""
        with zipfile.ZipFile(self.path) as z:
            names = z.namelist()
            record, = (n for n in names if n.endswith(".dist-info/RECORD"))
            rows = list(csv.reader(io.StringIO(z.read(record).decode())))
            self.assertEqual([r[0] for r in rows], names)
            for name, digest, size in rows[:-1]:
                data = z.read(name)
                self.assertEqual(int(size), len(data))
                raw = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
                self.assertEqual(digest, "sha256=" + raw.decode())
            self.assertEqual(rows[-1], [record, "", ""])
        for library in backend.LIBRARIES:
            self.assertIn(f"attnc/lib/{library}", names)
        self.assertTrue(any(n.endswith("licenses/LICENSE") for n in names))
        self.assertIn("attnc/py.typed", names)

    def test_versions_agree(self):
        version = backend.project()["version"]
        self.assertEqual(attnc.__version__, version)
        self.assertEqual(attnc.library_version(), version)
        self.assertTrue(self.name.startswith(f"attnc-{version}-py3-none-"))

    def test_same_bytes(self):
        with tempfile.TemporaryDirectory() as other:
            again = backend.build_wheel(other, {"libraries": LIBRARIES})
            with open(os.path.join(other, again), "rb") as a, open(self.path, "rb") as b:
                self.assertEqual(a.read(), b.read())

    def test_refusals(self):
        with tempfile.TemporaryDirectory() as empty:
            self.raises(SystemExit, "libattnc.so", backend.build_wheel, empty,
                        {"libraries": empty})
            self.raises(SystemExit, "source distribution", backend.build_sdist, empty)

    def test_installed(self):
        """Where no library of a source tree can be found: unpacked, it compiles and runs."""
        code = ("import attnc, os\n"
                "home = os.path.dirname(attnc.__file__)\n"
                "assert attnc._lib.library()._name.startswith(home), attnc._lib.library()\n"
                f"context = attnc.Context('emu', cache='off')\n"
                f"plan = context.plan({common.CAUSAL!r}, 'b1 h1 s16')\n"
                "assert plan.info['layer'] == 'miss', plan.info\n")
        with tempfile.TemporaryDirectory() as site:
            with zipfile.ZipFile(self.path) as z:
                z.extractall(site)
            env = {k: v for k, v in os.environ.items() if k != "ATTNC_LIBRARY"}
            subprocess.run([sys.executable, "-c", code], check=True, cwd=site,
                           env={**env, "PYTHONPATH": site})

    def test_editable(self):
        name = backend.build_editable(self.folder.name)
        with zipfile.ZipFile(os.path.join(self.folder.name, name)) as z:
            pth, = (n for n in z.namelist() if n.endswith("attnc.pth"))
            self.assertEqual(z.read(pth).decode().strip(),
                             os.path.join(common.SOURCE, "python"))


if __name__ == "__main__":
    common.main()
