"""Tests of the pages that scripts/report and scripts/compare write, in a headless Chromium.

/usr/bin/python3 -m unittest discover -s tests -p 'test_report.py'
Without a browser the tests of the text still run; in CI ($CI is set) a missing browser fails.
"""

import csv
import functools
import html
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import webdriver
from fake_run import write_fake, write_fake_updates
from test_stats import ROOT

import ldbpage
import ldbstyle


def call(script, *args, expect=0):
    done = subprocess.run([sys.executable, "-B", os.path.join(ROOT, "scripts", script), *args],
                          capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout if expect == 0 else done.stderr


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


@functools.lru_cache(maxsize=None)
def pages():
    """Runs of a formula, one of lookups with a failed cell and one of updates: the folder of both
    and of their pages."""
    folder = tempfile.mkdtemp()
    unittest.addModuleCleanup(shutil.rmtree, folder)
    reads, updates = (os.path.join(folder, name) for name in ("reads", "updates"))
    write_fake(reads, reps=8, modes=("chained", "batched"), sizes=(1000, 10**5, 10**6))
    write_fake_updates(updates, reps=8)
    # pgm answers wrongly on coast, 1M, chained; its note is hostile to HTML.
    text, count = re.subn(r"(fake,index,pgm,,coast,1000000,64,uniform,chained,.*,)ok,session",
                          r"\1wrong,<b>key 5</b>: got </script>7; session",
                          read(os.path.join(reads, "samples.csv")), count=1)
    assert count == 1
    with open(os.path.join(reads, "samples.csv"), "w", encoding="utf-8") as file:
        file.write(text)
    for run in (reads, updates):
        call("report", run, "--out", run + ".html")
    # A second run: another seed, 1.5 times as slow, and rmi twice as slow on top.
    again = os.path.join(folder, "again")
    write_fake(again, seed=2, reps=8, modes=("chained", "batched"), sizes=(1000, 10**5, 10**6),
               datasets=("uniform",))
    slow_down(os.path.join(again, "samples.csv"))
    call("compare", reads, again, "--out", again + ".html")
    return folder


def slow_down(path):
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows, columns = list(reader), reader.fieldnames
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            factor = 1.5 * (2 if row["name"] == "rmi" else 1)
            writer.writerow({**row, "ns_per_op": f"{float(row['ns_per_op']) * factor:.4f}"})


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pages()
        cls.reads = os.path.join(cls.dir, "reads")
        cls.page, cls.page_of_updates = cls.reads + ".html", os.path.join(cls.dir, "updates.html")
        cls.updates = os.path.join(cls.dir, "updates")
        cls.comparison = os.path.join(cls.dir, "again.html")


class Text(Pages):
    def test_nothing_from_outside(self):
        for page in (self.page, self.page_of_updates, self.comparison):
            text = read(page)
            self.assertEqual(re.findall(r"""(?:https?:)?//[\w.-]+\.\w+|url\((?!#)|@import""",
                                        re.sub(r"^\s*//.*$", "", text, flags=re.M)), [])
            self.assertTrue("default-src 'none'" in text)

    def test_all_is_told(self):
        text = read(self.page)
        for phrase in ("FAKE machine (tests only), 2 cores", "72 cells, 1 failed", "How it was measured",
                       "&lt;b&gt;key 5&lt;/b&gt;: got &lt;/script&gt;7", "not compared with splustree, rbs, art",
                       "In all rows: workload uniform, threads 1, pages thp"):
            self.assertTrue(phrase in text, phrase)
        self.assertFalse("<b>key 5" in text)

    def rows_of(self, page, section):
        """Texts of a table's rows, by header."""
        part = re.search(rf'<section id="{section}">(.*?)</section>', read(page), re.S)[1]
        head, body = re.search(r"<thead>(.*?)</thead><tbody>(.*?)</tbody>", part, re.S).groups()
        text = lambda cell: html.unescape(re.sub(r"<[^>]*>", "", cell))
        titles = list(map(text, re.findall(r"<th[ >].*?</th>", head)))
        return [dict(zip(titles, map(text, re.findall(r"<t[hd][ >].*?</t[hd]>", row))))
                for row in body.strip().split("\n")]

    def test_a_comparison_tells_the_machine_from_the_code(self):
        rows = self.rows_of(self.comparison, "changes")
        self.assertEqual(len(rows), 36)
        for row in rows:
            own, time = row["B / A, by the reference"], float(row["B / A"].split()[0])
            if row["competitor"].startswith("B-tree"):
                self.assertEqual((own, row["B is"]), ("", "the reference"))
                self.assertAlmostEqual(time, 1.5, delta=0.15)
            elif row["competitor"].startswith("RMI"):
                self.assertEqual(row["B is"], "slower")
                self.assertAlmostEqual(float(own.split()[0]), 2, delta=0.2)
                self.assertAlmostEqual(time, 3, delta=0.3)
            else:
                self.assertAlmostEqual(float(own.split()[0]), 1, delta=0.1)
        changed = [abs(math.log(float((r["B / A, by the reference"] or r["B / A"]).split()[0])))
                   for r in rows]
        self.assertTrue(all(a >= b - 0.002 for a, b in zip(changed, changed[1:])), changed)
        self.assertEqual([r["B is"] for r in rows[:6]], ["slower"] * 6)

    def test_a_comparison_tells_what_is_in_one_only(self):
        text = read(self.comparison)
        for phrase in ("Only in A: 36 cells", "share no rounds", "perf-check"):
            self.assertTrue(phrase in text, phrase)
        self.assertFalse("Only in B" in text)

    def test_a_run_compared_with_itself(self):
        out = os.path.join(self.dir, "same.html")
        said = call("compare", self.updates, self.updates, "--out", out)
        self.assertIn("Of 36 cells in both, B is: 30 not told apart, 6 the reference.", said)
        self.assertIn("None.", read(out))
        self.assertIn("No such file", call("compare", self.updates, self.dir, expect=2))

    def test_other_machine_other_keys_other_parameters(self):
        def run_json(folder, **more):
            path = os.path.join(folder, "run.json")
            run = json.loads(read(path)) | more
            with open(path, "w", encoding="utf-8") as file:
                json.dump(run, file)
        one, two = (os.path.join(self.dir, d) for d in ("one", "two"))
        write_fake(one, reps=8, modes=("chained",), sizes=(1000, 10**5))
        shutil.copytree(one, two)
        key = "coast/1000"
        run_json(one, datasets={key: {"name": "coast", "n": 1000, "xxh3": "1" * 16}})
        run_json(two, datasets={key: {"name": "coast", "n": 1000, "xxh3": "2" * 16}},
                 machine={"cpu": {"model": "OTHER", "cores": 2}})
        path = os.path.join(two, "samples.csv")
        text = read(path).replace("leaves=0;root=auto", "leaves=0;root=auto;budget=10")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        said = call("compare", one, two, "--out", two + ".html")
        self.assertIn("of 24 cells in both", said.lower())
        self.assertIn("6 without a number on both sides", said)
        page = read(two + ".html")
        for phrase in ("The machines differ (cpu.model", "6 cells are of other keys",
                       "parameters leaves=0;root=auto / leaves=0;root=auto;budget=10"):
            self.assertTrue(phrase in page, phrase)

    def test_unknown_is_empty(self):
        text = re.sub(r"<script.*", "", read(self.page), flags=re.S)
        self.assertEqual(re.findall(r">[^<]*\b(?:nan|None|inf)\b[^<]*<", text), [])
        self.assertFalse(">instructions<" in text)  # a column without a value is left out

    def test_looks_are_those_of_the_style_table(self):
        data = json.loads(re.search(r'id="data">(.*?)</script>', read(self.page), re.S)[1])
        style = ldbstyle.Style()
        for name in ("rmi", "btree", "pgm"):
            self.assertEqual(data["looks"][name]["colour"], style.competitor(name).colour)
            self.assertEqual(data["looks"][name]["marker"], style.competitor(name).marker)
            self.assertEqual(data["looks"][name]["dash"], style.competitor(name).dash)
        self.assertNotIn("null", {line["name"] for f in data["figures"] for row in f["rows"]
                                  for panel in row["panels"] for line in panel["lines"]})

    def test_every_colour_is_seen_on_both_grounds(self):
        for c in ldbstyle.Style().competitors.values():
            dark = ldbpage.on_dark(c.colour)
            shade = ldbpage.luminance([int(dark[i : i + 2], 16) / 255 for i in (1, 3, 5)])
            self.assertGreater((shade + 0.05) / (ldbpage.DARK_GROUND + 0.05), 4.5, c.name)

    def test_one_size_each_is_shown_by_dataset(self):
        run = os.path.join(self.dir, "one-size")
        write_fake(run, reps=8, modes=("chained",), sizes=(10**7,))
        call("report", run, "--out", run + ".html")
        data = json.loads(re.search(r'id="data">(.*?)</script>', read(run + ".html"), re.S)[1])
        self.assertNotIn("Time per lookup against number of keys", [f["title"] for f in data["figures"]])
        figure = next(f for f in data["figures"] if f["title"] == "Time per lookup by dataset")
        self.assertEqual([text for _, text in figure["x"]["ticks"]], ["uniform", "coast"])
        (row,) = figure["rows"]
        self.assertEqual({len(line["dots"]) for line in row["panels"][0]["lines"]}, {2})

    def test_a_run_that_did_not_end_is_told(self):
        run = os.path.join(self.dir, "cut")
        shutil.copytree(self.updates, run)
        with open(os.path.join(run, "run.json"), "w", encoding="utf-8") as file:
            json.dump({"sessions": [{"session": 1, "status": "running", "ended": None}]}, file)
        call("report", run)
        self.assertTrue("Session 1 did not end well: running." in read(os.path.join(run, "report.html")))

    def test_broken_folders(self):
        self.assertIn("No such file", call("report", self.dir, expect=2))
        broken = os.path.join(self.dir, "broken")
        shutil.copytree(self.reads, broken)
        with open(os.path.join(broken, "run.json"), "w", encoding="utf-8") as file:
            file.write("{")
        with open(os.path.join(broken, "samples.csv"), "a", encoding="utf-8") as file:
            file.write("fake,index,cut")
        self.assertEqual(call("report", broken).strip(), os.path.join(broken, "report.html"))
        text = read(os.path.join(broken, "report.html"))
        for phrase in ("run.json is missing or broken", "samples.csv is damaged: 1 lines were"):
            self.assertTrue(phrase in text, phrase)


class Browser(Pages):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        why = webdriver.missing()
        if why and not os.environ.get("CI"):
            raise unittest.SkipTest(why)
        assert not why, why
        cls.browser = webdriver.Browser()
        cls.addClassCleanup(cls.browser.close)
        cls.browser.open(cls.page)
        cls.browser.requests()  # those of the empty window at the start

    def setUp(self):
        self.load(self.page)

    def tearDown(self):
        self.assertEqual(self.browser.console(), [], "the console has errors")
        asked = [u for u in self.browser.requests() if not u.startswith(("file://", "data:"))]
        self.assertEqual(asked, [], "the page asks for more than itself")

    def load(self, page):
        self.browser.open(page)
        self.assertEqual(self.run_script("return document.documentElement.dataset.ready"), "1")

    def run_script(self, script, *args):
        return self.browser.run(script, *args)

    def column(self, title):
        """Index of a column of the big table, and its values from top to bottom."""
        return self.run_script("""
            const table = document.querySelector("#cells table");
            const at = [...table.tHead.rows[0].cells].findIndex((c) => c.textContent.trim() === arguments[0]);
            return [at, [...table.tBodies[0].rows].filter((r) => !r.hidden).map((r) => r.cells[at].dataset.v ?? r.cells[at].textContent)];
            """, title)

    def click_header(self, at):
        return self.run_script("""
            const th = document.querySelector("#cells table").tHead.rows[0].cells[arguments[0]];
            th.querySelector("button").click();
            return th.getAttribute("aria-sort");""", at)

    def test_a_click_on_a_header_sorts(self):
        at, before = self.column("ns per operation")
        self.assertEqual(before.count(""), 1)  # the failed cell
        self.assertEqual(self.click_header(at), "ascending")
        numbers = [float(v) for v in self.column("ns per operation")[1][:-1]]
        self.assertEqual(numbers, sorted(numbers))
        self.assertNotEqual(before[:-1], sorted(before[:-1], key=lambda v: float(v or 0)))
        self.assertEqual(self.column("ns per operation")[1][-1], "")
        self.assertEqual(self.click_header(at), "descending")
        after = self.column("ns per operation")[1]
        self.assertEqual([float(v) for v in after[:-1]], numbers[::-1])
        self.assertEqual(after[-1], "")  # unknown is last either way
        # As texts 100000 would come before 1000000 and after 1000.
        at, _ = self.column("keys")
        self.click_header(at)
        self.assertEqual(self.column("keys")[1], sorted(self.column("keys")[1], key=int))

    def test_sorts_by_keyboard(self):
        at, _ = self.column("rank")
        self.run_script("document.querySelector('#cells table').tHead.rows[0].cells[arguments[0]]"
                        ".querySelector('button').focus()", at)
        self.browser.keys("\ue007")
        ranks = [int(v) for v in self.column("rank")[1] if v]
        self.assertEqual(ranks, sorted(ranks))

    def test_figures_have_points(self):
        for page, least in ((self.page, 3), (self.page_of_updates, 3), (self.comparison, 2)):
            self.load(page)
            dots = self.run_script("""return [...document.querySelectorAll("figure")].map((f) =>
                [f.querySelector("h3").textContent, f.querySelectorAll("svg[role=img]").length,
                 f.querySelectorAll(".panel .dot").length, f.querySelectorAll(".panel .line").length])""")
            self.assertGreaterEqual(len(dots), least, dots)
            for title, panels, points, lines in dots:
                self.assertGreater(panels, 0, title)
                self.assertGreater(points + lines, 5, title)
            self.browser.requests()
        # 6 competitors but null, 3 sizes, 2 datasets, 2 modes; one cell failed.
        self.load(self.page)
        self.assertEqual(self.run_script(
            "return document.querySelector('figure').querySelectorAll('.panel .dot').length"), 5 * 12 - 1)

    def test_dots_are_where_their_numbers_say(self):
        """A figure of log axes: equal factors are equal distances, more is higher."""
        placed = self.run_script("""
            const data = JSON.parse(document.getElementById("data").textContent);
            const line = data.figures[0].rows[0].panels[0].lines.find((l) => l.name === "btree");
            const shapes = document.querySelector("figure svg[role=img] [data-name=btree]").querySelectorAll("circle.dot");
            return line.dots.map((d, i) => [d[0], d[1], +shapes[i].getAttribute("cx"), +shapes[i].getAttribute("cy")]);""")
        (n0, t0, x0, y0), (n1, t1, x1, y1), (n2, t2, x2, y2) = placed
        self.assertEqual([n0, n1, n2], [1000, 100_000, 1_000_000])
        self.assertAlmostEqual((x1 - x0) / (x2 - x1), 2, places=1)
        self.assertTrue(t0 < t1 < t2 and y0 > y1 > y2, placed)

    def test_dark_and_light(self):
        ground = "return getComputedStyle(document.body).backgroundColor"
        stroke = "return getComputedStyle(document.querySelector('[data-name=bsearch] .line')).stroke"
        light = self.run_script(ground), self.run_script(stroke)
        self.run_script("document.getElementById('theme').click()")
        dark = self.run_script(ground), self.run_script(stroke)
        self.assertEqual(light, ("rgb(255, 255, 255)", "rgb(0, 0, 0)"))
        self.assertNotEqual(light[0], dark[0])
        self.assertNotEqual(light[1], dark[1])
        self.run_script("document.getElementById('theme').click()")
        self.assertEqual((self.run_script(ground), self.run_script(stroke)), light)

    def test_filters_hold_for_all(self):
        self.run_script("""const s = document.querySelector("select[name=mode]");
            s.value = "chained"; s.dispatchEvent(new Event("change"));""")
        self.assertEqual(set(self.column("mode")[1]), {"chained"})
        self.assertEqual(self.run_script("return document.querySelector('output').textContent"),
                         "36 of 72 cells")
        titles = self.run_script("""return [...document.querySelectorAll(".panel:not([hidden]) h4")]
            .map((h) => h.textContent)""")
        self.assertTrue(titles and all("batched" not in t for t in titles), titles)
        self.run_script("""const s = document.querySelector(".filters input");
            s.value = "b-TREE"; s.dispatchEvent(new Event("input"));""")
        self.assertEqual(len(self.column("mode")[1]), 6)

    def view(self):
        return self.run_script("""return [...document.querySelector("figure svg[role=img]")
            .querySelectorAll("text")].map((t) => t.textContent).join("|")""")

    def test_legend_zoom_hover_enlarge(self):
        first = "document.querySelector('figure svg[role=img]')"
        dots = f"return {first}.querySelectorAll('.dot').length"
        self.assertEqual(self.run_script(dots), 15)
        self.run_script("document.querySelector('[data-series=rmi]').click()")
        self.assertEqual(self.run_script(dots), 12)
        self.run_script("document.querySelector('[data-series=rmi]').click()")
        box = self.run_script(f"{first}.scrollIntoView({{block: 'center'}}); const r = {first}"
                              ".getBoundingClientRect(); return [r.left, r.top, r.width, r.height]")
        at = lambda fx, fy: (int(box[0] + fx * box[2]), int(box[1] + fy * box[3]))
        whole = self.view()
        self.browser.mouse(("move", *at(.4, .3)), ("down",), ("move", *at(.6, .5)),
                           ("move", *at(.7, .6)), ("up",))
        self.assertNotEqual(self.view(), whole)
        self.run_script(f"{first}.dispatchEvent(new MouseEvent('dblclick'))")
        self.assertEqual(self.view(), whole)
        self.run_script(f"{first}.focus()")
        self.browser.keys("+")
        self.assertNotEqual(self.view(), whole)
        self.browser.keys("0")
        self.assertEqual(self.view(), whole)
        self.browser.keys("\ue014")  # an arrow shows the first point's numbers
        said = self.run_script("const t = document.getElementById('tip'); return t.hidden ? '' : t.textContent")
        self.assertRegex(said, r"1K keys\n[\d.]+ \[[\d.]+, [\d.]+\] ns per lookup")
        self.browser.keys("\ue007")
        self.assertEqual(self.run_script("const d = document.getElementById('enlarged');"
                                         "return [d.open, d.querySelectorAll('.panel .dot').length]"), [True, 15])
        self.browser.keys("\ue014")
        self.assertEqual(self.run_script("const t = document.getElementById('tip');"
                                         "return [t.hidden, t.parentElement.id]"), [False, "enlarged"])
        self.browser.keys("\ue00c")
        self.assertFalse(self.run_script("return document.getElementById('enlarged').open"))

    def test_narrow_and_wide(self):
        """The page itself never scrolls sideways."""
        for page, width in ((self.page, 360), (self.page, 800), (self.comparison, 420)):
            self.browser.resize(width, 900)
            self.load(page)
            self.assertLessEqual(self.run_script("return document.documentElement.scrollWidth"), width)
        self.browser.resize(1400, 1000)


if __name__ == "__main__":
    unittest.main()
