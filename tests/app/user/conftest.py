"""The user service, running for real."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from app import rpc_client
from app.config import Address, Auth, Database, Secret, Settings
from app.discovery import StaticDiscovery
from app.identity import NOBODY, Caller, enter, leave
from app.rpc.user.v1.user_pb2_grpc import UserServiceStub
from app.rpc_client import Peers
from app.service import running
from app.user import app
from app.user.keys import rotate
from goshop import embedded
from goshop.ports import reserve


class UserService:
    """The running service, called as whom a test names."""

    def __init__(self, settings: Settings, peers: Peers) -> None:
        self.settings = settings
        self.keys = Path(settings.auth.keys)
        self.stub = UserServiceStub(peers.channel("user"))  # type: ignore[no-untyped-call]

    async def call(self, method: str, request: Any, caller: Caller = NOBODY) -> Any:
        """Call a method by name."""
        token = enter(caller)
        try:
            return await rpc_client.call(getattr(self.stub, method), request, timeout=10.0)
        finally:
            leave(token)


@pytest.fixture(scope="module")
def settings(
    postgres_server: embedded.PostgresServer,
    new_database: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """Settings with free ports, a fresh key and an empty database."""
    new_database("goshop_user")
    keys = tmp_path_factory.mktemp("keys")
    rotate(keys)
    with reserve(2) as (internal, rpc):
        yield Settings(
            environment="dev",
            db=Database(
                host=postgres_server.host,
                port=postgres_server.port,
                user=postgres_server.user,
                password=Secret(postgres_server.password),
            ),
            services={"user": Address(internal=f"127.0.0.1:{internal}", grpc=f"127.0.0.1:{rpc}")},
            auth=Auth(keys=str(keys), admin_email="admin@test.com", admin_password=Secret("correct horse")),
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(settings: Settings) -> AsyncIterator[UserService]:
    """One running user service for the tests of a module."""
    async with running(app, settings):
        peers = Peers(settings.rpc, StaticDiscovery(settings))
        yield UserService(settings, peers)
        await peers.close()
