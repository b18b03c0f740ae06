"""How late the event loop is: everything that runs on it is that much slower."""

import asyncio
import time
from typing import Final

from . import current

INTERVAL: Final = 0.1


async def watch_event_loop_lag(interval: float = INTERVAL) -> None:
    """Measure, until cancelled, how many seconds later than asked a task wakes up."""
    lag = current.metrics().loop_lag
    while True:
        due = time.perf_counter() + interval
        await asyncio.sleep(interval)
        lag.observe(max(0.0, time.perf_counter() - due))
