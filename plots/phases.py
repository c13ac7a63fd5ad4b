"""Where the time of joins goes: model, partition, build and probe as one stacked bar for each
algorithm, one panel for each case. Of an algorithm with several settings the fastest with a model
and the fastest without are shown. Phases differ by hatch as well as by colour."""

import statistics

import ldbplot
from ldbplot import FAINT

import ldbresults

COLUMNS, WIDTH, BAR_HEIGHT, MARGIN = 3, 13, 0.24, 2.05  # panels in a row; inches


def note_phases(note):
    """Times of the phases in a row's notes, in ns per operation; None: it has none."""
    return [float(t) for t in note["phases"].split("/")] if "phases" in note else None


def medians(rows):
    """dict (case, label) -> each phase's median over the rounds, in the order of the rows."""
    found = {}
    for row in rows:
        times = note_phases(row["note"]) if row["status"] == "ok" else None
        if times:
            case = row["dataset"], row["n"], row["workload"], row["mode"], row["threads"]
            found.setdefault((case, (row["name"], row["params"])), []).append(times)
    return {key: [statistics.median(t) for t in zip(*times)] for key, times in found.items()}


def fastest(bars, learned):
    """[(name and parameters, times)], the fastest of each algorithm with a model and without."""
    best = {}
    for key, times in bars:
        kind = key[0], learned[key]
        if kind not in best or sum(times) < sum(best[kind][1]):
            best[kind] = key, times
    return list(best.values())


def case_text(case, several_threads):
    dataset, n, workload, mode, threads = case
    text = f"{dataset}\n{ldbresults.size_text(int(n))} build keys, {workload}"
    text += f", {mode}" if mode != "count" else ""
    return text + (f", {threads} threads" if several_threads and threads != "1" else "")


def draw_case(axes, bars, labels, style):
    """Bars: [(name and parameters, times)]; the fastest is on top."""
    bars = sorted(bars, key=lambda bar: -sum(bar[1]))
    left = [0.0] * len(bars)
    for number, (phase, look) in enumerate(style.ini["phases"].items()):
        colour, hatch = look.split()
        widths = [times[number] for _, times in bars]
        axes.barh(range(len(bars)), widths, left=left, height=0.72, color=colour, linewidth=0.6,
                  edgecolor="#222222", hatch="" if hatch == "none" else hatch, label=phase)
        left = [a + b for a, b in zip(left, widths)]
    for at, end in enumerate(left):
        axes.text(end, at, f" {end:.2g}" if end < 10 else f" {end:.0f}", va="center", fontsize=7)
    axes.set_xlim(0, max(left) * 1.14)
    axes.set_yticks(range(len(bars)))
    axes.set_yticklabels([labels[key] for key, _ in bars], fontsize=7)
    axes.set_ylim(-0.6, len(bars) - 0.4)
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(axis="y", visible=False)


def draw(rows, points, run, style, path):
    """Writes path.png and path.svg of the samples `rows`; returns the files written."""
    found = medians(rows)
    cases = list(dict.fromkeys(case for case, _ in found))
    if not cases:
        return []
    style.prepare({p.name: p.learned for p in points})
    labels = ldbresults.params_labels(points, style)
    learned = {(p.name, p.params): p.learned for p in points}
    panels = {case: fastest([(key, times) for (c, key), times in found.items() if c == case],
                            learned) for case in cases}
    several = len({case[4] for case in cases}) > 1
    pyplot = ldbplot.setup_matplotlib()
    height = max(map(len, panels.values())) * BAR_HEIGHT + 0.75
    lines = -(-len(cases) // COLUMNS)
    total = lines * height + 0.85
    canvas, grid = pyplot.subplots(lines, COLUMNS, squeeze=False, figsize=(WIDTH, total))
    for axes in grid.flat[len(cases):]:
        axes.set_axis_off()
    for case, axes in zip(cases, grid.flat):
        draw_case(axes, panels[case], labels, style)
        axes.set_title(case_text(case, several), fontsize=8, loc="left")
    canvas.subplots_adjust(left=MARGIN / WIDTH, right=0.99, top=1 - 1.1 / total,
                           bottom=0.5 / total, hspace=0.75 / (height - 0.75),
                           wspace=MARGIN / (WIDTH / COLUMNS - MARGIN))
    canvas.text(0.012, 1 - 0.3 / total, "Phases of joins: time per row of either side, ns",
                fontsize=13, fontweight="bold")
    canvas.text(0.012, 1 - 0.52 / total, f"{ldbresults.machine_text(run)}, "
                f"{ldbresults.date_text(run)}, {points[0].row['pages']} pages", fontsize=8,
                color=FAINT)
    handles, names = grid.flat[0].get_legend_handles_labels()
    canvas.legend(handles, names, loc="upper right", ncols=4, frameon=False, fontsize=8,
                  bbox_to_anchor=(0.99, 1 - 0.12 / total))
    canvas.text(0.012, 0.08 / total, "medians of the rounds; each panel has a scale of its own",
                fontsize=7.5, color=FAINT)
    written = ldbplot.save(canvas, path)
    pyplot.close(canvas)
    return written
