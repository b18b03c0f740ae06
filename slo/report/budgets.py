"""How an error budget is spelled, the same in every rendering."""

from typing import Final

from slo.budget import Basis, BudgetState
from slo.openslo.durations import DAY, HOUR, MINUTE
from slo.report import figures

HEADER: Final = ("SLO", "objective", "window", "bad", "budget left", "burn rate 1h", "spent in", "by")
_BASES: Final[dict[Basis, str]] = {"recorded": "rules", "computed": "raw series", "": figures.NOTHING}


def row(budget: BudgetState) -> tuple[str, ...]:
    """Return the cells of a budget but for its name, in the order of the header."""
    return (
        f"{budget.objective * 100:.8g} %",
        budget.window,
        figures.percent(budget.bad_share),
        figures.NOTHING if budget.left is None else f"{budget.left * 100:.1f} %",
        figures.NOTHING if budget.burn_rate is None else f"{budget.burn_rate:.2f}",
        _spent_in(budget),
        _BASES[budget.basis],
    )


def _spent_in(budget: BudgetState) -> str:
    if budget.state == "spent":
        return "spent"
    if budget.state == "unknown" or budget.burn_rate is None or (budget.left or 0) <= 0:
        return figures.NOTHING
    return "not at this rate" if budget.spent_in is None else length(budget.spent_in)


def length(seconds: float) -> str:
    """Return a length of time in the unit that people would say it in."""
    for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
