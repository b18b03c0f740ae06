"""What is awaited for a request behaves as a coroutine does, whoever drives it; both builds."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any

import pytest

from telemetry import TelemetryMiddleware
from telemetry import conventions as c
from telemetry.testing import LogLines, capture_spans, fresh_telemetry

pytestmark = pytest.mark.usefixtures("build")

START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"done"}
App = Callable[[Any, Any, Any], Awaitable[None]]


class World:
    """A layer, and a server that notes what it is sent."""

    def __init__(self) -> None:
        self.telemetry, self.logs = fresh_telemetry()
        self.sent: list[str] = []

    def serve(self, app: App) -> Any:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
        return TelemetryMiddleware(app, self.telemetry)(scope, self.receive, self.send)

    async def receive(self) -> Any:
        return {"type": "http.request", "body": b""}

    async def send(self, message: Any) -> None:
        await asyncio.sleep(0)
        self.sent.append(message["type"])


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.telemetry.shutdown()


def access_line(logs: LogLines) -> Any:
    [line] = [line for line in logs.lines if line[c.LOG_LOGGER] == c.ACCESS_LOGGER]
    return line


async def answer(_scope: Any, _receive: Any, send: Any) -> None:
    await send(START)
    await send(BODY)


async def test_what_the_application_waits_for_comes_back_to_it(world: World):
    loop, found = asyncio.get_running_loop(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        future = loop.create_future()
        loop.call_soon(future.set_result, 7)
        found.append(await future)
        await answer(scope, receive, send)

    with capture_spans() as spans:
        await world.serve(app)
    assert (found, world.sent, len(spans)) == ([7], [START["type"], BODY["type"]], 1)


async def test_what_the_application_waits_for_in_vain_is_raised_in_it(world: World):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        await answer(scope, receive, send)

    await world.serve(app)
    assert access_line(world.logs)[c.LOG_STATUS_CODE] == 200


async def test_a_cancellation_lets_the_application_tidy_up_in_its_own_time(world: World):
    tidied, running = [], asyncio.Event()

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tidied.append(True)

    task = asyncio.create_task(world.serve(app))
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tidied
    assert access_line(world.logs)[c.LOG_ERROR_TYPE] == "asyncio.exceptions.CancelledError"


async def test_an_application_that_ends_a_cancellation_goes_on(world: World):
    running = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        running.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await answer(scope, receive, send)

    task = asyncio.create_task(world.serve(app))
    await running.wait()
    task.cancel()
    await task
    assert access_line(world.logs)[c.LOG_STATUS_CODE] == 200


async def test_a_message_may_be_sent_by_a_task_of_its_own(world: World):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await asyncio.create_task(send(START))
        await asyncio.wait_for(send(BODY), 5)

    await world.serve(app)
    assert world.sent == [START["type"], BODY["type"]]
    assert access_line(world.logs)[c.LOG_STATUS_CODE] == 200


async def test_a_message_is_sent_when_it_is_awaited_and_then_once(world: World):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        sending = send(START)
        assert not world.sent
        await sending
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await sending
        await send(BODY)

    await world.serve(app)
    assert world.sent == [START["type"], BODY["type"]]


async def test_a_message_whose_sending_is_cancelled_has_not_been_sent(world: World):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.create_task(send(START))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await answer({**scope}, receive, send)

    await world.serve(app)
    assert world.sent == [START["type"], BODY["type"]]


async def test_a_server_and_an_application_may_return_any_awaitable(world: World):
    class Sending:
        def __await__(self) -> Generator[Any, Any, None]:
            yield from asyncio.sleep(0).__await__()

    def app(scope: Any, receive: Any, _send: Any) -> Awaitable[None]:
        return asyncio.ensure_future(answer(scope, receive, _send))

    layer = TelemetryMiddleware(app, world.telemetry)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    await layer(scope, world.receive, lambda _message: Sending())
    assert access_line(world.logs)[c.LOG_STATUS_CODE] == 200


async def test_what_the_application_raises_is_raised_with_its_own_traceback(world: World):
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine") as raised:
        await world.serve(app)
    assert raised.traceback[-1].name == "app"
    assert world.sent == [START["type"], BODY["type"]]


def test_a_request_whose_loop_has_gone_is_told_of_when_its_coroutine_is_closed(world: World):
    closed = []

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        try:
            await asyncio.sleep(0)
        finally:
            closed.append(True)

    served = world.serve(app)
    served.send(None)
    served.close()
    assert closed
    assert access_line(world.logs)[c.LOG_ERROR_TYPE] == "GeneratorExit"


async def test_a_request_that_is_over_leaves_nothing_to_the_garbage_collector(world: World):
    class Note:
        pass

    note = Note()
    gone = weakref.ref(note)

    async def app(_scope: Any, _receive: Any, _send: Any, note: Any = note) -> None:
        del note
        raise LookupError("mine")

    gc.disable()
    try:
        with contextlib.suppress(LookupError):
            await world.serve(app)
        del app, note
        assert gone() is None
    finally:
        gc.enable()
