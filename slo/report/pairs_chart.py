"""Geometry of the drawing of a comparison: the ratio of each pair, and the bounds that all of them give."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from slo.report.charts import Bar, Scale, Tick
from slo.report.comparison import change, p99_ratio, slow_ratio
from slo.verdict import Baseline, PairOfRuns, Ratio

WIDTH: Final = 500.0
HEIGHT: Final = 220.0
LEFT: Final = 62.0
RIGHT: Final = 12.0
TOP: Final = 12.0
BOTTOM: Final = 28.0
# Ratios at which a line may be drawn; as many as fit.
_GRID: Final = (
    0.1,
    0.2,
    0.5,
    0.7,
    0.8,
    0.9,
    0.95,
    0.98,
    1.0,
    1.02,
    1.05,
    1.1,
    1.2,
    1.5,
    2.0,
    3.0,
    5.0,
    10.0,
    30.0,
    100.0,
)
_CLOSEST: Final = 18.0
_MOST_LABELLED: Final = 20


@dataclass(frozen=True, slots=True)
class PairsChart:
    """One figure's ratios: dots for pairs, a band for the bounds, lines for 1 and for what is a regression."""

    title: str
    dots: tuple[Bar, ...]
    band: Bar
    mean: float
    same: float
    limit: float | None
    ticks_x: tuple[Tick, ...]
    ticks_y: tuple[Tick, ...]


def pairs_charts(baseline: Baseline) -> tuple[PairsChart, ...]:
    """Draw what was compared."""
    drawn = []
    if baseline.latency is not None:
        drawn.append(_chart("P99", baseline.pairs, [p99_ratio(pair) for pair in baseline.pairs], baseline.latency))
    if baseline.slow is not None:
        ratios = [slow_ratio(pair) for pair in baseline.pairs]
        drawn.append(_chart("share of slow requests", baseline.pairs, ratios, baseline.slow))
    return tuple(drawn)


def _chart(title: str, pairs: Sequence[PairOfRuns], ratios: Sequence[float | None], found: Ratio) -> PairsChart:
    limit = 1 + found.margin
    shown = [ratio for ratio in (*ratios, found.low, found.high, 1.0, limit) if ratio]
    floor = HEIGHT - BOTTOM
    y = Scale(min(shown) / 1.03, max(shown) * 1.03, floor, TOP, log=True)
    x = Scale(0.0, float(len(pairs)), LEFT, WIDTH - RIGHT)
    high, low = y(found.high), y(found.low)
    between = f"{change(found.ratio)}, between {change(found.low)} and {change(found.high)}"
    return PairsChart(
        title=title,
        dots=tuple(
            Bar(x(number + 0.5), y(ratio), 0.0, 0.0, _kind(ratio, limit), _said(number, pair, ratio))
            for number, (pair, ratio) in enumerate(zip(pairs, ratios, strict=True))
            if ratio is not None
        ),
        band=Bar(LEFT, high, WIDTH - LEFT - RIGHT, round(max(low - high, 1.0), 2), "band", f"{title}: {between}"),
        mean=y(found.ratio),
        same=y(1.0),
        limit=y(limit) if found.margin else None,
        ticks_x=tuple(Tick(x(at - 0.5), str(at)) for at in _numbers(len(pairs))),
        ticks_y=_ticks(y),
    )


def _kind(ratio: float, limit: float) -> str:
    return "above" if ratio > limit else "below"


def _said(number: int, pair: PairOfRuns, ratio: float) -> str:
    return f"pair {number + 1}, {pair.first} first: {change(ratio)}"


def _numbers(count: int) -> range:
    return range(1, count + 1, max(1, math.ceil(count / _MOST_LABELLED)))


def _ticks(y: Scale) -> tuple[Tick, ...]:
    """Return lines at round ratios that do not touch each other; 1 is always there."""
    found: list[Tick] = []
    for ratio in sorted(_GRID, key=lambda value: abs(math.log(value))):
        if y.low <= ratio <= y.high and all(abs(y(ratio) - tick.at) >= _CLOSEST for tick in found):
            found.append(Tick(y(ratio), "same" if ratio == 1 else f"{(ratio - 1) * 100:+.0f} %"))
    return tuple(found)
