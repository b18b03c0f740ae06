"""Zero code under uvicorn: the layer around whatever it serves, its own lines as JSON, and a flush before it ends.

Only for `opentelemetry-instrument`; who writes code puts `TelemetryMiddleware` around the application. Other servers need
that too: there is no common place where all of them load an application.
"""

import logging
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined] # its file is marked untyped
from opentelemetry.instrumentation.utils import unwrap
from uvicorn.config import LOGGING_CONFIG, Config
from uvicorn.server import Server
from wrapt import wrap_function_wrapper

from . import current
from .asgi import App, TelemetryMiddleware
from .distro import LAYERS_OF_OTHERS, process_telemetry
from .exporters import ConfigurationError
from .logs import LogHandler, take_over_uvicorn
from .metrics_server import MetricsAddress, serve_metrics
from .output import close_all
from .refused import count_refusals, ignore_refusals
from .request import Receive, Scope, Send
from .serving import FASTAPI_KEY, SCOPE_KEY

logger = logging.getLogger(__name__)

EXCLUDED: Final = "OTEL_PYTHON_EXCLUDED_URLS"
# Wrappers around wrappers end somewhere; a cycle of them does not.
DEEPEST: Final = 50


class UvicornInstrumentor(BaseInstrumentor):  # type: ignore[misc] # see above
    """Wraps the three places of uvicorn that matter, and those where it refuses; `uninstrument` restores them."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return what must be installed; `capture_signals` is there since 0.29."""
        return ("uvicorn >= 0.29",)

    def _instrument(self, **_: Any) -> None:
        process_telemetry()
        # Said now, when the application can still run without: it must not fail where it is loaded.
        MetricsAddress.of(os.environ)
        excluded_paths(os.environ)
        wrap_function_wrapper(Config, "load", _load)
        wrap_function_wrapper(Config, "configure_logging", _configure_logging)
        wrap_function_wrapper(Server, "capture_signals", _capture_signals)
        count_refusals()

    def _uninstrument(self, **_: Any) -> None:
        unwrap(Config, "load")
        unwrap(Config, "configure_logging")
        unwrap(Server, "capture_signals")
        ignore_refusals()


class Excluding:
    """Sends requests past the layer, and past any further in, whose path matches `OTEL_PYTHON_EXCLUDED_URLS`.

    Contrib's instrumentations search in the whole URL, scheme and host included: there "^/internal" matches nothing.
    """

    def __init__(self, app: App, layer: App, paths: re.Pattern[str]) -> None:
        self._app = app
        self._layer = layer
        self._excluded = paths.search

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] in ("http", "websocket") and self._excluded(scope["path"]):
            scope[FASTAPI_KEY] = None
            # Taken, by nobody, as the layer's own excluded paths are.
            scope.setdefault(SCOPE_KEY, None)
            await self._app(scope, receive, send)
        else:
            await self._layer(scope, receive, send)


def excluded_paths(environ: Mapping[str, str]) -> re.Pattern[str] | None:
    """Return what matches a path to leave out, None when there is none; raises `ConfigurationError`."""
    parts = [part.strip() for part in environ.get(EXCLUDED, "").split(",") if part.strip()]
    try:
        return re.compile("|".join(parts)) if parts else None
    except re.error as error:
        raise ConfigurationError(f"{EXCLUDED}={environ[EXCLUDED]}: expected regular expressions, {error}") from None


def _load(load: Callable[[], None], config: Config, _args: Any, _options: Any) -> None:
    """Load the application, in the process that serves it; then give it the layer, and the metrics a port."""
    load()
    telemetry = process_telemetry()
    _put_back(LogHandler(telemetry.service, telemetry.output))
    config.loaded_app = layered(config.loaded_app)
    if address := MetricsAddress.of(os.environ):
        # The application may have configured telemetry itself, with another registry.
        serve_metrics(address, current.registry(), config.workers)


def _configure_logging(configure: Callable[[], None], config: Config, _args: Any, _options: Any) -> None:
    """Take uvicorn's own lines over, unless somebody chose where they go."""
    configure()
    chosen = config.log_config
    if isinstance(chosen, dict) and chosen.get("loggers") == LOGGING_CONFIG["loggers"]:
        take_over_uvicorn()


def _capture_signals(
    capture: Callable[[], AbstractContextManager[None]], _server: Server, _args: Any, _options: Any
) -> AbstractContextManager[None]:
    return _flushing(capture())


@contextmanager
def _flushing(signals: AbstractContextManager[None]) -> Iterator[None]:
    """Flush when the server is done: afterwards uvicorn raises the signal again that ended it, and no `atexit` runs."""
    with signals:
        try:
            yield
        finally:
            telemetry = process_telemetry()
            if not telemetry.flush():
                logger.warning("%s spans were not exported before the end", telemetry.queued or "some")
            close_all()


def layered(app: Any) -> Any:
    """Return the application inside the layer; as it is when its author has visibly put it into one.

    One that cannot be seen from outside (added as a middleware of FastAPI or Starlette) finds its request taken, and passes
    it through.
    """
    layers = list(_layers(app))
    if any(_has_layer(layer) for layer in layers):
        logger.info("the application has a telemetry layer of its own, which is used")
        return app
    if others := sorted(filter(_is_instrumented, LAYERS_OF_OTHERS)):
        logger.warning(
            "the instrumentation of %s makes spans of its own for each request: leave it out with "
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS, or choose OTEL_PYTHON_DISTRO=goshop_telemetry",
            ",".join(others),
        )
    _learn_of_errors(layers)
    layer = TelemetryMiddleware(app, process_telemetry())
    paths = excluded_paths(os.environ)
    return Excluding(app, layer, paths) if paths else layer


def _layers(app: Any) -> Iterator[Any]:
    """Yield the application and what is inside it, where wrappers keep it as `app` (as uvicorn's and Starlette's do)."""
    for _ in range(DEEPEST):
        if app is None:
            return
        yield app
        app = getattr(app, "app", None)


def _has_layer(app: Any) -> bool:
    if isinstance(app, TelemetryMiddleware):
        return True
    if not _is_litestar(app):
        return False
    from .litestar import TelemetryPlugin  # noqa: PLC0415 - only where there is a Litestar application

    return any(isinstance(plugin, TelemetryPlugin) for plugin in app.plugins)


def _is_instrumented(framework: str) -> bool:
    """Tell whether contrib's instrumentation of a framework is at work; only another distro than ours loads it."""
    module = sys.modules.get(f"opentelemetry.instrumentation.{framework}")
    instrumentors = [each for each in vars(module or object).values() if isinstance(each, type)]
    return any(
        each().is_instrumented_by_opentelemetry
        for each in instrumentors
        if issubclass(each, BaseInstrumentor) and each is not BaseInstrumentor
    )


def _learn_of_errors(layers: Collection[Any]) -> None:
    """Let Litestar say which exception it made an answer of; other frameworks raise it again."""
    for app in filter(_is_litestar, layers):
        from .litestar import note_errors  # noqa: PLC0415 - only where there is a Litestar application

        note_errors(app)


def _is_litestar(app: Any) -> bool:
    litestar = sys.modules.get("litestar")
    return litestar is not None and isinstance(app, litestar.Litestar)


def _put_back(handler: LogHandler) -> None:
    """Make log records JSON lines again where loading the application has replaced the root logger's handlers."""
    root = logging.getLogger()
    if not any(isinstance(each, LogHandler) for each in root.handlers):
        root.addHandler(handler)
        logger.info("the application has set up logging of its own; its records become JSON lines as well")
