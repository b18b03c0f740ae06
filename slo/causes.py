"""Names the places where the excess time or the errors of an objective arise, from traces alone.

Latency: the self time of every (service, span, table) in the bad requests, minus its mean in the good requests of the
same endpoint, summed; a place's share is of the whole excess. Errors: the place where each bad request's failure came
from; its share is of all bad requests. A wait for a connection, long or in vain, is charged to who kept them all. The
endpoint named is the one that contributes most of those that the place itself is in: who only waited for a connection
is not slow by what it does. What was injected on purpose is not known here. Work is linear in the number of spans.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from slo.contention import Holders
from slo.gates import Objective
from slo.judge import is_bad
from slo.sample import Sample, endpoint_of, is_judged, is_unanswered
from slo.trace_tree import Place, TraceTree, is_entry
from slo.verdict import Cause, ObjectiveResult
from telemetry import conventions
from telemetry.spans import SpanRecord

EDGE: Final = "gateway"
# A request that left no span and got no answer: the public service itself was away.
NO_ANSWER: Final = Place(EDGE, "no answer")
# Time that the client saw and the gateway's span did not: connecting, queueing before the gateway, the client itself.
OUTSIDE: Final = Place("client", "outside the gateway's span")

# Places with less than this share are noise; more of them than this are no help.
SMALLEST_SHARE: Final = 0.05
MOST_PLACES: Final = 5
MOST_TRACES: Final = 5
# Good requests looked at for each endpoint; their mean is steady long before that.
MOST_GOOD: Final = 1_000
# A place that fails in good requests more than half as often as in bad ones is not what makes them bad.
_TOLERATED: Final = 0.5

Spans = Mapping[str, Sequence[SpanRecord]]


@dataclass(slots=True)
class _Tally:
    """What a place adds up to: in all, by the endpoints that it is itself in, by those that waited for it, and by trace."""

    total: float = 0.0
    by_endpoint: Counter[str] = field(default_factory=Counter)
    by_sufferer: Counter[str] = field(default_factory=Counter)
    by_trace: Counter[str] = field(default_factory=Counter)
    # Traces that it is not itself in: they waited for a connection that it kept.
    suffered: set[str] = field(default_factory=set)

    def add(self, sample: Sample, amount: float, *, suffered: bool) -> None:
        self.total += amount
        endpoints = self.by_sufferer if suffered else self.by_endpoint
        # A Counter holds floats as well; its annotations do not say so.
        endpoints[endpoint_of(sample)] += amount  # type: ignore[assignment]
        self.by_trace[sample.trace_id] += amount  # type: ignore[assignment]
        if suffered:
            self.suffered.add(sample.trace_id)

    def worst(self) -> tuple[str, ...]:
        """Return the traces that show the place: those it is in first, each part by what it adds up to there."""
        ordered = sorted(self.by_trace.items(), key=lambda item: (item[0] in self.suffered, -item[1]))
        return tuple(trace_id for trace_id, _ in ordered[:MOST_TRACES])

    def endpoint(self) -> str:
        """Return the endpoint to look at; that of a sufferer only where no bad request has the place itself in it."""
        return (self.by_endpoint or self.by_sufferer).most_common(1)[0][0]


Tallies = defaultdict[Place, _Tally]


def find_causes(
    objectives: Sequence[tuple[Objective, ObjectiveResult]], samples: Sequence[Sample], spans: Spans
) -> tuple[Cause, ...]:
    """Return the causes of every objective that was not met: missed ones first, each with its largest share first."""
    unmet = [(objective, result) for objective, result in objectives if result.outcome != "met"]
    unmet.sort(key=lambda pair: pair[1].outcome != "missed")
    if not unmet or not spans:
        return ()
    holders = Holders(spans)
    return tuple(cause for objective, _ in unmet for cause in _explain(objective, samples, spans, holders))


def _explain(objective: Objective, samples: Sequence[Sample], spans: Spans, holders: Holders) -> list[Cause]:
    bad: list[Sample] = []
    good: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if is_judged(sample) and objective.endpoint in {"", endpoint_of(sample)}:
            if is_bad(objective, sample):
                bad.append(sample)
            else:
                good[endpoint_of(sample)].append(sample)
    good = {endpoint: _thinned(chosen) for endpoint, chosen in good.items()}
    if objective.indicator == "latency":
        return _ranked(objective, _excess(objective.target, bad, good, spans, holders))
    return _ranked(objective, _origins(bad, good, spans, holders))


def _thinned(samples: list[Sample]) -> list[Sample]:
    """Return at most `MOST_GOOD` of them, evenly spread over the run."""
    return samples[:: -(-len(samples) // MOST_GOOD)]


def _ranked(objective: Objective, tallies: Tallies) -> list[Cause]:
    whole = sum(tally.total for tally in tallies.values())
    ranked = sorted(tallies.items(), key=lambda item: -item[1].total)[:MOST_PLACES]
    return [
        Cause(
            objective=objective.name,
            endpoint=tally.endpoint(),
            service=place.service,
            span=place.span,
            table=place.table,
            share=round(tally.total / whole, 4),
            trace_ids=tally.worst(),
        )
        for place, tally in ranked
        if tally.total >= SMALLEST_SHARE * whole > 0
    ]


# --- latency ----------------------------------------------------------------------------------------------------------


def _excess(
    limit: float, bad: Sequence[Sample], good: Mapping[str, Sequence[Sample]], spans: Spans, holders: Holders
) -> Tallies:
    usual = {endpoint: _means(chosen, spans, holders) for endpoint, chosen in good.items()}
    tallies: Tallies = defaultdict(_Tally)
    for sample in bad:
        baseline = usual.get(endpoint_of(sample), {})
        own = _places(spans.get(sample.trace_id, ()))
        for place, seconds in _self_times(sample, spans, holders, limit).items():
            if (more := seconds - baseline.get(place, 0.0)) > 0:
                tallies[place].add(sample, more, suffered=place not in own)
    return tallies


def _places(of_trace: Sequence[SpanRecord]) -> set[Place]:
    tree = TraceTree(of_trace)
    return {tree.place(span) for span in of_trace}


def _means(samples: Sequence[Sample], spans: Spans, holders: Holders) -> dict[Place, float]:
    sums: dict[Place, float] = defaultdict(float)
    for sample in samples:
        for place, seconds in _self_times(sample, spans, holders, 0.0).items():
            sums[place] += seconds
    return {place: total / len(samples) for place, total in sums.items()}


def _self_times(sample: Sample, spans: Spans, holders: Holders, limit: float) -> dict[Place, float]:
    """Return where a request's seconds went. Without any span, an answered request tells nothing."""
    of_trace = spans.get(sample.trace_id, ())
    if not of_trace:
        return {NO_ANSWER: max(sample.duration, limit)} if is_unanswered(sample) else {}
    tree = TraceTree(of_trace)
    times: dict[Place, float] = defaultdict(float)
    for span, seconds in tree.self_times():
        for place, part in _attributed(tree, span, seconds, holders):
            times[place] += part
    entries = [span for span in tree.roots if is_entry(span, EDGE)]
    if entries:
        times[OUTSIDE] += max(0.0, sample.duration - sum(span.end_ns - span.start_ns for span in entries) * 1e-9)
    return times


