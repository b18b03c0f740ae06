"""The specification as tables that people read: what is promised, when somebody is woken, what a release must show."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from slo.gates import Gate, Objective
from slo.generation.links import encoded
from slo.generation.numbers import exact, percent, written
from slo.openslo.durations import DAY, MINUTE
from slo.openslo.model import AlertPolicy, Slo, Specification
from slo.report.foreign import cell, code, markdown
from slo.report.markdown import table

_MILLISECONDS: Final = 3


def slo_table(specification: Specification, head: str) -> bytes:
    """Return a Markdown page; `head` is a line that says where it comes from."""
    lines = ["# Service levels", "", head, "", *_objectives(specification), *_alerts(specification)]
    return ("\n".join([*lines, *_gates(specification)]).rstrip("\n") + "\n").encode()


def _objectives(specification: Specification) -> Iterator[str]:
    rows = [
        (
            _linked(slo.name, slo.runbook),
            cell(slo.service),
            markdown(slo.description or slo.display_name or slo.sli.name),
            _promise(slo),
            slo.window.text,
            _outage(slo),
        )
        for slo in specification.slos
    ]
    yield from table(("SLO", "service", "what counts", "objective", "window", "budget as a total outage"), rows)


def _promise(slo: Slo) -> str:
    share = f"{percent(slo.objective)} %"
    return share if slo.sli.le is None else f"{share} within {exact(slo.sli.le.scaleb(_MILLISECONDS))} ms"


def _outage(slo: Slo) -> str:
    """Return how long everything may fail, at even traffic."""
    minutes = round(slo.budget * slo.window.seconds / MINUTE)
    parts = ((minutes // (DAY // MINUTE), "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "less than a minute"


def _alerts(specification: Specification) -> Iterator[str]:
    policies: dict[AlertPolicy, list[str]] = {}
    for slo in specification.slos:
        for policy in slo.alerts:
            policies.setdefault(policy, []).append(slo.name)
    if not policies:
        return
    yield "## Alerts"
    yield ""
    # An inline policy may share its name with another: then their SLOs tell them apart.
    ordered = sorted(policies.items(), key=lambda item: (-item[0].factor, item[0].name, item[1]))
    rows = [(cell(policy.name), *_policy(policy), ", ".join(map(code, names))) for policy, names in ordered]
    yield from table(("alert", "severity", "burn rate", "over both", "then fires after", "tells", "of"), rows)


def _policy(policy: AlertPolicy) -> tuple[str, ...]:
    windows = f"{policy.long.text} and {policy.short.text}"
    hold = policy.hold.text if policy.hold.seconds else "at once"
    return policy.severity, f"> {exact(policy.factor)}", windows, hold, markdown(", ".join(policy.targets) or "-")


def _gates(specification: Specification) -> Iterator[str]:
    if not specification.gates:
        return
    yield "## What a release must show"
    yield ""
    rows = [
        (cell(gate.name), cell(goal.name), cell(goal.endpoint or "all"), markdown(_goal(goal)))
        for gate in specification.gates
        for goal in gate.objectives
    ]
    yield from table(("gate", "objective", "requests", "must be"), rows)
    yield from (_load(gate) for gate in specification.gates)


def _goal(goal: Objective) -> str:
    target = written(goal.target)
    if goal.indicator == "latency" and goal.percentile is not None:
        limit = exact(target.scaleb(_MILLISECONDS))
        return f"P{exact(written(goal.percentile))} {goal.op} {limit} ms"
    if goal.indicator == "errors":
        return f"errors {goal.op} {percent(Decimal(target))} %"
    return f"{goal.op} {exact(target)} {goal.unit}"


def _load(gate: Gate) -> str:
    return f"- {cell(gate.name)}: {code(gate.script.name)}, profile {code(gate.profile)}"


def _linked(name: str, link: str) -> str:
    return f"[{markdown(name)}]({encoded(link)})" if link else markdown(name)
