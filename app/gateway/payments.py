"""Payments at the edge: their owner reads, the admin refunds."""

from typing import Any

import msgspec
from litestar import Request, get, post

from app.gateway.access import ADMIN_ONLY, LOGGED_IN
from app.gateway.backends import backends
from app.gateway.bodies import IdempotencyKey, PathId
from app.gateway.documentation import problems
from app.ids import parse_id
from app.rpc.payment.v1 import payment_pb2


class Payment(msgspec.Struct, frozen=True):
    """A payment; the amount is in minor units."""

    id: str
    order_id: str
    user_id: str
    amount: int
    currency: str
    state: str
    reason: str
    created_at: str


@get("/api/payments/{id:str}", tags=["payments"], responses=problems(400, 401, 404), **LOGGED_IN)
async def get_payment(request: Request[Any, Any, Any], payment_id: PathId) -> Payment:
    """Show a payment to its owner or the admin."""
    services = backends(request)
    message = payment_pb2.GetPaymentRequest(payment_id=parse_id(payment_id))
    return payment(await services.call(services.payments.GetPayment, message))


@post(
    "/api/payments/{id:str}/refund",
    status_code=200,
    tags=["payments"],
    responses=problems(400, 401, 403, 404, 409, 422),
    **ADMIN_ONLY,
)
async def refund_payment(
    request: Request[Any, Any, Any],
    payment_id: PathId,
    idempotency_key: IdempotencyKey = None,
) -> Payment:
    """Give the money back; the admin may."""
    services = backends(request)
    message = payment_pb2.RefundRequest(payment_id=parse_id(payment_id), idempotency_key=idempotency_key or "")
    return payment(await services.call(services.payments.Refund, message))


def payment(p: payment_pb2.Payment) -> Payment:
    """Show a payment service's answer at the edge."""
    return Payment(p.id, p.order_id, p.user_id, p.amount, p.currency, p.state, p.reason, p.created_at)


ROUTES = (get_payment, refund_payment)
