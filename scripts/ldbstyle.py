"""Reads plots/style.ini: names, colours, markers, and which way is better."""

import configparser
import os
from dataclasses import dataclass

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STYLE_FILE = os.path.join(ROOT, "plots", "style.ini")
MARKERS = ("none", "circle", "square", "up", "down", "diamond", "pentagon", "star",
           "cross", "plus", "hexagon", "left", "right")
DASHES = ("solid", "dashed", "dotted", "dashdot")


@dataclass(frozen=True)
class Competitor:
    name: str
    label: str
    family: str
    colour: str
    marker: str
    dash: str
    learned: bool
    strong: bool
    floor: bool


class Style:
    """The table, with an answer for every name: those not in it get an unused look."""

    def __init__(self, path=STYLE_FILE):
        self.ini = configparser.ConfigParser(interpolation=None)
        with open(path, encoding="utf-8") as file:
            self.ini.read_file(file)
        self.competitors = {}
        for section in self.ini.sections():
            kind, _, name = section.partition(" ")
            if kind == "competitor":
                self.competitors[name] = self._read(name, self.ini[section])

    @staticmethod
    def _read(name, entry):
        marker, dash = entry.get("marker", "circle"), entry.get("dash", "solid")
        if marker not in MARKERS or dash not in DASHES:
            raise ValueError(
                f"style.ini: competitor {name}: marker {marker}, dash {dash}: "
                f"take a marker of {', '.join(MARKERS)} and a dash of {', '.join(DASHES)}"
            )
        flag = lambda key: entry.get(key, "0") == "1"
        return Competitor(name, entry.get("label", name), entry.get("family", "index"),
                          entry.get("colour", "#000000"), marker, dash, flag("learned"),
                          flag("strong"), flag("floor"))

    def prepare(self, learned_by_name):
        """Gives a look to each name of dict name -> learned that the table does not have."""
        colours = self.ini["automatic"]["colours"].split()
        markers = self.ini["automatic"]["markers"].split()
        looks = [(colour, marker) for colour in colours for marker in markers]
        used = [(c.colour, c.marker) for c in self.competitors.values()]
        here = [self.competitors[n] for n in learned_by_name if n in self.competitors]
        taken = [c.colour for c in here] + [c.marker for c in here]
        unknown = sorted(set(learned_by_name) - set(self.competitors))
        for i, name in enumerate(unknown):
            learned = learned_by_name[name]
            dash = "solid" if learned else ("dashed", "dashdot", "dotted")[i % 3]
            # The colour and the marker that are rarest in this run, of those still free.
            free = [look for look in looks if look not in used] or looks
            colour, marker = min(free, key=lambda l: taken.count(l[0]) + taken.count(l[1]))
            used.append((colour, marker))
            taken += [colour, marker]
            self.competitors[name] = Competitor(name, name, "", colour, marker, dash, learned,
                                                False, False)

    def competitor(self, name):
        if name not in self.competitors:
            self.prepare({name: False})
        return self.competitors[name]

    def order(self, name):
        """Sort key: learned first, floors last, each in the order of the table."""
        known = list(self.competitors)
        c = self.competitor(name)
        return (c.floor, not c.learned, known.index(name) if name in known else len(known), name)

    def strong(self, kind):
        """Names of the baselines of a kind of work that a verdict needs."""
        own = [c.name for c in self.competitors.values() if c.strong and c.family == kind]
        return own or self.required(kind)

    def required(self, kind):
        """Names of the baselines that the words "learned wins" need."""
        return self.ini.get("baselines", kind, fallback="").split()

    def text(self, section, key, default=""):
        return self.ini.get(section, key, fallback=default)

    def metric(self, column, key, family="index"):
        text = self.text(f"metric {column}", key, column)
        op = self.text(f"family {family}", "op", "operation")
        ops = self.text(f"family {family}", "ops", "operations")
        return text.replace("{ops}", ops).replace("{op}", op)

    def mode_order(self, mode):
        modes = [s.split(" ", 1)[1] for s in self.ini.sections() if s.startswith("mode ")]
        return (modes.index(mode) if mode in modes else len(modes), mode)
