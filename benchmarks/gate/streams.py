"""Simulated request streams: how many of the requests of each half second are bad, for a known true share.

Only `random()` is drawn from: it alone is promised to give the same numbers in every version of Python.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from random import Random
from statistics import NormalDist
from typing import Final, TypeVar

# Seconds; a block of a run of 60 s lasts 7.5 s.
STEP: Final = 0.5
# Requests a second, as in the profile `smoke`.
RATE: Final = 150
EACH: Final = int(RATE * STEP)
CORRELATION_SECONDS: Final = 5.0
VARIATION: Final = 0.6
STALL_SECONDS: Final = 1.0
GAP_SECONDS: Final = 20.0
_NORMAL: Final = NormalDist()

T = TypeVar("T")

Shares = Callable[[Random, float, int], Iterator[float]]


@dataclass(frozen=True, slots=True)
class Pattern:
    """How bad requests come: `shares` yields each step's probability, `memory` is the time between bursts in s."""

    name: str
    words: str
    memory: float
    shares: Shares


def independent(_dice: Random, share: float, steps: int) -> Iterator[float]:
    """Yield the same probability in every step."""
    return iter([share] * steps)


def wandering(memory: float) -> Shares:
    """Return probabilities that wander: log-normal with mean `share`, CV 60 %, autoregressive with `memory` s."""
    keep = math.exp(-STEP / memory)
    fresh = math.sqrt(1 - keep * keep)
    sigma = math.sqrt(math.log1p(VARIATION * VARIATION))

    def shares(dice: Random, share: float, steps: int) -> Iterator[float]:
        level = normal(dice)
        for _ in range(steps):
            yield min(1.0, share * math.exp(sigma * level - sigma * sigma / 2))
            level = keep * level + fresh * normal(dice)

    return shares


def bursts(stall: float, gap: float) -> Shares:
    """Return stalls of `stall` s that begin at random, one in `gap` s on average; all bad requests are in them."""
    stalled = -math.expm1(-stall / gap)
    length = round(stall / STEP)
    beginning = -math.expm1(-STEP / gap)

    def shares(dice: Random, share: float, steps: int) -> Iterator[float]:
        # Stalls that began just before the run reach into it.
        begins = [step for step in range(1 - length, steps) if dice.random() < beginning]
        struck = {step for begin in begins for step in range(begin, begin + length)}
        return iter([min(1.0, share / stalled) if step in struck else 0.0 for step in range(steps)])

    return shares


PATTERNS: Final = (
    Pattern("independent", "every request for itself", 0.0, independent),
    Pattern(
        "correlated",
        "the share wanders: correlation time 5 s, CV 60 %",
        CORRELATION_SECONDS,
        wandering(CORRELATION_SECONDS),
    ),
    Pattern(
        "bursty",
        "stalls of 1 s, one in 20 s on average, hold all bad requests",
        GAP_SECONDS,
        bursts(STALL_SECONDS, GAP_SECONDS),
    ),
)


def release(pattern: Pattern, share: float, number: int, seconds: float) -> list[int]:
    """Return how many of the requests of each step are bad in one simulated release; the same for the same number."""
    dice = Random(f"{pattern.name} {share} {number}")  # noqa: S311 - the same releases every time
    return [binomial(dice, EACH, p) for p in pattern.shares(dice, share, round(seconds / STEP))]


def binomial(dice: Random, count: int, p: float) -> int:
    """Draw how many of `count` are bad: by inversion, from one random number."""
    if p <= 0:
        return 0
    if p > 0.5:  # noqa: PLR2004 - the shorter way round
        return count - binomial(dice, count, 1 - p)
    term = (1 - p) ** count
    odds, drawn = p / (1 - p), 0
    rest = dice.random() - term
    while rest >= 0 and drawn < count:
        drawn += 1
        term *= odds * (count - drawn + 1) / drawn
        rest -= term
    return drawn


def normal(dice: Random) -> float:
    """Draw from the standard normal distribution, by inversion."""
    # random() may be 0, of which there is no quantile.
    return _NORMAL.inv_cdf(max(dice.random(), 2**-60))


def sampled(dice: Random, values: Iterable[T], count: int) -> list[T]:
    """Draw so many of some values, each at most once, in random order (Fisher & Yates); raises `ValueError` for too few."""
    left = list(values)
    if count > len(left):
        raise ValueError(f"{count} cannot be drawn from {len(left)}")
    for place in range(count):
        other = place + int((len(left) - place) * dice.random())
        left[place], left[other] = left[other], left[place]
    return left[:count]
