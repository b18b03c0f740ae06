"""Baseline against candidate, from interleaved A/B pairs of runs: whether the latency has regressed.

Two single runs are never compared. P99 differs from run to run by much more than its sampling error within one, since a
run has its own neighbours, garbage collections and caches; only runs tell how much. Pairs that follow each other
(A B, B A, ...) share what drifts slowly, so that the log of the ratio of their P99 is taken as independent from pair to
pair, with mean ln(true ratio). A one-sided t bound on that mean decides. More pairs help, longer runs hardly.

A slow path that is taken rarely (one request in 300) does not show in P99. For it the requests that take a quarter
longer than the baseline's pooled P99.5 are counted on both sides of each pair, x' and x, and the mean of
ln((x' + 1/2) / (x + 1/2)) gets the same bound; the halves are the usual ones for an empirical log odds (Haldane 1956;
Anscombe 1956). Why a quarter: the P99.5 itself often lies where many ordinary requests are (the shop's logins), and a run
that is a few per cent slower as a whole then has twice as many above it, or half. Beyond it the counts are smaller but no
longer follow the run: of simulated slow paths of one in 300, 10 pairs find 100 % instead of 52 to 99 %. The price: a release
that is slower as a whole shows less in the share of slow requests (docs/statistics.md says how much less). A two-proportion test
on the pooled counts would take requests for independent: it false-alarms 8-37 % of the time.

A **regression** is shown when the lower bound exceeds the margin; **none** when the upper bound stays below what is
tolerated; otherwise the pairs are too few for their noise: inconclusive, with the smallest regression that so many
pairs of that noise find. The latency and the slow path are two tests: together they cry wolf at most twice as often as
one of them.

Sources: Student (1908), Biometrika 6; Kohavi, Tang & Xu, "Trustworthy Online Controlled Experiments" (2020), chapter 17
on log ratios and variance; Bulej et al. (2017), "Unit testing performance with Stochastic Performance Logic", and
Laaber et al. (2019), Empirical Software Engineering 24, for run-to-run noise.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from statistics import fmean, stdev
from typing import Final, Literal

from slo import student
from slo.statistics import nearest_rank, rank_of

Regression = Literal["yes", "no", "inconclusive"]

PERCENTILE: Final = 99.0
SLOW_PERCENTILE: Final = 99.5
# With fewer requests the P99.5 of a run is its maximum.
FEWEST_REQUESTS: Final = 200
# "No regression" is wrong at most this often when what is tolerated is just reached.
REASSURANCE: Final = 0.05
TOLERATED: Final = 0.10
# Slow is what takes so many times the P99.5.
SLOW_FACTOR: Final = 1.25
# A new path that one request in 300 takes raises the share of slow ones by 0.33 points; three quarters of that are tolerated.
SLOW_TOLERATED: Final = 0.0025
SLOW_ALPHA: Final = 0.01
POWER: Final = 0.8
# A ratio or an increase beyond this is said in words, not in per cent.
MOST_SAID: Final = 10.0
_PRECISION: Final = 1e-9
# A t test whose true mean lies so many standard errors above the limit has found it, whatever its degrees of freedom.
_FARTHEST: Final = 200.0


@dataclass(frozen=True, slots=True)
class Design:
    """How a comparison is decided: at least `pairs` pairs; `alpha` is the false-alarm rate at a true ratio of 1 + `margin`."""

    pairs: int
    alpha: float
    margin: float


# Without a margin the P99 of a release that is no slower is called a regression in 1 % of the comparisons. With 5 % of margin
# the 5 % hold for a release that is 5 % slower; for one that is no slower they come to less than 1 % up to a noise of 6 %.
# The share of slow requests is a second test, at SLOW_ALPHA with either design, and adds its own.
STRICT: Final = Design(pairs=10, alpha=0.01, margin=0.0)
WITH_MARGIN: Final = Design(pairs=6, alpha=0.05, margin=0.05)


class TooFewPairsError(ValueError):
    """A comparison that could not be trusted: too few pairs, or runs too short for their P99.5."""


@dataclass(frozen=True, slots=True)
class Run:
    """One recorded run: its latencies in s in ascending order, `math.inf` for a request without an answer."""

    ranked: tuple[float, ...]

    @classmethod
    def of(cls, latencies: Iterable[float]) -> "Run":
        """Make a run of latencies (s) in any order; raises `TooFewPairsError` for fewer than 200."""
        ranked = tuple(sorted(latencies))
        if len(ranked) < FEWEST_REQUESTS:
            raise TooFewPairsError(
                f"a run of {len(ranked)} requests has no P99.5: at least {FEWEST_REQUESTS} are needed"
            )
        return cls(ranked)

    def percentile(self, percent: float) -> float:
        """Return the nearest-rank percentile in s."""
        return nearest_rank(self.ranked, percent)

    def above(self, seconds: float) -> int:
        """Return how many requests took longer than `seconds`."""
        return len(self.ranked) - bisect_right(self.ranked, seconds)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs that followed each other under the same load, in either order."""

    baseline: Run
    candidate: Run


