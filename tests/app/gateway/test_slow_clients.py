"""Clients that keep the server waiting, and what is no HTTP: cut off in time, with an answer that can be found in the log."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from app.config import Http
from app.http_protocol import TURNED_AWAY
from telemetry import conventions as c
from telemetry import current
from telemetry.testing import capture_logs, capture_spans

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOON = 0.5
GET = b"GET /api/products HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST /api/login HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"


class Client:
    """A connection that says byte by byte what a test wants said."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of the next answer."""
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5.0)).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
        return int(head[0].split()[1]), headers, await self.reader.readexactly(int(headers["content-length"]))

    async def problem(self, status: int) -> dict[str, Any]:
        """Check that the next answer is a problem that can be found again and that ends the connection; return it."""
        said, headers, body = await self.answer()
        problem: dict[str, Any] = json.loads(body)
        assert (said, problem["status"], headers["connection"]) == (status, status, "close")
        assert headers["content-type"] == "application/problem+json"
        assert re.fullmatch("[0-9a-f]{32}", problem["trace_id"])
        assert headers["x-trace-id"] == problem["trace_id"]
        assert headers["traceresponse"].startswith(f"00-{problem['trace_id']}-")
        return problem

    async def closed(self) -> float:
        """Wait until the server has closed, within five seconds; return how long that took."""
        started = asyncio.get_running_loop().time()
        assert await self.ends_with() == b""
        return asyncio.get_running_loop().time() - started

    async def ends_with(self) -> bytes:
        """Return everything that still comes."""
        try:
            return await asyncio.wait_for(self.reader.read(), 5.0)
        except ConnectionError:
            return b""

    async def trickle(self, data: bytes) -> None:
        """Say one byte at a time until the server has had enough."""
        ended = asyncio.create_task(self.reader.read(1))
        for n in range(len(data)):
            self.say(data[n : n + 1])
            done, _ = await asyncio.wait([ended], timeout=SOON / 10)
            if done:
                # What was read belongs to the answer.
                self.reader._buffer[:0] = ended.result()  # type: ignore[attr-defined]
                return
        pytest.fail("the server listened to the end")


@asynccontextmanager
async def connection(edge: Any) -> AsyncIterator[Client]:
    host, _, port = edge.settings.services["gateway"].http.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


@pytest.fixture(scope="module")
def http() -> Http:
    return Http(head_timeout=SOON, body_timeout=SOON, answer_timeout=SOON, idle_timeout=SOON, max_connections=4)


def refused(reason: str) -> float:
    return float(current.metrics().http_refused[reason,]._value.get())


