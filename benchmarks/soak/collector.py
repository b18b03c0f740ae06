"""A collector (OTLP over HTTP) that can be in every trouble that a collector can be in, and counts what it accepted.

| trouble | what an exporter meets |
|---|---|
| `down` | connection refused |
| `slow` | no answer, until the trouble is over: then the connection is closed |
| `busy` | 429 with `Retry-After: 2` |
| `unavailable` | 503 |
| `rubbish` | 200, in turns as a page of HTML, with bytes that are no protobuf, and with JSON |
| `torn` | an answer that breaks off: in the status line, in the headers, in the content, or no HTTP at all |
| `partial` | 200 with a partial success: an eighth of every batch is refused |
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from itertools import cycle
from typing import Final, cast

import httptools
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from benchmarks.telemetry.wire import spans_in

HEALTHY: Final = "healthy"
TROUBLES: Final = ("down", "slow", "busy", "unavailable", "rubbish", "torn", "partial")
PROTOBUF: Final = "application/x-protobuf"
_RUBBISH: Final = (("text/html", b"<html>nginx</html>"), (PROTOBUF, b"\xff\xff\xff"), ("application/json", b'{"a": 1}'))
# With each, whether the batch is accepted: http.client takes headers that break off for all there are, so that a whole status
# line decides.
_TORN: Final = (
    (b"HTTP/1.1 20", False),
    (b"HTTP/1.1 200 OK\r\ncontent-le", True),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\ncontent-type: application/x-protobuf\r\n\r\nhalf", False),
    (b"220 mail.example.org ESMTP\r\n\r\n", False),
)


class Collector:
    """What a collector has: `accepted` spans, `refused` ones, `repeated` batches, and how often it was `met` in trouble."""

    def __init__(self) -> None:
        self.mode = HEALTHY
        self.accepted = self.refused = self.repeated = self.met = 0
        self.connections: set[_Connection] = set()
        self.rubbish, self.torn = cycle(_RUBBISH), cycle(_TORN)
        self._taken: set[bytes] = set()
        self._server: asyncio.AbstractServer | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where traces are posted to."""
        return f"http://127.0.0.1:{self._port}/v1/traces"

    async def switch(self, mode: str) -> None:
        """Get into a trouble, or out of it."""
        self.mode = mode
        if mode == "down":
            await self.close()
        elif self._server is None:
            await self.listen()
        for connection in list(self.connections):
            connection.give_up()

    async def listen(self) -> None:
        """Listen, where it did before."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and close every connection."""
        if self._server is not None:
            self._server.close()
            for connection in list(self.connections):
                connection.transport.close()
            await self._server.wait_closed()
            self._server = None

    def count(self, body: bytes) -> int:
        """Count a batch that is accepted, however often it comes; returns how many spans it has."""
        spans = sum(1 for _ in spans_in(body))
        digest = hashlib.blake2b(body, digest_size=16).digest()
        if digest in self._taken:
            self.repeated += 1
        else:
            self._taken.add(digest)
            self.accepted += spans
        return spans


class _Connection(asyncio.Protocol):
    """An exporter's connection."""

    transport: asyncio.Transport

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._waits = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are no subclasses of it.
        self.transport = cast("asyncio.Transport", transport)
        self._collector.connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._collector.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        body = b"".join(self._body)
        self._body.clear()
        collector = self._collector
        collector.met += collector.mode != HEALTHY
        getattr(self, f"_{collector.mode}")(body)

    def _healthy(self, body: bytes) -> None:
        self._collector.count(body)
        self._answer(200, PROTOBUF, b"")

    def _down(self, _: bytes) -> None:
        self.transport.close()

    def _slow(self, _: bytes) -> None:
        self._waits = True

    def give_up(self) -> None:
        """Close the connection of whoever waits."""
        if self._waits:
            self.transport.close()

    def _busy(self, _: bytes) -> None:
        self._answer(429, "text/plain", b"later", "retry-after: 2\r\n")

    def _unavailable(self, _: bytes) -> None:
        self._answer(503, "text/plain", b"not now")

    def _rubbish(self, body: bytes) -> None:
        self._collector.count(body)
        self._answer(200, *next(self._collector.rubbish))

    def _torn(self, body: bytes) -> None:
        answer, accepted = next(self._collector.torn)
        if accepted:
            self._collector.count(body)
        self.transport.write(answer)
        self.transport.close()

    def _partial(self, body: bytes) -> None:
        refused = self._collector.count(body) // 8
        self._collector.accepted -= refused
        self._collector.refused += refused
        answer = ExportTraceServiceResponse()
        answer.partial_success.rejected_spans = refused
        self._answer(200, PROTOBUF, answer.SerializeToString())

    def _answer(self, status: int, content_type: str, body: bytes, more: str = "") -> None:
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n{more}\r\n"
        self.transport.write(head.encode() + body)


@contextlib.asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """Run a healthy collector on a free port of the loopback interface."""
    collector = Collector()
    await collector.listen()
    try:
        yield collector
    finally:
        await collector.close()
