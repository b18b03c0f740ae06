"""Queries as targets of a panel, one function a data source; the uids are those that compose/grafana provisions."""

from typing import Final

from dashboards.style import Json
from slo import links

PROMETHEUS: Final[Json] = {"type": "prometheus", "uid": "prometheus"}
LOKI: Final[Json] = {"type": links.LOKI, "uid": links.LOKI}
TEMPO: Final[Json] = {"type": links.TEMPO, "uid": links.TEMPO}
GRAFANA: Final[Json] = {"type": "grafana", "uid": "-- Grafana --"}
MOST_LINES: Final = 200
MOST_TRACES: Final = 20


def over_time(expression: str, legend: str = "__auto", *, exemplars: bool = False) -> Json:
    """Return a query of Prometheus over the time that is shown; `exemplars` puts the requests behind it on the panel."""
    return {
        "datasource": PROMETHEUS,
        "editorMode": "code",
        "exemplar": exemplars,
        "expr": expression,
        "instant": False,
        "legendFormat": legend,
        "range": True,
    }


def buckets_over_time(expression: str) -> Json:
    """Return a query for a heat map of a histogram: series by `le`, which Grafana takes apart."""
    return over_time(expression, "{{le}}", exemplars=True) | {"format": "heatmap"}


def at_the_end(expression: str, legend: str = "__auto") -> Json:
    """Return a query of Prometheus for one value a series, at the end of the time that is shown."""
    return {
        "datasource": PROMETHEUS,
        "editorMode": "code",
        "exemplar": False,
        "expr": expression,
        "format": "table",
        "instant": True,
        "legendFormat": legend,
        "range": False,
    }


def log_lines(expression: str) -> Json:
    """Return a query of Loki for lines, the latest first."""
    return {
        "datasource": LOKI,
        "direction": "backward",
        "editorMode": "code",
        "expr": expression,
        "maxLines": MOST_LINES,
        "queryType": "range",
    }


def lines_over_time(expression: str, legend: str) -> Json:
    """Return a query of Loki for numbers."""
    return {
        "datasource": LOKI,
        "editorMode": "code",
        "expr": expression,
        "legendFormat": legend,
        "queryType": "range",
    }


def traces(traceql: str) -> Json:
    """Return a search of Tempo."""
    return {
        "datasource": TEMPO,
        "limit": MOST_TRACES,
        "query": traceql,
        "queryType": "traceql",
        "tableType": "traces",
    }
