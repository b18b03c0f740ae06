"""The way out for spans: a bounded queue and a thread, so that a collector that is slow or dead never slows a request.

Every sampled span that ends is counted once as ended, and then once as exported or dropped; what is neither is queued:
ended = exported + dropped + queued, at any moment.
"""

import logging
import os
import random
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from opentelemetry.sdk.trace import ReadableSpan

from . import conventions as c
from .metrics import SpanCounts

logger = logging.getLogger(__name__)

FIRST_BACKOFF: Final = 0.5
LAST_BACKOFF: Final = 30.0
LONGEST_RETRY_AFTER: Final = 300.0
# What a span costs in memory besides its strings, roughly, as measured on the SDK's span objects.
SPAN_BYTES: Final = 2_000


class Unavailable(Exception):
    """The other side cannot take the batch now; `retry_after` seconds is what it asked for, 0 when it did not."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Rejected(Exception):
    """The other side will never take the batch."""


class Exporter(Protocol):
    """Where batches go."""

    def export(self, spans: Sequence[ReadableSpan], timeout: float) -> int:
        """Deliver a batch within `timeout` seconds; return how many of it were refused.

        Raises `Unavailable` to be called again with the same batch, `Rejected` to lose it.
        """

    def close(self) -> None:
        """Let go of connections and files."""


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much waits, and for how long; the defaults of `OTEL_BSP_*` differ from the SDK's where it loses spans."""

    spans: int = 65_536
    bytes: int = 256 * 1024 * 1024
    batch: int = 512
    delay: float = 1.0
    timeout: float = 10.0


class SpanQueue:
    """A bounded queue with a daemon thread that exports batches of it, and retries as long as it takes."""

    def __init__(self, exporter: Exporter, counts: SpanCounts, limits: QueueLimits = QueueLimits()) -> None:
        self._exporter = exporter
        self._counts = counts
        self._limits = limits
        self._waiting: deque[tuple[ReadableSpan, int]] = deque()
        self._bytes = 0
        self._in_flight = 0
        self._closed = False
        self._flush = False
        self._deadline = float("inf")
        self._failing = False
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        anew = weakref.WeakMethod(self._start_anew)
        os.register_at_fork(after_in_child=lambda: (method := anew()) and method())

    def _start_anew(self) -> None:
        """Start empty in a forked child: it has no export thread, and its parent exports what was waiting."""
        self._counts.ended -= len(self._waiting) + self._in_flight
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._thread = None
        self._waiting.clear()
        self._bytes = self._in_flight = 0

    @property
    def queued(self) -> int:
        """How many spans wait or are on their way."""
        with self._lock:
            return len(self._waiting) + self._in_flight

    def put(self, span: ReadableSpan) -> None:
        """Take a span that ended; never waits for anything but the queue's lock."""
        size = weigh(span)
        with self._lock:
            self._counts.ended += 1
            if self._closed:
                self._counts.dropped[c.DROP_SHUTDOWN] += 1
            elif len(self._waiting) + self._in_flight >= self._limits.spans or self._bytes + size > self._limits.bytes:
                self._counts.dropped[c.DROP_FULL] += 1
            else:
                self._waiting.append((span, size))
                self._bytes += size
                self._wake()

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="telemetry-export", daemon=True)
            self._thread.start()
        elif len(self._waiting) == self._limits.batch:
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Export what is queued now; False when it took longer than `timeout` seconds."""
        with self._changed:
            self._flush = True
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not self._waiting and not self._in_flight, timeout)
            self._flush = False
        return done

    def close(self, timeout: float) -> None:
        """Export what is queued within `timeout` seconds, and count the rest as dropped."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._deadline = time.monotonic() + timeout
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting and not self._in_flight, timeout)
            lost = len(self._waiting) + self._in_flight
            self._counts.dropped[c.DROP_SHUTDOWN] += lost
            self._waiting.clear()
            # From here on the thread's own result no longer counts.
            self._in_flight = self._bytes = 0
            self._changed.notify_all()
        if lost:
            logger.warning("%d spans were not exported before the end", lost)
        if self._thread is None:
            self._exporter.close()

    def _run(self) -> None:
        while batch := self._next_batch():
            self._deliver(batch)
        self._exporter.close()

    def _next_batch(self) -> list[ReadableSpan]:
        """Wait for a batch to be full or old enough; empty when there will be none any more."""
        with self._changed:
            while True:
                self._changed.wait_for(self._due, self._limits.delay)
                if self._waiting:
                    break
                if self._closed:
                    return []
            taken = [self._waiting.popleft() for _ in range(min(self._limits.batch, len(self._waiting)))]
            self._bytes -= sum(size for _, size in taken)
            self._in_flight = len(taken)
        return [span for span, _ in taken]

    def _due(self) -> bool:
        full = len(self._waiting) >= self._limits.batch
        return full or self._closed or (self._flush and bool(self._waiting))

    def _deliver(self, batch: list[ReadableSpan]) -> None:
        backoff = FIRST_BACKOFF
        while self._in_flight:
            try:
                refused = self._exporter.export(batch, self._remaining())
            except Unavailable as error:
                self._report(error)
                # Not all services of a house at the same moment.
                self._pause(max(backoff * random.uniform(0.8, 1.2), min(error.retry_after, LONGEST_RETRY_AFTER)))  # noqa: S311 - no secret
                backoff = min(backoff * 2, LAST_BACKOFF)
            except Exception as error:
                # Whatever went wrong, the thread lives and the batch is counted.
                logger.error("spans are lost: %s", error, exc_info=not isinstance(error, Rejected))  # noqa: TRY400 - only defects of ours need a traceback
                self._settle(refused=len(batch))
            else:
                self._recovered()
                self._settle(refused)

    def _remaining(self) -> float:
        return max(0.1, min(self._limits.timeout, self._deadline - time.monotonic()))

    def _settle(self, refused: int) -> None:
        with self._changed:
            if self._in_flight:
                self._counts.exported += self._in_flight - refused
                self._counts.dropped[c.DROP_REJECTED] += refused
            self._in_flight = 0
            self._changed.notify_all()

    def _pause(self, seconds: float) -> None:
        """Wait before the next try; a shutdown shortens the wait, its deadline ends it."""
        with self._changed:
            if not self._closed:
                self._changed.wait_for(lambda: self._closed, seconds)
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


def weigh(span: ReadableSpan) -> int:
    """Return roughly how many bytes a span holds in memory."""
    size = SPAN_BYTES
    for value in (span.attributes or {}).values():
        if type(value) is str:
            size += len(value)
    for event in span.events:
        size += sum(len(value) for value in (event.attributes or {}).values() if isinstance(value, str))
    return size
