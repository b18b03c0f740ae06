"""Trace store and Loki away for a minute under load, with the queues and pauses of compose/: no answer is slower, and nothing is lost.

The load is a fifth of what the queues are made for, and so are the queues. (`test_shop_outages` has queues and files that are too small.)
"""

import json
import time
from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path
from typing import Final

import pytest

import loadtests
from app.config import SERVICES
from goshop.shop import GATEWAY, Shop
from loadtests import Sample
from loadtests.profiles import Arrivals, Profile
from loadtests.seed import SeedSize, seed_shop
from telemetry import conventions as c
from tests.compose.model import services
from tests.stack import jaeger as jaegers
from tests.stack import loki as lokis
from tests.stack import promtail as promtails
from tests.stack.jaeger import Jaeger
from tests.stack.loki import Loki
from tests.stack.observed import exporting
from tests.stack.prometheus import eventually
from tests.stack.reconciling import ACCESS_LINES
from tests.stack.shop_metrics import counted, counted_by, waiting

pytestmark = pytest.mark.timeout(420)

# In requests/s; compose/ sizes its queues for five times as many.
RATE: Final = 40
SHARE: Final = RATE / 200
# Away for so long, and what is seen before and afterwards; in s.
AWAY: Final = 60.0
THERE: Final = 12.0
WARM: Final = 5.0
# The longest pauses between two tries: 36 s of a service with spans, 10 s of Promtail; and as much again for what waits.
BACK: Final = 75.0
SIZE: Final = SeedSize(users=20, products=50, orders=20)
ARRIVES_SECONDS: Final = 30.0
QUEUE: Final = "OTEL_BSP_MAX_QUEUE_SIZE"


def load(seconds: float) -> Profile:
    return Profile(name="steady", load=Arrivals(rate=RATE, users=60), seconds=seconds)


def room(service: str) -> int:
    """Return for how many spans there is room in a service of compose/, at this load."""
    return int(int(services()[service]["environment"][QUEUE]) * SHARE)


def p99(samples: Sequence[Sample]) -> float:
    """Return the 99th percentile of durations, in s."""
    return sorted(sample.duration for sample in samples)[int(0.99 * len(samples))]


class Outage:
    """A load during which both stores go away; after it they come back, and there is a little more of it."""

    def __init__(self, shop: Shop, store: Jaeger, loki: Loki, folder: Path) -> None:
        self.shop, self.store, self.loki = shop, store, loki
        self.gone = inf
        data = folder / "seed.json"
        seed_shop(shop.url, shop.admin, data, size=SIZE)
        before = loadtests.run(load(WARM + THERE + AWAY), shop.url, data, folder / "k6", on_progress=self._tell).samples
        self.back = time.time()
        self.queued = {service: counted_by(shop, service)[c.SPANS_QUEUED] for service in SERVICES}
        store.start()
        loki.start()
        eventually(lambda: not waiting(shop), BACK, "every span is exported or dropped")
        after = loadtests.run(load(THERE), shop.url, data, folder / "k6").samples
        self.samples = [*before, *after]
        self.there = [*(sample for sample in before if 0 < self.gone - sample.start <= THERE), *after]
        self.away = [sample for sample in before if sample.start > self.gone]

    def _tell(self, progress: loadtests.Progress) -> None:
        if progress.requests >= RATE * (WARM + THERE) and self.gone == inf:
            self.store.kill()
            self.loki.kill()
            self.gone = time.time()


@pytest.fixture(scope="module")
def outage(
    jaeger_command: Path, loki_command: Path, promtail_command: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outage]:
    folder = tmp_path_factory.mktemp("outage")
    logs = folder / "logs"
    logs.mkdir()
    shipped = {"PROMTAIL_BACKOFF": "10s", "PROMTAIL_POSITIONS_SYNC": "5s"}
    with (
        jaegers.running(jaeger_command, folder / "jaeger") as store,
        lokis.running(loki_command, folder / "loki") as loki,
        promtails.running(promtail_command, folder / "promtail", logs, loki.url, **shipped),
        exporting(
            folder,
            store.traces_endpoint,
            **{QUEUE: str(max(map(room, SERVICES))), "GOSHOP_LOGS__FOLDER": str(logs)},
        ) as shop,
    ):
        yield Outage(shop, store, loki, folder)


def test_they_were_away_for_as_long_as_it_is_said(outage: Outage) -> None:
    assert 0.9 * AWAY <= outage.back - outage.gone <= 1.5 * AWAY
    assert len(outage.away) >= 0.9 * RATE * 0.9 * AWAY


def test_nobody_was_refused_and_the_slowest_in_a_hundred_was_no_slower(outage: Outage) -> None:
    assert [sample for sample in outage.samples if sample.status in {0, *range(500, 600)}] == []
    # Who waited for a store would wait for seconds.
    assert p99(outage.away) <= 2 * p99(outage.there) + 0.1


def test_every_span_of_the_minute_had_room_and_is_in_the_store(outage: Outage) -> None:
    assert counted(outage.shop)[c.SPANS_DROPPED] == 0
    full = {service: queued for service, queued in outage.queued.items() if queued > room(service)}
    assert full == {}
    # Nothing was sent meanwhile: the gateway has spans of each request.
    assert outage.queued[GATEWAY] > len(outage.away)
    some = [sample.trace_id for sample in outage.away[::20]]
    eventually(lambda: all(map(outage.store.spans, some)), ARRIVES_SECONDS, "traces of the minute are in the store")


def test_every_line_of_the_minute_is_in_loki(outage: Outage) -> None:
    assert counted(outage.shop)[c.LOG_LINES_LOST] == 0
    asked = {sample.trace_id for sample in outage.samples}

    def missing() -> set[str]:
        return asked - {json.loads(text)[c.LOG_TRACE_ID] for text in outage.loki.texts(ACCESS_LINES)}

    eventually(lambda: not missing(), ARRIVES_SECONDS, "the access line of every request is in Loki")
