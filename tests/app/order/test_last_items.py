"""Fifty buyers at once for the last ten items, some of whom cannot pay, and an order service that may die in between."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.errors import OutOfStock, ShopError, Unavailable
from app.ids import new_id
from app.payment.sandbox import DECLINED, LATE, LOST

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPENING = 10_000_000
PRICE = 1_000
BUYERS = 50
LAST = 10

# What a buyer pays in all: most pay the price, for others something more is in the basket that makes the provider misbehave.
TOTALS = st.sampled_from([PRICE] * 4 + [DECLINED, LATE, LOST, OPENING + 1])


@dataclass
class Buyer:
    """A customer who wants one of the last items."""

    user: str
    total: int
    key: str
    answer: object = None


async def buy(shop: Any, buyer: Buyer, item: str, extras: dict[int, str]) -> None:
    basket = [(item, 1)] + ([(extras[buyer.total], 1)] if buyer.total != PRICE else [])
    try:
        buyer.answer = (await shop.place(buyer.user, *basket, key=buyer.key)).state
    except ShopError as error:
        buyer.answer = error


async def kill_after(shop: Any, until: Any, count: int, buyers: list[Buyer]) -> None:
    """Kill the order service once so many orders have stock, or were refused it; then start it again."""
    query = "SELECT count(*) FROM orders WHERE step <> 'reserving' AND user_id = ANY(%s::uuid[])"
    users = [buyer.user for buyer in buyers]

    async def so_many() -> bool:
        return int((await shop.rows("order", query, users))[0]["count"]) >= count

    await until(so_many, f"{count} orders")
    shop.processes["order"].kill()
    await shop.processes["order"].start()


def answer_is_true(buyer: Buyer, step: str) -> bool:
    """Whether what a buyer was told is what became of the order; an error of ours or none leaves it open."""
    match buyer.answer:
        case "confirmed":
            return step == "confirmed"
        case Unavailable():
            return step in {"confirmed", "failed", ""}
        case ShopError():
            return type(buyer.answer) is not ShopError and step == "failed"
    return False


# Shrinking would start and kill the shop for minutes; a failing example is small enough to read.
@settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    totals=st.lists(TOTALS, min_size=BUYERS, max_size=BUYERS),
    keyed=st.lists(st.booleans(), min_size=BUYERS, max_size=BUYERS),
    kill=st.none() | st.integers(1, BUYERS),
)
async def test_the_last_items_are_sold_once_and_paid_once_whoever_dies(
    shop: Any, until: Any, totals: list[int], keyed: list[bool], kill: int | None
):
    item = await shop.product(stock=LAST)
    extras = {total: await shop.product(stock=BUYERS, price=total - PRICE) for total in set(totals) - {PRICE}}
    buyers = [Buyer(new_id(), total, new_id() if key else "") for total, key in zip(totals, keyed, strict=True)]

    purchases = [buy(shop, buyer, item, extras) for buyer in buyers]
    await asyncio.gather(*purchases, *([kill_after(shop, until, kill, buyers)] if kill else []))
    await until(shop.ended, "the end of every order")

    steps = {buyer.user: await shop.step(buyer.user) for buyer in buyers}
    sold = sum(step == "confirmed" for step in steps.values())
    assert await shop.stock(item) == (LAST - sold, 0, sold)
    for buyer in buyers:
        paid = buyer.total if steps[buyer.user] == "confirmed" else 0
        assert (await shop.balance(buyer.user), await shop.booked(buyer.user)) == (OPENING - paid, paid)
        assert answer_is_true(buyer, steps[buyer.user]), (buyer, steps[buyer.user])


async def test_the_last_ten_items_go_to_ten_of_fifty_who_can_pay(shop: Any):
    item = await shop.product(stock=LAST)
    buyers = [Buyer(new_id(), PRICE, "") for _ in range(BUYERS)]
    await asyncio.gather(*(buy(shop, buyer, item, {}) for buyer in buyers))
    assert await shop.stock(item) == (0, 0, LAST)
    assert sum(buyer.answer == "confirmed" for buyer in buyers) == LAST
    assert sum(isinstance(buyer.answer, OutOfStock) for buyer in buyers) == BUYERS - LAST
