"""A real HTTP server with the shape of the shop's edge API, kept in memory, that remembers the trace id of every request."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

import uvicorn

Headers = dict[str, str]
Answer = tuple[int, Any, Headers]
Before = Callable[[str], Awaitable[Answer | None]]
ADMIN = ("admin@example.test", "an admin's password")


class StandIn:
    """The application. `before("GET /api/products")` may answer in its place, wait, or raise."""

    def __init__(self, before: Before | None = None) -> None:
        self.before = before
        self.trace_ids: Counter[str] = Counter()
        # The ids of the spans that the requests came from.
        self.parents: dict[str, str] = {}
        self.requests: Counter[str] = Counter()
        self.products: dict[str, dict[str, Any]] = {}
        self.orders: dict[str, dict[str, Any]] = {}
        self.users: dict[str, dict[str, str]] = {ADMIN[0]: {"email": ADMIN[0], "password": ADMIN[1]}}
        self.tokens: dict[str, str] = {}
        self.keys: Counter[str] = Counter()
        self.refusals: list[str] = []

    def fill_as(self, other: "StandIn") -> None:
        """Have everything that another one has, without its requests."""
        self.products, self.orders = dict(other.products), dict(other.orders)
        self.users, self.tokens = dict(other.users), dict(other.tokens)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self._remember(scope["method"], scope["path"], headers)
        status, answer, extra = await self._answer(scope, headers, json.loads(body) if body else {})
        if status >= 400:
            self.refusals.append(f"{scope['method']} {scope['path']}: {status} {answer}")
        await _send(send, status, answer, extra)

    def _remember(self, method: str, path: str, headers: Headers) -> None:
        version, trace_id, parent, flags = headers.get("traceparent", "--00-00").split("-")[:4]
        if (version, flags) == ("00", "01"):
            self.trace_ids[trace_id] += 1
            self.parents[trace_id] = parent
            self.requests[f"{method} {_template(path)}"] += 1

    async def _answer(self, scope: Any, headers: Headers, body: Any) -> Answer:
        method, path = scope["method"], scope["path"]
        if self.before and (answer := await self.before(f"{method} {path}")):
            return answer
        query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        route = getattr(self, f"{method}_{_template(path).replace('/{id}', '_id').replace('/', '_')}".lower())
        caller = self.tokens.get(headers.get("authorization", "").removeprefix("Bearer "), "")
        answer: Answer = route(caller, path.rpartition("/")[2], query, body, headers)
        return answer

    def post__api_login(self, _caller: str, _id: str, _query: Any, body: Any, _headers: Headers) -> Answer:
        user = self.users.get(body["email"])
        if user is None or user["password"] != body["password"]:
            return 401, {"title": "wrong"}, {}
        token = f"token-of-{body['email']}"
        self.tokens[token] = body["email"]
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": 900}, {}

    def post__api_users(self, _caller: str, _id: str, _query: Any, body: Any, _headers: Headers) -> Answer:
        self.users[body["email"]] = body
        return 200, {"id": f"user-{len(self.users)}"}, {}

    def get__api_products(self, caller: str, _id: str, query: Any, _body: Any, _headers: Headers) -> Answer:
        found = [product for product in self.products.values() if query["q"].lower() in product["name"].lower()]
        first, limit = int(query.get("cursor", 0)), int(query["limit"])
        following = str(first + limit) if len(found) > first + limit else None
        return _for(caller, 200, {"items": found[first : first + limit], "next_cursor": following})

    def get__api_products_id(self, caller: str, id_: str, _query: Any, _body: Any, _headers: Headers) -> Answer:
        return _for(caller, 200, self.products[id_])

    def post__api_products(self, caller: str, _id: str, _query: Any, body: Any, _headers: Headers) -> Answer:
        if caller != ADMIN[0]:
            return 403, {"title": "the admin's"}, {}
        product = body | {"id": f"product-{len(self.products)}", "version": 1}
        self.products[product["id"]] = product
        return 200, product, {}

    def post__api_orders(self, caller: str, _id: str, _query: Any, body: Any, headers: Headers) -> Answer:
        if any(item["product_id"] not in self.products or item["quantity"] < 1 for item in body["items"]):
            return 422, {"title": "no such product"}, {}
        self.keys[headers["idempotency-key"]] += 1
        order = body | {"id": f"order-{len(self.orders)}", "state": "confirmed", "owner": caller}
        self.orders[order["id"]] = order
        return _for(caller, 200, order)

    def get__api_orders_id(self, caller: str, id_: str, _query: Any, _body: Any, _headers: Headers) -> Answer:
        order = self.orders[id_]
        return (200, order, {}) if order["owner"] == caller else (403, {"title": "another's order"}, {})


def _for(caller: str, status: int, answer: Any) -> Answer:
    return (status, answer, {}) if caller else (401, {"title": "who are you?"}, {})


def _template(path: str) -> str:
    parts = path.split("/")
    return "/".join((*parts[:3], "{id}")) if len(parts) > 3 else path


async def _send(send: Any, status: int, answer: Any, extra: Headers) -> None:
    body = json.dumps(answer).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body))} | extra
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


class Served:
    """The stand-in behind a real socket."""

    def __init__(self, app: StandIn, server: uvicorn.Server, thread: threading.Thread) -> None:
        self.app = app
        self._server = server
        self._thread = thread

    @property
    def url(self) -> str:
        host, port = self._server.servers[0].sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"

    def die(self) -> None:
        """Drop every connection and close the port, as a killed process does."""
        self._server.should_exit = self._server.force_exit = True

    def stop(self) -> None:
        self.die()
        self._thread.join(10)


@contextmanager
def served(app: StandIn) -> Iterator[Served]:
    config = uvicorn.Config(
        app, port=0, log_level="critical", access_log=False, lifespan="off", timeout_keep_alive=120, loop="asyncio"
    )
    server = uvicorn.Server(config)
    # A thread may not touch the test runner's signal handlers.
    thread = threading.Thread(target=lambda: asyncio.run(server._serve()), daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    shop = Served(app, server, thread)
    try:
        yield shop
    finally:
        shop.stop()


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
