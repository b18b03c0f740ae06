"""A gateway and a user service that run for real, with small real gRPC servers for the services of others."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import msgspec
import pytest
import pytest_asyncio

from app.config import Address, Auth, Database, Http, RateLimit, Redis, Secret, Settings
from app.errors import NotFound, ShopError
from app.gateway import app as gateway_service
from app.identity import current, require_admin, require_login, require_owner
from app.ids import new_id
from app.rpc.order.v1 import order_pb2
from app.rpc.order.v1.order_pb2_grpc import OrderServiceServicer, add_OrderServiceServicer_to_server
from app.rpc.payment.v1 import payment_pb2
from app.rpc.payment.v1.payment_pb2_grpc import PaymentServiceServicer, add_PaymentServiceServicer_to_server
from app.rpc.product.v1 import product_pb2
from app.rpc.product.v1.product_pb2_grpc import ProductServiceServicer, add_ProductServiceServicer_to_server
from app.rpc_server import ShopInterceptor
from app.service import running
from app.user import app as user_service
from app.user.keys import rotate
from goshop import embedded
from goshop.ports import reserve

# ruff: noqa: N802, ARG002 - the methods are named by the contract

ADMIN = ("admin@test.com", "correct horse battery")
PASSWORD = "a good password"


class Products(ProductServiceServicer):
    """A catalogue in memory."""

    def __init__(self) -> None:
        self.products: dict[str, product_pb2.Product] = {}
        self.seen: list[Any] = []
        self.error: ShopError | None = None

    async def SearchProducts(self, request: Any, context: Any) -> Any:
        self.seen.append(request)
        found = [p for p in self.products.values() if request.text in p.name and request.category in ("", p.category)]
        return product_pb2.SearchProductsResponse(
            products=found[: request.limit], next_cursor="more" if len(found) > request.limit else ""
        )

    async def GetProduct(self, request: Any, context: Any) -> Any:
        return self._find(request.product_id)

    async def CreateProduct(self, request: Any, context: Any) -> Any:
        require_admin()
        told = {field.name: value for field, value in request.ListFields()}
        product = product_pb2.Product(id=new_id(), version=1, **told)
        self.products[product.id] = product
        return product

    async def UpdateProduct(self, request: Any, context: Any) -> Any:
        require_admin()
        product = self._find(request.product_id)
        product.price, product.version = request.price, request.version + 1
        return product

    async def DeleteProduct(self, request: Any, context: Any) -> Any:
        require_admin()
        del self.products[self._find(request.product_id).id]
        return product_pb2.DeleteProductResponse()

    async def GetReservation(self, request: Any, context: Any) -> Any:
        if self.error is not None:
            raise self.error
        item = product_pb2.ReservedItem(
            product_id="p", sku="mug-1", name="Mug", quantity=2, unit_price=450, currency="EUR"
        )
        return product_pb2.Reservation(order_id=request.order_id, state="confirmed", items=[item])

    def _find(self, product_id: str) -> product_pb2.Product:
        if product_id not in self.products:
            raise NotFound("there is no such product")
        return self.products[product_id]


class Orders(OrderServiceServicer):
    """Orders in memory, confirmed at once."""

    def __init__(self) -> None:
        self.orders: dict[str, order_pb2.Order] = {}
        self.seen: list[Any] = []
        self.error: ShopError | None = None

    async def PlaceOrder(self, request: Any, context: Any) -> Any:
        if self.error is not None:
            raise self.error
        self.seen.append(request)
        order = order_pb2.Order(
            id=new_id(),
            user_id=current().subject,
            state="confirmed",
            items=request.items,
            total=450,
            currency="EUR",
            created_at="2026-01-01T00:00:00Z",
        )
        self.orders[order.id] = order
        return order

    async def GetOrder(self, request: Any, context: Any) -> Any:
        require_login()
        if request.order_id not in self.orders:
            raise NotFound("there is no such order")
        require_owner(self.orders[request.order_id].user_id, "order")
        return self.orders[request.order_id]

    async def CancelOrder(self, request: Any, context: Any) -> Any:
        order = await self.GetOrder(request, context)
        order.state = "cancelled"
        return order


class Payments(PaymentServiceServicer):
    """Payments that are always there."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.error: ShopError | None = None

    async def GetPayment(self, request: Any, context: Any) -> Any:
        if self.error is not None:
            raise self.error
        return payment_pb2.Payment(
            id=request.payment_id or new_id(), order_id=request.order_id, amount=450, currency="EUR", state="charged"
        )

    async def Refund(self, request: Any, context: Any) -> Any:
        require_admin()
        self.seen.append(request)
        return payment_pb2.Payment(id=request.payment_id, amount=450, currency="EUR", state="refunded")


