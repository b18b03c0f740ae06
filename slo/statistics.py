"""The gate's statistics: intervals for shares and rates of a request stream whose requests are not independent.

A load test's requests come in bursts of good and bad, so the plain binomial interval is too narrow: at a true share of
1.1 % and a budget of 1 % it passes up to a third of the runs (docs/statistics.md, "no design effect"). The judged time is therefore cut into equal blocks, the variance
*between* blocks gives a design effect, and the Clopper-Pearson interval is taken at the effective sample size.

Sources: Clopper & Pearson (1934), Biometrika 26; Korn & Graubard (1998), "Confidence intervals for proportions with
small expected number of positive counts estimated from survey data", Survey Methodology 24; Cochran, "Sampling
Techniques" (1977), section 6 (ratio estimator). Two-sided 95 % throughout.

What it promises: at most 2.5 % wrong decisions a side while blocks are roughly independent (a block lasts three
correlation times or more); measured at most 5 % for correlation times up to 5 s. What happens more rarely than the run
is long is invisible to it, as to any rule. It is *not* monotone in single requests: one more bad request can move the
lower end up or down with the block it falls into.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from slo import student
from slo.beta import beta_quantile

Outcome = Literal["met", "missed", "inconclusive"]

TAIL: Final = 0.025
# The 0.975 quantile of the standard normal distribution.
NORMAL: Final = 1.959963984540054
FEWEST_BLOCKS: Final = 6
BLOCK_SECONDS: Final = 5.0
# Beyond this many blocks a block must last longer to become one more.
MANY_BLOCKS: Final = 8
MOST_BLOCKS: Final = 16
LONG_BLOCK_SECONDS: Final = 30.0
# Fewer seconds than this cannot give the fewest blocks their full length: such a run never meets an objective.
SHORTEST_SECONDS: Final = FEWEST_BLOCKS * BLOCK_SECONDS
# The load generator has offered what was planned when no more than this share is missing.
OFFERED_SHARE: Final = 0.99


@dataclass(frozen=True, slots=True)
class Block:
    """One block of the judged time: `total` requests started in it, `bad` of them were bad."""

    total: int
    bad: int


@dataclass(frozen=True, slots=True)
class ShareInterval:
    """A share of bad requests with its two-sided 95 % interval.

    `design_effect` and the effective sample size `effective` are those of the upper end (`share_interval`).
    """

    total: int
    bad: int
    share: float
    design_effect: float
    effective: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RateInterval:
    """A rate in 1/s with its two-sided 95 % interval."""

    rate: float
    low: float
    high: float


def block_count(seconds: float) -> int:
    """Return into how many equal blocks a judged time is cut: one for each 5 s, at least 6, at most 8.

    From 270 s on there are as many as last 30 s each, at most 16. Blocks that stay short see less than the correlation
    time however long the run is; with more of them the variance between blocks is known better, and the interval is
    narrower by a tenth: at 600 s independent requests at 90 % of the budget are decided in 81 instead of 71 % of the
    runs, with no more wrong decisions. docs/statistics.md has what was tried.
    """
    few = min(MANY_BLOCKS, math.floor(seconds / BLOCK_SECONDS))
    many = min(MOST_BLOCKS, math.floor(seconds / LONG_BLOCK_SECONDS))
    return max(FEWEST_BLOCKS, few, many)


def shortest_with() -> tuple[tuple[int, float], ...]:
    """Return, for each number of blocks, the shortest judged time in s that is cut into so many."""
    counts = range(FEWEST_BLOCKS, MOST_BLOCKS + 1)
    return tuple((n, n * (BLOCK_SECONDS if n <= MANY_BLOCKS else LONG_BLOCK_SECONDS)) for n in counts)


def block_index(start: float, begin: float, seconds: float, count: int) -> int:
    """Return the block that a request started at `start` (unix s) belongs to; the edges take what lies outside."""
    return max(0, min(count - 1, math.floor((start - begin) / seconds * count)))


def cut_blocks(requests: Iterable[tuple[float, bool]], begin: float, seconds: float) -> tuple[Block, ...]:
    """Cut requests (start in unix s, whether bad) into the equal blocks of [begin, begin + seconds)."""
    count = block_count(seconds)
    totals, bads = [0] * count, [0] * count
    for start, bad in requests:
        index = block_index(start, begin, seconds, count)
        totals[index] += 1
        bads[index] += bad
    return tuple(map(Block, totals, bads))


def rank_of(count: int, percentile: float) -> int:
    """Return the nearest rank, from 1, of a percentile among `count` values."""
    # In integers of 1e-6 per cent: 99 / 100 * 4500 in binary is 4455.000000000001, whose ceiling is one too many.
    return max(1, -(-round(percentile * 1_000_000) * count // 100_000_000))


def nearest_rank(ranked: Sequence[float], percentile: float) -> float:
    """Return the smallest of the ascending values that at least `percentile` per cent of them do not exceed."""
    return ranked[rank_of(len(ranked), percentile) - 1]


def student_quantile(degrees: int) -> float:
    """Return the 0.975 quantile of Student's t distribution."""
    return student.quantile(1 - TAIL, degrees)


