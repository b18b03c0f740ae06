"""What interleaved pairs of runs say of a release beside its baseline, as a part of the verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from msgspec import structs

from slo.gate import Judgement
from slo.load import LoadFacts
from slo.pairs import (
    PERCENTILE,
    SLOW_ALPHA,
    STRICT,
    WITH_MARGIN,
    Comparison,
    Design,
    Pair,
    RatioBound,
    Run,
    compare,
)
from slo.sample import Sample, is_judged, is_unavailable
from slo.verdict import Baseline, PairedRun, PairOfRuns, Ratio, Verdict, Word, conclude

Turn = Literal["baseline", "candidate"]

# What is beyond doubt already: a comparison could not change it.
DECIDED: Final[frozenset[Word]] = frozenset({"error", "frozen", "fail"})
# Hours of load that nobody meant to ask for.
MOST_PAIRS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """What a release is compared with, and by how many pairs; fields as in `slo.verdict.Baseline`."""

    name: str
    commit: str = ""
    profile: str = ""
    pairs: int = STRICT.pairs


def design_for(pairs: int) -> Design:
    """Return how so many pairs are decided: strictly from 10 on, with a margin of 5 % from 6 on; raises ValueError for others."""
    if not WITH_MARGIN.pairs <= pairs <= MOST_PAIRS:
        raise ValueError(
            f"{pairs} pairs cannot be trusted: from {STRICT.pairs} on a regression is a false alarm in about "
            f"{STRICT.alpha + SLOW_ALPHA:.0%}, from {WITH_MARGIN.pairs} on with a margin of {WITH_MARGIN.margin:.0%} for P99; "
            f"{MOST_PAIRS} are the most"
        )
    return STRICT if pairs >= STRICT.pairs else WITH_MARGIN


def turns(number: int) -> tuple[Turn, Turn]:
    """Return the order within pair `number` (from 0 on): A B, B A, ..., so that what drifts slowly strikes both alike."""
    return ("baseline", "candidate") if number % 2 == 0 else ("candidate", "baseline")


def recorded_run(samples: Sequence[Sample], load: LoadFacts) -> Run:
    """Return what a comparison needs of one run; raises `TooFewPairsError` for fewer than 200 requests.

    A request that failed counts as slower than any, and so does one that was not sent because every virtual user waited: a
    release that answers quickly with errors is no quicker for it.
    """
    judged = [sample for sample in samples if is_judged(sample)]
    latencies = [math.inf if is_unavailable(sample) else sample.duration for sample in judged]
    return Run.of([*latencies, *[math.inf] * load.dropped])


def compare_pairs(pairs: Sequence[Pair], against: Against) -> Baseline:
    """Return what the pairs say, made in the order of `turns`; raises `TooFewPairsError`."""
    found = compare(pairs, design_for(len(pairs)))
    return Baseline(
        name=against.name,
        commit=against.commit,
        profile=against.profile,
        planned=against.pairs,
        regression=found.regression,
        reason=found.reason,
        slow_above=None if math.isinf(found.slow_above) else found.slow_above,
        latency=_ratio(found.latency),
        slow=_ratio(found.slow),
        pairs=tuple(_of_runs(number, pair, found) for number, pair in enumerate(pairs)),
    )


def not_compared(against: Against, reason: str) -> Baseline:
    """Return that nothing was compared, and why."""
    return Baseline(against.name, against.commit, against.profile, against.pairs, None, reason)


def with_baseline(judgement: Judgement, baseline: Baseline, problem: str = "") -> Judgement:
    """Add a comparison to a judged release; `problem` says why it failed, which makes the measurement a failed one."""
    verdict, load = judgement.verdict, judgement.verdict.load
    if problem:
        load = structs.replace(load, problems=(*load.problems, problem), healthy=False)
    word = verdict.verdict if verdict.verdict in DECIDED else _word(verdict, baseline, measured=load.healthy)
    return replace(judgement, verdict=structs.replace(verdict, verdict=word, load=load, baseline=baseline))


def _word(verdict: Verdict, baseline: Baseline, *, measured: bool) -> Word:
    return conclude(verdict.objectives, measured=measured, regression=baseline.regression or "no")


def _ratio(found: RatioBound | None) -> Ratio | None:
    if found is None:
        return None
    return Ratio(
        ratio=found.ratio,
        low=found.low,
        high=found.high,
        noise=found.noise,
        alpha=found.alpha,
        margin=found.margin,
        tolerated=found.tolerated,
        detectable=found.detectable,
        regression=found.regression,
    )


def _of_runs(number: int, pair: Pair, found: Comparison) -> PairOfRuns:
    first, _ = turns(number)
    return PairOfRuns(first, _paired(pair.baseline, found.slow_above), _paired(pair.candidate, found.slow_above))


def _paired(run: Run, slow_above: float) -> PairedRun:
    p99 = run.percentile(PERCENTILE)
    return PairedRun(len(run.ranked), None if math.isinf(p99) else p99, run.above(slow_above))
