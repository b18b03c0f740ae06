"""Orders against the running services."""

import asyncio
import signal
from typing import Any

import pytest

from app.errors import (
    Conflict,
    DeadlineExceeded,
    IdempotencyKeyReused,
    InsufficientFunds,
    InvalidRequest,
    NotFound,
    OutOfStock,
    PaymentDeclined,
    Unauthenticated,
    Unavailable,
)
from app.identity import ADMIN, CUSTOMER, NOBODY, Caller
from app.ids import new_id
from app.payment.sandbox import DECLINED, LATE, LOST

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPENING = 10_000_000
PRICE = 1_000


async def test_an_order_takes_stock_and_money_and_is_confirmed(shop: Any):
    user, product = new_id(), await shop.product(stock=5)
    order = await shop.place(user, (product, 2))
    assert (order.state, order.total, order.currency, order.user_id) == ("confirmed", 2 * PRICE, "EUR", user)
    assert [(i.product_id, i.quantity, i.unit_price) for i in order.items] == [(product, 2, PRICE)]
    assert await shop.stock(product) == (3, 0, 2)
    assert await shop.balance(user) == OPENING - 2 * PRICE


async def test_the_same_product_named_twice_is_one_item(shop: Any):
    product = await shop.product()
    order = await shop.place(new_id(), (product, 1), (product, 2))
    assert [(i.product_id, i.quantity) for i in order.items] == [(product, 3)]


async def test_an_order_of_what_is_not_there_fails_and_says_so(shop: Any):
    user, product = new_id(), await shop.product(stock=1)
    with pytest.raises(OutOfStock):
        await shop.place(user, (product, 2))
    (row,) = await shop.orders(user)
    order = await shop.order(row["id"])
    assert (order.state, order.failure) == ("failed", "out_of_stock")
    assert await shop.stock(product) == (1, 0, 0)
    assert await shop.balance(user) == OPENING


async def test_an_unknown_product_is_not_found(shop: Any):
    with pytest.raises(NotFound):
        await shop.place(new_id(), (new_id(), 1))


@pytest.mark.parametrize(
    ("price", "error"), [(OPENING + 1, InsufficientFunds), (DECLINED, PaymentDeclined), (LOST, DeadlineExceeded)]
)
async def test_an_order_that_cannot_be_paid_gives_the_stock_back(
    shop: Any, until: Any, price: int, error: type[Exception]
):
    user, product = new_id(), await shop.product(stock=1, price=price)
    with pytest.raises(error):
        await shop.place(user, (product, 1))
    assert await shop.step(user) == "failed"
    assert await shop.stock(product) == (1, 0, 0)
    assert await shop.balance(user) == OPENING
    await until(shop.ended)


async def test_a_provider_that_books_late_is_paid_back(shop: Any, until: Any):
    user, product = new_id(), await shop.product(stock=1, price=LATE)
    with pytest.raises(DeadlineExceeded, match="the payment provider did not answer in time"):
        await shop.place(user, (product, 1))
    await until(shop.ended)
    assert await shop.balance(user) == OPENING
    assert await shop.stock(product) == (1, 0, 0)
    query = "SELECT b.state FROM sandbox.bookings b JOIN payments p ON p.id = b.payment_id WHERE p.user_id = %s"
    assert [row["state"] for row in await shop.rows("payment", query, user)] == ["cancelled"]


async def test_products_in_different_currencies_are_ordered_apart(shop: Any):
    euro, dollar = await shop.product(), await shop.product(currency="USD")
    with pytest.raises(Conflict, match="currencies"):
        await shop.place(new_id(), (euro, 1), (dollar, 1))
    assert await shop.stock(euro) == (100, 0, 0)


async def test_a_total_that_is_too_large_is_refused_before_anything_is_charged(shop: Any):
    user, product = new_id(), await shop.product(stock=1_000, price=10**12)
    other = await shop.product(stock=1_000, price=10**12)
    with pytest.raises(InvalidRequest, match="too large"):
        await shop.place(user, (product, 1_000), (other, 1))
    assert await shop.balance(user) == OPENING


