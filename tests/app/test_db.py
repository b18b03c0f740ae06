"""The database as every service uses it."""

from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from app.config import Database, Secret, Settings
from app.db import MigrationError, Pool, Statement, connection, execute, fetch_all, migrate, open_pool, transaction
from app.errors import DeadlineExceeded, Unavailable
from app.faults import Faults, parse_faults

COUNT = Statement("SELECT things", "SELECT count(*) AS n FROM things")
INSERT = Statement("INSERT things", "INSERT INTO things VALUES (1)", point="order.insert")


def settings(conninfo: str, **overrides: object) -> Settings:
    parts = conninfo_to_dict(conninfo)
    db = Database(
        host=str(parts["host"]),
        port=int(parts.get("port") or 5432),
        user=str(parts["user"]),
        password=Secret(parts.get("password") or ""),
        **overrides,  # type: ignore[arg-type]
    )
    return Settings(environment="dev", db=db)


@pytest.fixture
async def pool(new_database):
    async with open_pool(settings(new_database("goshop_order")), "order", Faults()) as pool:
        yield pool


def write(folder: Path, **files: str) -> Path:
    (folder / "order").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / "order" / f"{name}.sql").write_text(text)
    return folder


async def test_a_migration_is_applied_once_and_in_order(pool: Pool, tmp_path: Path) -> None:
    folder = write(tmp_path, a0001="CREATE TABLE things (id int)", a0002="ALTER TABLE things ADD PRIMARY KEY (id)")
    assert await migrate(pool, "order", folder=folder) == ["a0001.sql", "a0002.sql"]
    assert await migrate(pool, "order", folder=folder) == []


async def test_a_migration_that_changed_after_it_was_applied_is_refused(pool: Pool, tmp_path: Path) -> None:
    await migrate(pool, "order", folder=write(tmp_path, a0001="CREATE TABLE things (id int)"))
    with pytest.raises(MigrationError, match=r"a0001\.sql was applied and has changed"):
        await migrate(pool, "order", folder=write(tmp_path, a0001="CREATE TABLE things (id bigint)"))


async def test_a_migration_that_vanished_is_refused(pool: Pool, tmp_path: Path) -> None:
    await migrate(pool, "order", folder=write(tmp_path, a0001="CREATE TABLE things (id int)"))
    (tmp_path / "order" / "a0001.sql").unlink()
    with pytest.raises(MigrationError, match="is gone"):
        await migrate(pool, "order", folder=tmp_path)


async def test_a_migration_that_fails_leaves_nothing(pool: Pool, tmp_path: Path) -> None:
    folder = write(tmp_path, a0001="CREATE TABLE things (id int)", a0002="SELECT nonsense")
    with pytest.raises(psycopg.errors.UndefinedColumn):
        await migrate(pool, "order", folder=folder)
    async with connection(pool) as conn:
        assert (
            await fetch_all(conn, Statement("SELECT pg_tables", "SELECT 1 FROM pg_tables WHERE tablename = 'things'"))
            == []
        )


async def test_a_transaction_happens_whole_or_not_at_all(pool: Pool, tmp_path: Path) -> None:
    await migrate(pool, "order", folder=write(tmp_path, a0001="CREATE TABLE things (id int PRIMARY KEY)"))

    async def insert_twice() -> None:
        async with transaction(pool) as conn:
            await execute(conn, INSERT)
            await execute(conn, INSERT)

    with pytest.raises(psycopg.errors.UniqueViolation):
        await insert_twice()
    async with connection(pool) as conn:
        assert (await fetch_all(conn, COUNT))[0]["n"] == 0


async def test_a_statement_that_takes_too_long_is_a_deadline(new_database) -> None:
    async with open_pool(settings(new_database("goshop_order"), timeout=0.1), "order", Faults()) as pool:
        with pytest.raises(DeadlineExceeded):
            async with connection(pool) as conn:
                await execute(conn, Statement("SELECT", "SELECT pg_sleep(5)"))


async def test_an_empty_pool_is_said_to_be_unavailable(new_database) -> None:
    narrow = settings(new_database("goshop_order"), pool_min=1, pool_max=1, pool_timeout=0.1)
    async with open_pool(narrow, "order", Faults()) as pool, connection(pool):
        with pytest.raises(Unavailable, match="no database connection is free"):
            async with connection(pool):
                pytest.fail("there was a second connection")


async def test_a_fault_strikes_its_point_and_nothing_else(new_database, tmp_path: Path) -> None:
    faults = Faults(parse_faults("order.insert=error"))
    async with open_pool(settings(new_database("goshop_order")), "order", faults) as pool:
        await migrate(pool, "order", folder=write(tmp_path, a0001="CREATE TABLE things (id int PRIMARY KEY)"))
        with pytest.raises(Unavailable):
            async with connection(pool) as conn:
                await execute(conn, INSERT)
        async with connection(pool) as conn:
            assert (await fetch_all(conn, COUNT))[0]["n"] == 0
