"""One call that sets up a process: spans, metrics and logs."""

import logging
import os
import time
from collections.abc import Collection
from typing import Final, TextIO

from opentelemetry import trace
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import REGISTRY, CollectorRegistry

from . import conventions as c
from . import current
from .ending import SPANS_SHARE, at_the_end
from .exporters import ConfigurationError, exporter_from
from .logs import LogHandler, install, lost_line
from .metrics import Metrics, metrics_of
from .operations import Recorder
from .output import Output, open_output
from .span_queue import SpanQueue
from .tracing import Provider, describe, export_all, global_provider, queue_limits, queued

logger = logging.getLogger(__name__)

# A second configuration waits for the first one's spans no longer than this: it may be made in an event loop.
HANDOVER_SECONDS: Final = 1.0


class Telemetry:
    """What a configured process has: a tracer, metrics and an output for log lines."""

    __slots__ = ("_queue", "metrics", "output", "recorder", "service", "trust_incoming")

    def __init__(
        self,
        service: str,
        *,
        recorder: Recorder,
        metrics: Metrics,
        output: Output,
        queue: SpanQueue | None,
        trust_incoming: bool,
    ) -> None:
        self.service = service
        self.recorder = recorder
        self.metrics = metrics
        self.output = output
        self.trust_incoming = trust_incoming
        self._queue = queue

    @property
    def tracer(self) -> trace.Tracer:
        """The tracer for spans of one's own."""
        return self.recorder.tracer

    @property
    def queued(self) -> int:
        """How many ended spans of this process are neither exported nor dropped yet."""
        return queued()

    def flush(self, timeout: float | None = None) -> bool:
        """Export what this process has queued now, also in processors that others have added to the tracer provider.

        False when that took longer than `timeout` seconds; without any it counts as the process's end (`shutdown`).
        """
        if timeout is not None:
            return export_all(timeout)
        with at_the_end.wait(SPANS_SHARE) as seconds:
            return export_all(seconds)

    def shutdown(self, timeout: object = None) -> None:
        """Export what is queued and write what is buffered, in at most `timeout` seconds; the rest is counted as dropped.

        Without any it takes what is left of the 5 s that the end of a process has in all. Blocks: call it in a thread where
        an event loop still has work. Spans that end afterwards are counted as dropped.
        """
        # Litestar hands itself to every hook that takes anything: `on_shutdown=[telemetry.shutdown]` must not fail, unseen.
        seconds = float(timeout) if isinstance(timeout, int | float) else None
        began = time.monotonic()
        with at_the_end.wait(SPANS_SHARE) as left:
            if self._queue is not None:
                self._queue.close(left if seconds is None else seconds * SPANS_SHARE)
        with at_the_end.wait() as left:
            self.output.close(left if seconds is None else max(0.0, began + seconds - time.monotonic()))


def configure(
    service: str,
    *,
    environment: str = "dev",
    version: str = "0",
    trust_incoming: bool = True,
    registry: CollectorRegistry = REGISTRY,
    stream: TextIO | None = None,
    level: str = "info",
    namespace: str = "",
    failures: Collection[int | str] = (),
) -> Telemetry:
    """Set up spans, metrics and logs of this process; `service` is its short name ("gateway").

    `namespace` is what the service belongs to ("goshop"): spans call it `goshop-gateway` then, log lines `gateway`.
    Log lines go to `stream`, the standard output by default; `level` is the least severe one of the records that are
    written (access lines always are). `trust_incoming=False` is for a process that strangers call: their trace context is
    linked to instead of continued.

    `failures` are the statuses with which the application says that it is at fault, HTTP's as numbers and gRPC's by name:
    `(503, "UNAVAILABLE")`. Like 500 and `INTERNAL`, with which the layer does, they are exported as 0 from the first request of a
    route or method on: Prometheus' `increase` loses the first error of a series that begins with it.

    The standard `OTEL_*` variables are honoured; one that cannot be followed raises `telemetry.exporters.ConfigurationError`, and
    so do an unknown failure and a registry that has a metric of one of our names. A second call takes the place of the first,
    whose spans are exported before that: it waits for them for 1 s at most, what a collector has not taken by then is dropped
    and counted.
    """
    metrics = _metrics(registry)
    _foresee(metrics, failures)
    output = open_output(stream, metrics.log_lines_lost.inc, lost_line(service))
    install(LogHandler(service, output), level)
    provider = global_provider(describe(service, environment, version, namespace))
    queue = _export(provider, metrics) if provider else None
    tracer = trace.get_tracer(c.INSTRUMENTATION_SCOPE, version, schema_url=c.SCHEMA_URL)
    recorder = _recorder(provider, tracer, version)
    current.use(recorder, registry)
    return Telemetry(
        service, recorder=recorder, metrics=metrics, output=output, queue=queue, trust_incoming=trust_incoming
    )


def _metrics(registry: CollectorRegistry) -> Metrics:
    try:
        return metrics_of(registry)
    except ValueError as error:
        raise ConfigurationError(
            f"the registry has a metric of one of our names already, give configure another: "
            f"registry=CollectorRegistry() ({error})"
        ) from None


def _foresee(metrics: Metrics, failures: Collection[int | str]) -> None:
    try:
        metrics.foresee(failures)
    except ValueError as error:
        raise ConfigurationError(f"failures: {error}") from None


def _recorder(provider: Provider | None, tracer: trace.Tracer, version: str) -> Recorder:
    if provider is None:
        logger.warning("another tracer provider was there first: its exporters and sampler are used")
        return Recorder(tracer, "another tracer provider was there first")
    return provider.record(tracer, InstrumentationScope(c.INSTRUMENTATION_SCOPE, version, c.SCHEMA_URL))


def _export(provider: Provider, metrics: Metrics) -> SpanQueue | None:
    if (before := provider.outlet.queue) is not None:
        # First, as two must not have one set of books.
        before.close(HANDOVER_SECONDS)
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporter = None if disabled else exporter_from()
    provider.outlet.queue = SpanQueue(exporter, metrics.spans, queue_limits()) if exporter else None
    return provider.outlet.queue
