"""Judges the objectives of a gate over every sample of a run: counts and their interval, never a summary of summaries.

*Bad for availability*: no answer, status >= 500, 429, or a status that the journey did not declare. *Bad for latency*:
slower than the limit, or no answer. Warm-up and set-up are not judged. What was not measured is never a pass.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from msgspec import structs

from slo.gates import Objective
from slo.history import NO_PAST, Past
from slo.load import LoadFacts, user_seconds
from slo.planning import samples_to_meet
from slo.sample import Sample, endpoint_of, is_judged, is_slow, is_unanswered, is_unavailable
from slo.statistics import (
    SHORTEST_SECONDS,
    Block,
    Outcome,
    RateInterval,
    ShareInterval,
    block_count,
    closed_rate,
    cut_blocks,
    decide_rate,
    decide_share,
    fewest_samples,
    nearest_rank,
    share_interval,
)
from slo.throughput import completion_budget, with_dropped
from slo.verdict import FormerRuns, ObjectiveResult

# The judged time of a run is planned, so a little less than the shortest is rounding, not a short run.
_ROUNDING: Final = 1e-6


def judge(objective: Objective, samples: Sequence[Sample], load: LoadFacts, past: Past = NO_PAST) -> ObjectiveResult:
    """Judge one objective over the samples that count towards it; one that ended the load early is missed."""
    result = _judge(objective, samples, load, past)
    if reason := load.stopped.get(objective.name):
        return structs.replace(result, outcome="missed", reason=reason)
    return result


def _judge(objective: Objective, samples: Sequence[Sample], load: LoadFacts, past: Past) -> ObjectiveResult:
    chosen = [sample for sample in samples if is_judged(sample) and concerns(objective, sample)]
    if not chosen and not load.dropped:
        return unmeasured(objective, "nothing was measured")
    if objective.indicator == "latency":
        return _judge_latency(objective, chosen, load, past)
    if objective.indicator == "errors":
        return _judge_errors(objective, chosen, load, past)
    return (
        _judge_open(objective, chosen, load, past) if load.model == "open" else _judge_closed(objective, chosen, load)
    )


def is_bad(objective: Objective, sample: Sample) -> bool:
    """Tell whether a sample is bad for an objective; for a throughput, whether it was not completed."""
    if objective.indicator == "latency":
        return is_slow(sample, objective.target)
    return is_unavailable(sample) if objective.indicator == "errors" else is_unanswered(sample)


def quantile(samples: Sequence[Sample], percentile: float) -> float | None:
    """Return the nearest-rank percentile of the durations in s; None when it falls on a request without an answer.

    The smallest duration that at least `percentile` per cent of requests do not exceed, requests without an answer
    ranking last: exactly then is it within a limit when the share above the limit is within 1 - percentile / 100.
    """
    ranked = sorted(math.inf if is_unanswered(sample) else sample.duration for sample in samples)
    value = nearest_rank(ranked, percentile)
    return None if math.isinf(value) else value


def concerns(objective: Objective, sample: Sample) -> bool:
    """Tell whether an objective is about a sample's endpoint."""
    return not objective.endpoint or objective.endpoint == endpoint_of(sample)


def _judge_latency(objective: Objective, samples: Sequence[Sample], load: LoadFacts, past: Past) -> ObjectiveResult:
    if not samples:
        return unmeasured(objective, "no request was sent")
    return _judge_share(objective, samples, load, quantile(samples, objective.percentile or 0), past)


def _judge_errors(objective: Objective, samples: Sequence[Sample], load: LoadFacts, past: Past) -> ObjectiveResult:
    if not samples:
        return unmeasured(objective, "no request was sent")
    return _judge_share(objective, samples, load, sum(map(is_unavailable, samples)) / len(samples), past)


def _judge_share(
    objective: Objective, samples: Sequence[Sample], load: LoadFacts, actual: float | None, past: Past
) -> ObjectiveResult:
    blocks = _blocks(samples, lambda sample: is_bad(objective, sample), load)
    return _share_result(objective, blocks, objective.budget or 0.0, actual, load, past)


