"""The house style: colours, units, sizes. What a dashboard looks like is said here and nowhere else.

Colours of the series are Okabe and Ito's, without the two that vanish on a light or a dark ground
(https://jfly.uni-koeln.de/color/). Those of a judgement are told apart by everybody and read on both grounds; the number
beside them says the same (tests/dashboards/test_style.py measures both). Nothing sets a background of its own.
"""

from collections.abc import Iterable
from typing import Any, Final

Json = dict[str, Any]

# --- colours ----------------------------------------------------------------------------------------------------------
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
GREEN: Final = "#009E73"
BLUE: Final = "#0072B2"
VERMILION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
SERIES: Final = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION)

# A judgement: nothing to do, look soon, look now. The theme's own text stands for the first.
FINE: Final = "text"
WARN: Final = "#A87000"
BAD: Final = "#D81B60"
# Cells of a table: Grafana chooses a text that is read on it.
PLAIN_CELL: Final = "transparent"
# What a limit is drawn with, dashed.
LIMIT: Final = BAD
LIMIT_NAME: Final = "limit"
# https://github.com/d3/d3-scale-chromatic: one of those that everybody sees as a scale.
HEAT: Final = "Viridis"

# --- units (https://grafana.com/docs/grafana/latest/panels-visualizations/configure-standard-options/#unit) ------------
SECONDS: Final = "s"
# 0 to 1.
RATIO: Final = "percentunit"
PER_SECOND: Final = "reqps"
OPERATIONS: Final = "ops"
PER_MINUTE: Final = "opm"
COUNT: Final = "short"
DAYS: Final = "d"
# How many times too fast.
TIMES: Final = "suffix:\u00d7"
LOG_LINES: Final = "suffix:lines/s"
SPANS: Final = "suffix:spans/s"
CONNECTIONS: Final = "suffix:conn."

# --- sizes, in the grid's 24 columns and its rows of 30 px; a laptop is some 1,300 px wide ------------------------------
COLUMNS: Final = 24
FULL: Final = 24
WIDE: Final = 16
HALF: Final = 12
THIRD: Final = 8
QUARTER: Final = 6
STAT_HEIGHT: Final = 5
HEIGHT: Final = 9
TALL: Final = 11

# --- the dashboard ----------------------------------------------------------------------------------------------------
# What Grafana 13 writes itself (@grafana/schema); an older one migrates what it knows.
SCHEMA_VERSION: Final = 42
TAG: Final = "goshop"
REFRESH: Final = "30s"
# Long enough to see what was before an alert, short enough that a minute is seen.
RANGE: Final = "now-30m"
SHARED_CROSSHAIR: Final = 1


def thresholds(steps: Iterable[tuple[float, str]], base: str = FINE) -> Json:
    """Return steps of (from which value on, colour), in order of the values."""
    rising = sorted(steps)
    return {
        "mode": "absolute",
        "steps": [{"color": base, "value": None}, *({"color": color, "value": value} for value, color in rising)],
    }


def fixed(color: str) -> Json:
    """Return the colour of a series that means something."""
    return {"mode": "fixed", "fixedColor": color}


def by_value() -> Json:
    """Return that thresholds colour the values."""
    return {"mode": "thresholds"}


def by_name() -> Json:
    """Return colours for series that nobody can list: they follow from the name, so that a route has one on all panels.

    They are not told apart by everybody: a legend in order of the values stands beside them.
    """
    return {"mode": "palette-classic-by-name"}
