"""Rounds: every variant in each, a different one first each time, and for every figure the proof that the work was done.

A phase is one load on one server. Its CPU time runs until the last span has arrived at the sink, so that nobody is cheap by
being late. Afterwards spans, lines and observations must be as many as requests were sent, and each request's trace id must
have arrived: otherwise the phase has no figures.
"""

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.telemetry import generator, sink
from benchmarks.telemetry.catalogue import Variant
from benchmarks.telemetry.generator import GeneratorFailed, Load, Sent
from benchmarks.telemetry.server import Server, ServerFailed, serving
from benchmarks.telemetry.sink import MissingSpans, Sink

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it

Send = Callable[[str, Load, int], Sent]


class Mismatch(Exception):
    """Something else arrived than was sent."""


@dataclass(frozen=True)
class Plan:
    """What is run: `rounds` of `loads` on each server after a `warm_up`; spans leave after at most `delay` seconds."""

    rounds: int
    loads: tuple[Load, ...]
    warm_up: Load
    delay: float = 1.0
    server_cpu: int | None = None


FULL = Plan(rounds=5, loads=(Load(32, 4), Load(1, 4)), warm_up=Load(32, 1))
QUICK = Plan(rounds=1, loads=(Load(32, 1), Load(1, 1)), warm_up=Load(8, 1))


@dataclass(frozen=True)
class Measurement:
    """The figures of a phase: CPU in µs a request, latencies in ms, memory in MB, and what a SERVER span says.

    `busy` is the server's CPU time by the time that the load took: well below 1 under many connections means that something
    else had the CPU, or that the generator could not keep up.
    """

    variant: str
    round: int
    connections: int
    requests: int
    cpu_us: float
    busy: float
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    resident_mb: float
    span_bytes: int
    attributes: tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """A variant that has no figures in a round, and why."""

    variant: str
    round: int
    reason: str


@dataclass(frozen=True)
class Arrived:
    """What arrived so far, or in a phase; `traces` and `line_traces` count different trace ids."""

    spans: int
    traces: int
    lines: int
    line_traces: int
    observations: int


class Bench:
    """A server and its sink, under one load after another."""

    def __init__(self, server: Server, collector: Sink, send: Send, seeds: Iterator[int]) -> None:
        self.server = server
        self.variant = server.variant
        self.sink = collector
        self._send = send
        self._seeds = seeds

    def phase(self, load: Load, number: int) -> Measurement:
        """Send a load and measure; raises `Mismatch`, `MissingSpans`, `GeneratorFailed`."""
        before = self.sink.told()
        observations = self.server.observations()
        self.server.new_lines()
        cpu = self.server.cpu_seconds()
        sent = self._send(self.server.url, load, next(self._seeds))
        self.sink.wait(before["spans"] + self.variant.spans * sent.requests)
        cpu = self.server.cpu_seconds() - cpu
        after = self.sink.told()
        self._check(sent.requests, before, after, observations)
        return Measurement(
            variant=self.variant.name,
            round=number,
            connections=load.connections,
            requests=sent.requests,
            cpu_us=cpu / sent.requests * 1e6,
            busy=cpu / sent.seconds,
            requests_per_second=sent.answered / sent.seconds,
            p50_ms=sent.p50 * 1e3,
            p99_ms=sent.p99 * 1e3,
            resident_mb=self.server.resident_megabytes(),
            span_bytes=(after["bytes"] - before["bytes"]) // sent.requests,
            attributes=tuple(after["attributes"]),
        )

    def settle(self) -> None:
        """Wait for the span of the request that showed that the server answers."""
        self.sink.wait(self.variant.spans)

    def _check(self, requests: int, before: dict[str, Any], after: dict[str, Any], observations: int) -> None:
        lines = self.server.new_lines()
        arrived = Arrived(
            spans=after["spans"] - before["spans"],
            traces=after["traces"] - before["traces"],
            lines=lines.count,
            line_traces=lines.traces,
            observations=self.server.observations() - observations,
        )
        wanted = expected(self.variant, requests)
        if arrived != wanted:
            raise Mismatch(f"{requests} requests were sent; expected {wanted}, but there is {arrived}")


def expected(variant: Variant, requests: int) -> Arrived:
    """Return what must arrive for so many requests."""
    return Arrived(
        spans=variant.spans * requests,
        traces=requests if variant.spans else 0,
        lines=variant.lines * requests,
        line_traces=requests if variant.lines else 0,
        observations=requests if variant.histogram else 0,
    )


class Rounds:
    """A plan while it is run: what was measured, and what could not be."""

    def __init__(self, plan: Plan, progress: Callable[[str], None], send: Send = generator.send) -> None:
        self.plan = plan
        self.measurements: list[Measurement] = []
        self.failures: list[Failure] = []
        self._progress = progress
        self._send = send
        # No two phases send the same trace id.
        self._seeds = itertools.count(0x10000000)

    def run(self, variants: Sequence[Variant]) -> None:
        """Give every variant its turn in every round."""
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            for number, variant in turns(variants, self.plan.rounds):
                self._progress(f"round {number}  {variant.name:<18} {self._turn(number, variant, Path(folder))}")

    def _turn(self, number: int, variant: Variant, folder: Path) -> str:
        try:
            found = self._measure(number, variant, folder)
        except (Mismatch, MissingSpans, GeneratorFailed, ServerFailed) as error:
            self.failures.append(Failure(variant.name, number, str(error)))
            return f"NO FIGURES: {error}"
        self.measurements += found
        return "   ".join(map(_brief, found))

    def _measure(self, number: int, variant: Variant, folder: Path) -> list[Measurement]:
        plan = self.plan
        with (
            sink.running() as collector,
            serving(variant, collector.url, folder, cpu=plan.server_cpu, delay=plan.delay) as server,
        ):
            bench = Bench(server, collector, self._send, self._seeds)
            bench.settle()
            bench.phase(plan.warm_up, number)
            return [bench.phase(load, number) for load in plan.loads]


def turns(variants: Sequence[Variant], rounds: int) -> Iterator[tuple[int, Variant]]:
    """Yield whose turn it is: all in each round, each round beginning with the next one."""
    for number in range(1, rounds + 1):
        first = (number - 1) % len(variants)
        for variant in [*variants[first:], *variants[:first]]:
            yield number, variant


def _brief(found: Measurement) -> str:
    return f"c={found.connections:<2} {found.cpu_us:6.1f} us/request {found.requests_per_second:6.0f}/s p99 {found.p99_ms:6.2f} ms"


def share_the_machine() -> int:
    """Keep the generator and the sink off the CPU that is returned, the server's; raises `OneCpu`."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) == 1:
        raise OneCpu("the server and its load need a CPU each: this machine has one")
    os.sched_setaffinity(0, usable[1:2])
    return usable[0]


class OneCpu(Exception):
    """There is no second CPU."""
