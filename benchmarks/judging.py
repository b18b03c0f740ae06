"""What judging costs as a run grows: requests with two spans each, of which one in fifty is slow in its statement."""

import statistics
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from loadtests import Sample
from slo.gate import RunFacts, evaluate
from slo.load import LoadFacts
from slo.openslo.loading import load_gate
from telemetry.spans import SpanRecord

GATE = Path(__file__).parents[1] / "slo" / "specs" / "checkout.yaml"
BEGIN = 1_800_000_000.0
SECONDS = 30.0
ROUNDS = 5
SIZES = (5_000, 10_000, 20_000, 40_000)


def requests(count: int) -> Iterator[tuple[Sample, list[SpanRecord]]]:
    """Make a run of searches."""
    for number in range(count):
        start = BEGIN + SECONDS * number / count
        duration = 0.9 if number % 50 == 0 else 0.02
        trace_id = f"{number + 1:032x}"
        sample = Sample(
            trace_id, "smoke", "GET /api/products", "GET", 200, 0, duration, start, expected=True, warmup=False
        )
        yield sample, spans(trace_id, start, duration)


def spans(trace_id: str, start: float, duration: float) -> list[SpanRecord]:
    """Make the entry span of a request and its one statement."""
    first, last = int(start * 1e9), int((start + duration) * 1e9)
    entry = {"http.request.method": "GET", "url.path": "/api/products", "http.route": "/api/products"}
    query = {"db.query.summary": "SELECT products", "db.collection.name": "products"}
    return [
        SpanRecord(trace_id, "1" * 16, "", "gateway", "GET /api/products", "SERVER", first, last, attributes=entry),
        SpanRecord(
            trace_id,
            "2" * 16,
            "1" * 16,
            "product",
            "SELECT products",
            "CLIENT",
            first + 1000,
            last - 1000,
            attributes=query,
        ),
    ]


def facts(count: int) -> RunFacts:
    """Make what the judge is given."""
    made = list(requests(count))
    samples = [sample for sample, _ in made]
    return RunFacts(
        gate=load_gate(GATE),
        samples=samples,
        load=LoadFacts(model="open", begin=BEGIN, seconds=SECONDS, planned=count),
        url="http://127.0.0.1",
        profile="smoke",
        started=BEGIN,
        ended=BEGIN + SECONDS,
        spans={sample.trace_id: its for sample, its in made},
        access_lines=Counter(sample.trace_id for sample in samples),
        server_requests=count,
    )


def main() -> None:
    """Print seconds and µs a request for each size, interleaved over the rounds."""
    runs = {size: facts(size) for size in SIZES}
    taken: dict[int, list[float]] = {size: [] for size in SIZES}
    for _ in range(ROUNDS):
        for size, run in runs.items():
            began = time.perf_counter()
            evaluate(run)
            taken[size].append(time.perf_counter() - began)
    print(f"{'requests':>9} {'median s':>9} {'min..max':>15} {'µs/request':>11}")
    for size, seconds in taken.items():
        median = statistics.median(seconds)
        print(f"{size:>9} {median:>9.3f} {min(seconds):>7.3f}..{max(seconds):.3f} {median / size * 1e6:>11.1f}")
