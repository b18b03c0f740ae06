"""The table of endings in `telemetry.asgi` is what happens: each row is played, with fast spans and the SDK's."""

import asyncio
import gc
import re
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import uvicorn
from litestar import Litestar
from uvicorn.lifespan.on import LifespanOn

from telemetry import Telemetry, TelemetryMiddleware, asgi
from telemetry import conventions as c
from telemetry.litestar import TelemetryPlugin
from telemetry.request import RequestRecord
from telemetry.testing import capture_spans, fresh_telemetry

pytestmark = pytest.mark.usefixtures("build")

ROW = re.compile(r"^\| (?P<what>.+?) \| (?P<status>.*?) \| (?P<error>.*?)\|$", re.MULTILINE)
LAST = {"type": "http.response.body", "body": b"done"}
PART = {**LAST, "more_body": True}
# Not sent: waited for.
GONE = {"type": "disconnect"}
ACCEPT = {"type": "websocket.accept"}
TEXT = {"type": "websocket.send", "text": "hello"}
CLOSE = {"type": "websocket.close"}


def start(status: int = 200, **more: Any) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [], **more}


def denial(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": f"websocket.http.response.{kind}", **more}


@dataclass
class Play:
    """What an application does (sends messages, waits for `receive`, raises) and what of it is `sent`."""

    script: tuple[Any, ...]
    sent: int = 200
    error: str = "LookupError"
    method: str = "GET"
    path: str = "/"
    kind: str = "http"
    refusing: bool = False
    http_version: str = "1.1"
    extensions: dict[str, Any] | None = None


LOST = LookupError
STOP = asyncio.CancelledError
CANCELLED = "asyncio.exceptions.CancelledError"
PLAYS: dict[str, tuple[Play, ...]] = {
    "a complete answer below 500, whole or streamed": (Play((start(), LAST)), Play((start(), PART, PART, LAST))),
    "nobody serves the path, or not with this method": (Play((start(404), LAST), 404), Play((start(405), LAST), 405)),
    "a HEAD request": (Play((start(), LAST), method="HEAD"),),
    "early hints or other 1xx before the answer": (
        Play(({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]}, start(), LAST)),
        Play((start(103), start(), LAST)),
    ),
    "trailers that were announced, after the body": (
        Play((start(trailers=True), LAST, {"type": "http.response.trailers", "headers": []})),
        Play(
            (
                start(trailers=True),
                LAST,
                {"type": "http.response.trailers", "headers": [], "more_trailers": True},
                {"type": "http.response.trailers", "headers": []},
            )
        ),
    ),
    "a file for the server to send (pathsend, zerocopysend)": (
        Play((start(), {"type": "http.response.pathsend", "path": "/f"})),
        Play((start(), *({"type": "http.response.zerocopysend", "file": 3, "more_body": m} for m in (True, False)))),
    ),
    "a complete answer of 500 and above": (Play((start(503), LAST, LOST), 503), Play((start(503), LAST), 503, "503")),
    "an exception before the first byte": (Play((LOST,)),),
    "an exception after the first byte": (Play((start(), LOST)), Play((start(), PART, LOST))),
    "an exception after the end (a background task)": (Play((start(), LAST, LOST)),),
    "the server refuses the answer": (Play((start(), LAST), error="OSError", refusing=True),),
    "the client left before the end": (
        Play((start(), PART, GONE)),
        Play((GONE,)),
        Play((start(), PART, GONE, LOST)),
        Play((GONE, LOST)),
        Play((start(), PART, GONE, LAST)),
        # What a framework says of half a body.
        Play((GONE, start(500), LAST)),
    ),
    "the application returned before the end": (Play((start(),)), Play(()), Play((start(), PART))),
    "cancelled (the server stops)": (Play((start(), PART, STOP), error=CANCELLED), Play((STOP,), error=CANCELLED)),
    "a WebSocket is accepted": (
        Play((ACCEPT, TEXT, CLOSE), kind="websocket"),
        Play((ACCEPT, TEXT, GONE, LOST), kind="websocket"),
        Play((ACCEPT, LOST), kind="websocket"),
        Play((ACCEPT, CLOSE), kind="websocket", http_version="1.0"),
    ),
    "a WebSocket is refused": (
        Play((CLOSE,), kind="websocket"),
        Play((denial("start", status=404), denial("body", more_body=True), denial("body")), 404, kind="websocket"),
        Play((CLOSE, LOST), kind="websocket"),
    ),
    "an exception before a WebSocket is accepted": (
        Play((LOST,), kind="websocket", extensions={"websocket.http.response": {}}),
        Play((LOST,), kind="websocket"),
    ),
    "a WebSocket's client left before it was accepted": (
        Play((GONE,), kind="websocket"),
        Play((GONE, LOST), kind="websocket"),
    ),
    "lifespan, also one that fails": (
        Play(({"type": "lifespan.startup.complete"},), kind="lifespan"),
        Play(({"type": "lifespan.startup.failed"}, LOST), kind="lifespan"),
    ),
    "an excluded path": (Play((start(), LAST), path="/health"),),
}
ROWS = {row["what"]: (row["status"], row["error"].strip()) for row in ROW.finditer(asgi.__doc__ or "")}
del ROWS["what happens"]