def _blocks(samples: Sequence[Sample], bad: Callable[[Sample], bool], load: LoadFacts) -> tuple[Block, ...]:
    return cut_blocks(((sample.start, bad(sample)) for sample in samples), load.begin, load.seconds)


def _share_result(  # noqa: PLR0917 - what is judged, and by what
    objective: Objective, blocks: Sequence[Block], budget: float, actual: float | None, load: LoadFacts, past: Past
) -> ObjectiveResult:
    floor = past.floor(sum(block.total for block in blocks))
    interval = share_interval(blocks, floor)
    outcome = _long_enough(decide_share(interval, budget), load)
    former = _former(outcome, blocks, budget, past, floor)
    result = _result(
        objective,
        outcome,
        actual,
        _share_reason(outcome, interval, budget, load, former),
        total=interval.total,
        bad=interval.bad,
        budget=budget,
        bad_share_interval=(interval.low, interval.high),
    )
    counts = tuple((block.total, block.bad) for block in blocks)
    return structs.replace(result, blocks=counts, design_effect=interval.design_effect, former=former)


def _former(outcome: Outcome, blocks: Sequence[Block], budget: float, past: Past, floor: float) -> FormerRuns | None:
    """Say what the past had to say, and how many more requests it asks for of a run that would have passed without it."""
    if floor <= 1:
        return None
    alone = share_interval(blocks)
    needed = None
    if outcome == "inconclusive" and decide_share(alone, budget) == "met":
        needed = samples_to_meet(alone.share, budget, len(blocks), floor)
    return FormerRuns(len(past.runs), floor, None if needed is None else max(0, needed - alone.total))


def _judge_open(objective: Objective, samples: Sequence[Sample], load: LoadFacts, past: Past) -> ObjectiveResult:
    """Judge the share of offered requests that were not completed; the budget is 1 - target / offered.

    Requests that were not sent because every virtual user was waiting for an answer were offered and not completed,
    in the block in which they should have begun.
    """
    offered = (len(samples) + load.dropped) / load.seconds
    completed = sum(not is_unanswered(sample) for sample in samples) / load.seconds
    budget = completion_budget(objective.target, offered)
    blocks = with_dropped(_blocks(samples, is_unanswered, load), load.drops, load.begin, load.seconds)
    return _share_result(objective, blocks, budget, completed, load, past)


def _judge_closed(objective: Objective, samples: Sequence[Sample], load: LoadFacts) -> ObjectiveResult:
    """Judge completions per user-second, times the mean number of users."""
    interval = _closed_interval(samples, load)
    if interval is None:
        return unmeasured(objective, "the number of active virtual users is not known")
    outcome = _long_enough(decide_rate(interval, objective.target), load)
    return _result(
        objective,
        outcome,
        interval.rate,
        _rate_reason(outcome, load),
        total=len(samples),
        bad=sum(map(is_unanswered, samples)),
        interval=(interval.low, interval.high),
    )


def _closed_interval(samples: Sequence[Sample], load: LoadFacts) -> RateInterval | None:
    count = block_count(load.seconds)
    edges = [load.begin + load.seconds * index / count for index in range(count + 1)]
    seconds = [user_seconds(load.users, low, high) for low, high in pairwise(edges)]
    if sum(seconds) <= 0:
        return None
    ends = ((sample.start + sample.duration, is_unanswered(sample)) for sample in samples)
    inside = [(end, bad) for end, bad in ends if edges[0] <= end < edges[-1]]
    blocks = cut_blocks(inside, load.begin, load.seconds)
    return closed_rate([block.total - block.bad for block in blocks], seconds, load.seconds)


def _long_enough(outcome: Outcome, load: LoadFacts) -> Outcome:
    """Never pass on a run whose blocks are shorter than those that the rule was checked with."""
    short = load.seconds < SHORTEST_SECONDS - _ROUNDING
    return "inconclusive" if short and outcome == "met" else outcome


