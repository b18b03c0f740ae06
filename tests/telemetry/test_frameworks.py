"""Litestar, FastAPI and Starlette, through each way in and on either path: what they answer is told of as it was."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from litestar import Litestar, Response, asgi, get
from litestar.background_tasks import BackgroundTask
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.response import Stream
from starlette.applications import Starlette
from starlette.background import BackgroundTask as StarletteTask
from starlette.exceptions import HTTPException as StarletteError
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.responses import StreamingResponse as StarletteStream
from starlette.routing import Mount, Route

from telemetry import TelemetryMiddleware
from telemetry import conventions as c
from telemetry.http import route_of
from telemetry.litestar import TelemetryPlugin, note_errors
from telemetry.request import RequestRecord
from telemetry.testing import fresh_telemetry


class Broken(Exception):
    """A defect."""


def fail() -> None:
    raise Broken("afterwards")


async def whole() -> AsyncIterator[bytes]:
    for part in (b"first", b"second"):
        yield part


async def torn() -> AsyncIterator[bytes]:
    yield b"first"
    raise Broken("in the middle")


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"more"
        await asyncio.sleep(0.001)


async def bare(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"mounted"})


def of_litestar(plugins: list[Any]) -> Litestar:
    @get("/items/{item_id:int}", sync_to_thread=False)
    def item(item_id: FromPath[int]) -> str:
        return str(item_id)

    @get("/broken", sync_to_thread=False)
    def broken() -> None:
        raise Broken("deep inside")

    @get("/stream", sync_to_thread=False)
    def stream() -> Stream:
        return Stream(whole())

    @get("/torn", sync_to_thread=False)
    def tear() -> Stream:
        return Stream(torn())

    @get("/endless", sync_to_thread=False)
    def go_on() -> Stream:
        return Stream(endless())

    @get("/background", sync_to_thread=False)
    def background() -> Response[str]:
        return Response("done", background=BackgroundTask(fail))

    @asgi("/mounted", is_mount=True, copy_scope=False)
    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await bare(scope, receive, send)

    @get("/missing", sync_to_thread=False)
    def missing() -> None:
        raise NotFoundException("no such item")

    @get("/handled", sync_to_thread=False)
    def handled() -> None:
        raise LookupError("somebody answers this")

    handlers = [item, broken, missing, handled, stream, tear, go_on, background, mounted]
    answers: Any = {LookupError: lambda _request, _error: Response("unavailable", status_code=503)}
    return Litestar(handlers, plugins=plugins, exception_handlers=answers, openapi_config=None, logging_config=None)


def litestar_by_plugin(telemetry: Any) -> Any:
    return of_litestar([TelemetryPlugin(telemetry)])


def litestar_by_middleware(_telemetry: Any) -> Any:
    app = of_litestar([])
    note_errors(app)
    return app


def fastapi(_telemetry: Any) -> Any:
    api = FastAPI()

    @api.get("/items/{item_id}")
    async def item(item_id: int) -> str:
        return str(item_id)

    @api.get("/broken")
    async def broken() -> None:
        raise Broken("deep inside")

    @api.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(whole())

    @api.get("/torn")
    async def tear() -> StreamingResponse:
        return StreamingResponse(torn())

    @api.get("/endless")
    async def go_on() -> StreamingResponse:
        return StreamingResponse(endless())

    @api.get("/background")
    async def background(tasks: BackgroundTasks) -> str:
        tasks.add_task(fail)
        return "done"

    @api.get("/missing")
    async def missing() -> None:
        raise HTTPException(404)

    @api.get("/handled")
    async def handled() -> None:
        raise LookupError("somebody answers this")

    @api.exception_handler(LookupError)
    async def answer(_request: Request, _error: Exception) -> PlainTextResponse:
        return PlainTextResponse("unavailable", 503)

    api.mount("/mounted", bare)
    return api


def starlette(_telemetry: Any) -> Any:
    async def item(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.path_params["item_id"])

    async def broken(_request: Request) -> None:
        raise Broken("deep inside")

    async def stream(_request: Request) -> StarletteStream:
        return StarletteStream(whole())

    async def tear(_request: Request) -> StarletteStream:
        return StarletteStream(torn())

    async def go_on(_request: Request) -> StarletteStream:
        return StarletteStream(endless())

    async def background(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("done", background=StarletteTask(fail))

    async def missing(_request: Request) -> None:
        raise StarletteError(404)

    async def handled(_request: Request) -> None:
        raise LookupError("somebody answers this")

    async def answer(_request: Request, _error: Exception) -> PlainTextResponse:
        return PlainTextResponse("unavailable", 503)

    routes: list[Any] = [Route("/items/{item_id}", item), Route("/broken", broken), Route("/stream", stream)]
    routes += [Route("/missing", missing), Route("/handled", handled)]
    routes += [
        Route("/torn", tear),
        Route("/endless", go_on),
        Route("/background", background),
        Mount("/mounted", bare),
    ]
    return Starlette(routes=routes, exception_handlers={LookupError: answer})


@pytest.fixture(params=["", "a test's"], ids=["fast", "sdk"])
def obstacle(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=[litestar_by_plugin, litestar_by_middleware, fastapi, starlette], ids=lambda make: make.__name__)
def shop(request: pytest.FixtureRequest, served: Any, obstacle: str) -> Any:
    """Serve the same application, written for each framework."""
    make: Callable[[Any], Any] = request.param
    make.wants_telemetry = True  # type: ignore[attr-defined]
    return lambda: served(make, wrap=make is not litestar_by_plugin, lifespan=True, obstacle=obstacle)


# Servers close a connection after an exception: the next request must not meet it half closed.
CLOSE = {"connection": "close"}
# Litestar knows no route for a path that exists with other methods only.
CASES = [
    ("GET /items/7", 200, {"/items/{item_id}"}, ""),
    ("GET /nothing", 404, {""}, ""),
    ("DELETE /items/7", 405, {"", "/items/{item_id}"}, ""),
    ("PROPFIND /items/7", 405, {"", "/items/{item_id}"}, ""),
    ("GET /broken", 500, {"/broken"}, "Broken"),
    ("GET /stream", 200, {"/stream"}, ""),
    ("GET /torn", 200, {"/torn"}, "Broken"),
    ("GET /background", 200, {"/background"}, ""),
    ("GET /mounted/deep/inside", 200, {"/mounted"}, ""),
]


async def test_whatever_a_framework_answers_is_told_once_with_its_status_its_route_and_its_error(shop: Any):
    async with shop() as world:
        for number, (request, status, routes, error) in enumerate(CASES, 1):
            method, path = request.split()
            try:
                answer = await world.client.request(method, path, headers=CLOSE)
                assert answer.status_code == status
            except httpx.RemoteProtocolError:
                assert path == "/torn"
            span, line = await world.told(number)
            assert line[c.LOG_STATUS_CODE] == span.attributes[c.HTTP_RESPONSE_STATUS_CODE] == status
            assert line[c.LOG_ENDPOINT] == span.attributes.get(c.HTTP_ROUTE, "")
            assert line[c.LOG_ENDPOINT] in routes
            assert line[c.LOG_TRACE_ID] == span.trace_id
            assert line.get(c.LOG_ERROR_TYPE, "").rpartition(".")[2] == error
            assert span.attributes.get(c.ERROR_TYPE, "").rpartition(".")[2] == error
            assert (span.status == "ERROR") == bool(error)


async def test_a_client_that_leaves_a_stream_has_disconnected(shop: Any):
    async with shop() as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(b"GET /endless HTTP/1.1\r\nhost: test\r\n\r\n")
        await reader.readuntil(b"more")
        writer.close()
        span, line = await world.told()
    assert (line[c.LOG_STATUS_CODE], line[c.LOG_ERROR_TYPE]) == (200, c.DISCONNECTED)
    assert (span.attributes[c.ERROR_TYPE], span.status) == (c.DISCONNECTED, "ERROR")
    assert line[c.LOG_ENDPOINT] == "/endless"


async def test_a_background_task_that_fails_is_logged_in_its_request_s_trace(shop: Any, eventually: Any):
    async with shop() as world:
        await world.get("/background")
        span, line = await world.told()
        await eventually(lambda: any("afterwards" in entry.get(c.LOG_EXCEPTION, "") for entry in world.logs.lines))
        logged = next(entry for entry in world.logs.lines if "afterwards" in entry.get(c.LOG_EXCEPTION, ""))
    assert logged[c.LOG_TRACE_ID] == span.trace_id
    assert c.LOG_ERROR_TYPE not in line


def nested() -> Starlette:
    """Routes below mounts, one of which has a parameter, and an application of FastAPI's own below one."""

    async def ok(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    api = FastAPI()
    api.get("/inner/{x}")(lambda x: x)
    tenants = Mount("/tenants/{tenant}", routes=[Route("/items/{item:int}", ok), Mount("/files", bare)])
    either = Mount("/{tenant}/in/{place}", routes=[Route("/items/{item}", ok)])
    direct = Mount("/direct/{tenant}", routes=[Route("/items/{item}", ok)])
    versions = Mount("/v{version}", routes=[Route("/items/{item}", ok)])
    files = Mount("/trees/{branch:path}/of", routes=[Route("/items/{item}", ok)])
    routes: list[Any] = [Mount("/api", routes=[Route("/items/{item}", ok), tenants]), Mount("/fastapi", api)]
    routes += [direct, versions, files, either]
    return Starlette(routes=routes)


# Each is a part of a segment that stands before it, or a whole one.
VALUES = ("a", "ap", "api", "d", "direct", "t", "tenants", "1", "10", "items")


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/api/items/7", "/api/items/{item}"),
        ("/api/items/api", "/api/items/{item}"),
        ("/api/tenants/acme/items/7", "/api/tenants/{tenant}/items/{item:int}"),
        ("/api/tenants/acme/files/a/b", "/api/tenants/{tenant}/files"),
        ("/api/tenants/acme/none", "/api/tenants/{tenant}"),
        ("/api/none", "/api"),
        ("/fastapi/inner/7", "/fastapi/inner/{x}"),
        ("/fastapi/none", "/fastapi"),
        *((f"/api/tenants/{value}/items/7", "/api/tenants/{tenant}/items/{item:int}") for value in VALUES),
        *((f"/direct/{value}/items/{value}", "/direct/{tenant}/items/{item}") for value in VALUES),
        *(
            (f"/{value}/in/{value}/items/7", "/{tenant}/in/{place}/items/{item}")
            for value in VALUES
            if value not in ("api", "direct")
        ),
        ("/in/in/x/items/7", "/in/{tenant}/{place}/items/{item}"),
        ("/trees/a/of/1/of/items/7", "/trees/{branch}/of/items/{item}"),
        ("/v1/items/1", "/items/{item}"),
    ],
)
async def test_a_route_below_mounts_is_named_with_them_and_without_what_the_caller_chose(path: str, route: str):
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
    scope |= {"root_path": "", "http_version": "1.1", "scheme": "http", "fastapi.telemetry": None}

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(_message: Any) -> None:
        pass

    await nested()(scope, receive, send)
    assert route_of(scope) == route


