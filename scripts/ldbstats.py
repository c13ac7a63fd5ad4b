"""Statistics of repeated measurements: medians with intervals, ratios within rounds, ranks.

Why the median: timings are skewed to the right, and a mean follows the skew. Why the bootstrap: it
asks nothing of the distribution (Efron, Annals of Statistics 7, 1979). For the median the bootstrap
distribution is known in closed form, so nothing is resampled at random and the same numbers give
the same interval on every machine.

Percentile or BCa (Efron, JASA 82, 1987)? Simulated on lognormal timings (sigma 0.3), a nominal 95 %
interval covers the true median in this share of runs:

    rounds       6      7      8      9     10     11     20     25     40
    percentile   0.94   0.88   0.93   0.96   0.95   0.93   0.93   0.95   0.95
    BCa          0.93   -      -      -      0.92   0.95   0.93   -      -

so the simpler one is kept, from MIN_ROUNDS on. tests/test_stats.py repeats the simulation of the first line.

What an interval does not hold: a competitor is built once per session, so its luck with the
placement of its memory is the same in all rounds. MARGIN allows for it.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
from scipy.special import betainc

LEVEL = 0.95
MIN_ROUNDS = 8  # with fewer, `interval` gives the range and nothing is decided on it
MARGIN = 0.02  # medians closer than this are a tie, however narrow their intervals are


@dataclass(frozen=True)
class Interval:
    """A median and its interval. kind: "95%" (bootstrap), "range" (too few values), "" (none)."""

    median: float
    low: float
    high: float
    kind: str
    count: int

    @property
    def decisive(self):
        return self.kind == "95%"


NOTHING = Interval(math.nan, math.nan, math.nan, "", 0)


@functools.lru_cache(maxsize=None)
def _median_weights(n):
    """(i, j, w): with probability w a resample of n sorted values has the median (x[i]+x[j])/2.

    n draws from n values. Odd n: the middle draw is at most x[k-1] when at least (n+1)/2 draws
    fall on the k smallest, a binomial tail. Even n = 2m: the two middle draws are x[i] < x[j] when
    m draws fall on x[0..i] with x[i] among them, and m on x[j..n-1] with x[j] among them; what is
    left of the m-th draw's own distribution is the case i = j.
    """
    k = np.arange(n + 1) / n
    middle = (n + 1) // 2
    single = np.diff(betainc(middle, n - middle + 1, k))
    if n % 2:
        i = np.arange(n)
        return i, i, single
    # Only values near the middle can be a resample's median: at 4 sqrt(n) the odds are < 1e-14.
    reach = min(middle, int(math.ceil(4 * math.sqrt(n))) + 1)
    index = np.arange(middle - reach, middle + reach)
    lower, upper = (index + 1) / n, (n - index) / n
    # The factor C(n, m) is near 2^n: as 4^m over both sides it stays within a double.
    a = (2 * lower) ** middle - np.maximum(2 * (lower - 1 / n), 0) ** middle
    b = (2 * upper) ** middle - np.maximum(2 * (upper - 1 / n), 0) ** middle
    choose = math.exp(math.lgamma(n + 1) - 2 * math.lgamma(middle + 1) - n * math.log(2))
    pair = np.triu(choose * np.outer(a, b), 1)
    pair[np.diag_indices(len(index))] = np.maximum(single[index] - pair.sum(axis=1), 0)
    i, j = np.triu_indices(len(index))
    return index[i], index[j], pair[i, j]


def _median_distribution(values):
    """(medians, weights): the bootstrap distribution of the median, by rising median."""
    x = np.sort(np.asarray(values, dtype=float))
    i, j, weight = _median_weights(len(x))
    medians = (x[i] + x[j]) / 2
    order = np.argsort(medians, kind="stable")
    return medians[order], weight[order]


def bootstrap_median(values, level=LEVEL):
    """(low, high): percentile bootstrap interval of the median, over all resamples at once."""
    medians, weight = _median_distribution(values)
    below = np.cumsum(weight)
    tail = (1 - level) / 2
    cut = np.searchsorted(below, [tail - 1e-12, 1 - tail - 1e-12])
    low, high = medians[np.minimum(cut, len(medians) - 1)]
    return float(low), float(high)


def interval(values, level=LEVEL):
    """Median and interval of any number of values, none included."""
    x = np.asarray(values, dtype=float)
    if not len(x):
        return NOTHING
    median = float(np.median(x))
    if len(x) < MIN_ROUNDS:
        return Interval(median, float(x.min()), float(x.max()), "range", len(x))
    low, high = bootstrap_median(x, level)
    return Interval(median, low, high, f"{level * 100:g}%", len(x))


def outliers(values):
    """True where a value lies more than 1.5 quartile distances outside the quartiles (Tukey 1977).

    Fewer than four values have no quartiles worth the name: none is flagged.
    """
    x = np.asarray(values, dtype=float)
    if len(x) < 4:
        return np.zeros(len(x), dtype=bool)
    q1, q3 = np.percentile(x, [25, 75])
    reach = 1.5 * (q3 - q1)
    return (x < q1 - reach) | (x > q3 + reach)


def paired_ratio(own, other):
    """Interval of own/other, each a dict round -> value, over the rounds that both have.

    Within a round the machine is the same for both, so its drift cancels; in a ratio of medians it
    does not.
    """
    return interval([own[r] / other[r] for r in own if other.get(r, 0) > 0])


def unpaired_ratio(own, other, level=LEVEL):
    """Interval of median(own) / median(other), which share no rounds: both are resampled.

    It holds the scatter within each of both, not what changed between them: another day, another
    placement of memory, another neighbour.
    """
    if not len(own) or not len(other):
        return NOTHING
    x, y = np.sort(np.asarray(own, dtype=float)), np.sort(np.asarray(other, dtype=float))
    if y[0] <= 0:
        return NOTHING
    middle, count = float(np.median(x) / np.median(y)), min(len(x), len(y))
    if count < MIN_ROUNDS:
        return Interval(middle, float(x[0] / y[-1]), float(x[-1] / y[0]), "range", count)
    (a, a_weight), (b, b_weight) = _median_distribution(x), _median_distribution(y)
    below = np.concatenate([[0], np.cumsum(a_weight)])

    def quantile(share):
        """The least t with P(A / B <= t) >= share, to 12 digits."""
        low, high = a[0] / b[-1], a[-1] / b[0]
        while high / low > 1 + 1e-12:
            t = math.sqrt(low * high)
            reached = below[np.searchsorted(a, t * b * (1 + 1e-13), side="right")] @ b_weight
            low, high = (low, t) if reached >= share - 1e-12 else (t, high)
        return float(high)

    tail = (1 - level) / 2
    return Interval(middle, quantile(tail), quantile(1 - tail), f"{level * 100:g}%", count)


def compare(ratio, margin=MARGIN):
    """-1 when a ratio (lower is better) says ahead, 1 behind, 0 neither, None: too few rounds."""
    if not ratio.decisive:
        return None
    if ratio.high < 1 and ratio.median < 1 - margin:
        return -1
    if ratio.low > 1 and ratio.median > 1 / (1 - margin):
        return 1
    return 0


def ranks(count, order):
    """Rank of each of `count` items: 1 + how many are ahead of it; order(j, i) == -1: j is ahead.

    Items that can't be told apart share a rank, so ranks may repeat and skip.
    """
    return [1 + sum(order(j, i) == -1 for j in range(count) if j != i) for i in range(count)]
