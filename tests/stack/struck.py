"""The faults of the walk: what strikes, whose alert fires, where it is seen, which command confirms it.

Each is of another service and another objective, so that no alert of one is there already when the next one strikes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.stack.walking import Stage


@dataclass(frozen=True)
class Look:
    """A panel that shows the fault: a query (`ref`) beyond `limit`, which is a number or another query, for what has `labels`."""

    board: str
    panel: str
    limit: float | str
    ref: str = "A"
    service: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Confirm:
    """A command of a runbook's page, by what is in its query, and what its first answer must be."""

    page: str
    query: str
    labels: tuple[tuple[str, str], ...] = ()
    least: float = 0.0
    most: float = float("inf")


@dataclass(frozen=True)
class Fault:
    """What strikes, whose alert fires, where it is seen, and where the trace must lead: a service's span."""

    name: str
    alert: str
    service: str
    strike: Callable[[Stage], None]
    heal: Callable[[Stage], None]
    first: Look
    then: Look
    span: tuple[str, str]
    confirms: tuple[Confirm, ...]


FAULTS: Final = (
    Fault(
        "slow-statement",
        "OrderLatencyFastBurn",
        "order",
        lambda stage: stage.arm("order"),
        lambda stage: stage.shop.restart("order"),
        Look("goshop-service", "Duration", "D", ref="C"),
        Look(
            "goshop-slow-queries",
            "Slow statements per minute",
            10.0,
            labels=(("operation", "INSERT"), ("table", "orders")),
        ),
        ("order", "INSERT orders"),
        (
            Confirm("order-latency", "rpc_server_duration_seconds_bucket", (("rpc_method", "PlaceOrder"),), least=0.5),
            Confirm("order-latency", "db_query_duration", (("operation", "INSERT"), ("table", "orders")), least=0.5),
            Confirm("order-latency", "db_pool_wait", most=0.5),
        ),
    ),
    Fault(
        "error-burst",
        "ProductAvailabilityOutage",
        "product",
        lambda stage: stage.arm("product"),
        lambda stage: stage.shop.restart("product"),
        Look("goshop-service", "Errors", "B"),
        # None of a healthy shop's; the panel's window may have begun before the fault did.
        Look("goshop-errors", "Top 5 endpoints by error rate", 0.05, labels=(("endpoint", "SearchProducts"),)),
        ("product", "SELECT products"),
        (
            Confirm("product-availability", "rpc_method, rpc_status_code", (("rpc_method", "SearchProducts"),)),
            Confirm("product-availability", "db_query_errors_total", (("operation", "SELECT"),)),
        ),
    ),
    Fault(
        "dead-service",
        "OrderAvailabilityOutage",
        "order",
        lambda stage: stage.shop.kill("payment"),
        lambda stage: stage.shop.restart("payment"),
        Look("goshop-service", "Errors", "B"),
        Look(
            "goshop-dependencies",
            "gRPC: errors",
            0.05,
            service="order",
            labels=(("rpc_service", "payment.v1.PaymentService"), ("rpc_method", "Charge")),
        ),
        ("order", "payment.v1.PaymentService/Charge"),
        (
            Confirm("order-availability", "rpc_method, rpc_status_code", (("rpc_status_code", "UNAVAILABLE"),)),
            Confirm("order-availability", "rpc_service, rpc_method", (("rpc_service", "payment.v1.PaymentService"),)),
            # Where that page leads on to.
            Confirm("payment-availability", "up{", most=0.0),
        ),
    ),
    Fault(
        "full-pool",
        "PaymentAvailabilityOutage",
        "payment",
        lambda stage: stage.arm("payment"),
        lambda stage: stage.shop.restart("payment"),
        Look("goshop-service", "Errors", "B"),
        Look("goshop-pools", "In use, of all there may be", 0.99),
        ("payment", "pool.acquire"),
        (
            Confirm("payment-availability", "rpc_method, rpc_status_code", (("rpc_status_code", "UNAVAILABLE"),)),
            Confirm("payment-availability", "db_pool_connections", (("state", "used"),), least=8.0),
        ),
    ),
)
INJECTED: Final = "order.insert=delay:900ms,product.search=error,payment.pool=leak"
BY_ALERT: Final = {fault.alert: fault for fault in FAULTS}
