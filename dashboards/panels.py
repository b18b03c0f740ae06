"""Panels as dictionaries, by what they show. Each has a title and, behind its "i", the question that it answers.

Source: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/; the types of
@grafana/schema are what tests/stack/test_dashboard_types.py holds them against.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from dashboards import style as s
from dashboards.sources import GRAFANA, LOKI, TEMPO, at_the_end
from dashboards.style import Json


def panel(kind: str, title: str, question: str, targets: Sequence[Json], *, width: int, height: int) -> Json:
    """Return what all panels share; targets are lettered in their order, and place is given by the board."""
    sources = [target["datasource"] for target in targets]
    return {
        "type": kind,
        "title": title,
        "description": question,
        "gridPos": {"w": width, "h": height},
        "datasource": sources[0] if sources else GRAFANA,
        "targets": [{"refId": letter, **target} for letter, target in zip(ascii_uppercase, targets, strict=False)],
    }


def timeseries(
    title: str,
    question: str,
    *targets: Json,
    unit: str,
    width: int = s.THIRD,
    height: int = s.HEIGHT,
    stacked: bool = False,
    colors: Json | None = None,
    overrides: Iterable[Json] = (),
    links: Sequence[Json] = (),
    bottom: float | None = 0.0,
    top: float | None = None,
) -> Json:
    """Return lines over time, or areas where they are parts of a whole; `bottom` and `top` are the ends of the axis."""
    drawn = {
        "drawStyle": "line",
        "fillOpacity": 40 if stacked else 0,
        "lineInterpolation": "linear",
        "lineWidth": 1 if stacked else 2,
        "showPoints": "never",
        # A gap is shown as one: a scrape that failed is news.
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
    }
    defaults = {
        "color": colors or s.by_name(),
        "custom": drawn,
        "links": list(links),
        "unit": unit,
        **{end: value for end, value in (("min", bottom), ("max", top)) if value is not None},
    }
    options = {
        "legend": {
            "calcs": ["lastNotNull", "max"],
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": True,
            "sortBy": "Last *",
            "sortDesc": True,
        },
        "tooltip": {"hideZeros": True, "mode": "multi", "sort": "desc"},
    }
    made = panel("timeseries", title, question, targets, width=width, height=height)
    return made | {"fieldConfig": {"defaults": defaults, "overrides": [*overrides, limit_line()]}, "options": options}


def stat(
    title: str,
    question: str,
    *targets: Json,
    unit: str,
    width: int = s.QUARTER,
    steps: Iterable[tuple[float, str]] = (),
    base: str = s.FINE,
    links: Sequence[Json] = (),
    decimals: int | None = None,
) -> Json:
    """Return one number a series with its course behind it, coloured from `steps` on."""
    defaults = {
        "color": s.by_value(),
        "links": list(links),
        "noValue": "-",
        "thresholds": s.thresholds(steps, base),
        "unit": unit,
        **({} if decimals is None else {"decimals": decimals}),
    }
    options = {
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "vertical",
        "percentChangeColorMode": "standard",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showPercentChange": False,
        "textMode": "auto",
        "wideLayout": True,
    }
    made = panel("stat", title, question, targets, width=width, height=s.STAT_HEIGHT)
    return made | {"fieldConfig": {"defaults": defaults, "overrides": []}, "options": options}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of numbers: its title, the PromQL, its unit, and from which values on a cell is coloured."""

    title: str
    expression: str
    unit: str
    steps: tuple[tuple[float, str], ...] = ()
    base: str = s.PLAIN_CELL
    decimals: int | None = None


def table(
    title: str,
    question: str,
    keys: dict[str, str],
    columns: Sequence[Column],
    *,
    width: int = s.HALF,
    height: int = s.HEIGHT,
    links: Sequence[Json] = (),
    order: str = "",
) -> Json:
    """Return a row for each set of labels (`keys`: label -> title) at the end of the time shown, the highest first.

    `order` names the column that orders them, the first by default. Links are those of the first key's cells.
    """
    targets = [at_the_end(column.expression) for column in columns]
    values = [f"Value #{letter}" for letter in ascii_uppercase[: len(columns)]]
    if len(columns) == 1:
        values = ["Value"]
    names = {**keys, **{value: column.title for value, column in zip(values, columns, strict=True)}}
    transformations = [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True},
                "indexByName": {name: at for at, name in enumerate(names)},
                "renameByName": names,
            },
        },
    ]
    overrides = [_number(column) for column in columns]
    if links:
        overrides.append(named(next(iter(keys.values())), {"links": list(links)}))
    made = panel("table", title, question, targets, width=width, height=height)
    return made | {
        "transformations": transformations,
        "fieldConfig": {"defaults": {"custom": _cell("auto"), "noValue": "-"}, "overrides": overrides},
        "options": _shown(order or columns[0].title),
    }


def matrix(
    title: str, question: str, column: Column, *, rows: str, across: str, width: int = s.HALF, height: int = s.TALL
) -> Json:
    """Return one number for each pair of two labels: `rows` down, `across` beside one another."""
    made = panel("table", title, question, [at_the_end(column.expression)], width=width, height=height)
    pivot = {"columnField": across, "rowField": rows, "valueField": "Value", "emptyValue": "empty"}
    defaults = {
        "color": s.by_value(),
        "custom": _cell("color-background"),
        "noValue": "",
        "thresholds": s.thresholds(column.steps, column.base),
        "unit": column.unit,
    }
    first = f"{rows}\\{across}"
    label = named(first, {"custom.cellOptions": {"type": "auto"}, "displayName": rows, "unit": "string"})
    return made | {
        "transformations": [{"id": "groupingToMatrix", "options": pivot}],
        "fieldConfig": {"defaults": defaults, "overrides": [label]},
        "options": {"cellHeight": "md", "frameIndex": 0, "showHeader": True},
    }


