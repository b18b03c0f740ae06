"""A threshold that could not have failed is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from loadtests.thresholds import read_idle_thresholds

TREND = {"avg": 3.0, "min": 0.0, "max": 9.0, "count": 12}
EMPTY_TREND = {"avg": 0, "min": 0, "max": 0, "count": 0}
RATE = {"passes": 0, "fails": 12, "value": 0}
EMPTY_RATE = {"passes": 0, "fails": 0, "value": 0}
COUNTER = {"count": 0, "rate": 0}


def said_of(path: Path, name: str, metric: dict[str, Any], expression: str) -> tuple[str, ...]:
    path.write_text(json.dumps({"metrics": {name: {**metric, "thresholds": {expression: False}}}}))
    return read_idle_thresholds(path)


@pytest.mark.parametrize(
    ("name", "metric", "expression"),
    [
        ("http_req_duration", TREND, "p(99)<=800"),
        # Always 0 on a kept connection, and looked at.
        ("http_req_connecting", EMPTY_TREND | {"count": 12}, "max<5"),
        ("http_req_failed", RATE, "rate<0.01"),
        ("checks", RATE, "rate>=0.99"),
        # That nothing of it came is what it asks for.
        ("my_errors", COUNTER, "count<1"),
        ("http_reqs", COUNTER, "count>0"),
        ("my_temperature", TREND, "min>=0"),
        ("http_req_duration", TREND, "p(95) < 200"),
    ],
)
def test_a_threshold_that_could_fail_is_none(
    tmp_path: Path, name: str, metric: dict[str, Any], expression: str
) -> None:
    assert said_of(tmp_path / "summary.json", name, metric, expression) == ()


@pytest.mark.parametrize(
    ("name", "metric", "expression", "reason"),
    [
        ("http_req_duration{name:nowhere}", EMPTY_TREND, "p(99)<=800", "looked at nothing"),
        ("checks", EMPTY_RATE, "rate>=0.99", "looked at nothing"),
        ("http_req_failed", RATE, "rate<=1", "can't fail"),
        ("http_req_failed", RATE, "rate < 1.5", "can't fail"),
        ("http_req_duration", TREND, "avg>=0", "can't fail"),
        ("http_reqs", COUNTER, "count>-1", "can't fail"),
    ],
)
def test_a_threshold_that_could_not_fail_is_said(
    tmp_path: Path, name: str, metric: dict[str, Any], expression: str, reason: str
) -> None:
    (said,) = said_of(tmp_path / "summary.json", name, metric, expression)
    assert said.startswith(f"the script's threshold {name}: {expression} {reason}")


@pytest.mark.parametrize("text", ["", "{", '{"metrics": 3}'])
def test_a_summary_that_cannot_be_read_is_not_our_business(tmp_path: Path, text: str) -> None:
    path = tmp_path / "summary.json"
    path.write_text(text)
    assert read_idle_thresholds(path) == read_idle_thresholds(tmp_path / "none.json") == ()