async def ask(edge: Any) -> bytes:
    """Return everything that is said on a connection with one request, nothing where there was no connection."""
    async with connection(edge) as client:
        client.say(GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        return await client.ends_with()


async def test_who_connects_and_says_nothing_is_cut_off(edge: Any) -> None:
    async with connection(edge) as client:
        assert SOON / 2 < await client.closed() < SOON * 8


async def test_a_head_that_trickles_is_cut_off_however_often_a_byte_comes(edge: Any) -> None:
    before = refused(c.REFUSED_HEAD_TOO_SLOW)
    async with connection(edge) as client:
        await client.trickle(GET[:-2] + b"a: " + b"b" * 1_000)
        assert (await client.problem(408))["code"] == "request_timeout"
        await client.closed()
    assert refused(c.REFUSED_HEAD_TOO_SLOW) == before + 1


async def test_the_head_of_a_later_request_has_the_same_time(edge: Any) -> None:
    async with connection(edge) as client:
        for _ in range(3):
            client.say(GET)
            assert (await client.answer())[0] == 200
        # Empty lines before a request are allowed, but they are no request.
        await client.trickle(b"\r\n" * 1_000)
        await client.problem(408)


async def test_a_body_that_trickles_ends_with_an_answer_that_blames_the_client(edge: Any) -> None:
    async with connection(edge) as client:
        with capture_spans() as spans:
            client.say(POST)
            await client.trickle(b"{" * 90)
            problem = await client.problem(408)
            await client.closed()
    assert problem["code"] == "request_timeout"
    # A request like any other: with a span, and no error of the server.
    (span,) = [s for s in spans if s.trace_id == problem["trace_id"] and s.kind == "SERVER"]
    assert (span.name, span.status, span.attributes[c.HTTP_RESPONSE_STATUS_CODE]) == ("POST /api/login", "UNSET", 408)


async def test_a_chunked_body_that_never_ends_is_no_exception(edge: Any) -> None:
    async with connection(edge) as client:
        client.say(b"POST /api/login HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        await client.trickle(b"1\r\n \r\n" * 100)
        await client.problem(408)


async def test_a_body_that_nobody_waits_for_cannot_hold_the_connection(edge: Any) -> None:
    async with connection(edge) as client:
        client.say(POST.replace(b"/api/login", b"/nowhere__"))
        assert (await client.answer())[0] == 404
        started = asyncio.get_running_loop().time()
        await client.trickle(b" " * 100)
        await client.closed()
        assert asyncio.get_running_loop().time() - started < SOON * 8


async def ask_until_refused(deaf: socket.socket, request: bytes) -> int:
    """Send a request again and again, within ten seconds, until the connection is gone; return how many bytes went out."""
    sent = 0
    async with asyncio.timeout(10.0):
        while True:
            try:
                sent += deaf.send(request * 100)
            except BlockingIOError:
                await asyncio.sleep(SOON / 10)
            except ConnectionError:
                return sent


async def test_who_asks_and_never_reads_is_cut_off(edge: Any) -> None:
    request = GET.replace(b"/api/products", b"/openapi.json")
    host, _, port = edge.settings.services["gateway"].http.rpartition(":")
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect((host, int(port)))
        deaf.setblocking(False)
        # It was not for asking.
        assert await ask_until_refused(deaf, request) > 100 * len(request)


async def test_an_idle_connection_is_closed_without_a_word(edge: Any) -> None:
    async with connection(edge) as client:
        client.say(GET)
        assert (await client.answer())[0] == 200
        assert SOON / 2 < await client.closed() < SOON * 8


async def test_who_is_quick_may_ask_as_often_as_it_takes(edge: Any) -> None:
    async with connection(edge) as client:
        started = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - started < 3 * SOON:
            client.say(GET[:10])
            await asyncio.sleep(SOON / 10)  # a client that is slow, but not too slow, is what is tested
            client.say(GET[10:])
            assert (await client.answer())[0] == 200


async def test_requests_that_come_in_one_go_are_all_answered(edge: Any) -> None:
    async with connection(edge) as client:
        client.say(GET * 3 + GET[:10])
        assert [(await client.answer())[0] for _ in range(3)] == [200] * 3
        client.say(GET[10:])
        assert (await client.answer())[0] == 200


async def test_one_connection_too_many_is_told_so_and_the_others_are_served(edge: Any) -> None:
    async with AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(connection(edge)) for _ in range(4)]
        for client in crowd:
            client.say(GET[:10])
        before = refused(c.REFUSED_CROWDED)
        with capture_logs() as lines:
            async with connection(edge) as late:
                late.say(GET)
                problem = await late.problem(503)
                await late.closed()
        assert (problem["code"], problem["detail"]) == ("unavailable", "too many connections")
        assert refused(c.REFUSED_CROWDED) == before + 1
        assert [line[c.LOG_STATUS_CODE] for line in lines if line.get(c.LOG_TRACE_ID) == problem["trace_id"]] == [503]
        for client in crowd:
            client.say(GET[10:])
            assert (await client.answer())[0] == 200
        # Now that they are idle, whoever has been so longest makes room.
        async with connection(edge) as late:
            late.say(GET)
            assert (await late.answer())[0] == 200
        await crowd[0].closed()


async def test_a_flood_of_connections_is_not_even_talked_to(edge: Any) -> None:
    async with AsyncExitStack() as stack:
        flood = []
        for _ in range(4 + TURNED_AWAY + 20):
            client = await stack.enter_async_context(connection(edge))
            client.say(GET[:10])
            flood.append(client)
        said = await asyncio.gather(*(client.ends_with() for client in flood))
    assert sum(answer.startswith(b"HTTP/1.1 503 ") for answer in said) <= TURNED_AWAY
    assert said.count(b"") >= 20
    async with asyncio.timeout(5.0):
        # The server may still have to notice that they are gone.
        while not (await ask(edge)).startswith(b"HTTP/1.1 200 "):
            await asyncio.sleep(SOON / 10)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"BREW / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\na: \x00\r\n\r\n", 400),
        (b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\na: " + b"b" * 70_000, 431),
        (b"GET /" + b"b" * 70_000, 431),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else str(value),
)
async def test_what_the_parser_refuses_is_counted_and_has_a_trace_id_and_one_line_in_the_log(
    edge: Any, said: bytes, status: int
) -> None:
    reason = {400: c.REFUSED_MALFORMED, 431: c.REFUSED_HEAD_TOO_LARGE}[status]
    before = refused(reason)
    with capture_logs() as lines:
        async with connection(edge) as client:
            client.say(said)
            problem = await client.problem(status)
            await client.closed()
    (line,) = [line for line in lines if line.get(c.LOG_TRACE_ID) == problem["trace_id"]]
    assert (line[c.LOG_STATUS_CODE], line[c.LOG_CLIENT], line[c.LOG_LEVEL]) == (status, "127.0.0.1", "warning")
    assert refused(reason) == before + 1


async def test_what_is_no_http_in_a_body_ends_its_request(edge: Any) -> None:
    async with connection(edge) as client:
        client.say(b"POST /api/login HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        client.say(b"no length\r\n")
        await client.problem(400)
        await client.closed()


async def test_what_is_no_http_is_not_taken_for_an_answer_to_the_request_before(edge: Any) -> None:
    async with connection(edge) as client:
        client.say(GET + b"\x00 nonsense\r\n\r\n")
        status, _, body = await client.answer()
        assert (status, json.loads(body)["items"]) == (200, [])
        await client.closed()


async def test_no_answer_comes_before_the_one_to_the_request_before(edge: Any) -> None:
    async with connection(edge) as client:
        client.say(GET + b"POST /api/login HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nno length\r\n")
        status, _, body = await client.answer()
        assert (status, json.loads(body)["items"]) == (200, [])
        await client.closed()


async def test_what_follows_a_wish_for_another_protocol_is_no_request(edge: Any) -> None:
    hidden = b"GET /hidden HTTP/1.1\r\nhost: x\r\n\r\n"
    wish = b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: %d\r\n\r\n" % len(hidden)
    async with connection(edge) as client:
        with capture_spans() as spans:
            client.say(GET[:-2] + wish)
            client.say(hidden)
            status, headers, _ = await client.answer()
            assert (status, headers["connection"]) == (200, "close")
            await client.closed()
    assert [s.attributes[c.URL_PATH] for s in spans if c.URL_PATH in s.attributes] == ["/api/products"]


async def test_the_internal_port_has_the_same_bounds(edge: Any) -> None:
    host, _, port = edge.settings.services["gateway"].internal.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    client = Client(reader, writer)
    await client.trickle(b"GET /metrics HTTP/1.1\r\na: " + b"b" * 1_000)
    await client.problem(408)
    writer.transport.abort()
