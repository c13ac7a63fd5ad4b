"""Time per operation by case (workload, distribution, inputs) at the largest number of keys: the
fastest setting of each competitor, side by side. For what is a matter of cases: updates, sorts,
joins."""

import ldbplot
from panels import Dot, Figure, Panel, y_axis

import ldbresults
from ldbresults import size_text

SLICE = tuple(c for c in ldbplot.SLICE if c != "workload")
SPREAD = 0.8  # share of a case's width that its dots take


def kind(points):
    return ldbresults.kind_of(points[0].row)


def fastest(points):
    """dict (name, dataset, mode, case) -> the point of the fastest setting at the largest n."""
    largest, best = {}, {}
    for p in points:
        largest[p.dataset] = max(largest.get(p.dataset, 0), p.n)
    for p in points:
        key = p.name, p.dataset, p.mode, p.row["workload"]
        if p.n == largest[p.dataset] and (key not in best or p.median < best[key].median):
            best[key] = p
    return best, largest


def figure(points, run, style):
    """The figure of one slice of a run."""
    best, largest = fastest(points)
    names = ldbplot.names_in_order(points, style)
    modes, datasets = ldbplot.panels(points, style)
    order = list(dict.fromkeys(p.row["workload"] for p in points))
    several = {n for n in names if len({p.params for p in points if p.name == n}) > 1}

    def dots(name, dataset, mode):
        aside = (names.index(name) - (len(names) - 1) / 2) * SPREAD / max(1, len(names))
        found = [(i, best.get((name, dataset, mode, case))) for i, case in enumerate(order, 1)]
        return [Dot(i + aside, p.median, p.low, p.high, text=p.setting) for i, p in found if p]

    def row(mode):
        values = [v for key, p in best.items() if key[2] == mode for v in (p.low, p.high) if v > 0]
        return y_axis(values), [
            Panel(mode, d, f"{d}, {size_text(largest[d])} keys" +
                  (f", {mode}" if len(modes) > 1 else ""),
                  {n: dots(n, d, mode) for n in names if dots(n, d, mode)},
                  [(i + 0.5, "") for i in range(1, len(order))]) for d in datasets]

    return Figure(
        title=f"{style.metric('ns_per_op', 'title', kind(points))} by case",
        subtitle=ldbplot.subtitle(points, run, style),
        note=ldbplot.band_text(points).replace("bands", "bars"), x_text="",
        y_text=style.metric("ns_per_op", "unit", kind(points)),
        x_limits=(0.5, len(order) + 0.5), x_ticks=list(enumerate(order, 1)),
        labels={n: ldbplot.legend_label(n, several, style) for n in names},
        rows=[row(mode) for mode in modes], bands=False, joined=False, x_log=False)
