"""The whole shop on this machine: servers, databases, keys and five services, all gone when the context ends."""

import json
import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self

from joserfc.jwk import OKPKey

from app.config import SERVICES
from app.faults import parse_faults
from goshop.backing import Backing, backing_services
from goshop.embedded import PostgresServer, ValkeyServer
from goshop.folders import locked
from goshop.interrupts import Interrupts
from goshop.ports import LOOPBACK, is_taken, reserve
from goshop.processes import StartError
from goshop.run import RunFolder
from goshop.services import (
    READY_SECONDS,
    Command,
    PortTaken,
    ServiceProcess,
    await_ready,
    importable,
    serve_command,
    stop_all,
)

ADMIN_EMAIL: Final = "admin@goshop.example"
GATEWAY: Final = "gateway"
PORT_ATTEMPTS: Final = 3
BEGINNING_SECONDS: Final = 60.0
# OpenTelemetry's own variables; whoever sets one wants the spans elsewhere.
_SPAN_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_ANY_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"

Progress = Callable[[str], None]
Reserve = Callable[[int], AbstractContextManager[list[int]]]
Services = dict[str, ServiceProcess]
Addresses = Mapping[str, dict[str, int]]
Describe = Callable[[Addresses], Services]


def _quiet(_message: str) -> None:
    """Say nothing."""


@dataclass(slots=True)
class Shop:
    """A running shop."""

    run: RunFolder
    admin: tuple[str, str]
    faults: str
    services: Services
    backing: Backing

    @classmethod
    @contextmanager
    def start(
        cls,
        run: RunFolder,
        *,
        faults: str = "",
        armed: bool = True,
        port: int | None = None,
        environ: Mapping[str, str] | None = None,
        progress: Progress = _quiet,
        ready_within: float = READY_SECONDS,
        command: Command = serve_command,
        reserve: Reserve = reserve,
    ) -> Iterator[Self]:
        """Bring the shop up and yield it when every service is ready.

        `port` is the gateway's (a free one by default); `faults` strike at once, or after `arm_faults` when not `armed`;
        `environ` is what the services inherit; `ready_within` seconds the services must be ready. PostgreSQL and Valkey are embedded unless `environ` or config/dev.yaml names
        others. Raises `StartError` when something does not come up, `ConfigError` for settings that do not fit, and
        `Interrupted` on Ctrl-C, SIGTERM or SIGHUP. Main thread only.
        """
        inherited = {**(os.environ if environ is None else environ), **_faults(faults, armed=armed)}
        with Interrupts() as interrupts:
            stack = ExitStack()
            try:
                _remove_leftovers(run)
                stack.callback(shutil.rmtree, run.state, ignore_errors=True)
                stack.enter_context(locked(run.state))
                progress("starting PostgreSQL and Valkey")
                backing = stack.enter_context(backing_services(run, inherited))
                admin = (ADMIN_EMAIL, secrets.token_urlsafe(12))
                shared = {**inherited, **backing.environ, **_identity(run, admin)}
                progress(f"starting {', '.join(SERVICES)}")
                describe = partial(_describe, run, shared, command)
                services = stack.enter_context(_services(describe, port, ready_within, reserve))
                yield cls(run, admin, faults, services, backing)
            finally:
                interrupts.hold()
                progress("stopping")
                stack.close()

    @property
    def url(self) -> str:
        """Base URL of the public API."""
        return f"http://{LOOPBACK}:{self.services[GATEWAY].ports['HTTP']}"

    @property
    def internal(self) -> dict[str, str]:
        """Base URL of each service's /health, /ready and /metrics."""
        return {name: f"http://{LOOPBACK}:{service.ports['INTERNAL']}" for name, service in self.services.items()}

    @property
    def pids(self) -> dict[str, int]:
        """Process id of each service that was not stopped."""
        return {name: service.process.pid for name, service in self.services.items() if service.process is not None}

    @property
    def postgres(self) -> PostgresServer | None:
        """The embedded PostgreSQL; None when it is somebody else's."""
        return self.backing.postgres

    @property
    def valkey(self) -> ValkeyServer | None:
        """The embedded Valkey; None when it is somebody else's."""
        return self.backing.valkey

    def kill(self, name: str) -> None:
        """End a service without warning (SIGKILL)."""
        self.services[name].kill()

    def restart(self, name: str) -> None:
        """Start a service again on its ports and wait until it is ready; raises `StartError`."""
        service = self.services[name]
        service.stop()
        service.spawn()
        await_ready([service])

    def arm_faults(self) -> None:
        """Let the faults strike from now on."""
        for name in {fault.point.partition(".")[0] for fault in parse_faults(self.faults)}:
            if name in self.pids:
                os.kill(self.pids[name], signal.SIGUSR1)

    def ended(self) -> dict[str, int]:
        """Return the exit codes of services and servers that ended without being asked (negative: the signal)."""
        servers = {server.name: server for server in (self.postgres, self.valkey) if server is not None}
        return {
            name: code
            for name, process in {**servers, **self.services}.items()
            if (code := process.ended()) is not None
        }


