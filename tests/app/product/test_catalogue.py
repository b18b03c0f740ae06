"""The catalogue over gRPC: who may write it, what it refuses, and how it is searched."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app import errors, identity
from app.config import Settings
from app.ids import new_id
from app.rpc.product.v1.product_pb2 import (
    CreateProductRequest,
    DeleteProductRequest,
    GetProductRequest,
    Product,
    ReservationRequest,
    SearchProductsRequest,
    UpdateProductRequest,
)
from tests.app.product.shelf import ADMIN, CUSTOMER, Shelf, open_shelf

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def search(shelf: Shelf, **fields: Any) -> list[str]:
    answer = await shelf.call("SearchProducts", SearchProductsRequest(**fields), identity.NOBODY)
    return [product.name for product in answer.products]


def edit(product: Product, **changes: Any) -> UpdateProductRequest:
    fields = ("version", "name", "description", "category", "price", "stock")
    return UpdateProductRequest(product_id=product.id, **({f: getattr(product, f) for f in fields} | changes))


async def test_a_product_is_made_read_changed_and_removed(shelf: Shelf) -> None:
    made = await shelf.product(name="Blue lamp", description="Shines", stock=7)
    assert await shelf.call("GetProduct", GetProductRequest(product_id=made.id), identity.NOBODY) == made
    changed = await shelf.call("UpdateProduct", edit(made, price=5, stock=6), ADMIN)
    assert (changed.price, changed.stock, changed.version, changed.sku) == (5, 6, made.version + 1, made.sku)
    assert await shelf.call("GetProduct", GetProductRequest(product_id=made.id)) == changed
    await shelf.call("DeleteProduct", DeleteProductRequest(product_id=made.id), ADMIN)
    with pytest.raises(errors.NotFound):
        await shelf.call("GetProduct", GetProductRequest(product_id=made.id))


@pytest.mark.parametrize(
    ("caller", "error"), [(identity.NOBODY, errors.Unauthenticated), (CUSTOMER, errors.Forbidden)], ids=str
)
@pytest.mark.parametrize(
    ("method", "request_type"),
    [
        ("CreateProduct", CreateProductRequest),
        ("UpdateProduct", UpdateProductRequest),
        ("DeleteProduct", DeleteProductRequest),
    ],
)
async def test_only_the_admin_writes(
    shelf: Shelf, method: str, request_type: type, caller: identity.Caller, error: type[errors.ShopError]
) -> None:
    with pytest.raises(error):
        await shelf.call(method, request_type(), caller)


async def test_a_taken_sku_is_refused_until_its_product_is_removed(shelf: Shelf) -> None:
    first = await shelf.product(sku="SHIRT-1")
    with pytest.raises(errors.AlreadyExists):
        await shelf.product(sku="SHIRT-1")
    await shelf.call("DeleteProduct", DeleteProductRequest(product_id=first.id), ADMIN)
    assert (await shelf.product(sku="SHIRT-1")).id != first.id


async def test_a_version_that_is_no_longer_the_newest_changes_nothing(shelf: Shelf) -> None:
    read = await shelf.product(stock=5)
    await shelf.reserve(new_id(), (read.id, 2))
    with pytest.raises(errors.VersionConflict, match="2 is the newest"):
        await shelf.call("UpdateProduct", edit(read, stock=5), ADMIN)
    assert await shelf.balance(read.id) == [(3, 2, 0)]


async def test_writing_what_is_not_there_is_not_found(shelf: Shelf) -> None:
    gone = await shelf.product()
    await shelf.call("DeleteProduct", DeleteProductRequest(product_id=gone.id), ADMIN)
    for method, request in [
        ("DeleteProduct", DeleteProductRequest(product_id=gone.id)),
        ("UpdateProduct", edit(gone)),
    ]:
        with pytest.raises(errors.NotFound):
            await shelf.call(method, request, ADMIN)


async def test_a_removed_product_is_not_sold_but_keeps_its_name_on_old_orders(shelf: Shelf) -> None:
    product, order_id = await shelf.product(name="Old chair", stock=3), new_id()
    await shelf.reserve(order_id, (product.id, 1))
    await shelf.call("DeleteProduct", DeleteProductRequest(product_id=product.id), ADMIN)
    with pytest.raises(errors.NotFound, match=product.id):
        await shelf.reserve(new_id(), (product.id, 1))
    held = await shelf.call("GetReservation", ReservationRequest(order_id=order_id))
    assert [item.name for item in held.items] == ["Old chair"]
    assert await search(shelf, text="old chair") == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sku", ""),
        ("sku", "s" * 65),
        ("name", ""),
        ("name", "n" * 201),
        ("name", "a\0b"),
        ("description", "d" * 4001),
        ("category", ""),
        ("category", "c" * 65),
        ("price", -1),
        ("price", 2**63 - 1),
        ("currency", "euro"),
        ("currency", "€€€"),
        ("stock", -1),
        ("stock", 2**31 - 1),
    ],
)
async def test_a_field_out_of_range_is_refused_by_name(shelf: Shelf, field: str, value: object) -> None:
    with pytest.raises(errors.InvalidRequest, match="NUL" if "\0" in str(value) else field):
        await shelf.product(**{field: value})


@pytest.mark.parametrize("product_id", ["", "1", "not-a-uuid", "'; DROP TABLE products; --", "\0"])
async def test_what_is_no_id_is_refused(shelf: Shelf, product_id: str) -> None:
    with pytest.raises(errors.InvalidRequest):
        await shelf.call("GetProduct", GetProductRequest(product_id=product_id))


NAMES = ("Kaffeemühle GRÜN", "Kaffeebecher grün", "Teebecher rot", "Rote Mühle")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("kaffee", [0, 1]),
        ("grün becher", []),
        ("GRÜN kaffeebe", [1]),
        ('"teebecher rot"', [2]),
        ('"rot teebecher"', []),
        ("teebecher or mühle", [2, 3]),
        ("kaffeemühle -grün", []),
        ("grün -kaffeemühle", [1]),
        ("bech", []),
        ("!!!", []),
    ],
)
async def test_words_are_found_in_any_case_and_the_last_one_unfinished(
    shelf: Shelf, text: str, found: list[int]
) -> None:
    category = "küche"
    if not await search(shelf, category=category):
        for name in NAMES:
            await shelf.product(name=name, category=category)
    assert sorted(await search(shelf, text=text, category=category)) == sorted(NAMES[n] for n in found)
    assert set(await search(shelf, text=text, limit=100)) >= {NAMES[n] for n in found}


async def test_a_product_is_found_by_its_sku_and_its_description(shelf: Shelf) -> None:
    await shelf.product(sku="XQ-7741", name="Vase", description="aus Steinzeug")
    assert await search(shelf, text="XQ-7741") == await search(shelf, text="steinzeug") == ["Vase"]


@given(text=st.text(max_size=200), category=st.text(max_size=20))
@example(text="'", category="")
@example(text="a & b | !c:* <-> (", category="' OR 1=1 --")
@example(text='-"a b"', category="")
@example(text="\\", category="\\")
@example(text="%s %(x)s %", category="")
@example(text="x" * 200, category="")
async def test_any_text_is_searched_for_and_none_is_an_error(shelf: Shelf, text: str, category: str) -> None:
    try:
        await search(shelf, text=text, category=category)
    except errors.InvalidRequest:
        assert "\0" in text + category


async def test_a_text_too_long_to_be_meant_is_refused(shelf: Shelf) -> None:
    with pytest.raises(errors.InvalidRequest, match="200"):
        await search(shelf, text="a" * 201)


@pytest.mark.parametrize("limit", [1, 2, 5, 7, 100])
async def test_pages_hold_every_product_once_newest_first(shelf: Shelf, limit: int) -> None:
    category = f"pages of {limit}"
    ids = [(await shelf.product(name=f"page {n}", category=category)).id for n in range(7)]
    seen: list[str] = []
    cursor = ""
    while True:
        request = SearchProductsRequest(category=category, text="page", limit=limit, cursor=cursor)
        page = await shelf.call("SearchProducts", request)
        assert len(page.products) <= limit
        seen += [product.id for product in page.products]
        if not (cursor := page.next_cursor):
            break
    # Ids of the same millisecond are in no order of time.
    assert seen == sorted(ids, reverse=True)


async def test_a_page_is_not_shifted_by_what_is_added_meanwhile(shelf: Shelf) -> None:
    category = "moving"
    names = {
        product.id: product.name
        for product in [await shelf.product(name=f"thing {n}", category=category) for n in range(4)]
    }
    first = await shelf.call("SearchProducts", SearchProductsRequest(category=category, limit=2))
    await shelf.product(name="thing 4", category=category)
    rest = [names[product_id] for product_id in sorted(names, reverse=True)[2:]]
    assert await search(shelf, category=category, limit=2, cursor=first.next_cursor) == rest


@pytest.mark.parametrize("fields", [{"limit": -1}, {"limit": 101}, {"cursor": "x"}, {"cursor": "A" * 10_000}])
async def test_a_hostile_page_is_refused(shelf: Shelf, fields: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidRequest, match=next(iter(fields))):
        await search(shelf, **fields)


async def test_a_struck_search_is_unavailable_and_nothing_else_is(
    shelf: Shelf, make_settings: Callable[..., Settings]
) -> None:
    product = await shelf.product()
    async with open_shelf(make_settings(faults="product.search=error")) as struck:
        with pytest.raises(errors.Unavailable):
            await search(struck)
        assert await struck.call("GetProduct", GetProductRequest(product_id=product.id)) == product
