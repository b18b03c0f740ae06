"""The queue of spans where threads, forks and whoever interrupts it are at their worst."""

import dis
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource

from telemetry import conventions as c
from telemetry import span_queue
from telemetry.otlp import Envelope
from telemetry.span_queue import LARGEST_BATCH, SpanQueue
from telemetry.spans import SpanRecord, decode
from tests.telemetry.ended_spans import PATIENCE, ROOT, Make, balance, ended, wait


class Taking:
    """An exporter that takes everything, after `first` was called with the number of the batch."""

    def __init__(self, first: Callable[[int], object] = lambda _: None) -> None:
        self._first = first
        self.batches: list[list[SpanRecord]] = []
        self.closed = False

    def export(self, body: bytes, _spans: int, _timeout: float) -> int:
        self._first(len(self.batches))
        self.batches.append(list(decode(body)))
        return 0

    def close(self) -> None:
        self.closed = True

    @property
    def names(self) -> list[str]:
        return [span.name for batch in self.batches for span in batch]


def refuse(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_thread_that_cannot_start_costs_no_span_and_is_tried_again(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    exporter = Taking()
    queue, counts = make(exporter)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        queue.put(*ended("one"))
        queue.put(*ended("two"))
        assert not queue.flush(PATIENCE)
    assert caplog.text.count("can't start new thread") == 1
    queue.put(*ended("three"))
    wait(lambda: counts.exported == 3)
    assert exporter.names == ["one", "two", "three"]


def test_a_flush_starts_the_thread_that_could_not_start_before(make: Make, monkeypatch: pytest.MonkeyPatch):
    queue, counts = make(Taking(), delay=60.0)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        queue.put(*ended())
    assert queue.flush(PATIENCE)
    assert counts.exported == 1


def test_an_end_without_any_thread_counts_what_waits_and_does_not_wait_for_it(
    make: Make, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(threading.Thread, "start", refuse)
    exporter = Taking()
    queue, counts = make(exporter)
    queue.put(*ended())
    queue.close(3_600.0)
    assert (counts.dropped[c.DROP_SHUTDOWN], exporter.closed, balance(queue, counts)) == (1, True, True)


def interrupted(queue: SpanQueue, at: int, outer: tuple[Envelope, bytes], inner: tuple[Envelope, bytes]) -> bool:
    """Take a span, and another one behind the call of this number; False when there are not so many.

    The interpreter looks behind calls whether there is a signal to handle or garbage to collect.
    """
    passed, called = 0, True

    def trace(frame: Any, event: str, _argument: Any) -> Any:
        nonlocal passed, called
        if frame.f_code is not SpanQueue.put.__code__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            passed += called
            called, due = False, called and passed == at
            if due:
                queue.put(*inner)
            called = dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith("CALL")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        queue.put(*outer)
    finally:
        sys.settrace(before)
    return passed >= at


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_a_span_that_ends_at_any_point_of_taking_another_one_is_taken_and_neither_is_mixed_up(make: Make, batch: int):
    """A signal handler, or a finalizer that a garbage collection runs, may end a span after any call."""
    (_, inner), outer = ended("inner"), ended("outer")
    envelope = Envelope(Resource({c.SERVICE_NAME: "the inner one's"}), None)
    at = 0
    while True:
        exporter = Taking()
        queue, counts = make(exporter, delay=60.0, batch=batch)
        if not interrupted(queue, at := at + 1, outer, (envelope, inner)):
            break
        assert queue.flush(PATIENCE), at
        told = {span.name: span.service for taken in exporter.batches for span in taken}
        assert told == {"inner": "the inner one's", "outer": "test"}, at
        assert (counts.exported, balance(queue, counts)) == (2, True)
    assert at > 5


@pytest.mark.parametrize("batch", [1, 100])
def test_the_first_span_starts_the_export_whoever_interrupts_it(make: Make, batch: int):
    at = 0
    while True:
        queue, counts = make(Taking(), delay=0.001, batch=batch)
        if not interrupted(queue, at := at + 1, ended(), ended()):
            break
        wait(lambda counts=counts: counts.exported == 2)


def test_a_flush_waits_for_no_span_that_ends_later(make: Make):
    queue, counts = make(Taking(lambda _: queue.put(*ended("another"))), delay=60.0)
    queue.put(*ended())
    assert queue.flush(PATIENCE)
    assert counts.exported == 1


def test_a_flush_that_is_over_leaves_the_other_one_its_haste(make: Make):
    release = threading.Event()
    exporter = Taking(lambda number: number or release.wait(PATIENCE))
    queue, _ = make(exporter, delay=60.0)
    answers: list[bool] = []
    flushes = [threading.Thread(target=lambda: answers.append(queue.flush(PATIENCE))) for _ in range(2)]
    queue.put(*ended("first"))
    flushes[0].start()
    wait(lambda: not queue._waiting)
    queue.put(*ended("second"))
    flushes[1].start()
    wait(lambda: queue._wanted == 2)
    release.set()
    for flush in flushes:
        flush.join()
    assert (answers, exporter.names) == ([True, True], ["first", "second"])


FORK = """
import os, sys, threading
from telemetry.metrics import SpanCounts
from telemetry.otlp import Envelope
from telemetry.span_queue import QueueLimits, SpanQueue
from opentelemetry.sdk.resources import Resource
class Exporter:
    def __init__(self):
        self.batches, self.called, self.release = [], threading.Event(), threading.Event()
    def export(self, body, spans, timeout):
        self.batches.append(spans)
        self.called.set()
        self.release.wait(60.0)
        return 0
    def close(self):
        pass
span = Envelope(Resource({}), None), b""
exporter = Exporter()
queue = SpanQueue(exporter, SpanCounts(), QueueLimits(batch=3, delay=60.0))
queue.put(*span)
flush = threading.Thread(target=queue.flush, args=(60.0,))
flush.start()
assert exporter.called.wait(60.0)
child = os.fork()
exporter.release.set()
if child:
    flush.join()
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
exporter.batches.clear()
exporter.called = threading.Event()
for _ in range(3):
    # Time enough for the export of one span, if there were haste.
    assert not exporter.called.wait(0.05)
    queue.put(*span)
assert exporter.called.wait(60.0)
os._exit(exporter.batches != [3])
"""


def test_a_child_of_a_process_that_flushes_is_in_no_haste():
    done = subprocess.run([sys.executable, "-c", FORK], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_batch_that_there_is_no_memory_for_is_counted_and_the_next_one_leaves(
    make: Make, monkeypatch: pytest.MonkeyPatch
):
    def fail(_groups: Any) -> bytes:
        raise MemoryError

    exporter = Taking()
    queue, counts = make(exporter)
    with monkeypatch.context() as patch:
        patch.setattr(span_queue, "export_request", fail)
        queue.put(*ended("lost"))
        wait(lambda: counts.dropped[c.DROP_REJECTED] == 1)
    queue.put(*ended("kept"))
    assert queue.flush(PATIENCE)
    assert exporter.names == ["kept"]


def test_a_batch_of_everything_is_sent_in_parts_that_a_collector_takes(make: Make):
    exporter = Taking()
    queue, counts = make(exporter, batch=65_536, delay=60.0)
    span = ended(big="x" * (LARGEST_BATCH // 10))
    for _ in range(25):
        queue.put(*span)
    assert queue.flush(PATIENCE)
    assert [len(batch) for batch in exporter.batches] == [9, 9, 7]
    assert (counts.exported, balance(queue, counts)) == (25, True)
