"""Where a service's peers are. Static now, from the settings; a registry takes the same place later."""

from typing import Protocol

from app.config import ConfigError, Settings


class Discovery(Protocol):
    """Finds the gRPC address of a service."""

    def address(self, service: str) -> str:
        """Return host:port; raises `ConfigError` when nobody has told."""
        ...


class StaticDiscovery:
    """The addresses that the settings name."""

    def __init__(self, settings: Settings) -> None:
        self._addresses: dict[str, str] = {name: address.grpc for name, address in settings.services.items()}

    def address(self, service: str) -> str:
        """Return host:port; raises `ConfigError` when the settings name none."""
        if not (address := self._addresses.get(service, "")):
            raise ConfigError(f"services.{service}.grpc: not set, and somebody has to call it")
        return address
