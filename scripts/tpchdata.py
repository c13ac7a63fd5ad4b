"""TPC-H's columns as numbers: the mapping, files of columns and of keys, and the reader of .tbl.

Of the eight tables (TPC Benchmark H, revision 3, section 1.4) those columns are kept that are
identifiers, numbers, dates or single letters. Each becomes an unsigned integer, in its own order:

  integer     itself
  hundredths  a decimal times 100, plus an offset where it may be negative
  date        days since 1970-01-01
  letter      its code

A column file is a u64 count, then that many little-endian unsigned integers in the order of the
table's rows; their width is the file's suffix: .u8, .u16, .u32. A key file is a SOSD file: the same
values as u64, sorted, duplicates kept.
"""

import glob
import os
import re
import struct

import numpy as np

import keysets
from download import FAILED, USAGE, Failure

BALANCE_OFFSET = 1000000  # in hundredths: account balances are -999.99 .. 9999.99
BLOCK = 1 << 20  # values written at once
TBL_BLOCK = 1 << 26  # bytes of a .tbl parsed at once
TBL_LINE = 1 << 16  # no line of TPC-H is longer

# What a column can be: how it maps, bytes, offset, and whether it gets a key file.
KINDS = {
    "id": ("integer", 4, 0, True),
    "int": ("integer", 4, 0, False),
    "small": ("integer", 1, 0, False),
    "money": ("hundredths", 4, 0, True),
    "balance": ("hundredths", 4, BALANCE_OFFSET, True),
    "amount": ("hundredths", 2, 0, False),
    "rate": ("hundredths", 1, 0, False),
    "date": ("date", 2, 0, True),
    "letter": ("letter", 1, 0, False),
}
# A word for each field of a .tbl line, `-` for those that aren't kept.
SCHEMA = {
    "lineitem": "l_orderkey:id l_partkey:id l_suppkey:id l_linenumber:small l_quantity:amount "
    "l_extendedprice:money l_discount:rate l_tax:rate l_returnflag:letter l_linestatus:letter "
    "l_shipdate:date l_commitdate:date l_receiptdate:date - - -",
    "orders": "o_orderkey:id o_custkey:id o_orderstatus:letter o_totalprice:money "
    "o_orderdate:date - - o_shippriority:small -",
    "customer": "c_custkey:id - - c_nationkey:small - c_acctbal:balance - -",
    "part": "p_partkey:id - - - - p_size:small - p_retailprice:money -",
    "partsupp": "ps_partkey:id ps_suppkey:id ps_availqty:int ps_supplycost:money -",
    "supplier": "s_suppkey:id - - s_nationkey:small - s_acctbal:balance -",
    "nation": "n_nationkey:small - n_regionkey:small -",
    "region": "r_regionkey:small - -",
}


class Column:
    """A kept column: where it stands in a .tbl line, and how it maps."""

    def __init__(self, table, position, name, kind):
        self.table, self.position, self.name = table, position, name
        self.mapping, self.width, self.offset, self.is_key = KINDS[kind]
        self.type = f"u{8 * self.width}"
        self.file = f"tables/{table}.{name}.{self.type}"
        self.key_file = f"{table}.{name}_uint64"

    @property
    def dtype(self):
        return np.dtype(f"<u{self.width}")

    @property
    def sql(self):
        """The column's numbers in DuckDB's SQL."""
        number = {
            "integer": self.name,
            "hundredths": f"{self.name} * 100 + {self.offset}",
            "date": f"{self.name} - DATE '1970-01-01'",
            "letter": f"ascii({self.name})",
        }[self.mapping]
        return f"CAST({number} AS {({1: 'UTINYINT', 2: 'USMALLINT', 4: 'UINTEGER'})[self.width]})"

    def describe(self):
        """Its entry in the manifest."""
        entry = {"file": self.file, "type": self.type, "mapping": self.mapping}
        if self.offset:
            entry["offset"] = self.offset
        if self.is_key:
            entry["keys"] = self.key_file
        return entry


class Table:
    def __init__(self, name, words):
        words = words.split()
        self.name, self.fields = name, len(words)
        self.columns = [
            Column(name, i, *word.split(":")) for i, word in enumerate(words) if word != "-"
        ]


TABLES = [Table(name, words) for name, words in SCHEMA.items()]


# --- files of columns and of keys -----------------------------------------------------------------


