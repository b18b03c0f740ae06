"""The way out for spans: a bounded queue and a thread, so that a collector that is slow or dead never slows a request.

Every sampled span that ends is counted once as ended, and then once as exported or dropped; what is neither is queued:
ended = exported + dropped + queued, at any moment.
"""

import contextlib
import logging
import os
import random
import sys
import threading
import time
import weakref
from dataclasses import dataclass
from itertools import accumulate, islice, takewhile
from typing import Any, Final, Protocol

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value

from . import conventions as c
from .metrics import SpanCounts
from .otlp import Envelope, export_request, grouped

logger = logging.getLogger(__name__)

FIRST_BACKOFF: Final = 0.5
LAST_BACKOFF: Final = 30.0
LONGEST_RETRY_AFTER: Final = 300.0
# Bytes of spans in one batch, and so of one span: gRPC servers usually take no message above 4 MiB.
LARGEST_BATCH: Final = 3 * 1024 * 1024


class Unavailable(Exception):
    """The other side cannot take the batch now; `retry_after` seconds is what it asked for, 0 when it did not."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Rejected(Exception):
    """The other side will never take the batch."""


class Exporter(Protocol):
    """Where batches go."""

    def export(self, body: bytes, spans: int, timeout: float) -> int:
        """Deliver an `ExportTraceServiceRequest` of `spans` spans within `timeout` seconds; return how many were refused.

        Raises `Unavailable` to be called again with the same batch, `Rejected` to lose it.
        """

    def close(self) -> None:
        """Let go of connections and files."""


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much waits, and for how long; the defaults of `OTEL_BSP_*` differ from the SDK's where it loses spans.

    `bytes` bounds the sum of the encoded spans, those that are on their way included; times are seconds.
    """

    spans: int = 65_536
    bytes: int = 64 * 1024 * 1024
    batch: int = 512
    delay: float = 1.0
    timeout: float = 10.0


