"""Calls to other services: one channel per peer, the caller and the shrinking deadline go along, errors come back whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import grpc

from app import deadline, identity
from app.config import Rpc
from app.discovery import Discovery
from app.errors import BY_CODE, BY_GRPC_STATUS, ShopError, Unavailable
from app.rpc_server import CODE_KEY, FIELD_KEY, ROLE_KEY, SUBJECT_KEY
from telemetry.grpc import client_interceptors

OPTIONS: Final = (
    # A peer that restarts is tried again at once, not after gRPC's default back-off of up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.enable_retries", 0),
)


class Peers:
    """One channel per peer, opened at first use, closed together."""

    def __init__(self, settings: Rpc, discovery: Discovery) -> None:
        self._settings = settings
        self._discovery = discovery
        self._channels: dict[str, grpc.aio.Channel] = {}

    def channel(self, service: str) -> grpc.aio.Channel:
        """Return the channel to a service."""
        if service not in self._channels:
            self._channels[service] = self._open(self._discovery.address(service))
        return self._channels[service]

    def _open(self, address: str) -> grpc.aio.Channel:
        interceptors = client_interceptors()
        compression = grpc.Compression.Gzip if self._settings.compression == "gzip" else None
        tls = self._settings.tls
        if not tls.certificate:
            return grpc.aio.insecure_channel(address, OPTIONS, compression, interceptors)
        files = (Path(tls.authority), Path(tls.key), Path(tls.certificate))
        credentials = grpc.ssl_channel_credentials(*(file.read_bytes() for file in files))
        return grpc.aio.secure_channel(address, credentials, OPTIONS, compression, interceptors)

    async def close(self) -> None:
        """Close every channel; calls under way end with `Unavailable`."""
        for channel in self._channels.values():
            await channel.close()


async def call(method: Callable[..., Any], request: object, *, timeout: float) -> Any:  # noqa: ASYNC109 - it travels with the call
    """Call a peer within `timeout` seconds or what the request has left; raises the `ShopError` the peer raised."""
    caller = identity.current()
    metadata = ((SUBJECT_KEY, caller.subject), (ROLE_KEY, caller.role))
    try:
        return await method(request, timeout=deadline.remaining(timeout), metadata=metadata)
    except grpc.aio.AioRpcError as error:
        raise as_shop_error(error) from None


def as_shop_error(error: grpc.aio.AioRpcError) -> ShopError:
    """Return the error that the peer raised, or what its bare status means."""
    metadata = dict(error.trailing_metadata() or ())
    code = metadata.get(CODE_KEY)
    if code in BY_CODE:
        known = BY_CODE[code](error.details() or code)
        known.field = metadata.get(FIELD_KEY, "")
        return known
    if error.code() in BY_GRPC_STATUS:
        # Words that came without our code are the runtime's: addresses, library names.
        return BY_GRPC_STATUS[error.code()](
            "a service of the shop is away" if _away(error) else "a service refused the call"
        )
    # An answer like UNKNOWN or INTERNAL is the peer's defect: its log has it, its words are not for the public.
    return ShopError("an internal error")


def _away(error: grpc.aio.AioRpcError) -> bool:
    return issubclass(BY_GRPC_STATUS[error.code()], Unavailable)
