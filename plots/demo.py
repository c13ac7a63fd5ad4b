"""One graph for a slide or a video: a B-tree against a learned index, one dataset, one mode.

The headline is computed: the ratio within rounds at the largest size, with its interval, and it
says so when the learned index loses or nothing is decided.
"""

import ldbplot
from ldbplot import FAINT, INK

import ldbresults
import ldbstats
from ldbresults import size_text


class DemoError(Exception):
    """The run does not have what the graph needs."""


def choose(cells, run, style, dataset=None, mode=None, learned=None):
    """(tree cells, learned cells) of one slice by size; both sides at the same points only.

    Without --dataset and --mode: the slice with the most sizes, a chained one if there is a
    choice, since the axis says latency; then independent, then batched.
    """
    trees = style.text("demo", "tree").split()
    ours = [learned] if learned and learned != "best" else style.text("demo", "learned").split()
    slices = {}
    for point, members in ldbresults.by_point([c for c in cells if c.ok]).items():
        key = point[:3] + point[4:]
        where = dict(zip(ldbresults.POINT, point))
        if where["family"] != "index" or dataset not in (None, where["dataset"]):
            continue
        if mode not in (None, where["mode"]):
            continue
        reference = ldbresults.find_reference(members, run)
        tree = next((best(members, [t], reference) for t in trees
                     if any(c.name == t for c in members)), None)
        model = best(members, [] if learned == "best" else ours, reference)
        if model is None and learned is None:
            models = {c.name for c in members if ldbresults.is_learned(c, style)}
            model = best(members, models, reference)
        elif learned == "best":
            models = {c.name for c in members if ldbresults.is_learned(c, style)}
            model = best(members, models, reference)
        if tree is not None and model is not None:
            slices.setdefault(key, {})[where["n"]] = tree, model, reference
    if not slices:
        raise DemoError("no point with both a B-tree and a learned index, whole in both: the demo "
                        "graph needs btree or absl_btree, and rmi or another learned index")
    first = list(slices)
    mode_at = ldbresults.POINT.index("mode") - 1
    key = min(slices, key=lambda k: (-len(slices[k]), style.mode_order(k[mode_at]),
                                     first.index(k)))
    return key, slices[key]


def best(members, names, reference):
    """The fastest cell of some names; None when there is none."""
    cells = [c for c in members if c.name in names]
    return min(cells, key=lambda c: ldbstats.interval(c.values).median) if cells else None


def span(some, all_sizes):
    """"10K to 3M" for neighbours, else "10K, 3M"."""
    first = all_sizes.index(some[0])
    if len(some) > 2 and all_sizes[first:first + len(some)] == some:
        return f"{some[0]} to {some[-1]}"
    return ", ".join(some)


def headline(sizes, style):
    """(headline, second line): only what the rounds at the largest size say."""
    n = max(sizes)
    tree, model, reference = sizes[n]
    ours, theirs = style.competitor(model.name).label, style.competitor(tree.name).label
    ratio = ldbresults.ratio_between(model, tree, reference)
    verdict = ldbstats.compare(ratio)
    keys = f"{size_text(n)} keys"
    if verdict is None:
        text = f"{ours} and {theirs} at {keys}: too few rounds to say which is faster"
    elif verdict == 0:
        text = f"{ours} and {theirs}: no clear difference at {keys}"
    elif verdict < 0:
        text = f"{ours} is {1 / ratio.median:.2f} times as fast as the {theirs} at {keys}"
    else:
        text = f"{ours} loses: {ratio.median:.2f} times the {theirs}'s time at {keys}"
    second = []
    if ratio.count:
        second.append(f"{model.get('dataset')} keys: {ratio.median:.3f} [{ratio.low:.3f}, "
                      f"{ratio.high:.3f}] of the {theirs}'s time")
    words = {-1: "ahead", 1: "behind", 0: "undecided", None: "too few rounds"}
    other = {}
    for size in sorted(sizes)[:-1]:
        order = ldbresults.order_between(sizes[size][1], sizes[size][0], sizes[size][2])
        other.setdefault(words[order], []).append(size_text(size))
    smaller = [size_text(size) for size in sorted(sizes)[:-1]]
    second += [f"{word} at {span(at, smaller)}" for word, at in other.items()]
    return text, "; ".join(second)


def draw_line(axes, cells, label, look, style):
    n = sorted(cells)
    numbers = [ldbstats.interval(cells[k].values) for k in n]
    axes.fill_between(n, [i.low for i in numbers], [i.high for i in numbers], color=look["color"],
                      alpha=0.2, linewidth=0)
    if len(n) == 1:
        axes.vlines(n, [numbers[0].low], [numbers[0].high], color=look["color"], linewidth=3)
    axes.plot(n, [i.median for i in numbers], linewidth=4, markersize=12, label=label, **look)
    return n[-1], numbers[-1]


