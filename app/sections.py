"""What can be set: every section of the settings, its defaults, and the values that are more than a string.

Durations are seconds, money is minor units. `app.config` reads them.
"""

import re
from typing import Annotated, Final, Literal

import msgspec

ServiceName = Literal["user", "product", "order", "payment", "gateway"]
Role = Literal["customer", "admin", "system"]

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
# A bucket that holds less than one would never let anybody pass.
Tokens = Annotated[float, msgspec.Meta(ge=1)]
_HOST_PORT: Final = re.compile(r"(?:([A-Za-z0-9_.-]+)|\[([0-9A-Fa-f:.]+)\]):([0-9]{1,5})")


class ConfigError(Exception):
    """A setting is unknown, malformed or refused; the message names where it was written."""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the settings; unknown keys are errors."""


class Secret(str):
    """A string that no repr shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'" if self else "''"


class Network(str):
    """A network as `ipaddress.ip_network` reads it: 10.0.0.0/8, fd00::/8, or one address."""

    __slots__ = ()


class HostPort(str):
    """A host and a port as `split` reads them, or nothing."""

    __slots__ = ()


class Database(Section, frozen=True):
    """PostgreSQL; each service owns the database `goshop_<service>`."""

    host: str = "127.0.0.1"
    port: int = 5432
    user: str = "goshop"
    password: Secret = Secret()
    timeout: Positive = 3.0
    pool_min: Annotated[int, msgspec.Meta(ge=0)] = 2
    pool_max: Count = 8
    pool_timeout: Positive = 2.0


class Redis(Section, frozen=True):
    """Redis or Valkey: cache and rate limits."""

    url: Secret = Secret("redis://127.0.0.1:6379/0")
    timeout: Positive = 0.5


class Bind(Section, frozen=True):
    """Where a service listens, each as host:port, where that is not its address."""

    http: HostPort = HostPort()
    internal: HostPort = HostPort()
    grpc: HostPort = HostPort()


class Address(Section, frozen=True):
    """Where others find a service, each as host:port; only the gateway has `http`, only the others have `grpc`.

    A service listens there too, unless `bind` names the interface and port: a name may stand for a balancer or several hosts.
    """

    http: HostPort = HostPort()
    internal: HostPort = HostPort()
    grpc: HostPort = HostPort()
    bind: Bind = msgspec.field(default_factory=Bind)


class Http(Section, frozen=True):
    """HTTP listeners: whose word about the client's address is taken, and how long and how many clients may keep us waiting."""

    trusted_proxies: tuple[Network, ...] = ()
    # Only one: a proxy replaces or extends the header it knows, and passes the other on as the client wrote it.
    proxy_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    head_timeout: Positive = 10.0
    # From the end of the head; shorter than deadlines.edge, so that a slow client is told that it was the slow one.
    body_timeout: Positive = 4.0
    # For a client to take what it is sent, from when no more can be sent.
    answer_timeout: Positive = 10.0
    # Longer than load generators and proxies keep idle connections: whoever closes second never loses a request.
    idle_timeout: Positive = 120.0
    # Of one port. Below the 1,024 descriptors that a process commonly may have.
    max_connections: Count = 800


class Auth(Section, frozen=True):
    """Access tokens: where the signing keys lie, and what a token must say."""

    keys: str = ""
    issuer: str = "goshop"
    audience: str = "goshop"
    token_ttl: Count = 900
    admin_email: str = ""
    admin_password: Secret = Secret()
    # argon2id runs in threads; more at once than this would starve every other request of CPU and memory.
    hashing_threads: Count = 1
    hashing_queue: Count = 64


class LoginLimit(Section, frozen=True):
    """One token bucket per account for log-ins that fail: `burst` at once, then one each 1 / `per_second` seconds."""

    burst: Tokens = 10.0
    per_second: Positive = 0.1


