"""Orders at the edge; a single order is joined with its reservation and its payment."""

import asyncio
import logging
from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.params import JSONBody

from app.errors import NotFound, ShopError
from app.gateway.access import LOGGED_IN
from app.gateway.backends import Backends, backends
from app.gateway.bodies import Body, Id, IdempotencyKey, PathId
from app.gateway.documentation import problems
from app.gateway.payments import Payment, payment
from app.identity import current
from app.ids import parse_id
from app.rpc.order.v1 import order_pb2
from app.rpc.payment.v1 import payment_pb2
from app.rpc.product.v1 import product_pb2

logger = logging.getLogger(__name__)


class WantedItem(Body, frozen=True, kw_only=True):
    """How much of which product; what it costs is not the buyer's to say."""

    product_id: Id
    quantity: Annotated[int, msgspec.Meta(ge=1, le=1_000)]


class NewOrder(Body, frozen=True, kw_only=True):
    """What somebody wants to buy."""

    items: Annotated[list[WantedItem], msgspec.Meta(min_length=1, max_length=50)]


class OrderItem(msgspec.Struct, frozen=True):
    """A line of an order; the price is in minor units."""

    product_id: str
    quantity: int
    unit_price: int


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order; the total is in minor units, `failure` says why a failed one failed."""

    id: str
    user_id: str
    state: str
    items: list[OrderItem]
    total: int
    currency: str
    failure: str | None
    created_at: str


class ReservedProduct(msgspec.Struct, frozen=True):
    """What the catalogue said of a product when it was reserved."""

    product_id: str
    sku: str
    name: str
    quantity: int
    unit_price: int
    currency: str


class Reservation(msgspec.Struct, frozen=True):
    """The stock that is held for an order."""

    state: str
    items: list[ReservedProduct]


class WholeOrder(Order, frozen=True, kw_only=True):
    """An order with its reservation and payment; null where there is none, or where `unavailable` names the service."""

    reservation: Reservation | None
    payment: Payment | None
    unavailable: list[str]


@post(
    "/api/orders",
    status_code=200,
    tags=["orders"],
    responses=problems(400, 401, 402, 404, 409, 422, body=True),
    **LOGGED_IN,
)
async def place_order(
    request: Request[Any, Any, Any], data: JSONBody[NewOrder], idempotency_key: IdempotencyKey = None
) -> Order:
    """Buy; answers when stock and money are settled, one way or the other."""
    services = backends(request)
    items = [
        order_pb2.OrderItem(product_id=parse_id(item.product_id, f"items[{number}].product_id"), quantity=item.quantity)
        for number, item in enumerate(data.items)
    ]
    message = order_pb2.PlaceOrderRequest(user_id=current().subject, items=items, idempotency_key=idempotency_key or "")
    return Order(**_order(await services.call(services.orders.PlaceOrder, message)))


@get("/api/orders/{id:str}", tags=["orders"], responses=problems(400, 401, 404), **LOGGED_IN)
async def get_order(request: Request[Any, Any, Any], order_id: PathId) -> WholeOrder:
    """Show an order to its owner or the admin, with what the product and payment services know of it."""
    return await _whole(backends(request), parse_id(order_id))


@post(
    "/api/orders/{id:str}/cancel", status_code=200, tags=["orders"], responses=problems(400, 401, 404, 409), **LOGGED_IN
)
async def cancel_order(request: Request[Any, Any, Any], order_id: PathId) -> Order:
    """Cancel an order: its stock goes back, its money too."""
    services = backends(request)
    message = order_pb2.CancelOrderRequest(order_id=parse_id(order_id))
    return Order(**_order(await services.call(services.orders.CancelOrder, message)))


async def _whole(services: Backends, order_id: str) -> WholeOrder:
    """Ask all three at once; the order decides whether there is an answer at all."""
    away: list[str] = []
    reservation = asyncio.create_task(_optional("product", _reservation(services, order_id), away))
    paid = asyncio.create_task(_optional("payment", _payment(services, order_id), away))
    try:
        order = _order(await services.call(services.orders.GetOrder, order_pb2.GetOrderRequest(order_id=order_id)))
        # Sorted, so that the answer does not depend on who failed first.
        return WholeOrder(**order, reservation=await reservation, payment=await paid, unavailable=sorted(away))
    finally:
        reservation.cancel()
        paid.cancel()


async def _optional(service: str, answer: Any, away: list[str]) -> Any:
    try:
        return await answer
    except NotFound:
        return None
    except ShopError as error:
        logger.warning("%s does not answer; the order is shown without it: %s", service, error)
        away.append(service)
        return None


async def _reservation(services: Backends, order_id: str) -> Reservation:
    message = product_pb2.ReservationRequest(order_id=order_id)
    found = await services.call(services.products.GetReservation, message)
    return Reservation(
        found.state,
        [ReservedProduct(i.product_id, i.sku, i.name, i.quantity, i.unit_price, i.currency) for i in found.items],
    )


async def _payment(services: Backends, order_id: str) -> Payment:
    message = payment_pb2.GetPaymentRequest(order_id=order_id)
    return payment(await services.call(services.payments.GetPayment, message))


def _order(message: order_pb2.Order) -> dict[str, Any]:
    return {
        "id": message.id,
        "user_id": message.user_id,
        "state": message.state,
        "items": [OrderItem(i.product_id, i.quantity, i.unit_price) for i in message.items],
        "total": message.total,
        "currency": message.currency,
        "failure": message.failure or None,
        "created_at": message.created_at,
    }


ROUTES = (place_order, get_order, cancel_order)
