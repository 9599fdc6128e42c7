"""A client of these headers with a library whose tables have one more tensor, size, scalar and
schedule option, and a client of that library's headers with this one: each is served.

compat_test.py SOURCE BUILD: the other library is a copy of the tree, patched in its tables
alone and built; the client is client.c.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE, BUILD = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
SPEC = ["attnc: 1", "name: client", "dtype: fp16", "head_dim: 32", "causal: true",
        "return_lse: true", "specialize: [sq, strides]"]
LIBRARIES = ("attnc", "attnc_llvm", "attnc_emu")
LEFT_OUT = shutil.ignore_patterns("build", ".git", "out", "__pycache__")

# (file, the row behind which another one goes, that row): tables, and nothing else.
PATCHES = [
    ("include/attnc/attnc_rt.h", r'X\(MAX_ITEMS, max_items,[\s\\]*"[^"]*"\)',
     'X(EXTRAS, extras, "of a test")'),
    ("include/attnc/attnc_rt.h", r'X\(DSINK, "dsink", [^\n]*?\d\)',
     'X(EXTRA, "extra", "fwd:in", "fp32", "b extras", STRIDED, "group_size", 4)'),
    ("include/attnc/attnc_rt.h", r'X\(SOFTCAP, "softcap", [^\n]*?POSITIVE\)',
     'X(MORE, "more", "fwd", softmax_scale, ANY)'),
    ("templates/sched_wgmma.h", r'X\(private_epilogue, BOOL[^)]*?"\)',
     'X(another, BOOL, 0, 1, NULL, KEEP, "false", "Of a test.")'),
]


def patched(tree):
    for path, row, added in PATCHES:
        path = os.path.join(tree, path)
        with open(path, encoding="utf-8") as f:
            text, n = re.subn(row, lambda m: m.group(0) + " " + added, f.read(), count=1,
                              flags=re.S)
        if n != 1:
            raise SystemExit(f"{path}: no row like {row}: this test's patches are too old")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)


def build(tree):
    out = os.path.join(tree, "build", "release")
    os.makedirs(out)
    for command in (["cmake", "--preset", "release"],
                    ["cmake", "--build", "--preset", "release", "-j2", "--target", *LIBRARIES]):
        r = subprocess.run(command, cwd=tree, text=True, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT)
        if r.returncode:
            raise SystemExit(f"{' '.join(command)}: {r.stdout[-4000:]}")
    return out


class Compat(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.TemporaryDirectory()
        tree = os.path.join(cls.dir.name, "tree")
        shutil.copytree(SOURCE, tree, ignore=LEFT_OUT)
        patched(tree)
        cls.other = build(tree)
        cls.clients = {"this": cls.compiled(SOURCE, "this"), "other": cls.compiled(tree, "other")}
        cls.builds = {"this": BUILD, "other": cls.other}

    @classmethod
    def tearDownClass(cls):
        cls.dir.cleanup()

    @classmethod
    def compiled(cls, tree, name):
        """client.c with a tree's headers; which library it meets is the loader's choice."""
        out = os.path.join(cls.dir.name, name)
        subprocess.run([os.environ.get("CC", "cc"), "-std=gnu11", "-Wall", "-Werror", "-I",
                        os.path.join(tree, "include"), "-o", out,
                        os.path.join(SOURCE, "tests", "compat", "client.c"), "-L",
                        os.path.join(BUILD, "lib"), "-lattnc", "-lattnc_rt", "-ldl"], check=True)
        return out

    def run_client(self, client, library, spec=SPEC):
        folder = os.path.join(self.builds[library], "lib")
        emulator = os.path.join(folder, "libattnc-emu.so")
        return subprocess.run([self.clients[client], emulator, *spec], text=True,
                              env={**os.environ, "LD_LIBRARY_PATH": folder},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def test_each_with_each(self):
        said = {}
        for client in self.clients:
            for library in self.builds:
                r = self.run_client(client, library)
                self.assertEqual(r.returncode, 0, f"{client} with {library}: {r.stdout}")
                said[client, library] = r.stdout
        self.assertEqual(len(set(said.values())), 1, said)
        self.assertIn("verdict: PASS, 280 rows", said["this", "this"])

    def test_the_rows_are_there(self):
        """The other library is another one: what its rows say of a call is asked for."""
        spec = SPEC[:-1] + ["group_size: 2"]
        self.assertEqual(self.run_client("this", "this", spec).returncode, 0)
        r = self.run_client("this", "other", spec)
        self.assertEqual(r.returncode, 1, r.stdout)
        self.assertRegex(r.stdout, r"launch: ATTNC_ERR_USAGE: tensor extra \(slot \d+\)")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
