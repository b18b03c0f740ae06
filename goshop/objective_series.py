"""Which series count an objective of a gate: those of its SLO, of its route alone, and what `--match` selects of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from goshop.budget import narrowed_selector
from goshop.measurement import WrongRequest
from slo.gates import Gate, Objective
from slo.openslo.known_series import edge_fault
from slo.openslo.model import Sli, Slo
from slo.openslo.promql import Matcher, Selector
from telemetry.conventions import BOUND_LABEL, HTTP_LABELS

_ROUTE_LABELS: Final = HTTP_LABELS[:2]
_SPECIAL: Final = re.compile(r"([.+*?()|\[\]{}^$\\])")

Matchers = tuple[Matcher, ...]


@dataclass(frozen=True, slots=True)
class Selected:
    """What is read for an objective; `events` None for a throughput, which counts everything."""

    objective: Objective
    everything: Selector
    events: Selector | None = None
    sli: Sli | None = None


def selected(gate: Gate, slos: Mapping[str, Slo], matchers: Matchers, objective: Objective) -> Selected:
    """Return which series count an objective; raises `WrongRequest` where none can be known to."""
    if objective.indicator == "throughput":
        return Selected(objective, narrowed_selector(_all_requests(gate, slos, objective), matchers))
    sli = slos[objective.slo].sli
    route = _route(objective, sli)
    everything = narrowed_selector(sli.everything, (*route, *matchers))
    events = narrowed_selector(sli.events, (*route, *matchers))
    if objective.indicator == "latency":
        _require_edge(objective, sli)
        bound = Matcher(BOUND_LABEL, "=~", "|".join(_spellings(objective.target)))
        events = narrowed_selector(events.without(BOUND_LABEL), (bound,))
    return Selected(objective, everything, events, sli)


def _all_requests(gate: Gate, slos: Mapping[str, Slo], objective: Objective) -> Selector:
    """Return the series that count every request: what the gate's SLOs have in common."""
    found = {slos[each.slo].sli.everything.without(BOUND_LABEL) for each in gate.objectives if each.slo}
    if len(found) != 1:
        raise WrongRequest(
            f"{objective.name}: which series count all requests is not known, the gate's SLOs have {len(found)}: "
            "leave throughput out of a gate that is judged by series"
        )
    return found.pop()


def _route(objective: Objective, sli: Sli) -> Matchers:
    """Return what selects an objective's route, nothing where the SLO's own series are those of one already."""
    if not objective.endpoint or any(sli.everything.of(label) for label in _ROUTE_LABELS):
        return ()
    if sli.foreign:
        if sli.everything.matchers:
            return ()
        raise WrongRequest(
            f"{objective.name}: which label of {sli.everything} has the route {objective.endpoint} is not known: "
            "give it an SLO that counts this route alone"
        )
    values = objective.endpoint.split(" ", 1)
    return tuple(Matcher(label, "=", value) for label, value in zip(_ROUTE_LABELS, values, strict=True))


def _require_edge(objective: Objective, sli: Sli) -> None:
    if not sli.foreign and (fault := edge_fault(sli.events.metric, repr(objective.target))):
        raise WrongRequest(f"{objective.name}: series can't tell what took longer: {fault}")


def _spellings(seconds: float) -> list[str]:
    """Return how clients spell an edge: Go's say "1", Prometheus 3 and Python's say "1.0"."""
    texts = dict.fromkeys((repr(seconds), f"{seconds:g}"))
    return [quoted(text) for text in texts if float(text) == seconds]


def quoted(text: str) -> str:
    """Return a regular expression that only this text matches."""
    return _SPECIAL.sub(r"\\\1", text)
