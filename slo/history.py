"""What former runs know that one run cannot: how much the share of bad requests varies from run to run.

A stall every 20 s is not in one run of 30 s out of five; such a run has no bad request and passes, whatever rule judges
it. The runs before it had those stalls. Their variance between runs, as a multiple of what independent requests would
have, is a design effect (Kish, "Survey Sampling", 1965, section 8.2); taken as the floor of the design effect of the
next run, it asks for as many more requests as are needed for the bursts to show up.

A stall of a second holds 15 requests at 15/s and 150 at 150/s: what the design effect has beyond 1 grows with the rate
(Kish: 1 + (m - 1) rho for clusters of m requests that share a correlation rho). It is therefore learned per request of a
run, and multiplied by the requests of the next one, which is to last as long. From a slower run it comes out too low by
up to the ratio of the rates, where a burst held a few requests only: learn from runs at the rate that is judged.

Learned from are runs that passed *and* runs that stayed undecided. Those that passed are the ones that had no burst: in a
simulation of bursty releases they alone teach next to nothing (docs/statistics.md, "floor from those that passed").
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isclose
from statistics import fmean
from typing import Annotated, Final, Literal

import msgspec

from slo.gates import Gate, Objective
from slo.statistics import FEWEST_BLOCKS, MOST_BLOCKS, Block, design_effect
from slo.verdict import Verdict

# Fewer runs say too little about their variance: 4 degrees of freedom put it between a third and eight times.
FEWEST_RUNS: Final = 5
# What happened in fewer runs is an accident of those runs, from which neither size nor frequency can be told; a floor
# from one of them would keep the next thirty from passing.
FEWEST_TELLING: Final = 3
# What was longer ago is another service by now.
MOST_RUNS: Final = 30
# Relative difference of two lengths that are one plan.
_SAME_LENGTH: Final = 0.01

_Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
_Word = Annotated[str, msgspec.Meta(max_length=2000)]


class BlockCount(msgspec.Struct, frozen=True, array_like=True):
    """One block of a former run."""

    total: _Count
    bad: _Count

    def __post_init__(self) -> None:
        """Refuse what cannot be counted."""
        if self.bad > self.total:
            raise ValueError(f"{self.bad} bad ones of {self.total} requests")


# As many as the rule makes of any run (`block_count`); from a single one no variance can be told.
_Blocks = Annotated[tuple[BlockCount, ...], msgspec.Meta(min_length=FEWEST_BLOCKS, max_length=MOST_BLOCKS)]


class FormerRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it is kept: one line of a file.

    `target` is what was loaded: an address, "" for the shop of this checkout. `seconds` is the judged time; `counts` has
    the blocks by what is counted in them (`counted`).
    """

    schema: Literal[1] = 1
    ended: _Word
    release: _Word
    verdict: Literal["pass", "inconclusive"]
    profile: _Word
    target: _Word
    seconds: Annotated[float, msgspec.Meta(gt=0, le=10**7)]
    counts: Annotated[dict[_Word, _Blocks], msgspec.Meta(max_length=1000)]


def counted(objective: Objective) -> str:
    """Say which requests count for an objective and which of them are bad; where it is the same, counts compare."""
    bad = {
        "latency": f"slower than {objective.target!r} s",
        "errors": "failed",
        "throughput": "not completed",
    }
    return f"{bad[objective.indicator]}: {objective.endpoint or 'all requests'}"


def former_run(verdict: Verdict, gate: Gate, target: str) -> FormerRun | None:
    """Return a run as it is kept; None for one that teaches nothing.

    One with faults injected, one that ended early, and one of a release that was found worse tell nothing about the noise
    of the next one.
    """
    if verdict.verdict not in {"pass", "inconclusive"} or verdict.faults or verdict.load.stopped_after is not None:
        return None
    pairs = zip(gate.objectives, verdict.objectives, strict=True)
    counts = {
        counted(asked): tuple(BlockCount(*block) for block in found.blocks) for asked, found in pairs if found.blocks
    }
    if not counts:
        return None
    return FormerRun(
        ended=verdict.ended,
        release=verdict.release.commit or verdict.release.version,
        verdict="pass" if verdict.verdict == "pass" else "inconclusive",
        profile=verdict.profile,
        target=target.rstrip("/"),
        seconds=verdict.load.seconds,
        counts=counts,
    )


@dataclass(frozen=True, slots=True)
class Past:
    """The blocks of the former runs that compare with a run, for one objective."""

    runs: tuple[tuple[Block, ...], ...] = ()

    def floor(self, requests: int) -> float:
        """Return the floor of the design effect of a run of `requests`."""
        return design_effect_floor(self.runs, requests)


NO_PAST: Final = Past()


def past_of(history: Iterable[FormerRun], objective: Objective, profile: str, seconds: float) -> Past:
    """Return what a history, the latest run last, has of the same load and length for an objective."""
    what = counted(objective)
    alike = [
        tuple(Block(block.total, block.bad) for block in run.counts[what])
        for run in history
        if what in run.counts and run.profile == profile and isclose(run.seconds, seconds, rel_tol=_SAME_LENGTH)
    ]
    return Past(tuple(alike[-MOST_RUNS:]))


def design_effect_floor(runs: Sequence[Sequence[Block]], requests: int) -> float:
    """Return the floor for the design effect of the next run, of `requests`, from the blocks of former runs.

    The runs are of comparable releases and of the next one's length; their rates may differ. The larger of two: the
    excess between runs (each run is one block; it sees bursts that are rarer than a run is long), and the mean of those
    within the runs, unbiased where one run's own scatters (it averages many times as many blocks). 1 when there are
    fewer than 5 runs with requests, or fewer than 3 of them with a bad one: they know nothing.

    A release that was worse than its neighbours widens the variance between runs: hand over none that failed. A history of few bad requests knows small bursts only: its floor is too low for a release whose bursts are
    larger.
    """
    measured = [run for run in runs if any(block.total for block in run)]
    telling = [run for run in measured if 0 < (whole := _whole(run)).bad < whole.total]
    if len(measured) < FEWEST_RUNS or len(telling) < FEWEST_TELLING:
        return 1.0
    return 1.0 + requests * max(0.0, _between(measured), _within(telling))


def _between(runs: Sequence[Sequence[Block]]) -> float:
    """Return the excess of the design effect between runs, per request of a run."""
    wholes = [_whole(run) for run in runs]
    return (design_effect(wholes) - 1) * len(wholes) / sum(whole.total for whole in wholes)


def _within(runs: Sequence[Sequence[Block]]) -> float:
    """Return the mean excess of the design effects within runs, per request of a run."""
    return fmean((design_effect(run, floor=0.0) - 1) / _whole(run).total for run in runs)


def _whole(run: Sequence[Block]) -> Block:
    return Block(sum(block.total for block in run), sum(block.bad for block in run))
