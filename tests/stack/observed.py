"""A shop whose lines go to a real Loki and whose spans go to a real Jaeger, and somebody who buys in it."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx

from goshop.run import RunFolder
from goshop.shop import Shop
from tests.stack.backend import Backend
from tests.stack.jaeger import Jaeger
from tests.stack.loki import Loki

STOCK: Final = 90
# One customer asks here, and never waits for the limit of what one customer may ask.
UNLIMITED: Final = {"GOSHOP_RATE_LIMIT__BURST": "100000", "GOSHOP_RATE_LIMIT__PER_SECOND": "100000"}


@dataclass(frozen=True)
class Observed:
    """A running shop, the folder of its log files, and where they and its spans go."""

    shop: Shop
    logs: Path
    loki: Loki
    promtail: Backend
    jaeger: Jaeger


@contextmanager
def running(folder: Path, loki: Loki, promtail: Callable[[Path], Backend], jaeger: Jaeger) -> Iterator[Observed]:
    """Run a shop that is observed; raises `StartError`. Main thread only."""
    logs = folder / "logs"
    logs.mkdir(parents=True)
    sender = promtail(logs)
    with exporting(folder, jaeger.traces_endpoint, GOSHOP_LOGS__FOLDER=str(logs)) as shop:
        yield Observed(shop, logs, loki, sender, jaeger)


@contextmanager
def exporting(folder: Path, traces_endpoint: str, **environ: str) -> Iterator[Shop]:
    """Run a shop that sends its spans somewhere; raises `StartError`. Main thread only."""
    variables = {**os.environ, **UNLIMITED, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": traces_endpoint, **environ}
    with Shop.start(RunFolder.create(folder / "goshop"), environ=variables) as shop:
        yield shop


class Customer:
    """The admin, who adds a product, and a customer, who asks; every answer says its trace id."""

    def __init__(self, shop: Shop) -> None:
        self.http = httpx.Client(base_url=shop.url, timeout=20.0, trust_env=False)
        try:
            self._settle(shop)
        except BaseException:
            self.http.close()
            raise

    def _settle(self, shop: Shop) -> None:
        self._log_in(*shop.admin)
        body = {
            "sku": uuid.uuid4().hex[:12],
            "name": "Lamp",
            "description": "Bright",
            "category": "kitchen",
            "price": 100,
            "stock": STOCK,
        }
        self.product = self._made("/api/products", body)
        email = f"{uuid.uuid4().hex}@goshop.example"
        self._made("/api/users", {"name": "Ann", "email": email, "password": "correct horse battery"})
        self._log_in(email, "correct horse battery")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.http.close()

    def order(self, quantity: int = 1) -> httpx.Response:
        """Order the product; more than `STOCK` is refused."""
        items = [{"product_id": self.product, "quantity": quantity}]
        return self.http.post("/api/orders", json={"items": items}, headers={"idempotency-key": uuid.uuid4().hex})

    def look(self) -> httpx.Response:
        """Ask for the product."""
        return self.http.get(f"/api/products/{self.product}")

    def _made(self, path: str, body: dict[str, object]) -> str:
        answer = self.http.post(path, json=body)
        assert answer.is_success, answer.text
        return str(answer.json()["id"])

    def _log_in(self, email: str, password: str) -> None:
        answer = self.http.post("/api/login", json={"email": email, "password": password})
        assert answer.is_success, answer.text
        self.http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"


def trace_id(answer: httpx.Response) -> str:
    """Return the id of the trace that an answer belongs to."""
    return answer.headers["x-trace-id"]
