"""The Litestar way in: matched, unmatched, failed and streamed requests are told of as they were."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from litestar import Litestar, Request, Response, asgi, get, post
from litestar.background_tasks import BackgroundTask
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.response import Stream
from litestar.testing import TestClient

from telemetry import conventions as c
from telemetry.http import route_of
from telemetry.litestar import TelemetryPlugin
from telemetry.testing import fresh_telemetry

pytestmark = pytest.mark.usefixtures("build")


class Broken(Exception):
    """A defect."""


@get("/items/{item_id:int}", sync_to_thread=False)
def item(item_id: FromPath[int]) -> dict[str, int]:
    return {"id": item_id}


@get("/broken", sync_to_thread=False)
def broken() -> None:
    raise Broken("deep inside")


@get("/missing", sync_to_thread=False)
def missing() -> None:
    raise NotFoundException("no such item")


@get("/handled", sync_to_thread=False)
def handled() -> None:
    raise LookupError("somebody answers this")


@get("/stream", sync_to_thread=False)
def stream() -> Stream:
    async def parts() -> AsyncIterator[bytes]:
        yield b"first"
        raise Broken("in the middle")

    return Stream(parts())


@get("/background", sync_to_thread=False)
def background() -> Response[str]:
    def fail() -> None:
        raise Broken("afterwards")

    return Response("done", background=BackgroundTask(fail))


@post("/items", sync_to_thread=False)
def create() -> None:
    pass


@asgi("/mounted", is_mount=True, copy_scope=False)
async def mounted(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 - Litestar wants the names
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"mounted"})


def answer(_request: Request[Any, Any, Any], _error: LookupError) -> Response[str]:
    return Response("unavailable", status_code=503)


def application(telemetry: Any) -> Litestar:
    return Litestar(
        [item, broken, missing, handled, stream, background, create, mounted],
        plugins=[TelemetryPlugin(telemetry)],
        exception_handlers={LookupError: answer},
        openapi_config=None,
        logging_config=None,
    )


application.wants_telemetry = True  # type: ignore[attr-defined]


@pytest.fixture(params=[True, False], ids=["inside the layer", "alone"])
def shop(request: pytest.FixtureRequest, served: Any) -> Any:
    """Serve the application, with the layer around it or with the plugin's own."""
    return lambda: served(application, wrap=request.param, lifespan=True)


@pytest.mark.parametrize(
    ("request_line", "endpoint", "status", "error"),
    [
        ("GET /items/7", "/items/{item_id}", 200, ""),
        ("GET /items/seven", "", 404, ""),
        ("GET /nothing", "", 404, ""),
        ("DELETE /items/7", "", 405, ""),
        ("GET /missing", "/missing", 404, ""),
        ("GET /handled", "/handled", 503, "LookupError"),
        ("GET /mounted/deep/inside", "/mounted", 200, ""),
    ],
)
async def test_a_request_is_told_by_its_template(shop: Any, request_line: str, endpoint: str, status: int, error: str):
    method, path = request_line.split()
    async with shop() as world:
        got = await world.client.request(method, path)
        span, line = await world.told()
    assert (got.status_code, got.headers["x-trace-id"]) == (status, span.trace_id)
    assert (line[c.LOG_ENDPOINT], line[c.LOG_PATH], line[c.LOG_STATUS_CODE]) == (endpoint, path, status)
    assert span.name == (f"{method} {endpoint}" if endpoint else method)
    assert span.attributes.get(c.HTTP_ROUTE, "") == endpoint
    assert span.attributes.get(c.ERROR_TYPE, "") == error
    assert world.observations == {(method, endpoint, str(status)): 1}


async def test_a_defect_is_named_by_its_own_type(shop: Any):
    async with shop() as world:
        got = await world.get("/broken")
        span, line = await world.told()
    assert got.status_code == line[c.LOG_STATUS_CODE] == 500
    assert span.attributes[c.ERROR_TYPE].endswith(".Broken")
    assert [event.attributes["exception.message"] for event in span.events] == ["deep inside"]


async def test_a_stream_that_fails_in_the_middle_is_named_by_what_failed(shop: Any):
    async with shop() as world:
        with pytest.raises(httpx.RemoteProtocolError):
            await world.get("/stream")
        span, line = await world.told()
    assert span.attributes[c.ERROR_TYPE].endswith(".Broken")
    assert (line[c.LOG_STATUS_CODE], line[c.LOG_ENDPOINT]) == (200, "/stream")


async def test_a_failed_background_task_is_logged_with_the_trace(shop: Any, eventually: Any):
    async with shop() as world:
        assert (await world.get("/background")).status_code == 200
        span, line = await world.told()
        assert c.ERROR_TYPE not in span.attributes
        await eventually(lambda: any(c.LOG_EXCEPTION in entry for entry in world.logs.lines))
        logged = next(entry for entry in world.logs.lines if c.LOG_EXCEPTION in entry)
    assert (logged[c.LOG_TRACE_ID], line[c.LOG_LEVEL]) == (span.trace_id, "info")


class _Thing:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


@pytest.mark.parametrize(
    ("scope", "route"),
    [
        ({}, ""),
        ({"path_template": "/a/{b}"}, "/a/{b}"),
        ({"path_template": ""}, ""),
        ({"route": _Thing(path="/a/{b}")}, "/a/{b}"),
        ({"route": _Thing(path="/b"), "fastapi": {"effective_route_context": _Thing(path="/a/b")}}, "/a/b"),
        ({"route": _Thing(path=7)}, ""),
        ({"route": _Thing()}, ""),
    ],
)
def test_the_route_is_found_where_each_framework_leaves_it(scope: dict[str, Any], route: str):
    assert route_of(scope) == route


def test_a_shutdown_may_be_a_hook_of_litestar_which_hands_itself_over(collector: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    telemetry, _ = fresh_telemetry()
    with TestClient(Litestar([item], on_shutdown=[telemetry.shutdown], plugins=[TelemetryPlugin(telemetry)])) as client:
        client.get("/items/7")
    assert [span.name for span in collector.spans] == ["GET /items/{item_id}"]
