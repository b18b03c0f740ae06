"""The payment service as it runs: real PostgreSQL, called over a real gRPC channel."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from app import identity, rpc_client
from app.config import Address, Database, Secret, Settings
from app.config import Payment as PaymentSettings
from app.config import Provider as ProviderSettings
from app.ids import new_id
from app.payment import app
from app.rpc.payment.v1 import payment_pb2 as pb
from app.rpc.payment.v1.payment_pb2_grpc import PaymentServiceStub
from app.rpc_client import Peers
from app.service import Resources, running
from goshop.embedded import PostgresServer

OPENING = 10_000_000
ADMIN = identity.Caller("admin", identity.ADMIN)
# Longer than the longest that anything here is specified to take.
PATIENCE = 10.0


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return f"127.0.0.1:{sock.getsockname()[1]}"


class Till:
    """The service from outside: every method of the contract, called in somebody's name."""

    def __init__(self, resources: Resources, stub: Any) -> None:
        self.resources = resources
        self.stub = stub

    async def call(self, method: str, request: object, caller: identity.Caller) -> Any:
        token = identity.enter(caller)
        try:
            return await rpc_client.call(getattr(self.stub, method), request, timeout=PATIENCE)
        finally:
            identity.leave(token)

    async def charge(
        self,
        user_id: str,
        amount: int,
        *,
        order_id: str = "",
        currency: str = "EUR",
        caller: identity.Caller | None = None,
    ) -> pb.Payment:
        request = pb.ChargeRequest(order_id=order_id or new_id(), user_id=user_id, amount=amount, currency=currency)
        return await self.call("Charge", request, caller or customer(user_id))

    async def cancel(self, order_id: str, caller: identity.Caller = identity.THE_SHOP) -> pb.Payment:
        return await self.call("CancelCharge", pb.CancelChargeRequest(order_id=order_id), caller)

    async def refund(self, payment_id: str, key: str = "", caller: identity.Caller = ADMIN) -> pb.Payment:
        return await self.call("Refund", pb.RefundRequest(payment_id=payment_id, idempotency_key=key), caller)

    async def payment(self, order_id: str, caller: identity.Caller = identity.THE_SHOP) -> pb.Payment:
        return await self.call("GetPayment", pb.GetPaymentRequest(order_id=order_id), caller)

    async def balance(self, user_id: str) -> int:
        answer = await self.call("GetBalance", pb.GetBalanceRequest(user_id=user_id), customer(user_id))
        return int(answer.amount)

    async def rows(self, query: str, *params: object) -> list[dict[str, Any]]:
        async with self.resources.pool.connection() as conn:
            return await (await conn.execute(query, params)).fetchall()  # type: ignore[arg-type]

    async def entries(self, user_id: str) -> list[tuple[str, int]]:
        rows = await self.rows("SELECT kind, amount FROM entries WHERE user_id = %s ORDER BY id", user_id)
        return [(row["kind"], row["amount"]) for row in rows]

    async def booked(self, user_id: str) -> int:
        """What the provider holds of a user's money, by its own books."""
        query = """SELECT coalesce(sum(b.amount), 0)::bigint AS amount FROM sandbox.bookings b
                   JOIN payments p ON p.id = b.payment_id WHERE b.state = 'booked' AND p.user_id = %s"""
        return int((await self.rows(query, user_id))[0]["amount"])

    async def settled(self, user_id: str) -> bool:
        return not await self.rows("SELECT 1 FROM payments WHERE user_id = %s AND NOT settled", user_id)


def customer(user_id: str) -> identity.Caller:
    return identity.Caller(user_id, identity.CUSTOMER)


@asynccontextmanager
async def open_till(settings: Settings) -> AsyncIterator[Till]:
    async with running(app, settings) as resources:
        peers = Peers(settings.rpc, resources.peers._discovery)
        try:
            yield Till(resources, PaymentServiceStub(peers.channel("payment")))  # type: ignore[no-untyped-call]
        finally:
            await peers.close()


@pytest.fixture(scope="session")
def make_settings(postgres_server: PostgresServer, new_database: Callable[[str], str]) -> Callable[..., Settings]:
    """Settings of a payment service with an empty database and a provider in a hurry; keywords change them."""

    def make(**changes: Any) -> Settings:
        new_database("goshop_payment")
        server = postgres_server
        parts: dict[str, Any] = {
            "environment": "dev",
            "db": Database(host=server.host, port=server.port, user=server.user, password=Secret(server.password)),
            "services": {"payment": Address(internal=free_address(), grpc=free_address())},
            "payment": PaymentSettings(
                opening_balance=OPENING,
                provider=ProviderSettings(timeout=0.2, sync_interval=0.05, late_after=0.4, give_up_after=1.0),
            ),
        }
        return Settings(**(parts | changes))

    return make


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def till(make_settings: Callable[..., Settings]) -> AsyncIterator[Till]:
    async with open_till(make_settings()) as opened:
        yield opened


@pytest.fixture(scope="session")
def open_with() -> Callable[[Settings], Any]:
    """Open another service with settings of its own."""
    return open_till


Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    """Wait for a condition, for a bounded time."""

    async def wait(condition: Callable[[], Awaitable[bool]]) -> None:
        ends = time.monotonic() + PATIENCE
        while not await condition():
            assert time.monotonic() < ends, "it has not become true"
            await asyncio.sleep(0.02)

    return wait
