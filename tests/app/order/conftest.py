"""Order, product and payment as real processes on real PostgreSQL and Valkey, called over real gRPC channels."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.request import urlopen

import psycopg
import pytest
import pytest_asyncio
from psycopg.rows import dict_row

from app import identity, rpc_client
from app.config import Rpc, load
from app.discovery import StaticDiscovery
from app.identity import ADMIN, CUSTOMER, THE_SHOP, Caller
from app.ids import new_id
from app.rpc.order.v1 import order_pb2 as order_pb
from app.rpc.order.v1.order_pb2_grpc import OrderServiceStub
from app.rpc.payment.v1 import payment_pb2 as payment_pb
from app.rpc.payment.v1.payment_pb2_grpc import PaymentServiceStub
from app.rpc.product.v1 import product_pb2 as product_pb
from app.rpc.product.v1.product_pb2_grpc import ProductServiceStub
from app.rpc_client import Peers
from goshop.embedded import PostgresServer, ValkeyServer
from goshop.ports import LOOPBACK, reserve
from goshop.processes import Child, kill, last_lines, spawn, stop
from telemetry.spans import read_spans

OPENING: Final = 10_000_000
PRICE: Final = 1_000
NAMES: Final = ("product", "payment", "order")
# Longer than the longest that anything here is specified to take.
PATIENCE: Final = 30.0
_RUN: Final = "import sys; from app import config, service; service.run(sys.argv[1], config.load('dev'))"
_STUBS: Final[dict[str, Any]] = {
    "product": ProductServiceStub,
    "payment": PaymentServiceStub,
    "order": OrderServiceStub,
}


async def eventually(condition: Callable[[], Awaitable[Any]], what: str = "it") -> Any:
    """Wait for a condition, for a bounded time, and return what it returned."""
    ends = time.monotonic() + PATIENCE
    while not (value := await condition()):
        assert time.monotonic() < ends, f"{what} has not become true"
        await asyncio.sleep(0.02)
    return value


class Process:
    """A service's process, which can be killed, stopped in its tracks and started again."""

    def __init__(self, name: str, environ: dict[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self.span_file = log.with_suffix(".otlp")
        self._environ = environ | {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"file:{self.span_file}"}
        self._ready = f"http://{environ[f'GOSHOP_SERVICES__{name.upper()}__INTERNAL']}/ready"
        self._child: Child | None = None

    async def start(self) -> None:
        self._child = spawn([sys.executable, "-P", "-c", _RUN, self.name], log=self.log, env=self._environ)
        await eventually(self._is_ready, self.name)

    def kill(self) -> None:
        assert self._child is not None
        kill(self._child)

    def stop(self) -> None:
        if self._child is not None:
            stop(self._child, grace=10.0)

    def signal(self, number: signal.Signals) -> None:
        assert self._child is not None
        self._child.send_signal(number)

    async def _is_ready(self) -> bool:
        assert self._child is not None
        assert self._child.poll() is None, last_lines(self.log, 40)
        return await asyncio.to_thread(self._answers)

    def _answers(self) -> bool:
        try:
            with urlopen(self._ready, timeout=1.0) as answer:  # noqa: S310 - http on loopback
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


def stop_all(processes: Iterable[Process]) -> None:
    """Stop them at the same time."""
    with ThreadPoolExecutor() as threads:
        list(threads.map(Process.stop, processes))


class Shop:
    """The three services from outside, and a look into their books."""

    def __init__(self, processes: dict[str, Process], stubs: dict[str, Any], conninfos: dict[str, str]) -> None:
        self.processes = processes
        self._stubs = stubs
        self._conninfos = conninfos
        self._books: dict[str, psycopg.AsyncConnection[Any]] = {}
        self._tasks: list[asyncio.Task[Any]] = []

    async def open(self) -> None:
        for name in NAMES:
            self._books[name] = await self.connect(name)

    async def connect(self, service: str) -> psycopg.AsyncConnection[Any]:
        """Open a connection to a service's database."""
        return await psycopg.AsyncConnection.connect(self._conninfos[service], autocommit=True, row_factory=dict_row)

    def background(self, call: Coroutine[Any, Any, Any]) -> None:
        """Make a call whose answer, or lack of one, does not matter."""
        self._tasks.append(asyncio.create_task(call))

    async def close(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for conn in self._books.values():
            await conn.close()

    async def call(self, service: str, method: str, request: object, caller: Caller) -> Any:
        token = identity.enter(caller)
        try:
            return await rpc_client.call(getattr(self._stubs[service], method), request, timeout=PATIENCE)
        finally:
            identity.leave(token)

    async def product(self, stock: int = 100, price: int = PRICE, currency: str = "EUR") -> str:
        request = product_pb.CreateProductRequest(
            sku=new_id(), name="Shirt", category="shirts", price=price, currency=currency, stock=stock
        )
        return str((await self.call("product", "CreateProduct", request, Caller("admin", ADMIN))).id)

    async def place(self, user: str, *items: tuple[str, int], key: str = "", caller: Caller | None = None) -> Any:
        lines = [order_pb.OrderItem(product_id=product, quantity=quantity) for product, quantity in items]
        request = order_pb.PlaceOrderRequest(user_id=user, items=lines, idempotency_key=key)
        return await self.call("order", "PlaceOrder", request, caller or Caller(user, CUSTOMER))

    async def cancel(self, order_id: str, caller: Caller = THE_SHOP) -> Any:
        return await self.call("order", "CancelOrder", order_pb.CancelOrderRequest(order_id=order_id), caller)

    async def order(self, order_id: str, caller: Caller = THE_SHOP) -> Any:
        return await self.call("order", "GetOrder", order_pb.GetOrderRequest(order_id=order_id), caller)

    async def balance(self, user: str) -> int:
        request = payment_pb.GetBalanceRequest(user_id=user)
        return int((await self.call("payment", "GetBalance", request, THE_SHOP)).amount)

    async def rows(self, service: str, query: str, *params: object) -> list[dict[str, Any]]:
        """Ask the books of a service directly."""
        return await (await self._books[service].execute(query, params)).fetchall()  # type: ignore[no-any-return]

    async def orders(self, user: str) -> list[dict[str, Any]]:
        return await self.rows(
            "order", "SELECT id::text, step, failure, version FROM orders WHERE user_id = %s ORDER BY orders.id", user
        )

    async def step(self, user: str) -> str:
        """At which step the only order of a user is, "" where there is none."""
        orders = await self.orders(user)
        assert len(orders) <= 1
        return orders[0]["step"] if orders else ""

    async def stock(self, product: str) -> tuple[int, int, int]:
        """How many of a product are on the shelf, reserved and sold."""
        query = "SELECT stock, reserved, sold FROM stock_balance WHERE product_id = %s"
        row = (await self.rows("product", query, product))[0]
        return row["stock"], row["reserved"], row["sold"]

    def spans(self) -> list[Any]:
        """Every span that the processes have exported; stop them first."""
        return [span for process in self.processes.values() for span in read_spans(process.span_file)]

    async def booked(self, user: str) -> int:
        """What the provider holds of a user's money, by its own books."""
        query = """SELECT coalesce(sum(b.amount), 0)::bigint AS amount FROM sandbox.bookings b
                   JOIN payments p ON p.id = b.payment_id WHERE b.state = 'booked' AND p.user_id = %s"""
        return int((await self.rows("payment", query, user))[0]["amount"])

    async def ended(self) -> bool:
        """Whether every order has ended and every payment agrees with the provider."""
        unfinished = "SELECT 1 FROM orders WHERE step NOT IN ('confirmed', 'failed', 'cancelled') LIMIT 1"
        return not await self.rows("order", unfinished) and not await self.rows(
            "payment", "SELECT 1 FROM payments WHERE NOT settled LIMIT 1"
        )


def _environ(server: PostgresServer, redis_url: str, ports: list[int], changes: dict[str, str]) -> dict[str, str]:
    places = [f"GOSHOP_SERVICES__{name.upper()}__{part}" for name in NAMES for part in ("INTERNAL", "GRPC")]
    addresses = {place: f"{LOOPBACK}:{port}" for place, port in zip(places, ports, strict=True)}
    ours = {
        # The same code that is under test here, wherever the tests were started.
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "GOSHOP_DB__HOST": server.host,
        "GOSHOP_DB__PORT": str(server.port),
        "GOSHOP_DB__USER": server.user,
        "GOSHOP_DB__PASSWORD": server.password,
        "GOSHOP_REDIS__URL": redis_url,
        "GOSHOP_PAYMENT__OPENING_BALANCE": str(OPENING),
        "GOSHOP_PAYMENT__PROVIDER__TIMEOUT": "0.3",
        "GOSHOP_PAYMENT__PROVIDER__SYNC_INTERVAL": "0.1",
        "GOSHOP_PAYMENT__PROVIDER__LATE_AFTER": "0.6",
        "GOSHOP_PAYMENT__PROVIDER__GIVE_UP_AFTER": "2",
    }
    return dict(os.environ) | addresses | ours | changes


@asynccontextmanager
async def open_shop(
    server: PostgresServer, redis_url: str, folder: Path, new_database: Callable[[str], str], **changes: str
) -> AsyncIterator[Shop]:
    """Start the three services on empty databases; `changes` are environment variables."""
    async with AsyncExitStack() as stack:
        # Ours until the end, so that a killed service finds its own again.
        ports = stack.enter_context(reserve(2 * len(NAMES)))
        environ = _environ(server, redis_url, ports, changes)
        conninfos = {name: new_database(f"goshop_{name}") for name in NAMES}
        processes = {name: Process(name, environ, folder / f"{name}.log") for name in NAMES}
        stack.callback(stop_all, processes.values())
        await asyncio.gather(*(process.start() for process in processes.values()))
        peers = Peers(Rpc(), StaticDiscovery(load("dev", environ=environ)))
        stack.push_async_callback(peers.close)
        shop = Shop(processes, {name: _STUBS[name](peers.channel(name)) for name in NAMES}, conninfos)
        stack.push_async_callback(shop.close)
        await shop.open()
        yield shop


Open = Callable[..., Any]


@pytest.fixture(scope="session")
def open_one(
    postgres_server: PostgresServer,
    valkey_server: ValkeyServer,
    new_database: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Open:
    """Open a shop of one's own; keywords are environment variables."""

    def start(**changes: str) -> Any:
        folder = tmp_path_factory.mktemp("shop")
        return open_shop(postgres_server, valkey_server.url, folder, new_database, **changes)

    return start


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(open_one: Open) -> AsyncIterator[Shop]:
    async with open_one() as opened:
        yield opened


@pytest.fixture(scope="session")
def until() -> Callable[..., Awaitable[Any]]:
    return eventually
