"""What the variants on the stock SDK share: its provider, its batch processor and its OTLP exporter."""

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

# As `telemetry.configure` describes a process.
RESOURCE = {
    "service.name": "goshop-bench",
    "service.namespace": "goshop",
    "service.version": "0",
    "service.instance.id": "00000000-0000-4000-8000-000000000000",
    "deployment.environment.name": "bench",
}
# The buckets of `telemetry.conventions`, so that every histogram looks for its bucket among as many.
BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.8, 1.0, 2.0, 5.0)


def stock_provider() -> TracerProvider:
    """Make a provider that exports as `OTEL_EXPORTER_OTLP_*` and `OTEL_BSP_*` say."""
    provider = TracerProvider(resource=Resource.create(RESOURCE))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def current_ids() -> dict[str, str]:
    """Return the ids of the current span, as log lines name them."""
    context = trace.get_current_span().get_span_context()
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
