"""What each step of the Saga asks of the other services, with bounded retries of what may pass by itself."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from app import deadline
from app.errors import Conflict, DeadlineExceeded, Unavailable
from app.order.domain import Action, Item, Order
from app.rpc.payment.v1.payment_pb2 import CancelChargeRequest, ChargeRequest
from app.rpc.payment.v1.payment_pb2_grpc import PaymentServiceStub
from app.rpc.product.v1.product_pb2 import ReservationRequest, ReserveItem, ReserveStockRequest
from app.rpc.product.v1.product_pb2_grpc import ProductServiceStub
from app.rpc_client import call
from app.service import Resources

ATTEMPTS: Final = 3
# Before the second attempt, doubling; a random half of it is left out, so that callers do not come back together.
BACKOFF_SECONDS: Final = 0.05

Take = Callable[[Order], Awaitable[Order]]


class Steps:
    """The actions, by name; each takes an order and returns what it has learnt of it."""

    def __init__(self, resources: Resources) -> None:
        self._product = ProductServiceStub(resources.peers.channel("product"))  # type: ignore[no-untyped-call]
        self._payment = PaymentServiceStub(resources.peers.channel("payment"))  # type: ignore[no-untyped-call]
        self._timeout = resources.settings.deadlines.rpc
        self._actions: Mapping[Action, Take] = {
            Action.RESERVE: self._reserve,
            Action.CHARGE: self._charge,
            Action.CONFIRM: self._confirm,
            Action.CANCEL_CHARGE: self._cancel_charge,
            Action.RELEASE: self._release,
        }

    async def take(self, action: Action, order: Order) -> Order:
        """Take a step and return the order with what was learnt; raises the `ShopError` it ended with."""
        return await self._actions[action](order)

    async def _ask(self, method: Callable[..., Any], request: object) -> Any:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await call(method, request, timeout=self._timeout)
            except Unavailable:
                pause = BACKOFF_SECONDS * 2 ** (attempt - 1) * random.uniform(0.5, 1)  # noqa: S311 - no secret
                if attempt == ATTEMPTS or pause >= deadline.remaining(self._timeout):
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    async def _reserve(self, order: Order) -> Order:
        items = [ReserveItem(product_id=item.product_id, quantity=item.quantity) for item in order.items]
        request = ReserveStockRequest(order_id=order.id, items=items)
        reservation = await self._ask(self._product.ReserveStock, request)
        prices = {item.product_id: item.unit_price for item in reservation.items}
        currencies = {item.currency for item in reservation.items}
        if len(currencies) != 1:
            raise Conflict("the products are sold in different currencies: order them apart")
        return order.priced([Item(i.product_id, i.quantity, prices[i.product_id]) for i in order.items], *currencies)

    async def _charge(self, order: Order) -> Order:
        request = ChargeRequest(order_id=order.id, user_id=order.user_id, amount=order.total, currency=order.currency)
        payment = await self._ask(self._payment.Charge, request)
        if payment.state == "pending":
            # Not asked again: the provider has just kept us waiting, and the charge is about to be cancelled.
            raise DeadlineExceeded("the payment provider did not answer in time; nothing was charged")
        return order

    async def _confirm(self, order: Order) -> Order:
        await self._ask(self._product.ConfirmReservation, ReservationRequest(order_id=order.id))
        return order

    async def _cancel_charge(self, order: Order) -> Order:
        await self._ask(self._payment.CancelCharge, CancelChargeRequest(order_id=order.id))
        return order

    async def _release(self, order: Order) -> Order:
        await self._ask(self._product.ReleaseReservation, ReservationRequest(order_id=order.id))
        return order
