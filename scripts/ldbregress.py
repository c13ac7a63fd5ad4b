"""Has it become slower? The arithmetic of scripts/perf-check.

What varies: rounds within a session by what else runs on the machine, sessions by where the memory
of either side happens to lie. The second is the same in all rounds of a session, so rounds can't
average it out, and a session is one observation: the centre of its rounds' log(head / base).

Why signed ranks (Wilcoxon 1945; interval: Hodges, Lehmann 1963): when both sides are the same code
and their order is drawn by lot in each session, swapping them changes the sign of an observation
and nothing else. So it is symmetric about 0 whatever the noise is, and the odds of a false alarm
are exact, not a matter of normal noise. A few wild sessions move the estimate little.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
FALSE_ALARMS = 0.01  # of a whole check, at most, where nothing has changed
SUSPICIOUS = 1 / 3  # of the limit, in the first run: measured again
SLOWER = 1 / 2  # of the limit, in the second run: an alarm, when it is slower beyond doubt
MIN_SESSIONS = 6  # with fewer a 95 % interval doesn't exist


class TooFew(ValueError):
    """Not enough sessions to say anything at that level."""


@dataclass(frozen=True)
class Ratio:
    """head's time over base's, by sessions: estimate and 95 % interval."""

    estimate: float
    low: float
    high: float
    sessions: int


@functools.lru_cache(maxsize=None)
def signed_rank_cdf(n):
    """[P(W <= k)] for k = 0..n(n+1)/2: W is the sum of those of the ranks 1..n whose coin fell on
    heads."""
    ways = np.zeros(n * (n + 1) // 2 + 1)
    ways[0] = 1
    for rank in range(1, n + 1):
        ways[rank:] += ways[:-rank].copy()
    return np.cumsum(ways) / 2.0**n


def _walsh(values):
    """Averages of all pairs, each value with itself included, sorted."""
    x = np.asarray(values, dtype=float)
    i, j = np.triu_indices(len(x))
    return np.sort((x[i] + x[j]) / 2)


def centre(values):
    """Hodges and Lehmann's: as steady as a mean where noise is normal, and where it isn't, too."""
    return float(np.median(_walsh(values)))


def lower_bound(values, odds):
    """The centre of the values lies below this with probability `odds` at most."""
    cut = int(np.searchsorted(signed_rank_cdf(len(values)), odds, side="right"))
    if cut == 0:
        raise TooFew(f"{len(values)} sessions can't decide at odds of {odds:.2g}; "
                     f"{sessions_needed(odds)} can")
    return float(_walsh(values)[cut - 1])


def sessions_needed(odds):
    """The fewest that can decide at these odds: all of them on one side."""
    return max(MIN_SESSIONS, math.ceil(-math.log2(odds)))


def session_log_ratio(head, base):
    """Centre of log(head / base), each a dict round -> time, over the rounds of both."""
    both = [math.log(head[r] / base[r]) for r in head if r in base]
    if not both:
        raise TooFew("no round has both sides")
    return centre(both)


def ratio(values):
    """Estimate and interval of a ratio from its sessions' logs."""
    odds = (1 - LEVEL) / 2
    low, high = lower_bound(values, odds), -lower_bound([-x for x in values], odds)
    return Ratio(*(math.exp(x) for x in (centre(values), low, high)), len(values))


def suspicious(values, limit):
    """Worth a second look? limit: 0.1 for 10 %."""
    return ratio(values).estimate > (1 + limit) ** SUSPICIOUS


def too_much(values, limit):
    """Nearer to the limit than to no change?"""
    return ratio(values).estimate > (1 + limit) ** SLOWER


def slower(values, limit, cells):
    """An alarm? Of sessions run after the cell was suspected, one of `cells` that could have been.

    Slower beyond doubt: the bound that a cell without a change exceeds with odds of FALSE_ALARMS /
    cells is above 1 (Bonferroni). And by too much: what is slower beyond doubt by a little passes.
    """
    return lower_bound(values, FALSE_ALARMS / cells) > 0 and too_much(values, limit)
