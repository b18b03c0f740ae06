"""The user service: accounts, credentials, and the keys that sign access tokens.

`keys` stays light, because the launcher makes keys without being a service: `app` is loaded when it is asked for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.user.api import app

__all__ = ["app"]


def __getattr__(name: str) -> object:
    if name != "app":
        raise AttributeError(name)
    from app.user.api import app  # noqa: PLC0415 - see the module's docstring

    return app
