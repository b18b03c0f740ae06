"""Counts what uvicorn refuses before any layer is asked: `http_requests_refused_total`, by reason.

| reason | answer | when |
|---|---|---|
| `malformed` | 400 | what came is no HTTP |
| `crowded` | 503 | more connections or requests than `--limit-concurrency` allows |

There is neither a span nor an access line of these: uvicorn says a word in its log. Zero code counts by itself; who starts
uvicorn calls `count_refusals` before the server takes its first connection.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, Final

from . import conventions as c
from . import current

# Whichever of uvicorn's implementations there are: all but the first need more than uvicorn.
_MODULES: Final = tuple(f"uvicorn.protocols.http.{name}_impl" for name in ("h11", "httptools", "zttp", "zttp_h2"))
_MALFORMED: Final = "send_400_response"
_CROWDED: Final = "service_unavailable"


def count_refusals() -> None:
    """Have every refusal counted from now on; a second call changes nothing."""
    for owner, name, reason in _places():
        refuse = vars(owner)[name]
        if not hasattr(refuse, "__wrapped__"):
            setattr(owner, name, _counting(refuse, reason))


def ignore_refusals() -> None:
    """Make uvicorn what it was."""
    for owner, name, _ in _places():
        refuse = vars(owner)[name]
        setattr(owner, name, getattr(refuse, "__wrapped__", refuse))


def _places() -> Iterator[tuple[Any, str, str]]:
    """Yield who refuses, the name of how, and the reason."""
    for module in _protocols():
        if _CROWDED in vars(module):
            yield module, _CROWDED, c.REFUSED_CROWDED
        for each in vars(module).values():
            if isinstance(each, type) and each.__module__ == module.__name__ and _MALFORMED in vars(each):
                yield each, _MALFORMED, c.REFUSED_MALFORMED


def _protocols() -> Iterator[ModuleType]:
    for name in _MODULES:
        with contextlib.suppress(ImportError):
            yield import_module(name)


def _counting(refuse: Callable[..., Any], reason: str) -> Callable[..., Any]:
    @functools.wraps(refuse)
    def count(*arguments: Any) -> Any:
        current.metrics().http_refused[reason,].inc()
        return refuse(*arguments)

    return count
