"""The outside provider as its own sandbox plays it, with books of its own in the schema `sandbox`.

As the sandboxes of real providers do, it misbehaves on request, by magic amounts (in minor units). Every call is one
statement and its own transaction, so that what it has booked stays booked whatever happens to the shop.
"""

import asyncio
from typing import Final

from app import db
from app.db import Pool
from app.payment.domain import Verdict

# The card is refused.
DECLINED: Final = 4_000_002
# The request is lost: no answer comes and nothing is booked.
LOST: Final = 4_000_408
# The money is booked, but the answer never comes, and a question is only answered after `late_after` seconds.
LATE: Final = 4_000_504

# Longer than any caller waits; the caller's time-out ends it.
_SILENCE_SECONDS: Final = 60.0

_BOOK: Final = db.Statement(
    "INSERT sandbox.bookings",
    """
    INSERT INTO sandbox.bookings AS b (payment_id, amount, currency, state, known_at)
    VALUES (%(id)s, %(amount)s, %(currency)s, %(state)s, now() + make_interval(secs => %(late)s))
    -- A repeat changes nothing; DO NOTHING would not return the row.
    ON CONFLICT (payment_id) DO UPDATE SET state = b.state
    RETURNING state, known_at <= now() AS known
    """,
)
_STATUS: Final = db.Statement(
    "SELECT sandbox.bookings", "SELECT state FROM sandbox.bookings WHERE payment_id = %s AND known_at <= now()"
)
_CANCEL: Final = db.Statement(
    "INSERT sandbox.bookings",
    """
    INSERT INTO sandbox.bookings AS b (payment_id, amount, currency, state) VALUES (%s, 0, '', 'cancelled')
    ON CONFLICT (payment_id) DO UPDATE SET state = CASE b.state WHEN 'booked' THEN 'cancelled' ELSE b.state END
    RETURNING state
    """,
)


class SandboxProvider:
    """Books in PostgreSQL; `late_after` is in seconds."""

    def __init__(self, pool: Pool, *, late_after: float) -> None:
        self._pool = pool
        self._late_after = late_after

    async def charge(self, payment_id: str, amount: int, currency: str) -> Verdict:
        """Book, decline, or keep silent, by the amount."""
        if amount == LOST:
            return await _silence()
        state = Verdict.DECLINED if amount == DECLINED else Verdict.BOOKED
        late = self._late_after if amount == LATE else 0.0
        values = {"id": payment_id, "amount": amount, "currency": currency, "state": state, "late": late}
        async with db.connection(self._pool) as conn:
            row = await db.fetch_one(conn, _BOOK, values)
        assert row is not None  # noqa: S101 - RETURNING always does
        return Verdict(row["state"]) if row["known"] else await _silence()

    async def status(self, payment_id: str) -> Verdict:
        """Look the payment up."""
        async with db.connection(self._pool) as conn:
            row = await db.fetch_one(conn, _STATUS, (payment_id,))
        return Verdict(row["state"]) if row else Verdict.UNKNOWN

    async def cancel(self, payment_id: str) -> Verdict:
        """Undo a booking, or close the door to one that has not arrived."""
        async with db.connection(self._pool) as conn:
            row = await db.fetch_one(conn, _CANCEL, (payment_id,))
        assert row is not None  # noqa: S101 - RETURNING always does
        return Verdict(row["state"])


async def _silence() -> Verdict:
    await asyncio.sleep(_SILENCE_SECONDS)
    return Verdict.UNKNOWN
