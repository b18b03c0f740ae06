"""The gate's statistics: intervals for shares and rates of a request stream whose requests are not independent.

A load test's requests come in bursts of good and bad, so the plain binomial interval is too narrow: at a true share of
1.1 % and a budget of 1 % it passes 4-27 % of the runs. The judged time is therefore cut into equal blocks, the variance
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

from slo.beta import beta_quantile

Outcome = Literal["met", "missed", "inconclusive"]

TAIL: Final = 0.025
# The 0.975 quantile of the standard normal distribution.
NORMAL: Final = 1.959963984540054
FEWEST_BLOCKS: Final = 6
MOST_BLOCKS: Final = 8
BLOCK_SECONDS: Final = 5.0
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
    """A share of bad requests with its two-sided 95 % interval; `effective` is the effective sample size."""

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

    More and shorter blocks would look at less than the correlation time however long the run is.
    """
    return max(FEWEST_BLOCKS, min(MOST_BLOCKS, math.floor(seconds / BLOCK_SECONDS)))


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


@cache
def student_quantile(degrees: int) -> float:
    """Return the 0.975 quantile of Student's t distribution.

    P(|T| > t) = I_x(degrees/2, 1/2) at x = degrees / (degrees + t**2): https://dlmf.nist.gov/8.17 and Abramowitz &
    Stegun 26.7.1; solved for t.
    """
    x = beta_quantile(2 * TAIL, degrees / 2, 0.5)
    return math.sqrt(degrees * (1 - x) / x)


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

    Raises `ValueError` when there are no requests: nothing measured is never a share.
    """
    total, bad = sum(block.total for block in blocks), sum(block.bad for block in blocks)
    if not total:
        raise ValueError("a share needs at least one request")
    effect = design_effect(blocks, floor)
    shrink = effect * correction(len(blocks))
    effective, positives = total / shrink, bad / shrink
    low = beta_quantile(TAIL, positives, effective - positives + 1) if bad else 0.0
    high = beta_quantile(1 - TAIL, positives + 1, effective - positives) if bad < total else 1.0
    return ShareInterval(total, bad, bad / total, effect, effective, low, high)


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
