"""Ours: `telemetry.configure` and `TelemetryMiddleware` around the Litestar application, nothing else."""

import os
import sys
from collections.abc import Callable
from typing import Any

from litestar import asgi

from benchmarks.telemetry.catalogue import compiled_modules
from benchmarks.telemetry.variants import litestar_items


def create() -> Callable[..., Any]:
    """Wrap the application with the layer in pure Python, whether or not a compiled one lies beside it."""
    os.environ["GOSHOP_TELEMETRY_PURE_PYTHON"] = "1"
    return _wrapped()


def create_compiled() -> Callable[..., Any]:
    """Wrap the application with the compiled layer; raises `RuntimeError` when it is not what was imported."""
    app = _wrapped()
    loaded = {getattr(module, "__file__", None) for module in sys.modules.values()}
    if not loaded & {str(path) for path in compiled_modules()}:
        raise RuntimeError("no compiled module of telemetry was imported")
    return app


def _wrapped() -> Callable[..., Any]:
    from telemetry import TelemetryMiddleware, configure  # noqa: PLC0415 - after it is settled which build is imported
    from telemetry.exposition import metrics_app  # noqa: PLC0415 - as above

    telemetry = configure("bench", environment="bench")

    @asgi("/metrics", copy_scope=False)
    async def metrics(scope: Any, receive: Any, send: Any) -> None:
        await metrics_app(scope, receive, send)

    app: Any = litestar_items.create([metrics], on_shutdown=[telemetry.shutdown])
    return TelemetryMiddleware(app, telemetry)
