"""A bar for each competitor and setting, where keys have one size per dataset: TPC-H's Q6.

Rows of bars are in the order of their times, so the figure reads like a ranking; time is
logarithmic, as a scan and a grid are a factor of a hundred apart. Learned ones are filled.
"""

import ldbplot
from ldbplot import FAINT

import ldbresults

WIDTH, BAR_HEIGHT = 8, 0.32  # inches


def time_text(ns):
    for unit, factor in (("s", 1e9), ("ms", 1e6), ("\u00b5s", 1e3)):
        if ns >= factor:
            return f"{ns / factor:.3g} {unit}"
    return f"{ns:.3g} ns"


def draw_dataset(axes, points, labels, style):
    points = sorted(points, key=lambda p: -p.median)
    low = min(p.low for p in points) / 2
    for at, p in enumerate(points):
        look = style.competitor(p.name)
        bar = axes.barh(at, p.median - low, left=low, height=0.7, edgecolor=look.colour,
                        color=look.colour if p.learned else "white", linewidth=1.4)
        bar[0].set_gid(f"bar/{p.dataset}/{p.name}/{p.params}")
        axes.hlines(at, p.low, p.high, color="#222222", linewidth=1)
        axes.text(p.high * 1.1, at, time_text(p.median), va="center", fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(low, max(p.high for p in points) * 4)
    ticks = ldbplot.decades(*axes.get_xlim())
    axes.set_xticks(ticks)
    axes.set_xticklabels([time_text(t) for t in ticks])
    axes.minorticks_off()
    axes.grid(axis="y", visible=False)
    axes.set_yticks(range(len(points)))
    axes.set_yticklabels([labels[p.name, p.params] for p in points])
    title = f"{points[0].dataset}, {ldbresults.size_text(points[0].n)} rows"
    axes.set_title(title, fontsize=9.5, loc="left", fontweight="bold")


def draw(points, run, style, path):
    """Writes path.png and path.svg; returns the files written."""
    family = points[0].row["family"]
    datasets = dict.fromkeys(p.dataset for p in points)
    groups = [[p for p in points if p.dataset == d] for d in datasets]
    style.prepare({p.name: p.learned for p in points})
    labels = ldbresults.params_labels(points, style)
    pyplot = ldbplot.setup_matplotlib()
    bars = [BAR_HEIGHT * len(group) + 0.75 for group in groups]
    total = sum(bars) + 1.15
    canvas, grid = pyplot.subplots(len(groups), 1, squeeze=False, figsize=(WIDTH, total),
                                   height_ratios=bars)
    for group, axes in zip(groups, grid[:, 0]):
        draw_dataset(axes, group, labels, style)
    title = style.metric("ns_per_op", "title", family)
    margin = 0.35 + 0.075 * max(map(len, labels.values()))  # inches
    canvas.subplots_adjust(left=margin / WIDTH, right=0.97, top=1 - 0.95 / total, bottom=0.6 / total,
                           hspace=0.75 / (sum(bars) / len(bars)))
    canvas.text(0.02, 1 - 0.3 / total, title, fontsize=13, fontweight="bold")
    canvas.text(0.02, 1 - 0.52 / total, ldbplot.subtitle(points, run, style), fontsize=8,
                color=FAINT)
    note = f"filled: learned; {ldbplot.band_text(points).replace('bands', 'black lines')}"
    canvas.text(0.02, 0.08 / total, note, fontsize=7.5, color=FAINT)
    written = ldbplot.save(canvas, path)
    pyplot.close(canvas)
    return written
