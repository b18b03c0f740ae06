"""What is awaited for a request behaves as a coroutine does, whoever drives it; both builds."""

import asyncio
import contextlib
import contextvars
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
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        task = asyncio.create_task(send(START))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    await world.serve(app)
    # The layer's own answer: there was none.
    assert world.sent == [START["type"], BODY["type"]]
    line = access_line(world.logs)
    assert (line[c.LOG_STATUS_CODE], line[c.LOG_ERROR_TYPE]) == (500, c.INCOMPLETE)


async def test_a_message_that_is_cancelled_before_it_is_sent_never_is(world: World):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.create_task(send({**START, "status": 500}))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await answer(scope, receive, send)

    await world.serve(app)
    assert world.sent == [START["type"], BODY["type"]]
    assert access_line(world.logs)[c.LOG_STATUS_CODE] == 200


async def test_a_message_that_was_closed_cannot_be_sent(world: World):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        sending = send(START)
        sending.close()
        sending.close()
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await sending
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            sending.throw(LookupError)
        await answer(scope, receive, send)

    await world.serve(app)
    assert world.sent == [START["type"], BODY["type"]]


async def test_a_message_is_awaited_by_one_task_at_a_time(world: World):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        sending = send(START)

        async def wait() -> None:
            await sending

        first = asyncio.create_task(wait())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="coroutine is being awaited already"):
            await sending
        await first
        await send(BODY)

    await world.serve(app)
    assert world.sent == [START["type"], BODY["type"]]


@pytest.mark.parametrize(
    "again", [lambda driven: driven.send(None), lambda driven: driven.throw(LookupError), lambda driven: driven.close()]
)
async def test_a_message_that_is_being_sent_cannot_be_driven_by_what_sends_it(
    world: World, again: Callable[[Any], None]
):
    driven = []

    async def send(message: Any) -> None:
        if not world.sent:
            with pytest.raises(ValueError, match="coroutine already executing"):
                again(driven[0])
        await World.send(world, message)

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        driven.append(send(START))
        await driven[0]
        await send(BODY)

    world.send = send  # type: ignore[method-assign] # this server's way
    await world.serve(app)
    assert world.sent == [START["type"], BODY["type"]]
    assert access_line(world.logs)[c.LOG_STATUS_CODE] == 200


async def test_a_message_that_nobody_awaits_is_warned_of(world: World):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with pytest.warns(RuntimeWarning, match=r"coroutine 'RequestRecord\.\w+' was never awaited"):
            send({**START, "status": 500})
        await answer(scope, receive, send)

    await world.serve(app)
    assert access_line(world.logs)[c.LOG_STATUS_CODE] == 200


async def test_a_message_whose_task_is_forgotten_is_closed(world: World):
    closed = []

    async def send(message: Any) -> None:
        try:
            await World.send(world, message)
        finally:
            closed.append(message["type"])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sending = send({**START, "status": 500})
        sending.send(None)
        del sending
        gc.collect()
        assert closed == [START["type"]]
        await answer(scope, receive, send)

    world.send = send  # type: ignore[method-assign] # this server's way
    await world.serve(app)
    assert access_line(world.logs)[c.LOG_STATUS_CODE] == 200


async def test_a_message_that_does_not_let_itself_be_closed_says_so_and_is_over(world: World):
    stubborn = [True]

    async def send(message: Any) -> None:
        while stubborn.pop():
            with contextlib.suppress(GeneratorExit):
                await asyncio.sleep(0)
            await asyncio.sleep(0)
        world.sent.append(message["type"])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sending = send({**START, "status": 500})
        sending.send(None)
        with pytest.raises(RuntimeError, match="coroutine ignored GeneratorExit"):
            sending.close()
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            sending.send(None)
        stubborn[:] = [False, False]
        await answer(scope, receive, send)

    world.send = send  # type: ignore[method-assign] # this server's way
    await world.serve(app)
    assert access_line(world.logs)[c.LOG_STATUS_CODE] == 200


async def test_a_server_or_an_application_that_raises_what_ends_a_coroutine_has_failed(world: World):
    def send(_message: Any) -> Any:
        raise StopIteration

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
            await send(START)
        raise LookupError("mine")

    def stopping(_scope: Any, _receive: Any, _send: Any) -> Any:
        raise StopIteration

    world.send = send  # type: ignore[assignment] # as none should be
    with pytest.raises(LookupError, match="mine"):
        await world.serve(app)
    assert access_line(world.logs).get(c.LOG_STATUS_CODE) is None
    with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
        await world.serve(stopping)


async def test_what_the_application_raises_keeps_what_it_was_raised_in(world: World):
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        try:
            {}["inner"]
        except KeyError:
            raise LookupError("mine")  # noqa: B904 - the context is what is asked about

    async def fall_back() -> None:
        try:
            int("outer")
        except ValueError:
            await world.serve(app)

    with pytest.raises(LookupError, match="mine") as raised:
        await fall_back()
    assert isinstance(raised.value.__context__, KeyError)
    assert isinstance(raised.value.__context__.__context__, ValueError)
    assert raised.value.__cause__ is None


async def test_headers_that_the_server_is_to_refuse_reach_it_whole(world: World):
    sent = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({**START, "headers": iter([(b"a", b"b"), ()])})
        await send(BODY)

    world.send = send  # type: ignore[method-assign] # this server's way
    await world.serve(app)
    assert list(sent[0]["headers"]) == [(b"a", b"b"), ()]


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
    names = [(str(entry.path), entry.name) for entry in raised.traceback]
    assert len(names) == len(set(names))
    assert world.sent == [START["type"], BODY["type"]]


async def test_a_request_may_end_in_another_context_than_it_began_in(world: World, caplog: pytest.LogCaptureFixture):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0)
        await answer(scope, receive, send)

    served = world.serve(app)
    contextvars.copy_context().run(served.send, None)
    with contextlib.suppress(StopIteration):
        while True:
            served.send(None)
    assert access_line(world.logs)[c.LOG_STATUS_CODE] == 200
    assert "Failed to detach context" in caplog.text


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
