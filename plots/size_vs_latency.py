"""Index size against time per operation at the largest number of keys: what speed costs in memory.

All settings of a competitor are drawn; the grey steps join those that no other beats in both.
"""

import ldbplot
from ldbplot import FAINT
from latency_vs_size import legend_handles

from ldbresults import size_text


def at_largest(points):
    """dict dataset -> points at its own largest size."""
    largest = {}
    for p in points:
        largest[p.dataset] = max(largest.get(p.dataset, 0), p.n)
    chosen = {}
    for p in points:
        if p.n == largest[p.dataset] and p.index_bytes is not None:
            chosen.setdefault(p.dataset, []).append(p)
    return chosen


def front(points):
    """The points that none beats in both size and time, by rising size."""
    result = []
    for p in sorted(points, key=lambda p: (p.index_bytes, p.median)):
        if not result or p.median < result[-1].median:
            result.append(p)
    return result


def place(points, nothing):
    """x of each point; an index without memory of its own stands at `nothing`, left of the rest."""
    return [p.index_bytes if p.index_bytes > 0 else nothing for p in points]


def draw_panel(axes, points, names, nothing, style):
    steps = front(points)
    axes.step(place(steps, nothing), [p.median for p in steps], where="post", color="#BBBBBB",
              linewidth=4, alpha=0.6, zorder=1, solid_capstyle="round")
    for name in names:
        own = sorted((p for p in points if p.name == name), key=lambda p: p.index_bytes)
        if not own:
            continue
        look = ldbplot.look(name, style)
        x, y = place(own, nothing), [p.median for p in own]
        axes.plot(x, y, linewidth=1.0, **{**look, "marker": ""})
        axes.vlines(x, [p.low for p in own], [p.high for p in own], color=look["color"],
                    linewidth=1.2, zorder=look["zorder"])
        for p, px in zip(own, x):
            axes.plot([px], [p.median], **{
                **look, "linestyle": "", "markersize": 7,
                "markerfacecolor": "white" if p.fallback else look["color"]})


def size_ticks(low, high):
    """Powers of two, as far apart as leaves four of them at most."""
    for step in (1, 2, 3, 5, 10):
        ticks = [2.0**e for e in range(0, 51, step) if low <= 2.0**e <= high]
        if len(ticks) <= 4:
            break
    return ticks


def scale_axes(axes, sizes, values, nothing):
    smallest, largest = min(sizes, default=1.0), max(sizes, default=1.0)
    left = nothing / 2 if nothing else smallest / 3
    axes.set_xscale("log")
    axes.set_xlim(left, largest * 3)
    ticks = size_ticks(smallest / 1.5, largest * 3)
    labels = [ldbplot.bytes_text(t) for t in ticks]
    axes.set_xticks(([nothing] if nothing else []) + ticks)
    axes.set_xticklabels((["none"] if nothing else []) + labels)
    if ldbplot.log_scale(values):
        low, high = min(values) / 1.2, max(values) * 1.2
        axes.set_yscale("log")
        axes.set_ylim(low, high)
        axes.set_yticks(ldbplot.ticks_125(low, high))
        axes.set_yticklabels([f"{t:g}" for t in ldbplot.ticks_125(low, high)])
    else:
        axes.set_ylim(0, max(values) * 1.15)
    axes.minorticks_off()


def draw(points, run, style, path):
    """Draws one slice of a run; returns the files written, none where no size is known."""
    chosen = at_largest([p for p in points if not style.competitor(p.name).floor])
    flat = [p for group in chosen.values() for p in group]
    if not flat:
        return []
    pyplot = ldbplot.setup_matplotlib()
    family = flat[0].row["family"]
    names = ldbplot.names_in_order(flat, style)
    modes, datasets = ldbplot.panels(flat, style)
    sizes = [p.index_bytes for p in flat if p.index_bytes > 0]
    nothing = min(sizes, default=1.0) / 8 if any(p.index_bytes == 0 for p in flat) else None

    width, height = max(7.5, 3.3 * len(datasets) + 1.0), 2.7 * len(modes)
    columns = max(1, int(width / 2.1))
    handles = legend_handles(pyplot, names, set(), flat, style)
    for handle in handles:
        handle.set_linestyle("")  # points here; a line joins the settings of one competitor
    foot = 0.75 + 0.2 * -(-len(handles) // columns)
    total = height + 0.95 + foot
    figure, grid = pyplot.subplots(len(modes), len(datasets), figsize=(width, total),
                                   squeeze=False, sharex=True, sharey="row")
    for row, mode in enumerate(modes):
        for column, dataset in enumerate(datasets):
            axes = grid[row][column]
            own = [p for p in chosen.get(dataset, []) if p.mode == mode]
            values = [v for p in flat if p.mode == mode for v in (p.low, p.high) if v > 0]
            axes.set_gid(f"panel/{mode}/{dataset}")
            keys = size_text(chosen[dataset][0].n)
            axes.set_title(f"{dataset}, {keys} keys, {mode}", fontsize=9.5, loc="left",
                           fontweight="bold")
            scale_axes(axes, sizes, values, nothing)
            draw_panel(axes, own, names, nothing, style)
            if column == 0:
                axes.set_ylabel(style.metric("ns_per_op", "unit", family))
            if row == len(modes) - 1:
                axes.set_xlabel(f"{style.metric('index_bytes', 'title')} "
                                f"({style.metric('index_bytes', 'unit')})")
    figure.subplots_adjust(left=0.62 / width, right=1 - 0.2 / width, top=1 - 0.95 / total,
                           bottom=(foot + 0.12) / total, wspace=0.08, hspace=0.2)
    title = f"{style.metric('ns_per_op', 'title', family)} against index size"
    figure.text(0.15 / width, 1 - 0.3 / total, title, fontsize=13, fontweight="bold")
    figure.text(0.15 / width, 1 - 0.52 / total, ldbplot.subtitle(flat, run, style), fontsize=8,
                color=FAINT)
    note = ("lower left is better; grey steps join what no other beats in both; bars: "
            + ldbplot.band_text(flat).replace("bands: ", ""))
    figure.text(0.15 / width, 0.08 / total, note, fontsize=7.5, color=FAINT)
    figure.legend(handles=handles, loc="lower left", ncol=columns, frameon=False, fontsize=8.5,
                  bbox_to_anchor=(0.08 / width, 0.3 / total), handlelength=1.5,
                  columnspacing=1.4, borderaxespad=0)
    written = ldbplot.save(figure, path)
    pyplot.close(figure)
    return written
