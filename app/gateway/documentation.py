"""The OpenAPI document: made from the routes themselves, with every error they may answer."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Litestar
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.spec import Components, SecurityScheme

from app.errors import FAILURES
from app.problems import CONTENT_TYPE, Problem

# What any route may answer: too much, too fast, a defect, a dependency away, out of time.
_ALWAYS: Final = (429, *(error.http_status for error in FAILURES))
# Beside those where there is a body: too slow, too large.
_WITH_BODY: Final = (408, 413)

_DESCRIPTION: Final = "The edge API. Every error is problem details (RFC 9457) with the trace id."


def problems(*statuses: int, body: bool = False) -> dict[int, ResponseSpec]:
    """Declare the error statuses of a route, beside those that any route may answer."""
    every = sorted({*statuses, *_ALWAYS, *(_WITH_BODY if body else ())})
    return {status: _problem(status) for status in every}


def _problem(status: int) -> ResponseSpec:
    return ResponseSpec(
        data_container=Problem,
        description=HTTPStatus(status).phrase,
        media_type=CONTENT_TYPE,
        generate_examples=False,
    )


def describe(routes: Sequence[Any], **app: Any) -> bytes:
    """Return the OpenAPI document of `routes` as JSON, the same bytes for the same routes."""
    bearer = SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")
    config = OpenAPIConfig(
        "GoShop", "1", description=_DESCRIPTION, components=Components(security_schemes={"token": bearer})
    )
    # Without `logging_config` this throw-away application would take the logging of the process over.
    schema = Litestar(list(routes), openapi_config=config, logging_config=None, **app).openapi_schema.to_schema()
    return msgspec.json.format(msgspec.json.encode(schema, order="sorted"), indent=2) + b"\n"
