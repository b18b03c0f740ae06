"""The way from an alert to the failing statement, on a shop that every back-end watches as it is shipped.

One shop and one set of back-ends for all faults; each fault is of another service and another objective, so that no alert of one
is there already when the next strikes. Windows are as they are: a Prometheus that has been there for half a minute knows no more of
six hours than that half minute.
"""

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import yaml

import loadtests
from goshop.run import RunFolder
from goshop.shop import Shop
from loadtests.profiles import Arrivals, Profile
from loadtests.seed import SeedSize, seed_shop
from slo.openslo.loading import load_specification
from slo.openslo.model import Slo
from slo.openslo.promql import Selector
from tests.compose.model import COMPOSE, read, services
from tests.dashboards.boards import BOARDS, Query, queries
from tests.stack.alertmanager import Alertmanager, Listener, told_at
from tests.stack.alertmanager import running as running_alertmanager
from tests.stack.jaeger import Jaeger
from tests.stack.loki import Loki
from tests.stack.observed import UNLIMITED
from tests.stack.prometheus import Prometheus, eventually, running

ROOT: Final = Path(__file__).parents[2]
SIZE: Final = SeedSize(users=20, products=50, orders=20)
# What is slow once (connections, plans) is no part of the story: nobody watches yet.
WARM: Final = Profile(name="warm", load=Arrivals(rate=30, users=60), seconds=4.0)
CALM: Final = Profile(name="calm", load=Arrivals(rate=30, users=60), seconds=10.0)
STRUCK: Final = Profile(name="struck", load=Arrivals(rate=30, users=60), seconds=60.0)
# Shipped: each 5 s and each 15 s; Alertmanager waits for two evaluations and some.
EVERY: Final = 1.0
GROUP_WAIT: Final = "4s"
RATE_INTERVAL: Final = "10s"
# No test has been there for longer, in s.
HISTORY: Final = 900.0


@dataclass(frozen=True)
class Stage:
    """The shop and everything that watches it."""

    shop: Shop
    seed: Path
    logs: Path
    prometheus: Prometheus
    alertmanager: Alertmanager
    listener: Listener
    loki: Loki
    jaeger: Jaeger

    def arm(self, service: str) -> None:
        """Let the fault of one service strike from now on."""
        os.kill(self.shop.pids[service], signal.SIGUSR1)

    def load(self, profile: Profile, until: Callable[[], Any] | None = None) -> None:
        """Load the shop, until something is so if that comes first."""
        stop = None if until is None else lambda _: bool(until())
        loadtests.run(profile, self.shop.url, self.seed, self.shop.run.k6, stop_when=stop)


@dataclass(frozen=True)
class Watching:
    """What watches a shop: the commands of Prometheus and Alertmanager, who sends a folder of lines to Loki, and the stores."""

    prometheus: Path
    alertmanager: Path
    promtail: Callable[[Path], object]
    loki: Loki
    jaeger: Jaeger


@contextmanager
def staged(folder: Path, faults: str, watching: Watching) -> Iterator[Stage]:
    """Run a shop whose faults wait to be armed, and show everybody a calm time of it; raises `StartError`. Main thread only."""
    logs, seed = folder / "logs", folder / "seed.json"
    logs.mkdir(parents=True)
    watching.promtail(logs)
    environ = {
        **os.environ,
        **UNLIMITED,
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": watching.jaeger.traces_endpoint,
        "GOSHOP_LOGS__FOLDER": str(logs),
    }
    listener = Listener()
    with (
        listener.listening(),
        Shop.start(RunFolder.create(folder / "goshop"), faults=faults, armed=False, environ=environ) as shop,
        running_alertmanager(watching.alertmanager, folder / "alertmanager", _told(listener)) as alertmanager,
    ):
        seed_shop(shop.url, shop.admin, seed, size=SIZE)
        loadtests.run(WARM, shop.url, seed, shop.run.k6)
        config, flags = configuration(shop.internal, alertmanager.url), shipped_flags()
        with running(watching.prometheus, folder / "prometheus", config, flags=flags) as prometheus:
            eventually(lambda: prometheus.value("count(up == 1)") == len(shop.internal), 20, "all are scraped")
            stage = Stage(shop, seed, logs, prometheus, alertmanager, listener, watching.loki, watching.jaeger)
            stage.load(CALM)
            yield stage


