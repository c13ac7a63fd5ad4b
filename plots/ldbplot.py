"""What all figures share: the data of summary.csv cut into slices, panels and series, and texts.

A slice holds everything fixed but dataset, size, mode and competitor: one figure. Where what is
done is a matter of cases, not of sizes (updates, sorts, joins), the workload varies within it, too. A panel is one
dataset in one mode: modes are never mixed, as a chained lookup and an independent one measure
different things. A series is one competitor: at each size the fastest of its settings.
"""

import csv
import os
import sys
from dataclasses import dataclass

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scripts"))
import ldbresults  # noqa: E402

SLICE = ("family", "experiment", "workload", "threads", "pages", "payload_bytes", "key_bits")
INK, FAINT = "#222222", "#666666"
MPL_MARKER = {"none": "", "circle": "o", "square": "s", "up": "^", "down": "v", "diamond": "D",
              "pentagon": "p", "star": "*", "cross": "X", "plus": "P", "hexagon": "h", "left": "<",
              "right": ">"}
MPL_DASH = {"solid": "-", "dashed": (0, (5, 2)), "dotted": (0, (1, 1.5)),
            "dashdot": (0, (6, 2, 1, 2))}


@dataclass
class Point:
    """One whole cell of summary.csv, as numbers."""

    row: dict
    name: str
    params: str
    dataset: str
    mode: str
    n: int
    median: float
    low: float
    high: float
    fallback: bool
    learned: bool

    @property
    def setting(self):
        """Its parameters in words, those that tuning found included."""
        return " ".join(filter(None, [self.params.replace(";", " "),
                                      f"found: {self.row['chosen']}" if self.row["chosen"] else ""]))

    @property
    def index_bytes(self):
        return float(self.row["index_bytes"]) if self.row["index_bytes"] else None


def points_of(rows):
    """The points of rows of summary.csv that have a number; failed cells are left out."""
    return [Point(row, row["name"], row["params"], row["dataset"], row["mode"], int(row["n"]),
                  float(row["median_ns"]), float(row["low_ns"]), float(row["high_ns"]),
                  row["fallback"] != "", row["learned"] == "1")
            for row in rows if row["status"] == "ok" and row["median_ns"]]


def read_summary(folder):
    with open(os.path.join(folder, "summary.csv"), encoding="utf-8", newline="") as file:
        return points_of(csv.DictReader(file))


def of_cases(point):
    return ldbresults.kind_of(point.row) != "index"


def slices(points, fixed=SLICE):
    """[(suffix, points)], the largest first. Its suffix is "", the others' say what differs."""
    groups = {}
    for p in points:
        groups.setdefault(tuple(p.row[c] for c in fixed), []).append(p)
    keys = sorted(groups, key=lambda k: (-len(groups[k]), k))
    varying = [i for i in range(len(fixed)) if len({k[i] for k in keys}) > 1]
    clean = lambda text: "".join(c if c.isalnum() or c in ".-_" else "-" for c in text) or "none"
    result = []
    for number, key in enumerate(keys):
        suffix = "".join(f"-{fixed[i].split('_')[0]}-{clean(key[i])}" for i in varying)
        result.append((suffix if number else "", groups[key]))
    return result


def fastest_settings(points):
    """dict (name, dataset, mode) -> points by size, and the set of names with several settings."""
    best, settings = {}, {}
    for p in points:
        settings.setdefault(p.name, set()).add(p.params)
        sizes = best.setdefault((p.name, p.dataset, p.mode), {})
        if p.n not in sizes or p.median < sizes[p.n].median:
            sizes[p.n] = p
    lines = {key: [sizes[n] for n in sorted(sizes)] for key, sizes in best.items()}
    return lines, {name for name, params in settings.items() if len(params) > 1}


def panels(points, style):
    """(modes, datasets): rows and columns of the small multiples."""
    modes = sorted({p.mode for p in points}, key=style.mode_order)
    return modes, list(dict.fromkeys(p.dataset for p in points))


def names_in_order(points, style):
    style.prepare({p.name: p.learned for p in points})
    return sorted({p.name for p in points}, key=style.order)


