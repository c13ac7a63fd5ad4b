"""Time per operation against the number of keys: rows of panels are modes, columns datasets."""

import ldbplot
from ldbplot import FAINT

from ldbresults import size_text


def draw_series(axes, points, name, style):
    """One competitor: median line, interval band, hollow marks where a batch fell back."""
    look = ldbplot.look(name, style)
    n = [p.n for p in points]
    line, = axes.plot(n, [p.median for p in points], linewidth=1.6, markersize=0, **{
        **look, "marker": ""})
    line.set_gid(f"series/{points[0].mode}/{points[0].dataset}/{name}")
    low, high = [p.low for p in points], [p.high for p in points]
    if len(points) > 1:
        axes.fill_between(n, low, high, color=look["color"], alpha=0.18, linewidth=0, zorder=1)
    else:
        axes.vlines(n, low, high, color=look["color"], linewidth=1.2)
    for fallback in (False, True):
        own = [p for p in points if p.fallback == fallback]
        axes.plot([p.n for p in own], [p.median for p in own], **{
            **look, "linestyle": "", "markersize": 5,
            "markerfacecolor": "white" if fallback else look["color"]})


def draw_caches(axes, lines, limits):
    for name, n in lines:
        if limits[0] < n < limits[1]:
            axes.axvline(n, color="#999999", linewidth=0.8, zorder=0)
            # Near the right edge the name stands left of its line.
            side = "right" if n * 1.5 > limits[1] else "left"
            axes.text(n, 0.985, f" {name} ", transform=axes.get_xaxis_transform(), va="top",
                      ha=side, fontsize=7, color=FAINT)


def scale_axes(axes, points, limits, values):
    """Log x with decades; the same y for all panels, log when the values span a factor of 5."""
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    axes.set_xticks(ldbplot.decades(*limits))
    axes.set_xticklabels([size_text(t) for t in ldbplot.decades(*limits)])
    if ldbplot.log_scale(values):
        # Room on top for the names of the cache lines.
        low, high = min(values) / 1.15, max(values) * 1.4
        axes.set_yscale("log")
        axes.set_ylim(low, high)
        axes.set_yticks(ldbplot.ticks_125(low, high))
        axes.set_yticklabels([f"{t:g}" for t in ldbplot.ticks_125(low, high)])
    else:
        axes.set_ylim(0, max(values) * 1.15)
    axes.minorticks_off()


def x_limits(points):
    sizes = [p.n for p in points]
    return max(0.5, min(sizes) / 1.5), max(sizes) * 1.5


def legend_handles(pyplot, names, several, points, style):
    handles = []
    for name in names:
        look = ldbplot.look(name, style)
        handles.append(pyplot.Line2D([], [], label=ldbplot.legend_label(name, several, style),
                                     linewidth=1.6, markersize=5, **look))
    if any(p.fallback for p in points):
        handles.append(pyplot.Line2D([], [], label="hollow: no batch, plain loop",
                                     linestyle="", marker="o", markerfacecolor="white",
                                     markeredgecolor=FAINT, markersize=5))
    return handles


def draw(points, run, style, path):
    """Draws one slice of a run; returns the files written."""
    pyplot = ldbplot.setup_matplotlib()
    points, floor = ldbplot.split_floor(points, style)
    family = points[0].row["family"]
    names = ldbplot.names_in_order(points, style)
    lines, several = ldbplot.fastest_settings(points)
    modes, datasets = ldbplot.panels(points, style)
    limits = x_limits(points)
    values = [v for p in points for v in (p.low, p.high) if v > 0]

    width, height = max(7.5, 3.3 * len(datasets) + 1.0), 2.6 * len(modes)
    columns = max(1, int(width / 2.1))
    handles = legend_handles(pyplot, names, several, points, style)
    foot = 0.75 + 0.2 * -(-len(handles) // columns)
    total = height + 0.95 + foot
    figure, grid = pyplot.subplots(len(modes), len(datasets), figsize=(width, total),
                                   squeeze=False, sharex=True, sharey=True)
    for row, mode in enumerate(modes):
        for column, dataset in enumerate(datasets):
            axes = grid[row][column]
            axes.set_gid(f"panel/{mode}/{dataset}")
            axes.set_title(f"{dataset}, {mode}", fontsize=9.5, loc="left", fontweight="bold")
            scale_axes(axes, points, limits, values)
            draw_caches(axes, ldbplot.cache_lines(run, points[0].row["key_bits"]), limits)
            for name in names:
                if (name, dataset, mode) in lines:
                    draw_series(axes, lines[name, dataset, mode], name, style)
            if column == 0:
                axes.set_ylabel(style.metric("ns_per_op", "unit", family))
            if row == len(modes) - 1:
                axes.set_xlabel(style.metric("n", "title"))
    figure.subplots_adjust(left=0.62 / width, right=1 - 0.2 / width, top=1 - 0.95 / total,
                           bottom=(foot + 0.12) / total, wspace=0.08, hspace=0.2)
    title = style.metric("ns_per_op", "title", family) + " against number of keys"
    figure.text(0.15 / width, 1 - 0.3 / total, title, fontsize=13, fontweight="bold")
    figure.text(0.15 / width, 1 - 0.52 / total, ldbplot.subtitle(points, run, style), fontsize=8,
                color=FAINT)
    note = [ldbplot.band_text(points), ldbplot.floor_text(floor)]
    if ldbplot.cache_lines(run, points[0].row["key_bits"]):
        note.append("thin vertical lines: the keys alone fill that cache")
    figure.text(0.15 / width, 0.08 / total, "; ".join(filter(None, note)), fontsize=7.5,
                color=FAINT)
    figure.legend(handles=handles, loc="lower left", ncol=columns, frameon=False, fontsize=8.5,
                  bbox_to_anchor=(0.08 / width, 0.3 / total), handlelength=3.8,
                  columnspacing=1.4, borderaxespad=0)
    written = ldbplot.save(figure, path)
    pyplot.close(figure)
    return written
