"""The driver from outside: golden output, bad input, planted liars, resume, interrupts.

Run by `make test`; LDB_BUILD names the build folder. LDB_UPDATE_GOLDEN=1 rewrites the golden file.
"""
import csv
import glob
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.abspath(os.environ.get("LDB_BUILD", os.path.join(ROOT, "build")))
LDBENCH = os.path.join(BUILD, "ldbench")
GOLDEN = os.path.join(ROOT, "tests", "golden", "cli.txt")
LIARS = os.path.join(BUILD, "tests", "liars")
ENVIRONMENT = dict(os.environ, LC_ALL="C", COLUMNS="100", LDB_BUILD=BUILD, LDB_ROOT=ROOT)
SANITIZED = "asan" in os.path.basename(BUILD)


def ldbench(*args, **more):
    return subprocess.run([LDBENCH, *args], capture_output=True, text=True, env=ENVIRONMENT,
                          timeout=300, stdin=subprocess.DEVNULL, **more)


def rows(folder):
    with open(os.path.join(folder, "samples.csv"), newline="") as f:
        return list(csv.DictReader(f))


def notes(row):
    return dict(part.split("=", 1) for part in row["note"].split("; ") if "=" in part)


class Temporary(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.mkdtemp(prefix="ldb-cli-")
        self.out = os.path.join(self.tmp, "out")

    def tearDown(self):
        shutil.rmtree(self.tmp, ignore_errors=True)

    def quick(self, index, *more, code=0, reps="2"):
        """A short run; returns its rows."""
        done = ldbench("run", "--index", index, "--dataset", "uniform_sparse", "--size", "10K",
                       "--ops", "5000", "--reps", reps, "--out", self.out, *more)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.said = done.stdout + done.stderr
        return rows(self.out)


class Golden(Temporary):
    """tests/golden/cli.txt: each `$ ldbench ...` line is run, and what follows must come out."""

    def test_golden(self):
        with open(GOLDEN) as f:
            text = f.read()
        expected = []
        for block in text.split("$ ldbench")[1:]:
            head, _, body = block.partition("\n")
            expected.append((head.strip(), body))
        now = []
        for command, _ in expected:
            done = ldbench(*command.split(), cwd=self.tmp)
            out = (done.stdout + done.stderr).replace(BUILD, "BUILD").replace(ROOT, "ROOT")
            out = re.sub(r"\d+ MB may be used", "N MB may be used", out)
            out = re.sub(r"loaded in      [0-9.]+ s", "loaded in      T s", out)
            now.append((command, out + f"[exit {done.returncode}]\n\n"))
        if os.environ.get("LDB_UPDATE_GOLDEN"):
            with open(GOLDEN, "w") as f:
                f.write(text.split("$ ldbench")[0])
                f.writelines(f"$ ldbench {c}\n{o}" for c, o in now)
            return
        for (command, want), (_, got) in zip(expected, now):
            with self.subTest(command=command):
                self.assertEqual(got.strip(), want.strip())


@unittest.skipUnless(os.path.exists(os.path.join(BUILD, "tests", "test_indexes32")),
                     "the set for keys of 32 bits is not built")
class KeyBits(Temporary):
    """Plug-ins for keys of 32 bits beside those of 64, on the same keys in the same rounds."""

    def test_both_widths(self):
        table = self.quick("bsearch,rmi", "--dataset", "uniform_sparse_uint32", "--key-bits",
                           "32,64", "--mode", "independent,chained,batched,fenced",
                           "--workload", "uniform,absent,lower_bound", "--payload", "0,8")
        self.assertEqual({r["status"] for r in table}, {"ok"})
        self.assertEqual({r["dataset"] for r in table}, {"uniform_sparse_uint32"})
        for name in ("bsearch", "rmi"):
            widths = [r["key_bits"] for r in table if r["name"] == name]
            self.assertEqual(widths.count("32"), widths.count("64"))
        for bits in ("32", "64"):  # each width has its reference
            self.assertEqual({r["name"] for r in table if r["key_bits"] == bits
                              and notes(r).get("reference") == "1"}, {"bsearch"})
        self.assertIn("rmi/32", self.said)
        rmi = {r["key_bits"]: r for r in table if r["name"] == "rmi"}
        self.assertLess(float(rmi["32"]["index_bytes"]), float(rmi["64"]["index_bytes"]))

    def test_keys_that_do_not_fit(self):
        table = self.quick("bsearch", "--key-bits", "32,64")
        self.assertEqual({(r["key_bits"], r["status"]) for r in table},
                         {("32", "unsupported"), ("64", "ok")})
        self.assertIn("uniform_sparse_uint32 is the same keys", self.said)

    def test_verify(self):
        done = ldbench("verify", "--index", "bsearch,splustree", "--key-bits", "32", "--dataset",
                       "books_like_uint32,dense_gap_uint32,all_equal_uint32", "--size", "3,5000")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stdout.count("ok "), 12)

    def test_liar(self):
        narrow = f"{LIARS}/honest32.so,{LIARS}/wrong32.so"
        table = self.quick(narrow, "--dataset", "uniform_sparse_uint32", "--key-bits", "32",
                           code=1)
        self.assertEqual({r["status"] for r in table if r["name"] == "honest"}, {"ok"})
        self.assertEqual({r["status"] for r in table if r["name"] == "wrong"}, {"wrong"})
        done = ldbench("run", "--index", narrow, "--dataset", "uniform_dense")
        self.assertEqual(done.returncode, 2)
        self.assertIn("built for 32-bit keys, this run has 64-bit keys", done.stderr)


