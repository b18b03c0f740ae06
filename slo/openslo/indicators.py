"""From a ratioMetric to the model's Sli: what is counted, in series that exist, with a limit that can be counted."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from slo.openslo.entries import Findings, Place
from slo.openslo.known_series import BUCKET, INFINITE, edge_fault, label_fault, series_fault, value_fault
from slo.openslo.matching import implies
from slo.openslo.model import Counted, DataSource, Sli, SliKind
from slo.openslo.promql import QueryError, Selector, parse_query
from slo.openslo.specs import Metric, RatioMetric, SliSpec
from telemetry.conventions import BOUND_LABEL

# An edge as clients of Prometheus spell it. Decimal alone would take NaN, and 1e999999999.
_SECONDS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,12})?(e[-+]?[0-9]{1,2})?")
DataSources = Mapping[str, DataSource]


def read_sli(name: str, spec: SliSpec, place: Place, sources: DataSources, findings: Findings) -> Sli | None:
    """Return the indicator whose `spec` stands at `place`, None when something is wrong with it."""
    before = len(findings.faults)
    ratio, at = spec.ratio_metric, place.at("ratioMetric")
    counted = _counted(ratio, at, findings)
    if counted is None:
        return None
    events = _read(ratio.good or ratio.bad or ratio.total, at.at(counted), sources, findings)
    everything = _read(ratio.total, at.at("total"), sources, findings)
    if events is None or everything is None:
        return None
    if len(findings.faults) == before and events.source != everything.source:
        findings.add(at, f"{counted} and total are read from different data sources")
    le = _limit(events, everything, counted, findings)
    _require_part_of(events, everything, counted, findings)
    if len(findings.faults) > before:
        return None
    kind: SliKind = "availability" if le is None else "latency"
    return Sli(
        name=name,
        kind=kind,
        counted=counted,
        events=events.selector,
        everything=everything.selector,
        data_source=everything.source,
        le=le,
        foreign=everything.foreign,
    )


class _Query:
    """A query, where it stands and where its series come from."""

    def __init__(self, selector: Selector, place: Place, source: str, *, foreign: bool) -> None:
        self.selector = selector
        self.place = place
        self.source = source
        self.foreign = foreign


def _counted(ratio: RatioMetric, place: Place, findings: Findings) -> Counted | None:
    if (ratio.good is None) == (ratio.bad is None):
        findings.add(place, f"expected good or bad beside total, got {'neither' if ratio.good is None else 'both'}")
        return None
    return "bad" if ratio.good is None else "good"


def _read(metric: Metric, place: Place, sources: DataSources, findings: Findings) -> _Query | None:
    source, at = metric.metric_source, place.at("metricSource")
    if source.metric_source_ref is None and source.type is None:
        findings.add(at, "expected a metricSourceRef (the name of a DataSource) or a type")
    elif source.metric_source_ref is not None and source.type is None:
        findings.refer(at.at("metricSourceRef"), "DataSource", source.metric_source_ref)
    elif source.metric_source_ref is not None:
        findings.refer_if_any(at.at("metricSourceRef"), "DataSource", source.metric_source_ref)
    # Where there is one data source, whoever names none means that.
    name = source.metric_source_ref or (next(iter(sources)) if len(sources) == 1 else "")
    try:
        selector = parse_query(source.spec.query)
    except QueryError as error:
        findings.add(at.at("spec", "query"), str(error))
        return None
    # A data source that has no document, or one with a fault of its own, may be foreign.
    foreign = bool(name) and (name not in sources or sources[name].foreign)
    query = _Query(selector, at.at("spec", "query"), name, foreign=foreign)
    _require_known(query, findings)
    return query


def _require_known(query: _Query, findings: Findings) -> None:
    selector = query.selector
    if query.foreign:
        return
    if fault := series_fault(selector.metric):
        findings.add(query.place, fault)
        return
    for label in dict.fromkeys(matcher.label for matcher in selector.matchers):
        if fault := label_fault(selector.metric, label):
            findings.add(query.place, fault)
    for matcher in selector.matchers:
        if fault := value_fault(matcher):
            findings.add(query.place, fault)


def _limit(events: _Query, everything: _Query, counted: Counted, findings: Findings) -> Decimal | None:
    """Return the limit of a latency, None for availability; notes what can't be a limit."""
    if _bound(everything, findings) not in {None, INFINITE}:
        findings.add(everything.place, f"total counts every request: expected the count, or le={INFINITE!r}")
    bound = _bound(events, findings)
    if bound is None:
        return None
    if counted == "bad":
        findings.add(events.place, "a bucket counts the requests up to its edge, the good ones: write it as good")
    elif bound == INFINITE:
        findings.add(events.place, f"the bucket le={INFINITE!r} has every request: none would be too slow")
    elif not _SECONDS.fullmatch(bound) or not Decimal(bound):
        findings.add(events.place, f"expected a number of seconds above 0 as le, got {bound!r}")
    else:
        return Decimal(bound)
    return None


def _bound(query: _Query, findings: Findings) -> str | None:
    """Return what a bucket's series is bound by, None for other series."""
    selector, bounds = query.selector, query.selector.of(BOUND_LABEL)
    if not selector.metric.endswith(BUCKET):
        return None
    if len(bounds) != 1 or bounds[0].operator != "=":
        findings.add(
            query.place, f'expected one bucket, such as {selector.metric}{{le="0.8"}}: buckets contain each other'
        )
        return None
    bound = bounds[0].value
    if not query.foreign and not series_fault(selector.metric) and (fault := edge_fault(selector.metric, bound)):
        findings.add(query.place, fault)
    return bound


def _require_part_of(events: _Query, everything: _Query, counted: Counted, findings: Findings) -> None:
    """Require that what is counted is a part of all, and not all of it."""
    part, whole = _family(events.selector), _family(everything.selector)
    if part.metric != whole.metric:
        if events.selector.metric.endswith(BUCKET):
            findings.add(events.place, f"{counted} counts {part.metric}, and total counts {whole.metric}")
        return
    unsaid = [
        str(matcher)
        for matcher in whole.matchers
        if not any(implies(other, matcher) for other in part.of(matcher.label))
    ]
    if unsaid:
        said = f"total counts only {', '.join(unsaid)}: add it to {counted}, which may not be a part of total otherwise"
        findings.add(events.place, said)
    if part == whole and not events.selector.metric.endswith(BUCKET):
        findings.add(events.place, f"{counted} and total count the same: the ratio is always 1")


def _family(selector: Selector) -> Selector:
    """Return the histogram that buckets and count are parts of, without the edge."""
    name = re.sub(f"({BUCKET}|_count)$", "", selector.metric)
    return Selector(name, selector.without(BOUND_LABEL).matchers)
