"""The application in Litestar, without telemetry."""

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Litestar, get


class Item(msgspec.Struct):
    """What is answered."""

    id: int
    name: str
    price: float
    tags: list[str]
    in_stock: bool


@get("/items/{item_id:int}")
async def item(item_id: int) -> Item:
    """Answer an item."""
    return Item(item_id, name="Left-handed screwdriver", price=12.5, tags=["tools", "blue"], in_stock=True)


def create(handlers: Sequence[Any] = (), **options: Any) -> Litestar:
    """Make the application, with more handlers and options of Litestar."""
    options.setdefault("logging_config", None)
    return Litestar([item, *handlers], openapi_config=None, **options)
