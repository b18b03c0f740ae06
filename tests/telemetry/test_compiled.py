"""The compiled request path: taken where it is to be, left out aloud where it cannot be, and byte for byte the pure one."""

import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from telemetry import TelemetryMiddleware, compiled
from telemetry.compiled import compiled_request, sources_digest, usual_request
from telemetry.request import RequestRecord, SlottedRequest
from telemetry.testing import LogLines, fresh_telemetry

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SPAN = "00f067aa0ba902b7"
START = 1_700_000_000_123_456_789
USUAL: list[tuple[bytes, bytes]] = [
    *((b"host", b"shop.test:8000"), (b"user-agent", b"test/1")),
    (b"traceparent", f"00-{TRACE}-{PARENT}-01".encode()),
]

headers = st.lists(
    st.tuples(
        st.sampled_from(
            [b"host", b"user-agent", b"accept", b"cookie", b"traceparent", b"tracestate", b"baggage", b"x"]
        ),
        st.one_of(
            st.binary(max_size=8), st.sampled_from([b"shop.test", b"shop.test:80", f"00-{TRACE}-{PARENT}-01".encode()])
        ),
    ),
    max_size=6,
)
paths = st.one_of(
    st.text(max_size=12).map(lambda text: "/" + text),
    st.integers(95, 130).map(lambda size: "/" + "p" * size),
    st.sampled_from(["/", '/"quoted"', "/back\\slash", "/tab\t", "/\x7f", "/caf\u00e9", "/users/4111111111111111"]),
)
requests = st.fixed_dictionaries(
    {
        "path": paths,
        "query_string": st.sampled_from([b"", b"a=1", b"token=secret&b=2", b"%ff"]),
        "headers": headers.map(lambda more: USUAL[:2] + more),
        "method": st.sampled_from(["GET", "POST", "BREW"]),
        "server": st.sampled_from([None, ("192.0.2.7", 80), ["::1", "8000"]]),
        "client": st.sampled_from([None, ("192.0.2.9", 1), ["::1", 2]]),
        "path_template": st.sampled_from([None, "", "/items/{id}"]),
    }
)
durations = st.one_of(st.integers(0, 10**13), st.integers(0, 10**7).map(lambda micros: micros * 1_000 + 500))


class Told:
    """A layer whose lines and spans are caught as they are handed over."""

    def __init__(self) -> None:
        self.telemetry, self.logs = fresh_telemetry()
        self.lines: list[bytes] = []
        self.spans: list[bytes] = []
        self.telemetry.recorder.outlet.take = lambda _envelope, span: self.spans.append(span)
        self.telemetry.output.write = self.lines.append  # type: ignore[method-assign] # instead of a stream
        self.layer = TelemetryMiddleware(_nothing, self.telemetry)

    def request(self, kind: type[RequestRecord], scope: dict[str, Any]) -> RequestRecord:
        request = kind(
            self.layer, {"type": "http", "http_version": "1.1", "scheme": "http", **scope}, _nothing, _nothing
        )
        request.start_span()
        return request


async def _nothing(*_: Any) -> Any:
    return None


@pytest.fixture
def told() -> Iterator[Told]:
    told = Told()
    yield told
    told.telemetry.shutdown()


def run(awaitable: Any) -> None:
    with pytest.raises(StopIteration):
        awaitable.__await__().send(None)


def finished(
    told: Told, kind: type[RequestRecord], scope: dict[str, Any], status: int, duration: int
) -> tuple[bytes, bytes]:
    """Tell of a request whose ids and times are given; returns its line and its span."""
    request = told.request(kind, scope)
    request.span_id, request.started_unix, request.status = SPAN, START, status
    if not request.parent_id:
        request.trace_id = TRACE
    request.started, request.last_sent = 1, 1 + duration
    request.finish()
    return told.lines.pop(), told.spans.pop() if request.sampled else b""