async def test_a_repeat_with_the_same_key_is_answered_what_the_first_call_was(shop: Any):
    user, product, key = new_id(), await shop.product(), new_id()
    first = await shop.place(user, (product, 1), key=key)
    again = await shop.place(user, (product, 1), key=key)
    assert again == first
    assert await shop.balance(user) == OPENING - PRICE


async def test_a_repeat_of_a_failed_order_fails_the_same(shop: Any):
    user, product, key = new_id(), await shop.product(stock=0), new_id()
    messages = set()
    for _ in range(2):
        with pytest.raises(OutOfStock) as caught:
            await shop.place(user, (product, 1), key=key)
        messages.add(str(caught.value))
    assert len(messages) == 1
    assert len(await shop.orders(user)) == 1


async def test_the_same_order_sent_many_times_at_once_is_placed_once(shop: Any):
    user, product, key = new_id(), await shop.product(), new_id()
    answers = await asyncio.gather(*(shop.place(user, (product, 1), key=key) for _ in range(10)))
    assert {(a.id, a.state) for a in answers} == {(answers[0].id, "confirmed")}
    assert await shop.balance(user) == OPENING - PRICE


async def test_a_key_that_comes_with_another_basket_is_refused(shop: Any):
    user, product, key = new_id(), await shop.product(), new_id()
    await shop.place(user, (product, 1), key=key)
    with pytest.raises(IdempotencyKeyReused):
        await shop.place(user, (product, 2), key=key)


async def test_keys_of_different_users_are_different_keys(shop: Any):
    product, key = await shop.product(), new_id()
    orders = [await shop.place(new_id(), (product, 1), key=key) for _ in range(2)]
    assert orders[0].id != orders[1].id


@pytest.mark.parametrize("key", ["a b", "käse", "\0", "x" * 256])
async def test_a_key_that_is_not_printable_ascii_is_refused(shop: Any, key: str):
    with pytest.raises(InvalidRequest, match="idempotency_key"):
        await shop.place(new_id(), (new_id(), 1), key=key)


@pytest.mark.parametrize("items", [[], [("x", 1)], [(new_id(), 0)], [(new_id(), -1)], [(new_id(), 1_001)]])
async def test_a_malformed_basket_is_refused(shop: Any, items: list[tuple[str, int]]):
    with pytest.raises(InvalidRequest):
        await shop.place(new_id(), *items)


async def test_a_confirmed_order_is_cancelled_by_its_owner_and_everything_goes_back(shop: Any, until: Any):
    user, product = new_id(), await shop.product(stock=5)
    order = await shop.place(user, (product, 2))
    answers = [await shop.cancel(order.id, Caller(user, CUSTOMER)) for _ in range(2)]
    assert [a.state for a in answers] == ["cancelled", "cancelled"]
    assert await shop.stock(product) == (5, 0, 0)
    assert await shop.balance(user) == OPENING
    await until(shop.ended)


async def test_cancellations_at_once_give_back_once(shop: Any):
    user, product = new_id(), await shop.product(stock=5)
    order = await shop.place(user, (product, 1))
    answers = await asyncio.gather(*(shop.cancel(order.id) for _ in range(5)))
    assert {a.state for a in answers} == {"cancelled"}
    assert (await shop.balance(user), await shop.stock(product)) == (OPENING, (5, 0, 0))


async def test_a_failed_order_cannot_be_cancelled(shop: Any):
    user = new_id()
    with pytest.raises(NotFound):
        await shop.place(user, (new_id(), 1))
    (row,) = await shop.orders(user)
    with pytest.raises(Conflict):
        await shop.cancel(row["id"])


