"""Tests of scripts/reproduce, plots/papers.py and their data: what a figure says is in its run, the
published numbers are whole, one figure's fault costs no other, and a second run repeats nothing.

/usr/bin/python3 tests/test_papers.py
"""

import contextlib
import csv
import io
import os
import re
import shutil
import sys
import tempfile
import unittest
from unittest import mock

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(ROOT, "plots"), os.path.join(ROOT, "scripts"), HERE]
sys.dont_write_bytecode = True
import fake_run  # noqa: E402
import papers  # noqa: E402
from ldbload import load_script  # noqa: E402
from ldbstyle import Style  # noqa: E402

reproduce = load_script("reproduce")
KINDS = {"size_vs_latency", "latency_vs_size", "phases", "key_bits", "curves", "grid", "winners",
         "hardness", "segments", "counts"}


class Needs(unittest.TestCase):
    def test_what_a_config_needs(self):
        text = "dataset = coast, books_like\nkey-bits = 32, 64\n"
        self.assertEqual(reproduce.ldbneeds.real_sets(text), ["coast"])
        self.assertTrue(reproduce.ldbneeds.wants_bits32(text))
        for other in ("key-bits = 64\n", "size = 32\n", "dataset = coastline\nreps = 32\n"):
            self.assertFalse(reproduce.ldbneeds.wants_bits32(other), other)
            self.assertEqual(reproduce.ldbneeds.real_sets(other), [], other)