def _share_reason(
    outcome: Outcome, interval: ShareInterval, budget: float, load: LoadFacts, former: FormerRuns | None
) -> str:
    if outcome == "missed":
        return "the whole interval lies above the budget"
    if outcome == "met":
        return "the whole interval lies within the budget"
    if load.seconds < SHORTEST_SECONDS - _ROUNDING:
        return f"{load.seconds:.0f} s are too short to pass: {SHORTEST_SECONDS:.0f} s are needed"
    if not budget:
        return "no more than the target was offered"
    return _undecided(interval.total, budget, load, former)


def _undecided(total: int, budget: float, load: LoadFacts, former: FormerRuns | None) -> str:
    if former is not None and former.more_requests:
        return (
            f"the last {former.runs} runs had bursts that this one did not show: "
            f"{former.more_requests} more requests are needed to pass"
        )
    fewest = fewest_samples(budget, block_count(load.seconds))
    if total < fewest:
        return f"{total} samples are too few: this budget needs at least {fewest}"
    return "the interval spans the budget: a longer run decides"


def _rate_reason(outcome: Outcome, load: LoadFacts) -> str:
    if outcome == "inconclusive" and load.seconds < SHORTEST_SECONDS - _ROUNDING:
        return f"{load.seconds:.0f} s are too short to pass: {SHORTEST_SECONDS:.0f} s are needed"
    words = {"met": "lies above", "missed": "lies below", "inconclusive": "spans"}
    return f"the interval {words[outcome]} the target"


def judge_counts(
    objective: Objective, blocks: Sequence[Block], seconds: float, actual: float | None
) -> ObjectiveResult:
    """Judge a share whose requests were counted elsewhere, in equal blocks of `seconds` together."""
    if not any(block.total for block in blocks):
        return unmeasured(objective, "no request was counted")
    share = sum(block.bad for block in blocks) / sum(block.total for block in blocks)
    lasted = LoadFacts(model="open", begin=0.0, seconds=seconds)
    found = share if objective.indicator == "errors" else actual
    return _share_result(objective, blocks, objective.budget or 0.0, found, lasted, NO_PAST)


def judge_rate(objective: Objective, totals: Sequence[int], seconds: Sequence[float]) -> ObjectiveResult:
    """Judge a throughput that nobody asked for, by what was counted in each block of so many `seconds`.

    It may be met; what is below the target may just not have been wanted.
    """
    if sum(seconds) <= 0:
        return unmeasured(objective, "nobody knows in how long the requests were counted")
    interval = closed_rate(totals, seconds, sum(seconds))
    outcome: Outcome = "met" if decide_rate(interval, objective.target) == "met" else "inconclusive"
    reason = "the interval lies above the target" if outcome == "met" else "nobody knows whether more was asked for"
    bounds = (interval.low, interval.high)
    return _result(objective, outcome, interval.rate, reason, total=sum(totals), interval=bounds)


def unmeasured(objective: Objective, reason: str) -> ObjectiveResult:
    """Return an objective of which nothing is known: undecided, never a pass."""
    return _result(objective, "inconclusive", None, reason, budget=objective.budget)


def _result(
    objective: Objective,
    outcome: Outcome,
    actual: float | None,
    reason: str,
    *,
    total: int = 0,
    bad: int = 0,
    budget: float | None = None,
    bad_share_interval: tuple[float, float] | None = None,
    interval: tuple[float, float] | None = None,
) -> ObjectiveResult:
    return ObjectiveResult(
        name=objective.name,
        outcome=outcome,
        actual=actual,
        unit=objective.unit,
        op=objective.op,
        target=objective.target,
        total=total,
        bad=bad,
        budget=budget,
        bad_share_interval=bad_share_interval,
        interval=interval,
        endpoint=objective.endpoint,
        reason=reason,
    )
