"""The verdict in the terminal: a table of metric, actual, target and met, and what explains it."""

from collections.abc import Iterator
from typing import IO, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from slo.report import budgets, comparison, figures
from slo.report.foreign import plain
from slo.statistics import Outcome
from slo.verdict import Baseline, Reconciliation, Verdict

_STYLES: Final[dict[Outcome, str]] = {"met": "green", "missed": "bold red", "inconclusive": "yellow"}
# A pipe has no width; a line of a log may be this long.
_PIPE_WIDTH: Final = 140


def print_verdict(verdict: Verdict, file: IO[str]) -> None:
    """Print the verdict; colours only on a terminal and only without NO_COLOR (https://no-color.org)."""
    terminal = file.isatty()
    console = Console(file=file, width=None if terminal else _PIPE_WIDTH, highlight=False, emoji=False, soft_wrap=True)
    console.print(_table(verdict), soft_wrap=False)
    if verdict.baseline is not None and verdict.baseline.regression is not None:
        console.print(_beside(verdict.baseline), soft_wrap=False)
    for line in _lines(verdict):
        console.print(line)


def _table(verdict: Verdict) -> Table:
    table = Table("metric", "actual", "target", "met", "judged by (95 %)", box=box.SIMPLE_HEAD, pad_edge=False)
    for result in verdict.objectives:
        table.add_row(
            Text(plain(figures.title(result))),
            Text(figures.actual(verdict, result)),
            Text(figures.target(result)),
            Text(figures.MET[result.outcome], style=_STYLES[result.outcome]),
            Text(figures.interval(result)),
        )
    return table


def _beside(baseline: Baseline) -> Table:
    table = Table(*comparison.HEADER, box=box.SIMPLE_HEAD, pad_edge=False)
    for each in comparison.compared(baseline):
        *cells, regression = each.cells
        kind: Outcome = comparison.KINDS[each.ratio.regression] if each.ratio else "inconclusive"
        table.add_row(*map(Text, cells), Text(regression, style=_STYLES[kind]))
    return table


def _lines(verdict: Verdict) -> Iterator[Text]:
    style = "green" if verdict.verdict == "pass" else "bold red"
    yield Text.assemble((verdict.verdict.upper(), style), f"  {figures.sentence(verdict)}")
    for warning in figures.warnings(verdict):
        yield Text(f"  ! {plain(warning)}")
    for result in verdict.objectives:
        if result.outcome != "met":
            yield Text(f"  {plain(figures.title(result))}: {result.bad} bad of {result.total}; {plain(result.reason)}")
    for sentence in comparison.sentences(verdict.baseline) if verdict.baseline else ():
        yield Text(f"  {plain(sentence)}")
    for cause in verdict.causes:
        trace = f", e.g. trace {plain(cause.trace_ids[0])}" if cause.trace_ids else ""
        where = f"{plain(figures.place(cause))} ({plain(cause.endpoint)}{trace})"
        yield Text(f"  {plain(cause.objective)}: {cause.share:.0%} in {where}")
    for budget in verdict.budget.slos if verdict.budget else ():
        left = dict(zip(budgets.HEADER[1:], budgets.row(budget), strict=True))["budget left"]
        yield Text(f"  {plain(budget.slo)}: {left} of the error budget left", style="dim")
    yield Text(f"  {provenance(verdict)}", style="dim")


def provenance(verdict: Verdict) -> str:
    """Return in one line what the figures rest on: requests that are accounted for, or the series of a window."""
    if said := figures.source(verdict):
        return plain(said)
    if verdict.verdict == "frozen":
        return "no load was sent"
    return reconciliation_line(verdict.reconciliation)


def reconciliation_line(found: Reconciliation) -> str:
    """Return the reconciliation in one line."""
    if found.agree is None:
        return f"{found.k6} requests; the server is not ours, so nothing to reconcile with"
    counts = f"k6 {found.k6} / counter {found.server_metrics} / spans {found.server_spans} / log {found.access_lines}"
    classes = {
        "never reached": found.never_reached,
        "interrupted": found.interrupted,
        "re-sent": found.retried,
        "dropped": found.dropped,
        "lost with the process": found.lost_with_process,
        "UNEXPLAINED": found.unexplained,
    }
    differences = ", ".join(f"{count} {name}" for name, count in classes.items() if count)
    return f"reconciled: {counts}" + (f" ({differences})" if differences else ", all equal")
