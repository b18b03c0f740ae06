"""The answers that tests without a Prometheus rest on are still those that the pinned one gives."""

from dataclasses import replace

import pytest

from tests.goshop.replay import recorded
from tests.stack.recording import STORIES, record


def content(data, now):
    """Return what an answer says: each series with its values, at seconds before now."""
    found = {}
    for each in data["result"]:
        pairs = each["values"] if "values" in each else [each["value"]]
        found[tuple(sorted(each["metric"].items()))] = [
            (pytest.approx(at - now, abs=0.001), pytest.approx(float(value), rel=1e-6, nan_ok=True))
            for at, value in pairs
        ]
    return data["resultType"], found


@pytest.mark.parametrize("name", STORIES)
def test_the_real_prometheus_answers_as_it_did_when_it_was_recorded(name, start_prometheus, promtool, tmp_path):
    found = record(STORIES[name], lambda past: start_prometheus(history=past), promtool, tmp_path)
    before = recorded(name)
    assert found["answers"].keys() == before["answers"].keys()
    for query, data in found["answers"].items():
        assert content(data, found["now"]) == content(before["answers"][query], before["now"]), query


def test_a_command_that_comes_to_no_verdict_is_not_recorded(start_prometheus, promtool, tmp_path):
    lost = replace(STORIES["healthy"], command=("slo", "budget", "nowhere.yaml"))
    with pytest.raises(RuntimeError, match=r"nowhere\.yaml"):
        record(lost, lambda past: start_prometheus(history=past), promtool, tmp_path)
