"""The binary interface: what the headers declare, what the version scripts list and what the
libraries show are the same functions.

abi_test.py SOURCE NM LIBATTNC LIBATTNC_RT
"""
import os
import re
import subprocess
import sys
import unittest

SOURCE, NM, *LIBRARIES = sys.argv[1:]
NAMES = ("attnc", "attnc_rt")


def text(*path):
    with open(os.path.join(SOURCE, *path), encoding="utf-8") as f:
        return f.read()


def declared(name):
    """The functions of a public header."""
    found = re.findall(r"^ATTNC_API\s[^;]*?\b(attnc_\w+)\s*\(", text("include", "attnc", f"{name}.h"), re.M)
    return sorted(found)


def listed(name):
    """{node: its functions} of a version script."""
    script = text("scripts", f"{name}.map")
    return {node: re.findall(r"^  (\w+);", body, re.M)
            for node, body in re.findall(r"^(ATTNC_[\w.@]+) \{(.*?)^\};", script, re.M | re.S)}


def shown(library):
    said = subprocess.run([NM, "-D", "--defined-only", library], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    return re.findall(r" T (\w+)@@(\S+)", said)


class Abi(unittest.TestCase):
    def test_headers_and_scripts(self):
        for name in NAMES:
            public = [f for node, fs in listed(name).items() for f in fs if "PRIVATE" not in node]
            self.assertEqual(sorted(public), declared(name), name)
            self.assertGreater(len(public), 10)

    def test_nodes(self):
        """A function stands under the version that it came with, in order."""
        for name in NAMES:
            for node, functions in listed(name).items():
                self.assertEqual(functions, sorted(functions), node)
                self.assertRegex(node, r"\AATTNC_(\d+\.\d+|PRIVATE_@attnc_VERSION@)\Z")

    def test_libraries(self):
        for name, library in zip(NAMES, LIBRARIES):
            scripts = {(f, node) for node, fs in listed(name).items() for f in fs}
            there = {(f, re.sub(r"PRIVATE_[\d.]+", "PRIVATE_@attnc_VERSION@", node))
                     for f, node in shown(library)}
            self.assertEqual(there, scripts, name)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
