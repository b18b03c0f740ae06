"""`goshop drill`: break the shop in every way it knows, and see whether the gate finds each fault by itself.

A gate that never failed has shown nothing. An undisturbed run comes first: it must pass and name no cause. Then one run
for each `Scenario` must fail, and its first cause must be the place that was struck. What was injected stands in the
scenario alone: the gate explains what it sees in traces (`slo.causes`).
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from goshop.gate import run_gate
from goshop.gate_options import Options
from goshop.history import NONE
from goshop.measurement import MeasurementFailed
from goshop.processes import StartError
from goshop.run import DEFAULT_ROOT
from slo.report import figures
from slo.verdict import Cause, Verdict, Word
from telemetry import conventions as c

# The shortest profile that can decide (slo.statistics: six blocks of 5 s).
PROFILE: Final = "smoke"
# A first cause with less than half of the harm is a guess.
SMALLEST_SHARE: Final = 0.5
_PIPE_WIDTH: Final = 140

Objective = Literal["p99-latency", "error-rate"]
LATENCY: Final = "p99-latency"
ERRORS: Final = "error-rate"


class UnknownScenario(ValueError):
    """There is no scenario of that name; the message lists those there are."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One fault, and where it must be found: the first cause of `objective` is this service, span and table.

    No fault means an undisturbed run, which must pass and name no cause.
    """

    name: str
    fault: str = ""
    objective: Objective = LATENCY
    service: str = ""
    span: str = ""
    table: str = ""

    def matches(self, cause: Cause) -> bool:
        """Tell whether a cause is the place that was struck, and clear enough."""
        place = (cause.service, cause.span, cause.table)
        return place == (self.service, self.span, self.table) and cause.share >= SMALLEST_SHARE

    def found_by(self, verdict: Verdict) -> bool:
        """Tell whether a verdict says what is wrong in this scenario."""
        if not self.fault:
            return verdict.verdict == "pass" and not verdict.causes
        cause = self.first_cause(verdict)
        return verdict.verdict == "fail" and cause is not None and self.matches(cause)

    def first_cause(self, verdict: Verdict) -> Cause | None:
        """Return the first cause of the scenario's objective; of any objective when nothing should be wrong."""
        return next((cause for cause in verdict.causes if not self.fault or cause.objective == self.objective), None)

    @property
    def place(self) -> str:
        """The place in words, as the reports say it."""
        table = f" on {self.table}" if self.table else ""
        return f"{self.service}: {self.span}{table}"


_SEARCH: Final = ("product", "SELECT products", "products")
_INSERT: Final = ("order", "INSERT orders", "orders")
_CHARGE: Final = ("payment", c.PROVIDER_CHARGE_SPAN)
_REDIS: Final = ("gateway", "EVALSHA")
_POOL: Final = ("product", c.POOL_WAIT_SPAN)

CONTROL: Final = Scenario("control")
# Faults that come and go strike in every block of the judged time: the interval is taken between blocks.
SCENARIOS: Final = (
    CONTROL,
    Scenario("search-delay", "product.search=delay:900ms@5%", LATENCY, *_SEARCH),
    Scenario("search-error", "product.search=error@5%", ERRORS, *_SEARCH),
    Scenario("insert-delay", "order.insert=delay:900ms", LATENCY, *_INSERT),
    Scenario("insert-error", "order.insert=error@30%", ERRORS, *_INSERT),
    Scenario("charge-delay", "payment.charge=delay:900ms", LATENCY, *_CHARGE),
    Scenario("charge-error", "payment.charge=error@30%", ERRORS, *_CHARGE),
    Scenario("redis-delay", "gateway.redis=delay:900ms", LATENCY, *_REDIS),
    Scenario("redis-error", "gateway.redis=error", ERRORS, *_REDIS),
    Scenario("pool-exhausted", "product.pool=exhaust:5s", LATENCY, *_POOL),
    Scenario("pool-leak", "product.pool=leak", ERRORS, *_POOL),
    Scenario("row-lock", "product.stock=lock:5s", LATENCY, "product", "UPDATE products", "products"),
    Scenario("payment-dead", "payment.process=kill:8s", ERRORS, "payment", "payment.v1.PaymentService/Charge"),
)


