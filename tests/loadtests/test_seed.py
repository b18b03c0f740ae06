"""The shop is filled through its own API, as fast as it likes."""

from collections import Counter
from itertools import cycle
from pathlib import Path

import pytest

from loadtests import SeedError
from loadtests.data import SeedData, require_data
from loadtests.seed import STOCK, SeedProgress, SeedSize, seed_shop
from tests.loadtests.stand_in import ADMIN, Answer, Served

SIZE = SeedSize(users=4, products=30, orders=6)


def test_everything_that_the_journeys_pick_from_exists_in_the_shop(shop: Served, tmp_path: Path) -> None:
    data = seed_shop(shop.url, ADMIN, tmp_path / "data.json", size=SIZE)
    app = shop.app
    assert (len(data.users), len(data.products), len(data.orders)) == (4, 30, 6)
    assert set(data.products) == set(app.products)
    assert {order.id: data.users[order.user].email for order in data.orders} == {
        id_: order["owner"] for id_, order in app.orders.items()
    }
    assert all(app.tokens[user.token] == user.email for user in data.users)
    assert {product["stock"] for product in app.products.values()} == {STOCK}
    assert {product["category"] for product in app.products.values()} <= set(data.categories)


def test_every_word_of_a_full_catalogue_finds_something(shop: Served, tmp_path: Path) -> None:
    data = seed_shop(shop.url, ADMIN, tmp_path / "data.json", size=SeedSize(users=1, products=200, orders=1))
    names = [product["name"].lower() for product in shop.app.products.values()]
    assert [word for word in data.words if not any(word in name for name in names)] == []


def test_the_file_holds_the_data_and_only_its_owner_reads_it(shop: Served, tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text("older")
    path.chmod(0o644)
    data = seed_shop(shop.url, ADMIN, path, size=SIZE)
    assert require_data(path, 60) == data
    assert path.stat().st_mode & 0o777 == 0o600


def test_passwords_are_random_and_shown_by_no_repr(shop: Served, tmp_path: Path) -> None:
    first = seed_shop(shop.url, ADMIN, tmp_path / "1.json", size=SIZE)
    second = seed_shop(shop.url, ADMIN, tmp_path / "2.json", size=SIZE)
    passwords = _passwords(first) | _passwords(second)
    assert len(passwords) == 8
    assert not any(password in repr((first, second)) for password in passwords)


def _passwords(data: SeedData) -> set[str]:
    return {user.password for user in data.users}


def test_a_busy_shop_is_asked_again_when_it_says(shop: Served, tmp_path: Path) -> None:
    refused: dict[str, int] = {}
    statuses = cycle([429, 503])

    async def busy_once(request: str) -> Answer | None:
        if request in refused:
            return None
        refused[request] = next(statuses)
        return refused[request], {}, {"retry-after": "1"}

    shop.app.before = busy_once
    data = seed_shop(shop.url, ADMIN, tmp_path / "data.json", size=SIZE)
    assert Counter(refused.values()) == {429: 2, 503: 2}
    assert (len(data.users), len(shop.app.orders)) == (4, 6)


def test_progress_counts_to_the_end(shop: Served, tmp_path: Path) -> None:
    told: list[SeedProgress] = []
    seed_shop(shop.url, ADMIN, tmp_path / "data.json", size=SIZE, on_progress=told.append)
    assert told == [SeedProgress(done, 45) for done in range(1, 46)]


def test_a_refusal_is_told_in_the_shops_words_and_leaves_no_file(shop: Served, tmp_path: Path) -> None:
    async def full(request: str) -> Answer | None:
        return (422, {"title": "the shelf is full"}, {}) if request == "POST /api/products" else None

    shop.app.before = full
    with pytest.raises(SeedError, match=r"POST /api/products answered 422: .*the shelf is full"):
        seed_shop(shop.url, ADMIN, tmp_path / "data.json", size=SIZE)
    assert list(tmp_path.iterdir()) == []


def test_an_answer_without_an_id_is_told(shop: Served, tmp_path: Path) -> None:
    async def empty(request: str) -> Answer | None:
        return (200, {}, {}) if request == "POST /api/orders" else None

    shop.app.before = empty
    with pytest.raises(SeedError, match=r"POST /api/orders .* without .*id"):
        seed_shop(shop.url, ADMIN, tmp_path / "data.json", size=SIZE)


def test_a_wrong_admin_password_is_told_and_not_shown(shop: Served, tmp_path: Path) -> None:
    with pytest.raises(SeedError, match="POST /api/login answered 401") as error:
        seed_shop(shop.url, (ADMIN[0], "hunter2"), tmp_path / "data.json", size=SIZE)
    assert "hunter2" not in str(error.value)


def test_a_shop_that_is_not_there_is_told(shop: Served, tmp_path: Path) -> None:
    url = shop.url
    shop.stop()
    with pytest.raises(SeedError, match="got no answer of use from http://127"):
        seed_shop(url, ADMIN, tmp_path / "data.json", size=SIZE)
