"""The product service as it runs: real PostgreSQL, real Valkey, a real gRPC channel."""

import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from app.config import Address, Database, Redis, Secret, Settings
from goshop.embedded import PostgresServer, ValkeyServer
from tests.app.product.shelf import Shelf, open_shelf


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return f"127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture(scope="session")
def make_settings(postgres_server: PostgresServer, valkey_server: ValkeyServer) -> Callable[..., Settings]:
    """Settings of a product service on free ports; keywords change them."""

    def make(**changes: Any) -> Settings:
        server = postgres_server
        secret = Secret(server.password)
        parts = {
            "environment": "dev",
            "db": Database(host=server.host, port=server.port, user=server.user, password=secret),
            "redis": Redis(url=Secret(valkey_server.url)),
            "services": {"product": Address(internal=free_address(), grpc=free_address())},
        }
        return Settings(**(parts | changes))

    return make


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shelf(make_settings: Callable[..., Settings], new_database: Callable[[str], str]) -> AsyncIterator[Shelf]:
    """A service with an empty database."""
    new_database("goshop_product")
    async with open_shelf(make_settings()) as opened:
        yield opened
