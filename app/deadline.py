"""The time a request has left: it travels with every call and only shrinks (edge 5 s > gRPC 4 s > statement 3 s)."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from app.errors import DeadlineExceeded

_ends: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def afresh(seconds: float) -> Iterator[None]:
    """Let everything inside end in `seconds`, whatever the surrounding deadline says: undoing must not be cut short."""
    token = _ends.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _ends.reset(token)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let everything inside end in `seconds` at the latest, or earlier where the surrounding deadline ends earlier."""
    outer = _ends.get()
    mine = time.monotonic() + seconds
    token = _ends.set(mine if outer is None else min(mine, outer))
    try:
        yield
    finally:
        _ends.reset(token)


def remaining(at_most: float) -> float:
    """Seconds left, `at_most` where no deadline is set; raises `DeadlineExceeded` when none are."""
    ends = _ends.get()
    if ends is None:
        return at_most
    left = ends - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded("the request ran out of time")
    return min(left, at_most)
