"""attnc as it is installed: a prefix that was moved, and what programs of others are built with.

install_test.py SOURCE BUILD        the prefix of this build; pkg-config, find_package
install_test.py SOURCE BUILD --all  and a prefix whose libraries are in lib64, and FetchContent
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE, BUILD = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
EXAMPLES = os.path.join(SOURCE, "examples")
SPEC = os.path.join(SOURCE, "specs", "llama3_8b_prefill.attn.yaml")
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")
LEFT_OUT = ("ATTNC_LIBRARY", "ATTNC_LLVM", "ATTNC_LIBCUDA", "LD_LIBRARY_PATH", "PKG_CONFIG_PATH",
            "DESTDIR")
HELLO, BUNDLE = "2048 rows: PASS", "98304 of 98304 values are 1: PASS"


def run(*command, cwd=None, **env):
    base = {k: v for k, v in os.environ.items() if k not in LEFT_OUT}
    r = subprocess.run(command, cwd=cwd, env={**base, "ATTNC_CACHE": "0", **env}, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if r.returncode:
        raise AssertionError(f"{' '.join(command)}: exit {r.returncode}: {r.stdout[-4000:]}")
    return r.stdout


class Prefix(unittest.TestCase):
    """An installed prefix: of the tests' own build."""
    libraries = "lib"

    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory(prefix="attnc-install-")
        cls.addClassCleanup(temporary.cleanup)
        cls.dir = temporary.name
        stage = os.path.join(cls.dir, "stage")
        run("cmake", "--install", cls.build(), "--prefix", "/opt/some where/attnc", DESTDIR=stage)
        cls.prefix = os.path.join(cls.dir, "moved here")  # where nobody said that it would be
        os.rename(os.path.join(stage, "opt", "some where", "attnc"), cls.prefix)
        assert os.listdir(os.path.join(stage, "opt", "some where")) == []
        cls.kernels = cls.path("kernels")
        run(cls.path("bin", "attnc"), "compile", SPEC, "--arch", "sm_80", "-o", cls.kernels)

    @classmethod
    def build(cls):
        return BUILD

    @classmethod
    def path(cls, *parts):
        return os.path.join(cls.prefix, *parts)

    def library(self, *parts):
        return self.path(self.libraries, *parts)

    def where(self):
        """As CMake is told of the prefix."""
        return f"-DCMAKE_PREFIX_PATH={self.prefix}"

    def copied(self):
        """examples/ in a folder of its own."""
        folder = tempfile.mkdtemp(dir=self.dir)
        return shutil.copytree(EXAMPLES, os.path.join(folder, "examples"))

    def programs(self, folder, **env):
        """hello and bundle of the folder do as they should on the emulator."""
        env = {"ATTNC_LIBCUDA": self.library("libattnc-emu.so"), **env}
        self.assertIn(HELLO, run(os.path.join(folder, "hello"), **env))
        self.assertIn(BUNDLE, run(os.path.join(folder, "bundle"), self.kernels,
                                  "llama3_8b_prefill", **env))

    def test_command(self):
        out = run(self.path("bin", "attnc"), "run", SPEC, "--shape", "b1 h4/1 s64", "--device",
                  "emu", "--verify")
        self.assertIn("PASS", out)
        said = run(self.path("bin", "attnc"), "doctor", "--device", "emu")
        for name in ("libattnc.so.0", "libattnc_rt.so.0", "attnc/libattnc_llvm.so"):
            self.assertIn(self.path("bin", "..", self.libraries, name), said)

    def test_compiled_elsewhere(self):
        """attnc-cc is found relative to the library, and finds libattnc itself."""
        out = run(self.path("bin", "attnc"), "run", SPEC, "--shape", "b1 h4/1 s64", "--device",
                  "emu", "--verify", ATTNC_CC="1", ATTNC_LOG="debug")
        self.assertIn("PASS", out)
        self.assertIn("/libexec/attnc/attnc-cc is process", out)
        self.assertIn(self.prefix, out)

    def test_tune_finds_its_worker(self):
        out = run(self.path("bin", "attnc"), "tune", SPEC, "--shape", "b1 h4/1 s32", "--top", "1",
                  "--device", "emu", "--dry-run")
        self.assertNotIn("no command attnc", out)

    def test_system_tables(self):
        """The layer of tables that was installed is found from the library."""
        said = json.loads(run(self.path("bin", "attnc"), "tune", "list", "--json"))
        layer = said["layers"][0]
        self.assertEqual(layer["kind"], "system")
        self.assertEqual(os.path.realpath(layer["path"]),
                         os.path.realpath(self.path("share", "attnc", "tune")))

    def test_pkg_config(self):
        folder = os.path.join(self.copied(), "pkg-config")
        where = {"PKG_CONFIG_PATH": self.library("pkgconfig")}
        run("make", "-C", folder, **where)
        self.programs(folder, LD_LIBRARY_PATH=self.library())
        run("make", "-C", folder, "-B", "STATIC=1", **where)
        for name in ("hello", "bundle"):
            self.assertNotIn("libattnc", run("ldd", os.path.join(folder, name)))
        self.programs(folder, ATTNC_LLVM=self.library("attnc", "libattnc_llvm.so"))
        self.programs(folder, ATTNC_CC=self.path("libexec", "attnc", "attnc-cc"))

    def test_find_package(self):
        folder = os.path.join(self.copied(), "find_package")
        build = os.path.join(folder, "build")
        run("cmake", "-S", folder, "-B", build, self.where())
        run("cmake", "--build", build)
        self.programs(build)

    def test_embedded_pack(self):
        folder = os.path.join(self.copied(), "embed")
        build, pack = os.path.join(folder, "build"), os.path.join(folder, "llama.attncpack")
        run(self.path("bin", "attnc"), "pack", "create", SPEC, "--arch", "sm_80", "-o", pack)
        run("cmake", "-S", folder, "-B", build, self.where())
        run("cmake", "--build", build)
        os.unlink(pack)
        said = run(os.path.join(build, "embed"), ATTNC_LIBCUDA=self.library("libattnc-emu.so"))
        self.assertIn('"layer": "pack"', said)

    def test_pages(self):
        """Every relative link of an installed page leads to something."""
        root, pages = self.path("share", "doc", "attnc"), 0
        for folder, _, files in os.walk(root):
            for name in (n for n in files if n.endswith(".md")):
                pages += 1
                with open(os.path.join(folder, name), encoding="utf-8") as f:
                    for link in (m.group(1) for m in LINK.finditer(f.read())):
                        if "://" not in link:
                            self.assertTrue(os.path.exists(os.path.join(folder, link)),
                                            f"{os.path.join(folder, name)}: {link}")
        self.assertGreater(pages, 20)

    def test_manual_and_completions(self):
        with open(self.path("share", "man", "man1", "attnc.1"), encoding="utf-8") as f:
            page = f.read()
        for word in (".TH ATTNC 1", ".SS attnc run SPEC", "\\-\\-verify", "ATTNC_LIBCUDA",
                     ".SH EXIT STATUS"):
            self.assertIn(word, page)
        for parts, word in ((("bash-completion", "completions", "attnc"), "complete "),
                            (("zsh", "site-functions", "_attnc"), "#compdef attnc"),
                            (("fish", "vendor_completions.d", "attnc.fish"), "complete -c attnc")):
            with open(self.path("share", *parts), encoding="utf-8") as f:
                self.assertIn(word, f.read())

    def test_python(self):
        code = ("import attnc; c = attnc.Context('emu', cache='off'); "
                "print(c.plan('attnc: 1\\nname: x\\ndtype: bf16\\nhead_dim: 16\\n', "
                "'b1 h1 s16').info['layer'])")
        out = run(sys.executable, "-B", "-c", code,
                  PYTHONPATH=self.path("share", "attnc", "python"))
        self.assertEqual(out, "miss\n")

    def test_nothing_names_a_folder_of_the_build(self):
        """So that a prefix can be moved, and a package is the same wherever it is built."""
        for folder, _, files in os.walk(self.prefix):
            for path in (os.path.join(folder, n) for n in files):
                with open(path, "rb") as f:
                    data = f.read()
                for inner in (SOURCE, self.build(), "/opt/some where"):
                    self.assertNotIn(inner.encode(), data, path)


