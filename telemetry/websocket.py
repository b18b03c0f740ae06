"""The handshake of a WebSocket: a request whose answer is a connection (RFC 6455, section 4), told of like any other.

The end is the server's answer to it: accepted, or refused, by the application's own answer where the server can send one
(ASGI's extension "websocket.http.response"). What happens on the connection belongs to the same trace, and not to the
duration; its messages are no requests, and have no spans.
Source: https://asgi.readthedocs.io/en/latest/specs/www.html#websocket
"""

import time
from collections.abc import Awaitable
from typing import Final

from .http import upgraded, with_trace_headers
from .request import Message, RequestRecord, SdkRequest, SlottedRequest

# What a server answers when the application closes before it has accepted.
FORBIDDEN: Final = 403
DENIAL: Final = "websocket.http.response"


class _Handshake(RequestRecord):
    """What handshakes have in common, whichever their span is."""

    __slots__ = ()

    prefix = "websocket."

    async def receive(self) -> Message:
        """Pass a message on, and notice that the client has left."""
        message = await self._receive()
        if message.get("type") == "websocket.disconnect":
            self.disconnected = True
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """Pass a message on; the first one is the answer, or begins it."""
        kind = message.get("type", "")
        if kind == "websocket.http.response.start":
            return self._start_answer(message)
        if kind == "websocket.http.response.body" and not message.get("more_body", False):
            return self._end_answer(message)
        if kind in ("websocket.accept", "websocket.close") and not self.status:
            return self._accept(message) if kind == "websocket.accept" else self._refuse(message)
        return self._send(message)

    @staticmethod
    async def gone() -> Message:
        """Return what there is to receive when the connection is over."""
        return {"type": "websocket.disconnect", "code": 1006}

    async def _accept(self, message: Message) -> None:
        try:
            listed = list(message.get("headers") or ())
            message = {**message, "headers": listed}
            message["headers"] = with_trace_headers(listed, self.traceparent, self.trace_id)
        except (AttributeError, LookupError, TypeError):
            # None as ASGI has them: the server is the one to say so.
            pass
        await self._send(message)
        self._answered(upgraded(self.scope)[1])

    async def _refuse(self, message: Message) -> None:
        await self._send(message)
        self._answered(FORBIDDEN)

    def _answered(self, status: int) -> None:
        self.status = status
        self.last_sent = time.perf_counter_ns()
        self.finish()

    async def failed(self, error: BaseException) -> None:
        """Note the exception that left the application; that the client has left an open connection is no news."""
        if not (self.finished and self.disconnected):
            await super().failed(error)

    async def answer_defect(self) -> None:
        """Answer a handshake that the application left without an answer, where the server can send one."""
        self.abandoned = True
        if DENIAL in (self.scope.get("extensions") or ()):
            await super().answer_defect()


class Handshake(_Handshake, SlottedRequest):
    """A handshake that is its own span."""

    __slots__ = ()


class SdkHandshake(_Handshake, SdkRequest):
    """A handshake whose span is one of the tracer that is there."""

    __slots__ = ()