def read_column(path, dtype):
    """The values of a column file, mapped and not read."""
    count = keysets.read_count(path)
    if count is None or os.path.getsize(path) != 8 + count * dtype.itemsize:
        raise Failure(FAILED, path, "its size is not that of its count", "run scripts/tpch anew")
    if count == 0:
        return np.zeros(0, dtype)
    return np.memmap(path, dtype, "r", 8, (count,))


class ColumnWriter:
    """Writes a column file part by part; `close` puts in the count."""

    def __init__(self, path, dtype):
        self.file, self.dtype, self.count = open(path, "wb"), dtype, 0
        self.file.write(struct.pack("<Q", 0))

    def append(self, values):
        self.file.write(memoryview(np.ascontiguousarray(values, self.dtype)).cast("B"))
        self.count += len(values)

    def close(self):
        self.file.seek(0)
        self.file.write(struct.pack("<Q", self.count))
        self.file.close()


def sort_values(values):
    """Sorted copy: as it is, counted where there are few possible values, or sorted."""
    if len(values) < 2 or bool((values[1:] >= values[:-1]).all()):
        return values
    if values.dtype.itemsize <= 2:
        counts = np.bincount(values)
        return np.repeat(np.arange(len(counts), dtype=values.dtype), counts)
    return np.sort(values)


def write_keys(path, values):
    """Writes the values, sorted, as a SOSD file of 64-bit keys."""
    ordered = sort_values(values)
    writer = ColumnWriter(path, np.dtype("<u8"))
    for begin in range(0, len(ordered), BLOCK):
        writer.append(ordered[begin : begin + BLOCK])
    writer.close()


# --- .tbl files, as the official dbgen writes them ------------------------------------------------


def tbl_files(folder, table):
    """TABLE.tbl, or its pieces TABLE.tbl.1, TABLE.tbl.2 .. in the order of their numbers."""
    whole = os.path.join(folder, f"{table}.tbl")
    if os.path.exists(whole):
        return [whole]
    pieces = [p for p in glob.glob(glob.escape(whole) + ".*") if p.rpartition(".")[2].isdigit()]
    return sorted(pieces, key=lambda path: int(path.rpartition(".")[2]))


def tbl_blocks(path):
    """Yields the file's bytes in blocks of whole lines, each with the number of its first line."""
    line, rest = 1, b""
    with open(path, "rb") as file:
        while piece := file.read(TBL_BLOCK):
            end = piece.rfind(b"\n") + 1
            if end:
                block = rest + piece[:end]
                yield line, block
                line += block.count(b"\n")
                rest = piece[end:]
            else:
                rest += piece
            if len(rest) > TBL_LINE:
                raise bad_line(path, line, f"has more than {TBL_LINE} bytes", "give a .tbl file")
    if rest:
        raise bad_line(path, line, "ends without a newline", "the file is cut: copy it again")


def bad_line(path, line, value, remedy):
    return Failure(FAILED, f"{path}, line {line}", value, remedy)


def split_fields(path, table, first_line, text):
    """Where the fields begin and end: two arrays of shape (lines, fields). dbgen ends each field
    with a bar; files without the last one are taken too."""
    ends = np.flatnonzero((text == ord("|")) | (text == ord("\n")))
    is_newline = text[ends] == ord("\n")
    width = int(np.argmax(is_newline)) + 1  # separators of the first line
    lines = int(is_newline.sum())
    grid_fits = len(ends) == lines * width and bool(is_newline[width - 1 :: width].all())
    if width not in (table.fields, table.fields + 1) or not grid_fits:
        bars = np.diff(np.flatnonzero(is_newline), prepend=-1) - 1
        wanted = table.fields if width != table.fields else table.fields - 1
        wrong = int(np.argmax(bars != wanted))
        raise bad_line(
            path, first_line + wrong, f"has {bars[wrong]} bars, expected {wanted} of {table.name}",
            "correct or remove the line",
        )  # fmt: skip
    ends = ends.reshape(lines, width)
    begins = np.concatenate(([0], ends.ravel()[:-1] + 1)).reshape(lines, width)
    if width > table.fields:
        loose = ends[:, -1] > begins[:, -1]
        if loose.any():
            wrong = first_line + int(np.argmax(loose))
            raise bad_line(path, wrong, "has text after its last bar", "end it there")
    return begins[:, : table.fields], ends[:, : table.fields]


