"""The queue of spans: nothing is lost silently, nothing waits for a collector, and the books always balance."""

import threading
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from telemetry import conventions as c
from telemetry import span_queue
from telemetry.metrics import SpanCounts
from telemetry.span_queue import QueueLimits, Rejected, SpanQueue, Unavailable
from telemetry.spans import decode
from tests.telemetry.ended_spans import PATIENCE, Make, balance, ended, wait


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


def test_a_span_larger_than_a_batch_may_be_is_counted_as_rejected_and_holds_nobody_up(
    make: Make, caplog: pytest.LogCaptureFixture
):
    exporter = Script()
    queue, counts = make(exporter)
    for _ in range(2):
        queue.put(*ended(big="x" * span_queue.LARGEST_BATCH))
    queue.put(*ended("small"))
    assert queue.flush(PATIENCE)
    assert (exporter.taken, counts.dropped[c.DROP_REJECTED], counts.dropped[c.DROP_FULL]) == (["small"], 2, 0)
    assert caplog.text.count("larger than a batch may be") == 1
    assert balance(queue, counts)


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
    wait(lambda: not queue._waiting)
    queue.close(5.0)
    assert counts.exported == 1


def test_a_flush_waits_until_everything_is_out(make: Make):
    queue, counts = make(Script(), delay=60.0)
    for _ in range(3):
        queue.put(*ended())
    assert queue.flush(5.0)
    assert (counts.exported, queue.queued) == (3, 0)


def test_a_flush_does_not_wait_for_the_next_try_of_an_outage(make: Make):
    queue, counts = make(Script(Unavailable("503", retry_after=60.0)))
    queue.put(*ended())
    wait(lambda: not queue._waiting)
    assert queue.flush(5.0)
    assert counts.exported == 1


def test_a_flush_tries_once_what_an_outage_holds_up(make: Make):
    exporter = Script(*[Unavailable("503", retry_after=60.0)] * 10)
    queue, _ = make(exporter)
    queue.put(*ended())
    wait(lambda: len(exporter.timeouts) == 1)
    for tries in (2, 3):
        assert not queue.flush(0.1)
        assert len(exporter.timeouts) == tries


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


def test_a_scrape_balances_although_it_is_rendered_in_pieces(make: Make):
    queue, counts = make(Script(), delay=60.0)
    told = {}
    for family in counts.collect():
        told[family.name] = sum(sample.value for sample in family.samples)
        queue.put(*ended())
        assert queue.flush(PATIENCE)
    names = (c.SPANS_ENDED, c.SPANS_EXPORTED, c.SPANS_DROPPED, c.SPANS_QUEUED)
    assert [told[name.removesuffix("_total")] for name in names] == [0, 0, 0, 0]


def test_what_waits_in_the_queue_is_in_the_scrape(make: Make):
    queue, counts = make(Script(), delay=60.0, batch=100)
    for _ in range(3):
        queue.put(*ended())
    assert {family.name: family.samples[0].value for family in counts.collect()}[c.SPANS_QUEUED] == 3


def test_a_span_that_ends_inside_of_the_queue_is_counted_too(make: Make, monkeypatch: pytest.MonkeyPatch):
    """A signal handler, or a finalizer that a garbage collection runs, may end a span at any point."""
    queue, counts = make(Script(), delay=60.0)
    original = queue._wake
    monkeypatch.setattr(queue, "_wake", lambda: (monkeypatch.undo(), original(), queue.put(*ended("inner"))))
    queue.put(*ended("outer"))
    assert queue.flush(PATIENCE)
    assert (counts.ended, counts.exported) == (2, 2)


def test_a_span_that_nobody_can_encode_is_counted_as_rejected(make: Make):
    queue, counts = make(Script())
    queue.lose()
    assert (counts.ended, counts.dropped[c.DROP_REJECTED]) == (1, 1)


def test_an_export_is_not_instrumented_itself(make: Make):
    seen: list[bool] = []
    queue, _ = make(Script(lambda: seen.append(is_instrumentation_enabled())))
    queue.put(*ended())
    assert queue.flush(PATIENCE)
    assert (seen, is_instrumentation_enabled()) == ([False], True)
