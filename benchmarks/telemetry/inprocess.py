"""The layer alone: µs of CPU a request around a trivial ASGI application, without a server.

Spans are exported to a file and lines written to one, both in memory; the CPU of the exporting thread counts. The loop
ticks after every `CONCURRENT` requests, as it does under a server that serves as many at once.
"""

import asyncio
import cProfile
import gc
import itertools
import os
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop
from prometheus_client import CollectorRegistry

from telemetry import TelemetryMiddleware, compiled, configure
from telemetry.request import SlottedRequest

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
ROUNDS = 7
REQUESTS = 20_000
WARM_UP = 2_000
CONCURRENT = 16
ROWS = 40

Asgi = Callable[[Any, Any, Any], Any]

_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"97")],
}
_BODY = {"type": "http.response.body", "body": b"x" * 97}
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Layer:
    """A way to wrap the application, and how to wait until it has told everything."""

    name: str
    app: Asgi
    settle: Callable[[], Any] = lambda: None
    cpu: list[float] = field(default_factory=list)
    loop: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)


async def application(scope: Any, _receive: Any, send: Any) -> None:
    """Answer as a router would have: with the template of the route in the scope."""
    scope["path_template"] = "/items/{item_id}"
    await send(_START)
    await send(_BODY)


async def _send(message: Any) -> None:
    """Take what a server would write."""


async def _receive() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


def requests(count: int) -> list[dict[str, Any]]:
    """Make scopes as uvicorn does, each with an id and a trace of its own."""
    return [_scope(number) for number in itertools.islice(_numbers, count)]


def _scope(number: int) -> dict[str, Any]:
    path = f"/items/{1000 + number % 1000}"
    parent = f"00-{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}-{number:016x}-01"
    headers = {
        "host": "api.example.test:8000",
        "user-agent": "Mozilla/5.0 (X11; Linux x86_64) bench/1.0",
        "accept": "application/json",
        "accept-encoding": "identity",
        "x-request-id": f"{number:016x}",
        "traceparent": parent,
    }
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 40_000 + number % 32),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "state": {},
    }


@contextmanager
def ours(folder: Path) -> Iterator[Layer]:
    """Wrap the application in `TelemetryMiddleware`; spans and lines go to files in `folder`."""
    os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = f"file:{folder}/spans.otlp"
    with (folder / "lines.log").open("a") as stream:
        telemetry = configure("bench", registry=CollectorRegistry(), stream=stream)
        yield Layer(
            "pure Python" if compiled.Request is SlottedRequest else "compiled",
            TelemetryMiddleware(application, telemetry),
            telemetry.flush,
        )
        telemetry.shutdown()


async def drive(app: Asgi, scopes: list[dict[str, Any]]) -> None:
    """Serve requests, and let the loop tick in between."""
    for number, scope in enumerate(scopes):
        await app(scope, _receive, _send)
        if number % CONCURRENT == 0:
            await asyncio.sleep(0)
    await asyncio.sleep(0)


async def measure(layer: Layer, count: int) -> None:
    """Serve `count` requests and note µs a request: CPU of all threads until everything is told, CPU of the loop, time."""
    scopes = requests(count)
    gc.collect()
    wall, loop, cpu = time.perf_counter_ns(), time.thread_time_ns(), time.process_time_ns()
    await drive(layer.app, scopes)
    layer.wall.append((time.perf_counter_ns() - wall) / count / 1e3)
    layer.loop.append((time.thread_time_ns() - loop) / count / 1e3)
    layer.settle()
    layer.cpu.append((time.process_time_ns() - cpu) / count / 1e3)


def empty(folder: Path) -> None:
    """Cut the files of the round before: what they hold is not looked at."""
    for path in folder.iterdir():
        os.truncate(path, 0)


async def compare(layers: list[Layer], folder: Path, rounds: int, count: int) -> None:
    """Measure every layer in every round, a different one first each time."""
    for layer in layers:
        await drive(layer.app, requests(WARM_UP))
    for turn in range(rounds):
        first = turn % len(layers)
        for layer in layers[first:] + layers[:first]:
            await measure(layer, count)
            empty(folder)


async def garbage(layer: Layer, count: int) -> float:
    """Return how many objects a request leaves to the garbage collector: each holds the server's whole request with it."""
    scopes = requests(count)
    gc.collect()
    gc.disable()
    await drive(layer.app, scopes)
    layer.settle()
    scopes.clear()
    found = gc.collect()
    gc.enable()
    return found / count


def report(layers: list[Layer]) -> None:
    """Print the medians; what a layer costs is its difference to the bare application of the same round."""
    bare = layers[0]
    print(f"{'us a request':<12} {'CPU':>8} {'over bare':>10} {'(min..max)':>16} {'loop CPU':>9} {'loop time':>10}")
    for layer in layers:
        over = [mine - base for mine, base in zip(layer.cpu, bare.cpu, strict=True)]
        cpu, loop, wall = (statistics.median(values) for values in (layer.cpu, layer.loop, layer.wall))
        spread = f"({min(over):.2f}..{max(over):.2f})"
        print(f"{layer.name:<12} {cpu:>8.2f} {statistics.median(over):>10.2f} {spread:>16} {loop:>9.2f} {wall:>10.2f}")


def profile(layer: Layer, count: int) -> None:
    """Print where the time of the loop's thread goes, in µs a request; a profiled call costs more than a plain one."""
    scopes = requests(count)
    profiler = cProfile.Profile()

    async def profiled() -> None:
        await drive(layer.app, requests(WARM_UP))
        profiler.enable()
        await drive(layer.app, scopes)
        profiler.disable()

    uvloop.run(profiled())
    stats: dict[tuple[str, int, str], Any] = pstats.Stats(profiler).stats  # type: ignore[attr-defined]  # typeshed has none
    print(f"{'own us':>8} {'with calls':>10} {'calls':>6}  function ({layer.name}, per request)")
    for where, (_, calls, own, total, _) in sorted(stats.items(), key=lambda row: -row[1][2])[:ROWS]:
        print(f"{own / count * 1e6:>8.2f} {total / count * 1e6:>10.2f} {calls / count:>6.1f}  {_place(*where)}")


def _place(file: str, line: int, function: str) -> str:
    return function if file == "~" else f"{'/'.join(Path(file).parts[-2:])}:{line} {function}"


def main(*, quick: bool = False, profiled: bool = False) -> None:
    """Compare the layers, or profile ours."""
    parent = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=parent) as name, ours(Path(name)) as layer:
        rounds, count = (2, REQUESTS // 10) if quick else (ROUNDS, REQUESTS)
        if profiled:
            profile(layer, count)
            return
        layers = [Layer("bare", application), layer]
        uvloop.run(compare(layers, Path(name), rounds, count))
        report(layers)
        print(f"left to the garbage collector: {uvloop.run(garbage(layer, WARM_UP)):.2f} objects a request")
