"""One layer around an ASGI application: one span, one observation and one access line for each request, however it ends.

| what happens | status | error.type |
|---|---|---|
| a complete answer below 500, whole or streamed | as sent | none |
| nobody serves the path, or not with this method | as sent | none |
| a HEAD request | as sent | none |
| early hints or other 1xx before the answer | as sent | none |
| trailers that were announced, after the body | as sent | none |
| a file for the server to send (pathsend, zerocopysend) | as sent | none |
| a complete answer of 500 and above | as sent | the exception behind it, else the status |
| an exception before the first byte | 500, sent by this layer | the exception |
| an exception after the first byte | as sent | the exception |
| an exception after the end (a background task) | as sent | none |
| the server refuses the answer | none | the exception |
| the client left before the end | as sent, or none | `client_disconnected` |
| the application returned before the end | as sent, or 500, sent by this layer | `incomplete_response` |
| cancelled (the server stops) | as sent, or none | the exception |
| a WebSocket is accepted | 101 | none |
| a WebSocket is refused | 403, or as sent | none |
| an exception before a WebSocket is accepted | 500, sent by this layer where the server can, or none | the exception |
| a WebSocket's client left before it was accepted | none | `client_disconnected` |
| lifespan, also one that fails | nothing is told | |
| an excluded path | nothing is told | |

The end is the last message of the answer; what the application does afterwards (background tasks) belongs to the same trace
and not to the duration, and an exception of its is logged there. That a client has left is known where the application
listens (`receive`): a server's `send` may hide it, as uvicorn's does. A WebSocket's handshake is a request
(`telemetry.websocket`), its messages are none. Scopes that are not known pass through untouched. When a lifespan ends, what is
queued is exported before the server is told: uvicorn ends by the signal that stopped it, and nothing runs after that.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final

from opentelemetry.context import attach, detach

from . import compiled
from .errors import error_type_of
from .http import known_methods
from .request import Message, Receive, RequestRecord, Scope, SdkRequest, Send, SlottedRequest, unwrap
from .serving import FASTAPI_KEY, SCOPE_KEY
from .setup import Telemetry
from .shapes import Peers, Shapes
from .websocket import Handshake, SdkHandshake

App = Callable[[Scope, Receive, Send], Awaitable[None]]
ErrorType = Callable[[BaseException], str]

_STOPPED: Final = frozenset({"lifespan.shutdown.complete", "lifespan.shutdown.failed"})


class TelemetryMiddleware:
    """Wraps any ASGI application; put it around everything else.

    `exclude` are exact paths without telemetry. `error_type` names an exception for `error.type`; by default its class does.
    """

    def __init__(
        self,
        app: App,
        telemetry: Telemetry,
        *,
        exclude: Collection[str] = ("/health", "/ready", "/metrics"),
        error_type: ErrorType | None = None,
    ) -> None:
        self.app = app
        self.telemetry = telemetry
        self.error_type = error_type or error_type_of
        self.methods = known_methods(os.environ)
        self.recorder = telemetry.recorder
        self.trust_incoming = telemetry.trust_incoming
        self.in_progress = telemetry.metrics.http_in_progress
        self.write = telemetry.output.write
        self.shapes = Shapes(telemetry.service, telemetry.metrics)
        self.peers = Peers()
        self.usual = compiled.Request
        self._serve = self.usual.serve
        # What the compiled path keeps of all this, made by its first request.
        self.core: object = None
        self.excluded = frozenset(exclude)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if self._serve is not None and (served := self._serve(self, scope, receive, send)) is not None:
            await served
            return
        http = scope["type"] == "http"
        if not (http or scope["type"] == "websocket") or SCOPE_KEY in scope:
            await self.app(scope, receive, self._flushing(send) if scope["type"] == "lifespan" else send)
            return
        scope[FASTAPI_KEY] = None
        if scope["path"] in self.excluded:
            # Taken, by nobody: a layer further in (a plugin's) leaves it alone as well.
            scope[SCOPE_KEY] = None
            await self.app(scope, receive, send)
            return
        request = scope[SCOPE_KEY] = self._kind(http=http)(self, scope, receive, send)
        token = None
        try:
            token = attach(request.start_span())
            await self.app(scope, request.receive, request.send)
            if not request.status:
                await request.answer_defect()
        except BaseException as error:
            await request.failed(error)
            raise
        finally:
            request.finish()
            if token is not None:
                detach(token)
            # The scope and its record hold each other, and so do an error's traceback, this frame and the record: without
            # this, only the garbage collector would part them.
            scope.pop(SCOPE_KEY, None)
            request.let_go()

    def _kind(self, *, http: bool) -> type[RequestRecord]:
        if self.recorder.obstacle:
            return SdkRequest if http else SdkHandshake
        # Those that are compiled have been served.
        return SlottedRequest if http else Handshake

    def _flushing(self, send: Send) -> Send:
        """Export what is queued before the server learns that the application has stopped: it may end at once then."""

        async def send_after_flush(message: Message) -> None:
            if message.get("type") in _STOPPED:
                await asyncio.to_thread(self.telemetry.flush)
            await send(message)

        return send_after_flush


def note_error(scope: Mapping[str, Any], error: BaseException) -> None:
    """Tell the request's record which exception a framework has turned into an answer."""
    record = scope.get(SCOPE_KEY)
    if isinstance(record, RequestRecord) and not isinstance(error, asyncio.CancelledError):
        record.error = unwrap(error)
