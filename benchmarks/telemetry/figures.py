"""From measurements to figures: medians with their spread, differences taken within a round, ratios, targets."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.telemetry.catalogue import Variant
from benchmarks.telemetry.rounds import Measurement

BUSY, ALONE = 32, 1


@dataclass(frozen=True)
class Spread:
    """A figure over the rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Figures:
    """A variant under one load; `over` and `p99_over` are differences to its bare base in the same round.

    CPU in µs a request, latencies in ms, throughput in requests a second and in percent of the base's, memory in MB.
    """

    variant: Variant
    connections: int
    rounds: int
    requests: int
    cpu: Spread
    over: Spread
    throughput: Spread
    share: Spread
    p50: Spread
    p99: Spread
    p99_over: Spread
    resident: Spread
    attributes: int


@dataclass(frozen=True)
class Target:
    """What was aimed at, what came out, and whether that is enough."""

    text: str
    measured: str
    met: bool


def spread(values: Iterable[float]) -> Spread:
    """Return the median of the values and their extremes."""
    found = sorted(values)
    return Spread(statistics.median(found), found[0], found[-1])


def figures(variants: Sequence[Variant], measurements: Sequence[Measurement]) -> list[Figures]:
    """Return the figures of every variant that has a round in common with its base, load by load."""
    at = {(m.variant, m.connections, m.round): m for m in measurements}
    loads = dict.fromkeys(m.connections for m in measurements)
    found: list[Figures] = []
    for connections in loads:
        for variant in variants:
            mine = [m for m in measurements if (m.variant, m.connections) == (variant.name, connections)]
            bases = [at.get((variant.base, connections, m.round)) for m in mine]
            if pairs := [(m, base) for m, base in zip(mine, bases, strict=True) if base]:
                found.append(_figures(variant, pairs))
    return found


def _figures(variant: Variant, pairs: Sequence[tuple[Measurement, Measurement]]) -> Figures:
    def own(of: Callable[[Measurement], float]) -> Spread:
        return spread(of(mine) for mine, _ in pairs)

    first = pairs[0][0]
    return Figures(
        variant=variant,
        connections=first.connections,
        rounds=len(pairs),
        requests=sum(mine.requests for mine, _ in pairs),
        cpu=own(lambda m: m.cpu_us),
        over=spread(mine.cpu_us - base.cpu_us for mine, base in pairs),
        throughput=own(lambda m: m.requests_per_second),
        share=spread(100 * mine.requests_per_second / base.requests_per_second for mine, base in pairs),
        p50=own(lambda m: m.p50_ms),
        p99=own(lambda m: m.p99_ms),
        p99_over=spread(mine.p99_ms - base.p99_ms for mine, base in pairs),
        resident=own(lambda m: m.resident_mb),
        attributes=len(first.attributes),
    )


def ours_in(found: Sequence[Figures], connections: int, kind: str = "ours") -> Figures | None:
    """Return the figures of our layer (or of the compiled one) under a load."""
    return next((f for f in found if f.variant.kind == kind and f.connections == connections), None)


def times(figure: Figures, ours: Figures | None) -> float | None:
    """Return how many times as much as ours a variant costs over its base; None where that says nothing."""
    if ours is None or figure.variant.kind in {"bare", "ours", "compiled"} or ours.over.median <= 0:
        return None
    return figure.over.median / ours.over.median


def targets(found: Sequence[Figures]) -> list[Target]:
    """Hold the figures against what the layer is meant to reach; what was not measured has no line."""
    lines: list[Target] = []
    for kind, name in (("ours", "pure Python"), ("compiled", "compiled")):
        for connections in (BUSY, ALONE):
            if ours := ours_in(found, connections, kind):
                lines += _cost_targets(ours, found, f"{name}, c = {connections}")
                lines.append(_speed_target(ours, f"{name}, c = {connections}"))
    return lines


def _cost_targets(ours: Figures, found: Sequence[Figures], where: str) -> list[Target]:
    over = ours.over.median
    limits = (20, 30) if ours.variant.kind == "ours" else (20,)
    lines = [
        Target(f"{where}: at most {limit} us of CPU a request over bare", f"{over:.1f} us", over <= limit)
        for limit in limits
    ]
    for kind, factor, peer in (
        ("framework", 10, "the best framework integration"),
        ("sdk", 4, "the stock-SDK middleware"),
    ):
        peers = [f for f in found if f.variant.kind == kind and f.connections == ours.connections]
        if peers and (ratio := times(min(peers, key=lambda f: f.over.median), ours)):
            lines.append(
                Target(f"{where}: at least {factor} times less than {peer}", f"{ratio:.1f} times", ratio >= factor)
            )
    return lines


def _speed_target(ours: Figures, where: str) -> Target:
    if ours.connections == BUSY:
        share = ours.share.median
        return Target(f"{where}: at least 75 % of bare throughput", f"{share:.0f} %", share >= 75)  # noqa: PLR2004 - said in the text
    late = ours.p99_over.median
    return Target(f"{where}: P99 within 0.3 ms of bare", f"{late:+.2f} ms", late <= 0.3)  # noqa: PLR2004 - said in the text
