"""Settings: `config/<environment>.yaml`, overridden by `GOSHOP_*` environment variables.

A variable names its key by path: `GOSHOP_DB__TIMEOUT=2` is `db: {timeout: 2}`, and lists its values with commas. Unknown
and wrongly typed keys are `ConfigError`s that name the file (or the variable) and the key. `app.sections` says what there is.
"""

import os
import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from app.faults import FaultError, parse_faults
from app.sections import (
    Address,
    Auth,
    Bind,
    ConfigError,
    Database,
    Deadlines,
    HostPort,
    Http,
    LoginLimit,
    Logs,
    Network,
    Payment,
    Provider,
    RateLimit,
    Redis,
    Rpc,
    Secret,
    Section,
    ServiceName,
    Settings,
    Tls,
    split,
)

__all__ = [
    "DEFAULT_FOLDER",
    "ENVIRONMENTS",
    "PREFIX",
    "SERVICES",
    "Address",
    "Auth",
    "Bind",
    "ConfigError",
    "Database",
    "Deadlines",
    "HostPort",
    "Http",
    "LoginLimit",
    "Logs",
    "Network",
    "Payment",
    "Provider",
    "RateLimit",
    "Redis",
    "Rpc",
    "Secret",
    "Section",
    "ServiceName",
    "Settings",
    "Tls",
    "load",
    "split",
]

SERVICES: Final[tuple[ServiceName, ...]] = ("user", "product", "order", "payment", "gateway")
ENVIRONMENTS: Final = ("dev", "staging", "prod")
PREFIX: Final = "GOSHOP_"
# The telemetry layer reads its own (telemetry/README.md), before there are settings; the gate's Prometheus is none of ours.
_OF_OTHERS: Final = re.compile("GOSHOP_TELEMETRY_.*|GOSHOP_PROMETHEUS(_.*)?")
# In a wheel config/ lies in this package (pyproject.toml, force-include): beside it in site-packages is nobody's place.
_PACKAGED: Final = Path(__file__).parent / "settings"
DEFAULT_FOLDER: Final = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[1] / "config"
_ANYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - recognised, not listened on


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
    for name in sorted(n for n in environ if n.startswith(PREFIX) and not _OF_OTHERS.fullmatch(n)):
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
        raise ConfigError(f"{where}: {_reword(_name_the_entry(data, str(error), strict=strict))}") from None


def _name_the_entry(data: Any, message: str, *, strict: bool) -> str:
    """Put the key into a message that says [...] where a mapping has it: the first entry that is refused alone."""
    before, placeholder, after = message.partition("[...]")
    if not placeholder:
        return message
    path = before.rpartition("$.")[2].split(".")
    for key, entry in _at(data, path).items():
        try:
            msgspec.convert(_only(data, path, {key: entry}), Settings, strict=strict, dec_hook=_text)
        except msgspec.ValidationError as error:
            if str(error) == message:
                return f"{before}.{key}{after}"
    return message


def _at(data: Any, path: list[str]) -> Any:
    return data if not path else _at(data[path[0]], path[1:])


def _only(data: Any, path: list[str], entry: object) -> object:
    """Return a copy of the settings in which the mapping at `path` has one entry."""
    return entry if not path else {**data, path[0]: _only(data[path[0]], path[1:], entry)}


def _text(cls: type, value: object) -> object:
    if not isinstance(value, str):
        raise TypeError(f"Expected `str`, got `{type(value).__name__}`")
    if cls is Network:
        ip_network(value)
    if cls is HostPort and value:
        split(value)
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
    _refuse_half_a_tls(settings)
    for name, address in settings.services.items():
        for kind, place in (("internal", address.internal), ("grpc", address.grpc)):
            if place and split(place)[0] in _ANYWHERE:
                raise ConfigError(
                    f"services.{name}.{kind}: nobody can call {place}; name it in services.{name}.bind.{kind}"
                )


def _refuse_half_a_tls(settings: Settings) -> None:
    tls = settings.rpc.tls
    named = [bool(file) for file in (tls.certificate, tls.key, tls.authority)]
    if any(named) != all(named):
        raise ConfigError("rpc.tls: certificate, key and authority belong together: name all three or none")
    if settings.environment == "prod" and not all(named):
        raise ConfigError("rpc.tls: refused in prod without certificate, key and authority: callers must be known")
