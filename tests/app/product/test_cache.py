"""A product by id is read through Redis, and without it when it is slow, away or wrong."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from app.config import Redis as RedisSettings
from app.config import Secret, Settings
from app.ids import new_id
from app.product import cache
from app.product.cache import ProductCache
from app.rpc.product.v1.product_pb2 import GetProductRequest, Product, ReservationRequest
from tests.app.product.shelf import Shelf, open_shelf

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    """A client of the test's own to an empty store."""
    async with Redis.from_url(valkey_url) as client:
        yield client


async def get(shelf: Shelf, product_id: str) -> Product:
    return await shelf.call("GetProduct", GetProductRequest(product_id=product_id))  # type: ignore[no-any-return]


async def test_a_second_reader_is_answered_without_the_database(shelf: Shelf, redis: Redis) -> None:
    product = await shelf.product()
    assert await get(shelf, product.id) == product
    async with shelf.resources.pool.connection() as conn:
        await conn.execute("UPDATE products SET name = 'behind its back' WHERE id = %s", [product.id])
    assert await get(shelf, product.id) == product
    assert 0 < await redis.ttl(f"product:1:{product.id}") <= cache.TTL_SECONDS


@pytest.mark.usefixtures("redis")
async def test_a_sale_and_a_return_are_seen_at_once(shelf: Shelf) -> None:
    products = [await shelf.product(stock=5) for _ in range(2)]
    order_id = new_id()

    async def seen() -> list[int]:
        return [(await get(shelf, product.id)).stock for product in products]

    assert await seen() == [5, 5]
    await shelf.reserve(order_id, *((product.id, 1) for product in products))
    assert await seen() == [4, 4]
    await shelf.call("ReleaseReservation", ReservationRequest(order_id=order_id))
    assert await seen() == [5, 5]


async def test_what_is_not_there_is_not_remembered(shelf: Shelf, redis: Redis) -> None:
    with pytest.raises(Exception, match="no such product"):
        await get(shelf, new_id())
    assert await redis.keys("product:*") == []


async def test_a_reader_who_was_overtaken_by_a_writer_stores_nothing(redis: Redis) -> None:
    slow_reader = ProductCache(redis)  # type: ignore[arg-type]
    product = Product(id=new_id(), name="as it was before the write", version=1)
    await slow_reader.forget([product.id])
    await slow_reader.put(product)
    assert await slow_reader.get(product.id) is None


async def test_a_foreign_value_is_a_miss(shelf: Shelf, redis: Redis) -> None:
    product = await shelf.product()
    await redis.set(f"product:1:{product.id}", b"\xff\xff not a product")
    assert await get(shelf, product.id) == product


async def test_a_redis_that_hangs_costs_its_patience_once_and_answers_are_not_mixed_up(
    shelf: Shelf, redis: Redis
) -> None:
    products = [await shelf.product(name=f"product {n}") for n in range(5)]
    for product in products:
        await get(shelf, product.id)
    await redis.execute_command("CLIENT", "PAUSE", "400", "ALL")
    began = asyncio.get_running_loop().time()
    assert [await get(shelf, product.id) for product in products] == products
    assert asyncio.get_running_loop().time() - began < 3 * cache.PATIENCE_SECONDS
    await redis.ping()  # answered when the pause is over
    patient = ProductCache(shelf.resources.redis)
    assert [await patient.get(product.id) for product in products] == products


async def test_without_redis_products_are_read_and_sold(shelf: Shelf, make_settings: Callable[..., Settings]) -> None:
    nowhere = RedisSettings(url=Secret("redis://127.0.0.1:1/0"))
    product, order_id = await shelf.product(stock=3), new_id()
    async with open_shelf(make_settings(redis=nowhere)) as alone:
        assert await get(alone, product.id) == product
        await alone.reserve(order_id, (product.id, 1))
        assert (await get(alone, product.id)).stock == 2
