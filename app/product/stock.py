"""The stock: reserved, confirmed or given back per order, by optimistic versions, all of an order's items or none.

Each attempt is two statements: look, then take what was seen if nobody changed it (products.version). The second one locks
the rows in order of id, compares, takes and records in one go, so there is nothing half done that a crash could leave, and no
two orders wait for each other. A reservation that keeps losing looks for the last time with the rows locked, and cannot lose.
"""

# ruff: noqa: S608 - statements are put together from this module's own constants

import asyncio
import random
from collections.abc import Iterator, Mapping
from typing import Final

from psycopg.rows import DictRow

from app.db import Connection, Pool, Statement, connection, execute, fetch_all, fetch_one, transaction
from app.errors import Conflict, NotFound, ShopError, Unavailable
from app.product.domain import CONFIRMED, RELEASED, Reservation, ReservedLine, StockRow, repeat, sell

# Attempts before the rows are locked; each waits up to twice as long as the one before, at random ("full jitter",
# https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
OPTIMISTIC_ATTEMPTS: Final = 4
FIRST_PAUSE_SECONDS: Final = 0.004

_LOOK: Final = Statement(
    "SELECT products",
    "SELECT id::text, sku, name, price, currency, stock, version FROM products "
    "WHERE id = ANY(%s::uuid[]) AND deleted_at IS NULL",
)
_LOOK_AND_LOCK: Final = Statement("SELECT products", f"{_LOOK} ORDER BY products.id FOR UPDATE")
# `seen` locks only rows that are still what was looked at: after a wait PostgreSQL compares the newest version again.
# The reservation is recorded, and stock taken, only if that was every row and the order is new.
_TAKE: Final = Statement(
    "UPDATE products",
    """
    WITH wanted AS (
        SELECT * FROM unnest(%(ids)s::uuid[], %(versions)s::bigint[], %(quantities)s::int[], %(prices)s::bigint[])
            AS w (id, version, quantity, price)
    ), seen AS (
        SELECT p.id FROM products p JOIN wanted w ON p.id = w.id AND p.version = w.version ORDER BY p.id FOR UPDATE OF p
    ), reservation AS (
        INSERT INTO reservations (order_id, state)
        SELECT %(order)s, 'reserved' WHERE (SELECT count(*) FROM seen) = cardinality(%(ids)s::uuid[])
        ON CONFLICT DO NOTHING RETURNING order_id
    ), taken AS (
        UPDATE products p SET stock = p.stock - w.quantity, version = p.version + 1
          FROM wanted w, reservation WHERE p.id = w.id
    ), items AS (
        INSERT INTO reserved_items (order_id, product_id, quantity, unit_price)
        SELECT order_id, w.id, w.quantity, w.price FROM wanted w, reservation
    )
    SELECT EXISTS (SELECT FROM reservation) AS reserved,
           (SELECT count(*) FROM seen) < cardinality(%(ids)s::uuid[]) AS outrun
    """,
)
_LINES: Final = """
    SELECT r.state, p.id::text AS product_id, p.sku, p.name, i.quantity, i.unit_price, p.currency
      FROM {source} r LEFT JOIN reserved_items i USING (order_id) LEFT JOIN products p ON p.id = i.product_id
"""
_FIND: Final = Statement(
    "SELECT reservations", f"{_LINES.format(source='reservations')} WHERE r.order_id = %s ORDER BY p.id"
)
_CONFIRM: Final = Statement(
    "UPDATE reservations",
    f"""
    WITH confirmed AS (
        UPDATE reservations SET state = 'confirmed', changed_at = now()
         WHERE order_id = %s AND state = 'reserved' RETURNING order_id, state
    ) {_LINES.format(source="confirmed")} ORDER BY p.id
    """,
)
# Also before the reservation was seen: the row is then a tombstone, and a late reservation fails on it.
_RELEASE: Final = Statement(
    "UPSERT reservations",
    "INSERT INTO reservations (order_id, state) VALUES (%s, 'released') ON CONFLICT (order_id) DO UPDATE "
    "SET state = 'released', changed_at = now() WHERE reservations.state <> 'released'",
)
_GIVE_BACK: Final = Statement(
    "UPDATE products",
    """
    WITH held AS (
        SELECT p.id, i.quantity FROM reserved_items i JOIN products p ON p.id = i.product_id
         WHERE i.order_id = %s ORDER BY p.id FOR UPDATE OF p
    )
    UPDATE products p SET stock = p.stock + held.quantity, version = p.version + 1 FROM held WHERE p.id = held.id
    """,
)


