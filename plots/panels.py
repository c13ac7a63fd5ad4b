"""Figures of panels: rows are modes, columns datasets, and all panels share their x axis.

A figure is described here once, as numbers and texts, and drawn twice: by matplotlib below, and by
gnuplot in gnuplot_panels.py.
"""

from dataclasses import dataclass, field

import ldbplot
from ldbplot import FAINT


@dataclass
class Dot:
    x: float
    y: float
    low: float  # ends of the interval
    high: float
    hollow: bool = False  # a batch fell back to the plain loop
    size: float = 5  # of its marker, in points
    text: str = ""  # which setting it is; pages show it


@dataclass
class Axis:
    """The y axis of a row of panels; without ticks of its own it is linear."""

    low: float
    high: float
    ticks: list


@dataclass
class Panel:
    mode: str
    dataset: str
    title: str
    lines: dict  # name -> dots by rising x
    marks: list  # (x, text) of thin vertical lines
    steps: list = field(default_factory=list)  # (x, y) of a broad grey line behind the lines


@dataclass
class Figure:
    title: str
    subtitle: str
    note: str
    x_text: str
    y_text: str
    x_limits: tuple
    x_ticks: list  # (x, text)
    labels: dict  # name -> text of the legend
    rows: list  # of (Axis, [Panel of each dataset])
    bands: bool = True  # intervals are bands along the lines; else, or for a lone dot, bars
    joined: bool = True  # the dots of a name by a line
    x_log: bool = True

    @property
    def hollow(self):
        return any(d.hollow for _, row in self.rows for p in row for dots in p.lines.values()
                   for d in dots)

    @property
    def width(self):
        """Inches."""
        return max(7.5, 3.3 * len(self.rows[0][1]) + 1.0)


HOLLOW_TEXT = "hollow: no batch, plain loop"
ROW_HEIGHT = 2.7


def y_axis(values):
    """An axis for positive values, logarithmic where they span a factor of 5."""
    if not ldbplot.log_scale(values):
        return Axis(0, max(values) * 1.15, [])
    low, high = min(values) / 1.15, max(values) * 1.4  # room on top for the names of marks
    return Axis(low, high, ldbplot.ticks_125(low, high))


def beside(x, limits):
    """Near the right edge the name of a mark stands left of its line."""
    return "right" if limits[0] > 0 and x * (limits[1] / limits[0]) ** 0.12 > limits[1] else "left"


# --- matplotlib ----------------------------------------------------------------------------------


def draw_line(axes, figure, panel, name, dots, style):
    look = ldbplot.look(name, style)
    bare = {**look, "marker": "", **({} if figure.joined else {"linestyle": ""})}
    x, low, high = [d.x for d in dots], [d.low for d in dots], [d.high for d in dots]
    line, = axes.plot(x, [d.y for d in dots], **bare,
                      linewidth=1.6 if figure.bands else 0.8)
    line.set_gid(f"series/{panel.mode}/{panel.dataset}/{name}")
    if figure.bands and len(dots) > 1:
        axes.fill_between(x, low, high, color=look["color"], alpha=0.18, linewidth=0, zorder=1)
    else:
        axes.vlines(x, low, high, color=look["color"], linewidth=1.0, alpha=0.6)
    for hollow, size in sorted({(d.hollow, d.size) for d in dots if d.size}):
        own = [d for d in dots if (d.hollow, d.size) == (hollow, size)]
        axes.plot([d.x for d in own], [d.y for d in own], **{
            **look, "linestyle": "", "markersize": size,
            "markerfacecolor": "white" if hollow else look["color"]})


def scale_axes(axes, figure, axis):
    axes.set_xscale("log" if figure.x_log else "linear")
    axes.set_xlim(*figure.x_limits)
    axes.set_xticks([x for x, _ in figure.x_ticks])
    axes.set_xticklabels([text for _, text in figure.x_ticks],
                         **({} if figure.joined else {"rotation": 25, "ha": "right"}))
    if axis.ticks:
        axes.set_yscale("log")
        axes.set_yticks(axis.ticks)
        axes.set_yticklabels([f"{t:g}" for t in axis.ticks])
    axes.set_ylim(axis.low, axis.high)
    axes.minorticks_off()


def draw_marks(axes, figure, panel):
    for x, text in panel.marks:
        axes.axvline(x, color="#999999", linewidth=0.8, zorder=0)
        axes.text(x, 0.985, f" {text} ", transform=axes.get_xaxis_transform(), va="top",
                  ha=beside(x, figure.x_limits), fontsize=7, color=FAINT)


def draw_panel(axes, figure, axis, panel, style):
    axes.set_gid(f"panel/{panel.mode}/{panel.dataset}")
    axes.set_title(panel.title, fontsize=9.5, loc="left", fontweight="bold")
    scale_axes(axes, figure, axis)
    draw_marks(axes, figure, panel)
    if panel.steps:
        axes.step([x for x, _ in panel.steps], [y for _, y in panel.steps], where="post",
                  color="#CCCCCC", linewidth=5, zorder=1, solid_capstyle="butt")
    for name, dots in panel.lines.items():
        draw_line(axes, figure, panel, name, dots, style)


def legend_handles(pyplot, figure, style):
    unjoined = {} if figure.joined else {"linestyle": ""}
    handles = [pyplot.Line2D([], [], label=text, linewidth=1.6, markersize=5,
                             **{**ldbplot.look(name, style), **unjoined})
               for name, text in figure.labels.items()]
    if figure.hollow:
        handles.append(pyplot.Line2D([], [], label=HOLLOW_TEXT, linestyle="", marker="o",
                                     markerfacecolor="white", markeredgecolor=FAINT, markersize=5))
    return handles


def draw(figure, style, path):
    """Writes path.png and path.svg; returns the files written."""
    pyplot = ldbplot.setup_matplotlib()
    width, columns = figure.width, max(1, int(figure.width / 2.1))
    handles = legend_handles(pyplot, figure, style)
    foot = 0.75 + 0.2 * -(-len(handles) // columns) + (0 if figure.joined else 0.3)
    total = ROW_HEIGHT * len(figure.rows) + 0.95 + foot
    canvas, grid = pyplot.subplots(len(figure.rows), len(figure.rows[0][1]), squeeze=False,
                                   figsize=(width, total), sharex=True, sharey="row")
    for (axis, row), line in zip(figure.rows, grid):
        for panel, axes in zip(row, line):
            draw_panel(axes, figure, axis, panel, style)
        line[0].set_ylabel(figure.y_text)
    for axes in grid[-1]:
        axes.set_xlabel(figure.x_text)
    canvas.subplots_adjust(left=0.72 / width, right=1 - 0.2 / width, top=1 - 0.95 / total,
                           bottom=(foot + 0.12) / total, wspace=0.08, hspace=0.2)
    canvas.text(0.15 / width, 1 - 0.3 / total, figure.title, fontsize=13, fontweight="bold")
    canvas.text(0.15 / width, 1 - 0.52 / total, figure.subtitle, fontsize=8, color=FAINT)
    canvas.text(0.15 / width, 0.08 / total, figure.note, fontsize=7.5, color=FAINT)
    canvas.legend(handles=handles, loc="lower left", ncol=columns, frameon=False, fontsize=8.5,
                  bbox_to_anchor=(0.08 / width, 0.3 / total), handlelength=3.8,
                  columnspacing=1.4, borderaxespad=0)
    written = ldbplot.save(canvas, path)
    pyplot.close(canvas)
    return written
