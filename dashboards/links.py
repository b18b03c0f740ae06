"""Links from one place to the next: they keep the time that is shown and what was chosen, so that nobody types an id.

Source: https://grafana.com/docs/grafana/latest/panels-visualizations/configure-data-links/
"""

import json
from typing import Final
from urllib.parse import quote

from dashboards.sources import LOKI, TEMPO
from dashboards.style import TAG, Json

TIME: Final = "${__url_time_range}"
SERVICE: Final = "${service:queryparam}"
ENVIRONMENT: Final = "${environment:queryparam}"
# Grafana puts values in for these; everything else of an address is encoded.
_LEFT: Final = "${}:"


def uid(name: str) -> str:
    """Return the uid of a dashboard."""
    return f"{TAG}-{name}"


def to_dashboard(title: str, name: str, *, service: str = SERVICE) -> Json:
    """Return a link to a dashboard; `service` is a query parameter, the chosen ones by default."""
    return {"targetBlank": False, "title": title, "url": f"/d/{uid(name)}?{TIME}&{service}&{ENVIRONMENT}"}


def of_service(label: str) -> str:
    """Return the query parameter that chooses the service which a value's label names."""
    return f"var-service=${{__field.labels.{label}}}"


def of_row(field: str) -> str:
    """Return the query parameter that chooses the service which a table's row names."""
    return f"var-service=${{__data.fields.{field}}}"


def to_traces(title: str, traceql: str) -> Json:
    """Return a link to a search for traces in the time that is shown; TraceQL may hold Grafana's variables."""
    return _explore(title, TEMPO, {"queryType": "traceql", "query": traceql, "limit": 20, "tableType": "traces"})


def to_lines(title: str, logql: str) -> Json:
    """Return a link to log lines in the time that is shown."""
    return _explore(title, LOKI, {"expr": logql, "queryType": "range"})


def _explore(title: str, source: Json, query: Json) -> Json:
    shown = {"from": "${__from}", "to": "${__to}"}
    pane = {"datasource": source["uid"], "queries": [{"refId": "A", "datasource": source, **query}], "range": shown}
    panes = json.dumps({"a": pane}, separators=(",", ":"), ensure_ascii=False)
    address = f"/explore?schemaVersion=1&orgId=1&panes={quote(panes, safe=_LEFT)}"
    return {"targetBlank": True, "title": title, "url": address}