async def test_an_order_is_its_owners_and_the_admins_business_only(shop: Any):
    user, product = new_id(), await shop.product()
    order = await shop.place(user, (product, 1))
    for caller in (Caller(user, CUSTOMER), Caller("admin", ADMIN)):
        assert (await shop.order(order.id, caller)).id == order.id
    for caller, error in ((Caller(new_id(), CUSTOMER), NotFound), (NOBODY, Unauthenticated)):
        for ask in (shop.order, shop.cancel):
            with pytest.raises(error):
                await ask(order.id, caller)
        with pytest.raises(error):
            await shop.place(user, (product, 1), caller=caller)
    with pytest.raises(NotFound):
        await shop.order(new_id())


async def test_a_client_that_goes_away_leaves_no_order_hanging(shop: Any, until: Any):
    user, product = new_id(), await shop.product(stock=5)
    shop.processes["payment"].signal(signal.SIGSTOP)
    try:
        request = asyncio.create_task(shop.place(user, (product, 1)))

        async def charging() -> bool:
            return bool(await shop.step(user) == "charging")

        await until(charging)
        request.cancel()
    finally:
        shop.processes["payment"].signal(signal.SIGCONT)
    await until(shop.ended)
    assert await shop.step(user) == "confirmed"
    assert (await shop.balance(user), await shop.stock(product)) == (OPENING - PRICE, (4, 0, 1))


async def test_a_service_that_hangs_costs_the_client_an_error_in_time_and_nobody_anything_else(shop: Any, until: Any):
    user, product = new_id(), await shop.product(stock=5)
    shop.processes["payment"].signal(signal.SIGSTOP)
    try:
        with pytest.raises(DeadlineExceeded):
            await shop.place(user, (product, 1))
    finally:
        shop.processes["payment"].signal(signal.SIGCONT)
    await until(shop.ended)
    assert await shop.step(user) == "failed"
    assert (await shop.balance(user), await shop.stock(product)) == (OPENING, (5, 0, 0))


@pytest.mark.parametrize("name", ["payment", "product"])
async def test_a_service_that_dies_under_an_order_leaves_nothing_half_done(shop: Any, until: Any, name: str):
    user, product = new_id(), await shop.product(stock=5)
    await shop.balance(user)
    lock = {
        "payment": ("SELECT 1 FROM accounts WHERE user_id = %s FOR UPDATE", user),
        "product": ("SELECT 1 FROM products WHERE id = %s FOR UPDATE", product),
    }[name]
    async with await shop.connect(name) as conn, conn.transaction():
        await conn.execute(lock[0], [lock[1]])
        request = asyncio.create_task(shop.place(user, (product, 1)))

        async def waits_for_the_lock() -> list[Any]:
            query = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
            return await shop.rows(name, query, f"goshop_{name}")  # type: ignore[no-any-return]

        await until(waits_for_the_lock, "a statement that waits")
        shop.processes[name].kill()
        with pytest.raises(Unavailable):
            await request
    await shop.processes[name].start()
    await until(shop.ended)
    assert await shop.step(user) == "failed"
    assert (await shop.balance(user), await shop.booked(user)) == (OPENING, 0)
    assert await shop.stock(product) == (5, 0, 0)


async def test_what_the_provider_booked_outlives_a_payment_service_killed_while_it_waited(shop: Any, until: Any):
    user, product = new_id(), await shop.product(stock=5, price=LATE)
    request = asyncio.create_task(shop.place(user, (product, 1)))
    booked = "SELECT 1 FROM sandbox.bookings b JOIN payments p ON p.id = b.payment_id WHERE p.user_id = %s"
    await until(lambda: shop.rows("payment", booked, user), "a booking")
    shop.processes["payment"].kill()
    with pytest.raises(Unavailable):
        await request
    assert await shop.booked(user) == LATE
    await shop.processes["payment"].start()
    await until(shop.ended)
    assert (await shop.balance(user), await shop.booked(user)) == (OPENING, 0)