class Liars(Temporary):
    """Each planted fault is found, named with the right status, and stops nobody else."""

    def status_of(self, liar, *more, code=1):
        table = self.quick(f"{LIARS}/honest.so,{LIARS}/{liar}.so", *more, code=code)
        honest = [r for r in table if r["name"] == "honest"]
        self.assertEqual({r["status"] for r in honest}, {"ok"})
        mine = [r for r in table if r["name"] == liar]
        self.assertTrue(mine)
        return mine

    def assert_fails_as(self, liar, status, word, *more):
        mine = self.status_of(liar, *more)
        self.assertEqual(mine[-1]["status"], status, mine[-1]["note"])
        self.assertIn(word, mine[-1]["note"])
        self.assertEqual(mine[-1]["ns_per_op"], "")
        self.assertEqual(mine[-1]["checksum"], "")

    def test_wrong_answer(self):
        self.assert_fails_as("wrong", "wrong", "expected")

    def test_wrong_for_absent_keys_only(self):
        self.assert_fails_as("wrong_absent", "wrong", "expected")

    def test_chain_left_out(self):
        self.assert_fails_as("broken_chain", "wrong", "expected", "--mode", "chained")

    def test_crash_in_a_pass(self):
        self.assert_fails_as("crash", "crashed", "signal", "--reps", "50", "--ops", "100000")

    def test_crash_in_build(self):
        self.assert_fails_as("crash_build", "crashed", "signal")

    def test_exit(self):
        self.assert_fails_as("exits", "crashed", "exited with status 0")

    def test_hang(self):
        self.assert_fails_as("hang", "timeout", "--timeout", "--timeout", "1")

    def test_skipped_work(self):
        self.assert_fails_as("skips", "wrong", "checksum", "--reps", "50", "--ops", "100000")

    def test_remembered_answers(self):
        self.assert_fails_as("remembers", "wrong", "checksum", "--reps", "50", "--ops", "100000")

    def test_second_thread(self):
        if os.cpu_count() < 2:
            self.skipTest("one core: a second thread gains nothing")
        self.assert_fails_as("two_threads", "error", "more threads", "--ops", "50000")

    def test_out_of_memory(self):
        self.assert_fails_as("greedy", "oom", "could not be allocated")

    def test_broken_invariant(self):
        self.assert_fails_as("invalid", "error", "separator 3 out of order")

    def test_sleep_shows_in_the_time(self):
        for row in self.status_of("sleeps", "--ops", "500", code=0):
            self.assertEqual(row["status"], "ok")
            self.assertGreaterEqual(float(row["ns_per_op"]), 1000)

    @unittest.skipIf(SANITIZED, "malloc is the sanitizer's")
    def test_hidden_memory_makes_the_size_unknown(self):
        for row in self.status_of("hides_memory", code=0):
            self.assertEqual(row["index_bytes"], "")
            self.assertIn("hides=", row["note"])

    @unittest.skipIf(SANITIZED, "malloc is the sanitizer's")
    def test_mapped_memory_makes_the_size_unknown(self):
        for row in self.status_of("maps_memory", code=0):
            self.assertEqual(row["index_bytes"], "")
            self.assertIn("hides=", row["note"])

    def test_late_building_makes_the_size_unknown(self):
        for row in self.status_of("builds_later", code=0):
            self.assertEqual(row["index_bytes"], "")
            self.assertIn("grows=", row["note"])

    def test_closed_socket(self):
        self.assert_fails_as("hangs_up", "crashed", "closed its socket")

    def test_context_switches_are_counted(self):
        for row in self.status_of("sleeps", "--ops", "500", code=0):
            self.assertGreater(float(row["context_switches"]), 0.9)

    def test_only_the_wrong_mode_fails(self):
        table = self.quick(f"{LIARS}/broken_chain.so", "--mode", "independent,chained", code=1)
        status = {r["mode"]: r["status"] for r in table}
        self.assertEqual(status, {"independent": "ok", "chained": "wrong"})

    def status_by_mode(self, liar):
        table = self.quick(f"{LIARS}/{liar}.so", "--mode", "independent,fenced,cold", "--ops", "20",
                           code=1)
        return {r["mode"]: r["status"] for r in table}

    def test_fenced_and_cold_ask_one_query_a_call(self):
        self.assertEqual(self.status_by_mode("wrong_alone"),
                         {"independent": "ok", "fenced": "wrong", "cold": "wrong"})

    def test_they_never_ask_two(self):
        self.assertEqual(self.status_by_mode("wrong_together"),
                         {"independent": "wrong", "fenced": "ok", "cold": "ok"})

    def test_cold_times_the_lookups_alone(self):
        for row in self.quick(f"{LIARS}/honest.so", "--mode", "cold", "--ops", "20",
                              "--threads", "1,2"):
            if row["threads"] == "2":
                self.assertEqual(row["status"], "unsupported")
                self.assertIn("one thread", row["note"])
                continue
            self.assertEqual(row["status"], "ok")
            self.assertIn("short=", row["note"])
            # The processor's time and its events are those of filling the caches, too.
            self.assertNotIn("cpu_ns", row["note"])
            self.assertEqual(row["context_switches"], "")

    def test_size_is_the_allocators(self):
        for row in self.status_of("claims_less", code=0):
            self.assertGreaterEqual(int(row["index_bytes"]), 1000000)
            self.assertIn("claims=0", row["note"])

    def test_others_go_on(self):
        names = "crash_build,hang,wrong,exits,greedy".split(",")
        table = self.quick(",".join(f"{LIARS}/{n}.so" for n in names + ["honest"]),
                           "--timeout", "1", code=1)
        status = {r["name"]: r["status"] for r in table}
        self.assertEqual(status, {"crash_build": "crashed", "hang": "timeout", "wrong": "wrong",
                                  "exits": "crashed", "greedy": "oom", "honest": "ok"})
        with open(os.path.join(self.out, "run.json")) as f:
            self.assertEqual(json.load(f)["sessions"][0]["status"], "some cells failed")

    def mixed(self, names, *more, code=0):
        return self.quick(",".join(f"{LIARS}/{n}.so" for n in names), *more, code=code)

    def test_operations(self):
        """Liars that spoil an operation are found; an honest index has all its columns."""
        spoiled = {"map_forgets": "wrong", "map_keeps": "wrong", "map_scans_short": "wrong",
                   "map_gives_up": "oom"}
        table = self.mixed(["map_honest", *spoiled], "--workload", "mix50,churn,scan:10", code=1)
        for row in table:
            want = spoiled.get(row["name"], "ok")
            self.assertEqual((row["status"], row["mode"]), (want, "mixed"), row)
            if want != "ok":
                continue
            self.assertEqual(float(row["ops"]), 5000)
            self.assertTrue(0 < float(row["p50_ns"]) <= float(row["max_ns"]))
            self.assertEqual(row["p99_ns"], "")  # 79 samples don't tell
            self.assertIn("clock_ns=", row["note"])
            self.assertGreater(float(row["build_ns"]), 0)

    def test_operations_of_static_indexes(self):
        row = self.quick("rmi", "--workload", "mix50")[0]
        self.assertEqual(row["status"], "unsupported")
        self.assertIn("takes no updates", row["note"])

    def test_operations_by_threads(self):
        table = self.mixed(["map_honest"], "--workload", "mix50", "--threads", "1,2")
        self.assertEqual({r["threads"]: r["status"] for r in table}, {"1": "ok", "2": "unsupported"})
        shutil.rmtree(self.out)
        table = self.mixed(["map_honest"], "--workload", "read", "--threads", "2")
        self.assertEqual({r["status"] for r in table}, {"ok"})

    def test_operations_at_a_rate(self):
        """Every one is timed from when it was due; a second has ten slots of 100 ms."""
        row = self.mixed(["map_honest"], "--workload", "mix50", "--rate", "5000")[0]
        self.assertAlmostEqual(float(row["elapsed_ns"]) / 1e9, 1, delta=0.5)
        self.assertNotEqual(row["p999_ns"], "")
        self.assertIn("rate=5000", row["note"])
        self.assertNotIn("stolen", row["note"])  # it sleeps between operations
        with open(os.path.join(self.out, "timeline.csv")) as f:
            slots = [r for r in csv.DictReader(f) if r["rep"] == "1"]
        self.assertGreaterEqual(len(slots), 9)
        self.assertEqual([int(s["slot_ms"]) for s in slots], [100 * i for i in range(len(slots))])
        for slot in slots:
            self.assertGreater(int(slot["held_bytes"]), 0)
        self.assertAlmostEqual(sum(int(s["ops"]) for s in slots) / len(slots), 500, delta=50)

    def test_small_streams_fill_a_pass(self):
        done = ldbench("run", "--index", f"{LIARS}/map_honest.so", "--dataset", "uniform_sparse",
                       "--size", "1K", "--workload", "mix50", "--reps", "1", "--pass-ms", "50",
                       "--out", self.out)
        self.assertEqual(done.returncode, 0, done.stderr)
        row = rows(self.out)[0]
        self.assertGreaterEqual(float(row["elapsed_ns"]), 50e6)
        self.assertIn("repeats=", row["note"])

    def sort(self, names, *more, code=0, reps="2"):
        done = ldbench("run", "--sort", names, "--dataset", "uniform_sparse,thousand_keys",
                       "--size", "3K", "--reps", reps, "--pass-ms", "1", "--out", self.out, *more)
        self.assertEqual(done.returncode, code, done.stderr)
        return rows(self.out)

    def test_sorts(self):
        """All orders, keys and pairs: a row each, with the keys' checksum and the memory taken."""
        table = self.sort("vqsort,radix_sort,learned_sort", "--mode", "keys,pairs", "--workload",
                          "shuffled,sorted,reversed")
        self.assertEqual(len(table), 2 * 3 * 2 * 3 * 2)
        for row in table:
            self.assertEqual((row["family"], row["status"]), ("sort", "ok"), row["note"])
            self.assertEqual(float(row["ops"]) % 3000, 0)
            self.assertEqual(row["build_ns"], "")
            self.assertEqual("reference=1" in row["note"], row["name"] == "vqsort")
            if row["name"] == "radix_sort":
                least = 3000 * (16 if row["mode"] == "pairs" else 8)
                self.assertGreaterEqual(float(row["index_bytes"]), least)
        for data in ("uniform_sparse", "thousand_keys"):
            self.assertEqual(len({r["checksum"] for r in table if r["dataset"] == data}), 1)

    def test_sorts_by_threads(self):
        table = self.sort("vqsort,learned_sort", "--threads", "1,2", reps="1")
        self.assertEqual({(r["name"], r["threads"]): r["status"] for r in table},
                         {("vqsort", "1"): "ok", ("vqsort", "2"): "unsupported",
                          ("learned_sort", "1"): "ok", ("learned_sort", "2"): "ok"})

    def test_sorts_that_lie(self):
        spoiled = {"sort_ends": "wrong", "sort_repeats": "wrong", "sort_gives_up": "oom"}
        names = ",".join(f"{LIARS}/{n}.so" for n in spoiled)
        table = self.sort(f"std_sort,{names}", code=1, reps="1")
        for row in table:
            self.assertEqual(row["status"], spoiled.get(row["name"], "ok"), row["note"])
        shutil.rmtree(self.out)
        table = self.sort(f"std_sort,{LIARS}/sort_swaps.so", "--mode", "keys,pairs", code=1,
                          reps="1")
        for row in table:
            wrong = row["name"] == "sort_swaps" and row["mode"] == "pairs"
            self.assertEqual(row["status"], "wrong" if wrong else "ok", row["note"])

    def test_sorts_and_indexes_keep_apart(self):
        for words, said in ((["--sort", "vqsort", "--workload", "uniform"], "use shuffled"),
                            (["--sort", "vqsort", "--mode", "chained"], "use keys or pairs"),
                            (["--index", "btree", "--workload", "shuffled"], "none of an index"),
                            (["--index", "btree", "--mode", "pairs"], "none of an index"),
                            (["--sort", "vqsrt"], "did you mean vqsort")):
            done = ldbench("run", "--dataset", "uniform_sparse", "--out", self.out, *words)
            self.assertEqual(done.returncode, 2, words)
            self.assertIn(said, done.stderr)

    def test_verify_sorts(self):
        done = ldbench("verify", "--sort", "learned_sort,samplesort", "--dataset", "wiki_like",
                       "--size", "20K")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("in 2 mode(s)"), 2, done.stdout)

    def test_verify_joins(self):
        done = ldbench("verify", "--join", "hash_join,array_join", "--dataset", "uniform_sparse",
                       "--size", "20K", "--workload", "x4:su,x1:uu:half", "--threads", "1,2")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("2 joins in 2 mode(s)", done.stdout)
        self.assertNotIn("array_join", done.stdout)
        self.assertEqual(done.stderr.count("unsupported: array_join"), 1, done.stderr)

    def test_operations_and_reads_keep_apart(self):
        for words, said in ((["--workload", "uniform,mix50"], "an experiment of its own"),
                            (["--workload", "mix50", "--mode", "chained"], "leave out --mode"),
                            (["--mode", "mixed"], "use a workload like mix50"),
                            (["--rate", "100"], "use a workload like mix50"),
                            (["--workload", "mix50", "--preload", "0"], "out of range")):
            done = ldbench("run", "--index", f"{LIARS}/map_honest.so", "--dataset",
                           "uniform_sparse", "--out", self.out, *words)
            self.assertEqual(done.returncode, 2, words)
            self.assertIn(said, done.stderr)

    def test_plugins_that_cannot_be_loaded(self):
        for name, words in {"old_abi": ["version 0", "version 2"],
                            "no_table": ["no ldb_index_table"],
                            "missing_symbol": ["a_function_that_nobody_has"],
                            "no_chase": ["no chase"]}.items():
            done = ldbench("run", "--index", f"{LIARS}/{name}.so", "--dataset", "uniform_sparse",
                           "--out", self.out)
            self.assertEqual(done.returncode, 2, name)
            for word in words:
                self.assertIn(word, done.stderr)
            self.assertFalse(os.path.exists(self.out))


