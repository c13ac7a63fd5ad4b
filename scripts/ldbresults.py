"""Reads samples.csv and run.json of a results folder into cells.

A cell is one competitor at one point; a point is everything but the competitor. Rows that share
session, group, repetition and point were measured in the same round and pair up.
"""

import csv
import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

import ldbstats

COLUMNS = (
    "experiment,family,name,params,dataset,n,key_bits,workload,mode,threads,pages,payload_bytes,"
    "rep,ops,elapsed_ns,ns_per_op,build_ns,tune_ns,index_bytes,peak_rss_bytes,p50_ns,p99_ns,"
    "p999_ns,max_ns,err_log2_mean,err_max,checksum,status,note,instructions,cycles,l1d_misses,"
    "l2_misses,llc_misses,dtlb_misses,branch_misses,page_faults,context_switches"
).split(",")
COUNTERS = tuple(COLUMNS[COLUMNS.index("instructions") :])
POINT = ("experiment", "family", "dataset", "n", "key_bits", "workload", "mode", "threads",
         "pages", "payload_bytes")
NUMBERS = {"n", "ops", "elapsed_ns", "ns_per_op", "build_ns", "tune_ns", "index_bytes",
           "peak_rss_bytes", "p50_ns", "p99_ns", "p999_ns", "max_ns", "err_log2_mean", "err_max",
           *COUNTERS}


class ResultsError(Exception):
    """A folder that can't be read; the text names subject, value and remedy."""


def parse_note(text):
    """"a=1; chosen=x=2,y=3; words" -> {"a": "1", "chosen": "x=2,y=3", "": "words"}"""
    note = {}
    for part in filter(None, (p.strip() for p in text.split(";"))):
        key, equals, value = part.partition("=")
        if equals and key.replace("_", "").isalnum():
            note[key] = value
        else:
            note[""] = f"{note['']}; {part}" if "" in note else part
    return note


def _parse_line(line, header):
    """One row as a dict, numbers converted, or a ValueError that says what is wrong with it."""
    try:
        fields = next(csv.reader([line], strict=True))
    except (csv.Error, StopIteration) as error:
        raise ValueError(str(error) or "empty") from None
    if len(fields) != len(header):
        raise ValueError(f"{len(fields)} fields of {len(header)}")
    row = dict(zip(header, fields))
    for column in NUMBERS:
        if row[column] == "":
            row[column] = None
            continue
        row[column] = float(row[column])
        if not np.isfinite(row[column]) or row[column] < 0:
            raise ValueError(f"{column} is {row[column]}")
    if row["ns_per_op"] is None and row["elapsed_ns"] and row["ops"]:
        row["ns_per_op"] = row["elapsed_ns"] / row["ops"]
    if row["n"] is None or not row["name"] or not row["status"]:
        raise ValueError("no n, name or status")
    if row["status"] == "ok" and not row["ns_per_op"]:
        raise ValueError("status ok without a time")
    row["n"] = int(row["n"])
    row["note"] = parse_note(row["note"])
    return row


def read_samples(path):
    """(rows, complaints). Damaged lines are skipped and named in a complaint each."""
    try:
        # surrogateescape and newline="": a damaged byte spoils its own line only.
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            lines = file.read().split("\n")
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}: give a folder that `ldbench run` wrote")
    header = lines[0].rstrip("\r").lstrip("\ufeff").split(",")
    missing = [c for c in COLUMNS if c not in header]
    if missing:
        raise ResultsError(f"{path}: the header lacks {', '.join(missing)}: "
                           "not a samples.csv, or one of another version")
    rows, complaints = [], []
    last = len(lines)
    for number, line in enumerate(lines[1:], start=2):
        if number == last:
            # Rows are appended whole, so a last line without its end was cut by an interruption.
            if line:
                complaints.append(f"line {number} skipped: cut off, the run was interrupted there")
            continue
        try:
            rows.append({**_parse_line(line.rstrip("\r"), header), "line": number})
        except ValueError as error:
            complaints.append(f"line {number} skipped: {error}")
    return rows, complaints


