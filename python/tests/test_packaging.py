"""What is handed out: the manylinux wheel and the source distribution, made, looked at, and
installed into clean environments of every Python from 3.9 to 3.13 that this machine has.

numpy comes from the package index, into one of them."""
import glob
import os
import pwd
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile

import common

common.need("scikit_build_core")
import attnc

VERSIONS = [f"3.{minor}" for minor in range(9, 14)]
README = os.path.join(common.SOURCE, "README.md")
LARGEST, LONGEST = 20_000_000, 60  # bytes of the wheel, seconds to its first result
GLIBC = re.compile(r"(libc|libm|libdl|libpthread|librt|ld-linux-x86-64)\.so\.\d+")
PLAIN = {k: v for k, v in os.environ.items() if not k.startswith("ATTNC_") and k not in (
    "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONPYCACHEPREFIX")}

WITHOUT = """
import sys, attnc
kernel = attnc.compile({"attnc": 1, "name": "x", "dtype": "bf16", "head_dim": 16}, "sm_90")
assert ".target sm_90" in kernel.ptx
assert not {"numpy", "torch"} & set(sys.modules)
try:
    attnc.flash_attn_func([1.0], [1.0], [1.0])
except TypeError as e:
    print(e)
for module in ("torch", "huggingface"):
    try:
        __import__("attnc." + module)
    except ImportError as e:
        assert e.name == "torch", e
    else:
        raise SystemExit(module + " does without torch")
"""


def run(*command, **more):
    r = subprocess.run(command, capture_output=True, text=True, check=False, **{"env": PLAIN, **more})
    if r.returncode:
        raise AssertionError(f"{command}: {r.returncode}\n{r.stdout}{r.stderr}")
    return r.stdout


def python(version):
    """The path of this Python, None where there is none that makes environments."""
    roots = os.environ.get("PYENV_ROOT") or os.path.join(pwd.getpwuid(os.getuid()).pw_dir, ".pyenv")
    found = [shutil.which(f"python{version}"), *sorted(glob.glob(f"{roots}/versions/{version}.*/bin/python"))]
    for path in filter(None, found):
        code = "import venv, ensurepip, sys; print('%d.%d' % sys.version_info[:2])"
        r = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
        if r.stdout.strip() == version:
            return path
    return None


def readme_lines():
    """The block under "From Python"."""
    with open(README, encoding="utf-8") as f:
        section = f.read().split("\n## From Python\n")[1].split("\n## ")[0]
    return re.search(r"^```python\n(.*?)^```", section, re.S | re.M).group(1)


class Packaging(common.Case):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="attnc-packaging-")
        cls.addClassCleanup(cls.folder.cleanup)
        said = run(os.path.join(common.SOURCE, "scripts", "wheel"), cls.folder.name, "--no-build-isolation",
                   env={**PLAIN, "PYTHON": sys.executable})
        print(said.strip(), file=sys.stderr)
        cls.wheel, = glob.glob(os.path.join(cls.folder.name, "*.whl"))

    def environment(self, version):
        """A clean environment's python."""
        path = python(version)
        if path is None:
            self.skipTest(f"no Python {version} with venv and ensurepip")
        folder = os.path.join(self.folder.name, self.id() + version)
        run(path, "-m", "venv", folder)
        self.addCleanup(shutil.rmtree, folder)
        return os.path.join(folder, "bin", "python")

    def test_wheel(self):
        """Its name, its size, and what its libraries ask of the system."""
        self.assertEqual(os.path.basename(self.wheel),
                         f"attnc-{attnc.__version__}-py3-none-manylinux_2_36_x86_64.whl")
        self.assertLessEqual(os.path.getsize(self.wheel), LARGEST)
        with tempfile.TemporaryDirectory() as out, zipfile.ZipFile(self.wheel) as z:
            names = [n for n in z.namelist() if n.startswith("attnc/lib/")]
            z.extractall(out, names)
            ours = {os.path.basename(n) for n in names}
            for name in names:
                said = run("readelf", "-dVW", os.path.join(out, name))
                needed = re.findall(r"\(NEEDED\).*\[(.*)\]", said)
                self.assertEqual([n for n in needed if n not in ours and not GLIBC.fullmatch(n)], [], name)
                for version in set(re.findall(r"Name: (\w+_[\d.]+) +Flags", said)):
                    family, number = version.rsplit("_", 1)
                    if family.startswith("ATTNC"):  # ours, of a neighbour
                        continue
                    self.assertEqual(family, "GLIBC", name)
                    self.assertLessEqual([int(x) for x in number.split(".")], [2, 36], name)
                paths = re.findall(r"\((?:RUNPATH|RPATH)\).*\[(.*)\]", said)
                self.assertTrue(all(p.startswith("$ORIGIN") for path in paths for p in path.split(":")), paths)
            run("sh", "-c", f"! find {out} -name '*.so*' -type l | grep .")

    def test_first_result(self):
        """From nothing to the README's result."""
        lines = readme_lines()
        self.assertLessEqual(len(lines.splitlines()), 5)
        start = time.monotonic()
        python = self.environment("3.11")
        run(python, "-m", "pip", "install", "-q", "--no-input", f"{self.wheel}[numpy]")
        installed = time.monotonic()
        said = run(python, "-c", lines, cwd=self.folder.name)
        end = time.monotonic()
        print(f"environment and pip install {installed - start:.1f} s, the README's lines {end - installed:.1f} s: "
              f"{said.strip()}", file=sys.stderr)
        self.assertLess(end - start, LONGEST)

    def test_every_python(self):
        """Without numpy and torch: it is imported, compiles, and says what it would need."""
        tried = []
        for version in VERSIONS:
            with self.subTest(version=version):
                if python(version) is None:
                    continue
                p = self.environment(version)
                run(p, "-m", "pip", "install", "-q", "--no-index", self.wheel)
                run(p, "-c", WITHOUT, cwd=self.folder.name)
                tried.append(version)
        print("tried with Python " + ", ".join(tried), file=sys.stderr)
        self.assertTrue(tried)

    def test_source_distribution(self):
        """Made, and built in a folder where nothing else is."""
        code = "import sys; from scikit_build_core import build; print(build.build_sdist(sys.argv[1]))"
        name = run(sys.executable, "-c", code, self.folder.name, cwd=common.SOURCE).split()[-1]
        path = os.path.join(self.folder.name, name)
        with tarfile.open(path) as t:
            names = [n.partition("/")[2] for n in t.getnames()]
            t.extractall(self.folder.name)
        print(f"{name}: {os.path.getsize(path)} bytes, {len(names)} files", file=sys.stderr)
        wrong = [n for n in names if n.startswith(("build/", "tests/", "python/tests/")) or "cache" in n.split("/")[-2:-1]]
        self.assertEqual(wrong, [])
        tree = os.path.join(self.folder.name, name[:-len(".tar.gz")])
        run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index",
            "-w", tree + "/out", tree)
        built, = glob.glob(tree + "/out/*.whl")
        p = self.environment("3.11")
        run(p, "-m", "pip", "install", "-q", "--no-index", built)
        run(p, "-c", WITHOUT, cwd=self.folder.name)


if __name__ == "__main__":
    common.main()
