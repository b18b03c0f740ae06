"""A WebSocket's handshake is told of as the request that it is; what happens on the connection belongs to its trace."""

import asyncio
import logging
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from litestar import Litestar, WebSocket, websocket
from litestar.params import FromPath
from opentelemetry import trace
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket as StarletteSocket

from telemetry import TelemetryMiddleware
from telemetry import conventions as c
from telemetry.http import upgraded
from telemetry.litestar import TelemetryPlugin
from telemetry.testing import capture_spans, fresh_telemetry

PATHS = pytest.mark.parametrize("obstacle", ["", "a test's"], ids=["fast", "sdk"])
logger = logging.getLogger("tests.websocket")


@websocket("/rooms/{room:str}")
async def in_litestar(socket: WebSocket[Any, Any, Any], room: FromPath[str]) -> None:
    await socket.accept()
    logger.info("somebody entered %s", room)
    with trace.get_tracer("tests").start_as_current_span("greet"):
        await socket.send_text(await socket.receive_text())
    await socket.close()


async def in_starlette(socket: StarletteSocket) -> None:
    await socket.accept()
    logger.info("somebody entered %s", socket.path_params["room"])
    with trace.get_tracer("tests").start_as_current_span("greet"):
        await socket.send_text(await socket.receive_text())
    await socket.close()


def litestar() -> Any:
    return Litestar([in_litestar], openapi_config=None, logging_config=None)


def starlette() -> Any:
    return Starlette(routes=[WebSocketRoute("/rooms/{room}", in_starlette)])


@PATHS
@pytest.mark.parametrize("make", [litestar, starlette])
async def test_a_conversation_is_one_request_and_everything_in_it_has_its_trace(make: Any, obstacle: str):
    telemetry, logs = fresh_telemetry()
    telemetry.recorder.obstacle = obstacle
    with capture_spans() as spans:
        said = await converse(TelemetryMiddleware(make(), telemetry), "/rooms/7", "hello")
    telemetry.shutdown()
    assert [message["type"].rpartition(".")[2] for message in said] == ["accept", "send", "close"]
    assert said[1]["text"] == "hello"
    handshake, greeting = spans
    route = handshake.attributes[c.HTTP_ROUTE]
    assert (handshake.name, handshake.kind, handshake.status) == (f"GET {route}", "SERVER", "UNSET")
    assert route.startswith("/rooms/{room")
    assert handshake.attributes[c.HTTP_RESPONSE_STATUS_CODE] == 101
    assert greeting.parent_id == handshake.span_id
    assert dict(said[0]["headers"])[c.TRACE_ID_HEADER.encode()].decode() == handshake.trace_id
    lines = [line for line in logs.lines if line[c.LOG_LOGGER] in ("access", logger.name)]
    assert [line[c.LOG_MESSAGE] for line in lines] == ["GET /rooms/7 101", "somebody entered 7"]
    assert {line[c.LOG_TRACE_ID] for line in lines} == {handshake.trace_id}


@PATHS
async def test_litestar_s_plugin_tells_of_handshakes_too(obstacle: str):
    telemetry, logs = fresh_telemetry()
    telemetry.recorder.obstacle = obstacle
    app = Litestar([in_litestar], plugins=[TelemetryPlugin(telemetry)], openapi_config=None, logging_config=None)
    async with app.lifespan():
        await converse(app, "/rooms/7", "hello")
        refused = await converse(app, "/nowhere", "hello")
    telemetry.shutdown()
    lines = [line for line in logs.lines if line[c.LOG_LOGGER] == c.ACCESS_LOGGER]
    assert [(line[c.LOG_ENDPOINT], line[c.LOG_STATUS_CODE]) for line in lines] == [("/rooms/{room}", 101), ("", 403)]
    assert [message["type"] for message in refused] == ["websocket.close"]


