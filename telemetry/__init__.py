"""Spans, metrics and logs of a process, from the same numbers.

    telemetry = configure("gateway")
    app = TelemetryMiddleware(app, telemetry)

Instrumented libraries have a module each, imported only where the library is: `telemetry.database` (psycopg),
`telemetry.redis`, `telemetry.grpc`, `telemetry.litestar`. `telemetry.exposition` serves the metrics, `telemetry.spans` reads
exported files, `telemetry.testing` is for tests.
"""

from .asgi import TelemetryMiddleware
from .setup import Telemetry, configure

__all__ = ["Telemetry", "TelemetryMiddleware", "configure"]
