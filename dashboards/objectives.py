"""Objectives and error budgets: what the specification promises, what is left of it, and which alert comes next."""

from collections.abc import Iterator

from dashboards import style as s
from dashboards.board import Row, dashboard, row
from dashboards.limits import Branch, Limits
from dashboards.links import of_row, to_dashboard
from dashboards.panels import Column, table, timeseries
from dashboards.promql import ALERTS, recorded, tag
from dashboards.sources import over_time
from dashboards.style import Json
from slo.generation.numbers import exact
from slo.generation.recording import ID, NAME, SERVICE, ratio_name
from slo.openslo.model import AlertPolicy
from slo.openslo.promql import Matcher

WHO = (SERVICE, NAME)
NAMED = f"{tag(SERVICE)} {tag(NAME)}"
ROWS = {SERVICE: "Service", NAME: "Objective"}
# What is spent in a period of it is spent for good.
SPENT = 0.0
NEARLY_SPENT = 0.25
BUDGET = "slo:error_budget:ratio"
# An alert fires at 1.
NEAR = 0.5


def build(limits: Limits) -> Json:
    """Return the dashboard."""
    return dashboard(
        "slo",
        "Objectives and budgets",
        "Is every objective met, how long will the budgets last, and which alert is next? Over all environments that this Prometheus scrapes.",
        [_budgets(limits), *_burning(limits), _alerts()],
        shown="now-6h",
    )


def _budgets(limits: Limits) -> Row:
    left = _of("slo:period_error_budget_remaining:ratio")
    burn = _of("slo:current_burn_rate:ratio")
    # Nothing burns: it lasts as long as one likes, and the cell is empty.
    # Once it is overspent, no day is left; less than none is no time.
    lasts = f"clamp_min({left}, 0) * {_of('slo:time_period:days')}\n/\n({_burn('6h')} > 0)"
    return row(
        table(
            "Objectives",
            "Which budget is spent or will not last? What is left is of the whole period; the days are how long that lasts at "
            "the rate of the last 6 hours. Spent: releases are frozen.",
            ROWS,
            [
                Column("Budget left", left, s.RATIO, ((SPENT, s.WARN), (NEARLY_SPENT, s.PLAIN_CELL)), s.BAD, 1),
                Column("Lasts", lasts, s.DAYS, decimals=0),
                Column("Burn rate, 5 min", burn, s.TIMES, tuple(limits.burning()), decimals=1),
                Column("Objective", _of("slo:objective:ratio"), s.RATIO, decimals=3),
            ],
            width=s.WIDE,
            height=s.TALL,
            links=[to_dashboard("The service", "service", service=of_row("Service"))],
            order="Burn rate, 5 min",
        ),
        timeseries(
            "Budget left",
            "Where did it go? A step is an incident; a slope is what every day costs.",
            over_time(recorded("slo:period_error_budget_remaining:ratio"), NAMED),
            unit=s.RATIO,
            # More may be spent than there is.
            bottom=None,
            height=s.TALL,
        ),
    )


def _of(series: str) -> str:
    return f"sum by ({', '.join(WHO)}) ({recorded(series)})"


def _burn(window: str) -> str:
    return f"sum by ({', '.join(WHO)}) ({recorded(f'slo:sli_error:ratio_rate{window}')})\n/\n{_of(BUDGET)}"


def _burning(limits: Limits) -> Iterator[Row]:
    if not limits.branches:
        return
    branches = limits.branches[::-1]
    gravest = branches[0].policy
    yield row(
        table(
            "How near to an alert",
            "Which alert is next? 100 % of a branch fires: its burn rate over both windows, the long one that says it matters "
            "and the short one that says it goes on. Fewer than five bad requests fire nothing.",
            ROWS,
            [
                Column(_titled(branch.policy), near(branch), s.RATIO, ((NEAR, s.WARN), (1.0, s.BAD)), decimals=0)
                for branch in branches
            ],
            width=s.HALF,
            height=s.TALL,
            links=[to_dashboard("The service", "service", service=of_row("Service"))],
        ),
        timeseries(
            f"Burn rate over {gravest.long.text}",
            "Since when does it burn, and does it go on? Dashed: where the gravest alert fires.",
            over_time(_burn(gravest.long.text), NAMED),
            over_time(f"vector({exact(gravest.factor)})", "limit"),
            unit=s.TIMES,
            width=s.HALF,
            height=s.TALL,
        ),
        title="What burns",
    )


def near(branch: Branch) -> str:
    """Return PromQL for how near its SLOs are to a branch of an alert: 1 fires; nothing where the short window has nothing."""
    policy, whose = branch.policy, Matcher(ID, "=~", "|".join(branch.slos))
    long, short = (recorded(ratio_name(period), whose) for period in (policy.long, policy.short))
    who = ", ".join(WHO)
    both = f"min by ({who}) ({long} or {short})"
    return f"{both}\n/\n({exact(policy.factor)} * {_of(BUDGET)})\nand on ({who})\n{short}"


def _titled(policy: AlertPolicy) -> str:
    return f"{policy.severity.capitalize()}: {exact(policy.factor)} over {policy.long.text} and {policy.short.text}"


def _alerts() -> Row:
    firing = recorded(ALERTS, Matcher("alertstate", "=", "firing"))
    return row(
        table(
            "Firing now",
            "Who is called, and for what? Each has a runbook in docs/runbooks. Empty is good.",
            {SERVICE: "Service", "alertname": "Alert", "severity": "Severity", "notify": "Told"},
            [Column("Alerts", f"sum by (alertname, severity, notify, {SERVICE}) ({firing})", s.COUNT, decimals=0)],
            width=s.FULL,
            links=[to_dashboard("The service", "service", service=of_row("Service"))],
        ),
        title="Alerts",
    )
