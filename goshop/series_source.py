"""`goshop gate --source prometheus`: reads what a release did in a window that is over, and sends no load.

Each objective of the gate is counted by the series of its own SLO. Raw samples are read, from before the window on, so
that nothing is extrapolated (`slo.series`); the percentile alone is Prometheus' own, because it decides nothing.
"""

import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from goshop.budget import narrowed_selector
from goshop.measurement import MeasurementFailed, WrongRequest
from goshop.prometheus import Prometheus, PrometheusError
from slo.gates import Gate, Objective
from slo.openslo.durations import window_of
from slo.openslo.known_series import BUCKET, edge_fault
from slo.openslo.model import Sli, Slo
from slo.openslo.promql import Matcher, Selector
from slo.series import INSTANCE, JOB, UP, Series
from slo.series_gate import Measured, SeriesFacts
from slo.verdict import Release, Source
from telemetry.conventions import BOUND_LABEL, HTTP_LABELS

# A series that has not been scraped for so long is gone: https://prometheus.io/docs/prometheus/latest/querying/basics/#staleness
LOOK_BACK: Final = 300
LONGEST: Final = 86_400
_LENGTH: Final = re.compile(r"[1-9][0-9]{0,6}[smhd]")
_ROUTE_LABELS: Final = HTTP_LABELS[:2]
_SPECIAL: Final = re.compile(r"([.+*?()|\[\]{}^$\\])")

