"""Orders in SQL: one row each, every step one statement that fails when somebody else has taken the order over."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from psycopg.types.json import Jsonb

from app import db
from app.db import Pool, Statement
from app.ids import new_id
from app.order.domain import Item, Order, PlaceOrder, Step

# How many abandoned orders one claim takes.
BATCH: Final = 16

_INSERT: Final = Statement(
    "INSERT orders",
    """
    INSERT INTO orders (id, user_id, idempotency_key, step, items, traceparent, lease_until)
    VALUES (%s, %s, %s, 'reserving', %s, %s, now() + make_interval(secs => %s))
    ON CONFLICT (user_id, idempotency_key) DO NOTHING RETURNING *
    """,
    point="order.insert",
)
_ADVANCE: Final = Statement(
    "UPDATE orders",
    """
    UPDATE orders SET step = %s, items = %s, total = %s, currency = %s, failure = %s, failure_detail = %s,
           version = version + 1, lease_until = now() + make_interval(secs => %s)
    WHERE id = %s AND version = %s RETURNING version
    """,
)
_LEAVE: Final = Statement(
    "UPDATE orders",
    "UPDATE orders SET version = version + 1, lease_until = now() + make_interval(secs => %s) WHERE id = %s AND version = %s",
)
_CLAIM: Final = Statement(
    "UPDATE orders",
    """
    UPDATE orders SET version = version + 1, lease_until = now() + make_interval(secs => %s)
    WHERE id IN (
        SELECT id FROM orders WHERE step NOT IN ('confirmed', 'failed', 'cancelled') AND lease_until <= now()
        ORDER BY lease_until LIMIT %s FOR UPDATE SKIP LOCKED
    )
    RETURNING *, extract(epoch FROM now() - created_at)::float8 AS age
    """,
)
_BY_ID: Final = Statement("SELECT orders", "SELECT * FROM orders WHERE id = %s")
_BY_KEY: Final = Statement("SELECT orders", "SELECT * FROM orders WHERE user_id = %s AND idempotency_key = %s")


class TakenOver(Exception):
    """Somebody else drives this order now."""


class Store:
    """The orders; `lease` is how many seconds their driver has for each step."""

    def __init__(self, pool: Pool, *, lease: float) -> None:
        self._pool = pool
        self._lease = lease

    async def insert(self, command: PlaceOrder, traceparent: str) -> Order | None:
        """Write a new order down at its first step, ours to drive; None when the user's key has one already."""
        items = Jsonb(msgspec.to_builtins(command.items))
        values = (new_id(), command.user_id, command.key or None, items, traceparent, self._lease)
        return await self._one(_INSERT, values)

    async def advance(self, order: Order) -> Order:
        """Write a changed order down and renew the lease; raises `TakenOver`."""
        values = (
            order.step,
            Jsonb(msgspec.to_builtins(order.items)),
            order.total,
            order.currency,
            order.failure,
            order.failure_detail,
            self._lease,
            order.id,
            order.version,
        )
        async with db.connection(self._pool) as conn:
            row = await db.fetch_one(conn, _ADVANCE, values)
        if row is None:
            raise TakenOver(order.id)
        return msgspec.structs.replace(order, version=row["version"])

    async def leave(self, order: Order, seconds: float) -> None:
        """Let go of an order that cannot go on now, so that it is taken up again in so many seconds."""
        async with db.connection(self._pool) as conn:
            await db.execute(conn, _LEAVE, (seconds, order.id, order.version))

    async def claim(self) -> Sequence[tuple[Order, float]]:
        """Take over abandoned orders, each with its age in seconds; each goes to one claimer."""
        async with db.connection(self._pool) as conn:
            rows = await db.fetch_all(conn, _CLAIM, (self._lease, BATCH))
        return [(from_row(row), row["age"]) for row in rows]

    async def by_id(self, order_id: str) -> Order | None:
        """Return an order, or None."""
        return await self._one(_BY_ID, (order_id,))

    async def by_key(self, user_id: str, key: str) -> Order | None:
        """Return the order that a user placed with this idempotency key, or None."""
        return await self._one(_BY_KEY, (user_id, key))

    async def _one(self, statement: Statement, params: db.Params) -> Order | None:
        async with db.connection(self._pool) as conn:
            row = await db.fetch_one(conn, statement, params)
        return from_row(row) if row else None


def from_row(row: Mapping[str, Any]) -> Order:
    """Make an order of a database row."""
    return Order(
        id=str(row["id"]),
        user_id=str(row["user_id"]),
        key=row["idempotency_key"] or "",
        step=Step(row["step"]),
        items=msgspec.convert(row["items"], tuple[Item, ...]),
        total=row["total"],
        currency=row["currency"],
        failure=row["failure"],
        failure_detail=row["failure_detail"],
        traceparent=row["traceparent"],
        created_at=row["created_at"],
        version=row["version"],
    )
