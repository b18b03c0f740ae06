"""What the specification says that a dashboard shows: limits of latencies, burn rates of alerts. Numbers stay decimals."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Self

from dashboards.promql import ENVIRONMENT, OURS, SERVICE, UP
from dashboards.sources import over_time
from dashboards.style import BAD, LIMIT_NAME, WARN, Json
from slo.generation.numbers import exact
from slo.openslo.model import AlertPolicy, Specification
from slo.openslo.promql import Matcher, Selector

# Where nobody has said what is too long.
USUALLY_TOO_LONG = "duration > 1s"


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch of an alert, and the ids of the SLOs that have it."""

    policy: AlertPolicy
    slos: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """`latency`: the strictest limit of each service in s. `branches` of alerts, by their burn rates."""

    latency: tuple[tuple[str, Decimal], ...]
    branches: tuple[Branch, ...]

    @classmethod
    def of(cls, specification: Specification) -> Self:
        """Read them from a specification."""
        latency: dict[str, Decimal] = {}
        for slo in specification.slos:
            if slo.sli.le is not None:
                latency[slo.service] = min(slo.sli.le, latency.get(slo.service, slo.sli.le))
        return cls(tuple(sorted(latency.items())), tuple(_branches(specification)))

    @property
    def seconds(self) -> tuple[float, ...]:
        """Every limit of a latency, rising."""
        return tuple(sorted({float(limit) for _, limit in self.latency}))

    def burning(self) -> list[tuple[float, str]]:
        """Return the steps of a burn rate: from the slowest ticket on, from the slowest page on."""
        slowest = {branch.policy.severity: float(branch.policy.factor) for branch in reversed(self.branches)}
        return [(slowest[name], color) for name, color in (("ticket", WARN), ("page", BAD)) if name in slowest]

    def latency_limit(self) -> list[Json]:
        """Return the query for the chosen services' limits in s as a dashed line; none where no latency has a limit."""
        if not self.latency:
            return []
        named = [
            f'label_replace(vector({exact(limit)}), "{SERVICE}", "{name}", "", "")' for name, limit in self.latency
        ]
        chosen = Selector(UP, (Matcher(ENVIRONMENT, "=~", "$environment"), OURS, Matcher(SERVICE, "=~", "$service")))
        return [over_time(f"({' or '.join(named)})\nand on ({SERVICE})\n{chosen}", LIMIT_NAME)]

    def slow(self) -> str:
        """Return TraceQL for what took longer than the limit of its service."""
        each = [
            f'(resource.service.name = "goshop-{name}" && duration > {exact(limit * 1000)}ms)'
            for name, limit in self.latency
        ]
        return " || ".join(each or [USUALLY_TOO_LONG])


def _branches(specification: Specification) -> Iterator[Branch]:
    having: dict[tuple[Decimal, int, str], list[tuple[str, AlertPolicy]]] = {}
    for slo in specification.slos:
        for alert in slo.alerts:
            having.setdefault((alert.factor, alert.long.seconds, alert.severity), []).append((slo.id, alert))
    for _, found in sorted(having.items()):
        yield Branch(found[0][1], tuple(dict.fromkeys(name for name, _ in found)))
