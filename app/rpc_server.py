"""The gRPC side of a service: errors become statuses, deadlines and callers arrive from metadata, TLS where configured."""

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2_grpc

from app import deadline, identity
from app.config import Rpc
from app.errors import Forbidden, ShopError
from app.identity import Caller
from telemetry.grpc import server_interceptors

CODE_KEY: Final = "goshop-error"
FIELD_KEY: Final = "goshop-error-field"
SUBJECT_KEY: Final = "goshop-subject"
ROLE_KEY: Final = "goshop-role"
OPTIONS: Final = (
    # Two processes must not share a port by accident; the second one should fail.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 1 << 20),
    # Clients ping idle channels to notice a dead peer (app.rpc_client); allow it.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)

logger = logging.getLogger(__name__)

Handler = Callable[[Any, Any], Awaitable[Any]]
# A generated `add_…Servicer_to_server` and the servicer it takes.
Registration = tuple[Callable[[Any, grpc.aio.Server], None], object]
Callers = Mapping[str, Collection[str]]


class ShopInterceptor(grpc.aio.ServerInterceptor):
    """Runs every handler with the caller's identity and deadline, and turns its `ShopError`s into statuses.

    `callers` are the roles that a peer may speak for, by the name in its certificate; None where peers have none.
    """

    def __init__(self, callers: Callers | None = None) -> None:
        self._callers = callers

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Wrap unary handlers; others (health watching) pass through."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        return grpc.unary_unary_rpc_method_handler(
            _guarded(handler.unary_unary, self._callers), handler.request_deserializer, handler.response_serializer
        )


def _guarded(behaviour: Handler, callers: Callers | None) -> Handler:
    async def run(request: object, context: "grpc.aio.ServicerContext[Any, Any]") -> object:
        token = identity.enter(identity.NOBODY)
        left = context.time_remaining()
        try:
            identity.enter(_caller(context, callers))
            with deadline.within(left if left is not None else 60.0):
                return await behaviour(request, context)
        except ShopError as error:
            logger.info("%s: %s", error.code, error)
            context.set_trailing_metadata(((CODE_KEY, error.code), (FIELD_KEY, error.field)))
            await context.abort(error.grpc_status, str(error))
        finally:
            identity.leave(token)

    return run


def _caller(context: "grpc.aio.ServicerContext[Any, Any]", callers: Callers | None) -> Caller:
    """Return for whom a peer speaks; raises `Forbidden` where its certificate does not let it."""
    metadata = dict(context.invocation_metadata() or ())
    caller = Caller(_text(metadata.get(SUBJECT_KEY)), _text(metadata.get(ROLE_KEY)))
    if callers is not None and caller != identity.NOBODY:
        # The alternative names, or the common name of a certificate without any.
        names = [name.decode("utf-8", "replace") for name in context.peer_identities() or ()]
        if not any(caller.role in callers.get(name, ()) for name in names):
            logger.warning("%s may not speak for the role %s", names, caller.role or "(none)")
            raise Forbidden("the calling service may not speak for this caller")
    return caller


def _text(value: str | bytes | None) -> str:
    return value if isinstance(value, str) else ""


def make_server(settings: Rpc, registrations: Sequence[Registration], address: str) -> grpc.aio.Server:
    """Make a server that listens on `address` with the health service; raises `OSError` when the port is taken."""
    callers = settings.tls.callers if settings.tls.certificate else None
    server = grpc.aio.server(
        interceptors=[*server_interceptors(), ShopInterceptor(callers)],
        options=OPTIONS,
        compression=grpc.Compression.Gzip if settings.compression == "gzip" else None,
        maximum_concurrent_rpcs=1_000,
    )
    for add, servicer in registrations:
        add(servicer, server)
    checker = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checker, server)
    _listen(server, settings, address)
    return server


def _listen(server: grpc.aio.Server, settings: Rpc, address: str) -> None:
    try:
        if credentials := _credentials(settings):
            server.add_secure_port(address, credentials)
        else:
            server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"gRPC cannot listen on {address}: {error}") from None


def _credentials(settings: Rpc) -> grpc.ServerCredentials | None:
    tls = settings.tls
    if not tls.certificate:
        return None
    pair = (Path(tls.key).read_bytes(), Path(tls.certificate).read_bytes())
    # A client without a certificate of our authority does not get in: only services call services.
    return grpc.ssl_server_credentials([pair], Path(tls.authority).read_bytes(), require_client_auth=True)
