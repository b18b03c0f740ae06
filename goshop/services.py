"""The five services as child processes: started together, watched until they are ready, stopped in order."""

import http.client
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from goshop.ports import LOOPBACK, is_taken
from goshop.processes import Child, StartError, how_it_ended, kill, last_lines, spawn, stop
from telemetry import conventions as names

READY_SECONDS: Final = 60.0
# A service drains for 5 s and then flushes its telemetry for up to 5 s (app.service).
STOP_SECONDS: Final = 12.0
POLL_SECONDS: Final = 0.02
PROBE_SECONDS: Final = 2.0
# The public one first: the others answer what it still has under way.
FIRST_TO_STOP: Final = "gateway"
ROOT: Final = Path(__file__).parents[1]

Command = Callable[[str], Sequence[str]]


class PortTaken(StartError):
    """Somebody else listens on a port that was chosen for a service."""


def serve_command(name: str) -> Sequence[str]:
    """Return the command that runs a service with the interpreter that we run on."""
    # -P: an `app` in the folder that we happen to be called from is not ours.
    return [sys.executable, "-P", "-m", "goshop", "serve", name, "--env=dev"]


def importable(environ: Mapping[str, str]) -> dict[str, str]:
    """Let children import what we imported, installed or not."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), environ.get("PYTHONPATH")]))}


@dataclass(slots=True)
class ServiceProcess:
    """One service: how to run it, and the process when it runs."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    log: Path
    ports: Mapping[str, int]
    process: Child | None = field(default=None, init=False)

    def spawn(self) -> None:
        """Start the process, and do not wait for it."""
        self.process = spawn(self.command, log=self.log, env=self.environ)

    def ended(self) -> int | None:
        """Return the exit code of a process that ended without being asked, None for one that runs or was stopped."""
        return None if self.process is None else self.process.poll()

    def is_ready(self) -> bool:
        """Ask /ready; raises `StartError` when the process has ended."""
        if (code := self.ended()) is not None:
            raise self._why(code)
        connection = http.client.HTTPConnection(LOOPBACK, self.ports["INTERNAL"], timeout=PROBE_SECONDS)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """Ask it to end, wait, and reap."""
        if self.process is not None:
            stop(self.process, grace=STOP_SECONDS)
            self.process = None

    def ask_to_stop(self) -> None:
        """Send SIGTERM, and do not wait."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def kill(self) -> None:
        """End it at once (SIGKILL) and reap it."""
        if self.process is not None:
            kill(self.process)
            self.process = None

    def _why(self, code: int) -> StartError:
        taken = [port for port in self.ports.values() if is_taken(port)]
        if taken:
            return PortTaken(f"the {self.name} service {how_it_ended(code)}: port {taken[0]} is taken")
        return StartError(f"the {self.name} service {how_it_ended(code)} before it was ready:\n{said_last(self.log)}")


def await_ready(services: Iterable[ServiceProcess], *, timeout: float = READY_SECONDS) -> None:
    """Wait until all of them are ready; raises `StartError` when one ends, or is not ready in time."""
    pending = list(services)
    deadline = time.monotonic() + timeout
    while pending := [service for service in pending if not service.is_ready()]:
        if time.monotonic() > deadline:
            late = "\n".join(f"{service.name}:\n{said_last(service.log)}" for service in pending)
            raise StartError(f"not ready after {timeout:.0f} s: {late}")
        time.sleep(POLL_SECONDS)


def stop_all(services: Iterable[ServiceProcess]) -> None:
    """Stop the public service, then the others side by side."""
    for group in (FIRST_TO_STOP,), ():
        chosen = [service for service in services if not group or service.name in group]
        for service in chosen:
            service.ask_to_stop()
        for service in chosen:
            service.stop()


def said_last(log: Path) -> str:
    """Return the end of a service's log as a person would want to read it."""
    return "\n".join(f"  | {line}" for line in map(_readable, last_lines(log).splitlines()))


def _readable(line: str) -> str:
    try:
        record = json.loads(line)
        text = f"{record[names.LOG_LEVEL]}: {record[names.LOG_MESSAGE]}"
    except (ValueError, KeyError, TypeError):
        return _printable(line)
    reason = str(record.get(names.LOG_EXCEPTION, "")).strip().splitlines()[-1:]
    return _printable(" - ".join([text, *reason]))


def _printable(text: str) -> str:
    """Show control characters instead of obeying them."""
    return "".join(char if char.isprintable() or char == "\t" else repr(char)[1:-1] for char in text)