# Nothing of an example is left in the layer but its caches, which are part of what is tested.
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scope=requests, status=st.sampled_from([200, 204, 302, 404, 499, 500, 503]), duration=durations)
@example(scope={"path": "/", "method": "GET", "headers": USUAL}, status=200, duration=0)
@example(scope={"path": "/", "method": "GET", "headers": USUAL}, status=200, duration=2_500)
@example(scope={"path": "/", "method": "GET", "headers": USUAL}, status=200, duration=999_999_500)
@example(scope={"path": "/" + "p" * 99, "method": "GET", "headers": USUAL}, status=200, duration=1)
@example(scope={"path": "/" + "p" * 100, "method": "GET", "headers": USUAL}, status=200, duration=1)
def test_both_builds_say_the_same_byte_for_byte(
    told: Told, hotpath: Any, scope: dict[str, Any], status: int, duration: int
):
    core = compiled_request(hotpath)
    assert finished(told, core, dict(scope), status, duration) == finished(
        told, SlottedRequest, dict(scope), status, duration
    )


def test_both_builds_leave_the_same_exemplars(hotpath: Any):
    readings = []
    for kind in (SlottedRequest, compiled_request(hotpath)):
        told = Told()
        bounds = told.telemetry.metrics.http_duration.metric.bounds
        for duration in (0, *bounds, *(bound + 1 for bound in bounds)):
            finished(told, kind, {"path": "/", "method": "GET", "headers": USUAL}, 200, duration)
        cells = told.telemetry.metrics.http_duration.metric.every_cell()
        [(counts, nanoseconds, exemplars)] = [read for _, cell in cells if any((read := cell.read()).counts)]
        readings.append((counts, nanoseconds, [exemplar and exemplar[:2] for exemplar in exemplars]))
        told.telemetry.shutdown()
    assert readings[0] == readings[1]


def test_a_usual_request_takes_the_compiled_path_and_no_other(hotpath: Any, monkeypatch: pytest.MonkeyPatch):
    def never(*_: Any) -> Any:
        raise AssertionError("a usual request goes the unusual way")

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    for name in ("start_span", "send", "finish", "end_span", "_start_answer", "_end_answer"):
        monkeypatch.setattr(RequestRecord, name, never)
    for name in ("_kind", "_flushing"):
        monkeypatch.setattr(TelemetryMiddleware, name, never)
    monkeypatch.setattr(compiled, "Request", compiled_request(hotpath))
    told = Told()
    layer = TelemetryMiddleware(app, told.telemetry)
    for sent in (USUAL, USUAL[:2], [(b"host", b"shop.test"), *USUAL[1:]]):
        scope = {"type": "http", "path": "/", "method": "GET", "headers": sent, "http_version": "1.1", "scheme": "http"}
        run(layer(scope, _nothing, _nothing))
    assert (len(told.lines), len(told.spans)) == (3, 3)
    told.telemetry.shutdown()


@pytest.mark.parametrize(
    "header", [(b"tracestate", b"a=1"), (b"baggage", b"a=1"), (b"traceparent", b"nonsense"), USUAL[2]]
)
def test_headers_that_the_application_takes_away_were_read_before(
    told: Told, hotpath: Any, header: tuple[bytes, bytes]
):
    peers = []
    for kind in (SlottedRequest, compiled_request(hotpath)):
        request = told.request(kind, {"path": "/", "method": "GET", "headers": [*USUAL, header]})
        request.scope["headers"] = []
        request.status, request.last_sent = 200, request.started + 1
        request.finish()
        told.lines.clear()
        peers.append(b"shop.test" in told.spans.pop())
    assert peers == [True, True]


