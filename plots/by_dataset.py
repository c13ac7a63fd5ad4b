"""Time per operation by dataset, where each has one size: all competitors side by side, a panel for
each mode."""

import ldbplot
from panels import Dot, Figure, Panel, y_axis

from ldbresults import size_text

SPREAD = 0.8  # share of a dataset's width that its dots take


def figure(points, run, style):
    """The figure of one slice of a run; None where a dataset has several sizes, or there is one."""
    sizes = {p.dataset: p.n for p in points}
    if len(sizes) < 2 or any(sizes[p.dataset] != p.n for p in points):
        return None
    points, floor = ldbplot.split_floor(points, style)
    lines, several = ldbplot.fastest_settings(points)
    names = ldbplot.names_in_order(points, style)
    modes, datasets = ldbplot.panels(points, style)
    family = points[0].row["family"]

    def dots(name, mode):
        aside = (names.index(name) - (len(names) - 1) / 2) * SPREAD / len(names)
        found = [(i, lines.get((name, d, mode))) for i, d in enumerate(datasets, 1)]
        return [Dot(i + aside, p.median, p.low, p.high, p.fallback, text=p.setting)
                for i, own in found if own for p in own]

    def row(mode):
        own = {name: dots(name, mode) for name in names}
        own = {name: of for name, of in own.items() if of}
        marks = [(i + 0.5, "") for i in range(1, len(datasets))]
        return y_axis([v for of in own.values() for d in of for v in (d.low, d.high)]), \
            [Panel(mode, "", mode, own, marks)]

    most = max(sizes.values())
    other = [f"{d} {size_text(n)}" for d, n in sizes.items() if n != most]
    note = [", ".join([f"{size_text(most)} keys", *other]), ldbplot.band_text(points).replace("bands", "bars"), ldbplot.floor_text(floor)]
    return Figure(
        title=style.metric("ns_per_op", "title", family) + " by dataset",
        subtitle=ldbplot.subtitle(points, run, style), note="; ".join(filter(None, note)), x_text="",
        y_text=style.metric("ns_per_op", "unit", family), x_limits=(0.5, len(datasets) + 0.5),
        x_ticks=list(enumerate(datasets, 1)),
        labels={name: ldbplot.legend_label(name, several, style) for name in names},
        rows=[row(mode) for mode in modes], bands=False, joined=False, x_log=False)
