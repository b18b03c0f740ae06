"""What strangers send: every bad input gets a clear 4xx with a trace id, or does no harm."""

import asyncio
import contextlib
import json
import re
from typing import Any

import pytest

from app.ids import new_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

USER = {"name": "Alice", "email": "alice@test.com"}
LOGIN = {"email": "alice@test.com", "password": "a good password"}
PRODUCT = {"sku": "mug-1", "name": "Mug", "category": "kitchen", "price": 450}
CHANGE = {"version": 1, "name": "Mug", "category": "kitchen", "price": 450, "stock": 1}
ORDER = {"items": [{"product_id": new_id(), "quantity": 1}]}
ROUTES = {
    "users": ("POST", "/api/users", USER),
    "login": ("POST", "/api/login", LOGIN),
    "products": ("POST", "/api/products", PRODUCT),
    "change": ("PUT", f"/api/products/{new_id()}", CHANGE),
    "orders": ("POST", "/api/orders", ORDER),
}
WRONG_TYPES = (None, True, 1.5, "text", 7, [], {})
INJECTIONS = (
    "'; DROP TABLE users; --",
    '" OR 1=1 --',
    "%s %(name)s {0} ${jndi:ldap://x}",
    '{"level":"error"}',
    "<script>alert(1)</script>",
    "../../etc/passwd",
)
CONTROLS = ("a\nlevel=error forged", "a\r\nSet-Cookie: x=1", "tab\t", "\x1b[31mred", "nul\0", "del\x7f")


async def send(edge: Any, route: str, body: Any) -> Any:
    """Send a body to a route as the admin, who may do everything."""
    method, path, _ = ROUTES[route]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await edge.call(method, path, token=await edge.admin(), content=content)


def check_refusal(answer: Any, *statuses: int) -> dict[str, Any]:
    """Check that an answer is a problem that can be found again, and return it."""
    assert answer.status_code in (statuses or (400,)), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert re.fullmatch("[0-9a-f]{32}", problem["trace_id"])
    assert problem["trace_id"] == answer.headers["x-trace-id"]
    assert problem["detail"]
    assert "Traceback" not in answer.text
    return problem


@pytest.mark.parametrize("route", ROUTES)
async def test_a_field_of_the_wrong_type_is_named(edge: Any, route: str) -> None:
    good = ROUTES[route][2]
    for field, right in good.items():
        for wrong in WRONG_TYPES:
            if type(wrong) is type(right):
                continue
            problem = check_refusal(await send(edge, route, {**good, field: wrong}))
            assert problem["errors"][0]["key"] == field


@pytest.mark.parametrize("route", ROUTES)
async def test_a_field_that_nobody_knows_is_named(edge: Any, route: str) -> None:
    problem = check_refusal(await send(edge, route, {**ROUTES[route][2], "is_admin": True}))
    assert problem["errors"][0]["key"] == "is_admin"


@pytest.mark.parametrize("route", ROUTES)
async def test_a_missing_field_is_named(edge: Any, route: str) -> None:
    good = ROUTES[route][2]
    for field in good:
        problem = check_refusal(await send(edge, route, {k: v for k, v in good.items() if k != field}))
        assert problem["errors"][0]["key"] == field


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[]", b'"text"', b"{", b"{'a': 1}", b"NaN", b"<a/>", b"\x00", b'{"a": 1} {"b": 2}'),
        *(b"\xff\xfe", b'{"name": "\xff"}', b'{"name": "\\ud800", "email": "a@test.com"}'),
        *(b"[" * 60_000, b'{"a":' * 12_000),
    ],
    ids=lambda body: repr(body[:20]),
)
async def test_what_is_not_such_an_object_is_refused(edge: Any, route: str, body: bytes) -> None:
    check_refusal(await send(edge, route, body))


