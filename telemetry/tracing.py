"""The tracer provider: the SDK's, with a way out for spans that can be exchanged."""

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from . import conventions as c
from .ending import SPANS_SHARE, at_the_end
from .exporters import ConfigurationError
from .operations import Recorder
from .otlp import Envelope, Envelopes, span_field
from .sampling import decision_of
from .span_queue import QueueLimits, SpanQueue

logger = logging.getLogger(__name__)

DISABLED: Final = "OTEL_SDK_DISABLED is set"
# What the instrumentation itself says of an operation, with room to spare.
FEWEST_ATTRIBUTES: Final = 32
_INTERNAL_METRICS: Final = "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"

SpanSink = Callable[[Envelope, bytes], None]


class Outlet(SpanProcessor):
    """Hands sampled spans that ended, encoded, to the queue of the current configuration and to every sink (tests)."""

    def __init__(self) -> None:
        self._queue: SpanQueue | None = None
        self._sinks: tuple[SpanSink, ...] = ()
        self.envelopes = Envelopes()
        # Takes a sampled span that ended, as `otlp.span` makes it; None while nobody wants any. Chosen when that changes,
        # so that a span finds its way without asking.
        self.take: SpanSink | None = None

    @property
    def queue(self) -> SpanQueue | None:
        """Where spans wait for their export."""
        return self._queue

    @queue.setter
    def queue(self, queue: SpanQueue | None) -> None:
        self._queue = queue
        self._choose()

    @property
    def sinks(self) -> tuple[SpanSink, ...]:
        """Who else takes every span."""
        return self._sinks

    @sinks.setter
    def sinks(self, sinks: tuple[SpanSink, ...]) -> None:
        self._sinks = sinks
        self._choose()

    @contextmanager
    def shown_to(self, sink: SpanSink) -> Iterator[None]:
        """Show every span that ends in the block to `sink` as well."""
        self.sinks = (*self.sinks, sink)
        try:
            yield
        finally:
            self.sinks = tuple(other for other in self.sinks if other is not sink)

    def _choose(self) -> None:
        if self._sinks:
            self.take = self._to_all
        else:
            self.take = self._queue.put if self._queue is not None else None

    def _to_all(self, envelope: Envelope, encoded: bytes) -> None:
        if self._queue is not None:
            self._queue.put(envelope, encoded)
        for sink in self._sinks:
            sink(envelope, encoded)

    def on_end(self, span: ReadableSpan) -> None:
        """Encode and take a span of the SDK that ended, here and now: its attributes are no longer needed then."""
        take = self.take
        if take is None or span.context is None or not span.context.trace_flags.sampled:
            return
        try:
            encoded = span_field(span)
        except Exception:
            # A defect of a span is none of the request's that it tells of.
            logger.exception("a span cannot be encoded and is lost")
            if self.queue is not None:
                self.queue.lose()
            return
        take(self.envelopes.of(span.resource, span.instrumentation_scope), encoded)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what is queued."""
        return self.flush(timeout_millis / 1_000)

    def flush(self, timeout: float) -> bool:
        """Export what is queued; False when it took longer than `timeout` seconds."""
        return self.queue is None or self.queue.flush(timeout)

    def shutdown(self) -> None:
        """Export what is queued and end the export."""
        if self.queue is not None:
            with at_the_end.wait(SPANS_SHARE) as seconds:
                self.queue.close(seconds)


class Provider(TracerProvider):
    """The SDK's provider (sampler, limits and `OTEL_SDK_DISABLED` from the environment) with our outlet.

    OpenTelemetry takes a global provider only once, so a process that is configured again keeps it with another resource.
    """

    def __init__(self, resource: Resource) -> None:
        self.limits = SpanLimits()
        super().__init__(resource=resource, span_limits=self.limits)
        self.outlet = Outlet()
        self._scope: InstrumentationScope | None = None
        self._recorder: Recorder | None = None
        # Of others, beside the outlet.
        self._processors: tuple[SpanProcessor, ...] = ()
        super().add_span_processor(self.outlet)

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Register a processor of somebody's own; from now on it sees every span, which must be the SDK's for that."""
        super().add_span_processor(span_processor)
        self._processors += (span_processor,)
        if self._recorder is not None and not self._recorder.obstacle:
            self._recorder.obstacle = self._obstacle()
            self._say(self._recorder.obstacle)

    def flush(self, timeout: float) -> bool:
        """Export what is queued, in every processor at the same time; False when one took longer than `timeout` seconds.

        The SDK asks one after the other, and none any more when the time is over: a dead collector would be everybody's.
        """
        deadline = time.monotonic() + timeout
        others = [_Flush(each.force_flush, timeout) for each in self._processors]
        answers = [self.outlet.flush(timeout), *(flush.done(deadline) for flush in others)]
        return all(answers)

    def record(self, tracer: trace.Tracer, scope: InstrumentationScope) -> Recorder:
        """Return what makes the spans of the instrumentation."""
        self._scope = scope
        envelope = self.outlet.envelopes.of(self.resource, scope)
        decide, obstacle = decision_of(self.sampler), self._obstacle()
        self._recorder = Recorder(
            tracer, obstacle, outlet=self.outlet, envelope=envelope, decide=decide, limits=self.limits
        )
        if obstacle and obstacle != DISABLED:
            self._say(obstacle)
        return self._recorder

    def _say(self, obstacle: str) -> None:
        logger.warning("%s, so every span is one of the SDK's, at several times the cost", obstacle)

    def _obstacle(self) -> str:
        """Return what a fast span cannot honour, "" when there is nothing."""
        most = self.limits.max_span_attributes
        checks = {
            DISABLED: os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true",
            "a span processor was added": bool(self._processors),
            "the sampler is none of the SDK's own": decision_of(self.sampler) is None,
            "the ids are made by a generator of somebody's own": type(self.id_generator) is not RandomIdGenerator,
            "attributes are limited in length": self.limits.max_span_attribute_length is not None,
            "few attributes are allowed": most is not None and most < FEWEST_ATTRIBUTES,
            "the SDK is to count its spans": os.environ.get(_INTERNAL_METRICS, "").strip().lower() == "true",
        }
        return next((reason for reason, holds in checks.items() if holds), "")

    def reconfigure(self, resource: Resource) -> None:
        """Describe the process anew, for the tracers that exist as well."""
        self._resource = Resource({})
        self._update_resource(resource)

    def _update_resource(self, resource: Resource) -> None:
        """Describe the process anew; the SDK calls this in a forked child as well."""
        super()._update_resource(resource)
        if self._recorder is not None:
            self._recorder.lock = threading.Lock()
            self._recorder.envelope = self.outlet.envelopes.of(self.resource, self._scope)


