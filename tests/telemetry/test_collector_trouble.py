"""A real collector that is down, slow, overloaded or talks nonsense: bounded memory, exact books, and recovery."""

import socket
import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry import conventions as c
from telemetry import span_queue
from telemetry.exporters import HttpExporter
from telemetry.metrics import SpanCounts
from telemetry.span_queue import QueueLimits, SpanQueue
from telemetry.spans import decode
from tests.telemetry.ended_spans import PATIENCE, ROOT, Make, balance, ended, over_http, wait


def send_some(queue: SpanQueue, spans: int, name: str = "span") -> None:
    for number in range(spans):
        queue.put(*ended(f"{name} {number}"))


def test_a_collector_that_is_down_costs_bounded_memory_and_gets_what_was_kept(make: Make, collector_at: Any):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    queue, counts = make(HttpExporter(f"http://127.0.0.1:{port}/v1/traces", {}), spans=100, batch=10)
    send_some(queue, 250)
    assert (counts.ended, counts.dropped[c.DROP_FULL], queue.queued) == (250, 150, 100)
    collector = collector_at(port)
    wait(lambda: counts.exported == 100)
    assert [span.name for span in collector.spans] == [f"span {number}" for number in range(100)]
    assert balance(queue, counts)


def test_a_collector_that_is_slow_makes_nobody_else_slow(make: Make, collector: Any):
    collector.gate.clear()
    queue, counts = make(over_http(collector), spans=1_000, batch=100)
    span = ended()
    began = time.perf_counter()
    for _ in range(2_000):
        queue.put(*span)
    assert time.perf_counter() - began < 1.0
    assert (queue.queued, counts.dropped[c.DROP_FULL]) == (1_000, 1_000)
    collector.gate.set()
    wait(lambda: counts.exported == 1_000)
    assert len(collector.spans) == 1_000
    assert balance(queue, counts)


def test_a_collector_is_left_alone_for_as_long_as_it_asks(make: Make, collector: Any):
    collector.answers = [(429, {"retry-after": "1"})]
    queue, counts = make(over_http(collector))
    send_some(queue, 3)
    began = time.monotonic()
    wait(lambda: counts.exported == 3)
    assert time.monotonic() - began >= 0.9
    assert len(collector.requests) == 2


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_collector_that_is_overloaded_gets_each_span_once(make: Make, collector: Any, status: int):
    collector.answers = [(status, {})] * 5
    queue, counts = make(over_http(collector), batch=5)
    send_some(queue, 20)
    wait(lambda: counts.exported == 20)
    assert sorted(span.name for span in collector.spans) == sorted(f"span {number}" for number in range(20))
    assert sum(counts.dropped.values()) == 0


def test_a_collector_that_takes_a_part_leaves_the_rest_to_be_counted(make: Make, collector: Any):
    collector.refuses = 3
    queue, counts = make(over_http(collector), batch=10)
    send_some(queue, 30)
    wait(lambda: not queue.queued)
    assert (counts.exported, counts.dropped[c.DROP_REJECTED]) == (21, 9)


@pytest.mark.parametrize("refuses", [1_000_000, -5])
def test_a_collector_that_cannot_count_does_not_spoil_the_books(make: Make, collector: Any, refuses: int):
    collector.refuses = refuses
    queue, counts = make(over_http(collector), batch=10)
    send_some(queue, 10)
    wait(lambda: not queue.queued)
    assert balance(queue, counts)
    assert counts.exported == (0 if refuses > 0 else 10)


def test_an_acceptance_that_is_no_protobuf_is_one_and_is_reported(
    make: Make, collector: Any, caplog: pytest.LogCaptureFixture
):
    collector.says = b"\xff<html>"
    queue, counts = make(over_http(collector))
    send_some(queue, 2)
    wait(lambda: counts.exported == 2)
    assert "is no OTLP" in caplog.text


def test_who_speaks_no_http_is_asked_again(make: Make, collector_at: Any):
    with socket.create_server(("127.0.0.1", 0)) as babbler:
        port = babbler.getsockname()[1]
        queue, counts = make(HttpExporter(f"http://127.0.0.1:{port}/v1/traces", {}))
        send_some(queue, 4)
        for _ in range(3):
            connection, _ = babbler.accept()
            connection.recv(100)
            connection.sendall(b"220 mail.example.org ESMTP\r\n\r\n")
            connection.close()
        assert (counts.exported, queue.queued) == (0, 4)
    collector_at(port)
    wait(lambda: counts.exported == 4)


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.sampled_from([200, 200, 400, 429, 500, 503]), max_size=12),
    st.integers(0, 2),
    st.integers(20, 80),
    st.integers(0, 1),
)
def test_what_a_collector_has_is_what_was_counted_as_exported(
    collector_type: Any, statuses: list[int], refuses: int, spans: int, flushes: int
):
    collector = collector_type()
    collector.answers = [(status, {}) for status in statuses]
    collector.refuses = refuses
    counts = SpanCounts()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(span_queue, "FIRST_BACKOFF", 0.001)
        queue = SpanQueue(over_http(collector), counts, QueueLimits(spans=40, batch=8, delay=0.001))
        send_some(queue, spans)
        for _ in range(flushes):
            assert queue.flush(PATIENCE)
        queue.close(PATIENCE)
    collector.stop()
    assert (counts.ended, queue.queued) == (spans, 0)
    assert balance(queue, counts)
    refused = sum(min(refuses, len(list(decode(body)))) for body in collector.bodies)
    assert len(collector.spans) == counts.exported + refused


def test_a_batch_is_no_larger_than_a_collector_takes(make: Make, collector: Any):
    queue, counts = make(over_http(collector), delay=60.0)
    for _ in range(8):
        queue.put(*ended(text="x" * 1_000_000))
    assert queue.flush(PATIENCE)
    assert counts.exported == 8
    assert [len(list(decode(body))) for body in collector.bodies] == [3, 3, 2]


FORKED = """
import os, sys, threading
from opentelemetry.sdk.resources import Resource
from telemetry.exporters import HttpExporter
from telemetry.metrics import SpanCounts
from telemetry.otlp import Envelope, head, name, span, times
from telemetry.span_queue import QueueLimits, SpanQueue

counts = SpanCounts()
queue = SpanQueue(HttpExporter(sys.argv[1], {}), counts, QueueLimits(delay=60.0))
envelope = Envelope(Resource({}), None)
put = lambda text: queue.put(envelope, span(head("1" * 32, "2" * 16) + name(text) + times(1, 2)))
put("before")
assert queue.flush(5.0)
put("the parent's")
child = os.fork()
for number in range(10):
    put(f"{'parent' if child else 'child'} {number}")
queue.close(5.0)
assert counts.ended == counts.exported + sum(counts.dropped.values()), vars(counts)
assert queue.queued == 0
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
os._exit(0)
"""


def test_a_forked_child_exports_its_own_spans_over_its_own_connection(collector: Any):
    subprocess.run([sys.executable, "-c", FORKED, collector.url], cwd=ROOT, check=True, timeout=30)
    expected = ["before", "the parent's", *(f"{who} {number}" for who in ("child", "parent") for number in range(10))]
    assert sorted(span.name for span in collector.spans) == sorted(expected)