@pytest.mark.parametrize(
    ("route", "change", "field"),
    [
        ("users", {"name": ""}, "name"),
        ("users", {"name": "n" * 201}, "name"),
        ("users", {"age": 0}, "age"),
        ("users", {"age": 151}, "age"),
        ("users", {"age": 10**30}, "age"),
        ("users", {"password": "short"}, "password"),
        ("users", {"password": "p" * 257}, "password"),
        ("users", {"email": "no-at-sign"}, "email"),
        ("users", {"email": "a@b"}, "email"),
        ("users", {"email": "a b@test.com"}, "email"),
        ("users", {"email": "a@test.com\n"}, "email"),
        ("users", {"email": "a@" + "b" * 250 + ".com"}, "email"),
        ("users", {"email": "Ä@test.com"}, "email"),
        ("products", {"price": -1}, "price"),
        ("products", {"price": 10**13}, "price"),
        ("products", {"stock": -1}, "stock"),
        ("products", {"currency": "euro"}, "currency"),
        ("products", {"sku": "two words"}, "sku"),
        ("products", {"category": ""}, "category"),
        ("products", {"category": "c" * 65}, "category"),
        ("products", {"description": "d" * 4001}, "description"),
        ("change", {"version": 0}, "version"),
        ("orders", {"items": []}, "items"),
        ("orders", {"items": [{"product_id": new_id(), "quantity": 1}] * 51}, "items"),
        ("orders", {"items": [{"product_id": new_id(), "quantity": 0}]}, "items[0].quantity"),
        ("orders", {"items": [{"product_id": new_id(), "quantity": -1}]}, "items[0].quantity"),
        ("orders", {"items": [{"product_id": new_id(), "quantity": 1, "unit_price": 0}]}, "items[0].unit_price"),
        ("orders", {"items": [{"product_id": "x" * 36, "quantity": 1}]}, "items[0].product_id"),
        ("orders", {**ORDER, "user_id": new_id()}, "user_id"),
        ("orders", {**ORDER, "total": 1}, "total"),
    ],
)
async def test_a_value_out_of_range_is_named(edge: Any, route: str, change: dict[str, Any], field: str) -> None:
    problem = check_refusal(await send(edge, route, {**ROUTES[route][2], **change}))
    assert problem["errors"][0]["key"] == field


TEXT_FIELDS = [
    (route, field)
    for route, (_, _, good) in ROUTES.items()
    for field in (key for key, value in good.items() if isinstance(value, str))
]


@pytest.mark.parametrize(("route", "field"), TEXT_FIELDS)
async def test_injections_are_text_like_any_other(edge: Any, route: str, field: str) -> None:
    for text in INJECTIONS:
        email = f"{new_id()}@test.com"
        good = {**ROUTES[route][2], **({"email": email} if route == "users" else {})}
        answer = await send(edge, route, {**good, field: text})
        if answer.status_code == 200:
            assert answer.json()[field] == text
        else:
            check_refusal(answer, 400, 401, 404)


@pytest.mark.parametrize(("route", "field"), [pair for pair in TEXT_FIELDS if pair[1] != "password"])
async def test_control_characters_are_refused_where_one_line_is_asked_for(edge: Any, route: str, field: str) -> None:
    for text in CONTROLS:
        problem = check_refusal(await send(edge, route, {**ROUTES[route][2], field: text}))
        assert problem["errors"][0]["key"] == field


@pytest.mark.parametrize(("route", "field"), [("users", "password"), ("products", "description")])
async def test_nul_is_refused_where_lines_are_allowed(edge: Any, route: str, field: str) -> None:
    problem = check_refusal(await send(edge, route, {**ROUTES[route][2], field: "nul \0 inside"}))
    assert problem["errors"][0]["key"] == field


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "ten"},
        {"limit": ""},
        {"q": "a" * 201},
        {"q": "nul\0"},
        {"category": "c" * 201},
        {"cursor": "c" * 513},
    ],
    ids=str,
)
async def test_a_bad_query_parameter_is_named(edge: Any, query: dict[str, str]) -> None:
    problem = check_refusal(await edge.call("GET", "/api/products", params=query))
    assert problem["errors"][0]["key"] == next(iter(query))


async def test_injections_in_a_search_are_only_words(edge: Any) -> None:
    for text in INJECTIONS:
        answer = await edge.call("GET", "/api/products", params={"q": text, "category": text})
        assert answer.json() == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("query", ["q=%ff", "q=%00", "limit=1&limit=2", "%ff=1", "&&&==", "q=" + "%" * 50])