class Finding(msgspec.Struct, frozen=True):
    """What came of a scenario. `cause` is the first of its objective; `reason` says why it was not found, "" if it was."""

    scenario: str
    fault: str
    expected: str
    verdict: Word
    cause: Cause | None
    found: bool
    reason: str = ""


def choose(names: Sequence[str]) -> tuple[Scenario, ...]:
    """Return the scenarios of these names, all for none, in the order of the drill; raises `UnknownScenario`."""
    known = {scenario.name for scenario in SCENARIOS}
    for name in names:
        if name not in known:
            raise UnknownScenario(f"there is no scenario {name!r}; there are {', '.join(s.name for s in SCENARIOS)}")
    return tuple(scenario for scenario in SCENARIOS if not names or scenario.name in names)


def run_drill(names: Sequence[str] = (), root: Path = DEFAULT_ROOT) -> tuple[Finding, ...]:
    """Run scenarios one after another; each is bounded as every gate is, about a minute.

    A control run that fails ends the drill: faults cannot be told from what is wrong already. Raises `UnknownScenario`,
    and what `run_gate` raises when nothing can be measured at all, in the first run. Main thread only.
    """
    findings: list[Finding] = []
    scenarios = choose(names)
    for number, scenario in enumerate(scenarios, 1):
        click.echo(f"goshop: drill {number}/{len(scenarios)}: {scenario.name} {scenario.fault}".rstrip(), err=True)
        findings.append(_run(scenario, root) if findings else _judge(scenario, root))
        if scenario is CONTROL and not findings[-1].found:
            break
    return tuple(findings)


def _run(scenario: Scenario, root: Path) -> Finding:
    """Run one scenario; a measurement that failed is its result, so that the others still run."""
    try:
        return _judge(scenario, root)
    except (MeasurementFailed, StartError) as error:
        return _finding(scenario, "error", None, reason=str(error))


def _judge(scenario: Scenario, root: Path) -> Finding:
    faults = (scenario.fault,) if scenario.fault else ()
    verdict = run_gate(
        Options(profile=PROFILE, faults=faults, root=root, early_stop=False, history=NONE)
    ).judgement.verdict
    reason = "" if scenario.found_by(verdict) else _missed(scenario, verdict)
    return _finding(scenario, verdict.verdict, scenario.first_cause(verdict), reason=reason)


def _finding(scenario: Scenario, verdict: Word, cause: Cause | None, *, reason: str) -> Finding:
    expected = scenario.place if scenario.fault else ""
    return Finding(scenario.name, scenario.fault, expected, verdict, cause, not reason, reason)


def _missed(scenario: Scenario, verdict: Verdict) -> str:
    said = "; ".join((verdict.verdict, *verdict.load.problems))
    if not scenario.fault:
        unmet = [result.name for result in verdict.objectives if result.outcome != "met"]
        return f"an undisturbed run must pass and name no cause, but: {said}; not met: {', '.join(unmet) or 'nothing'}"
    return (
        f"{scenario.objective} must be missed because of {scenario.place} ({SMALLEST_SHARE:.0%} or more), but: {said}"
    )


def show(findings: Sequence[Finding], *, machine: bool) -> None:
    """Print the findings on stdout, a table for people or JSON; what was not found is named on stderr as well."""
    if machine:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(findings), indent=2).decode() + "\n")
    else:
        width = None if sys.stdout.isatty() else _PIPE_WIDTH
        Console(file=sys.stdout, width=width, highlight=False, emoji=False).print(_table(findings))
    for finding in findings:
        if not finding.found:
            click.echo(f"goshop: not found: {finding.scenario}: {finding.reason}", err=True)


def _table(findings: Sequence[Finding]) -> Table:
    table = Table("scenario", "verdict", "first cause", "share", "found", box=box.SIMPLE_HEAD, pad_edge=False)
    for finding in findings:
        cause = finding.cause
        table.add_row(
            finding.scenario,
            finding.verdict,
            Text(figures.place(cause) if cause else figures.NOTHING),
            f"{cause.share:.0%}" if cause else figures.NOTHING,
            Text("yes", style="green") if finding.found else Text("NO", style="bold red"),
        )
    return table
