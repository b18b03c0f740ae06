"""Settings: `config/<environment>.yaml`, overridden by `GOSHOP_*` environment variables.

A variable names its key by path: `GOSHOP_DB__TIMEOUT=2` is `db: {timeout: 2}`, and lists its values with commas. Unknown
and wrongly typed keys are `ConfigError`s that name the file (or the variable) and the key. Durations are seconds, money is minor units.
"""

import os
import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import yaml

from app.faults import FaultError, parse_faults

ServiceName = Literal["user", "product", "order", "payment", "gateway"]
SERVICES: Final[tuple[ServiceName, ...]] = ("user", "product", "order", "payment", "gateway")
Role = Literal["customer", "admin", "system"]
ENVIRONMENTS: Final = ("dev", "staging", "prod")
PREFIX: Final = "GOSHOP_"
# In a wheel config/ lies in this package (pyproject.toml, force-include): beside it in site-packages is nobody's place.
_PACKAGED: Final = Path(__file__).parent / "settings"
DEFAULT_FOLDER: Final = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[1] / "config"

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
# A bucket that holds less than one would never let anybody pass.
Tokens = Annotated[float, msgspec.Meta(ge=1)]


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


class Address(Section, frozen=True):
    """Where a service listens, each as host:port; only the gateway has `http`, only the others have `grpc`."""

    http: str = ""
    internal: str = ""
    grpc: str = ""


class Http(Section, frozen=True):
    """HTTP listeners: whose word about the client's address is taken, and how long and how many clients may keep us waiting."""

    trusted_proxies: tuple[Network, ...] = ()
    # Only one: a proxy replaces or extends the header it knows, and passes the other on as the client wrote it.
    proxy_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    head_timeout: Positive = 10.0
    # From the end of the head; shorter than deadlines.edge, so that a slow client is told that it was the slow one.
    body_timeout: Positive = 4.0
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
    # What telemetry calls the version of what runs.
    release: str = "0"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    trust_incoming: bool = True
    docs: bool = True
    faults: str = ""
    # False: the faults wait for SIGUSR1, so that a gate can prepare its data undisturbed.
    faults_armed: bool = True


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that is written twice: the second one would win silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key}: written twice", node.start_mark)
        return super().construct_mapping(node, deep)


def load(environment: str, *, folder: Path = DEFAULT_FOLDER, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read an environment's file and the overrides in `environ`; raises `ConfigError`."""
    if environment not in ENVIRONMENTS:
        raise ConfigError(f"there is no environment {environment!r}; there are {', '.join(ENVIRONMENTS)}")
    settings = _read(folder / f"{environment}.yaml", environment)
    for name in sorted(n for n in environ if n.startswith(PREFIX)):
        settings = _override(settings, name, environ[name])
    _refuse_what_is_unsafe(settings)
    return settings


def _read(path: Path, environment: str) -> Settings:
    try:
        data = yaml.load(path.read_bytes(), Loader=_StrictLoader) or {}  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict) or "environment" in data:
        raise ConfigError(f"{path}: expected a mapping of settings; the file's name is its environment")
    return _convert({**data, "environment": environment}, str(path), strict=True)


def _override(settings: Settings, variable: str, value: str) -> Settings:
    path = variable.removeprefix(PREFIX).lower().split("__")
    data = msgspec.to_builtins(settings, enc_hook=str)
    section = data
    for key in path[:-1]:
        section = section.setdefault(key, {}) if isinstance(section, dict) else {}
    if not isinstance(section, dict) or path == ["environment"]:
        raise ConfigError(f"{variable}: there is no such setting")
    section[path[-1]] = _listed(value) if isinstance(section.get(path[-1]), list | tuple) else value
    return _convert(data, variable, strict=False)


def _listed(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _convert(data: object, where: str, *, strict: bool) -> Settings:
    try:
        return msgspec.convert(data, Settings, strict=strict, dec_hook=_text)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {_reword(str(error))}") from None


def _text(cls: type, value: object) -> object:
    if not isinstance(value, str):
        raise TypeError(f"Expected `str`, got `{type(value).__name__}`")
    if cls is Network:
        ip_network(value)
    return cls(value)


def _reword(message: str) -> str:
    """Turn "… - at `$.db.timeout`" into "db.timeout: …"."""
    text, _, place = message.partition(" - at `")
    key = place.rstrip("`").removeprefix("$").lstrip(".")
    if unknown := re.fullmatch(r"Object contains unknown field `(.+)`", text):
        return f"{key + '.' if key else ''}{unknown[1]}: unknown key"
    return f"{key or 'the document'}: {text[0].lower()}{text[1:]}"


def _refuse_what_is_unsafe(settings: Settings) -> None:
    try:
        faults = parse_faults(settings.faults)
    except FaultError as error:
        raise ConfigError(f"faults: {error}") from None
    if faults and settings.environment == "prod":
        raise ConfigError("faults: refused in prod, from every source")
    tls = settings.rpc.tls
    named = [bool(file) for file in (tls.certificate, tls.key, tls.authority)]
    if any(named) != all(named):
        raise ConfigError("rpc.tls: certificate, key and authority belong together: name all three or none")
    if settings.environment == "prod" and not all(named):
        raise ConfigError("rpc.tls: refused in prod without certificate, key and authority: callers must be known")
