"""However a request ends, it is told of once: one span, one observation, one access line, with the true outcome."""

import asyncio
import re
from functools import partial
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from telemetry import TelemetryMiddleware
from telemetry import conventions as c
from telemetry.uvicorn import Excluding

pytestmark = pytest.mark.usefixtures("build")

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
HEAD = b"GET /here HTTP/1.1\r\nhost: test\r\n\r\n"


@pytest.fixture(params=["", "a test's"], ids=["fast", "sdk"])
def served(request: pytest.FixtureRequest, served: Any) -> Any:
    """Serve with fast spans, and with the SDK's."""
    return partial(served, obstacle=request.param)


def answer(status: int = 200, body: bytes = b"done") -> Any:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        scope["path_template"] = "/here"
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return app


async def test_a_complete_answer_is_told_with_its_status_and_without_an_error(served: Any):
    async with served(answer()) as world:
        await world.get("/here?token=secret&q=shirt")
        span, line = await world.told()
    assert (span.name, span.status) == ("GET /here", "UNSET")
    assert span.attributes[c.HTTP_RESPONSE_STATUS_CODE] == line[c.LOG_STATUS_CODE] == 200
    assert span.attributes[c.URL_QUERY] == "token=[redacted]&q=shirt"
    assert span.attributes[c.SERVER_PORT] == world.port
    assert (line[c.LOG_ENDPOINT], line[c.LOG_PATH], line[c.LOG_CLIENT]) == ("/here", "/here", "127.0.0.1")
    assert c.ERROR_TYPE not in span.attributes
    assert c.LOG_ERROR_TYPE not in line
    assert world.observations == {("GET", "/here", "200"): 1}


async def test_the_three_tell_the_same_duration_and_the_same_ids(served: Any):
    async with served(answer()) as world:
        await world.get()
        span, line = await world.told()
        total = world.telemetry.metrics.http_duration["GET", "/here", "200"].read().nanoseconds
    assert line[c.LOG_DURATION_MS] == pytest.approx((span.end_ns - span.start_ns) / 1e6, abs=0.001)
    assert total == pytest.approx(span.end_ns - span.start_ns, abs=1_000)
    assert (line[c.LOG_TRACE_ID], line[c.LOG_SPAN_ID]) == (span.trace_id, span.span_id)


@pytest.mark.parametrize(("status", "error"), [(301, ""), (404, ""), (429, ""), (500, "500"), (503, "503")])
async def test_only_an_answer_of_500_and_above_is_an_error(served: Any, status: int, error: str):
    async with served(answer(status)) as world:
        await world.get()
        span, line = await world.told()
    assert span.attributes.get(c.ERROR_TYPE, "") == line.get(c.LOG_ERROR_TYPE, "") == error
    assert span.status == ("ERROR" if error else "UNSET")


async def test_the_failures_of_a_route_are_exported_before_its_first_one(served: Any):
    async with served(answer(), failures=(503,)) as world:
        await world.get()
        await world.told()
        before = [world.counted(status) for status in (200, 500, 503, 504)]
    async with served(answer(503), failures=(503,)) as world:
        await world.get()
        await world.told()
        after = [world.counted(status) for status in (200, 500, 503, 504)]
    assert (before, after) == ([1, 0, 0, None], [None, 0, 1, None])


async def test_a_status_may_be_an_enumeration_s(served: Any):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": HTTPStatus.CREATED, "headers": []})
        await send({"type": "http.response.body"})

    async with served(app) as world:
        await world.get()
        span, line = await world.told()
    assert (span.attributes[c.HTTP_RESPONSE_STATUS_CODE], line[c.LOG_STATUS_CODE]) == (201, 201)


