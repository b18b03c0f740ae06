"""The way out for spans: nothing is lost silently, nothing waits for a collector, and the books always balance."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import TracerProvider as SdkProvider

from telemetry import conventions as c
from telemetry import span_queue
from telemetry.exporters import ConfigurationError, FileExporter, HttpExporter, _retry_after, exporter_from
from telemetry.metrics import SpanCounts
from telemetry.otlp import Envelope, export_request, span_field
from telemetry.span_queue import Exporter, QueueLimits, Rejected, SpanQueue, Unavailable
from telemetry.spans import decode, read_spans
from telemetry.tracing import queue_limits

PATIENCE = 10.0
ROOT = Path(__file__).parents[2]


def ended(name: str = "span", **attributes: Any) -> tuple[Envelope, bytes]:
    provider = SdkProvider(resource=Resource({c.SERVICE_NAME: "goshop-test"}), shutdown_on_exit=False)
    span = provider.get_tracer("test").start_span(name, attributes=attributes)
    span.end()
    assert isinstance(span, ReadableSpan)
    return Envelope(span.resource, span.instrumentation_scope), span_field(span)


def export(exporter: Exporter, *spans: tuple[Envelope, bytes]) -> int:
    return exporter.export(export_request(spans), len(spans), 5.0)


def wait(condition: Callable[[], Any]) -> None:
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends, "the condition has not become true"
        time.sleep(0.002)


class Script:
    """An exporter that does what it is told, batch by batch, and then takes everything."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.taken: list[str] = []
        self.batches: list[int] = []
        self.timeouts: list[float] = []
        self.closed = False

    def export(self, body: bytes, spans: int, timeout: float) -> int:
        self.timeouts.append(timeout)
        step = self.steps.pop(0) if self.steps else 0
        if isinstance(step, Exception):
            raise step
        if callable(step):
            step()
        self.batches.append(spans)
        self.taken += [span.name for span in decode(body)]
        return step if isinstance(step, int) else 0

    def close(self) -> None:
        self.closed = True


Make = Callable[..., tuple[SpanQueue, SpanCounts]]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr(span_queue, "FIRST_BACKOFF", 0.001)
    queues: list[SpanQueue] = []

    def new(exporter: Any, **limits: Any) -> tuple[SpanQueue, SpanCounts]:
        counts = SpanCounts()
        queue = SpanQueue(exporter, counts, QueueLimits(**{"delay": 0.01, **limits}))
        queues.append(queue)
        return queue, counts

    yield new
    for queue in queues:
        queue.close(1.0)


def balance(queue: SpanQueue, counts: SpanCounts) -> bool:
    with queue._lock:
        return counts.ended == counts.exported + sum(counts.dropped.values()) + queue.queued


def test_a_full_batch_leaves_at_once_and_a_small_one_after_the_delay(make: Make):
    exporter = Script()
    queue, counts = make(exporter, batch=3, delay=0.05)
    for _ in range(7):
        queue.put(*ended())
    wait(lambda: counts.exported == 7)
    assert exporter.batches == [3, 3, 1]


@pytest.mark.parametrize("error", [Unavailable("503"), Unavailable("429", retry_after=0.01)])
def test_an_unavailable_collector_gets_the_same_batch_again(make: Make, error: Exception):
    exporter = Script(error, error, error)
    queue, counts = make(exporter)
    queue.put(*ended("kept"))
    wait(lambda: counts.exported)
    assert (exporter.taken, counts.dropped[c.DROP_REJECTED]) == (["kept"], 0)


@pytest.mark.parametrize("error", [Rejected("400"), RuntimeError("a defect")])
def test_a_rejected_batch_is_counted_and_the_next_one_leaves(make: Make, error: Exception):
    exporter = Script(error)
    queue, counts = make(exporter)
    queue.put(*ended("lost"))
    wait(lambda: counts.dropped[c.DROP_REJECTED] == 1)
    queue.put(*ended("kept"))
    wait(lambda: counts.exported == 1)
    assert exporter.taken == ["kept"]


