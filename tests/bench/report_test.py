"""bench/report on results of its own making: tables, plots, a page written and checked, and
what it must notice."""
import contextlib
import importlib.machinery
import importlib.util
import io
import os
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ET

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(SOURCE, "bench"))
from kit import svg, tables  # noqa: E402
from kit.results import Results  # noqa: E402

loader = importlib.machinery.SourceFileLoader("report", os.path.join(SOURCE, "bench", "report"))
report = importlib.util.module_from_spec(importlib.util.spec_from_loader("report", loader))
loader.exec_module(report)

PAGE = """# Page

<!-- report cpu.compile -->
<!-- /report -->

Between.

<!-- report gpu.forward -->
old
<!-- /report -->
"""


def silent(function, *args):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        return function(*args), said.getvalue()


class Numbers(unittest.TestCase):
    def test_digits(self):
        for x, wanted in ((0, "0"), (0.00123, "0.00123"), (0.0999, "0.0999"), (1.234, "1.23"),
                          (12.34, "12.3"), (123.4, "123"), (1234, "1230"), (99999, "100000")):
            self.assertEqual(tables.digits(x), wanted)

    def test_quantities(self):
        for x, unit, wanted in ((0.0023, "ms", "2.30 us"), (1392, "ms", "1.39 s"),
                                (269484032, "bytes", "269 MB"), (0.386, "us", "386 ns"),
                                (5, "cycles", "5.00 cycles"), (0, "ms", "0 ms")):
            self.assertEqual(tables.quantity(x, unit), wanted)

    def test_steps(self):
        self.assertEqual(svg.steps(7), [0, 2, 4, 6, 8])
        self.assertEqual(svg.steps(100), [0, 20, 40, 60, 80, 100])
        self.assertEqual(svg.powers(512, 16384, 2), [2 ** i for i in range(9, 15)])
        self.assertEqual(svg.powers(0.3, 17, 10), [0.1, 1, 10, 100])


class Pages(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        tree, report.TREE = report.TREE, self.folder
        self.addCleanup(setattr, report, "TREE", tree)
        self.page = self.write("page.md", PAGE)
        self.cpu, self.gpu = self.cpu_file(2.0), self.gpu_file()

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as f:
            return f.read()

    def results(self, suite, name):
        return Results(suite, self.path(name), {"name": "device", "emulated": True}, {},
                       ["bench/x", "a b"], io.StringIO())

    def cpu_file(self, times):
        r = self.results("cpu", "cpu.json")
        with r.phase("process"):
            r.measure("attnc", {"to": "ptx"}, "time", "ms", [100, 102, 101])
            r.measure("nvcc", {"to": "ptx"}, "time", "ms", [101 * times])
            r.skip("triton", {}, "no Triton")
        with r.phase("memory"):
            r.fail("left out")
        return self.path("cpu.json")

    def gpu_file(self):
        r = self.results("gpu", "gpu.json")
        with r.phase("forward"):
            for sq, ours in ((512, 100), (1024, 400)):
                case = {"dtype": "bf16", "d": 128, "causal": True, "b": 16384 // sq, "sq": sq}
                for subject, x in (("attnc", ours), ("triton", 200), ("flex", 150)):
                    r.measure(subject, case, "time", "ms", [1], {"tflops": x})
        with r.phase("memory"):
            for subject, n in (("attnc", 1e9), ("standard", 4e9)):
                for metric in ("memory", "memory_peak"):
                    r.measure(subject, {"sq": 512, "d": 128}, metric, "bytes", [n])
        with r.phase("latency"):
            for subject, ms in (("attnc", 200), ("flex", 9000)):
                r.measure(subject, {"start": "cold"}, "time", "ms", [ms])
        return self.path("gpu.json")

    def test_blocks(self):
        (text, plots, _), = report.blocks_of(self.cpu).values()
        self.assertIn("| attnc | 101 ms ± 0.99 % | 1.00 × | – |", text)
        self.assertIn("| nvcc -ptx | 202 ms ± 0 % | 2.00 × | – |", text)
        self.assertIn("Not measured: Triton: no Triton.", text)
        self.assertEqual(list(plots), ["cpu-compile-process"])
        blocks = report.blocks_of(self.gpu)
        self.assertEqual(list(blocks), ["gpu.forward", "gpu.behind", "gpu.latency",
                                        "gpu.memory", "gpu.peak"])
        self.assertIn("| 512 | 1.00 GB | 4.00 GB | 4.00 × |", blocks["gpu.memory"][0])
        self.assertIn("| 512 | 1.00 GB | 4.00 GB |", blocks["gpu.peak"][0])
        self.assertIn("| 512 | 100 | 200 | 150 | 0.500 × |", blocks["gpu.forward"][0])
        self.assertIn("ahead of the best peer in 1 of 2 cells; over all of them, 1.00 ×",
                      blocks["gpu.behind"][0])
        self.assertIn("| forward: bf16, d 128, causal | 512 | Triton | 0.500 × |",
                      blocks["gpu.behind"][0])
        self.assertIn("| FlexAttention | 9.00 s ± 0 % |", blocks["gpu.latency"][0])

    def test_plots_are_xml(self):
        for path in (self.cpu, self.gpu):
            for _, plots, _ in report.blocks_of(path).values():
                for text in plots.values():
                    root = ET.fromstring(text)
                    self.assertTrue(root.find("{http://www.w3.org/2000/svg}title").text)

    def test_write_and_check(self):
        code, said = silent(report.check, self.page)
        self.assertEqual(code, 1)
        self.assertIn("cpu.compile is of no result file", said)
        report.write(self.page, [self.cpu, self.gpu])
        text = self.read("page.md")
        self.assertIn("<!-- report cpu.compile cpu.json -->", text)
        self.assertIn("![attnc: 101 ms; nvcc -ptx: 202 ms](page/cpu-compile-process.svg)", text)
        self.assertIn("`bench/x 'a b'`", text)
        self.assertNotIn("\nold\n", text)
        self.assertIn("\n\nBetween.\n\n", text)
        self.assertEqual(silent(report.check, self.page)[0], 0)
        report.write(self.page, [self.gpu])
        self.assertEqual(self.read("page.md"), text)

    def test_what_check_notices(self):
        report.write(self.page, [self.cpu, self.gpu])
        good = self.read("page.md")
        self.write("page.md", good.replace("101 ms", "10 ms"))
        self.assertEqual(silent(report.check, self.page)[0], 1)
        self.write("page.md", good)
        plot = os.path.join("page", "cpu-compile-process.svg")
        self.write(plot, self.read(plot) + " ")
        self.assertEqual(silent(report.check, self.page)[0], 1)
        report.write(self.page, [self.cpu])
        self.assertEqual(silent(report.check, self.page)[0], 0)
        self.cpu_file(3.0)
        self.assertEqual(silent(report.check, self.page)[0], 1)

    def test_committed_page(self):
        page = os.path.join(SOURCE, "docs", "performance.md")
        report.TREE = SOURCE
        if not os.path.exists(page):
            self.skipTest("no docs/performance.md")
        code, said = silent(report.check, page)
        self.assertEqual(code, 0, said)


if __name__ == "__main__":
    unittest.main()
