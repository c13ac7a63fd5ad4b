"""Tests of scripts/perf-check: its arithmetic on known samples and on simulated noise, its
verdicts, and (with the built driver) two builds that compete.

/usr/bin/python3 tests/test_perf_check.py [--power]     --power prints the docs' table of odds
"""

import contextlib
import io
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
BUILD = os.path.join(ROOT, os.environ.get("LDB_BUILD", "build"))
sys.path[:0] = [os.path.join(ROOT, "scripts"), HERE]
sys.dont_write_bytecode = True
import ldbregress as regress  # noqa: E402
import perf_check_selftest as selftest  # noqa: E402

perf = selftest.perf

CELLS = [perf.Cell(f"index{i}", ("keys", "1K", "uniform", "chained")) for i in range(12)]


class Arithmetic(unittest.TestCase):
    def test_signed_ranks_counted(self):
        for n in (1, 2, 5, 8):
            sums = [sum(r for r, up in zip(range(1, n + 1), ups) if up)
                    for ups in itertools.product((0, 1), repeat=n)]
            cdf = regress.signed_rank_cdf(n)
            for k, p in enumerate(cdf):
                self.assertAlmostEqual(p, sum(s <= k for s in sums) / 2**n, places=12)

    def test_known_sample(self):
        # Averages of pairs of 1, 2, 4, 8, 16, 32: their median is 9.5 = the middle of 9 and 10.
        values = [math.log(2) * v for v in (0, 1, 2, 3, 4, 5)]
        found = regress.ratio(values)
        self.assertAlmostEqual(found.estimate, 2**2.5)
        # Six values: 95 % takes all but one of 64 cases, which is the range.
        self.assertAlmostEqual(found.low, 1)
        self.assertAlmostEqual(found.high, 32)
        self.assertEqual(found.sessions, 6)

    def test_bound_agrees_with_scipy(self):
        """The bound is above x just when the test rejects that the centre is x or less."""
        rng = np.random.default_rng(3)
        for n, odds in ((8, 0.05), (12, 0.01), (20, 0.01 / 12)):
            for _ in range(20):
                x = rng.standard_t(3, n) * 0.05 + 0.03
                bound = regress.lower_bound(x, odds)
                for shift, rejected in ((bound - 1e-9, True), (bound + 1e-9, False)):
                    p = scipy.stats.wilcoxon(x - shift, alternative="greater", mode="exact").pvalue
                    self.assertEqual(p <= odds, rejected)

    def test_too_few_are_refused(self):
        for n in range(1, 6):
            with self.assertRaisesRegex(regress.TooFew, f"{n} sessions"):
                regress.ratio([0.1] * n)
        self.assertEqual(regress.ratio([0.1] * 6).sessions, 6)
        self.assertEqual(regress.sessions_needed(0.025), 6)
        self.assertEqual(regress.sessions_needed(0.01 / 12), 11)
        with self.assertRaises(regress.TooFew):
            regress.slower([0.1] * 10, 0.1, cells=12)
        self.assertTrue(regress.slower([0.1] * 11, 0.1, cells=12))
        with self.assertRaises(regress.TooFew):
            regress.session_log_ratio({1: 5.0}, {2: 5.0})

    def test_rounds_pair_up(self):
        base = {1: 10.0, 2: 20.0, 3: 40.0, 4: 1000.0}
        head = {r: 1.1 * t for r, t in base.items()}
        head[5] = 1.0  # a round of one side only
        self.assertAlmostEqual(regress.session_log_ratio(head, base), math.log(1.1))

    def test_a_wild_session_moves_little(self):
        values = [0.001, -0.002, 0.0, 0.003, -0.001, 0.002, -0.003, 0.9]
        self.assertLess(regress.ratio(values).estimate, 1.004)
        self.assertFalse(regress.suspicious(values, 0.1))

    def test_swapped_sides_turn_round(self):
        values = np.random.default_rng(5).normal(0.02, 0.05, 9)
        one, other = regress.ratio(values), regress.ratio(-values)
        self.assertAlmostEqual(one.estimate * other.estimate, 1)
        self.assertAlmostEqual(one.low * other.high, 1)

    def test_limit_is_what_is_caught(self):
        spread = [0.001 * i for i in range(-10, 10)]
        for percent, caught in ((1, False), (4, False), (6, True), (10, True)):
            values = [math.log(1 + percent / 100) + s for s in spread]
            self.assertEqual(regress.slower(values, 0.10, 12), caught, percent)
            self.assertEqual(regress.slower(values, 0.01, 12), True)

    def test_beyond_doubt_or_not(self):
        values = [0.3, -0.2] * 10  # 5 % in the middle, and nothing sure
        self.assertFalse(regress.slower(values, 0.05, 12))
        self.assertTrue(regress.too_much([v + 0.1 for v in values], 0.05))
        self.assertFalse(regress.slower([v + 0.1 for v in values], 0.05, 12))


