"""Tests of scripts/ldbstats.py, scripts/ldbresults.py and scripts/summarize.

/usr/bin/python3 -m unittest discover -s tests -p 'test_stats.py'
After a wanted change: LDB_UPDATE_GOLDEN=1, then review the diff of tests/golden/.
"""

import csv
import itertools
import math
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import scipy.stats

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(ROOT, "scripts"))
sys.dont_write_bytecode = True
import ldbresults  # noqa: E402
import ldbstats  # noqa: E402
from ldbload import load_script  # noqa: E402
from ldbstyle import Style  # noqa: E402


summarize = load_script("summarize")
HEADER = ",".join(ldbresults.COLUMNS)


def line(name, ns, rep=1, status="ok", **more):
    """One line of samples.csv."""
    row = dict.fromkeys(ldbresults.COLUMNS, "")
    row.update(experiment="t", family="index", name=name, dataset="d", n="1000", key_bits="64",
               workload="uniform", mode="independent", threads="1", pages="4k", payload_bytes="0",
               rep=str(rep), status=status, ns_per_op=str(ns))
    row.update(more)
    return ",".join(f'"{v}"' if "," in v else v for v in row.values())


class Folder(unittest.TestCase):
    """A results folder in a temporary place."""

    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)

    def write(self, lines, run='{"reference": "btree"}', end="\n"):
        with open(os.path.join(self.dir, "samples.csv"), "w", encoding="utf-8") as file:
            file.write("\n".join([HEADER, *lines]) + end)
        if run is not None:
            with open(os.path.join(self.dir, "run.json"), "w", encoding="utf-8") as file:
                file.write(run)

    def call(self, expect=0):
        done = subprocess.run([sys.executable, "-B", os.path.join(ROOT, "scripts", "summarize"),
                               self.dir], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, expect, done.stderr)
        return done.stdout if expect == 0 else done.stderr

    def summary(self):
        with open(os.path.join(self.dir, "summary.csv"), encoding="utf-8", newline="") as file:
            return {(r["name"], r["params"], r["n"], r["mode"]): r for r in csv.DictReader(file)}

    def one(self, name):
        found = [r for k, r in self.summary().items() if k[0] == name]
        self.assertEqual(len(found), 1)
        return found[0]


