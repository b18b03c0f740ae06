"""What a shop's own telemetry says of a run: the gateway's counter, its access lines, everybody's spans.

All of it begins with the load: what was prepared before is cut off by time, by position in the log, by difference.
"""

import json
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from goshop.run import RunFolder
from goshop.shop import GATEWAY, Shop
from slo.gate import API
from telemetry import conventions as c
from telemetry.spans import SpanRecord, read_spans

DRAIN_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.1
SCRAPE_SECONDS: Final = 5.0
_COUNT: Final = "_count"
# Loopback only: a proxy that the environment names must not see it.
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of a service's counters."""

    api_requests: int
    in_progress: int
    spans_ended: int
    spans_exported: int
    spans_dropped: int

    @property
    def drained(self) -> bool:
        """Whether nothing is under way and every span has left or was given up."""
        return not self.in_progress and self.spans_ended == self.spans_exported + self.spans_dropped


def read_metrics(internal: str) -> Reading:
    """Scrape one service; raises OSError when it does not answer."""
    try:
        with _DIRECT.open(f"{internal}/metrics", timeout=SCRAPE_SECONDS) as answer:
            text = answer.read().decode()
    except HTTPException as error:
        raise OSError(f"{internal}/metrics broke off: {error}") from None
    sums: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if _counts(sample.name, sample.labels):
                sums[sample.name] += int(sample.value)
    return Reading(
        sums[c.HTTP_REQUEST_DURATION + _COUNT],
        sums[c.HTTP_REQUESTS_IN_PROGRESS],
        sums[c.SPANS_ENDED],
        sums[c.SPANS_EXPORTED],
        sums[c.SPANS_DROPPED],
    )


def _counts(name: str, labels: Mapping[str, str]) -> bool:
    return name != c.HTTP_REQUEST_DURATION + _COUNT or labels[c.LOG_ENDPOINT].startswith(API)


class Watch:
    """Notes where the gateway's counter and log stand when the load begins."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._before = read_metrics(shop.internal[GATEWAY])
        self._log_position = shop.run.log(GATEWAY).stat().st_size
        self.began = time.time()
        # When a service was first seen dead, unix s.
        self.deaths: dict[str, float] = {}

    def look(self) -> None:
        """Note who has died; the more often this is asked, the truer the times."""
        for name in self._shop.ended():
            self.deaths.setdefault(name, time.time())

    def drain(self) -> Reading | None:
        """Wait until the gateway is done, at most ten seconds; return its last reading, None when it is dead."""
        ends = time.monotonic() + DRAIN_SECONDS
        while True:
            try:
                reading = read_metrics(self._shop.internal[GATEWAY])
            except OSError:
                return None
            if reading.drained or time.monotonic() > ends:
                return reading
            time.sleep(POLL_SECONDS)

    def requests(self, after: Reading) -> int:
        """Return how many requests over /api the gateway counted since the load began."""
        return after.api_requests - self._before.api_requests

    def dropped_spans(self, after: Reading) -> int:
        """Return how many spans the gateway's exporter gave up since the load began."""
        return after.spans_dropped - self._before.spans_dropped

    def access_lines(self) -> Counter[str]:
        """Return how often each trace id is in the gateway's access log since the load began."""
        return Counter(_access_lines(self._shop.run.log(GATEWAY), self._log_position))

    def spans(self) -> dict[str, list[SpanRecord]]:
        """Return every service's spans since the load began, by trace id; read them when the shop has stopped."""
        began = int(self.began * 1e9)
        by_trace: defaultdict[str, list[SpanRecord]] = defaultdict(list)
        for span in all_spans(self._shop.run):
            if span.start_ns >= began:
                by_trace[span.trace_id].append(span)
        return dict(by_trace)


def all_spans(run: RunFolder) -> Iterator[SpanRecord]:
    """Yield the spans of every service of a run; the load's own say nothing of the shop."""
    for path in sorted(run.spans.glob("*.otlp")):
        if path != run.span_file(c.LOAD_SERVICE):
            yield from read_spans(path)


def _access_lines(log: Path, position: int) -> Iterator[str]:
    with log.open("rb") as file:
        file.seek(position)
        for raw in file:
            line = _parse(raw)
            if line.get(c.LOG_LOGGER) == c.ACCESS_LOGGER and str(line.get(c.LOG_PATH, "")).startswith(API):
                yield str(line[c.LOG_TRACE_ID])


def _parse(raw: bytes) -> dict[str, object]:
    # The last line of a killed process may be torn; anything else that is no JSON came from outside the pipeline.
    try:
        line = json.loads(raw)
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}