def _attributed(tree: TraceTree, span: SpanRecord, seconds: float, holders: Holders) -> Iterable[tuple[Place, float]]:
    if span.name == conventions.POOL_WAIT_SPAN:
        return holders.blame(span, seconds)
    return ((tree.place(span), seconds),)


# --- errors -----------------------------------------------------------------------------------------------------------


def _origins(bad: Sequence[Sample], good: Mapping[str, Sequence[Sample]], spans: Spans, holders: Holders) -> Tallies:
    tolerated = _tolerated(bad, good, spans)
    tallies: Tallies = defaultdict(_Tally)
    for sample in bad:
        for place, part in _origin(sample, spans, tolerated.get(endpoint_of(sample), frozenset()), holders):
            tallies[place].add(sample, part, suffered=place not in _places(spans.get(sample.trace_id, ())))
    return tallies


def _origin(
    sample: Sample, spans: Spans, tolerated: frozenset[Place], holders: Holders
) -> Iterable[tuple[Place, float]]:
    """Return the places that one failure is charged to; the parts add up to 1 unless nothing is known of it."""
    unanswered = is_unanswered(sample)
    tree = TraceTree(spans.get(sample.trace_id, ()))
    span = tree.origin(unanswered=unanswered, tolerated=tolerated)
    if span is None:
        return [(NO_ANSWER, 1.0)] if unanswered else []
    return _attributed(tree, span, 1.0, holders)


def _tolerated(
    bad: Sequence[Sample], good: Mapping[str, Sequence[Sample]], spans: Spans
) -> dict[str, frozenset[Place]]:
    """Return for each endpoint the places that fail without doing harm, such as a cache that is done without."""
    failed: dict[str, list[Sample]] = defaultdict(list)
    for sample in bad:
        failed[endpoint_of(sample)].append(sample)
    return {
        endpoint: frozenset(_harmless(_failure_rates(chosen, spans), _failure_rates(good.get(endpoint, ()), spans)))
        for endpoint, chosen in failed.items()
    }


def _harmless(bad: Mapping[Place, float], good: Mapping[Place, float]) -> Iterator[Place]:
    return (place for place, rate in good.items() if rate > _TOLERATED * bad.get(place, 0.0))


def _failure_rates(samples: Sequence[Sample], spans: Spans) -> dict[Place, float]:
    """Return in which share of the requests each place fails."""
    counts: Counter[Place] = Counter()
    for sample in samples:
        counts.update(set(TraceTree(spans.get(sample.trace_id, ())).failures()))
    return {place: count / len(samples) for place, count in counts.items()}
