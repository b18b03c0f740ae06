"""Who drives an order, and who may take it over, in the database itself."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from app.config import Database, Secret, Settings
from app.db import Pool, migrate, open_pool
from app.faults import Faults
from app.ids import new_id
from app.order.domain import Item, PlaceOrder, Step
from app.order.store import BATCH, Store, TakenOver
from goshop.embedded import PostgresServer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(postgres_server: PostgresServer, new_database: Callable[[str], str]) -> AsyncIterator[Pool]:
    new_database("goshop_order")
    server = postgres_server
    database = Database(host=server.host, port=server.port, user=server.user, password=Secret(server.password))
    async with open_pool(Settings(environment="dev", db=database), "order", Faults()) as opened:
        await migrate(opened, "order")
        yield opened


async def place(store: Store, key: str = "") -> Any:
    return await store.insert(PlaceOrder(new_id(), (Item(new_id(), 1),), key), "")


async def finish(store: Store) -> None:
    """Leave nothing for the next test."""
    while claimed := await store.claim():
        for order, _ in claimed:
            while not order.ended:
                order = await store.advance(order.succeeded())  # noqa: PLW2901 - step by step


async def test_an_order_is_read_as_it_was_written(pool: Pool):
    store = Store(pool, lease=60.0)
    order = await place(store, key="k")
    assert await store.by_id(order.id) == order == await store.by_key(order.user_id, "k")
    assert await store.by_key(new_id(), "k") is None


async def test_a_driven_order_is_left_alone_and_an_abandoned_one_is_taken_over_once(pool: Pool):
    driven, abandoned = await place(Store(pool, lease=60.0)), await place(Store(pool, lease=0.0))
    store = Store(pool, lease=60.0)
    claimed = [order.id for order, _ in await store.claim()]
    assert claimed == [abandoned.id]
    assert not await store.claim()
    assert driven.version == (await store.by_id(driven.id)).version  # type: ignore[union-attr]


async def test_claimers_at_once_share_the_abandoned_orders(pool: Pool):
    placed = {(await place(Store(pool, lease=0.0))).id for _ in range(3 * BATCH)}
    store = Store(pool, lease=60.0)
    claims = await asyncio.gather(*(store.claim() for _ in range(8)))
    claimed = [order.id for claim in claims for order, _ in claim]
    claimed += [order.id for claim in [await store.claim() for _ in range(3)] for order, _ in claim]
    assert len(claimed) == len(placed)
    assert set(claimed) == placed


async def test_a_driver_that_was_overtaken_notices_and_changes_nothing(pool: Pool):
    slow = await place(Store(pool, lease=0.0))
    store = Store(pool, lease=60.0)
    ((quick, _),) = await store.claim()
    with pytest.raises(TakenOver):
        await store.advance(slow.succeeded())
    assert (await store.advance(quick.succeeded())).step is Step.CHARGING


async def test_an_order_that_was_let_go_is_taken_up_again(pool: Pool):
    store = Store(pool, lease=60.0)
    order = await place(store)
    await store.leave(order, 0.0)
    assert order.id in [claimed.id for claimed, _ in await store.claim()]


async def test_an_ended_order_is_never_taken_over(pool: Pool):
    store = Store(pool, lease=0.0)
    await place(store)
    await finish(store)
    assert not await store.claim()


async def test_a_claimer_does_not_wait_for_an_order_that_somebody_has_locked(pool: Pool):
    store = Store(pool, lease=60.0)
    await finish(store)
    locked, free = await place(Store(pool, lease=0.0)), await place(Store(pool, lease=0.0))
    async with pool.connection() as conn, conn.transaction():
        await conn.execute("SELECT 1 FROM orders WHERE id = %s FOR UPDATE", [locked.id])
        assert [order.id for order, _ in await store.claim()] == [free.id]
