"""The ledger in SQL. Each function is one statement in autocommit: entry, balance and payment change together or not at all.

Taking money locks the account's row for the length of that one statement, and the constraint on the balance backs it up. A
version column would need retries exactly when one customer's orders compete, and nothing is read outside the statement.
"""

from collections.abc import Mapping
from typing import Any, Final

from psycopg.errors import UniqueViolation

from app import db
from app.db import Pool, Statement
from app.errors import IdempotencyKeyReused, InsufficientFunds
from app.ids import new_id
from app.payment.domain import Charge, Payment, State, from_row, sources

# How many due payments one claim takes.
BATCH: Final = 16

_OPEN_ACCOUNT: Final = Statement(
    "INSERT accounts",
    """
    WITH opened AS (
        INSERT INTO accounts (user_id, currency, balance) VALUES (%(user_id)s, %(currency)s, %(amount)s)
        ON CONFLICT (user_id) DO NOTHING RETURNING user_id, balance
    )
    INSERT INTO entries (user_id, kind, amount) SELECT user_id, 'opening', balance FROM opened
    """,
)
_BALANCE: Final = Statement("SELECT accounts", "SELECT balance, currency FROM accounts WHERE user_id = %s")
# The new balance is reckoned from the row as it was locked. Reckoned from `accounts.balance`, it is tried first on the row
# as the statement's snapshot has it, and its constraint refuses a charge that money given back meanwhile covers.
_TAKE: Final = Statement(
    "INSERT payments",
    """
    WITH account AS (
        SELECT user_id, balance FROM accounts WHERE user_id = %(user_id)s FOR NO KEY UPDATE
    ), payment AS (
        INSERT INTO payments (id, order_id, user_id, amount, currency, state, reason, settled, check_at)
        SELECT %(id)s, %(order_id)s, user_id, %(amount)s, %(currency)s,
               CASE WHEN balance >= %(amount)s THEN 'pending' ELSE 'declined' END,
               CASE WHEN balance >= %(amount)s THEN '' ELSE %(uncovered)s END,
               balance < %(amount)s, now() + make_interval(secs => %(patience)s)
        FROM account
        ON CONFLICT (order_id) DO NOTHING RETURNING *
    ), taken AS (
        UPDATE accounts SET balance = account.balance - payment.amount FROM account, payment
        WHERE accounts.user_id = account.user_id AND payment.state = 'pending'
    ), entry AS (
        INSERT INTO entries (user_id, kind, payment_id, amount)
        SELECT user_id, 'charge', id, -amount FROM payment WHERE state = 'pending'
    )
    SELECT * FROM payment
    """,
)
_GIVE_BACK: Final = Statement(
    "UPDATE payments",
    """
    WITH payment AS (
        UPDATE payments SET state = %(state)s, reason = %(reason)s, refund_key = %(refund_key)s, settled = %(settled)s,
               check_at = now(), checks = 0
        WHERE id = %(id)s AND state = ANY(%(sources)s) RETURNING *
    ), credited AS (
        UPDATE accounts SET balance = accounts.balance + payment.amount FROM payment
        WHERE accounts.user_id = payment.user_id
    ), entry AS (
        INSERT INTO entries (user_id, kind, payment_id, amount) SELECT user_id, 'refund', id, amount FROM payment
    )
    SELECT * FROM payment
    """,
)
_CHARGED: Final = Statement(
    "UPDATE payments",
    "UPDATE payments SET state = 'charged', settled = true WHERE id = %s AND state = 'pending' RETURNING *",
)
_SETTLED: Final = Statement("UPDATE payments", "UPDATE payments SET settled = true WHERE id = %s AND state = %s")
_TOMBSTONE: Final = Statement(
    "INSERT payments",
    """
    INSERT INTO payments (id, order_id, amount, currency, state, settled) VALUES (%s, %s, 0, %s, 'cancelled', true)
    ON CONFLICT (order_id) DO NOTHING RETURNING *
    """,
)
_BY_ID: Final = Statement("SELECT payments", "SELECT * FROM payments WHERE id = %s")
_BY_ORDER: Final = Statement("SELECT payments", "SELECT * FROM payments WHERE order_id = %s")
_CLAIM: Final = Statement(
    "UPDATE payments",
    """
    UPDATE payments SET checks = checks + 1,
           check_at = now() + make_interval(secs => least(60, %(interval)s * power(2, least(checks, 10))))
    WHERE id IN (
        SELECT id FROM payments WHERE NOT settled AND check_at <= now() ORDER BY check_at LIMIT %(batch)s
        FOR UPDATE SKIP LOCKED
    )
    RETURNING *, created_at < now() - make_interval(secs => %(give_up_after)s) AS overdue
    """,
)


