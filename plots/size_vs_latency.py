"""Index size against time per operation at the largest number of keys: what speed costs in memory.

All settings of a competitor are drawn; the grey steps join those that no other beats in both (the
Pareto front), and those have large markers.
"""

import ldbplot
from panels import Dot, Figure, Panel, y_axis

from ldbresults import size_text

NOTHING_BYTES = 256  # up to here an index holds nothing but its own description


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


def size_ticks(low, high):
    """Powers of two, as far apart as leaves four of them at most."""
    for step in (1, 2, 3, 5, 10):
        ticks = [2.0**e for e in range(0, 51, step) if low <= 2.0**e <= high]
        if len(ticks) <= 4:
            break
    return [(t, ldbplot.bytes_text(t)) for t in ticks]


def x_axis(points):
    """(limits, ticks, where an index without memory of its own stands: left of the rest)."""
    sizes = [p.index_bytes for p in points if p.index_bytes > NOTHING_BYTES] or [1.0]
    smallest, largest = min(sizes), max(sizes)
    ticks = size_ticks(smallest / 1.5, largest * 3)
    if all(p.index_bytes > NOTHING_BYTES for p in points):
        return (smallest / 3, largest * 3), ticks, None
    nothing = smallest / 16
    return (nothing / 2, largest * 3), [(nothing, "none")] + ticks, nothing


def key_marks(points, limits):
    """Where the index takes a tenth of the keys' size, and as much."""
    keys_bytes = points[0].n * int(points[0].row["key_bits"] or 64) // 8
    marks = [(keys_bytes / 10, "10 %"), (keys_bytes, "100 %")]
    return [(x, text) for x, text in marks if limits[0] < x < limits[1]]


def figure(points, run, style):
    """The figure of one slice of a run; None where no size is known."""
    chosen = at_largest([p for p in points if not style.competitor(p.name).floor])
    flat = [p for group in chosen.values() for p in group]
    if not flat:
        return None
    family = flat[0].row["family"]
    names = ldbplot.names_in_order(flat, style)
    modes, datasets = ldbplot.panels(flat, style)
    limits, ticks, nothing = x_axis(flat)

    def place(p):
        return p.index_bytes if p.index_bytes > NOTHING_BYTES else nothing

    def panel(mode, dataset):
        own = sorted((p for p in chosen[dataset] if p.mode == mode), key=lambda p: p.index_bytes)
        best = front(own)
        lines = {name: [Dot(place(p), p.median, p.low, p.high, p.fallback, 8 if p in best else 4.5,
                            p.setting)
                        for p in own if p.name == name] for name in names}
        steps = [(place(p), p.median) for p in best]
        steps += [(limits[1], steps[-1][1])] if steps else []
        title = f"{dataset}, {size_text(chosen[dataset][0].n)} keys, {mode}"
        return Panel(mode, dataset, title, {name: dots for name, dots in lines.items() if dots},
                     key_marks(chosen[dataset], limits), steps)

    def row(mode):
        values = [v for p in flat if p.mode == mode for v in (p.low, p.high) if v > 0]
        return y_axis(values), [panel(mode, dataset) for dataset in datasets]

    note = ["grey steps, large markers: nothing smaller is faster",
            ldbplot.band_text(flat).replace("bands", "bars"), "10 %, 100 %: of the keys' size"]
    return Figure(
        title=f"{style.metric('ns_per_op', 'title', family)} against index size",
        subtitle=ldbplot.subtitle(flat, run, style), note="; ".join(note),
        x_text=f"{style.metric('index_bytes', 'title')} ({style.metric('index_bytes', 'unit')})",
        y_text=style.metric("ns_per_op", "unit", family), x_limits=limits, x_ticks=ticks,
        labels={name: style.competitor(name).label for name in names},
        rows=[row(mode) for mode in modes], bands=False)