_OTHER_CONTEXT = """
import asyncio, importlib.util, sys
from opentelemetry import context, trace
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext

class Elsewhere(ContextVarsRuntimeContext):
    attached = 0
    def attach(self, around):
        Elsewhere.attached += 1
        return super().attach(around)

context._RUNTIME_CONTEXT = Elsewhere()
from telemetry import TelemetryMiddleware, compiled
from telemetry.testing import fresh_telemetry
spec = importlib.util.spec_from_file_location("telemetry._hotpath", sys.argv[1])
extension = importlib.util.module_from_spec(spec)
spec.loader.exec_module(extension)
compiled.Request = compiled.compiled_request(extension)

async def nothing(*_):
    return None

async def app(scope, receive, send):
    print(trace.get_current_span().get_span_context().is_valid)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})

telemetry, logs = fresh_telemetry()
layer = TelemetryMiddleware(app, telemetry)
asyncio.run(layer({"type": "http", "method": "GET", "path": "/", "headers": []}, nothing, nothing))
print(Elsewhere.attached, len(logs.lines), trace.get_current_span().get_span_context().is_valid)
telemetry.shutdown()
"""


def test_a_context_that_is_kept_elsewhere_is_entered_and_left_there(hotpath: Any):
    command = [sys.executable, "-c", _OTHER_CONTEXT, hotpath.__file__]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.split("\n")[:2] == ["True", "1 1 False"], done.stderr


def test_an_extension_says_nothing_of_where_it_was_built(hotpath: Any):
    content = Path(hotpath.__file__).read_bytes()
    assert b"telemetry/_driving.pxi" in content
    assert tempfile.gettempdir().encode() not in content


@pytest.fixture
def extension(hotpath: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The extension as what `import telemetry._hotpath` gives."""
    monkeypatch.delenv("GOSHOP_TELEMETRY_PURE_PYTHON", raising=False)
    monkeypatch.setattr(compiled, "import_module", lambda *_: hotpath)
    return hotpath


def test_an_extension_of_these_sources_is_used_unless_pure_python_is_asked_for(
    extension: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(extension, "SOURCES", sources_digest(compiled.Path(compiled.__file__).parent))
    assert issubclass(usual_request(), extension.RequestCore)
    monkeypatch.setenv("GOSHOP_TELEMETRY_PURE_PYTHON", "0")
    assert issubclass(usual_request(), extension.RequestCore)
    monkeypatch.setenv("GOSHOP_TELEMETRY_PURE_PYTHON", "1")
    assert usual_request() is SlottedRequest


def test_an_extension_of_other_sources_is_left_out_and_said(
    extension: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(extension, "SOURCES", "of yesterday")
    with caplog.at_level(logging.WARNING):
        assert usual_request() is SlottedRequest
    assert "built from other sources" in caplog.text


@pytest.mark.parametrize("error", [ImportError("a constant differs"), AttributeError("no such name")])
def test_an_extension_that_cannot_be_loaded_is_left_out_and_said(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fails(*_: Any) -> Any:
        raise error

    monkeypatch.delenv("GOSHOP_TELEMETRY_PURE_PYTHON", raising=False)
    monkeypatch.setattr(compiled, "import_module", fails)
    with caplog.at_level(logging.WARNING):
        assert usual_request() is SlottedRequest
    assert str(error) in caplog.text


def test_where_no_extension_was_built_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def missing(*_: Any) -> Any:
        raise ModuleNotFoundError("no module", name="telemetry._hotpath")

    monkeypatch.delenv("GOSHOP_TELEMETRY_PURE_PYTHON", raising=False)
    monkeypatch.setattr(compiled, "import_module", missing)
    assert usual_request() is SlottedRequest
    assert caplog.text == ""


class Method(str):
    """As `enum.StrEnum` members are."""

    __slots__ = ()


@pytest.mark.usefixtures("build")
@pytest.mark.parametrize("method", [Method("GET"), None])
async def test_a_method_that_is_no_plain_string_is_served_all_the_same(method: str | None):
    telemetry, logs = fresh_telemetry()
    served: list[LogLines] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        served.append(logs)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    scope: dict[str, Any] = {"type": "http", "path": "/", "headers": []} | (
        {} if method is None else {"method": method}
    )
    await TelemetryMiddleware(app, telemetry)(scope, _nothing, _nothing)
    assert len(served) == 1
    telemetry.shutdown()
