"""The Saga of an order: its states and transitions as data, and the rules that need no database.

    PlaceOrder
        │
        ▼             ok              ok               ok
    reserving ──────────► charging ──────► confirming ──────► confirmed
        │                    │                 │                  │ CancelOrder
        │ failed             │ failed          │ failed           ▼
        │                    ▼                 ▼              refunding
        │                 uncharging ◄─────────┘                  │
        │                    │ ok                                 │ ok
        ▼                    ▼                                    ▼
    releasing ◄──────────────┘                                returning
        │ ok                                                      │ ok
        ▼                                                         ▼
      failed                                                  cancelled

A step is written down before it is taken, and each is idempotent by the order's id, so that whoever finds the row can take it
(again). A failed step is undone too: its answer may have been lost after it had worked. The steps below the first line undo
in reverse order; they have no way out but success and are repeated until they have it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from app.errors import BY_CODE, Conflict, InvalidRequest, ShopError
from app.ids import parse_id, parse_idempotency_key
from app.rpc.order.v1 import order_pb2 as pb
from app.timestamps import rfc3339

MAX_ITEMS: Final = 50
MAX_QUANTITY: Final = 1_000
# What the payment service accepts at most; far below 2**63, so that no sum on the way can overflow.
MAX_TOTAL: Final = 10**15


class Step(StrEnum):
    """How far the Saga has come: the step that is being taken, or the end."""

    RESERVING = "reserving"
    CHARGING = "charging"
    CONFIRMING = "confirming"
    CONFIRMED = "confirmed"
    UNCHARGING = "uncharging"
    RELEASING = "releasing"
    FAILED = "failed"
    REFUNDING = "refunding"
    RETURNING = "returning"
    CANCELLED = "cancelled"


class Action(StrEnum):
    """What a step asks of another service."""

    RESERVE = "reserve"
    CHARGE = "charge"
    CONFIRM = "confirm"
    CANCEL_CHARGE = "cancel charge"
    RELEASE = "release"


class Transition(msgspec.Struct, frozen=True):
    """What to do at a step and where it leads; `otherwise` is None for steps that undo: they are repeated instead."""

    action: Action
    then: Step
    otherwise: Step | None = None


TRANSITIONS: Final[Mapping[Step, Transition]] = {
    Step.RESERVING: Transition(Action.RESERVE, Step.CHARGING, otherwise=Step.RELEASING),
    Step.CHARGING: Transition(Action.CHARGE, Step.CONFIRMING, otherwise=Step.UNCHARGING),
    Step.CONFIRMING: Transition(Action.CONFIRM, Step.CONFIRMED, otherwise=Step.UNCHARGING),
    Step.UNCHARGING: Transition(Action.CANCEL_CHARGE, Step.RELEASING),
    Step.RELEASING: Transition(Action.RELEASE, Step.FAILED),
    Step.REFUNDING: Transition(Action.CANCEL_CHARGE, Step.RETURNING),
    Step.RETURNING: Transition(Action.RELEASE, Step.CANCELLED),
}
ENDS: Final = frozenset(Step) - TRANSITIONS.keys()

# What the customer sees of it: the contract's `state`.
STATES: Final[Mapping[Step, str]] = {
    Step.RESERVING: "pending",
    Step.CHARGING: "pending",
    Step.CONFIRMING: "pending",
    Step.CONFIRMED: "confirmed",
    Step.UNCHARGING: "pending",
    Step.RELEASING: "pending",
    Step.FAILED: "failed",
    Step.REFUNDING: "cancelling",
    Step.RETURNING: "cancelling",
    Step.CANCELLED: "cancelled",
}


class Item(msgspec.Struct, frozen=True):
    """So many of a product; `unit_price` in minor units is 0 until they are reserved."""

    product_id: str
    quantity: int
    unit_price: int = 0


class PlaceOrder(msgspec.Struct, frozen=True):
    """A command. Items are merged by product and sorted, so that equal baskets are equal values."""

    user_id: str
    items: tuple[Item, ...]
    key: str


class Order(msgspec.Struct, frozen=True):
    """An order and the state of its Saga."""

    id: str
    user_id: str
    key: str
    step: Step
    items: tuple[Item, ...]
    total: int
    currency: str
    failure: str
    failure_detail: str
    traceparent: str
    created_at: datetime
    version: int

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do."""
        return self.step in ENDS

    @property
    def answerable(self) -> bool:
        """Whether the client of `PlaceOrder` can be answered: it is confirmed, or it will fail and why is known."""
        return self.ended or bool(self.failure)

    def priced(self, items: Sequence[Item], currency: str) -> "Order":
        """Take over the prices that were reserved; raises `InvalidRequest` when the total is out of range."""
        total = sum(item.quantity * item.unit_price for item in items)
        if total > MAX_TOTAL:
            raise InvalidRequest("the order's total is too large")
        return msgspec.structs.replace(self, items=tuple(items), total=total, currency=currency)

    def succeeded(self) -> "Order":
        """Return the order at the step after the one that has just worked."""
        return msgspec.structs.replace(self, step=TRANSITIONS[self.step].then)

    def failed(self, error: ShopError) -> "Order":
        """Return the order at the step that begins to undo it; raises `error` where undoing itself has failed."""
        if (otherwise := TRANSITIONS[self.step].otherwise) is None:
            raise error
        return msgspec.structs.replace(self, step=otherwise, failure=error.code, failure_detail=str(error))

    def cancelled(self) -> "Order":
        """Return the order as its cancellation begins; raises `Conflict` unless it is confirmed."""
        if self.step is not Step.CONFIRMED:
            raise Conflict(f"the order is {STATES[self.step]}: only a confirmed one can be cancelled")
        return msgspec.structs.replace(self, step=Step.REFUNDING)

    def same_basket(self, command: PlaceOrder) -> bool:
        """Tell whether a command asks for what this order was made of."""
        mine = [(item.product_id, item.quantity) for item in self.items]
        return mine == [(item.product_id, item.quantity) for item in command.items]

    def require_placed(self) -> None:
        """Raise the error that the order failed with."""
        if self.failure:
            raise BY_CODE.get(self.failure, ShopError)(self.failure_detail)