class Lib64(Prefix):
    """Built for a system whose libraries are in lib64."""
    libraries = "lib64"

    def where(self):
        """On Debian CMake looks for packages in lib, not in lib64."""
        return f"-Dattnc_DIR={self.library('cmake', 'attnc')}"

    @classmethod
    def build(cls):
        build = os.path.join(cls.dir, "lib64-build")
        if not os.path.exists(build):
            run("cmake", "-S", SOURCE, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                "-DBUILD_TESTING=OFF", "-DCMAKE_INSTALL_LIBDIR=lib64")
            run("cmake", "--build", build, "-j2")
        return build

    def test_fetch_content(self):
        folder = os.path.join(self.copied(), "fetch_content")
        build = os.path.join(folder, "build")
        run("cmake", "-S", folder, "-B", build, "-G", "Ninja", f"-DATTNC_SOURCE={SOURCE}")
        run("cmake", "--build", build, "-j2", "--target", "hello", "bundle")
        self.programs(build)
        self.assertNotIn("test_base", run("cmake", "--build", build, "--target", "help"))
        self.assertNotIn("attnc", run("cmake", "--install", build, "--prefix",
                                      os.path.join(folder, "prefix")))


if __name__ == "__main__":
    if "--all" not in sys.argv:
        del Lib64
    unittest.main(argv=sys.argv[:1])