def test_what_a_collector_refuses_of_a_batch_is_counted_as_rejected(make: Make):
    queue, counts = make(Script(2), batch=3)
    for _ in range(3):
        queue.put(*ended())
    wait(lambda: not queue.queued)
    assert (counts.exported, counts.dropped[c.DROP_REJECTED]) == (1, 2)


def test_a_collector_that_hangs_fills_the_queue_and_slows_nobody(make: Make):
    release = threading.Event()
    queue, counts = make(Script(lambda: release.wait(PATIENCE)), spans=10, batch=2)
    span = ended()
    began = time.perf_counter()
    for _ in range(1_000):
        queue.put(*span)
    assert time.perf_counter() - began < 1.0
    assert (queue.queued, counts.dropped[c.DROP_FULL]) == (10, 990)
    assert balance(queue, counts)
    release.set()
    wait(lambda: counts.exported == 10)


def test_the_queue_is_bounded_in_bytes_as_well(make: Make):
    release = threading.Event()
    queue, counts = make(Script(lambda: release.wait(PATIENCE)), bytes=100_000, batch=1_000)
    for _ in range(20):
        queue.put(*ended(big="x" * 20_000))
    assert counts.dropped[c.DROP_FULL] >= 15
    release.set()


def test_a_shutdown_exports_what_is_queued(make: Make):
    exporter = Script()
    queue, counts = make(exporter, delay=60.0)
    for _ in range(5):
        queue.put(*ended())
    queue.close(5.0)
    assert (counts.exported, queue.queued) == (5, 0)
    wait(lambda: exporter.closed)


def test_a_shutdown_waits_no_longer_than_its_bound_and_counts_the_rest(make: Make):
    release = threading.Event()
    queue, counts = make(Script(lambda: release.wait(PATIENCE)), batch=2)
    for _ in range(5):
        queue.put(*ended())
    began = time.monotonic()
    queue.close(0.2)
    assert time.monotonic() - began < 1.0
    assert (counts.exported, counts.dropped[c.DROP_SHUTDOWN], queue.queued) == (0, 5, 0)
    release.set()
    queue.put(*ended())
    assert counts.dropped[c.DROP_SHUTDOWN] == 6
    assert balance(queue, counts)


def test_a_shutdown_does_not_wait_for_a_collector_s_retry_after(make: Make):
    queue, counts = make(Script(Unavailable("503", retry_after=60.0)))
    queue.put(*ended())
    wait(lambda: not queue._spans)
    queue.close(5.0)
    assert counts.exported == 1


def test_a_flush_waits_until_everything_is_out(make: Make):
    queue, counts = make(Script(), delay=60.0)
    for _ in range(3):
        queue.put(*ended())
    assert queue.flush(5.0)
    assert (counts.exported, queue.queued) == (3, 0)


