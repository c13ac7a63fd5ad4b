"""Tests of TPC-H: the reader of .tbl files against a plain one, on generated, damaged and random
files; whole runs of scripts/tpch from .tbl, and of the driver's Q6 on what it made; and, where
DuckDB can be had, scale factor 0.01 from its dbgen against its own answers."""

import contextlib
import csv
import datetime
import json
import os
import random
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TPCH = os.path.join(ROOT, "scripts", "tpch")
sys.path.insert(0, os.path.join(ROOT, "scripts"))
sys.dont_write_bytecode = True

import numpy as np  # noqa: E402

import download  # noqa: E402
import tpchdata  # noqa: E402
from download import Failure  # noqa: E402

TABLES = {table.name: table for table in tpchdata.TABLES}


def run_tpch(data, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-B", TPCH, *arguments],
        env={**os.environ, "LDB_DATA": data, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def plain_number(column, text):
    """The mapping, one value at a time."""
    if column.mapping == "integer":
        return int(text)
    if column.mapping == "letter":
        return ord(text)
    if column.mapping == "date":
        return (datetime.date.fromisoformat(text) - datetime.date(1970, 1, 1)).days
    sign = -1 if text.startswith("-") else 1
    whole, _, part = text.lstrip("-").partition(".")
    return sign * (int(whole) * 100 + int((part + "00")[:2])) + column.offset


def random_value(column, rng):
    """A legal text of a column: any of its forms, the ends of its range too."""
    top = 256**column.width - 1 - column.offset
    if column.mapping == "integer":
        return str(rng.choice([0, top, rng.randrange(top)]))
    if column.mapping == "letter":
        return rng.choice("ANROFP")
    if column.mapping == "date":
        days = rng.choice([0, 65535, 8036, rng.randrange(65536)])
        return (datetime.date(1970, 1, 1) + datetime.timedelta(days)).isoformat()
    cents = rng.choice([-column.offset, top, rng.randrange(-column.offset, top)])
    text = f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"
    if text.endswith("00") and rng.random() < 0.5:
        return text[:-3]
    return text[:-1] if text.endswith("0") and rng.random() < 0.5 else text


def random_lines(table, count, rng):
    """(fields of each line, dict position -> column)"""
    kept = {column.position: column for column in table.columns}
    filler = ["", "DELIVER IN PERSON", "foxes; \u00e9 quickly, -1.5 ", "x" * 70]
    lines = [
        [random_value(kept[i], rng) if i in kept else rng.choice(filler)
         for i in range(table.fields)]
        for _ in range(count)
    ]  # fmt: skip
    return lines, kept


def tbl_text(lines, last_bar=True):
    end = "|\n" if last_bar else "\n"
    return "".join("|".join(fields) + end for fields in lines).encode()


@contextlib.contextmanager
def tbl_file(content):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.tbl")
        with open(path, "wb") as file:
            file.write(content)
        yield path


@contextlib.contextmanager
def block_size(size):
    """The reader's blocks so small that lines lie across their ends."""
    before, tpchdata.TBL_BLOCK = tpchdata.TBL_BLOCK, size
    try:
        yield
    finally:
        tpchdata.TBL_BLOCK = before


def read_whole(path, table):
    """All blocks of a file, as a list of lists of ints."""
    columns = [[] for _ in table.columns]
    for block in tpchdata.read_tbl(path, table):
        for column, values in zip(columns, block):
            column += values.tolist()
    return columns


class Schema(unittest.TestCase):
    def test_as_in_the_standard(self):
        fields = {name: table.fields for name, table in TABLES.items()}
        self.assertEqual(fields, {"lineitem": 16, "orders": 9, "customer": 8, "part": 9,
                                  "partsupp": 5, "supplier": 7, "nation": 4, "region": 3})  # fmt: skip
        position = {c.name: c.position for c in TABLES["lineitem"].columns}
        self.assertEqual(position["l_quantity"], 4)
        self.assertEqual(position["l_shipdate"], 10)
        self.assertEqual(TABLES["orders"].columns[-1].position, 7)


class Tbl(unittest.TestCase):
    def test_as_the_plain_reader(self):
        rng = random.Random(1)
        for name, table in TABLES.items():
            for count in (1, 2, 63, 500):
                for last_bar in (True, False):
                    lines, kept = random_lines(table, count, rng)
                    expected = [
                        [plain_number(column, fields[i]) for fields in lines]
                        for i, column in sorted(kept.items())
                    ]
                    size = rng.choice([40, 977, 1 << 20])
                    with tbl_file(tbl_text(lines, last_bar)) as path, block_size(size):
                        self.assertEqual(read_whole(path, table), expected, (name, count, size))

    def test_mapping_keeps_the_order(self):
        rng = random.Random(2)
        table = TABLES["customer"]
        lines, kept = random_lines(table, 300, rng)
        with tbl_file(tbl_text(lines)) as path:
            columns = read_whole(path, table)
        for (position, column), values in zip(sorted(kept.items()), columns):
            exact = [float(fields[position]) for fields in lines]
            self.assertEqual(np.argsort(exact, kind="stable").tolist(),
                             np.argsort(values, kind="stable").tolist(), column.name)  # fmt: skip

    def test_empty_file_has_no_rows(self):
        with tbl_file(b"") as path:
            self.assertEqual(read_whole(path, TABLES["region"]), [[]])

    def test_each_damage_is_named_with_its_line(self):
        table = TABLES["lineitem"]
        good, _ = random_lines(table, 50, random.Random(3))
        damages = [
            (0, "", "l_orderkey is ''"),
            (0, "-1", "l_orderkey is '-1'"),
            (0, "4294967296", "l_orderkey is '4294967296'"),
            (0, "9" * 40, "l_orderkey is"),
            (3, "256", "l_linenumber is '256'"),
            (4, "1.234", "l_quantity is '1.234'"),
            (4, ".5", "l_quantity is '.5'"),
            (4, "5.", "l_quantity is '5.'"),
            (4, "1e2", "l_quantity is '1e2'"),
            (5, "-0.01", "l_extendedprice is '-0.01'"),
            (5, "--1.00", "l_extendedprice is '--1.00'"),
            (6, "2.56", "l_discount is '2.56'"),
            (8, "", "l_returnflag is ''"),
            (8, "NN", "l_returnflag is 'NN'"),
            (10, "1998-02-29", "l_shipdate is '1998-02-29'"),
            (10, "1998-13-01", "l_shipdate is '1998-13-01'"),
            (10, "1998-00-01", "l_shipdate is '1998-00-01'"),
            (10, "1998/12/01", "l_shipdate is '1998/12/01'"),
            (10, "98-12-01", "l_shipdate is '98-12-01'"),
            (10, "1969-12-31", "l_shipdate is '1969-12-31'"),
            (10, "2149-06-07", "l_shipdate is '2149-06-07'"),
            (15, "a|b", "has 17 bars, expected 16"),
            (15, "a\nb", "has 15 bars, expected 16"),
        ]
        for line in (0, 17, 49):
            for position, text, message in damages:
                lines = [list(fields) for fields in good]
                lines[line][position] = text
                if "\n" in text and line == 0:
                    continue  # then all lines seem to lack the last bar; line 2 is named
                with tbl_file(tbl_text(lines)) as path, block_size(997):
                    with self.assertRaises(Failure) as caught:
                        read_whole(path, table)
                    said = str(caught.exception)
                    self.assertIn(f"{path}, line {line + 1}: {message}", said)
                    self.assertRegex(said, "; .*(line|copy|give)")

    def test_what_is_no_tbl_file(self):
        table = TABLES["region"]
        for content, message in [
            (b"0|AFRICA|x|", "line 1: ends without a newline"),
            (b"0|AFRICA|x|\n1|AME", "line 2: ends without a newline"),
            (b"0|AFRICA|x|\r\n", "line 1: has text after its last bar"),
            (b"\n", "line 1: has 0 bars"),
            (b"x" * 200000, "line 1: has more than 65536 bytes"),
            (b"0|A|x|\n\n1|B|x|\n", "line 2: has 0 bars"),
        ]:
            with tbl_file(content) as path, self.assertRaises(Failure) as caught:
                read_whole(path, table)
            self.assertIn(message, str(caught.exception))

    def test_fuzz(self):
        """Flipped, cut and doubled bytes: either numbers that a plain reader gets as well, or a
        Failure that names a line of the file."""
        rng = random.Random(4)
        table = TABLES["orders"]
        refused = accepted = 0
        for _ in range(1500):
            lines, kept = random_lines(table, rng.randrange(1, 8), rng)
            text = bytearray(tbl_text(lines))
            for _ in range(rng.randrange(1, 4)):
                at = rng.randrange(len(text))
                kind = rng.randrange(4)
                if kind == 0:
                    text[at] = rng.choice(b"0123456789.-|\n\r \x00\xff")
                elif kind == 1:
                    del text[at : at + rng.randrange(1, 9)]
                elif kind == 2:
                    text[at:at] = text[at : at + rng.randrange(1, 9)]
                else:
                    text[at:at] = bytes([rng.choice(b"0123456789.-|\n")])
                if not text:
                    text += b"\n"
            with tbl_file(bytes(text)) as path, block_size(rng.choice([7, 100, 1 << 20])):
                try:
                    columns = read_whole(path, table)
                except Failure as failure:
                    refused += 1
                    where = str(failure).partition("line ")[2].partition(":")[0]
                    self.assertTrue(1 <= int(where) <= text.count(b"\n") + 1, str(failure))
                    continue
            accepted += 1
            plain = [line.split("|") for line in text.decode("latin-1").split("\n")[:-1]]
            for (position, column), values in zip(sorted(kept.items()), columns):
                expected = [plain_number(column, fields[position]) for fields in plain]
                self.assertEqual(values, expected, text)
        self.assertGreater(refused, 300)
        self.assertGreater(accepted, 100)


class Keys(unittest.TestCase):
    def test_sorted_with_duplicates(self):
        rng = np.random.default_rng(5)
        for dtype in ("<u1", "<u2", "<u4"):
            for values in (
                np.zeros(0, dtype),
                np.array([3], dtype),
                np.arange(200).astype(dtype),
                rng.integers(0, 250, 5000).astype(dtype),
                rng.integers(0, np.iinfo(dtype).max, 5000, endpoint=True).astype(dtype),
            ):
                ordered = tpchdata.sort_values(values)
                self.assertEqual(ordered.tolist(), sorted(values.tolist()))
                with tempfile.TemporaryDirectory() as folder:
                    path = os.path.join(folder, "k_uint64")
                    tpchdata.write_keys(path, values)
                    with open(path, "rb") as file:
                        written = np.frombuffer(file.read(), "<u8").tolist()
                self.assertEqual(written, [len(values), *sorted(values.tolist())])


class FromTbl(unittest.TestCase):
    def test_whole_run_in_pieces(self):
        rng = random.Random(6)
        with tempfile.TemporaryDirectory() as folder:
            lines, kept = random_lines(TABLES["orders"], 30, rng)
            for piece, part in enumerate((lines[:12], lines[12:13], lines[13:]), start=9):
                with open(os.path.join(folder, f"orders.tbl.{piece}"), "wb") as file:
                    file.write(tbl_text(part))
            done = run_tpch(folder, "0.5", "--tbl", folder)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("no lineitem.tbl", done.stderr)
            made = os.path.join(folder, "tpch", "sf0.5")
            with open(os.path.join(made, "tables.json"), encoding="utf-8") as file:
                manifest = json.load(file)
            self.assertEqual(list(manifest["tables"]), ["orders"])
            self.assertEqual(manifest["tables"]["orders"]["rows"], 30)
            for position, column in kept.items():
                expected = [plain_number(column, fields[position]) for fields in lines]
                values = tpchdata.read_column(os.path.join(made, column.file), column.dtype)
                self.assertEqual(values.tolist(), expected)
                keys = os.path.join(made, column.key_file)
                self.assertEqual(os.path.exists(keys), column.is_key)
                if column.is_key:
                    ldbench = os.path.join(os.environ["LDB_BUILD"], "ldbench")
                    spec = f"tpch:orders.{column.name}@0.5"
                    said = subprocess.run([ldbench, "inspect", spec], capture_output=True,
                                          env={**os.environ, "LDB_DATA": folder}, text=True)  # fmt: skip
                    self.assertEqual(said.returncode, 0, said.stderr)
                    self.assertRegex(said.stdout, r"keys +30\n")

    def test_a_bad_line_leaves_what_was_there(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "region.tbl")
            with open(path, "wb") as file:
                file.write(b"0|AFRICA|x|\n")
            self.assertEqual(run_tpch(folder, "1", "--tbl", folder).returncode, 0)
            with open(path, "ab") as file:
                file.write(b"x|AFRICA|x|\n")
            done = run_tpch(folder, "1", "--tbl", folder)
            self.assertEqual(done.returncode, 1)
            self.assertIn("region.tbl, line 2: r_regionkey is 'x'", done.stderr)
            self.assertEqual(os.listdir(os.path.join(folder, "tpch")), ["sf1"])
            made = os.path.join(folder, "tpch", "sf1", "tables", "region.r_regionkey.u8")
            with open(made, "rb") as file:
                self.assertEqual(file.read(), b"\1" + b"\0" * 8)

    def test_usage(self):
        with tempfile.TemporaryDirectory() as folder:
            for arguments, message in [
                (["0"], "scale factor '0'"),
                (["1", "2", "--tbl", folder], "give one"),
                (["1e3"], "scale factor '1e3'"),
                (["701"], "scale factor '701'"),
                (["01"], "scale factor '01'"),
                (["1", "--tbl", folder], "holds no .tbl file"),
                (["1", "--memory", "0"], "more than 0"),
            ]:
                done = run_tpch(folder, *arguments)
                self.assertEqual(done.returncode, 2, arguments)
                self.assertIn(message, done.stderr)


def run_driver(data, out, *options):
    """(process, rows)"""
    ldbench = os.path.join(os.environ["LDB_BUILD"], "ldbench")
    done = subprocess.run(
        [ldbench, "run", "--reps", "2", "--out", out, *options],
        env={**os.environ, "LDB_DATA": data},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    rows = []
    if os.path.exists(os.path.join(out, "samples.csv")):
        with open(os.path.join(out, "samples.csv"), newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    return done, rows


def run_q6(data, out, paths, *more):
    """A short run of Q6's paths; (process, rows)."""
    return run_driver(data, out, "--q6", paths, "--ops", "30", *more)


PATHS = (
    "scan,btree_fetch,btree_clustered,btree_composite,btree_composite:order=dqs,"
    "learned_clustered,grid"
)


class Q6FromTbl(unittest.TestCase):
    """The driver's side of Q6, on a small lineitem that no DuckDB is needed for."""

    @classmethod
    def setUpClass(cls):
        rng = random.Random(7)
        table = TABLES["lineitem"]
        lines, _ = random_lines(table, 3000, rng)
        for fields in lines:
            fields[4] = str(rng.randrange(1, 51))
            fields[6] = f"0.{rng.randrange(11):02d}"
            fields[10] = f"{rng.randrange(1992, 1999)}-{rng.randrange(1, 13):02d}-15"
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.data = cls.folder.name
        with open(os.path.join(cls.data, "lineitem.tbl"), "wb") as file:
            file.write(tbl_text(lines))
        done = run_tpch(cls.data, "0.1", "--tbl", cls.data)
        assert done.returncode == 0, done.stderr

    def setUp(self):
        self.out = tempfile.mkdtemp(dir=self.data)

    def test_all_paths(self):
        done, rows = run_q6(self.data, self.out, PATHS,
                            "--dataset", "tpch:lineitem.l_shipdate@0.1")  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual({row["status"] for row in rows}, {"ok"})
        self.assertEqual(len(rows), 14)
        self.assertEqual({(row["family"], row["n"], row["ops"]) for row in rows},
                         {("q6", "3000", "30")})  # fmt: skip
        for rep in ("1", "2"):  # all of a round answered the same queries
            self.assertEqual(len({row["checksum"] for row in rows if row["rep"] == rep}), 1)
        done = subprocess.run([os.path.join(os.environ["LDB_BUILD"], "ldbench"), "verify", "--q6",
                               PATHS, "--dataset", "tpch:lineitem.l_shipdate@0.1", "--mode",
                               "independent"], env={**os.environ, "LDB_DATA": self.data},
                              capture_output=True, text=True)  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("104 queries"), 7)

    def test_planted_liars(self):
        liar = os.path.join(os.environ["LDB_BUILD"], "tests", "liars", "q6_liar.so")
        for calls, message in ((0, "answered"), (1, "checksum")):
            out = os.path.join(self.out, str(calls))
            done, rows = run_q6(self.data, out, f"scan,{liar}:honest={calls}",
                                "--dataset", "tpch:lineitem.l_shipdate@0.1")  # fmt: skip
            self.assertEqual(done.returncode, 1, done.stderr)
            wrong = [row for row in rows if row["status"] == "wrong"]
            self.assertEqual([row["name"] for row in wrong], ["q6_liar"])
            self.assertIn(message, wrong[0]["note"])

    def test_what_q6_is_not_asked(self):
        for more, status, message in [
            (["--size", "1000"], "error", "Q6 asks all rows of lineitem"),
            (["--dataset", "uniform_dense", "--size", "1000"], "error", "Q6 asks all rows"),
            (["--workload", "zipf"], "unsupported", "--workload uniform"),
            (["--mode", "chained"], "unsupported", "--mode independent"),
            (["--threads", "2"], "unsupported", "one thread only"),
            (["--payload", "8"], "unsupported", "--payload 0"),
        ]:
            if "--dataset" not in more:
                more = ["--dataset", "tpch:lineitem.l_shipdate@0.1", *more]
            out = tempfile.mkdtemp(dir=self.out)
            _, rows = run_q6(self.data, out, "scan", *more)
            self.assertEqual([row["status"] for row in rows], [status], more)
            self.assertIn(message, rows[0]["note"])

    def test_duckdb_join_needs_the_package(self):
        _, rows = run_driver(self.data, self.out, "--join", "hash_join,duckdb_join", "--dataset",
                             "uniform_sparse", "--size", "5K", "--workload", "x4:su", "--mode",
                             "count", "--pass-ms", "1")  # fmt: skip
        self.assertEqual({(row["name"], row["status"]) for row in rows},
                         {("hash_join", "ok"), ("duckdb_join", "unsupported")})  # fmt: skip
        lacking = [row for row in rows if row["name"] == "duckdb_join"]
        self.assertIn("run scripts/tpch, which gets DuckDB", lacking[0]["note"])

    def test_duckdb_needs_its_database(self):
        _, rows = run_q6(self.data, self.out, "scan,duckdb",
                         "--dataset", "tpch:lineitem.l_shipdate@0.1")  # fmt: skip
        lacking = [row for row in rows if row["name"] == "duckdb"]
        self.assertEqual([row["status"] for row in lacking], ["unsupported"])
        self.assertIn("run scripts/tpch without --tbl", lacking[0]["note"])


class FromDuckDB(unittest.TestCase):
    """Scale factor 0.01, once for the whole class; in the data folder when it is there already, so
    that DuckDB need not be fetched anew."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        data = cls.folder.name
        had = os.path.join(os.environ.get("LDB_DATA") or os.path.join(ROOT, "data"), "duckdb")
        if os.path.isdir(had):
            os.symlink(os.path.abspath(had), os.path.join(data, "duckdb"))
        done = run_tpch(data, "0.01", "--timeout", "60", "--threads", "1", "--memory", "1")
        if done.returncode in (2, 3):
            raise unittest.SkipTest(f"DuckDB can't be had: {done.stderr.strip()[-300:]}")
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        cls.data, cls.made = data, os.path.join(data, "tpch", "sf0.01")
        with open(os.path.join(cls.made, "oracle.json"), encoding="utf-8") as file:
            cls.oracle = json.load(file)

    def column(self, table, name):
        column = next(c for c in TABLES[table].columns if c.name == name)
        path = os.path.join(self.made, column.file)
        return tpchdata.read_column(path, column.dtype).astype(np.int64)

    def test_rows_as_the_standard_says(self):
        with open(os.path.join(self.made, "tables.json"), encoding="utf-8") as file:
            rows = {name: t["rows"] for name, t in json.load(file)["tables"].items()}
        self.assertEqual(rows, {"lineitem": 60175, "orders": 15000, "customer": 1500, "part": 2000,
                                "partsupp": 8000, "supplier": 100, "nation": 25, "region": 5})  # fmt: skip

    def test_columns_within_what_the_standard_says(self):
        day = lambda text: (datetime.date.fromisoformat(text) - datetime.date(1970, 1, 1)).days
        for table, name, low, high in [
            ("lineitem", "l_quantity", 100, 5000),
            ("lineitem", "l_discount", 0, 10),
            ("lineitem", "l_tax", 0, 8),
            ("lineitem", "l_shipdate", day("1992-01-02"), day("1998-12-01")),
            ("orders", "o_orderdate", day("1992-01-01"), day("1998-08-02")),
            ("part", "p_size", 1, 50),
            ("customer", "c_nationkey", 0, 24),
            ("supplier", "s_acctbal", 1000000 - 99999, 1000000 + 999999),
        ]:
            values = self.column(table, name)
            self.assertTrue(low <= values.min() and values.max() <= high, (name, values.min()))
        self.assertEqual(set(self.column("lineitem", "l_returnflag").tolist()), set(b"ANR"))
        # Section 4.2.3: what part P costs.
        part = self.column("part", "p_partkey")
        price = 90000 + part // 10 % 20001 + 100 * (part % 1000)
        self.assertEqual(self.column("part", "p_retailprice").tolist(), price.tolist())
        ordered = self.column("lineitem", "l_partkey") - 1
        quantity = self.column("lineitem", "l_quantity")
        self.assertTrue((price[ordered] * quantity
                         == 100 * self.column("lineitem", "l_extendedprice")).all())  # fmt: skip

    def test_q6_as_duckdb(self):
        date = self.column("lineitem", "l_shipdate")
        discount = self.column("lineitem", "l_discount")
        quantity = self.column("lineitem", "l_quantity")
        price = self.column("lineitem", "l_extendedprice")
        self.assertEqual(len(self.oracle["q6"]), 80)
        for q in self.oracle["q6"]:
            first, last = (
                (datetime.date(y, 1, 1) - datetime.date(1970, 1, 1)).days
                for y in (q["year"], q["year"] + 1)
            )
            match = (date >= first) & (date < last) & (quantity < 100 * q["quantity"])
            match &= (discount >= q["discount"] - 1) & (discount <= q["discount"] + 1)
            self.assertEqual(int(match.sum()), q["rows"])
            self.assertEqual(int((price[match] * discount[match]).sum()), q["revenue"])

    def test_joins_as_duckdb(self):
        for join in self.oracle["joins"]:
            build = self.column(join["build"], join["build_key"])
            probe = self.column(join["probe"], join["probe_key"])
            if join["build_filter"]:
                text = join["build_filter"].split("'")[1]
                limit = datetime.date.fromisoformat(text) - datetime.date(1970, 1, 1)
                build = build[self.column("orders", "o_orderdate") < limit.days]
            row_of = {int(key): row for row, key in enumerate(build)}
            matches = [(row_of[k], row) for row, k in enumerate(probe.tolist()) if k in row_of]
            checksum = sum((b + 1) * (2 * p + 1) for b, p in matches) % 2**64
            self.assertEqual(len(matches), join["count"])
            self.assertEqual(f"{checksum:016x}", join["checksum"])

    def test_q6_beside_duckdb(self):
        with tempfile.TemporaryDirectory() as out:
            paths = f"{PATHS},duckdb,duckdb:order=l_shipdate,duckdb:threads=0"
            done, rows = run_q6(self.data, os.path.join(out, "1"), paths,
                                "--dataset", "tpch:lineitem.l_shipdate@0.01")  # fmt: skip
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual((len(rows), {row["status"] for row in rows}), (20, {"ok"}))
            self.assertEqual({row["index_bytes"] for row in rows if row["name"] == "duckdb"}, {""})
            # Columns that DuckDB's answers don't fit to are not measured.
            path = os.path.join(self.made, "oracle.json")
            with open(path, encoding="utf-8") as file:
                text = file.read()
            try:
                with open(path, "w", encoding="utf-8") as file:
                    revenue = str(self.oracle["q6"][7]["revenue"])
                    file.write(text.replace(revenue, str(int(revenue) + 1)))
                done, rows = run_q6(self.data, os.path.join(out, "2"), "scan",
                                    "--dataset", "tpch:lineitem.l_shipdate@0.01")  # fmt: skip
            finally:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
            self.assertEqual([row["status"] for row in rows], ["error"])
            self.assertIn("revenue 7 is", rows[0]["note"])

    def test_joins_by_duckdb(self):
        with tempfile.TemporaryDirectory() as out:
            for dataset, size, workload in (
                ("tpch:orders.o_orderkey@0.01", "max", "l_orderkey,l_orderkey:dated,l_orderkey:shuffled"),
                ("tpch:part.p_partkey@0.01", "max", "l_partkey"),
                ("uniform_sparse", "5K", "x4:uu:half"),
            ):  # fmt: skip
                done, rows = run_driver(self.data, os.path.join(out, dataset), "--join",
                                        "hash_join,duckdb_join,duckdb_join:threads=0",
                                        "--dataset", dataset, "--size", size, "--workload",
                                        workload, "--mode", "count", "--pass-ms", "1")  # fmt: skip
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual({row["status"] for row in rows}, {"ok"})
                self.assertEqual(len(rows), 6 * (1 + workload.count(",")))
                for name in ("index_bytes", "build_ns"):
                    unknown = {row["name"] == "duckdb_join" for row in rows if not row[name]}
                    self.assertEqual(unknown, {True}, name)
            _, rows = run_driver(self.data, os.path.join(out, "pairs"), "--join",
                                 "hash_join,duckdb_join", "--dataset", "uniform_sparse", "--size",
                                 "5K", "--workload", "x4:su", "--mode", "pairs,count",
                                 "--threads", "1,2", "--pass-ms", "1")  # fmt: skip
            self.assertEqual({row["status"] for row in rows}, {"ok", "unsupported"})
            self.assertEqual({(row["mode"], row["threads"]) for row in rows
                              if row["name"] == "duckdb_join" and row["status"] == "ok"},
                             {("count", "1")})  # fmt: skip

    def test_what_is_whole_is_left_alone(self):
        stamp = os.path.join(self.made, "tables.json")
        before = os.stat(stamp).st_mtime_ns
        done = run_tpch(self.data, "0.01")
        self.assertEqual((done.returncode, os.stat(stamp).st_mtime_ns), (0, before))
        self.assertIn("already there", done.stderr)


class Offline(unittest.TestCase):
    def test_without_npm_it_says_so(self):
        with tempfile.TemporaryDirectory() as folder:
            node = os.path.join(folder, "node")
            with open(node, "w", encoding="ascii") as file:
                file.write("#!/bin/sh\n")
            os.chmod(node, 0o755)
            done = run_tpch(folder, "1", PATH=folder)
            self.assertEqual(done.returncode, download.UNREACHABLE, done.stderr)
            self.assertIn("npm, which brings it, is not on the PATH", done.stderr)
            self.assertEqual(os.listdir(os.path.join(folder, "tpch")), [])


if __name__ == "__main__":
    unittest.main()
