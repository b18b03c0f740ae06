"""The rules that are compared: k6's threshold at the end of a test, k6's `abortOnFail`, and the gate's own.

k6 is given `rate<0.01`, which for a latency is what `p(99)<limit` says, but for the interpolation between two requests.
It evaluates thresholds every 2 s (`thresholdsRate` in k6's metrics/engine/engine.go) over everything since the start,
and with `abortOnFail` and its default `delayAbortEval` of 0 ends the test at the first failure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from math import inf
from typing import Final, Literal

from benchmarks.gate.streams import EACH, RATE, STEP, Pattern, release
from slo.early_stop import early_stop
from slo.statistics import BLOCK_SECONDS, Block, block_count, decide_share, share_interval

Verdict = Literal["pass", "fail", "inconclusive"]
BUDGET: Final = 0.01
K6_LOOKS: Final = 2.0
_VERDICTS: Final[dict[str, Verdict]] = {"met": "pass", "missed": "fail", "inconclusive": "inconclusive"}


@dataclass(frozen=True)
class Release:
    """One simulated release under load: how many requests of each half second were bad."""

    bads: tuple[int, ...]

    @cached_property
    def sums(self) -> list[int]:
        """How many were bad until each step, from 0."""
        return list(accumulate(self.bads, initial=0))

    def bad(self, seconds: float) -> int:
        """Return how many were bad in the first seconds."""
        return self.sums[round(seconds / STEP)]

    def blocks(self, seconds: float, count: int) -> list[Block]:
        """Cut the first seconds into equal blocks; one that is no whole number of steps differs by one step."""
        steps = round(seconds / STEP)
        edges = [steps * index // count for index in range(count + 1)]
        pairs = pairwise(edges)
        return [Block(EACH * (end - begin), self.sums[end] - self.sums[begin]) for begin, end in pairs]

    @cached_property
    def aborted(self) -> float:
        """When k6 would abort, in s; infinite when never."""
        looks = range(1, int(len(self.bads) * STEP / K6_LOOKS) + 1)
        return next((n * K6_LOOKS for n in looks if not k6_holds(self, n * K6_LOOKS)), inf)

    @cached_property
    def stopped(self) -> float:
        """When the gate would stop early, in s; infinite when never."""
        count = int(len(self.bads) * STEP / BLOCK_SECONDS)
        blocks = self.blocks(count * BLOCK_SECONDS, count)
        looks = range(1, count + 1)
        return next((n * BLOCK_SECONDS for n in looks if early_stop(blocks[:n], BUDGET).stop), inf)


def simulate(pattern: Pattern, share: float, number: int, seconds: float) -> Release:
    """Make one simulated release."""
    return Release(tuple(release(pattern, share, number, seconds)))


def k6_holds(made: Release, seconds: float) -> bool:
    """Tell whether `rate<0.01` holds over the first seconds."""
    return made.bad(seconds) / (seconds * RATE) < BUDGET


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict, and how many requests had been sent for it."""

    verdict: Verdict
    requests: int


def k6_threshold(made: Release, seconds: float) -> Judged:
    """Judge as k6 does at the end of a test."""
    return Judged("pass" if k6_holds(made, seconds) else "fail", round(seconds * RATE))


def k6_abort(made: Release, seconds: float) -> Judged:
    """Judge as k6 does with `abortOnFail`, and a last time at the end."""
    if made.aborted <= seconds:
        return Judged("fail", round(made.aborted * RATE))
    return k6_threshold(made, seconds)


def ours(made: Release, seconds: float) -> Judged:
    """Judge as the gate does: the early stop after every block of 5 s, the interval at the end."""
    if made.stopped <= seconds:
        return Judged("fail", round(made.stopped * RATE))
    return Judged(interval_rule(made, seconds, block_count(seconds)), round(seconds * RATE))


def interval_rule(made: Release, seconds: float, blocks: int, floor: float = 1.0) -> Verdict:
    """Judge by the interval alone, over so many blocks."""
    return _VERDICTS[decide_share(share_interval(made.blocks(seconds, blocks), floor), BUDGET)]


RULES: Final[dict[str, Callable[[Release, float], Judged]]] = {
    "k6 threshold": k6_threshold,
    "k6 abortOnFail": k6_abort,
    "ours": ours,
}
