"""Passwords: argon2id off the event loop, in few threads and with a bounded queue.

Hashing is made to be slow, so it is the cheapest way to take a shop down: beyond the bound callers are refused at once.
"""

import threading
import unicodedata
from asyncio import wrap_future
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError
from opentelemetry.trace import Tracer

from app.errors import Unavailable
from telemetry.conventions import PASSWORD_SPAN

T = TypeVar("T")


class Passwords:
    """Hashes and verifies, `threads` at once, with at most `queue` callers waiting."""

    __slots__ = ("_free", "_hasher", "_threads", "_tracer")

    def __init__(self, threads: int, queue: int, tracer: Tracer) -> None:
        self._hasher = _argon2id()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._free = threading.BoundedSemaphore(threads + queue)
        self._tracer = tracer

    async def hash(self, password: str) -> str:
        """Return the encoded hash with its salt and parameters; raises `Unavailable` when the queue is full."""
        return await self._run(lambda: self._hasher.hash(_normal(password)))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Tell whether `password` is the one; without a stored hash the same work is done, and the answer is no."""
        matches = await self._run(lambda: _matches(self._hasher, stored or _nobodys(), password))
        return matches and bool(stored)

    async def _run(self, work: Callable[[], T]) -> T:
        if not self._free.acquire(blocking=False):
            raise Unavailable("too many log-ins at once")
        with self._tracer.start_as_current_span(PASSWORD_SPAN):
            future = self._threads.submit(work)
            # On the thread's future, not on the task's: a caller who gave up does not free the thread.
            future.add_done_callback(lambda _: self._free.release())
            return await wrap_future(future)


def _matches(hasher: argon2.PasswordHasher, stored: str, password: str) -> bool:
    try:
        return hasher.verify(stored, _normal(password))
    except (VerificationError, InvalidHashError):
        return False


def _normal(password: str) -> str:
    # NIST SP 800-63B, section 5.1.1.2: the same characters may be typed in several encodings.
    return unicodedata.normalize("NFKC", password)


def _argon2id() -> argon2.PasswordHasher:
    # OWASP Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane.
    return argon2.PasswordHasher(memory_cost=19_456, time_cost=2, parallelism=1)


@cache
def _nobodys() -> str:
    return _argon2id().hash("nobody's password")
