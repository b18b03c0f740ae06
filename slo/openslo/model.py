"""The resolved specification: references followed, defaults filled in, numbers exact; what every reader is given.

Nothing here can be changed, and the order of everything depends on names only, so that the same documents lead to the
same artefacts, whatever files they stand in. `slo.openslo.load_specification` makes it.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from slo.gates import Gate
from slo.openslo.promql import Selector

Severity = Literal["page", "ticket"]
SliKind = Literal["latency", "availability"]
Counted = Literal["good", "bad"]
Function = Literal["rate", "increase"]

# Stands in the expressions where the window belongs; Prometheus itself knows no variables.
WINDOW: Final = "$window"


@dataclass(frozen=True, slots=True)
class Window:
    """A length of time: whole seconds, and as Prometheus spells it ("5m", "30d")."""

    seconds: int
    text: str


@dataclass(frozen=True, slots=True)
class Sli:
    """What is counted: `events`, which are good or bad as `counted` says, out of `everything`.

    `le` is the bucket's edge of a latency SLI in s, None for availability. `foreign` as of its data source.
    """

    name: str
    kind: SliKind
    counted: Counted
    events: Selector
    everything: Selector
    data_source: str = ""
    le: Decimal | None = None
    foreign: bool = False

    @property
    def series(self) -> tuple[str, ...]:
        """The names of the series that are read, each once, in order."""
        return tuple(sorted({self.events.metric, self.everything.metric}))

    def total(self, function: Function = "rate") -> str:
        """Return the expression of all events over `$window`."""
        return _summed(self.everything, function)

    def bad(self, function: Function = "rate") -> str:
        """Return the expression of the bad events over `$window`, in parentheses.

        A series of errors that has never been seen is no error, hence `or 0 * total`. Not so for a latency: a bucket
        that is not there would read as "all slow", or as "none slow" if bad requests were counted; it yields nothing.
        """
        total, events = self.total(function), _summed(self.events, function)
        if self.kind == "latency":
            return f"({total} - {events})"
        events = f"({events} or 0 * {total})"
        return events if self.counted == "bad" else f"({total} - {events})"


def _summed(selector: Selector, function: Function) -> str:
    return f"sum({function}({selector}[{WINDOW}]))"


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """A branch of a multi-window alert: fires while the budget burns `factor` times too fast over both windows.

    `long` is the document's lookbackWindow, `short` a twelfth of it (so that the alert ends soon after its cause:
    https://sre.google/workbook/alerting-on-slos/#6-multiwindow-multi-burn-rate-alerts), `hold` its alertAfter (the
    rule's `for`, 0 s by default). `no_data`: also fires when the series are gone. `targets`: names for the router.
    """

    name: str
    severity: Severity
    factor: Decimal
    long: Window
    short: Window
    hold: Window
    display_name: str = ""
    description: str = ""
    no_data: bool = False
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Slo:
    """An objective over a rolling window: at most `budget` = 1 - `objective` of all events may be bad.

    `runbook` and `dashboard` are links, absolute or from the root of a site ("/d/gateway"); "" where none is given.
    `labels` are pairs in order of their names; those of the service are among them.
    """

    name: str
    service: str
    sli: Sli
    objective: Decimal
    budget: Decimal
    window: Window
    alerts: tuple[AlertPolicy, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    display_name: str = ""
    description: str = ""
    runbook: str = ""
    dashboard: str = ""

    @property
    def short_name(self) -> str:
        """The name without the service's in front, what Sloth calls `sloth_slo`."""
        return self.name.removeprefix(f"{self.service}-")

    @property
    def id(self) -> str:
        """Service and short name, what Sloth calls `sloth_id`; no two SLOs of a specification share one."""
        return f"{self.service}-{self.short_name}"


@dataclass(frozen=True, slots=True)
class Service:
    """What SLOs are grouped by."""

    name: str
    display_name: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where series are read; `foreign` when they are not GoShop's own, so that their names can't be checked."""

    name: str
    url: str = ""
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Specification:
    """Everything that the documents say: SLOs in order of service and name, the rest in order of names."""

    services: tuple[Service, ...] = ()
    data_sources: tuple[DataSource, ...] = ()
    slos: tuple[Slo, ...] = ()
    gates: tuple[Gate, ...] = ()

    def slo(self, name: str) -> Slo:
        """Return the SLO of that name; raises `KeyError`."""
        for slo in self.slos:
            if slo.name == name:
                return slo
        raise KeyError(name)
