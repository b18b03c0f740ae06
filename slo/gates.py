"""What a release must meet, as the judge reads it; `slo.openslo` makes it from a specification."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Indicator = Literal["latency", "errors", "throughput"]
Operator = Literal["<=", "<", ">=", ">"]

SECONDS: Final = "s"
RATIO: Final = "ratio"
PER_SECOND: Final = "requests/s"


@dataclass(frozen=True, slots=True)
class Objective:
    """What must hold: `target` in s, as a share, or in requests/s; `endpoint` "" means over all requests.

    `budget` is the share of requests that may be bad; None for a throughput, whose budget follows from what is offered.
    `slo` is the name of the SLO that it was made from; "" for a throughput.
    """

    name: str
    indicator: Indicator
    op: Operator
    target: float
    unit: str
    budget: float | None
    percentile: float | None = None
    endpoint: str = ""
    slo: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate: its load script (absolute path), the profile it takes by default, and its objectives.

    `dashboards` are those of its SLOs, absolute or from the root of their site.
    """

    name: str
    file: str
    script: Path
    profile: str
    objectives: tuple[Objective, ...]
    dashboards: tuple[str, ...] = ()

    @property
    def latency_target(self) -> float | None:
        """The strictest latency target in s, if there is one."""
        return min((goal.target for goal in self.objectives if goal.indicator == "latency"), default=None)

    @property
    def throughput_target(self) -> float | None:
        """The highest throughput target in requests/s, if there is one; a load that can't reach it is a usage error."""
        return max((goal.target for goal in self.objectives if goal.indicator == "throughput"), default=None)
