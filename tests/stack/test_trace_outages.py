"""The trace store away: nobody who buys notices, and every span that is lost is counted."""

import statistics
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from goshop.shop import Shop
from telemetry import conventions as c
from tests.stack import jaeger as jaegers
from tests.stack.jaeger import Jaeger
from tests.stack.observed import Customer, exporting, trace_id
from tests.stack.prometheus import eventually

WITHIN_SECONDS = 30.0
REQUESTS = 200
# Of spans that wait for the store, in each service; as shipped there are 65,536.
QUEUE = 200
SMALL = {
    "OTEL_BSP_MAX_QUEUE_SIZE": str(QUEUE),
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "50",
    "OTEL_BSP_SCHEDULE_DELAY": "200",
}


@pytest.fixture(scope="module")
def store(jaeger_command: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    with jaegers.running(jaeger_command, tmp_path_factory.mktemp("away") / "jaeger") as store:
        yield store


@pytest.fixture(scope="module")
def shop(store: Jaeger, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with exporting(tmp_path_factory.mktemp("away"), store.traces_endpoint, **SMALL) as shop:
        yield shop


@pytest.fixture(scope="module")
def customer(shop: Shop) -> Iterator[Customer]:
    with Customer(shop) as customer:
        customer.look()
        yield customer


def counted(shop: Shop) -> Counter[str]:
    """Return what all services together say of their spans: ended, exported, dropped."""
    totals: Counter[str] = Counter()
    for url in shop.internal.values():
        for line in httpx.get(f"{url}/metrics", trust_env=False, timeout=10.0).text.splitlines():
            for name in (c.SPANS_ENDED, c.SPANS_EXPORTED, c.SPANS_DROPPED):
                if line.startswith((f"{name} ", f"{name}{{")):
                    totals[name] += int(float(line.rpartition(" ")[2]))
    return totals


def waiting(shop: Shop) -> int:
    totals = counted(shop)
    return totals[c.SPANS_ENDED] - totals[c.SPANS_EXPORTED] - totals[c.SPANS_DROPPED]


def look(customer: Customer) -> tuple[list[str], list[float]]:
    """Ask for a product many times; returns the trace ids, and the seconds that each answer took."""
    ids, seconds = [], []
    for _ in range(REQUESTS):
        begin = time.perf_counter()
        answer = customer.look()
        seconds.append(time.perf_counter() - begin)
        assert answer.is_success, answer.text
        ids.append(trace_id(answer))
    return ids, seconds


def test_a_store_that_is_away_slows_nobody_down_and_what_it_does_not_get_is_counted(
    shop: Shop, store: Jaeger, customer: Customer
) -> None:
    ids, there = look(customer)
    eventually(lambda: not waiting(shop), WITHIN_SECONDS, "every span is exported")
    assert counted(shop)[c.SPANS_DROPPED] == 0
    # Each request is like the other: so many spans.
    [each] = {len(store.spans(wanted)) for wanted in ids}
    store.kill()
    ids, away = look(customer)
    assert waiting(shop) <= QUEUE * len(shop.internal)
    assert statistics.median(away) <= 2 * statistics.median(there) + 0.002
    store.start()
    eventually(lambda: not waiting(shop), WITHIN_SECONDS, "every span is exported or dropped")
    found = sum(len(store.spans(wanted)) for wanted in ids)
    lost, dropped = len(ids) * each - found, counted(shop)[c.SPANS_DROPPED]
    assert 0 < lost <= dropped
    # The rest is what services do by themselves.
    assert dropped - lost <= 0.1 * dropped
    assert found > 0


def test_after_an_outage_nothing_is_lost_any_more(shop: Shop, store: Jaeger, customer: Customer) -> None:
    before = counted(shop)[c.SPANS_DROPPED]
    wanted = trace_id(customer.look())
    eventually(lambda: store.spans(wanted), WITHIN_SECONDS, "the next trace is in the store")
    assert counted(shop)[c.SPANS_DROPPED] == before
