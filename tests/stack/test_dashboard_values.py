"""What panels say of numbers that are known: a real Prometheus over a few minutes that were made up."""

import math
import time

import pytest

from tests.dashboards.boards import BOARDS, Query, queries
from tests.stack.counted import TARGET, Counter, openmetrics, requests, up
from tests.stack.prometheus import Prometheus, blocks, running

SECONDS = 600
SCRAPE = 15
KNOWN = {query.id: query for board in BOARDS.values() for query in queries(board)}
PROMQL = [query for query in KNOWN.values() if query.language == "promql"]
# The gateway's limits are 0.8 s and 1 % of errors, the product's 0.2 s and 0.5 %. Both take 0.5 s at P95, and fail once in 100.
RATIOS = {"gateway": (0.5 / 0.8, 1.0), "product": (0.5 / 0.2, 2.0)}
CALLED = TARGET | {"service": "product", "rpc_service": "product.v1.ProductService", "rpc_method": "GetProduct"}
WITHIN = {"0.2": 0.9, "0.5": 0.95, "1.0": 1.0, "+Inf": 1.0}
DEAD = "/api/logout"
# Of the spans of two processes, one has lost five and the other has counted five twice.
EXPORTED = {"order": 95, "user": 105}
OVERSPENT = {
    "slo:period_error_budget_remaining:ratio": -0.5,
    "slo:time_period:days": 30,
    "slo:sli_error:ratio_rate6h": 0.02,
    "slo:error_budget:ratio": 0.01,
}


def rising(rate):
    return lambda at: rate * at


def calls(rate, status):
    """Return the histogram of product's calls with a status, of which five in 100 take longer than 0.5 s."""
    labels = CALLED | {"rpc_status_code": status}
    buckets = [
        Counter("rpc_server_duration_seconds_bucket", labels | {"le": edge}, rising(rate * share))
        for edge, share in WITHIN.items()
    ]
    return [Counter("rpc_server_duration_seconds_count", labels, rising(rate)), *buckets]


def spans(service):
    labels = TARGET | {"service": service, "instance": f"{service}:1"}
    said = {"ended": 100, "exported": EXPORTED[service], "dropped": 0}
    found = [Counter(f"telemetry_spans_{name}_total", labels, lambda _, n=number: n) for name, number in said.items()]
    return [*found, Counter("telemetry_spans_queued", labels, lambda _: 0)]


def overspent():
    labels = {"sloth_id": "gateway-availability", "sloth_service": "gateway", "sloth_slo": "availability"}
    return [Counter(name, labels, lambda _, n=number: n) for name, number in OVERSPENT.items()]


@pytest.fixture(scope="module")
def server(prometheus, promtool, tmp_path_factory):
    folder = tmp_path_factory.mktemp("values")
    end = time.time() // 60 * 60
    counters = [
        *requests(rising(99)),
        *requests(rising(1), status_code="500"),
        # Asked once, long ago; and one whose answer nobody waited for.
        *requests(lambda _: 100, endpoint=DEAD),
        *requests(rising(1), endpoint="/api/orders", status_code=""),
        *calls(99, "OK"),
        *calls(1, "INTERNAL"),
        *(counter for service in EXPORTED for counter in spans(service)),
        *overspent(),
        *up(job="goshop"),
        *up(job="goshop", service="product"),
    ]
    text = openmetrics(counters, end - SECONDS, end, SCRAPE)
    with running(prometheus, folder / "server", history=blocks(promtool, text, folder / "blocks")) as made:
        yield made, end


def said(server: tuple[Prometheus, float], query: Query, service: str = ".*"):
    """Return labels and value of each series that a query finds at the end."""
    prometheus, end = server
    values = {"service": service, "environment": "dev", "__rate_interval": "60s", "__range": "300s", "trace_id": ""}
    found = prometheus.query(query.filled(values), end)
    return [(each["metric"], float(each["value"][1])) for each in found]


@pytest.mark.parametrize("service", RATIOS)
def test_a_duration_is_coloured_by_its_own_service_s_limit(server, service):
    shown = {
        labels["endpoint"]: value
        for labels, value in said(server, KNOWN["goshop-latency/P95 by endpoint and method/A"], service)
    }
    asked = {"gateway": "/api/products", "product": "GetProduct"}[service]
    assert shown[asked] == pytest.approx(RATIOS[service][0], rel=0.01)


@pytest.mark.parametrize("service", RATIOS)
@pytest.mark.parametrize("name", ["goshop-service/Routes/B", "goshop-errors/The same five/B"])
def test_errors_are_coloured_by_their_own_service_s_budget(server, name, service):
    assert max(value for _, value in said(server, KNOWN[name], service)) == pytest.approx(RATIOS[service][1], rel=0.01)


@pytest.mark.parametrize("service", RATIOS)
def test_the_dashed_line_of_errors_is_the_service_s_budget(server, service):
    ((_, limit),) = said(server, KNOWN["goshop-service/Errors/B"], service)
    assert limit == {"gateway": 0.01, "product": 0.005}[service]


@pytest.mark.parametrize("query", PROMQL, ids=lambda query: query.id)
def test_what_nobody_asked_is_not_shown_as_no_number(server, query):
    assert [labels for labels, value in said(server, query) if math.isnan(value)] == []


def test_a_request_without_an_answer_has_a_name(server):
    rates = {
        labels.get("status_code"): value for labels, value in said(server, KNOWN["goshop-service/Rate by status/A"])
    }
    assert rates["no answer"] == pytest.approx(1, rel=0.01)
    assert None not in rates


def test_spans_too_many_do_not_make_up_for_spans_too_few(server):
    ((_, difference),) = said(server, KNOWN["goshop-telemetry/Spans unaccounted for/A"])
    assert difference == 10


def test_a_budget_that_is_overspent_lasts_no_day_and_not_less(server):
    ((_, days),) = said(server, KNOWN["goshop-slo/Objectives/B"])
    assert days == 0