def test_the_table_has_a_row_for_each_ending_that_is_played():
    assert list(ROWS) == list(PLAYS)


def cases() -> list[Any]:
    return [pytest.param(what, n, id=f"{what}, {n}") for what, plays in PLAYS.items() for n in range(len(plays))]


@pytest.mark.parametrize("obstacle", ["", "a test's"], ids=["fast", "sdk"])
@pytest.mark.parametrize(("what", "number"), cases())
async def test_an_ending_is_told_once_and_as_its_row_says(what: str, number: int, obstacle: str):
    telemetry, logs = fresh_telemetry()
    telemetry.recorder.obstacle = obstacle
    play = PLAYS[what][number]
    with capture_spans() as spans:
        await perform(play, telemetry)
    telemetry.shutdown()
    lines = [line for line in logs.lines if line[c.LOG_LOGGER] == c.ACCESS_LOGGER]
    samples = telemetry.metrics.http_duration.metric.collect()[0].samples
    observed = [s.labels["status_code"] for s in samples if s.name.endswith("_count") and s.value == 1]
    assert {level.value for level in telemetry.metrics.http_in_progress.values()} <= {0}
    if ROWS[what] == ("nothing is told", ""):
        assert (spans, lines, observed) == ([], [], [])
        return
    status, error = expected(play, number, *ROWS[what])
    (span,), (line,) = spans, lines
    assert span.attributes.get(c.HTTP_RESPONSE_STATUS_CODE) == line[c.LOG_STATUS_CODE] == status
    assert observed == [str(status or "")]
    assert span.attributes.get(c.ERROR_TYPE, "none") == line.get(c.LOG_ERROR_TYPE, "none") == error
    assert span.status == ("UNSET" if error == "none" else "ERROR")
    assert (line[c.LOG_TRACE_ID], line[c.LOG_SPAN_ID]) == (span.trace_id, span.span_id)


@pytest.mark.parametrize("obstacle", ["", "a test's"], ids=["fast", "sdk"])
async def test_no_ending_leaves_a_request_to_the_garbage_collector(obstacle: str):
    telemetry, _ = fresh_telemetry()
    telemetry.recorder.obstacle = obstacle
    gc.collect()
    gc.disable()
    try:
        for play in (play for plays in PLAYS.values() for play in plays):
            await perform(play, telemetry)
        # pytest holds the exceptions that were logged, and their frames.
        left = records()
        gc.collect()
        assert records() == left
    finally:
        gc.enable()
    telemetry.shutdown()


def records() -> int:
    """How many records of requests there are."""
    return sum(issubclass(type(each), RequestRecord) for each in gc.get_objects())


def expected(play: Play, number: int, status: str, error: str) -> tuple[int | None, str]:
    """Return what a row says of one of its plays: where it names several outcomes, they are played in turn."""
    statuses, errors = status.split(", or "), error.split(", else ")
    said, named = statuses[number % len(statuses)], errors[number % len(errors)]
    told = int(said[:3]) if said[:3].isdecimal() else {"as sent": play.sent, "none": None}[said]
    return told, named.strip("`") if named == "none" or named.startswith("`") else play.error


