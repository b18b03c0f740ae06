"""TLS between the services, with certificates made here: for whom a service may speak is in its certificate."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app import rpc_client
from app.config import Address, Rpc, Settings, Tls
from app.discovery import StaticDiscovery
from app.errors import Forbidden, Unavailable
from app.identity import ADMIN, CUSTOMER, NOBODY, SYSTEM, THE_SHOP, Caller, current, enter, leave
from app.rpc.user.v1.user_pb2 import GetUserRequest, User
from app.rpc.user.v1.user_pb2_grpc import UserServiceServicer, UserServiceStub, add_UserServiceServicer_to_server
from app.rpc_client import Peers
from app.rpc_server import make_server
from goshop.ports import reserve
from telemetry.testing import capture_logs

PEM = serialization.Encoding.PEM
ADDRESS = x509.IPAddress(ip_address("127.0.0.1"))


class Authority:
    """Signs certificates, which lie as files in a folder."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.crt"
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        certificate = self._builder(self.name, self.key.public_key()).add_extension(constraints, critical=True)
        self.file.write_bytes(certificate.sign(self.key, hashes.SHA256()).public_bytes(PEM))

    def issue(self, common: str, *alternative: x509.GeneralName) -> Rpc:
        """Make a certificate and return the settings of the service that has it."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        builder = self._builder(subject, key.public_key())
        if alternative:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        file = self.folder / f"{x509.random_serial_number()}"
        file.with_suffix(".crt").write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(PEM))
        private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file.with_suffix(".key").write_bytes(private)
        return Rpc(
            tls=Tls(
                certificate=str(file.with_suffix(".crt")), key=str(file.with_suffix(".key")), authority=str(self.file)
            )
        )

    def service(self, name: str) -> Rpc:
        """Make the certificate of a service, by its name and where the tests run it."""
        return self.issue("goshop", x509.DNSName(name), ADDRESS)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self.name, subject, key, x509.random_serial_number())
        return builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))


class Users(UserServiceServicer):
    """Says as whom it is called."""

    async def GetUser(self, _request: GetUserRequest, _context: Any) -> User:  # noqa: N802 - the contract's name
        return User(id=current().subject, role=current().role)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def called_by(server: Rpc, client: Rpc) -> AsyncIterator[Callable[[Caller], Any]]:
    """Run the user service with one certificate and yield how another one calls it."""
    with reserve(1) as (port,):
        address = f"127.0.0.1:{port}"
        running = make_server(server, [(add_UserServiceServicer_to_server, Users())], address)
        await running.start()
        peers = Peers(client, StaticDiscovery(Settings(environment="dev", services={"user": Address(grpc=address)})))
        stub = UserServiceStub(peers.channel("user"))  # type: ignore[no-untyped-call]

        async def call(caller: Caller) -> Caller:
            token = enter(caller)
            try:
                answer = await rpc_client.call(stub.GetUser, GetUserRequest(), timeout=5.0)
            finally:
                leave(token)
            return Caller(answer.id, answer.role)

        try:
            yield call
        finally:
            await peers.close()
            await running.stop(None)


ALICE = Caller("alice", CUSTOMER)
ROOT = Caller("root", ADMIN)


@pytest.mark.parametrize(
    ("service", "may", "may_not"),
    [
        (
            "gateway",
            [NOBODY, ALICE, ROOT],
            [THE_SHOP, Caller("alice", SYSTEM), Caller("alice", "owner"), Caller("alice")],
        ),
        ("order", [NOBODY, ALICE, ROOT, THE_SHOP], [Caller("alice", "owner")]),
        ("product", [NOBODY], [ALICE, ROOT, THE_SHOP]),
        ("order.example", [NOBODY], [ALICE, ROOT, THE_SHOP]),
    ],
)
async def test_a_service_speaks_only_for_whom_its_certificate_lets_it(
    authority: Authority, service: str, may: list[Caller], may_not: list[Caller]
) -> None:
    async with called_by(authority.service("user"), authority.service(service)) as call:
        assert [await call(caller) for caller in may] == may
        for caller in may_not:
            with pytest.raises(Forbidden):
                await call(caller)


async def test_a_refused_service_is_named_in_the_log(authority: Authority) -> None:
    async with called_by(authority.service("user"), authority.service("product")) as call:
        with capture_logs() as lines, pytest.raises(Forbidden):
            await call(THE_SHOP)
    assert [line for line in lines if "'product'" in line["message"] and "role system" in line["message"]]


async def test_the_settings_say_which_names_speak_for_whom(authority: Authority) -> None:
    user, client = (
        authority.service("user"),
        authority.issue("any", x509.UniformResourceIdentifier("spiffe://shop/order")),
    )
    tls = user.tls
    told = Rpc(
        tls=Tls(
            certificate=tls.certificate,
            key=tls.key,
            authority=tls.authority,
            callers={"spiffe://shop/order": ("system",)},
        )
    )
    async with called_by(told, client) as call:
        assert await call(THE_SHOP) == THE_SHOP
        with pytest.raises(Forbidden):
            await call(ALICE)


async def test_a_common_name_counts_only_where_there_is_no_other(authority: Authority) -> None:
    user = authority.service("user")
    async with called_by(user, authority.issue("order")) as call:
        assert await call(THE_SHOP) == THE_SHOP
    async with called_by(user, authority.issue("order", x509.DNSName("product"))) as call:
        with pytest.raises(Forbidden):
            await call(THE_SHOP)


async def test_a_certificate_of_somebody_else_does_not_get_in(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger").service("order").tls
    client = Rpc(tls=Tls(certificate=stranger.certificate, key=stranger.key, authority=str(authority.file)))
    async with called_by(authority.service("user"), client) as call:
        with pytest.raises(Unavailable):
            await call(THE_SHOP)


async def test_without_tls_everybody_inside_is_believed() -> None:
    async with called_by(Rpc(), Rpc()) as call:
        assert await call(THE_SHOP) == THE_SHOP
