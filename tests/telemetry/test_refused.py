"""What uvicorn itself refuses is counted, whichever of its parsers refuses."""

import asyncio
import functools
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from prometheus_client import CollectorRegistry, Counter, generate_latest
from uvicorn.protocols.http.h11_impl import H11Protocol
from wrapt import wrap_function_wrapper

from telemetry import Telemetry, TelemetryMiddleware, current
from telemetry.refused import count_refusals, ignore_refusals
from telemetry.testing import LogLines, fresh_telemetry
from tests.telemetry.conftest import QuietServer, until

GET = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


@pytest.fixture(autouse=True)
def counting() -> Iterator[None]:
    count_refusals()
    count_refusals()
    yield
    ignore_refusals()


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["method"] == "POST":
        while (await receive()).get("more_body"):
            pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


@asynccontextmanager
async def served(telemetry: Telemetry, parser: Any, **options: Any) -> AsyncIterator[int]:
    """Serve an application by one of uvicorn's parsers; yields the port."""
    layer = TelemetryMiddleware(application, telemetry)
    config = uvicorn.Config(layer, http=parser, lifespan="off", log_config=None, access_log=False, **options)
    server = QuietServer(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        task = asyncio.create_task(server.serve(sockets=[listening]))
        await until(lambda: server.started)
        yield listening.getsockname()[1]
        server.should_exit = True
        await task


async def ask(port: int, said: bytes) -> bytes:
    """Return the answer's status line."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    answer = await reader.readline()
    writer.close()
    return answer


def counted(telemetry: Telemetry) -> list[str]:
    lines = generate_latest(telemetry.metrics.registry).decode().splitlines()
    return [line for line in lines if line.startswith("http_requests_refused_total{")]


def said_by(logs: LogLines, logger: str) -> list[dict[str, Any]]:
    return [line for line in logs.lines if line["logger"] == logger]


@pytest.mark.parametrize("parser", ["h11", "httptools"])
async def test_what_is_no_http_is_counted_as_malformed(parser: str):
    telemetry, _ = fresh_telemetry()
    async with served(telemetry, parser) as port:
        assert await ask(port, b"\x16\x03\x01\r\n\r\n") == b"HTTP/1.1 400 Bad Request\r\n"
        assert counted(telemetry) == ['http_requests_refused_total{reason="malformed"} 1.0']
        assert await ask(port, GET) == b"HTTP/1.1 200 OK\r\n"
        assert counted(telemetry) == ['http_requests_refused_total{reason="malformed"} 1.0']


@pytest.mark.parametrize("parser", ["h11", "httptools"])
async def test_what_comes_while_there_is_too_much_already_is_counted_as_crowded(parser: str):
    telemetry, logs = fresh_telemetry()
    async with served(telemetry, parser, limit_concurrency=1) as port:
        assert await ask(port, GET) == b"HTTP/1.1 503 Service Unavailable\r\n"
        assert counted(telemetry) == ['http_requests_refused_total{reason="crowded"} 1.0']
    assert said_by(logs, "access") == []


@pytest.mark.parametrize("parser", ["h11", "httptools"])
async def test_what_is_malformed_behind_its_head_is_counted_and_told_as_the_request_that_it_was(parser: str):
    telemetry, logs = fresh_telemetry()
    async with served(telemetry, parser) as port:
        said = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nno length\r\n"
        assert await ask(port, said) == b"HTTP/1.1 400 Bad Request\r\n"
        assert counted(telemetry) == ['http_requests_refused_total{reason="malformed"} 1.0']
        await until(lambda: said_by(logs, "access"))
    assert [line["method"] for line in said_by(logs, "access")] == ["POST"]


async def test_what_cannot_be_counted_is_refused_and_said_once():
    telemetry, logs = fresh_telemetry()
    registry = CollectorRegistry()
    Counter("http_requests_refused_total", "Somebody else's.", registry=registry)
    async with served(telemetry, "h11") as port:
        current.use(telemetry.recorder, registry)
        for _ in range(2):
            assert await ask(port, b"\x16\x03\x01\r\n\r\n") == b"HTTP/1.1 400 Bad Request\r\n"
    assert [line["message"][:25] for line in said_by(logs, "telemetry.refused")] == ["refusals are not counted:"]


async def test_a_wrapper_of_somebody_else_s_is_wrapped_and_stays():
    ignore_refusals()
    real = vars(H11Protocol)["send_400_response"]
    seen: list[str] = []

    @functools.wraps(real)
    def theirs(protocol: Any, message: str) -> None:
        seen.append(message)
        real(protocol, message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(H11Protocol, "send_400_response", theirs)
        count_refusals()
        telemetry, _ = fresh_telemetry()
        async with served(telemetry, "h11") as port:
            await ask(port, b"\x16\x03\x01\r\n\r\n")
        assert (len(seen), counted(telemetry)) == (1, ['http_requests_refused_total{reason="malformed"} 1.0'])
        ignore_refusals()
        assert vars(H11Protocol)["send_400_response"] is theirs


@pytest.mark.parametrize("wrapping", ["functools", "wrapt"])
async def test_what_is_wrapped_by_somebody_else_is_not_counted_twice_nor_taken_away(wrapping: str):
    ours = vars(H11Protocol)["send_400_response"]

    @functools.wraps(ours)
    def theirs(*arguments: Any) -> Any:
        return ours(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(H11Protocol, "send_400_response", theirs)
        if wrapping == "wrapt":
            H11Protocol.send_400_response = ours
            wrap_function_wrapper(H11Protocol, "send_400_response", lambda wrapped, _, given, __: wrapped(*given))
        wrapped = vars(H11Protocol)["send_400_response"]
        count_refusals()
        ignore_refusals()
        assert vars(H11Protocol)["send_400_response"] is wrapped
        telemetry, _ = fresh_telemetry()
        async with served(telemetry, "h11") as port:
            await ask(port, b"\x16\x03\x01\r\n\r\n")
        assert counted(telemetry) == ['http_requests_refused_total{reason="malformed"} 1.0']
