"""A thousand requests at once, through streams, tasks, threads and another process's door: none carries another one's ids."""

import asyncio
import contextvars
import logging
import threading
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from fastapi import FastAPI
from opentelemetry import baggage, trace

from telemetry import conventions as c
from telemetry.grpc import client_interceptors, server_interceptors

pytestmark = pytest.mark.usefixtures("build")

REQUESTS = 1_000
MARKER = "test.marker"
# What one request leaves behind: from its handler, a task, gather, a TaskGroup, two kinds of threads, the other side of
# the call, the stream and the work after the answer.
PLACES = ("handler", "task", "gather", "group", "to_thread", "executor", "remote", "stream", "afterwards")
logger = logging.getLogger("tests.isolation")


def leave(place: str, marker: str) -> None:
    """Log a line and make a span of each kind here; all must say whose request this is."""
    logger.info("%s %s", place, marker)
    with trace.get_tracer("tests").start_as_current_span(place, attributes={MARKER: marker}):
        pass


async def leave_later(place: str, marker: str) -> None:
    await asyncio.sleep(0)
    leave(place, marker)
    await asyncio.sleep(0)


async def remote(request: bytes, _context: Any) -> bytes:
    await leave_later("remote", request.decode())
    return request


@asynccontextmanager
async def neighbour() -> AsyncIterator[grpc.aio.Channel]:
    """Run a gRPC server, and yield a channel to it."""
    server = grpc.aio.server(interceptors=server_interceptors())
    method = {"Mark": grpc.unary_unary_rpc_method_handler(remote)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tests.Marker", method),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", interceptors=client_interceptors()) as channel:
        yield channel
    await server.stop(None)


class Crowd:
    """An application whose handlers wait for one another, so that all requests are open at once."""

    def __init__(self, channel: grpc.aio.Channel, pool: ThreadPoolExecutor) -> None:
        self.mark: Any = channel.unary_unary("/tests.Marker/Mark")
        self.pool = pool
        self.everybody = asyncio.Barrier(REQUESTS)
        self.threads: set[int] = set()

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        marker = scope["path"].removeprefix("/")
        trace.get_current_span().set_attribute(MARKER, marker)
        leave("handler", marker)
        await self.everybody.wait()
        await self.work(marker)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in range(3):
            await send({"type": "http.response.body", "body": b"part", "more_body": part < 2})
            await asyncio.sleep(0)
            if part == 1:
                leave("stream", marker)
        await leave_later("afterwards", marker)

    async def work(self, marker: str) -> None:
        task = asyncio.create_task(leave_later("task", marker))
        await asyncio.gather(leave_later("gather", marker), self.mark(marker.encode()))
        async with asyncio.TaskGroup() as group:
            group.create_task(leave_later("group", marker))
            group.create_task(asyncio.to_thread(self.in_thread, "to_thread", marker))
        context = contextvars.copy_context()
        await asyncio.get_running_loop().run_in_executor(self.pool, context.run, self.in_thread, "executor", marker)
        await task

    def in_thread(self, place: str, marker: str) -> None:
        self.threads.add(threading.get_ident())
        leave(place, marker)


