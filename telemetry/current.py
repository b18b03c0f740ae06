"""What this process is configured with: the instrumentation of libraries looks here, so that nobody hands it down.

Before `configure` the tracer is OpenTelemetry's own default and metrics go to prometheus-client's default registry.
"""

from opentelemetry import trace
from prometheus_client import REGISTRY, CollectorRegistry

from . import conventions as c
from .metrics import Metrics, metrics_of


class _Current:
    """Two references, set together by `configure`."""

    __slots__ = ("registry", "tracer")

    def __init__(self) -> None:
        self.registry: CollectorRegistry = REGISTRY
        self.tracer: trace.Tracer = trace.get_tracer(c.INSTRUMENTATION_SCOPE, schema_url=c.SCHEMA_URL)


_current = _Current()


def use(tracer: trace.Tracer, registry: CollectorRegistry) -> None:
    """Make these the process's own."""
    _current.tracer = tracer
    _current.registry = registry


def tracer() -> trace.Tracer:
    """Return the tracer of the telemetry layer."""
    return _current.tracer


def registry() -> CollectorRegistry:
    """Return the registry that metrics go to."""
    return _current.registry


def metrics() -> Metrics:
    """Return the process's metrics."""
    return metrics_of(_current.registry)