@cache
def correction(blocks: int) -> float:
    """Return Korn & Graubard's factor (t / z)**2, which pays for a variance estimated from few blocks."""
    return (student_quantile(blocks - 1) / NORMAL) ** 2


def between_block_variance(blocks: Sequence[Block]) -> float:
    """Return the variance of the share as the blocks show it: B/(B-1) * sum (x_b - p n_b)**2 / n**2."""
    total = sum(block.total for block in blocks)
    share = sum(block.bad for block in blocks) / total
    squares = math.fsum((block.bad - share * block.total) ** 2 for block in blocks)
    return len(blocks) / (len(blocks) - 1) * squares / total**2


def design_effect(blocks: Sequence[Block], floor: float = 1.0) -> float:
    """Return by how much the variance between blocks exceeds that of independent requests, never below `floor`.

    Without any bad request, or with only bad ones, the blocks say nothing about it and the floor is returned.
    """
    total, bad = sum(block.total for block in blocks), sum(block.bad for block in blocks)
    if bad in {0, total}:
        return floor
    share = bad / total
    return max(floor, between_block_variance(blocks) * total / (share * (1 - share)))


def share_interval(blocks: Sequence[Block], floor: float = 1.0) -> ShareInterval:
    """Return the share of bad requests with its interval: Clopper-Pearson at n / (design effect * correction).

    A `floor` of the design effect, which other runs teach, is for the upper end alone: a run may have been lucky, and
    passes only with what they knew; a failure that it shows by itself stays one, whatever they were like.
    Raises `ValueError` when there are no requests: nothing measured is never a share.
    """
    total, bad = sum(block.total for block in blocks), sum(block.bad for block in blocks)
    if not total:
        raise ValueError("a share needs at least one request")
    paid, effect = correction(len(blocks)), design_effect(blocks, floor)
    low, high = clopper_pearson(total / (effect * paid), bad / (effect * paid))
    if floor > 1:
        own = design_effect(blocks) * paid
        low, _ = clopper_pearson(total / own, bad / own)
    return ShareInterval(total, bad, bad / total, effect, total / (effect * paid), low, high)


def clopper_pearson(total: float, bad: float) -> tuple[float, float]:
    """Return the two-sided 95 % interval for the share of `bad` among `total` independent trials, whole or not."""
    low = beta_quantile(TAIL, bad, total - bad + 1) if bad else 0.0
    high = beta_quantile(1 - TAIL, bad + 1, total - bad) if bad < total else 1.0
    return low, high


def decide_share(interval: ShareInterval, budget: float) -> Outcome:
    """Decide on a share: met when the whole interval is within the budget, missed when all of it is above."""
    if interval.high <= budget:
        return "met"
    return "missed" if interval.low > budget else "inconclusive"


def fewest_samples(budget: float, blocks: int = FEWEST_BLOCKS, floor: float = 1.0) -> int:
    """Return how many samples a budget needs before even a run without one bad request can meet it.

    Without bad requests the upper end is 1 - 0.025**(1 / effective): solved for the sample size.
    """
    return math.ceil(floor * correction(blocks) * math.log(TAIL) / math.log1p(-budget))


def closed_rate(completions: Sequence[int], user_seconds: Sequence[float], seconds: float) -> RateInterval:
    """Return the throughput of a closed model: completions per user-second, times the mean number of users.

    `completions` and `user_seconds` (integral of active users) are per block, without warm-up and graceful tail. While
    users ramp, the rate follows them and block means scatter widely; the ratio does not (Cochran, section 6.3).
    Raises `ValueError` when no user was active.
    """
    total = math.fsum(user_seconds)
    if total <= 0:
        raise ValueError("a closed model's throughput needs active users")
    ratio = sum(completions) / total
    pairs = zip(completions, user_seconds, strict=True)
    squares = math.fsum((done - ratio * users) ** 2 for done, users in pairs)
    blocks = len(completions)
    error = math.sqrt(blocks / (blocks - 1) * squares) / total
    reach = student_quantile(blocks - 1) * error
    users = total / seconds
    return RateInterval(ratio * users, max(0.0, ratio - reach) * users, (ratio + reach) * users)


def decide_rate(interval: RateInterval, target: float) -> Outcome:
    """Decide on a rate that must exceed `target`."""
    if interval.low > target:
        return "met"
    return "missed" if interval.high <= target else "inconclusive"