class Edge:
    """The running gateway, a client of its public port, and what stands behind it."""

    def __init__(self, settings: Settings, neighbours: tuple[Products, Orders, Payments]) -> None:
        self.settings = settings
        self.keys = Path(settings.auth.keys)
        self.products, self.orders, self.payments = neighbours
        self._admin = ""
        self.url = f"http://{settings.services['gateway'].http}"
        self.client = httpx.AsyncClient(
            base_url=self.url, timeout=10.0, trust_env=False, limits=httpx.Limits(max_connections=None)
        )

    async def register(self, email: str = "", password: str = PASSWORD) -> tuple[str, str]:
        """Make a customer and return its id and token."""
        email = email or f"{new_id()}@test.com"
        body = {"name": "Alice", "email": email, "password": password}
        made = (await self.client.post("/api/users", json=body)).raise_for_status().json()
        return made["id"], await self.log_in(email, password)

    async def log_in(self, email: str = ADMIN[0], password: str = ADMIN[1]) -> str:
        """Return a token, the admin's unless somebody else is named."""
        answer = await self.client.post("/api/login", json={"email": email, "password": password})
        token: str = answer.raise_for_status().json()["access_token"]
        return token

    async def admin(self) -> str:
        """Return the admin's token, the same one every time."""
        self._admin = self._admin or await self.log_in()
        return self._admin

    async def call(self, method: str, path: str, *, token: str = "", **request: Any) -> httpx.Response:
        """Send a request as whom the token names."""
        headers = httpx.Headers(request.pop("headers", None))
        if token:
            headers["authorization"] = f"Bearer {token}"
        return await self.client.request(method, path, headers=headers, **request)


@asynccontextmanager
async def grpc_server(address: str, *registrations: tuple[Any, Any]) -> AsyncIterator[None]:
    """Serve servicers on an address, with the shop's error mapping."""
    server = grpc.aio.server(interceptors=[ShopInterceptor()])
    for add, servicer in registrations:
        add(servicer, server)
    server.add_insecure_port(address)
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


@asynccontextmanager
async def run_edge(settings: Settings, *, with_user: bool = True) -> AsyncIterator[Edge]:
    """Run the gateway, its neighbours and (unless told otherwise) the user service."""
    neighbours = (Products(), Orders(), Payments())
    adds = (
        add_ProductServiceServicer_to_server,
        add_OrderServiceServicer_to_server,
        add_PaymentServiceServicer_to_server,
    )
    async with AsyncExitStack() as stack:
        for name, add, servicer in zip(("product", "order", "payment"), adds, neighbours, strict=True):
            await stack.enter_async_context(grpc_server(settings.services[name].grpc, (add, servicer)))  # type: ignore[index]
        if with_user:
            await stack.enter_async_context(running(user_service, settings))
        await stack.enter_async_context(running(gateway_service, settings))
        edge = Edge(settings, neighbours)
        await stack.enter_async_context(edge.client)
        yield edge


@pytest.fixture(scope="module")
def make_settings(
    postgres_server: embedded.PostgresServer,
    valkey_server: embedded.ValkeyServer,
    new_database: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Settings]]:
    """Make settings with free ports, a fresh key and an empty database; keyword arguments replace sections."""
    new_database("goshop_user")
    valkey_server.flush()
    keys = tmp_path_factory.mktemp("keys")
    rotate(keys)
    with reserve(9) as ports:
        http, *rest = [f"127.0.0.1:{port}" for port in ports]
        names = ("user", "product", "order", "payment")
        services: dict[Any, Address] = {
            name: Address(internal=internal, grpc=rpc)
            for name, internal, rpc in zip(names, rest[:4], rest[4:], strict=True)
        }
        # Two of the three neighbours serve no internal port, so one is free for the gateway's.
        services["gateway"] = Address(http=http, internal=services["product"].internal)
        base = Settings(
            environment="dev",
            db=Database(
                host=postgres_server.host,
                port=postgres_server.port,
                user=postgres_server.user,
                password=Secret(postgres_server.password),
                pool_min=1,
            ),
            redis=Redis(url=Secret(valkey_server.url)),
            services=services,
            auth=Auth(keys=str(keys), admin_email=ADMIN[0], admin_password=Secret(ADMIN[1])),
        )
        yield lambda **sections: msgspec.structs.replace(base, **sections)


@pytest.fixture
def running_edge(valkey_url: str) -> Callable[..., Any]:  # noqa: ARG001 - empty buckets
    """Run a gateway with settings of the test's own: `async with running_edge(settings) as edge`."""
    return run_edge


@pytest.fixture(scope="module")
def http() -> Http:
    """How patient a module's gateway is; a module may have its own."""
    return Http()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(make_settings: Callable[..., Settings], http: Http) -> AsyncIterator[Edge]:
    """One running gateway for the tests of a module, with wide buckets."""
    settings = make_settings(rate_limit=RateLimit(burst=100_000, per_second=100_000), http=http)
    async with run_edge(settings) as running_one:
        yield running_one
