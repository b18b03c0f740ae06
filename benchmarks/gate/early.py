"""The two numbers of the early stop, tested again: what the counts are divided by, and how many blocks must be bad.

A false stop ends a release whose true share is at most 1.1 % with "failed"; pauses (everything bad for 2 or 5 s, once)
count as such too, where a run of 10 minutes bears them. What it is for is to stop outages soon.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from statistics import median
from typing import Final

from benchmarks.gate.rules import BUDGET, Release, simulate
from benchmarks.gate.streams import CORRELATION_SECONDS, PATTERNS, RATE, STEP, Pattern, bursts, independent, wandering
from slo.early_stop import ALPHA, GROSS, log_evidence
from slo.statistics import BLOCK_SECONDS

DIVISORS: Final = (1.0, 2.0, 5.0, 10.0)
FEWEST: Final = (1, 2, 3, 4)
SECONDS: Final = 600
# So many releases of each stream and true share are kept one by one.
KEPT: Final = 10
WITHIN: Final = (0.002, 0.009)
BEYOND: Final = (0.011,)
# With this base share a run of 10 minutes is within 1.1 % bad in spite of a pause of 5 s.
BEFORE_A_PAUSE: Final = (0.0017,)
GROSS_SHARES: Final = (0.05, 0.2, 1.0)


def paused(seconds: float) -> Pattern:
    """Return correlated requests, with everything bad for some seconds once in a run, at any time."""
    calm = wandering(CORRELATION_SECONDS)

    def shares(dice: Random, share: float, steps: int) -> Iterator[float]:
        begin = int(dice.random() * steps)
        end = begin + round(seconds / STEP)
        return iter([1.0 if begin <= step < end else p for step, p in enumerate(calm(dice, share, steps))])

    return Pattern(f"pause of {seconds:g} s", "correlated, and a pause once", SECONDS, shares)


LONG_STALLS: Final = Pattern("stalls of 3 s, one in 60 s", "", 60.0, bursts(3.0, 60.0))
GOOD_STREAMS: Final = (
    *((pattern.name, pattern, WITHIN) for pattern in (*PATTERNS, LONG_STALLS)),
    *((f"{pattern.name}, 1.1 %", pattern, BEYOND) for pattern in (*PATTERNS, LONG_STALLS)),
    *((f"pause of {seconds:g} s", paused(seconds), BEFORE_A_PAUSE) for seconds in (2.0, 5.0)),
)
GROSS_PATTERN: Final = Pattern("independent", "", 0.0, independent)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a choice of the two numbers does.

    `false_stops`: share of releases stopped within 10 minutes, by stream, the worst of the true shares within the
    budget (0.2 and 0.9 %), or at 1.1 % where the stream's name says so.
    `stops`: median seconds to the stop by gross share; infinite (None when stored) when fewer than half were stopped.
    `first`: when the first releases of each stream were stopped, in s, each true share behind the other;
    for a test to make again.
    """

    divisor: float
    fewest_bad_blocks: int
    false_stops: dict[str, float]
    stops: dict[str, float | None]
    first: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Course:
    """One run as the early stop sees it: where the share is above the gross one, and how often a block was."""

    counts: tuple[tuple[int, int], ...]
    bad_blocks: tuple[int, ...]


def choices(releases: int) -> Iterator[Choice]:
    """Try every choice on the same releases."""
    good = {name: [_courses(pattern, share, releases) for share in shares] for name, pattern, shares in GOOD_STREAMS}
    gross = {f"{share:.0%}": _courses(GROSS_PATTERN, share, releases) for share in GROSS_SHARES}
    for divisor in DIVISORS:
        stopped = {name: [_evident(each, divisor) for each in by_share] for name, by_share in good.items()}
        soon = {name: _evident(each, divisor) for name, each in gross.items()}
        all_of_it = [*stopped.items(), *((name, [each]) for name, each in soon.items())]
        for fewest in FEWEST:
            yield Choice(
                divisor,
                fewest,
                {name: max(_stopped(each, fewest) for each in by_share) for name, by_share in stopped.items()},
                {name: _median(each, fewest) for name, each in soon.items()},
                {name: _kept(by_share, fewest) for name, by_share in all_of_it},
            )


def _courses(pattern: Pattern, share: float, releases: int) -> list[_Course]:
    return [_course(simulate(pattern, share, number, SECONDS)) for number in range(releases)]


def _course(made: Release) -> _Course:
    blocks = made.blocks(SECONDS, int(SECONDS / BLOCK_SECONDS))
    bads = tuple(accumulate(block.bad for block in blocks))
    above = accumulate(block.bad > GROSS * BUDGET * block.total for block in blocks)
    each = round(BLOCK_SECONDS * RATE)
    return _Course(tuple((each * (n + 1), bad) for n, bad in enumerate(bads)), tuple(above))


def _evident(courses: Sequence[_Course], divisor: float) -> list[list[tuple[int, int]]]:
    """Return, for each run, the blocks after which the evidence was enough, with the number of bad blocks until then."""
    gross = GROSS * BUDGET
    return [
        [
            (number, course.bad_blocks[number])
            for number, (total, bad) in enumerate(course.counts)
            # No share up to the gross one is evidence.
            if bad > gross * total and log_evidence(total / divisor, bad / divisor, gross) >= -math.log(ALPHA)
        ]
        for course in courses
    ]


def _first(evident: Sequence[tuple[int, int]], fewest: int) -> float:
    return next(((number + 1) * BLOCK_SECONDS for number, bad in evident if bad >= fewest), math.inf)


def _kept(by_share: Sequence[Sequence[Sequence[tuple[int, int]]]], fewest: int) -> str:
    return " ".join(f"{_first(run, fewest):g}" for runs in by_share for run in runs[:KEPT])


def _stopped(runs: Sequence[Sequence[tuple[int, int]]], fewest: int) -> float:
    return sum(_first(run, fewest) < math.inf for run in runs) / len(runs)


def _median(runs: Sequence[Sequence[tuple[int, int]]], fewest: int) -> float | None:
    found = median(_first(run, fewest) for run in runs)
    return found if found < math.inf else None
