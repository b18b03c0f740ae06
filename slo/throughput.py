"""Throughput under an open model: the load generator's own figure first, then a share of requests like any other.

Under an arrival rate the completions per second say little: they are what was offered, until something is missing.
Therefore in two steps. (1) Was the plan offered? Less than 99 % of it is a failure of the measurement, not of the shop:
nothing is judged. (2) The share of offered requests that were not completed is judged by the rule for shares; the
budget is what may be missing until the target is missed, 1 - target / offered. `slo.load` asks the first, `slo.judge` the
second.
"""

from slo.statistics import OFFERED_SHARE, Block


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
