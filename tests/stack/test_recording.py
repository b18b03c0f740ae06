"""The answers that tests without a Prometheus rest on are still those that the pinned one gives."""

import pytest

from tests.goshop.replay import recorded
from tests.stack.recording import STORIES, record


def shape(data):
    """Return what an answer is, without the moments and the values in it."""
    found = [
        (sorted(each["metric"].items()), sorted(set(each) - {"metric"}), len(each.get("values", ())))
        for each in data["result"]
    ]
    return data["resultType"], sorted(found)


@pytest.mark.parametrize("name", STORIES)
def test_the_real_prometheus_answers_as_it_did_when_it_was_recorded(name, start_prometheus, promtool, tmp_path):
    found = record(STORIES[name], lambda past: start_prometheus(history=past), promtool, tmp_path)["answers"]
    before = recorded(name)["answers"]
    assert {query: shape(data) for query, data in found.items()} == {
        query: shape(data) for query, data in before.items()
    }
