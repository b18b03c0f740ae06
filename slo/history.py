"""What former runs know that one run cannot: how much the share of bad requests varies from run to run.

A stall every 20 s is not in one run of 30 s out of five; such a run has no bad request and passes, whatever rule judges
it. The runs before it had those stalls. Their variance between runs, as a multiple of what independent requests would
have, is a design effect (Kish, "Survey Sampling", 1965, section 8.2); taken as the floor of the design effect of the
next run, it asks for as many more requests as are needed for the bursts to show up.
"""

from collections.abc import Sequence
from typing import Final

from slo.statistics import Block, design_effect

# Fewer runs say too little about their variance: 4 degrees of freedom put it between a third and eight times.
FEWEST_RUNS: Final = 5


def design_effect_floor(runs: Sequence[Sequence[Block]]) -> float:
    """Return the floor for the next run's design effect, from the block counts of former runs of comparable releases.

    The larger of two: the design effect between runs (each run is one block; it sees bursts that are rarer than a run is
    long), and the mean of those within the runs, unbiased where one run's own scatters (it averages many times as many
    blocks). 1 when there are fewer than 5 runs with requests, or none of them had a bad one: they know nothing.

    A release that was worse than its neighbours widens the variance between runs; hand over the runs of releases that
    were kept. A history of few bad requests knows small bursts only: its floor is too low for a release whose bursts are
    larger.
    """
    measured = [run for run in runs if any(block.total for block in run)]
    if len(measured) < FEWEST_RUNS:
        return 1.0
    between = design_effect([_whole(run) for run in measured])
    return max(1.0, between, _mean_within(measured))


def _whole(run: Sequence[Block]) -> Block:
    return Block(sum(block.total for block in run), sum(block.bad for block in run))


def _mean_within(runs: Sequence[Sequence[Block]]) -> float:
    telling = [run for run in runs if 0 < _whole(run).bad < _whole(run).total]
    return sum(design_effect(run, floor=0.0) for run in telling) / len(telling) if telling else 1.0
