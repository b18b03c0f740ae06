"""The product service as it runs: real PostgreSQL, real Valkey, called over a real gRPC channel."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from app import identity, rpc_client
from app.config import Address, Database, Redis, Secret, Settings
from app.ids import new_id
from app.product import app
from app.rpc.product.v1.product_pb2 import CreateProductRequest, Product, ReserveItem, ReserveStockRequest
from app.rpc.product.v1.product_pb2_grpc import ProductServiceStub
from app.rpc_client import Peers
from app.service import Resources, running
from goshop.embedded import PostgresServer, ValkeyServer

ADMIN = identity.Caller("admin", identity.ADMIN)
CUSTOMER = identity.Caller("alice", identity.CUSTOMER)


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return f"127.0.0.1:{sock.getsockname()[1]}"


class Shelf:
    """The service from outside: every method of the contract, called in somebody's name."""

    def __init__(self, resources: Resources, stub: ProductServiceStub) -> None:
        self.resources = resources
        self.stub = stub

    async def call(self, method: str, request: object, caller: identity.Caller = CUSTOMER) -> Any:
        token = identity.enter(caller)
        try:
            return await rpc_client.call(getattr(self.stub, method), request, timeout=10.0)
        finally:
            identity.leave(token)

    async def product(self, **fields: Any) -> Product:
        fields = {"sku": new_id(), "name": "Red shirt", "category": "shirts", "price": 1999, "currency": "EUR"} | fields
        return await self.call("CreateProduct", CreateProductRequest(**fields), ADMIN)

    async def reserve(self, order_id: str, *items: tuple[str, int]) -> Any:
        request = ReserveStockRequest(
            order_id=order_id, items=[ReserveItem(product_id=p, quantity=q) for p, q in items]
        )
        return await self.call("ReserveStock", request)

    async def rows(self, query: str, *params: object) -> list[dict[str, Any]]:
        async with self.resources.pool.connection() as conn:
            return await (await conn.execute(query, params)).fetchall()  # type: ignore[arg-type]

    async def balance(self, *product_ids: str) -> list[tuple[int, int, int]]:
        rows = await self.rows(
            "SELECT stock, reserved, sold FROM stock_balance WHERE product_id = ANY(%s::uuid[]) ORDER BY product_id",
            list(product_ids),
        )
        return [(row["stock"], row["reserved"], row["sold"]) for row in rows]


@asynccontextmanager
async def open_shelf(settings: Settings) -> AsyncIterator[Shelf]:
    async with running(app, settings) as resources:
        peers = Peers(settings.rpc, resources.peers._discovery)
        try:
            yield Shelf(resources, ProductServiceStub(peers.channel("product")))
        finally:
            await peers.close()


@pytest.fixture(scope="session")
def make_settings(
    postgres_server: PostgresServer, valkey_server: ValkeyServer, new_database: Callable[[str], str]
) -> Callable[..., Settings]:
    """Settings of a product service with an empty database; keywords change them."""

    def make(**changes: Any) -> Settings:
        new_database("goshop_product")
        server = postgres_server
        database = Database(
            host=server.host, port=server.port, user=server.user, password=Secret(server.password), pool_max=8
        )
        parts = {
            "environment": "dev",
            "db": database,
            "redis": Redis(url=Secret(valkey_server.url)),
            "services": {"product": Address(internal=free_address(), grpc=free_address())},
        }
        return Settings(**(parts | changes))

    return make


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shelf(make_settings: Callable[..., Settings]) -> AsyncIterator[Shelf]:
    async with open_shelf(make_settings()) as opened:
        yield opened


Raises = Callable[..., Awaitable[None]]