class Noisy(perf.Bench):
    """Sessions from a formula. In each a side's memory lies luckily or not, and every pass may be
    interrupted: as on two shared cores, or a little worse."""

    def __init__(self, seed, slow=None, session_sd=0.035, pass_sd=0.06):
        super().__init__(None, None, "")
        self.rng = np.random.default_rng(seed)
        self.slow = slow or {}
        self.session_sd, self.pass_sd = session_sd, pass_sd
        self.runs = []

    def has(self, side, cell):
        return True

    def session(self, cells, rounds, seed, out):
        self.runs.append((out, cells))
        times = {}
        for cell in cells:
            drift = self.rng.lognormal(0, 0.2, rounds)  # of the machine: the same for both
            for side in perf.SIDES:
                luck = math.exp(self.session_sd * self.rng.standard_t(4) / math.sqrt(2))
                noise = np.exp(self.pass_sd * self.rng.standard_t(3, rounds))
                hit = np.where(self.rng.random(rounds) < 0.05, 1.7, 1)
                factor = self.slow.get(cell, 1) if side == "head" else 1
                passes = 100 * luck * factor * drift * noise * hit
                times[cell, side] = dict(enumerate(passes.tolist(), 1))
        return times, {}


def share(checks, slow, **noise):
    """Shares of checks that raise an alarm for the first cell, and for another."""
    own = others = 0
    for seed in range(checks):
        verdicts = perf.check(Noisy(seed, {CELLS[0]: slow}, **noise), CELLS, 0.10, 1)
        own += verdicts[CELLS[0]].bad
        others += any(v.bad for c, v in verdicts.items() if c != CELLS[0])
    return own / checks, others / checks


class Simulated(unittest.TestCase):
    def test_a_revision_with_itself(self):
        own, others = share(60, 1.0)
        self.assertLessEqual(own + others, 1 / 20)
        # The first run's suspicion is no alarm: each cell looked at by the second run's rule.
        alarms = 0
        for seed in range(20):
            bench = Noisy(1000 + seed)
            logs = bench.run(CELLS, perf.SECOND, 1, "second").logs
            alarms += any(regress.slower(logs[c], 0.10, len(CELLS)) for c in CELLS)
        self.assertLessEqual(alarms, 1)

    def test_ten_percent_is_caught(self):
        own, others = share(60, 1.10)
        self.assertGreaterEqual(own, 19 / 20)
        self.assertLessEqual(others, 1 / 20)

    def test_little_passes_and_much_does_not(self):
        self.assertLessEqual(share(30, 1.02)[0], 1 / 20)
        self.assertEqual(share(20, 1.20)[0], 1)
        self.assertEqual(share(20, 0.80)[0], 0)

    def test_the_second_run_sees_suspects_only(self):
        bench = Noisy(1, {CELLS[3]: 1.3}, session_sd=0.001, pass_sd=0.001)
        verdicts = perf.check(bench, CELLS, 0.10, 1)
        self.assertEqual([c for c, v in verdicts.items() if v.bad], [CELLS[3]])
        self.assertEqual(len(bench.runs), perf.FIRST.sessions + perf.SECOND.sessions)
        self.assertEqual(bench.runs[-1][1], [CELLS[3]])
        self.assertGreater(perf.SECOND.sessions * perf.SECOND.rounds,
                           perf.FIRST.sessions * perf.FIRST.rounds)


class Failing(Noisy):
    """A bench whose cells fail as told: dict (cell, side) -> text."""

    def __init__(self, failures, missing=(), slow=None):
        super().__init__(1, slow, session_sd=0.001, pass_sd=0.001)
        self.failures, self.missing = failures, missing

    def has(self, side, cell):
        return cell not in self.missing

    def session(self, cells, rounds, seed, out):
        times, _ = super().session(cells, rounds, seed, out)
        return ({k: t for k, t in times.items() if k not in self.failures},
                {k: why for k, why in self.failures.items() if k[0] in cells})


