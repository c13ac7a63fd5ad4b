"""Which cells a run was to have: from the config text and the command that its run.json holds.

The settings and their order are those of harness/plan.c: what stands above the first section holds
for all, an indented line goes on with the list above it, the command line overrides the file.
"""

import itertools
import re

FAMILIES = ("index", "sort", "join", "q6")
LISTS = FAMILIES + ("dataset", "size", "workload", "mode", "pages", "threads", "payload")
SCALARS = ("reps", "ops", "preload", "rate", "pass-ms", "seed", "timeout", "memory", "numa",
           "reference", "key-bits", "optional", "experiment")
NOT_SETTINGS = ("out", "shard")  # options with a value that say nothing of the plan
# What a workload with a value is called where none was given.
VALUES = {"zipf": 0.99, "hot": 1, "absent": 50, "scan": 100}
DEFAULT_WORKLOAD = {"index": "uniform", "sort": "shuffled", "join": "x4:su"}
DEFAULT_MODE = {"sort": "keys", "join": "count"}
DEFAULTS = {"pages": ["thp"], "threads": ["1"], "payload": ["0"], "reps": "10",
            "optional": "no"}


class PlanError(ValueError):
    """Config or command can't be read; the text says what of it."""


def _apply(settings, name, value, more=False):
    if name in FAMILIES and not more:
        settings["family"] = name
        for other in FAMILIES:
            settings.pop(other, None)
    if name in LISTS:
        words = [w.strip() for w in value.split(",") if w.strip()]
        settings[name] = (settings.get(name, []) if more else []) + words
    elif name in SCALARS:
        settings[name] = value
    else:
        raise PlanError(f"unknown setting '{name}'")


def _read_config(text):
    """The settings of each experiment of a config, in its order."""
    common, sections, current, last = {}, [], None, None
    for number, line in enumerate(text.splitlines(), start=1):
        indented = line[:1].isspace() and last is not None
        line = re.sub(r"(^|\s);.*", "", line).strip()
        if not line or line.startswith("#"):
            continue
        header = re.fullmatch(r"\[(.*)\]", line)
        if header and not indented:
            if not (sections and sections[-1][0] == header[1]):
                own = {k: list(v) if isinstance(v, list) else v for k, v in common.items()}
                own.setdefault("experiment", header[1])
                sections.append((header[1], own))
            current, last = sections[-1][1], None
        elif indented:
            _apply(common if current is None else current, last, line, more=True)
        else:
            last, mark, value = (part.strip() for part in re.split(r"([=:])", line, maxsplit=1)) \
                if re.search("[=:]", line) else (line, "", "")
            if not mark:
                raise PlanError(f"line {number} of the config is neither [experiment] nor "
                                "name = value")
            _apply(common if current is None else current, last, value)
    return [own for _, own in sections] or [dict(common)]


def _options(command):
    """(name, value) of each setting of a command `run CONFIG --name value --name=value`."""
    words, known = list(command[1:]), LISTS + SCALARS + NOT_SETTINGS
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            continue
        name, equals, value = word[2:].partition("=")
        if name == "resume":
            continue
        near = [k for k in known if k == name] or [k for k in known if k.startswith(name)]
        if len(near) != 1:
            raise PlanError(f"unknown option '--{name}'")
        if not equals:
            value = words.pop(0) if words else ""
        if near[0] not in NOT_SETTINGS:
            yield near[0], value


def _size(text):
    match = re.fullmatch(r"([\d.]+(?:e\d+)?)([KMGT]?)", text, re.I)
    if not match:
        raise PlanError(f"'{text}' is no size")
    factor = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}[match[2].upper()]
    return round(float(match[1]) * factor)


def _sizes(words):
    """Numbers of keys; None is all that a dataset has."""
    sizes = []
    for word in words or ["all"]:
        first, dots, last = word.partition("..")
        if word in ("max", "all"):
            sizes.append(None)
            continue
        n, last = _size(first), _size(last if dots else first)
        while n < last:
            sizes.append(n)
            n *= 10
        sizes.append(last)
    return sizes


def _workload(word):
    name, _, value = word.partition(":")
    if name not in VALUES:
        return word
    try:
        return f"{name}:{float(value or VALUES[name]):g}"
    except ValueError:
        return word


