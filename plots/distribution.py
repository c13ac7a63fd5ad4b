"""How times are spread: the share of rounds that were faster than a time, and, where a run took the
latency of single operations, its percentiles. At the largest number of keys of each dataset."""

import cases
import ldbplot
from panels import Axis, Dot, Figure, Panel, y_axis

import ldbresults
from ldbresults import size_text

PERCENTILES = (("p50_ns", "50 %"), ("p99_ns", "99 %"), ("p999_ns", "99.9 %"), ("max_ns", "slowest"))
FEWEST = 4  # rounds; fewer have no distribution


def largest(points):
    most = {}
    for p in points:
        most[p.dataset] = max(most.get(p.dataset, 0), p.n)
    return [p for p in points if p.n == most[p.dataset]]


def stairs(values):
    """The share of values that are at most x, as corners of a stair."""
    values, n = sorted(values), len(values)
    return [Dot(x, share / n, 0, 0, size=0) for i, x in enumerate(values) for share in (i, i + 1)]


def title_of(point, row):
    return f"{point.dataset}, {size_text(point.n)} keys, {row}"


def grouped(points):
    """(SLICE of one figure, what its rows are): cases stand below each other, else modes do."""
    of_cases = points and ldbplot.of_cases(points[0])
    return (cases.SLICE, "workload") if of_cases else (ldbplot.SLICE, "mode")


def fastest_by_row(points, style):
    """({row: {dataset: {name: point}}}, labels): rows are cases or modes."""
    _, axis = grouped(points)
    names = ldbplot.names_in_order(points, style)
    rows, several = {}, set()
    for row in dict.fromkeys(p.row[axis] for p in points):
        lines, more = ldbplot.fastest_settings([p for p in points if p.row[axis] == row])
        several |= more
        for (name, dataset, _), own in lines.items():
            rows.setdefault(row, {}).setdefault(dataset, {})[name] = own[0]
    if axis == "mode":
        rows = dict(sorted(rows.items(), key=lambda item: style.mode_order(item[0])))
    labels = {n: ldbplot.legend_label(n, several, style) for n in names}
    order = {n: i for i, n in enumerate(names)}
    return {row: {d: dict(sorted(own.items(), key=lambda item: order[item[0]]))
                  for d, own in of.items()} for row, of in rows.items()}, labels


def rounds(points, values, run, style):
    """The figure of the rounds of one slice; `values` gives the times of a point's rounds."""
    points = [p for p in largest(points) if len(values(p)) >= FEWEST]
    points, _ = ldbplot.split_floor(points, style) if points else ([], [])
    if not points:
        return None
    rows, labels = fastest_by_row(points, style)
    every = [v for p in points for v in values(p)]
    return Figure(
        title="Distribution over the rounds", subtitle=ldbplot.subtitle(points, run, style),
        note="share of the rounds that took at most so long; what lies far to the right is noise",
        x_text=style.metric("ns_per_op", "unit", ldbresults.kind_of(points[0].row)),
        y_text="share of the rounds", x_limits=(min(every) / 1.1, max(every) * 1.1), x_ticks=[],
        labels=labels, bands=False, rows=[(Axis(0, 1, []), [
            Panel(row, d, title_of(next(iter(own.values())), row),
                  {n: stairs(values(p)) for n, p in own.items()}, []) for d, own in of.items()])
            for row, of in rows.items()])


def operations(points, run, style):
    """The figure of latency percentiles of one slice; None where none were taken."""
    points = [p for p in largest(points) if p.row["p50_ns"]]
    if not points:
        return None
    rows, labels = fastest_by_row(points, style)

    def dots(p):
        found = [(i, p.row[column]) for i, (column, _) in enumerate(PERCENTILES, 1)]
        return [Dot(i, float(v), float(v), float(v), text=p.setting) for i, v in found if v]

    return Figure(
        title="Latency of single operations", subtitle=ldbplot.subtitle(points, run, style),
        note="so long took the fastest so many percent at most, medians over the rounds; the "
             "reading of the clock is in each", x_text="share of the operations", y_text="ns",
        x_limits=(0.6, len(PERCENTILES) + 0.4),
        x_ticks=[(i, text) for i, (_, text) in enumerate(PERCENTILES, 1)], labels=labels,
        bands=False, x_log=False, rows=[(
            y_axis([x.y for own in of.values() for p in own.values() for x in dots(p)]), [
                Panel(row, d, title_of(next(iter(own.values())), row),
                      {n: dots(p) for n, p in own.items()}, []) for d, own in of.items()])
            for row, of in rows.items()])
