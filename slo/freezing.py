"""The verdict on a release that nobody looked at, because an error budget is spent: exit 6.

Policy: https://sre.google/workbook/error-budget-policy/: no change is released but the one that mends what spent the budget, which
whoever releases it says (`Budgets.ignored`).
"""

from datetime import UTC, datetime

from slo.budget import Budgets
from slo.evidence import gather
from slo.gate import Judgement
from slo.gates import Gate
from slo.judge import unmeasured
from slo.load import LoadFacts
from slo.verdict import SCHEMA, Load, Reconciliation, Release, Traces, Verdict, conclude


def frozen(gate: Gate, release: Release, budgets: Budgets, *, url: str, profile: str) -> Judgement:
    """Return the verdict: no load was sent, so that every objective is open, and the budgets say why."""
    at = datetime.fromisoformat(budgets.at).astimezone(UTC)
    results = tuple(unmeasured(objective, "not measured: the error budget is spent") for objective in gate.objectives)
    verdict = Verdict(
        schema=SCHEMA,
        verdict=conclude(results, measured=True, frozen=True),
        gate=gate.name,
        release=release,
        url=url,
        profile=profile,
        faults=(),
        started=budgets.at,
        ended=budgets.at,
        objectives=results,
        load=Load(requests=0, rate=0.0, dropped_iterations=0, client_minus_server_p99=None, healthy=True),
        reconciliation=Reconciliation(k6=0),
        causes=(),
        traces=Traces(),
        budget=budgets,
    )
    nothing = LoadFacts(model="open", begin=at.timestamp(), seconds=0.0)
    return Judgement(verdict, gather(gate, nothing, (), {}, Traces()))
