"""Pages of one HTML file each: what scripts/report and scripts/compare share.

A page holds its own data, style and script, asks nothing of a network, and is made of tables
(complete HTML, which the script makes sortable) and figures (numbers, which the script draws as
SVG). The figures are those of plots/, described there once for PNG and page alike.
"""

import colorsys
import html
import json
import os
import sys
from dataclasses import dataclass

from ldbstyle import ROOT

sys.path.insert(0, os.path.join(ROOT, "plots"))  # for those who import this, too
PARTS = os.path.join(ROOT, "plots", "page")
DARK_GROUND = 0.009  # relative luminance of the dark page
CONTRAST = 5.0
LONG_NS = 1e5  # from here on times have units of their own
UNITS = {"keys": "keys", "bytes": "bytes", "case": "", "ns": "ns", "s": "s", "": ""}


def escape(text):
    return html.escape(str(text), quote=True)


def ns_text(ns):
    return f"{ns:.3g}" if ns < 10 else f"{ns:.1f}" if ns < 1000 else f"{ns:.0f}"


def ratio_text(ratio):
    return f"{ratio:.3f}" if ratio >= 0.1 else f"{ratio:.2g}"


def time_text(ns):
    for unit, factor in (("s", 1e9), ("ms", 1e6), ("\u00b5s", 1e3)):
        if ns >= factor:
            return f"{ns / factor:.3g} {unit}"
    return f"{ns:.3g} ns"


def as_float(text):
    return float(text) if text not in ("", None) else None


def known(tree, path):
    """A value of run.json by its path; None when it is not there."""
    for key in path.split("."):
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


# --- colours -------------------------------------------------------------------------------------


def luminance(rgb):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def on_dark(colour):
    """A colour of style.ini as it is seen on a dark page: the same hue, as light as it must be."""
    rgb = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    hue, light, saturation = colorsys.rgb_to_hls(*rgb)
    if saturation < 0.05:  # black is to stand out on black as on white
        light = 0.92 - 0.55 * light
        rgb = (light,) * 3
    while (luminance(rgb) + 0.05) / (DARK_GROUND + 0.05) < CONTRAST and light < 1:
        light = min(1, light + 0.02)
        rgb = colorsys.hls_to_rgb(hue, light, saturation)
    return "#" + "".join(f"{round(255 * c):02x}" for c in rgb)


def looks(names, style):
    found = {name: style.competitor(name) for name in names}
    return {name: {"colour": c.colour, "dark": on_dark(c.colour), "marker": c.marker,
                   "dash": c.dash} for name, c in found.items()}


# --- tables --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    title: str
    number: bool = False
    about: str = ""
    aside: bool = False  # too long for paper


@dataclass(frozen=True)
class Cell:
    """What is shown (HTML), and by what it is sorted; an empty value is last."""

    shown: str
    value: object = None


def plain(text):
    return Cell(escape(text))


def with_interval(row, middle, low, high, text):
    value = as_float(row[middle])
    if value is None:
        return Cell("", "")
    ends = f" <small>[{text(float(row[low]))}, {text(float(row[high]))}]</small>"
    return Cell(text(value) + ends, f"{value:.9g}")


def number(value, text):
    return Cell("" if value is None else escape(text), "" if value is None else f"{value:.9g}")


def table(columns, rows, kind="sortable", free=False):
    """rows: (cells, filter or None, class). Columns without a value anywhere are left out."""
    kept = [i for i in range(len(columns)) if i == 0 or any(r[0][i].shown for r in rows)]
    css = lambda i: ' class="num"' if columns[i].number else \
        ' class="aside"' if columns[i].aside else ""
    head = "".join(f'<th scope="col"{css(i)} title="{escape(columns[i].about)}">'
                   f"{escape(columns[i].title)}</th>" for i in kept)
    lines = []
    for cells, own, mark in rows:
        parts = []
        for i in kept:
            tag, cell = ("th scope=\"row\"" if i == 0 else "td"), cells[i]
            value = "" if cell.value is None else f' data-v="{escape(cell.value)}"'
            parts.append(f"<{tag}{css(i)}{value}>{cell.shown}</{tag.split()[0]}>")
        data = f' data-filter="{escape(json.dumps(own))}"' if own is not None else ""
        lines.append(f"<tr{data}{f' class={mark}' if mark else ''}>{''.join(parts)}</tr>")
    return (f'<div class="scroll{" free" if free else ""}" tabindex="0"><table class="{kind}"><thead><tr>{head}</tr>'
            f"</thead><tbody>\n" + "\n".join(lines) + "\n</tbody></table></div>")


def fold(columns, rows, titles):
    """Empties those columns in which all rows agree; returns in words what they said."""
    said = []
    for i, column in enumerate(columns):
        values = {cells[i].shown for cells, _, _ in rows}
        if column.title in titles and len(values) == 1:
            said += [f"{column.title} {value}" for value in values if value]
            for cells, _, _ in rows:
                cells[i] = Cell("")
    return f"In all rows: {', '.join(said)}. " if said else ""


def facts(pairs):
    """A list of names and values; what is unknown says so."""
    shown = lambda v: escape("unknown" if v in (None, "") else v)
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{shown(v)}</dd>" for k, v in pairs) + "</dl>"


