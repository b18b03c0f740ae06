"""What is left of each error budget, asked of the Prometheus that counts: `goshop slo budget`, and before a gate's load.

Read are the increments that the rules of `goshop slo rules` record each 5 minutes. Where those are not loaded, or have not
been for as long as the raw series are kept, the same expressions are evaluated over the raw series: right, and dear.
"""

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from goshop.measurement import MeasurementFailed, WrongRequest, say
from goshop.prometheus import Point, Prometheus, PrometheusError, connect, matchers_of
from goshop.streams import reader_may_leave
from slo.budget import Budgets, BudgetState, Counts, State, assess, is_fully_covered, unknown
from slo.generation.recording import BAD_STEP, ID, STEP, TOTAL_STEP, over
from slo.openslo.durations import HOUR, MINUTE, window
from slo.openslo.model import Sli, Slo, Window
from slo.openslo.promql import Matcher, Selector
from slo.report import budgets
from slo.report.budgets import length
from slo.report.foreign import plain
from slo.timestamps import rfc3339

_HOUR: Final = window(HOUR)
# Rules that have recorded nothing for so long are not loaded any more, or see nothing.
_FRESH: Final = window(15 * MINUTE)
_PIPE_WIDTH: Final = 160
_WAY_OUT: Final = "--ignore-budget REASON releases all the same"
_STYLES: Final[dict[State, str]] = {"left": "green", "spent": "bold red", "unknown": "yellow"}

Matchers = tuple[Matcher, ...]


def ask_budgets(prometheus: Prometheus, slos: Iterable[Slo], matchers: Matchers = (), ignored: str = "") -> Budgets:
    """Return what is left of the budgets of some SLOs, all at one moment of the server's; raises `PrometheusError`.

    `matchers` narrow every series. An SLO whose series are not there is `unknown`, and no error.
    """
    at = prometheus.now()
    recorded = _Recorded(prometheus, at, matchers)
    states = tuple(_state(slo, recorded) for slo in slos)
    return Budgets(prometheus.url, rfc3339(at, "seconds"), states, ignored)


@dataclass(frozen=True, slots=True)
class _Recorded:
    """The recorded series of all SLOs, each question asked once."""

    prometheus: Prometheus
    at: float
    matchers: Matchers
    answers: dict[str, Mapping[str, tuple[Point, ...]]] = field(default_factory=dict)

    def value(self, slo: Slo, function: str, series: str, period: Window) -> float | None:
        """Return a function over a recorded series of an SLO; None where there is no such series."""
        query = f"{function}({Selector(series, self.matchers)}[{period.text}])"
        if query not in self.answers:
            self.answers[query] = _by_id(self.prometheus.vector(query, self.at))
        points = self.answers[query].get(slo.id, ())
        if len(points) > 1:
            raise PrometheusError(
                f"{series} of {slo.id} is recorded {len(points)} times there: name one by --match, such as --match 'cluster=\"eu\"'"
            )
        return points[0].value if points else None


def _by_id(points: Iterable[Point]) -> Mapping[str, tuple[Point, ...]]:
    found: dict[str, tuple[Point, ...]] = {}
    for point in points:
        name = point.labels.get(ID, "")
        found[name] = (*found.get(name, ()), point)
    return found


def _state(slo: Slo, recorded: _Recorded) -> BudgetState:
    """Return a budget by what covers more of its window; the rules count where they are as good."""
    by_rules = _recorded_counts(slo, recorded)
    if by_rules is not None and is_fully_covered(slo, by_rules.covered):
        return assess(slo, by_rules, "recorded")
    try:
        by_series = _computed_counts(slo, recorded)
    except PrometheusError as error:
        if by_rules is None:
            raise PrometheusError(f"{slo.name}: its rules are not loaded there, and {error}") from None
        return assess(slo, by_rules, "recorded", f"{_covering(slo, by_rules)} ({error})")
    known = [counts for counts in (by_rules, by_series) if counts is not None]
    if not known:
        return unknown(slo, _missing(slo))
    best = max(known, key=lambda counts: counts.covered)
    if best is by_rules:
        return assess(slo, best, "recorded", _covering(slo, best))
    return assess(slo, best, "computed", _why_computed(slo, by_rules, best))


def _recorded_counts(slo: Slo, recorded: _Recorded) -> Counts | None:
    """Return the counts of the rules; None where they are not loaded, or have seen nothing for 15 minutes."""
    if recorded.value(slo, "count_over_time", TOTAL_STEP, _FRESH) is None:
        return None
    values = [
        recorded.value(slo, "sum_over_time", series, period)
        for period in (slo.window, _HOUR)
        for series in (BAD_STEP, TOTAL_STEP)
    ]
    return _counts(values, recorded.value(slo, "count_over_time", TOTAL_STEP, slo.window))


def _computed_counts(slo: Slo, recorded: _Recorded) -> Counts | None:
    """Return the same of the raw series; None where they are not there, or have not been in the last hour."""
    bad, total = _step_expressions(narrowed(slo.sli, recorded.matchers))

    def value(function: str, expression: str, period: Window) -> float | None:
        points = recorded.prometheus.vector(f"{function}(({expression})[{period.text}:{STEP.text}])", recorded.at)
        return points[0].value if points else None

    if value("count_over_time", total, _HOUR) is None:
        return None
    values = [value("sum_over_time", each, period) for period in (slo.window, _HOUR) for each in (bad, total)]
    return _counts(values, value("count_over_time", total, slo.window))


