"""Told before the load starts: which objectives a planned run can decide at all, and how long it would have to be.

The upper end of a share's interval is not 0 when no request was bad. A budget of 1 % is met by 632 requests without a
bad one at the earliest, an objective for one endpoint with 2 % of the traffic therefore by a run of minutes. A run that
cannot pass is better not started.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from slo.beta import beta_cdf
from slo.statistics import TAIL, block_count, correction, fewest_samples, shortest_with

# More than ten years of requests: no run decides that.
_MOST: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Asked:
    """An objective as the plan sees it: the share of bad requests that is allowed, and requests/s that count for it."""

    name: str
    budget: float
    rate: float


@dataclass(frozen=True, slots=True)
class Need:
    """The smallest run that can meet an objective: `seconds` of judged time, `samples` requests that count for it."""

    asked: Asked
    seconds: int
    samples: int

    def within(self, seconds: float) -> bool:
        """Tell whether a run of so many judged seconds can meet the objective."""
        return seconds >= self.seconds


def needed(asked: Asked, floor: float = 1.0) -> Need:
    """Return the smallest run that can meet an objective, if none of its requests is bad.

    A longer run has more blocks, whose correction asks for fewer samples: for each number of blocks the run must be as
    long as those blocks need and as the samples need; the shortest of these counts. `floor` is that of the design
    effect. Raises `ValueError` for a rate that is not above 0, or a budget that is no share between 0 and 1.
    """
    if asked.rate <= 0 or not 0 < asked.budget < 1:
        raise ValueError(f"{asked.name}: needs a rate above 0 and a budget between 0 and 1")
    lengths = (
        max(shortest, fewest_samples(asked.budget, blocks, floor) / asked.rate) for blocks, shortest in shortest_with()
    )
    # A millionth of a second is rounding.
    seconds = math.ceil(min(lengths) - 1e-6)
    return Need(asked, seconds, fewest_samples(asked.budget, block_count(seconds), floor))


def samples_to_meet(share: float, budget: float, blocks: int, floor: float = 1.0) -> int | None:
    """Return how many samples meet a budget when the share found is exactly `share`; None when `share` is not below it.

    The upper end is at most the budget when I_budget(x + 1, n - x) >= 0.975 at the effective sizes: n by bisection.
    """
    if share >= budget:
        return None
    shrink = floor * correction(blocks)
    low, high = 0, 1
    while not _meets(share, budget, high / shrink):
        low, high = high, 2 * high
        if high > _MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _meets(share, budget, middle / shrink) else (middle, high)
    return high


def _meets(share: float, budget: float, effective: float) -> bool:
    bad = share * effective
    return beta_cdf(budget, bad + 1, effective - bad) >= 1 - TAIL


def plan_sentence(needs: Iterable[Need], seconds: float) -> str:
    """Say in one sentence what a run of so many judged seconds can decide.

    "120 s can decide every objective (the hungriest, "orders", needs 42 s)." or "30 s cannot pass "orders" (42 s, 632
    requests at 15/s): it ends inconclusive at best."
    """
    ordered = sorted(needs, key=lambda need: (-need.seconds, need.asked.name))
    if not ordered:
        return f"{seconds:g} s: there is no objective to decide."
    short = [need for need in ordered if not need.within(seconds)]
    if not short:
        hungriest = ordered[0]
        return f'{seconds:g} s can decide every objective (the hungriest, "{hungriest.asked.name}", needs {hungriest.seconds} s).'
    listed = ", ".join(f'"{n.asked.name}" ({n.seconds} s, {n.samples} requests at {n.asked.rate:g}/s)' for n in short)
    ending = "it ends" if len(short) == 1 else "they end"
    return f"{seconds:g} s cannot pass {listed}: {ending} inconclusive at best."
