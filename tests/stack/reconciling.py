"""A shop as it runs in the stack (spans to a trace store, lines to Loki, counters to Prometheus), and what the back-ends say of a load."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from goshop.processes import wait_until
from goshop.shop import GATEWAY, Shop
from loadtests import Sample
from slo.gate import API
from telemetry import conventions as c
from tests.stack.backend import Backend
from tests.stack.jaeger import MOST_TRACES, Jaeger
from tests.stack.loki import Loki
from tests.stack.observed import exporting
from tests.stack.prometheus import Prometheus, eventually, running

# A kill takes along what was counted since the last scrape.
SCRAPE: Final = "200ms"
ARRIVES_SECONDS: Final = 30.0
REQUESTS: Final = f'{c.HTTP_REQUEST_DURATION}_count{{endpoint=~"{API}.*"}}'
ACCESS_LINES: Final = f'{{job="backend-app",service="{GATEWAY}"}} | json | logger="{c.ACCESS_LOGGER}" | path=~"{API}.*"'
_MARGIN: Final = 0.5


@dataclass(frozen=True)
class Stack:
    """A shop, and the back-ends that know of it."""

    shop: Shop
    prometheus: Prometheus
    jaeger: Jaeger
    loki: Loki

    def counted(self, samples: Iterable[Sample]) -> int:
        """Return by how much the gateway's counter grew during a load: the raw difference, over restarts of the process."""
        began = min(sample.start for sample in samples)
        now = float(self.prometheus.api("query", query="time()")["result"][1])
        seconds = int(now - began) + 10
        found = self.prometheus.query(f"{REQUESTS}[{seconds}s]", now)
        return sum(_growth([(float(at), float(value)) for at, value in each["values"]], began) for each in found)

    def server_spans(self, samples: Iterable[Sample]) -> Counter[str]:
        """Return how often each trace id is on a server span of the gateway's public side during a load."""
        return Counter(
            trace["traceID"].zfill(32)
            for trace in self.traces(samples)
            for span in trace["spans"]
            if _is_entry(span, trace["processes"])
        )

    def traces(self, samples: Iterable[Sample]) -> list[dict[str, Any]]:
        """Return the traces of a load that the gateway has a span in, in Jaeger's own form."""
        begin, end = _window(samples)
        when = {"start": str(int(begin * 1e6)), "end": str(int(end * 1e6))}
        answer = self.jaeger.json("/api/traces", service=f"{c.NAMESPACE}-{GATEWAY}", limit=str(MOST_TRACES), **when)
        return list(answer["data"])

    def access_lines(self, samples: Iterable[Sample]) -> Counter[str]:
        """Return each trace id of an access line during a load, once: Promtail may send a line again."""
        begin, end = _window(samples)
        lines = [line for line in self.loki.lines(ACCESS_LINES) if begin <= line.at / 1e9 <= end]
        return Counter({str(json.loads(line.text)[c.LOG_TRACE_ID]) for line in lines})

    def scraped(self) -> None:
        """Wait until Prometheus has what was counted until now."""
        now = time.time()
        eventually(lambda: (self.prometheus.value("max(timestamp(up))") or 0) > now, 10, "a scrape from now on")

    def settled(self, ask: Callable[[], Any], wanted: Any) -> Any:
        """Return an answer once it is the wanted one, and the last one after a while: back-ends are behind."""
        found: list[Any] = []

        def is_there() -> bool:
            found[:] = [ask()]
            return bool(found[0] == wanted)

        # Where it never is, the test says how the last one differs.
        wait_until(is_there, ARRIVES_SECONDS)
        return found[0]


@contextmanager
def stacked(
    prometheus: Path, folder: Path, promtail: Callable[[Path], Backend], loki: Loki, jaeger: Jaeger
) -> Iterator[Stack]:
    """Run a shop in a stack; raises `StartError`. Main thread only."""
    logs = folder / "logs"
    logs.mkdir(parents=True)
    promtail(logs)
    with exporting(folder, jaeger.traces_endpoint, GOSHOP_LOGS__FOLDER=str(logs)) as shop:
        target = shop.internal[GATEWAY].removeprefix("http://")
        jobs = [{"job_name": GATEWAY, "static_configs": [{"targets": [target]}]}]
        config = {"global": {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE}, "scrape_configs": jobs}
        with running(prometheus, folder / "prometheus", json.dumps(config)) as server:
            eventually(lambda: server.value("count(up == 1)"), 20, "the gateway is scraped")
            yield Stack(shop, server, jaeger, loki)


def _growth(values: list[tuple[float, float]], began: float) -> int:
    """Return how much a counter grew since a time; one that was not there then began at 0, and so does one that fell."""
    before = [value for at, value in values if at <= began]
    after = [value for at, value in values if at > began]
    return int(sum(new - old if new >= old else new for old, new in pairwise([before[-1] if before else 0.0, *after])))


def _window(samples: Iterable[Sample]) -> tuple[float, float]:
    times = [(sample.start, sample.start + sample.duration) for sample in samples]
    # Nothing of a load is before it, and what prepared it is at once.
    return min(begin for begin, _ in times), max(end for _, end in times) + _MARGIN


def _is_entry(span: dict[str, Any], processes: dict[str, Any]) -> bool:
    tags = {tag["key"]: tag["value"] for tag in span["tags"]}
    gateway = processes[span["processID"]]["serviceName"] == f"{c.NAMESPACE}-{GATEWAY}"
    return gateway and tags.get("span.kind") == "server" and str(tags.get(c.URL_PATH, "")).startswith(API)