class Measuring(Temporary):
    def test_rows_are_complete(self):
        table = self.quick("btree,bsearch", "--mode", "independent,chained,batched",
                           "--workload", "uniform,zipf,sorted,hot,absent:30,lower_bound")
        self.assertEqual(len(table), 2 * 3 * 6 * 2)
        for row in table:
            self.assertEqual(row["status"], "ok", row["note"])
            self.assertEqual(int(row["ops"]), 5000)
            elapsed, ns = float(row["elapsed_ns"]), float(row["ns_per_op"])
            self.assertAlmostEqual(ns, elapsed / 5000, delta=ns * 1e-4)
            self.assertEqual(len(row["checksum"]), 16)
            self.assertEqual(row["p50_ns"], "")
        # In a round all are asked the same: equal checksums, and others in the next round.
        by_round = {}
        for row in table:
            key = row["workload"], row["mode"] == "chained", row["rep"]
            by_round.setdefault(key, set()).add(row["checksum"])
        self.assertEqual({len(v) for v in by_round.values()}, {1})
        self.assertEqual(len({next(iter(v)) for v in by_round.values()}), len(by_round))

    def test_missing_counters_are_empty(self):
        listed = dict(line.split(None, 1) for line in
                      ldbench("list", "counters").stdout.splitlines())
        table = self.quick("btree", reps=str(8))
        for name, event in listed.items():
            values = {row[name] for row in table}
            if "not available" in event:
                self.assertEqual(values, {""}, name)
            else:
                self.assertTrue(any(values), name)

    def test_two_threads_use_two_threads_time(self):
        table = self.quick("bsearch", "--threads", "1,2", "--ops", "200000", reps="3")
        cpu = {t: min(float(notes(r)["cpu_ns"]) for r in table if r["threads"] == t)
               for t in ("1", "2")}
        ops = {t: {r["ops"] for r in table if r["threads"] == t} for t in ("1", "2")}
        self.assertEqual(ops, {"1": {"200000"}, "2": {"400000"}})
        self.assertGreater(cpu["2"], 1.4 * cpu["1"])

    def test_payload_is_read(self):
        table = self.quick("btree", "--payload", "0,8,64")
        sums = {p: {r["checksum"] for r in table if r["payload_bytes"] == p}
                for p in ("0", "8", "64")}
        self.assertEqual(len(sums["0"] | sums["8"] | sums["64"]), 6)

    def test_duplicates_and_adversarial_sets(self):
        done = ldbench("run", "--index", "btree,bsearch,rmi,radixspline,absl_btree,template",
                       "--dataset", "all_equal,two_keys,outlier_low,outlier_high,staircase,"
                       "dense_gap,wiki_like", "--size", "1,2,3,1000", "--ops", "1000",
                       "--reps", "1", "--mode", "independent,chained,batched",
                       "--workload", "uniform,absent,lower_bound", "--out", self.out)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual({r["status"] for r in rows(self.out)}, {"ok"})

    @unittest.skipIf(SANITIZED, "malloc is the sanitizer's")
    def test_pages(self):
        table = self.quick("btree", "--pages", "4k,thp", "--size", "1M")
        share = {r["pages"]: float(notes(r).get("huge", 0)) for r in table}
        with open("/sys/kernel/mm/transparent_hugepage/enabled") as f:
            if "[never]" in f.read():
                self.skipTest("no transparent huge pages here")
        self.assertGreater(share["thp"], 0.5)
        self.assertEqual(share["4k"], 0)

    def test_huge_pages_without_any_reserved(self):
        with open("/proc/sys/vm/nr_hugepages") as f:
            if int(f.read()):
                self.skipTest("huge pages are reserved here")
        table = self.quick("btree", "--pages", "thp,huge")
        status = {r["pages"]: r["status"] for r in table}
        self.assertEqual(status, {"thp": "ok", "huge": "unsupported"})
        self.assertIn("vm.nr_hugepages", self.said)

    def test_groups_when_memory_is_short(self):
        args = ["run", "--index", "btree,btree:fill=0.5,btree:fill=0.6,rmi", "--dataset",
                "uniform_sparse", "--size", "5M", "--ops", "1000", "--reps", "2", "--out",
                self.out]
        refused = ldbench(*args, "--memory", "50M")
        self.assertEqual(refused.returncode, 2)
        need = int(re.search(r"needs (\d+) MB", refused.stderr).group(1))
        done = ldbench(*args, "--memory", f"{need + 20}M")
        self.assertEqual(done.returncode, 0, done.stderr)
        table = rows(self.out)
        groups = {notes(r).get("group", "1") for r in table}
        self.assertGreater(len(groups), 1)
        for g in groups:
            names = {r["name"] + r["params"] for r in table if notes(r).get("group", "1") == g}
            self.assertIn("btreefill=1;ahead=16", names)
            self.assertGreater(len(names), 1)

    def test_null_is_the_floor(self):
        table = self.quick("null,btree", reps="4")
        best = {n: min(float(r["ns_per_op"]) for r in table if r["name"] == n)
                for n in ("null", "btree")}
        self.assertLess(best["null"], best["btree"])

    def test_simd_levels_agree(self):
        sums = []
        for level in ("v2", "v3", "v4"):
            out = os.path.join(self.tmp, level)
            done = subprocess.run([LDBENCH, "run", "--index", "btree,bsearch,rmi,radixspline",
                                   "--dataset", "osm_like", "--size", "30K", "--ops", "3000",
                                   "--reps", "1", "--out", out], env=dict(ENVIRONMENT,
                                                                          LDB_ISA=level),
                                  capture_output=True, text=True, timeout=300)
            self.assertEqual(done.returncode, 0, done.stderr)
            sums.append({(r["name"], r["checksum"]) for r in rows(out)})
        self.assertEqual(sums[0], sums[1])
        self.assertEqual(sums[0], sums[2])

    def test_verify(self):
        done = ldbench("verify", "--index", "btree,rmi,radixspline", "--dataset",
                       "fb_like,all_equal", "--size", "100K")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("ok "), 6)
        self.assertIn("400008 queries", done.stdout)
        done = ldbench("verify", "--index", f"{LIARS}/wrong_absent.so", "--dataset", "fb_like",
                       "--size", "1K")
        self.assertEqual(done.returncode, 1)
        self.assertNotIn("ok ", done.stdout)


