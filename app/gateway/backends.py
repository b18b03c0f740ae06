"""The services behind the gateway: one stub each, made once, called with the caller's identity and deadline."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from litestar import Request

from app import rpc_client
from app.rpc.order.v1.order_pb2_grpc import OrderServiceStub
from app.rpc.payment.v1.payment_pb2_grpc import PaymentServiceStub
from app.rpc.product.v1.product_pb2_grpc import ProductServiceStub
from app.rpc.user.v1.user_pb2_grpc import UserServiceStub
from app.rpc_client import Peers

Method = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Backends:
    """Stubs of every service, and how long a call may take in seconds."""

    users: UserServiceStub
    products: ProductServiceStub
    orders: OrderServiceStub
    payments: PaymentServiceStub
    timeout: float

    @classmethod
    def of(cls, peers: Peers, timeout: float) -> Self:
        """Make the stubs; nothing is connected before the first call."""
        return cls(
            UserServiceStub(peers.channel("user")),  # type: ignore[no-untyped-call]
            ProductServiceStub(peers.channel("product")),  # type: ignore[no-untyped-call]
            OrderServiceStub(peers.channel("order")),  # type: ignore[no-untyped-call]
            PaymentServiceStub(peers.channel("payment")),  # type: ignore[no-untyped-call]
            timeout,
        )

    async def call(self, method: Method, message: object) -> Any:
        """Call a service; raises the `ShopError` that it raised."""
        return await rpc_client.call(method, message, timeout=self.timeout)


def backends(request: Request[Any, Any, Any]) -> Backends:
    """Return the services behind the application that serves this request."""
    found: Backends = request.app.state["backends"]
    return found
