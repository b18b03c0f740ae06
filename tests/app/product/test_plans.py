"""What PostgreSQL makes of the statements when the catalogue is large."""

from collections.abc import Iterator

import psycopg
import pytest

from app.db import MIGRATIONS, Statement
from app.ids import new_id
from app.product import catalogue, stock
from app.product.domain import FROM_THE_TOP
from goshop.embedded import PostgresServer

SEED = """
    INSERT INTO products (id, sku, name, description, category, price, currency, stock)
    SELECT (lpad(to_hex(1700000000000 + n), 12, '0') || '7' || substr(md5(n::text), 1, 3)
            || '8' || substr(md5(n::text), 4, 15))::uuid,
           'SKU-' || n, (ARRAY['red', 'blue', 'green'])[1 + n % 3] || ' shirt model' || n % 500, 'Thing number ' || n,
           'category ' || n % 23, n, 'EUR', 100
      FROM generate_series(1, 20000) n
"""


@pytest.fixture(scope="module")
def large(postgres_server: PostgresServer) -> Iterator[psycopg.Connection]:
    postgres_server.create_database("large_catalogue")
    with psycopg.connect(postgres_server.conninfo("large_catalogue"), autocommit=True) as conn:
        for path in sorted((MIGRATIONS / "product").glob("*.sql")):
            conn.execute(path.read_bytes())
        conn.execute(SEED)
        conn.execute("ANALYZE")
        yield conn
    postgres_server.drop_database("large_catalogue")


def plan(conn: psycopg.Connection, statement: Statement, params: object) -> str:
    query = f"EXPLAIN {statement}"
    return "\n".join(row[0] for row in conn.execute(query, params, prepare=False).fetchall())  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("text", "category", "index"),
    [
        ("", "", "products_pkey"),
        ("", "category 7", "products_"),
        ("", "no such category", "products_category"),
        ("red shi", "", "products_pkey"),
        ("model77", "", "products_document"),
        ("nothere", "", "products_document"),
        ("model77", "category 7", "products_"),
        ("-red", "", "products_pkey"),
    ],
)
def test_a_search_reads_an_index_and_never_the_whole_catalogue(
    large: psycopg.Connection, text: str, category: str, index: str
) -> None:
    values = {"text": text, "category": category, "below": FROM_THE_TOP, "limit": 21}
    found = plan(large, catalogue._SEARCHES[bool(text), bool(category)], values)
    assert index in found
    assert "Seq Scan" not in found


def test_an_order_reads_and_locks_by_primary_key(large: psycopg.Connection) -> None:
    ids = [str(row[0]) for row in large.execute("SELECT id FROM products LIMIT 3").fetchall()]
    take = {"order": new_id(), "ids": ids, "versions": [1] * 3, "quantities": [1] * 3, "prices": [1] * 3}
    for statement, params in [(stock._LOOK, (ids,)), (stock._LOOK_AND_LOCK, (ids,)), (stock._TAKE, take)]:
        found = plan(large, statement, params)
        assert "products_pkey" in found
        assert "Seq Scan" not in found