def global_provider(resource: Resource) -> Provider | None:
    """Make ours the global provider, or take it again; None when another one is there already."""
    found = trace.get_tracer_provider()
    if isinstance(found, Provider):
        found.reconfigure(resource)
        return found
    if not isinstance(found, trace.ProxyTracerProvider):
        return None
    provider = Provider(resource)
    trace.set_tracer_provider(provider)
    return provider


def export_all(timeout: float) -> bool:
    """Export what waits at the global provider, whoever's that is; False when it took longer than `timeout` seconds."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, Provider):
        return provider.flush(timeout)
    force_flush = getattr(provider, "force_flush", None)
    return force_flush is None or _Flush(force_flush, timeout).done(time.monotonic() + timeout)


class _Flush:
    """A flush of somebody else's, in a thread: the SDK's processor exports as long as it takes.

    Source: https://github.com/open-telemetry/opentelemetry-python/issues/4568
    """

    def __init__(self, force_flush: Callable[[int], object], timeout: float) -> None:
        self._force_flush = force_flush
        self._milliseconds = int(timeout * 1_000)
        self._thread = threading.Thread(target=self._run, name="telemetry-flush", daemon=True)
        # Anything else is a yes: there are processors that answer None.
        self._answer: object = False
        try:
            self._thread.start()
        except RuntimeError as error:  # no thread is to be had, as at the end of the interpreter
            logger.warning("a processor of spans cannot be flushed: %s", error)

    def _run(self) -> None:
        try:
            self._answer = self._force_flush(self._milliseconds)
        except Exception:
            logger.exception("a processor of spans cannot be flushed")

    def done(self, deadline: float) -> bool:
        """Tell whether all was exported, at `deadline` (`time.monotonic`) at the latest."""
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        return self._answer is not False


def queued() -> int:
    """Return how many ended spans wait at our provider; 0 where the global one is somebody else's."""
    provider = trace.get_tracer_provider()
    queue = provider.outlet.queue if isinstance(provider, Provider) else None
    return queue.queued if queue else 0


def describe(service: str, environment: str, version: str, namespace: str = "") -> Resource:
    """Return the resource of a service; `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` win over what is given.

    What is "" is left out. A namespace also goes in front of the service's name.
    """
    ours = {
        c.SERVICE_NAME: f"{namespace}-{service}" if namespace else service,
        c.SERVICE_NAMESPACE: namespace,
        c.SERVICE_VERSION: version,
        c.SERVICE_INSTANCE_ID: str(uuid.uuid4()),
        c.DEPLOYMENT_ENVIRONMENT_NAME: environment,
    }
    given = Resource.create({key: value for key, value in ours.items() if value})
    return given.merge(OTELResourceDetector().detect())


_BSP: Final = "OTEL_BSP_"


def queue_limits(environ: Mapping[str, str] = os.environ) -> QueueLimits:
    """Return the limits that `OTEL_BSP_*` asks for (times in milliseconds); raises `ConfigurationError`."""
    usual = QueueLimits()
    spans = _positive(environ, "MAX_QUEUE_SIZE", usual.spans)
    return QueueLimits(
        spans=spans,
        batch=min(spans, _positive(environ, "MAX_EXPORT_BATCH_SIZE", usual.batch)),
        delay=_positive(environ, "SCHEDULE_DELAY", round(usual.delay * 1_000)) / 1_000,
        timeout=_positive(environ, "EXPORT_TIMEOUT", round(usual.timeout * 1_000)) / 1_000,
    )


def _positive(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(_BSP + name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise ConfigurationError(f"{_BSP}{name}={text}: expected a whole number above 0")
    return int(text)
