"""The accounts in PostgreSQL."""

from datetime import datetime
from typing import Final

import msgspec
from psycopg.rows import DictRow

from app import db
from app.db import Pool, Statement

_INSERT: Final = Statement(
    "INSERT users",
    "INSERT INTO users (id, name, age, email, password_hash) VALUES (%s, %s, %s, %s, %s) "
    "ON CONFLICT (lower(email)) DO NOTHING RETURNING id::text, name, age, email, password_hash, role, created_at",
)
_BY_ID: Final = Statement(
    "SELECT users", "SELECT id::text, name, age, email, password_hash, role, created_at FROM users WHERE id = %s"
)
_BY_EMAIL: Final = Statement(
    "SELECT users",
    "SELECT id::text, name, age, email, password_hash, role, created_at FROM users WHERE lower(email) = lower(%s)",
)
_UPSERT_ADMIN: Final = Statement(
    "UPSERT users",
    "INSERT INTO users (id, name, email, password_hash, role) VALUES (%s, 'Admin', %s, %s, 'admin') "
    "ON CONFLICT (lower(email)) DO UPDATE SET role = 'admin', password_hash = EXCLUDED.password_hash",
)


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who can own orders; who has no password hash cannot log in."""

    id: str
    name: str
    age: int | None = None
    email: str
    password_hash: str | None = None
    role: str = "customer"
    created_at: datetime


class Accounts:
    """Stores and finds accounts; e-mail addresses are unique whatever their case."""

    __slots__ = ("_pool",)

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, account_id: str, name: str, age: int | None, email: str, hashed: str | None) -> Account | None:
        """Store a customer and return it, or None where the address is taken."""
        async with db.connection(self._pool) as conn:
            return _account(await db.fetch_one(conn, _INSERT, (account_id, name, age, email, hashed)))

    async def by_id(self, account_id: str) -> Account | None:
        """Find an account."""
        async with db.connection(self._pool) as conn:
            return _account(await db.fetch_one(conn, _BY_ID, (account_id,)))

    async def by_email(self, email: str) -> Account | None:
        """Find an account by its address, in any case."""
        async with db.connection(self._pool) as conn:
            return _account(await db.fetch_one(conn, _BY_EMAIL, (email,)))

    async def make_admin(self, account_id: str, email: str, hashed: str) -> None:
        """Let the account with this address, made if need be, be the admin with this password."""
        async with db.connection(self._pool) as conn:
            await db.execute(conn, _UPSERT_ADMIN, (account_id, email, hashed))


def _account(row: DictRow | None) -> Account | None:
    return None if row is None else Account(**row)
