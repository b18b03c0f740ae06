"""The way out for log lines: one write per turn of the event loop, to a standard output that never stops it.

Order and time. In a running event loop lines are collected and written in one piece when the turn is over, or as soon as
there are `TURN_LINES`. A line of a thread, or of a process without a loop, goes out at once, after what was collected before
it. So lines leave in the order in which they came, access lines and records of `logging` alike.

Several processes. Workers of one server share a pipe: it gets whole lines of at most `PIPE_BUF` bytes (4,096) at once, which
are not mixed with another process's. A longer line may be.

Slow readers. A regular file is written directly. Anything else (a pipe, a terminal) may be read slowly or not at all: a
thread writes to it from a buffer of `BUFFER_BYTES`. What does not fit, or cannot be written, is lost, counted in
`telemetry_log_lines_lost_total`, and said in a line as soon as lines get through again.

Ends. `close`, the end of the interpreter and a fork write what is collected; after `close` every line goes out at once, and is
waited for until its time is over: no end of a turn may come any more. It stays so, also where another server starts in the same
process, whose lines cost a write each then; `configure` makes a new output. A process that is killed (SIGKILL, a crash,
`os._exit`) loses the lines of the turn that its event loop was in, and what the buffer of a pipe held. What is collected when a
loop is closed goes out with the next line, at the latest at the end of the interpreter.
"""

import atexit
import contextlib
import os
import select
import stat
import sys
import threading
import time
import weakref
from asyncio import get_running_loop
from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import Any, Final, Protocol, TextIO

from .ending import at_the_end

BUFFER_BYTES: Final = 16 * 1024 * 1024
BATCH_BYTES: Final = 64 * 1024
TURN_LINES: Final = 256
# How long the thread lets lines gather: waking it up costs more than a line does.
LINGER_SECONDS: Final = 0.005
_POLL_MILLISECONDS: Final = 1_000

_CallSoon = Callable[[Callable[[], None]], object]
LostReport = Callable[[int], bytes]
"""Makes the line that says how many lines were lost."""


class Output(Protocol):
    """Takes whole lines; never raises."""

    def write(self, line: bytes) -> None:
        """Take a line that ends in a newline."""

    def close(self, timeout: float) -> None:
        """Write what is still buffered, within `timeout` seconds."""


class Destination(Protocol):
    """Takes several lines at a time, from one thread at a time; never raises."""

    def write(self, data: bytes, lines: int) -> None:
        """Take `lines` whole lines."""

    def wait(self, timeout: float) -> None:
        """Return when everything is written, after `timeout` seconds at the latest."""

    def start_anew(self) -> None:
        """Be fit for use in a forked child."""


class Sink:
    """Writes lines to a file behind a stream, and keeps account of those that could not be written.

    At most `most` bytes go out at once, in whole lines; a longer line is a piece of its own.
    """

    def __init__(
        self, stream: TextIO, count_lost: Callable[[float], None], report: LostReport, most: int = sys.maxsize
    ) -> None:
        self._stream = stream
        self._most = most
        self._count_lost = count_lost
        self._report = report
        self._untold = 0
        self._torn = False
        self.start_anew()

    def start_anew(self) -> None:
        """Forget who held the lock; see `Destination`."""
        self._counting = threading.RLock()

    def write(self, data: bytes, lines: int) -> None:
        """Write lines, after a word about lost ones; counts those as lost whose end could not be written."""
        untold, torn = self._untold, self._torn
        before = b"\n" if torn else b""
        if untold:
            before += self._report(untold)
        text = before + data
        written = self._write_all(text)
        if untold and written >= len(before):
            with self._counting:
                self._untold -= untold
        if written < len(text):
            self._torn = not text.endswith(b"\n", 0, written) if written else torn
            self.lose(min(lines, text.count(b"\n", written)))
        elif torn:
            self._torn = False

    def wait(self, timeout: float) -> None:
        """Do nothing: everything is written."""

    def lose(self, lines: int) -> None:
        """Count lines as lost."""
        self._count_lost(lines)
        with self._counting:
            self._untold += lines

    def _write_all(self, text: bytes) -> int:
        """Return how much could be written: everything, unless the disk is full, the reader gone or the stream closed."""
        written = 0
        try:
            while written < len(text):
                ends = self._end_of_piece(text, written)
                rest = text if ends - written == len(text) else memoryview(text)[written:ends]
                # Asked each time: behind the number of a closed stream there may be somebody else's file by now.
                written += _write_some(self._stream.fileno(), rest)
        except (OSError, ValueError):
            return written
        return written

    def _end_of_piece(self, text: bytes, begin: int) -> int:
        if len(text) - begin <= self._most:
            return len(text)
        return (text.rfind(b"\n", begin, begin + self._most) + 1) or (text.find(b"\n", begin) + 1) or len(text)


def _write_some(descriptor: int, data: bytes | memoryview) -> int:
    try:
        return os.write(descriptor, data)
    except BlockingIOError:
        # Somebody who has the pipe as well does not want to wait for it (Node does that); our thread has the time.
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        poll.poll(_POLL_MILLISECONDS)
        return 0


