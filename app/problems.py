"""Every error as problem details with the trace id (RFC 9457): the one place where exceptions become HTTP answers."""

import logging
from math import ceil
from typing import Any, Final

import msgspec
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException
from opentelemetry import trace

from app.errors import ShopError

CONTENT_TYPE: Final = "application/problem+json"
logger = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode


class Problem(msgspec.Struct, omit_defaults=True):
    """RFC 9457, with two members of our own: `code` for programs, `trace_id` to find the request by."""

    type: str
    title: str
    status: int
    detail: str = ""
    code: str = ""
    trace_id: str = ""
    errors: list[dict[str, str]] = []


def problem(status: int, code: str, detail: str, trace_id: str, errors: list[dict[str, str]] | None = None) -> bytes:
    """Encode a problem as JSON."""
    title = code.replace("_", " ").capitalize()
    return _encode(Problem(f"urn:goshop:problem:{code}", title, status, detail, code, trace_id, errors or []))


def on_shop_error(_request: Request[Any, Any, Any], error: ShopError) -> Response[bytes]:
    """Answer with what the error says of itself."""
    headers = {"retry-after": str(max(1, ceil(error.retry_after)))} if error.retry_after else {}
    if error.http_status == 401:  # noqa: PLR2004 - RFC 9110, section 15.5.2
        headers["www-authenticate"] = "Bearer"
    if error.http_status == 408:  # noqa: PLR2004 - RFC 9110, section 15.5.9
        headers["connection"] = "close"
    errors = [{"key": error.field, "message": str(error)}] if error.field else []
    return _answer(error.http_status, error.code, str(error), headers=headers, errors=errors)


def on_http_error(_request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Answer what the framework refused: routes, methods, bodies, parameters."""
    if error.status_code >= 500:  # noqa: PLR2004
        return on_defect(_request, error)
    extra = error.extra if isinstance(error.extra, list) else []
    errors = [
        {k: str(v) for k, v in item.items() if k in {"key", "message"}} for item in extra if isinstance(item, dict)
    ]
    code = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}.get(error.status_code, "invalid_request")
    detail = "the request is malformed" if errors else error.detail
    return _answer(error.status_code, code, detail, headers=dict(error.headers or {}), errors=errors)


def on_defect(_request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer a defect of ours without a word of its inside; the log has the traceback."""
    logger.error("unhandled %s", type(error).__name__, exc_info=error)
    return _answer(500, "internal", "an internal error; the trace id finds it in the log")


def _answer(
    status: int,
    code: str,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
    errors: list[dict[str, str]] | None = None,
) -> Response[bytes]:
    context = trace.get_current_span().get_span_context()
    trace_id = f"{context.trace_id:032x}" if context.is_valid else ""
    return Response(
        problem(status, code, detail, trace_id, errors),
        status_code=status,
        media_type=MediaType.JSON,
        headers={**(headers or {}), "content-type": CONTENT_TYPE},
    )


HANDLERS: Final[dict[Any, Any]] = {ShopError: on_shop_error, HTTPException: on_http_error, Exception: on_defect}
