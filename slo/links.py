"""Absolute links from a run to its dashboards, traces and logs in Grafana.

A link says from when to when, in unix ms: "the last hour" of a report that is read tomorrow is another hour.
Forms: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/create-dashboard-url-variables/ and
https://grafana.com/docs/grafana/latest/explore/ (`panes`); data sources are named as they are provisioned.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlencode

from slo.gates import Gate
from slo.verdict import Link, Traces
from telemetry import conventions as names
from telemetry.spans import is_trace_id

TEMPO: Final = "tempo"
LOKI: Final = "loki"
# What every line of the services has in Loki (loki/promtail.yaml).
LOG_STREAM: Final = 'job="backend-app"'
# What belongs to a run begins and ends a little outside of it: a scrape, a rate's first point, a span that is exported late.
MARGIN_SECONDS: Final = 30
# Lines at this level are what one looks for first.
_ERROR_LINES: Final = f'{{{LOG_STREAM}, level=~"(?i)error|critical"}}'
# The dashboards that come with the shop; who names the first of them for its SLOs has the others, too.
_OF_A_SERVICE: Final = "/d/goshop-service"
_BESIDE: Final = ("/d/goshop-slo", "/d/goshop-gates")
# More traces of a kind are no help.
MOST_TRACES: Final = 5


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
    for dashboard in _dashboards(gate.dashboards):
        yield Link("dashboard", _dashboard_title(dashboard), _dashboard(site, dashboard, span))
    if gate.latency_target is not None:
        slow = f"{{ trace:duration > {gate.latency_target * 1000:g}ms }}"
        yield Link("traces", "slow traces of the run", _explore(site, TEMPO, _traceql(slow), span))
    yield Link("logs", "error lines of the run", _explore(site, LOKI, _logql(_ERROR_LINES), span))
    for trace_id, title in _named(traces).items():
        yield Link("traces", f"{title}, {trace_id}", _explore(site, TEMPO, _traceql(trace_id), span), trace_id)
        lines = f'{{{LOG_STREAM}}} | {names.LOG_TRACE_ID}="{trace_id}"'
        yield Link("logs", f"its log lines, {trace_id}", _explore(site, LOKI, _logql(lines), span), trace_id)


def _named(traces: Traces) -> dict[str, str]:
    """Return what to call each trace; one that failed slowly has failed.

    A script of one's own may call its requests anything: what is no id is part of no query.
    """
    slow = dict.fromkeys(traces.slowest[:MOST_TRACES], "a slow request")
    failed = dict.fromkeys(traces.failed[:MOST_TRACES], "a failed request")
    # Those that failed stay in front.
    return {trace_id: title for trace_id, title in (failed | slow | failed).items() if is_trace_id(trace_id)}


def _dashboards(named: Sequence[str]) -> Iterator[str]:
    """Yield dashboards, and beside the shop's own of a service those that go with it."""
    for dashboard in named:
        yield dashboard
        path, mark, query = dashboard.partition("?")
        if path == _OF_A_SERVICE:
            yield from (f"{beside}{mark}{query}" for beside in _BESIDE)


def _dashboard_title(dashboard: str) -> str:
    """Return a dashboard's uid (https://…/d/UID/its-name), and the service that it is asked to show."""
    path, _, query = dashboard.partition("#")[0].partition("?")
    uid = path.partition("/d/")[2].partition("/")[0] or path.rpartition("/")[2]
    service = next(iter(parse_qs(query).get("var-service", [])), "")
    return f"dashboard {uid} of {service}" if service else f"dashboard {uid}"


def _dashboard(site: str, dashboard: str, span: Mapping[str, str]) -> str:
    address = dashboard if "://" in dashboard else f"{site}{dashboard}"
    # What follows a # is the browser's, and no parameter.
    address, mark, fragment = address.partition("#")
    return f"{address}{'&' if '?' in address else '?'}{urlencode(span)}{mark}{fragment}"


def _traceql(query: str) -> dict[str, str]:
    return {"queryType": "traceql", "query": query}


def _logql(query: str) -> dict[str, str]:
    return {"queryType": "range", "expr": query}


def _explore(site: str, source: str, query: Mapping[str, Any], span: Mapping[str, str]) -> str:
    # Data sources have the type of what they are, and are called as it (compose/grafana).
    named = {"type": source, "uid": source}
    pane = {"datasource": source, "queries": [{"refId": "A", "datasource": named, **query}], "range": span}
    panes = json.dumps({"run": pane}, separators=(",", ":"))
    return f"{site}/explore?schemaVersion=1&orgId=1&panes={quote(panes, safe='')}"
