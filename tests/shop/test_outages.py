"""The shop loses what it depends on: clear errors meanwhile, recovery by itself afterwards, nothing half done."""

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from goshop.run import RunFolder
from goshop.shop import Shop

RECOVERY_SECONDS = 15.0
STOCK = 1_000

pytestmark = pytest.mark.timeout(180)


class Customer:
    """Shops at the edge like anybody else."""

    def __init__(self, shop: Shop) -> None:
        self.http = httpx.Client(base_url=shop.url, timeout=10)
        self._log_in(*shop.admin)
        body = {
            "sku": f"CUP-{uuid.uuid4().hex[:8]}",
            "name": "Cup",
            "category": "kitchen",
            "price": 100,
            "stock": STOCK,
        }
        self.product = self.answer("POST", "/api/products", json=body).json()["id"]
        user = {"name": "Ann", "email": f"{uuid.uuid4().hex}@goshop.example", "password": "correct horse battery"}
        self.answer("POST", "/api/users", json=user)
        self._log_in(user["email"], user["password"])

    def _log_in(self, email: str, password: str) -> None:
        answer = self.answer("POST", "/api/login", json={"email": email, "password": password})
        self.http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"

    def answer(self, method: str, path: str, **options: object) -> httpx.Response:
        answer = self.http.request(method, path, **options)  # type: ignore[arg-type]
        assert answer.is_success, answer.text
        return answer

    def order(self) -> httpx.Response:
        items = [{"product_id": self.product, "quantity": 1}]
        return self.http.post("/api/orders", json={"items": items}, headers={"idempotency-key": uuid.uuid4().hex})


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with Shop.start(RunFolder.create(tmp_path_factory.mktemp("shop"))) as shop:
        yield shop


@pytest.fixture(scope="module")
def customer(shop: Shop) -> Iterator[Customer]:
    customer = Customer(shop)
    yield customer
    customer.http.close()


def until(ask: Callable[[], httpx.Response], wanted: Callable[[httpx.Response], bool]) -> httpx.Response:
    ends = time.monotonic() + RECOVERY_SECONDS
    while not wanted(answer := ask()):
        assert time.monotonic() < ends, f"still {answer.status_code}: {answer.text}"
    return answer


def is_a_clear_error(answer: httpx.Response) -> bool:
    if answer.is_success:
        return False
    problem = answer.json()
    assert answer.status_code in {503, 504}, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["trace_id"] == answer.headers["x-trace-id"]
    assert "Traceback" not in answer.text
    return True


def search(customer: Customer) -> httpx.Response:
    return customer.http.get("/api/products")


def books_balance(shop: Shop, customer: Customer) -> bool:
    """Tell whether every order has ended and every piece is on the shelf or in one that stands."""
    assert shop.postgres is not None
    with psycopg.connect(shop.postgres.conninfo("goshop_product")) as conn:
        row = conn.execute(
            "SELECT stock, reserved, sold FROM stock_balance WHERE product_id = %s", [customer.product]
        ).fetchone()
    with psycopg.connect(shop.postgres.conninfo("goshop_order")) as conn:
        states = dict(conn.execute("SELECT step, count(*) FROM orders GROUP BY step").fetchall())
    assert row is not None
    stock, reserved, sold = row
    ended = set(states) <= {"confirmed", "failed", "cancelled"}
    return bool(ended and reserved == 0 and sold == states.get("confirmed", 0) and stock + sold == STOCK)


def settle(shop: Shop, customer: Customer) -> None:
    ends = time.monotonic() + 2 * RECOVERY_SECONDS
    while not books_balance(shop, customer):
        assert time.monotonic() < ends, "an order is left half done"
        time.sleep(0.1)  # between looks at the condition


def test_without_valkey_nobody_gets_in_and_everybody_does_when_it_is_back(shop: Shop, customer: Customer) -> None:
    assert shop.valkey is not None
    pids = dict(shop.pids)
    shop.valkey.kill()
    until(lambda: search(customer), is_a_clear_error)
    shop.valkey.restart()
    until(lambda: search(customer), lambda answer: answer.is_success)
    assert until(customer.order, lambda answer: answer.is_success).json()["state"] == "confirmed"
    assert shop.pids == pids


def test_without_postgresql_errors_are_clear_and_the_shop_recovers_by_itself(shop: Shop, customer: Customer) -> None:
    assert shop.postgres is not None
    pids = dict(shop.pids)
    shop.postgres.kill()
    until(customer.order, is_a_clear_error)
    until(lambda: search(customer), is_a_clear_error)
    shop.postgres.restart()
    until(lambda: search(customer), lambda answer: answer.is_success)
    until(customer.order, lambda answer: answer.is_success)
    settle(shop, customer)
    assert shop.pids == pids


@pytest.mark.parametrize("service", ["product", "payment", "order"])
def test_a_killed_service_is_missed_and_comes_back_alone(shop: Shop, customer: Customer, service: str) -> None:
    others = {name: pid for name, pid in shop.pids.items() if name != service}
    shop.kill(service)
    until(customer.order, is_a_clear_error)
    shop.restart(service)
    until(customer.order, lambda answer: answer.is_success)
    settle(shop, customer)
    assert {name: pid for name, pid in shop.pids.items() if name != service} == others


def test_a_log_of_the_outages_has_no_line_that_is_not_json(shop: Shop) -> None:
    import json  # noqa: PLC0415

    for log in Path(shop.run.logs).glob("*.log"):
        for line in log.read_text().splitlines():
            assert json.loads(line)["service"], line
