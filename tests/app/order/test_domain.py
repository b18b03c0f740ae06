"""The Saga's state machine and the basket, without any I/O."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BY_CODE, Conflict, InvalidRequest, OutOfStock, ShopError, Unavailable
from app.ids import new_id
from app.order import domain
from app.order.domain import ENDS, MAX_TOTAL, STATES, TRANSITIONS, Action, Item, Order, Step, merge, read_place_order
from app.rpc.order.v1 import order_pb2 as pb

UNDOES = {Action.CHARGE: Action.CANCEL_CHARGE, Action.RESERVE: Action.RELEASE, Action.CONFIRM: Action.RELEASE}


def order(step: Step = Step.RESERVING, **changes: Any) -> Order:
    fields: dict[str, Any] = {
        "id": new_id(),
        "user_id": new_id(),
        "key": "",
        "step": step,
        "items": (Item(new_id(), 1),),
        "total": 0,
        "currency": "",
        "failure": "",
        "failure_detail": "",
        "traceparent": "",
        "created_at": datetime(2026, 11, 23, tzinfo=UTC),
        "version": 1,
    }
    return Order(**(fields | changes))


def play(start: Order, outcomes: list[bool]) -> tuple[Order, list[tuple[Action, bool]]]:
    """Drive an order with the given outcomes, then with success; returns it at its end and what was done."""
    history = []
    while not start.ended:
        works = outcomes.pop(0) if outcomes else True
        transition = TRANSITIONS[start.step]
        history.append((transition.action, works))
        if works:
            start = start.succeeded()
        elif transition.otherwise:
            start = start.failed(OutOfStock("gone"))
    return start, history


def test_every_step_is_an_end_or_leads_on_and_shows_a_state():
    assert set(STATES) == set(Step)
    assert {Step.CONFIRMED, Step.FAILED, Step.CANCELLED} == ENDS


@given(st.lists(st.booleans(), max_size=12))
def test_every_placement_ends_confirmed_or_failed(outcomes: list[bool]):
    ended, history = play(order(), outcomes)
    assert ended.step in {Step.CONFIRMED, Step.FAILED}
    assert (ended.step is Step.FAILED) == bool(ended.failure)
    assert len(history) <= 12 + len(TRANSITIONS)


@given(st.lists(st.booleans(), max_size=12))
def test_what_was_tried_is_undone_in_reverse_order_even_when_it_seemed_to_fail(outcomes: list[bool]):
    ended, history = play(order(), outcomes)
    tried = [action for action, _ in history if action in UNDOES]
    undone = [action for action, works in history if action not in UNDOES and works]
    # Confirming and reserving are undone together: a reservation is given back in whatever state it is.
    due = list(dict.fromkeys(UNDOES[action] for action in reversed(tried) if action is not Action.CONFIRM))
    assert undone == (due if ended.step is Step.FAILED else [])


@given(st.lists(st.booleans(), max_size=6))
def test_every_cancellation_ends_cancelled_with_everything_given_back(outcomes: list[bool]):
    ended, history = play(order(Step.CONFIRMED).cancelled(), outcomes)
    assert ended.step is Step.CANCELLED
    assert [action for action, works in history if works] == [Action.CANCEL_CHARGE, Action.RELEASE]


@pytest.mark.parametrize("step", [step for step in Step if step is not Step.CONFIRMED])
def test_only_a_confirmed_order_can_be_cancelled(step: Step):
    with pytest.raises(Conflict):
        order(step).cancelled()


@pytest.mark.parametrize("step", [step for step, t in TRANSITIONS.items() if t.otherwise is None])
def test_a_step_that_undoes_has_no_way_out_but_success(step: Step):
    with pytest.raises(Unavailable):
        order(step).failed(Unavailable("away"))


@given(st.sampled_from(sorted(BY_CODE)))
def test_a_failed_order_raises_again_what_it_failed_with(code: str):
    failed = order().failed(BY_CODE[code]("why"))
    with pytest.raises(BY_CODE[code], match="why"):
        failed.require_placed()


def test_the_diagram_names_every_step():
    drawn = set(re.findall(r"\w+", domain.__doc__ or ""))
    assert set(Step) <= drawn


ITEMS = st.lists(st.tuples(st.sampled_from([new_id() for _ in range(5)]), st.integers(1, 200)), min_size=1, max_size=5)


@given(ITEMS, st.randoms())
def test_equal_baskets_are_equal_however_they_are_written(items: list[tuple[str, int]], random: Any):
    lines = [pb.OrderItem(product_id=product, quantity=quantity) for product, quantity in items]
    shuffled = [pb.OrderItem(product_id=i.product_id.upper(), quantity=i.quantity, unit_price=7) for i in lines]
    random.shuffle(shuffled)
    assert merge(lines) == merge(shuffled)
    assert sum(item.quantity for item in merge(lines)) == sum(quantity for _, quantity in items)


@given(st.lists(st.tuples(st.integers(1, 1_000), st.integers(0, 10**12)), min_size=1, max_size=50))
def test_a_total_is_exact_or_refused(lines: list[tuple[int, int]]):
    items = [Item(new_id(), quantity, price) for quantity, price in lines]
    exact = sum(quantity * price for quantity, price in lines)
    try:
        assert order().priced(items, "EUR").total == exact <= MAX_TOTAL
    except InvalidRequest:
        assert exact > MAX_TOTAL


@pytest.mark.parametrize(
    ("quantities", "refused"), [([1_000], False), ([1_001], True), ([600, 600], True), ([0], True), ([], True)]
)
def test_a_basket_has_bounds(quantities: list[int], refused: bool):  # noqa: FBT001 - a parameter of the table
    product = new_id()
    request = pb.PlaceOrderRequest(
        user_id=new_id(), items=[pb.OrderItem(product_id=product, quantity=quantity) for quantity in quantities]
    )
    if refused:
        with pytest.raises(InvalidRequest):
            read_place_order(request)
    else:
        assert read_place_order(request).items == (Item(product, 1_000),)


def test_too_many_products_are_refused():
    lines = [pb.OrderItem(product_id=new_id(), quantity=1) for _ in range(51)]
    with pytest.raises(InvalidRequest):
        merge(lines)


def test_an_unknown_failure_is_an_internal_error():
    with pytest.raises(ShopError):
        order(failure="of an older release").require_placed()
