"""How long the end of a process may take: five seconds in all, however many say that it is the end.

A server that stops has several of them: the layer when the lifespan is over, the application's own `shutdown`, zero code, the
interpreter. Each of them used to wait for a dead collector as if it were the only one. What one has waited is gone for the
others, and comes back as time goes by, a second each second: whoever ends an hour later has all of it.
"""

import time
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
        self._counted = clock()

    @contextmanager
    def wait(self, share: float = 1.0) -> Iterator[float]:
        """Yield how many seconds the block may wait, and count how long it does; above `share` the rest is not for it."""
        began, kept = self._clock(), self._seconds * (1.0 - share)
        left = min(self._seconds, self._left + began - self._counted)
        try:
            yield max(0.0, left - kept)
        finally:
            self._counted = self._clock()
            # Who takes longer (an explicit time-out) takes it from nobody else's part.
            self._left = max(min(left, kept), left - (self._counted - began))


at_the_end: Final = Patience()
