"""Fills a shop through its own edge API with what the journeys need: accounts with tokens, a catalogue, first orders.

Nothing is written past the API, so a seeded shop is one that customers could have made; it works for any address. Passwords
are random and live in the data file only.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import msgspec

from loadtests.data import SeedData, SeededOrder, SeededUser
from loadtests.errors import SeedError

T = TypeVar("T")
R = TypeVar("R")

# What the edge takes at most; no load sells a thousand million of anything.
STOCK: Final = 10**9
CATEGORIES: Final = ("books", "garden", "kitchen", "music", "office", "outdoor", "toys")
MATERIALS: Final = ("bamboo", "ceramic", "copper", "cotton", "glass", "linen", "oak", "steel", "walnut", "wool")
THINGS: Final = (
    *("basket", "blanket", "bowl", "chair", "clock", "desk", "drum", "flute", "kettle", "lamp", "lantern", "mug"),
    *("notebook", "puzzle", "rug", "shelf", "stool", "tent", "tray", "vase"),
)
# Hashing passwords is the shop's dearest work; more at once would only queue there.
_AT_ONCE: Final = 8
# Seconds that one request may take with all its repetitions.
_PATIENCE: Final = 60.0
_BUSY: Final = frozenset({httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE})


class SeedSize(msgspec.Struct, frozen=True):
    """How much to seed."""

    users: int = 100
    products: int = 300
    orders: int = 100


class SeedProgress(msgspec.Struct, frozen=True):
    """Answers received so far, out of how many."""

    done: int
    total: int


OnSeeding = Callable[[SeedProgress], None]


def seed_shop(
    url: str,
    admin: tuple[str, str],
    data_file: Path,
    *,
    size: SeedSize = SeedSize(),  # noqa: B008 - frozen
    on_progress: OnSeeding | None = None,
) -> SeedData:
    """Seed the shop at `url` as this admin (email, password) and write the data file for k6.

    Raises `SeedError` with the shop's own words when it refuses, OSError when the file cannot be written.
    """
    try:
        data = asyncio.run(_seed(url, admin, size, on_progress))
    except ExceptionGroup as errors:
        raise _first(errors) from errors
    data.write(data_file)
    return data


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first


async def _seed(url: str, admin: tuple[str, str], size: SeedSize, on_progress: OnSeeding | None) -> SeedData:
    total = 1 + 2 * size.users + size.products + size.orders
    # trust_env: credentials for a shop on loopback must not pass through a proxy that the environment names.
    async with httpx.AsyncClient(base_url=url, timeout=_PATIENCE, trust_env=not is_loopback(url)) as client:
        edge = _Edge(client, total, on_progress)
        began = time.time()
        token, ttl = await edge.log_in(*admin)
        # A name of its own for each seeding, so that a shop can be seeded twice.
        mark = secrets.token_hex(4)
        async with asyncio.TaskGroup() as group:
            registering = group.create_task(_each(edge.register, _emails(mark, size.users)))
            adding = group.create_task(_each(partial(edge.add_product, token), _catalogue(mark, size.products)))
        users, products = registering.result(), adding.result()
        owners = [number % size.users for number in range(size.orders)]
        placed = await _each(lambda owner: edge.place_order(users[owner].token, secrets.choice(products)), owners)
    return SeedData(
        users=tuple(users),
        products=tuple(products),
        orders=tuple(SeededOrder(id_, owner) for id_, owner in zip(placed, owners, strict=True)),
        words=MATERIALS + THINGS,
        categories=CATEGORIES,
        expires=began + ttl,
    )


async def _each(ask: Callable[[T], Awaitable[R]], items: Sequence[T]) -> list[R]:
    """Ask for every item, some at a time; answers come in the order of the items. The first refusal stops the rest."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(item: T) -> R:
        async with gate:
            return await ask(item)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(item)) for item in items]
    return [task.result() for task in tasks]


