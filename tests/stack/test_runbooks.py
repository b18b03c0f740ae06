"""The queries of docs/runbooks, asked of a real Prometheus that watches a shop whose searches fail."""

import pytest

from tests.runbooks import FOLDER, promql

pytestmark = pytest.mark.timeout(300)
# What the first look at an outage of these two finds: the fault that the story injects.
FOUND = {
    "gateway-availability": {"endpoint": "/api/products"},
    "product-availability": {"rpc_method": "SearchProducts"},
}


@pytest.mark.parametrize("query", sorted(set(promql())))
def test_a_query_is_one_that_prometheus_takes(story, query):
    story.server.query(query, story.ended)


@pytest.mark.parametrize("page", FOUND)
def test_the_first_look_shows_the_fault(story, page):
    first = next(iter(promql(FOLDER / f"{page}.md")))
    worst, *_ = story.server.query(first, story.ended)
    assert worst["metric"].items() >= FOUND[page].items()
    assert float(worst["value"][1]) > 0


def test_it_is_over_when_its_alerts_are(story):
    (firing,) = {query for query in promql() if query.startswith('ALERTS{sloth_id="gateway-availability"')}
    assert story.server.query(firing, story.ended)
    assert story.server.query(firing, story.calm_until) == []