@dataclass(frozen=True, slots=True)
class RatioBound:
    """A ratio candidate / baseline with its one-sided bounds.

    `low` is exceeded by the true ratio with a confidence of 1 - `alpha`, `high` exceeds it with 95 %. `noise` is the
    standard deviation of the log ratio from pair to pair. An increase beyond `margin` is a regression, one below
    `tolerated` none; both are relative.
    """

    ratio: float
    low: float
    high: float
    noise: float
    pairs: int
    alpha: float
    margin: float
    tolerated: float
    regression: Regression

    @property
    def detectable(self) -> float:
        """The relative increase (0.1 = 10 %) that so many pairs of that noise call a regression in 80 % of the cases."""
        return detectable(self.noise, self.pairs, self.alpha, self.margin)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the pairs say of the candidate: `regression` is "yes" when the latency or the share of slow requests shows one.

    `slow_above` is 1.25 times the baseline's pooled P99.5, in s. A part is None when it falls on requests without an answer.
    """

    regression: Regression
    pairs: int
    latency: RatioBound | None
    slow: RatioBound | None
    slow_above: float
    reason: str


def compare(pairs: Sequence[Pair], design: Design = STRICT) -> Comparison:
    """Compare a candidate with its baseline.

    Raises `TooFewPairsError` when there are fewer pairs than the design needs, 10 at 1 % or 6 with a margin of 5 %.
    A percentile that falls on requests without an answer is not compared: the objective for errors judges those.
    """
    if len(pairs) < design.pairs:
        raise TooFewPairsError(
            f"{len(pairs)} pairs are too few for a false-alarm rate of {design.alpha:.0%} of P99 with a margin of "
            f"{design.margin:.0%}: at least {design.pairs} are needed"
        )
    latency = _latency(pairs, design)
    slow_above = slow_limit([pair.baseline for pair in pairs])
    slow = _slow(pairs, slow_above)
    return Comparison(
        _together(latency, slow), len(pairs), latency, slow, slow_above, _reason(latency, slow, slow_above)
    )


def bound(log_ratios: Sequence[float], alpha: float, margin: float, tolerated: float) -> RatioBound:
    """Return the bounds for the mean of log ratios and what follows for a regression.

    mean -+ t(f) * s / sqrt(n) with f = n - 1: "yes" when the lower one exceeds ln(1 + margin), else "no" when the upper
    one is below ln(1 + tolerated), else "inconclusive". Needs two log ratios or more.
    """
    count, mean, noise = len(log_ratios), fmean(log_ratios), stdev(log_ratios)
    error = noise / math.sqrt(count)
    low = mean - student.quantile(1 - alpha, count - 1) * error
    high = mean + student.quantile(1 - REASSURANCE, count - 1) * error
    quiet: Regression = "no" if high < math.log1p(tolerated) else "inconclusive"
    regression: Regression = "yes" if low > math.log1p(margin) else quiet
    return RatioBound(math.exp(mean), math.exp(low), math.exp(high), noise, count, alpha, margin, tolerated, regression)


def power(
    increase: float, noise: float, pairs: int, alpha: float = STRICT.alpha, margin: float = STRICT.margin
) -> float:
    """Return the probability that a true relative `increase` (0.1 = 10 %) is called a regression.

    Non-central t: the mean log ratio lies (ln(1 + increase) - ln(1 + margin)) sqrt(pairs) / noise standard errors above
    the margin. `noise` is the standard deviation of the log ratios from pair to pair.
    """
    distance = math.log1p(increase) - math.log1p(margin)
    if not noise:
        return float(distance > 0)
    shift = distance * math.sqrt(pairs) / noise
    return student.exceedance(student.quantile(1 - alpha, pairs - 1), pairs - 1, shift)


def detectable(
    noise: float, pairs: int, alpha: float = STRICT.alpha, margin: float = STRICT.margin, wanted: float = POWER
) -> float:
    """Return the smallest relative increase that is called a regression with the probability `wanted`.

    The power depends on the distance from the margin in standard errors alone: that distance is found once, and
    (1 + margin) exp(distance * noise / sqrt(pairs)) - 1 is the increase.
    """
    return (1 + margin) * math.exp(_distance(pairs, alpha, wanted) * noise / math.sqrt(pairs)) - 1


@cache
def _distance(pairs: int, alpha: float, wanted: float) -> float:
    """Find, by bisection, the distance in standard errors at which the power is `wanted`."""
    critical = student.quantile(1 - alpha, pairs - 1)
    low, high = 0.0, _FARTHEST
    while high - low > _PRECISION:
        middle = (low + high) / 2
        reached = student.exceedance(critical, pairs - 1, middle) >= wanted
        low, high = (low, middle) if reached else (middle, high)
    return high


def pooled_percentile(runs: Sequence[Run], percent: float) -> float:
    """Return the nearest-rank percentile in s of all requests of some runs together."""
    total = sum(len(run.ranked) for run in runs)
    # So many requests, counted from the slowest, end with the one that is looked for.
    tail = total - rank_of(total, percent) + 1
    return sorted(chain.from_iterable(run.ranked[-tail:] for run in runs))[-tail]


def slow_limit(runs: Sequence[Run]) -> float:
    """Return what a request must exceed, in s, to be slow beside the runs of a baseline; infinite where answers are missing."""
    return SLOW_FACTOR * pooled_percentile(runs, SLOW_PERCENTILE)


def slow_log_ratios(pairs: Sequence[Pair], slow_above: float) -> list[float]:
    """Return each pair's log ratio of the shares above `slow_above` seconds, candidate over baseline."""
    return [log_share(pair.candidate, slow_above) - log_share(pair.baseline, slow_above) for pair in pairs]


