"""Every query of every dashboard on the real back-ends: each finds something, or what would fill it is done and fills it.

The shop is the story's, calm and then failing; what is counted five minutes at a time has a past that rules were evaluated over.
"""

import math
import os
import re
import time
from dataclasses import dataclass

import httpx
import pytest

from app.config import SERVICES
from slo.openslo.known_series import TARGET_LABELS
from tests.dashboards.boards import BOARDS, MATCHER, SELECTOR, Query, alerts, everything, queries
from tests.stack.counted import openmetrics, requests, up
from tests.stack.not_run import say_not_run
from tests.stack.prometheus import Prometheus, backfill, blocks, eventually, running
from tests.stack.shop_story import RULES
from tests.stack.troubles import trouble

pytestmark = pytest.mark.timeout(300)

STEP = 5
# As Grafana would choose it for a scrape each second and a point each 5 s: at least four scrapes.
RATE_INTERVAL = "10s"
ONE_AT_A_TIME = {"goshop-service", "goshop-latency", "goshop-gates"}
# What nobody wants to see. In a calm time there is no series, or nothing but 0; then the trouble is made, and each is there.
EMPTY_WHEN_HEALTHY = {
    "goshop-errors/What they answer/A",
    "goshop-errors/What they answer/B",
    "goshop-errors/Turned away/A",
    "goshop-errors/Turned away/B",
    "goshop-errors/Warnings and errors/A",
    "goshop-service/Warnings and errors/A",
    "goshop-dependencies/SQL: errors/A",
    "goshop-dependencies/Redis: errors/A",
    "goshop-dependencies/Redis: errors/B",
    "goshop-dependencies/gRPC: errors/A",
    "goshop-slo/Firing now/A",
}
# There is a line at 0 in a calm time, and more in trouble.
ZERO_WHEN_HEALTHY = {
    "goshop-service/Errors/A",
    "goshop-service/Routes/A",
    "goshop-gates/Errors/A",
    "goshop-errors/Top 5 endpoints by error rate/A",
    "goshop-errors/The same five/A",
    "goshop-telemetry/Not scraped/A",
    "goshop-telemetry/Spans lost/A",
    "goshop-telemetry/Log lines lost/A",
    "goshop-telemetry/Spans dropped, by reason/A",
}
# And where a machine that is busy with something else shows a little.
LOW_WHEN_HEALTHY = {
    "goshop-service/Burn rate/A",
    "goshop-slow-queries/Slow statements per minute/A",
    "goshop-slow-queries/Share of slow statements/A",
    "goshop-slow-queries/What statements cost/A",
    "goshop-pools/In use, of all there may be/A",
    "goshop-pools/Waiting for a connection/A",
    "goshop-slo/How near to an alert/A",
    "goshop-slo/Burn rate over 1h/A",
}
KNOWN = {query.id: query for board in BOARDS.values() for query in queries(board)}
OF_FIVE_MINUTES = re.compile(r"increase5m|ratio_rate30d|slo:period_")


@dataclass(frozen=True)
class Period:
    """A time of the story (Unix s)."""

    server: Prometheus
    begin: float
    end: float

    def values(self, query: Query, service: str = ".*", trace_id: str = "") -> list[float]:
        """Return all values of all series that a query of Prometheus finds, none of them NaN; raises `QueryError`."""
        text = query.filled(variables(service, trace_id, self.end - self.begin))
        if query.instant:
            return numbers(each["value"][1] for each in self.server.query(text, self.end))
        # Whole steps back from the end, so that the end is one of them.
        begin = self.end - (self.end - self.begin) // STEP * STEP
        span = {"start": str(begin), "end": str(self.end), "step": str(STEP)}
        found = self.server.api("query_range", query=text, **span)["result"]
        return numbers(value for each in found for _, value in each["values"])


def numbers(values):
    found = [float(value) for value in values]
    assert not any(map(math.isnan, found))
    return found