class RateLimit(Section, frozen=True):
    """One token bucket per subject, or per address for callers without a token."""

    burst: Tokens = 100.0
    per_second: Positive = 50.0
    when_unavailable: Literal["deny", "allow"] = "deny"
    login: LoginLimit = msgspec.field(default_factory=LoginLimit)


class Deadlines(Section, frozen=True):
    """How long an edge request and a call between services may take."""

    edge: Positive = 5.0
    rpc: Positive = 4.0


def _callers() -> dict[str, tuple[Role, ...]]:
    return {"gateway": ("customer", "admin"), "order": ("customer", "admin", "system")}


class Tls(Section, frozen=True):
    """Files in PEM: with all three set, both sides of every gRPC call prove who they are.

    `callers`: for whom a service may speak, by the name in its certificate; whoever is not listed speaks for nobody.
    """

    certificate: str = ""
    key: str = ""
    authority: str = ""
    callers: dict[str, tuple[Role, ...]] = msgspec.field(default_factory=_callers)


class Rpc(Section, frozen=True):
    """gRPC between the services."""

    tls: Tls = msgspec.field(default_factory=Tls)
    compression: Literal["none", "gzip"] = "none"


class Provider(Section, frozen=True):
    """The outside payment provider: how long a call may take and how often the synchronisation asks.

    `late_after`: when the sandbox tells late answers; `give_up_after`: when a charge it still does not know is void.
    """

    timeout: Positive = 1.5
    sync_interval: Positive = 1.0
    late_after: Positive = 3.0
    give_up_after: Positive = 15.0


class Payment(Section, frozen=True):
    """Balances and the payment provider."""

    opening_balance: Annotated[int, msgspec.Meta(ge=0)] = 0
    currency: str = "EUR"
    provider: Provider = msgspec.field(default_factory=Provider)


class Logs(Section, frozen=True):
    """Log lines: the standard output, or `<folder>/<service>.log` where a folder is named.

    A file of `max_bytes` is full and followed by `<service>.1.log`, `<service>.2.log`, …; `keep` of the full ones stay.
    """

    folder: str = ""
    max_bytes: Count = 32 * 1024 * 1024
    keep: Count = 3


class Settings(Section, frozen=True):
    """All settings of one environment."""

    environment: Literal["dev", "staging", "prod"]
    db: Database = msgspec.field(default_factory=Database)
    redis: Redis = msgspec.field(default_factory=Redis)
    services: dict[ServiceName, Address] = {}
    http: Http = msgspec.field(default_factory=Http)
    auth: Auth = msgspec.field(default_factory=Auth)
    rate_limit: RateLimit = msgspec.field(default_factory=RateLimit)
    deadlines: Deadlines = msgspec.field(default_factory=Deadlines)
    rpc: Rpc = msgspec.field(default_factory=Rpc)
    payment: Payment = msgspec.field(default_factory=Payment)
    logs: Logs = msgspec.field(default_factory=Logs)
    # What telemetry calls the version of what runs.
    release: str = "0"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    trust_incoming: bool = True
    docs: bool = True
    faults: str = ""
    # False: the faults wait for SIGUSR1, so that a gate can prepare its data undisturbed.
    faults_armed: bool = True

    def listens(self, service: ServiceName, kind: Literal["http", "internal", "grpc"]) -> str:
        """Return the host:port on which a service listens; raises `ConfigError` when nobody has told."""
        address = self.services.get(service, Address())
        if not (place := getattr(address.bind, kind) or getattr(address, kind)):
            raise ConfigError(f"services.{service}.{kind}: not set, and the service has to listen somewhere")
        return str(place)


def split(address: str) -> tuple[str, int]:
    """Return host and port of host:port or [IPv6]:port; raises `ValueError`."""
    if not (found := _HOST_PORT.fullmatch(address)) or not 0 < int(found[3]) <= 65_535:  # noqa: PLR2004 - 16 bits
        raise ValueError(f"expected host:port, got {address!r}")
    return found[1] or found[2], int(found[3])
