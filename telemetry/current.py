"""What this process is configured with: the instrumentation of libraries looks here, so that nobody hands it down.

Before `configure` the tracer is OpenTelemetry's own default and metrics go to prometheus-client's default registry.
"""

from opentelemetry import trace
from prometheus_client import REGISTRY, CollectorRegistry

from . import conventions as c
from .metrics import Metrics, metrics_of
from .operations import Recorder


class _Current:
    """Two references, set together by `configure`."""

    __slots__ = ("recorder", "registry")

    def __init__(self) -> None:
        self.registry: CollectorRegistry = REGISTRY
        tracer = trace.get_tracer(c.INSTRUMENTATION_SCOPE, schema_url=c.SCHEMA_URL)
        self.recorder = Recorder(tracer, "telemetry is not configured")


_current = _Current()


def use(recorder: Recorder, registry: CollectorRegistry) -> None:
    """Make these the process's own."""
    _current.recorder = recorder
    _current.registry = registry


def recorder() -> Recorder:
    """Return what makes the spans of the instrumentation."""
    return _current.recorder


def tracer() -> trace.Tracer:
    """Return the tracer of the telemetry layer."""
    return _current.recorder.tracer


def registry() -> CollectorRegistry:
    """Return the registry that metrics go to."""
    return _current.registry


def metrics() -> Metrics:
    """Return the process's metrics."""
    return metrics_of(_current.registry)
