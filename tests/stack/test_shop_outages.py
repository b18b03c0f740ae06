"""The shop while its stores are away: nobody who buys notices; a lost span is counted, and lines come when Loki does."""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from goshop.shop import Shop
from telemetry import conventions as c
from tests.stack import jaeger as jaegers
from tests.stack.backend import Backend
from tests.stack.jaeger import Jaeger
from tests.stack.loki import EVERYTHING, Loki
from tests.stack.observed import Customer, exporting, trace_id
from tests.stack.prometheus import eventually
from tests.stack.shop_metrics import counted, waiting

WITHIN_SECONDS = 30.0
# A service asks a store that was away again after 36 s at the latest (telemetry.span_queue).
BACK_SECONDS = 60.0
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


def medians_agree(away: list[float], *there: list[float]) -> bool:
    """Tell whether answers were as quick as in the slower of the times around them, with room for what else the machine does."""
    return statistics.median(away) <= 2 * max(map(statistics.median, there)) + 0.005


def spans_of_each(store: Jaeger, ids: list[str]) -> int:
    """Return how many spans a request has, once none has fewer: what is exported waits in the store, too."""

    def ask() -> int:
        counts = Counter(len(store.spans(wanted)) for wanted in ids)
        [(usual, _)] = counts.most_common(1)
        return usual if usual == min(counts) else 0

    return int(eventually(ask, WITHIN_SECONDS, "every trace is whole"))


def test_a_store_that_is_away_slows_nobody_down_and_what_it_does_not_get_is_counted(
    shop: Shop, store: Jaeger, customer: Customer
) -> None:
    ids, there = look(customer)
    eventually(lambda: not waiting(shop), WITHIN_SECONDS, "every span is exported")
    assert counted(shop)[c.SPANS_DROPPED] == 0
    each = spans_of_each(store, ids)
    store.kill()
    ids, away = look(customer)
    assert waiting(shop) <= QUEUE * len(shop.internal)
    store.start()
    eventually(lambda: not waiting(shop), BACK_SECONDS, "every span is exported or dropped")
    dropped = counted(shop)[c.SPANS_DROPPED]
    _, again = look(customer)
    assert medians_agree(away, there, again)

    def lost() -> int:
        return len(ids) * each - sum(len(store.spans(wanted)) for wanted in ids)

    eventually(lambda: lost() <= dropped, WITHIN_SECONDS, "what is missing is what was dropped")
    # The rest is what services do by themselves.
    assert 0.8 * dropped <= lost() < len(ids) * each
    assert dropped > 0


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
    full = len(list(logs.glob("gateway.*.log")))
    during, away = look(customer)
    eventually(lambda: len(list(logs.glob("gateway.*.log"))) > full, WITHIN_SECONDS, "a file is full")
    loki.start()
    after, again = look(customer)
    eventually(lambda: {*before, *during, *after} <= access_lines(loki), WITHIN_SECONDS, "every request is in Loki")
    assert counted(shop)[c.LOG_LINES_LOST] == 0
    assert medians_agree(away, there, again)
