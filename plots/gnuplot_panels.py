"""Draws a figure of panels by gnuplot: writes its points and its looks, and calls panels.gp."""

import os
import subprocess
import tempfile

from panels import HOLLOW_TEXT, ROW_HEIGHT, beside

HERE = os.path.dirname(os.path.abspath(__file__))
MARK = {"none": (0, 0), "circle": (7, 6), "square": (5, 4), "up": (9, 8), "down": (11, 10),
        "diamond": (13, 12), "pentagon": (15, 14),
        # gnuplot has no such filled ones: these are told apart by their colour, too.
        "star": (3, 3), "cross": (2, 2), "plus": (1, 1), "hexagon": (15, 14), "left": (9, 8),
        "right": (11, 10)}
DASH = {"solid": "1", "dashed": "'-'", "dotted": "'.'", "dashdot": "'_.'"}


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def write_table(path, figure):
    """A block for each panel and name, and one for the panel's steps, so that a block's number is
    known without looking."""
    with open(path, "w", encoding="utf-8") as file:
        for _, row in figure.rows:
            for panel in row:
                for name in figure.labels:
                    dots = panel.lines.get(name, [])
                    bar = int(not figure.bands or len(dots) == 1)
                    file.write(f"# {panel.mode} {panel.dataset} {name}: x y low high hollow bar "
                               "size\n")
                    for d in dots:
                        file.write(f"{d.x:.8g} {d.y:.6g} {d.low:.6g} {d.high:.6g} {int(d.hollow)} "
                                   f"{bar} {d.size * 0.24:.3g}\n")
                    file.write("\n\n" if dots else "NaN NaN NaN NaN 0 0 0\n\n\n")
                steps = panel.steps or [("NaN", "NaN")]
                file.write("".join(f"{x} {y}\n" for x, y in steps) + "\n\n")


def array(name, values):
    return [f"array {name}[{max(1, len(values))}]"] + [
        f"{name}[{i}] = {v}" for i, v in enumerate(values, start=1)]


def tics(axis, ticks, bare, slanted=False):
    """The command that sets an axis' ticks, or the same without texts."""
    turn = "rotate by 25 right " if slanted else "norotate "
    if not ticks:
        return f'set format {axis} "{"" if bare else "%g"}"; set {axis}tics autofreq'
    return f"set {axis}tics {turn}(" + ", ".join(
        f'"{"" if bare else text}" {at:.10g}' for at, text in ticks) + ")"


def y_tics(axis, bare):
    return tics("y", [(t, f"{t:g}") for t in axis.ticks], bare)


def write_style(path, table, figure, style):
    """The variables that panels.gp reads: geometry, texts, limits, looks."""
    looks = [style.competitor(name) for name in figure.labels]
    axes = [axis for axis, _ in figure.rows]
    panels = [panel for _, row in figure.rows for panel in row]
    marks = max(len(p.marks) for p in panels)
    padded = [m for p in panels for m in p.marks + [(0, "")] * (marks - len(p.marks))]
    key_columns = max(1, int(figure.width / 2.3))
    key_rows = -(-(len(looks) + figure.hollow) // key_columns)
    foot, panel_height = 0.62 + 0.22 * key_rows + 0.3 * (not figure.joined), ROW_HEIGHT + 0.1
    lines = [
        f"table = {quoted(table)}", f"rows = {len(axes)}", f"cols = {len(panels) // len(axes)}",
        f"series = {len(looks)}", f"hollows = {int(figure.hollow)}", f"marks = {marks}",
        f"width = {figure.width:.4g}", f"height = {panel_height * len(axes) + 0.65 + foot:.4g}",
        f"panel_width = {(figure.width - 0.85) * len(axes) / len(panels):.6g}",
        f"panel_height = {panel_height}", f"line_width = {0 if not figure.joined else 1.4 if figure.bands else 0.7}",
        f"key_columns = {key_columns}", f"key_rows = {key_rows}", f"key_top = {0.32 + 0.22 * key_rows:.4g}",
        f"title_text = {quoted(figure.title)}", f"sub_text = {quoted(figure.subtitle)}",
        f"note_text = {quoted(figure.note)}", f"x_text = {quoted(figure.x_text)}",
        f"y_text = {quoted(figure.y_text)}", f"hollow_text = {quoted(HOLLOW_TEXT)}",
        "x_low = {:.8g}\nx_high = {:.8g}".format(*figure.x_limits),
        f"log_x = {int(figure.x_log)}",
        f"x_tics = {quoted(tics('x', figure.x_ticks, False, not figure.joined))}",
        f"x_tics_bare = {quoted(tics('x', figure.x_ticks, True))}",
        *array("y_low", [f"{a.low:.8g}" for a in axes]),
        *array("y_high", [f"{a.high:.8g}" for a in axes]),
        *array("log_y", [int(bool(a.ticks)) for a in axes]),
        *array("y_tics", [quoted(y_tics(a, False)) for a in axes]),
        *array("y_tics_bare", [quoted(y_tics(a, True)) for a in axes]),
        *array("mark_x", [f"{x:.8g}" for x, _ in padded]),
        *array("mark_name", [quoted(text) for _, text in padded]),
        *array("mark_left", [int(beside(x, figure.x_limits) == "left") for x, _ in padded]),
        *array("label", [quoted(text) for text in figure.labels.values()]),
        *array("colour", [quoted(c.colour) for c in looks]),
        *array("filled", [MARK[c.marker][0] for c in looks]),
        *array("hollow", [MARK[c.marker][1] for c in looks]),
        *array("dash", [DASH[c.dash] for c in looks]),
        *array("panel_title", [quoted(p.title) for p in panels]),
    ]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def draw(figure, style, path):
    """Writes path.png and path.svg; returns the files written."""
    with tempfile.TemporaryDirectory() as folder:
        table, look = os.path.join(folder, "table.dat"), os.path.join(folder, "style.gp")
        write_table(table, figure)
        write_style(look, table, figure, style)
        settings = f"style_file={quoted(look)}; out={quoted(os.path.abspath(path))}"
        done = subprocess.run(["gnuplot", "-e", settings, os.path.join(HERE, "panels.gp")],
                              capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines()
                  if line.strip() and "warning: Skipping" not in line]
        raise RuntimeError(f"gnuplot: {' '.join(errors)}")
    return [path + ".png", path + ".svg"]