async def test_a_malformed_query_does_no_harm(edge: Any, query: str) -> None:
    answer = await edge.call("GET", f"/api/products?{query}")
    if answer.status_code != 200:
        check_refusal(answer)


@pytest.mark.parametrize("object_id", ["1", "x" * 36, "%00", "%ff", "a b", "'", "e" * 5000, "{id}"])
@pytest.mark.parametrize("things", ["users", "products", "orders", "payments"])
async def test_what_is_no_uuid_is_refused(edge: Any, things: str, object_id: str) -> None:
    check_refusal(await edge.call("GET", f"/api/{things}/{object_id}", token=await edge.admin()))


@pytest.mark.parametrize("key", ["", "k" * 256, "two words", "ä".encode()], ids=repr)
async def test_an_idempotency_key_is_short_visible_ascii(edge: Any, key: Any) -> None:
    admin = await edge.admin()
    for path, body in (("/api/orders", ORDER), (f"/api/payments/{new_id()}/refund", None)):
        answer = await edge.call("POST", path, token=admin, json=body, headers={"idempotency-key": key})
        assert check_refusal(answer)["errors"][0]["key"] == "idempotency_key"


@pytest.mark.parametrize("size", [65_537, 10_000_000])
@pytest.mark.parametrize("framing", ["with a length", "chunked"])
async def test_a_body_that_is_too_large_is_refused(edge: Any, size: int, framing: str) -> None:
    async def chunks() -> Any:
        for _ in range(0, size, 1 << 16):
            yield b" " * (1 << 16)
        yield b" "

    answer = await edge.call("POST", "/api/users", content=chunks() if framing == "chunked" else b" " * size)
    assert check_refusal(answer, 413)["code"] == "too_large"


async def test_a_body_of_the_largest_size_is_read(edge: Any) -> None:
    body = json.dumps({**USER, "email": f"{new_id()}@test.com"}).encode()
    assert (await edge.call("POST", "/api/users", content=body.ljust(65_536))).status_code == 200


async def test_there_is_nothing_at_other_paths(edge: Any) -> None:
    for path in ("/", "/api", "/api/products/", "/metrics", "/ready", "/health", "/api/../etc", "/schema", "/%00"):
        answer = await edge.call("GET", path)
        if path != "/api/products/":
            assert check_refusal(answer, 404)["code"] == "not_found"


async def test_a_method_that_a_route_has_not_is_refused(edge: Any) -> None:
    for method in ("DELETE", "PATCH", "TRACE"):
        answer = await edge.call(method, "/api/login")
        assert check_refusal(answer, 405)["code"] == "method_not_allowed"
        assert "POST" in answer.headers["allow"]


async def test_an_error_is_said_before_the_body_is_read_where_the_caller_may_not_anyway(edge: Any) -> None:
    assert (await edge.call("POST", "/api/products", content=b"{")).status_code == 401
    _, token = await edge.register()
    assert (await edge.call("POST", "/api/products", token=token, content=b"{")).status_code == 403


async def test_what_is_no_http_does_no_harm(edge: Any) -> None:
    host, _, port = edge.settings.services["gateway"].http.rpartition(":")
    for line in (
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"BREW / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\na: \x7f\r\n\r\n",
        b"GET /api/products\r\n\r\n",
        b"\r\n" * 100,
    ):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(line)
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 5.0)
        writer.close()
        await writer.wait_closed()
    assert (await edge.call("GET", "/api/products")).status_code == 200


@pytest.mark.parametrize(
    "start", [b"GET /api/products HTTP/1.1\r\nhost: x\r\nx: ", b"GET /", b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 99]
)
async def test_headers_without_end_are_cut_off(edge: Any, start: bytes) -> None:
    host, _, port = edge.settings.services["gateway"].http.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(start)
    try:
        for _ in range(100):
            writer.write(b"a" * 100_000)
            await writer.drain()
        cut_off = (await asyncio.wait_for(reader.read(), 5.0)).startswith(b"HTTP/1.1 431 ")
    except ConnectionError:
        # The server closed while we were still writing.
        cut_off = True
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    assert cut_off