def log_share(run: Run, slow_above: float) -> float:
    """Return the logarithm of a run's share of requests above `slow_above` seconds, with a half more of them."""
    return math.log((run.above(slow_above) + 0.5) / (len(run.ranked) + 1))


def _latency(pairs: Sequence[Pair], design: Design) -> RatioBound | None:
    sides = [(pair.candidate.percentile(PERCENTILE), pair.baseline.percentile(PERCENTILE)) for pair in pairs]
    if not all(0 < value < math.inf for side in sides for value in side):
        return None
    log_ratios = [math.log(candidate / baseline) for candidate, baseline in sides]
    return bound(log_ratios, design.alpha, design.margin, TOLERATED)


def _slow(pairs: Sequence[Pair], slow_above: float) -> RatioBound | None:
    if math.isinf(slow_above):
        return None
    usual = math.exp(fmean(log_share(pair.baseline, slow_above) for pair in pairs))
    return bound(slow_log_ratios(pairs, slow_above), SLOW_ALPHA, 0.0, SLOW_TOLERATED / usual)


def _together(*parts: RatioBound | None) -> Regression:
    found = {part.regression if part else "inconclusive" for part in parts}
    if "yes" in found:
        return "yes"
    return "no" if found == {"no"} else "inconclusive"


def _reason(latency: RatioBound | None, slow: RatioBound | None, slow_above: float) -> str:
    share = "share of slow requests" if math.isinf(slow_above) else f"share above {slow_above * 1e3:.0f} ms"
    return "; ".join((_words("P99", latency), _words(share, slow)))


def _words(what: str, found: RatioBound | None) -> str:
    if found is None:
        return f"{what}: falls on requests without an answer, not compared"
    change = f"{what}: {_change(found.ratio)}, between {_change(found.low)} and {_change(found.high)}"
    if found.regression != "inconclusive":
        return change
    if found.detectable < MOST_SAID:
        return f"{change}; so many pairs find an increase of {found.detectable:.0%} or more"
    return f"{change}; so many pairs find nothing below ten times as much"


def _change(ratio: float) -> str:
    return f"{ratio - 1:+.1%}" if ratio < MOST_SAID else f"{ratio:.2g} times"
