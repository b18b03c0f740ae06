"""`goshop gate --source prometheus`: reads what a release did in a window that is over, and sends no load.

Each objective of the gate is counted by the series of its own SLO. Raw samples are read, from before the window on, so
that nothing is extrapolated (`slo.series`); the percentile alone is Prometheus' own, because it decides nothing.
"""

import math
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from goshop.budget import narrowed_selector
from goshop.measurement import MeasurementFailed, WrongRequest
from goshop.objective_series import Matchers, Selected, quoted, selected
from goshop.prometheus import LATEST, Point, Prometheus, PrometheusError
from slo.gates import Gate
from slo.openslo.durations import window_of
from slo.openslo.known_series import BUCKET
from slo.openslo.model import Slo
from slo.openslo.promql import Matcher, Selector
from slo.pushed import labels_of, running_before, settled, unsettled
from slo.scrapes import UP
from slo.series import INSTANCE, JOB, Series
from slo.series_gate import Measured, SeriesFacts
from slo.verdict import Release, Source
from telemetry.conventions import BOUND_LABEL

# A series that has not been scraped for so long is gone: https://prometheus.io/docs/prometheus/latest/querying/basics/#staleness
LOOK_BACK: Final = 300
LONGEST: Final = 86_400
# Read, each takes about 150 bytes.
MOST_SAMPLES: Final = 2_000_000
# A counter of k6 that has not changed for so long is taken for one that was not there.
_PUSHED_BEFORE: Final = "1d"
_LENGTH: Final = re.compile(r"[1-9][0-9]{0,6}[smhd]")


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
    most_samples: int = MOST_SAMPLES


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
        at = float(text) if text.replace(".", "", 1).isdecimal() else _unix_seconds(text)
    except (ValueError, OverflowError):
        at = math.nan
    if not 0 < at < LATEST:
        raise WrongRequest(f"--end: expected a time such as 2026-01-31T12:00:00Z, or unix seconds, got {text!r}")
    return at


def _unix_seconds(text: str) -> float:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(text)
    return found.timestamp()


def measure_window(past: Past) -> SeriesFacts:
    """Read the series of the window; raises `WrongRequest`, and `MeasurementFailed` when Prometheus does not answer."""
    counts = [selected(past.gate, past.slos, past.matchers, objective) for objective in past.gate.objectives]
    try:
        now = past.prometheus.now()
        end = now if past.end is None else past.end
        if end > now:
            raise WrongRequest(f"--end lies {end - now:.0f} s ahead of the clock of {past.prometheus.url}")
        reader = _Reader(past, end)
        measured = reader.settled([reader.measured(count) for count in counts])
        up, strangers = reader.up(_series(measured))
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
        strangers=strangers,
        remarks=tuple(reader.remarks),
    )


def _series(measured: Iterable[Measured]) -> list[Series]:
    return [series for each in measured for series in (*each.everything, *each.events)]


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
        grafana=past.grafana,
        problems=(problem,),
    )


def _source(past: Past) -> Source:
    return Source(past.prometheus.url, float(past.seconds), tuple(map(str, past.matchers)))


class _Reader:
    """Reads the raw samples of a window and of what came just before it, each selector once."""

    def __init__(self, past: Past, end: float) -> None:
        self.remarks: list[str] = []
        self._prometheus = past.prometheus
        self._matchers = past.matchers
        self._end = end
        self._seconds = past.seconds
        self._samples_left = past.most_samples
        self._known: dict[str, tuple[Series, ...]] = {}
        # Those matchers that the `up` of a job can be narrowed by.
        self._on_up: Matchers = ()

    def measured(self, count: Selected) -> Measured:
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

    def settled(self, measured: list[Measured]) -> tuple[Measured, ...]:
        """Return the same with what counters that k6 pushes had counted before: see `slo.pushed`."""
        running = running_before(_series(measured), self._end - self._seconds - LOOK_BACK)

        def one(series: tuple[Series, ...], selector: str) -> tuple[Series, ...]:
            begin = self._end - self._seconds
            earlier = self._earlier(selector) if unsettled(series, running, begin) else {}
            return settled(series, running, begin, earlier)

        return tuple(
            replace(
                each,
                everything=one(each.everything, each.selectors[0]),
                events=one(each.events, each.selectors[-1]),
            )
            for each in measured
        )

    def _earlier(self, selector: str) -> dict[frozenset[tuple[str, str]], float]:
        """Return the last values before the range that was read."""
        query = f"last_over_time({selector}[{_PUSHED_BEFORE}])"
        points = self._prometheus.vector(query, self._end - self._seconds - LOOK_BACK)
        return {labels_of(point.labels): point.value for point in points if math.isfinite(point.value)}

    def up(self, series: list[Series]) -> tuple[tuple[Series, ...], int]:
        """Return when the targets of some series were scraped, and those of their jobs that never answered; nothing for what was pushed.

        And how many targets of these jobs answered that have none of the series.
        """
        found: list[Series] = []
        strangers = 0
        for job, of_job in _instances(series).items():
            answered = self._answered(job)
            silent = {name for name, value in answered if not value}
            strangers += sum(1 for name, value in answered if value and name not in of_job)
            wanted = "|".join(quoted(name) for name in sorted(of_job | silent))
            found += self._raw(str(self._up(job, Matcher(INSTANCE, "=~", wanted))))
        return tuple(found), strangers

    def _answered(self, job: str) -> list[tuple[str, float]]:
        """Return the instances of a job, those that `--match` selects where it can, and 1 for who answered in the window."""
        self._on_up = ()
        points = self._ever(job)
        labels = {label for point in points for label in point.labels}
        self._on_up = tuple(matcher for matcher in self._matchers if matcher.label in labels)
        return [(point.labels.get(INSTANCE, ""), point.value) for point in (self._ever(job) if self._on_up else points)]

    def _ever(self, job: str) -> tuple[Point, ...]:
        return self._prometheus.vector(f"max_over_time({self._up(job)}[{self._seconds}s])", self._end)

    def _up(self, job: str, *more: Matcher) -> Selector:
        return narrowed_selector(Selector(UP, (Matcher(JOB, "=", job),)), (*more, *self._on_up))

    def _raw(self, selector: str) -> tuple[Series, ...]:
        if selector not in self._known:
            found = self._prometheus.matrix(selector, self._seconds + LOOK_BACK, self._end)
            self._samples_left -= sum(len(each.samples) for each in found)
            if self._samples_left < 0:
                raise PrometheusError(
                    "the series have too many samples: ask for less with --match, or a shorter --window"
                )
            self._known[selector] = found
        return self._known[selector]

    def _percentile(self, count: Selected) -> float | None:
        if count.events is None or not count.events.metric.endswith(BUCKET) or count.objective.percentile is None:
            return None
        buckets = f"sum by ({BOUND_LABEL}) (increase({count.events.without(BOUND_LABEL)}[{self._seconds}s]))"
        query = f"histogram_quantile({count.objective.percentile / 100!r}, {buckets})"
        try:
            points = self._prometheus.vector(query, self._end)
        except PrometheusError as error:
            # It decides nothing: what does has been counted.
            self.remarks.append(f"{count.objective.name}: its percentile is not known: {error}")
            return None
        return points[0].value if points and math.isfinite(points[0].value) else None


def _instances(series: Iterable[Series]) -> dict[str, set[str]]:
    """Return the instances of each job that some series are of."""
    found: dict[str, set[str]] = {}
    for each in series:
        job, instance = each.labels.get(JOB), each.labels.get(INSTANCE)
        if job and instance:
            found.setdefault(job, set()).add(instance)
    return found
