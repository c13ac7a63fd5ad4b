"""Tests of scripts/validate and scripts/ldbplan.py: a whole run passes, each planted fault is found.

/usr/bin/python3 -m unittest discover -s tests -p 'test_validate.py'
"""

import csv
import glob
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from test_stats import ROOT, load_script

import ldbplan
import ldbresults

validate = load_script("validate")
BUILD = os.environ.get("LDB_BUILD", os.path.join(ROOT, "build"))
SAMPLE = os.path.join(ROOT, "results", "2026-11-27-intel-xeon-2c-threads")


class Folder(unittest.TestCase):
    """A copy of a committed run, to be spoilt."""

    def setUp(self):
        self.dir = os.path.join(tempfile.mkdtemp(), "run")
        self.addCleanup(shutil.rmtree, os.path.dirname(self.dir))
        shutil.copytree(SAMPLE, self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def faults(self, seen=None):
        find, _ = validate.check_folder(self.dir, {} if seen is None else seen)
        return find

    def found(self, phrase, **more):
        """Exactly what was planted is found, and said in these words."""
        find = self.faults(**more)
        lines = list(find.lines())
        self.assertTrue(any(phrase in line for line in lines), f"'{phrase}' in:\n"
                        + "\n".join(lines))
        return find

    def csv(self, name, change):
        """Rows of a CSV file as dicts, changed and written back."""
        with open(self.path(name), encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames
        rows = change(rows) or rows
        with open(self.path(name), "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def sample(self, line=9, **fields):
        """Changes fields of the row on a line of samples.csv."""
        self.csv("samples.csv", lambda rows: rows[line - 2].update(fields))

    def run_json(self, change):
        with open(self.path("run.json"), encoding="utf-8") as file:
            run = json.load(file)
        change(run)
        with open(self.path("run.json"), "w", encoding="utf-8") as file:
            json.dump(run, file)

    def text(self, name, change):
        with open(self.path(name), encoding="utf-8") as file:
            text = file.read()
        changed = change(text)
        self.assertNotEqual(text, changed, "the test plants nothing")
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(changed)

    def summarize(self):
        subprocess.run([sys.executable, "-B", os.path.join(ROOT, "scripts", "summarize"), self.dir],
                       stdout=subprocess.DEVNULL, check=True)


class Command(Folder):
    def call(self, *dirs):
        done = subprocess.run([sys.executable, "-B", os.path.join(ROOT, "scripts", "validate"),
                               *dirs], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def test_exit_codes(self):
        code, said = self.call(self.dir)
        self.assertEqual(code, 0, said)
        self.assertIn("ok (128 rows, 16 cells", said)
        self.sample(ops="7")
        code, said = self.call(self.dir, self.dir)
        self.assertEqual(code, 1)
        self.assertIn("samples.csv:9: ns_per_op is", said)
        code, said = self.call(self.dir, self.path("none"))
        self.assertEqual(code, 2)
        self.assertIn("No such file", said)
        self.assertEqual(self.call()[0], 2)

    def test_all_committed_runs_pass(self):
        folders = sorted(map(os.path.dirname, glob.glob(os.path.join(ROOT, "results/*/run.json"))))
        self.assertGreater(len(folders), 3)
        code, said = self.call(*folders)
        self.assertEqual(code, 0, said)

    def test_many_faults_of_a_kind_are_counted(self):
        self.csv("samples.csv", lambda rows: [r | {"pages": "5k"} for r in rows])
        lines = list(self.faults().lines())
        self.assertEqual(sum("pages is '5k'" in line for line in lines), validate.SHOWN)
        self.assertTrue(any("118 more faults of this kind" in line for line in lines))


class Run(Folder):
    def test_missing_or_broken(self):
        self.text("run.json", lambda text: text[:-20])
        self.found("run.json: missing, or no JSON object")
        os.remove(self.path("run.json"))
        self.found("run.json: missing, or no JSON object")

    def test_each_need(self):
        for path, _, _ in validate.NEEDED:
            *above, last = path.split(".")
            with open(os.path.join(SAMPLE, "run.json"), encoding="utf-8") as file:
                run = json.load(file)
            tree = run
            for part in above:
                tree = tree[part]
            del tree[last]
            with open(self.path("run.json"), "w", encoding="utf-8") as file:
                json.dump(run, file)
            with self.subTest(path):
                self.found(f"run.json: {path} is None")

    def test_uncommitted_source(self):
        self.run_json(lambda run: run["machine"]["build"].update(git_dirty="yes"))
        self.found("git_dirty is 'yes'; it must be no")

    def test_sessions_of_two_revisions_are_told(self):
        self.run_json(lambda run: run["sessions"][0]["machine"]["build"].update(git_revision="x"))
        find = self.faults()
        self.assertEqual(find.count, 0)
        self.assertIn("session 1 is of revision x, the newest of 64480ae8f81f", find.notes[0])

    def test_revision_of_elsewhere(self):
        def change(run):
            run["machine"]["build"]["git_revision"] = "0" * 40
            run["sessions"][0]["machine"]["build"]["git_revision"] = "0" * 40
        self.run_json(change)
        find = self.faults()
        self.assertEqual(find.count, 0)
        if validate.git("rev-parse", "--is-shallow-repository") == "false":
            self.assertIn("revision 000000000000, is not in this repository's", find.notes[0])

    def test_sessions(self):
        self.run_json(lambda run: run["sessions"][0].update(ended=None))
        self.found("session 1 has not ended")
        self.run_json(lambda run: run["sessions"][0].update(session=2))
        self.found("session 1 calls itself 2")

    def test_session_of_a_row(self):
        self.csv("samples.csv", lambda rows: [r | {"note": r["note"] + "; session=3"}
                                              for r in rows])
        self.found("samples.csv:2: its session 3 is not among the 1 of run.json")

    def test_datasets(self):
        self.run_json(lambda run: run["datasets"]["coast/7138872"].update(xxh3=""))
        self.found("coast/7138872 has the checksum ''")
        self.run_json(lambda run: run["datasets"]["coast/7138872"].update(n=5))
        self.found("coast/7138872 is of coast with 5 keys")
        self.run_json(lambda run: run["datasets"].pop("coast/7138872"))
        self.found("datasets has no coast/7138872")

    def test_seed(self):
        def change(run):
            run["seed"] = run["experiments"][0]["seed"] = run["experiments"][1]["seed"] = 43
        self.run_json(change)
        self.found("is 'generated, seed 42', the run's seed is 43")

    def test_other_keys_than_in_another_folder(self):
        seen = {}
        self.assertEqual(self.faults(seen).count, 0)
        self.run_json(lambda run: run["datasets"]["uniform_sparse/10000000"]
                      .update(xxh3="0123456789abcdef"))
        self.found("the keys differ", seen=seen)

    def test_competitors(self):
        self.run_json(lambda run: run["competitors"][1].update(learned=False))
        self.run_json(lambda run: run["competitors"][3].update(learned=False))
        self.found("delta_rmi is not learned by run.json")
        self.run_json(lambda run: run["competitors"].pop())
        self.found("the list of competitors has btree_olc")

    def test_config_of_another_run(self):
        self.run_json(lambda run: run.update(config=run["config"].replace("delta_rmi", "ldu")))
        self.found("experiment threads has btree_olc, ldu; the list of competitors has btree_olc, "
                   "delta_rmi")
        self.run_json(lambda run: run.update(config=run["config"].replace("[real]", "real]")))
        self.found("of the config is neither [experiment] nor name = value")


class Samples(Folder):
    def test_header(self):
        self.text("samples.csv", lambda text: text.replace("p50_ns,p99_ns", "p99_ns,p50_ns", 1))
        self.found("samples.csv:1: the header is not that of samples.csv: another order")
        self.text("samples.csv", lambda text: text.replace("checksum,", "", 1))
        with self.assertRaisesRegex(ldbresults.ResultsError, "lacks checksum"):
            self.faults()

    def test_damage(self):
        self.text("samples.csv", lambda text: text[:-9])
        self.found("samples.csv:129: cut off")
        self.text("samples.csv", lambda text: text.replace("\nthreads,", "\nthreads,more,", 1))
        self.found("samples.csv:2: 39 fields of 38")

    def test_values(self):
        spoilt = (
            ({"status": "good"}, "status is 'good'; known: ok, unsupported"),
            ({"mode": "quick"}, "mode is 'quick'; known: chained"),
            ({"family": "trees"}, "family is 'trees'"),
            ({"payload_bytes": "7"}, "payload_bytes is '7'"),
            ({"rep": "0"}, "rep is '0'"), ({"threads": ""}, "threads is ''"),
            ({"p50_ns": "0"}, "p50_ns is 0; unknown is an empty field"),
            ({"peak_rss_bytes": "0"}, "peak_rss_bytes is 0"),
            ({"build_ns": "0"}, "build_ns is 0"), ({"instructions": "0"}, "instructions is 0"),
            ({"ops": "2000000.5"}, "ops is 2e+06; a whole number"),
            ({"p99_ns": "100"}, "p50_ns is"), ({"index_bytes": "9e12"}, "index_bytes is"),
            ({"tune_ns": "9e12"}, "tune_ns is 9000000000000, more than build_ns"),
            ({"err_log2_mean": "9", "err_max": "64"}, "a mean above the largest"),
            ({"peak_rss_bytes": ""}, "peak_rss_bytes is empty where status is ok"),
            ({"checksum": ""}, "checksum is '' where status is ok"),
            ({"ns_per_op": "100"}, "ns_per_op is 100, elapsed_ns / ops"),
            ({"elapsed_ns": "5000000", "ns_per_op": "2.5"}, "a pass of 5 ms whose note does not"),
            ({"l1d_misses": "0.5"}, "l1d_misses is 0.5, but run.json names no such counter"),
            ({"context_switches": ""}, "context_switches is empty, but run.json counts it"),
            ({"note": "cell=5c37f32dea3b43d2/8; cpu_ns=9000000000000"}, "2 cores can't spend that"),
            ({"name": "btree"}, "competitor btree:repair=local;run=960"),
            ({"note": "reference=1"}, "its note has cell=''"),
        )
        for fields, phrase in spoilt:
            with self.subTest(phrase):
                shutil.copy(os.path.join(SAMPLE, "samples.csv"), self.dir)
                self.sample(**fields)
                self.found(phrase)
                self.assertTrue(any("samples.csv:9: " in line and phrase in line
                                    for line in self.faults().lines()))

    def test_cold_lookups_have_no_counters(self):
        self.csv("samples.csv", lambda rows: [r | {"mode": "cold", "context_switches": ""}
                                              for r in rows])
        self.assertEqual([x for x in self.faults().lines() if "context_switches is empty, but" in x], [])
        self.csv("samples.csv", lambda rows: rows[0].update(mode="cold", context_switches="5"))
        self.found("samples.csv:2: context_switches is 5, but run.json names no such counter")

    def test_keys_of_two_widths(self):
        """The same plug-in for keys of 64 and of 32 bits is two competitors."""
        def change(run):
            run["config"] = run["config"].replace("index = ", "key-bits = 64, 32\nindex = ")
            run["competitors"] = [dict(c, key_bits=bits) for c in run["competitors"]
                                  for bits in (64, 32)]
        self.run_json(change)
        self.found("no row of btree_olc:fill=1;ahead=16, uniform_sparse, 10M, read, mixed, "
                   "1 thread, thp, 32 bits")
        def both(rows):
            mark = lambda note: re.sub("cell=....", "cell=ffff", note)
            return rows + [r | {"key_bits": "32", "note": mark(r["note"])} for r in rows]
        self.csv("samples.csv", both)
        self.assertEqual([line for line in self.faults().lines() if "summary.csv" not in line], [])

    def test_answers_must_agree(self):
        self.sample(line=2, checksum="0123456789abcdef")
        self.found("one of them is wrong")

    def test_rounds(self):
        self.csv("samples.csv", lambda rows: rows[:1] + rows)
        self.found("samples.csv:3: btree_olc:fill=1;ahead=16, uniform_sparse, 10M, read, mixed, "
                   "1 thread, thp: repetition 1 again, first on line 2")
        shutil.copy(os.path.join(SAMPLE, "samples.csv"), self.dir)
        self.csv("samples.csv", lambda rows: rows[1:])
        self.found("lacks rounds 1 of 8")

    def test_hash_of_another_cell(self):
        self.sample(note="learned=1; cell=5c37f32dea3b43d2/8; cpu_ns=5")
        self.found("has the hash of another cell")

    def test_missing_and_foreign_cells(self):
        self.csv("samples.csv", lambda rows: [r for r in rows if r["threads"] == "1"
                                              or r["dataset"] != "coast"])
        find = self.found("no row of delta_rmi:repair=local;run=960;share=12.5;cpu=100;cells=2, "
                          "coast, 7.14M, mix50, mixed, 2 threads, thp, which config and command")
        self.assertEqual(len(find.faults["completeness"]), 4)
        shutil.copy(os.path.join(SAMPLE, "samples.csv"), self.dir)
        self.csv("samples.csv", lambda rows: [r | {"workload": r["workload"].replace("mix50", "mix5")}
                                              for r in rows])
        self.found("config and command don't ask for it")

    def test_other_number_of_rounds(self):
        self.run_json(lambda run: run["sessions"][0]["command"].extend(["--reps", "7"]))
        self.found("promises 8 rounds, config and command 7")

    def test_failed_cells_are_named_and_no_fault(self):
        def fail(rows):
            rows[7].update(status="wrong", ns_per_op="", ops="", elapsed_ns="", checksum="",
                           note="key 5: got 7; " + rows[7]["note"])
        self.csv("samples.csv", fail)
        self.summarize()
        os.remove(self.path("mixed-by-case.svg"))
        find = self.faults()
        self.assertEqual([line for line in find.lines() if "older" not in line], [])
        self.assertIn("wrong: ", find.notes[0])
        self.assertIn("key 5: got 7", find.notes[0])


class Derived(Folder):
    def test_summary(self):
        for column in ("median_ns", "ratio", "ratio_low", "rank", "status", "learned", "outliers"):
            with self.subTest(column):
                shutil.copy(os.path.join(SAMPLE, "summary.csv"), self.dir)
                self.csv("summary.csv", lambda rows: rows[3].update({column: "1.234"}))
                self.found(f"summary.csv:5: {column} of ")
        shutil.copy(os.path.join(SAMPLE, "summary.csv"), self.dir)
        self.csv("summary.csv", lambda rows: rows[:-1])
        self.found("summary.csv: 15 rows, the samples give 16; scripts/summarize")
        self.text("summary.csv", lambda text: text.replace(",rank,", ",place,", 1))
        self.found("summary.csv:1: the header is not that of summary.csv: rank")
        os.remove(self.path("summary.csv"))
        self.found("summary.csv: missing; scripts/summarize")

    def test_timeline(self):
        def copy():
            shutil.copy(os.path.join(SAMPLE, "timeline.csv"), self.dir)

        def gap(rows):
            at = next(i for i, row in enumerate(rows) if row["slot_ms"] == "200")
            del rows[at - 1]
        self.csv("timeline.csv", gap)
        self.found("slot_ms is 200: a slot is missing before it")
        copy()
        self.csv("timeline.csv", lambda rows: rows[0].update(dataset="osm"))
        self.found("timeline.csv:2: btree_olc:fill=1;ahead=16, osm, 10M, read, mixed, 1 thread, "
                   "thp: samples.csv has no such pass")
        copy()
        self.csv("timeline.csv", lambda rows: rows[0].update(ops="5000000"))
        self.found("timeline.csv:2: 5000000 operations so far, the pass has 2000000")
        copy()
        self.csv("timeline.csv", lambda rows: rows[0].update(held_bytes=""))
        self.found("timeline.csv:2: slot_ms, ops, cpu_ns or held_bytes is no whole number")

    def test_a_figure_of_other_numbers(self):
        """Fresh figures carry a mark of their numbers, whatever their age."""
        subprocess.run([sys.executable, "-B", os.path.join(ROOT, "scripts", "figures"), self.dir],
                       stdout=subprocess.DEVNULL, check=True)
        os.utime(self.path("mixed-by-case.png"), (1, 1))
        self.assertEqual(list(self.faults().lines()), [])
        self.csv("summary.csv", lambda rows: rows[0].update(median_ns="1"))
        for figure in ("mixed-by-case.png", "mixed-by-case.svg"):
            self.found(f"{figure}: was drawn from other numbers")

    def test_figures(self):
        figure = "mixed-by-case.svg"
        self.text(figure, lambda text: text.replace("2026-11-27", "2026-11-26"))
        self.found(f"{figure}: does not say '2026-11-27'")
        shutil.copy(os.path.join(SAMPLE, figure), self.dir)
        self.text(figure, lambda text: text.replace("series/mixed/coast/delta_rmi",
                                                    "series/mixed/coast/alex"))
        self.found(f"{figure}: draws alex on coast, of which there is no whole cell")
        shutil.copy(os.path.join(SAMPLE, figure), self.dir)
        os.utime(self.path(figure), (1, 1))
        self.found(f"{figure}: older than summary.csv")


class Plan(unittest.TestCase):
    """What is read from a config is what the driver makes of it."""

    def test_every_config_is_read(self):
        for path in sorted(glob.glob(os.path.join(ROOT, "configs", "**", "*.ini"), recursive=True)):
            with self.subTest(path), open(path, encoding="utf-8") as file:
                for e in ldbplan._read_config(file.read()):
                    self.assertTrue(e[e["family"]] and e["dataset"], e)

    def test_sizes(self):
        self.assertEqual(ldbplan._sizes(["1K..1M", "30K", "max"]),
                         [1000, 10**4, 10**5, 10**6, 30000, None])
        self.assertEqual(ldbplan._sizes(["2K..50K"]), [2000, 20000, 50000])
        self.assertEqual(ldbplan._sizes(["1e6"]), [10**6])
        with self.assertRaises(ldbplan.PlanError):
            ldbplan._sizes(["many"])

    def test_a_real_run_of_every_axis(self):
        """Ranges, lists over two lines, overrides, parameters, a plug-in twice, defaults."""
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        config, out = os.path.join(folder, "all.ini"), os.path.join(folder, "out")
        widths = 1 + os.path.exists(os.path.join(BUILD, "indexes32", "btree.so"))
        with open(config, "w", encoding="utf-8") as file:
            file.write("; a comment\nreps = 9 ; and one behind\nops = 2K\n"
                       f"index = btree, rmi:leaves=8,\n\tbsearch, {BUILD}/indexes/btree.so\n"
                       "[reads]\ndataset = uniform_sparse, fb_like\nsize = 1K..100K\n"
                       "workload = zipf, absent:20\nmode = chained,\n batched\nthreads = 1, 2\n"
                       "payload = 0, 8\n[updates]\nindex = btree, ldu, rmi\n"
                       "dataset = uniform_dense\nsize = 2K\nworkload = mix50, scan\n"
                       "[sorts]\nsort = vqsort, std_sort\ndataset = zipf\nsize = 1K,2K\n"
                       "[gone]\ndataset = ./no_uint64\noptional = yes\n"
                       f"[widths]\nkey-bits = {'32, 64' if widths > 1 else '64'}\n"
                       "dataset = uniform_sparse_uint32\nsize = 2K\nmode = chained\n"
                       "workload = uniform\nthreads = 1\npayload = 0\n")
        driver = os.path.join(BUILD, "ldbench")
        done = subprocess.run([driver, "run", config, "--reps", "2", "--seed=7", "--out", out],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        subprocess.run([sys.executable, "-B", os.path.join(ROOT, "scripts", "summarize"), out],
                       stdout=subprocess.DEVNULL, check=True)
        find, _ = validate.check_folder(out, {})
        lines = [line for line in find.lines() if "git_dirty" not in line
                 and "git_revision" not in line]
        self.assertEqual(lines, [])
        self.assertTrue(any("no_uint64 (gone)" in note for note in find.notes), find.notes)
        rows, _ = ldbresults.read_samples(os.path.join(out, "samples.csv"))
        wanted, _ = ldbplan.wanted_cells(ldbresults.read_run(out), rows)
        self.assertEqual(len(wanted), 4 * 2 * 3 * 2 * 2 * 2 * 2 + 3 * 2 + 2 * 2 + 3 * widths + 1)


if __name__ == "__main__":
    unittest.main()
