"""How long the end of a process may take: five seconds in all, however many say that it is the end.

A server that stops has several of them: the layer when the lifespan is over, the application's own `shutdown`, zero code, the
interpreter. Each of them used to wait for a dead collector as if it were the only one. What one has waited is gone for the
others, and comes back as time goes by, a second each second: whoever ends an hour later has all of it. Those that wait at the
same time wait out the same seconds.
"""

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

FLUSH_SECONDS: Final = 5.0
# How much of the time at the end the spans may take; the rest is for log lines, which say what was not exported.
SPANS_SHARE: Final = 0.9


class Patience:
    """Seconds that may be waited in all; `clock` tells the time in seconds."""

    def __init__(self, seconds: float = FLUSH_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._left = seconds
        self._start_anew()
        anew = weakref.WeakMethod(self._start_anew)
        os.register_at_fork(after_in_child=lambda: (method := anew()) and method())

    def _start_anew(self) -> None:
        """Be alone: a forked child has none of the threads that wait, nor the one that held the lock."""
        self._lock = threading.RLock()
        self._counted = self._clock()
        # What each of those who wait leaves to others, in seconds.
        self._kept: list[float] = []

    @contextmanager
    def wait(self, share: float = 1.0) -> Iterator[float]:
        """Yield how many seconds the block may wait, and count how long it does; above `share` the rest is not for it."""
        kept = self._seconds * (1.0 - share)
        with self._lock:
            self._count()
            self._kept.append(kept)
            left = self._left
        try:
            yield max(0.0, left - kept)
        finally:
            with self._lock:
                self._count()
                # Not there where a child was forked meanwhile.
                if kept in self._kept:
                    self._kept.remove(kept)

    def _count(self) -> None:
        """Take what was waited since the last time, or give back what was not."""
        now = self._clock()
        passed, self._counted = now - self._counted, now
        if self._kept:
            # Who takes longer (an explicit time-out) takes it from nobody else's part.
            self._left = max(min(self._left, *self._kept), self._left - passed)
        else:
            self._left = min(self._seconds, self._left + passed)


at_the_end: Final = Patience()
