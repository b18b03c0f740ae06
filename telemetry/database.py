"""PostgreSQL by psycopg 3: a span and an observation per statement, and how long connections are waited for.

A statement says what it is ("SELECT products"): span names, operation and table never come from parsing SQL. Neither
parameters nor the server's messages (which quote them) are recorded.
"""

import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sized
from contextlib import aclosing, asynccontextmanager
from time import perf_counter, perf_counter_ns, time_ns
from types import TracebackType
from typing import Any, Final, LiteralString, Self, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from opentelemetry.trace import SpanKind, Status, StatusCode
from psycopg import AsyncConnection, AsyncCursor, AsyncServerCursor
from psycopg.rows import Row
from psycopg_pool import AsyncConnectionPool

from . import conventions as c
from . import current
from .errors import error_type_of
from .recording import Template

Conn = TypeVar("Conn", bound=AsyncConnection[Any])

# A connection that came sooner than this was not waited for: handing one out takes some 20 µs.
WAITED_SECONDS: Final = 0.001
# Statements of one connection whose spans are kept half encoded; a service has some ten.
TEMPLATES: Final = 256
_peers: Final["WeakKeyDictionary[AsyncConnection[Any], _Peer]"] = WeakKeyDictionary()


class Query(str):
    """An SQL text with its summary, "OPERATION table"."""

    __slots__ = ("operation", "summary", "table")

    summary: str
    operation: str
    table: str

    def __new__(cls, summary: str, text: LiteralString) -> Self:
        """Make one; `summary` is the span's name, its first word the operation, the rest the table."""
        self = super().__new__(cls, text)
        self.summary = summary
        self.operation, _, self.table = summary.partition(" ")
        return self


class _Statement:
    """Measures one statement, and `size` parameter sets of it."""

    __slots__ = ("_measured", "_operation", "_start", "_table")

    def __init__(self, connection: AsyncConnection[Any], query: object, size: int = 0) -> None:
        known = query if isinstance(query, Query) else None
        self._operation, self._table = (known.operation, known.table) if known else ("", "")
        self._measured = current.recorder().begin(_peer(connection).template(known, size))
        self._start = perf_counter_ns()

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, _tb: TracebackType | None) -> None:
        metrics = current.metrics()
        took = perf_counter_ns() - self._start
        metrics.query_duration[self._operation, self._table].observe(took, self._measured.exemplar)
        # Who stops reading a stream has not failed.
        if error is not None and not isinstance(error, GeneratorExit):
            kind = error_type(error)
            metrics.query_errors[self._operation, kind].inc()
            state = error.sqlstate if isinstance(error, psycopg.Error) else None
            more = {c.ERROR_TYPE: kind, **({c.DB_RESPONSE_STATUS_CODE: state} if state else {})}
            self._measured.conclude(more, failed=True, description=type(error).__qualname__)
        else:
            self._measured.conclude()


class _Peer:
    """A connection's part of its statements' spans; what a statement adds is put together once."""

    __slots__ = ("_attributes", "_templates")

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        self._attributes = attributes
        self._templates: dict[tuple[str, str], Template] = {}

    def template(self, query: Query | None, size: int) -> Template:
        """Return what the spans of a statement share; a plain text may have values pasted into it, and is not shown."""
        if size > 1:
            return self._make(query, size)
        key = (query.summary, query) if query is not None else ("", "")
        found = self._templates.get(key)
        if found is None:
            if len(self._templates) >= TEMPLATES:
                self._templates.clear()
            found = self._templates[key] = self._make(query, size)
        return found

    def _make(self, query: Query | None, size: int) -> Template:
        attributes = {**self._attributes}
        if query is not None:
            attributes[c.DB_OPERATION_NAME] = query.operation
            attributes[c.DB_COLLECTION_NAME] = query.table
            attributes[c.DB_QUERY_SUMMARY] = query.summary
            attributes[c.DB_QUERY_TEXT] = str(query)
        if size > 1:
            attributes[c.DB_OPERATION_BATCH_SIZE] = size
        return Template(query.summary if query is not None else c.POSTGRESQL, SpanKind.CLIENT, attributes)