async def perform(play: Play, telemetry: Any) -> None:
    """Play an ending before a server that takes everything, or nothing."""

    async def app(_scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        for step in play.script:
            if isinstance(step, type):
                raise step
            await (receive() if step is GONE else send(step))

    async def receive() -> dict[str, Any]:
        return {"type": f"{play.kind}.disconnect"}

    async def send(_message: Any) -> None:
        if play.refusing:
            raise OSError

    scope = {"type": play.kind, "path": play.path, "headers": [], "query_string": b"", "extensions": play.extensions}
    scope |= {"http_version": play.http_version} | ({"method": play.method} if play.kind == "http" else {})
    with suppress(LookupError, OSError, asyncio.CancelledError):
        await TelemetryMiddleware(app, telemetry)(scope, receive, send)


async def test_an_answer_after_a_100_continue_is_an_ordinary_one(served: Any):
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        await send(start())
        await send({**LAST, "body": body})

    async with served(app) as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(b"POST / HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(b"here")
        assert (await reader.readuntil(b"here")).startswith(b"HTTP/1.1 200")
        writer.close()
        span, line = await world.told()
    assert (line[c.LOG_STATUS_CODE], span.status) == (200, "UNSET")


def by_the_layer(telemetry: Telemetry) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    return TelemetryMiddleware(app, telemetry)


def by_the_plugin(telemetry: Telemetry) -> Any:
    return Litestar(plugins=[TelemetryPlugin(telemetry)], logging_config=None, openapi_config=None)


@pytest.mark.parametrize("make", [by_the_layer, by_the_plugin])
async def test_what_is_queued_is_exported_before_a_server_learns_that_the_application_has_stopped(
    make: Any, collector: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    telemetry, _ = fresh_telemetry()
    config = uvicorn.Config(make(telemetry), lifespan="on", log_config=None)
    config.load()
    lifespan = LifespanOn(config)
    await lifespan.startup()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(config.loaded_app), base_url="http://test") as client:
        answer = await client.get("/")
    waiting = list(collector.spans)
    await lifespan.shutdown()
    exported = [span.trace_id for span in collector.spans]
    telemetry.shutdown()
    assert (waiting, exported) == ([], [answer.headers["x-trace-id"]])


async def test_a_lifespan_that_fails_stops_the_server_and_leaves_nothing():
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    telemetry, logs = fresh_telemetry()
    config = uvicorn.Config(TelemetryMiddleware(app, telemetry), lifespan="on", log_config=None)
    config.load()
    with capture_spans() as spans:
        lifespan = LifespanOn(config)
        await lifespan.startup()
    telemetry.shutdown()
    assert lifespan.should_exit
    assert spans == []
    assert [line[c.LOG_LOGGER] for line in logs.lines if line[c.LOG_LOGGER] == c.ACCESS_LOGGER] == []


class Heavy:
    """Something of a request's that can be watched."""


async def test_a_task_that_goes_on_after_its_request_keeps_nothing_of_it():
    over = asyncio.Event()
    tasks: list[asyncio.Task[Any]] = []
    heavy: list[weakref.ref[Heavy]] = []

    async def go_on(receive: Any, send: Any) -> Any:
        await over.wait()
        await send(LAST)
        await send(start())
        return await receive()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["heavy"] = Heavy()
        heavy.append(weakref.ref(scope["state"]["heavy"]))
        tasks.append(asyncio.create_task(go_on(receive, send)))
        await send(start())
        await send(LAST)

    telemetry, _ = fresh_telemetry()
    sent: list[Any] = []

    async def server_side(message: Any) -> None:
        sent.append(message)

    async def receive_nothing() -> Any:
        raise AssertionError

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "state": {}}
    await TelemetryMiddleware(app, telemetry)(scope, receive_nothing, server_side)
    del scope
    gc.collect()
    assert heavy[0]() is None
    over.set()
    assert await tasks[0] == {"type": "http.disconnect"}
    assert len(sent) == 2
    telemetry.shutdown()
