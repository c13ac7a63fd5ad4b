"""Keys of 32 bits against keys of 64: a pair of markers for each competitor, joined by a line.

Both were measured on the same keys in the same rounds, so the ratio beside each pair is one of
rounds and not of the two medians. Panels are datasets at a size, by mode.
"""

import ldbplot
from ldbplot import FAINT, INK

import ldbresults
import ldbstats

PANEL_WIDTH, ROW_HEIGHT = 3.3, 0.23  # inches
NOTE = ("filled: 32 bits; hollow: 64; grey: interval of the median",
        "beside them: time with 32 bits as a multiple of that with 64, in the same rounds")


class Pair:
    """The cells of one competitor, and what is held fixed in a figure."""

    def __init__(self, narrow, wide):
        self.narrow, self.wide = narrow, wide
        self.row = dict(zip(ldbresults.POINT, narrow.point), key_bits="")


def slices(cells):
    """[(suffix, pairs)]: one figure each, the largest first."""
    return ldbplot.slices([Pair(*pair) for pair in ldbresults.width_pairs(cells)])


def draw_panel(axes, pairs, labels, names, style):
    values = []
    for narrow, wide in ((p.narrow, p.wide) for p in pairs):
        at = len(names) - 1 - names.index((narrow.name, narrow.params))
        colour = style.competitor(narrow.name).colour
        ends = [ldbstats.interval(c.values) for c in (narrow, wide)]
        values += [v for e in ends for v in (e.low, e.high)]
        axes.plot([e.median for e in ends], [at, at], color=colour, linewidth=1.2, zorder=2)
        for end, fill in zip(ends, (colour, "white")):
            axes.plot([end.low, end.high], [at, at], color=INK, linewidth=3, alpha=0.35, zorder=1)
            axes.plot(end.median, at, "o", markersize=6, markerfacecolor=fill,
                      markeredgecolor=colour, zorder=3)
        ratio = ldbstats.paired_ratio(narrow.rounds, wide.rounds)
        if ratio.count:
            axes.text(1.01, at, f"{ratio.median:.2f}", fontsize=8, va="center",
                      transform=axes.get_yaxis_transform())
    if ldbplot.log_scale(values):
        low, high = min(values) / 1.3, max(values) * 1.3
        axes.set_xscale("log")
        ticks = ldbplot.ticks_125(low, high)
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.minorticks_off()
        axes.set_xlim(low, high)
    else:
        axes.set_xlim(0, max(values) * 1.08)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_yticks(range(len(names)), [labels[n] for n in reversed(names)])


def draw(pairs, run, style, path):
    """Writes path.png and path.svg; returns the files written."""
    pairs = [p for p in pairs if p.narrow.ok and p.wide.ok
             and not style.competitor(p.narrow.name).floor]
    if not pairs:
        return []
    narrow = [p.narrow for p in pairs]
    labels = ldbresults.params_labels(narrow, style)
    names = sorted(labels, key=lambda k: (style.order(k[0]), k[1]))
    modes = sorted({c.get("mode") for c in narrow}, key=style.mode_order)
    columns = list(dict.fromkeys((c.get("dataset"), c.get("n")) for c in narrow))
    pyplot = ldbplot.setup_matplotlib()
    margin = 0.35 + 0.075 * max(map(len, labels.values()))
    body = ROW_HEIGHT * len(names)
    size = (margin + PANEL_WIDTH * len(columns) + 0.1,
            1.25 + len(modes) * (body + 0.55))
    canvas, grid = pyplot.subplots(len(modes), len(columns), squeeze=False, figsize=size,
                                   sharey=True)
    for mode, line in zip(modes, grid):
        for (dataset, n), axes in zip(columns, line):
            here = [p for p in pairs if (mode, dataset, n) ==
                    (p.row["mode"], p.row["dataset"], p.row["n"])]
            if not here:
                axes.set_visible(False)
                continue
            draw_panel(axes, here, labels, names, style)
            axes.set_title(f"{dataset}, {ldbresults.size_text(n)} keys, {mode}", fontsize=8.5,
                           loc="left", fontweight="bold")
    for axes in grid[-1]:
        axes.set_xlabel(style.metric("ns_per_op", "unit", narrow[0].get("family")))
    canvas.subplots_adjust(left=margin / size[0], right=1 - 0.5 / size[0],
                           top=1 - 0.85 / size[1], bottom=0.8 / size[1],
                           hspace=0.45 / body, wspace=0.5 / PANEL_WIDTH)
    title = style.metric("ns_per_op", "title", narrow[0].get("family"))
    canvas.text(0.1 / size[0], 1 - 0.3 / size[1], f"{title}: keys of 32 against 64 bits",
                fontsize=13, fontweight="bold")
    canvas.text(0.1 / size[0], 1 - 0.5 / size[1],
                ldbplot.subtitle_of(pairs[0].row, False, run, style), fontsize=8, color=FAINT)
    canvas.text(0.1 / size[0], 0.07 / size[1], "\n".join(NOTE), fontsize=7.5, color=FAINT)
    written = ldbplot.save(canvas, path)
    pyplot.close(canvas)
    return written