def read_run(folder):
    """run.json as a dict; empty when it is missing or broken (an interrupted run)."""
    try:
        with open(os.path.join(folder, "run.json"), encoding="utf-8") as file:
            run = json.load(file)
        return run if isinstance(run, dict) else {}
    except (OSError, ValueError):
        return {}


DRAWN = POINT + ("name", "params", "status", "median_ns", "low_ns", "high_ns", "index_bytes",
                 "fallback")


def summary_mark(folder):
    """"summary.csv <hash>" of what figures draw of DIR/summary.csv; None when there is none. A figure
    carries it, so that an old one can be told from one of these numbers."""
    digest = hashlib.sha256()
    try:
        with open(os.path.join(folder, "summary.csv"), encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                digest.update("\t".join(row.get(c) or "" for c in DRAWN).encode() + b"\n")
    except (OSError, ValueError):
        return None
    return f"summary.csv {digest.hexdigest()[:16]}"


@dataclass
class Cell:
    """All rows of one competitor at one point, and which of them count."""

    point: tuple
    name: str
    params: str
    rows: list
    used: list = field(default_factory=list)  # the ok rows that the numbers come from
    bad: list = field(default_factory=list)
    status: str = "ok"  # "ok", or the failures of its newest session: "crashed", "oom+timeout"

    def __post_init__(self):
        """A failed session gives no numbers, unless there is none newer that is whole."""
        session = lambda row: row["note"].get("session", "1")
        by_age = lambda name: (len(name), name)
        self.bad = [r for r in self.rows if r["status"] != "ok"]
        failed = {session(r) for r in self.bad}
        newest = max((session(r) for r in self.rows), key=by_age)
        if newest in failed:
            self.status = "+".join(sorted({r["status"] for r in self.bad if session(r) == newest}))
            clean = self.rows
        else:
            clean = [r for r in self.rows if session(r) not in failed]
        self.used = [r for r in clean if r["status"] == "ok"]

    def get(self, column):
        return self.point[POINT.index(column)]

    @property
    def ok(self):
        return self.status == "ok"

    @property
    def values(self):
        return [r["ns_per_op"] for r in self.used]

    @property
    def rounds(self):
        """dict (session, group, rep) -> ns per operation."""
        note = lambda row, key: row["note"].get(key, "1")
        rounds = {}
        for r in self.used:
            rounds.setdefault((note(r, "session"), note(r, "group"), r["rep"]), []).append(r)
        return {k: float(np.median([r["ns_per_op"] for r in v])) for k, v in rounds.items()}

    def median(self, column):
        """Median over the rows that have the column; None when none has."""
        values = [r[column] for r in self.used if r[column] is not None]
        return float(np.median(values)) if values else None

    def noted(self, key):
        """The values that the rows' notes give for a key, most frequent first."""
        return [v for v, _ in Counter(r["note"][key] for r in self.rows if key in r["note"])
                .most_common()]

    @property
    def fallback(self):
        """No batch of its own: the plain loop ran in its place."""
        return "lookup" in self.noted("batch")

    def failure(self):
        """What the failed rows say, once each."""
        said = {r["note"].get("", r["note"].get("error", "")) for r in self.bad}
        return "; ".join(sorted(filter(None, said)))


def build_cells(rows):
    """Cells in the order in which the file first names them."""
    grouped = {}
    for row in rows:
        key = tuple(row[c] for c in POINT), row["name"], row["params"]
        grouped.setdefault(key, []).append(row)
    return [Cell(point, name, params, group) for (point, name, params), group in grouped.items()]


def by_point(cells):
    points = {}
    for cell in cells:
        points.setdefault(cell.point, []).append(cell)
    return points


def width_pairs(cells):
    """[(narrow, wide)]: a competitor's cells with keys of 32 and of 64 bits, else at one point.

    Parameters that count keys may differ with the width; so where a name has one setting of each,
    these are a pair.
    """
    at = POINT.index("key_bits")
    grouped = {}
    for c in cells:
        widths = grouped.setdefault((c.point[:at] + c.point[at + 1 :], c.name), {})
        widths.setdefault(c.get("key_bits"), []).append(c)
    pairs = []
    for widths in grouped.values():
        narrow, wide = widths.get("32", []), widths.get("64", [])
        sole = len(narrow) == len(wide) == 1
        pairs += [(a, b) for a in narrow for b in wide if sole or a.params == b.params]
    return pairs


def is_learned(cell, style):
    return "1" in cell.noted("learned") or style.competitor(cell.name).learned


def find_reference(cells, run):
    """The reference's cell of one point, or None. run.json names it; else a note may."""
    named = [c for c in cells if c.name == run.get("reference")]
    marked = [c for c in cells if "1" in c.noted("reference")]
    both = [c for c in named if c in marked]
    for candidates in (both, named, marked if not run.get("reference") else []):
        plain = [c for c in candidates if c.used]
        if plain:
            return min(plain, key=lambda c: len(c.params))
    return None


def ratio_between(a, b, reference=None):
    """Interval of a's time over b's: within shared rounds; else by way of the reference's ratios.

    Competitors of different groups share no round, but each shares its rounds with the reference.
    The quotient of two intervals' ends is wider than either needs, never narrower.
    """
    direct = ldbstats.paired_ratio(a.rounds, b.rounds)
    if direct.count or reference is None:
        return direct
    x = ldbstats.paired_ratio(a.rounds, reference.rounds)
    y = ldbstats.paired_ratio(b.rounds, reference.rounds)
    if not x.count or not y.count:
        return ldbstats.NOTHING
    kind = x.kind if x.kind == y.kind else "range"
    return ldbstats.Interval(x.median / y.median, x.low / y.high, x.high / y.low, kind,
                             min(x.count, y.count))


def order_between(a, b, reference=None):
    """-1 when a is ahead of b, 1 behind, 0 a tie, None when too few rounds pair up."""
    return ldbstats.compare(ratio_between(a, b, reference))


def kind_of(row):
    """The kind of work of a row, a cell or a dict of a point: its family, or mixed."""
    return "mixed" if row.get("mode") == "mixed" else row.get("family")


def size_text(n):
    """1000 -> 1K, 7138872 -> 7.14M; the name of a case stays what it is."""
    if isinstance(n, str):
        return n
    for unit, factor in (("G", 10**9), ("M", 10**6), ("K", 10**3)):
        if n >= factor * 0.9995:  # 999,999 is "1M", not "1e+03K"
            return f"{n / factor:.3g}{unit}"
    return str(int(n))


def ratio_text(ratio):
    """0.713; below 0.01 two digits that count: 0.00041."""
    return f"{ratio:.3f}" if ratio >= 0.01 else f"{ratio:.2g}"


def machine_text(run):
    """"AMD EPYC 9R14, 2 cores", from whatever run.json says of the machine."""
    machine = run.get("machine")
    if not isinstance(machine, dict):
        return "machine unknown"
    cpu = next((machine[k] for k in ("cpu", "cpu_model", "model", "cpu model", "model_name")
                if machine.get(k)), "processor unknown")
    cores = machine.get("cores")
    if isinstance(cpu, dict):
        cores = cpu.get("cores", cores)
        cpu = cpu.get("model") or "processor unknown"
    return f"{cpu}, {cores} cores" if cores else str(cpu)


def date_text(run):
    """The day of the run; its time of day is in run.json."""
    return str(run.get("date", "date unknown")).partition("T")[0]


def params_labels(cells, style):
    """dict (name, params) -> label; parameters are shown where a name has several settings."""
    settings = {}
    for c in cells:
        settings.setdefault(c.name, set()).add(c.params)
    labels = {}
    for name, variants in settings.items():
        split = {v: dict(p.partition("=")[::2] for p in v.split(";") if p) for v in variants}
        keys = sorted({k for s in split.values() for k in s})
        varying = [k for k in keys if len({s.get(k, "default") for s in split.values()}) > 1]
        for v in variants:
            text = " ".join(f"{k}={split[v].get(k, 'default')}" for k in varying)
            labels[name, v] = f"{style.competitor(name).label} {text}".strip()
    return labels
