"""The server under test, one uvicorn worker: what it says, tells in its metrics, and holds, seen from outside."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.soak.app import BOOKS
from telemetry import conventions as c

ROOT: Final = Path(__file__).parents[2]
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
POLL: Final = 0.02
MEGABYTE: Final = 2**20
_ACCESS: Final = f'"{c.LOG_LOGGER}":"{c.ACCESS_LOGGER}"'.encode()
_BOOK: Final = re.compile(r'^(telemetry_\w+?)(?:\{reason="(\w+)"\})? (\S+)$', re.MULTILINE)


class ServerFailed(Exception):
    """The server did not start, does not answer or does not end."""


@dataclass(frozen=True)
class Books:
    """What was counted of spans, and of lost log lines, in one scrape."""

    ended: int
    exported: int
    dropped: dict[str, int]
    queued: int
    lines_lost: int

    @property
    def lost(self) -> int:
        """How many were dropped for any reason."""
        return sum(self.dropped.values())

    @property
    def balanced(self) -> bool:
        """Whether every span that ended is somewhere."""
        return self.ended == self.exported + self.lost + self.queued


def books_in(exposition: bytes) -> Books:
    """Read the books in an exposition (text format)."""
    found = {(name, reason): round(float(value)) for name, reason, value in _BOOK.findall(exposition.decode())}
    return Books(
        ended=found[c.SPANS_ENDED, ""],
        exported=found[c.SPANS_EXPORTED, ""],
        dropped={reason: value for (name, reason), value in found.items() if name == c.SPANS_DROPPED},
        queued=found[c.SPANS_QUEUED, ""],
        lines_lost=found[c.LOG_LINES_LOST, ""],
    )


class Lines:
    """The lines of a pipe while they come: access lines are counted, the last other ones kept."""

    def __init__(self) -> None:
        self.access = 0
        self.others: deque[bytes] = deque(maxlen=500)

    async def read(self, pipe: asyncio.StreamReader) -> None:
        """Read until the other side closes."""
        rest = b""
        while chunk := await pipe.read(MEGABYTE):
            whole, newline, rest = (rest + chunk).rpartition(b"\n")
            self._take(whole + newline)

    def _take(self, lines: bytes) -> None:
        access = lines.count(_ACCESS)
        self.access += access
        if access != lines.count(b"\n"):
            self.others += [line for line in lines.splitlines() if _ACCESS not in line]


class Server:
    """A running server on a port; `books_file` is where its last metrics are found after its end."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, books_file: Path) -> None:
        assert process.stdout is not None  # noqa: S101 - asked for
        assert process.stderr is not None  # noqa: S101 - asked for
        self.port = port
        self.lines, self.errors = Lines(), Lines()
        self._process = process
        self._books_file = books_file
        self._readers = asyncio.gather(self.lines.read(process.stdout), self.errors.read(process.stderr))

    async def get(self, path: str) -> bytes:
        """Ask for a path over a connection of its own; raises `ServerFailed` unless the answer is 200, `OSError`."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nhost: soak\r\nconnection: close\r\n\r\n".encode())
            answer = await asyncio.wait_for(reader.read(), START_SECONDS)
        finally:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise ServerFailed(f"{path} is answered {answer[:200]!r}")
        return body

    async def books(self) -> Books:
        """Scrape the books."""
        return books_in(await self.get("/metrics"))

    async def label_sets(self) -> int:
        """Scrape, and count the label sets of requests."""
        return (await self.get("/metrics")).count(f"\n{c.HTTP_REQUEST_DURATION}_count{{".encode())

    async def facts(self) -> dict[str, int]:
        """Ask the process what it holds."""
        return dict(json.loads(await self.get("/facts")))

    def resident(self) -> float:
        """Return the memory that it holds, in MB."""
        pages = int(self._proc("statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE

    def descriptors(self) -> int:
        """Return how many files and sockets it has open."""
        return len(list(self._proc("fd").iterdir()))

    def cpu_seconds(self) -> float:
        """Return its CPU time so far, all threads: the clock that clock_getcpuclockid(3) gives for a process."""
        return time.clock_gettime((~self._process.pid << 3) | 2)

    def _proc(self, name: str) -> Path:
        return Path(f"/proc/{self._process.pid}") / name

    async def wait(self) -> None:
        """Wait until it answers; raises `ServerFailed` with what it said."""
        ends = time.monotonic() + START_SECONDS
        while time.monotonic() < ends and self._process.returncode is None:
            with contextlib.suppress(OSError):
                await self.get("/facts")
                return
            await asyncio.sleep(POLL)
        raise ServerFailed(f"the server does not start: {b' '.join(self.errors.others)[-2000:].decode()}")

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.send_signal(signal.SIGTERM)

    async def ended(self) -> Books:
        """Wait for its end after `terminate`, and return its last books; raises `ServerFailed` when it does not end."""
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            raise ServerFailed(f"the server does not end within {STOP_SECONDS:.0f} s") from None
        await self._readers
        return books_in(self._books_file.read_bytes())

    async def stop(self) -> Books:
        """End it, and return its last books."""
        self.terminate()
        return await self.ended()

    async def kill(self) -> None:
        """Make sure that it is gone."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        await self._readers

    def said(self, text: str) -> list[str]:
        """Return the messages, other than access lines, that have a text in them."""
        messages = [str(json.loads(line)[c.LOG_MESSAGE]) for line in self.lines.others]
        return [message for message in messages if text in message]

    def complaints(self) -> Counter[str]:
        """Return what is on its standard error."""
        return Counter(line.decode("utf-8", "replace") for line in self.errors.others)


@contextlib.asynccontextmanager
async def serving(
    traces: str, folder: Path, *, cpu: int | None = None, http: str = "httptools", **bsp: int
) -> AsyncIterator[Server]:
    """Run a server that exports to `traces`, on one CPU or any; `bsp` are `OTEL_BSP_*` in lower case."""
    port = _free_port()
    books = folder / f"books-{port}"
    process = await asyncio.create_subprocess_exec(
        *_command(port, cpu, http),
        cwd=ROOT,
        env=_environment(traces, books, bsp),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=4 * MEGABYTE,
    )
    server = Server(process, port, books)
    try:
        await server.wait()
        yield server
    finally:
        await server.kill()


def _command(port: int, cpu: int | None, http: str) -> list[str]:
    pinned = [] if cpu is None else ["taskset", "--cpu-list", str(cpu)]
    app = ["--factory", "benchmarks.soak.app:create", "--interface", "asgi3"]
    listen = ["--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop", "--http", http]
    quiet = ["--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "5"]
    return [*pinned, sys.executable, "-m", "uvicorn", *app, *listen, *quiet]


def _environment(traces: str, books: Path, bsp: dict[str, Any]) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": traces,
        BOOKS: str(books),
        **{f"OTEL_BSP_{name.upper()}": str(value) for name, value in bsp.items()},
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
