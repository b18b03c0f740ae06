"""The edge API, end to end through a real gateway."""

import asyncio
from typing import Any

import pytest

from app.errors import InsufficientFunds, InvalidRequest, OutOfStock, Unavailable
from app.ids import new_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

MUG = {"sku": "mug-1", "name": "Mug", "description": "Holds tea", "category": "kitchen", "price": 450, "stock": 7}


async def make_mug(edge: Any) -> dict[str, Any]:
    answer = await edge.call("POST", "/api/products", token=await edge.admin(), json=MUG)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def place_order(edge: Any, token: str, **request: Any) -> Any:
    body = {"items": [{"product_id": new_id(), "quantity": 2}]}
    return await edge.call("POST", "/api/orders", token=token, json=body, **request)


async def test_somebody_registers_with_a_name_and_an_address(edge: Any) -> None:
    answer = await edge.call("POST", "/api/users", json={"name": "Alice", "email": "alice@test.com"})
    assert answer.status_code == 200
    made = answer.json()
    assert made.keys() == {"id", "name", "age", "email", "role", "created_at"}
    assert (made["name"], made["email"], made["age"], made["role"]) == ("Alice", "alice@test.com", None, "customer")


async def test_an_address_is_taken_whatever_its_case(edge: Any) -> None:
    await edge.call("POST", "/api/users", json={"name": "Bob", "email": "bob@test.com"})
    answer = await edge.call("POST", "/api/users", json={"name": "Bob", "email": "BOB@Test.com"})
    assert (answer.status_code, answer.json()["code"]) == (409, "already_exists")


async def test_a_token_shows_its_owner_the_account(edge: Any) -> None:
    user_id, token = await edge.register()
    answer = await edge.call("GET", f"/api/users/{user_id}", token=token)
    assert (answer.status_code, answer.json()["id"]) == (200, user_id)


async def test_an_account_is_not_there_for_others_but_for_the_admin(edge: Any) -> None:
    user_id, _ = await edge.register()
    _, other = await edge.register()
    assert (await edge.call("GET", f"/api/users/{user_id}", token=other)).status_code == 404
    assert (await edge.call("GET", f"/api/users/{user_id}", token=await edge.admin())).status_code == 200
    assert (await edge.call("GET", f"/api/users/{user_id}")).status_code == 401


async def test_a_login_says_how_the_token_is_used_and_how_long(edge: Any) -> None:
    await edge.register("login@test.com")
    answer = await edge.call("POST", "/api/login", json={"email": "login@test.com", "password": "a good password"})
    body = answer.json()
    assert body.keys() == {"access_token", "token_type", "expires_in"}
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 900)


async def test_a_login_answers_the_same_for_an_unknown_address_and_a_wrong_password(edge: Any) -> None:
    await edge.register("known@test.com")
    await edge.call("POST", "/api/users", json={"name": "No", "email": "without@test.com"})
    answers = [
        await edge.call("POST", "/api/login", json={"email": email, "password": "wrong password"})
        for email in ("known@test.com", "unknown@test.com", "without@test.com")
    ]
    assert {a.status_code for a in answers} == {401}
    assert len({a.json()["detail"] for a in answers}) == 1


async def test_the_role_cannot_be_chosen(edge: Any) -> None:
    body = {"name": "Eve", "email": "eve@test.com", "role": "admin"}
    answer = await edge.call("POST", "/api/users", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["key"]) == (400, "role")


async def test_the_admin_writes_the_catalogue_and_everybody_reads_it(edge: Any) -> None:
    made = await make_mug(edge)
    assert {key: made[key] for key in MUG} == MUG
    assert (made["currency"], made["version"]) == ("EUR", 1)
    assert (await edge.call("GET", f"/api/products/{made['id']}")).json() == made
    changed = {"version": 1, "name": "Mug", "category": "kitchen", "price": 500, "stock": 7}
    admin = await edge.admin()
    answer = await edge.call("PUT", f"/api/products/{made['id']}", token=admin, json=changed)
    assert (answer.json()["price"], answer.json()["version"]) == (500, 2)
    answer = await edge.call("DELETE", f"/api/products/{made['id']}", token=admin)
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await edge.call("GET", f"/api/products/{made['id']}")).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_customers_do_not_write_the_catalogue(edge: Any, method: str) -> None:
    _, token = await edge.register()
    path = "/api/products" if method == "POST" else f"/api/products/{new_id()}"
    body = {"POST": MUG, "PUT": {"version": 1, "name": "Mug", "category": "kitchen", "price": 1, "stock": 1}}.get(
        method
    )
    assert (await edge.call(method, path, token=token, json=body)).status_code == 403
    assert (await edge.call(method, path, json=body)).status_code == 401


async def test_a_search_passes_its_words_category_and_page(edge: Any) -> None:
    await make_mug(edge)
    query = {"q": "Mug", "category": "kitchen", "limit": "1", "cursor": "abc"}
    answer = await edge.call("GET", "/api/products", params=query)
    asked = edge.products.seen[-1]
    assert (asked.text, asked.category, asked.limit, asked.cursor) == ("Mug", "kitchen", 1, "abc")
    assert answer.json().keys() == {"items", "next_cursor"}


