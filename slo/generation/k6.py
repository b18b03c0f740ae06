"""A release gate's objectives as thresholds of k6, for a bare `k6 run` without the gate around it.

k6 compares one figure with its limit, without an interval, so its answer near the limit is chance
(docs/statistics.md); the gate judges every sample itself and takes k6's exit code 99 as data.
"""

import json
from typing import Final

from slo.gates import Gate, Objective
from slo.generation.model import UnsayableError
from slo.generation.numbers import exact, written

# The tag of requests that are not of the warm-up (loadtests/k6).
JUDGED: Final = "phase:judged"
_THERE: Final = "count>0"
# What the thresholds of every gate begin with.
ANY_REQUEST: Final = {f"http_reqs{{{JUDGED}}}": [_THERE]}
_MILLISECONDS: Final = 3
_METRICS: Final = {"latency": "http_req_duration", "errors": "http_req_failed", "throughput": "http_reqs"}


def thresholds(gate: Gate) -> dict[str, list[str]]:
    """Return k6's `options.thresholds`, in order of the metrics.

    Raises `UnsayableError`. An empty metric would pass, hence `count>0`: of all requests, and of each route that an
    objective names. A rate counts the whole run, and so all requests.
    """
    found: dict[str, list[str]] = {}
    for objective in gate.objectives:
        metric, condition = _metric(gate, objective), _condition(objective)
        found[metric] = [*found.get(metric, ()), condition]
    routes = {objective.endpoint for objective in gate.objectives} - {""}
    counted = {_judged("http_reqs", route): [_THERE] for route in routes}
    return dict(sorted((found | counted | ANY_REQUEST).items()))


def thresholds_json(gate: Gate) -> bytes:
    """Return the thresholds as a JSON document; raises `UnsayableError`."""
    return (json.dumps(thresholds(gate), indent=2, ensure_ascii=False) + "\n").encode()


def _metric(gate: Gate, objective: Objective) -> str:
    metric = _METRICS[objective.indicator]
    if objective.indicator == "throughput":
        return metric
    # k6 reads up to the last "}", so that routes may have braces; tags are separated by commas, which nothing escapes.
    if "," in objective.endpoint:
        said = f"the gate {gate.name!r} has the objective {objective.name!r} for {objective.endpoint!r}"
        raise UnsayableError(f"{said}: a threshold of k6 can't name a route with a comma")
    return _judged(metric, objective.endpoint)


def _judged(metric: str, endpoint: str) -> str:
    """Return the judged part of a metric: of one route, or of all where `endpoint` is ""."""
    return f"{metric}{{{JUDGED}{f',name:{endpoint}' if endpoint else ''}}}"


def _condition(objective: Objective) -> str:
    target = written(objective.target)
    if objective.indicator == "latency" and objective.percentile is not None:
        return f"p({exact(written(objective.percentile))}){objective.op}{exact(target.scaleb(_MILLISECONDS))}"
    return f"rate{objective.op}{exact(target)}"
