"""Faults on purpose in the order and payment services look like what they imitate, and leave nothing half done."""

import time
from typing import Any

import pytest

from app.errors import Unavailable
from app.ids import new_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPENING = 10_000_000


async def test_a_provider_that_is_away_is_an_unavailable_dependency_and_no_decline(open_one: Any, until: Any):
    async with open_one(GOSHOP_FAULTS="order.insert=delay:300ms,payment.charge=error") as shop:
        user, product = new_id(), await shop.product(stock=5)
        start = time.monotonic()
        with pytest.raises(Unavailable, match="the payment provider is away"):
            await shop.place(user, (product, 1))
        assert time.monotonic() - start > 0.3
        await until(shop.ended)
        (order,) = await shop.orders(user)
        assert (order["step"], order["failure"]) == ("failed", "unavailable")
        assert (await shop.balance(user), await shop.booked(user)) == (OPENING, 0)
        assert await shop.stock(product) == (5, 0, 0)


async def test_an_order_that_could_not_be_written_down_never_was(open_one: Any):
    async with open_one(GOSHOP_FAULTS="order.insert=error") as shop:
        user, product = new_id(), await shop.product(stock=5)
        with pytest.raises(Unavailable):
            await shop.place(user, (product, 1))
        assert not await shop.orders(user)
        assert await shop.stock(product) == (5, 0, 0)
