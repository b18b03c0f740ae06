"""Everything that can go wrong in the shop, and how it looks over HTTP and gRPC.

    ShopError
    ├── InvalidRequest            400  a value is malformed or out of range
    ├── Unauthenticated           401  no valid token, or wrong credentials
    ├── PaymentRefused            402  nothing was charged
    │   ├── InsufficientFunds          the balance does not cover the amount
    │   └── PaymentDeclined            the payment provider said no
    ├── Forbidden                 403  the caller is known and may not
    ├── NotFound                  404  there is no such thing, or it is not the caller's
    ├── RequestTimeout            408  the request itself did not come in time
    ├── Conflict                  409  the state of the thing does not allow it
    │   ├── AlreadyExists              its unique name is taken
    │   ├── VersionConflict            somebody changed it in between
    │   └── OutOfStock                 fewer are left than asked for
    ├── IdempotencyKeyReused      422  the key came with another body before
    ├── TooManyRequests           429  the caller's token bucket is empty
    └── Unavailable               503  a dependency is away; nothing half done is left
        └── DeadlineExceeded      504  an answer did not come in time

A service raises these; `app.problems` makes problem details of them and `app.rpc_server` a gRPC status, whose trailing
metadata carries `code`, so that `app.rpc_client` raises the same class again on the other side.
"""

from collections.abc import Iterator
from typing import ClassVar

import grpc


class ShopError(Exception):
    """Something went wrong that the caller is told about; `str()` is safe to show."""

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500
    grpc_status: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    retry_after: float | None = None
    field: str = ""


class InvalidRequest(ShopError):
    """A value is malformed or out of range; `field` names it where there is one to name."""

    code = "invalid_request"
    http_status = 400
    grpc_status = grpc.StatusCode.INVALID_ARGUMENT

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class Unauthenticated(ShopError):
    """There is no valid token, or the credentials are wrong."""

    code = "unauthenticated"
    http_status = 401
    grpc_status = grpc.StatusCode.UNAUTHENTICATED


class PaymentRefused(ShopError):
    """The payment was refused and nothing was charged."""

    code = "payment_refused"
    http_status = 402
    grpc_status = grpc.StatusCode.FAILED_PRECONDITION


class InsufficientFunds(PaymentRefused):
    """The balance does not cover the amount."""

    code = "insufficient_funds"


class PaymentDeclined(PaymentRefused):
    """The payment provider said no."""

    code = "payment_declined"


class Forbidden(ShopError):
    """The caller is known and may not do this."""

    code = "forbidden"
    http_status = 403
    grpc_status = grpc.StatusCode.PERMISSION_DENIED


class NotFound(ShopError):
    """There is no such thing, or it belongs to somebody else."""

    code = "not_found"
    http_status = 404
    grpc_status = grpc.StatusCode.NOT_FOUND


class RequestTimeout(ShopError):
    """The request itself did not come in time; the edge raises it, no service does."""

    code = "request_timeout"
    http_status = 408
    grpc_status = grpc.StatusCode.CANCELLED


class Conflict(ShopError):
    """The state of the thing does not allow this."""

    code = "conflict"
    http_status = 409
    grpc_status = grpc.StatusCode.FAILED_PRECONDITION


class AlreadyExists(Conflict):
    """The unique name is taken."""

    code = "already_exists"
    grpc_status = grpc.StatusCode.ALREADY_EXISTS


class VersionConflict(Conflict):
    """Somebody changed it in between; read it again."""

    code = "version_conflict"
    grpc_status = grpc.StatusCode.ABORTED


class OutOfStock(Conflict):
    """Fewer are left than asked for."""

    code = "out_of_stock"


class IdempotencyKeyReused(ShopError):
    """The idempotency key came with another body before."""

    code = "idempotency_key_reused"
    http_status = 422
    grpc_status = grpc.StatusCode.FAILED_PRECONDITION


class TooManyRequests(ShopError):
    """The caller's token bucket is empty; `retry_after` seconds fill it by one."""

    code = "too_many_requests"
    http_status = 429
    grpc_status = grpc.StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(ShopError):
    """A dependency is away; nothing half done is left behind."""

    code = "unavailable"
    http_status = 503
    grpc_status = grpc.StatusCode.UNAVAILABLE
    retry_after = 1.0


class DeadlineExceeded(Unavailable):
    """An answer did not come in time."""

    code = "deadline_exceeded"
    http_status = 504
    grpc_status = grpc.StatusCode.DEADLINE_EXCEEDED


def family(root: type[ShopError] = ShopError) -> Iterator[type[ShopError]]:
    """Yield `root` and every class below it."""
    yield root
    for child in root.__subclasses__():
        yield from family(child)


BY_CODE: dict[str, type[ShopError]] = {cls.code: cls for cls in family()}

# With which a service says that it is at fault: no first one of these may be lost to who counts them.
FAILURES: list[type[ShopError]] = [cls for cls in family() if cls.http_status >= 500]  # noqa: PLR2004 - RFC 9110, section 15.6

# What a peer's bare status means when no code came with it: a proxy, the runtime or a dead process answered.
BY_GRPC_STATUS: dict[grpc.StatusCode, type[ShopError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: Forbidden,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.ABORTED: VersionConflict,
    grpc.StatusCode.FAILED_PRECONDITION: Conflict,
    # Without our code it is the runtime of the peer that is full, not the bucket of the caller.
    grpc.StatusCode.RESOURCE_EXHAUSTED: Unavailable,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
}