def parse_digits(text, begin, end):
    """(values, good): unsigned decimal numbers of 1 to 18 digits."""
    length = end - begin
    good = (length >= 1) & (length <= 18)
    values = np.zeros(len(begin), np.int64)
    for i in range(min(int(length.max(initial=0)), 18)):
        inside = i < length
        digit = text[np.where(inside, begin + i, 0)].astype(np.int64) - ord("0")
        good &= ~inside | ((digit >= 0) & (digit <= 9))
        values = np.where(inside, values * 10 + digit, values)
    return values, good


def parse_hundredths(text, begin, end):
    """(values, good): decimals with up to two places, times 100."""
    negative = (end > begin) & (text[begin] == ord("-"))
    begin = begin + negative
    places = np.zeros(len(begin), np.int64)
    for some in (1, 2):
        at = end - some - 1
        places[(at > begin) & (text[np.maximum(at, 0)] == ord("."))] = some
    point = end - places - (places > 0)
    whole, good = parse_digits(text, begin, point)
    part, part_good = parse_digits(text, point + 1, end)
    part = np.where(places == 1, part * 10, np.where(places == 2, part, 0))
    values = np.minimum(whole, 10**15) * 100 + part
    return np.where(negative, -values, values), good & (part_good | (places == 0))


def parse_dates(text, begin, end):
    """(values, good): days since 1970-01-01 of dates written as 1998-12-01."""
    good = end - begin == 10
    begin = np.where(good, begin, 0)
    if not good.any():
        return begin, good
    good &= (text[begin + 4] == ord("-")) & (text[begin + 7] == ord("-"))
    parts = [(0, 4), (5, 7), (8, 10)]
    (year, month, day), checks = zip(*(parse_digits(text, begin + a, begin + b) for a, b in parts))
    good &= np.logical_and.reduce(checks) & (year >= 1970) & (month >= 1) & (month <= 12)
    months = np.where(good, (year - 1970) * 12 + month - 1, 0).astype("M8[M]")
    days = months.astype("M8[D]") + np.where(good, day - 1, 0)
    good &= days.astype("M8[M]") == months
    return days.astype(np.int64), good


def parse_letters(text, begin, end):
    return text[begin].astype(np.int64), end - begin == 1


PARSERS = {
    "integer": (parse_digits, "an unsigned integer"),
    "hundredths": (parse_hundredths, "a decimal with up to two places"),
    "date": (parse_dates, "a date like 1998-12-01"),
    "letter": (parse_letters, "one letter"),
}


def parse_column(path, column, first_line, text, begin, end):
    """A column's numbers in the lines of a block, or the Failure that names the first bad one."""
    parse, what = PARSERS[column.mapping]
    values, good = parse(text, begin, end)
    values = values + column.offset
    good = good & (values >= 0) & (values <= np.iinfo(column.dtype).max)
    if not good.all():
        i = int(np.argmin(good))
        found = text[begin[i] : min(end[i], begin[i] + 40)].tobytes().decode("latin-1")
        raise bad_line(
            path, first_line + i, f"{column.name} is {found!r}, expected {what} in its range",
            "correct or remove the line",
        )  # fmt: skip
    return values.astype(column.dtype)


def read_tbl(path, table):
    """Yields, block by block, the numbers of a .tbl file: a list with an array for each column."""
    for first_line, block in tbl_blocks(path):
        text = np.frombuffer(block, np.uint8)
        begins, ends = split_fields(path, table, first_line, text)
        yield [
            parse_column(path, c, first_line, text, begins[:, c.position], ends[:, c.position])
            for c in table.columns
        ]


def load_tbl(source, folder, say):
    """Column files in `folder` from the .tbl files in `source`; returns dict table -> rows."""
    rows = {}
    for table in TABLES:
        files = tbl_files(source, table.name)
        if not files:
            say(f"no {table.name}.tbl in {source}: left out")
            continue
        writers = [ColumnWriter(os.path.join(folder, c.file), c.dtype) for c in table.columns]
        try:
            for path in files:
                for block in read_tbl(path, table):
                    for writer, values in zip(writers, block):
                        writer.append(values)
        finally:
            for writer in writers:
                writer.close()
        rows[table.name] = writers[0].count
        say(f"{table.name}: {rows[table.name]} rows")
    if not rows:
        raise Failure(USAGE, source, "holds no .tbl file of TPC-H", "name the folder dbgen wrote to")
    return rows


def valid_scale(text):
    """A scale factor as it stands in names of folders: 1, 10, 0.01."""
    return re.fullmatch(r"[1-9]\d{0,2}|0\.\d*[1-9]", text) is not None and float(text) <= 700
