"""Nothing grows: under a steady load for long, and whatever callers make up.

Steady load: what the process holds is sampled at even intervals. Growth is the slope of a straight line through the second half
of the samples, times its duration; noise is 1 % of their mean, or twice the standard deviation around that line when that is more.

Distinct requests: label sets and shapes are compared with those after a few requests; memory and objects with those when the
cache of peers has been full.
"""

import asyncio
import statistics
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Final

from benchmarks.soak.client import Ask, Load, Told, ask, mixed
from benchmarks.soak.collector import Collector, collecting
from benchmarks.soak.phase import Check, Phase, Place, Plan, at_most, equal
from benchmarks.soak.process import Server, serving
from telemetry.shapes import PEERS

STEADY: Final = "Steady load"
DISTINCT: Final = "Distinct requests"
NOISE: Final = 0.01
HELD: Final = ("RSS MB", "label sets", "descriptors", "threads", "objects")
# 100,000 requests that leave 20 bytes each would exceed it.
MEGABYTES: Final = 2.0
OBJECTS: Final = 1_000
LONG: Final = 8_000
# Every route and every kind of span has been seen then, and every module imported.
WARM_UP: Final = 1_000
FEW: Final = 100
# Fills the cache of peers twice.
FIRST: Final = 2 * PEERS + 100
EXPORT_SECONDS: Final = 30.0
PATIENCE: Final = 600.0


async def held(server: Server) -> dict[str, float]:
    """Return what a server holds at the moment."""
    facts = await server.facts()
    return {
        "RSS MB": server.resident(),
        "label sets": await server.label_sets(),
        "descriptors": server.descriptors(),
        **facts,
    }


@asynccontextmanager
async def _served(place: Place, http: str = "httptools") -> AsyncIterator[tuple[Server, Collector]]:
    async with collecting() as collector, serving(collector.url, place.folder, cpu=place.plan.cpu, http=http) as server:
        yield server, collector


# --- a steady load ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Growth:
    """How a value grew over the second half of its samples, and how much of that is noise."""

    first: float
    last: float
    grown: float
    noise: float


def growth(times: Sequence[float], values: Sequence[float]) -> Growth:
    """Return the growth of a value over the second half of its samples."""
    half = len(values) // 2
    x, y = times[half:], values[half:]
    slope, begin = statistics.linear_regression(x, y)
    around = statistics.pstdev(value - (begin + slope * at) for at, value in zip(x, y, strict=True))
    noise = max(NOISE * statistics.fmean(y), 2 * around)
    return Growth(values[0], values[-1], slope * (x[-1] - x[0]), noise)


async def steady(place: Place) -> list[Phase]:
    """Load a server steadily; returns a phase for each thing that it holds."""
    async with _served(place) as (server, collector):
        first = await _send(server, islice(mixed(), WARM_UP))
        load = Load(server.port, mixed(), connections=32, rate=place.plan.rate)
        await load.begin()
        times, samples = await _sampled(server, place.plan)
        told = await load.end()
        last = await server.stop()
        books = [
            _no_failure(first, told),
            equal("every answer has its line", answers=first.answered + told.answered, lines=server.lines.access),
            equal(
                "the collector has every span",
                of_the_answers=first.spans + told.spans,
                accepted=collector.accepted,
                ended=last.ended,
            ),
        ]
    return [_grown(name, growth(times, [sample[name] for sample in samples]), told, books) for name in HELD]


async def _sampled(server: Server, plan: Plan) -> tuple[list[float], list[dict[str, float]]]:
    """Return when the samples were taken, in seconds, and what was held then."""
    loop = asyncio.get_running_loop()
    began, times, samples = loop.time(), list[float](), list[dict[str, float]]()
    for number in range(1, plan.samples + 1):
        await asyncio.sleep(max(0.0, began + plan.steady * number / plan.samples - loop.time()))
        times.append(loop.time() - began)
        samples.append(await held(server))
    return times, samples


def _grown(name: str, found: Growth, told: Told, books: list[Check]) -> Phase:
    check = at_most(f"{name}: no growth over the second half beyond noise", found.grown, found.noise)
    figures: dict[str, str | float] = {
        "first": round(found.first, 2),
        "last": round(found.last, 2),
        "growth in the second half": round(found.grown, 2),
        "noise": round(found.noise, 2),
        "requests": told.answered,
        "requests/s": round(told.answered / told.seconds),
    }
    return Phase(STEADY, name, figures, (check, *books))


