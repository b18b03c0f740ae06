"""HTTP/1.1 with bounds on what comes before an application is asked, because uvicorn's own protocol has few.

| what a client does | what it gets |
|---|---|
| opens one connection more than `max_connections` | the place of the longest idle one, else 503 |
| sends nothing for `head_timeout` after connecting | a closed connection |
| sends a head that takes longer than `head_timeout` | 408 |
| sends a head of more than `HEAD_BYTES`, or what is no HTTP | 431, 400 |
| asks for another protocol (`Upgrade`) | its answer in this one, and a closed connection |
| goes on with a body `body_timeout` after its head, though it has been answered | a closed connection |
| does not take its answers for `answer_timeout` | a closed connection |
| sends nothing for `idle_timeout` after an answer | a closed connection (uvicorn) |

A body that an application waits for is the application's to bound.
"""

import asyncio
import contextlib
from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.config import Http
from app.refusals import CROWDED, HEAD_TOO_LARGE, HEAD_TOO_SLOW, MALFORMED, Refusal, answer

HEAD_BYTES: Final = 64 << 10
# Closed with bytes unread, a socket sends a reset, and the client loses the answer (RFC 9112, section 9.6).
LINGER_SECONDS: Final = 1.0
# Connections that are just being told that there are too many. Beyond these nobody is told.
TURNED_AWAY: Final = 64

# What is being waited for, and of which request of the connection: a new pair is a new time.
Phase = tuple[str, int]


class BoundedProtocol(HttpToolsProtocol):
    """Serves a connection within the bounds of `limits`; see the module."""

    def __init__(self, *args: Any, limits: Http, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._head = 0
        self._in_head = True
        self._refused = False
        self._requests = 0
        self._phase: Phase = ("idle", 0)
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._running: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Take the connection, or turn it away where too many are open."""
        super().connection_made(transport)
        self._wait_for(("head", 0))
        others = len(self.connections) - 1
        if others < self._limits.max_connections or self._make_room():
            return
        if others < self._limits.max_connections + TURNED_AWAY:
            self._refuse(CROWDED)
        else:
            self._cut_off()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._call_later(None, self._time_is_up)
        self._expect_reading(False)
        self._disconnect()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what arrives while the head is not complete, and watch how long it takes."""
        if self._refused:
            return
        if self._in_head:
            self._head += len(data)
        self._feed(data)
        if self._refused or self.transport.is_closing():
            return
        if self._in_head and self._head > HEAD_BYTES:
            self._refuse(HEAD_TOO_LARGE)
        else:
            self._wait_for((self._awaited(), self._requests))

    def on_headers_complete(self) -> None:
        """Let the body's own bound take over."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect the next head."""
        self._in_head, self._head = True, 0
        self._requests += 1
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Give a connection that ends with this answer its time to be read."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._expect_reading(True)

    def pause_writing(self) -> None:
        """Give the client its time to read."""
        super().pause_writing()
        self._expect_reading(True)

    def resume_writing(self) -> None:
        """See that it reads."""
        self._expect_reading(False)
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close; a transport that still has something to say would first wait for whoever does not listen."""
        if self.transport.get_write_buffer_size():
            self._cut_off()
        super().timeout_keep_alive_handler()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _feed(self, data: bytes) -> None:
        """Let the parser have it; uvicorn's own way answers and logs without a trace id."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The parser takes a body after such a head for the next request, which a proxy before us would not (smuggling).
            self._refused = True
            self.cycle.keep_alive = False
        except httptools.HttpParserError:
            self._refuse(MALFORMED)

    def _awaited(self) -> str:
        if not self._in_head:
            return "body"
        return "head" if self._head else "idle"

    def _wait_for(self, phase: Phase) -> None:
        """Give what is awaited now its time, unless it is what was awaited before."""
        if phase != self._phase:
            self._phase = phase
            self._start_timer()

    def _start_timer(self) -> None:
        seconds = {"head": self._limits.head_timeout, "body": self._limits.body_timeout}.get(self._phase[0])
        self._call_later(seconds, self._time_is_up)

    def _call_later(self, seconds: float | None, what: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, what)

    def _expect_reading(self, expected: bool) -> None:  # noqa: FBT001 - a switch
        if self._unread is not None:
            self._unread.cancel()
        timeout = self._limits.answer_timeout
        self._unread = self.loop.call_later(timeout, self._cut_off) if expected else None

    def _time_is_up(self) -> None:
        if self._is_answering():
            # The answer has a deadline of its own; afterwards there is one more time for what is still missing.
            self._start_timer()
        elif self._phase[0] == "head" and self._head:
            self._refuse(HEAD_TOO_SLOW)
        else:
            self._cut_off()

    def _cut_off(self) -> None:
        self._disconnect()
        self.transport.abort()

    def _disconnect(self) -> None:
        """Tell the application; uvicorn tells the latest request, which may be waiting behind the one that is answered."""
        for cycle in (self._running, self.cycle):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.disconnected

    def _make_room(self) -> bool:
        """Close the connection that has been idle longest; False where every one is busy."""
        # uvicorn has this timer run exactly while it waits for the next request.
        idle = [
            (timer.when(), each)
            for each in self.connections
            if isinstance(each, BoundedProtocol)
            and (timer := each.timeout_keep_alive_task) is not None
            and not each.transport.is_closing()
        ]
        if idle:
            min(idle, key=itemgetter(0))[1].timeout_keep_alive_handler()
        return bool(idle)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer and close; where another answer is under way, let that one be the last."""
        self._refused = True
        said = answer(refusal, self.client[0] if self.client else "")
        if self._is_answering():
            if not self.cycle.more_body:
                # It would be taken for the answer to the request before.
                self.cycle.keep_alive = False
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started or self.pipeline:
                # The end of an answer may still have to come.
                self._call_later(self._limits.body_timeout, self._cut_off)
                return
        self.transport.write(said)
        self._linger()

    def _linger(self) -> None:
        """Say that nothing more comes, and wait a moment for the client to say so too."""
        # A client that has gone meanwhile makes this an error, and the connection goes with it.
        with contextlib.suppress(OSError):
            self.transport.write_eof()
        self._call_later(LINGER_SECONDS, self._cut_off)