class Stock:
    """Sells what is there, once."""

    __slots__ = ("_pool",)

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def reserve(self, order_id: str, quantities: Mapping[str, int]) -> Reservation:
        """Take an order's products off the shelf, or return what it holds already.

        Raises `NotFound` or `OutOfStock` that names the product, `Conflict` when the order was released before,
        `IdempotencyKeyReused` when it holds other items.
        """
        for pause in _pauses():
            async with connection(self._pool) as conn:
                if reservation := await self._attempt(conn, _LOOK, order_id, quantities):
                    return reservation
            await asyncio.sleep(pause)
        async with transaction(self._pool) as conn:
            reservation = await self._attempt(conn, _LOOK_AND_LOCK, order_id, quantities)
        if reservation is None:
            raise ShopError("the rows changed while they were locked")
        return reservation

    async def _attempt(
        self, conn: Connection, look: Statement, order_id: str, quantities: Mapping[str, int]
    ) -> Reservation | None:
        """Reserve, or return None when somebody was faster."""
        rows = [StockRow(**row) for row in await fetch_all(conn, look, (list(quantities),))]
        try:
            reservation = sell(order_id, quantities, rows)
        except ShopError:
            # The last piece may have gone to this very order: a repeat after a lost answer.
            if earlier := await _find(conn, order_id):
                return repeat(quantities, earlier)
            raise
        outcome = await fetch_one(conn, _TAKE, _take(reservation, rows)) or {}
        if outcome["reserved"]:
            return reservation
        earlier = None if outcome["outrun"] else await _find(conn, order_id)
        return repeat(quantities, earlier) if earlier else None

    async def confirm(self, order_id: str) -> Reservation:
        """Make a reservation final; raises `NotFound`, and `Conflict` when it was released."""
        async with connection(self._pool) as conn:
            if rows := await fetch_all(conn, _CONFIRM, (order_id,)):
                return _reservation(order_id, rows)
        reservation = await self.find(order_id)
        if reservation.state == RELEASED:
            raise Conflict("the reservation was released")
        if reservation.state != CONFIRMED:
            raise Unavailable("the reservation was made just now; confirm it again")
        return reservation

    async def release(self, order_id: str) -> Reservation:
        """Give back what an order holds, confirmed or not; a reservation that comes later than this will fail."""
        async with transaction(self._pool) as conn:
            # Two statements, so that the second sees what a reservation that ended during the first has recorded.
            if await execute(conn, _RELEASE, (order_id,)):
                await execute(conn, _GIVE_BACK, (order_id,))
            rows = await fetch_all(conn, _FIND, (order_id,))
        return _reservation(order_id, rows)

    async def find(self, order_id: str) -> Reservation:
        """Return what an order holds or held; raises `NotFound`."""
        async with connection(self._pool) as conn:
            if reservation := await _find(conn, order_id):
                return reservation
        raise NotFound("there is no such reservation")


async def _find(conn: Connection, order_id: str) -> Reservation | None:
    rows = await fetch_all(conn, _FIND, (order_id,))
    return _reservation(order_id, rows) if rows else None


def _reservation(order_id: str, rows: list[DictRow]) -> Reservation:
    state = rows[0]["state"]
    lines = tuple(ReservedLine(**{k: v for k, v in row.items() if k != "state"}) for row in rows if row["product_id"])
    return Reservation(order_id, state, lines)


def _take(reservation: Reservation, rows: list[StockRow]) -> dict[str, object]:
    versions = {row.id: row.version for row in rows}
    lines = reservation.lines
    return {
        "order": reservation.order_id,
        "ids": [line.product_id for line in lines],
        "versions": [versions[line.product_id] for line in lines],
        "quantities": [line.quantity for line in lines],
        "prices": [line.unit_price for line in lines],
    }


def _pauses() -> Iterator[float]:
    for attempt in range(OPTIMISTIC_ATTEMPTS):
        yield random.uniform(0, FIRST_PAUSE_SECONDS * 2**attempt)  # noqa: S311 - spreads buyers, keeps no secret
