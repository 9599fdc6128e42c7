"""The wheel: put together from the libraries under test, and used from a folder of its own."""
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

common.need("scikit_build_core")
import attnc

LIBRARIES = os.path.dirname(attnc._lib.library()._name)
NAMES = ("libattnc.so.0", "libattnc_rt.so.0", "libattnc_llvm.so", "libattnc-emu.so", "attnc-cc")


def make(folder, libraries=LIBRARIES):
    """Its name, in `folder`; what CMake says goes to the log."""
    code = ("import sys; from scikit_build_core import build; "
            "print(build.build_wheel(sys.argv[1], {'cmake.define.ATTNC_LIBRARIES': sys.argv[2], "
            "'build-dir': sys.argv[1] + '/build'}))")
    r = subprocess.run([sys.executable, "-c", code, folder, libraries], cwd=common.SOURCE, check=False,
                       capture_output=True, text=True)
    if r.returncode:
        raise RuntimeError(r.stdout + r.stderr)
    return r.stdout.split()[-1]


class Wheel(common.Case):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="attnc-wheel-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.name = make(cls.folder.name)
        cls.path = os.path.join(cls.folder.name, cls.name)

    def test_record(self):
        """Every file is there with its digest, and no other."""
        with zipfile.ZipFile(self.path) as z:
            names = z.namelist()
            record, = (n for n in names if n.endswith(".dist-info/RECORD"))
            rows = list(csv.reader(io.StringIO(z.read(record).decode())))
            self.assertEqual(sorted(r[0] for r in rows), sorted(names))
            for name, digest, size in rows:
                if name == record:
                    continue
                data = z.read(name)
                self.assertEqual(int(size), len(data))
                raw = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
                self.assertEqual(digest, "sha256=" + raw.decode())
        self.assertLessEqual({f"attnc/lib/{n}" for n in NAMES}, set(names))
        self.assertTrue(any(n.endswith("licenses/LICENSE") for n in names))
        self.assertIn("attnc/py.typed", names)
        sources = {f"attnc/{n}" for n in os.listdir(os.path.join(common.SOURCE, "python", "attnc"))
                   if n.endswith(".py")}
        self.assertEqual({n for n in names if n.endswith(".py")}, sources)

    def test_metadata(self):
        version = attnc.__version__
        self.assertEqual(attnc.library_version(), version)
        self.assertTrue(self.name.startswith(f"attnc-{version}-py3-none-linux_"), self.name)
        with zipfile.ZipFile(self.path) as z:
            lines = z.read(f"attnc-{version}.dist-info/METADATA").decode().splitlines()
        self.assertIn(f"Version: {version}", lines)
        self.assertIn("Requires-Python: >=3.9", lines)
        needed = [line for line in lines if line.startswith("Requires-Dist: ")]
        self.assertTrue(all("; extra == " in line for line in needed), needed)

    def test_refusal(self):
        with tempfile.TemporaryDirectory() as empty:
            self.raises(RuntimeError, r"has no\s+libattnc\.so\.0,\s+libattnc_rt", make, empty, empty)

    def test_installed(self):
        """Where no library of a source tree can be found: unpacked, it compiles and runs, in a
        process of its own too."""
        code = ("import attnc, os\n"
                "home = os.path.dirname(attnc.__file__)\n"
                "assert attnc._lib.library()._name.startswith(home), attnc._lib.library()\n"
                "for cc in (None, '1'):\n"
                "    context = attnc.Context('emu', cache='off', cc=cc)\n"
                f"    plan = context.plan({common.CAUSAL!r}, 'b1 h1 s16')\n"
                "    assert plan.info['layer'] == 'miss', plan.info\n"
                "assert context.stats()['cc_compiled'] == 1, context.stats()\n")
        with tempfile.TemporaryDirectory() as site:
            subprocess.run([sys.executable, "-m", "zipfile", "-e", self.path, site], check=True)
            os.chmod(os.path.join(site, "attnc", "lib", "attnc-cc"), 0o755)
            env = {k: v for k, v in os.environ.items() if k != "ATTNC_LIBRARY"}
            subprocess.run([sys.executable, "-c", code], check=True, cwd=site,
                           env={**env, "PYTHONPATH": site})


if __name__ == "__main__":
    common.main()
