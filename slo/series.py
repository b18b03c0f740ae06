"""Counters as a Prometheus has scraped them: what was counted in each block of a window, by differences of raw samples.

Not by `increase()`, which extrapolates to the window's edges: 12,069 for 12,004 requests that were counted. A difference of
two samples belongs to the block in which the later one was scraped, for good and bad events alike. A value that falls is a
restart: what is counted afterwards began at 0. A series that begins inside the window began at 0 too, where its target
was scraped before without it (the first error of a route); otherwise nobody knows what it had counted before.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median
from typing import Final

from slo.statistics import FEWEST_BLOCKS, block_count

# https://prometheus.io/docs/concepts/jobs_instances/
JOB: Final = "job"
INSTANCE: Final = "instance"
NAME: Final = "__name__"
UP: Final = "up"
# A run of k6 pushes its counters from its first request on, and nobody scrapes it.
K6: Final = "k6_"
# With fewer scrapes the requests of a block are those of its neighbours.
FEWEST_SCRAPES: Final = 2
# One scrape that is missing is not a gap yet.
_MISSING: Final = 2.5
# How many of several sentences of one kind are said.
MOST_SAID: Final = 3

# A day of ten million events each second.
MOST_EVENTS: Final = 1e12

Target = tuple[str, str]


class SeriesError(Exception):
    """A series is none of a counter; the message names it."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series: its labels, and its samples as (unix s, value) in order of time."""

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]

    @property
    def target(self) -> Target:
        """Return whose it is: job and instance, "" where whoever wrote it said none."""
        return self.labels.get(JOB, ""), self.labels.get(INSTANCE, "")

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


def scrapes_of(series: Iterable[Series], up: Iterable[Series]) -> dict[Target, Scrapes]:
    """Return when each target of some series was scraped: by its `up`, or by its samples where it has none."""
    found: dict[Target, list[Series]] = {}
    for each in series:
        found.setdefault(each.target, []).append(each)
    known = {each.target: each for each in up if each.target in found}
    return {
        target: _by_up(known[target]) if target in known else _by_samples(of_target)
        for target, of_target in found.items()
    }


def _by_up(up: Series) -> Scrapes:
    read, failed = (tuple(at for at, value in up.samples if bool(value) is wanted) for wanted in (True, False))
    return Scrapes(read, failed, _interval(up))


def _by_samples(series: Iterable[Series]) -> Scrapes:
    """Whoever pushes writes a series only when it has changed: the most frequent one says how often that may be."""
    found = list(series)
    times = {at for each in found for at, _ in each.samples}
    return Scrapes(tuple(sorted(times)), (), min(map(_interval, found)))


def _interval(series: Series) -> float:
    times = [at for at, _ in series.samples]
    return median(right - left for left, right in pairwise(times)) if len(times) > 1 else math.inf


def cut(begin: float, seconds: float, scrapes: Iterable[Scrapes]) -> Window:
    """Return the window in as many blocks as its length gives (`slo.statistics`), and each has two scrapes of every target.

    With 6 blocks a window may still be too short for that: see `shortest`.
    """
    fitting = math.floor(seconds / (FEWEST_SCRAPES * _slowest(scrapes)) + 1e-6)
    return Window(begin, seconds, max(FEWEST_BLOCKS, min(block_count(seconds), fitting)))


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


def covered(window: Window, scrapes: Iterable[Scrapes]) -> tuple[float, ...]:
    """Return how many s lie between the scrapes that bound each block's counts, the mean of all targets.

    A block of 37 s holds two or three scrapes each 15 s: what it counted, over its own length, would scatter by a half.
    """
    lengths = [_between_edges(each.read, window.edges) for each in scrapes if each.read]
    return tuple(fmean(each) for each in zip(*lengths, strict=True)) if lengths else (0.0,) * window.blocks


def _between_edges(times: Sequence[float], edges: Sequence[float]) -> list[float]:
    last = [times[max(0, bisect_right(times, edge) - 1)] for edge in edges]
    return [right - left for left, right in pairwise(last)]


def increments(series: Series, scrapes: Mapping[Target, Scrapes]) -> Iterator[tuple[float, float]]:
    """Yield how much was counted between two samples, at the time of the later one; raises `SeriesError`."""
    before: float | None = None
    for at, value in series.samples:
        if not 0 <= value < math.inf:
            raise SeriesError(f"{series} is no counter: it was {value:g}")
        if before is not None:
            yield at, value - before if value >= before else value
        elif value and _began_at_zero(series, at, scrapes):
            yield at, value
        before = value


def _began_at_zero(series: Series, first: float, scrapes: Mapping[Target, Scrapes]) -> bool:
    """Tell whether a series was not there yet when its target was scraped the last time before it."""
    if series.labels.get(NAME, "").startswith(K6):
        return True
    read = scrapes[series.target].read
    return bool(read) and read[0] < first


def restarts(series: Iterable[Series], window: Window) -> set[Target]:
    """Return the targets of which a counter fell inside the window: their processes began anew."""
    return {
        each.target
        for each in series
        for (_, before), (at, value) in pairwise(each.samples)
        if value < before and window.begin < at <= window.end
    }


def holes(scrapes: Mapping[Target, Scrapes], window: Window) -> Iterator[str]:
    """Yield why what was counted is not all that happened in the window: times without a scrape, a sentence each."""
    if not any(each.read for each in scrapes.values()):
        return
    begin, end = (
        min(each.read[0] for each in scrapes.values() if each.read),
        max(each.read[-1] for each in scrapes.values() if each.read),
    )
    late = max(tolerated(each, window) for each in scrapes.values())
    if begin - window.begin > late:
        yield f"the series begin {begin - window.begin:.0f} s after the window does: it must be shorter, or end later"
    if window.end - end > late:
        yield f"nothing was scraped in the last {window.end - end:.0f} s of the window"
    for target, each in scrapes.items():
        yield from _holes_of(target, each, window)


def tolerated(scrapes: Scrapes, window: Window) -> float:
    """Return for how many s a target may go without a scrape: half a block, in which its events may be those of another."""
    half = window.seconds / window.blocks / 2
    return max(half, _MISSING * scrapes.interval) if math.isfinite(scrapes.interval) else half


def _holes_of(target: Target, scrapes: Scrapes, window: Window) -> Iterator[str]:
    name, most = named(target), tolerated(scrapes, window)
    for left, right in pairwise(scrapes.read):
        if right - left > most and right > window.begin and left < window.end:
            yield f"{name} was not scraped for {right - left:.0f} s, {left - window.begin:.0f} s into the window"
    last = scrapes.read[-1] if scrapes.read else -math.inf
    failing = [at for at in scrapes.failed if last < at <= window.end]
    if failing and window.end - max(last, window.begin) > most:
        yield f"{name} did not answer the scrapes of the window's last {window.end - max(last, window.begin):.0f} s"


def gone(scrapes: Mapping[Target, Scrapes], window: Window) -> set[Target]:
    """Return the targets that nobody scraped any more at the window's end, and that did not fail to answer either."""
    return {
        target
        for target, each in scrapes.items()
        if each.read
        and window.end - each.read[-1] > tolerated(each, window)
        and not any(at > each.read[-1] for at in each.failed)
    }


def named(target: Target) -> str:
    """Return a target as people know it."""
    return " ".join(filter(None, target)) or "the source of the series"