class Store:
    """The books of the payment service."""

    def __init__(self, pool: Pool, *, currency: str, opening_balance: int) -> None:
        self._pool = pool
        self._opening = {"currency": currency, "amount": opening_balance}
        self.currency = currency

    async def balance(self, user_id: str) -> int:
        """Return a user's balance in minor units; opens the account where there is none."""
        row = await self._row(_BALANCE, (user_id,))
        if row is None:
            await self._open_account(user_id)
            row = await self._row(_BALANCE, (user_id,))
        assert row is not None  # noqa: S101 - accounts are never deleted
        return int(row["balance"])

    async def take(self, charge: Charge, *, patience: float) -> Payment:
        """Set the amount aside and return the new payment, or the one that this order has already.

        It is declined at once where the balance does not cover it. `patience`: seconds until the synchronisation looks.
        """
        values = {
            "id": new_id(),
            "order_id": charge.order_id,
            "user_id": charge.user_id,
            "amount": charge.amount,
            "currency": charge.currency,
            "uncovered": InsufficientFunds.code,
            "patience": patience,
        }
        if (taken := await self._payment(_TAKE, values)) or (taken := await self.by_order(charge.order_id)):
            return taken
        await self._open_account(charge.user_id)
        if (taken := await self._payment(_TAKE, values)) or (taken := await self.by_order(charge.order_id)):
            return taken
        raise AssertionError("an account was opened and is not there")

    async def charged(self, payment: Payment) -> Payment:
        """Record that the provider has booked a pending payment; returns what it is now."""
        return await self._payment(_CHARGED, (payment.id,)) or await self._again(payment)

    async def decline(self, payment: Payment, reason: str) -> Payment:
        """Give a pending payment's money back; returns what it is now."""
        return await self._give_back(payment, State.DECLINED, reason=reason, settled=True)

    async def cancel(self, payment: Payment) -> Payment:
        """Give the money back and let the provider be told; returns what it is now."""
        return await self._give_back(payment, State.CANCELLED, reason="cancelled")

    async def refund(self, payment: Payment, key: str) -> Payment:
        """Give a charged payment's money back, once; raises `IdempotencyKeyReused` for the key of another payment."""
        try:
            return await self._give_back(payment, State.REFUNDED, reason="refunded", refund_key=key)
        except UniqueViolation:
            raise IdempotencyKeyReused("this key refunded another payment") from None

    async def bury(self, order_id: str) -> Payment:
        """Make sure that a charge of this order is refused, or return the payment it has."""
        buried = await self._payment(_TOMBSTONE, (new_id(), order_id, self.currency))
        found = buried or await self.by_order(order_id)
        assert found is not None  # noqa: S101 - one of the two is true, and payments are never deleted
        return found

    async def settled(self, payment: Payment) -> None:
        """Record that the provider's books agree with this state of the payment."""
        async with db.connection(self._pool) as conn:
            await db.execute(conn, _SETTLED, (payment.id, payment.state))

    async def by_id(self, payment_id: str) -> Payment | None:
        """Return a payment, or None."""
        return await self._payment(_BY_ID, (payment_id,))

    async def by_order(self, order_id: str) -> Payment | None:
        """Return the payment of an order, or None."""
        return await self._payment(_BY_ORDER, (order_id,))

    async def claim(self, *, interval: float, give_up_after: float) -> list[tuple[Payment, bool]]:
        """Return due payments that nobody else is looking at, each with whether it is overdue; they come again later."""
        values = {"interval": interval, "give_up_after": give_up_after, "batch": BATCH}
        async with db.connection(self._pool) as conn:
            return [(from_row(row), row["overdue"]) for row in await db.fetch_all(conn, _CLAIM, values)]

    async def _give_back(
        self, payment: Payment, state: State, *, reason: str, refund_key: str = "", settled: bool = False
    ) -> Payment:
        values = {
            "id": payment.id,
            "state": state,
            "sources": [str(source) for source in sources(state)],
            "reason": reason,
            "refund_key": refund_key or None,
            "settled": settled,
        }
        return await self._payment(_GIVE_BACK, values) or await self._again(payment)

    async def _again(self, payment: Payment) -> Payment:
        found = await self.by_id(payment.id)
        assert found is not None  # noqa: S101 - payments are never deleted
        return found

    async def _open_account(self, user_id: str) -> None:
        async with db.connection(self._pool) as conn:
            await db.execute(conn, _OPEN_ACCOUNT, {"user_id": user_id, **self._opening})

    async def _payment(self, statement: Statement, params: db.Params) -> Payment | None:
        row = await self._row(statement, params)
        return from_row(row) if row else None

    async def _row(self, statement: Statement, params: db.Params) -> Mapping[str, Any] | None:
        async with db.connection(self._pool) as conn:
            return await db.fetch_one(conn, statement, params)