def _told(listener: Listener) -> str:
    return told_at(listener.url, group_wait=GROUP_WAIT, group_interval=GROUP_WAIT)


def configuration(internal: Mapping[str, str], alertmanager: str, every: float | None = EVERY) -> str:
    """Return compose/prometheus.yaml with the addresses of here; what is not here is not scraped.

    It scrapes and evaluates each `every` s, as often as shipped for None.
    """
    document = read(COMPOSE / "prometheus.yaml")
    if every is not None:
        names = ("scrape_interval", "scrape_timeout", "evaluation_interval")
        document["global"] |= dict.fromkeys(names, f"{every:.0f}s")
    document["rule_files"] = [f"{ROOT / 'slo' / 'generated' / 'rules'}/*.yaml"]
    [manager] = document["alerting"]["alertmanagers"]
    manager["static_configs"] = [{"targets": [alertmanager.removeprefix("http://")]}]
    document["scrape_configs"] = [job for job in document["scrape_configs"] if job["job_name"] == "goshop"]
    for each in document["scrape_configs"][0]["static_configs"]:
        each["targets"] = [internal[each["labels"]["service"]].removeprefix("http://")]
    return yaml.safe_dump(document)


def shipped_flags() -> tuple[str, ...]:
    """Return the features of Prometheus that the stack uses; exemplars are one of them."""
    command = services()["prometheus"]["command"]
    return tuple(flag for flag in command if flag.startswith("--enable-feature="))


