"""The way out for log lines: one write per line to the standard output, which never stops the event loop.

Policy. A regular file takes every line at once, so that a killed process loses none. Anything else (a pipe, a terminal) may
be read slowly or not at all: a thread writes to it from a buffer of `BUFFER_BYTES`. What does not fit, or cannot be
written, is lost, counted in `telemetry_log_lines_lost_total`, and said in a line as soon as lines get through again.
"""

import atexit
import contextlib
import os
import stat
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, TextIO

BUFFER_BYTES: Final = 16 * 1024 * 1024
BATCH_BYTES: Final = 64 * 1024
EXIT_SECONDS: Final = 5.0

LostReport = Callable[[int], bytes]
"""Makes the line that says how many lines were lost."""


class Output(Protocol):
    """Takes whole lines; never raises."""

    def write(self, line: bytes) -> None:
        """Take a line that ends in a newline."""

    def close(self, timeout: float) -> None:
        """Write what is still buffered, within `timeout` seconds."""


class Sink:
    """Writes lines to a file behind a stream, and keeps account of those that could not be written."""

    def __init__(self, stream: TextIO, count_lost: Callable[[float], None], report: LostReport) -> None:
        self._stream = stream
        self._count_lost = count_lost
        self._report = report
        self._untold = 0
        self._torn = False

    def write(self, data: bytes, lines: int) -> None:
        """Write `lines` whole lines, after a word about lost ones; counts them as lost when that fails."""
        untold = self._untold
        notice = self._report(untold) if untold else b""
        try:
            self._write_all(notice + data)
        except (OSError, ValueError):  # the disk is full, the reader is gone, the stream was closed
            self.lose(lines)
        else:
            self._untold -= untold

    def lose(self, lines: int) -> None:
        """Count lines as lost."""
        self._count_lost(lines)
        self._untold += lines

    def _write_all(self, data: bytes) -> None:
        # Asked each time: behind the number of a closed stream there may be somebody else's file by now.
        descriptor = self._stream.fileno()
        rest = memoryview(b"\n" + data if self._torn else data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
            self._torn = bool(rest)


class DirectOutput:
    """Writes every line at once."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, line: bytes) -> None:
        """Write a line; see `Output`."""
        self._sink.write(line, 1)

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

    def __init__(self, sink: Sink, limit: int = BUFFER_BYTES) -> None:
        self._sink = sink
        self._limit = limit
        self._start_anew()
        anew = weakref.WeakMethod(self._start_anew)
        os.register_at_fork(after_in_child=lambda: (method := anew()) and method())
        # A process that ends without a shutdown (an exception at its start) has the most to say.
        close = weakref.WeakMethod(self.close)
        atexit.register(lambda: (method := close()) and method(EXIT_SECONDS))

    def _start_anew(self) -> None:
        """Start empty, also in a forked child: it has no thread, and its parent writes what was waiting."""
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._writing = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def write(self, line: bytes) -> None:
        """Take a line; see `Output`."""
        with self._changed:
            if self._bytes + len(line) > self._limit:
                self._sink.lose(1)
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
            self._sink.write(b"".join(batch), len(batch))

    def _next_batch(self) -> list[bytes]:
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._lines)
            self._writing = True
            batch: list[bytes] = []
            size = 0
            while self._lines and size < BATCH_BYTES:
                batch.append(self._lines.popleft())
                size += len(batch[-1])
            self._bytes -= size
        return batch


def open_output(stream: TextIO | None, count_lost: Callable[[float], None], report: LostReport) -> Output:
    """Return the output for a stream, the standard output by default."""
    stream = sys.stdout if stream is None else stream
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return StreamOutput(stream)
    sink = Sink(stream, count_lost, report)
    return DirectOutput(sink) if stat.S_ISREG(mode) else BufferedOutput(sink)
