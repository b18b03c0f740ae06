"""A stand-in shop behind a real socket, seeded through its API."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.seed import SeedSize, seed_shop
from tests.loadtests.stand_in import ADMIN, Served, StandIn, served

SIZE = SeedSize(users=10, products=60, orders=15)


@pytest.fixture
def shop() -> Iterator[Served]:
    with served(StandIn()) as running:
        yield running


@pytest.fixture
def data(shop: Served, tmp_path: Path) -> Path:
    seed_shop(shop.url, ADMIN, tmp_path / "data.json", size=SIZE)
    shop.app.trace_ids.clear()
    return tmp_path / "data.json"
