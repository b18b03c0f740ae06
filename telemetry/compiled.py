"""The compiled request, where its extension (`_hotpath.pyx`) was built; in pure Python it is `request.SlottedRequest`.

`GOSHOP_TELEMETRY_PURE_PYTHON=1` leaves the extension out: to compare, or to rule it out when something is wrong.
"""

import os
from importlib import import_module
from typing import Any

from .request import RequestRecord, SlottedRequest


def compiled_request(core: type[Any]) -> type[RequestRecord]:
    """Return the class of requests whose fields and usual methods are those of `core`, the extension's `RequestCore`."""

    class CompiledRequest(core, RequestRecord):  # type: ignore[misc] # mypy takes no class that is known only when it runs
        """A request whose fields and usual methods are compiled."""

        __slots__ = ()

    return CompiledRequest


def usual_request() -> type[RequestRecord]:
    """Return the class of requests, compiled where it can be."""
    if os.environ.get("GOSHOP_TELEMETRY_PURE_PYTHON"):
        return SlottedRequest
    try:
        return compiled_request(import_module("._hotpath", __package__).RequestCore)
    except ImportError:
        return SlottedRequest


Request = usual_request()
