"""PostgreSQL by psycopg 3: a span and an observation per statement, and how long connections are waited for.

A statement says what it is ("SELECT products"): span names, operation and table never come from parsing SQL. Parameters are
never recorded.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from time import perf_counter, time_ns
from types import TracebackType
from typing import Any, Final, LiteralString, Self

import psycopg
from opentelemetry.trace import SpanKind, Status, StatusCode
from psycopg import AsyncCursor
from psycopg.rows import Row
from psycopg_pool import AsyncConnectionPool
from psycopg_pool.pool_async import ACT

from . import conventions as c
from . import current

# A connection that came sooner than this was not waited for.
WAITED_SECONDS: Final = 0.001


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
    """Measures one statement."""

    __slots__ = ("_operation", "_span", "_start", "_table")

    def __init__(self, query: object) -> None:
        attributes: dict[str, Any] = {c.DB_SYSTEM_NAME: c.POSTGRESQL}
        name, self._operation, self._table = c.POSTGRESQL, "", ""
        if isinstance(query, Query):
            name, self._operation, self._table = query.summary, query.operation, query.table
            attributes[c.DB_OPERATION_NAME] = self._operation
            attributes[c.DB_COLLECTION_NAME] = self._table
            attributes[c.DB_QUERY_SUMMARY] = name
            attributes[c.DB_QUERY_TEXT] = str(query)
        self._span = current.tracer().start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        self._start = perf_counter()

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, _tb: TracebackType | None) -> None:
        metrics = current.metrics()
        metrics.query_duration[self._operation, self._table].observe(perf_counter() - self._start)
        if error is not None:
            kind = error_type(error)
            metrics.query_errors[self._operation, kind].inc()
            self._span.set_attribute(c.ERROR_TYPE, kind)
            if isinstance(error, psycopg.Error) and error.sqlstate:
                self._span.set_attribute(c.DB_RESPONSE_STATUS_CODE, error.sqlstate)
            self._span.set_status(Status(StatusCode.ERROR, str(error)))
        self._span.end()


def error_type(error: BaseException) -> str:
    """Return the SQLSTATE, or the exception's type where the server said nothing."""
    return getattr(error, "sqlstate", None) or type(error).__qualname__


class TracedAsyncCursor(AsyncCursor[Row]):
    """A cursor whose statements are measured; give it to a connection as `cursor_factory`."""

    async def before(self, query: object) -> None:
        """Run inside each statement's span, before it is sent: a seam for fault injection."""

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        """Run a statement."""
        with _Statement(query):
            await self.before(query)
            return await super().execute(query, params, **options)

    async def executemany(self, query: Any, params_seq: Iterable[Any], **options: Any) -> None:
        """Run a statement for each of several parameters, as one span."""
        with _Statement(query):
            await self.before(query)
            await super().executemany(query, params_seq, **options)

    async def stream(self, query: Any, params: Any = None, **options: Any) -> AsyncIterator[Row]:
        """Yield rows as they come; the span lasts until the last one."""
        with _Statement(query):
            await self.before(query)
            async for row in super().stream(query, params, **options):
                yield row

    @asynccontextmanager
    async def copy(self, statement: Any, params: Any = None, **options: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        """Copy in or out; the span lasts as long as the block."""
        with _Statement(statement):
            await self.before(statement)
            async with super().copy(statement, params, **options) as copy:
                yield copy


class TracedAsyncConnectionPool(AsyncConnectionPool[ACT]):
    """A pool that tells how long its connections are waited for, and in a span where somebody really waited."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        current.metrics().pools.pools.add(self)

    async def getconn(self, timeout: float | None = None) -> ACT:  # noqa: ASYNC109 - psycopg_pool's signature
        """Lend a connection."""
        start, began = perf_counter(), time_ns()
        error: BaseException | None = None
        try:
            return await super().getconn(timeout)
        except BaseException as failure:
            error = failure
            raise
        finally:
            waited = perf_counter() - start
            current.metrics().pool_wait.observe(waited)
            if waited >= WAITED_SECONDS or error is not None:
                _record_wait(began, error)


def _record_wait(began: int, error: BaseException | None) -> None:
    attributes = {c.DB_SYSTEM_NAME: c.POSTGRESQL}
    span = current.tracer().start_span(c.POOL_WAIT_SPAN, attributes=attributes, start_time=began)
    if error is not None:
        span.set_attribute(c.ERROR_TYPE, type(error).__qualname__)
        span.set_status(Status(StatusCode.ERROR, str(error)))
    span.end()
