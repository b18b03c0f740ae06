"""From a ReleaseGate to what the judge is given: the SLOs it names, as objectives for the samples of a load test.

An SLO's budget becomes the share of requests that may be bad in the run; a latency's bucket edge becomes the limit. What
a load test sees of availability is more than a server's own counter does: no answer, 429 and statuses that the journey
did not declare are bad too (`slo.judge`).
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from slo.gates import PER_SECOND, RATIO, SECONDS, Gate, Objective, Operator
from slo.openslo.documents import ReleaseGateDocument
from slo.openslo.entries import Entry, Findings, Place
from slo.openslo.known_series import TARGET_LABELS
from slo.openslo.model import Slo
from slo.openslo.resolving import share_fault
from slo.openslo.specs import GateObjective, Throughput
from telemetry.conventions import BOUND_LABEL, HTTP_LABELS, HTTP_REQUEST_DURATION

_THROUGHPUT: Final = re.compile(r"(?P<op>>=|>) (?P<number>\S+) requests/s")
_UNITS: Final = {"ms": Decimal("0.001"), "s": Decimal(1)}
# Method and route, as an endpoint spells them.
_ROUTE_LABELS: Final = HTTP_LABELS[:2]
_PER_CENT: Final = 100


def read_gate(entry: Entry, body: ReleaseGateDocument, slos: Mapping[str, Slo], findings: Findings) -> Gate | None:
    """Return what a ReleaseGate says, None when something is wrong with it."""
    before = len(findings.faults)
    spec, at = body.spec, entry.place.at("spec")
    script, is_there = _script(Path(at.document.file).parent / spec.script)
    if not is_there:
        findings.add(at.at("script"), f"there is no such file: {script}")
    if not spec.objectives and spec.throughput is None:
        findings.add(at, "expected objectives or a throughput: a gate that asks for nothing passes everything")
    _require_distinct(body, at, findings)
    found = [
        _objective(objective, at.at("objectives", index), slos, findings)
        for index, objective in enumerate(spec.objectives)
    ]
    if spec.throughput is not None:
        found.append(_throughput(spec.throughput, at.at("throughput"), findings))
    if len(findings.faults) > before or None in found:
        return None
    objectives = tuple(objective for objective in found if objective is not None)
    named = [slos[objective.slo_ref].dashboard for objective in spec.objectives]
    dashboards = tuple(dict.fromkeys(filter(None, named)))
    return Gate(body.metadata.name, at.document.file, script, spec.profile, objectives, dashboards)


def _script(path: Path) -> tuple[Path, bool]:
    """Return where a script is, and whether it is there: it is not behind a name that no file can have."""
    try:
        script = path.resolve()
        return script, script.is_file()
    except (OSError, RuntimeError, ValueError):
        # Too long a name, a folder that is closed; a circle of links; a character that the file system can't spell.
        return path, False


def _require_distinct(body: ReleaseGateDocument, place: Place, findings: Findings) -> None:
    names: set[str] = set()
    for index, objective in enumerate(body.spec.objectives):
        if objective.name in names:
            findings.add(
                place.at("objectives", index, "name"), f"the name {objective.name!r} is taken by another objective"
            )
        names.add(objective.name)
    throughput = body.spec.throughput
    if throughput is not None and throughput.name in names:
        findings.add(place.at("throughput"), f"the name {throughput.name!r} is taken by another objective")


def _objective(entry: GateObjective, place: Place, slos: Mapping[str, Slo], findings: Findings) -> Objective | None:
    asked = _asked_share(entry, place, findings), _asked_limit(entry, place, findings)
    if not findings.refer(place.at("sloRef"), "SLO", entry.slo_ref) or entry.slo_ref not in slos:
        return None
    slo = slos[entry.slo_ref]
    _require_edge(entry, slo, place, findings)
    _require_word(entry, slo, asked, place, findings)
    share, limit = asked[0] or slo.objective, asked[1] or slo.sli.le
    budget = float(1 - share)
    if limit is None:
        return Objective(entry.name, "errors", "<", budget, RATIO, budget, None, entry.endpoint or "", slo.name)
    percentile = float(share * _PER_CENT)
    return Objective(
        entry.name, "latency", "<=", float(limit), SECONDS, budget, percentile, entry.endpoint or "", slo.name
    )


def _asked_share(entry: GateObjective, place: Place, findings: Findings) -> Decimal | None:
    if entry.target is None:
        return None
    share = Decimal(repr(entry.target))
    if fault := share_fault(share):
        findings.add(place.at("target"), fault)
        return None
    return share


def _asked_limit(entry: GateObjective, place: Place, findings: Findings) -> Decimal | None:
    if entry.within is None:
        return None
    number, unit = entry.within.split(" ")
    limit = Decimal(number) * _UNITS[unit]
    if not limit:
        findings.add(place.at("within"), f"expected a time above 0, got {entry.within!r}")
        return None
    return limit.normalize()


def _require_edge(entry: GateObjective, slo: Slo, place: Place, findings: Findings) -> None:
    """Require that the SLO is about what the load's requests meet: HTTP, and the route that the objective is about.

    What narrows the series, beyond the target that they are scraped from, narrows the load's requests only by an
    endpoint: a tenth of them that fail would be lost among all.
    """
    selector = slo.sli.everything.without(BOUND_LABEL)
    if not slo.sli.foreign and not selector.metric.startswith(HTTP_REQUEST_DURATION):
        said = f"the SLO {slo.name!r} counts {selector.metric}: a load test sees HTTP requests alone"
        findings.add(place.at("sloRef"), said)
        return
    route = [] if slo.sli.foreign else [matcher for label in _ROUTE_LABELS for matcher in selector.of(label)]
    exact = " ".join(matcher.value for matcher in route if matcher.operator == "=")
    narrowed = any(matcher.label not in TARGET_LABELS for matcher in selector.matchers)
    if (entry.endpoint != exact) if route else (narrowed and entry.endpoint is None):
        said = f"the SLO {slo.name!r} counts {selector} alone: name the one route that it counts as endpoint"
        findings.add(place.at("sloRef"), said)


def _require_word(
    entry: GateObjective, slo: Slo, asked: tuple[Decimal | None, Decimal | None], place: Place, findings: Findings
) -> None:
    """Require that whoever asks for less than the SLO says so, and only they."""
    share, limit = asked
    looser = []
    if share is not None and share < slo.objective:
        looser.append(f"a target of {share:f} where the SLO has {slo.objective:f}")
    if limit is not None and slo.sli.le is None:
        findings.add(place.at("within"), f"the SLO {slo.name!r} has no limit: it is one of availability")
    elif limit is not None and slo.sli.le is not None and limit > slo.sli.le:
        looser.append(f"within {limit:f} s where the SLO has {slo.sli.le:f} s")
    if looser and entry.loosened is None:
        findings.add(place, f"{' and '.join(looser)} asks for less: give the reason as 'loosened'")
    elif not looser and entry.loosened is not None:
        findings.add(place.at("loosened"), "nothing is asked for less than the SLO does: take loosened out")


def _throughput(entry: Throughput, place: Place, findings: Findings) -> Objective | None:
    match = _THROUGHPUT.fullmatch(entry.target)
    if match is None or not (number := Decimal(match["number"])):
        findings.add(place.at("target"), f"expected more than 0 requests/s, got {entry.target!r}")
        return None
    operator = msgspec.convert(match["op"], Operator)
    return Objective(entry.name, "throughput", operator, float(number), PER_SECOND, None)
