"""Counts what uvicorn itself refuses: `http_requests_refused_total`, by reason.

| reason | answer | when |
|---|---|---|
| `malformed` | 400 | what came is no HTTP |
| `crowded` | 503 | more connections or requests than `--limit-concurrency` allows |

Nearly always that is before any application is asked. Then there is neither a span nor an access line: uvicorn says a word in
its log. What is malformed only behind its head (a chunk of the body) is a request as well, which the layer tells of.
Zero code counts by itself; who starts uvicorn calls `count_refusals` before the server takes its first connection.
"""

import contextlib
import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from importlib import import_module
from types import MethodType, ModuleType
from typing import Any, Final

from . import conventions as c
from . import current

logger = logging.getLogger(__name__)

# Whichever of uvicorn's implementations there are: all but the first need more than uvicorn.
_MODULES: Final = tuple(f"uvicorn.protocols.http.{name}_impl" for name in ("h11", "httptools", "zttp", "zttp_h2"))
_MALFORMED: Final = "send_400_response"
_CROWDED: Final = "service_unavailable"


def count_refusals() -> None:
    """Have every refusal counted from now on; a second call changes nothing."""
    for owner, name, reason in _places():
        refuse = vars(owner)[name]
        # Somebody may have wrapped what counts already.
        if not isinstance(inspect.unwrap(refuse, stop=_counts), _Counting):
            setattr(owner, name, _Counting(refuse, reason))


def ignore_refusals() -> None:
    """Make uvicorn what it was; what others have wrapped meanwhile stays theirs, and goes on counting."""
    for owner, name, _ in _places():
        refuse = vars(owner)[name]
        if _counts(refuse):
            setattr(owner, name, refuse.refuse)


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


class _Counting:
    """Counts, and refuses; a function as well as a method."""

    def __init__(self, refuse: Callable[..., Any], reason: str) -> None:
        functools.update_wrapper(self, refuse)
        self.refuse = refuse
        self._reason = reason
        self._told = False

    def __call__(self, *arguments: Any) -> Any:
        try:
            current.metrics().http_refused[self._reason,].inc()
        except ValueError as error:
            # A registry that has our names already; whom we refuse must hear of it all the same.
            if not self._told:
                logger.warning("refusals are not counted: %s", error)
            self._told = True
        return self.refuse(*arguments)

    def __get__(self, owner: object, kind: type | None = None) -> Callable[..., Any]:
        return self if owner is None else MethodType(self, owner)


def _counts(refuse: object) -> bool:
    # Not isinstance: a wrapt proxy around ours says that it is one as well.
    return type(refuse) is _Counting