async def test_an_exception_before_the_first_byte_is_answered_with_a_problem_that_has_the_trace_id(served: Any):
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise LookupError("nothing here, password=SECRET")

    async with served(app) as world:
        got = await world.get()
        span, line = await world.told()
    assert (got.status_code, got.headers["content-type"]) == (500, "application/problem+json")
    assert got.json()["trace_id"] == got.headers["x-trace-id"] == span.trace_id
    assert "nothing here" not in got.text
    assert span.attributes[c.ERROR_TYPE] == line[c.LOG_ERROR_TYPE] == "LookupError"
    assert [event.name for event in span.events] == ["exception"]
    assert "nothing here" in line[c.LOG_EXCEPTION]
    assert "SECRET" not in line[c.LOG_EXCEPTION] + str(span)
    assert world.observations == {("GET", "", "500"): 1}


async def test_an_exception_after_the_first_byte_keeps_the_status_that_was_sent(served: Any):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ExceptionGroup("of one", [LookupError("lost")])

    async with served(app) as world:
        with pytest.raises(httpx.RemoteProtocolError):
            await world.get()
        span, line = await world.told()
    assert span.attributes[c.HTTP_RESPONSE_STATUS_CODE] == line[c.LOG_STATUS_CODE] == 200
    assert span.attributes[c.ERROR_TYPE] == line[c.LOG_ERROR_TYPE] == "LookupError"
    assert span.status == "ERROR"


async def test_an_exception_behind_a_complete_500_is_named(served: Any):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(500)(scope, receive, send)
        raise LookupError("as Starlette does it")

    async with served(app) as world:
        await world.get()
        span, line = await world.told()
    assert span.attributes[c.ERROR_TYPE] == line[c.LOG_ERROR_TYPE] == "LookupError"


async def test_the_end_is_the_last_message_and_background_work_is_not_in_the_duration(served: Any):
    over = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer()(scope, receive, send)
        await over.wait()

    async with served(app) as world:
        await world.get()
        span, _ = await world.told()
        told_while_running = not over.is_set()
        over.set()
    assert told_while_running
    assert span.end_ns - span.start_ns < 5e9


async def test_an_exception_in_background_work_is_logged_with_the_trace_and_changes_nothing(served: Any):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer()(scope, receive, send)
        raise LookupError("afterwards")

    async with served(app) as world:
        await world.get()
        span, line = await world.told()
    assert c.LOG_ERROR_TYPE not in line
    (logged,) = [entry for entry in world.logs.lines if entry[c.LOG_LOGGER] == "telemetry.request"]
    assert (logged[c.LOG_TRACE_ID], logged[c.LOG_ERROR_TYPE]) == (span.trace_id, "LookupError")


async def test_an_application_that_returns_in_the_middle_is_an_incomplete_response(served: Any):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START)

    async with served(app) as world:
        with pytest.raises(httpx.RemoteProtocolError):
            await world.get()
        span, line = await world.told()
    assert span.attributes[c.ERROR_TYPE] == c.INCOMPLETE
    assert span.attributes[c.HTTP_RESPONSE_STATUS_CODE] == line[c.LOG_STATUS_CODE] == 200
    assert world.observations == {("GET", "", "200"): 1}


async def test_an_application_that_never_answers_is_answered_for_with_the_trace_id(served: Any):
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        pass

    async with served(app) as world:
        got = await world.get()
        span, line = await world.told()
    assert (got.status_code, got.json()["trace_id"]) == (500, span.trace_id)
    assert span.attributes[c.ERROR_TYPE] == line[c.LOG_ERROR_TYPE] == c.INCOMPLETE


async def test_a_client_that_leaves_before_the_answer_has_disconnected(served: Any):
    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async with served(app) as world:
        _, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(HEAD)
        await writer.drain()
        writer.close()
        span, line = await world.told()
    assert span.attributes[c.ERROR_TYPE] == line[c.LOG_ERROR_TYPE] == c.DISCONNECTED
    assert c.HTTP_RESPONSE_STATUS_CODE not in span.attributes
    assert line[c.LOG_LEVEL] == "warning"
    assert world.observations == {("GET", "", ""): 1}