async def ask(app: Any, path: str) -> int:
    """Ask in this process, without a client of whose garbage there is more than of ours; return the status."""
    statuses: list[int] = []
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "headers": []}
    scope |= {"query_string": b"", "root_path": "", "http_version": "1.1", "scheme": "http", "state": {}}

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    with suppress(Broken):
        await app(scope | {"client": ("192.0.2.7", 1), "server": ("127.0.0.1", 80)}, receive, send)
    return statuses[0]


def records() -> int:
    return sum(issubclass(type(each), RequestRecord) for each in gc.get_objects())


FAILURES = {"/nothing": 404, "/missing": 404, "/handled": 503, "/broken": 500}


@pytest.mark.parametrize("path", FAILURES)
@pytest.mark.parametrize("make", [litestar_by_plugin, litestar_by_middleware, fastapi, starlette])
async def test_an_error_that_a_framework_answers_leaves_no_record_to_the_garbage_collector(
    make: Any, path: str, obstacle: str
):
    telemetry, _ = fresh_telemetry()
    telemetry.recorder.obstacle = obstacle
    app = make(telemetry)
    async with AsyncExitStack() as stack:
        if make is litestar_by_plugin:
            await stack.enter_async_context(app.lifespan())
        else:
            app = TelemetryMiddleware(app, telemetry)
        await ask(app, path)
        gc.disable()
        stack.callback(gc.enable)
        # What was there before is nobody's to count or collect: all of pytest's, a third of a second each time.
        gc.freeze()
        stack.callback(gc.unfreeze)
        before = records()
        for _ in range(5):
            assert await ask(app, path) == FAILURES[path]
        # The last one is held by what pytest has captured of its log record.
        left = records() - before
        collected = gc.collect()
        assert (left <= 1, collected) == (True, 0)
    telemetry.shutdown()
