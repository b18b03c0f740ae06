"""A stand-in shop behind a real socket, with what the journeys pick from in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.data import SeedData
from loadtests.seed import SeedSize, seed_shop
from tests.loadtests.stand_in import ADMIN, Served, StandIn, served

SIZE = SeedSize(users=10, products=60, orders=15)


@pytest.fixture
def shop() -> Iterator[Served]:
    with served(StandIn()) as running:
        yield running


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> tuple[StandIn, SeedData]:
    """A shop that was filled through its API, and what the journeys know of it."""
    with served(StandIn()) as running:
        return running.app, seed_shop(running.url, ADMIN, tmp_path_factory.mktemp("seeded") / "data.json", size=SIZE)


@pytest.fixture
def data(shop: Served, seeded: tuple[StandIn, SeedData], tmp_path: Path) -> Path:
    """The file of what is in `shop`, which is filled as `seeded` was."""
    filled, known = seeded
    shop.app.fill_as(filled)
    known.write(tmp_path / "data.json")
    return tmp_path / "data.json"
