#!/usr/bin/python3
"""Writes a FAKE results folder, for tests of the summary and the figures only.

usage: tests/fake_run.py DIR [--seed N] [--reps N] [--datasets A,B] [--modes M,..] [--sizes N,..]

The numbers come from a formula, not from a machine, and run.json says so. Never put its output
under results/.
"""

import argparse
import csv
import json
import math
import os
import random
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "scripts"))
from ldbresults import COLUMNS  # noqa: E402

# name: (ns at 1K, ns per cache-missing level, bytes per key, build ns per key, batches, learned)
MODELS = {
    "null": (0.6, 0.0, 0.0, 0.0, False, 0),
    "bsearch": (14.0, 52.0, 0.0, 0.0, False, 0),
    "btree": (11.0, 34.0, 4.7, 8.0, False, 0),
    "absl_btree": (13.0, 37.0, 3.2, 60.0, False, 0),
    "rmi": (17.0, 15.0, 0.5, 21.0, True, 1),
    "pgm": (19.0, 22.0, 0.08, 30.0, True, 1),
}
CASES = ("read", "mix50", "insert")
MODE_FACTOR = {"mixed": 1.5, "chained": 1.9, "independent": 1.0, "batched": 0.45}
HARDNESS = {"uniform": 1.0, "coast": 1.5, "ipv4": 1.2}
MACHINE = {"name": "fake", "cpu": {"model": "FAKE machine (tests only)", "cores": 2},
           "caches": {"l1d": 32 << 10, "l2": 1 << 20, "l3": 32 << 20}}


def fake_ns(name, dataset, n, mode):
    """A smooth curve: flat within the L2 cache, steeper beyond L2 and L3."""
    base, slope, _, _, batches, learned = MODELS[name]
    levels = max(0, math.log10(n * 8 / 2**20)) + 1.5 * max(0, math.log10(n * 8 / 2**25))
    factor = MODE_FACTOR[mode] if mode != "batched" or batches else 1.0
    hard = 1 + (HARDNESS.get(dataset, 1.0) - 1) * (2.0 if learned else 0.3)
    return (base * (1 + 0.15 * math.log10(n / 1000)) + slope * levels * hard) * factor


def fake_row(name, dataset, n, mode, rep, drift, rng):
    _, _, bytes_per_key, build, batches, learned = MODELS[name]
    ns = fake_ns(name, dataset, n, mode) * drift * rng.lognormvariate(0, 0.015)
    if rng.random() < 0.03:
        ns *= 1.3
    ops = 1_000_000
    notes = ["session=1", "group=1", f"cpu_ns={int(ns * ops)}", "huge=0.98"]
    notes += ["learned=1"] if learned else []
    notes += ["reference=1"] if name == "btree" else []
    notes += ["batch=lookup"] if mode == "batched" and not batches else []
    notes += ["chosen=leaves=65536,root=cubic"] if name == "rmi" else []
    row = dict.fromkeys(COLUMNS, "")
    row.update(experiment="fake", family="index", name=name, dataset=dataset, n=n, key_bits=64,
               workload="uniform", mode=mode, threads=1, pages="thp", payload_bytes=0, rep=rep,
               params="leaves=0;root=auto" if name == "rmi" else "", ops=ops,
               elapsed_ns=int(ns * ops), ns_per_op=f"{ns:.4f}", build_ns=int(build * n) + 900,
               tune_ns=int(12 * n) if name == "rmi" else "", checksum="fake",
               index_bytes=int(bytes_per_key * n) + (64 if bytes_per_key else 0),
               peak_rss_bytes=int(24 * n) + (8 << 20), status="ok", note="; ".join(notes),
               page_faults=0, context_switches=rng.randrange(3))
    return row


def write_fake(folder, seed=1, reps=10, datasets=("uniform", "coast"),
               modes=("chained", "independent", "batched"), names=tuple(MODELS),
               sizes=(1000, 10_000, 100_000, 1_000_000, 10_000_000)):
    """Writes samples.csv and run.json; the machine gets up to 20 % slower from round to round."""
    rng = random.Random(seed)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "run.json"), "w", encoding="utf-8") as file:
        json.dump({"fake": True, "machine": MACHINE, "date": "2000-01-01", "git": "fake",
                   "reference": "btree", "config": "fake"}, file)
    with open(os.path.join(folder, "samples.csv"), "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for dataset in datasets:
            for n in sizes:
                n = min(n, 7_138_872) if dataset == "coast" else n
                for mode in modes:
                    for rep in range(reps):
                        drift = 1 + 0.2 * rep / max(1, reps - 1)
                        for name in rng.sample(names, len(names)):
                            writer.writerow(fake_row(name, dataset, n, mode, rep, drift, rng))


def write_fake_updates(folder, cases=CASES, slots=30, **more):
    """The same for a run of updates: cases instead of sizes, and a timeline."""
    write_fake(folder, modes=("mixed",), sizes=(10_000_000,), **more)
    path = os.path.join(folder, "samples.csv")
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for factor, case in enumerate(cases, start=1):
            for row in rows:
                ns = float(row["ns_per_op"]) * factor
                writer.writerow({**row, "workload": case, "ns_per_op": f"{ns:.4f}",
                                 "p99_ns": int(3 * ns)})
    fixed = "experiment,family,name,params,dataset,n,workload,mode,threads,pages,rep".split(",")
    with open(os.path.join(folder, "timeline.csv"), "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*fixed, "slot_ms", "ops", "cpu_ns", "held_bytes"])
        for row in rows:
            for slot in range(slots):
                stall = row["name"] == "rmi" and slot == 7
                writer.writerow([*(cases[0] if c == "workload" else row[c] for c in fixed),
                                 100 * slot, 0 if stall else 400_000 + slot, 10**8, 10**9])


def main():
    parser = argparse.ArgumentParser(description="Writes a FAKE results folder, for tests only.")
    parser.add_argument("dir", metavar="DIR")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reps", type=int, default=10)
    parser.add_argument("--datasets", default="uniform,coast")
    parser.add_argument("--modes", default="chained,independent,batched")
    parser.add_argument("--sizes", default="1000,10000,100000,1000000,10000000")
    options = parser.parse_args()
    folder = os.path.realpath(options.dir)
    if folder.startswith(os.path.join(ROOT, "results")):
        parser.error(f"{options.dir}: fake numbers don't belong under results/: take another DIR")
    write_fake(folder, options.seed, options.reps, options.datasets.split(","),
               options.modes.split(","), sizes=[int(n) for n in options.sizes.split(",")])


if __name__ == "__main__":
    main()
