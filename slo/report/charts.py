"""Geometry of the drawings in the HTML report; the template only places the shapes. Units are those of the viewBox."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from slo.evidence import Bin, Evidence, Moment, Outlier, SpanRow, Waterfall
from slo.gates import PER_SECOND
from slo.report import figures
from slo.verdict import ObjectiveResult

WIDTH: Final = 1000.0
HEIGHT: Final = 270.0
LEFT: Final = 64.0
RIGHT: Final = 14.0
TOP: Final = 14.0
BOTTOM: Final = 30.0
# The strip below the latency, in which failures are drawn.
STRIP: Final = 26.0
_DECADES: Final = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_SMALLEST: Final = 1e-4
_PALETTE: Final = 8
# The bin above the target begins at the target but for rounding.
_EDGE: Final = 1 - 1e-9


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps [low, high] to [begin, end], logarithmically if asked for."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the coordinate of a value; outside values are drawn at the edge."""
        value = min(max(value, self.low), self.high)
        if self.log:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return round(self.begin + part * (self.end - self.begin), 2)


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of the grid with its label."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle with the sentence that explains it."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Gauge:
    """An objective's interval against its budget (or its target), in a viewBox 300 wide."""

    low: float
    high: float
    point: float
    limit: float
    good_begin: float
    good_width: float
    limit_label: str
    title: str


@dataclass(frozen=True, slots=True)
class TimeChart:
    """Latency over time: polylines, the target, failures below, the warm-up shaded."""

    median: str
    p99: str
    slices: tuple[Bar, ...]
    outliers: tuple[Bar, ...]
    failures: tuple[Bar, ...]
    target: float | None
    warmup_width: float
    ticks_x: tuple[Tick, ...]
    ticks_y: tuple[Tick, ...]
    floor: float


@dataclass(frozen=True, slots=True)
class Distribution:
    """How many requests took how long, both axes logarithmic."""

    bars: tuple[Bar, ...]
    target: float | None
    above: str
    ticks_x: tuple[Tick, ...]
    ticks_y: tuple[Tick, ...]
    floor: float


@dataclass(frozen=True, slots=True)
class SpanBar:
    """A row of a waterfall: its bar in per cent of the trace's length."""

    row: SpanRow
    left: float
    width: float
    colour: int


def gauge(result: ObjectiveResult) -> Gauge | None:
    """Draw an objective's interval; None when there is none."""
    if result.bad_share_interval is not None and result.budget is not None and result.total:
        return _share_gauge(result, result.bad_share_interval, result.budget)
    if result.interval is not None and result.actual is not None:
        return _rate_gauge(result, result.interval, result.actual)
    return None


def _share_gauge(result: ObjectiveResult, interval: tuple[float, float], budget: float) -> Gauge:
    scale = Scale(0.0, min(1.0, max(2 * budget, interval[1] * 1.15, 1e-6)), 0.0, 300.0)
    low, high, limit = scale(interval[0]), scale(interval[1]), scale(budget)
    # A throughput's budget is what may stay uncompleted: the lower the target, the more.
    name = "may fail" if result.unit == PER_SECOND else "budget"
    label = f"{name}: {figures.percent(budget)}"
    return Gauge(
        low, high, scale(result.bad / result.total), limit, 0.0, limit, label, f"95 %: {figures.interval(result)}"
    )


def _rate_gauge(result: ObjectiveResult, interval: tuple[float, float], actual: float) -> Gauge:
    scale = Scale(0.0, max(result.target, interval[1]) * 1.15, 0.0, 300.0)
    low, high, limit = scale(interval[0]), scale(interval[1]), scale(result.target)
    label = f"target {result.target:g}/s"
    return Gauge(low, high, scale(actual), limit, limit, 300.0 - limit, label, f"95 %: {figures.interval(result)}")


def time_chart(evidence: Evidence) -> TimeChart | None:
    """Draw median and P99 of each slice of the run over its start."""
    moments = evidence.moments
    if not moments:
        return None
    target = evidence.gate.latency_target
    length = moments[-1].at + moments[-1].seconds
    x = Scale(0.0, length, LEFT, WIDTH - RIGHT)
    shown = [value for m in moments for value in (m.median, m.p99) if value]
    y = _latency_scale([*shown, *(each.duration for each in evidence.outliers)], target)
    floor = HEIGHT - BOTTOM - STRIP
    return TimeChart(
        median=_line([(x(m.at + m.seconds / 2), y(m.median)) for m in moments if m.median is not None]),
        p99=_line([(x(m.at + m.seconds / 2), y(m.p99)) for m in moments if m.p99 is not None]),
        slices=tuple(_slice(m, x) for m in moments if m.requests),
        outliers=tuple(_outlier(each, x, y) for each in evidence.outliers),
        failures=tuple(_failures(m, x) for m in moments if m.unavailable),
        target=None if target is None else y(target),
        warmup_width=x(evidence.load.begin - evidence.origin) - LEFT,
        ticks_x=tuple(Tick(x(at), f"{at:g} s") for at in _steps(length)),
        ticks_y=tuple(Tick(y(value), figures.seconds(value)) for value in _DECADES if y.low <= value <= y.high),
        floor=floor,
    )


