"""The figures of `make reproduce`: papers.ini says of each what it draws of which run.

A figure is made of points (whole cells of a summary). A *field* of a point is a column of
summary.csv (`dataset`, `n`), a parameter of its competitor (`params.leaves`), a note (`note.empty`),
or one of FIELDS, which are computed. Kinds of figures:

  size_vs_latency, latency_vs_size, phases, key_bits   those of scripts/figures
  curves    y against x, a line for each series; panels by `column` and `row`
  grid      a table of `value` by `rows` and `columns`, shaded; published numbers beside it
  winners   who is ahead at each (x, y), and by how much
  hardness  who is ahead on each data set, at its local and its global hardness
  segments  line segments against epsilon, by `ldbench inspect`
  counts    simulated events per lookup against time
"""

import configparser
import csv
import math
import os
import re
from dataclasses import dataclass, replace

import key_bits
import latency_vs_size
import ldbplot
import panels
import phases
import size_vs_latency
from ldbplot import FAINT, INK
from panels import Axis, Dot, Figure, Panel

import ldbresults
import ldbstats
from ldbresults import size_text
from ldbstyle import MARKERS, Competitor

HERE = os.path.dirname(os.path.abspath(__file__))
REGISTRY = os.path.join(HERE, "papers.ini")
PUBLISHED = os.path.join(HERE, "..", "datasets", "published.csv")


def registry():
    """dict FIG -> its section, in the order of the file."""
    ini = configparser.ConfigParser(interpolation=None)
    with open(REGISTRY, encoding="utf-8") as file:
        ini.read_file(file)
    return {name: ini[name] for name in ini.sections()}


# --- fields --------------------------------------------------------------------------------------


@dataclass
class Run:
    """A results folder: its points, and their cells for notes and rounds."""

    folder: str
    about: dict
    points: list
    cells: dict  # (POINT ..., name, params) -> Cell
    facts: dict  # (dataset, n) -> dict of what `ldbench inspect` says
    counts: dict  # (name, dataset, mode) -> dict of simulated events

    def cell(self, point):
        row = dict(point.row, n=point.n)
        return self.cells[tuple(row[c] for c in ldbresults.POINT) + (point.name, point.params)]


def read_table(path, key):
    """A CSV as dict key columns -> row; empty when it is not there."""
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8", newline="") as file:
        return {tuple(row[k] for k in key): row for row in csv.DictReader(file)}


def read_run(folder):
    rows, _ = ldbresults.read_samples(os.path.join(folder, "samples.csv"))
    cells = {c.point + (c.name, c.params): c for c in ldbresults.build_cells(rows)}
    return Run(folder, ldbresults.read_run(folder), ldbplot.read_summary(folder), cells,
               read_table(os.path.join(folder, "facts.csv"), ("dataset", "n")),
               read_table(os.path.join(folder, "counts.csv"), ("name", "dataset", "mode")))


def settings(text):
    """"a=1;b=2" or "a=1 b=2" -> {"a": "1", "b": "2"}"""
    return dict(part.partition("=")[::2] for part in text.replace(";", " ").split())


def number(text):
    """What is a number as one: "10K" is 10000; else the text itself."""
    try:
        factor = {"K": 10**3, "M": 10**6, "G": 10**9}.get(str(text)[-1:], 1)
        return float(str(text)[:-1]) * factor if factor > 1 else float(text)
    except ValueError:
        return text


FIELDS = {
    "build_ns_per_key": lambda p: float(p.row["build_ns"]) / p.n,
    "index_mb": lambda p: float(p.row["index_bytes"]) / 1e6,
    "mops": lambda p: 1000 / p.median,
    "length": lambda p: number(p.row["workload"].partition(":")[2] or "100"),
    "keys_per_us": lambda p: FIELDS["length"](p) * 1000 / p.median,
    "theta": lambda p: float(p.dataset.partition(":")[2]),
    "layer": lambda p: f"{p.name}:" + "".join(part for part in p.params.split(";")
                                              if part.startswith(("leaves=", "page="))),
}


BASE_PAGE = "btree_paged", "128"  # what the table of SIGMOD 2018 compares with


def speedup(run, point):
    """How many times as fast a point is as the B-tree with pages of 128, by ratios of rounds."""
    for p in run.points:
        same = (p.dataset, p.mode, p.n) == (point.dataset, point.mode, point.n)
        if same and (p.name, settings(p.params).get("page")) == BASE_PAGE:
            return ldbresults.ratio_between(run.cell(p), run.cell(point)).median
    return None


