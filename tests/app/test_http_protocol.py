"""Whatever clients send, in whatever pieces, and whenever they leave: no error on our side, and no connection that stays."""

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import uvicorn
import uvloop

from app.config import Http
from app.http_protocol import BoundedProtocol
from telemetry.testing import capture_logs

SOON = 0.1
LIMITS = Http(head_timeout=SOON, body_timeout=SOON, answer_timeout=SOON, idle_timeout=SOON, max_connections=25)
HEAD = b" HTTP/1.1\r\nhost: x\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
PIECES = (
    b"GET /" + HEAD + b"\r\n",
    b"GET /late" + HEAD + b"\r\n",
    b"GET /" + HEAD + b"connection: close\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET /" + HEAD + b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 3\r\n\r\nabc",
    b"POST /read" + HEAD + b"content-length: 5\r\n\r\nabcde",
    b"POST /read" + HEAD + b"expect: 100-continue\r\ncontent-length: 5\r\n\r\n",
    b"POST /read" + HEAD + CHUNKED + b"3\r\nabc\r\n0\r\n\r\n",
    b"POST /late" + HEAD + CHUNKED + b"no length\r\n",
    b"CONNECT a:1" + HEAD + b"\r\n",
    b"GET http://[" + HEAD + b"\r\n",
    b"a: " + b"b" * 70_000,
    b"\r\n",
    b"\0",
)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answer at once, late, or when the body is there; small and large."""
    if scope["path"] == "/late":
        await asyncio.sleep(SOON / 5)  # work, which takes time
    elif scope["path"] == "/read":
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * SOON):
                while (await receive()).get("more_body"):
                    pass
    body = b"x" * (100_000 if len(scope["headers"]) > 1 else 10)
    length = str(len(body)).encode()
    # In two parts: a client may leave in between.
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def served() -> AsyncIterator[tuple[int, uvicorn.Server]]:
    """Serve the application and yield the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            application,
            http=partial(BoundedProtocol, limits=LIMITS),  # type: ignore[arg-type]
            ws="none",
            log_config=None,
            lifespan="off",
            timeout_keep_alive=LIMITS.idle_timeout,  # type: ignore[arg-type]
        )
    )
    task = asyncio.create_task(server._serve([listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield listener.getsockname()[1], server
    finally:
        server.should_exit = True
        await task


def nonsense(dice: random.Random) -> bytes:
    """Return some requests in a row, perhaps with a byte changed or the end missing."""
    data = b"".join(dice.choice(PIECES) for _ in range(dice.randint(1, 6)))
    place = dice.randrange(len(data))
    if dice.random() < 0.5:
        data = data[:place] + bytes([dice.randrange(256)]) + data[place + 1 :]
    return data[:place] if dice.random() < 0.3 else data


async def talk(port: int, dice: random.Random) -> None:
    """Say nonsense in pieces; then leave, wait to be left, or only stop talking."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = nonsense(dice)
    try:
        while data and not writer.transport.is_closing():
            size = dice.choice((1, 50, 100_000)) if len(data) < 2_000 else 100_000
            writer.write(data[:size])
            data = data[size:]
            await asyncio.sleep(0)
        ending = dice.choice(("leave", "stop talking", "wait", "wait"))
        if ending == "stop talking" and not writer.transport.is_closing():
            writer.write_eof()
        if ending != "leave":
            await asyncio.wait_for(reader.read(), 5.0)
    except (OSError, RuntimeError):
        # The server was the first to leave.
        assert writer.transport.is_closing()
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("seed", range(3))
def test_no_client_leaves_an_error_or_a_connection_behind(seed: int) -> None:
    # On the loop that services run on; others are more patient with who writes to a closed connection.
    uvloop.run(check(random.Random(seed)))  # noqa: S311 - the same dice every time


async def check(dice: random.Random) -> None:
    failed: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failed.append(context))
    with capture_logs() as lines:
        async with served() as (port, server):
            for _ in range(8):
                await asyncio.gather(*(talk(port, dice) for _ in range(40)))
            async with asyncio.timeout(5.0):
                while server.server_state.connections or server.server_state.tasks:
                    await asyncio.sleep(0.01)
    assert failed == []
    assert [line for line in lines if line["level"] in {"error", "critical"}] == []