def test_a_flush_says_when_it_took_too_long(make: Make):
    release = threading.Event()
    queue, _ = make(Script(lambda: release.wait(PATIENCE)))
    queue.put(*ended())
    assert not queue.flush(0.05)
    release.set()


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.sampled_from([0, 1, "unavailable", "rejected", "defect"]), max_size=12),
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
    st.integers(5, 60),
)
def test_the_books_balance_whatever_the_collector_does(steps: list[Any], bursts: list[int], spans: int):
    errors = {"unavailable": Unavailable("x"), "rejected": Rejected("x"), "defect": RuntimeError("x")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(span_queue, "FIRST_BACKOFF", 0.001)
        counts = SpanCounts()
        queue = SpanQueue(Script(*(errors.get(s, s) for s in steps)), counts, QueueLimits(spans, batch=4, delay=0.001))
        span = ended()
        for burst in bursts:
            threads = [threading.Thread(target=lambda n=burst: [queue.put(*span) for _ in range(n)]) for _ in range(2)]
            for thread in threads:
                thread.start()
            assert balance(queue, counts)
            for thread in threads:
                thread.join()
        queue.close(5.0)
    assert counts.ended == 2 * sum(bursts)
    assert (balance(queue, counts), queue.queued) == (True, 0)


# --- over HTTP --------------------------------------------------------------------------------------------------------


def over_http(collector: Any, **environ: str) -> HttpExporter:
    return HttpExporter(collector.url, {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in environ.items()})


@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
def test_a_collector_gets_protobuf_with_the_headers_that_were_asked_for(collector: Any, compression: str):
    exporter = over_http(collector, COMPRESSION=compression, HEADERS="x-tenant=shop,authorization=Bearer%20abc")
    assert export(exporter, ended("one", size=1), ended("two")) == 0
    export(exporter, ended("three"))
    exporter.close()
    assert [span.name for span in collector.spans] == ["one", "two", "three"]
    headers = collector.requests[0]
    assert (headers["content-type"], headers["x-tenant"]) == ("application/x-protobuf", "shop")
    assert headers["authorization"] == "Bearer abc"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_some_statuses_ask_to_come_again(collector: Any, status: int):
    collector.answers = [(status, {"retry-after": "7"})]
    with pytest.raises(Unavailable) as caught:
        export(over_http(collector), ended())
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413, 500])
def test_other_statuses_are_final(collector: Any, status: int):
    collector.answers = [(status, {"location": "/elsewhere"})]
    with pytest.raises(Rejected, match=str(status)):
        export(over_http(collector), ended())


def test_a_partial_success_says_how_many_were_refused(collector: Any):
    collector.refuses = 1
    assert export(over_http(collector), ended(), ended()) == 1


def test_a_collector_that_is_away_is_unavailable():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        exporter = HttpExporter(f"http://127.0.0.1:{free.getsockname()[1]}/v1/traces", {})
    with pytest.raises(Unavailable):
        export(exporter, ended())


def test_a_collector_that_hangs_is_given_up_after_the_time_out(collector: Any):
    collector.gate.clear()
    began = time.monotonic()
    with pytest.raises(Unavailable):
        export(over_http(collector, TIMEOUT="0.1"), ended())
    assert time.monotonic() - began < 3.0


def test_a_collector_s_certificate_is_checked_against_the_file_that_was_named(tls_collector: Any):
    collector, certificate = tls_collector
    export(over_http(collector, CERTIFICATE=str(certificate)), ended("private"))
    assert [span.name for span in collector.spans] == ["private"]
    with pytest.raises(Unavailable, match="certificate"):
        export(over_http(collector), ended("to a stranger"))


@pytest.mark.parametrize(
    ("value", "seconds"), [("", 0.0), ("12", 12.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", 0.0)]
)
def test_retry_after_is_read_in_both_forms(value: str, seconds: float):
    assert _retry_after({"retry-after": value}) == seconds


# --- into a file ------------------------------------------------------------------------------------------------------


def test_a_file_gives_back_what_was_exported(tmp_path: Path):
    path = tmp_path / "folder" / "spans.otlp"
    exporter = FileExporter(path)
    export(exporter, ended("one", text="ä", number=7, flag=True, many=("a", "b")))
    export(exporter, ended("two"))
    exporter.close()
    one, two = read_spans(path)
    assert (one.name, two.name, one.service, one.kind) == ("one", "two", "test", "INTERNAL")
    assert one.attributes == {"text": "ä", "number": 7, "flag": True, "many": ["a", "b"]}


def test_a_torn_batch_ends_the_reading_and_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "spans.otlp"
    exporter = FileExporter(path)
    export(exporter, ended("whole"))
    exporter.close()
    whole = path.read_bytes()
    for kept in range(1, len(whole)):
        path.write_bytes(whole + whole[:kept])
        caplog.clear()
        assert [span.name for span in read_spans(path)] == ["whole"]
        assert f"torn batch of {kept} bytes" in caplog.text


def test_a_restarted_process_writes_behind_the_last_whole_batch(tmp_path: Path):
    path = tmp_path / "spans.otlp"
    first = FileExporter(path)
    export(first, ended("before"))
    first.close()
    path.write_bytes(path.read_bytes() + b"\x00\x00\x01\x00torn")
    second = FileExporter(path)
    export(second, ended("after"))
    second.close()
    assert [span.name for span in read_spans(path)] == ["before", "after"]


def test_a_full_disk_is_unavailable_and_leaves_no_half_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "spans.otlp"
    exporter = FileExporter(path)
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:10]) if len(data) > 10 else _full())
    with pytest.raises(Unavailable, match="No space"):
        export(exporter, ended())
    monkeypatch.undo()
    export(exporter, ended("later"))
    exporter.close()
    assert [span.name for span in read_spans(path)] == ["later"]


