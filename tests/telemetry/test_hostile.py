"""Whatever an application, a server or a caller does, the layer tells of a request once and raises nothing of its own."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import propagate, trace
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import StatusCode

from telemetry import Telemetry, TelemetryMiddleware
from telemetry import conventions as c
from telemetry.spans import SpanRecord
from telemetry.testing import LogLines, capture_spans, fresh_telemetry

pytestmark = pytest.mark.usefixtures("build")

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


class Theirs(Exception):
    """Raised by the application or by the server."""


class Speechless(Theirs):
    """Cannot even say what it is."""

    def __str__(self) -> str:
        raise LookupError("no words")


Step = tuple[str, Any]

starts = st.fixed_dictionaries(
    {"type": st.just("http.response.start")},
    optional={
        "status": st.sampled_from([103, 200, 204, 404, 500, 503]),
        "headers": st.one_of(
            st.lists(st.tuples(st.binary(max_size=4), st.binary(max_size=4)), max_size=2),
            st.lists(st.lists(st.binary(max_size=4), min_size=2, max_size=2), max_size=2),
            st.sampled_from([None, [()], [(b"access-control-expose-headers",)], [("text", "text")], 7]),
        ),
        "trailers": st.booleans(),
    },
)
parts = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            [
                *("http.response.body", "http.response.body", "http.response.trailers", "http.response.pathsend"),
                *("http.response.zerocopysend", "http.response.early_hint", "http.response.debug", "something.new"),
            ]
        )
    },
    optional={"body": st.binary(max_size=3), "more_body": st.booleans(), "more_trailers": st.booleans()},
)
untyped = st.fixed_dictionaries({}, optional={"status": st.just(200), "body": st.just(b"x")})
messages = st.one_of(starts, parts, untyped)
noted = st.sampled_from(
    [
        ("set_attribute", "lone", "\ud800"),
        ("set_attribute", "large", 2**70),
        ("set_attribute", "", "nameless"),
        ("set_attribute", "object", object()),
        ("add_event", "\ud800", {"lone": "\udfff"}),
        ("update_name", "\ud800"),
        ("update_name", ""),
        ("set_status", StatusCode.OK),
    ]
)
steps = st.one_of(
    st.tuples(st.just("send"), messages),
    st.tuples(st.just("receive"), st.just(None)),
    st.tuples(st.just("raise"), st.sampled_from([Theirs, Speechless, asyncio.CancelledError])),
    st.tuples(st.just("note"), noted),
)
arrivals = st.lists(
    st.sampled_from([{"type": "http.request"}, {"type": "http.disconnect"}, {"type": "something.new"}, {}]), max_size=3
)


@dataclass
class Server:
    """Takes what an application sends: anything, or as `strict` as servers are; its connection breaks after some sends.

    `status` is the one that reached the client: none does once that was said to have left.
    """

    arrivals: Iterator[dict[str, Any]]
    strict: bool
    breaks_after: int
    started: bool = False
    over: bool = False
    left: bool = False
    sent: int = 0
    status: int | None = None

    async def receive(self) -> dict[str, Any]:
        message = next(self.arrivals, {"type": "http.disconnect"})
        self.left = self.left or message.get("type") == "http.disconnect"
        return message

    async def send(self, message: dict[str, Any]) -> None:
        self.sent += 1
        if self.sent > self.breaks_after:
            raise Theirs("the connection is broken")
        if self.strict:
            self.judge(message)
        if message.get("type") == "http.response.start" and not self.left and message.get("status") != 103:
            self.status = self.status or message.get("status")

    def judge(self, message: dict[str, Any]) -> None:
        start = message.get("type") == "http.response.start"
        if start is self.started or self.over or (start and not isinstance(message.get("headers", []), list)):
            raise Theirs("not in this order")
        self.started = True
        self.over = not start and not message.get("more_body", False)


servers = st.builds(Server, arrivals.map(iter), st.booleans(), st.sampled_from([0, 1, 2, 100, 100, 100]))


@dataclass
class World:
    """A layer, and what it told."""

    telemetry: Telemetry
    logs: LogLines
    spans: list[SpanRecord]

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [line for line in self.logs.lines if line[c.LOG_LOGGER] == c.ACCESS_LOGGER]

    def once(self) -> tuple[SpanRecord, dict[str, Any]]:
        """Return the span and the line of the one request, which must agree."""
        (span,), (line,) = self.spans, self.lines
        samples = self.telemetry.metrics.http_duration.metric.collect()[0].samples
        assert [s.value for s in samples if s.name.endswith("_count") and s.value] == [1]
        assert {level.value for level in self.telemetry.metrics.http_in_progress.values()} == {0}
        assert span.trace_id == line[c.LOG_TRACE_ID]
        assert span.attributes.get(c.HTTP_RESPONSE_STATUS_CODE) == line[c.LOG_STATUS_CODE]
        assert span.attributes.get(c.ERROR_TYPE) == line.get(c.LOG_ERROR_TYPE)
        return span, line


def scope(**more: Any) -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b"", **more}


def play(
    obstacle: str, server: Server, script: list[Step], asked: dict[str, Any], *, trusted: bool = True, **layer: Any
) -> World:
    """Serve one request by a script; what leaves the layer must be the script's or the server's."""
    telemetry, logs = fresh_telemetry(trust_incoming=trusted)
    telemetry.recorder.obstacle = obstacle

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        for action, what in script:
            if action == "raise":
                raise what("\udce9")  # a file name that is no UTF-8
            if action == "note":
                getattr(trace.get_current_span(), what[0])(*what[1:])
            else:
                await (receive() if action == "receive" else send(what))

    async def serve() -> None:
        with suppress(Theirs, asyncio.CancelledError):
            await TelemetryMiddleware(app, telemetry, **layer)(asked, server.receive, server.send)

    with capture_spans() as spans:
        asyncio.run(serve())
    telemetry.shutdown()
    return World(telemetry, logs, spans)


PATHS = pytest.mark.parametrize("obstacle", ["", "a test's"], ids=["fast", "sdk"])


@PATHS
@settings(max_examples=200, deadline=None)
@given(server=servers, script=st.lists(steps, max_size=7))
def test_no_order_of_messages_breaks_the_layer(obstacle: str, server: Server, script: list[Step]):
    _, line = play(obstacle, server, script, scope()).once()
    assert line[c.LOG_STATUS_CODE] == server.status


octets = st.one_of(
    st.binary(max_size=8),
    st.sampled_from(
        [
            *(b"", b"host", b"Host", b"user-agent", b"traceparent", b"tracestate", b"baggage", b"x-trace-id"),
            *(b"\xff\xfe", b"a" * 2_000, b"traceparent\x00"),
        ]
    ),
)
contents = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [
            *(f"00-{TRACE}-{PARENT}-01".encode(), f"00-{TRACE}-{PARENT}-ff".encode(), b"00-" + b"0" * 32, b"\xff" * 55),
            *(b"k=v", b"k=%zz,,=;", b"a=" + b"1" * 4_200, b"vendor=\xe9", b"test:" + b"9" * 4_400, b"[::1]:99999999999999999999"),
            *("test:\u0663".encode(), b":", b"[", b"x" * 2_000),
        ]
    ),
)  # fmt: skip
pairs = st.one_of(st.tuples(octets, contents), st.tuples(octets, contents).map(list))
scopes = st.builds(
    scope,
    headers=st.lists(pairs, max_size=6),
    method=st.sampled_from(["GET", "BREW", "", "get", '"\n', "\u00e9" * 300]),
    # Hypothesis takes texts from our sources, too: "/metrics" is one that nothing is told of.
    path=st.one_of(
        st.text(max_size=8).filter(lambda text: text not in {"/health", "/ready", "/metrics"}),
        st.just("/\udcff"),
        st.just("/" + "p" * 2_000),
    ),
    raw_path=st.one_of(st.none(), st.binary(max_size=8)),
    query_string=st.one_of(st.binary(max_size=12), st.just(b"&=" * 2_000), st.just(b"q=%ff%zz;\xff")),
    client=st.sampled_from([None, ("192.0.2.7", 1), ["::1", 1], ("", 0), (None, 0)]),
    server=st.sampled_from([None, ("192.0.2.7", 1), ["::1", "8000"], ("/run/shop.sock", None), ("one",), ()]),
    scheme=st.sampled_from(["http", "https", "", "\u00e9"]),
    http_version=st.sampled_from(["1.1", "2", ""]),
)
TOLD_BY_CHANCE = ("timestamp", "duration_ms", "trace_id", "span_id")
ANSWER: list[Step] = [
    ("send", {"type": "http.response.start", "status": 200, "headers": []}),
    ("send", {"type": "http.response.body"}),
]


@PATHS
@settings(max_examples=200, deadline=None)
@given(asked=scopes, trusted=st.booleans())
def test_no_request_breaks_the_layer(obstacle: str, asked: dict[str, Any], *, trusted: bool):
    world = play(obstacle, Server(iter(()), True, 100), ANSWER, asked, trusted=trusted)
    _, line = world.once()
    assert line[c.LOG_STATUS_CODE] == 200


@settings(max_examples=200, deadline=None)
@given(asked=scopes, script=st.lists(steps.filter(lambda step: step[0] != "note"), max_size=5), trusted=st.booleans())
def test_both_paths_tell_the_same(asked: dict[str, Any], script: list[Step], *, trusted: bool):
    tellings = []
    for obstacle in ("", "a test's"):
        server = Server(iter(({"type": "http.request"},)), strict=True, breaks_after=100)
        span, line = play(obstacle, server, script, {**asked}, trusted=trusted).once()
        told = {key: value for key, value in line.items() if key not in TOLD_BY_CHANCE and key != c.LOG_EXCEPTION}
        # Without a parent the trace is a new one.
        trace_id = span.trace_id if span.parent_id else ""
        events = [event.name for event in span.events]
        facts = (span.name, span.kind, span.status, span.attributes, span.parent_id, trace_id, events, span.links)
        tellings.append((told, *facts))
    assert tellings[0] == tellings[1]


@PATHS
@pytest.mark.parametrize("name", [lambda _: 1 / 0, lambda _: "", lambda _: None])
def test_who_cannot_name_an_exception_leaves_it_its_own_name(obstacle: str, name: Any):
    world = play(obstacle, Server(iter(()), True, 100), [("raise", Theirs)], scope(), error_type=name)
    span, line = world.once()
    assert line[c.LOG_ERROR_TYPE].endswith(".Theirs")
    assert span.status == "ERROR"


class Propagator(TextMapPropagator):
    """Finds whatever it is given: what is no context, or an exception to raise."""

    fields: set[str] = set()  # noqa: RUF012 - the interface's

    def __init__(self, found: Any) -> None:
        self.found = found

    def extract(self, *_: Any, **__: Any) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def inject(self, *_: Any, **__: Any) -> None:
        pass


@PATHS
@pytest.mark.parametrize("found", [None, 7, LookupError("no")])
def test_a_propagator_that_fails_costs_a_request_its_parent_and_nothing_else(
    obstacle: str, found: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(propagate, "get_global_textmap", lambda: Propagator(found))
    monkeypatch.setattr(propagate, "extract", lambda *given: Propagator(found).extract(*given))
    server = Server(iter(()), True, 100)
    world = play(obstacle, server, ANSWER, scope(headers=[(b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())]))
    span, line = world.once()
    assert (line[c.LOG_STATUS_CODE], span.parent_id) == (server.status, "") == (200, "")
    assert [each for each in world.logs.lines if each[c.LOG_LEVEL] == "error"]