Matchers = tuple[Matcher, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What was asked for: the gate and its SLOs by name, where to ask, and of which time (`end` None is now)."""

    gate: Gate
    slos: Mapping[str, Slo]
    prometheus: Prometheus
    matchers: Matchers
    seconds: int
    end: float | None
    release: Release
    grafana: str = ""


def seconds_of(text: str) -> int:
    """Return how long a window such as "15m" is; raises `WrongRequest`."""
    if not _LENGTH.fullmatch(text) or not 0 < (seconds := window_of(text).seconds) <= LONGEST:
        raise WrongRequest(f"--window: expected a time up to 1d such as 15m or 2h, got {text!r}")
    return seconds


def end_of(text: str) -> float | None:
    """Return a time in unix s, None for now; raises `WrongRequest`."""
    if not text or text == "now":
        return None
    try:
        at = float(text) if text.replace(".", "", 1).isdecimal() else _rfc3339(text)
    except (ValueError, OverflowError):
        at = math.nan
    if not 0 < at < 1e11:  # noqa: PLR2004 - the year 5138: more is in ms
        raise WrongRequest(f"--end: expected a time such as 2026-01-31T12:00:00Z, or unix seconds, got {text!r}")
    return at


def _rfc3339(text: str) -> float:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(text)
    return found.timestamp()


def measure_window(past: Past) -> SeriesFacts:
    """Read the series of the window; raises `WrongRequest`, and `MeasurementFailed` when Prometheus does not answer."""
    counts = [_counts(past, objective) for objective in past.gate.objectives]
    try:
        now = past.prometheus.now()
        end = now if past.end is None else past.end
        if end > now:
            raise WrongRequest(f"--end lies {end - now:.0f} s ahead of the clock of {past.prometheus.url}")
        reader = _Reader(past.prometheus, end, past.seconds)
        measured = tuple(reader.measured(count) for count in counts)
        up = tuple(reader.up(series for each in measured for series in (*each.everything, *each.events)))
    except PrometheusError as error:
        raise MeasurementFailed(str(error)) from None
    return SeriesFacts(
        gate=past.gate,
        measured=measured,
        up=up,
        begin=end - past.seconds,
        seconds=float(past.seconds),
        source=_source(past),
        release=past.release,
        grafana=past.grafana,
    )


def unread(past: Past, problem: str) -> SeriesFacts:
    """Return the facts of a window that could not be read, and why."""
    end = time.time() if past.end is None else past.end
    return SeriesFacts(
        gate=past.gate,
        measured=tuple(Measured(objective, ()) for objective in past.gate.objectives),
        up=(),
        begin=end - past.seconds,
        seconds=float(past.seconds),
        source=_source(past),
        release=past.release,
        problems=(problem,),
    )


def _source(past: Past) -> Source:
    return Source(past.prometheus.url, float(past.seconds), tuple(map(str, past.matchers)))


@dataclass(frozen=True, slots=True)
class _Count:
    """What is read for an objective; `events` None for a throughput, which counts everything."""

    objective: Objective
    everything: Selector
    events: Selector | None = None
    sli: Sli | None = None


def _counts(past: Past, objective: Objective) -> _Count:
    if objective.indicator == "throughput":
        return _Count(objective, narrowed_selector(_all_requests(past, objective), past.matchers))
    sli = past.slos[objective.slo].sli
    route = _route(objective, sli)
    everything = narrowed_selector(sli.everything, (*route, *past.matchers))
    events = narrowed_selector(sli.events, (*route, *past.matchers))
    if objective.indicator == "latency":
        _require_edge(objective, sli)
        bound = Matcher(BOUND_LABEL, "=~", "|".join(_spellings(objective.target)))
        events = narrowed_selector(events.without(BOUND_LABEL), (bound,))
    return _Count(objective, everything, events, sli)


def _all_requests(past: Past, objective: Objective) -> Selector:
    """Return the series that count every request: what the gate's SLOs have in common."""
    found = {past.slos[each.slo].sli.everything.without(BOUND_LABEL) for each in past.gate.objectives if each.slo}
    if len(found) != 1:
        raise WrongRequest(
            f"{objective.name}: which series count all requests is not known, the gate's SLOs have {len(found)}: "
            "leave throughput out of a gate that is judged by series"
        )
    return found.pop()


def _route(objective: Objective, sli: Sli) -> Matchers:
    """Return what selects an objective's route, nothing where the SLO's own series are those of one already."""
    if not objective.endpoint or any(sli.everything.of(label) for label in _ROUTE_LABELS):
        return ()
    if sli.foreign:
        if sli.everything.matchers:
            return ()
        raise WrongRequest(
            f"{objective.name}: which label of {sli.everything} has the route {objective.endpoint} is not known: "
            "give it an SLO that counts this route alone"
        )
    values = objective.endpoint.split(" ", 1)
    return tuple(Matcher(label, "=", value) for label, value in zip(_ROUTE_LABELS, values, strict=True))


def _require_edge(objective: Objective, sli: Sli) -> None:
    if not sli.foreign and (fault := edge_fault(sli.events.metric, repr(objective.target))):
        raise WrongRequest(f"{objective.name}: series can't tell what took longer: {fault}")


def _spellings(seconds: float) -> list[str]:
    """Return how clients spell an edge: Go's say "1", Prometheus 3 and Python's say "1.0"."""
    texts = dict.fromkeys((repr(seconds), f"{seconds:g}"))
    return [_SPECIAL.sub(r"\\\1", text) for text in texts if float(text) == seconds]


class _Reader:
    """Reads the raw samples of a window and of what came just before it, each selector once."""

    def __init__(self, prometheus: Prometheus, end: float, seconds: int) -> None:
        self._prometheus = prometheus
        self._end = end
        self._seconds = seconds
        self._known: dict[str, tuple[Series, ...]] = {}

    def measured(self, count: _Count) -> Measured:
        """Return the series of an objective."""
        selectors = (str(count.everything), *([str(count.events)] if count.events else []))
        return Measured(
            objective=count.objective,
            everything=self._raw(selectors[0]),
            events=self._raw(selectors[1]) if count.events else (),
            events_are="good" if count.objective.indicator == "latency" or count.sli is None else count.sli.counted,
            actual=self._percentile(count),
            selectors=selectors,
        )

    def up(self, series: Iterable[Series]) -> Iterator[Series]:
        """Yield when the targets of some series were scraped; nothing for what was pushed."""
        jobs = dict.fromkeys(each.labels[JOB] for each in series if each.labels.get(JOB) and each.labels.get(INSTANCE))
        for job in jobs:
            yield from self._raw(str(Selector(UP, (Matcher(JOB, "=", job),))))

    def _raw(self, selector: str) -> tuple[Series, ...]:
        if selector not in self._known:
            query = f"{selector}[{self._seconds + LOOK_BACK}s]"
            self._known[selector] = self._prometheus.matrix(query, self._end)
        return self._known[selector]

    def _percentile(self, count: _Count) -> float | None:
        if count.events is None or not count.events.metric.endswith(BUCKET) or count.objective.percentile is None:
            return None
        buckets = f"sum by ({BOUND_LABEL}) (increase({count.events.without(BOUND_LABEL)}[{self._seconds}s]))"
        query = f"histogram_quantile({count.objective.percentile / 100!r}, {buckets})"
        points = self._prometheus.vector(query, self._end)
        return points[0].value if points and math.isfinite(points[0].value) else None
