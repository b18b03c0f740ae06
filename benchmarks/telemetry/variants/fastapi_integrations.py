"""FastAPI with what its users install: spans of the contrib instrumentation or its own, the instrumentator, JSON lines."""

import logging
import sys
from typing import Any

from fastapi import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from prometheus_fastapi_instrumentator import Instrumentator, metrics
from pythonjsonlogger.json import JsonFormatter

from benchmarks.telemetry.variants import fastapi_items
from benchmarks.telemetry.variants.access_log import AccessLog
from benchmarks.telemetry.variants.stock_export import BUCKETS, current_ids, stock_provider


def create_contrib() -> FastAPI:
    """Spans by opentelemetry-instrumentation-fastapi, tuned to one a request."""
    provider = stock_provider()
    app = _with_metrics_and_lines(fastapi_items.create(), provider)
    FastAPIInstrumentor.instrument_app(
        app, tracer_provider=provider, excluded_urls="metrics", exclude_spans=["receive", "send"]
    )
    return app


def create_native() -> FastAPI:
    """Spans by FastAPI itself, tuned to one a request."""
    provider = stock_provider()
    options = {
        "tracer_provider": provider,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "exclude": lambda scope: scope["path"] == "/metrics",
    }
    return _with_metrics_and_lines(fastapi_items.create(options), provider)


def _with_metrics_and_lines(app: FastAPI, provider: TracerProvider) -> FastAPI:
    """Add one histogram (the instrumentator's default is two and three counters) and one line a request."""
    instrumentator = Instrumentator(excluded_handlers=["/metrics"])
    instrumentator.add(metrics.latency(buckets=BUCKETS)).instrument(app).expose(app)
    app.add_middleware(AccessLog, log=_log_with(_json_logger()))
    app.router.on_shutdown.append(provider.shutdown)
    return app


def _json_logger() -> logging.Logger:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger("access")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    return logger


def _log_with(logger: logging.Logger) -> Any:
    return lambda fields: logger.info("request", extra=fields | current_ids())