def _step_expressions(sli: Sli) -> tuple[str, str]:
    """Return the bad and all events of a step, as the rules count them (slo/generation/recording.py)."""
    bad, total = (over(expression, STEP) for expression in (sli.bad("increase"), sli.total("increase")))
    return bad, f"{total} and on () {bad}" if sli.kind == "latency" else total


def narrowed(sli: Sli, matchers: Matchers) -> Sli:
    """Return an indicator that counts only the series which the matchers select too."""
    return replace(
        sli, events=narrowed_selector(sli.events, matchers), everything=narrowed_selector(sli.everything, matchers)
    )


def narrowed_selector(selector: Selector, matchers: Matchers) -> Selector:
    """Return a selector with more matchers."""
    return Selector(selector.metric, tuple(sorted({*selector.matchers, *matchers})))


def _counts(values: list[float | None], covered: float | None) -> Counts | None:
    """Return the counts; None where a part is missing or no number. In the last hour nothing may have been counted."""
    bad, total, bad_hour, total_hour = values
    if bad is None or total is None or covered is None:
        return None
    figures = (bad, total, covered * STEP.seconds, bad_hour or 0.0, total_hour or 0.0)
    # The difference of two extrapolations may fall short of 0 by a rounding.
    return Counts(*(max(0.0, each) for each in figures)) if all(map(math.isfinite, figures)) else None


def _missing(slo: Slo) -> str:
    return (
        f"neither the rules' {TOTAL_STEP} nor the series {' and '.join(map(str, _selectors(slo.sli)))} "
        f"have been counted there in the last hour, in a whole step of {STEP.text}"
    )


def _selectors(sli: Sli) -> tuple[Selector, ...]:
    return (sli.events, sli.everything) if sli.kind == "latency" else (sli.everything,)


def _why_computed(slo: Slo, by_rules: Counts | None, by_series: Counts) -> str:
    what = (
        "the rules are not loaded there" if by_rules is None else f"the rules are younger ({length(by_rules.covered)})"
    )
    covering = "" if is_fully_covered(slo, by_series.covered) else f", {_covering(slo, by_series)}"
    return f"{what}: computed from the raw series{covering}"


def _covering(slo: Slo, counts: Counts) -> str:
    return f"{length(counts.covered)} of {slo.window.text} are known"


def run_budget(slos: Iterable[Slo], prometheus: Prometheus, matchers: Matchers, *, machine: bool) -> Budgets:
    """Print what is left of the budgets on stdout, as a table or as JSON, and return it; raises `PrometheusError`."""
    found = ask_budgets(prometheus, slos, matchers)
    with reader_may_leave():
        if machine:
            click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
        else:
            print_budgets(found)
    return found


def print_budgets(found: Budgets) -> None:
    """Print the table on stdout; colours only on a terminal and only without NO_COLOR."""
    console = Console(highlight=False, emoji=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    with console.capture() as table:
        console.print(_table(found), soft_wrap=False)
    for line in table.get().splitlines():
        # The table's padding has no place in a log, or in a document that shows it.
        if line.strip():
            click.echo(line.rstrip())
    for budget in found.slos:
        text = Text.assemble(
            (budget.state.upper(), _STYLES[budget.state]), f"  {plain(budget.slo)}: {plain(budget.reason)}"
        )
        console.print(text)


def _table(found: Budgets) -> Table:
    table = Table(*budgets.HEADER, box=box.SIMPLE_HEAD, pad_edge=False)
    for budget in found.slos:
        table.add_row(Text(plain(budget.slo)), *budgets.row(budget), style=_STYLES[budget.state])
    return table


@dataclass(frozen=True, slots=True)
class Asked:
    """Which budgets a gate asks for before its load, and the reason for which they do not count, "" where they do.

    `matchers` narrow their series.
    """

    prometheus: Prometheus
    slos: tuple[Slo, ...]
    ignored: str
    matchers: Matchers = ()

    def budgets(self) -> Budgets:
        """Ask; raises `MeasurementFailed` when a budget that counts is not known."""
        say("asking for the error budgets")
        try:
            found = ask_budgets(self.prometheus, self.slos, self.matchers, self.ignored)
        except PrometheusError as error:
            if not self.ignored:
                raise MeasurementFailed(f"{error} ({_WAY_OUT})") from None
            states = tuple(unknown(slo, str(error)) for slo in self.slos)
            return Budgets(self.prometheus.url, rfc3339(time.time(), "seconds"), states, self.ignored)
        if found.unknown and not self.ignored:
            said = "; ".join(f"{budget.slo}: {budget.reason}" for budget in found.unknown)
            raise MeasurementFailed(f"nobody knows the error budget: {said} ({_WAY_OUT})")
        return found


def asked_budgets(prometheus: str, ignored: str, slos: tuple[Slo, ...], matches: Iterable[str] = ()) -> Asked | None:
    """Return which budgets to ask for, None where no Prometheus is named; raises `WrongRequest`."""
    if not prometheus:
        if ignored:
            raise WrongRequest("--ignore-budget: nobody asks for one without --prometheus")
        return None
    return Asked(connect(prometheus), slos, ignored, matchers_of(matches))
