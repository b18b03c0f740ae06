"""A shop whose metrics a real Prometheus scrapes and judges by the committed rules: calm for a while, then a statement fails.

Nothing of the rules is shortened. A window looks back over what there is: a Prometheus that has been there for a minute knows
no more of an hour than that minute, so that a page over an hour and 5 minutes fires within seconds of the first fault.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import loadtests
from goshop.run import RunFolder
from goshop.shop import Shop
from loadtests.profiles import Arrivals, Profile
from loadtests.seed import SeedSize, seed_shop
from slo.generation.alerts import Sites
from slo.generation.artefacts import groups_of
from slo.generation.model import Record
from slo.openslo.loading import load_specification
from slo.openslo.model import Specification
from tests.stack.prometheus import Prometheus, eventually, running

ROOT: Final = Path(__file__).parents[2]
RULES: Final = ROOT / "slo" / "generated" / "rules"
SPECIFICATION: Final = ROOT / "slo" / "specs"
# Half of all requests are searches.
FAULT: Final = "product.search=error"
CALM: Final = Profile(name="calm", load=Arrivals(rate=30, users=60), seconds=40.0)
OUTAGE: Final = Profile(name="outage", load=Arrivals(rate=30, users=60), seconds=35.0)
# In s; the tightest limit of a service (slo/specs) is 0.2.
SLOW: Final = 0.15
SIZE: Final = SeedSize(users=20, products=50, orders=20)
ENVIRONMENT: Final = "test"
# Where a slow bucket leads: the trace ids of some of its requests.
EXEMPLARS: Final = ("--enable-feature=exemplar-storage",)


@dataclass(frozen=True)
class Story:
    """What happened: the server that saw it, when (Unix s), and how many requests k6 had refused with a 5xx.

    `calm` says whether the calm time was one for customers: on a machine that is busy with something else alerts of slowness
    are right. The shop is still there, with one of its products; `seed` has what k6 needs, `logs` the services' log files.
    """

    shop: Shop
    product: str
    seed: Path
    logs: Path
    server: Prometheus
    specification: Specification
    began: float
    calm_until: float
    ended: float
    refused: int
    calm: bool

    def selectors(self) -> set[str]:
        """Return what the rules read, and whether the targets are up."""
        return {"up", *(str(each) for slo in self.specification.slos for each in (slo.sli.events, slo.sli.everything))}

    def records(self) -> list[Record]:
        """Return every recording rule."""
        return [
            rule
            for slo in self.specification.slos
            for group in groups_of(slo, Sites())
            for rule in group.rules
            if isinstance(rule, Record)
        ]


@contextmanager
def told(prometheus: Path, folder: Path) -> Iterator[Story]:
    """Run the shop through both times, a minute and a half; the server stays until the context ends. Main thread only."""
    logs = folder / "logs"
    logs.mkdir(parents=True)
    environ = {**os.environ, "GOSHOP_LOGS__FOLDER": str(logs)}
    with Shop.start(RunFolder.create(folder / "goshop"), faults=FAULT, armed=False, environ=environ) as shop:
        data = folder / "seed.json"
        # Before anything is scraped: hashing the passwords of 20 accounts at once is slow, and no part of the story.
        product = seed_shop(shop.url, shop.admin, data, size=SIZE).products[0]
        with running(prometheus, folder / "prometheus", configuration(shop.internal), flags=EXEMPLARS) as server:
            eventually(lambda: server.value("count(up == 1)") == len(shop.internal), 20, "all services are scraped")
            began = time.time()
            before = loadtests.run(CALM, shop.url, data, shop.run.k6)
            calm_until = time.time()
            shop.arm_faults()
            outage = loadtests.run(OUTAGE, shop.url, data, shop.run.k6)
            refused = sum(sample.status >= 500 for sample in outage.samples)
            ended = eventually(lambda: _counted(server, refused), 10, "the last answers are scraped")
            slow = sum(sample.duration > SLOW for sample in before.samples)
            calm = slow < 0.005 * len(before.samples)
            specification = load_specification([SPECIFICATION])
            yield Story(shop, product, data, logs, server, specification, began, calm_until, ended, refused, calm)


def configuration(internal: dict[str, str]) -> str:
    """Return a configuration that scrapes services by name and address each second, with the committed rules.

    JSON, which is YAML. Rules and dashboards select by the labels `service` and `environment`, which are the scraper's to give.
    """
    targets = [
        {"targets": [url.removeprefix("http://")], "labels": {"service": name, "environment": ENVIRONMENT}}
        for name, url in internal.items()
    ]
    document: dict[str, Any] = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [f"{RULES}/*.yaml"],
        "scrape_configs": [{"job_name": "goshop", "static_configs": targets}],
    }
    return json.dumps(document)


def _counted(server: Prometheus, refused: int) -> float | None:
    """Return the time when the gateway's counters have all that k6 saw refused, None before."""
    at = time.time()
    counted = server.value('sum(http_request_duration_seconds_count{service="gateway",status_code=~"5.."})', at)
    return at if counted is not None and counted >= refused else None
