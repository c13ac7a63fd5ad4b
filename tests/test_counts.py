"""Tests of scripts/perf-counts: its arithmetic, and (where valgrind is) that counts repeat.

/usr/bin/python3 tests/test_counts.py
"""

import contextlib
import io
import os
import shutil
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "scripts"))
from ldbload import load_script  # noqa: E402

perf = load_script("perf-counts")

ROW = {"instructions": 200.0, "branches": 20.0, "branch_misses": 1.0, "l1d_misses": 6.0,
       "ll_misses": 2.0}


def with_counts(**more):
    return {**ROW, **more}


class Arithmetic(unittest.TestCase):
    def test_within_the_limit(self):
        self.assertEqual(perf.changes(with_counts(instructions=201.9), ROW, 1), [])
        self.assertEqual(perf.changes(ROW, ROW, 0), [])

    def test_growth_and_fall(self):
        found = perf.changes(with_counts(instructions=203, ll_misses=1.5), ROW, 1)
        self.assertEqual(found, [("instructions", 200.0, 203, True), ("ll_misses", 2.0, 1.5, False)])

    def test_a_hundredth_of_a_miss_is_no_growth(self):
        self.assertEqual(perf.changes(with_counts(branch_misses=1.04), ROW, 1), [])
        self.assertEqual(len(perf.changes(with_counts(branch_misses=1.06), ROW, 1)), 1)


class Judgement(unittest.TestCase):
    """The command, its counting replaced by known numbers."""

    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)
        self.swap("BASELINE", os.path.join(self.dir, "counts.csv"))
        self.swap("count", lambda cell: dict(self.now))
        self.now = dict(ROW)

    def swap(self, name, value):
        self.addCleanup(setattr, perf, name, getattr(perf, name))
        setattr(perf, name, value)

    def call(self, *words):
        out, argv, sys.argv = io.StringIO(), sys.argv, ["perf-counts", *words]
        try:
            with contextlib.redirect_stdout(out):
                code = perf.main()
        finally:
            sys.argv = argv
        return code, out.getvalue()

    def test_baseline_growth_and_update(self):
        self.assertEqual(self.call("a/b/c")[0], 1)  # nothing to compare with is no pass
        self.assertEqual(self.call("--update", "a/b/c")[0], 0)
        self.assertEqual(self.call("a/b/c")[0], 0)
        self.now["instructions"] = 203
        code, said = self.call("a/b/c")
        self.assertEqual(code, 1)
        self.assertIn("instructions grew from 200.000 to 203.000", said)
        self.assertEqual(self.call("--limit", "2", "a/b/c")[0], 0)
        self.now["instructions"] = 150  # fewer are told, and are no failure
        code, said = self.call("a/b/c")
        self.assertEqual(code, 0)
        self.assertIn("instructions fell", said)
        self.call("--update", "d/e/f")  # one cell anew: the others stay
        self.assertEqual(set(perf.read_baseline()[1]), {"a/b/c", "d/e/f"})

    def test_another_compiler_is_not_judged(self):
        self.call("--update", "a/b/c")
        self.now["instructions"] = 300
        self.swap("compiler", lambda: "another")
        code, said = self.call("a/b/c")
        self.assertEqual(code, 0)
        self.assertIn("nothing is judged", said)


class Counting(unittest.TestCase):
    program = os.path.join(perf.BUILD, "tests", "count_operations")

    def setUp(self):
        if not shutil.which("valgrind") or not os.path.exists(self.program):
            self.skipTest("no valgrind, or count_operations is not built")

    def test_counts_repeat(self):
        first, second = (perf.count("bsearch/uniform_sparse/independent") for _ in range(2))
        self.assertEqual(first, second)
        self.assertGreater(first["instructions"], 18)  # log2(200K) steps at least
        self.assertEqual(perf.changes(second, first, 1), [])

    def test_what_cannot_be_counted(self):
        with self.assertRaisesRegex(RuntimeError, "unknown index 'btre'"):
            perf.count("btre/uniform_sparse/independent")
        with self.assertRaises(RuntimeError):
            perf.count("rmi/uniform_sparse/mix50")  # static


if __name__ == "__main__":
    unittest.main()
