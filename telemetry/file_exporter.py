"""Spans into a file, in the layout that the collector writes with `format: proto` (`telemetry.spans` reads it).

Several processes may have one file: workers of a server, a restarted one beside its predecessor, forked children. Each batch is
appended whole, by one process at a time (`flock`). Whoever is killed in the middle of one leaves it torn, and the next writer
cuts it off: behind it no reader would find another batch. Readers need no lock: what is being written is a torn end to them.

A file that is emptied (logrotate's `copytruncate`) is filled from its beginning, one that is renamed or deleted is made anew.
"""

import fcntl
import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .span_queue import Unavailable
from .spans import LENGTH_BYTES, LONGEST_BATCH

# Seconds between two tries to lock the file; a batch is written in less.
LOCK_SECONDS: Final = 0.005
# The last so many bytes of what was read or written are known again: ids and times, which no other batch has.
MARK_BYTES: Final = 4_096


class FileExporter:
    """Appends batches to a file that other processes may append to as well; raises `OSError` when it cannot be opened."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._descriptor: int | None = None
        self._open()
        # A lock of its parent's would be a forked child's as well: it would keep the two not apart, and outlive a parent that is
        # killed. At once, because later the number may be somebody else's.
        leave = weakref.WeakMethod(self.close)
        os.register_at_fork(after_in_child=lambda: (method := leave()) and method())

    def _open(self) -> int:
        """Open what is at the path now, in the place of what was open."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
        self.close()
        self._descriptor = descriptor
        self._forget()
        return descriptor

    def _forget(self) -> None:
        # How far the file is known to consist of whole batches, and what stands in front of that.
        self._whole = 0
        self._mark = b""

    def export(self, body: bytes, spans: int, timeout: float) -> int:  # noqa: ARG002 - each batch is taken whole
        """Append the batch; raises `Unavailable` when the file is locked for `timeout` seconds, or cannot be written."""
        try:
            descriptor = self._current()
            with _alone(descriptor, timeout):
                self._append(descriptor, len(body).to_bytes(LENGTH_BYTES, "big") + body)
        except OSError as error:
            raise Unavailable(f"the span file cannot be written: {error.strerror}") from None
        return 0

    def _current(self) -> int:
        """Return the descriptor of the file at the path, opened again where that is another one or none by now."""
        if self._descriptor is None:
            return self._open()
        try:
            same = os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            same = False
        except PermissionError:  # given up since it was opened; that goes on
            same = True
        return self._descriptor if same else self._open()

    def _append(self, descriptor: int, frame: bytes) -> None:
        self._cut_torn_batch(descriptor)
        try:
            _write(descriptor, frame)
        except OSError:
            os.ftruncate(descriptor, self._whole)
            raise
        self._whole += len(frame)
        self._mark = frame[-MARK_BYTES:]

    def _cut_torn_batch(self, descriptor: int) -> None:
        """Remove what a killed process left unfinished, and learn what others have appended since."""
        size = os.fstat(descriptor).st_size
        if size < self._whole or os.pread(descriptor, len(self._mark), self._whole - len(self._mark)) != self._mark:
            # Somebody has emptied it, and others may have filled it again.
            self._forget()
        known = self._whole
        while self._whole < size:
            head = os.pread(descriptor, LENGTH_BYTES, self._whole)
            length = int.from_bytes(head, "big")
            ends = self._whole + LENGTH_BYTES + length
            if len(head) < LENGTH_BYTES or length > LONGEST_BATCH or ends > size:
                os.ftruncate(descriptor, self._whole)
                break
            self._whole = ends
        if self._whole > known:
            begins = max(known, self._whole - MARK_BYTES)
            self._mark = os.pread(descriptor, self._whole - begins, begins)

    def close(self) -> None:
        """Close the file; a later batch opens it again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def _alone(descriptor: int, timeout: float) -> Iterator[None]:
    """Keep other processes out; raises `Unavailable` when one keeps us out for `timeout` seconds."""
    _lock(descriptor, time.monotonic() + timeout)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _lock(descriptor: int, deadline: float) -> None:
    # Without a bound, one process that is stopped with the lock would stop the export of all others, and nobody would say why.
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise Unavailable("the span file is locked by another process") from None
            time.sleep(LOCK_SECONDS)
        else:
            return


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
