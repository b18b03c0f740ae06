"""What the gateway tells of its requests: the true error behind a 5xx, none behind a refusal, and every path."""

import asyncio
import statistics
import time
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.errors import OutOfStock, Unavailable
from app.gateway import orders
from app.ids import new_id
from telemetry import conventions as c
from telemetry.spans import SpanRecord
from telemetry.testing import capture_spans

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def span_of(spans: list[SpanRecord], answer: Any) -> SpanRecord:
    """Return the gateway's own span of a request, which may end just after its answer."""
    ends = time.monotonic() + 5.0
    while not (found := [s for s in spans if s.kind == "SERVER" and c.HTTP_REQUEST_METHOD in s.attributes]):
        assert time.monotonic() < ends, "the request's span has not ended"
        await asyncio.sleep(0.005)
    (span,) = found
    assert span.trace_id == answer.headers["x-trace-id"]
    assert span.attributes[c.HTTP_RESPONSE_STATUS_CODE] == answer.status_code
    return span


async def place_order(edge: Any, token: str) -> Any:
    return await edge.call(
        "POST", "/api/orders", token=token, json={"items": [{"product_id": new_id(), "quantity": 1}]}
    )


@pytest.mark.parametrize(
    ("raised", "status", "error_type"),
    [(Unavailable("away"), 503, "app.errors.Unavailable"), (RuntimeError("a defect"), 500, "app.errors.ShopError")],
)
async def test_an_error_of_a_service_is_named_by_its_class(
    edge: Any, raised: Exception, status: int, error_type: str
) -> None:
    _, token = await edge.register()
    edge.orders.error = raised
    try:
        with capture_spans() as spans:
            answer = await place_order(edge, token)
            span = await span_of(spans, answer)
    finally:
        edge.orders.error = None
    assert (answer.status_code, span.name) == (status, "POST /api/orders")
    assert (span.status, span.attributes[c.ERROR_TYPE]) == ("ERROR", error_type)


async def test_a_defect_of_the_gateway_is_named_by_its_class(edge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(_message: object) -> dict[str, Any]:
        raise ZeroDivisionError

    _, token = await edge.register()
    monkeypatch.setattr(orders, "_order", break_down)
    with capture_spans() as spans:
        answer = await place_order(edge, token)
        span = await span_of(spans, answer)
    assert answer.status_code == 500
    assert span.attributes[c.ERROR_TYPE] == "ZeroDivisionError"
    assert [event.name for event in span.events] == ["exception"]


async def test_a_refusal_is_no_error_of_the_gateway(edge: Any) -> None:
    _, token = await edge.register()
    edge.orders.error = OutOfStock("fewer are left")
    try:
        with capture_spans() as spans:
            span = await span_of(spans, await place_order(edge, token))
    finally:
        edge.orders.error = None
    assert (span.status, c.ERROR_TYPE in span.attributes, span.events) == ("UNSET", False, ())


@pytest.mark.parametrize("path", ["/metrics", "/ready", "/nowhere"])
async def test_the_public_port_tells_of_every_path(edge: Any, path: str) -> None:
    with capture_spans() as spans:
        span = await span_of(spans, await edge.call("GET", path))
    assert (span.name, span.attributes[c.URL_PATH], c.HTTP_ROUTE in span.attributes) == ("GET", path, False)


async def test_a_small_answer_is_sent_at_once(edge: Any) -> None:
    async def seconds() -> float:
        start = time.perf_counter()
        await edge.call("GET", "/nowhere")
        return time.perf_counter() - start

    # Nagle's algorithm against delayed acknowledgements costs 40 ms each time.
    assert statistics.median([await seconds() for _ in range(9)]) < 0.03


async def test_what_the_shop_is_at_fault_for_is_exported_before_it_happens(edge: Any) -> None:
    await edge.register()
    text = (await edge.client.get(f"http://{edge.settings.services['gateway'].internal}/metrics")).text
    samples = [each for family in text_string_to_metric_families(text) for each in family.samples]

    def failures(labels: dict[str, str], status: str) -> set[str]:
        found = [
            each.labels for each in samples if each.name.endswith("_count") and labels.items() <= each.labels.items()
        ]
        return {labels[status] for labels in found}

    http = failures({"method": "POST", "endpoint": "/api/users"}, "status_code")
    rpc = failures({"rpc_service": "user.v1.UserService", "rpc_method": "CreateUser"}, "rpc_status_code")
    assert http >= {"500", "503", "504"}
    assert rpc >= {"INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
