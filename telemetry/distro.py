"""Zero code: what `opentelemetry-instrument` finds in the wheel `goshop-telemetry`, so that `OTEL_*` variables are all it takes.

| entry point | name | does |
|---|---|---|
| `opentelemetry_distro` | `goshop_telemetry` | the usual exporters; no second layer around ASGI applications |
| `opentelemetry_configurator` | `goshop_telemetry` | calls `configure` |
| `opentelemetry_instrumentor` | `uvicorn` | puts the layer around whatever uvicorn serves |
| `opentelemetry_traces_exporter` | `goshop_otlp` | gives another configurator the fast encoding: `telemetry.otlp_exporter` |

Where several distros or configurators are installed, the first on `sys.path` wins; `OTEL_PYTHON_DISTRO=goshop_telemetry` and
`OTEL_PYTHON_CONFIGURATOR=goshop_telemetry` make it ours. When somebody else's configurator wins, the layer works with the
tracer provider that it finds, and a log line says so.
"""

import logging
import os
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.environment_variables import OTEL_LOGS_EXPORTER, OTEL_METRICS_EXPORTER, OTEL_TRACES_EXPORTER
from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined] # its file is marked untyped
from opentelemetry.sdk.environment_variables import OTEL_EXPORTER_OTLP_PROTOCOL
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from . import conventions as c
from .exporters import ConfigurationError
from .setup import Telemetry, configure

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

logger = logging.getLogger(__name__)

# Spans go to a collector on this machine unless somebody names another place; metrics are scraped, log lines are on stdout.
DEFAULTS: Final = {
    OTEL_TRACES_EXPORTER: "otlp",
    OTEL_METRICS_EXPORTER: "none",
    OTEL_LOGS_EXPORTER: "none",
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf",
}
# Each would make a second server span of a request that the layer has one for already.
LAYERS_OF_OTHERS: Final = frozenset({"asgi", "fastapi", "starlette"})
LOG_LEVEL: Final = "OTEL_PYTHON_LOG_LEVEL"
# What another configurator would follow.
IGNORED: Final = ("OTEL_CONFIG_FILE", "OTEL_PYTHON_ID_GENERATOR")
_FOLLOWED: Final = {OTEL_METRICS_EXPORTER: {"", "none", "prometheus"}, OTEL_LOGS_EXPORTER: {"", "none"}}


class TelemetryDistro(BaseDistro):  # type: ignore[misc] # see above
    """Sets the defaults, and keeps contrib's instrumentations of ASGI frameworks out."""

    def _configure(self, **_: Any) -> None:
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)

    def load_instrumentor(self, entry_point: "EntryPoint", **options: Any) -> None:
        """Activate an instrumentation, unless it does what the layer does."""
        if entry_point.name not in LAYERS_OF_OTHERS:
            super().load_instrumentor(entry_point, **options)


class TelemetryConfigurator:
    """Configures the process from the environment."""

    def configure(self, **_: Any) -> None:
        """Set up spans, metrics and logs; raises `ConfigurationError`, which `opentelemetry-instrument` logs."""
        process_telemetry()


@cache
def process_telemetry() -> Telemetry:
    """Configure this process from the environment, at the first call; raises `ConfigurationError`."""
    resource = Resource.create().attributes
    telemetry = configure(
        str(resource[c.SERVICE_NAME]),
        environment="",
        version=str(resource.get(c.SERVICE_VERSION, "")),
        registry=_registry(),
        level=_level(os.environ),
    )
    _say_what_is_ignored(os.environ)
    return telemetry


def _registry() -> CollectorRegistry:
    """Return one of our own, with what the default one tells of the process: the application may use our names in that."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


def _say_what_is_ignored(environ: Mapping[str, str]) -> None:
    for name in filter(environ.get, IGNORED):
        logger.warning("%s is not followed", name)
    for name, followed in _FOLLOWED.items():
        for exporter in sorted(_names(environ, name) - followed):
            logger.warning("%s=%s is not followed: metrics are scraped, log lines are on stdout", name, exporter)


def _names(environ: Mapping[str, str], name: str) -> set[str]:
    return {part.strip() for part in environ.get(name, "").split(",")}


def _level(environ: Mapping[str, str]) -> str:
    level = environ.get(LOG_LEVEL) or "info"
    if level.upper() not in logging.getLevelNamesMapping():
        raise ConfigurationError(f"{LOG_LEVEL}={level}: expected debug, info, warning, error or critical")
    return level