def dataset_name(spec):
    """A file goes by its name without folders."""
    return spec if spec.startswith("tpch:") else spec.rstrip("/").rpartition("/")[2]


def _keys_of(name, size, datasets):
    """The number of keys that a size is of a dataset; None when that can't be told."""
    if size is not None:
        return size
    own = [d for d in datasets.values() if d["name"] == name]
    if own and str(own[0].get("source", "")).startswith("generated"):
        return 1_000_000
    return max((d.get("sampled_from") or d["n"] for d in own), default=None)


def _left_out(experiments, run):
    """Those optional experiments whose data wasn't there when the run began."""
    there = {d["name"] for d in run["datasets"].values()}
    count = len(experiments) - len(run["experiments"])
    lacking = [e for e in experiments if e.get("optional") == "yes"
               and not all(dataset_name(d) in there for d in e.get("dataset", []))]
    return lacking[:max(0, count)] if len(lacking) >= count else []


def experiments_of(run):
    """(experiments, those left out) of run.json; the newest session says what was wanted."""
    command = run["sessions"][-1]["command"]
    experiments = _read_config(run.get("config") or "")
    for name, value in _options(command):
        for e in experiments:
            _apply(e, name, value)
    for e in experiments:
        for name, value in DEFAULTS.items():
            e.setdefault(name, value)
        e.setdefault("experiment", "run")
        if "family" not in e or not e.get("dataset"):
            raise PlanError(f"experiment {e['experiment']} names no "
                            f"{'competitor' if 'family' not in e else 'dataset'}")
    left_out = _left_out(experiments, run)
    return [e for e in experiments if e not in left_out], left_out


def _words_by_width(e):
    """A competitor's word once for each width of keys; a path is of one, whichever that is."""
    widths = re.findall("32|64", e.get("key-bits", "64"))
    return [w for w in e[e["family"]]
            for _ in range(1 if "/" in w.partition(":")[0] else len(set(widths)))]


def competitors_of(experiments, run):
    """For each experiment the (name, params, key_bits) of run.json that stand for its words, in
    order."""
    listed, result, at = run["competitors"], [], 0
    for e in experiments:
        words = _words_by_width(e)
        own = listed[at : at + len(words)]
        at += len(words)
        names = [w.partition(":")[0] for w in words]
        # A plug-in given by its path has a name that only its table knows.
        if len(own) < len(words) or any("/" not in w and c["name"] != name
                                        for w, name, c in zip(words, names, own)):
            raise PlanError(f"experiment {e['experiment']} has {', '.join(names)}; the list of "
                            f"competitors has {', '.join(c['name'] for c in own)} there")
        own = [(c["name"], c["params"], str(c.get("key_bits", 64))) for c in own]
        # Builds of the same plug-in are told by their path.
        result.append([(f"{c[0]}@{w.partition(':')[0][-80:]}", *c[1:])
                       if own.count(c) > 1 and "/" in w else c for c, w in zip(own, words)])
    if at != len(listed):
        raise PlanError(f"{at} competitors are asked for, the list has {len(listed)}")
    return result


KEY = ("experiment", "family", "name", "params", "key_bits", "dataset", "n", "workload", "mode",
       "threads", "pages", "payload_bytes")


def wanted_cells(run, rows):
    """(dict KEY -> reps of all cells that the run was to have, experiments left out)."""
    experiments, left_out = experiments_of(run)
    # Workloads of operations have one mode, which nobody names.
    mixed = {r["workload"] for r in rows if r["mode"] == "mixed"}
    cells = {}
    for e, competitors in zip(experiments, competitors_of(experiments, run)):
        family = e["family"]
        usual = DEFAULT_MODE.get(family, "mixed" if mixed.intersection(
            map(_workload, e.get("workload", []))) else "independent")
        axes = (map(dataset_name, e["dataset"]), _sizes(e.get("size")),
                map(_workload, e.get("workload", [DEFAULT_WORKLOAD.get(family, "uniform")])),
                e.get("mode", [usual]), e["threads"], e["pages"], e["payload"])
        for dataset, size, *at in itertools.product(*axes):
            n = _keys_of(dataset, size, run["datasets"])
            for c in competitors:
                cells[e["experiment"], family, *c, dataset, n, *at] = _size(e["reps"])
    return cells, left_out
