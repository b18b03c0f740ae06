"""A dashboard: rows of panels on the grid, variables, annotations, links to the others."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from dashboards import style as s
from dashboards.links import uid
from dashboards.promql import ALERTS, ENVIRONMENT, OURS, SERVICE, UP
from dashboards.sources import GRAFANA, PROMETHEUS
from dashboards.style import Json
from slo.openslo.promql import Matcher, Selector

# What `goshop gate` tags its annotations with, beside the verdict (goshop/grafana.py).
GATE_TAGS: Final = (s.TAG, "gate")
# Also matches series without the label: a Prometheus of one environment may not say which.
ANY: Final = ".*"
ON_LOAD_AND_RANGE: Final = 2
ALPHABETICAL: Final = 1


@dataclass(frozen=True, slots=True)
class Row:
    """Panels beside one another, which fill the width and are of one height; `title` is a heading over them."""

    panels: tuple[Json, ...]
    title: str = ""


def row(*panels: Json, title: str = "") -> Row:
    """Put panels beside one another; raises `ValueError` where they don't fill the grid's width at one height."""
    widths, heights = sum(each["gridPos"]["w"] for each in panels), {each["gridPos"]["h"] for each in panels}
    if widths != s.COLUMNS or len(heights) != 1:
        raise ValueError(f"{[each['title'] for each in panels]} take {widths} columns and are {heights} high")
    return Row(panels, title)


def dashboard(
    name: str,
    title: str,
    question: str,
    rows: Iterable[Row],
    *,
    variables: Sequence[Json] | None = None,
    shown: str = s.RANGE,
) -> Json:
    """Return a dashboard, all of it that Grafana would write; `question` is what it answers."""
    return {
        "annotations": {"list": annotations()},
        "description": question,
        "editable": True,
        "fiscalYearStartMonth": 0,
        "graphTooltip": s.SHARED_CROSSHAIR,
        "id": None,
        "links": [_others()],
        "panels": placed(rows),
        "refresh": s.REFRESH,
        "schemaVersion": s.SCHEMA_VERSION,
        "tags": [s.TAG],
        "templating": {"list": list(variables if variables is not None else (environment(), services()))},
        "time": {"from": shown, "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": title,
        "uid": uid(name),
        "version": 1,
        "weekStart": "",
    }


def placed(rows: Iterable[Row]) -> list[Json]:
    """Return the panels with their ids and their places, row under row."""
    found: list[Json] = []
    top = 0
    for each in rows:
        if each.title:
            place = {"x": 0, "y": top, "w": s.COLUMNS, "h": 1}
            heading = {"type": "row", "title": each.title, "collapsed": False, "panels": [], "gridPos": place}
            found.append(heading | {"id": len(found) + 1})
            top += 1
        left = 0
        for panel in each.panels:
            size = panel["gridPos"]
            found.append(panel | {"id": len(found) + 1, "gridPos": {"x": left, "y": top, **size}})
            left += size["w"]
        top += each.panels[0]["gridPos"]["h"]
    return found


def environment() -> Json:
    """Return the variable `environment`: all of them by default."""
    return _values(ENVIRONMENT, "Environment", Selector(UP, (OURS,)), everything=True)


def services() -> Json:
    """Return the variable `service`: all of them by default."""
    return _values(SERVICE, "Service", _targets(), everything=True)


def one_service(first: str) -> Json:
    """Return the variable `service` where a dashboard is about one at a time."""
    return _values(SERVICE, "Service", _targets()) | {"current": {"text": first, "value": first}}


def a_trace() -> Json:
    """Return the variable `trace_id`, which a person pastes or a link brings."""
    return {
        "current": {"text": "", "value": ""},
        "description": "The x-trace-id of an answer, or of an error's body.",
        "label": "Trace id",
        "name": "trace_id",
        "options": [{"selected": True, "text": "", "value": ""}],
        "query": "",
        "type": "textbox",
    }


def _targets() -> Selector:
    return Selector(UP, (Matcher(ENVIRONMENT, "=~", "$environment"), OURS))


def _values(label: str, title: str, series: Selector, *, everything: bool = False) -> Json:
    query = f"label_values({series}, {label})"
    return {
        "datasource": PROMETHEUS,
        "includeAll": everything,
        "label": title,
        "multi": everything,
        "name": label,
        "options": [],
        "query": {"query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "refresh": ON_LOAD_AND_RANGE,
        "sort": ALPHABETICAL,
        "type": "query",
        **({"allValue": ANY, "current": {"text": ["All"], "value": ["$__all"]}} if everything else {}),
    }


def annotations() -> list[Json]:
    """Return what is marked on the time axis of every dashboard: alerts that fire, and runs of gates."""
    alerts = Selector(ALERTS, (Matcher("alertstate", "=", "firing"), Matcher("sloth_service", "=~", "$service")))
    return [
        {
            "builtIn": 1,
            "datasource": GRAFANA,
            "enable": True,
            "hide": True,
            "iconColor": s.SKY,
            "name": "Annotations & Alerts",
            "type": "dashboard",
        },
        {
            "datasource": PROMETHEUS,
            "enable": True,
            "hide": False,
            "iconColor": s.BAD,
            # The rules count over all of them.
            "name": "Alerts, of all environments",
            "tagKeys": "severity",
            "target": {"expr": str(alerts), "refId": "Anno"},
            "textFormat": "{{sloth_id}}",
            "titleFormat": "{{alertname}}",
        },
        {
            "datasource": GRAFANA,
            "enable": True,
            "hide": False,
            "iconColor": s.BLUE,
            "name": "Release gates",
            "target": {"limit": 100, "matchAny": False, "tags": list(GATE_TAGS), "type": "tags"},
        },
    ]


def _others() -> Json:
    return {
        "asDropdown": True,
        "icon": "external link",
        "includeVars": True,
        "keepTime": True,
        "tags": [s.TAG],
        "targetBlank": False,
        "title": "GoShop",
        "tooltip": "The other dashboards, of the same time and service",
        "type": "dashboards",
        "url": "",
    }
