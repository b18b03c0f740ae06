"""Commands on a real Valkey: one span and one observation each, or one for a pipeline, and no keys or values."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from telemetry import conventions as c
from telemetry.redis import TracedRedis, command_name
from telemetry.testing import capture_spans, fresh_telemetry


@pytest.fixture(autouse=True)
def telemetry() -> Any:
    return fresh_telemetry()[0]


@pytest.fixture
async def client(valkey_url: str) -> AsyncIterator[Any]:
    connection = TracedRedis.from_url(valkey_url)
    with capture_spans() as spans:
        yield connection, spans
    await connection.aclose()


def counts(telemetry: Any) -> dict[tuple[str, str], float]:
    samples = telemetry.metrics.redis_duration.metric.collect()[0].samples
    return {(s.labels["command"], s.labels["outcome"]): s.value for s in samples if s.name.endswith("_count")}


async def test_a_command_is_a_span_without_its_arguments(client: Any, telemetry: Any):
    valkey, spans = client
    await valkey.set("SECRET-KEY", "SECRET-VALUE")
    (span,) = spans
    assert (span.name, span.kind, span.status) == ("SET", "CLIENT", "UNSET")
    assert span.attributes[c.DB_SYSTEM_NAME] == "redis"
    assert (span.attributes[c.DB_OPERATION_NAME], span.attributes[c.DB_NAMESPACE]) == ("SET", "0")
    assert span.attributes[c.SERVER_ADDRESS]
    assert "SECRET" not in str(span)
    assert counts(telemetry) == {("SET", "ok"): 1}


async def test_a_slow_bucket_leads_to_the_command(client: Any, telemetry: Any):
    valkey, spans = client
    await valkey.get("key")
    (span,) = spans
    samples = telemetry.metrics.redis_duration.metric.collect()[0].samples
    assert {s.exemplar.labels["trace_id"] for s in samples if s.exemplar} == {span.trace_id}


async def test_a_refused_command_is_an_error_by_its_type(client: Any, telemetry: Any):
    valkey, spans = client
    await valkey.set("SECRET-KEY", "text")
    with pytest.raises(redis.exceptions.ResponseError):
        await valkey.lpush("SECRET-KEY", 1)
    assert (spans[-1].name, spans[-1].status) == ("LPUSH", "ERROR")
    assert spans[-1].attributes[c.ERROR_TYPE] == "redis.exceptions.ResponseError"
    assert "SECRET" not in str(spans[-1])
    assert counts(telemetry)["LPUSH", "error"] == 1


async def test_a_script_is_evalsha_and_its_loading_shows(client: Any):
    valkey, spans = client
    script = valkey.register_script("return ARGV[1]")
    assert await script(args=["a"]) == b"a"
    assert await script(args=["b"]) == b"b"
    assert [span.name for span in spans] == ["EVALSHA", "SCRIPT LOAD", "EVALSHA", "EVALSHA"]
    assert [span.status for span in spans] == ["ERROR", "UNSET", "UNSET", "UNSET"]


@pytest.mark.parametrize("transaction", [True, False])
async def test_a_pipeline_is_one_span_with_its_size(client: Any, telemetry: Any, *, transaction: bool):
    valkey, spans = client
    async with valkey.pipeline(transaction=transaction) as pipeline:
        pipeline.set("a", 1).incr("a").get("a")
        assert await pipeline.execute() == [True, 2, b"2"]
    (span,) = spans
    assert (span.name, span.attributes[c.DB_OPERATION_BATCH_SIZE]) == (c.REDIS_PIPELINE, 3)
    assert counts(telemetry) == {(c.REDIS_PIPELINE, "ok"): 1}


async def test_an_empty_pipeline_is_nothing(client: Any):
    valkey, spans = client
    async with valkey.pipeline() as pipeline:
        assert await pipeline.execute() == []
    assert spans == []


async def test_a_failed_pipeline_is_an_error_without_its_arguments(client: Any):
    valkey, spans = client
    async with valkey.pipeline() as pipeline:
        with pytest.raises(redis.exceptions.ResponseError):
            await pipeline.set("SECRET", "x").lpush("SECRET", 1).execute()
    assert spans[-1].status == "ERROR"
    assert "SECRET" not in str(spans[-1])


async def test_what_a_watching_pipeline_reads_at_once_has_its_own_span(client: Any):
    valkey, spans = client

    async def add(pipeline: Any) -> None:
        value = int(await pipeline.get("n") or 0)
        pipeline.multi()
        pipeline.set("n", value + 1)

    await valkey.transaction(add, "n")
    assert [span.name for span in spans] == ["WATCH", "GET", c.REDIS_PIPELINE]
    assert await valkey.get("n") == b"1"


async def test_a_server_that_is_away_is_an_error(telemetry: Any):
    async with TracedRedis.from_url("unix:///nowhere.sock", retry=Retry(NoBackoff(), 0)) as valkey:
        with capture_spans() as spans, pytest.raises(redis.exceptions.ConnectionError):
            await valkey.ping()
    assert (spans[0].name, spans[0].status) == ("PING", "ERROR")
    assert counts(telemetry) == {("PING", "error"): 1}


async def test_a_fault_strikes_inside_the_span_of_commands_and_pipelines(valkey_url: str, telemetry: Any):
    class Struck(TracedRedis):
        async def before(self, command: str) -> None:
            raise redis.exceptions.ConnectionError(command)

    async with Struck.from_url(valkey_url) as valkey:
        with capture_spans() as spans:
            with pytest.raises(redis.exceptions.ConnectionError):
                await valkey.get("a")
            with pytest.raises(redis.exceptions.ConnectionError):
                await valkey.pipeline().get("a").execute()
    assert [(span.name, span.status) for span in spans] == [("GET", "ERROR"), (c.REDIS_PIPELINE, "ERROR")]
    assert counts(telemetry) == {("GET", "error"): 1, (c.REDIS_PIPELINE, "error"): 1}


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("get", "GET"),
        (b"GET", "GET"),
        ("script load", "SCRIPT LOAD"),
        ("FT.SEARCH", "FT.SEARCH"),
        ("x" * 99, "_OTHER"),
        ("a\nb", "_OTHER"),
    ],
)
def test_only_what_looks_like_a_command_becomes_a_label(command: Any, name: str):
    assert command_name(command) == name
