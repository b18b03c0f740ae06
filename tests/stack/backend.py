"""A real server for tests: on loopback, on a folder of its own, with bounded memory, and gone when the test is over."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from goshop.processes import Child, StartError, how_it_ended, kill, last_lines, spawn, stop, wait_until

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 10.0
# Beyond it Go collects harder.
MEMORY: Final = "400MiB"


@dataclass
class Backend:
    """A server: `command` starts it, `url` is where it answers, `ready` the path that says 200 when it is ready; `headers`
    go with every question.

    Its log is `<folder>/<name>.log`; it may be ended and started again, on the same folder and port.
    """

    name: str
    command: Sequence[str | Path]
    folder: Path
    url: str
    environ: Mapping[str, str] = field(default_factory=dict)
    ready: str = "/ready"
    headers: Mapping[str, str] = field(default_factory=dict)
    process: Child | None = field(default=None, init=False)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start, and wait until it is ready; raises `StartError`."""
        # A proxy of the environment would be asked for loopback, too.
        environ = {**os.environ, "GOMEMLIMIT": MEMORY, "GOMAXPROCS": "2", "NO_PROXY": "127.0.0.1", **self.environ}
        self.process = spawn(self.command, log=self.log, env=environ)
        if not wait_until(lambda: self._ended() is not None or self._is_ready(), START_SECONDS):
            self.kill()
            raise StartError(f"{self.name} was not ready after {START_SECONDS:.0f} s:\n{last_lines(self.log)}")
        if (code := self._ended()) is not None:
            raise StartError(f"{self.name} {how_it_ended(code)} at start:\n{last_lines(self.log)}")

    def stop(self) -> None:
        """Stop in order; nothing when it is not running."""
        if self.process is not None:
            stop(self.process, grace=STOP_SECONDS)
            self.process = None

    def kill(self) -> None:
        """End it as a crash would; nothing when it is not running."""
        if self.process is not None:
            kill(self.process)
            self.process = None

    def get(self, path: str, **parameters: str) -> httpx.Response:
        """Ask; raises `httpx.TransportError`."""
        return httpx.get(self.url + path, params=parameters, headers=self.headers, timeout=30.0, trust_env=False)

    def json(self, path: str, **parameters: str) -> Any:
        """Return an answer; raises `ValueError` with what was said instead of one."""
        answer = self.get(path, **parameters)
        if answer.status_code != httpx.codes.OK:
            raise ValueError(f"{self.name} says {answer.status_code}: {answer.text}")
        return answer.json()

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of its own metric over all series that have these labels, 0 where there is none."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = self.get("/metrics").text.splitlines()
        found = [
            line for line in lines if line.startswith((f"{name}{{", f"{name} ")) and all(w in line for w in wanted)
        ]
        return sum(float(line.rpartition(" ")[2]) for line in found)

    def memory(self) -> int:
        """Return how much memory it has, in bytes (its resident set)."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmRSS:"))

    def _is_ready(self) -> bool:
        try:
            return self.get(self.ready).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def _ended(self) -> int | None:
        return None if self.process is None else self.process.poll()