class Lasting(Temporary):
    """What was measured stays."""

    ARGS = ["run", "--index", "btree,bsearch,rmi", "--dataset", "uniform_sparse,normal",
            "--size", "1K,20K", "--pass-ms", "20", "--reps", "5"]
    CELLS = 3 * 2 * 2

    def start(self):
        return subprocess.Popen([LDBENCH, *self.ARGS, "--out", self.out], env=ENVIRONMENT,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait_for_rows(self, count):
        path = os.path.join(self.out, "samples.csv")
        for _ in range(600):
            if os.path.exists(path):
                with open(path, "rb") as f:
                    if f.read().count(b"\n") > count:
                        return
            time.sleep(0.05)
        self.fail("no rows after 30 s")

    def finish(self):
        done = ldbench(*self.ARGS, "--out", self.out, "--resume")
        self.assertEqual(done.returncode, 0, done.stderr)
        table = rows(self.out)
        cells = {}
        for r in table:
            self.assertEqual(r["status"], "ok")
            cells.setdefault(notes(r)["cell"], []).append(r)
        self.assertEqual(len(cells), self.CELLS)
        for group in cells.values():
            sessions = {notes(r).get("session", "1") for r in group}
            for s in sessions:
                reps = sorted(int(r["rep"]) for r in group if notes(r).get("session", "1") == s)
                self.assertEqual(reps, [1, 2, 3, 4, 5])
        return table

    def test_kill_and_resume(self):
        process = self.start()
        self.wait_for_rows(20)
        process.kill()
        process.wait()
        before = rows(self.out)
        with open(os.path.join(self.out, "samples.csv"), "a") as f:
            f.write("run,index,btree,cut in the mid")
        table = self.finish()
        text = [tuple(r.values()) for r in table]
        with open(os.path.join(self.out, "superseded.csv"), newline="") as f:
            old = [tuple(r.values()) for r in csv.DictReader(f)]
        for r in before:
            self.assertIn(tuple(r.values()), text + old)
        self.assertGreater(len(before), 0)
        with open(os.path.join(self.out, "run.json")) as f:
            self.assertEqual(len(json.load(f)["sessions"]), 2)
        # Nothing is left to do: a third session measures nothing.
        count = len(table)
        self.finish()
        self.assertEqual(len(rows(self.out)), count)

    def test_interrupt(self):
        process = self.start()
        self.wait_for_rows(10)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=30), 130)
        self.assertGreaterEqual(len(rows(self.out)), 10)
        with open(os.path.join(self.out, "run.json")) as f:
            self.assertEqual(json.load(f)["sessions"][0]["status"], "interrupted")
        self.finish()

    def test_workers_die_with_the_conductor(self):
        process = self.start()
        self.wait_for_rows(5)
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as f:
            children = f.read().split()
        self.assertTrue(children)
        process.kill()
        process.wait()
        for _ in range(100):
            if not any(self.runs(c) for c in children):
                return
            time.sleep(0.05)
        self.fail("workers live on")

    @staticmethod
    def runs(pid):
        try:
            with open(f"/proc/{pid}/status") as f:
                return "Z (zombie)" not in f.read()
        except OSError:
            return False

    def test_failed_cell_is_tried_again(self):
        table = self.quick(f"{LIARS}/hang.so,btree", "--timeout", "1", code=1)
        self.assertEqual(len([r for r in table if r["status"] == "timeout"]), 1)
        again = self.quick(f"{LIARS}/hang.so,btree", "--timeout", "1", "--resume", code=1)
        self.assertEqual(len([r for r in again if r["status"] == "timeout"]), 1)

    def test_no_overwriting(self):
        self.quick("btree")
        done = ldbench("run", "--index", "btree", "--dataset", "uniform_sparse", "--out", self.out)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--resume", done.stderr)

    def test_shards_make_a_whole(self):
        cells = []
        for i in (1, 2, 3):
            out = os.path.join(self.tmp, f"shard{i}")
            done = ldbench(*self.ARGS, "--ops", "100", "--shard", f"{i}/3", "--out", out)
            self.assertEqual(done.returncode, 0, done.stderr)
            cells += list({notes(r)["cell"] for r in rows(out)})
        self.assertEqual(len(cells), self.CELLS)
        self.assertEqual(len(set(cells)), self.CELLS)

    def test_unwritable_folder(self):
        for folder in ("/proc/ldb", os.path.join(self.tmp, "file", "x")):
            open(os.path.join(self.tmp, "file"), "w").close()
            done = ldbench("run", "--index", "btree", "--dataset", "uniform_sparse", "--out",
                           folder)
            self.assertEqual(done.returncode, 2)
            self.assertIn("--out", done.stderr)

    def test_full_disk_ends_cleanly(self):
        os.mkdir(self.out)
        os.symlink("/dev/full", os.path.join(self.out, "samples.csv"))
        done = ldbench(*self.ARGS, "--out", self.out)
        self.assertEqual(done.returncode, 2)
        self.assertIn("can't be written", done.stderr)


    def test_one_run_at_a_time_in_a_folder(self):
        process = self.start()
        self.wait_for_rows(2)
        done = ldbench(*self.ARGS, "--out", self.out, "--resume")
        process.kill()
        process.wait()
        self.assertEqual(done.returncode, 2)
        self.assertIn("another run", done.stderr)

    def test_resume_counts_each_experiments_own_rounds(self):
        path = os.path.join(self.tmp, "x.ini")
        with open(path, "w") as f:
            f.write("index = btree\nops = 100\nsize = 1K\n[a]\ndataset = normal\nreps = 2\n"
                    "[b]\ndataset = uniform_sparse\nreps = 3\n")
        for extra in ([], ["--resume"], ["--resume"]):
            done = ldbench("run", path, "--out", self.out, *extra)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(len(rows(self.out)), 5)
        with open(os.path.join(self.out, "run.json")) as f:
            self.assertEqual(len(json.load(f)["datasets"]), 2)

    def test_changed_file_is_measured_anew(self):
        path = os.path.join(self.tmp, "keys_uint64")
        args = ["run", "--index", "btree", "--dataset", path, "--ops", "100", "--reps", "1",
                "--out", self.out]
        for seed, extra in (("1", []), ("2", ["--resume"])):
            ldbench("dataset", "normal", "--size", "1000", "--seed", seed, "--out", path)
            done = ldbench(*args, *extra)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("0 failed\n", done.stdout)
        self.assertNotIn("from before", done.stdout)