def read_place_order(request: pb.PlaceOrderRequest) -> PlaceOrder:
    """Check a request; raises `InvalidRequest` that names the field."""
    key = parse_idempotency_key(request.idempotency_key)
    return PlaceOrder(parse_id(request.user_id, "user_id"), merge(request.items), key)


def merge(items: Sequence[pb.OrderItem]) -> tuple[Item, ...]:
    """Add up the quantities by product and sort; raises `InvalidRequest` when there are none, or too many."""
    quantities: dict[str, int] = {}
    for item in items:
        if item.quantity < 1:
            raise InvalidRequest("items: a quantity is at least 1", field="items")
        product_id = parse_id(item.product_id, "product_id")
        quantities[product_id] = quantities.get(product_id, 0) + item.quantity
    if not 1 <= len(quantities) <= MAX_ITEMS or max(quantities.values()) > MAX_QUANTITY:
        raise InvalidRequest(f"items: 1 to {MAX_ITEMS} products, up to {MAX_QUANTITY} of each", field="items")
    return tuple(Item(product_id, quantities[product_id]) for product_id in sorted(quantities))


def to_message(order: Order) -> pb.Order:
    """Make the answer of an order."""
    return pb.Order(
        id=order.id,
        user_id=order.user_id,
        state=STATES[order.step],
        items=[
            pb.OrderItem(product_id=i.product_id, quantity=i.quantity, unit_price=i.unit_price) for i in order.items
        ],
        total=order.total,
        currency=order.currency,
        failure=order.failure,
        created_at=rfc3339(order.created_at),
        version=order.version,
    )