def run_main(*arguments, **patches):
    """(exit code, stdout, stderr) of the script."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(sys, "argv", ["reproduce", *arguments]))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        for name, value in patches.items():
            stack.enter_context(mock.patch.object(papers, name, value))
        code = reproduce.main()
    return code, out.getvalue(), err.getvalue()


def texts(path):
    with open(path, encoding="utf-8") as file:
        return re.sub(r"<[^>]*>", "\n", file.read())


class Registry(unittest.TestCase):
    def test_each_figure_is_whole(self):
        for name, section in papers.registry().items():
            self.assertTrue(section["title"] and section["paper"], name)
            self.assertIn(section["plot"], KINDS, name)
            needed = {"curves": ("x", "y"), "grid": ("rows", "columns", "value"),
                      "segments": ("inspect", "epsilons")}.get(section["plot"], ())
            for key in needed:
                self.assertIn(key, section, name)

    def test_configs_and_figures_belong_together(self):
        runs = {s["run"] for s in papers.registry().values() if "run" in s}
        configs = {f[:-4] for f in os.listdir(reproduce.CONFIGS) if f.endswith(".ini")}
        self.assertEqual(configs - runs, set())
        self.assertEqual(runs - configs, set())

    def test_every_figure_is_on_the_page(self):
        with open(os.path.join(ROOT, "docs", "papers.md"), encoding="utf-8") as file:
            page = file.read()
        for name in papers.registry():
            self.assertIn(f"`{name}`", page)

    def test_an_unknown_figure_gets_the_nearest_name(self):
        code, _, err = run_main("sosd-parto")
        self.assertEqual(code, 2)
        self.assertIn("unknown FIG 'sosd-parto'; did you mean 'sosd-pareto'?", err)
        code, out, _ = run_main("list")
        self.assertEqual(code, 0)
        self.assertEqual([line.split()[0] for line in out.splitlines()], list(papers.registry()))


class Published(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(papers.PUBLISHED, encoding="utf-8", newline="") as file:
            cls.rows = list(csv.DictReader(file))

    def test_rows_are_whole_and_said_once(self):
        keys = [tuple(r[c] for c in ("figure", "machine", "dataset", "index", "quantity"))
                for r in self.rows]
        self.assertEqual(len(keys), len(set(keys)))
        for r in self.rows:
            self.assertTrue(all(r.values()), r)
            self.assertGreater(float(r["value"]), 0)
            self.assertGreater(int(r["n"]), 1_000_000)
            self.assertEqual({"latency": "ns", "size": "MB", "build": "ns per key"}[r["quantity"]],
                             r["unit"])

    def test_the_speed_ups_that_the_rmi_table_prints_itself(self):
        value = {(r["dataset"], r["index"]): float(r["value"]) for r in self.rows
                 if r["figure"] == "rmi-figure-4" and r["quantity"] == "latency"}
        printed = {"maps": (2.70, 3.11, 3.21, 3.08), "web": (1.17, 1.60, 1.81, 2.07),
                   "lognormal": (1.47, 1.62, 1.73, 1.79)}
        for dataset, ratios in printed.items():
            for leaves, ratio in zip((10, 50, 100, 200), ratios):
                ours = (value[dataset, "btree_paged:page=128"]
                        / value[dataset, f"rmi_classic:leaves={leaves}000"])
                self.assertAlmostEqual(ours, ratio, delta=0.025)

    def test_figures_that_show_published_numbers_find_them(self):
        known = {r["figure"] for r in self.rows}
        for name, section in papers.registry().items():
            if "published" in section:
                self.assertIn(section["published"], known, name)


class Scaling(unittest.TestCase):
    def test_sizes(self):
        for text, scale, wanted in (
                ("10M", 20, "200000000"), ("1K..10M, 30M", 2, "2000..20000000, 60000000"),
                ("10K, 1M, max", 20, "200000, 20000000, max"), ("10M", 0.001, "10000"),
                ("1K..10M, max", 0.001, "1000..10000, 10000"), ("1.5M", 2, "3000000")):
            self.assertEqual(reproduce.scaled_size(text, scale), wanted)

    def config(self, **more):
        options = dict(scale=1, originals=False, quick=False)
        return reproduce.config_text("gre", mock.Mock(**{**options, **more}))

    def test_configs(self):
        with open(os.path.join(reproduce.CONFIGS, "gre.ini"), encoding="utf-8") as file:
            self.assertEqual(self.config(), file.read())
        self.assertRegex(self.config(scale=10), r"(?m)^ops = 2000000$")
        self.assertRegex(self.config(originals=True), r"dataset = uniform_sparse, books, fb, osm_c")
        self.assertNotRegex(self.config(quick=True, scale=0.001), r"(?m)^reps")

    def test_two_configurations_do_not_mix(self):
        with tempfile.TemporaryDirectory() as folder:
            options = mock.Mock(scale=1, originals=False, quick=False)
            reproduce.write_config("gre", folder, options)
            reproduce.write_config("gre", folder, options)
            options.scale = 2
            reproduce.write_config("gre", folder, options)  # nothing was measured yet
            open(os.path.join(folder, "samples.csv"), "w", encoding="utf-8").close()
            options.scale = 3
            with self.assertRaisesRegex(reproduce.Failed, "choose another OUT"):
                reproduce.write_config("gre", folder, options)


class Fields(unittest.TestCase):
    """A fake run: numbers come from a formula, and each figure must say just those."""

    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        fake_run.write_fake(cls.dir, sizes=(1000, 1_000_000), modes=("independent",))
        reproduce.subprocess.run([sys.executable, os.path.join(ROOT, "scripts", "summarize"),
                                  cls.dir], check=True, stdout=reproduce.subprocess.DEVNULL)
        cls.run_ = papers.read_run(cls.dir)
        cls.point = next(p for p in cls.run_.points if p.name == "rmi" and p.n == 1_000_000)

    def field(self, name, point=None):
        return papers.field(self.run_, point or self.point, name)

    def draw(self, **section):
        path = os.path.join(self.dir, "figure")
        papers.draw({"title": "A title", "paper": "A paper", **section}, self.dir, Style(), path)
        return texts(path + ".svg")

    def test_fields(self):
        self.assertEqual(self.field("dataset"), self.point.dataset)
        self.assertEqual(self.field("n"), 1_000_000)
        self.assertEqual(self.field("params.root"), "auto")
        self.assertEqual(self.field("params.leaves"), 0)
        self.assertEqual(self.field("note.learned"), 1)
        self.assertIsNone(self.field("params.no"))
        self.assertIsNone(self.field("note.no"))
        self.assertIsNone(self.field("instructions"))  # empty in the table: not known, not 0
        self.assertAlmostEqual(self.field("mops") * self.point.median, 1000)
        value, low, high = papers.interval(self.run_, self.point, "mops")
        self.assertTrue(low <= value <= high)

    def test_numbers_and_texts(self):
        self.assertEqual([papers.number(t) for t in ("10K", "2.5", "x", "M")], [10000, 2.5, "x", "M"])
        self.assertEqual(papers.text_of("rmi:leaves=10000", Style()), "RMI 10K leaves")
        self.assertEqual([papers.text_of(v) for v in ("rmi", 10000.0, 0.25, 5)],
                         ["rmi", "10K", "0.25", "5"])
        self.assertEqual(papers.in_order([10, 2, "b", "a", None, 2]), [2, 10, "b", "a"])

    def test_conditions(self):
        points = self.run_.points
        self.assertEqual(papers.matching(self.run_, points, ""), points)
        some = papers.matching(self.run_, points, "name=rmi|pgm n=1K")
        self.assertEqual({(p.name, p.n) for p in some}, {("rmi", 1000), ("pgm", 1000)})

    def test_curves(self):
        said = self.draw(plot="curves", x="n", y="median_ns", x_text="the keys", y_text="ns")
        for text in ("A title", "coast", "RMI", "the keys", "1M"):
            self.assertIn(text, said)

    def test_a_grid_says_the_medians_and_the_published(self):
        said = self.draw(plot="grid", rows="name", columns="dataset", value="median_ns",
                         where="n=1M", published="sosd-leaderboard", quantity="latency")
        for p in self.run_.points:
            if p.n == 1_000_000 and p.name != "null":
                self.assertIn(papers.value_text(p.median), said)
        self.assertIn("another machine: AWS m5zn.metal, 200M keys", said)
        self.assertIn("685", said)  # binary search on books, published

    def test_who_is_ahead(self):
        papers.draw({"title": "t", "plot": "winners"}, self.dir, Style(),
                    os.path.join(self.dir, "map"))
        said = texts(os.path.join(self.dir, "map.svg"))
        for n in (1000, 1_000_000):
            here = [p for p in self.run_.points if p.n == n and p.dataset == "coast"
                    and p.name != "null"]
            best, other, times, _ = papers.ahead(self.run_, here)
            self.assertEqual(best.median, min(p.median for p in here))
            self.assertNotEqual(best.learned, other.learned)
            self.assertAlmostEqual(times, other.median / best.median, delta=0.05 * times)
            self.assertIn(f"{times:.2f}x", said)

    def test_a_figure_without_its_cells_says_so(self):
        with self.assertRaisesRegex(papers.ldbresults.ResultsError, "no whole cell"):
            self.draw(plot="curves", x="n", y="median_ns", where="name=nobody")
        with self.assertRaisesRegex(papers.ldbresults.ResultsError, "params.theta"):
            self.draw(plot="curves", x="params.theta", y="median_ns")


class EndToEnd(unittest.TestCase):
    """The quick form, with the driver: not a measurement."""

    def test_some_figures_twice_and_a_failing_one(self):
        sections = papers.registry()
        chosen = {"lost": dict(sections["sosd-size"], run="no-such-config"),
                  "pgm-segments": dict(sections["pgm-segments"], inspect="osm_like@10M lognormal@1M"),
                  **{n: sections[n] for n in ("alex-scan", "sosd-threads")}}
        with tempfile.TemporaryDirectory() as out:
            code, said, _ = run_main("--quick", "--out", out, registry=lambda: chosen)
            self.assertEqual(code, 1, said)
            self.assertIn("3 figures made, 1 failed", said)
            self.assertIn("no-such-config.ini: No such file", said)
            for name in list(chosen)[1:]:
                with open(os.path.join(out, name + ".png"), "rb") as file:
                    self.assertEqual(file.read(8), b"\x89PNG\r\n\x1a\n")
            with open(os.path.join(out, "README.md"), encoding="utf-8") as file:
                index = file.read()
            self.assertIn("Nothing here is a measurement", index)
            self.assertIn("(alex-scan.png)", index)
            self.assertNotIn("lost", index)
            samples = os.path.join(out, "alex-scan", "samples.csv")
            before = os.path.getsize(samples)
            code, said, _ = run_main("--quick", "--out", out, "alex-scan", registry=lambda: chosen)
            self.assertEqual((code, os.path.getsize(samples)), (0, before), said)


if __name__ == "__main__":
    unittest.main()
