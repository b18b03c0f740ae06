"""A real Alertmanager on the shipped configuration, and somebody who is told what it tells."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from goshop.ports import LOOPBACK, reserve
from tests.stack.backend import Backend

CONFIG: Final = Path(__file__).parents[2] / "compose" / "alertmanager.yaml"


@dataclass(frozen=True)
class Told:
    """A notification: when it came (Unix s), to whom, and the names of the alerts in it."""

    at: float
    receiver: str
    alerts: tuple[str, ...]


class Listener:
    """Takes notifications by webhook; `told` has them in order."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                names = tuple(sorted(alert["labels"]["alertname"] for alert in body["alerts"]))
                listener.told.append(Told(time.time(), body["receiver"], names))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.url = f"http://{LOOPBACK}:{self._server.server_port}/"

    @contextmanager
    def listening(self) -> Iterator["Listener"]:
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class Alertmanager(Backend):
    """An Alertmanager."""

    def fire(self, *alerts: dict[str, dict[str, str]]) -> None:
        """Say that alerts (labels, annotations) fire, as Prometheus does at an evaluation; raises `httpx.HTTPStatusError`."""
        httpx.post(f"{self.url}/api/v2/alerts", json=list(alerts), timeout=10, trust_env=False).raise_for_status()

    def states(self) -> dict[str, str]:
        """Return each alert's state by its name: active, suppressed or unprocessed."""
        return {alert["labels"]["alertname"]: alert["status"]["state"] for alert in self.json("/api/v2/alerts")}


@contextmanager
def running(command: Path, folder: Path, config: str) -> Iterator[Alertmanager]:
    """Run an Alertmanager on a new folder; raises `StartError`. Main thread only."""
    folder.mkdir(parents=True)
    (folder / "alertmanager.yaml").write_text(config)
    with reserve(1) as [port]:
        arguments: Sequence[str | Path] = (
            command,
            f"--config.file={folder / 'alertmanager.yaml'}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address={LOOPBACK}:{port}",
            "--cluster.listen-address=",
        )
        server = Alertmanager("alertmanager", arguments, folder, f"http://{LOOPBACK}:{port}", ready="/-/ready")
        try:
            server.start()
            yield server
        finally:
            server.kill()


def told_at(url: str, **route: str) -> str:
    """Return the shipped configuration with every receiver told at an address; `route` replaces times of the root route."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    for receiver in config["receivers"]:
        receiver["webhook_configs"] = [{"url": url}]
    config["route"] |= route
    return yaml.safe_dump(config)