def label_ends(axes, ends):
    """Names beside the last points, pushed apart when they would overlap."""
    ends = sorted(ends, key=lambda e: e[1].median)
    low, high = axes.get_ylim()
    place = [e[1].median / (high - low) for e in ends]
    middle = sum(place) / len(place)
    if len(place) == 2 and place[1] - place[0] < 0.19:
        middle = min(max(middle, 0.12), 0.88)
        place = [middle - 0.095, middle + 0.095]
    for (n, interval, label, colour), y in zip(ends, place):
        axes.annotate(f"{label}\n{interval.median:.0f} ns" if interval.median >= 10 else
                      f"{label}\n{interval.median:.1f} ns", (n, interval.median),
                      xytext=(1.02, min(max(y, 0.06), 0.94)), textcoords="axes fraction",
                      color=colour, fontsize=min(20, 20 * 11 / len(label)),
                      fontweight="bold", va="center", ha="left", annotation_clip=False)


def draw(cells, run, style, path, dataset=None, mode=None, learned=None):
    """Draws demo.png (1920 x 1080) and demo.svg; returns the files written."""
    pyplot = ldbplot.setup_matplotlib()
    style.prepare({c.name: "1" in c.noted("learned") for c in cells})
    key, sizes = choose(cells, run, style, dataset, mode, learned)
    where = dict(zip([c for c in ldbresults.POINT if c != "n"], key))
    largest = max(sizes)
    several = {side: len({sizes[n][side].name for n in sizes}) > 1 for side in (0, 1)}

    figure = pyplot.figure(figsize=(12.8, 7.2))
    axes = figure.add_axes([0.085, 0.225, 0.735, 0.545])
    axes.set_gid(f"panel/{where['mode']}/{where['dataset']}")
    ends = []
    for side in (0, 1):
        own = {n: sizes[n][side] for n in sizes}
        name = own[largest].name
        label = style.competitor(name).label
        if several[side]:
            label = "fastest learned" if side else "B-tree"
        n, last = draw_line(axes, own, label, ldbplot.look(name, style), style)
        ends.append((n, last, label, style.competitor(name).colour))
    highest = max(ldbstats.interval(c.values).high for pair in sizes.values() for c in pair[:2])
    axes.set_xscale("log")
    limits = min(1000, min(sizes)) / 1.2, max(10**7 if largest >= 10**6 else 0, largest) * 1.2
    axes.set_xlim(*limits)
    axes.set_ylim(0, highest * 1.12)
    axes.set_xticks(ldbplot.decades(*limits))
    axes.set_xticklabels([size_text(t) for t in ldbplot.decades(*limits)])
    axes.minorticks_off()
    axes.tick_params(labelsize=18)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("Number of keys", fontsize=19)
    axes.set_ylabel("Lookup latency (ns)" if where["mode"] == "chained" else "ns per lookup",
                    fontsize=19)
    label_ends(axes, ends)
    first, second = headline(sizes, style)
    fit = min(29, 29 * 50 / max(len(first), 1))
    figure.text(0.03, 0.905, first, fontsize=fit, fontweight="bold", color=INK)
    figure.text(0.03, 0.84, second, fontsize=min(16.5, 16.5 * 105 / max(len(second), 1)),
                color=INK)
    about = style.text(f"mode {where['mode']}", "about")
    fallback = [s for s in (0, 1) if sizes[largest][s].fallback]
    few = any(len(c.values) < ldbstats.MIN_ROUNDS for pair in sizes.values() for c in pair[:2])
    plural = "" if where["threads"] == "1" else "s"
    small = [
        f"Dataset {where['dataset']}, {where['workload']} lookups, mode {where['mode']}"
        + (f" ({about})" if about else "") + f", {where['threads']} thread{plural}"
        + (f", {where['pages']} pages" if where["pages"] else ""),
        f"{ldbresults.machine_text(run)}; {ldbresults.date_text(run)}. Medians with "
        + ("ranges (few repetitions)" if few else "95 % intervals")
        + "; ratios are taken within rounds.",
        "The strong baselines' numbers and all modes are in the full figure, latency-vs-size.",
    ]
    if fallback:
        small[2] += " No batch of its own, plain loop: " + ", ".join(
            style.competitor(sizes[largest][s].name).label for s in fallback) + "."
    for line, y in zip(small, (0.083, 0.05, 0.017)):
        figure.text(0.03, y, line, fontsize=min(12.5, 12.5 * 125 / len(line)), color=FAINT)
    written = ldbplot.save(figure, path)
    pyplot.close(figure)
    return written
