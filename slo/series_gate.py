"""From the series of a window to a verdict: a release that is judged by what it did for real customers, or for k6 elsewhere.

    judgement = evaluate_series(SeriesFacts(...))

No load was sent, so nothing can be reconciled and no cause be named. What was not measured is never a pass.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

from msgspec import structs

from slo.evidence import gather
from slo.gate import Judgement
from slo.gates import Gate, Objective
from slo.judge import judge_counts, judge_rate, unmeasured
from slo.links import run_links
from slo.load import LoadFacts
from slo.openslo.model import Counted
from slo.scrapes import MOST_SAID, confused, covered, gone, holes, named, scrapes_of, silent, told_apart
from slo.series import (
    NAME,
    Scrapes,
    Series,
    SeriesError,
    Target,
    Window,
    counted,
    cut,
    restarts,
    shortest,
)
from slo.statistics import SHORTEST_SECONDS, Block
from slo.timestamps import rfc3339
from slo.verdict import SCHEMA, Load, ObjectiveResult, Reconciliation, Release, Source, Traces, Verdict, conclude
from telemetry.conventions import BOUND_LABEL

_ROUNDING: Final = 1e-6
# How many more of a part than of all there may be: what came in between the two readings at the window's edges.
_FEW: Final = 2
_SKEW: Final = 0.01


@dataclass(frozen=True, slots=True)
class Measured:
    """The series of one objective: `events` are good or bad as `events_are` says, out of `everything`.

    A throughput has `everything` alone. `actual` is the percentile in s that Prometheus interpolates, None where there is
    none. `selectors` are named where a series is missing.
    """

    objective: Objective
    everything: tuple[Series, ...]
    events: tuple[Series, ...] = ()
    events_are: Counted = "bad"
    actual: float | None = None
    selectors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFacts:
    """Everything that is known of a window; `up` are the series that say when the targets were scraped.

    `begin` in unix s. `strangers` is how many more targets of the same jobs answered and have none of the series: whoever
    never answered may be one of them. `problems` make the verdict "error", a sentence each, `remarks` are only said.
    """

    gate: Gate
    measured: Sequence[Measured]
    up: tuple[Series, ...]
    begin: float
    seconds: float
    source: Source
    release: Release = field(default_factory=Release)
    grafana: str = ""
    strangers: int = 0
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def evaluate_series(facts: SeriesFacts) -> Judgement:
    """Judge a release by series. Raises nothing for what `goshop.prometheus` lets through: finite times inside the range."""
    up, every_measured = told_apart(facts.up, facts.up), tuple(_apart(each, facts.up) for each in facts.measured)
    every = [series for measured in every_measured for series in (*measured.everything, *measured.events)]
    scrapes = scrapes_of(every, up)
    window = cut(facts.begin, facts.seconds, scrapes.values())
    judge = _Judge(window, scrapes, shortest(scrapes.values()))
    results = tuple(map(judge.open if facts.problems else judge.result, every_measured))
    never = tuple(_never_answered(silent(scrapes, up, window)))
    found = (confused(every, up), holes(scrapes, window), () if facts.strangers else never)
    problems = (*facts.problems, *judge.problems, *(said for each in found for said in islice(each, MOST_SAID)))
    load = _load(results, problems or tuple(_uncounted(results)), facts.seconds)
    remarks = (*facts.remarks, *_remarks(every, scrapes, window), *(_few(never) if facts.strangers else ()))
    lasted = LoadFacts(model="open", begin=window.begin, seconds=window.seconds)
    verdict = _verdict(facts, results, load, structs.replace(facts.source, remarks=remarks))
    return Judgement(verdict, gather(facts.gate, lasted, (), {}, Traces()))


def _apart(measured: Measured, up: Sequence[Series]) -> Measured:
    return replace(measured, everything=told_apart(measured.everything, up), events=told_apart(measured.events, up))


def _never_answered(targets: Iterable[Target]) -> Iterator[str]:
    for target in sorted(set(targets)):
        yield f"{named(target)} did not answer a single scrape of the window"


def _load(results: Sequence[ObjectiveResult], problems: Sequence[str], seconds: float) -> Load:
    """Say what came in the window: nobody sent it, so that there is a number and a rate of it, and what is wrong with them."""
    requests = max((result.total for result in results), default=0)
    return Load(
        requests=requests,
        rate=requests / seconds,
        dropped_iterations=0,
        client_minus_server_p99=None,
        healthy=not problems,
        problems=tuple(dict.fromkeys(problems)),
        seconds=seconds,
    )


def _uncounted(results: Sequence[ObjectiveResult]) -> Iterator[str]:
    """Name the objectives that no request counted for; a release that missed another has failed all the same."""
    if not any(result.total for result in results):
        yield "no request was counted in the window"
    elif not any(result.outcome == "missed" for result in results):
        yield from (f"{result.name}: no request was counted" for result in results if not result.total)


def _verdict(facts: SeriesFacts, results: tuple[ObjectiveResult, ...], load: Load, source: Source) -> Verdict:
    begin, end = facts.begin, facts.begin + facts.seconds
    return Verdict(
        schema=SCHEMA,
        verdict=conclude(results, measured=load.healthy),
        gate=facts.gate.name,
        release=facts.release,
        url=source.prometheus,
        profile="",
        faults=(),
        started=rfc3339(begin),
        ended=rfc3339(end),
        objectives=results,
        load=load,
        reconciliation=Reconciliation(k6=0),
        causes=(),
        traces=Traces(),
        links=run_links(facts.grafana, facts.gate, Traces(), started=begin, ended=end),
        source=source,
    )


class _Judge:
    """Judges one objective after the other; what kept it from counting is in `problems`."""

    def __init__(self, window: Window, scrapes: dict[Target, Scrapes], shortest_seconds: float) -> None:
        self.problems: list[str] = []
        self._window = window
        self._scrapes = scrapes
        self._shortest = max(shortest_seconds, SHORTEST_SECONDS)

    @staticmethod
    def open(measured: Measured) -> ObjectiveResult:
        """Return an objective whose series could not be read."""
        return unmeasured(measured.objective, "the series could not be read")

    def result(self, measured: Measured) -> ObjectiveResult:
        """Return how an objective was met; what can't be counted is said and undecided."""
        try:
            faults = list(islice(_missing(measured), MOST_SAID))
            if not faults:
                return self._long_enough(self._judged(measured))
        except SeriesError as error:
            faults = [str(error)]
        self.problems += [f"{measured.objective.name}: {fault}" for fault in faults]
        return unmeasured(measured.objective, faults[0])

    def _judged(self, measured: Measured) -> ObjectiveResult:
        totals = counted(measured.everything, self._window, self._scrapes)
        if measured.objective.indicator == "throughput":
            return judge_rate(measured.objective, totals, covered(self._window, self._scrapes.values()))
        events = counted(measured.events, self._window, self._scrapes)
        events = _fitted(events, totals, measured.events_are)
        bad = events if measured.events_are == "bad" else [t - good for t, good in zip(totals, events, strict=True)]
        blocks = tuple(map(Block, totals, bad))
        return judge_counts(measured.objective, blocks, self._window.seconds, measured.actual)

    def _long_enough(self, result: ObjectiveResult) -> ObjectiveResult:
        """Never pass on blocks that are shorter than those that the rule was checked with, or than two scrapes."""
        if result.outcome != "met" or self._window.seconds >= self._shortest - _ROUNDING:
            return result
        needed = f"{self._shortest:.0f} s are needed" if math.isfinite(self._shortest) else "more are needed"
        reason = f"{self._window.seconds:.0f} s are too short to pass: {needed}, two scrapes for each block"
        return structs.replace(result, outcome="inconclusive", reason=reason)


