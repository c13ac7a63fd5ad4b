"""Throughput over time, from timeline.csv: merges and retraining are seen as dips."""

import csv
import os

import ldbplot
from panels import Axis, Dot, Figure, Panel

import ldbresults
from ldbresults import size_text

FEWEST_SLOTS = 20  # a shorter pass has no story
FIXED = ("experiment", "threads", "pages")


def read(folder):
    """dict (FIXED ..., workload, dataset, n) -> dict name -> rows of its last repetition."""
    path, runs = os.path.join(folder, "timeline.csv"), {}
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            at = tuple(row[c] for c in FIXED + ("workload", "dataset", "n"))
            name = row["name"] + (":" + row["params"] if row["params"] else "")
            if row["slot_ms"] == "0":
                runs.setdefault(at, {})[name] = []
            runs[at][name].append(row)
    return runs


def figures(folder, run, style):
    """(name, figure) for each (experiment, threads, pages) whose passes are long enough."""
    groups = {}
    for at, own in read(folder).items():
        if max(map(len, own.values())) >= FEWEST_SLOTS:
            groups.setdefault(at[:len(FIXED)], {})[at[len(FIXED):]] = own
    for number, (fixed, group) in enumerate(groups.items()):
        suffix = "" if number == 0 else "-" + "-".join(fixed)
        yield f"timeline{suffix}", figure(dict(zip(FIXED, fixed)), group, run, style)


def differing(name, names):
    """Those parameters of a name that others of the same competitor have otherwise."""
    short, _, params = name.partition(":")
    others = [n.partition(":")[2].split(";") for n in names
              if n != name and n.partition(":")[0] == short]
    return [p for p in params.split(";") if any(p not in other for other in others)]


def figure(fixed, group, run, style):
    workloads = list(dict.fromkeys(at[0] for at in group))
    datasets = list(dict.fromkeys(at[1:] for at in group))
    names = sorted({name for own in group.values() for name in own},
                   key=lambda name: style.order(name.partition(":")[0]))
    bare = [name.partition(":")[0] for name in names]
    style.prepare({name: style.competitor(name).learned for name in bare})
    shown = {name: short if bare.count(short) == 1 else name for name, short in zip(names, bare)}
    style.prepare({shown[n]: style.competitor(short).learned for n, short in zip(names, bare)})
    label = {name: " ".join([style.competitor(short).label, *differing(name, names)])
             for name, short in zip(names, bare)}

    def dots(rows):
        # Thousand operations in a slot of 100 ms, as millions in a second; in the middle of it.
        return [Dot(int(r["slot_ms"]) / 1000 + 0.05, int(r["ops"]) / 1e5, int(r["ops"]) / 1e5,
                    int(r["ops"]) / 1e5, size=0) for r in rows]

    def panel(workload, dataset):
        own = group.get((workload, *dataset), {})
        return Panel(workload, dataset[0], f"{dataset[0]}, {size_text(int(dataset[1]))} keys, "
                     f"{workload}", {shown[n]: dots(own[n]) for n in names if n in own}, [])

    rows = []
    for workload in workloads:
        row = [panel(workload, dataset) for dataset in datasets]
        values = [d.y for p in row for line in p.lines.values() for d in line]
        rows.append((Axis(0, max(values) * 1.1, []), row))
    longest = max(d.x for _, row in rows for p in row for line in p.lines.values() for d in line)
    step = next((s for s in (0.5, 1, 2, 5, 10, 20, 60) if longest / s <= 8), 120)
    ticks = [(i * step, f"{i * step:g}") for i in range(int(longest / step) + 1)]
    threads = f"{fixed['threads']} thread{'' if fixed['threads'] == '1' else 's'}"
    return Figure(
        title="Throughput over time",
        subtitle=", ".join([ldbresults.machine_text(run), ldbresults.date_text(run), threads,
                            f"{fixed['pages']} pages"]),
        note="slots of 100 ms, last repetition", x_text="seconds",
        y_text="million operations per second", x_limits=(0, longest + 0.05), x_ticks=ticks,
        labels={shown[n]: label[n] for n in names}, rows=rows, x_log=False)