async def ask(port: int, marker: str) -> tuple[str, str]:
    """Return the marker of a request, and the trace id that its answer named."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /{marker} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    assert answer.startswith("HTTP/1.1 200")
    assert answer.count("part") == 3
    return marker, answer.partition("x-trace-id: ")[2][:32]


@pytest.mark.parametrize("obstacle", ["", "a test's"], ids=["fast", "sdk"])
async def test_no_line_and_no_span_carries_the_ids_of_another_request(served: Any, eventually: Any, obstacle: str):
    crowd: Crowd

    async def app(*arguments: Any) -> None:
        await crowd(*arguments)

    with ThreadPoolExecutor(8) as pool:
        async with served(app, obstacle=obstacle) as world, neighbour() as channel:
            crowd = Crowd(channel, pool)
            named = dict(await asyncio.gather(*(ask(world.port, f"m{number}") for number in range(REQUESTS))))
            # The request's own span, a client's, a server's, and one for each place.
            await eventually(lambda: len(world.spans) >= REQUESTS * (3 + len(PLACES)))
            await eventually(lambda: world.logs.getvalue().count("\n") >= REQUESTS * (1 + len(PLACES)))
            assert len(crowd.threads) > 1
    assert len(set(named.values())) == REQUESTS
    lines_agree(world.logs.lines, named)
    spans_agree(world.spans, named)


PATHS = pytest.mark.parametrize("obstacle", ["", "a test's"], ids=["fast", "sdk"])


@PATHS
async def test_requests_in_one_pipeline_are_traces_of_their_own(served: Any, eventually: Any, obstacle: str):
    """A server may start the next one in the midst of the one before, with its context."""

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        marker = scope["path"].removeprefix("/")
        leave("before", f"{marker}{baggage.get_all()}")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
        leave("after", marker)

    pipeline = "".join(
        f"GET /{number} HTTP/1.1\r\nhost: test\r\n{'baggage: first=yes' if not number else 'x: y'}\r\n\r\n"
        for number in range(50)
    )
    async with served(app, obstacle=obstacle) as world:
        _, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(pipeline.encode())
        await eventually(lambda: len(world.spans) >= 150)
        await eventually(lambda: len(world.logs.lines) >= 150)
        writer.close()
        lines, spans = world.logs.lines, world.spans
    requests = [span for span in spans if span.kind == "SERVER"]
    assert {span.parent_id for span in requests} == {""}
    assert len({span.trace_id for span in requests}) == 50
    own = {line[c.LOG_PATH]: line[c.LOG_TRACE_ID] for line in lines if line[c.LOG_LOGGER] == c.ACCESS_LOGGER}
    said = [(line[c.LOG_MESSAGE].split(), line) for line in lines if line[c.LOG_LOGGER] == logger.name]
    assert [line for (_, marker, *_), line in said if line[c.LOG_TRACE_ID] != own["/" + marker.partition("{")[0]]] == []
    assert [line[c.LOG_MESSAGE] for _, line in said if "first" in line[c.LOG_MESSAGE]] == ["before 0{'first': 'yes'}"]


def in_threads(_telemetry: Any) -> Any:
    """Make an application of synchronous handlers, which run in threads."""
    api = FastAPI()

    @api.get("/{marker}")
    def mark(marker: str) -> str:
        leave("thread", marker)
        return marker

    return api


@PATHS
async def test_handlers_in_threads_keep_their_request_s_ids(served: Any, obstacle: str):
    in_threads.wants_telemetry = True  # type: ignore[attr-defined]
    async with served(in_threads, obstacle=obstacle) as world:
        answers = await asyncio.gather(*(world.get(f"/m{number}") for number in range(200)))
        await world.told(200)
        lines, spans = world.logs.lines, world.spans
    named = {answer.json(): answer.headers["x-trace-id"] for answer in answers}
    found = {
        line[c.LOG_MESSAGE].split()[1]: line[c.LOG_TRACE_ID] for line in lines if line[c.LOG_LOGGER] == logger.name
    }
    assert found == named
    assert len(named) == 200
    assert {span.attributes[MARKER]: span.trace_id for span in spans if MARKER in span.attributes} == named


def lines_agree(lines: list[dict[str, Any]], named: dict[str, str]) -> None:
    """Each place of each request left one line, and each line has the trace id that the request's answer named."""
    access = [line for line in lines if line[c.LOG_LOGGER] == c.ACCESS_LOGGER]
    assert {line[c.LOG_PATH].removeprefix("/"): line[c.LOG_TRACE_ID] for line in access} == named
    assert len(access) == REQUESTS
    left = [(line[c.LOG_MESSAGE].split(), line) for line in lines if line[c.LOG_LOGGER] == logger.name]
    assert [line for (_, marker), line in left if line[c.LOG_TRACE_ID] != named[marker]] == []
    assert Counter(place for (place, _), _ in left) == dict.fromkeys(PLACES, REQUESTS)
    assert len({(place, marker) for (place, marker), _ in left}) == REQUESTS * len(PLACES)


def spans_agree(spans: list[Any], named: dict[str, str]) -> None:
    """Each trace has one tree of spans, all with its own marker."""
    traces = defaultdict(list)
    for span in spans:
        traces[span.trace_id].append(span)
    assert set(traces) == set(named.values())
    for marker, trace_id in named.items():
        members = traces[trace_id]
        call = ["tests.Marker/Mark"] * 2
        assert sorted(span.name for span in members) == sorted(["GET", *call, *PLACES])
        assert {span.attributes[MARKER] for span in members if MARKER in span.attributes} == {marker}
        root = next(span for span in members if not span.parent_id)
        client = next(span for span in members if span.kind == "CLIENT")
        serving = next(span for span in members if span.name == call[0] and span.kind == "SERVER")
        parents = {span.name: span.parent_id for span in members if span.name in PLACES}
        expected = dict.fromkeys(PLACES, root.span_id) | {"remote": serving.span_id}
        assert (parents, client.parent_id, serving.parent_id) == (expected, root.span_id, client.span_id)
