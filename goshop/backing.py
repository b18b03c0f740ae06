"""PostgreSQL and Valkey for a run: embedded ones, or those that config/dev.yaml or the environment names."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import yaml
from psycopg import sql
from psycopg.conninfo import make_conninfo

from app import config
from goshop.embedded import PostgresServer, ValkeyServer, postgres, valkey
from goshop.processes import StartError
from goshop.run import RunFolder

ENVIRONMENT: Final = "dev"
DATABASES: Final = tuple(f"goshop_{name}" for name in config.SERVICES if name != "gateway")
CONNECT_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class Backing:
    """What the services stand on: our servers, None where they are somebody else's, and how services find them."""

    postgres: PostgresServer | None
    valkey: ValkeyServer | None
    environ: Mapping[str, str]


@contextmanager
def backing_services(run: RunFolder, environ: Mapping[str, str]) -> Iterator[Backing]:
    """Run what nobody has named, with every database there; raises `StartError` and `config.ConfigError`."""
    settings = config.load(ENVIRONMENT, environ=environ)
    named = _named(environ)
    with ExitStack() as stack:
        database = cache = None
        found: dict[str, str] = {}
        if ("db", "host") not in named:
            database = stack.enter_context(postgres(run.state / "postgresql", logs=run.servers))
            found |= _as_environ(database)
        if ("redis", "url") not in named:
            cache = stack.enter_context(valkey(run.state / "valkey", logs=run.servers))
            found["GOSHOP_REDIS__URL"] = cache.url
        _create_databases(_conninfo(settings.db) if database is None else database.conninfo())
        yield Backing(database, cache, found)


def _named(environ: Mapping[str, str]) -> set[tuple[str, str]]:
    """Return the (section, key) pairs that the file or the environment sets; defaults name nothing."""
    written: Any = yaml.safe_load((config.DEFAULT_FOLDER / f"{ENVIRONMENT}.yaml").read_bytes()) or {}
    in_file = {(section, key) for section in ("db", "redis") for key in written.get(section) or {}}
    paths = (name.removeprefix(config.PREFIX).lower().split("__") for name in environ if name.startswith(config.PREFIX))
    return in_file | {(path[0], path[1]) for path in paths if len(path) > 1}


def named_servers(environ: Mapping[str, str]) -> list[str]:
    """Return what names servers in place of the embedded ones: variables, or keys of the environment's file.

    Raises `config.ConfigError` for a file that cannot be read.
    """
    config.load(ENVIRONMENT, environ={})
    spelled = {("db", "host"): "GOSHOP_DB__HOST", ("redis", "url"): "GOSHOP_REDIS__URL"}
    return [
        variable if variable in environ else f"{'.'.join(path)} in config/{ENVIRONMENT}.yaml"
        for path, variable in spelled.items()
        if path in _named(environ)
    ]


def _as_environ(server: PostgresServer) -> dict[str, str]:
    return {
        "GOSHOP_DB__HOST": server.host,
        "GOSHOP_DB__PORT": str(server.port),
        "GOSHOP_DB__USER": server.user,
        "GOSHOP_DB__PASSWORD": server.password,
    }


def _conninfo(db: config.Database) -> str:
    return make_conninfo(
        host=db.host,
        port=db.port,
        user=db.user,
        password=str(db.password),
        dbname="postgres",
        connect_timeout=CONNECT_SECONDS,
    )


def _create_databases(conninfo: str) -> None:
    """Make the databases that are missing."""
    try:
        with psycopg.connect(conninfo, autocommit=True) as conn:
            there = {name for (name,) in conn.execute("SELECT datname FROM pg_database")}
            for name in (n for n in DATABASES if n not in there):
                conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise StartError(f"the databases cannot be prepared: {' '.join(str(error).split())}") from None
