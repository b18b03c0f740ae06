"""PostgreSQL: one pool per service, statements with names, migrations, and errors in the shop's own words."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, LiteralString, Self

import psycopg
from psycopg import AsyncConnection, AsyncCursor
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from app.config import Settings
from app.errors import DeadlineExceeded, Unavailable
from app.faults import Faults
from telemetry.database import Query, TracedAsyncConnectionPool, TracedAsyncCursor

Connection = AsyncConnection[DictRow]
Pool = AsyncConnectionPool[Connection]
# Values for `%s`, or for `%(name)s`.
Params = Sequence[object] | Mapping[str, object]

MIGRATIONS: Final = Path(__file__).parent / "migrations"
# What a struck statement fails with: the server went away from under it (SQLSTATE class 57, operator intervention).
_BROKEN: Final[LiteralString] = "DO $$ BEGIN RAISE EXCEPTION 'fault injected' USING ERRCODE = '57P05'; END $$"


class Statement(Query):
    """A statement with its name ("SELECT products") and, where faults may strike it, its fault point.

    `prepare=False` plans it for its values each time; otherwise it is prepared once it is used often, and PostgreSQL
    may settle on one plan for all values.
    """

    point: str
    prepare: bool | None

    def __new__(cls, summary: str, text: LiteralString, point: str = "", *, prepare: bool | None = None) -> Self:  # noqa: D102 - see the class
        self = super().__new__(cls, summary, text)
        self.point = point
        self.prepare = prepare
        return self


def faulty_cursor(faults: Faults) -> type[TracedAsyncCursor[Any]]:
    """Make a cursor whose statements are struck by `faults`; the plain traced cursor when there are none."""
    if not faults:
        return TracedAsyncCursor

    class FaultyCursor(TracedAsyncCursor[Any]):
        """Runs the fault on the same connection, inside the statement's own span."""

        async def before(self, query: object) -> None:
            fault = faults.at(point) if (point := getattr(query, "point", "")) else None
            if fault is None:
                return
            if fault.kind == "delay":
                await AsyncCursor.execute(self, "SELECT pg_sleep(%s)", [fault.seconds])
            else:
                await AsyncCursor.execute(self, _BROKEN)

    return FaultyCursor


def open_pool(settings: Settings, service: str, faults: Faults) -> Pool:
    """Make the (still closed) pool of a service's own database."""
    db = settings.db
    conninfo = make_conninfo(
        host=db.host,
        port=db.port,
        user=db.user,
        password=db.password,
        dbname=f"goshop_{service}",
        application_name=f"goshop-{service}",
        connect_timeout=max(2, round(db.pool_timeout)),
        options=f"-c statement_timeout={round(db.timeout * 1000)} -c timezone=UTC",
    )
    return TracedAsyncConnectionPool(
        conninfo,
        connection_class=AsyncConnection[DictRow],
        # autocommit: a single statement needs no BEGIN and COMMIT of its own; `transaction` opens one.
        kwargs={"cursor_factory": faulty_cursor(faults), "row_factory": dict_row, "autocommit": True},
        min_size=db.pool_min,
        max_size=db.pool_max,
        timeout=db.pool_timeout,
        # More waiters than this could not be served within the pool's timeout: refuse them at once.
        max_waiting=db.pool_max * 64,
        reconnect_timeout=10.0,
        open=False,
    )


@asynccontextmanager
async def connection(pool: Pool) -> AsyncIterator[Connection]:
    """Lend a connection in autocommit mode; failures of the database itself become `Unavailable`."""
    with _own_words():
        async with pool.connection() as conn:
            yield conn


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """Lend a connection inside a transaction: all of it happens, or nothing."""
    async with connection(pool) as conn, conn.transaction():
        yield conn


class _own_words:  # noqa: N801 - a context manager, used like a function
    """Translate failures of the driver; errors of the shop and mistakes of ours pass unchanged."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        match error:
            case psycopg.errors.QueryCanceled() | psycopg.errors.LockNotAvailable():
                raise DeadlineExceeded("the database did not answer in time") from error
            case PoolTimeout() | TooManyRequests():
                raise Unavailable("no database connection is free") from error
            case psycopg.OperationalError() | psycopg.InterfaceError():
                raise Unavailable("the database is away") from error


async def fetch_all(conn: Connection, query: Statement, params: Params = ()) -> list[DictRow]:
    """Run a statement and return every row."""
    return await (await conn.execute(query, params, prepare=query.prepare)).fetchall()


async def fetch_one(conn: Connection, query: Statement, params: Params = ()) -> DictRow | None:
    """Run a statement and return its first row, or None."""
    return await (await conn.execute(query, params, prepare=query.prepare)).fetchone()


async def execute(conn: Connection, query: Statement, params: Params = ()) -> int:
    """Run a statement and return how many rows it touched."""
    return (await conn.execute(query, params, prepare=query.prepare)).rowcount


_LOCK: Final = Statement("LOCK migrations", "SELECT pg_advisory_xact_lock(7079836)")
_TABLE: Final = Statement(
    "CREATE migrations",
    "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
)
_APPLIED: Final = Statement("SELECT migrations", "SELECT name, checksum FROM migrations")
_RECORD: Final = Statement("INSERT migrations", "INSERT INTO migrations (name, checksum) VALUES (%s, %s)")


class MigrationError(Exception):
    """The migrations that were applied are not the ones that are here."""


async def migrate(pool: Pool, service: str, *, folder: Path = MIGRATIONS) -> list[str]:
    """Apply what is new under `folder`/`service`, in order of name, and return the names.

    All of it is one transaction under an advisory lock, so that several starting processes apply each file once.
    Raises `MigrationError` when a file that was applied has changed or vanished.
    """
    files = {path.name: path.read_text() for path in sorted((folder / service).glob("*.sql"))}
    async with transaction(pool) as conn:
        await execute(conn, _LOCK)
        await execute(conn, _TABLE)
        done = {row["name"]: row["checksum"] for row in await fetch_all(conn, _APPLIED)}
        _compare(done, files)
        new = [name for name in files if name not in done]
        for name in new:
            await conn.execute(Query(f"MIGRATE {name}", files[name]))
            await execute(conn, _RECORD, (name, _checksum(files[name])))
    return new


def _compare(done: dict[str, str], files: dict[str, str]) -> None:
    for name, checksum in done.items():
        if name not in files:
            raise MigrationError(f"{name} was applied and is gone: restore it, or this is an older release")
        if checksum != _checksum(files[name]):
            raise MigrationError(f"{name} was applied and has changed since: write a new migration instead")


def _checksum(text: str) -> str:
    return sha256(text.encode()).hexdigest()