async def test_a_client_that_leaves_a_stream_has_disconnected_with_the_status_that_was_sent(served: Any):
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        raise LookupError("the stream was cancelled")

    async with served(app) as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(HEAD)
        await reader.readuntil(b"half")
        writer.close()
        span, line = await world.told()
    assert (span.attributes[c.ERROR_TYPE], line[c.LOG_STATUS_CODE]) == (c.DISCONNECTED, 200)
    assert span.status == "ERROR"


async def test_a_cancelled_request_names_the_cancellation(served: Any):
    running = asyncio.Event()

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        running.set()
        await asyncio.Event().wait()

    async with served(app) as world:
        call = asyncio.create_task(world.get())
        await running.wait()
        world.server.should_exit = True
        span, line = await world.told()
        await asyncio.gather(call, return_exceptions=True)
    assert span.attributes[c.ERROR_TYPE] == line[c.LOG_ERROR_TYPE] == "asyncio.exceptions.CancelledError"
    assert line[c.LOG_STATUS_CODE] is None


async def test_a_head_request_is_an_ordinary_one(served: Any):
    async with served(answer()) as world:
        got = await world.client.head("/here")
        span, _ = await world.told()
    assert (got.content, span.name, span.attributes[c.HTTP_RESPONSE_STATUS_CODE]) == (b"", "HEAD /here", 200)


async def test_a_stream_ends_with_its_last_part(served: Any):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START)
        for part in range(3):
            await send({"type": "http.response.body", "body": b"part", "more_body": part < 2})

    async with served(app) as world:
        assert (await world.get()).text == "partpartpart"
        await world.told()


async def test_trailers_are_the_end_where_they_were_announced(served: Any):
    sent: list[str] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({**START, "trailers": True})
        await send({"type": "http.response.body", "body": b"x"})
        sent.append("body")
        await send({"type": "http.response.trailers", "headers": []})

    messages: list[Any] = []

    async def server_side(message: Any) -> None:
        messages.append(message)

    async with served(answer()) as world:
        layer = TelemetryMiddleware(app, world.telemetry)
        await layer({"type": "http", "method": "GET", "path": "/", "headers": []}, _never, server_side)
        span, line = await world.told()
    assert (span.status, line[c.LOG_STATUS_CODE], len(messages)) == ("UNSET", 200, 3)


async def test_a_sent_file_is_the_end(served: Any):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.pathsend", "path": "/file"})

    async with served(answer()) as world:
        layer = TelemetryMiddleware(app, world.telemetry)
        await layer({"type": "http", "method": "GET", "path": "/", "headers": []}, _never, _swallow)
        span, _ = await world.told()
    assert span.status == "UNSET"


async def _never() -> Any:
    await asyncio.Event().wait()


async def _swallow(_message: Any) -> None:
    pass


async def test_a_server_that_cannot_send_does_not_hide_what_went_wrong(served: Any):
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise LookupError("the first")

    async def broken(_message: Any) -> None:
        raise OSError("gone")

    async with served(answer()) as world:
        layer = TelemetryMiddleware(app, world.telemetry)
        with pytest.raises(LookupError, match="the first"):
            await layer({"type": "http", "method": "GET", "path": "/", "headers": []}, _never, broken)
        span, line = await world.told()
    assert (span.attributes[c.ERROR_TYPE], line[c.LOG_STATUS_CODE]) == ("LookupError", None)


async def test_other_scopes_pass_through_untouched(served: Any):
    kind = "something.new"
    given: list[Any] = []

    async def app(*arguments: Any) -> None:
        given.extend(arguments)

    async with served(answer()) as world:
        scope = {"type": kind}
        await TelemetryMiddleware(app, world.telemetry)(scope, _never, _swallow)
        assert given == [{"type": kind}, _never, _swallow]
        assert given[0] is scope
        assert world.access_lines == world.spans == []


