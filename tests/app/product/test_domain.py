"""The rules of the catalogue and its stock."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Conflict, IdempotencyKeyReused, InvalidRequest, NotFound, OutOfStock
from app.product import domain
from app.product.domain import Reservation, StockRow
from app.rpc.product.v1.product_pb2 import ReserveItem

uuids = st.uuids().map(str)
quantities = st.integers(1, domain.MAX_QUANTITY)


def row(product_id: str, stock: int) -> StockRow:
    return StockRow(product_id, "sku", "Red shirt", 100, "EUR", stock, 1)


@given(uuids)
def test_a_cursor_comes_back_as_the_id_it_was_made_of(product_id: str) -> None:
    assert domain.decode_cursor(domain.encode_cursor(product_id)) == product_id


def test_no_cursor_starts_at_the_top() -> None:
    assert domain.decode_cursor("") == "ffffffff-ffff-ffff-ffff-ffffffffffff"


@given(st.one_of(st.text(min_size=1), st.text(alphabet="AZaz09-_=+/ \n", min_size=20, max_size=24)))
def test_a_cursor_is_refused_or_is_exactly_one_of_ours(cursor: str) -> None:
    try:
        assert domain.encode_cursor(domain.decode_cursor(cursor)) == cursor
    except InvalidRequest:
        with pytest.raises(InvalidRequest, match="cursor"):
            domain.decode_cursor(cursor)


@given(st.lists(st.tuples(uuids, quantities), min_size=1, max_size=8).flatmap(lambda i: st.permutations(i * 2)))
def test_what_is_wanted_is_summed_per_product_and_sorted_whatever_the_order_of_asking(
    items: list[tuple[str, int]],
) -> None:
    expected: Counter[str] = Counter()
    for product_id, quantity in items:
        expected[product_id] += quantity
    found = domain.wanted(ReserveItem(product_id=p.upper(), quantity=q) for p, q in items)
    assert list(found.items()) == sorted(expected.items())


@pytest.mark.parametrize(
    ("items", "field"),
    [
        ([], "items"),
        ([("018bcfe5-6ac2-79c8-82c7-143c102b71c5", 0)], "quantity"),
        ([("018bcfe5-6ac2-79c8-82c7-143c102b71c5", -1)], "quantity"),
        ([("018bcfe5-6ac2-79c8-82c7-143c102b71c5", domain.MAX_QUANTITY + 1)], "quantity"),
        ([(f"018bcfe5-6ac2-79c8-82c7-{n:012x}", 1) for n in range(domain.MAX_ITEMS + 1)], "items"),
        ([("'; DROP TABLE products; --", 1)], ""),
    ],
)
def test_an_impossible_wish_is_refused_by_name(items: list[tuple[str, int]], field: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        domain.wanted([ReserveItem(product_id=p, quantity=q) for p, q in items])
    assert error.value.field == field or not field


@given(st.dictionaries(uuids, st.tuples(quantities, st.integers(0, domain.MAX_QUANTITY)), min_size=1))
def test_an_order_is_sold_whole_or_the_missing_product_is_named(wishes: dict[str, tuple[int, int]]) -> None:
    asked = {p: quantity for p, (quantity, _) in wishes.items()}
    rows = [row(p, stock) for p, (_, stock) in wishes.items()]
    short = [p for p, (quantity, stock) in wishes.items() if stock < quantity]
    if not short:
        assert {line.product_id: line.quantity for line in domain.sell("o", asked, rows).lines} == asked
    else:
        with pytest.raises(OutOfStock, match=short[0]):
            domain.sell("o", asked, rows)


def test_an_unknown_product_is_named() -> None:
    with pytest.raises(NotFound, match="p1"):
        domain.sell("o", {"p1": 1}, [])


def test_a_repeat_is_answered_by_what_the_order_holds() -> None:
    held = domain.sell("o", {"p": 2}, [row("p", 5)])
    assert domain.repeat({"p": 2}, held) is held
    with pytest.raises(IdempotencyKeyReused):
        domain.repeat({"p": 3}, held)
    with pytest.raises(Conflict, match="released"):
        domain.repeat({"p": 2}, Reservation("o", domain.RELEASED, held.lines))


@pytest.mark.parametrize(("limit", "size"), [(0, 20), (1, 1), (100, 100)])
def test_a_page_has_the_size_asked_for_and_20_by_default(limit: int, size: int) -> None:
    assert domain.page_size(limit) == size


@pytest.mark.parametrize("limit", [-1, 101, 2**31 - 1])
def test_a_page_size_out_of_range_is_refused(limit: int) -> None:
    with pytest.raises(InvalidRequest):
        domain.page_size(limit)
