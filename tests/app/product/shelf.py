"""The product service from outside: every method of the contract, called in somebody's name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from app import identity, rpc_client
from app.config import Settings
from app.ids import new_id
from app.product import app
from app.rpc.product.v1.product_pb2 import CreateProductRequest, Product, Reservation, ReserveItem, ReserveStockRequest
from app.rpc.product.v1.product_pb2_grpc import ProductServiceStub
from app.rpc_client import Peers
from app.service import Resources, running

ADMIN = identity.Caller("admin", identity.ADMIN)
CUSTOMER = identity.Caller("alice", identity.CUSTOMER)


class Shelf:
    """A running service and a channel to it."""

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
        return await self.call("CreateProduct", CreateProductRequest(**fields), ADMIN)  # type: ignore[no-any-return]

    async def reserve(self, order_id: str, *items: tuple[str, int]) -> Reservation:
        wishes = [ReserveItem(product_id=product_id, quantity=quantity) for product_id, quantity in items]
        request = ReserveStockRequest(order_id=order_id, items=wishes)
        return await self.call("ReserveStock", request)  # type: ignore[no-any-return]

    async def balance(self, *product_ids: str) -> list[tuple[int, int, int]]:
        """Stock, reserved and sold of each product, in the order of asking."""
        query = "SELECT product_id::text, stock, reserved, sold FROM stock_balance WHERE product_id = ANY(%s::uuid[])"
        async with self.resources.pool.connection() as conn:
            rows = await (await conn.execute(query, [list(product_ids)])).fetchall()
        found = {row["product_id"]: (row["stock"], row["reserved"], row["sold"]) for row in rows}
        return [found[product_id] for product_id in product_ids]


@asynccontextmanager
async def open_shelf(settings: Settings) -> AsyncIterator[Shelf]:
    async with running(app, settings) as resources:
        peers = Peers(settings.rpc, resources.peers._discovery)
        try:
            yield Shelf(resources, ProductServiceStub(peers.channel("product")))
        finally:
            await peers.close()
