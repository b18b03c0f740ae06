"""What a report shows beside the verdict: latency over time, its distribution, endpoints, and single traces."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from slo.gates import Gate
from slo.judge import quantile
from slo.load import LoadFacts
from slo.sample import Sample, endpoint_of, is_judged, is_slow, is_unanswered, is_unavailable
from slo.trace_tree import ERROR, NANOSECONDS, TraceTree
from slo.verdict import Traces
from telemetry import conventions
from telemetry.spans import SpanRecord

LISTED: Final = 10
DRAWN: Final = 5
# A page that draws more than this of one trace is not read.
MOST_ROWS: Final = 60
_MOST_MOMENTS: Final = 90
_MOST_OUTLIERS: Final = 600
# A script that names no request makes one of every address.
_MOST_ENDPOINTS: Final = 40
# The P99 of fewer requests is their maximum.
_SLICE_REQUESTS: Final = 250
_BINS_PER_DECADE: Final = 12

Spans = Mapping[str, Sequence[SpanRecord]]


@dataclass(frozen=True, slots=True)
class Moment:
    """The requests that started within one slice of the run; times in s, `at` from the first request's start."""

    at: float
    seconds: float
    requests: int
    unavailable: int
    slow: int
    median: float | None
    p99: float | None
    warmup: bool


@dataclass(frozen=True, slots=True)
class Outlier:
    """One request that was bad for latency; times in s, `at` from the first request's start."""

    at: float
    duration: float
    endpoint: str
    unanswered: bool


@dataclass(frozen=True, slots=True)
class Bin:
    """How many answered, judged requests took `low` < duration <= `high` s."""

    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """One endpoint's judged requests; percentiles in s, None when they fall on a request without an answer."""

    endpoint: str
    requests: int
    unavailable: int
    slow: int
    median: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class SpanRow:
    """One bar of a waterfall; `offset` and `duration` in s, `offset` from the trace's first span."""

    depth: int
    service: str
    name: str
    table: str
    offset: float
    duration: float
    failed: bool
    message: str


