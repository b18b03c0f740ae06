"""What a payment may become, as data and pure functions.

                        Charge                          CancelCharge
          not covered     │ covered: money is set aside      │ never charged
        ┌─────────────────┼─────────────────┐                │
        ▼                 ▼                 │                │
    declined ◄──refused── pending           │                │
                          │    └──────CancelCharge──────►────┤
                    booked│                                  ▼
                          ▼                               cancelled
                       charged ───────CancelCharge───────────▲
                          │
                          └───────────Refund─────────────► refunded

`pending` takes the amount from the balance (entry "charge") before the provider is asked; every way out of it but `charged`
gives it back (entry "refund"), and so do the ways out of `charged`. The last column is final: it is decided in our own books
at once, and the provider's books follow by synchronisation until they agree ("settled").
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

from app.errors import BY_CODE, Conflict, IdempotencyKeyReused, InsufficientFunds, InvalidRequest, PaymentDeclined
from app.ids import parse_id
from app.rpc.payment.v1 import payment_pb2 as pb
from app.timestamps import rfc3339

# Far above any basket and far below 2**63: sums of a great many of these still fit a bigint.
MAX_AMOUNT: Final = 10**15


class State(StrEnum):
    """Where a payment stands."""

    PENDING = "pending"
    CHARGED = "charged"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"


TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.PENDING: frozenset({State.CHARGED, State.DECLINED, State.CANCELLED}),
    State.CHARGED: frozenset({State.CANCELLED, State.REFUNDED}),
    State.DECLINED: frozenset(),
    State.CANCELLED: frozenset(),
    State.REFUNDED: frozenset(),
}


def sources(target: State) -> list[State]:
    """Return the states from which `target` can be reached."""
    return [state for state, targets in TRANSITIONS.items() if target in targets]


class Verdict(StrEnum):
    """What the provider says of a payment."""

    BOOKED = "booked"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class Decision(StrEnum):
    """What the shop does about it."""

    CHARGE = "charge"  # it was booked: the charge stands
    DECLINE = "decline"  # it was not and never will be: the money goes back to the balance
    CANCEL = "cancel"  # the provider has to undo it, or to refuse it should it still arrive
    SETTLED = "settled"  # both books agree
    WAIT = "wait"  # ask again later


def decide(state: State, verdict: Verdict, *, overdue: bool) -> Decision:
    """Compare our state with the provider's verdict; `overdue`: an unknown charge has had time enough to arrive."""
    match state, verdict:
        case State.PENDING, Verdict.BOOKED:
            return Decision.CHARGE
        case State.PENDING, Verdict.UNKNOWN:
            return Decision.CANCEL if overdue else Decision.WAIT
        case State.PENDING, _:
            return Decision.DECLINE
        case State.CANCELLED | State.REFUNDED, Verdict.BOOKED | Verdict.UNKNOWN:
            # Also when it is unknown: a charge that is still under way must find the door closed.
            return Decision.CANCEL
    return Decision.SETTLED


class Charge(msgspec.Struct, frozen=True):
    """A command: take `amount` minor units from the user's balance for an order."""

    order_id: str
    user_id: str
    amount: int
    currency: str


def read_charge(request: pb.ChargeRequest, currency: str) -> Charge:
    """Check a request against the currency the accounts are kept in; raises `InvalidRequest`."""
    if not 0 <= request.amount <= MAX_AMOUNT:
        raise InvalidRequest(f"amount is not between 0 and {MAX_AMOUNT}", field="amount")
    if request.currency != currency:
        raise InvalidRequest(f"currency: balances are kept in {currency}", field="currency")
    order_id, user_id = parse_id(request.order_id, "order_id"), parse_id(request.user_id, "user_id")
    return Charge(order_id, user_id, request.amount, request.currency)


class Payment(msgspec.Struct, frozen=True):
    """One charge and what became of it; `user_id` is empty where it was cancelled before it was seen."""

    id: str
    order_id: str
    user_id: str
    amount: int
    currency: str
    state: State
    reason: str
    refund_key: str
    created_at: datetime

    def require_same(self, charge: Charge) -> None:
        """Raise unless a repeated charge asks for what the first one did."""
        if self.user_id == "":
            raise Conflict("the charge was cancelled before it arrived")
        if (self.user_id, self.amount, self.currency) != (charge.user_id, charge.amount, charge.currency):
            raise IdempotencyKeyReused("this order was charged before with another amount")

    def require_charged(self) -> None:
        """Raise what the customer is told when the money was not, or is no longer, taken."""
        if self.state is State.DECLINED:
            raise REFUSALS.get(self.reason, PaymentDeclined)(_WORDS.get(self.reason, _WORDS[PaymentDeclined.code]))
        if self.state in {State.CANCELLED, State.REFUNDED}:
            raise Conflict(f"the charge was {self.state}")


REFUSALS: Final = {code: BY_CODE[code] for code in (InsufficientFunds.code, PaymentDeclined.code)}
_WORDS: Final = {
    InsufficientFunds.code: "the balance does not cover the amount",
    PaymentDeclined.code: "the payment provider declined the charge",
}


def from_row(row: Mapping[str, Any]) -> Payment:
    """Make a payment of a database row."""
    return Payment(
        id=str(row["id"]),
        order_id=str(row["order_id"]),
        user_id=str(row["user_id"] or ""),
        amount=row["amount"],
        currency=row["currency"],
        state=State(row["state"]),
        reason=row["reason"],
        refund_key=row["refund_key"] or "",
        created_at=row["created_at"],
    )


def to_message(payment: Payment) -> pb.Payment:
    """Make the answer of a payment."""
    return pb.Payment(
        id=payment.id,
        order_id=payment.order_id,
        user_id=payment.user_id,
        amount=payment.amount,
        currency=payment.currency,
        state=payment.state,
        reason=payment.reason,
        created_at=rfc3339(payment.created_at),
    )
