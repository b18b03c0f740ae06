"""What the specification says that a dashboard shows: limits of latencies and errors, burn rates of alerts.

Numbers stay decimals. They are constants of the queries: a Prometheus without the specification's rules shows them, too.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Self

from dashboards import traceql
from dashboards.promql import CHOSEN, OURS, SERVICE, UP, of_each_service
from dashboards.sources import over_time
from dashboards.style import BAD, LIMIT_NAME, WARN, Json
from slo.generation.numbers import exact
from slo.openslo.model import AlertPolicy, Specification
from slo.openslo.promql import Selector

# Where nobody has said what is too long.
USUALLY_TOO_LONG = traceql.longer_than("1000")


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch of an alert, and the ids of the SLOs that have it."""

    policy: AlertPolicy
    slos: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """By service, the strictest of each: `latency` in s, `budgets` of errors (0 to 1). `branches` of alerts, by burn rates."""

    latency: tuple[tuple[str, Decimal], ...]
    budgets: tuple[tuple[str, Decimal], ...]
    branches: tuple[Branch, ...]

    @classmethod
    def of(cls, specification: Specification) -> Self:
        """Read them from a specification."""
        latency = ((slo.service, slo.sli.le) for slo in specification.slos if slo.sli.le is not None)
        budgets = ((slo.service, slo.budget) for slo in specification.slos if slo.sli.kind == "availability")
        return cls(_strictest(latency), _strictest(budgets), tuple(_branches(specification)))

    def burning(self) -> list[tuple[float, str]]:
        """Return the steps of a burn rate: from the slowest ticket on, from the slowest page on."""
        slowest = {branch.policy.severity: float(branch.policy.factor) for branch in reversed(self.branches)}
        return [(slowest[name], color) for name, color in (("ticket", WARN), ("page", BAD)) if name in slowest]

    def latency_limit(self) -> list[Json]:
        """Return the query for the chosen services' limits in s as a dashed line; none where no latency has a limit."""
        return _line(self.latency)

    def error_limit(self) -> list[Json]:
        """Return the query for the chosen services' error budgets (0 to 1) as a dashed line; none where none has one."""
        return _line(self.budgets)

    def slow(self) -> str:
        """Return TraceQL for what took longer than the limit of its service."""
        each = [
            f"({traceql.of_service(name)} && {traceql.longer_than(exact(limit * 1000))})"
            for name, limit in self.latency
        ]
        return " || ".join(each or [USUALLY_TOO_LONG])


def _strictest(limits: Iterable[tuple[str, Decimal]]) -> tuple[tuple[str, Decimal], ...]:
    found: dict[str, Decimal] = {}
    for service, limit in limits:
        found[service] = min(limit, found.get(service, limit))
    return tuple(sorted(found.items()))


def _line(limits: tuple[tuple[str, Decimal], ...]) -> list[Json]:
    chosen = Selector(UP, tuple(sorted((*CHOSEN, OURS))))
    shown = f"{of_each_service(limits)}\nand on ({SERVICE})\n{chosen}"
    return [over_time(shown, LIMIT_NAME)] if limits else []


def _branches(specification: Specification) -> Iterator[Branch]:
    having: dict[tuple[Decimal, int, str], list[tuple[str, AlertPolicy]]] = {}
    for slo in specification.slos:
        for alert in slo.alerts:
            having.setdefault((alert.factor, alert.long.seconds, alert.severity), []).append((slo.id, alert))
    for _, found in sorted(having.items()):
        yield Branch(found[0][1], tuple(dict.fromkeys(name for name, _ in found)))
