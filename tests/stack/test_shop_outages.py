"""The shop while its stores are away: nobody who buys notices; a lost span is counted, and lines come when Loki does."""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from goshop.shop import Shop
from telemetry import conventions as c
from tests.stack import jaeger as jaegers
from tests.stack.backend import Backend
from tests.stack.jaeger import Jaeger
from tests.stack.loki import EVERYTHING, Loki
from tests.stack.observed import Customer, exporting, trace_id
from tests.stack.prometheus import eventually

WITHIN_SECONDS = 30.0
REQUESTS = 200
# Of spans that wait for the store, in each service; as shipped there are 65,536.
QUEUE = 200
# A file of lines is full after some hundred of them, so that some are renamed meanwhile.
SMALL = {
    "OTEL_BSP_MAX_QUEUE_SIZE": str(QUEUE),
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "50",
    "OTEL_BSP_SCHEDULE_DELAY": "200",
    "GOSHOP_LOGS__MAX_BYTES": "20000",
    "GOSHOP_LOGS__KEEP": "50",
}


@pytest.fixture(scope="module")
def store(jaeger_command: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    with jaegers.running(jaeger_command, tmp_path_factory.mktemp("away") / "jaeger") as store:
        yield store


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def shop(store: Jaeger, logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    variables = {**SMALL, "GOSHOP_LOGS__FOLDER": str(logs)}
    with exporting(tmp_path_factory.mktemp("away"), store.traces_endpoint, **variables) as shop:
        yield shop


@pytest.fixture(scope="module")
def customer(shop: Shop) -> Iterator[Customer]:
    with Customer(shop) as customer:
        customer.look()
        yield customer


def counted(shop: Shop) -> Counter[str]:
    """Return what all services together say of their spans (ended, exported, dropped) and of lines that they lost."""
    totals: Counter[str] = Counter()
    for url in shop.internal.values():
        for line in httpx.get(f"{url}/metrics", trust_env=False, timeout=10.0).text.splitlines():
            for name in (c.SPANS_ENDED, c.SPANS_EXPORTED, c.SPANS_DROPPED, c.LOG_LINES_LOST):
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


def access_lines(loki: Loki) -> set[str]:
    """Return the trace ids of the gateway's access lines; what was sent again is among them once."""
    query = (
        f'{EVERYTHING.removesuffix("}")},service="gateway"}} | json | logger="access" | line_format "{{{{.trace_id}}}}"'
    )
    return set(loki.texts(query))


def test_every_request_while_loki_was_away_is_in_it_afterwards_and_none_was_slow(
    shop: Shop,
    customer: Customer,
    logs: Path,
    start_loki: Callable[..., Loki],
    start_promtail: Callable[..., Backend],
) -> None:
    loki = start_loki()
    start_promtail(logs, loki.url)
    before, there = look(customer)
    eventually(lambda: set(before) <= access_lines(loki), WITHIN_SECONDS, "they are in Loki")
    loki.kill()
    renamed = len(list(logs.glob("gateway.log.*")))
    during, away = look(customer)
    eventually(lambda: len(list(logs.glob("gateway.log.*"))) > renamed, WITHIN_SECONDS, "a file is renamed")
    loki.start()
    after, _ = look(customer)
    eventually(lambda: {*before, *during, *after} <= access_lines(loki), WITHIN_SECONDS, "every request is in Loki")
    assert counted(shop)[c.LOG_LINES_LOST] == 0
    assert statistics.median(away) <= 2 * statistics.median(there) + 0.002
