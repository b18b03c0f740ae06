"""Throughput under an open model: the load generator's own figure first, then a share of requests like any other.

Under an arrival rate the completions per second say little: they are what was offered, until something is missing.
Therefore in two steps. (1) Was the plan offered? Less than 99 % of it is a failure of the measurement, not of the shop:
nothing is judged. (2) The share of offered requests that were not completed is judged by the rule for shares; the
budget is what may be missing until the target is missed, 1 - target / offered. `slo.load` asks the first, `slo.judge` the
second.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

from slo.statistics import OFFERED_SHARE, Block, block_index


def is_offered(offered: float, planned: float) -> bool:
    """Tell whether the load generator offered what was planned: at least 99 % of the requests."""
    return offered >= OFFERED_SHARE * planned


def completion_budget(target: float, offered: float) -> float:
    """Return the share of offered requests that may be missing before the target is missed; rates in 1/s.

    0 when no more than the target was offered: nothing then can pass.
    """
    return max(0.0, 1 - target / offered)


def with_dropped(
    blocks: Sequence[Block], drops: Sequence[tuple[float, float]], begin: float, seconds: float
) -> tuple[Block, ...]:
    """Add requests that were never sent to the blocks of [begin, begin + seconds) in which they should have begun.

    They come in bursts, while every user waits: spread evenly they would make the interval too narrow. `drops` are
    (unix s, requests); an iteration may stand for 1.5 requests, and what a block has left of one goes to the next.
    """
    missing = [0.0] * len(blocks)
    for at, requests in drops:
        missing[block_index(at, begin, seconds, len(blocks))] += requests
    extra = [after - before for before, after in pairwise(map(round, accumulate(missing, initial=0.0)))]
    return tuple(Block(block.total + more, block.bad + more) for block, more in zip(blocks, extra, strict=True))
