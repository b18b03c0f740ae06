"""Calls between a real gRPC client and server: both sides tell the same truth, once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from opentelemetry import baggage, trace
from opentelemetry.context import attach, detach

from telemetry import conventions as c
from telemetry.grpc import client_interceptors, server_interceptors
from telemetry.spans import SpanRecord
from telemetry.testing import capture_spans, fresh_telemetry

SERVICE = "shop.v1.Shirts"
METHOD = f"{SERVICE}/Get"
Code = grpc.StatusCode


class World:
    """A channel to a server whose method `Get` does what `behaviour` says, and what both told."""

    def __init__(self, channel: grpc.aio.Channel, spans: list[SpanRecord], telemetry: Any, logs: Any) -> None:
        self.channel = channel
        self.spans = spans
        self.telemetry = telemetry
        self.logs = logs

    async def get(self, request: bytes = b"", **options: Any) -> bytes:
        return await self.channel.unary_unary(f"/{METHOD}")(request, **options)  # type: ignore[no-any-return]

    def counts(self, side: str) -> dict[str, float]:
        """How often each status was observed on a side."""
        family = getattr(self.telemetry.metrics, f"rpc_{side}_duration").metric
        return {
            s.labels["rpc_status_code"]: s.value
            for s in family.collect()[0].samples
            if s.name.endswith("_count")
            and s.labels["rpc_service"] == SERVICE
            and s.labels["rpc_method"] == "Get"
            and s.value
        }

    def exemplars(self, side: str) -> set[str]:
        """The trace ids that buckets of a side lead to."""
        samples = getattr(self.telemetry.metrics, f"rpc_{side}_duration").metric.collect()[0].samples
        return {sample.exemplar.labels["trace_id"] for sample in samples if sample.exemplar}

    def sides(self) -> tuple[SpanRecord, SpanRecord]:
        (client,) = [span for span in self.spans if span.kind == "CLIENT"]
        (server,) = [span for span in self.spans if span.kind == "SERVER"]
        return client, server


@asynccontextmanager
async def serve(
    behaviour: Any, handler: Callable[..., Any] = grpc.unary_unary_rpc_method_handler
) -> AsyncIterator[World]:
    telemetry, logs = fresh_telemetry()
    server = grpc.aio.server(interceptors=server_interceptors())
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Get": handler(behaviour)}),))
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with capture_spans() as spans:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", interceptors=client_interceptors()) as channel:
            yield World(channel, spans, telemetry, logs)
        await server.stop(None)


@pytest.fixture
def both_told(eventually: Any) -> Any:
    async def wait(world: World) -> tuple[SpanRecord, SpanRecord]:
        await eventually(lambda: len(world.spans) >= 2)
        return world.sides()

    return wait


async def echo(request: bytes, _context: Any) -> bytes:
    return request


async def test_a_call_is_one_trace_with_a_span_on_either_side(both_told: Any):
    seen: list[Any] = []

    async def behaviour(request: bytes, _context: Any) -> bytes:
        seen.append((trace.get_current_span().get_span_context().span_id, baggage.get_baggage("colour")))
        return request

    async with serve(behaviour) as world:
        token = attach(baggage.set_baggage("colour", "blue"))
        with world.telemetry.tracer.start_as_current_span("request"):
            assert await world.get(b"hello") == b"hello"
        detach(token)
        client, server = await both_told(world)
    (request,) = [span for span in world.spans if span.name == "request"]
    assert (client.name, server.name) == (METHOD, METHOD)
    assert (client.parent_id, server.parent_id) == (request.span_id, client.span_id)
    assert seen == [(int(server.span_id, 16), "blue")]
    for span in (client, server):
        assert span.attributes[c.RPC_METHOD] == METHOD
        assert (span.attributes[c.RPC_SYSTEM_NAME], span.attributes[c.RPC_RESPONSE_STATUS_CODE]) == ("grpc", "OK")
        assert span.status == "UNSET"
    assert world.counts("server") == world.counts("client") == {"OK": 1}


async def test_a_slow_bucket_leads_to_the_call_on_either_side(both_told: Any):
    async with serve(echo) as world:
        await world.get()
        client, server = await both_told(world)
    assert world.exemplars("client") == world.exemplars("server") == {client.trace_id} == {server.trace_id}


async def test_a_call_that_is_not_sampled_is_no_exemplar(eventually: Any):
    async with serve(echo) as world:
        context = trace.SpanContext(
            int("ab" * 16, 16), int("cd" * 8, 16), is_remote=True, trace_flags=trace.TraceFlags(0)
        )
        token = attach(trace.set_span_in_context(trace.NonRecordingSpan(context)))
        await world.get()
        detach(token)
        await eventually(lambda: world.counts("server") == {"OK": 1})
    assert world.exemplars("client") == world.exemplars("server") == set()


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
async def test_an_aborted_call_is_told_with_its_true_status(code: grpc.StatusCode, both_told: Any):
    async def behaviour(_request: bytes, context: Any) -> bytes:
        await context.abort(code, "because")
        raise AssertionError("abort raises")

    async with serve(behaviour) as world:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await world.get()
        client, server = await both_told(world)
    assert (caught.value.code(), caught.value.details()) == (code, "because")
    assert world.counts("server") == world.counts("client") == {code.name: 1}
    assert (client.status, client.attributes[c.ERROR_TYPE]) == ("ERROR", code.name)
    is_fault = code.name in {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
    assert (server.status, server.attributes.get(c.ERROR_TYPE)) == (
        ("ERROR", code.name) if is_fault else ("UNSET", None)
    )


async def test_a_status_that_is_set_and_returned_with_is_seen(both_told: Any):
    async def behaviour(_request: bytes, context: Any) -> bytes:
        context.set_code(Code.NOT_FOUND)
        return b""

    async with serve(behaviour) as world:
        with pytest.raises(grpc.aio.AioRpcError):
            await world.get()
        await both_told(world)
    assert world.counts("server") == world.counts("client") == {"NOT_FOUND": 1}


async def test_an_uncaught_exception_is_internal_on_the_wire_and_its_words_stay_in_the_log(both_told: Any):
    async def behaviour(_request: bytes, _context: Any) -> bytes:
        raise LookupError("the secret of the shop")

    async with serve(behaviour) as world:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await world.get()
        client, server = await both_told(world)
    assert (caught.value.code(), caught.value.details()) == (Code.INTERNAL, "an internal error")
    assert (server.status, server.attributes[c.ERROR_TYPE]) == ("ERROR", "LookupError")
    assert server.attributes[c.RPC_RESPONSE_STATUS_CODE] == "INTERNAL"
    assert world.counts("server") == world.counts("client") == {"INTERNAL": 1}
    (line,) = [line for line in world.logs.lines if c.LOG_EXCEPTION in line]
    assert (line[c.LOG_TRACE_ID], line[c.LOG_SPAN_ID], line[c.LOG_ERROR_TYPE]) == (
        client.trace_id,
        server.span_id,
        "LookupError",
    )


async def test_a_call_that_its_caller_cancels_is_cancelled_on_both_sides(both_told: Any):
    running = asyncio.Event()

    async def behaviour(_request: bytes, _context: Any) -> bytes:
        running.set()
        await asyncio.Event().wait()
        return b""

    async with serve(behaviour) as world:
        call = asyncio.create_task(world.get(timeout=30.0))
        await running.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        client, server = await both_told(world)
    assert world.counts("server") == world.counts("client") == {"CANCELLED": 1}
    assert (client.status, server.status) == ("ERROR", "UNSET")


async def test_a_call_past_its_deadline_is_so_on_both_sides(both_told: Any):
    async def behaviour(_request: bytes, _context: Any) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with serve(behaviour) as world:
        with pytest.raises(grpc.aio.AioRpcError):
            await world.get(timeout=0.1)
        client, server = await both_told(world)
    assert world.counts("server") == world.counts("client") == {"DEADLINE_EXCEEDED": 1}
    assert (client.status, server.status) == ("ERROR", "ERROR")


async def test_a_server_that_is_away_is_unavailable_on_the_client():
    telemetry, _ = fresh_telemetry()
    channel = grpc.aio.insecure_channel("127.0.0.1:1", interceptors=client_interceptors())
    with capture_spans() as spans:
        async with channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await World(channel, spans, telemetry, None).get()
    assert spans[0].attributes[c.RPC_RESPONSE_STATUS_CODE] == "UNAVAILABLE"


async def test_an_unknown_method_is_unimplemented_on_the_client():
    async with serve(echo) as world:
        with pytest.raises(grpc.aio.AioRpcError):
            await world.channel.unary_unary("/shop.v1.Shirts/Nothing")(b"")
    assert [span.attributes[c.RPC_RESPONSE_STATUS_CODE] for span in world.spans] == ["UNIMPLEMENTED"]


async def test_health_checks_leave_nothing():
    async with serve(echo) as world:
        stub = health_pb2_grpc.HealthStub(world.channel)
        await stub.Check(health_pb2.HealthCheckRequest())
        async for _ in stub.Watch(health_pb2.HealthCheckRequest()):
            break
    assert world.spans == []


async def test_metadata_of_the_caller_arrives_beside_the_context(both_told: Any):
    seen: list[Any] = []

    async def behaviour(_request: bytes, context: Any) -> bytes:
        seen.extend(context.invocation_metadata())
        return b""

    async with serve(behaviour) as world:
        await world.get(metadata=(("who", "ann"), ("traceparent", "nonsense")))
        client, _ = await both_told(world)
    metadata = [(key, value) for key, value in seen if key in {"who", "traceparent"}]
    assert sorted(metadata) == [("traceparent", f"00-{client.trace_id}-{client.span_id}-03"), ("who", "ann")]


async def count_up(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
    for number in range(3):
        yield str(number).encode()


async def write_up(_request: bytes, context: Any) -> None:
    for number in range(3):
        await context.write(str(number).encode())


@pytest.mark.parametrize("behaviour", [count_up, write_up])
async def test_a_stream_of_answers_passes_through_with_a_span(behaviour: Any, both_told: Any):
    async with serve(behaviour, grpc.unary_stream_rpc_method_handler) as world:
        assert [part async for part in world.channel.unary_stream(f"/{METHOD}")(b"")] == [b"0", b"1", b"2"]
        await both_told(world)
    assert world.counts("server") == world.counts("client") == {"OK": 1}


async def test_a_stream_that_fails_in_the_middle_is_internal(both_told: Any):
    async def behaviour(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
        yield b"0"
        raise LookupError("gone")

    async with serve(behaviour, grpc.unary_stream_rpc_method_handler) as world:
        with pytest.raises(grpc.aio.AioRpcError):
            _ = [part async for part in world.channel.unary_stream(f"/{METHOD}")(b"")]
        _, server = await both_told(world)
    assert world.counts("server") == world.counts("client") == {"INTERNAL": 1}
    assert server.attributes[c.ERROR_TYPE] == "LookupError"


async def test_a_stream_of_requests_passes_through_with_a_span(both_told: Any):
    async def behaviour(requests: Any, _context: Any) -> bytes:
        return b"".join([part async for part in requests])

    async with serve(behaviour, grpc.stream_unary_rpc_method_handler) as world:
        assert await world.channel.stream_unary(f"/{METHOD}")(iter([b"a", b"b"])) == b"ab"
        await both_told(world)
    assert world.counts("server") == world.counts("client") == {"OK": 1}


async def test_a_conversation_passes_through_with_a_span(both_told: Any):
    async def behaviour(requests: Any, _context: Any) -> AsyncIterator[bytes]:
        async for part in requests:
            yield part + part

    async with serve(behaviour, grpc.stream_stream_rpc_method_handler) as world:
        call = world.channel.stream_stream(f"/{METHOD}")(iter([b"a", b"b"]))
        assert [part async for part in call] == [b"aa", b"bb"]
        await both_told(world)
    assert world.counts("server") == world.counts("client") == {"OK": 1}


async def test_a_synchronous_handler_passes_through():
    def behaviour(request: bytes, _context: Any) -> bytes:
        return request

    async with serve(behaviour) as world:
        assert await world.get(b"hello") == b"hello"
    assert [span.kind for span in world.spans] == ["CLIENT"]
