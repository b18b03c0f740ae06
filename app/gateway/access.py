"""Who may use a route: decided before its body is read, and written into the OpenAPI document."""

from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from app.identity import require_admin, require_login

Connection = ASGIConnection[Any, Any, Any, Any]


def _logged_in(_connection: Connection, _handler: BaseRouteHandler) -> None:
    require_login()


def _admin(_connection: Connection, _handler: BaseRouteHandler) -> None:
    require_admin()


_TOKEN: Final = [{"token": list[str]()}]
# Spread into a route's decorator. Routes without one are everybody's.
LOGGED_IN: Final[dict[str, Any]] = {"guards": [_logged_in], "security": _TOKEN}
ADMIN_ONLY: Final[dict[str, Any]] = {"guards": [_admin], "security": _TOKEN}
