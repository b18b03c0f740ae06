"""The stock over gRPC: reserved once per order, never sold twice, given back whole."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, LiteralString

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import AsyncConnection

from app import errors, identity
from app.errors import ShopError
from app.ids import new_id
from app.product import stock
from app.product.stock import Stock
from app.rpc.product.v1.product_pb2 import Reservation, ReservationRequest, ReserveStockRequest
from goshop.embedded import PostgresServer
from tests.app.product.shelf import Shelf

pytestmark = pytest.mark.asyncio(loop_scope="module")

Call = Callable[[Shelf, str], Awaitable[Reservation]]


async def confirm(shelf: Shelf, order_id: str) -> Reservation:
    return await shelf.call("ConfirmReservation", ReservationRequest(order_id=order_id))  # type: ignore[no-any-return]


async def release(shelf: Shelf, order_id: str) -> Reservation:
    return await shelf.call("ReleaseReservation", ReservationRequest(order_id=order_id), identity.THE_SHOP)  # type: ignore[no-any-return]


async def outcome(call: Awaitable[Reservation]) -> str:
    """The state of the reservation that a call answers, or the code of its error."""
    try:
        return (await call).state
    except ShopError as error:
        return error.code


async def test_a_reservation_says_what_is_held_and_at_which_price(shelf: Shelf) -> None:
    shirt, lamp = await shelf.product(stock=5), await shelf.product(name="Lamp", price=250, stock=5)
    held = await shelf.reserve(new_id(), (lamp.id, 1), (shirt.id, 2))
    assert held.state == "reserved"
    assert [(i.product_id, i.sku, i.name, i.quantity, i.unit_price, i.currency) for i in held.items] == [
        (shirt.id, shirt.sku, "Red shirt", 2, 1999, "EUR"),
        (lamp.id, lamp.sku, "Lamp", 1, 250, "EUR"),
    ]


async def test_what_is_reserved_then_confirmed_then_released_is_back_on_the_shelf(shelf: Shelf) -> None:
    product, order_id = await shelf.product(stock=5), new_id()
    held = await shelf.reserve(order_id, (product.id, 2))
    assert await shelf.balance(product.id) == [(3, 2, 0)]
    confirmed = await confirm(shelf, order_id)
    assert (confirmed.state, list(confirmed.items)) == ("confirmed", list(held.items))
    assert await shelf.balance(product.id) == [(3, 0, 2)]
    released = await release(shelf, order_id)
    assert (released.state, list(released.items)) == ("released", list(held.items))
    assert await shelf.balance(product.id) == [(5, 0, 0)]


async def test_every_step_may_be_repeated_and_answers_the_same(shelf: Shelf) -> None:
    product, order_id = await shelf.product(stock=2), new_id()
    steps: list[Call] = [lambda s, o: s.reserve(o, (product.id, 2)), confirm, release]
    for step in steps:
        first = await step(shelf, order_id)
        assert await step(shelf, order_id) == first
        assert await shelf.call("GetReservation", ReservationRequest(order_id=order_id)) == first
    assert await shelf.balance(product.id) == [(2, 0, 0)]


async def test_the_price_of_a_repeat_is_the_one_of_the_reservation(shelf: Shelf) -> None:
    product, order_id = await shelf.product(stock=9, price=100), new_id()
    held = await shelf.reserve(order_id, (product.id, 1))
    async with shelf.resources.pool.connection() as conn:
        await conn.execute("UPDATE products SET price = 200, version = version + 1 WHERE id = %s", [product.id])
    assert await shelf.reserve(order_id, (product.id, 1)) == held


async def test_too_little_of_one_product_leaves_the_others_alone(shelf: Shelf) -> None:
    plenty, scarce = await shelf.product(stock=9), await shelf.product(name="Rare vase", stock=1)
    order_id = new_id()
    with pytest.raises(errors.OutOfStock, match=r"Rare vase .*2 wanted, 1 left"):
        await shelf.reserve(order_id, (plenty.id, 1), (scarce.id, 2))
    assert await shelf.balance(plenty.id, scarce.id) == [(9, 0, 0), (1, 0, 0)]
    with pytest.raises(errors.NotFound):
        await confirm(shelf, order_id)


async def test_a_product_named_twice_counts_as_one(shelf: Shelf) -> None:
    product = await shelf.product(stock=5)
    held = await shelf.reserve(new_id(), (product.id, 2), (product.id.upper(), 3))
    assert [item.quantity for item in held.items] == [5]
    assert await shelf.balance(product.id) == [(0, 5, 0)]


async def test_the_same_order_cannot_reserve_something_else(shelf: Shelf) -> None:
    product, order_id = await shelf.product(stock=5), new_id()
    await shelf.reserve(order_id, (product.id, 2))
    with pytest.raises(errors.IdempotencyKeyReused):
        await shelf.reserve(order_id, (product.id, 1))
    assert await shelf.balance(product.id) == [(3, 2, 0)]


async def test_a_reservation_that_comes_after_its_release_fails(shelf: Shelf) -> None:
    product, order_id = await shelf.product(stock=5), new_id()
    tombstone = await release(shelf, order_id)
    assert (tombstone.state, list(tombstone.items)) == ("released", [])
    with pytest.raises(errors.Conflict, match="released"):
        await shelf.reserve(order_id, (product.id, 1))
    with pytest.raises(errors.Conflict, match="released"):
        await confirm(shelf, order_id)
    assert await shelf.balance(product.id) == [(5, 0, 0)]


@pytest.mark.parametrize("method", ["ConfirmReservation", "GetReservation"])
async def test_an_order_that_never_reserved_is_not_found(shelf: Shelf, method: str) -> None:
    with pytest.raises(errors.NotFound):
        await shelf.call(method, ReservationRequest(order_id=new_id()))


@pytest.mark.parametrize("method", ["ReserveStock", "ConfirmReservation", "ReleaseReservation", "GetReservation"])
async def test_nobody_touches_the_stock_and_an_order_needs_an_id(shelf: Shelf, method: str) -> None:
    request_type = ReserveStockRequest if method == "ReserveStock" else ReservationRequest
    with pytest.raises(errors.Unauthenticated):
        await shelf.call(method, request_type(order_id=new_id()), identity.NOBODY)
    with pytest.raises(errors.InvalidRequest, match="order_id"):
        await shelf.call(method, request_type(order_id="1"))


@pytest.mark.parametrize("products", [1, 3])
async def test_of_50_buyers_of_the_last_10_exactly_10_get_one(shelf: Shelf, products: int) -> None:
    ids = [(await shelf.product(stock=10)).id for _ in range(products)]
    # Each asks in another order, so that buyers who locked as they were asked would wait for each other.
    wishes = [[(p, 1) for p in (ids if n % 2 else ids[::-1])] for n in range(50)]
    ends = Counter(await asyncio.gather(*(outcome(shelf.reserve(new_id(), *items)) for items in wishes)))
    assert ends == {"reserved": 10, "out_of_stock": 40}
    assert await shelf.balance(*ids) == [(0, 10, 0)] * products


async def test_a_buyer_who_always_loses_the_race_gets_the_lock_and_wins(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = await shelf.product(stock=100)
    attempt = Stock._attempt
    looks = []

    async def outrun(self: Stock, conn: object, look: object, *order: object) -> object:
        looks.append(look)
        if look is stock._LOOK:
            return None
        return await attempt(self, conn, look, *order)  # type: ignore[arg-type]

    monkeypatch.setattr(Stock, "_attempt", outrun)
    assert (await shelf.reserve(new_id(), (product.id, 1))).state == "reserved"
    assert looks == [stock._LOOK] * stock.OPTIMISTIC_ATTEMPTS + [stock._LOOK_AND_LOCK]


async def test_one_order_sent_many_times_at_once_is_reserved_once(shelf: Shelf) -> None:
    product, order_id = await shelf.product(stock=1), new_id()
    answers = await asyncio.gather(*(shelf.reserve(order_id, (product.id, 1)) for _ in range(20)))
    assert all(answer == answers[0] for answer in answers)
    assert await shelf.balance(product.id) == [(0, 1, 0)]


async def test_a_cancelled_and_a_confirmed_order_at_once_end_in_one_of_both(shelf: Shelf) -> None:
    product = await shelf.product(stock=20)
    orders = [new_id() for _ in range(20)]
    for order_id in orders:
        await shelf.reserve(order_id, (product.id, 1))
    await asyncio.gather(*(outcome(step(shelf, o)) for o in orders for step in (confirm, release, confirm)))
    assert await shelf.balance(product.id) == [(20, 0, 0)]


async def test_a_release_that_meets_its_reservation_under_way_gives_everything_back(shelf: Shelf) -> None:
    product = await shelf.product(stock=60)
    orders = [new_id() for _ in range(60)]
    calls = [c for o in orders for c in (outcome(shelf.reserve(o, (product.id, 1))), outcome(release(shelf, o)))]
    ends = await asyncio.gather(*calls)
    assert set(ends[1::2]) == {"released"}
    assert await shelf.balance(product.id) == [(60, 0, 0)]


# --- random interleavings ---------------------------------------------------------------------------------------------

SHELVES = 3
wish = st.dictionaries(st.integers(0, SHELVES - 1), st.integers(1, 3), min_size=1)
steps = st.lists(st.sampled_from(["reserve", "confirm", "release"]), min_size=1, max_size=5)
scripts = st.lists(st.tuples(wish, steps), min_size=2, max_size=25)


def follow(state: str, step: str, answer: str) -> str:
    """The state an order must be in after a step was answered so; fails where the answer was wrong."""
    allowed = {
        ("none", "reserve"): {"reserved", "out_of_stock"},
        ("none", "confirm"): {"not_found"},
        ("released", "reserve"): {"conflict"},
        ("released", "confirm"): {"conflict"},
        ("reserved", "reserve"): {"reserved"},
        ("reserved", "confirm"): {"confirmed"},
        ("confirmed", "reserve"): {"confirmed"},
        ("confirmed", "confirm"): {"confirmed"},
    }.get((state, step), {"released"})
    assert answer in allowed, f"{step} of a {state} order was answered {answer}"
    return answer if answer in {"reserved", "confirmed", "released"} else state


@given(scripts=scripts, stocks=st.lists(st.integers(0, 8), min_size=SHELVES, max_size=SHELVES))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_whatever_orders_do_at_once_nothing_is_sold_twice_and_nothing_is_lost(
    shelf: Shelf, scripts: list[tuple[dict[int, int], list[str]]], stocks: list[int]
) -> None:
    ids = [(await shelf.product(stock=stock)).id for stock in stocks]

    async def run(wishes: dict[int, int], todo: list[str]) -> tuple[str, dict[int, int]]:
        order_id, state = new_id(), "none"
        items = [(ids[n], quantity) for n, quantity in wishes.items()]
        calls = {"confirm": confirm, "release": release, "reserve": lambda s, o: s.reserve(o, *items)}
        for step in todo:
            state = follow(state, step, await outcome(calls[step](shelf, order_id)))
        return state, wishes

    ends = await asyncio.gather(*(run(wishes, todo) for wishes, todo in scripts))
    for n, (left, reserved, sold) in enumerate(await shelf.balance(*ids)):
        assert reserved == sum(wishes.get(n, 0) for state, wishes in ends if state == "reserved")
        assert sold == sum(wishes.get(n, 0) for state, wishes in ends if state == "confirmed")
        assert left == stocks[n] - reserved - sold >= 0


KILL: LiteralString = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%reserved_items%'"
)


async def test_connections_killed_in_the_middle_lose_and_double_nothing(
    shelf: Shelf, postgres_server: PostgresServer
) -> None:
    ids = [(await shelf.product(stock=10)).id for _ in range(2)]
    ends: list[str] = []
    killed = 0

    async def buy() -> None:
        order_id, end = new_id(), "unavailable"
        while end == "unavailable":
            end = await outcome(shelf.reserve(order_id, *((p, 1) for p in ids)))
        ends.append(end)

    async def kill(conn: AsyncConnection[Any]) -> int:
        ((count,),) = await (await conn.execute(KILL)).fetchall()
        return int(count)

    async with await AsyncConnection.connect(postgres_server.conninfo("goshop_product"), autocommit=True) as conn:
        buyers = asyncio.gather(*(buy() for _ in range(50)))
        while not buyers.done() and killed < 30:
            killed += await kill(conn)
        await buyers
    # Idle connections were hit too; each would fail its next user once.
    await shelf.resources.pool.check()
    assert killed
    assert Counter(ends) == {"reserved": 10, "out_of_stock": 40}
    assert await shelf.balance(*ids) == [(0, 10, 0)] * 2