class Verdicts(unittest.TestCase):
    def words(self, *args, **more):
        verdicts = perf.check(Failing(*args, **more), CELLS[:3], 0.10, 1)
        return [verdicts[c].word for c in CELLS[:3]], [verdicts[c].bad for c in CELLS[:3]]

    def test_new_index_is_listed(self):
        words, bad = self.words({}, missing=CELLS[:1])
        self.assertEqual(words, ["not compared: new, BASE has none", "ok", "ok"])
        self.assertEqual(bad, [False] * 3)
        verdicts = perf.check(Failing({}, missing=CELLS), CELLS, 0.10, 1)
        self.assertFalse(any(v.bad for v in verdicts.values()))

    def test_crash_in_head_is_a_failure(self):
        words, bad = self.words({(CELLS[1], "head"): "crashed: killed by signal 11"})
        self.assertEqual(words[1], "FAILED: crashed: killed by signal 11")
        self.assertEqual(bad, [False, True, False])
        # Though BASE crashes, too.
        _, bad = self.words({(CELLS[1], s): "crashed" for s in perf.SIDES})
        self.assertEqual(bad, [False, True, False])

    def test_what_base_could_not_do(self):
        words, bad = self.words({(CELLS[2], "base"): "wrong: checksum"})
        self.assertEqual(words[2], "not compared: BASE wrong: checksum")
        self.assertEqual(bad, [False] * 3)

    def test_unsupported(self):
        _, bad = self.words({(CELLS[0], s): "unsupported: no order" for s in perf.SIDES})
        self.assertEqual(bad, [False] * 3)
        _, bad = self.words({(CELLS[0], "head"): "unsupported: no order"})
        self.assertEqual(bad, [True, False, False])

    def test_failed_cells_are_not_run_again(self):
        bench = Failing({(CELLS[0], "head"): "timeout"})
        perf.check(bench, CELLS[:2], 0.10, 1)
        self.assertEqual([len(cells) for _, cells in bench.runs], [2, *[1] * 7])

    def test_no_samples_is_no_pass(self):
        bench = Failing({})
        bench.session = lambda *_: ({}, {})
        self.assertTrue(all(v.bad for v in perf.check(bench, CELLS[:2], 0.10, 1).values()))

    def test_undecided_says_so(self):
        bench = Noisy(7, {CELLS[0]: 1.2}, session_sd=0.6)
        bench.run = lambda cells, run, seed, name: perf.Measured(
            {c: [0.4, -0.2] * (run.sessions // 2) for c in cells})
        self.assertEqual(perf.check(bench, CELLS[:1], 0.10, 1)[CELLS[0]].word,
                         "ok: not slower beyond doubt")

    def test_table_and_csv(self):
        verdicts = perf.check(Failing({(CELLS[1], "head"): "crashed"}, slow={CELLS[0]: 1.5}),
                              CELLS[:3], 0.10, 1)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            perf.print_table(verdicts)
        lines = out.getvalue().splitlines()
        self.assertRegex(lines[1], r"^index0 keys 1K uniform chained +1\.5\d\d \[.*SLOWER$")
        self.assertTrue(lines[2].endswith("FAILED: crashed"))
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "ratios.csv")
            perf.write_csv(verdicts, path)
            with open(path, encoding="utf-8") as file:
                rows = file.read().splitlines()
        self.assertEqual(len(rows), 4)
        self.assertEqual(rows[2], "index1,keys,1K,uniform,chained,,,,,,,,,FAILED: crashed")


class Configs(unittest.TestCase):
    def read(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".ini") as file:
            file.write(text)
            file.flush()
            return perf.read_cells(file.name)

    def test_cells_of_the_check(self):
        cells = perf.read_cells(perf.CONFIG)
        self.assertEqual(len(set(cells)), len(cells))
        self.assertLessEqual(len(cells), 16)
        self.assertEqual({c.point[3] for c in cells}, {"independent", "chained", "batched"})
        # The second run must be long enough to decide.
        self.assertGreaterEqual(perf.SECOND.sessions,
                                regress.sessions_needed(regress.FALSE_ALARMS / len(cells)))

    def test_sections_spread(self):
        cells = self.read("ops = 5\nworkload = uniform ; all\n[a]\n"
                          "index = rmi,\n  splustree:node=16\ndataset = x\nsize = 1K, 2K\n"
                          "mode = chained\nreps = 9\nexperiment = z\n")
        self.assertEqual([str(c) for c in cells],
                         ["rmi x 1K uniform chained", "splustree:node=16 x 1K uniform chained",
                          "rmi x 2K uniform chained", "splustree:node=16 x 2K uniform chained"])
        self.assertEqual(cells[1].plugin, "splustree")
        text, groups = perf.config_text(cells, 7, 3, lambda c: [f"a/{c.index}", f"b/{c.index}"])
        self.assertEqual([len(g) for g in groups.values()], [2, 2])
        self.assertIn("[p0]\nops = 5\ndataset = x\nsize = 1K\nworkload = uniform\n"
                      "mode = chained\nreps = 7\nseed = 3\n"
                      "index = a/rmi,\n  b/rmi,\n  a/splustree:node=16,\n", text)

    def test_other_indexes_at_the_same_points(self):
        cells = perf.with_indexes(perf.read_cells(perf.CONFIG), ["cht", "plex"])
        points = {c.point for c in perf.read_cells(perf.CONFIG)}
        self.assertEqual(len(cells), 2 * len(points))
        self.assertEqual({c.point for c in cells}, points)

    def test_what_cannot_be_read(self):
        decades = "[a]\nindex=x\ndataset=x\nsize=1K..1M\nworkload=u\nmode=m\n"
        for text, says in (("[a]\nindex = rmi\n", "no dataset"), ("index", "can't be read"),
                           (decades, "1K..1M")):
            with self.assertRaisesRegex(perf.SetUpError, says):
                self.read(text)
        with self.assertRaisesRegex(perf.SetUpError, "nowhere.ini"):
            perf.read_cells("nowhere.ini")


class Command(unittest.TestCase):
    def call(self, *words):
        return subprocess.run([sys.executable, "-B", os.path.join(ROOT, "scripts", "perf-check"),
                               *words], capture_output=True, text=True, check=False)

    def test_usage(self):
        for words, says in (((), "BASE"), (("--limit", "0", "HEAD"), "--limit 0"),
                            (("no-such-revision",), "unknown revision 'no-such-revision'"),
                            (("--output=/tmp/x",), "BASE"),
                            (("HEAD", "--cells", "nowhere.ini"), "nowhere.ini")):
            done = self.call(*words)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(says, done.stderr)

    def test_base_that_does_not_build(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "Makefile"), "w", encoding="utf-8") as file:
                file.write("build/ldbench:\n\t@echo no such header; false\n")
            side = perf.Side(folder, os.path.join(folder, "build"))
            with self.assertRaisesRegex(perf.SetUpError, "(?s)no such header.*BASE x: it doesn't"):
                perf.build(side, ["rmi"], "BASE x")


class Driven(unittest.TestCase):
    """The built driver; sessions too short to mean anything, so no ratio is looked at."""

    CONFIG = ("workload = uniform\nops = {ops}\n[a]\nindex = {index}\ndataset = uniform_sparse\n"
              "size = 1K\nmode = independent, chained\n")

    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)
        for side in perf.SIDES:
            os.mkdir(os.path.join(self.dir, side))
        self.side = perf.Side(ROOT, BUILD)

    def cells(self, index, ops="1000"):
        path = os.path.join(self.dir, "cells.ini")
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.CONFIG.format(index=index, ops=ops))
        return perf.read_cells(path)

    def copy(self, side, name):
        path = os.path.join(self.dir, side, f"{name}.so")
        shutil.copy(os.path.join(BUILD, "indexes", f"{name}.so"), path)

    def compile(self, side, source, name):
        path = os.path.join(self.dir, f"{name}.c")
        with open(path, "w", encoding="utf-8") as file:
            file.write(source)
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE",
                        f"-I{ROOT}/harness/include", f"-I{ROOT}/tests/liars", f"-I{ROOT}/tests",
                        path, "-o", os.path.join(self.dir, side, f"{name}.so"), "-lm"], check=True)

    def source(self, *path):
        with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
            return file.read()

    def test_two_builds_in_one_driver_or_two(self):
        for side, name in itertools.product(perf.SIDES, ("bsearch", "splustree")):
            self.copy(side, name)
        cells = self.cells("bsearch, splustree:node=8, splustree:node=16")
        for together in (True, False):
            bench = perf.Bench(self.side, self.side, self.dir, together)
            measured = bench.run(cells, perf.Run(2, 3), 1, f"run-{together}")
            self.assertEqual(measured.failures, {})
            self.assertEqual(set(measured.logs), set(cells))
            self.assertTrue(all(len(logs) == 2 for logs in measured.logs.values()))

    def test_crash(self):
        self.compile("base", self.source("tests", "liars", "honest.c").replace("honest", "crash"),
                     "crash")
        self.compile("head", self.source("tests", "liars", "crash.c"), "crash")
        cells = self.cells("crash", "500K")
        bench = perf.Bench(self.side, self.side, self.dir)
        verdicts = perf.check(bench, cells, 0.10, 1, perf.Run(6, 4), perf.Run(6, 1))
        self.assertRegex(verdicts[cells[0]].word, "^FAILED: crashed: killed by signal")
        self.assertTrue(verdicts[cells[0]].bad)

    def test_another_interface(self):
        self.compile("base", self.source("tests", "liars", "old_abi.c"), "old_abi")
        self.copy("head", "bsearch")
        os.rename(os.path.join(self.dir, "head", "bsearch.so"),
                  os.path.join(self.dir, "head", "old_abi.so"))
        with self.assertRaisesRegex(perf.AbiError, "ABI version"):
            perf.Bench(self.side, self.side, self.dir).run(self.cells("old_abi"), perf.Run(1, 1),
                                                           1, "run")

    def test_planted_slow_down_answers_right(self):
        """tests/slowed.h in an index: verified by the driver in both modes, batched as well."""
        tree = os.path.join(self.dir, "tree")
        shutil.copytree(os.path.join(ROOT, "indexes", "eytzinger"),
                        os.path.join(tree, "indexes", "eytzinger"))
        selftest.slow_down(tree, "eytzinger")
        folder = os.path.join(tree, "indexes", "eytzinger")
        shutil.copy(os.path.join(folder, "slowed.h"), self.dir)
        self.copy("base", "eytzinger")
        with open(os.path.join(folder, "eytzinger.c"), encoding="utf-8") as file:
            self.compile("head", file.read(), "eytzinger")
        measured = perf.Bench(self.side, self.side, self.dir).run(
            self.cells("eytzinger", "100K"), perf.Run(1, 2), 1, "run")
        self.assertEqual(measured.failures, {})
        self.assertEqual(len(measured.logs), 2)


