"""Spans into a file, in the layout that the collector writes with `format: proto` (`telemetry.spans` reads it).

Several processes may have one file: workers of a server, a restarted one beside its predecessor, forked children. Each batch is
appended whole, by one process at a time (`flock`). Whoever is killed in the middle of one leaves it torn, and the next writer
cuts it off: behind it no reader would find another batch. Readers need no lock: what is being written is a torn end to them.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .span_queue import Unavailable
from .spans import LENGTH_BYTES, LONGEST_BATCH


class FileExporter:
    """Appends batches to a file that other processes may append to as well; raises `OSError` when it cannot be opened."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._open()

    def _open(self) -> None:
        self._process = os.getpid()
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
        # How far the file is known to consist of whole batches.
        self._whole = 0

    def export(self, body: bytes, spans: int, timeout: float) -> int:  # noqa: ARG002 - a local disk
        """Append the batch; raises `Unavailable` when the disk is full, or knows no locks."""
        if self._process != os.getpid():
            # A lock of its parent's would be this child's as well, and keep the two not apart.
            os.close(self._descriptor)
            self._open()
        try:
            with _alone(self._descriptor):
                self._append(len(body).to_bytes(LENGTH_BYTES, "big") + body)
        except OSError as error:
            raise Unavailable(f"the span file cannot be written: {error.strerror}") from None
        return 0

    def _append(self, frame: bytes) -> None:
        self._cut_torn_batch()
        try:
            _write(self._descriptor, frame)
        except OSError:
            os.ftruncate(self._descriptor, self._whole)
            raise
        self._whole += len(frame)

    def _cut_torn_batch(self) -> None:
        """Remove what a killed process left unfinished, and learn what others have appended since."""
        size = os.fstat(self._descriptor).st_size
        if size < self._whole:  # somebody has emptied it
            self._whole = 0
        while self._whole < size:
            head = os.pread(self._descriptor, LENGTH_BYTES, self._whole)
            length = int.from_bytes(head, "big")
            ends = self._whole + LENGTH_BYTES + length
            if len(head) < LENGTH_BYTES or length > LONGEST_BATCH or ends > size:
                os.ftruncate(self._descriptor, self._whole)
                return
            self._whole = ends

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


@contextmanager
def _alone(descriptor: int) -> Iterator[None]:
    """Keep other processes out; one that is killed meanwhile leaves no lock behind."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
