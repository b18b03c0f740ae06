"""The Litestar way in: one plugin for the layer around the application and for the exceptions that it answers."""

import asyncio
from typing import Any

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.plugins import InitPlugin

from .asgi import TelemetryMiddleware, note_error
from .setup import Telemetry


class TelemetryPlugin(InitPlugin):
    """Adds spans, metrics and access lines to a Litestar application.

    Litestar's own middlewares never see unmatched routes, so the layer goes around its router when the application starts.
    Inside a `TelemetryMiddleware` the plugin only says which exception was behind an answer.
    """

    def __init__(self, telemetry: Telemetry, **options: Any) -> None:
        """Take the keyword arguments of `TelemetryMiddleware` as `options`."""
        self._telemetry = telemetry
        self._options = options

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Register the hooks."""
        app_config.on_startup.append(self._wrap)
        app_config.on_shutdown.append(self._flush)
        app_config.after_exception.append(_note)
        return app_config

    def _wrap(self, app: Litestar) -> None:
        # A restarted application (its lifespan ran twice) is wrapped already.
        if not isinstance(app.asgi_handler, TelemetryMiddleware):
            app.asgi_handler = TelemetryMiddleware(app.asgi_handler, self._telemetry, **self._options)  # type: ignore[arg-type,assignment]

    async def _flush(self) -> None:
        # A layer around Litestar would see the end of its lifespan; this one is further in.
        await asyncio.to_thread(self._telemetry.flush)


def note_errors(app: Litestar) -> None:
    """Let an application that exists already say which exception was behind an answer."""
    app.after_exception.append(_note)


async def _note(error: Exception, scope: Any) -> None:
    note_error(scope, error)
