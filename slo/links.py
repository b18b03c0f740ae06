"""Absolute links from a run to its dashboards, traces and logs in Grafana.

A link says from when to when, in unix ms: "the last hour" of a report that is read tomorrow is another hour.
Forms: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/create-dashboard-url-variables/ and
https://grafana.com/docs/grafana/latest/explore/ (`panes`); data sources are named as they are provisioned.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from slo.gates import Gate
from slo.verdict import Link, Traces

TEMPO: Final = "tempo"
LOKI: Final = "loki"
# What every line of the services has in Loki (loki/promtail.yaml).
LOG_STREAM: Final = 'job="backend-app"'
# What belongs to a run begins and ends a little outside of it: a scrape, a rate's first point, a span that is exported late.
MARGIN_SECONDS: Final = 30
# Lines at this level are what one looks for first.
_ERROR_LINES: Final = '{service=~".+"} | json | level=~"(?i)error|critical"'


def run_links(grafana: str, gate: Gate, traces: Traces, *, started: float, ended: float) -> tuple[Link, ...]:
    """Return the links of a run; none without `grafana`, the address of its site. Times are unix s."""
    if not grafana:
        return ()
    site = grafana.rstrip("/")
    span = {
        "from": str(math.floor((started - MARGIN_SECONDS) * 1000)),
        "to": str(math.ceil((ended + MARGIN_SECONDS) * 1000)),
    }
    return tuple(_links(site, gate, traces, span))


def _links(site: str, gate: Gate, traces: Traces, span: Mapping[str, str]) -> Iterator[Link]:
    for dashboard in gate.dashboards:
        yield Link("dashboard", _dashboard_title(dashboard), _dashboard(site, dashboard, span))
    if gate.latency_target is not None:
        slow = f"{{ trace:duration > {gate.latency_target * 1000:g}ms }}"
        yield Link("traces", "slow traces of the run", _explore(site, TEMPO, _traceql(slow), span))
    for title, ids in (("slowest request", traces.slowest), ("a failed request", traces.failed)):
        for trace_id in ids[:1]:
            yield Link("traces", f"{title}, {trace_id}", _explore(site, TEMPO, _traceql(trace_id), span))
    yield Link("logs", "error lines of the run", _explore(site, LOKI, {"expr": _ERROR_LINES}, span))


def _dashboard_title(dashboard: str) -> str:
    return f"dashboard {dashboard.rpartition('/')[2]}"


def _dashboard(site: str, dashboard: str, span: Mapping[str, str]) -> str:
    address = dashboard if "://" in dashboard else f"{site}{dashboard}"
    return f"{address}{'&' if '?' in address else '?'}{urlencode(span)}"


def _traceql(query: str) -> dict[str, str]:
    return {"queryType": "traceql", "query": query}


def _explore(site: str, source: str, query: Mapping[str, Any], span: Mapping[str, str]) -> str:
    pane = {"datasource": source, "queries": [{"refId": "A", **query}], "range": span}
    panes = json.dumps({"run": pane}, separators=(",", ":"))
    return f"{site}/explore?schemaVersion=1&orgId=1&panes={quote(panes, safe='')}"
