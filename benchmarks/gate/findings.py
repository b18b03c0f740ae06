"""What a pool of recorded runs says of the gate's comparison: whether it cries wolf as rarely, and finds as much, as it states.

Pairs are drawn at random, as often as wanted; their signs are symmetric whatever the runs are like, so that the rate of
false alarms tests the t bound against the distribution of the runs, and nothing of their order. Pairs of neighbours are
what the gate compares; `benchmarks.gate.order` asks whether they differ from others.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from random import Random
from statistics import fmean, stdev, variance
from typing import Final

from benchmarks.gate.order import roughness
from benchmarks.gate.pool import (
    DESIGNS,
    DRAWS,
    SLOW_PATH_SECONDS,
    SLOWER,
    Change,
    Tally,
    changes,
    drawn_pairs,
    drawn_places,
    slow_path,
    tally,
)
from benchmarks.gate.streams import normal, sampled
from slo import student
from slo.pairs import (
    PERCENTILE,
    SLOW_ALPHA,
    SLOW_PERCENTILE,
    STRICT,
    TOLERATED,
    Design,
    Pair,
    Run,
    bound,
    detectable,
    log_share,
    pooled_percentile,
    power,
    slow_limit,
    slow_log_ratios,
)

# Of the curve, in parts of the increase that the main design finds in four of five comparisons.
PARTS: Final = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
# So many more pairings where the P99 alone is looked at, which costs little: of 1,000 a rate of 3 % comes out as 2 to 4 %.
TIMES: Final = 20
# Pools of as many runs with exactly normal logarithms, for what the pairings of one such pool scatter by.
NORMAL_POOLS: Final = 40
# A slow path nearer to what is ordinary.
NEARER_SECONDS: Final = 0.1
SLOW: Final = slow_path(SLOW_PATH_SECONDS)
IN_THE_SHOP: Final = f"{SLOW}, in the shop itself"
RANDOM, NEIGHBOURS = "random", "neighbours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Tally):
    """What the pairings of a kind said of recorded runs.

    `slow_stated`: the power of the slow share (the rate of false alarms where nothing has changed) that follows from the
    noise. `at_percentile`: of the slow share, if what is slow began at the P99.5 itself and not a quarter above it. `low` and
    `high`: what random pairings of normal runs found where `stated` was to be expected.
    """

    pairing: str
    low: float | None
    high: float | None
    slow_stated: float
    at_percentile: float


@dataclass(frozen=True, slots=True)
class Point:
    """How often random pairings found an increase of the P99, and how often they should have."""

    design: str
    increase: float
    found: float
    stated: float


def rows(pool: Sequence[Run], candidates: Sequence[Run] = (), draws: int = DRAWS) -> Iterator[Row]:
    """Compare a pool with itself changed, and with the runs of a release that has changed, by both designs."""
    made = changes(pool, (SLOW_PATH_SECONDS, NEARER_SECONDS))
    in_the_shop = [Change(IN_THE_SHOP, None, candidates)] if candidates else []
    for name, design in DESIGNS.items():
        for change in made:
            yield _row(pool, change, RANDOM, name, list(drawn_pairs(pool, change.runs, design, draws)))
        for change in made[:2]:
            yield _row(pool, change, NEIGHBOURS, name, list(neighbour_pairs(pool, change.runs, design, draws)))
        for change in in_the_shop:
            yield _row(pool, change, RANDOM, name, list(pairs_of_two(pool, candidates, design, draws)))


def neighbour_pairs(pool: Sequence[Run], candidates: Sequence[Run], design: Design, draws: int) -> Iterator[list[Pair]]:
    """Draw pairs of runs that followed each other, in either order; in a draw no run is used twice."""
    dice = Random("neighbours")  # noqa: S311 - the same pairings every time
    for _ in range(draws):
        # From the first run or from the second, where there are runs to spare.
        places = range(int(2 * dice.random()) if len(pool) > 2 * design.pairs else 0, len(pool) - 1, 2)
        pairs = [(place, place + 1) for place in sampled(dice, places, design.pairs)]
        turned = [pair if dice.random() < 1 / 2 else pair[::-1] for pair in pairs]
        yield [Pair(pool[left], candidates[right]) for left, right in turned]


def pairs_of_two(pool: Sequence[Run], candidates: Sequence[Run], design: Design, draws: int) -> Iterator[list[Pair]]:
    """Pair runs of a pool at random with those of another one."""
    dice = Random("two pools")  # noqa: S311 - the same pairings every time
    for _ in range(draws):
        sides = zip(sampled(dice, pool, design.pairs), sampled(dice, candidates, design.pairs), strict=True)
        yield [Pair(left, right) for left, right in sides]


def curve(pool: Sequence[Run], draws: int = DRAWS) -> Iterator[Point]:
    """Return how often random pairings of a pool find each increase of the P99, up to one that is found nearly always."""
    logs = p99_logs(pool)
    # Runs that are all alike find any increase: one that nobody doubts will do.
    longest = _detectable(logs, STRICT) or SLOWER
    for name, design in DESIGNS.items():
        for part in PARTS:
            yield _point(name, design, logs, round(part * longest, 4), draws)


def at_power(pool: Sequence[Run], draws: int = DRAWS) -> Iterator[Point]:
    """Return for each design how often pairings find the increase that is to be found in `slo.pairs.POWER` of them.

    There, and not where nothing can be found, is it seen whether the stated power is true.
    """
    logs = p99_logs(pool)
    for name, design in DESIGNS.items():
        yield _point(name, design, logs, _detectable(logs, design), draws)


def alarms(pool: Sequence[Run], draws: int = DRAWS) -> Iterator[Point]:
    """Return for each design how often pairings see an increase where there is none; of `TIMES` as many as `draws`."""
    logs = p99_logs(pool)
    for name, design in DESIGNS.items():
        yield _point(name, design, logs, 0.0, TIMES * draws)


def _detectable(logs: Sequence[float], design: Design) -> float:
    return detectable(math.sqrt(2) * stdev(logs), design.pairs, design.alpha, design.margin)


def _point(name: str, design: Design, logs: Sequence[float], increase: float, draws: int) -> Point:
    stated = power(increase, math.sqrt(2) * stdev(logs), design.pairs, design.alpha, design.margin)
    return Point(name, increase, found_share(logs, design, increase, draws), stated)


def found_share(logs: Sequence[float], design: Design, increase: float, draws: int) -> float:
    """Return in which share of random pairings of runs, by the logarithms of their P99, an increase is called a regression."""
    found = 0
    for places in drawn_places(len(logs), design, draws):
        ratios = [logs[right] - logs[left] + math.log1p(increase) for left, right in places]
        found += bound(ratios, design.alpha, design.margin, TOLERATED).regression == "yes"
    return found / draws


def p99_logs(pool: Sequence[Run]) -> list[float]:
    """Return the logarithm of each run's P99 in s."""
    return percentile_logs(pool, PERCENTILE)