async def converse(app: Any, path: str, text: str) -> list[dict[str, Any]]:
    """Open a WebSocket, say something, and return what the application answered."""
    says = iter([{"type": "websocket.connect"}, {"type": "websocket.receive", "text": text, "bytes": None}])
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(says)

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    scope = {"type": "websocket", "path": path, "raw_path": path.encode(), "headers": [], "query_string": b""}
    scope |= {"scheme": "ws", "http_version": "1.1", "root_path": "", "client": ("192.0.2.7", 1), "subprotocols": []}
    await app(scope | {"server": ("127.0.0.1", 80), "state": {}, "extensions": {}}, receive, send)
    return said


async def play(script: list[Any], obstacle: str = "", **more: Any) -> tuple[Any, Any, list[dict[str, Any]]]:
    """Play a handshake; returns its span, its line, and what the server got."""
    telemetry, logs = fresh_telemetry()
    telemetry.recorder.obstacle = obstacle
    sent: list[dict[str, Any]] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        for step in script:
            if isinstance(step, type):
                raise step
            await (send(step) if step else receive())

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/", "headers": [], "query_string": b"", "scheme": "ws", **more}
    with capture_spans() as spans, suppress(LookupError, asyncio.CancelledError):
        await TelemetryMiddleware(app, telemetry)(scope, receive, send)
    telemetry.shutdown()
    (line,) = [line for line in logs.lines if line[c.LOG_LOGGER] == c.ACCESS_LOGGER]
    (span,) = spans
    samples = telemetry.metrics.http_duration.metric.collect()[0].samples
    assert sum(s.value for s in samples if s.name.endswith("_count")) == 1
    assert {level.value for level in telemetry.metrics.http_in_progress.values()} == {0}
    return span, line, sent


@PATHS
async def test_a_handshake_that_fails_is_answered_with_its_trace_where_the_server_can(obstacle: str):
    span, line, sent = await play([LookupError], obstacle, extensions={"websocket.http.response": {}})
    assert [message["type"] for message in sent] == ["websocket.http.response.start", "websocket.http.response.body"]
    assert (sent[0]["status"], dict(sent[0]["headers"])[b"x-trace-id"].decode()) == (500, span.trace_id)
    assert (line[c.LOG_STATUS_CODE], line[c.LOG_ERROR_TYPE]) == (500, "LookupError")


@pytest.mark.parametrize(("version", "expected"), [("1.1", ("GET", 101)), ("2", ("CONNECT", 200)), ("3", ("CONNECT", 200))])  # fmt: skip
async def test_a_handshake_is_told_by_the_version_of_http_that_it_came_in(version: str, expected: tuple[str, int]):
    span, line, _ = await play([{"type": "websocket.accept"}], http_version=version)
    assert upgraded({"http_version": version}) == expected
    assert (line[c.LOG_METHOD], line[c.LOG_STATUS_CODE]) == expected
    assert span.attributes[c.URL_SCHEME] == "ws"


kinds = ["accept", "send", "close", "http.response.start", "http.response.body", "something.new"]
messages = st.fixed_dictionaries(
    {"type": st.sampled_from([f"websocket.{kind}" for kind in kinds])},
    optional={
        "status": st.sampled_from([200, 403, 503, None]),
        "headers": st.sampled_from([None, [], [(b"a", b"b")]]),
        "more_body": st.booleans(),
    },
)


@PATHS
@settings(max_examples=150, deadline=None)
@given(
    script=st.lists(st.one_of(messages, st.none(), st.just(LookupError), st.just(asyncio.CancelledError)), max_size=6)
)
def test_no_order_of_messages_breaks_a_handshake(obstacle: str, script: list[Any]):
    span, line, _ = asyncio.run(play(script, obstacle))
    assert span.attributes.get(c.HTTP_RESPONSE_STATUS_CODE) == line[c.LOG_STATUS_CODE]
    assert span.attributes.get(c.ERROR_TYPE) == line.get(c.LOG_ERROR_TYPE)


@PATHS
@pytest.mark.parametrize("headers", [7, [()], [(b"access-control-expose-headers",)], [None]])
async def test_headers_of_an_acceptance_that_are_none_are_the_server_s_to_refuse(obstacle: str, headers: Any):
    _, line, sent = await play([{"type": "websocket.accept", "headers": headers}], obstacle)
    assert [message["headers"] for message in sent] == [headers]
    assert line[c.LOG_STATUS_CODE] == 101
