"""The compiled request, where its extension (`_hotpath.pyx`) was built; in pure Python it is `request.SlottedRequest`.

An extension that cannot be used is left out, and a log line says why: one that was built from other sources than those beside
it, one that fails as it is loaded. `GOSHOP_TELEMETRY_PURE_PYTHON=1` leaves it out unasked: to compare, or to rule it out.
"""

import hashlib
import logging
import os
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Final

from .request import RequestRecord, SlottedRequest

logger = logging.getLogger(__name__)

_NAME: Final = "_hotpath"


def sources_digest(folder: Path) -> str:
    """Return what identifies the sources that the extension depends on: its own, and the Python that it calls."""
    digest = hashlib.sha256()
    for path in sorted(path for suffix in ("py", "pyx", "pxi") for path in folder.glob(f"*.{suffix}")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def compiled_request(extension: Any) -> type[RequestRecord]:
    """Return the class of requests whose fields and usual methods are those of the extension's `RequestCore`."""

    class CompiledRequest(extension.RequestCore, RequestRecord):  # type: ignore[misc] # mypy takes no class that is known only when it runs
        """A request whose fields and usual methods are compiled."""

        __slots__ = ()

        serve: ClassVar = staticmethod(extension.serve)

    return CompiledRequest


def usual_request() -> type[RequestRecord]:
    """Return the class of requests, compiled where it can be."""
    if os.environ.get("GOSHOP_TELEMETRY_PURE_PYTHON", "") not in {"", "0"}:
        return SlottedRequest
    try:
        extension = import_module(f".{_NAME}", __package__)
    except ModuleNotFoundError as error:
        if error.name == f"{__package__}.{_NAME}":
            return SlottedRequest
        logger.warning("the compiled request path is left out: %s", error)
        return SlottedRequest
    except Exception as error:  # noqa: BLE001 - whatever it is, requests are served without it
        logger.warning("the compiled request path is left out: %s: %s", type(error).__name__, error)
        return SlottedRequest
    folder = Path(__file__).parent
    # An installed one has no sources beside it, and comes with the Python that it was built from.
    if (folder / f"{_NAME}.pyx").exists() and sources_digest(folder) != getattr(extension, "SOURCES", ""):
        logger.warning("the compiled request path is left out: it was built from other sources (make compiled)")
        return SlottedRequest
    return compiled_request(extension)


Request = usual_request()