async def test_excluded_paths_leave_nothing(served: Any):
    async with served(answer()) as world:
        for path in ("/health", "/ready", "/metrics"):
            assert "x-trace-id" not in (await world.get(path)).headers
        await world.get("/healthy")
        _, line = await world.told()
    assert line[c.LOG_PATH] == "/healthy"


async def test_a_layer_inside_a_layer_adds_nothing(served: Any):
    def nested(telemetry: Any) -> Any:
        return TelemetryMiddleware(answer(), telemetry)

    nested.wants_telemetry = True  # type: ignore[attr-defined]
    async with served(nested) as world:
        got = await world.get()
        await world.told()
    assert len(got.headers.get_list("x-trace-id")) == 1


async def test_what_the_outer_layer_excludes_an_inner_one_leaves_alone(served: Any):
    def twice(telemetry: Any) -> Any:
        return TelemetryMiddleware(TelemetryMiddleware(answer(), telemetry), telemetry, exclude=("/quiet",))

    twice.wants_telemetry = True  # type: ignore[attr-defined]
    async with served(twice, wrap=False) as world:
        assert (await world.get("/quiet")).status_code == 200
        await world.get("/")
        await world.told(1)


async def test_a_path_that_zero_code_excludes_is_left_alone_by_the_application_s_own_layer(served: Any):
    def twice(telemetry: Any) -> Any:
        inner = TelemetryMiddleware(answer(), telemetry)
        return Excluding(inner, TelemetryMiddleware(inner, telemetry), re.compile("healthz"))

    twice.wants_telemetry = True  # type: ignore[attr-defined]
    async with served(twice, wrap=False) as world:
        assert (await world.get("/healthz")).status_code == 200
        await world.get("/public")
        _, line = await world.told(1)
    assert line[c.LOG_PATH] == "/public"


async def test_requests_in_progress_are_counted_up_and_down(served: Any):
    inside: list[float] = []

    async with served(answer()) as world:
        gauge = world.telemetry.metrics.http_in_progress["GET"]

        async def app(scope: Any, receive: Any, send: Any) -> None:
            inside.append(gauge.value)
            await answer()(scope, receive, send)

        layer = TelemetryMiddleware(app, world.telemetry)
        await layer({"type": "http", "method": "GET", "path": "/", "headers": []}, _never, _swallow)
        assert (inside, gauge.value) == ([1], 0)


async def test_an_application_may_name_its_errors(served: Any):
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise LookupError

    async with served(app, layer={"error_type": lambda error: f"my.{type(error).__name__}"}) as world:
        await world.get()
        span, _ = await world.told()
    assert span.attributes[c.ERROR_TYPE] == "my.LookupError"


async def test_background_work_that_a_stopping_server_cancels_is_no_error(served: Any):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer()(scope, receive, send)
        raise asyncio.CancelledError

    async with served(answer()) as world:
        with pytest.raises(asyncio.CancelledError):
            await TelemetryMiddleware(app, world.telemetry)(
                {"type": "http", "method": "GET", "path": "/", "headers": []}, _never, _swallow
            )
        _, line = await world.told()
        logged = [entry for entry in world.logs.lines if entry[c.LOG_LOGGER] == "telemetry.request"]
    assert (line[c.LOG_STATUS_CODE], logged) == (200, [])


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/\u00e4 b", "/%C3%A4%20b"),
        ("/100%", "/100%25"),
        ("/a?b", "/a%3Fb"),
        ("/a:b@c!$&'()*+,;=~", "/a:b@c!$&'()*+,;=~"),
    ],
)
async def test_a_path_without_a_raw_one_is_told_as_that_would_be(served: Any, path: str, told: str):
    async with served(answer()) as world:
        layer = TelemetryMiddleware(answer(), world.telemetry)
        await layer({"type": "http", "method": "GET", "path": path, "headers": []}, _never, _swallow)
        span, line = await world.told()
    assert span.attributes[c.URL_PATH] == line[c.LOG_PATH] == told
