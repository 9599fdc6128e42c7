"""The tables of ctypes declarations against the headers they stand for."""
import ctypes as C
import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import common
import attnc
from attnc import _lib, errors, signature

INCLUDE = os.path.join(common.SOURCE, "include")


def header(*names):
    text = ""
    for name in names:
        with open(os.path.join(INCLUDE, "attnc", name), encoding="utf-8") as f:
            text += re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    return text


def prototypes(text):
    """{name: number of arguments} of each ATTNC_API function."""
    found = {}
    for m in re.finditer(r"^ATTNC_API\s[^;(]*?(attnc_\w+)\(([^;]*)\);", text, re.M):
        arguments = re.sub(r"\s+", " ", m.group(2)).strip()
        found[m.group(1)] = 0 if arguments == "void" else arguments.count(",") + 1
    return found


class Tables(common.Case):
    def test_every_function(self):
        wanted = prototypes(header("attnc_rt.h", "attnc.h"))
        self.assertGreater(len(wanted), 30)
        self.assertEqual(wanted, {n: len(f) - 1 for n, f in _lib.FUNCTIONS.items()})

    def test_statuses(self):
        table = re.search(r"#define ATTNC_STATUS_TABLE\(X\)((?:.*\\\n)*.*)",
                          header("attnc_rt.h")).group(1)
        names = ["ATTNC_" + n for n in re.findall(r"X\((\w+),", table)]
        self.assertEqual(names, [name for name, _ in errors.STATUSES])
        lib = _lib.library()
        for i, name in enumerate(names):
            self.assertEqual(lib.attnc_status_name(i).decode(), name)
        self.assertIsInstance(errors.make(len(names), "later"), errors.AttncError)

    def test_signature(self):
        """Every row of the header's tables: a call of a spec with all fields has them."""
        fields = dict(return_lse=True, return_o_lo=True, alibi_slopes="h", bias=dict(axes=["kv"], dtype="fp32"),
                      prefix_len=True, softcap=2.0, sink="fp32", mask_bits="new",
                      page_table="kv", block_list=dict(block=[64, 64]), dropout=True,
                      grad=["lse", "alibi_slopes", "bias", "sink"])
        field = attnc.schema()["properties"]["seqlens"]
        apart = ["cu_seqlens_k"]  # with page_table
        fields["seqlens"] = [n for n in field["items"]["enum"] if n not in apart]
        spec, tensors = attnc.load_spec({**common.CAUSAL, **fields, "rope": {"dim": 16}}), {}
        for op in signature.OPS:
            tensors.update(spec.signature_of(op).tensors)
        for pages in (False, True):  # what a prefix is made of; most of the fields exclude it
            prefix = attnc.load_spec({**common.CAUSAL, "shared_prefix": True, "page_table": pages})
            tensors.update(prefix.signature.tensors)
        tensors = dict(sorted(tensors.items(), key=lambda x: x[1]["slot"]))
        for table, rows in (("TENSOR", tensors), ("SCALAR", spec.signature.scalars)):
            text = re.search(rf"#define ATTNC_{table}_TABLE\(X\)((?:.*\\\n)*.*)",
                             header("attnc_rt.h")).group(1)
            named = re.findall(r'X\(\w+, "(\w+)"', text)
            self.assertEqual([n for n in named if n not in apart], list(rows))
            self.assertEqual([named[row["slot"]] for row in rows.values()], list(rows))
        ops = re.search(r"#define ATTNC_OP_TABLE\(X\)((?:.*\\\n)*.*)", header("attnc_rt.h")).group(1)
        self.assertEqual(tuple(re.findall(r'X\(\w+, "(\w+)"', ops)), signature.OPS)
        sizes = re.findall(r'X\(\w+, (\w+),[\s\\]*"', re.search(
            r"#define ATTNC_SIZE_TABLE\(X\)((?:.*\\\n)*.*)", header("attnc_rt.h")).group(1))
        self.assertEqual(sizes, list(attnc.Sizes._fields))

    def test_schedule_fields(self):
        """Those that a spec may pin are those there are."""
        fields = attnc.schedule_fields()
        said = attnc.schema()["definitions"]["schedule"]["properties"]
        self.assertEqual([n for n in said if n not in ("arch", "template")],
                         [f["name"] for f in fields])
        self.assertEqual([f["name"] for f in fields[:4]],
                         [n for n, _ in _lib.Schedule._fields_][2:6])

    @unittest.skipUnless(shutil.which("cc"), "no C compiler")
    def test_layouts(self):
        """Sizes and offsets by a C compiler."""
        lines, wanted = [], []
        for name, kind in _lib.C_NAMES.items():
            lines.append(f'printf("%zu\\n", sizeof({name}));')
            wanted.append(C.sizeof(kind))
            for field, *_ in kind._fields_:
                member = field.rstrip("_")
                lines.append(f'printf("%zu\\n", offsetof({name}, {member}));')
                wanted.append(getattr(kind, field).offset)
        with tempfile.TemporaryDirectory() as folder:
            source, program = (os.path.join(folder, n) for n in ("layout.c", "layout"))
            with open(source, "w", encoding="utf-8") as f:
                f.write("#include <attnc/attnc.h>\n#include <attnc/attnc_emu.h>\n"
                        "#include <stdio.h>\nint main(void) {\n" + "\n".join(lines) +
                        "\nreturn 0; }\n")
            subprocess.run(["cc", "-I", INCLUDE, source, "-o", program], check=True)
            text = subprocess.run([program], check=True, capture_output=True, text=True).stdout
        self.assertEqual([int(n) for n in text.split()], wanted)

    def test_missing_library(self):
        code = "import attnc; attnc.library_version()"
        r = subprocess.run(
            [os.sys.executable, "-c", code], capture_output=True, text=True,
            env={**os.environ, "ATTNC_LIBRARY": "/nowhere/libattnc.so",
                 "PYTHONPATH": os.path.join(common.SOURCE, "python")})
        self.assertNotEqual(r.returncode, 0)
        self.assertIn("ATTNC_LIBRARY", r.stderr)

    def test_needs_no_package(self):
        """Without numpy and torch in sight: import, a spec, a compile."""
        code = ("import sys; sys.modules['numpy'] = sys.modules['torch'] = None\n"
                "import attnc\n"
                f"assert 'ptx' in dir(attnc.compile({common.CAUSAL!r}, 'sm_80'))\n")
        subprocess.run([os.sys.executable, "-c", code], check=True, env={
            **os.environ, "PYTHONPATH": os.path.join(common.SOURCE, "python")})

    def test_missing_package(self):
        """A test that needs one is skipped, and with ATTNC_NEED_TORCH fails."""
        code = "import common; common.need('attnc_has_no_such_package')"
        for more, said in (({}, 77), ({"ATTNC_NEED_TORCH": "1"}, 1)):
            with tempfile.TemporaryDirectory() as folder:
                environment = {n: x for n, x in os.environ.items() if n != "ATTNC_NEED_TORCH"}
                r = subprocess.run([os.sys.executable, "-c", code], capture_output=True, check=False, env={
                    **environment, **more, "ATTNC_TORCH": folder,
                    "PYTHONPATH": os.path.join(common.SOURCE, "python", "tests")})
            self.assertEqual(r.returncode, said, r.stderr)

    def test_small_files(self):
        for path in glob.glob(os.path.join(common.SOURCE, "python", "attnc", "*.py")):
            with open(path, encoding="utf-8") as f:
                self.assertLess(len(f.readlines()), 400, path)


if __name__ == "__main__":
    common.main()
