"""The load: a bounded number of connections, each of which sends its next request after the answer to the one before."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, cast

import httptools
import msgspec

from benchmarks.soak.app import ITEM, PIECE, PIECES

USUAL: Final = {"Host": "api.example.test:8000", "User-Agent": "soak/1.0"}
PATIENCE: Final = 30.0


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as bytes, the answer that is due (`size` -1: any), and how many spans it makes."""

    request: bytes
    status: int = 200
    size: int = -1
    spans: int = 1


def ask(path: str, status: int = 200, *, method: str = "GET", size: int = -1, spans: int = 1, **headers: str) -> Ask:
    """Make a request; headers are named with `_` for `-`."""
    fields = USUAL | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return Ask(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode(), status, size, spans)


def mixed() -> Iterator[Ask]:
    """Yield requests of all kinds, for ever: of ten, six plain, two with a background task, one streamed, one failing."""
    size = len(msgspec.json.encode(ITEM))
    plain = ask(f"/plain/{ITEM['id']}", size=size)
    background = ask("/background", size=size, spans=2)
    streamed = ask("/streamed", size=PIECES * len(PIECE))
    failing = ask("/failing", 500)
    return itertools.cycle([plain, background, plain, streamed, plain, plain, background, plain, failing, plain])


@dataclass
class Told:
    """What came of the requests; `unanswered` ones found their connection closed."""

    answered: int = 0
    failed: int = 0
    unanswered: int = 0
    spans: int = 0
    seconds: float = 0.0
    wrong: Counter[str] = field(default_factory=Counter)


class Load:
    """Requests over `connections`, at most `rate` a second (0: as fast as answers come), until `stop` or there are no more."""

    def __init__(self, port: int, asks: Iterable[Ask], *, connections: int = 16, rate: float = 0.0) -> None:
        self.told = Told()
        self.asks = iter(asks)
        self.pause = connections / rate if rate else 0.0
        self.stopped = False
        self._port = port
        self._connections = connections
        self._began = 0.0
        self._open: list[_Connection] = []

    async def begin(self) -> None:
        """Connect and send."""
        loop = asyncio.get_running_loop()
        for _ in range(self._connections):
            _, connection = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._port)
            self._open.append(connection)
        self._began = loop.time()
        for number, connection in enumerate(self._open):
            loop.call_later(self.pause * number / self._connections, connection.send)

    async def end(self) -> Told:
        """Send no more, and wait for every answer that is due."""
        self.stopped = True
        return await self.done()

    async def done(self, patience: float = PATIENCE) -> Told:
        """Wait until every connection is closed: the requests have run out, or the server has ended them."""
        closed = asyncio.gather(*(connection.closed for connection in self._open))
        await asyncio.wait_for(closed, patience)
        self.told.seconds = asyncio.get_running_loop().time() - self._began
        return self.told


class _Connection(asyncio.Protocol):
    """A connection with at most one request under way."""

    def __init__(self, load: Load) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._load = load
        self._parser = httptools.HttpResponseParser(self)
        self._ask: Ask | None = None
        self._size = 0
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are no subclasses of it.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _: Exception | None) -> None:
        self._load.told.unanswered += self._ask is not None
        self._ask = None
        if not self.closed.done():
            self.closed.set_result(None)

    def send(self) -> None:
        """Send the next request, or close."""
        load = self._load
        if self._transport.is_closing():
            return
        self._ask = None if load.stopped else next(load.asks, None)
        if self._ask is None:
            self._transport.close()
            return
        self._due = asyncio.get_running_loop().time() + load.pause
        self._size = 0
        self._transport.write(self._ask.request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._size += len(body)

    def on_message_complete(self) -> None:
        asked, told = self._ask, self._load.told
        assert asked is not None  # noqa: S101 - nobody answers what was not asked
        status = self._parser.get_status_code()
        told.answered += 1
        told.spans += asked.spans
        if status != asked.status or asked.size not in {-1, self._size}:
            told.failed += 1
            told.wrong[f"{status} with {self._size} bytes to {asked.request[:60]!r}"] += 1
        self._ask = None
        loop = asyncio.get_running_loop()
        if (wait := self._due - loop.time()) > 0 and not self._load.stopped:
            loop.call_later(wait, self.send)
        else:
            loop.call_soon(self.send)
