"""Every metric of the contract, made once per registry; labels are bound once and kept."""

import threading
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary, WeakSet

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from . import conventions as c
from .histogram import LABEL_SETS, Cells, HotHistogram, LabelValues

HTTP_FAILURES: Final = range(400, 600)


class Counters(dict[tuple[str, ...], Counter]):
    """The children of a counter by label values, each looked up in it only once (0.7 instead of 1.7 µs)."""

    def __init__(self, metric: Counter) -> None:
        super().__init__()
        self.metric = metric

    def __missing__(self, values: tuple[str, ...]) -> Counter:
        if len(self) >= LABEL_SETS:
            return self.metric.labels(*_one_for_all(values))
        child = self[values] = self.metric.labels(*values)
        return child


def _one_for_all(values: LabelValues) -> LabelValues:
    return tuple(c.OVERFLOW_ENDPOINT for _ in values)


def _one_endpoint(values: LabelValues) -> LabelValues:
    """Make (method, endpoint, status code) one endpoint and a class of status codes."""
    method, _, status = values
    # "5xx" still matches the "5.." that dashboards and rules select errors with.
    return method, c.OVERFLOW_ENDPOINT, f"{status[0]}xx" if status else ""


class Level:
    """How many of something are under way; both methods are atomic, as those of a list are."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: list[None] = []

    def inc(self) -> None:
        """Count one more."""
        self._held.append(None)

    def dec(self) -> None:
        """Count one less; raises `IndexError` when none is under way."""
        self._held.pop()

    @property
    def value(self) -> int:
        """How many are under way."""
        return len(self._held)


class Levels(dict[str, Level]):
    """The levels of a gauge by the value of its only label."""

    def __missing__(self, value: str) -> Level:
        if len(self) >= LABEL_SETS and value != c.OVERFLOW_ENDPOINT:
            return self[c.OVERFLOW_ENDPOINT]
        # Atomic: of two threads that come at once, both get the same.
        return self.setdefault(value, Level())


class InProgress(Collector):
    """The HTTP requests that are being served, by method."""

    def __init__(self) -> None:
        self.levels = Levels()

    def collect(self) -> Iterator[Metric]:
        """Yield the gauge."""
        gauge = GaugeMetricFamily(c.HTTP_REQUESTS_IN_PROGRESS, "HTTP requests being served.", labels=c.METHOD_LABELS)
        for method, level in list(self.levels.items()):
            gauge.add_metric([method], level.value)
        yield gauge

    describe = collect


class Holding(Protocol):
    """A queue of spans, as far as its books go."""

    @property
    def queued(self) -> int:
        """How many spans it holds."""


class SpanCounts(Collector):
    """How many spans ended, were exported and were dropped; whoever changes it holds its lock."""

    def __init__(self) -> None:
        self.ended = 0
        self.exported = 0
        self.dropped = {c.DROP_FULL: 0, c.DROP_REJECTED: 0, c.DROP_SHUTDOWN: 0}
        self.queue: Holding | None = None
        # One for all queues that are counted here. Reentrant: a signal handler, or a finalizer that the collector of
        # garbage runs, may end a span in the thread that holds it.
        self.lock = threading.RLock()

    def start_anew(self) -> None:
        """Be fit for use in a forked child: nothing is queued, and nobody holds the lock."""
        self.lock = threading.RLock()
        # Not a subtraction: another thread of the parent may have been in the middle of counting.
        self.ended = self.exported + sum(self.dropped.values())

    def collect(self) -> Iterator[Metric]:
        """Yield the three counters and what is queued, all of one moment: ended = exported + dropped + queued."""
        with self.lock:
            ended, exported, dropped = self.ended, self.exported, dict(self.dropped)
            queued = self.queue.queued if self.queue else 0
        yield CounterMetricFamily(c.SPANS_ENDED, "Sampled spans that ended.", value=ended)
        yield CounterMetricFamily(c.SPANS_EXPORTED, "Spans that the collector or the file has.", value=exported)
        lost = CounterMetricFamily(c.SPANS_DROPPED, "Spans that were given up, by reason.", labels=c.DROP_LABELS)
        for reason, count in dropped.items():
            lost.add_metric([reason], count)
        yield lost
        yield GaugeMetricFamily(c.SPANS_QUEUED, "Spans that wait for their export.", value=queued)


class Pools(Collector):
    """The connections of the process's database pools, counted when asked."""

    def __init__(self) -> None:
        # psycopg_pool.AsyncConnectionPool; this module must not import it.
        self.pools: WeakSet[Any] = WeakSet()

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges, when there are pools."""
        stats = [pool.get_stats() for pool in self.pools]
        if not stats:
            return
        # psycopg_pool leaves out what is 0.
        size, idle, most, waiting = (
            sum(each.get(key, 0) for each in stats)
            for key in ("pool_size", "pool_available", "pool_max", "requests_waiting")
        )
        gauge = GaugeMetricFamily(c.DB_POOL_CONNECTIONS, "Database connections by state.", labels=c.POOL_LABELS)
        gauge.add_metric([c.POOL_USED], size - idle)
        gauge.add_metric([c.POOL_IDLE], idle)
        yield gauge
        yield GaugeMetricFamily(c.DB_POOL_CONNECTIONS_MAX, "Database connections that there may be.", value=most)
        yield GaugeMetricFamily(c.DB_POOL_REQUESTS_WAITING, "Who waits for a database connection.", value=waiting)


class Metrics:
    """The metrics of a process, as attributes; durations in seconds for whoever reads them.

    What a request may observe many times is a `HotHistogram`, observed in nanoseconds. Waits for a connection and the lag
    of the event loop have no labels and are rare: the client's own histograms do.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.http_duration = HotHistogram(
            c.HTTP_REQUEST_DURATION,
            "HTTP requests served.",
            c.HTTP_LABELS,
            c.HTTP_BUCKETS,
            overflow=_one_endpoint,
            registry=registry,
        ).cells
        in_progress = InProgress()
        self.http_in_progress = in_progress.levels
        self.http_refused = Counters(
            Counter(
                c.HTTP_REQUESTS_REFUSED,
                "What no application was asked, by reason.",
                c.REFUSED_LABELS,
                registry=registry,
            )
        )
        self.rpc_server_duration = self._hot(c.RPC_SERVER_DURATION, "RPCs served.", c.RPC_LABELS)
        self.rpc_client_duration = self._hot(c.RPC_CLIENT_DURATION, "RPCs made.", c.RPC_LABELS)
        self.query_duration = self._hot(c.DB_QUERY_DURATION, "Database statements.", c.DB_QUERY_LABELS)
        self.redis_duration = self._hot(c.REDIS_COMMAND_DURATION, "Redis commands.", c.REDIS_LABELS)
        self.query_errors = Counters(
            Counter(c.DB_QUERY_ERRORS, "Statements that failed.", c.DB_ERROR_LABELS, registry=registry)
        )
        self.pool_wait = self._rare(c.DB_POOL_WAIT, "Waits for a database connection.")
        self.loop_lag = self._rare(c.EVENT_LOOP_LAG, "How late the event loop wakes up a task.")
        self.log_lines_lost = Counter(c.LOG_LINES_LOST, "Log lines that could not be written.", registry=registry)
        self.spans = SpanCounts()
        self.pools = Pools()
        for collector in (in_progress, self.spans, self.pools):
            registry.register(collector)
        self.foresee()

    def foresee(self, failures: Iterable[int | str] = ()) -> None:
        """Have a route's and a served method's failures at 0 from its first request on: these, and what the layer answers itself.

        HTTP's are numbers, gRPC's names. Raises `ValueError` for what is no failure of either. A client's calls are nobody's budget.
        """
        http, rpc = ["500"], ["INTERNAL"]
        for failure in failures:
            if isinstance(failure, int) and failure in HTTP_FAILURES:
                http.append(str(int(failure)))
            elif failure in c.RPC_STATUS_CODES[1:]:
                rpc.append(str(failure))
            else:
                raise ValueError(
                    f"{failure!r} is no failure: expected an HTTP status of 400 to 599 or a gRPC status by its name"
                )
        self.http_duration.metric.foresee(http)
        self.rpc_server_duration.metric.foresee(rpc)

    def _hot(self, name: str, text: str, labels: tuple[str, ...]) -> Cells:
        bounds, registry = c.INTERNAL_BUCKETS, self.registry
        return HotHistogram(name, text, labels, bounds, overflow=_one_for_all, registry=registry).cells

    def _rare(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, buckets=c.INTERNAL_BUCKETS, registry=self.registry)


_by_registry: Final[WeakKeyDictionary[CollectorRegistry, Metrics]] = WeakKeyDictionary()


def metrics_of(registry: CollectorRegistry) -> Metrics:
    """Return the metrics of a registry, made at the first call: a registry takes each name once."""
    metrics = _by_registry.get(registry)
    if metrics is None:
        metrics = _by_registry[registry] = Metrics(registry)
    return metrics