def heatmap(title: str, question: str, target: Json, *, unit: str, rows: bool, width: int = s.HALF) -> Json:
    """Return values over time as colours: of `rows`, a series a row, or of a histogram's buckets."""
    values = "value" if rows else "calls"
    options = {
        "calculate": False,
        "cellGap": 1,
        "cellValues": {"unit": unit},
        "color": {
            "exponent": 0.5,
            "fill": s.BLUE,
            "mode": "scheme",
            "reverse": False,
            "scale": "exponential",
            "scheme": s.HEAT,
            "steps": 64,
        },
        "exemplars": {"color": s.VERMILION},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto", "value": values},
        "showValue": "never",
        "tooltip": {"mode": "single", "showColorScale": True, "yHistogram": False},
        "yAxis": {"axisPlacement": "left", "reverse": False, **({} if rows else {"unit": s.SECONDS})},
    }
    made = panel("heatmap", title, question, [target], width=width, height=s.TALL)
    return made | {
        "fieldConfig": {"defaults": {"custom": {"scaleDistribution": {"type": "linear"}}}, "overrides": []},
        "options": options,
    }


def lines(title: str, question: str, target: Json, *, width: int = s.FULL, height: int = s.TALL) -> Json:
    """Return log lines; each has its fields, and by its trace id the way to the trace."""
    options = {
        "dedupStrategy": "none",
        "enableLogDetails": True,
        "prettifyLogMessage": False,
        "showCommonLabels": False,
        "showLabels": False,
        "showLogContextToggle": True,
        "showTime": True,
        "sortOrder": "Descending",
        "wrapLogMessage": True,
    }
    made = panel("logs", title, question, [target], width=width, height=height)
    return made | {"datasource": LOKI, "options": options}


def found_traces(title: str, question: str, target: Json, *, width: int = s.HALF, links: Sequence[Json] = ()) -> Json:
    """Return traces that a search found; the id leads to the trace."""
    made = panel("table", title, question, [target], width=width, height=s.HEIGHT)
    overrides = [named("traceDuration", {"links": list(links)})] if links else []
    return made | {
        "datasource": TEMPO,
        "fieldConfig": {"defaults": {"custom": _cell("auto")}, "overrides": overrides},
        "options": {"cellHeight": "sm", "frameIndex": 0, "showHeader": True},
    }


def events(title: str, question: str, tags: Sequence[str], *, width: int = s.THIRD, height: int = s.TALL) -> Json:
    """Return a list of annotations with these tags, whenever they were made."""
    options = {
        "limit": 30,
        "navigateAfter": "10m",
        "navigateBefore": "10m",
        "navigateToPanel": False,
        "onlyFromThisDashboard": False,
        "onlyInTimeRange": False,
        "showTags": True,
        "showTime": True,
        "showUser": False,
        "tags": list(tags),
    }
    return panel("annolist", title, question, [], width=width, height=height) | {"options": options}


def text(title: str, markdown: str, *, width: int = s.THIRD, height: int = s.HEIGHT) -> Json:
    """Return words."""
    made = panel("text", title, "", [], width=width, height=height)
    return made | {"options": {"content": markdown, "mode": "markdown"}}


def named(name: str, properties: Json) -> Json:
    """Return what is different for the field or series of a name."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


def matching(pattern: str, properties: Json) -> Json:
    """Return what is different for fields or series whose name matches."""
    return named(f"/{pattern}/", properties) | {"matcher": {"id": "byRegexp", "options": f"/{pattern}/"}}


def limit_line() -> Json:
    """Return how a series called "limit" is drawn."""
    dashed = {"fill": "dash", "dash": [8, 6]}
    return named(
        s.LIMIT_NAME,
        {
            "color": s.fixed(s.LIMIT),
            "custom.lineStyle": dashed,
            "custom.lineWidth": 1,
            "custom.fillOpacity": 0,
            "custom.stacking": {"group": s.LIMIT_NAME, "mode": "none"},
        },
    )


def colored(colors: dict[str, str]) -> list[Json]:
    """Return the colours of series whose names are known."""
    return [named(name, {"color": s.fixed(color)}) for name, color in colors.items()]


def _number(column: Column) -> Json:
    properties: Json = {"unit": column.unit}
    if column.decimals is not None:
        properties["decimals"] = column.decimals
    if column.steps:
        properties |= {
            "color": s.by_value(),
            "custom.cellOptions": {"type": "color-background", "mode": "basic"},
            "thresholds": s.thresholds(column.steps, column.base),
        }
    return named(column.title, properties)


def _cell(kind: str) -> Json:
    options = {"type": kind, "mode": "basic"} if kind == "color-background" else {"type": kind}
    return {"align": "auto", "cellOptions": options, "inspect": False}


def _shown(order: str) -> Json:
    return {
        "cellHeight": "sm",
        "frameIndex": 0,
        "showHeader": True,
        "sortBy": [{"desc": True, "displayName": order}],
    }
