"""What changed between two runs: the ratio of the second to the first, cell by cell, over the
number of keys, or over cases or datasets where there is one size."""

from dataclasses import dataclass

from panels import Axis, Dot, Figure, Panel

from ldbresults import size_text
from ldbstats import Interval

FIXED = ("family", "threads", "pages", "payload_bytes", "key_bits")


@dataclass(frozen=True)
class Change:
    """One cell that both runs have: where it is, and the ratio of B to A there."""

    at: dict  # the columns of its point
    series: str  # name, with parameters where a name has several settings
    ratio: Interval
    text: str  # both times in words


def dot(x, c):
    return Dot(x, c.ratio.median, c.ratio.low, c.ratio.high, text=c.text)


def axis_of(changes):
    """What the x axis is: sizes, where a dataset has several; else workloads or datasets."""
    points = {(c.at["dataset"], c.at["n"]) for c in changes}
    if len(points) > len({d for d, _ in points}):
        return "n"
    return "workload" if len({c.at["workload"] for c in changes}) > 1 else "dataset"


def groups(changes):
    """Changes that one figure can hold; lookups of several workloads at several sizes are parted."""
    found = {}
    for c in changes:
        found.setdefault(tuple(c.at[k] for k in FIXED) + (c.at["mode"] == "mixed",), []).append(c)
    for own in found.values():
        if axis_of(own) != "n":
            yield own
            continue
        for workload in dict.fromkeys(c.at["workload"] for c in own):
            yield [c for c in own if c.at["workload"] == workload]


def figure(changes, title, note, labels, style):
    """(figure, unit of its x axis, what its rows are) of one group."""
    axis, first = axis_of(changes), changes[0].at
    values = list(dict.fromkeys(c.at[axis] for c in changes))
    place = {v: i for i, v in enumerate(values, 1)} if axis != "n" else {v: v for v in values}
    modes = sorted({c.at["mode"] for c in changes}, key=style.mode_order)
    datasets = list(dict.fromkeys(c.at["dataset"] for c in changes)) if axis != "dataset" else [""]

    def panel(mode, dataset):
        own = [c for c in changes if c.at["mode"] == mode and dataset in ("", c.at["dataset"])]
        lines = {}
        for name in labels:
            dots = [dot(place[c.at[axis]], c) for c in own if c.series == name]
            if dots:
                aside = 0 if axis == "n" else \
                    0.8 * (list(labels).index(name) - (len(labels) - 1) / 2) / len(labels)
                for d in dots:
                    d.x += aside
                lines[name] = sorted(dots, key=lambda d: d.x)
        sizes = sorted({c.at["n"] for c in own})
        keys = f", {size_text(sizes[0])} keys" if len(sizes) == 1 else ""
        return Panel(mode, dataset, ", ".join(filter(None, [dataset, mode])) + keys, lines, [])

    threads = f"{first['threads']} thread{'' if first['threads'] == '1' else 's'}"
    said = [first["workload"] if axis == "n" else "", threads, f"{first['pages']} pages"]
    if axis == "n":
        limits, ticks = (min(values) / 1.5, max(values) * 1.5), []
    else:
        limits, ticks = (0.5, len(values) + 0.5), [(i, v) for v, i in place.items()]
    made = Figure(
        title=title, subtitle=", ".join(filter(None, said)), note=note,
        x_text="Number of keys" if axis == "n" else "", y_text="B / A", x_limits=limits,
        x_ticks=ticks, labels=labels, bands=False, joined=axis == "n", x_log=axis == "n",
        rows=[(Axis(0.5, 2, [1]), [panel(m, d) for d in datasets]) for m in modes])
    if axis != "n":
        for _, row in made.rows:
            for p in row:
                p.marks = [(i + 0.5, "") for i in range(1, len(values))]
    return made, "keys" if axis == "n" else "case", axis


def of_group(changes, every):
    """dict series -> label of those in a group, in the order of `every`."""
    here = {c.series for c in changes}
    return {name: text for name, text in every.items() if name in here}

