"""The way out for log lines: one write per line to the standard output, which never stops the event loop.

Policy. A regular file takes every line at once, so that a killed process loses none. Anything else (a pipe, a terminal) may
be read slowly or not at all: a thread writes to it from a buffer of `BUFFER_BYTES`. What does not fit, or cannot be
written, is lost, counted in `telemetry_log_lines_lost_total`, and said in a line as soon as lines get through again.
"""

import contextlib
import os
import stat
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, TextIO

BUFFER_BYTES: Final = 16 * 1024 * 1024
BATCH_BYTES: Final = 64 * 1024

LostReport = Callable[[int], bytes]
"""Makes the line that says how many lines were lost."""


class Output(Protocol):
    """Takes whole lines; never raises."""

    def write(self, line: bytes) -> None:
        """Take a line that ends in a newline."""

    def close(self, timeout: float) -> None:
        """Write what is still buffered, within `timeout` seconds."""


class _Losses:
    """How many lines were lost, and how many of them nobody was told of yet."""

    def __init__(self, count: Callable[[float], None], report: LostReport) -> None:
        self._count = count
        self._report = report
        self._untold = 0

    def lost(self, lines: int) -> None:
        self._count(lines)
        self._untold += lines

    def line(self) -> bytes:
        """Return what to write before the next line."""
        if not self._untold:
            return b""
        told, self._untold = self._untold, 0
        return self._report(told)


class DirectOutput:
    """Writes every line at once."""

    def __init__(self, descriptor: int, losses: _Losses) -> None:
        self._descriptor = descriptor
        self._losses = losses

    def write(self, line: bytes) -> None:
        """Write a line; see `Output`."""
        try:
            _write_all(self._descriptor, self._losses.line() + line)
        except OSError:
            self._losses.lost(1)

    def close(self, timeout: float) -> None:
        """Do nothing: every line is written."""


class StreamOutput:
    """Writes to a Python stream that has no file behind it: a test's, a notebook's."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: bytes) -> None:
        """Write a line; see `Output`."""
        with contextlib.suppress(ValueError):  # the stream was closed by its owner
            self._stream.write(line.decode())
            self._stream.flush()

    def close(self, timeout: float) -> None:
        """Do nothing: every line is written."""


class BufferedOutput:
    """Writes from a thread, so that a reader who stands still stops nobody but the log."""

    def __init__(self, descriptor: int, losses: _Losses, limit: int = BUFFER_BYTES) -> None:
        self._descriptor = descriptor
        self._losses = losses
        self._limit = limit
        self._start()
        os.register_at_fork(after_in_child=self._start)

    def _start(self) -> None:
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._writing = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def write(self, line: bytes) -> None:
        """Take a line; see `Output`."""
        with self._changed:
            if self._bytes + len(line) > self._limit:
                self._losses.lost(1)
                return
            self._lines.append(line)
            self._bytes += len(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="telemetry-output", daemon=True)
                self._thread.start()
            elif len(self._lines) == 1:
                self._changed.notify_all()

    def close(self, timeout: float) -> None:
        """Wait until everything is written; see `Output`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._lines and not self._writing, timeout)

    def _run(self) -> None:
        while True:
            batch = self._next_batch()
            try:
                _write_all(self._descriptor, b"".join(batch))
            except OSError:
                with self._changed:
                    self._losses.lost(len(batch))

    def _next_batch(self) -> list[bytes]:
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._lines)
            self._writing = True
            batch, size = [self._losses.line()], 0
            while self._lines and size < BATCH_BYTES:
                batch.append(self._lines.popleft())
                size += len(batch[-1])
            self._bytes -= size
        return batch


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def open_output(stream: TextIO | None, count_lost: Callable[[float], None], report: LostReport) -> Output:
    """Return the output for a stream, the standard output by default."""
    losses = _Losses(count_lost, report)
    stream = sys.stdout if stream is None else stream
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError, ValueError):
        return StreamOutput(stream)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return DirectOutput(descriptor, losses)
    return BufferedOutput(descriptor, losses)
