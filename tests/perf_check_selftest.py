#!/usr/bin/python3
"""How often does perf-check cry wolf, and how often does it miss? `make perf-check-selftest`.

usage: tests/perf_check_selftest.py [--runs N] [--seed N] [--csv FILE]

N checks (20) of a revision against itself: at most 1 in 20 may raise an alarm. N more in which one
index, another each time, is a tenth slower (tests/slowed.h): at least 19 in 20 must catch it,
and no other may be blamed in more than 1 in 20. Each is the whole check, both its runs. The
machine's noise is what happens to be there: let something run beside it. Rows of --csv are written
as they come, and a run that was broken off goes on from there. Exit 0 when all is reached, 1 when
not, 2 when it can't be run.
"""

import argparse
import csv
import os
import shutil
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "scripts"))
sys.dont_write_bytecode = True
from ldbload import load_script  # noqa: E402

perf = load_script("perf-check")

LIMIT = 0.10
COLUMNS = ("seed", "slowed", "caught", "others", "suspected", "first_ratios", "second_ratios")


def slow_down(tree, name):
    """Replaces the export of an index by that of a slower one."""
    path = os.path.join(tree, "indexes", name, f"{name}.c")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    export = "LDB_EXPORT_INDEX(table)"
    if text.count(export) != 1:
        raise perf.SetUpError(f"{path}: no line {export} to replace")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace(export, '#include "slowed.h"'))
    shutil.copy(os.path.join(ROOT, "tests", "slowed.h"), os.path.dirname(path))


def prepare(folder, plugins):
    """(side, dict plug-in -> file, dict plug-in -> slowed file) of the revision checked out."""
    commit = perf.resolve("HEAD")
    sides = []
    for name in ("plain", "slowed"):
        root = os.path.join(folder, f"{name}-{commit[:12]}")
        perf.export(commit, root)
        sides.append(perf.Side(root, os.path.join(root, "build")))
    for name in plugins:
        if not os.path.exists(os.path.join(sides[1].root, "indexes", name, "slowed.h")):
            slow_down(sides[1].root, name)
    return (sides[0], *(perf.build(s, plugins, "HEAD") for s in sides))


def one(folder, side, plain, head, cells, seed):
    """One check; dict cell -> Verdict."""
    shutil.rmtree(folder, ignore_errors=True)
    perf.place(plain, os.path.join(folder, "base"))
    perf.place(head, os.path.join(folder, "head"))
    return perf.check(perf.Bench(side, side, folder), cells, LIMIT, seed)


def row_of(verdicts, seed, slowed):
    """What a check says, as words of a CSV."""
    ratios = lambda which: " ".join(f"{r.estimate:.3f}" for r in which if r)
    about = [(c, v) for c, v in verdicts.items() if not slowed or c.plugin == slowed]
    return {"seed": seed, "slowed": slowed,
            "caught": sum(v.bad for c, v in verdicts.items() if c.plugin == slowed),
            "others": sum(v.bad for c, v in verdicts.items() if c.plugin != slowed),
            "suspected": sum(v.second is not None for v in verdicts.values()),
            "first_ratios": ratios(v.first for _, v in about),
            "second_ratios": ratios(v.second for _, v in about)}


def read_rows(path):
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []


def append_row(path, row):
    new = not os.path.exists(path)
    with open(path, "a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def judge(rows):
    """(lines, all reached)"""
    same = [r for r in rows if not r["slowed"]]
    slowed = [r for r in rows if r["slowed"]]
    wolf = sum(int(r["others"]) > 0 for r in same)
    caught = sum(int(r["caught"]) > 0 for r in slowed)
    blamed = sum(int(r["others"]) > 0 for r in slowed)
    checks = [
        (f"a revision against itself: {wolf} of {len(same)} raise an alarm (at most 1 in 20)",
         20 * wolf <= len(same)),
        (f"one index a tenth slower: {caught} of {len(slowed)} catch it (at least 19 in 20)",
         20 * caught >= 19 * len(slowed)),
        (f"... and {blamed} of {len(slowed)} blame another (at most 1 in 20)",
         20 * blamed <= len(slowed))]
    return [f"{text}: {'reached' if good else 'NOT REACHED'}" for text, good in checks], \
        all(good for _, good in checks)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--csv", metavar="FILE")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error(f"--runs {options.runs}: at least one of each kind")
    folder = os.path.join(ROOT, "build-perf-check", "selftest")
    path = os.path.abspath(options.csv or os.path.join(folder, "selftest.csv"))
    cells = perf.read_cells(perf.CONFIG)
    plugins = sorted({c.plugin for c in cells})
    side, plain, slowed = prepare(folder, plugins)
    done = {(int(r["seed"]), r["slowed"]) for r in read_rows(path)}
    for number in range(options.runs):
        for name in ("", plugins[number % len(plugins)]):
            # Checks use seeds from theirs on, one for each session.
            seed = options.seed + 1000 * number
            if (seed, name) in done:
                continue
            start = time.monotonic()
            head = {**plain, name: slowed[name]} if name else plain
            row = row_of(one(os.path.join(folder, "sessions"), side, plain, head, cells, seed),
                         seed, name)
            append_row(path, row)
            print(f"{number + 1:3}  {name or 'itself':12} caught {row['caught']}, others "
                  f"{row['others']}, suspected {row['suspected']}, ratios {row['first_ratios']} | "
                  f"{row['second_ratios']}  ({time.monotonic() - start:.0f} s)", flush=True)
    lines, good = judge(read_rows(path))
    print("\n".join(["", *lines, path]))
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except perf.SetUpError as problem:
        print(f"perf-check-selftest: {problem}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