class BufferedSink:
    """Writes from a thread, so that a reader who stands still stops nobody but the log."""

    def __init__(self, sink: Sink, limit: int = BUFFER_BYTES) -> None:
        self._sink = sink
        self._limit = limit
        self._begin()

    def _begin(self) -> None:
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._bytes = 0
        self._writing = False
        self._hurried = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def start_anew(self) -> None:
        """Start empty: a forked child has no thread, and its parent writes what was waiting."""
        self._sink.start_anew()
        self._begin()

    def write(self, data: bytes, lines: int) -> None:
        """Take lines, all or none of them; see `Destination`."""
        with self._changed:
            if self._bytes + len(data) > self._limit:
                self._sink.lose(lines)
                return
            self._waiting.append((data, lines))
            self._bytes += len(data)
            if self._thread is None:
                self._start()
            elif len(self._waiting) == 1:
                self._changed.notify_all()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="telemetry-output", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread is to be had, as at the end of the interpreter: now or never
            self._sink.write(*self._take())
        else:
            self._thread = thread

    def wait(self, timeout: float) -> None:
        """Wait until everything is written; see `Destination`."""
        with self._changed:
            self._hurried += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting and not self._writing, timeout)
            self._hurried -= 1

    def _run(self) -> None:
        while True:
            self._sink.write(*self._next_batch())

    def _next_batch(self) -> tuple[bytes, int]:
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting)
            self._changed.wait_for(lambda: self._hurried, LINGER_SECONDS)
            self._writing = True
            return self._take()

    def _take(self) -> tuple[bytes, int]:
        pieces: list[bytes] = []
        size = lines = 0
        while self._waiting and size < BATCH_BYTES:
            data, count = self._waiting.popleft()
            pieces.append(data)
            size += len(data)
            lines += count
        self._bytes -= size
        return b"".join(pieces), lines


class LineOutput:
    """Collects the lines of a turn of the event loop; see the module.

    Appending to a list, and copying and deleting a slice of it, are atomic: no line is lost between threads.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        # When lines after `close` are no longer waited for; none was closed yet.
        self._deadline: float | None = None
        self._begin()
        os.register_at_fork(before=_weakly(self._flush), after_in_child=_weakly(self._start_anew))
        # A process that ends without a shutdown (an exception at its start) has the most to say.
        atexit.register(_weakly(self._close_at_exit))
        _collecting.add(self)

    def _begin(self) -> None:
        self._lines: list[bytes] = []
        # Whether somebody will write at the end of a turn, and the thread and loop that this was asked of last.
        self._asked = False
        self._home: tuple[int, Callable[[], bool], _CallSoon | None] = (0, bool, None)
        # A finalizer may log at any point, also in the thread that writes.
        self._writing = threading.RLock()

    def _start_anew(self) -> None:
        """Start empty in a forked child: what was collected before, its parent has written."""
        self._begin()
        self._destination.start_anew()

    def write(self, line: bytes) -> None:
        """Take a line; see `Output`."""
        lines = self._lines
        lines.append(line)
        thread, is_running, _ = self._home
        # Most lines of a busy turn find that another one has asked for the write already.
        if not self._asked or thread != get_ident() or not is_running() or len(lines) >= TURN_LINES:
            self._ask()

    def close(self, timeout: float) -> None:
        """Write what is collected and wait for it; see `Output`."""
        self._deadline = time.monotonic() + timeout
        self._flush()

    def _close_at_exit(self) -> None:
        with at_the_end.wait() as seconds:
            self.close(seconds)

    def _ask(self) -> None:
        """Have what is collected written when the turn is over, or at once when there is no turn to wait for."""
        if self._deadline is None and len(self._lines) < TURN_LINES and (call_soon := self._find_loop()):
            self._asked = True
            call_soon(self._flush)
        else:
            self._flush()

    def _find_loop(self) -> _CallSoon | None:
        """Return how to reach the event loop that runs in this thread, None when there is none."""
        thread, is_running, call_soon = self._home
        if thread == get_ident() and is_running():
            return call_soon
        try:
            loop = get_running_loop()
        except RuntimeError:
            return None
        self._home = get_ident(), loop.is_running, loop.call_soon
        return loop.call_soon

    def _flush(self) -> None:
        # Before the lines are taken: a line that comes later has to ask again.
        self._asked = False
        with self._writing:
            batch = self._lines[:]
            del self._lines[: len(batch)]
            if batch:
                self._destination.write(b"".join(batch), len(batch))
        if self._deadline is not None:
            self._destination.wait(max(0.0, self._deadline - time.monotonic()))


_collecting: Final[weakref.WeakSet[LineOutput]] = weakref.WeakSet()


def close_all() -> None:
    """Close every output of the process, whoever configured it, within what is left of the process's end."""
    for output in list(_collecting):
        with at_the_end.wait() as seconds:
            output.close(seconds)


class StreamOutput:
    """Writes to a Python stream that has no file behind it, each line at once: a test's, a notebook's."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: bytes) -> None:
        """Write a line; see `Output`."""
        with contextlib.suppress(ValueError):  # the stream was closed by its owner
            self._stream.write(line.decode())
            self._stream.flush()

    def close(self, timeout: float) -> None:
        """Do nothing: every line is written."""


def _weakly(method: Callable[..., None]) -> Callable[..., None]:
    """Return what calls a method as long as its object is there."""
    reference = weakref.WeakMethod(method)

    def call(*arguments: Any) -> None:
        if found := reference():
            found(*arguments)

    return call


def open_output(stream: TextIO | None, count_lost: Callable[[float], None], report: LostReport) -> Output:
    """Return the output for a stream, the standard output by default."""
    stream = sys.stdout if stream is None else stream
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return StreamOutput(stream)
    # Other workers may have the same pipe, which keeps no larger writes apart.
    sink = Sink(stream, count_lost, report, select.PIPE_BUF if stat.S_ISFIFO(mode) else sys.maxsize)
    return LineOutput(sink if stat.S_ISREG(mode) else BufferedSink(sink))