def _peer(connection: AsyncConnection[Any]) -> _Peer:
    """Return a connection's part, asked for once."""
    peer = _peers.get(connection)
    if peer is None:
        info = connection.info
        try:
            found = {c.DB_NAMESPACE: info.dbname, c.SERVER_ADDRESS: info.host, c.SERVER_PORT: info.port}
        except psycopg.Error:  # closed before its first statement, which is about to say so itself
            found = {}
        peer = _peers[connection] = _Peer({c.DB_SYSTEM_NAME: c.POSTGRESQL, **found})
    return peer


def error_type(error: BaseException) -> str:
    """Return the SQLSTATE, or the exception's type where the server said nothing."""
    return getattr(error, "sqlstate", None) or error_type_of(error)


class TracedAsyncCursor(AsyncCursor[Row]):
    """A cursor whose statements are measured; give it to a connection as `cursor_factory`."""

    async def before(self, query: object) -> None:
        """Run inside each statement's span, before it is sent: a seam for fault injection."""

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        """Run a statement. In a pipeline the span ends when it is queued, and its error shows where it is fetched."""
        with _Statement(self.connection, query):
            await self.before(query)
            return await super().execute(query, params, **options)

    async def executemany(self, query: Any, params_seq: Iterable[Any], **options: Any) -> None:
        """Run a statement for each of several parameters, as one span."""
        size = len(params_seq) if isinstance(params_seq, Sized) else 0
        with _Statement(self.connection, query, size):
            await self.before(query)
            await super().executemany(query, params_seq, **options)

    async def stream(self, query: Any, params: Any = None, **options: Any) -> AsyncIterator[Row]:
        """Yield rows as they come; the span lasts until the last one, or until nobody wants more."""
        with _Statement(self.connection, query):
            await self.before(query)
            rows: Any = super().stream(query, params, **options)
            async with aclosing(rows):
                async for row in rows:
                    yield row

    @asynccontextmanager
    async def copy(self, statement: Any, params: Any = None, **options: Any) -> AsyncIterator[Any]:
        """Copy in or out; the span lasts as long as the block."""
        with _Statement(self.connection, statement):
            await self.before(statement)
            async with super().copy(statement, params, **options) as copy:
                yield copy


class TracedAsyncServerCursor(AsyncServerCursor[Row]):
    """A named cursor whose declaration is measured; make it a connection's `server_cursor_factory`."""

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        """Declare the cursor; the rows it fetches later belong to whoever fetches them."""
        with _Statement(self.connection, query):
            return await super().execute(query, params, **options)


class TracedAsyncConnectionPool(AsyncConnectionPool[Conn]):
    """A pool that tells how long its connections are waited for, and in a span where somebody really waited."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        current.metrics().pools.pools.add(self)
        # It says three lines at INFO for each connection that is lent; the metrics here say the same.
        pool_logger = logging.getLogger("psycopg.pool")
        if pool_logger.level == logging.NOTSET:
            pool_logger.setLevel(logging.WARNING)

    async def getconn(self, timeout: float | None = None) -> Conn:  # noqa: ASYNC109 - psycopg_pool's signature
        """Lend a connection."""
        began, start = time_ns(), perf_counter()
        try:
            connection = await super().getconn(timeout)
        except BaseException as error:
            _waited(began, perf_counter() - start, error)
            raise
        _waited(began, perf_counter() - start)
        return connection


def _waited(began: int, seconds: float, error: BaseException | None = None) -> None:
    current.metrics().pool_wait.observe(seconds)
    if seconds < WAITED_SECONDS and error is None:
        return
    attributes = {c.DB_SYSTEM_NAME: c.POSTGRESQL}
    span = current.tracer().start_span(c.POOL_WAIT_SPAN, attributes=attributes, start_time=began)
    if error is not None:
        span.set_attribute(c.ERROR_TYPE, error_type_of(error))
        span.set_status(Status(StatusCode.ERROR, str(error)))
    span.end()
