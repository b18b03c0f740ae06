"""Throughput under an open model: the load generator's own figure first, then a share of requests like any other.

Under an arrival rate the completions per second say little: they are what was offered, until something is missing.
Therefore in two steps. (1) Was the plan offered? Less than 99 % of it is a failure of the measurement, not of the shop:
nothing is judged. (2) The share of offered requests that were not completed is judged by the rule for shares; the
budget is what may be missing until the target is missed, 1 - target / offered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from slo.statistics import OFFERED_SHARE, Block, Outcome, ShareInterval, decide_share, share_interval


@dataclass(frozen=True, slots=True)
class OpenThroughput:
    """A throughput that was judged: rates in 1/s; `outcome` is "not offered" when the measurement failed."""

    outcome: Outcome | Literal["not offered"]
    offered: float
    completed: float
    budget: float
    interval: ShareInterval


def judge_open(
    blocks: Sequence[Block], *, dropped: int, planned: float, target: float, seconds: float, floor: float = 1.0
) -> OpenThroughput:
    """Judge a throughput of at least `target` requests/s over `seconds` of an open model.

    `blocks` hold the requests that were sent; bad are those that were not completed. `dropped` requests were not sent
    because every virtual user was waiting for an answer: offered, and not completed. `planned` is how many requests the
    plan holds. Raises `ValueError` when nothing was offered.
    """
    counted = with_dropped(tuple(blocks), dropped)
    interval = share_interval(counted, floor)
    offered = interval.total / seconds
    budget = completion_budget(target, offered)
    outcome = decide_share(interval, budget) if is_offered(interval.total, planned) else "not offered"
    return OpenThroughput(outcome, offered, (interval.total - interval.bad) / seconds, budget, interval)


def is_offered(offered: float, planned: float) -> bool:
    """Tell whether the load generator offered what was planned: at least 99 % of the requests."""
    return offered >= OFFERED_SHARE * planned


def completion_budget(target: float, offered: float) -> float:
    """Return the share of offered requests that may be missing before the target is missed; rates in 1/s.

    0 when no more than the target was offered: nothing then can pass.
    """
    return max(0.0, 1 - target / offered)


def with_dropped(blocks: tuple[Block, ...], dropped: int) -> tuple[Block, ...]:
    """Add requests that were never sent to the blocks, evenly: they have no start, the interval rests on the others."""
    each, rest = divmod(dropped, len(blocks))
    extra = [each + (index < rest) for index in range(len(blocks))]
    return tuple(Block(block.total + more, block.bad + more) for block, more in zip(blocks, extra, strict=True))
