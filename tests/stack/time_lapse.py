"""A story told again in slow motion: what was scraped each second, as if it had been each minute, for `promtool test rules`.

So the committed rules, with their windows of 5 minutes to 30 days, see hours of what a real shop counted in two minutes.
"""

import json
from collections.abc import Iterable, Mapping
from math import ceil
from pathlib import Path
from typing import Any, Final

from tests.stack.prometheus import Prometheus

MINUTE: Final = "1m"
Labels = tuple[str, ...]


def series(server: Prometheus, selectors: Iterable[str], began: float, ended: float) -> list[dict[str, str]]:
    """Return `input_series` with a value for each second of the time (Unix s), "_" where there was none yet."""
    grid = range(ceil(began), ceil(ended) + 1)
    span = {"start": str(grid[0]), "end": str(grid[-1]), "step": "1"}
    found: dict[str, str] = {}
    for selector in selectors:
        for each in server.api("query_range", query=selector, **span)["result"]:
            found[_notation(each["metric"])] = _values(each["values"], grid)
    return [{"series": name, "values": values} for name, values in sorted(found.items())]


def _notation(metric: Mapping[str, str]) -> str:
    labels = ",".join(f"{name}={json.dumps(value)}" for name, value in metric.items() if name != "__name__")
    return f"{metric['__name__']}{{{labels}}}"


def _values(samples: list[tuple[float, str]], grid: range) -> str:
    had = {round(at): value for at, value in samples}
    return " ".join(had.get(at, "_") for at in grid)


def scenario(
    rules: Path, inputs: list[dict[str, str]], expected: Iterable[tuple[str, int, Mapping[Labels, int]]]
) -> str:
    """Return a file of `promtool test rules`: after so many minutes an expression that counts has these counts.

    `expected` has (expression, minutes, count by pairs "label=value" of the sample).
    """
    tests = [
        {
            "expr": expression,
            "eval_time": f"{minutes}m",
            "exp_samples": [{"labels": _labels(labels), "value": value} for labels, value in sorted(counts.items())],
        }
        for expression, minutes, counts in expected
    ]
    document: dict[str, Any] = {
        "rule_files": [str(path) for path in sorted(rules.glob("*.yaml"))],
        "evaluation_interval": MINUTE,
        "tests": [{"interval": MINUTE, "input_series": inputs, "promql_expr_test": tests}],
    }
    return json.dumps(document, indent=1)


def _labels(pairs: Labels) -> str:
    return (
        "{"
        + ", ".join(f"{name}={json.dumps(value)}" for name, _, value in (pair.partition("=") for pair in pairs))
        + "}"
    )
