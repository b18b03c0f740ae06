"""One W3C trace across HTTP, gRPC, SQL and Redis, as the trace store has it: Jaeger, and Tempo where there is one."""

import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from telemetry import conventions as c
from tests.stack import traces
from tests.stack.not_run import say_not_run
from tests.stack.observed import Customer, Observed, exporting, trace_id
from tests.stack.prometheus import eventually
from tests.stack.traces import Read, Span

# Asked for where the store is chosen.
pytestmark = pytest.mark.asks_for("jaeger", "loki", "promtail")
RECORDED = Path(__file__).parents[1] / "goshop" / "recorded" / "tempo-3.0.3"
ARRIVES_SECONDS = 20.0
# The caller's own span, which is in no store of ours.
CALLER = "00f067aa0ba902b7"
BEHIND = {"goshop-order", "goshop-product", "goshop-payment"}
EVERYWHERE = {"goshop-gateway", *BEHIND}


@dataclass(frozen=True)
class Store:
    """A trace store, and who buys in the shop that sends its spans there."""

    read: Read
    customer: Customer

    def whole(self, wanted: str, services: set[str]) -> list[Span]:
        """Return a trace once every service has delivered its spans, and each one's parent is there."""

        def ask() -> list[Span]:
            spans = self.read(wanted)
            return spans if traces.is_whole(spans, services, outside=[CALLER]) else []

        return list(eventually(ask, ARRIVES_SECONDS, f"the spans of {wanted} are in the store"))


@pytest.fixture(scope="module", params=["jaeger", "tempo"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    if request.param == "jaeger":
        found: Observed = request.getfixturevalue("observed")
        with Customer(found.shop) as customer:
            yield Store(traces.of_jaeger(found.jaeger), customer)
    elif url := os.environ.get("TEMPO_URL", "").rstrip("/"):
        endpoint = f"{traces.tempo_otlp_url(url)}/v1/traces"
        with exporting(tmp_path_factory.mktemp("tempo"), endpoint) as shop, Customer(shop) as customer:
            yield Store(traces.of_tempo(url), customer)
    else:
        say_not_run(request.config, "traces in Tempo", "it cannot be built as a Go module; $TEMPO_URL names none")


@pytest.fixture(scope="module")
def order(store: Store) -> list[Span]:
    """The spans of an order."""
    answer = store.customer.order()
    assert answer.is_success, answer.text
    return store.whole(trace_id(answer), EVERYWHERE)


def root_of(spans: list[Span]) -> Span:
    [root] = [span for span in spans if not span.parent]
    return root


def test_an_order_is_one_tree_whose_root_is_the_gateway(order: list[Span]) -> None:
    root = root_of(order)
    assert (root.service, root.name, root.kind) == ("goshop-gateway", "POST /api/orders", "server")
    assert root.attributes[c.HTTP_ROUTE] == "/api/orders"


def test_a_call_between_services_is_a_client_span_with_the_server_span_below_it(order: list[Span]) -> None:
    by_id = {span.id: span for span in order}
    answered = [span for span in order if c.RPC_METHOD in span.attributes and span.kind == "server"]
    assert {span.service for span in answered} >= BEHIND
    for span in answered:
        caller = by_id[span.parent]
        assert (caller.kind, caller.attributes[c.RPC_METHOD]) == ("client", span.attributes[c.RPC_METHOD])
        assert caller.service != span.service


def test_statements_are_spans_of_the_service_that_runs_them(order: list[Span]) -> None:
    by_id = {span.id: span for span in order}
    statements = [span for span in order if span.attributes.get(c.DB_SYSTEM_NAME) == c.POSTGRESQL]
    assert {span.service for span in statements} >= BEHIND
    assert all(by_id[span.parent].service == span.service for span in statements)
    operations = {span.attributes.get(c.DB_OPERATION_NAME) for span in statements}
    assert operations >= {"SELECT", "INSERT", "UPDATE"}


def test_redis_is_asked_below_the_gateways_span(order: list[Span]) -> None:
    root = root_of(order)
    asked = [span for span in order if span.attributes.get(c.DB_SYSTEM_NAME) == c.REDIS]
    assert root.id in {span.parent for span in asked}


def test_no_span_begins_before_its_parent(order: list[Span]) -> None:
    by_id = {span.id: span for span in order}
    for span, above in ((span, by_id[span.parent]) for span in order if span.parent):
        assert span.start >= above.start, f"{span.name} in {above.name}"


def test_no_span_is_stored_twice(order: list[Span]) -> None:
    assert len({span.id for span in order}) == len(order)


def test_the_trace_of_a_caller_goes_on_below_its_span(store: Store) -> None:
    wanted = secrets.token_hex(16)
    headers = {"traceparent": f"00-{wanted}-{CALLER}-01"}
    answer = store.customer.http.get(f"/api/products/{store.customer.product}", headers=headers)
    assert trace_id(answer) == wanted
    [top] = [span for span in store.whole(wanted, {"goshop-gateway"}) if span.parent == CALLER]
    assert top.name == "GET /api/products/{id}"


def test_a_refused_request_is_a_trace_with_its_status(store: Store) -> None:
    answer = store.customer.http.get("/api/products/no-such-product")
    root = root_of(store.whole(trace_id(answer), {"goshop-gateway"}))
    assert root.attributes[c.HTTP_RESPONSE_STATUS_CODE] == str(answer.status_code)


def test_an_id_that_nobody_gave_is_no_trace(store: Store) -> None:
    assert store.read(secrets.token_hex(16)) == []


def test_what_a_tempo_once_answered_is_read_as_what_it_is() -> None:
    spans = traces.spans_of_tempo(json.loads((RECORDED / "trace_v2.json").read_text()))
    assert traces.is_whole(spans, {"goshop-gateway", "goshop-product"})
    assert root_of(spans).name == "GET /api/products"
    assert traces.spans_of_tempo(json.loads((RECORDED / "trace_unknown.body").read_text())) == []
