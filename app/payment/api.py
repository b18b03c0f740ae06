"""The gRPC service: who may ask, and what is answered."""

# ruff: noqa: N802 - the methods are named by the contract

from typing import Any

import grpc

from app import identity
from app.errors import InvalidRequest, NotFound
from app.ids import parse_id, parse_idempotency_key
from app.payment.cashier import Cashier
from app.payment.domain import Payment, read_charge, to_message
from app.rpc.payment.v1 import payment_pb2 as pb
from app.rpc.payment.v1.payment_pb2_grpc import PaymentServiceServicer
from app.service import Resources

Context = grpc.aio.ServicerContext[Any, Any]


class PaymentApi(PaymentServiceServicer):
    """Charges, cancellations, refunds and balances; a customer's are nobody else's business."""

    def __init__(self, resources: Resources) -> None:
        self._cashier = Cashier.of(resources)
        self._store = self._cashier.store

    async def Charge(self, request: pb.ChargeRequest, _context: Context) -> pb.Payment:
        """Charge an order once, however often it is asked."""
        command = read_charge(request, self._store.currency)
        identity.require_owner(command.user_id, "account")
        return to_message(await self._cashier.charge(command))

    async def CancelCharge(self, request: pb.CancelChargeRequest, _context: Context) -> pb.Payment:
        """Undo the charge of an order, or see to it that one that has yet to arrive fails."""
        identity.require_login()
        order_id = parse_id(request.order_id, "order_id")
        payment = await self._store.by_order(order_id) or await self._store.bury(order_id)
        if payment.user_id:
            _require_owner(payment)
        return to_message(await self._cashier.cancel(payment))

    async def Refund(self, request: pb.RefundRequest, _context: Context) -> pb.Payment:
        """Give the money of a charged payment back, once."""
        identity.require_admin()
        key = parse_idempotency_key(request.idempotency_key)
        payment = _require_owner(await self._store.by_id(parse_id(request.payment_id, "payment_id")))
        return to_message(await self._cashier.refund(payment, key))

    async def GetPayment(self, request: pb.GetPaymentRequest, _context: Context) -> pb.Payment:
        """Return a payment by its own id or by its order's."""
        match request.WhichOneof("by"):
            case "payment_id":
                payment = await self._store.by_id(parse_id(request.payment_id, "payment_id"))
            case "order_id":
                payment = await self._store.by_order(parse_id(request.order_id, "order_id"))
            case _:
                raise InvalidRequest("payment_id or order_id is needed")
        return to_message(_require_owner(payment))

    async def GetBalance(self, request: pb.GetBalanceRequest, _context: Context) -> pb.Balance:
        """Return a user's balance."""
        user_id = parse_id(request.user_id, "user_id")
        identity.require_owner(user_id, "account")
        return pb.Balance(user_id=user_id, amount=await self._store.balance(user_id), currency=self._store.currency)


def _require_owner(payment: Payment | None) -> Payment:
    if payment is None:
        raise NotFound("there is no such payment")
    identity.require_owner(payment.user_id, "payment")
    return payment
