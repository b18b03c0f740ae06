"""The rules of the catalogue and its stock, without any I/O."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Final, Protocol
from uuid import UUID

import msgspec

from app.errors import Conflict, IdempotencyKeyReused, InvalidRequest, NotFound, OutOfStock
from app.ids import parse_id

MAX_PAGE: Final = 100
DEFAULT_PAGE: Final = 20
MAX_TEXT: Final = 200
MAX_ITEMS: Final = 100
MAX_QUANTITY: Final = 1_000_000
# Far enough below the column's 2**31 - 1 that what is reserved can always be given back.
MAX_STOCK: Final = 1_000_000_000

RESERVED: Final = "reserved"
CONFIRMED: Final = "confirmed"
RELEASED: Final = "released"

# Newest first: the page after this id is the first page.
FROM_THE_TOP: Final = str(UUID(int=2**128 - 1))


class StockRow(msgspec.Struct, frozen=True):
    """What one look at a product told: enough to sell it, if nobody changes it before."""

    id: str
    sku: str
    name: str
    price: int  # minor units
    currency: str
    stock: int
    version: int


class ReservedLine(msgspec.Struct, frozen=True):
    """So many of one product, at the price of the moment of reservation (minor units)."""

    product_id: str
    sku: str
    name: str
    quantity: int
    unit_price: int
    currency: str


class Reservation(msgspec.Struct, frozen=True):
    """What an order holds; without lines it was released before it was reserved."""

    order_id: str
    state: str
    lines: tuple[ReservedLine, ...] = ()


class Item(Protocol):
    """What an order asks for."""

    product_id: str
    quantity: int


def wanted(items: Iterable[Item]) -> dict[str, int]:
    """Return the quantity per product, in order of id, the same product named twice added up; raises `InvalidRequest`."""
    quantities: dict[str, int] = {}
    for item in items:
        if not 1 <= item.quantity <= MAX_QUANTITY:
            raise InvalidRequest(f"quantity: between 1 and {MAX_QUANTITY}", field="quantity")
        product_id = parse_id(item.product_id, "product_id")
        quantities[product_id] = quantities.get(product_id, 0) + item.quantity
    if not 1 <= len(quantities) <= MAX_ITEMS:
        raise InvalidRequest(f"items: between 1 and {MAX_ITEMS} products", field="items")
    return dict(sorted(quantities.items()))


def sell(order_id: str, quantities: Mapping[str, int], rows: Iterable[StockRow]) -> Reservation:
    """Return what the order would hold; raises `NotFound` or `OutOfStock` that names the product."""
    shelf = {row.id: row for row in rows}
    for product_id, quantity in quantities.items():
        if product_id not in shelf:
            raise NotFound(f"there is no product {product_id}")
        if (left := shelf[product_id].stock) < quantity:
            raise OutOfStock(f"{shelf[product_id].name} ({product_id}): {quantity} wanted, {left} left")
    return Reservation(order_id, RESERVED, tuple(_line(shelf[key], quantities[key]) for key in quantities))


def _line(row: StockRow, quantity: int) -> ReservedLine:
    return ReservedLine(row.id, row.sku, row.name, quantity, row.price, row.currency)


def repeat(quantities: Mapping[str, int], earlier: Reservation) -> Reservation:
    """Answer a repeated reservation with the one that exists.

    Raises `Conflict` when it was released, `IdempotencyKeyReused` when it holds something else.
    """
    if earlier.state == RELEASED:
        raise Conflict("the reservation was released")
    if {line.product_id: line.quantity for line in earlier.lines} != dict(quantities):
        raise IdempotencyKeyReused("the order has reserved other items before")
    return earlier


def page_size(limit: int) -> int:
    """Return how many products a page has, 0 meaning the default; raises `InvalidRequest`."""
    if not 0 <= limit <= MAX_PAGE:
        raise InvalidRequest(f"limit: between 1 and {MAX_PAGE}", field="limit")
    return limit or DEFAULT_PAGE


def encode_cursor(product_id: str) -> str:
    """Make the cursor of the page after this product."""
    return base64.urlsafe_b64encode(UUID(product_id).bytes).rstrip(b"=").decode()


def decode_cursor(cursor: str) -> str:
    """Return the id that the next page lies below; raises `InvalidRequest` for what `encode_cursor` cannot have made."""
    if not cursor:
        return FROM_THE_TOP
    try:
        product_id = str(UUID(bytes=base64.urlsafe_b64decode(cursor + "==")))
    except (binascii.Error, ValueError):
        raise InvalidRequest("cursor: not one of ours", field="cursor") from None
    # The decoder skips foreign characters and stray bits; we never make them.
    if encode_cursor(product_id) != cursor:
        raise InvalidRequest("cursor: not one of ours", field="cursor")
    return product_id
