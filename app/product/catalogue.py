"""The products in PostgreSQL: writing, reading, searching. The limits of each field are the table's constraints."""

# ruff: noqa: S608 - statements are put together from this module's own constants

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg

from app.db import Pool, Statement, connection, execute, fetch_all, fetch_one
from app.errors import AlreadyExists, InvalidRequest, NotFound, VersionConflict
from app.ids import new_id
from app.product.domain import decode_cursor, encode_cursor
from app.rpc.product.v1.product_pb2 import (
    CreateProductRequest,
    Product,
    SearchProductsRequest,
    SearchProductsResponse,
    UpdateProductRequest,
)

# Named as the message's fields are.
_COLUMNS: Final = "id::text, sku, name, description, category, price, currency, stock, version"

_INSERT: Final = Statement(
    "INSERT products",
    "INSERT INTO products (id, sku, name, description, category, price, currency, stock) "
    f"VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING {_COLUMNS}",
)
_GET: Final = Statement("SELECT products", f"SELECT {_COLUMNS} FROM products WHERE id = %s AND deleted_at IS NULL")
_UPDATE: Final = Statement(
    "UPDATE products",
    "UPDATE products SET name = %s, description = %s, category = %s, price = %s, stock = %s, version = version + 1 "
    f"WHERE id = %s AND version = %s AND deleted_at IS NULL RETURNING {_COLUMNS}",
)
_DELETE: Final = Statement(
    "UPDATE products",
    "UPDATE products SET deleted_at = now(), version = version + 1 WHERE id = %s AND deleted_at IS NULL",
)

# What people type: quotes, OR and -word work; the last word may be unfinished, unless it is a -word.
_MATCHES: Final = "document @@ regexp_replace(websearch_to_tsquery('simple', %(text)s)::text, '(?<!!)(''[^'']*'')$', '\\1:*')::tsquery"
_IS_OF_CATEGORY: Final = "category = %(category)s"


def _search(*conditions: str) -> Statement:
    where = " AND ".join(["deleted_at IS NULL", "id < %(below)s", *conditions])
    # products.id: plain `id` would be the text of the answer's column, which no index sorts.
    text = f"SELECT {_COLUMNS} FROM products WHERE {where} ORDER BY products.id DESC LIMIT %(limit)s"
    # Planned for its values: a plan for any word walks the whole catalogue to find a rare one.
    return Statement("SELECT products", text, point="product.search", prepare=False)


# By what is asked for: (text, category).
_SEARCHES: Final = {
    (False, False): _search(),
    (False, True): _search(_IS_OF_CATEGORY),
    (True, False): _search(_MATCHES),
    (True, True): _search(_MATCHES, _IS_OF_CATEGORY),
}


class Catalogue:
    """Keeps the products; a deleted one is gone for everybody but the orders that hold it."""

    __slots__ = ("_pool",)

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, request: CreateProductRequest) -> Product:
        """Store a product; raises `AlreadyExists` for a SKU that is taken, `InvalidRequest` for a bad field."""
        r = request
        values = (new_id(), r.sku, r.name, r.description, r.category, r.price, r.currency, r.stock)
        with _refusals():
            async with connection(self._pool) as conn:
                return Product(**(await fetch_one(conn, _INSERT, values) or {}))

    async def get(self, product_id: str) -> Product:
        """Read a product; raises `NotFound`."""
        async with connection(self._pool) as conn:
            row = await fetch_one(conn, _GET, (product_id,))
        if row is None:
            raise NotFound("there is no such product")
        return Product(**row)

    async def change(self, product_id: str, request: UpdateProductRequest) -> Product:
        """Overwrite the version that was read; raises `VersionConflict` when it is no longer the newest, `NotFound`."""
        r = request
        values = (r.name, r.description, r.category, r.price, r.stock, product_id, r.version)
        with _refusals():
            async with connection(self._pool) as conn:
                row = await fetch_one(conn, _UPDATE, values)
        if row is None:
            newest = await self.get(product_id)
            raise VersionConflict(f"version {r.version} was read and {newest.version} is the newest")
        return Product(**row)

    async def remove(self, product_id: str) -> None:
        """Delete a product; raises `NotFound`."""
        async with connection(self._pool) as conn:
            if not await execute(conn, _DELETE, (product_id,)):
                raise NotFound("there is no such product")

    async def search(self, request: SearchProductsRequest, limit: int) -> SearchProductsResponse:
        """Find at most `limit` products, newest first, from the request's cursor on; raises `InvalidRequest`."""
        text, category = request.text.strip(), request.category
        values = {
            "text": text,
            "category": category,
            "below": decode_cursor(request.cursor),
            # One more than shown tells whether there is a next page.
            "limit": limit + 1,
        }
        with _refusals():
            async with connection(self._pool) as conn:
                rows = await fetch_all(conn, _SEARCHES[bool(text), bool(category)], values)
        cursor = encode_cursor(rows[limit - 1]["id"]) if len(rows) > limit else ""
        return SearchProductsResponse(products=[Product(**row) for row in rows[:limit]], next_cursor=cursor)


@contextmanager
def _refusals() -> Iterator[None]:
    """Say in our own words what the table refuses."""
    try:
        yield
    except psycopg.errors.UniqueViolation:
        raise AlreadyExists("a product with this SKU exists") from None
    except psycopg.errors.CheckViolation as error:
        field = error.diag.constraint_name or ""
        raise InvalidRequest(f"{field}: out of range", field=field) from None
    except psycopg.DataError:
        # PostgreSQL's text holds every character but NUL.
        raise InvalidRequest("a text holds the character NUL") from None