def percentile_logs(pool: Sequence[Run], percent: float) -> list[float]:
    """Return the logarithm of a percentile of each run in s."""
    return [math.log(run.percentile(percent)) for run in pool]


def _row(pool: Sequence[Run], change: Change, pairing: str, name: str, drawn: Sequence[Sequence[Pair]]) -> Row:
    design, logs = DESIGNS[name], p99_logs(pool)
    noise = math.sqrt(2) * stdev(logs) if pairing == RANDOM else math.sqrt(roughness(logs))
    low = high = None
    if change.increase is not None and pairing == RANDOM:
        low, high = _normal_range(len(pool), noise, design, change.increase, len(drawn))
    return Row(
        pairing=pairing,
        low=low,
        high=high,
        slow_stated=_slow_power(pool, change.runs, design),
        at_percentile=fmean(map(_found_at_percentile, drawn)),
        **asdict(tally(change, name, noise, drawn)),
    )


def _found_at_percentile(pairs: Sequence[Pair]) -> bool:
    """Tell whether the slow share would show a regression if slow began at the P99.5 itself."""
    above = pooled_percentile([pair.baseline for pair in pairs], SLOW_PERCENTILE)
    return bound(slow_log_ratios(pairs, above), SLOW_ALPHA, 0.0, TOLERATED).regression == "yes"


def _normal_range(count: int, noise: float, design: Design, increase: float, draws: int) -> tuple[float, float]:
    """Return the smallest and the largest share that pairings of pools of normal runs of exactly that noise find."""
    found = []
    for number in range(NORMAL_POOLS):
        dice = Random(f"normal pool {number}")  # noqa: S311 - the same pools every time
        values = [normal(dice) for _ in range(count)]
        scale = noise / (math.sqrt(2) * stdev(values))
        found.append(found_share([scale * value for value in values], design, increase, draws))
    return min(found), max(found)


def _slow_power(pool: Sequence[Run], candidates: Sequence[Run], design: Design) -> float:
    """Return the power of the slow share's test: its mean log ratio over the pools, and the noise of both."""
    above = slow_limit(pool)
    before, after = ([log_share(run, above) for run in runs] for runs in (pool, candidates))
    noise = math.sqrt(variance(before) + variance(after))
    if not noise:
        return float(fmean(after) > fmean(before))
    critical = student.quantile(1 - SLOW_ALPHA, design.pairs - 1)
    return student.exceedance(
        critical, design.pairs - 1, (fmean(after) - fmean(before)) * math.sqrt(design.pairs) / noise
    )