@dataclass(frozen=True, slots=True)
class Waterfall:
    """One request with the spans that its trace left; `hidden` spans are beyond what is drawn."""

    trace_id: str
    endpoint: str
    status: int
    duration: float
    rows: tuple[SpanRow, ...]
    hidden: int

    @property
    def length(self) -> float:
        """Seconds from the first span's start to the last span's end."""
        return max((row.offset + row.duration for row in self.rows), default=0.0)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the reports draw.

    `origin` is the start of the first request in unix s, `above` counts the answered, judged requests that were slower
    than the latency target.
    """

    gate: Gate
    load: LoadFacts
    origin: float
    above: int
    moments: tuple[Moment, ...]
    outliers: tuple[Outlier, ...]
    bins: tuple[Bin, ...]
    endpoints: tuple[EndpointRow, ...]
    slowest: tuple[Waterfall, ...]
    failed: tuple[Waterfall, ...]


def notable_traces(samples: Sequence[Sample]) -> Traces:
    """Return the trace ids of the slowest judged requests, and of failed ones of as many kinds as there are."""
    judged = [sample for sample in samples if is_judged(sample)]
    slowest = sorted(judged, key=lambda sample: -sample.duration)[:LISTED]
    return Traces(_ids(slowest), _ids(_of_every_kind([sample for sample in judged if is_unavailable(sample)])))


def _ids(samples: Sequence[Sample]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(sample.trace_id for sample in samples if sample.trace_id))


def _of_every_kind(failed: Sequence[Sample]) -> list[Sample]:
    """Return one sample of every (endpoint, status), then a second one of each, and so on."""
    kinds: dict[tuple[str, int], list[Sample]] = defaultdict(list)
    for sample in failed:
        kinds[endpoint_of(sample), sample.status].append(sample)
    rounds = max(map(len, kinds.values()), default=0)
    turns = (kind[turn] for turn in range(min(rounds, LISTED)) for kind in kinds.values() if turn < len(kind))
    return list(turns)[:LISTED]


def gather(gate: Gate, load: LoadFacts, samples: Sequence[Sample], spans: Spans, traces: Traces) -> Evidence:
    """Collect what the reports draw."""
    by_id = {sample.trace_id: sample for sample in samples}

    def drawn(ids: Sequence[str]) -> tuple[Waterfall, ...]:
        return tuple(waterfall(by_id[trace_id], spans.get(trace_id, ())) for trace_id in ids[:DRAWN])

    limit = gate.latency_target or math.inf
    return Evidence(
        gate=gate,
        load=load,
        origin=min((sample.start for sample in samples), default=load.begin),
        above=sum(is_judged(s) and not is_unanswered(s) and s.duration > limit for s in samples),
        moments=tuple(moments(samples, limit)),
        outliers=outliers(samples, limit),
        bins=bins(samples, gate.latency_target or 1.0),
        endpoints=endpoint_rows(samples, limit),
        slowest=drawn(traces.slowest),
        failed=drawn(traces.failed),
    )


def moments(samples: Sequence[Sample], limit: float) -> Iterator[Moment]:
    """Yield the run in equal slices of whole seconds, at most ninety, each with enough requests for a P99 on average."""
    if not samples:
        return
    begin, end = min(sample.start for sample in samples), max(sample.start for sample in samples)
    enough = _SLICE_REQUESTS * (end - begin) / len(samples)
    seconds = min(max(1, math.ceil((end - begin) / _MOST_MOMENTS), math.ceil(enough)), max(1, math.ceil(end - begin)))
    slices: list[list[Sample]] = [[] for _ in range(math.floor((end - begin) / seconds) + 1)]
    for sample in samples:
        slices[math.floor((sample.start - begin) / seconds)].append(sample)
    for index, chosen in enumerate(slices):
        yield _moment(float(index * seconds), float(seconds), chosen, limit)


def _moment(at: float, seconds: float, samples: Sequence[Sample], limit: float) -> Moment:
    return Moment(
        at=at,
        seconds=seconds,
        requests=len(samples),
        unavailable=sum(map(is_unavailable, samples)),
        slow=sum(is_slow(sample, limit) for sample in samples),
        median=quantile(samples, 50) if samples else None,
        p99=quantile(samples, 99) if samples else None,
        warmup=any(sample.warmup for sample in samples),
    )


def outliers(samples: Sequence[Sample], limit: float) -> tuple[Outlier, ...]:
    """Return the requests that were bad for latency, thinned evenly where there are more than a page can show."""
    begin = min((sample.start for sample in samples), default=0.0)
    slow = [sample for sample in samples if is_slow(sample, limit)]
    return tuple(
        Outlier(sample.start - begin, sample.duration, endpoint_of(sample), is_unanswered(sample))
        for sample in slow[:: max(1, -(-len(slow) // _MOST_OUTLIERS))]
    )


def bins(samples: Sequence[Sample], target: float) -> tuple[Bin, ...]:
    """Return the distribution of the judged durations, twelve bins a decade without gaps, one edge at the target."""
    counts: dict[int, int] = defaultdict(int)
    for sample in samples:
        if is_judged(sample) and not is_unanswered(sample):
            # The upper edge belongs to a bin: what takes exactly the target is within it.
            counts[math.ceil(math.log10(max(sample.duration, 1e-6) / target) * _BINS_PER_DECADE)] += 1
    if not counts:
        return ()
    edges = {
        index: target * math.pow(10.0, index / _BINS_PER_DECADE) for index in range(min(counts) - 1, max(counts) + 1)
    }
    return tuple(Bin(edges[index - 1], edges[index], counts[index]) for index in range(min(counts), max(counts) + 1))


def endpoint_rows(samples: Sequence[Sample], limit: float) -> tuple[EndpointRow, ...]:
    """Return one row for each endpoint's judged requests, the most frequent first, and one for those that are too many."""
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if is_judged(sample):
            groups[endpoint_of(sample)].append(sample)
    frequent = sorted(groups, key=lambda endpoint: -len(groups[endpoint]))
    rows = [_endpoint_row(endpoint, groups[endpoint], limit) for endpoint in frequent[:_MOST_ENDPOINTS]]
    if others := frequent[_MOST_ENDPOINTS:]:
        together = [sample for endpoint in others for sample in groups[endpoint]]
        rows.append(_endpoint_row(f"{len(others)} others", together, limit))
    return tuple(rows)


def _endpoint_row(endpoint: str, samples: Sequence[Sample], limit: float) -> EndpointRow:
    def count(bad: Callable[[Sample], bool]) -> int:
        return sum(map(bad, samples))

    slow = count(lambda sample: is_slow(sample, limit))
    return EndpointRow(
        endpoint, len(samples), count(is_unavailable), slow, quantile(samples, 50), quantile(samples, 99)
    )


def waterfall(sample: Sample, spans: Sequence[SpanRecord]) -> Waterfall:
    """Return the spans of a request in the order of calls, each below its caller."""
    rows = tuple(_rows(spans))
    return Waterfall(
        sample.trace_id, endpoint_of(sample), sample.status, sample.duration, rows[:MOST_ROWS], len(rows[MOST_ROWS:])
    )


def _rows(spans: Sequence[SpanRecord]) -> Iterator[SpanRow]:
    tree = TraceTree(spans)
    begin = min((span.start_ns for span in spans), default=0)
    # A stack instead of recursion: a trace from outside may be nested deeper than Python allows calls.
    pending = [(0, span) for span in _latest_first(tree.roots)]
    while pending:
        depth, span = pending.pop()
        yield _row(depth, span, begin)
        pending += [(depth + 1, child) for child in _latest_first(tree.children(span))]


def _latest_first(spans: Sequence[SpanRecord]) -> list[SpanRecord]:
    return sorted(spans, key=lambda span: span.start_ns, reverse=True)


def _row(depth: int, span: SpanRecord, begin: int) -> SpanRow:
    return SpanRow(
        depth=depth,
        service=span.service,
        name=span.name,
        table=str(span.attributes.get(conventions.DB_COLLECTION_NAME, "")),
        offset=(span.start_ns - begin) * NANOSECONDS,
        duration=(span.end_ns - span.start_ns) * NANOSECONDS,
        failed=span.status == ERROR,
        message=span.status_message or str(span.attributes.get(conventions.ERROR_TYPE, "")),
    )