class SpanQueue:
    """A bounded queue with a daemon thread that exports batches of it, and retries as long as it takes."""

    def __init__(self, exporter: Exporter, counts: SpanCounts, limits: QueueLimits = QueueLimits()) -> None:
        self._exporter = exporter
        self._counts = counts
        self._limits = limits
        self._closed = False
        self._deadline = float("inf")
        self._failing = False
        self._told_of_size = self._told_of_thread = False
        self._empty()
        counts.queue = self
        anew = weakref.WeakMethod(self._start_anew)
        os.register_at_fork(after_in_child=lambda: (method := anew()) and method())

    def _empty(self) -> None:
        # Envelope, span, envelope, span: 65,536 pairs would be looked at by every full garbage collection. A list, because it
        # takes two at once in half a deque's time.
        self._waiting: list[Any] = []
        self._in_flight = self._flying_bytes = 0
        self._room, self._byte_room = (0 if self._closed else self._limits.spans), self._limits.bytes
        # How many spans have left, and how many shall without delay, for flushes.
        self._gone = self._wanted = 0
        # Whether a flush has yet to cut a pause short.
        self._hurry = False
        # How much there is when the thread is to be started, or woken up.
        self._wake_at = 1
        self._lock = self._counts.lock
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None

    def _start_anew(self) -> None:
        """Start empty in a forked child: it has no export thread, and its parent exports what was waiting."""
        self._counts.start_anew()
        self._empty()

    @property
    def queued(self) -> int:
        """How many spans wait or are on their way."""
        with self._lock:
            return self._held()

    def put(self, envelope: Envelope, span: bytes) -> None:
        """Take an ended span, encoded as `otlp.span` does; never waits for anything but the queue's lock."""
        size = len(span)
        if size > LARGEST_BATCH:
            self._refuse(size)
            return
        try:
            # Half the cost of `with`, which is half the cost of all this.
            self._lock.acquire()
            try:
                self._counts.ended += 1
                if not self._room or size > self._byte_room:
                    self._counts.dropped[c.DROP_SHUTDOWN if self._closed else c.DROP_FULL] += 1
                    return
                self._room -= 1
                self._byte_room -= size
                # In one call: a signal handler or a finalizer between two of them may end a span as well.
                self._waiting.extend((envelope, span))
                if len(self._waiting) >= self._wake_at:
                    self._wake()
            finally:
                self._lock.release()
        except RuntimeError as error:
            self._say_that_nobody_exports(error)

    def _refuse(self, size: int) -> None:
        self.lose()
        # Not under the lock: a handler of somebody's own may end a span.
        if not self._told_of_size:
            self._told_of_size = True
            logger.warning("a span of %d bytes is larger than a batch may be, and lost; so will be others", size)

    def lose(self) -> None:
        """Count an ended span that nobody can encode or take."""
        with self._lock:
            self._counts.ended += 1
            self._counts.dropped[c.DROP_REJECTED] += 1

    def _wake(self) -> None:
        """Start the thread with the first span, later wake it up for a whole batch: that costs as much as twenty spans.

        Raises `RuntimeError` when no thread is to be had (a limit of the container's, the end of the interpreter).
        """
        self._wake_at = sys.maxsize
        if self._thread is not None:
            self._changed.notify_all()
            return
        thread = threading.Thread(target=self._run, name="telemetry-export", daemon=True)
        try:
            thread.start()
        except BaseException:
            # The next span tries again.
            self._wake_at = 1
            raise
        self._thread = thread

    def _say_that_nobody_exports(self, error: RuntimeError) -> None:
        # Not under the lock: a handler of somebody's own may end a span, here or in a thread that it waits for.
        if not self._told_of_thread:
            self._told_of_thread = True
            logger.warning("spans wait in the queue, no thread is to be had for their export: %s", error)

    def flush(self, timeout: float) -> bool:
        """Export what is queued now; False when it took longer than `timeout` seconds, or is lost.

        A batch that waits for its next try has one at once, as the collector may be back. Spans that end meanwhile are not
        waited for.
        """
        try:
            with self._changed:
                wanted = self._gone + self._held()
                self._hurry = self._held() > 0
                self._wanted = max(self._wanted, wanted)
                self._get_going()
                self._changed.wait_for(lambda: self._gone >= wanted or not self._held(), timeout)
                return self._gone >= wanted
        except RuntimeError as error:
            self._say_that_nobody_exports(error)
            return False

    def _get_going(self) -> None:
        if self._thread is None and self._waiting:
            self._wake()
        self._changed.notify_all()

    def _held(self) -> int:
        return len(self._waiting) // 2 + self._in_flight

    def close(self, timeout: float) -> None:
        """Export what is queued within `timeout` seconds, and count the rest as dropped."""
        with self._changed:
            if self._closed:
                return
            self._closed, self._room = True, 0
            self._deadline = time.monotonic() + timeout
            # Without a thread nobody will ever take what waits.
            with contextlib.suppress(RuntimeError):
                self._get_going()
                self._changed.wait_for(lambda: not self._held(), timeout)
            lost = self._held()
            self._counts.dropped[c.DROP_SHUTDOWN] += lost
            self._waiting.clear()
            # From here on the thread's own result no longer counts.
            self._in_flight = 0
            self._changed.notify_all()
        if lost:
            logger.warning("%d spans were not exported before the end", lost)
        if self._thread is None:
            self._exporter.close()

    def _run(self) -> None:
        # Else the instrumentation of urllib3 or gRPC makes a span of every export, which is exported, and so on.
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        while batch := self._next_batch():
            self._deliver(batch)
        self._exporter.close()

    def _next_batch(self) -> list[Any]:
        """Return what to export next, as it waited; nothing when the queue is closed and empty."""
        with self._changed:
            while True:
                self._wake_at = 2 * self._limits.batch
                self._changed.wait_for(self._due, self._limits.delay)
                if self._waiting:
                    self._wake_at = sys.maxsize
                    return self._take()
                if self._closed:
                    return []

    def _due(self) -> bool:
        full = len(self._waiting) >= 2 * self._limits.batch
        return full or self._closed or (self._gone < self._wanted and bool(self._waiting))

    def _take(self) -> list[Any]:
        self._in_flight = count = self._fitting()
        taken = self._waiting[: 2 * count]
        del self._waiting[: 2 * count]
        return taken

    def _fitting(self) -> int:
        """Return how many spans the next batch may have: as many as are asked for, unless they are too large together."""
        count = min(len(self._waiting) // 2, self._limits.batch)
        if self._limits.bytes - self._byte_room <= LARGEST_BATCH:
            return count
        sizes = accumulate(map(len, islice(self._waiting, 1, 2 * count, 2)))
        return sum(1 for _ in takewhile(LARGEST_BATCH.__ge__, sizes))

    def _deliver(self, batch: list[Any]) -> None:
        spans = len(batch) // 2
        try:
            self._flying_bytes = sum(map(len, islice(batch, 1, None, 2)))
            body = _request(batch)
            # The body holds them all; a batch that waits for its collector need not be in memory twice.
            batch.clear()
            self._export(body, spans)
        except Exception as error:
            # Whatever went wrong, the thread lives and the batch is counted.
            logger.error("spans are lost: %s", error, exc_info=not isinstance(error, Rejected))  # noqa: TRY400 - only defects of ours need a traceback
            self._settle(refused=spans)

    def _export(self, body: bytes, spans: int) -> None:
        """Export a batch, however often that takes; raises `Rejected`, and whatever a defective exporter does."""
        backoff = FIRST_BACKOFF
        while self._in_flight:
            try:
                refused = self._exporter.export(body, spans, self._remaining())
            except Unavailable as error:
                self._report(error)
                # Not all services of a house at the same moment.
                self._pause(max(backoff * random.uniform(0.8, 1.2), min(error.retry_after, LONGEST_RETRY_AFTER)))  # noqa: S311 - no secret
                backoff = min(backoff * 2, LAST_BACKOFF)
            else:
                self._recovered()
                self._settle(refused)

    def _remaining(self) -> float:
        return max(0.1, min(self._limits.timeout, self._deadline - time.monotonic()))

    def _settle(self, refused: int) -> None:
        with self._changed:
            # What the other side says may be nonsense; the books balance all the same.
            refused = min(max(refused, 0), self._in_flight)
            self._counts.exported += self._in_flight - refused
            self._counts.dropped[c.DROP_REJECTED] += refused
            if not self._closed:
                self._room += self._in_flight
            self._byte_room += self._flying_bytes
            self._gone += self._in_flight
            self._in_flight = self._flying_bytes = 0
            self._hurry = False
            self._changed.notify_all()

    def _pause(self, seconds: float) -> None:
        """Wait before the next try; a flush ends the wait, a shutdown shortens it, whose deadline ends it."""
        with self._changed:
            if not self._closed:
                self._changed.wait_for(lambda: self._closed or self._hurry, seconds)
                self._hurry = False
            elif self._in_flight:
                self._changed.wait_for(lambda: not self._in_flight, min(seconds, FIRST_BACKOFF))

    def _report(self, error: Unavailable) -> None:
        if not self._failing:
            logger.warning("spans wait in the queue: %s", error)
        self._failing = True

    def _recovered(self) -> None:
        if self._failing:
            logger.info("spans are exported again")
        self._failing = False


def _request(batch: list[Any]) -> bytes:
    envelopes, spans = batch[::2], batch[1::2]
    if len(set(envelopes)) == 1:
        return export_request({envelopes[0]: spans})
    return export_request(grouped(zip(envelopes, spans, strict=True)))
