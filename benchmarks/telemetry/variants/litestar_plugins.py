"""Litestar with its own plugins: OpenTelemetry, Prometheus, structlog."""

from typing import Any

import structlog
from litestar import Litestar
from litestar.logging.config import StructLoggingConfig, default_structlog_processors
from litestar.middleware import DefineMiddleware
from litestar.middleware.logging import LoggingMiddlewareConfig
from litestar.plugins.opentelemetry import OpenTelemetryConfig, OpenTelemetryPlugin
from litestar.plugins.prometheus import PrometheusConfig, PrometheusController
from litestar.plugins.structlog import StructlogConfig, StructlogPlugin

from benchmarks.telemetry.variants import litestar_items
from benchmarks.telemetry.variants.access_log import AccessLog
from benchmarks.telemetry.variants.stock_export import BUCKETS, current_ids, stock_provider

SCRAPES = "^/metrics"


def create_default() -> Litestar:
    """As its documentation shows it: three spans and two lines a request, a label set for each path.

    Three things are told to it: not to watch its scrapes, to write JSON, and to put the trace id into its lines.
    """
    provider = stock_provider()
    return litestar_items.create(
        [PrometheusController],
        logging_config=None,
        middleware=[PrometheusConfig(exclude=SCRAPES).middleware],
        on_shutdown=[provider.shutdown],
        plugins=[
            OpenTelemetryPlugin(OpenTelemetryConfig(tracer_provider=provider, exclude=SCRAPES)),
            StructlogPlugin(
                StructlogConfig(_json_lines(), middleware_logging_config=LoggingMiddlewareConfig(exclude=SCRAPES))
            ),
        ],
    )


def create_tuned() -> Litestar:
    """As cheap as its options allow: one span, route templates, one line (its own middleware writes two)."""
    provider = stock_provider()
    traces = OpenTelemetryConfig(
        tracer_provider=provider,
        exclude=SCRAPES,
        exclude_spans=["receive", "send"],
        scope_span_details_extractor=_route,
    )
    return litestar_items.create(
        [PrometheusController],
        middleware=[
            DefineMiddleware(AccessLog, log=_log_with(structlog.get_logger("access"))),
            PrometheusConfig(group_path=True, exclude=SCRAPES, buckets=list(BUCKETS)).middleware,
        ],
        on_shutdown=[provider.shutdown],
        plugins=[
            OpenTelemetryPlugin(traces),
            StructlogPlugin(StructlogConfig(_json_lines(), enable_middleware_logging=False)),
        ],
    )


def _json_lines() -> StructLoggingConfig:
    return StructLoggingConfig(processors=[_add_ids, *default_structlog_processors(as_json=True)])


def _add_ids(_logger: Any, _method: str, event: Any) -> Any:
    event.update(current_ids())
    return event


def _log_with(logger: Any) -> Any:
    return lambda fields: logger.info("request", **fields)


def _route(scope: Any) -> tuple[str, dict[str, Any]]:
    """Name a span by the template; by default it is the path, which has no end of values."""
    template = scope.get("path_template", "")
    return f"{scope['method']} {template}", {"http.route": template}
