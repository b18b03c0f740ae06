"""What is left of an error budget, from counts: pure, the counts come from elsewhere (`goshop.budget` asks Prometheus).

An objective of 99.9 % over 30 days allows one event of a thousand in any 30 days to be bad: that is the budget. Source:
https://sre.google/workbook/implementing-slos/ and https://sre.google/workbook/error-budget-policy/.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from slo.generation.alerts import FEWEST_BAD
from slo.openslo.model import Slo

State = Literal["left", "spent", "unknown"]
# Where the counts come from: the rules that `goshop slo rules` made, or the raw series by the same expressions.
Basis = Literal["recorded", "computed", ""]
# Of a window that is covered as far as this, the rest is rounding.
COVERED: Final = 0.99


@dataclass(frozen=True, slots=True)
class Counts:
    """Events of an SLO's own window and of the last hour; `covered` is for how many s of the window there are any counts."""

    bad: float
    total: float
    covered: float
    bad_hour: float
    total_hour: float


class BudgetState(msgspec.Struct, frozen=True):
    """What is left of one SLO's budget.

    `left` is the share of the budget that is left, 1 at best; at 0 or below it is spent. `burn_rate` says how many times
    too fast it went in the last hour: at 1 it lasts exactly its window. `spent_in` is after how many s it is spent if that
    goes on, null where it never is. `covered` is for how many s of the window there are counts. All are null where they are
    not known; `reason` is the sentence behind `state`, and what has to be known about the figures.
    """

    slo: str
    objective: float
    window: str
    state: State
    reason: str
    basis: Basis = ""
    bad: float | None = None
    total: float | None = None
    bad_share: float | None = None
    left: float | None = None
    burn_rate: float | None = None
    spent_in: float | None = None
    covered: float | None = None


class Budgets(msgspec.Struct, frozen=True):
    """What was asked of the Prometheus at address `prometheus`, at its time `at` (RFC 3339), and of which SLOs.

    `ignored` is the reason that was given for releasing whatever the budgets are; "" where they count.
    """

    prometheus: str
    at: str
    slos: tuple[BudgetState, ...]
    ignored: str = ""

    @property
    def freezes(self) -> bool:
        """Whether nothing may be released: a budget is spent, and nobody gave a reason to release all the same."""
        return bool(self.spent) and not self.ignored

    @property
    def exit_code(self) -> int:
        """The exit status that says it: 5 when a budget is not known, 6 when one is spent, else 0."""
        if self.unknown:
            return 5
        return 6 if self.spent else 0

    @property
    def spent(self) -> tuple[BudgetState, ...]:
        """Those that are spent."""
        return tuple(budget for budget in self.slos if budget.state == "spent")

    @property
    def unknown(self) -> tuple[BudgetState, ...]:
        """Those that nobody knows: never to be taken for healthy."""
        return tuple(budget for budget in self.slos if budget.state == "unknown")


def unknown(slo: Slo, reason: str) -> BudgetState:
    """Return a budget that nobody knows."""
    return BudgetState(slo.name, float(slo.objective), slo.window.text, "unknown", reason)


def assess(slo: Slo, counts: Counts, basis: Basis, remark: str = "") -> BudgetState:
    """Return what is left of an SLO's budget; `remark` is what has to be said about the counts.

    Without an event in the whole window nothing is known. Fewer than 5 bad events spend no budget, as they wake nobody:
    on a quiet service a single one may be more than the budget of a month.
    """
    if counts.total <= 0:
        return unknown(slo, f"no event was counted in {slo.window.text}")
    budget, share = float(slo.budget), counts.bad / counts.total
    left = 1 - share / budget
    burn = counts.bad_hour / counts.total_hour / budget if counts.total_hour > 0 else None
    few = round(counts.bad) < FEWEST_BAD
    spent = left <= 0 and not few
    return BudgetState(
        slo=slo.name,
        objective=float(slo.objective),
        window=slo.window.text,
        state="spent" if spent else "left",
        reason="; ".join(filter(None, (_reason(slo, counts, left, spent=spent), remark))),
        basis=basis,
        bad=counts.bad,
        total=counts.total,
        bad_share=share,
        left=left,
        burn_rate=burn,
        spent_in=None if burn is None or left <= 0 else spent_in(left, burn, counts.covered, slo.window.seconds),
        covered=counts.covered,
    )


def _reason(slo: Slo, counts: Counts, left: float, *, spent: bool) -> str:
    said = f"{counts.bad:.0f} of {counts.total:.0f} events were bad, {counts.total * float(slo.budget):.1f} may be"
    if spent or left > 0:
        return said
    return f"{said}; fewer than {FEWEST_BAD} bad events spend no budget"


def spent_in(left: float, burn: float, covered: float, window: float) -> float | None:
    """Return after how many s a budget is spent that goes on burning `burn` times too fast; None if it never is.

    Traffic is taken as even. While only `covered` s of the window have counts, the budget grows with the time that comes:
    after t it is used to ((1 - left) covered + burn t) / (covered + t). Once the window is full, burn / window of it goes
    each second, and what was bad is taken as too recent to leave the window in time: this is the earliest moment. After a
    whole window all of it has left: then a budget is spent that burns faster than it comes, and no other.
    """
    covered = min(covered, window)
    if burn > 1 and (growing := left * covered / (burn - 1)) <= window - covered:
        return growing
    full = window - covered
    then = 1 - ((1 - left) * covered + burn * full) / window
    at = full + then * window / burn if burn > 0 else math.inf
    if at < window:
        return at
    return window if burn > 1 else None


def is_fully_covered(slo: Slo, covered: float) -> bool:
    """Tell whether there are counts for all of an SLO's window, but for rounding."""
    return covered >= COVERED * slo.window.seconds
