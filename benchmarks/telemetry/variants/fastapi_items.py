"""The application in FastAPI, without telemetry."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

# FastAPI traces by itself as soon as a provider is global; each variant says which of the two it measures.
SILENT = {"tracing": False, "metrics": False, "logs": False}


class Item(BaseModel):
    """What is answered."""

    id: int
    name: str
    price: float
    tags: list[str]
    in_stock: bool


async def item(item_id: int) -> Item:
    """Answer an item."""
    return Item(id=item_id, name="Left-handed screwdriver", price=12.5, tags=["tools", "blue"], in_stock=True)


def create(telemetry: Any = SILENT) -> FastAPI:
    """Make the application; `telemetry` is FastAPI's own option of that name."""
    app = FastAPI(openapi_url=None, telemetry=telemetry)
    app.get("/items/{item_id}")(item)
    return app
