"""The gRPC service: who may ask, and what is answered."""

# ruff: noqa: N802 - the methods are named by the contract

from typing import Any

import grpc

from app import identity
from app.errors import Conflict, DeadlineExceeded, IdempotencyKeyReused, NotFound
from app.ids import parse_id
from app.order import domain
from app.order.domain import Order, Step, read_place_order, to_message
from app.order.saga import Saga, traceparent
from app.order.store import TakenOver
from app.rpc.order.v1 import order_pb2 as pb
from app.rpc.order.v1.order_pb2_grpc import OrderServiceServicer
from app.service import Resources

Context = grpc.aio.ServicerContext[Any, Any]


class OrderApi(OrderServiceServicer):
    """Places, shows and cancels orders; a customer's are nobody else's business."""

    def __init__(self, resources: Resources) -> None:
        self._saga = Saga.of(resources)
        self._store = self._saga.store

    async def PlaceOrder(self, request: pb.PlaceOrderRequest, _context: Context) -> pb.Order:
        """Place an order and answer when it is confirmed, or with the error that it failed with.

        A repeat with the same key and basket waits for the first one and is answered the same.
        """
        command = read_place_order(request)
        identity.require_owner(command.user_id, "user")
        order = await self._store.insert(command, traceparent())
        order = await self._saga.run(order) if order else await self._repeat(command)
        order.require_placed()
        if not order.ended:
            raise DeadlineExceeded("the order was not decided in time; it will be confirmed or undone")
        return to_message(order)

    async def GetOrder(self, request: pb.GetOrderRequest, _context: Context) -> pb.Order:
        """Return an order to its owner or the admin."""
        return to_message(await self._own(request.order_id))

    async def CancelOrder(self, request: pb.CancelOrderRequest, _context: Context) -> pb.Order:
        """Give money and stock of a confirmed order back; answers "cancelling" when that takes longer than the caller waits.

        A repeat is answered the same. Raises `Conflict` for an order that is pending or failed.
        """
        order = await self._own(request.order_id)
        if order.step is Step.CONFIRMED:
            order = await self._cancel(order)
        elif order.step in {Step.REFUNDING, Step.RETURNING}:
            order = await self._saga.wait(order)
        elif order.step is not Step.CANCELLED:
            order.cancelled()
        return to_message(order)

    async def _cancel(self, order: Order) -> Order:
        try:
            order = await self._store.advance(order.cancelled())
        except TakenOver:
            # Somebody else has begun to cancel it in between.
            return await self._saga.wait(await self._own(order.id))
        return await self._saga.run(order)

    async def _repeat(self, command: domain.PlaceOrder) -> Order:
        order = await self._store.by_key(command.user_id, command.key)
        assert order is not None  # noqa: S101 - the insert has just met it, and orders are never deleted
        if not order.same_basket(command):
            raise IdempotencyKeyReused("this idempotency key came with another order before")
        order = await self._saga.wait(order)
        if not order.answerable:
            raise Conflict("the first request with this idempotency key is still running: ask again with the same key")
        return order

    async def _own(self, order_id: str) -> Order:
        order = await self._store.by_id(parse_id(order_id, "order_id"))
        if order is None:
            raise NotFound("there is no such order")
        identity.require_owner(order.user_id, "order")
        return order
