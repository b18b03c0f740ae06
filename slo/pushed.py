"""What k6 pushes: a series comes with the flushes in which it changed, so that its first sample in a range may be old.

A counter of a run that began inside the range began at 0. One of a run that was going on already had a value before, which
`goshop.series_source` asks for: taken for 0, the errors of a soak test's first minutes would be those of its last.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from slo.scrapes import MISSING, scrapes_of
from slo.series import NAME, Series, Target

Labels = frozenset[tuple[str, str]]


def labels_of(labels: Mapping[str, str]) -> Labels:
    """Return what tells a series from others of its name."""
    return frozenset((name, value) for name, value in labels.items() if name != NAME)


def running_before(series: Iterable[Series], begin: float) -> frozenset[Target]:
    """Return the runs, by their targets, that were going on when a range began (Unix s), or may have been."""
    scrapes = scrapes_of((each for each in series if each.is_pushed), ())
    return frozenset(
        target
        for target, each in scrapes.items()
        if not (math.isfinite(each.interval) and each.read[0] - begin > MISSING * each.interval)
    )


def unsettled(series: Iterable[Series], running: frozenset[Target], window_begin: float) -> bool:
    """Tell whether a series of a run that was going on already begins inside the window."""
    return any(each.target in running and _begins_inside(each, window_begin) for each in series)


def settled(
    series: Iterable[Series], running: frozenset[Target], window_begin: float, earlier: Mapping[Labels, float]
) -> tuple[Series, ...]:
    """Return the series with what they had counted before; `earlier` is what those had that were there before the range."""

    def one(each: Series) -> Series:
        if not _begins_inside(each, window_begin):
            return each
        return replace(each, before=earlier.get(labels_of(each.labels), 0.0) if each.target in running else 0.0)

    return tuple(map(one, series))


def _begins_inside(series: Series, window_begin: float) -> bool:
    return series.is_pushed and series.samples[0][0] > window_begin
