"""The end of a process: five seconds in all, and everything that still can be is exported."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from telemetry.ending import Patience
from tests.telemetry.ended_spans import ROOT


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_what_one_has_waited_is_gone_for_the_others():
    clock = Clock()
    patience = Patience(5.0, clock)
    with patience.wait() as seconds:
        assert seconds == 5.0
        clock.now += 3.0
    with patience.wait() as seconds:
        assert seconds == 2.0
        clock.now += 2.0
    with patience.wait() as seconds:
        assert seconds == 0.0


def test_patience_comes_back_as_time_goes_by():
    clock = Clock()
    patience = Patience(5.0, clock)
    with patience.wait():
        clock.now += 5.0
    clock.now += 2.0
    with patience.wait() as seconds:
        assert seconds == 2.0
    clock.now += 3_600.0
    with patience.wait() as seconds:
        assert seconds == 5.0


def test_spans_leave_the_log_lines_their_part_however_long_they_take():
    clock = Clock()
    patience = Patience(5.0, clock)
    with patience.wait(0.9) as seconds:
        assert seconds == pytest.approx(4.5)
        clock.now += 60.0
    with patience.wait(0.9) as seconds:
        assert seconds == pytest.approx(0.0)
    with patience.wait() as seconds:
        assert seconds == pytest.approx(0.5)


def test_those_who_wait_at_the_same_time_wait_out_the_same_seconds():
    clock = Clock()
    patience = Patience(5.0, clock)
    with patience.wait(0.9) as first:
        clock.now += 2.0
        with patience.wait(0.9) as second:
            clock.now += 1.0
            with patience.wait() as third:
                pass
        clock.now += 1.0
    assert (first, second, third) == (pytest.approx(4.5), pytest.approx(2.5), pytest.approx(2.0))
    with patience.wait() as left:
        assert left == pytest.approx(1.0)


def test_whoever_waits_for_everything_leaves_nothing_to_those_who_wait_beside_him():
    clock = Clock()
    patience = Patience(5.0, clock)
    with patience.wait(0.9), patience.wait():
        clock.now += 60.0
    with patience.wait() as left:
        assert left == 0.0


PARENT_WAITS = """
import os, sys, threading
from telemetry.ending import Patience
now = [0.0]
patience, over = Patience(1.0, lambda: now[0]), threading.Event()
def wait():
    with patience.wait():
        waiting.set()
        over.wait(60.0)
waiting = threading.Event()
thread = threading.Thread(target=wait)
thread.start()
waiting.wait(60.0)
if not (child := os.fork()):
    now[0] = 0.5
    with patience.wait() as seconds:
        os._exit(seconds != 1.0)
over.set()
thread.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_does_not_wait_with_its_parent():
    assert run(PARENT_WAITS, dict(os.environ)) == []


@pytest.fixture
def silent() -> Iterator[dict[str, str]]:
    """The environment of a process whose collector takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        endpoint = f"http://127.0.0.1:{listening.getsockname()[1]}/v1/traces"
        yield os.environ | {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint}


def run(code: str, environ: dict[str, str]) -> list[float]:
    """Run a program; return the numbers that it prints on its standard error."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return [float(number) for number in done.stderr.split()]


EVERY_END = """
import asyncio, atexit, sys, time, telemetry
from opentelemetry import trace
from telemetry.ending import at_the_end
at_the_end.__init__(1.0)  # the whole five are tested under zero code
atexit.register(lambda: print(time.monotonic() - began, file=sys.stderr))
shop = telemetry.configure("order")
shop.tracer.start_span("x").end()
async def app(scope, receive, send):
    await send({"type": "lifespan.shutdown.complete"})
async def nowhere(message):
    pass
began = time.monotonic()
asyncio.run(telemetry.TelemetryMiddleware(app, shop)({"type": "lifespan"}, None, nowhere))
print(time.monotonic() - began, file=sys.stderr)
shop.flush()
shop.shutdown()
trace.get_tracer_provider().shutdown()
print(shop.metrics.spans.dropped["shutdown"], file=sys.stderr)
"""


def test_all_the_ends_of_a_process_wait_for_a_silent_collector_as_long_as_one(silent: dict[str, str]):
    lifespan, dropped, everything = run(EVERY_END, silent)
    assert lifespan >= 0.9
    assert everything < 1.5
    assert dropped == 1


SECOND = """
import sys, time, telemetry
first = telemetry.configure("first")
for _ in range(3):
    first.tracer.start_span("x").end()
began = time.monotonic()
second = telemetry.configure("second")
counts = second.metrics.spans
print(time.monotonic() - began, counts.ended, counts.dropped["shutdown"], second.queued, file=sys.stderr)
second.shutdown(0.1)
"""


def test_a_second_configuration_waits_a_second_for_a_silent_collector_and_counts_what_is_lost(silent: dict[str, str]):
    took, *books = run(SECOND, silent)
    assert 0.9 < took < 2.0
    assert books == [3, 3, 0]


OTHERS = """
import sys, threading, time, telemetry
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
class Theirs(SpanProcessor):
    flushed = 0
    def force_flush(self, timeout_millis=30_000):
        self.flushed += 1
class Hanging(SpanProcessor):
    def force_flush(self, timeout_millis=30_000):
        threading.Event().wait()
shop = telemetry.configure("order")
provider = trace.get_tracer_provider()
provider.add_span_processor(theirs := Theirs())
assert shop.flush()
assert theirs.flushed == 1
provider.add_span_processor(Hanging())
began = time.monotonic()
assert not shop.flush(0.2)
print(time.monotonic() - began, theirs.flushed, file=sys.stderr)
"""


def test_a_flush_asks_every_processor_and_waits_for_none_longer_than_it_may():
    took, flushed = run(OTHERS, dict(os.environ))
    assert 0.15 < took < 1.0
    assert flushed == 2


BESIDE_A_SILENT_COLLECTOR = """
import sys, threading, time, telemetry
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
class Faulty(SpanProcessor):
    def force_flush(self, timeout_millis=30_000):
        raise ValueError("a defect")
shop = telemetry.configure("order")
provider = trace.get_tracer_provider()
provider.add_span_processor(Faulty())
provider.add_span_processor(BatchSpanProcessor(exporter := InMemorySpanExporter(), schedule_delay_millis=600_000))
shop.tracer.start_span("x").end()
began = time.monotonic()
assert not shop.flush(0.3)
print(time.monotonic() - began, len(exporter.get_finished_spans()), file=sys.stderr)
def refuse(thread):
    raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
assert not shop.flush(0.01)
shop.shutdown(0.01)
"""


def test_a_silent_collector_of_ours_costs_nobody_else_the_flush(silent: dict[str, str]):
    took, flushed = run(BESIDE_A_SILENT_COLLECTOR, silent)
    assert 0.25 < took < 1.0
    assert flushed == 1


FOREIGN = """
import sys, telemetry
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
trace.set_tracer_provider(theirs := TracerProvider())
theirs.add_span_processor(BatchSpanProcessor(exporter := InMemorySpanExporter(), schedule_delay_millis=600_000))
shop = telemetry.configure("order")
shop.tracer.start_span("x").end()
assert shop.queued == 0
assert shop.flush()
print(len(exporter.get_finished_spans()), file=sys.stderr)
"""


def test_a_flush_reaches_the_provider_that_was_there_first():
    assert run(FOREIGN, dict(os.environ)) == [1]