def _full() -> int:
    raise OSError(28, "No space left on device")


KILLED = """
import os, sys, telemetry
shop = telemetry.configure("order")
for n in range(2000):
    shop.tracer.start_span(f"span {n}").end()
    if n == 1500:
        shop.flush()
        print("flushed", flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_killed_process_leaves_a_readable_file(tmp_path: Path):
    path = tmp_path / "spans.otlp"
    environ = os.environ | {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"file:{path}",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "64",
    }
    done = subprocess.run([sys.executable, "-c", KILLED], env=environ, cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, b"flushed" in done.stdout) == (-9, True)
    names = [span.name for span in read_spans(path)]
    assert len(names) >= 1501
    assert names == [f"span {n}" for n in range(len(names))]


# --- chosen by the environment ----------------------------------------------------------------------------------------

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


@pytest.mark.parametrize(
    ("environ", "endpoint"),
    [
        ({TRACES: "http://a/x"}, "http://a/x"),
        ({ENDPOINT: "http://b:4318/"}, "http://b:4318/v1/traces"),
        ({ENDPOINT: "http://b", TRACES: "http://a/x"}, "http://a/x"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "http://localhost:4318/v1/traces"),
    ],
)
def test_the_endpoint_comes_from_the_standard_variables(environ: dict[str, str], endpoint: str):
    exporter = exporter_from(environ)
    assert isinstance(exporter, HttpExporter)
    assert exporter._endpoint == endpoint


@pytest.mark.parametrize("environ", [{}, {"OTEL_TRACES_EXPORTER": "none", TRACES: "http://a"}])
def test_without_a_place_to_export_to_nothing_is(environ: dict[str, str]):
    assert exporter_from(environ) is None


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_TRACES_EXPORTER": "jaeger"},
        {TRACES: "http://a", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
        {TRACES: "http://a", "OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"},
        {TRACES: "http://a", "OTEL_EXPORTER_OTLP_TIMEOUT": "soon"},
    ],
)
def test_what_cannot_be_followed_is_an_error_that_names_the_variable(environ: dict[str, str]):
    with pytest.raises(ConfigurationError, match="OTEL_"):
        exporter_from(environ)


def test_a_file_url_may_be_written_either_way(tmp_path: Path):
    for number, prefix in enumerate(("file:", "file://")):
        path = tmp_path / f"spans {number}.otlp"
        exporter = exporter_from({TRACES: f"{prefix}{str(path).replace(' ', '%20')}"})
        assert exporter is not None
        exporter.close()
        assert path.exists()


def test_the_batch_limits_come_from_the_standard_variables():
    environ = {"OTEL_BSP_MAX_QUEUE_SIZE": "10", "OTEL_BSP_SCHEDULE_DELAY": "250"}
    assert queue_limits(environ) == QueueLimits(spans=10, batch=10, delay=0.25)
    assert queue_limits({}) == QueueLimits()
    with pytest.raises(ConfigurationError, match="OTEL_BSP_MAX_QUEUE_SIZE=0"):
        queue_limits({"OTEL_BSP_MAX_QUEUE_SIZE": "0"})
