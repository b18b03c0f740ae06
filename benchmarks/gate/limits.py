"""The rule for a single run on the pool of recorded runs: with a limit that makes the pool's share of slow requests known.

Of all requests of the pool together 0.2, 0.9, 1.1 or 3 % exceed the limit; a budget of 1 % is then kept or not, and each
run is judged by itself. What is true of the pool need not be true of one run: runs differ, which is the point.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Final

from benchmarks.gate.rules import BUDGET
from slo.history import design_effect_floor
from slo.statistics import Block, block_count, decide_share, design_effect, nearest_rank, share_interval

SHARES: Final = (0.002, 0.009, 0.011, 0.03)


@dataclass(frozen=True, slots=True)
class Limit:
    """What was said of the runs at a limit in s, which `share` of all requests exceed.

    `k6_wrong` runs were wrongly judged by k6's threshold, `wrong` and `inconclusive` ones by the gate's rule. `effect` is
    the median of the runs' design effects, `floor` the one that all of them together teach (`slo.history`).
    """

    share: float
    limit: float
    runs: int
    k6_wrong: int
    wrong: int
    inconclusive: int
    effect: float
    floor: float


def limits(runs: Sequence[Sequence[float]], seconds: float) -> Iterator[Limit]:
    """Judge runs (latencies in s in the order of their starts, at a constant rate) of so many seconds at each limit."""
    ranked = sorted(latency for run in runs for latency in run)
    for share in SHARES:
        limit = nearest_rank(ranked, 100 * (1 - share))
        yield _judged(share, limit, [_blocks(run, limit, block_count(seconds)) for run in runs])


def _judged(share: float, limit: float, runs: Sequence[Sequence[Block]]) -> Limit:
    said = Counter(decide_share(share_interval(blocks), BUDGET) for blocks in runs)
    bad = [sum(block.bad for block in blocks) / sum(block.total for block in blocks) for blocks in runs]
    kept = share <= BUDGET
    return Limit(
        share=share,
        limit=limit,
        runs=len(runs),
        k6_wrong=sum((each < BUDGET) != kept for each in bad),
        wrong=said["missed" if kept else "met"],
        inconclusive=said["inconclusive"],
        effect=median(design_effect(blocks, 0.0) for blocks in runs),
        floor=design_effect_floor(runs, sum(block.total for block in runs[0])),
    )


def _blocks(run: Sequence[float], limit: float, count: int) -> list[Block]:
    edges = [len(run) * index // count for index in range(count + 1)]
    return [Block(end - begin, sum(each > limit for each in run[begin:end])) for begin, end in pairwise(edges)]