def _latency_scale(values: Sequence[float], target: float | None) -> Scale:
    low = min(values, default=_SMALLEST) / 1.6
    high = max((*values, target or 0.0), default=1.0) * 1.6
    return Scale(max(low, _SMALLEST), max(high, 10 * _SMALLEST), HEIGHT - BOTTOM - STRIP, TOP, log=True)


def _line(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _slice(moment: Moment, x: Scale) -> Bar:
    """Return the strip that shows a slice's figures when pointed at."""
    title = (
        f"{moment.at:g} s: {moment.requests / moment.seconds:.0f} requests/s, P50 {figures.seconds(moment.median)}, "
        f"P99 {'no answer' if moment.p99 is None else figures.seconds(moment.p99)}, "
        f"{moment.slow} slow, {moment.unavailable} failed"
    )
    left, right = x(moment.at), x(moment.at + moment.seconds)
    return Bar(left, TOP, right - left, HEIGHT - BOTTOM - TOP, "slice", title)


def _outlier(outlier: Outlier, x: Scale, y: Scale) -> Bar:
    """Return the dot of one bad request; without an answer it is hollow."""
    word = "no answer after" if outlier.unanswered else "took"
    title = f"{outlier.endpoint} at {outlier.at:.1f} s {word} {figures.seconds(outlier.duration)}"
    return Bar(x(outlier.at), y(outlier.duration), 0.0, 0.0, "hollow" if outlier.unanswered else "dot", title)


def _failures(moment: Moment, x: Scale) -> Bar:
    height = max(3.0, (STRIP - 6) * moment.unavailable / moment.requests)
    left, right = x(moment.at), x(moment.at + moment.seconds)
    title = f"{moment.at:g} s: {moment.unavailable} of {moment.requests} failed"
    return Bar(left + 1, HEIGHT - BOTTOM - height, max(1.0, right - left - 2), height, "bad", title)


def _steps(length: float) -> Sequence[float]:
    """Return round times for an axis, about eight of them."""
    step = next((step for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600) if length / step <= 10), 1800)  # noqa: PLR2004 - as said
    return [step * index for index in range(math.floor(length / step) + 1)]


def distribution(evidence: Evidence) -> Distribution | None:
    """Draw the histogram of the judged durations with the target."""
    bins, target = evidence.bins, evidence.gate.latency_target
    if not bins:
        return None
    floor = HEIGHT - BOTTOM
    x = Scale(
        min(bins[0].low, target or math.inf), max(bins[-1].high, (target or 0) * 1.3), LEFT, WIDTH - RIGHT, log=True
    )
    most = max(each.count for each in bins)
    # One request must be seen beside ten thousand: the tail is what is judged.
    y = Scale(0.5, max(most * 1.3, 2.0), floor, TOP, log=True)
    counts = [10**power for power in range(math.floor(math.log10(most)) + 1)]
    return Distribution(
        bars=tuple(_bin(each, x, y, floor, target) for each in bins if each.count),
        target=None if target is None else x(target),
        above=figures.percent(evidence.above / sum(each.count for each in bins)),
        ticks_x=tuple(Tick(x(value), figures.seconds(value)) for value in _DECADES if x.low <= value <= x.high),
        ticks_y=tuple(Tick(y(count), f"{count:,}".replace(",", " ")) for count in counts),
        floor=floor,
    )


def _bin(each: Bin, x: Scale, y: Scale, floor: float, target: float | None) -> Bar:
    title = f"{figures.seconds(each.low)} to {figures.seconds(each.high)}: {each.count} requests"
    kind = "bad" if target is not None and each.low >= target * _EDGE else "good"
    left, top = x(each.low), y(each.count)
    return Bar(left + 0.5, top, max(1.0, x(each.high) - left - 1), round(floor - top, 2), kind, title)


def span_bars(trace: Waterfall, services: Sequence[str]) -> tuple[SpanBar, ...]:
    """Draw a waterfall; a service has the same colour in every one of them."""
    length = trace.length or 1.0
    return tuple(
        SpanBar(
            row,
            round(100 * row.offset / length, 3),
            round(max(0.25, 100 * row.duration / length), 3),
            services.index(row.service) % _PALETTE,
        )
        for row in trace.rows
    )
