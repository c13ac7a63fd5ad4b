"""Time per operation against the number of keys: the fastest setting of each competitor."""

import ldbplot
from panels import Dot, Figure, Panel, y_axis

from ldbresults import size_text


def x_limits(points):
    sizes = [p.n for p in points]
    return max(0.5, min(sizes) / 1.5), max(sizes) * 1.5


def figure(points, run, style):
    """The figure of one slice of a run."""
    points, floor = ldbplot.split_floor(points, style)
    row = points[0].row
    lines, several = ldbplot.fastest_settings(points)
    names = ldbplot.names_in_order(points, style)
    modes, datasets = ldbplot.panels(points, style)
    limits = x_limits(points)
    caches = ldbplot.cache_lines(run, row["key_bits"])
    marks = [(n, name) for name, n in caches if limits[0] < n < limits[1]]
    axis = y_axis([v for p in points for v in (p.low, p.high) if v > 0])  # the same for all

    def panel(mode, dataset):
        own = {name: [Dot(p.n, p.median, p.low, p.high, p.fallback, text=p.setting) for p in
                      lines[name, dataset, mode]] for name in names if
               (name, dataset, mode) in lines}
        return Panel(mode, dataset, f"{dataset}, {mode}", own, marks)

    note = [ldbplot.band_text(points), ldbplot.floor_text(floor)]
    note += ["thin vertical lines: the keys alone fill that cache"] if marks else []
    return Figure(
        title=style.metric("ns_per_op", "title", row["family"]) + " against number of keys",
        subtitle=ldbplot.subtitle(points, run, style), note="; ".join(filter(None, note)),
        x_text=style.metric("n", "title"), y_text=style.metric("ns_per_op", "unit", row["family"]),
        x_limits=limits, x_ticks=[(t, size_text(t)) for t in ldbplot.decades(*limits)],
        labels={name: ldbplot.legend_label(name, several, style) for name in names},
        rows=[(axis, [panel(mode, dataset) for dataset in datasets]) for mode in modes])