def split_floor(points, style):
    """(points to draw, floor points): the harness's own cost is told in words, as its line would
    squeeze all others. With nothing but the floor in a run, the floor is drawn."""
    style.prepare({p.name: p.learned for p in points})
    floor = [p for p in points if style.competitor(p.name).floor]
    drawn = [p for p in points if not style.competitor(p.name).floor]
    return (drawn, floor) if drawn else (floor, [])


def floor_text(floor):
    if not floor:
        return ""
    low, high = min(p.median for p in floor), max(p.median for p in floor)
    text = lambda ns: f"{ns:.0f}" if ns >= 100 else f"{ns:.2g}"
    return f"included everywhere: harness cost of {text(low)} to {text(high)} ns"


def legend_label(name, several, style):
    label = style.competitor(name).label
    return f"{label} (fastest setting)" if name in several else label


def log_scale(values):
    """A log axis from a factor of 5 on; below it a linear one from zero shows the truth better."""
    values = [v for v in values if v > 0]
    return bool(values) and max(values) / min(values) >= 5


def ticks_125(low, high):
    """1, 2, 5, 10, ... within [low, high]; with a long range, decades only."""
    ticks = [m * 10.0**e for e in range(-3, 13) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    decades = [t for t in ticks if f"{t:e}".startswith("1.0")]
    return decades if len(ticks) > 10 else ticks


def decades(low, high):
    return [10**e for e in range(0, 13) if low <= 10**e <= high]


def bytes_text(size):
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.3g} B"


def cache_lines(run, key_bits):
    """[("L2", n)]: the number of keys that just fills each of the outer caches."""
    machine = run.get("machine") if isinstance(run.get("machine"), dict) else {}
    caches = machine.get("caches") if isinstance(machine.get("caches"), dict) else {}
    width = int(key_bits or 64) // 8
    sizes = [(name.upper(), caches.get(name)) for name in ("l2", "l3")]
    return [(name, size / width) for name, size in sizes
            if isinstance(size, (int, float)) and size > 0]


def subtitle(points, run, style):
    """Machine, date and what is held fixed in a figure."""
    return subtitle_of(points[0].row, of_cases(points[0]), run, style)


def subtitle_of(row, cases, run, style):
    ops = style.text(f"family {ldbresults.kind_of(row)}", "ops", "operations")
    parts = [ldbresults.machine_text(run), ldbresults.date_text(run)]
    if not cases:
        parts.append(f"{row['workload']} {ops}" if row["workload"] else ops)
    threads = row["threads"] or "1"
    parts.append(f"{threads} thread{'' if threads == '1' else 's'}")
    parts += [f"{row['pages']} pages"] if row["pages"] else []
    parts += [f"payload {row['payload_bytes']} B"] if row["payload_bytes"] not in ("", "0") else []
    parts += [f"{row['key_bits']}-bit keys"] if row["key_bits"] not in ("", "64") else []
    return ", ".join(parts)


def band_text(points):
    kinds = {p.row["interval"] for p in points}
    text = {"95%": "bands: 95 % intervals of the median",
            "range": "bands: range of few repetitions"}
    return "; ".join(text[k] for k in sorted(kinds) if k in text)


def setup_matplotlib():
    """No screen; texts stay texts in SVG; the same input gives the same bytes."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({
        "svg.fonttype": "none", "svg.hashsalt": "LearnedDB", "font.family": "DejaVu Sans",
        "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
        "axes.edgecolor": FAINT, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
        "text.color": INK, "axes.grid": True, "grid.color": "#DDDDDD", "grid.linewidth": 0.6,
        "axes.axisbelow": True, "text.parse_math": False,
    })
    from matplotlib import pyplot

    return pyplot


def save(figure, path, dpi=150):
    """Writes path.png and path.svg; returns both names. Each says of which numbers it is."""
    mark = ldbresults.summary_mark(os.path.dirname(path))
    figure.savefig(path + ".png", dpi=dpi, metadata={"Software": None, "Source": mark})
    figure.savefig(path + ".svg", metadata={"Date": None, "Source": mark})
    return [path + ".png", path + ".svg"]


def look(name, style):
    """Keyword arguments that draw a competitor's line in matplotlib."""
    c = style.competitor(name)
    return {"color": c.colour, "marker": MPL_MARKER[c.marker], "linestyle": MPL_DASH[c.dash],
            "markeredgecolor": c.colour, "zorder": 2 if c.floor else 4 if c.learned else 3}
