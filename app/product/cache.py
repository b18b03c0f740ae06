"""Products by id in Redis: read through it, and without it when it is slow or away."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Iterable
from typing import Any, Final

from google.protobuf.message import DecodeError
from redis.exceptions import RedisError

from app.rpc.product.v1.product_pb2 import Product
from telemetry.redis import TracedRedis

TTL_SECONDS: Final = 30
# A cache that takes longer than the database is none.
PATIENCE_SECONDS: Final = 0.1
# After a failure nobody asks for this long: a dead Redis must not cost every reader its patience.
REST_SECONDS: Final = 1.0
# A writer leaves this mark for a moment: a reader who has read the database before the write, and comes to store what it
# saw after it, finds the place taken. Readers take the mark for a miss.
WRITTEN: Final = b""
WRITTEN_SECONDS: Final = 2

logger = logging.getLogger(__name__)


class ProductCache:
    """Cache-aside; what it answers is at most `TTL_SECONDS` old even where a writer could not reach it."""

    __slots__ = ("_asleep_until", "_redis")

    def __init__(self, redis: TracedRedis) -> None:
        self._redis = redis
        self._asleep_until = 0.0

    async def get(self, product_id: str) -> Product | None:
        """Return a product, or None for whatever reason."""
        data = await self._ask(self._redis.get(_key(product_id))) if self._is_awake() else None
        try:
            return Product.FromString(data) if data else None
        except DecodeError:
            logger.warning("the cache holds something else under %s", _key(product_id))
            return None

    async def put(self, product: Product) -> None:
        """Store what was read from the database, unless it was stored or written to in between."""
        if self._is_awake():
            await self._ask(self._redis.set(_key(product.id), product.SerializeToString(), ex=TTL_SECONDS, nx=True))

    async def forget(self, product_ids: Iterable[str]) -> None:
        """Forget products that were written, after the write."""
        keys = [_key(product_id) for product_id in product_ids]
        if not self._is_awake():
            return
        if len(keys) == 1:
            await self._ask(self._redis.set(keys[0], WRITTEN, ex=WRITTEN_SECONDS))
            return
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.set(key, WRITTEN, ex=WRITTEN_SECONDS)
            await self._ask(pipe.execute())

    def _is_awake(self) -> bool:
        return time.monotonic() >= self._asleep_until

    async def _ask(self, command: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await command
        except (RedisError, TimeoutError, OSError) as error:
            self._asleep_until = time.monotonic() + REST_SECONDS
            logger.warning("the cache is away: %s", type(error).__name__)
            return None


def _key(product_id: str) -> str:
    # The number is the layout's: a release that changes the message counts it up.
    return f"product:1:{product_id}"
