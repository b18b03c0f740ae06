"""One figure of runs that followed each other: its noise, and whether their order or its distribution is anything special.

The comparison takes the log ratios of pairs for independent and normal. Random pairings can't tell: they break the order up.
So it is asked three times, each time against chance by as many random orders (Pitman 1937) or normal samples: is there a
trend; are neighbours more alike than runs far apart (von Neumann's ratio, 1941); do the sorted values lie on a straight
line over the normal scores (Shapiro & Francia, 1972)? What was seen counts as one of the tries, so that no p is 0 (Phipson &
Smyth, 2010).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from statistics import NormalDist, correlation, fmean, linear_regression, stdev

from benchmarks.gate.streams import normal, sampled

TRIES = 2000


@dataclass(frozen=True, slots=True)
class Order:
    """Logarithms of a figure of runs in the order of time.

    `noise`: standard deviation of the log ratio of two runs at random; `neighbours`: of two that followed each other.
    `trend`: change from the first run to the last by a straight line, as a ratio minus 1. The p are the shares of random
    orders with a trend as steep and with neighbours as alike, and of normal samples as crooked.
    """

    noise: float
    neighbours: float
    trend: float
    trend_p: float
    alike_p: float
    normal_p: float


def order(logs: Sequence[float], tries: int = TRIES) -> Order:
    """Look at logarithms in the order of time; the same answer every time. Where all are the same, there is no order."""
    if len(set(logs)) == 1:
        return Order(noise=0.0, neighbours=0.0, trend=0.0, trend_p=1.0, alike_p=1.0, normal_p=1.0)
    dice = Random("order")  # noqa: S311 - the same orders every time
    shuffled = [sampled(dice, logs, len(logs)) for _ in range(tries)]
    samples = [[normal(dice) for _ in logs] for _ in range(tries)]
    slope, rough, straight = _slope(logs), roughness(logs), _straightness(logs)
    return Order(
        noise=math.sqrt(2) * stdev(logs),
        neighbours=math.sqrt(rough),
        trend=math.expm1(slope * (len(logs) - 1)),
        trend_p=_p(abs(_slope(each)) >= abs(slope) for each in shuffled),
        alike_p=_p(roughness(each) <= rough for each in shuffled),
        normal_p=_p(_straightness(each) <= straight for each in samples),
    )


def _p(as_extreme: Iterable[bool]) -> float:
    found = list(as_extreme)
    return (sum(found) + 1) / (len(found) + 1)


def roughness(logs: Sequence[float]) -> float:
    """Return the mean square of the steps from run to run: the variance of a log ratio of neighbours."""
    return fmean((later - earlier) ** 2 for earlier, later in pairwise(logs))


def _slope(logs: Sequence[float]) -> float:
    return linear_regression(range(len(logs)), logs).slope


def _straightness(values: Sequence[float]) -> float:
    """Return the correlation with the normal scores, by Blom's approximation of their expectations (1958)."""
    count = len(values)
    scores = [NormalDist().inv_cdf((rank - 0.375) / (count + 0.25)) for rank in range(1, count + 1)]
    return correlation(sorted(values), scores)