class Configs(Temporary):
    def test_repeats_count_once(self):
        table = self.quick("btree", "--size", "1000,1K,1e3", "--mode", "independent,independent",
                           "--workload", "zipf,zipf:0.99", "--threads", "1,1")
        self.assertEqual(len(table), 2)

    def test_two_builds_of_one_index(self):
        other = os.path.join(self.tmp, "btree.so")
        shutil.copy(os.path.join(BUILD, "indexes", "btree.so"), other)
        for order in (f"btree,{other}", f"{other},btree", f"btree,{other}:fill=0.9"):
            shutil.rmtree(self.out, ignore_errors=True)
            names = {r["name"] for r in self.quick(order)}
            self.assertEqual(names, {"btree", f"btree@{other}"[:128]})

    def test_damaged_plugin(self):
        damaged = os.path.join(self.tmp, "cut.so")
        with open(os.path.join(BUILD, "indexes", "btree.so"), "rb") as f:
            whole = f.read()
        with open(damaged, "wb") as f:
            f.write(whole[:9000])
        for path in (damaged, GOLDEN):
            done = ldbench("run", "--index", path, "--dataset", "normal", "--out", self.out)
            self.assertEqual(done.returncode, 2)
            self.assertIn(path, done.stderr)

    def test_too_many_threads_fail_alone(self):
        if SANITIZED:
            self.skipTest("a sanitizer needs the address space")
        for limit in range(796 << 20, 828 << 20, 5 << 20):
            done = ldbench("run", "--index", "bsearch", "--dataset", "normal", "--size", "1K",
                           "--ops", "1000", "--reps", "1", "--threads", "200,1",
                           "--out", f"{self.out}/{limit}",
                           preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS,
                                                                 (limit, limit)))
            status = {r["threads"]: r["status"] for r in rows(f"{self.out}/{limit}")}
            self.assertEqual(status, {"200": "error", "1": "ok"}, done.stderr)
            self.assertIn("threads could be started", done.stderr)

    def test_text_that_is_no_text(self):
        path = os.path.join(self.tmp, "x.ini")
        with open(path, "wb") as f:
            f.write(b"; caf\xe9\n[a]\nindex = btree\ndataset = normal\n")
        done = ldbench("run", path, "--out", self.out)
        self.assertEqual(done.returncode, 2)
        self.assertIn("UTF-8", done.stderr)

    def write(self, text):
        path = os.path.join(self.tmp, "x.ini")
        with open(path, "w") as f:
            f.write(text)
        return path

    def test_sections_and_overrides(self):
        path = self.write("; two experiments\nops = 500\nreps = 3\n[first]\nindex = btree,\n"
                          "  bsearch\ndataset = normal\nsize = 1K..100K\n[second]\n"
                          "index = rmi\ndataset = uniform_dense\nsize = 2e3\n")
        done = ldbench("run", path, "--reps", "2", "--out", self.out)
        self.assertEqual(done.returncode, 0, done.stderr)
        table = rows(self.out)
        self.assertEqual({(r["experiment"], r["name"], r["n"]) for r in table},
                         {("first", n, s) for n in ("btree", "bsearch")
                          for s in ("1000", "10000", "100000")} | {("second", "rmi", "2000")})
        self.assertEqual({r["rep"] for r in table}, {"1", "2"})
        with open(os.path.join(self.out, "run.json")) as f:
            self.assertIn("two experiments", json.load(f)["config"])

    def test_mistakes_carry_line_and_remedy(self):
        for text, line, word in [
                ("[a]\nindex = btree\ndatset = normal\n", ":3", "did you mean dataset"),
                ("[a]\nindex = btree\nsize = 10X\n", ":3", "1K..100M"),
                ("[a]\nindex = btree\nmode = chaind\n", ":3", "did you mean chained"),
                ("[a]\nindex = btree\nworkload = zpif\n", ":3", "zipf"),
                ("reps = 0\n[a]\nindex = btree\n", ":1", "range"),
                ("[a\nindex = btree\n", ":1", "experiment"),
                ("[a]\nindex btree\n", ":2", "name = value"),
                ("[a]\nindex = btree," + "x" * 300 + "\n", ":2", "indented line"),
                ("[a]\nindex = btree\n", "a:", "--dataset"),
                ("[a]\ndataset = normal\n", "a:", "--index")]:
            done = ldbench("run", self.write(text), "--out", self.out)
            self.assertEqual(done.returncode, 2, text)
            self.assertIn(line, done.stderr)
            self.assertIn(word, done.stderr)
            self.assertFalse(os.path.exists(self.out))

    def test_every_config_is_good(self):
        """Each committed config is read and planned; only its data may be missing."""
        for path in sorted(glob.glob(os.path.join(ROOT, "configs", "*.ini"))):
            name = os.path.basename(path)
            done = ldbench("run", name, "--shard", "100000/100000", "--out",
                           os.path.join(self.tmp, name), "--memory", "64G")
            if not re.search("scripts/(fetch|tpch)", done.stderr):
                self.assertEqual(done.returncode, 0, name + done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=1)
