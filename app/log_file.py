"""A service's log lines in a file of its own: where no launcher keeps its standard output, as in a container.

The file takes the place of the standard output by its descriptor, so that everything written there gets into it. When it is
full the next one takes its place (`gateway.log`, then `gateway.1.log`, `gateway.2.log`, …; the oldest one goes); when somebody else has
renamed it, so does a new one of its name. Nothing is lost or torn by that: a line that was under way is in the file before, which whoever
reads (Promtail, see loki/) goes on reading. None is ever renamed here: Promtail knows files by their names. It would read a renamed one
again from its beginning, and where each takes the name of the one before it, one who was held up misses all but the last.

The standard error stays what it is: what ends a process at its start is said there.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from app.sections import Logs

LOOK_SECONDS: Final = 1.0
# Whoever ships the lines is another user; they hold no secrets (telemetry.redaction).
_MODE: Final = 0o644


class LogFile:
    """The file that stands for a descriptor, the standard output by default."""

    __slots__ = ("_descriptor", "_first", "_logs", "path")

    def __init__(self, service: str, logs: Logs, descriptor: int | None = None) -> None:
        self._first = Path(logs.folder) / f"{service}.log"
        self._logs = logs
        self._descriptor = sys.stdout.fileno() if descriptor is None else descriptor
        self.path = self._unfinished()

    def begin(self) -> None:
        """Put the file, a new one if there is none, in the place of the descriptor; raises `OSError`."""
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
        os.dup2(file, self._descriptor)
        os.close(file)

    def look(self) -> None:
        """Begin the next file if this one is full, or a new one if it is no longer that of its name; raises `OSError`."""
        mine = os.fstat(self._descriptor)
        if not self._is_named(mine):
            self.begin()
        elif self._is_full(mine):
            self._go_on()
            self.begin()

    def _is_named(self, mine: os.stat_result) -> bool:
        try:
            return os.path.samestat(mine, self.path.stat())
        except FileNotFoundError:
            return False

    def _is_full(self, file: os.stat_result) -> bool:
        return file.st_size >= self._logs.max_bytes

    def _unfinished(self) -> Path:
        """Return the file to go on with: the first one until it is full, afterwards the last one."""
        last = max(self._numbers(), default=0)
        first_is_open = self._first.exists() and not self._is_full(self._first.stat())
        return self._first if first_is_open else self._numbered(last)

    def _go_on(self) -> None:
        numbers = [*self._numbers()]
        last = max(numbers, default=0) + 1
        self.path = self._numbered(last)
        for number in numbers:
            if number < last - self._logs.keep:
                self._numbered(number).unlink(missing_ok=True)

    def _numbers(self) -> Iterator[int]:
        """Yield the numbers of the files that are there; the first one has none in its name, and is 0."""
        for path in self._first.parent.glob(f"{self._first.stem}*{self._first.suffix}"):
            number = path.stem.removeprefix(self._first.stem)
            if path == self._first:
                yield 0
            elif number.startswith(".") and number[1:].isdecimal():
                yield int(number[1:])

    def _numbered(self, number: int) -> Path:
        return self._first.with_suffix(f".{number}{self._first.suffix}") if number else self._first


def begin(service: str, logs: Logs) -> None:
    """Write the service's lines to its file from now on, and say so where they went before; nothing without a folder."""
    if logs.folder:
        file = LogFile(service, logs)
        sys.stdout.write(f"{service}: log lines go to {file.path}\n")
        sys.stdout.flush()
        file.begin()


async def keep_bounded(service: str, logs: Logs) -> None:
    """Look after the file each second, for ever."""
    file = LogFile(service, logs)
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        file.look()
