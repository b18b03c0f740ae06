"""The tracer provider: the SDK's, with a way out for spans that can be exchanged."""

import os
import uuid
from collections.abc import Callable, Mapping
from typing import Final

from opentelemetry import trace
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from . import conventions as c
from .exporters import ConfigurationError
from .span_queue import QueueLimits, SpanQueue

SpanSink = Callable[[ReadableSpan], None]


class Outlet(SpanProcessor):
    """Hands sampled spans that ended to every sink: the queue of the current configuration, and tests."""

    def __init__(self) -> None:
        self.queue: SpanQueue | None = None
        self.sinks: tuple[SpanSink, ...] = ()

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span that ended."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if self.queue is not None:
            self.queue.put(span)
        for sink in self.sinks:
            sink(span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what is queued."""
        return self.queue is None or self.queue.flush(timeout_millis / 1_000)

    def shutdown(self) -> None:
        """Export what is queued and end the export."""
        if self.queue is not None:
            self.queue.close(timeout=5.0)


class Provider(TracerProvider):
    """The SDK's provider (sampler, limits and `OTEL_SDK_DISABLED` from the environment) with our outlet.

    OpenTelemetry takes a global provider only once, so a process that is configured again keeps it with another resource.
    """

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource=resource)
        self.outlet = Outlet()
        self.add_span_processor(self.outlet)

    def reconfigure(self, resource: Resource) -> None:
        """Describe the process anew, for the tracers that exist as well."""
        self._resource = Resource({})
        self._update_resource(resource)


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