async def test_the_last_page_has_no_next_cursor(edge: Any) -> None:
    answer = await edge.call("GET", "/api/products", params={"q": "nothing is called this"})
    assert answer.json() == {"items": [], "next_cursor": None}


async def test_an_order_belongs_to_who_placed_it(edge: Any) -> None:
    user_id, token = await edge.register()
    answer = await place_order(edge, token, headers={"idempotency-key": "key-1"})
    placed = answer.json()
    assert placed.keys() == {"id", "user_id", "state", "items", "total", "currency", "failure", "created_at"}
    assert (placed["user_id"], placed["failure"], placed["items"][0]["quantity"]) == (user_id, None, 2)
    assert (edge.orders.seen[-1].user_id, edge.orders.seen[-1].idempotency_key) == (user_id, "key-1")


async def test_an_order_is_shown_with_its_reservation_and_payment(edge: Any) -> None:
    _, token = await edge.register()
    placed = (await place_order(edge, token)).json()
    shown = (await edge.call("GET", f"/api/orders/{placed['id']}", token=token)).json()
    assert {key: shown[key] for key in placed} == placed
    assert shown["reservation"]["items"][0]["sku"] == "mug-1"
    assert (shown["payment"]["state"], shown["unavailable"]) == ("charged", [])


async def test_an_order_is_shown_without_the_services_that_are_away(edge: Any) -> None:
    _, token = await edge.register()
    placed = (await place_order(edge, token)).json()
    edge.payments.error = edge.products.error = Unavailable("away")
    try:
        answer = await edge.call("GET", f"/api/orders/{placed['id']}", token=token)
    finally:
        edge.payments.error = edge.products.error = None
    shown = answer.json()
    assert answer.status_code == 200
    assert (shown["reservation"], shown["payment"], shown["unavailable"]) == (None, None, ["payment", "product"])


async def test_the_order_decides_who_sees_it(edge: Any) -> None:
    _, token = await edge.register()
    placed = (await place_order(edge, token)).json()
    _, other = await edge.register()
    assert (await edge.call("GET", f"/api/orders/{placed['id']}", token=other)).status_code == 404
    assert (await edge.call("GET", f"/api/orders/{new_id()}", token=token)).status_code == 404


async def test_an_order_is_cancelled(edge: Any) -> None:
    _, token = await edge.register()
    placed = (await place_order(edge, token)).json()
    answer = await edge.call("POST", f"/api/orders/{placed['id']}/cancel", token=token)
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OutOfStock("fewer are left"), 409, "out_of_stock"),
        (InsufficientFunds("not enough"), 402, "insufficient_funds"),
        (Unavailable("away"), 503, "unavailable"),
        (InvalidRequest("items: too many", field="items"), 400, "invalid_request"),
    ],
)
async def test_what_a_service_raises_reaches_the_caller(edge: Any, error: Any, status: int, code: str) -> None:
    _, token = await edge.register()
    edge.orders.error = error
    try:
        answer = await place_order(edge, token)
    finally:
        edge.orders.error = None
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["detail"]) == (status, code, str(error))
    assert [e["key"] for e in problem.get("errors", [])] == ([error.field] if error.field else [])


async def test_the_admin_refunds_once_per_key(edge: Any) -> None:
    _, customer = await edge.register()
    path = f"/api/payments/{new_id()}/refund"
    assert (await edge.call("POST", path, token=customer)).status_code == 403
    answer = await edge.call("POST", path, token=await edge.admin(), headers={"idempotency-key": "again"})
    assert (answer.status_code, answer.json()["state"]) == (200, "refunded")
    assert edge.payments.seen[-1].idempotency_key == "again"


async def test_a_payment_is_shown(edge: Any) -> None:
    _, token = await edge.register()
    answer = await edge.call("GET", f"/api/payments/{new_id()}", token=token)
    assert answer.json().keys() == {
        "id",
        "order_id",
        "user_id",
        "amount",
        "currency",
        "state",
        "reason",
        "created_at",
    }


async def test_every_answer_protects_browsers(edge: Any) -> None:
    for path in ("/api/products", "/nowhere"):
        answer = await edge.call("GET", path)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


async def test_the_document_declares_every_route_and_its_errors(edge: Any) -> None:
    document = (await edge.call("GET", "/openapi.json")).json()
    operations = {
        (method, path): operation for path, item in document["paths"].items() for method, operation in item.items()
    }
    assert len(operations) == 13
    for operation in operations.values():
        assert {"429", "503"} <= operation["responses"].keys()
        problems = [r for status, r in operation["responses"].items() if status >= "400"]
        assert all("application/problem+json" in problem["content"] for problem in problems)


async def ask(edge: Any) -> bytes:
    """Return the status line of a search on a connection of its own."""
    host, _, port = edge.settings.services["gateway"].http.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /api/products?limit=1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.split(b"\r\n")[0]


async def test_a_crowd_waits_its_turn_for_the_store_of_the_buckets(edge: Any) -> None:
    # More than the 64 connections of the pool; few enough that the last one's turn comes well within redis.timeout.
    answers = await asyncio.gather(*(ask(edge) for _ in range(100)))
    assert set(answers) == {b"HTTP/1.1 200 OK"}