class Widths(Folder):
    """Keys of 32 bits beside keys of 64: never ranked together, and a ratio of each pair."""

    def test_pairs_and_ranks(self):
        lines = []
        for rep in range(1, 11):
            for name, ns in (("btree", 100), ("rmi", 80)):
                lines.append(line(name, ns + rep, rep, params="node=8"))
                lines.append(line(name, (ns + rep) / 2, rep, key_bits="32", params="node=16",
                                  index_bytes="10"))
        lines.append(line("pgm", 7, 1, key_bits="32"))  # without a partner
        self.write(lines)
        said = self.call()
        self.assertIn("32-bit keys against 64-bit keys", said)
        table = said.split("32-bit keys against 64-bit keys")[1]
        self.assertEqual(table.count("0.500 [0.500, 0.500]"), 2)
        self.assertNotIn("PGM", table.split("\n\n")[0])
        rows, _ = ldbresults.read_samples(os.path.join(self.dir, "samples.csv"))
        pairs = ldbresults.width_pairs(ldbresults.build_cells(rows))
        self.assertEqual([(a.name, a.get("key_bits"), b.get("key_bits")) for a, b in pairs],
                         [("btree", "32", "64"), ("rmi", "32", "64")])
        with open(os.path.join(self.dir, "summary.csv"), encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual({(r["name"], r["key_bits"], r["rank"]) for r in rows if r["rank"]},
                         {("rmi", "64", "1"), ("btree", "64", "2"), ("rmi", "32", "1"),
                          ("btree", "32", "2")})

    def test_several_settings_pair_by_their_parameters(self):
        cells = ldbresults.build_cells([
            dict(zip(ldbresults.COLUMNS, line("rmi", 1, 1, key_bits=bits, params=params)
                     .split(",")), note={}, n=1000, ns_per_op=1.0)
            for bits in ("32", "64") for params in ("leaves=1", "leaves=2")])
        pairs = ldbresults.width_pairs(cells)
        self.assertEqual([(a.params, b.params) for a, b in pairs],
                         [("leaves=1", "leaves=1"), ("leaves=2", "leaves=2")])


class Bootstrap(unittest.TestCase):
    def test_median_of_known_values(self):
        self.assertEqual(ldbstats.interval([3, 1, 2]).median, 2)
        self.assertEqual(ldbstats.interval([4, 1, 2, 100]).median, 3)
        self.assertTrue(math.isnan(ldbstats.interval([]).median))
        self.assertEqual(ldbstats.interval([5]), ldbstats.Interval(5, 5, 5, "range", 1))

    def test_weights_equal_all_resamples_counted(self):
        """Every one of the n^n resamples, for odd and even n."""
        for n in (1, 2, 3, 4, 5, 6):
            counted = {}
            for draw in itertools.product(range(n), repeat=n):
                s = sorted(draw)
                key = s[(n - 1) // 2], s[n // 2]
                counted[key] = counted.get(key, 0) + 1 / n**n
            i, j, weight = ldbstats._median_weights(n)
            ours = {(a, b): w for a, b, w in zip(i.tolist(), j.tolist(), weight)}
            for key in set(counted) | set(ours):
                self.assertAlmostEqual(ours.get(key, 0), counted.get(key, 0), places=12)

    def test_weights_sum_to_one_at_any_count(self):
        for n in (1, 2, 9, 10, 63, 64, 65, 500, 2000, 10001):
            self.assertAlmostEqual(ldbstats._median_weights(n)[2].sum(), 1, places=9)

    def test_agrees_with_scipy(self):
        rng = np.random.default_rng(7)
        for n in (8, 10, 11, 20, 33):
            x = rng.lognormal(3, 0.2, n)
            theirs = scipy.stats.bootstrap((x,), np.median, n_resamples=20000,
                                           method="percentile", random_state=5)
            ours = ldbstats.bootstrap_median(x)
            # Where the cut falls between two atoms, resampling may land on the neighbour.
            near = np.diff(np.sort(x)).max() / 2
            self.assertAlmostEqual(ours[0], theirs.confidence_interval.low, delta=near)
            self.assertAlmostEqual(ours[1], theirs.confidence_interval.high, delta=near)

    def coverage(self, n, level, trials=1500):
        rng = np.random.default_rng(n)
        hits = 0
        for _ in range(trials):
            low, high = ldbstats.bootstrap_median(rng.lognormal(3, 0.3, n), level)
            hits += low <= math.exp(3) <= high
        return hits / trials

    def test_interval_covers_the_true_median(self):
        for n in (8, 10, 11, 20):
            covered = self.coverage(n, 0.95)
            self.assertGreater(covered, 0.91, n)
            self.assertLess(covered, 0.985, n)

    def test_coverage_test_can_fail(self):
        self.assertLess(self.coverage(10, 0.8), 0.91)
        # The reason for MIN_ROUNDS: three rounds cover far less than 95 %.
        self.assertLess(self.coverage(3, 0.95), 0.85)

    def test_few_values_are_not_decisive(self):
        few = ldbstats.interval([0.5] * (ldbstats.MIN_ROUNDS - 1))
        self.assertEqual(few.kind, "range")
        self.assertIsNone(ldbstats.compare(few))
        self.assertEqual(ldbstats.compare(ldbstats.interval([0.5] * ldbstats.MIN_ROUNDS)), -1)

    def test_outliers_flagged(self):
        flags = ldbstats.outliers([10, 10.1, 9.9, 10.2, 9.8, 30])
        self.assertEqual(flags.tolist(), [False] * 5 + [True])
        self.assertFalse(ldbstats.outliers([1, 1, 100]).any())


class Comparison(unittest.TestCase):
    def drifting(self):
        """The machine's speed wanders over a factor of 2; a is 5 % faster in every round."""
        rng = np.random.default_rng(3)
        speed = np.exp(np.cumsum(rng.normal(0, 0.25, 10)))
        b = {r: 100 * s for r, s in enumerate(speed)}
        a = {r: 95 * s * rng.lognormal(0, 0.003) for r, s in enumerate(speed)}
        return a, b

    def test_pairing_sees_what_medians_hide(self):
        a, b = self.drifting()
        ratio = ldbstats.paired_ratio(a, b)
        self.assertLess(ratio.high, 0.96)
        self.assertGreater(ratio.low, 0.94)
        self.assertEqual(ldbstats.compare(ratio), -1)
        own, other = ldbstats.interval(list(a.values())), ldbstats.interval(list(b.values()))
        self.assertGreater(own.high, other.low)  # by the medians they would tie

    def test_broken_pairing_gives_another_answer(self):
        """With rounds shifted by one the interval is wide and nothing is decided."""
        a, b = self.drifting()
        shifted = {(r + 1) % 10: v for r, v in a.items()}
        wrong = ldbstats.paired_ratio(shifted, b)
        self.assertEqual(ldbstats.compare(wrong), 0)
        right = ldbstats.paired_ratio(a, b)
        self.assertGreater(wrong.high - wrong.low, 5 * (right.high - right.low))

    def test_ratio_of_medians_differs_when_a_round_is_missing(self):
        """Interrupted in the slow half: the medians compare different minutes, the rounds don't."""
        b = {r: 100.0 if r < 10 else 200.0 for r in range(20)}
        a = {r: b[r] * 0.9 for r in range(12)}
        self.assertAlmostEqual(ldbstats.paired_ratio(a, b).median, 0.9)
        by_medians = np.median(list(a.values())) / np.median(list(b.values()))
        self.assertLess(by_medians, 0.65)

    def test_no_shared_round(self):
        self.assertEqual(ldbstats.paired_ratio({1: 5.0}, {2: 5.0}).count, 0)
        self.assertIsNone(ldbstats.compare(ldbstats.paired_ratio({1: 5.0}, {2: 5.0})))

    def test_two_runs_agree_with_scipy(self):
        """Two samples that share no rounds, both resampled."""
        rng = np.random.default_rng(11)
        ratio = lambda x, y, axis: np.median(x, axis=axis) / np.median(y, axis=axis)
        for n, m in ((8, 8), (10, 11), (9, 30), (25, 12)):
            x, y = rng.lognormal(3.1, 0.1, n), rng.lognormal(3, 0.2, m)
            theirs = scipy.stats.bootstrap((x, y), ratio, n_resamples=20000, paired=False,
                                           method="percentile", random_state=5)
            ours = ldbstats.unpaired_ratio(x, y)
            self.assertAlmostEqual(ours.median, np.median(x) / np.median(y))
            self.assertAlmostEqual(ours.low / theirs.confidence_interval.low, 1, delta=0.02)
            self.assertAlmostEqual(ours.high / theirs.confidence_interval.high, 1, delta=0.02)

    def test_two_runs_counted_out(self):
        """All resamples of both sides, where they are few enough to be counted."""
        x, y = [1.0, 2.0, 4.0], [3.0, 5.0, 9.0]
        medians = lambda v: [sorted(d)[1] for d in itertools.product(v, repeat=3)]
        every = sorted(a / b for a in medians(x) for b in medians(y))
        rounds, ldbstats.MIN_ROUNDS = ldbstats.MIN_ROUNDS, 3
        self.addCleanup(setattr, ldbstats, "MIN_ROUNDS", rounds)
        for level in (0.5, 0.8, 0.95):
            ours = ldbstats.unpaired_ratio(x, y, level)
            cut = [math.ceil(round(q * len(every), 9)) - 1 for q in ((1 - level) / 2, (1 + level) / 2)]
            self.assertAlmostEqual(ours.low, every[cut[0]])
            self.assertAlmostEqual(ours.high, every[cut[1]])

    def test_two_runs_of_few_rounds_decide_nothing(self):
        few = ldbstats.unpaired_ratio([1.0] * 10, [2.0] * 7)
        self.assertEqual((few.median, few.kind), (0.5, "range"))
        self.assertIsNone(ldbstats.compare(few))
        self.assertEqual(ldbstats.compare(ldbstats.unpaired_ratio([1.0] * 8, [2.0] * 8)), -1)
        self.assertEqual(ldbstats.unpaired_ratio([], [2.0]), ldbstats.NOTHING)

    def test_margin_makes_small_differences_ties(self):
        self.assertEqual(ldbstats.compare(ldbstats.interval([0.99] * 10)), 0)
        self.assertEqual(ldbstats.compare(ldbstats.interval([1.01] * 10)), 0)
        self.assertEqual(ldbstats.compare(ldbstats.interval([0.97] * 10)), -1)
        self.assertEqual(ldbstats.compare(ldbstats.interval([1.03] * 10)), 1)

    def test_ranks_and_ties(self):
        low_high = [(1, 2), (1.5, 2.5), (3, 4), (2.2, 3.5)]
        order = lambda i, j: -1 if low_high[i][1] < low_high[j][0] else 0
        # 0 ties with 1; 3 is behind 0 only; 2 is behind 0 and 1.
        self.assertEqual(ldbstats.ranks(4, order), [1, 1, 3, 2])
        self.assertEqual(ldbstats.ranks(0, order), [])


class Notes(unittest.TestCase):
    def test_parse(self):
        note = ldbresults.parse_note("key 5: got 7; session=2; chosen=leaves=65536,root=cubic")
        self.assertEqual(note, {"": "key 5: got 7", "session": "2",
                                "chosen": "leaves=65536,root=cubic"})
        self.assertEqual(ldbresults.parse_note(""), {})

    def test_sizes(self):
        for n, text in ((1, "1"), (999, "999"), (1000, "1K"), (999_999, "1M"), (2500, "2.5K"),
                        (7_138_872, "7.14M"), (10**9, "1G")):
            self.assertEqual(ldbresults.size_text(n), text)


class Summary(Folder):
    def rounds(self, name, ns, count=10, **more):
        """Rounds with the machine's drift in them, the same for all names."""
        return [line(name, ns * (1 + 0.03 * rep) * (1 + 0.002 * (rep * 7 % 5)), rep, **more)
                for rep in range(count)]

    def strong(self, **more):
        return self.rounds("bsearch", 150, **more) + self.rounds("btree", 100, **more) + \
            self.rounds("absl_btree", 110, **more)

    def test_ratio_rank_and_verdict(self):
        self.write(self.strong() + self.rounds("rmi", 50, note="learned=1"))
        out = self.call()
        self.assertIn("learned (rmi) ahead of bsearch, btree, absl_btree", out)
        self.assertIn("not compared with splustree, rbs, art", out)
        self.assertNotIn("learned wins", out)
        rmi = self.one("rmi")
        self.assertEqual(rmi["rank"], "1")
        self.assertAlmostEqual(float(rmi["ratio"]), 0.5, places=2)
        self.assertEqual([self.one(n)["rank"] for n in ("btree", "absl_btree", "bsearch")],
                         ["2", "3", "4"])
        self.assertEqual(self.one("btree")["reference"], "1")

    def test_learned_wins_needs_every_required_baseline(self):
        lines = self.strong() + self.rounds("rmi", 50, note="learned=1")
        for name in Style().required("index"):
            if name != "btree":
                lines += self.rounds(name, 80)
        self.write(lines)
        self.assertIn("learned wins: rmi ahead of", self.call())

    def test_a_learned_setting_is_no_baseline(self):
        """merge_join over learned_sort does not stand in for merge_join."""
        join = {"family": "join", "mode": "count", "workload": "x4:uu"}
        lines = self.rounds("hash_join", 100, **join) + self.rounds("radix_join", 110, **join)
        learned = self.rounds("merge_join", 50, params="sort=learned_sort", note="learned=1", **join)
        self.write(lines + learned)
        self.assertIn("no verdict: strong baselines merge_join not in this run", self.call())
        self.write(lines + learned + self.rounds("merge_join", 120, params="sort=vqsort", **join))
        self.assertIn("learned (merge_join) ahead of", self.call())

    def test_no_verdict_without_strong_baseline(self):
        self.write(self.rounds("btree", 100) + self.rounds("rmi", 50)
                   + [line("bsearch", "", status="timeout")])
        out = self.call()
        self.assertIn("no verdict: strong baselines bsearch (timeout), absl_btree not in this run",
                      out)
        self.assertNotIn("ahead of b", out)

    def test_a_loss_is_printed_like_a_win(self):
        self.write(self.strong() + self.rounds("rmi", 130))
        self.assertIn("B-tree wins: btree ahead of the best learned (rmi)", self.call())

    def test_a_loss_needs_no_other_baseline(self):
        self.write(self.rounds("btree", 100) + self.rounds("rmi", 130))
        self.assertIn("B-tree wins", self.call())

    def test_undecided_and_no_winner(self):
        self.write(self.strong() + self.rounds("rmi", 100.4))
        out = self.call()
        self.assertIn("undecided: rmi takes", out)
        self.assertNotRegex(out, r"\d \*")
        self.assertEqual(self.one("rmi")["rank"], "1")
        self.assertEqual(self.one("btree")["rank"], "1")

    def test_few_repetitions_decide_nothing(self):
        self.write(self.rounds("btree", 100, 3) + self.rounds("rmi", 10, 3))
        out = self.call()
        self.assertIn("no verdict", out)
        self.assertIn("fewer than 8 repetitions", out)
        self.assertEqual((self.one("rmi")["rank"], self.one("rmi")["interval"]), ("", "range"))

    def test_groups_meet_by_way_of_the_reference(self):
        """Group 2 ran when the machine was twice as slow: only the ratios are comparable."""
        self.write(self.rounds("btree", 100, note="group=1")
                   + self.rounds("bsearch", 150, note="group=1")
                   + self.rounds("btree", 200, note="group=2")
                   + self.rounds("absl_btree", 220, note="group=2")
                   + self.rounds("rmi", 120, note="group=2"))
        out = self.call()
        self.assertIn("learned (rmi) ahead of bsearch, btree, absl_btree", out)
        self.assertAlmostEqual(float(self.one("rmi")["ratio"]), 0.6, places=2)
        self.assertEqual(self.one("btree")["reps_ok"], "20")

    def test_null_is_never_ranked(self):
        self.write(self.strong() + self.rounds("null", 1) + self.rounds("rmi", 50))
        self.call()
        self.assertEqual(self.one("null")["rank"], "")
        self.assertEqual(self.one("rmi")["rank"], "1")

    def test_cases_stand_side_by_side(self):
        """Updates: a column for each workload, ratios below, and baselines of their own."""
        lines = []
        for workload, factor in (("read", 1), ("insert", 3)):
            for name, ns in (("btree", 100), ("absl_btree", 110), ("art_dynamic", 90), ("alex", 50)):
                note = "learned=1" if name == "alex" else ""
                lines += self.rounds(name, ns * factor, mode="mixed", workload=workload, note=note)
        self.write(lines)
        said = self.call()
        self.assertRegex(said, r"read +insert +interval at insert")
        ratios = said[said.index("ratio to btree  "):].splitlines()
        alex = next(line.split() for line in ratios if line.split()[0].lower() == "alex")
        self.assertEqual(alex[1:], ["0.500", "0.500"])
        self.assertIn("verdict at insert: learned wins: alex ahead of", said)
        self.assertIn("Other cases: learned ahead at read", said)

    def test_modes_never_meet(self):
        self.write(self.strong(mode="chained") + self.rounds("rmi", 5, mode="independent"))
        out = self.call()
        self.assertNotIn("ahead", out.split("* ahead of every")[0])
        self.assertEqual(self.one("rmi")["ratio"], "")

    def test_later_clean_session_counts(self):
        bad = self.rounds("rmi", 1, 3) + [line("rmi", "", 3, "wrong", note="key 5: got 7")]
        self.write(self.strong() + bad + self.rounds("rmi", 50, note="session=2"))
        out = self.call()
        rmi = self.one("rmi")
        self.assertEqual((rmi["status"], rmi["reps_ok"], rmi["reps_bad"]), ("ok", "10", "1"))
        self.assertGreater(float(rmi["median_ns"]), 40)
        self.assertIn("wrong in session 1", rmi["note"])
        self.assertIn("key 5: got 7", out)

    def test_failed_cell_is_listed_and_unranked(self):
        self.write(self.strong() + self.rounds("rmi", 1, 9)
                   + [line("rmi", "", 9, "wrong", note="key 5: got 7")])
        out = self.call()
        self.assertIn("Failed: 1 of 4 cells", out)
        self.assertRegex(out, r"wrong  rmi  d  1K .*key 5: got 7")
        rmi = self.one("rmi")
        self.assertEqual((rmi["status"], rmi["rank"], rmi["reps_ok"]), ("wrong", "", "9"))
        self.assertNotIn("learned (rmi)", out)

    def test_missing_is_empty_not_zero(self):
        self.write(self.rounds("btree", 100, instructions="5"))
        self.call()
        row = self.one("btree")
        self.assertEqual((row["instructions"], row["cycles"], row["build_ns"]), ("5", "", ""))

    def test_fallback_is_told(self):
        self.write(self.rounds("btree", 100, mode="batched", note="batch=lookup; cpu_ns=400"))
        self.assertIn("~ has no batch of its own", self.call())
        self.assertEqual(self.one("btree")["fallback"], "batch=lookup")

    def test_parameters_shown_where_they_differ(self):
        self.write(self.rounds("rmi", 50, params="leaves=8;root=auto")
                   + self.rounds("rmi", 60, params="leaves=64;root=auto"))
        out = self.call()
        self.assertIn("RMI leaves=8 ", out)
        self.assertNotIn("root=auto", out)


class Damage(Folder):
    def test_cut_last_line(self):
        whole = [line("btree", 100 + r, r) for r in range(10)]
        for cut in (line("btree", 5)[:40], line("btree", 5), line("btree", 5) + "12"):
            self.write(whole + [cut], end="")
            self.assertIn("line 12 skipped: cut off", self.call())
            self.assertEqual(self.one("btree")["reps_ok"], "10")

    def test_damaged_lines_are_skipped_and_said(self):
        good = [line("btree", 100 + r, r) for r in range(10)]
        bad = ["\0\0\0\0", line("btree", "abc"), line("btree", "nan"), line("btree", ""),
               line("btree", 5) + ",1", line("btree", 5).replace(",uniform", ',"uniform'),
               line("btree", "-1"), ""]
        self.write(good[:5] + bad + good[5:])
        out = self.call()
        said = [int(t.split()[1]) for t in out.split("damaged:")[1].splitlines() if "skipped" in t]
        self.assertEqual(said, list(range(7, 15)))
        self.assertEqual(self.one("btree")["reps_ok"], "10")

    def test_no_ok_rows(self):
        self.write([line("btree", "", 1, "oom"), line("rmi", "", 1, "crashed", note="signal 11")])
        out = self.call()
        self.assertIn("No cell is whole", out)
        self.assertIn("signal 11", out)
        self.assertEqual(self.one("rmi")["median_ns"], "")

    def test_header_only_empty_and_missing(self):
        self.write([])
        self.assertIn("0 cells", self.call())
        with open(os.path.join(self.dir, "samples.csv"), "w", encoding="utf-8"):
            pass
        self.assertIn("header lacks", self.call(2))
        os.remove(os.path.join(self.dir, "samples.csv"))
        self.assertIn("No such file", self.call(2))

    def test_one_competitor_no_reference_broken_run_json(self):
        for run in (None, "{", "[]", "{}", '{"reference": "gone", "machine": 5}'):
            self.write([line("rmi", 50 + r, r) for r in range(10)], run)
            out = self.call()
            self.assertIn("No ratios", out)
            self.assertEqual(self.one("rmi")["ratio"], "")
            self.assertEqual(self.one("rmi")["rank"], "1")
            if os.path.exists(os.path.join(self.dir, "run.json")):
                os.remove(os.path.join(self.dir, "run.json"))


class Golden(Folder):
    """tests/golden/samples.csv -> summary.csv and the screen, reviewed as a diff."""

    def test_golden(self):
        golden = os.path.join(HERE, "golden")
        for name in ("samples.csv", "run.json"):
            shutil.copy(os.path.join(golden, name), self.dir)
        screen = self.call().replace(self.dir, "DIR")
        with open(os.path.join(self.dir, "summary.csv"), encoding="utf-8") as file:
            summary = file.read()
        for name, text in (("summary.csv", summary), ("screen.txt", screen)):
            path = os.path.join(golden, name)
            if os.environ.get("LDB_UPDATE_GOLDEN"):
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
            with open(path, encoding="utf-8") as file:
                self.assertEqual(text, file.read(), f"{name}: LDB_UPDATE_GOLDEN=1 after review")


if __name__ == "__main__":
    unittest.main()