class SelfTest(unittest.TestCase):
    def rows(self, wolf, missed, blamed):
        return ([{"slowed": "", "caught": "0", "others": str(int(i < wolf))} for i in range(20)]
                + [{"slowed": "rmi", "caught": str(int(i >= missed)),
                    "others": str(int(i < blamed))} for i in range(20)])

    def test_what_counts_as_reached(self):
        for counts, good in (((0, 0, 0), True), ((1, 1, 1), True), ((2, 0, 0), False),
                             ((0, 2, 0), False), ((0, 0, 2), False)):
            lines, reached = selftest.judge(self.rows(*counts))
            self.assertEqual(reached, good, lines)
            self.assertEqual(sum("NOT REACHED" in line for line in lines), 0 if good else 1)

    def test_a_row(self):
        ratio = regress.Ratio(1.1, 1.05, 1.2, 8)
        verdicts = {CELLS[0]: perf.Verdict("SLOWER", ratio, ratio),
                    CELLS[1]: perf.Verdict("ok", ratio)}
        row = selftest.row_of(verdicts, 5, "index0")
        self.assertEqual((row["caught"], row["others"], row["suspected"]), (1, 0, 1))
        self.assertEqual(row["first_ratios"], "1.100")
        row = selftest.row_of(verdicts, 5, "")
        self.assertEqual((row["caught"], row["others"]), (0, 1))


def print_power():
    for percent in (0, 2, 3, 4, 5, 6, 7, 8, 10):
        own, others = share(200, 1 + percent / 100)
        print(f"{percent:3} %   alarm {own:.3f}   another blamed {others:.3f}", flush=True)


if __name__ == "__main__":
    if "--power" in sys.argv:
        print_power()
    else:
        unittest.main()
