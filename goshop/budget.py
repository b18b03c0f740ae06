"""`goshop slo budget`: what is left of each error budget, asked of the Prometheus that counts.

Read are the increments that the rules of `goshop slo rules` record each 5 minutes. Where those are not loaded, or have not
been for as long as the raw series are kept, the same expressions are evaluated over the raw series: right, and dear.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from goshop.prometheus import Point, Prometheus, PrometheusError
from slo.budget import Basis, Budgets, BudgetState, Counts, State, assess, is_fully_covered, unknown
from slo.generation.recording import BAD_STEP, ID, STEP, TOTAL_STEP, over
from slo.openslo.durations import DAY, HOUR, MINUTE, window
from slo.openslo.model import Sli, Slo, Window
from slo.openslo.promql import Matcher, Selector
from slo.report import figures
from slo.report.foreign import plain

_HOUR: Final = window(HOUR)
# Rules that have recorded nothing for so long are not loaded any more, or see nothing.
_FRESH: Final = window(15 * MINUTE)
_PIPE_WIDTH: Final = 160
_STYLES: Final[dict[State, str]] = {"left": "green", "spent": "bold red", "unknown": "yellow"}
_BASES: Final[dict[Basis, str]] = {"recorded": "rules", "computed": "raw series", "": figures.NOTHING}

Matchers = tuple[Matcher, ...]


def ask_budgets(prometheus: Prometheus, slos: Iterable[Slo], matchers: Matchers = (), ignored: str = "") -> Budgets:
    """Return what is left of the budgets of some SLOs, all at one moment of the server's; raises `PrometheusError`.

    `matchers` narrow every series. An SLO whose series are not there is `unknown`, and no error.
    """
    at = prometheus.now()
    recorded = _Recorded(prometheus, at, matchers)
    states = tuple(_state(slo, recorded) for slo in slos)
    stamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return Budgets(prometheus.url, stamp, states, ignored)


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
    found = Counts(bad, total, covered * STEP.seconds, bad_hour or 0.0, total_hour or 0.0)
    figures_of = (found.bad, found.total, found.covered, found.bad_hour, found.total_hour)
    return found if all(0 <= figure < float("inf") for figure in figures_of) else None


def _missing(slo: Slo) -> str:
    return (
        f"neither the rules' {TOTAL_STEP} nor the series {' and '.join(map(str, _selectors(slo.sli)))} "
        "have been counted there in the last hour"
    )


def _selectors(sli: Sli) -> tuple[Selector, ...]:
    return (sli.events, sli.everything) if sli.kind == "latency" else (sli.everything,)


def _why_computed(slo: Slo, by_rules: Counts | None, by_series: Counts) -> str:
    what = (
        "the rules are not loaded there" if by_rules is None else f"the rules are younger ({_time(by_rules.covered)})"
    )
    covering = "" if is_fully_covered(slo, by_series.covered) else f", {_covering(slo, by_series)}"
    return f"{what}: computed from the raw series{covering}"


def _covering(slo: Slo, counts: Counts) -> str:
    return f"{_time(counts.covered)} of {slo.window.text} are known"


def run_budget(slos: Iterable[Slo], prometheus: Prometheus, matchers: Matchers, *, machine: bool) -> Budgets:
    """Print what is left of the budgets on stdout, as a table or as JSON, and return it; raises `PrometheusError`."""
    budgets = ask_budgets(prometheus, slos, matchers)
    if machine:
        click.echo(msgspec.json.format(msgspec.json.encode(budgets), indent=2))
    else:
        print_budgets(budgets)
    return budgets


def print_budgets(budgets: Budgets) -> None:
    """Print the table on stdout; colours only on a terminal and only without NO_COLOR."""
    console = Console(highlight=False, emoji=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    console.print(_table(budgets), soft_wrap=False)
    for budget in budgets.slos:
        text = Text.assemble(
            (budget.state.upper(), _STYLES[budget.state]), f"  {plain(budget.slo)}: {plain(budget.reason)}"
        )
        console.print(text)


def _table(budgets: Budgets) -> Table:
    columns = ("SLO", "objective", "window", "bad", "budget left", "burn rate 1h", "spent in", "by")
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for budget in budgets.slos:
        table.add_row(
            Text(plain(budget.slo)),
            f"{budget.objective * 100:.8g} %",
            budget.window,
            figures.percent(budget.bad_share),
            Text(_left(budget), style=_STYLES[budget.state]),
            figures.NOTHING if budget.burn_rate is None else f"{budget.burn_rate:.2f}",
            _spent_in(budget),
            _BASES[budget.basis],
        )
    return table


def _left(budget: BudgetState) -> str:
    return figures.NOTHING if budget.left is None else f"{budget.left * 100:.1f} %"


def _spent_in(budget: BudgetState) -> str:
    if budget.state != "left" or budget.burn_rate is None:
        return figures.NOTHING
    return "not at this rate" if budget.spent_in is None else _time(budget.spent_in)


def _time(seconds: float) -> str:
    """Return a length of time in the unit that people would say it in."""
    for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