def is_loopback(url: str) -> bool:
    """Tell whether a URL stays on this machine."""
    host = httpx.URL(url).host
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        # A name, which may begin with 127, too.
        return False


def _emails(mark: str, size: int) -> list[str]:
    return [f"{mark}-{number}@load.test" for number in range(size)]


def _catalogue(mark: str, size: int) -> list[dict[str, Any]]:
    return [_product(mark, number) for number in range(size)]


def _product(mark: str, number: int) -> dict[str, Any]:
    material, thing = MATERIALS[number % len(MATERIALS)], THINGS[number // len(MATERIALS) % len(THINGS)]
    category = CATEGORIES[number % len(CATEGORIES)]
    return {
        "sku": f"{mark}-{number:05}",
        "name": f"{material.title()} {thing} {number}",
        "description": f"A {thing} of {material} for {category}.",
        "category": category,
        "price": 500 + 37 * (number % 100),
        "currency": "EUR",
        "stock": STOCK,
    }


class _Edge:
    """The shop's edge API as far as seeding needs it; waits as long as the shop asks to."""

    def __init__(self, client: httpx.AsyncClient, total: int, on_progress: OnSeeding | None) -> None:
        self._client = client
        self._total = total
        self._done = 0
        self._on_progress = on_progress

    async def register(self, email: str) -> SeededUser:
        password = secrets.token_urlsafe(18)
        await self._post("/api/users", {"name": "Load", "email": email, "password": password})
        token, _ = await self.log_in(email, password)
        return SeededUser(email, password, token)

    async def log_in(self, email: str, password: str) -> tuple[str, float]:
        """Return a token and the seconds that it lives."""
        answer = await self._post(
            "/api/login", {"email": email, "password": password}, needs=("access_token", "expires_in")
        )
        return str(answer["access_token"]), float(answer["expires_in"])

    async def add_product(self, token: str, product: dict[str, Any]) -> str:
        return str((await self._post("/api/products", product, token, needs=("id",)))["id"])

    async def place_order(self, token: str, product: str) -> str:
        body = {"items": [{"product_id": product, "quantity": 1}]}
        return str((await self._post("/api/orders", body, token, needs=("id",)))["id"])

    async def _post(
        self, path: str, body: dict[str, Any], token: str = "", needs: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        headers = {"Idempotency-Key": secrets.token_hex(16)} | ({"Authorization": f"Bearer {token}"} if token else {})
        try:
            answer = _object(await self._until_taken(path, body, headers), needs)
        except httpx.HTTPError as error:
            raise SeedError(f"POST {path} got no answer of use from {self._client.base_url}: {error!r}") from error
        self._report()
        return answer

    async def _until_taken(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
        """Repeat while the shop says that it is busy, after the time it asks for."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            response = await self._client.post(path, json=body, headers=headers)
            wait = _seconds(response.headers.get("retry-after", "1"))
            if response.status_code not in _BUSY or time.monotonic() + wait > deadline:
                return response
            await asyncio.sleep(wait)

    def _report(self) -> None:
        self._done += 1
        if self._on_progress:
            self._on_progress(SeedProgress(self._done, self._total))


def _object(response: httpx.Response, needs: tuple[str, ...]) -> dict[str, Any]:
    """Return the JSON object of an answer; raises `SeedError` if it is none or lacks a member."""
    said = f"POST {response.url.path} answered {response.status_code}"
    if not response.is_success:
        raise SeedError(f"{said}: {response.text[:300]}")
    try:
        answer = msgspec.json.decode(response.content, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise SeedError(f"{said} with a body that is no JSON object: {error}") from error
    if missing := [name for name in needs if name not in answer]:
        raise SeedError(f"{said} without {', '.join(missing)}")
    return answer


def _seconds(retry_after: str) -> float:
    """Read Retry-After (RFC 9110, 10.2.3); a date is taken as a second."""
    return float(retry_after) if retry_after.isdecimal() else 1.0