# --- figures -------------------------------------------------------------------------------------


def six(value):
    return float(f"{value:.6g}")


def dot_data(d):
    return [six(d.x), six(d.y), six(d.low), six(d.high), int(d.hollow), round(d.size * 0.65, 1),
            d.text]


def figure_data(name, figure, x_unit, y_unit, common, wide=False, unity=False, fit=False,
                rows_are="mode"):
    """A panels.Figure as the script wants it. `common` holds for all panels' filters; with `fit`
    each row has an x axis of its own; `rows_are` is what a panel's mode stands for."""
    rows = []
    for axis, row in figure.rows:
        own = [{"title": p.title, "steps": [[six(x), six(y)] for x, y in p.steps],
                "marks": [[six(x), text] for x, text in p.marks],
                "lines": [{"name": n, "dots": [dot_data(d) for d in dots]}
                          for n, dots in p.lines.items()],
                "filter": {**common, "dataset": p.dataset or None, rows_are: p.mode}}
               for p in row if p.lines]
        if own:
            rows.append({"log": bool(axis.ticks), "panels": own, "unity": unity})
    dots = [d for _, row in figure.rows for p in row for line in p.lines.values() for d in line]
    is_number = lambda text: text[:1].isdigit()
    ticks = [[six(x), text] for x, text in figure.x_ticks if x_unit == "case" or
             not is_number(text)]
    return {
        "id": name, "title": figure.title, "labels": figure.labels, "rows": rows, "wide": wide,
        "bands": figure.bands, "joined": figure.joined, "dotted": any(d.size for d in dots),
        "x": {"log": figure.x_log, "unit": x_unit, "text": figure.x_text,
              "limits": None if fit else [six(x) for x in figure.x_limits], "ticks": ticks,
              "word": UNITS[x_unit]},
        "y": {"unit": y_unit, "text": figure.y_text, "from0": True,
              "to": 1.0 if y_unit == "share" else None},
    }


def figure_html(name, figure):
    return (f'<figure id="figure-{escape(name)}"><h3>{escape(figure.title)}</h3>'
            f'<p class="faint">{escape(figure.subtitle)}</p>'
            f"<figcaption>{escape(figure.note)}</figcaption></figure>")


# --- the page ------------------------------------------------------------------------------------


def part(name):
    with open(os.path.join(PARTS, name), encoding="utf-8") as file:
        return file.read()


def filter_of(at):
    """What the page's filters look at: of a cell, or of a dict of a point."""
    return {"family": at["family"], "dataset": at["dataset"], "mode": at["mode"],
            "workload": at["workload"], "threads": at["threads"], "pages": at["pages"],
            "key_bits": at["key_bits"]}


def choices(name, title, values):
    """A filter; none where there is nothing to choose."""
    values = list(dict.fromkeys(values))
    if len(values) < 2:
        return ""
    options = "".join(f"<option>{escape(v)}</option>" for v in values)
    return (f'<label>{escape(title)}<select name="{escape(name)}"><option value="">all</option>'
            f"{options}</select></label>")


def filters(cells):
    """cells: the filter of each row of the main table."""
    axes = [("family", "family"), ("dataset", "dataset"), ("mode", "mode"),
            ("workload", "workload"), ("threads", "threads"), ("pages", "pages"),
            ("key_bits", "key bits")]
    chosen = "".join(choices(k, t, [c[k] for c in cells]) for k, t in axes)
    return (f'<div class="filters" role="search" aria-label="filters">{chosen}<label>competitor'
            '<input type="search" size="12" placeholder="part of a name"></label>'
            '<output aria-live="polite"></output></div>')


HINT = ('<p class="hint">Point at a dot for its numbers. Drag to zoom, double-click to go back; with '
        "a panel clicked the wheel zooms, too. The legend switches series off and on, with Shift it "
        "leaves only one.</p>")


def write(path, title, lead, bar, body, data):
    """lead: HTML under the title; bar: the filters; body: [(id, heading, HTML)]. The file appears whole."""
    sections = [(i, h, text) for i, h, text in body if text]
    nav = "".join(f'<a href="#{i}">{escape(h)}</a>' for i, h, _ in sections)
    text = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>
{part("page.css")}</style>
</head>
<body>
<header class="top"><div><h1>{escape(title)}</h1>{lead}<nav class="page" aria-label="sections">{nav}</nav></div><button id="theme" type="button">dark</button></header>
<main>
{bar}
{"".join(f'<section id="{i}"><h2>{escape(h)}</h2>{t}</section>' for i, h, t in sections)}
</main>
<dialog id="enlarged" aria-label="enlarged figure"><form method="dialog"><button>close</button></form><div></div></dialog>
<div id="tip" role="status" hidden></div>
<svg id="namespace" width="0" height="0" hidden></svg>
<script type="application/json" id="data">{json.dumps(data, separators=(",", ":")).replace("<", chr(92) + "u003c")}</script>
<script>
{part("chart.js")}</script>
<script>
{part("table.js")}</script>
</body>
</html>
"""
    with open(path + ".part", "w", encoding="utf-8", errors="replace") as file:
        file.write(text)
    os.replace(path + ".part", path)
