"""SIGTERM in the middle of a load: what ended before the process did is exported, or counted and said."""

import asyncio
import re
import time
from typing import Final

from benchmarks.soak.client import Load, Told, mixed
from benchmarks.soak.collector import HEALTHY, Collector, collecting
from benchmarks.soak.phase import Check, Phase, Place, at_most, equal
from benchmarks.soak.process import Books, Server, serving
from telemetry import conventions as c
from telemetry.ending import FLUSH_SECONDS

SECTION: Final = "The end under load"
# What state the collector is in: one that is not there, and one that never answers, have nothing in the end.
ENDINGS: Final = (HEALTHY, "down", "slow")
CONNECTIONS: Final = 32
# What the server may take besides the flush: its answers under way, and the end of the interpreter.
DRAIN_SECONDS: Final = 3.0
_SAID: Final = re.compile(r"^(\d+) spans were not exported before the end$")


async def ending(mode: str, place: Place) -> Phase:
    """End a server under load whose collector is in `mode`."""
    plan = place.plan
    async with (
        collecting() as collector,
        serving(collector.url, place.folder, cpu=plan.cpu, max_queue_size=plan.queue) as server,
    ):
        await collector.switch(mode)
        load = Load(server.port, mixed(), connections=CONNECTIONS, rate=plan.hasty_rate)
        await load.begin()
        await asyncio.sleep(plan.ending)
        server.terminate()
        began = time.monotonic()
        # Whoever is answered asks again, until the server has closed the connection.
        told, last = await asyncio.gather(load.done(), server.ended())
        took = time.monotonic() - began
    kept = _kept if mode == HEALTHY else _counted
    checks = [*_always(server, told, last, took), *kept(server, collector, last)]
    return Phase(SECTION, mode, _figures(server, collector, told, last, took), tuple(checks))


def _always(server: Server, told: Told, last: Books, took: float) -> list[Check]:
    return [
        Check("no failed request", f"{told.failed} of {told.answered}", told.failed == 0),
        equal("every answer has its line", answers=told.answered, lines=server.lines.access),
        equal("every answer has its spans, and none more", of_the_answers=told.spans, ended=last.ended),
        equal("ended = exported + dropped", ended=last.ended, exported_and_dropped=last.exported + last.lost),
        equal("no line is lost", lost=last.lines_lost, nothing=0),
        at_most("the process ends within its bound", took, FLUSH_SECONDS + DRAIN_SECONDS, " s"),
    ]


def _kept(_: Server, collector: Collector, last: Books) -> list[Check]:
    return [equal("the collector has every span that ended", ended=last.ended, accepted=collector.accepted)]


def _counted(server: Server, _: Collector, last: Books) -> list[Check]:
    said = [int(match[1]) for match in map(_SAID.match, server.said("before the end")) if match]
    dropped = last.dropped[c.DROP_SHUTDOWN]
    return [
        Check("what was queued is counted as dropped", f"{dropped} spans", dropped > 0),
        Check("a line says how many", f"{said}", said == [dropped]),
    ]


def _figures(server: Server, collector: Collector, told: Told, last: Books, took: float) -> dict[str, str | float]:
    return {
        "answered": told.answered,
        "failed": told.failed,
        "found closed": told.unanswered,
        "lines": server.lines.access,
        "ended": last.ended,
        "accepted": collector.accepted,
        **{f"dropped {reason}": count for reason, count in sorted(last.dropped.items())},
        "seconds to the end": round(took, 2),
    }
