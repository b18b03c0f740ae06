"""When the targets of some series were scraped, by their `up`: how long each block really is, and what nobody saw."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import fmean, median
from typing import Final

from slo.series import INSTANCE, JOB, NAME, Scrapes, Series, Target, Window

UP: Final = "up"
# One scrape that is missing is not a gap yet.
MISSING: Final = 2.5
# Scrapes come a little early or late.
_LATE: Final = 1.5
# How many of several sentences of one kind are said.
MOST_SAID: Final = 3


def told_apart(series: Iterable[Series], up: Iterable[Series]) -> tuple[Series, ...]:
    """Return series whose targets differ where several `up` of one job and instance do: two clusters have the same pairs."""
    found: dict[tuple[str, str], list[Series]] = {}
    for each in up:
        found.setdefault(_pair(each), []).append(each)
    telling = {pair: _telling(ups) for pair, ups in found.items()}
    return tuple(replace(each, told_by=telling.get(_pair(each), ())) for each in series)


def _pair(series: Series) -> tuple[str, str]:
    return series.labels.get(JOB, ""), series.labels.get(INSTANCE, "")


def _telling(ups: Sequence[Series]) -> tuple[str, ...]:
    names = sorted({name for each in ups for name in each.labels} - {NAME})
    return tuple(name for name in names if len({each.labels.get(name) for each in ups}) > 1)


def confused(series: Iterable[Series], up: Iterable[Series]) -> Iterator[str]:
    """Yield of which targets it is not known when they were scraped: several have the name that a series says."""
    known = {each.target for each in up}
    for each in {one.target: one for one in series if one.told_by}.values():
        if each.target not in known:
            labels = " and ".join(each.told_by)
            yield f"several targets are called {named(_pair(each))}, they differ in {labels}: name one by --match"


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


def silent(scrapes: Mapping[Target, Scrapes], up: Iterable[Series], window: Window) -> Iterator[Target]:
    """Yield the targets that have no series, and did not answer a scrape for longer than `tolerated`."""
    for each in up:
        tried = _by_up(each)
        failed = [at for at in tried.failed if window.begin < at <= window.end]
        if (
            each.target not in scrapes
            and not tried.read
            and failed
            and failed[-1] - failed[0] > tolerated(tried, window)
        ):
            yield each.target


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


def covered(window: Window, scrapes: Iterable[Scrapes]) -> tuple[float, ...]:
    """Return how many s lie between the scrapes that bound each block's counts: the mean of the targets that were there.

    A block of 37 s holds two or three scrapes each 15 s: what it counted, over its own length, would scatter by a half.
    Where no target was there all the time, one has followed another: then the scrapes of both bound the block.
    """
    found = [each for each in scrapes if each.read]
    merged = tuple(sorted({at for each in found for at in each.read}))
    return tuple(_block_seconds(block, window.end, found, merged) for block in pairwise(window.edges))


def _block_seconds(
    block: tuple[float, float], end: float, scrapes: Sequence[Scrapes], merged: tuple[float, ...]
) -> float:
    throughout = [each.read for each in scrapes if _was_there(each, block, end)]
    return fmean(_between(*block, times) for times in throughout or [merged]) if merged else 0.0


def _was_there(scrapes: Scrapes, block: tuple[float, float], end: float) -> bool:
    """Tell whether a target was read before a block and after it, or lately where nobody can have been read after it."""
    left, right = block
    until = right if right < end else end - _LATE * scrapes.interval
    return math.isfinite(until) and scrapes.read[0] <= left and scrapes.read[-1] >= until


def _between(left: float, right: float, times: Sequence[float]) -> float:
    first, last = (times[max(0, bisect_right(times, edge) - 1)] for edge in (left, right))
    return last - first


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
    return max(half, MISSING * scrapes.interval) if math.isfinite(scrapes.interval) else half


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