# --- what callers make up ---------------------------------------------------------------------------------------------


def paths() -> Iterator[Ask]:
    """Yield requests for paths that nobody has, some of them long or with unusual characters."""
    for number in range(10**9):
        tail = "/%C3%A4%22%0A" * (number % 3) + "x" * (LONG // 4 if number % 50 == 0 else 0)
        yield ask(f"/nothing/{number:x}{tail}?page={number}", 404)


def methods() -> Iterator[Ask]:
    """Yield requests with methods that nobody has, for a path that is there and for others in turns."""
    for number in range(10**9):
        there = number % 2
        yield ask("/plain/7" if there else f"/nothing/{number:x}", 405 if there else 404, method=f"MADE{number:X}")


def callers() -> Iterator[Ask]:
    """Yield requests of ever other user agents to ever other hosts, some of them 8 kB long."""
    for number in range(10**9):
        tail = "x" * (LONG if number % 50 == 0 else 0)
        agent, host = f"agent/{number}{tail}", f"host-{number}.example.test"
        yield ask("/plain/7", User_Agent=agent, Host=host if number % 2 else f"{host}:{1024 + number % 60_000}")


# uvicorn's httptools refuses methods that are not registered; h11 passes every token on.
KINDS: Final[dict[str, tuple[Callable[[], Iterator[Ask]], str]]] = {
    "unmatched paths": (paths, "httptools"),
    "methods": (methods, "h11"),
    "user agents and hosts": (callers, "httptools"),
}


async def distinct(kind: str, place: Place) -> Phase:
    """Send requests of which no two are the same."""
    make, http = KINDS[kind]
    asks = make()
    async with _served(place, http) as (server, collector):
        few = await _send(server, islice(asks, FEW))
        early = await held(server)
        first = await _send(server, islice(asks, FIRST))
        before = await held(server)
        rest = await _send(server, islice(asks, place.plan.distinct))
        after = await held(server)
        last = await server.stop()
        answers = few.answered + first.answered + rest.answered
        checks = [
            *_limits(early, before, after),
            _no_failure(few, first, rest),
            equal("every answer has its span", answers=answers, accepted=collector.accepted),
            equal("every answer has its line", answers=answers, lines=server.lines.access),
            equal("nothing is dropped", dropped=last.lost, nothing=0),
        ]
    return Phase(DISTINCT, kind, _figures(early, before, after, rest), tuple(checks))


async def _send(server: Server, asks: Iterator[Ask]) -> Told:
    """Send them all, and wait until their spans are exported."""
    load = Load(server.port, asks)
    await load.begin()
    told = await load.done(PATIENCE)
    loop = asyncio.get_running_loop()
    ends = loop.time() + EXPORT_SECONDS
    while (await server.books()).queued and loop.time() < ends:
        await asyncio.sleep(0.1)
    return told


def _limits(early: dict[str, float], before: dict[str, float], after: dict[str, float]) -> list[Check]:
    # A peer is an object with a dictionary, under a key that is a tuple.
    peers = 3 * max(0.0, after["peers"] - before["peers"])
    return [
        at_most("memory stays as it was", after["RSS MB"] - before["RSS MB"], MEGABYTES, " MB"),
        at_most("objects stay as many as there were", after["objects"] - before["objects"] - peers, OBJECTS),
        equal("label sets stay as they were", after_a_few=int(early["label sets"]), after_all=int(after["label sets"])),
        equal("shapes stay as they were", after_a_few=int(early["shapes"]), after_all=int(after["shapes"])),
        at_most("the cache of peers is bounded", after["peers"], PEERS),
    ]


def _no_failure(*told: Told) -> Check:
    failed = sum(each.failed + each.unanswered for each in told)
    wrong = sum((each.wrong for each in told), start=Counter[str]())
    what = f": {dict(wrong.most_common(3))}" if wrong else ""
    return Check("no failed request", f"{failed} of {sum(each.answered for each in told)}{what}", failed == 0)


def _figures(
    early: dict[str, float], before: dict[str, float], after: dict[str, float], told: Told
) -> dict[str, str | float]:
    figures: dict[str, str | float] = {"requests": told.answered}
    for name, compared in (
        ("RSS MB", before),
        ("objects", before),
        ("peers", before),
        ("label sets", early),
        ("shapes", early),
    ):
        figures[f"{name} before"], figures[f"{name} after"] = round(compared[name], 1), round(after[name], 1)
    return figures
