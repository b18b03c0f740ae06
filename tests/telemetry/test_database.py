"""Statements on a real PostgreSQL: named by what they say of themselves, measured however they end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg_pool import PoolTimeout

from telemetry import conventions as c
from telemetry.database import Query, TracedAsyncConnectionPool, TracedAsyncCursor, TracedAsyncServerCursor
from telemetry.exposition import metrics_response
from telemetry.testing import capture_spans, fresh_telemetry

CREATE = Query("CREATE shirts", "CREATE TABLE shirts (id int PRIMARY KEY, name text)")
INSERT = Query("INSERT shirts", "INSERT INTO shirts VALUES (%s, %s)")
SELECT = Query("SELECT shirts", "SELECT id FROM shirts ORDER BY id")


@pytest.fixture(autouse=True)
def telemetry() -> Any:
    return fresh_telemetry()[0]


@pytest.fixture
async def conn(database: str) -> AsyncIterator[Any]:
    connection = await AsyncConnection.connect(database, autocommit=True, cursor_factory=TracedAsyncCursor)
    connection.server_cursor_factory = TracedAsyncServerCursor
    await connection.execute(CREATE)
    with capture_spans() as spans:
        yield connection, spans
    await connection.close()


def count(telemetry: Any, operation: str, table: str) -> float:
    samples = telemetry.metrics.query_duration.metric.collect()[0].samples
    labels = {"operation": operation, "table": table}
    return sum(s.value for s in samples if s.name.endswith("_count") and s.labels == labels)


async def test_a_statement_is_named_by_its_summary(conn: Any, telemetry: Any):
    connection, spans = conn
    await connection.execute(INSERT, (1, "SECRET-VALUE"))
    (span,) = spans
    assert (span.name, span.kind, span.status) == ("INSERT shirts", "CLIENT", "UNSET")
    assert span.attributes[c.DB_SYSTEM_NAME] == "postgresql"
    assert (span.attributes[c.DB_OPERATION_NAME], span.attributes[c.DB_COLLECTION_NAME]) == ("INSERT", "shirts")
    assert span.attributes[c.DB_QUERY_TEXT] == str(INSERT)
    assert span.attributes[c.DB_NAMESPACE] == connection.info.dbname
    assert "SECRET" not in str(span)
    assert count(telemetry, "INSERT", "shirts") == 1


async def test_a_slow_bucket_leads_to_the_statement(conn: Any, telemetry: Any):
    connection, spans = conn
    await connection.execute(SELECT)
    (span,) = spans
    samples = telemetry.metrics.query_duration.metric.collect()[0].samples
    found = {
        sample.exemplar.labels["trace_id"]
        for sample in samples
        if sample.exemplar and sample.labels["operation"] == "SELECT"
    }
    assert found == {span.trace_id}


async def test_a_plain_string_is_not_parsed_and_not_recorded(conn: Any, telemetry: Any):
    connection, spans = conn
    await connection.execute("SELECT 'SECRET' FROM shirts")
    (span,) = spans
    assert span.name == "postgresql"
    assert "SECRET" not in str(span)
    assert count(telemetry, "", "") == 1


async def test_a_failed_statement_is_an_error_by_its_sqlstate_without_the_values(conn: Any, telemetry: Any):
    connection, spans = conn
    await connection.execute(INSERT, (1, "a"))
    with pytest.raises(psycopg.errors.UniqueViolation):
        await connection.execute(INSERT, (1, "SECRET"))
    span = spans[-1]
    assert (span.status, span.status_message) == ("ERROR", "UniqueViolation")
    assert span.attributes[c.ERROR_TYPE] == span.attributes[c.DB_RESPONSE_STATUS_CODE] == "23505"
    assert telemetry.metrics.query_errors["INSERT", "23505"]._value.get() == 1
    assert count(telemetry, "INSERT", "shirts") == 2


async def test_a_cancelled_statement_is_told_too(conn: Any, eventually: Any):
    connection, spans = conn
    task = asyncio.create_task(connection.execute(Query("SELECT sleep", "SELECT pg_sleep(60)")))
    await eventually(lambda: connection.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert spans[-1].attributes[c.ERROR_TYPE] == "asyncio.exceptions.CancelledError"


async def test_a_closed_connection_is_an_error_by_its_type(conn: Any):
    connection, spans = conn
    await connection.close()
    cursor = TracedAsyncCursor(connection)
    with pytest.raises(psycopg.OperationalError):
        await cursor.execute(SELECT)
    assert spans[-1].attributes[c.ERROR_TYPE] == "psycopg.OperationalError"


async def test_many_parameters_are_one_span_with_their_number(conn: Any):
    connection, spans = conn
    await connection.cursor().executemany(INSERT, [(n, "x") for n in range(5)])
    await connection.cursor().executemany(INSERT, ((n, "x") for n in range(5, 7)))
    assert [span.attributes.get(c.DB_OPERATION_BATCH_SIZE) for span in spans] == [5, None]


async def test_copies_and_streams_last_as_long_as_their_blocks(conn: Any, telemetry: Any):
    connection, spans = conn
    async with connection.cursor().copy(Query("COPY shirts", "COPY shirts FROM STDIN")) as copy:
        await copy.write_row((1, "a"))
        await copy.write_row((2, "b"))
    assert [row async for row in connection.cursor().stream(SELECT)] == [(1,), (2,)]
    assert [span.name for span in spans] == ["COPY shirts", "SELECT shirts"]
    assert count(telemetry, "COPY", "shirts") == 1


async def test_whoever_stops_reading_a_stream_has_not_failed(conn: Any):
    connection, spans = conn
    await connection.cursor().executemany(INSERT, [(n, "x") for n in range(5)])
    rows = connection.cursor().stream(SELECT)
    assert await anext(rows) == (0,)
    await rows.aclose()
    assert (spans[-1].name, spans[-1].status) == ("SELECT shirts", "UNSET")
    await connection.execute(SELECT)


async def test_a_named_cursor_is_measured_where_it_is_declared(conn: Any):
    connection, spans = conn
    async with connection.transaction(), connection.cursor("named") as cursor:
        await cursor.execute(SELECT)
        await cursor.fetchall()
    assert [span.name for span in spans] == ["SELECT shirts"]


async def test_statements_in_a_pipeline_are_measured_each(conn: Any):
    connection, spans = conn
    async with connection.pipeline():
        for number in range(3):
            await connection.execute(INSERT, (number, "x"))
    assert [span.name for span in spans] == ["INSERT shirts"] * 3


async def test_a_statement_belongs_to_the_span_around_it_also_when_a_fault_strikes(conn: Any, telemetry: Any):
    class Struck(TracedAsyncCursor[Any]):
        async def before(self, query: object) -> None:
            raise TimeoutError(query)

    connection, spans = conn
    with telemetry.tracer.start_as_current_span("request"), pytest.raises(TimeoutError):
        await Struck(connection).execute(SELECT)
    statement, request = spans
    assert (statement.parent_id, statement.attributes[c.ERROR_TYPE]) == (request.span_id, "TimeoutError")


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Any]:
    pool = TracedAsyncConnectionPool(
        database, min_size=1, max_size=1, open=False, timeout=0.05, kwargs={"cursor_factory": TracedAsyncCursor}
    )
    async with pool:
        await pool.wait()
        with capture_spans() as spans:
            yield pool, spans


async def test_a_free_connection_is_observed_and_leaves_no_span(pool: Any, telemetry: Any):
    lent, spans = pool
    async with lent.connection() as connection:
        await connection.execute(Query("SELECT one", "SELECT 1"))
        gauge = metrics_response("", telemetry.metrics.registry)[0].decode()
    assert [span.name for span in spans] == ["SELECT one"]
    assert 'db_pool_connections{state="used"} 1.0' in gauge
    assert 'db_pool_connections{state="idle"} 0.0' in gauge
    assert "db_pool_connections_max 1.0" in gauge
    assert "db_pool_requests_waiting 0.0" in gauge
    assert telemetry.metrics.pool_wait._sum.get() < 1


async def test_a_connection_that_was_waited_for_is_a_span(pool: Any, telemetry: Any, eventually: Any):
    lent, spans = pool
    connection = await lent.getconn()
    waiting = asyncio.create_task(lent.getconn(timeout=5.0))
    await eventually(lambda: lent.get_stats().get("requests_waiting"))
    assert "db_pool_requests_waiting 1.0" in metrics_response("", telemetry.metrics.registry)[0].decode()
    await lent.putconn(connection)
    await lent.putconn(await waiting)
    (span,) = spans
    assert (span.name, span.status) == (c.POOL_WAIT_SPAN, "UNSET")
    assert span.end_ns - span.start_ns >= 1e6


async def test_a_pool_that_has_none_is_an_error(pool: Any):
    lent, spans = pool
    connection = await lent.getconn()
    with pytest.raises(PoolTimeout):
        await lent.getconn()
    await lent.putconn(connection)
    assert (spans[0].name, spans[0].status) == (c.POOL_WAIT_SPAN, "ERROR")
    assert spans[0].attributes[c.ERROR_TYPE] == "psycopg_pool.PoolTimeout"


@pytest.mark.parametrize(
    ("summary", "operation", "table"),
    [("SELECT products", "SELECT", "products"), ("BEGIN", "BEGIN", ""), ("SELECT a b", "SELECT", "a b")],
)
def test_a_summary_says_operation_and_table(summary: str, operation: str, table: str):
    query = Query(summary, "SELECT 1")
    assert (query.summary, query.operation, query.table, str(query)) == (summary, operation, table, "SELECT 1")
