"""Counters as a Prometheus has scraped them: what was counted in each block of a window, by differences of raw samples.

Not by `increase()`, which extrapolates to the window's edges: 12,069 for 12,004 requests that were counted. A difference of
two samples belongs to the block in which the later one was scraped, for good and bad events alike. A value that falls is a
restart: what is counted afterwards began at 0. A series that begins inside the window began at 0 too, where its target
was scraped before without it (the first error of a route); otherwise nobody knows what it had counted before. When targets
were scraped is in `slo.scrapes`, what is pushed in `slo.pushed`.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from slo.statistics import FEWEST_BLOCKS, block_count

# https://prometheus.io/docs/concepts/jobs_instances/
JOB: Final = "job"
INSTANCE: Final = "instance"
NAME: Final = "__name__"
_K6: Final = "k6_"
# With fewer scrapes the requests of a block are those of its neighbours.
FEWEST_SCRAPES: Final = 2

# A day of ten million events each second.
MOST_EVENTS: Final = 1e12

Target = tuple[str, ...]


class SeriesError(Exception):
    """A series is none of a counter; the message names it."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series: its labels, and its samples as (unix s, value) in order of time.

    `before` is what it had counted before the first of them, None where nobody knows. `told_by` are the labels that tell its
    target from others of the same job and instance.
    """

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]
    before: float | None = None
    told_by: tuple[str, ...] = ()

    @property
    def target(self) -> Target:
        """Return whose it is: job, instance, and what else tells it from others; "" where whoever wrote it said none."""
        return tuple(self.labels.get(name, "") for name in (JOB, INSTANCE, *self.told_by))

    @property
    def is_pushed(self) -> bool:
        """Tell whether a k6 writes it, and nobody scrapes it."""
        return self.labels.get(NAME, "").startswith(_K6)

    def __str__(self) -> str:
        """Return it as PromQL spells it."""
        labels = ",".join(f'{name}="{value}"' for name, value in sorted(self.labels.items()) if name != NAME)
        return f"{self.labels.get(NAME, '')}{{{labels}}}"


@dataclass(frozen=True, slots=True)
class Scrapes:
    """When a target was read, in unix s, and when it did not answer; `interval` is how many s lie between, as a rule."""

    read: tuple[float, ...]
    failed: tuple[float, ...] = ()
    interval: float = math.inf


@dataclass(frozen=True, slots=True)
class Window:
    """The time that is judged: unix s, cut into equal blocks."""

    begin: float
    seconds: float
    blocks: int = FEWEST_BLOCKS

    @property
    def end(self) -> float:
        """Unix s at which it ends."""
        return self.begin + self.seconds

    @property
    def edges(self) -> tuple[float, ...]:
        """Begin and end of every block."""
        return tuple(self.begin + self.seconds * index / self.blocks for index in range(self.blocks + 1))


def cut(begin: float, seconds: float, scrapes: Iterable[Scrapes]) -> Window:
    """Return the window in as many blocks as its length gives (`slo.statistics`), and each has two scrapes of every target.

    With 6 blocks a window may still be too short for that: see `shortest`.
    """
    fitting = seconds / (FEWEST_SCRAPES * _slowest(scrapes)) + 1e-6
    return Window(begin, seconds, max(FEWEST_BLOCKS, math.floor(min(block_count(seconds), fitting))))


def shortest(scrapes: Iterable[Scrapes]) -> float:
    """Return how many s the shortest window has whose blocks have two scrapes each; infinite when nobody knows."""
    return FEWEST_BLOCKS * FEWEST_SCRAPES * _slowest(scrapes)


def _slowest(scrapes: Iterable[Scrapes]) -> float:
    """Return the longest interval of all; a target that has just come or gone has none."""
    return max((each.interval for each in scrapes if math.isfinite(each.interval)), default=math.inf)


def counted(series: Iterable[Series], window: Window, scrapes: Mapping[Target, Scrapes]) -> tuple[int, ...]:
    """Return how many events some series counted together in each block; raises `SeriesError`."""
    sums = [0.0] * window.blocks
    edges = window.edges
    for each in series:
        for at, increment in increments(each, scrapes):
            if window.begin < at <= window.end:
                sums[min(bisect_left(edges, at), window.blocks) - 1] += increment
    if sum(sums) > MOST_EVENTS:
        raise SeriesError(f"{sum(sums):.1e} events in {window.seconds:.0f} s are more than anybody can have counted")
    return tuple(round(each) for each in sums)


def increments(series: Series, scrapes: Mapping[Target, Scrapes]) -> Iterator[tuple[float, float]]:
    """Yield how much was counted between two samples, at the time of the later one; raises `SeriesError`."""
    before = series.before
    for at, value in series.samples:
        if not 0 <= value < math.inf:
            raise SeriesError(f"{series} is no counter: it was {value:g}")
        if before is not None:
            yield at, value - before if value >= before else value
        elif value and _began_at_zero(series, at, scrapes):
            yield at, value
        before = value


def _began_at_zero(series: Series, first: float, scrapes: Mapping[Target, Scrapes]) -> bool:
    """Tell whether a series was not there yet when its target was scraped the last time before it.

    What k6 pushes it leaves out whenever it has not changed: see `slo.pushed`.
    """
    read = scrapes[series.target].read
    return not series.is_pushed and bool(read) and read[0] < first


def restarts(series: Iterable[Series], window: Window) -> set[Target]:
    """Return the targets of which a counter fell inside the window: their processes began anew."""
    return {
        each.target
        for each in series
        for (_, before), (at, value) in pairwise(each.samples)
        if value < before and window.begin < at <= window.end
    }