def variables(service, trace_id="", seconds=60.0):
    return {
        "service": service,
        "environment": ".*",
        "trace_id": trace_id,
        "__rate_interval": RATE_INTERVAL,
        "__range": f"{math.ceil(seconds)}s",
        "__auto": "60s",
        "__data": trace_id,
    }


@pytest.fixture(scope="module")
def calm(story):
    return Period(story.server, story.began + 10, story.calm_until)


@pytest.fixture(scope="module")
def troubled(story):
    trouble(story)
    return Period(story.server, story.calm_until, time.time())


@pytest.fixture(scope="module")
def past(prometheus, promtool, tmp_path_factory):
    """An hour of the gateway, as its rules would have recorded it."""
    folder = tmp_path_factory.mktemp("past")
    end = time.time() // 60 * 60
    counters = [*requests(lambda at: 50 * at, slow=0.002), *requests(lambda at: at // 10, status_code="500"), *up()]
    text = openmetrics(counters, end - 3600, end, 15)
    with running(prometheus, folder / "server", history=blocks(promtool, text, folder / "blocks")) as server:
        # Each reads what the one before it has recorded: increments, the period's ratio, its burn rate, what is left.
        for _ in range(4):
            backfill(promtool, server, [RULES / "gateway.yaml"], (end - 1800, end), "60s")
        yield Period(server, end - 1200, end)


def asked(board, language):
    return [query for query in queries(BOARDS[board]) if query.language == language]


def services_of(board):
    return SERVICES if board in ONE_AT_A_TIME else (".*",)


@pytest.mark.parametrize("board", BOARDS)
def test_in_a_calm_time_every_panel_shows_something(board, calm, past):
    found = {
        query.id: [
            bool((past if OF_FIVE_MINUTES.search(query.text) else calm).values(query, service))
            for service in services_of(board)
        ]
        for query in asked(board, "promql")
    }
    assert {name for name, shown in found.items() if not any(shown)} <= EMPTY_WHEN_HEALTHY


@pytest.mark.parametrize("board", sorted(ONE_AT_A_TIME))
def test_no_panel_is_empty_for_any_service(board, calm, past):
    empty = set()
    for panel in {query.place for query in asked(board, "promql")}:
        for service in SERVICES:
            mine = [query for query in asked(board, "promql") if query.place == panel]
            if not any((past if OF_FIVE_MINUTES.search(q.text) else calm).values(q, service) for q in mine):
                empty.add((panel, service))
    # The past is the gateway's alone.
    assert {each for each in empty if each != ("Budget left", each[1])} == set()


@pytest.mark.parametrize("name", sorted(ZERO_WHEN_HEALTHY))
def test_in_a_calm_time_nothing_is_wrong(name, calm):
    assert {value for service in services_of(KNOWN[name].board) for value in calm.values(KNOWN[name], service)} == {0.0}


@pytest.mark.parametrize("name", sorted(name for name in EMPTY_WHEN_HEALTHY if KNOWN[name].language == "promql"))
def test_in_a_calm_time_nothing_is_shown_that_nobody_wants_to_see(name, calm, story, pytestconfig):
    if not story.calm:
        say_not_run(pytestconfig, "what is empty in a calm time", "this machine was too busy for one")
    assert set(calm.values(KNOWN[name])) <= {0.0}


@pytest.mark.parametrize("name", sorted(LOW_WHEN_HEALTHY))
def test_what_is_low_in_a_calm_time_rises_in_trouble(name, calm, troubled, story):
    quiet, loud = (max(period.values(KNOWN[name]), default=0.0) for period in (calm, troubled))
    assert loud > (quiet if story.calm else 0.0)


def test_what_is_empty_in_a_calm_time_fills_in_trouble(troubled):
    listed = [KNOWN[name] for name in sorted(EMPTY_WHEN_HEALTHY | ZERO_WHEN_HEALTHY)]
    silent = [
        query.id
        for query in listed
        if query.language == "promql" and not any(value > 0 for value in troubled.values(query))
    ]
    assert silent == []


def test_alerts_are_marked_while_they_fire(troubled):
    for board in BOARDS.values():
        assert all(troubled.values(query) for query in alerts(board))


def test_every_label_that_is_used_is_there(story, troubled):
    missing = set()
    for query in (query for board in BOARDS.values() for query in everything(board) if query.language == "promql"):
        for selector in SELECTOR.finditer(query.text):
            for matcher in MATCHER.finditer(selector["matchers"]):
                labelled = f'{selector["metric"]}{{{matcher["label"]}!=""}}'
                if OF_FIVE_MINUTES.search(labelled):
                    continue
                span = {"start": str(story.began), "end": str(troubled.end)}
                if not story.server.api("series", **{"match[]": labelled}, **span):
                    missing.add(labelled)
    assert missing == set()


@pytest.mark.parametrize("board", BOARDS)
def test_every_variable_has_values(board, story):
    for variable in BOARDS[board]["templating"]["list"]:
        if variable["type"] != "query":
            continue
        selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
        assert label in TARGET_LABELS
        text = selector.replace("$environment", ".*")
        values = story.server.api(f"label/{label}/values", **{"match[]": text})
        assert set(values) >= ({"test"} if label == "environment" else set(SERVICES))


def exemplars(story, query):
    """Return the trace ids of the requests that stand on a panel."""
    span = {"start": str(story.began), "end": str(story.ended)}
    chosen = "gateway" if query.board in ONE_AT_A_TIME else ".*"
    found = story.server.api("query_exemplars", query=query.filled(variables(chosen)), **span)
    return [each["labels"]["trace_id"] for series in found for each in series["exemplars"]]


SHOWN = [query for board in BOARDS.values() for query in queries(board) if query.exemplars]


@pytest.fixture(scope="module")
def a_request(story, troubled, loki, promtail):
    """The trace id of an exemplar, when the lines of the story and of its trouble are in Loki."""
    assert troubled.end > story.ended
    promtail(story.logs)
    trace_id = exemplars(story, KNOWN["goshop-service/Duration/C"])[-1]
    eventually(lambda: loki.of_trace(trace_id), 20, f"the lines of {trace_id} are in Loki")
    return trace_id


@pytest.mark.parametrize("query", SHOWN, ids=lambda query: query.id)
def test_requests_stand_on_the_panels_of_durations(query, story):
    assert exemplars(story, query)


def test_such_a_request_has_its_lines_and_no_other(a_request, loki):
    lines = loki.of_trace(a_request)
    assert {line.metadata["trace_id"] for line in lines} == {a_request}
    assert any(line.labels["service"] == "gateway" for line in lines)


def found_lines(loki, query, trace_id):
    """Return what Loki finds for a query of a dashboard."""
    end = time.time()
    span = {"start": str(int((end - 600) * 1e9)), "end": str(int(end * 1e9)), "step": "5"}
    found = loki.json("/loki/api/v1/query_range", query=query.filled(variables(".*", trace_id)), **span)
    return found["data"]["result"]


LOGQL = [query for board in BOARDS.values() for query in everything(board) if query.language == "logql"]


@pytest.mark.parametrize("query", LOGQL, ids=lambda query: query.id)
def test_every_query_for_lines_finds_some(query, a_request, loki):
    eventually(lambda: found_lines(loki, query, a_request), 20, f"{query.id} finds lines")


@pytest.mark.parametrize("query", [query for query in LOGQL if "$trace_id" in query.text], ids=lambda query: query.id)
def test_without_a_trace_id_no_line_is_shown(query, a_request, loki):
    assert a_request
    assert found_lines(loki, query, "") == []


def test_every_search_for_traces_is_one_that_tempo_takes(pytestconfig):
    url = os.environ.get("TEMPO_URL", "").rstrip("/")
    if not url:
        say_not_run(pytestconfig, "the dashboards' searches for traces", "they need a Tempo; $TEMPO_URL names none")
    for query in (query for board in BOARDS.values() for query in everything(board) if query.language == "traceql"):
        answer = httpx.get(f"{url}/api/search", params={"q": query.filled(variables("gateway"))}, trust_env=False)
        assert answer.is_success, (query.id, answer.text)