def field(run, point, name):
    """A field's value: a number where it is one, None where it is not known."""
    kind, _, key = name.partition(".")
    try:
        if name in FIELDS:
            return FIELDS[name](point)
        if name == "speedup":
            return speedup(run, point)
        if name == "largest_share":
            return field(run, point, "note.largest") / point.n
        if kind == "params":
            return number(settings(point.params)[key])
        if kind == "note":
            noted = run.cell(point).noted(key)
            return number(noted[0] if noted else settings(point.row["chosen"])[key])
        value = {"name": point.name, "n": point.n, "params": point.params}.get(name)
        value = number(point.row[name]) if value is None else value
        return None if value == "" else value
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def interval(run, point, name):
    """(value, low, high); only times have an interval."""
    if name == "median_ns":
        return point.median, point.low, point.high
    if name == "ratio":
        return tuple(float(point.row[c]) for c in ("ratio", "ratio_low", "ratio_high"))
    if name in ("mops", "keys_per_us"):
        factor = field(run, point, name) * point.median
        return factor / point.median, factor / point.high, factor / point.low
    value = field(run, point, name)
    return value, value, value


def matching(run, points, condition):
    """Those points for which each "field=a|b" of the condition holds."""
    for clause in condition.split():
        name, _, values = clause.partition("=")
        wanted = [number(v) for v in values.split("|")]
        points = [p for p in points if field(run, p, name) in wanted]
    return points


def in_order(values):
    """Numbers by size, then names in the order in which they came, settings of one by size."""
    known = [v for v in dict.fromkeys(values) if v is not None]
    names = [v for v in known if not isinstance(v, (int, float))]
    if all("=" in v for v in names):
        names.sort(key=lambda v: (v.partition("=")[0], number(v.partition("=")[2])))
    return sorted(v for v in known if isinstance(v, (int, float))) + names


def about(points, run, style):
    """Machine, date, and of the rest what is the same for all points."""
    row = dict(points[0].row)
    for column in ("workload", "threads", "pages", "payload_bytes"):
        if len({p.row[column] for p in points}) > 1:
            row[column] = ""
    first = replace(points[0], row=row)
    text = ldbplot.subtitle([first], run.about, style)
    modes = {p.mode for p in points}
    if row["threads"] == "":
        text = text.replace(", 1 thread", "")
    return text + (f", {modes.pop()}" if len(modes) == 1 and not ldbplot.of_cases(first) else "")


SETTINGS = {"leaves": "{} leaves", "page": "of {}"}


def text_of(value, style=None):
    """A value in words; with a style a competitor's label, and its setting where it has one."""
    if isinstance(value, float) and value == int(value):
        value = int(value)
    if isinstance(value, int):
        return size_text(value) if value >= 10000 else str(value)
    name, _, setting = str(value).partition(":")
    if style is not None and name in style.competitors:
        key, _, number_ = setting.partition("=")
        words = SETTINGS.get(key, "{}").format(text_of(number(number_)))
        return f"{style.competitor(name).label} {words}".strip()
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def short_label(name, style):
    """A competitor's label where there is little room."""
    return re.sub(r" \(.*\)| \+ binary search", "", style.competitor(name).label)


# --- curves --------------------------------------------------------------------------------------


# The critical analysis' own names of bounds and searches.
ABBREVIATIONS = {"local_individual": "LInd", "local_absolute": "LAbs", "global_individual": "GInd",
                 "global_absolute": "GAbs", "none": "NB", "binary": "Bin", "model_binary": "MBin",
                 "linear": "Lin", "model_linear": "MLin", "exponential": "Exp",
                 "model_exponential": "MExp", "interpolation": "Interp", "simd": "SIMD"}


def series_of(run, point, names):
    values = [v for v in (field(run, point, n) for n in names) if v is not None]
    if len(values) > 1:
        values = [ABBREVIATIONS.get(v, v) for v in values]
    return " ".join(text_of(v) for v in values)


