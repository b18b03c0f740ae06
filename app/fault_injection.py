"""Where faults meet running code: a Redis that is slow or away, a pool that is held or leaked, rows locked, a sudden death."""

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING, Any, Final

import redis.exceptions

from app.faults import Fault, Faults
from telemetry.redis import TracedRedis

if TYPE_CHECKING:
    from app.service import Background, Resources

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.1


def arm_on_signal(faults: Faults) -> None:
    """Let SIGUSR1 arm the faults: a gate prepares its data first."""

    def arm() -> None:
        faults.armed = True
        logger.warning("faults are armed")

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, arm)


def faulty_redis(service: str, faults: Faults) -> type[TracedRedis]:
    """Make a client whose commands are struck at `<service>.redis`; the plain traced client when there are no faults."""
    if not faults:
        return TracedRedis

    class FaultyRedis(TracedRedis):
        """Is slow, or away, inside the command's own span."""

        async def before(self, command: str) -> None:  # noqa: ARG002 - every command alike
            if (fault := faults.at(f"{service}.redis")) is not None:
                await strike(fault, redis.exceptions.ConnectionError("fault injected"))

    return FaultyRedis


async def strike(fault: Fault, error: Exception) -> None:
    """Wait as long as the fault says, or raise `error`."""
    if fault.kind == "error":
        raise error
    await asyncio.sleep(fault.seconds)


def background(faults: Faults) -> "list[Background]":
    """Return the loops that hold, leak, lock or kill, for the faults of those kinds."""
    bodies = {"exhaust": _exhaust, "leak": _leak, "lock": _lock, "kill": _kill}
    return [_when_armed(faults, fault, bodies[fault.kind]) for fault in faults if fault.kind in bodies]


def _when_armed(faults: Faults, fault: Fault, body: Any) -> "Background":
    async def wait_then_run(resources: "Resources") -> None:
        while not faults.armed:
            await asyncio.sleep(POLL_SECONDS)
        await body(fault, resources)

    return wait_then_run


async def _exhaust(fault: Fault, resources: "Resources") -> None:
    """Hold every connection for a while, and let go for as long."""
    pool = resources.pool
    held = [await pool.getconn(timeout=60.0) for _ in range(pool.max_size)]
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        for conn in held:
            await pool.putconn(conn)
    await asyncio.sleep(max(fault.seconds - 1.0, 0))


async def _leak(_fault: Fault, resources: "Resources") -> None:
    """Take one connection after another and never give it back; the process keeps them until it ends."""
    leaked: list[Any] = []
    while len(leaked) < resources.pool.max_size:
        leaked.append(await resources.pool.getconn(timeout=60.0))
        await asyncio.sleep(1.0)
    await asyncio.Event().wait()


async def _lock(fault: Fault, resources: "Resources") -> None:
    """Hold a lock on every product row, as a forgotten transaction would, and let go for as long."""
    pool = resources.pool
    async with pool.connection() as conn, conn.transaction():
        await conn.execute("SELECT 1 FROM products FOR UPDATE")
        await asyncio.sleep(fault.seconds)
    await asyncio.sleep(max(fault.seconds - 1.0, 0))


async def _kill(fault: Fault, _resources: "Resources") -> None:
    await asyncio.sleep(fault.seconds)
    os.kill(os.getpid(), signal.SIGKILL)
