"""Thresholds of a script that cannot fail: k6 calls them passed, and nothing was looked at.

The gate judges every sample itself and takes no threshold's word. But a person who wrote one believes that it is
checked, so a pass beside it would not mean what it seems to.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

# The aggregation `count` of a trend, so that an empty one is told from one that is always 0.
TREND_STATS: Final = "avg,min,med,max,p(90),p(95),p(99),count"
_EXPRESSION: Final = re.compile(
    r"\s*(?P<what>[a-z]+)(?:\([\d.]+\))?\s*(?P<op><=|>=|<|>)\s*(?P<number>-?[\d.]+(?:e[+-]?\d+)?)\s*"
)
# Custom metrics may be negative, k6's own are not.
_BUILT_IN: Final = ("http_", "iteration", "checks", "vus", "data_", "dropped_", "ws_", "grpc_", "group_")

_Metric = dict[str, Any]


def read_idle_thresholds(summary: Path) -> tuple[str, ...]:
    """Return a sentence for each threshold in what `--summary-export` wrote that could not have failed."""
    try:
        metrics = msgspec.json.decode(summary.read_bytes(), type=_Summary).metrics
    except (OSError, msgspec.DecodeError):
        # That there is no summary is said elsewhere.
        return ()
    return tuple(said for name, metric in sorted(metrics.items()) for said in _idle(name, metric))


class _Summary(msgspec.Struct):
    metrics: dict[str, _Metric]


def _idle(name: str, metric: _Metric) -> Iterator[str]:
    for expression in metric.get("thresholds") or {}:
        if _is_empty(metric):
            yield f"the script's threshold {name}: {expression} looked at nothing: no such sample came"
        elif _always_holds(name, metric, expression):
            yield f"the script's threshold {name}: {expression} can't fail: it holds for every figure"


def _is_empty(metric: _Metric) -> bool:
    """Tell whether a rate or a trend has no sample; a counter that stands at 0 has been looked at."""
    if "passes" in metric:
        return not metric["passes"] + metric["fails"]
    return "avg" in metric and metric.get("count") == 0


def _always_holds(name: str, metric: _Metric, expression: str) -> bool:
    found = _EXPRESSION.fullmatch(expression)
    if found is None or not (name.startswith(_BUILT_IN) or "passes" in metric):
        return False
    op, number = found["op"], float(found["number"])
    share = "passes" in metric and found["what"] == "rate"
    return {
        ">=": number <= 0,
        ">": number < 0,
        "<=": share and number >= 1,
        "<": share and number > 1,
    }[op]
