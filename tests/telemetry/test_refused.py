"""What uvicorn refuses before any layer is asked is counted, whichever of its parsers refuses."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from prometheus_client import generate_latest

from telemetry import Telemetry, TelemetryMiddleware
from telemetry.refused import count_refusals, ignore_refusals
from telemetry.testing import fresh_telemetry
from tests.telemetry.conftest import QuietServer, until

GET = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


@pytest.fixture(autouse=True)
def counting() -> Iterator[None]:
    count_refusals()
    count_refusals()
    yield
    ignore_refusals()


async def application(_scope: Any, _receive: Any, send: Any) -> None:
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
    assert [line for line in logs.lines if line["logger"] == "access"] == []
