"""kill -9 of the order service while orders stand at every step of the Saga.

Row locks in the other services' databases hold each order where it is to be found dead: the lock is this test's, the step
hangs, and the process is killed around it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from app.ids import new_id
from app.payment.sandbox import DECLINED, LOST

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPENING = 10_000_000
PRICE = 1_000
STOCK = 10

# Where it is killed, at which price, and how it ends: with a key the client may still ask, without one it will not.
STEPS = {
    "reserving": (PRICE, "confirmed", "failed"),
    "charging": (PRICE, "confirmed", "failed"),
    "confirming": (PRICE, "confirmed", "failed"),
    "uncharging": (LOST, "failed", "failed"),
    "releasing": (DECLINED, "failed", "failed"),
    "refunding": (PRICE, "cancelled", "cancelled"),
    "returning": (PRICE, "cancelled", "cancelled"),
}
LOCKS = {
    "product": ("product", "SELECT 1 FROM products WHERE id = %s FOR UPDATE"),
    "reservation": ("product", "SELECT 1 FROM reservations WHERE order_id = %s FOR UPDATE"),
    "account": ("payment", "SELECT 1 FROM accounts WHERE user_id = %s FOR UPDATE"),
    "payment": ("payment", "SELECT 1 FROM payments WHERE order_id = %s FOR UPDATE"),
}


@dataclass
class Victim:
    """One customer with one order that is going to be found at `step`."""

    step: str
    key: str
    user: str
    product: str
    price: int

    @property
    def end(self) -> str:
        return STEPS[self.step][1 if self.key else 2]


@asynccontextmanager
async def locked(shop: Any, what: str, row_id: str) -> AsyncIterator[None]:
    """Hold the lock on a row."""
    service, statement = LOCKS[what]
    async with await shop.connect(service) as conn, conn.transaction():
        assert (await conn.execute(statement, [row_id])).rowcount == 1
        yield


async def new_victim(shop: Any, step: str, key: str) -> Victim:
    user, price = new_id(), STEPS[step][0]
    assert await shop.balance(user) == OPENING
    return Victim(step, key, user, await shop.product(stock=STOCK, price=price), price)


async def bring_to_its_step(shop: Any, until: Any, victim: Victim, locks: AsyncExitStack) -> None:
    """Hold the victim's order at its step; `locks` keeps it there."""
    scene = {
        "reserving": at_reserving,
        "charging": at_charging,
        "confirming": beyond_charging,
        "releasing": beyond_charging,
        "uncharging": at_uncharging,
        "refunding": at_cancellation,
        "returning": at_cancellation,
    }[victim.step]
    await scene(shop, until, victim, locks)
    await is_at(shop, until, victim, victim.step)


async def at_reserving(shop: Any, _until: Any, victim: Victim, locks: AsyncExitStack) -> None:
    await locks.enter_async_context(locked(shop, "product", victim.product))
    place(shop, victim)


async def at_charging(shop: Any, _until: Any, victim: Victim, locks: AsyncExitStack) -> None:
    await locks.enter_async_context(locked(shop, "account", victim.user))
    place(shop, victim)


async def beyond_charging(shop: Any, until: Any, victim: Victim, locks: AsyncExitStack) -> None:
    """Stop it at its account first, so that there is time to lock what was reserved."""
    async with locked(shop, "account", victim.user):
        place(shop, victim)
        await is_at(shop, until, victim, "charging")
        (row,) = await shop.orders(victim.user)
        await locks.enter_async_context(locked(shop, "reservation", row["id"]))


async def at_uncharging(shop: Any, until: Any, victim: Victim, locks: AsyncExitStack) -> None:
    """While the provider is silent there is time to lock the payment."""
    place(shop, victim)

    async def paying() -> Any:
        return await shop.rows("payment", "SELECT order_id::text FROM payments WHERE user_id = %s", victim.user)

    (row,) = await until(paying, "a payment")
    await locks.enter_async_context(locked(shop, "payment", row["order_id"]))


async def at_cancellation(shop: Any, _until: Any, victim: Victim, locks: AsyncExitStack) -> None:
    order = await shop.place(victim.user, (victim.product, 1), key=victim.key)
    what = "payment" if victim.step == "refunding" else "reservation"
    await locks.enter_async_context(locked(shop, what, order.id))
    shop.background(shop.cancel(order.id))


def place(shop: Any, victim: Victim) -> None:
    shop.background(shop.place(victim.user, (victim.product, 1), key=victim.key))


async def is_at(shop: Any, until: Any, victim: Victim, step: str) -> None:
    async def there() -> bool:
        return bool(await shop.step(victim.user) == step)

    await until(there, f"an order at {step}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def victims(open_one: Any, until: Any) -> AsyncIterator[tuple[Any, list[Victim]]]:
    """A shop whose order service was killed with an order at every step, and started again; all of them have ended."""
    patient = {"GOSHOP_DB__TIMEOUT": "20", "GOSHOP_PAYMENT__PROVIDER__TIMEOUT": "1.5"}
    async with open_one(**patient) as shop:
        victims = [await new_victim(shop, step, key) for step in STEPS for key in (new_id(), "")]
        async with AsyncExitStack() as locks:
            await asyncio.gather(*(bring_to_its_step(shop, until, victim, locks) for victim in victims))
            shop.processes["order"].kill()
            assert {v.step: await shop.step(v.user) for v in victims} == {step: step for step in STEPS}
        await shop.processes["order"].start()
        await until(shop.ended, "the end of every order")
        yield shop, victims


@pytest.mark.parametrize("key", [True, False], ids=["with a key", "without a key"])
@pytest.mark.parametrize("step", STEPS)
async def test_an_order_killed_at_any_step_ends_with_stock_and_balance_that_say_the_same(
    victims: tuple[Any, list[Victim]], step: str, *, key: bool
):
    shop, everybody = victims
    (victim,) = [v for v in everybody if v.step == step and bool(v.key) == key]
    assert await shop.step(victim.user) == victim.end
    bought = victim.end == "confirmed"
    assert await shop.stock(victim.product) == ((STOCK - 1, 0, 1) if bought else (STOCK, 0, 0))
    assert await shop.balance(victim.user) == OPENING - (victim.price if bought else 0)
    assert await shop.booked(victim.user) == (victim.price if bought else 0)


async def test_who_asks_again_with_the_key_gets_the_order_that_the_killed_process_left(
    victims: tuple[Any, list[Victim]],
):
    shop, everybody = victims
    (victim,) = [v for v in everybody if v.step == "charging" and v.key]
    order = await shop.place(victim.user, (victim.product, 1), key=victim.key)
    assert [order.id] == [row["id"] for row in await shop.orders(victim.user)]
