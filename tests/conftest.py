"""Real servers for every test that wants one: started once for the whole run, empty for each test."""

import asyncio
import os
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvicorn.server

from goshop import embedded

NAP_SECONDS = 0.01

# Tests start processes while gRPC is at work. Its fork handlers start its pollers in the child, whose descriptors exec has just
# closed: 20 of 300 children aborted before they were anything. gRPC reads this when it is first imported.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
# An extension that lies in the tree (`make compiled`) is of any age; tests of it build their own.
os.environ["GOSHOP_TELEMETRY_PURE_PYTHON"] = "1"
# Whoever works on the gate may have named a Prometheus, as docs/slo.md says: no test may ask it.
for _name in [name for name in os.environ if name.startswith("GOSHOP_PROMETHEUS")]:
    del os.environ[_name]
# Whoever started us may ignore SIGHUP (nohup) and SIGINT (a shell's background job); what we start would inherit that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


async def _nap(seconds: float, result: object = None) -> object:
    return await asyncio.sleep(min(seconds, NAP_SECONDS), result)


@pytest.fixture(scope="session", autouse=True)
def wakeful_servers() -> Iterator[None]:
    """Let uvicorn, in this process, look oftener than ten times a second whether it is to end: hundreds of tests start one."""
    real = uvicorn.server.asyncio
    uvicorn.server.asyncio = SimpleNamespace(**{**vars(asyncio), "sleep": _nap})  # type: ignore[assignment]
    yield
    uvicorn.server.asyncio = real


@pytest.fixture(scope="session")
def state_folder() -> Iterator[Path]:
    """A short-named folder (sockets lie in it) that is gone afterwards; pytest's own would be kept three times over."""
    with tempfile.TemporaryDirectory(prefix="goshop-test-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def postgres_server(state_folder: Path) -> Iterator[embedded.PostgresServer]:
    """One PostgreSQL for the run. Leave it running and its settings alone."""
    with embedded.postgres(state_folder / "postgresql", fsync=False) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server(state_folder: Path) -> Iterator[embedded.ValkeyServer]:
    """One Valkey for the run; use `valkey_url` for an empty one."""
    with embedded.valkey(state_folder / "valkey") as server:
        yield server


@pytest.fixture
def valkey_url(valkey_server: embedded.ValkeyServer) -> str:
    """The address of a Valkey without a key in it."""
    valkey_server.flush()
    return valkey_server.url


@pytest.fixture(scope="session")
def new_database(postgres_server: embedded.PostgresServer) -> Callable[[str], str]:
    """Make an empty database of the given name in place of an older one; returns its connection string.

    For services, whose databases have fixed names: `new_database("goshop_order")`, from a fixture of any scope.
    """

    def new(name: str) -> str:
        postgres_server.create_database(name)
        return postgres_server.conninfo(name)

    return new


@pytest.fixture
def database(postgres_server: embedded.PostgresServer) -> Iterator[str]:
    """The connection string of an empty database of this test's own."""
    name = f"test_{uuid.uuid4().hex}"
    postgres_server.create_database(name)
    yield postgres_server.conninfo(name)
    postgres_server.drop_database(name)
