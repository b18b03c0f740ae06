"""A collector in trouble: two servers at once under the same load on the same CPU, one whose collector is healthy.

Both get requests as fast as they answer, so that whatever the trouble costs shows as a difference in throughput. The books of the
troubled server are read once a second; when the load is over, its collector recovers and the server is stopped.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from benchmarks.soak.client import Load, Told, mixed
from benchmarks.soak.collector import HEALTHY, Collector, collecting
from benchmarks.soak.phase import Check, Phase, Place, Plan, at_most, equal
from benchmarks.soak.process import MEGABYTE, Books, Server, serving
from telemetry.span_queue import QueueLimits

SECTION: Final = "A collector in trouble"
WARM_UP: Final = 1.0
SLOWEST: Final = 0.9
SETTLE_SECONDS: Final = 5.0


@dataclass
class Side:
    """A server under load and its collector."""

    server: Server
    collector: Collector
    plan: Plan
    told: list[Told] = field(default_factory=list)
    seen: list[Books] = field(default_factory=list)
    cpu: float = 0.0
    before: float = 0.0
    peak: float = 0.0

    def load(self) -> Load:
        """Make a load for it."""
        return Load(self.server.port, mixed(), rate=self.plan.hasty_rate)

    async def watch(self) -> None:
        """Read the books, and how much memory it holds."""
        self.seen.append(await self.server.books())
        self.peak = max(self.peak, self.server.resident())

    @property
    def spans(self) -> int:
        """How many spans its answers must have made."""
        return sum(told.spans for told in self.told)

    @property
    def answered(self) -> int:
        """How many answers it gave."""
        return sum(told.answered for told in self.told)

    @property
    def failed(self) -> int:
        """How many requests were not answered, or not as they should be."""
        return sum(told.failed + told.unanswered for told in self.told)

    @property
    def throughput(self) -> float:
        """How many requests it answered a second under the last load."""
        return self.told[-1].answered / self.told[-1].seconds

    @property
    def cpu_us(self) -> float:
        """How much CPU time a request of the last load cost, in µs."""
        return self.cpu / self.told[-1].answered * 1e6


async def trouble(mode: str, place: Place) -> Phase:
    """Run a server while its collector is in a trouble."""
    async with _side(place) as control, _side(place) as side:
        await _drive([control, side], WARM_UP)
        side.before, control.before = side.server.resident(), control.server.resident()
        await side.collector.switch(mode)
        await _drive([control, side], place.plan.trouble)
        at_rest = await _settled(side)
        met = side.collector.met or len(side.server.said("wait in the queue"))
        await side.collector.switch(HEALTHY)
        last, _ = await asyncio.gather(side.server.stop(), control.server.stop())
        checks = _checks(control, side, at_rest, last)
    told = Check("the server met the trouble", f"{met} times", met > 0)
    return Phase(SECTION, mode, _figures(control, side, last), (told, *checks))


@asynccontextmanager
async def _side(place: Place) -> AsyncIterator[Side]:
    plan = place.plan
    async with (
        collecting() as collector,
        serving(collector.url, place.folder, cpu=plan.cpu, max_queue_size=plan.queue) as server,
    ):
        yield Side(server, collector, plan)


async def _drive(sides: list[Side], seconds: float) -> None:
    """Load all of them for so long."""
    loads = [side.load() for side in sides]
    cpu = [side.server.cpu_seconds() for side in sides]
    loop = asyncio.get_running_loop()
    for load in loads:
        await load.begin()
    ends = loop.time() + seconds
    while (left := ends - loop.time()) > 0:
        await asyncio.sleep(min(left, 1.0))
        await asyncio.gather(*(side.watch() for side in sides))
    for side, told, before in zip(sides, await asyncio.gather(*(load.end() for load in loads)), cpu, strict=True):
        side.told.append(told)
        side.cpu = side.server.cpu_seconds() - before


async def _settled(side: Side) -> Books:
    """Return the books when the last background task is over."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + SETTLE_SECONDS
    while (books := await side.server.books()).ended < side.spans and loop.time() < ends:
        await asyncio.sleep(0.05)
    return books


def _checks(control: Side, side: Side, at_rest: Books, last: Books) -> list[Check]:
    scrapes = [*side.seen, at_rest]
    balanced = sum(books.balanced for books in scrapes)
    limit = QueueLimits().bytes / MEGABYTE
    checks = [
        Check("no failed request", f"{side.failed} of {side.answered}", side.failed == 0),
        at_most("memory grows by no more than the queue may hold", side.peak - side.before, limit, " MB"),
        equal(
            "ended = exported + dropped + queued in every scrape under load", scrapes=len(scrapes), balanced=balanced
        ),
        equal("every answer has its spans, and none more", of_the_answers=side.spans, ended=at_rest.ended),
        equal("every answer has its line", answers=side.answered, lines=side.server.lines.access),
        equal(
            "in the end: ended = exported + dropped", ended=last.ended, exported_and_dropped=last.exported + last.lost
        ),
        equal("the collector has what was exported", exported=last.exported, accepted=side.collector.accepted),
    ]
    if side.plan.judge_speed:
        share = side.throughput / control.throughput
        text = "throughput is at least 90 % of the healthy one beside it"
        checks.append(Check(text, f"{share:.1%}", share >= SLOWEST))
    return checks


def _figures(control: Side, side: Side, last: Books) -> dict[str, str | float]:
    return {
        "requests": side.answered,
        "failed": side.failed,
        "requests/s": round(side.throughput),
        "healthy beside it": round(control.throughput),
        "share": f"{side.throughput / control.throughput:.1%}",
        "CPU us": round(side.cpu_us),
        "healthy CPU us": round(control.cpu_us),
        "RSS MB before": round(side.before, 1),
        "RSS MB peak": round(side.peak, 1),
        "healthy peak": round(control.peak, 1),
        "ended": last.ended,
        "exported": last.exported,
        **{f"dropped {reason}": count for reason, count in sorted(last.dropped.items())},
        "most queued": max(books.queued for books in side.seen),
        "repeated batches": side.collector.repeated,
    }