def _fitted(parts: Sequence[int], totals: Sequence[int], are: Counted) -> tuple[int, ...]:
    """Return how many of each block's events are a part; raises `SeriesError` when more are than there were events.

    Two counters are not read, or not written, at one moment: what one block has too many is its neighbours', the next
    one's first and then the one's before. What the window as a whole has too many may be one moment's.
    """
    forward, left = _carried(parts, totals)
    backward, left = _carried([*forward[:-1], forward[-1] + left][::-1], totals[::-1])
    if left > max(_FEW, _SKEW * sum(totals)):
        raise SeriesError(f"more {are} events were counted than events: the series do not fit together")
    return tuple(backward[::-1])


def _carried(parts: Sequence[int], totals: Sequence[int]) -> tuple[list[int], int]:
    kept, over = [], 0
    for part, whole in zip(parts, totals, strict=True):
        kept.append(min(part + over, whole))
        over += part - kept[-1]
    return kept, over


def _missing(measured: Measured) -> Iterator[str]:
    """Yield which series an objective lacks. Errors that nobody has seen are none; a bucket that is gone hides all."""
    if not measured.everything:
        yield f"there is no series {measured.selectors[0]} in the window"
    elif measured.objective.indicator == "latency" and not measured.events:
        yield f"there is no series {measured.selectors[-1]} in the window: nobody knows how many were slow"
    elif measured.objective.indicator == "latency":
        yield from _without_bucket(measured)


def _without_bucket(measured: Measured) -> Iterator[str]:
    having = {_identity(each) for each in measured.events}
    for each in measured.everything:
        if _identity(each) not in having:
            yield f"{each} has no bucket up to the limit: nobody knows how many were slow"


def _identity(series: Series) -> frozenset[tuple[str, str]]:
    return frozenset((name, value) for name, value in series.labels.items() if name not in {NAME, BOUND_LABEL})


def _remarks(series: Sequence[Series], scrapes: dict[Target, Scrapes], window: Window) -> Iterator[str]:
    """Yield what whoever reads the verdict wants to know of the targets."""
    yield f"{len(scrapes)} {'target' if len(scrapes) == 1 else 'targets'}, {window.blocks} blocks"
    yield from _few([f"{named(target)} began anew in the window" for target in sorted(restarts(series, window))])
    yield from _few([f"{named(target)} was gone before the window's end" for target in sorted(gone(scrapes, window))])


def _few(sentences: Sequence[str]) -> Iterator[str]:
    """Yield the first of many sentences of one kind, and how many more there are."""
    yield from sentences[:MOST_SAID]
    if len(sentences) > MOST_SAID:
        yield f"and {len(sentences) - MOST_SAID} more like this"
