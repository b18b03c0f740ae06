"""What former runs know that one run cannot: how much the share of bad requests varies from run to run.

A stall every 20 s is not in one run of 30 s out of five; such a run has no bad request and passes, whatever rule judges
it. The runs before it had those stalls. Their variance between runs, as a multiple of what independent requests would
have, is a design effect (Kish, "Survey Sampling", 1965, section 8.2); taken as the floor of the design effect of the
next run, it asks for as many more requests as are needed for the bursts to show up.

A stall of a second holds 15 requests at 15/s and 150 at 150/s: what the design effect has beyond 1 grows with the rate
(Kish: 1 + (m - 1) rho for clusters of m requests that share a correlation rho). It is therefore learned per request of a
run, and multiplied by the requests of the next one, which is to last as long. From a slower run it comes out too low by
up to the ratio of the rates, where a burst held a few requests only: learn from runs at the rate that is judged.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Final

from slo.statistics import Block, design_effect

# Fewer runs say too little about their variance: 4 degrees of freedom put it between a third and eight times.
FEWEST_RUNS: Final = 5


def design_effect_floor(runs: Sequence[Sequence[Block]], requests: int) -> float:
    """Return the floor for the design effect of the next run, of `requests`, from the blocks of former runs.

    The runs are of comparable releases and of the next one's length; their rates may differ. The larger of two: the
    excess between runs (each run is one block; it sees bursts that are rarer than a run is long), and the mean of those
    within the runs, unbiased where one run's own scatters (it averages many times as many blocks). 1 when there are
    fewer than 5 runs with requests, or none of them had a bad one: they know nothing.

    A release that was worse than its neighbours widens the variance between runs; hand over the runs of releases that
    were kept. A history of few bad requests knows small bursts only: its floor is too low for a release whose bursts are
    larger.
    """
    measured = [run for run in runs if any(block.total for block in run)]
    if len(measured) < FEWEST_RUNS:
        return 1.0
    return 1.0 + requests * max(0.0, _between(measured), _within(measured))


def _between(runs: Sequence[Sequence[Block]]) -> float:
    """Return the excess of the design effect between runs, per request of a run."""
    wholes = [_whole(run) for run in runs]
    return (design_effect(wholes) - 1) * len(wholes) / sum(whole.total for whole in wholes)


def _within(runs: Sequence[Sequence[Block]]) -> float:
    """Return the mean excess of the design effects within runs, per request of a run."""
    telling = [(run, whole) for run in runs if 0 < (whole := _whole(run)).bad < whole.total]
    return fmean((design_effect(run, floor=0.0) - 1) / whole.total for run, whole in telling) if telling else 0.0


def _whole(run: Sequence[Block]) -> Block:
    return Block(sum(block.total for block in run), sum(block.bad for block in run))
