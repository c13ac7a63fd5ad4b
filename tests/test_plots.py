"""Tests of scripts/figures and plots/: the files exist, say what they must, and mix no modes.

/usr/bin/python3 -m unittest discover -s tests -p 'test_plots.py'
"""

import csv
import dataclasses
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(ROOT, "plots"))
sys.path.insert(0, os.path.join(ROOT, "scripts"))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
import cases  # noqa: E402
import demo  # noqa: E402
import fake_run  # noqa: E402
import ldbplot  # noqa: E402
import ldbresults  # noqa: E402
import phases  # noqa: E402
import size_vs_latency  # noqa: E402
import timeline  # noqa: E402
from ldbstyle import Style  # noqa: E402

MODES = ("chained", "independent", "batched")
FIGURES = ("latency-vs-size", "latency-vs-size-gnuplot", "size-vs-latency",
           "size-vs-latency-gnuplot")


def png_size(path):
    """(width, height) of a PNG, by its header; fails when the file is none or is cut."""
    with open(path, "rb") as file:
        data = file.read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[-8:-4] == b"IEND", path
    return struct.unpack(">II", data[16:24])


def svg_texts(path):
    """All texts of an SVG, one string for each text element."""
    root = xml.etree.ElementTree.parse(path).getroot()
    return ["".join(e.itertext()).strip() for e in root.iter() if e.tag.endswith("}text")]


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def run_figures(*arguments):
    command = [sys.executable, "-B", os.path.join(ROOT, "scripts", "figures"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.prepare()

    @classmethod
    def prepare(cls):
        pass

    def path(self, name):
        return os.path.join(self.dir, name)

    def has_text(self, name, wanted):
        texts = svg_texts(self.path(name))
        self.assertTrue(any(wanted in t for t in texts), f"{name}: no text '{wanted}'")


class Bars(Base):
    """A run of Q6: one bar for each competitor, the slowest at the bottom."""

    @classmethod
    def prepare(cls):
        script = os.path.join(ROOT, "tests", "fake_run.py")
        subprocess.run([sys.executable, "-B", script, cls.dir, "--datasets", "uniform,coast",
                        "--modes", "independent", "--sizes", "1000000"], check=True)
        samples = os.path.join(cls.dir, "samples.csv")
        text = read(samples).replace("fake,index,", "fake,q6,")
        with open(samples, "w", encoding="utf-8") as file:
            file.write(text)
        cls.done = run_figures(cls.dir)

    def test_a_bar_each_and_no_other_figure(self):
        self.assertEqual(self.done.returncode, 0, self.done.stderr)
        self.assertEqual({os.path.basename(p) for p in self.done.stdout.split()},
                         {"q6.png", "q6.svg"})
        for dataset in ("uniform", "coast"):
            bars = [line for line in read(self.path("q6.svg")).split("\n")
                    if f'id="bar/{dataset}/' in line]
            self.assertEqual(len(bars), len(fake_run.MODELS))
            self.assertIn("bsearch", bars[0])  # drawn from the bottom
        for text in ("binary search", "RMI", "uniform, 1M rows", "filled: learned"):
            self.has_text("q6.svg", text)
        self.assertGreater(min(png_size(self.path("q6.png"))), 500)


class Joins(Base):
    """A run of joins: the figure of their phases beside that of the cases."""

    @classmethod
    def prepare(cls):
        script = os.path.join(ROOT, "tests", "fake_run.py")
        subprocess.run([sys.executable, "-B", script, cls.dir, "--datasets", "uniform,coast",
                        "--modes", "independent", "--sizes", "1000000"], check=True)
        samples = os.path.join(cls.dir, "samples.csv")
        text = read(samples).replace("fake,index,", "fake,join,").replace(",independent,", ",count,")
        text = text.replace("session=1", "session=1; phases=1/0/2.5/4")
        with open(samples, "w", encoding="utf-8") as file:
            file.write(text)
        cls.done = run_figures(cls.dir)

    def test_phases(self):
        self.assertEqual(self.done.returncode, 0, self.done.stderr)
        listed = {os.path.basename(p) for p in self.done.stdout.split()}
        self.assertLessEqual({"phases.png", "phases.svg", "join-by-case.png"}, listed)
        for text in ("model", "partition", "build", "probe", "binary search", "RMI", "7.5",
                     "1M build keys", "each panel has a scale of its own"):
            self.has_text("phases.svg", text)
        self.assertGreater(min(png_size(self.path("phases.png"))), 350)

    def test_medians_of_the_rounds(self):
        row = {"status": "ok", "dataset": "d", "n": "1", "workload": "w", "mode": "count",
               "threads": "1", "name": "a", "params": ""}
        rows = [row | {"note": {"phases": text}} for text in ("1/2/3/4", "9/0/3/8", "2/1/3/6")]
        found = phases.medians([*rows, row | {"status": "wrong", "note": {"phases": "9/9/9/9"}},
                                row | {"note": {}}])
        self.assertEqual(list(found.values()), [[2, 1, 3, 6]])

    def test_fastest_with_a_model_and_without(self):
        bars = [(("inl", "index=art"), [0, 0, 0, 5]), (("inl", "index=btree"), [1, 0, 0, 3]),
                (("inl", "index=rmi"), [3, 0, 0, 3])]
        learned = {key: "rmi" in key[1] for key, _ in bars}
        self.assertEqual(phases.fastest(bars, learned), bars[1:])


class Widths(Base):
    """A run with keys of both widths: one figure of the pairs, beside those of each width."""

    @classmethod
    def prepare(cls):
        fake_run.write_fake(cls.dir, reps=8, datasets=("uniform",), modes=("chained", "batched"),
                            sizes=(10_000_000,))
        samples = os.path.join(cls.dir, "samples.csv")
        with open(samples, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        with open(samples, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            for row in rows:
                writer.writerow(row)
                writer.writerow({**row, "key_bits": "32", "params": row["params"] + ";node=16",
                                 "ns_per_op": str(0.75 * float(row["ns_per_op"]))})
        cls.done = run_figures(cls.dir)

    def test_pairs(self):
        self.assertEqual(self.done.returncode, 0, self.done.stderr)
        listed = {os.path.basename(p) for p in self.done.stdout.split()}
        self.assertLessEqual({"key-bits.png", "key-bits.svg", "latency-vs-size.png",
                              "latency-vs-size-key-64.png"}, listed)
        texts = svg_texts(self.path("key-bits.svg"))
        for text in ("keys of 32 against 64 bits", "uniform, 10M keys, chained",
                     "uniform, 10M keys, batched", "RMI", "B-tree", "filled: 32 bits"):
            self.has_text("key-bits.svg", text)
        self.assertEqual(texts.count("0.75"), 5 * 2)  # the floor is none of them
        self.assertGreater(min(png_size(self.path("key-bits.png"))), 500)
        self.has_text("latency-vs-size.svg", "32-bit keys")


class Updates(Base):
    """A run of cases: one figure of them all, and one of throughput over time."""

    @classmethod
    def prepare(cls):
        fake_run.write_fake_updates(cls.dir, reps=8)
        cls.done = run_figures(cls.dir)

    def test_cases_and_timeline_and_no_other(self):
        self.assertEqual(self.done.returncode, 0, self.done.stderr)
        listed = {os.path.basename(p) for p in self.done.stdout.split()}
        names = ("mixed-by-case", "timeline")
        self.assertEqual(listed, {f"{n}{kind}.{e}" for n in names for kind in ("", "-gnuplot")
                                  for e in ("png", "svg")})
        for name in listed:
            if name.endswith(".png"):
                self.assertGreater(min(png_size(self.path(name))), 500)

    def test_texts(self):
        for kind in ("", "-gnuplot"):
            for text in (*fake_run.CASES, "ns per operation", "coast, 7.14M keys", "RMI", "B-tree"):
                self.has_text(f"mixed-by-case{kind}.svg", text)
            for text in ("seconds", "million operations per second", "slots of 100 ms", "RMI"):
                self.has_text(f"timeline{kind}.svg", text)

    def test_a_case_has_a_dot_for_each(self):
        points = ldbplot.read_summary(self.dir)
        drawn = cases.figure(points, {}, Style())
        (_, row), = drawn.rows
        for panel in row:
            self.assertEqual(set(panel.lines), set(fake_run.MODELS))
            for name, dots in panel.lines.items():
                self.assertEqual([round(d.x) for d in dots], [1, 2, 3], name)
                self.assertTrue(dots[0].y < dots[1].y < dots[2].y, name)

    def test_a_stall_is_seen(self):
        (_, drawn), = timeline.figures(self.dir, {}, Style())
        (_, (panel, _)), = drawn.rows
        self.assertEqual([d.x for d in panel.lines["rmi"] if d.y == 0], [0.75])
        self.assertFalse([d for d in panel.lines["btree"] if d.y < 4])
        self.assertEqual(len(panel.lines["btree"]), 30)  # of one repetition

    def test_short_passes_have_no_timeline(self):
        folder = self.path("short")
        fake_run.write_fake_updates(folder, reps=1, slots=timeline.FEWEST_SLOTS - 1)
        self.assertEqual(list(timeline.figures(folder, {}, Style())), [])


class Figures(Base):
    @classmethod
    def prepare(cls):
        fake_run.write_fake(cls.dir, reps=8, sizes=(1000, 100_000, 10_000_000))
        cls.done = run_figures(cls.dir)

    def test_all_are_drawn(self):
        self.assertEqual(self.done.returncode, 0, self.done.stderr)
        listed = {os.path.basename(p) for p in self.done.stdout.split()}
        self.assertEqual(listed, {f"{f}.{e}" for f in FIGURES for e in ("png", "svg")})

    def test_png_sizes(self):
        for name in FIGURES:
            width, height = png_size(self.path(name + ".png"))
            self.assertTrue(1100 <= width <= 1200, (name, width))  # two columns at 150 dpi
            self.assertTrue(1300 <= height <= 1600, (name, height))  # three rows
            self.assertGreater(os.path.getsize(self.path(name + ".png")), 30_000)

    def test_texts(self):
        style = Style()
        labels = [style.competitor(n).label for n in fake_run.MODELS if n != "null"]
        for name in FIGURES:
            for text in (*labels, "ns per lookup", "FAKE machine", "2000-01-01", "1 thread",
                         "Time per lookup against"):
                self.has_text(name + ".svg", text)
        for name in FIGURES[:2]:
            for text in ("Number of keys", "1K", "10M", "L2", "L3", "hollow", "95 % intervals",
                         "harness cost"):
                self.has_text(name + ".svg", text)
        for name in FIGURES[2:]:
            for text in ("Index size", "MiB", "10M keys", "none", "10 %", "large markers",
                         "hollow"):
                self.has_text(name + ".svg", text)

    def test_every_panel_is_there_and_names_its_mode(self):
        for name in FIGURES:
            texts = svg_texts(self.path(name + ".svg"))
            for mode in MODES:
                for dataset in ("uniform", "coast"):
                    titles = [t for t in texts if t.startswith(dataset) and t.endswith(mode)]
                    self.assertEqual(len(titles), 1, (name, dataset, mode))

    def test_no_panel_mixes_modes(self):
        root = xml.etree.ElementTree.parse(self.path("latency-vs-size.svg")).getroot()
        seen = 0
        for panel in root.iter():
            if not panel.get("id", "").startswith("panel/"):
                continue
            where = panel.get("id").split("/")[1:]
            inside = [e.get("id") for e in panel.iter() if e.get("id", "").startswith("series/")]
            self.assertEqual(len(inside), len(fake_run.MODELS) - 1)
            for series in inside:
                self.assertEqual(series.split("/")[1:3], where)
                seen += 1
        self.assertEqual(seen, 6 * (len(fake_run.MODELS) - 1))

    def test_fallback_is_hollow_in_batched_only(self):
        panels = re.split(r'<g id="panel/', read(self.path("latency-vs-size.svg")))[1:]
        for panel in panels:
            mode = panel.split("/")[0]
            hollow = "fill: #ffffff; stroke: #d55e00" in panel
            self.assertEqual(hollow, mode == "batched", mode)

    def test_same_input_same_svg(self):
        before = read(self.path("latency-vs-size.svg"))
        self.assertEqual(run_figures(self.dir).returncode, 0)
        self.assertEqual(before, read(self.path("latency-vs-size.svg")))


class Pareto(Base):
    """All settings of a competitor are in the figure of sizes, and the front is marked."""

    @classmethod
    def prepare(cls):
        fake_run.write_fake(cls.dir, reps=8, sizes=(1000, 1_000_000), modes=("chained",))
        samples = os.path.join(cls.dir, "samples.csv")
        text = read(samples)
        smaller = []  # a second setting: a quarter of the size, half as fast
        for row in ldbresults.read_samples(samples)[0]:
            if row["name"] == "rmi":
                line = next(t for t in text.splitlines() if f",{row['ns_per_op']:.4f}," in t)
                fields = line.split(",")
                for column, factor in (("ns_per_op", 2), ("index_bytes", 0.25)):
                    at = ldbresults.COLUMNS.index(column)
                    fields[at] = str(float(fields[at]) * factor)
                fields[ldbresults.COLUMNS.index("params")] = "leaves=1;root=auto"
                smaller.append(",".join(fields))
        with open(samples, "a", encoding="utf-8") as file:
            file.write("\n".join(smaller) + "\n")
        assert run_figures(cls.dir).returncode == 0
        style = Style()
        cls.points = ldbplot.read_summary(cls.dir)
        cls.figure = size_vs_latency.figure(cls.points, ldbresults.read_run(cls.dir), style)

    def test_every_setting_at_the_largest_size(self):
        (_, row), = self.figure.rows
        self.assertEqual([p.dataset for p in row], ["uniform", "coast"])
        for panel in row:
            self.assertEqual({n: len(dots) for n, dots in panel.lines.items()},
                             {n: 2 if n == "rmi" else 1 for n in fake_run.MODELS if n != "null"})

    def test_front_is_what_has_large_markers(self):
        (_, row), = self.figure.rows
        for panel in row:
            dots = [d for line in panel.lines.values() for d in line]
            best = [d for d in dots if not any(
                o is not d and o.x <= d.x and o.y <= d.y for o in dots)]
            large = max(d.size for d in dots)
            self.assertEqual({(d.x, d.y) for d in dots if d.size == large},
                             {(d.x, d.y) for d in best})
            self.assertEqual(panel.steps[:-1], sorted((d.x, d.y) for d in best))
            self.assertEqual(panel.steps[-1], (self.figure.x_limits[1], panel.steps[-2][1]))

    def test_marks_are_shares_of_the_keys(self):
        (_, row), = self.figure.rows
        for panel in row:
            self.assertEqual(panel.marks, [(800_000, "10 %"), (8_000_000, "100 %")])

    def test_no_size_no_figure(self):
        points = [dataclasses.replace(p, row={**p.row, "index_bytes": ""}) for p in self.points]
        self.assertIsNone(size_vs_latency.figure(points, {}, Style()))


class Slices(Base):
    """Two workloads and two thread counts in one run are four figures, not one."""

    @classmethod
    def prepare(cls):
        fake_run.write_fake(cls.dir, reps=8, sizes=(1000, 100_000), datasets=("uniform",),
                            modes=("chained",))
        samples = os.path.join(cls.dir, "samples.csv")
        with open(samples, encoding="utf-8") as file:
            lines = file.read().splitlines()
        zipf = [t.replace(",uniform,chained,1,", ",zipf,chained,2,") for t in lines[1:]]
        with open(samples, "a", encoding="utf-8") as file:
            file.write("\n".join(zipf[: len(zipf) // 2]) + "\n")

    def test_one_figure_each(self):
        done = run_figures(self.dir)
        self.assertEqual(done.returncode, 0, done.stderr)
        suffix = "-workload-zipf-threads-2"
        self.assertTrue(os.path.exists(self.path(f"latency-vs-size{suffix}.png")))
        self.assertTrue(os.path.exists(self.path(f"latency-vs-size{suffix}-gnuplot.svg")))
        self.has_text(f"latency-vs-size{suffix}.svg", "zipf lookups, 2 threads")
        texts = svg_texts(self.path("latency-vs-size.svg"))
        self.assertFalse(any("zipf" in t for t in texts))


class Demo(Base):
    @classmethod
    def prepare(cls):
        fake_run.write_fake(cls.dir, reps=8, modes=("chained", "independent"),
                            datasets=("uniform",))

    def draw(self, *more):
        done = run_figures("--demo", self.dir, *more)
        self.assertEqual(done.returncode, 0, done.stderr)
        return svg_texts(self.path("demo.svg"))

    def cells(self):
        rows, _ = ldbresults.read_samples(self.path("samples.csv"))
        return ldbresults.build_cells(rows)

    def test_size_and_texts(self):
        texts = self.draw()
        self.assertEqual(png_size(self.path("demo.png")), (1920, 1080))
        for wanted in ("Number of keys", "Lookup latency (ns)", "10M", "FAKE machine", "chained",
                       "Dataset uniform", "strong baselines"):
            self.assertTrue(any(wanted in t for t in texts), wanted)
        for label in ("B-tree", "RMI"):
            self.assertTrue(any(t.startswith(label) for t in texts), label)

    def test_headline_is_the_ratio_of_the_rounds(self):
        cells = [c for c in self.cells() if c.get("n") == 10_000_000
                 and c.get("mode") == "independent"]
        tree, model = (next(c for c in cells if c.name == n) for n in ("btree", "rmi"))
        ratio = ldbresults.ratio_between(model, tree)
        texts = self.draw("--mode", "independent")
        self.assertIn(f"RMI is {1 / ratio.median:.2f} times as fast as the B-tree at 10M keys",
                      texts)
        interval = f"{ratio.median:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"
        self.assertTrue(any(interval in t and "behind at 1K" in t for t in texts))
        self.assertIn("ns per lookup", texts)

    def test_headline_when_learned_loses_ties_or_lacks_rounds(self):
        style = Style()

        def headline(own, rounds=10):
            make = lambda name, ns: ldbresults.Cell(
                ("e", "index", "d", 1000, "64", "u", "chained", "1", "4k", "0"), name, "",
                [{"status": "ok", "note": {}, "rep": str(r), "ns_per_op": ns + 0.01 * r}
                 for r in range(rounds)])
            return demo.headline({1000: (make("btree", 100), make("rmi", own), None)}, style)[0]

        self.assertIn("RMI loses: 1.30 times", headline(130))
        self.assertIn("no clear difference", headline(100.5))
        self.assertIn("2.00 times as fast", headline(50))
        self.assertIn("too few rounds", headline(50, rounds=3))

    def test_fastest_learned_and_unknown_choices(self):
        self.assertTrue(any("fastest" in t or "RMI" in t
                            for t in self.draw("--learned", "best")))
        self.assertTrue(any(t.startswith("PGM") for t in self.draw("--learned", "pgm")))
        self.assertEqual(run_figures("--demo", self.dir, "--learned", "nosuch").returncode, 1)
        self.assertEqual(run_figures("--demo", self.dir, "--dataset", "nosuch").returncode, 1)
        self.assertEqual(run_figures(self.dir, "--mode", "chained").returncode, 2)


class Small(Base):
    """Runs with hardly anything in them still draw, or say why not."""

    def fake(self, **more):
        shutil.rmtree(self.dir)
        fake_run.write_fake(self.dir, **{"datasets": ("uniform",), "modes": ("chained",), **more})
        return run_figures(self.dir)

    def test_one_size_one_competitor(self):
        done = self.fake(reps=2, sizes=(1000,), names=("btree",))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.has_text("latency-vs-size.svg", "range of few repetitions")
        self.has_text("latency-vs-size-gnuplot.svg", "B-tree")

    def test_only_the_floor_and_odd_names(self):
        done = self.fake(reps=2, sizes=(1000,), names=("null",))
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_no_caches_no_run_json(self):
        self.fake(reps=2, sizes=(1000,))
        os.remove(self.path("run.json"))
        self.assertEqual(run_figures(self.dir).returncode, 0)
        texts = svg_texts(self.path("latency-vs-size.svg"))
        self.assertFalse({"L2", "L3"} & set(texts))

    def test_quotes_in_names(self):
        self.fake(reps=2, sizes=(1000, 2000))
        samples = self.path("samples.csv")
        text = read(samples).replace(",pgm,", ",it's_{a}$b$,")
        with open(samples, "w", encoding="utf-8") as file:
            file.write(text)
        os.remove(self.path("summary.csv"))
        done = run_figures(self.dir)
        self.assertEqual(done.returncode, 0, done.stderr)
        for name in FIGURES:
            self.has_text(name + ".svg", "it's_{a}$b$")

    def test_nothing_to_draw(self):
        done = self.fake(reps=0, sizes=(1000,))
        self.assertEqual(done.returncode, 1)
        self.assertIn("nothing to draw", done.stderr)
        self.assertEqual(run_figures(self.path("nosuch")).returncode, 2)


class Table(unittest.TestCase):
    """plots/style.ini itself."""

    def test_looks_differ_without_colour(self):
        """In black and white, marker and dash must tell competitors of a family apart."""
        looks = {}
        for c in Style().competitors.values():
            look = c.family, c.marker, c.dash
            self.assertNotIn(look, looks, f"{c.name} looks like {looks.get(look)}")
            looks[look] = c.name

    def test_unknown_names_get_looks_of_their_own(self):
        style = Style()
        style.prepare({"mine": True, "other": False, "third": True, "rmi": True, "btree": False})
        looks = [(c.family, c.colour, c.marker) for c in style.competitors.values()]
        self.assertEqual(len(set(looks)), len(looks))  # families don't meet in a figure
        self.assertEqual(style.competitor("mine").dash, "solid")
        self.assertNotEqual(style.competitor("other").dash, "solid")

    def test_every_metric_says_which_way_is_better(self):
        style = Style()
        for metric in ("ns_per_op", "build_ns", "index_bytes", "peak_rss_bytes"):
            self.assertIn(style.metric(metric, "better"), ("lower", "higher"))

    def test_front(self):
        class P:
            def __init__(self, size, ns):
                self.index_bytes, self.median = size, ns

        points = [P(0, 100), P(10, 50), P(20, 60), P(30, 40), P(5, 120)]
        self.assertEqual([(p.index_bytes, p.median) for p in size_vs_latency.front(points)],
                         [(0, 100), (10, 50), (30, 40)])

    def test_log_scale_only_over_a_wide_range(self):
        self.assertTrue(ldbplot.log_scale([1, 5]))
        self.assertFalse(ldbplot.log_scale([1, 4.9]))
        self.assertFalse(ldbplot.log_scale([0, 0]))


if __name__ == "__main__":
    unittest.main()
