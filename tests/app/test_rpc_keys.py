"""Keys for TLS between the services, as the stack's first container makes them."""

import runpy
from pathlib import Path
from typing import Any

import grpc
import pytest

from app import rpc_keys
from app.config import Rpc, Tls
from app.identity import ADMIN, CUSTOMER, SYSTEM, current
from app.rpc.user.v1.user_pb2 import GetUserRequest, User
from app.rpc.user.v1.user_pb2_grpc import UserServiceServicer, UserServiceStub, add_UserServiceServicer_to_server
from app.rpc_client import ROLE_KEY, SUBJECT_KEY
from app.rpc_server import make_server
from goshop.ports import reserve

SERVICES = ("gateway", "user", "product", "order", "payment")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in SERVICES:
        (tmp_path / name).mkdir()
    assert rpc_keys.issue(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {f"{file.parent.name}/{file.name}": file.read_bytes() for file in folder.glob("*/*")}


def test_everybody_gets_a_key_of_his_own_that_nobody_else_reads(folder):
    found = contents(folder)
    assert len(found) == len(SERVICES) * 3
    assert len({found[f"{name}/tls.key"] for name in SERVICES}) == len(SERVICES)
    assert len({found[f"{name}/ca.crt"] for name in SERVICES}) == 1
    assert {file.stat().st_mode & 0o777 for file in folder.glob("*/*")} == {0o600}


def test_what_is_whole_stays(folder):
    before = contents(folder)
    assert not rpc_keys.issue(folder)
    assert contents(folder) == before


@pytest.mark.parametrize("broken", ["a file is gone", "one knows another authority", "a service is new"])
def test_what_is_not_whole_is_made_anew_for_all(folder, broken):
    before = contents(folder)
    if broken == "a file is gone":
        (folder / "order" / "ca.crt").unlink()
    elif broken == "one knows another authority":
        (folder / "order" / "ca.crt").write_bytes(b"another")
    else:
        (folder / "search").mkdir()
    assert rpc_keys.issue(folder)
    after = contents(folder)
    assert not set(before.values()) & set(after.values())
    assert len({text for name, text in after.items() if name.endswith("ca.crt")}) == 1


def test_it_needs_nothing_of_its_package(folder):
    assert not runpy.run_path(rpc_keys.__file__)["issue"](folder)


class Users(UserServiceServicer):
    """Says as whom it is called."""

    async def GetUser(self, _request: GetUserRequest, _context: Any) -> User:  # noqa: N802 - the contract's name
        return User(id=current().subject, role=current().role)


async def asked(folder: Path, caller: str, role: str) -> str:
    """Return as what role the user service hears a caller who has the files of one of them ("" for none)."""
    files = [str(folder / "user" / name) for name in ("tls.crt", "tls.key", "ca.crt")]
    own = [(folder / caller / name).read_bytes() for name in ("ca.crt", "tls.key", "tls.crt")] if caller else []
    with reserve(1) as (port,):
        address = f"127.0.0.1:{port}"
        server = make_server(Rpc(tls=Tls(*files)), [(add_UserServiceServicer_to_server, Users())], address)
        await server.start()
        # What it is called in a network that has names.
        options = [("grpc.ssl_target_name_override", "user")]
        secure = grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(*own), options)
        async with secure if caller else grpc.aio.insecure_channel(address) as channel:
            stub = UserServiceStub(channel)  # type: ignore[no-untyped-call]
            try:
                metadata = ((SUBJECT_KEY, "alice"), (ROLE_KEY, role))
                return str((await stub.GetUser(GetUserRequest(), timeout=5, metadata=metadata)).role)
            except grpc.aio.AioRpcError as error:
                return error.code().name
            finally:
                await server.stop(None)


@pytest.mark.parametrize(
    ("caller", "role", "heard"),
    [
        ("gateway", CUSTOMER, CUSTOMER),
        ("gateway", SYSTEM, "PERMISSION_DENIED"),
        ("order", SYSTEM, SYSTEM),
        ("product", ADMIN, "PERMISSION_DENIED"),
        ("", ADMIN, "UNAVAILABLE"),
    ],
)
async def test_a_caller_is_believed_for_its_certificate_and_a_stranger_not_at_all(folder, caller, role, heard):
    assert await asked(folder, caller, role) == heard