def give_looks(series, style):
    """Looks of series that are no competitors, as different as can be."""
    colours = style.ini["automatic"]["colours"].split() + ["#000000", "#882255"]
    markers = [m for m in MARKERS if m not in ("none", "cross", "plus")]
    for i, name in enumerate(series):
        style.competitors[name] = Competitor(
            name, name, "", colours[i % len(colours)], markers[i % len(markers)],
            ("solid", "dashed")[i // len(colours) % 2], True, False, False)


def ticks_of(values, log, limits):
    """[(value, text)]: the values themselves where they are few, decades on a long log axis."""
    if len(values) <= 7:
        return [(v, text_of(v)) for v in values]
    if log and limits[1] / limits[0] > 64:
        return [(v, text_of(v)) for v in ldbplot.decades(*limits)]
    return [(v, text_of(v)) for v in values[::-(-len(values) // 7)]]


def y_scale(values, log):
    values = [v for v in values if v is not None and math.isfinite(v)]
    if not values:
        return Axis(0, 1, [])
    positive = [v for v in values if v > 0]
    if log is False or not positive or (log is None and len(positive) < len(values)):
        return Axis(min(0, min(values) * 1.1), max(values) * 1.15 or 1, [])
    if log is None:
        return panels.y_axis(positive)
    low, high = min(positive) / 1.3, max(positive) * 1.5
    return Axis(low, high, ldbplot.ticks_125(low, high))


def flag(section, key, default=None):
    """yes or no, where the section says."""
    return section[key] == "yes" if key in section else default


def curves(section, run, points, style):
    names = section.get("series", "name").split()
    keyed = [(p, field(run, p, section["x"]), series_of(run, p, names)) for p in points]
    keyed = [(p, x, s) for p, x, s in keyed
             if x is not None and field(run, p, section["y"]) is not None]
    if not keyed:
        raise ldbresults.ResultsError(f"no cell has both {section['x']} and {section['y']}")
    xs = in_order(x for _, x, _ in keyed)
    named = any(isinstance(x, str) for x in xs)
    if section["x"] == "name":
        xs.sort(key=style.order)
    place = {x: i for i, x in enumerate(xs, 1)} if named else {x: x for x in xs}
    series = list(dict.fromkeys(s for _, _, s in keyed))
    series.sort(key=style.order if names == ["name"] else None)
    if names != ["name"]:
        give_looks(series, style)
    columns = in_order(field(run, p, section.get("column", "dataset")) for p, _, _ in keyed)
    row_field = section.get("row", "mode")
    rows = in_order(field(run, p, row_field) for p, _, _ in keyed)
    joined = not named or flag(section, "joined", False)

    def dots(s, row, column):
        own = {}
        for p, x, of in keyed:
            if (of, field(run, p, row_field), field(run, p, section.get("column", "dataset"))) \
                    != (s, row, column):
                continue
            y, low, high = interval(run, p, section["y"])
            # Of several settings at one place, the fastest.
            if x not in own or p.median < own[x][0]:
                own[x] = p.median, Dot(place[x], y, low, high, p.fallback)
        aside = (series.index(s) - (len(series) - 1) / 2) * 0.7 / len(series)
        made = []
        for x in sorted(own, key=place.get):
            dot = own[x][1]
            if named and not joined:
                dot.x += aside
            made.append(dot)
        return made

    def title(row, column):
        sizes = {p.n for p, _, _ in keyed
                 if field(run, p, section.get("column", "dataset")) == column}
        text = text_of(column, style)
        if len(sizes) == 1 and section["x"] != "n":
            text += f", {size_text(sizes.pop())} keys"
        return text + (f", {text_of(row, style)}" if len(rows) > 1 else "")

    drawn_rows = []
    for row in rows:
        line = [Panel(str(row), str(column), title(row, column),
                      {s: d for s in series if (d := dots(s, row, column))}, [])
                for column in columns]
        values = [v for p in line for ds in p.lines.values() for d in ds for v in (d.low, d.high)]
        drawn_rows.append((y_scale(values, flag(section, "y_log")), line))
    if named:
        limits, x_log = (0.5, len(xs) + 0.5), False
        ticks = [(i, short_label(x, style) if section["x"] == "name" else text_of(x))
                 for x, i in place.items()]
    else:
        wide = len(xs) > 1 and min(xs) > 0 and max(xs) / min(xs) >= 10
        x_log = flag(section, "x_log", wide)
        pad = (max(xs) - min(xs)) * 0.05 or 1
        limits = (min(xs) / 1.3, max(xs) * 1.3) if x_log else (min(xs) - pad, max(xs) + pad)
        ticks = ticks_of(xs, x_log, limits)
    note = [section.get("remark", "")]
    if section["y"] in ("median_ns", "ratio", "mops"):
        text = ldbplot.band_text(points)
        note.append(text if joined else text.replace("bands", "bars"))
    return Figure(
        title=section["title"], subtitle=about(points, run, style),
        note="; ".join(filter(None, note)), x_text=section.get("x_text", section["x"]),
        y_text=section.get("y_text", section["y"]), x_limits=limits, x_ticks=ticks,
        labels={s: text_of(s, style if names == ["name"] else None) for s in series}, rows=drawn_rows,
        bands=joined, joined=joined, x_log=x_log)


# --- grids: tables and heat maps -----------------------------------------------------------------


@dataclass
class Grid:
    title: str
    rows: list
    columns: list
    cells: dict  # (row, column) -> (shade, text)
    colours: str = "Blues"


def published(name):
    """Rows of published.csv of one figure."""
    with open(PUBLISHED, encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["figure"] == name]


def value_text(value):
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def shaded(values, among="column"):
    """dict key -> (value over the best of its column, or of all, text)."""
    best = {}
    of = lambda key: key[1] if among == "column" else ""
    for key, (value, _) in values.items():
        best[of(key)] = min(best.get(of(key), value), value)
    return {key: (value / best[of(key)] if best[of(key)] else 1.0, text)
            for key, (value, text) in values.items()}


def grid_of(section, run, points, style, title):
    """The measured grid: at each place the fastest of what is there."""
    value, more = section.get("value", "median_ns"), section.get("more", "").split()
    chosen, rows, columns = {}, [], []
    for p in points:
        key = field(run, p, section["rows"]), field(run, p, section["columns"])
        number_ = field(run, p, value)
        if None in key or number_ is None:
            continue
        rows.append(key[0])
        columns.append(key[1])
        if key not in chosen or p.median < chosen[key].median:
            chosen[key] = p
    values = {}
    for key, p in chosen.items():
        texts = [value_text(field(run, p, value))]
        texts += [more_text(run, p, m) for m in more]
        values[key] = field(run, p, value), "\n".join(texts)
    ordered = in_order(rows)
    if section["rows"] == "name":
        ordered.sort(key=style.order)
    return Grid(title, ordered, in_order(columns), shaded(values, section.get("shade", "column")))


def more_text(run, point, name):
    """What stands below a value: a size with its unit, a factor."""
    value = field(run, point, name)
    if value is None:
        return ""
    return size_in_bytes(value) if name == "index_mb" else f"{value_text(value)} x"


def size_in_bytes(megabytes):
    return f"{value_text(megabytes)} MB" if megabytes >= 0.1 else f"{value_text(megabytes * 1e3)} KB"


def published_grid(section, grid):
    """The same rows of the published numbers; None where there are none."""
    rows = published(section["published"])
    known = {(r["index"], r["dataset"], r["quantity"]): float(r["value"]) for r in rows}
    values = {}
    for (index, dataset, quantity), value in known.items():
        if quantity != section["quantity"] or index not in grid.rows:
            continue
        texts, more = [value_text(value)], section.get("more", "").split()
        base = known.get((":page=".join(BASE_PAGE), dataset, quantity))
        if "index_mb" in more and (index, dataset, "size") in known:
            texts.append(size_in_bytes(known[index, dataset, "size"]))
        if "speedup" in more and base:
            texts.append(f"{value_text(base / value)} x")
        values[index, dataset] = value, "\n".join(texts)
    if not values:
        return None
    names = [row for row in grid.rows if any(key[0] == row for key in values)]
    columns = list(dict.fromkeys(dataset for _, dataset in values))
    sizes = " and ".join(dict.fromkeys(size_text(int(r["n"])) for r in rows))
    return Grid(f"published, another machine: {rows[0]['machine']}, {sizes} keys", names, columns,
                shaded(values), "Greys")


def draw_grid(axes, grid, worst, style):
    import matplotlib

    colours = matplotlib.colormaps[grid.colours]
    for y, row in enumerate(grid.rows):
        for x, column in enumerate(grid.columns):
            shade, text = grid.cells.get((row, column), (None, ""))
            if shade is None:
                continue
            depth = min(1, math.log(max(shade, 1)) / math.log(worst)) * 0.85
            axes.add_patch(matplotlib.patches.Rectangle(
                (x - 0.48, y - 0.46), 0.96, 0.92, color=colours(depth), linewidth=0))
            axes.text(x, y, text, ha="center", va="center", fontsize=7.5, linespacing=1.15,
                      color="white" if depth > 0.55 else INK,
                      fontweight="bold" if shade == 1 else "normal")
    axes.set_xlim(-0.5, len(grid.columns) - 0.5)
    axes.set_ylim(len(grid.rows) - 0.5, -0.5)
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(range(len(grid.columns)))
    axes.set_xticklabels([text_of(c, style) for c in grid.columns],
                         **({"rotation": 25, "ha": "right"}
                            if max(len(text_of(c, style)) for c in grid.columns) > 7 else {}))
    axes.set_yticks(range(len(grid.rows)))
    axes.set_yticklabels([text_of(r, style) for r in grid.rows])
    axes.set_title(grid.title, fontsize=8.5, loc="left", fontweight="bold")


def draw_grids(title, subtitle, note, x_text, y_text, grids, worst, style, path):
    """Grids side by side. Writes path.png and path.svg; returns the files written."""
    pyplot = ldbplot.setup_matplotlib()
    left = [0.3 + 0.075 * max(len(text_of(r, style)) for r in g.rows) for g in grids]
    cell = [0.78 if len(g.columns) < 12 else 0.5 for g in grids]
    widths = [max(2.4, w * len(g.columns), 0.072 * len(g.title)) for g, w in zip(grids, cell)]
    lines = max(text.count("\n") + 1 for g in grids for _, text in g.cells.values())
    height = (0.16 + 0.14 * lines) * max(len(g.rows) for g in grids)
    width = max(7.5, sum(left) + sum(widths) + 0.5 * len(grids))
    total = height + 1.95
    canvas = pyplot.figure(figsize=(width, total))
    at = 0.15
    for g, margin, w in zip(grids, left, widths):
        high = height * len(g.rows) / max(len(h.rows) for h in grids)
        axes = canvas.add_axes([(at + margin) / width, 1 - (0.95 + high) / total, w / width,
                                high / total])
        draw_grid(axes, g, worst, style)
        axes.set_xlabel(x_text)
        if g is grids[0]:
            axes.set_ylabel(y_text)
        at += margin + w + 0.5
    canvas.text(0.15 / width, 1 - 0.3 / total, title, fontsize=13, fontweight="bold")
    canvas.text(0.15 / width, 1 - 0.52 / total, subtitle, fontsize=8, color=FAINT)
    canvas.text(0.15 / width, 0.08 / total, note, fontsize=7.5, color=FAINT)
    written = ldbplot.save(canvas, path)
    pyplot.close(canvas)
    return written


def draw_grid_figure(section, run, points, style, path):
    panel_field = section.get("panel", "")
    values = in_order(field(run, p, panel_field) for p in points) if panel_field else [None]
    grids = []
    for value in values:
        own = [p for p in points if not panel_field or field(run, p, panel_field) == value]
        for quantity in section.get("value", "median_ns").split():
            part = dict(section, value=quantity)
            named = section.get(f"title_{quantity}", "measured")
            title = named if value is None else f"{text_of(value, style)}, {named}"
            grids.append(grid_of(part, run, own, style, title))
    grids = [g for g in grids if g.cells]
    if not grids:
        raise ldbresults.ResultsError("no cell has what the table shows")
    if "published" in section:
        other = published_grid(section, grids[0])
        grids += [other] if other else []
    worst = float(section.get("worst", "4"))
    note = section.get("remark", "")
    note += (f"{'; ' if note else ''}bold: the least of its "
             f"{section.get('shade', 'column').replace('all', 'table')}; dark: {worst:g} times that "
             "and more")
    return draw_grids(section["title"], about(points, run, style), note,
                      section.get("x_text", ""), section.get("y_text", ""), grids, worst, style,
                      path)


# --- who is ahead --------------------------------------------------------------------------------


def ahead(run, points):
    """(winner, best of the other kind or None, its time over the winner's, decided) of a place."""
    best = min(points, key=lambda p: p.median)
    others = [p for p in points if p.learned != best.learned]
    if not others:
        return best, None, math.nan, True
    other = min(others, key=lambda p: p.median)
    ratio = ldbresults.ratio_between(run.cell(other), run.cell(best),
                                     ldbresults.find_reference([run.cell(p) for p in points],
                                                               run.about))
    return best, other, ratio.median, ldbstats.compare(ratio) == 1


LEARNED, PLAIN, OPEN = "#0072B2", "#E69F00", "#DDDDDD"


def hardness_of(run, dataset, n, key="eps32"):
    """Segments per million keys."""
    fact = run.facts.get((dataset, str(n)))
    return float(fact[key]) * 1e6 / n if fact else None


def winner_cell(run, points, style):
    best, other, times, decided = ahead(run, points)
    text = short_label(best.name, style)
    if other is not None and math.isfinite(times):
        text += f"\n{times:.2f}x"
    colour = OPEN if not decided else LEARNED if best.learned else PLAIN
    return colour, text


def winners(section, run, points, style, path):
    """Panels by workload: x is n, y the data sets by their local hardness, colour who is ahead."""
    import matplotlib

    pyplot = ldbplot.setup_matplotlib()
    panel_keys = list(dict.fromkeys((p.row["mode"], p.row["workload"]) for p in points))
    order = section.get("order", "").split()
    panel_keys.sort(key=lambda k: order.index(k[1]) if k[1] in order else len(order))
    largest = {}
    for p in points:
        largest[p.dataset] = max(largest.get(p.dataset, 0), p.n)
    hard = {d: hardness_of(run, d, n) for d, n in largest.items()}
    datasets = sorted(largest, key=lambda d: hard[d] or 0)
    sizes = {key: max((sorted({p.n for p in points if p.dataset == d
                               and (p.row["mode"], p.row["workload"]) == key}) for d in datasets),
                      key=len) for key in panel_keys}
    cell_h, left, gap = 0.42, 1.6, 0.25
    cell_w = max(0.8, 1.75 / min(map(len, sizes.values())))  # so that the panels' titles fit
    width = max(8, left + sum(cell_w * len(s) + gap for s in sizes.values()))
    height = cell_h * len(datasets)
    total = height + 1.95
    canvas = pyplot.figure(figsize=(width, total))
    at = left
    for key in panel_keys:
        ranks = len(sizes[key])
        axes = canvas.add_axes([at / width, 1 - (1.0 + height) / total, cell_w * ranks / width,
                                height / total])
        at += cell_w * ranks + gap
        own = [p for p in points if (p.row["mode"], p.row["workload"]) == key]
        ticks = [set() for _ in range(ranks)]
        for y, dataset in enumerate(datasets):
            for x, n in enumerate(sorted({p.n for p in own if p.dataset == dataset})):
                here = [p for p in own if p.dataset == dataset and p.n == n]
                colour, text = winner_cell(run, here, style)
                ticks[x].add(n)
                axes.add_patch(matplotlib.patches.Rectangle((x - 0.48, y - 0.46), 0.96, 0.92,
                                                            color=colour, linewidth=0, alpha=0.85))
                axes.text(x, y, text, ha="center", va="center", fontsize=7, linespacing=1.1,
                          color="white" if colour == LEARNED else INK)
        axes.set_xlim(-0.5, ranks - 0.5)
        axes.set_ylim(-0.5, len(datasets) - 0.5)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        axes.set_xticks(range(ranks))
        axes.set_xticklabels(["-".join(size_text(n) for n in sorted({min(t), max(t)}))
                              for t in ticks], fontsize=8)
        axes.set_yticks(range(len(datasets)))
        axes.set_yticklabels([f"{d}\n{hard[d]:.0f} / M" if hard[d] is not None else d
                              for d in datasets] if key == panel_keys[0] else [])
        title = section.get(f"panel_{key[1]}", f"{key[1]}, {key[0]}")
        axes.set_title(title, fontsize=8.5, loc="left", fontweight="bold")
        axes.set_xlabel("keys")
    canvas.text(0.15 / width, 1 - 0.3 / total, section["title"], fontsize=13, fontweight="bold")
    canvas.text(0.15 / width, 1 - 0.52 / total, about(points, run, style),
                fontsize=8, color=FAINT)
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=c, alpha=0.85, label=t) for c, t in (
        (LEARNED, "a learned one is ahead"), (PLAIN, "a classical one is ahead"),
        (OPEN, "can't be told apart"))]
    canvas.legend(handles=handles, loc="lower left", ncol=3, frameon=False, fontsize=8.5,
                  bbox_to_anchor=(0.08 / width, 0.25 / total), borderaxespad=0)
    canvas.text(0.15 / width, 0.08 / total, section.get("remark", ""), fontsize=7.5, color=FAINT)
    written = ldbplot.save(canvas, path)
    pyplot.close(canvas)
    return written


def label_beside(axes, placed):
    """Texts in a column on the right, in the order of their points and never over each other."""
    low, high = (math.log(v) for v in axes.get_ylim())
    at = [(math.log(y) - low) / (high - low) for y, *_ in placed]
    for i in range(1, len(at)):
        at[i] = max(at[i], at[i - 1] + 0.105)
    over = max(0, at[-1] - 0.97) if at else 0
    for (y, x, dataset, text), height in zip(placed, at):
        axes.annotate(f"{dataset}\n{text}", (x, y), xytext=(0.58, height - over), fontsize=7,
                      textcoords="axes fraction", va="center",
                      arrowprops={"arrowstyle": "-", "color": "#BBBBBB", "linewidth": 0.7})


def hardness(section, run, points, style, path):
    """A panel for each workload: a data set's hardness, and who is ahead on it."""
    pyplot = ldbplot.setup_matplotlib()
    from matplotlib.ticker import NullLocator

    known = {e: [float(f[e]) * 1e6 / float(f["n"]) for f in run.facts.values()]
             for e in ("eps32", "eps4096")}
    x_limits = min(known["eps4096"]) / 1.6, max(known["eps4096"]) * 25
    y_limits = min(known["eps32"]) / 1.6, max(known["eps32"]) * 1.8
    workloads = list(dict.fromkeys(p.row["workload"] for p in points))
    width, height = max(8, 3.4 * len(workloads) + 0.6), 4.6
    canvas, grid = pyplot.subplots(1, len(workloads), squeeze=False, figsize=(width, height),
                                   sharex=True, sharey=True)
    for workload, axes in zip(workloads, grid[0]):
        own = [p for p in points if p.row["workload"] == workload]
        placed = []
        for axis, limits in ((axes.xaxis, x_limits), (axes.yaxis, y_limits)):
            axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": limits})
            axis.set_ticks(ldbplot.ticks_125(*limits))
            axis.set_ticklabels([text_of(t) for t in ldbplot.ticks_125(*limits)])
            axis.set_minor_locator(NullLocator())
        for dataset in dict.fromkeys(p.dataset for p in own):
            here = [p for p in own if p.dataset == dataset]
            n = max(p.n for p in here)
            x, y = (hardness_of(run, dataset, n, e) for e in ("eps4096", "eps32"))
            if x is None:
                continue
            colour, text = winner_cell(run, [p for p in here if p.n == n], style)
            placed.append((y, x, dataset, text.replace("\n", " ")))
            axes.plot(x, y, {LEARNED: "o", PLAIN: "s", OPEN: "D"}[colour], color=colour,
                      markeredgecolor=INK, markersize=8)
        label_beside(axes, sorted(placed))
        axes.set_title(workload, fontsize=9.5, loc="left", fontweight="bold")
        axes.set_xlabel("global: segments at error 4096, per M keys")
    grid[0][0].set_ylabel("local: segments at error 32, per M keys")
    handles = [pyplot.Line2D([], [], linestyle="", marker=m, markersize=8, color=c,
                             markeredgecolor=INK, label=t) for c, m, t in (
        (LEARNED, "o", "a learned one is ahead"), (PLAIN, "s", "a classical one is ahead"),
        (OPEN, "D", "can't be told apart"))]
    canvas.subplots_adjust(left=0.75 / width, right=1 - 0.15 / width, top=1 - 0.95 / height,
                           bottom=1.1 / height, wspace=0.06)
    canvas.legend(handles=handles, loc="lower left", ncol=3, frameon=False, fontsize=8.5,
                  bbox_to_anchor=(0.08 / width, 0.25 / height), borderaxespad=0)
    canvas.text(0.15 / width, 1 - 0.3 / height, section["title"], fontsize=13, fontweight="bold")
    canvas.text(0.15 / width, 1 - 0.52 / height, about(points, run, style),
                fontsize=8, color=FAINT)
    canvas.text(0.15 / width, 0.08 / height, section.get("remark", ""), fontsize=7.5, color=FAINT)
    written = ldbplot.save(canvas, path)
    pyplot.close(canvas)
    return written


# --- facts and counts ----------------------------------------------------------------------------


def segments(section, run, style):
    """Line segments against epsilon, exact: a line for each data set."""
    lines = {}
    for (dataset, n), fact in run.facts.items():
        lines[f"{dataset}, {size_text(int(n))}"] = [
            Dot(float(e[3:]), float(v) * 1e6 / int(n), float(v) * 1e6 / int(n),
                float(v) * 1e6 / int(n))
            for e, v in fact.items() if e.startswith("eps") and v]
    if not lines:
        raise ldbresults.ResultsError("no facts.csv: `ldbench inspect` gave none")
    give_looks(list(lines), style)
    for dots in lines.values():
        dots.sort(key=lambda d: d.x)
    xs = sorted({d.x for dots in lines.values() for d in dots})
    values = [d.y for dots in lines.values() for d in dots if d.y > 0]
    panel = Panel("", "", "fewest segments that are within epsilon of every key", lines, [])
    return Figure(
        title=section["title"], subtitle="exact counts by ldbench inspect; no timing",
        note=section.get("remark", ""), x_text="epsilon (ranks)",
        y_text="segments per million keys", x_limits=(min(xs) / 1.3, max(xs) * 1.3),
        x_ticks=[(x, text_of(x)) for x in xs], labels={name: name for name in lines},
        rows=[(y_scale(values, True), [panel])])


EVENTS = (("instructions", "instructions"), ("branch_misses", "branch mispredictions"),
          ("l1d_misses", "first-level cache misses"), ("ll_misses", "last-level cache misses"))


def counts(section, run, points, style):
    """Time per lookup against events per lookup: the machine's own counters, or callgrind's."""
    real = [e for e in EVENTS if all(p.row.get(e[0].replace("ll_", "llc_")) for p in points)]
    source = "the machine's counters" if real else "a machine simulated by callgrind"

    def events(p, column):
        if real:
            return float(p.row[column.replace("ll_", "llc_")])
        row = run.counts.get((p.name, p.dataset, p.row["mode"]))
        return float(row[column]) if row else None

    names = ldbplot.names_in_order(points, style)
    datasets = list(dict.fromkeys(p.dataset for p in points))
    shown = real or EVENTS
    lines, rows = {}, []
    for column, _ in shown:
        for p in points:
            x = events(p, column)
            if x is not None:
                lines.setdefault((column, p.dataset), {})[p.name] = [
                    Dot(x, p.median, p.low, p.high, size=7)]
    if not lines:
        raise ldbresults.ResultsError("neither counters nor counts.csv: install valgrind")
    # All panels share their x axis, so each event is told as a share of the most there is.
    most = {c: max(d[0].x for (of, _), own in lines.items() if of == c for d in own.values()) or 1
            for c, _ in shown}
    values = [v for p in points for v in (p.low, p.high)]
    for dataset in datasets:
        row = []
        for column, text in shown:
            own = lines.get((column, dataset), {})
            for dots in own.values():
                dots[0].x /= most[column]
            row.append(Panel(column, dataset, f"{dataset}: {text}",
                             {n: own[n] for n in names if n in own}, []))
        rows.append((y_scale(values, None), row))
    peak = ", ".join(f"{text} {most[c]:.3g}" for c, text in shown)
    return Figure(
        title=section["title"], subtitle=about(points, run, style) +
        f"; {size_text(points[0].n)} keys",
        note=f"events of {source}; 1 is, per lookup: {peak}", y_text="ns per lookup",
        x_text="events per lookup, as a share of the most", x_limits=(-0.03, 1.06),
        x_ticks=[(x / 4, f"{x / 4:g}") for x in range(5)],
        labels={n: style.competitor(n).label for n in names}, rows=rows, bands=False, x_log=False)


# --- the way in ----------------------------------------------------------------------------------


def draw(section, folder, style, path):
    """Draws one figure of the registry from its run's folder; returns the files written."""
    run = read_run(folder) if os.path.exists(os.path.join(folder, "samples.csv")) else Run(
        folder, {}, [], {}, read_table(os.path.join(folder, "facts.csv"), ("dataset", "n")), {})
    kind = section["plot"]
    if kind == "segments":
        return panels.draw(segments(section, run, style), style, path)
    points = matching(run, run.points, section.get("where", ""))
    points = [p for p in points if not style.competitor(p.name).floor]
    if not points:
        raise ldbresults.ResultsError(f"{folder}: no whole cell of what the figure shows")
    style.prepare({p.name: p.learned for p in points})
    if kind == "grid":
        return draw_grid_figure(section, run, points, style, path)
    if kind == "key_bits":
        pairs = key_bits.slices(list(run.cells.values()))[0][1]
        return key_bits.draw(pairs, run.about, style, path)
    if kind == "phases":
        rows = [r for cell in run.cells.values() for r in cell.rows]
        return phases.draw(rows, points, run.about, style, path)
    if kind == "winners":
        return winners(section, run, points, style, path)
    if kind == "hardness":
        return hardness(section, run, points, style, path)
    if kind == "curves":
        figure = curves(section, run, points, style)
    elif kind == "counts":
        figure = counts(section, run, points, style)
    else:
        describe = {"size_vs_latency": size_vs_latency.figure,
                    "latency_vs_size": latency_vs_size.figure}[kind]
        figure = describe(points, run.about, style)
    return panels.draw(figure, style, path)
