"""Every dashboard by its file's name, from a specification: the same specification is the same bytes."""

import json
from collections.abc import Callable
from typing import Final

from dashboards import dependencies, errors, gates, latency, objectives, pools, service, slow_queries, watching
from dashboards.limits import Limits
from dashboards.style import Json
from slo.openslo.model import Specification

# In the order in which somebody on call opens them.
BUILDERS: Final[tuple[Callable[[Limits], Json], ...]] = (
    service.build,
    errors.build,
    latency.build,
    dependencies.build,
    slow_queries.build,
    pools.build,
    objectives.build,
    gates.build,
    watching.build,
)


def built(specification: Specification) -> list[Json]:
    """Return every dashboard."""
    limits = Limits.of(specification)
    return [build(limits) for build in BUILDERS]


def artefacts(specification: Specification) -> dict[str, bytes]:
    """Return the files that Grafana provisions: name -> JSON."""
    return {f"{each['uid']}.json": rendered(each) for each in built(specification)}


def rendered(dashboard: Json) -> bytes:
    """Return a dashboard as text: keys in order, so that a change is a difference of the lines that changed."""
    return (json.dumps(dashboard, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