@dataclass(frozen=True)
class Walk:
    """A fault that strikes, as somebody meets it who was told of an alert.

    `struck` and `seen` are when it began and when there was enough to see (Unix s).
    """

    stage: Stage
    alert: str
    slo: Slo
    struck: float
    seen: float

    @property
    def fired(self) -> float:
        """When the alert began to fire (Unix s); raises `ValueError` when it does not."""
        point = f'min(timestamp(ALERTS{{alertname="{self.alert}",alertstate="firing"}}))'
        span = {"start": f"{self.struck:.0f}", "end": f"{self.seen + EVERY:.0f}", "step": "1"}
        found = self.stage.prometheus.api("query_range", query=point, **span)["result"]
        return min(float(value) for series in found for _, value in series["values"])

    def told(self) -> dict[str, Any]:
        """Return the alert as Alertmanager shows it, with its annotations, once whoever is on call was told."""

        def ask() -> bool:
            return any(self.alert in told.alerts for told in self.stage.listener.told if told.receiver == "on-call")

        eventually(ask, 20, f"whoever is on call is told of {self.alert}")
        found = self.stage.alertmanager.json("/api/v2/alerts")
        [mine] = [each for each in found if each["labels"]["alertname"] == self.alert]
        return dict(mine)

    def shown(self, board: str, panel: str, service: str) -> dict[str, list[dict[str, Any]]]:
        """Return what the queries of a panel find when enough is to be seen, by their letters."""
        mine = [query for query in queries(BOARDS[board]) if query.place == panel and query.language == "promql"]
        return {query.ref: self.stage.prometheus.query(self._filled(query, service), self.seen) for query in mine}

    def exemplars(self, board: str, service: str, until: float | None = None) -> list[dict[str, Any]]:
        """Return the exemplars of bad events that a dashboard shows as points, each with its series' labels."""
        span = {"start": str(self.struck), "end": str(until or self.seen)}
        found = []
        for query in queries(BOARDS[board]):
            if query.exemplars:
                text = self._filled(query, service)
                for series in self.stage.prometheus.api("query_exemplars", query=text, **span):
                    found += [{**each, "series": series["seriesLabels"]} for each in series["exemplars"]]
        return [each for each in found if self._is_bad(each)]

    def _filled(self, query: Query, service: str) -> str:
        seconds = f"{max(self.seen - self.struck, 1):.0f}s"
        values = {"service": service, "environment": ".*", "__rate_interval": RATE_INTERVAL, "__range": seconds}
        return query.filled(values)

    def _is_bad(self, exemplar: Mapping[str, Any]) -> bool:
        """Tell whether a point is an event that the objective counts as bad: too slow, or with a status that is an error."""
        sli, labels = self.slo.sli, exemplar["series"]
        if sli.le is not None:
            return float(exemplar["value"]) > float(sli.le)
        return all(
            re.fullmatch(matcher.value, labels.get(matcher.label, "")) is not None
            for matcher in sli.events.matchers
            if matcher.operator in {"=", "=~"}
        )

    def exceeded(self, limit: float, fewest: int) -> float:
        """Return when more than a share of all events that were ever scraped was bad, and so many (Unix s)."""
        sli = self.slo.sli
        events, everything = self._grown(sli.events), self._grown(sli.everything)
        bad = total = 0.0
        for at in sorted(everything):
            total += everything[at]
            bad += everything[at] - events.get(at, 0.0) if sli.kind == "latency" else events.get(at, 0.0)
            if at > self.struck and bad >= fewest and bad > limit * total:
                return at
        raise ValueError(f"never more than {limit:.1%} of the events of {self.slo.id} were bad")

    def _grown(self, selector: Selector) -> dict[float, float]:
        """Return by how much counters grew, by time; a process that began again began at 0."""
        span = {"start": f"{self.struck - HISTORY:.0f}", "end": f"{self.seen:.0f}", "step": "1"}
        found: dict[float, float] = {}
        for series in self.stage.prometheus.api("query_range", query=str(selector), **span)["result"]:
            points = [(float(at), float(value)) for at, value in series["values"]]
            for (_, old), (at, new) in pairwise([(0.0, points[0][1]), *points]):
                found[at] = found.get(at, 0.0) + (new - old if new >= old else new)
        return found

    def trace(self, trace_id: str) -> list[dict[str, Any]]:
        """Return the spans of a trace once all of it has come."""

        def ask() -> list[dict[str, Any]]:
            spans = self.stage.jaeger.spans(trace_id)
            known = {span["spanID"] for span in spans}
            parents = [each["spanID"] for span in spans for each in span["references"]]
            # k6 is the parent of one; it does not tell of its own spans here.
            return spans if sum(parent not in known for parent in parents) <= 1 and spans else []

        return list(eventually(ask, 20, f"the trace {trace_id} is in the store"))

    def written(self, trace_id: str) -> list[str]:
        """Return the lines of a request as the services have written them."""
        lines = [line for path in sorted(self.stage.logs.glob("*.log*")) for line in path.read_text().splitlines()]
        return [line for line in lines if json.loads(line).get("trace_id") == trace_id]


@contextmanager
def walked(stage: Stage, alert: str, strike: Callable[[Stage], None], heal: Callable[[Stage], None]) -> Iterator[Walk]:
    """Let a fault strike under load until its alert fires and there is a request of it to be seen; heal it at the end."""
    slo = objective_of(alert)
    [before] = [stage.prometheus.query(f'ALERTS{{alertname="{alert}",alertstate="firing"}}')]
    assert before == [], f"{alert} fires already"
    struck = time.time()
    strike(stage)
    try:
        stage.load(STRUCK, until=lambda: _is_seen(Walk(stage, alert, slo, struck, time.time())))
        yield Walk(stage, alert, slo, struck, time.time())
    finally:
        heal(stage)


def _is_seen(walk: Walk) -> bool:
    firing = f'ALERTS{{alertname="{walk.alert}",alertstate="firing"}}'
    return bool(walk.stage.prometheus.query(firing)) and bool(walk.exemplars("goshop-service", walk.slo.service))


def objective_of(alert: str) -> Slo:
    """Return the objective that an alert is about."""
    slos = load_specification([ROOT / "slo" / "specs"]).slos
    [found] = [slo for slo in slos if alert.startswith("".join(part.capitalize() for part in slo.id.split("-")))]
    return found