def _remove_leftovers(run: RunFolder) -> None:
    """Remove the data and keys of earlier runs that were killed before they could."""
    for state in run.path.parent.glob("*/state"):
        # A lock that is held says that the run lives; one without a lock file, or with a fresh one, is just beginning.
        with suppress(FileNotFoundError, StartError):
            if time.time() - (state / "lock").stat().st_mtime > BEGINNING_SECONDS:
                with locked(state, wait=0.0):
                    shutil.rmtree(state, ignore_errors=True)


def _identity(run: RunFolder, admin: tuple[str, str]) -> dict[str, str]:
    keys = run.state / "keys"
    _write_signing_key(keys)
    return {
        "GOSHOP_AUTH__KEYS": str(keys),
        "GOSHOP_AUTH__ADMIN_EMAIL": admin[0],
        "GOSHOP_AUTH__ADMIN_PASSWORD": admin[1],
    }


def _write_signing_key(folder: Path) -> None:
    """Write the run's private key as app.user.keys reads it; that package itself would drag gRPC into this process."""
    folder.mkdir(mode=0o700)
    kid = f"run-{secrets.token_hex(4)}"
    key = OKPKey.generate_key("Ed25519", {"kid": kid, "use": "sig", "alg": "Ed25519"})
    path = folder / f"{kid}.jwk"
    path.touch(mode=0o600)
    path.write_text(json.dumps(key.as_dict(private=True)))


def _faults(specification: str, *, armed: bool) -> dict[str, str]:
    return {"GOSHOP_FAULTS": specification, "GOSHOP_FAULTS_ARMED": str(armed).lower()} if specification else {}


@contextmanager
def _services(describe: Describe, gateway: int | None, within: float, reserve: Reserve) -> Iterator[Services]:
    """Run all five on free ports; when somebody takes one of them meanwhile, start over on others."""
    if gateway is not None and is_taken(gateway):
        raise StartError(f"port {gateway} is taken: name another one, or none for a free one")
    for attempt in range(1, PORT_ATTEMPTS + 1):
        with reserve(2 * len(SERVICES)) as free, ExitStack() as stack:
            services = describe(_assign(free, gateway))
            stack.callback(stop_all, services.values())
            for service in services.values():
                service.spawn()
            try:
                await_ready(services.values(), timeout=within)
            except PortTaken:
                if attempt == PORT_ATTEMPTS:
                    raise
                continue
            yield services
            return


def _assign(free: list[int], gateway: int | None) -> Addresses:
    """Return each service's ports by the names that its settings give them."""
    ports = iter(free)
    assigned: dict[str, dict[str, int]] = {
        name: {"HTTP" if name == GATEWAY else "GRPC": next(ports), "INTERNAL": next(ports)} for name in SERVICES
    }
    if gateway is not None:
        assigned[GATEWAY]["HTTP"] = gateway
    return assigned


def _describe(run: RunFolder, environ: Mapping[str, str], command: Command, ports: Addresses) -> Services:
    addresses = {
        f"GOSHOP_SERVICES__{name.upper()}__{kind}": f"{LOOPBACK}:{port}"
        for name, kinds in ports.items()
        for kind, port in kinds.items()
    }
    everyone = {**environ, **importable(environ), **addresses}
    return {
        name: ServiceProcess(name, command(name), {**_spans(run, name, environ), **everyone}, run.log(name), kinds)
        for name, kinds in ports.items()
    }


def _spans(run: RunFolder, name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Send the spans to the run's folder unless the environment names a collector."""
    return {} if _ANY_ENDPOINT in environ else {_SPAN_ENDPOINT: f"file:{run.span_file(name)}"}
