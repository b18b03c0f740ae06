"""A real Loki on the shipped configuration, and what tests ask it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from goshop.ports import LOOPBACK, reserve
from tests.stack.backend import Backend

CONFIG: Final = Path(__file__).parents[2] / "loki" / "loki.yaml"
EVERYTHING: Final = '{job="backend-app"}'
# No test looks further back, in s.
WINDOW: Final = 3600.0
MOST: Final = 50_000
# Otherwise structured metadata comes among the labels.
APART: Final = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}


@dataclass(frozen=True)
class Line:
    """A line in Loki: its time (Unix ns), its text, its stream's labels, and its structured metadata."""

    at: int
    text: str
    labels: dict[str, str]
    metadata: dict[str, str]


class Loki(Backend):
    """A Loki."""

    def lines(self, query: str = EVERYTHING, limit: int = MOST) -> list[Line]:
        """Return what a LogQL query finds in the last hour, in order of time."""
        answer = self._ask(query, limit)["data"]["result"]
        found = [_line(stream, value) for stream in answer for value in stream["values"]]
        return sorted(found, key=lambda line: line.at)

    def texts(self, query: str = EVERYTHING) -> list[str]:
        """Return the texts that a query finds, in order of time."""
        return [line.text for line in self.lines(query)]

    def of_trace(self, trace_id: str) -> list[Line]:
        """Return the lines of one trace, as a data source's derived field asks for them."""
        return self.lines(f'{EVERYTHING} | trace_id="{trace_id}"')

    def streams(self) -> list[dict[str, str]]:
        """Return the labels of every stream of the last hour."""
        start, end = _window()
        return list(self.json("/loki/api/v1/series", **{"match[]": EVERYTHING, "start": start, "end": end})["data"])

    def _ask(self, query: str, limit: int) -> Any:
        start, end = _window()
        parameters = {"query": query, "limit": str(limit), "start": start, "end": end, "direction": "forward"}
        return self.json("/loki/api/v1/query_range", **parameters)


def _window() -> tuple[str, str]:
    now = time.time()
    return str(int((now - WINDOW) * 1e9)), str(int((now + 60) * 1e9))


def _line(stream: dict[str, Any], value: list[Any]) -> Line:
    metadata = value[2].get("structuredMetadata", {}) if len(value) > 2 else {}
    return Line(int(value[0]), value[1], stream["stream"], metadata)


@contextmanager
def running(command: Path, folder: Path, **environ: str) -> Iterator[Loki]:
    """Run a Loki on a new folder, with variables of loki/loki.yaml if given; raises `StartError`. Main thread only."""
    folder.mkdir(parents=True)
    with reserve(2) as [http, grpc]:
        variables = {
            "LOKI_ADDRESS": LOOPBACK,
            "LOKI_HTTP_PORT": str(http),
            "LOKI_GRPC_PORT": str(grpc),
            "LOKI_DATA": str(folder / "data"),
            **environ,
        }
        arguments: list[str | Path] = [command, f"-config.file={CONFIG}", "-config.expand-env=true"]
        server = Loki("loki", arguments, folder, f"http://{LOOPBACK}:{http}", variables, headers=APART)
        try:
            server.start()
            yield server
        finally:
            server.kill()
