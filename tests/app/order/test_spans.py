"""One order is one trace, from the call to the provider's answer; a resumed one links back to it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from app.ids import new_id
from app.order.domain import Item, Order, Step
from app.order.saga import _origin, traceparent
from telemetry import conventions as c

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def placed(parent: str) -> Order:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    return Order(new_id(), new_id(), "", Step.RESERVING, (Item(new_id(), 1),), 0, "", "", "", parent, now, 1)


def test_a_resumed_order_links_to_the_request_that_placed_it():
    (link,) = _origin(placed(TRACEPARENT))
    assert f"{link.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize("parent", ["", "nonsense"])
def test_an_order_without_a_trace_links_to_nothing(parent: str):
    assert _origin(placed(parent)) == []


def test_the_current_trace_is_written_down_as_text():
    with TracerProvider().get_tracer("test").start_as_current_span("request") as span:
        assert f"{span.get_span_context().trace_id:032x}" in traceparent()
    assert traceparent() == ""


@pytest.mark.asyncio(loop_scope="module")
async def test_an_order_is_one_trace_down_to_the_provider(open_one: Any):
    async with open_one() as shop:
        await shop.place(new_id(), (await shop.product(), 1))
        for process in shop.processes.values():
            process.stop()
        spans = shop.spans()
    (request,) = [s for s in spans if s.name == "order.v1.OrderService/PlaceOrder" and s.kind == "SERVER"]
    trace = {s.span_id: s for s in spans if s.trace_id == request.trace_id}
    assert {s.name for s in trace.values()} >= {
        "INSERT orders",
        "UPDATE orders",
        "product.v1.ProductService/ReserveStock",
        "product.v1.ProductService/ConfirmReservation",
        "payment.v1.PaymentService/Charge",
        "INSERT payments",
        c.PROVIDER_CHARGE_SPAN,
    }
    (provider,) = [s for s in trace.values() if s.name == c.PROVIDER_CHARGE_SPAN]
    assert (provider.kind, provider.service) == ("CLIENT", "payment")
    path = [provider]
    while path[-1].span_id != request.span_id:
        path.append(trace[path[-1].parent_id])
    assert [s.service for s in path] == ["payment", "payment", "order", "order"]
