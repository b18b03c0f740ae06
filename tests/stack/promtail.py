"""A real Promtail on the shipped configuration, reading a folder of log files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from goshop.ports import LOOPBACK, reserve
from tests.stack.backend import Backend

CONFIG: Final = Path(__file__).parents[2] / "loki" / "promtail.yaml"
# As often as tests have patience for.
IMPATIENT: Final = {"PROMTAIL_SYNC": "1s", "PROMTAIL_POSITIONS_SYNC": "1s", "PROMTAIL_BACKOFF": "1s"}


@contextmanager
def running(command: Path, folder: Path, logs: Path, loki_url: str, **environ: str) -> Iterator[Backend]:
    """Run a Promtail on a new folder that sends what is in `logs`; raises `StartError`. Main thread only.

    `environ` has variables of loki/promtail.yaml.
    """
    folder.mkdir(parents=True)
    with reserve(1) as [http]:
        variables = {
            "PROMTAIL_ADDRESS": LOOPBACK,
            "PROMTAIL_HTTP_PORT": str(http),
            "PROMTAIL_POSITIONS": str(folder / "positions.yaml"),
            "PROMTAIL_LOKI_URL": loki_url,
            "PROMTAIL_LOGS": str(logs),
            **IMPATIENT,
            **environ,
        }
        arguments: list[str | Path] = [command, f"-config.file={CONFIG}", "-config.expand-env=true"]
        server = Backend("promtail", arguments, folder, f"http://{LOOPBACK}:{http}", variables)
        try:
            server.start()
            yield server
        finally:
            server.kill()
