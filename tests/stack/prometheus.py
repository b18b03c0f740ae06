"""A real Prometheus for one test: on loopback, on a folder of its own, and gone when the test is over."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import run
from typing import Any, Final

import httpx

from goshop.ports import LOOPBACK, reserve
from goshop.processes import wait_until
from tests.stack.backend import Backend

# Evaluated and scraped as often as tests have patience for; a `config` of one's own says otherwise.
CONFIG: Final = "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n"
RELOAD_SECONDS: Final = 30.0
# Beyond it Go collects harder; a year of what these tests record stays far below.
MEMORY: Final = "300MiB"
# A series that needs more than this is not one of a test. It also bounds a query's memory.
MOST_SAMPLES: Final = 2_000_000


class QueryError(Exception):
    """Prometheus did not answer a query; the message is its own."""


class Prometheus(Backend):
    """A server: `url` is where its API is, `folder` has its configuration (prometheus.yml), data and log."""

    def reload(self, config: str) -> None:
        """Take another configuration; raises `ValueError` with what it says of a wrong one."""
        (self.folder / "prometheus.yml").write_text(config)
        answer = httpx.post(f"{self.url}/-/reload", timeout=RELOAD_SECONDS, trust_env=False)
        if answer.status_code != httpx.codes.OK:
            raise ValueError(answer.text)

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """Return the samples of an instant vector, now or at a time in Unix s; raises `QueryError`."""
        when = {} if at is None else {"time": str(at)}
        return list(self.api("query", query=expression, **when)["result"])

    def value(self, expression: str, at: float | None = None) -> float | None:
        """Return the value of the only sample, None where there is none; raises `ValueError` when there are more."""
        found = self.query(expression, at)
        if len(found) > 1:
            raise ValueError(f"{expression} has {len(found)} series")
        return float(found[0]["value"][1]) if found else None

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are pending or firing."""
        return list(self.api("alerts")["alerts"])

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule with its health, last error and last evaluation."""
        return [rule for group in self.api("rules")["groups"] for rule in group["rules"]]

    def api(self, path: str, **parameters: str) -> Any:
        """Return `data` of an answer of the HTTP API; raises `QueryError`."""
        said = self.get(f"/api/v1/{path}", **parameters).json()
        if said["status"] != "success":
            raise QueryError(said["error"])
        return said["data"]

    def _is_ready(self) -> bool:
        try:
            # 401: it has a web.config that wants a password, and answers.
            return self.get(self.ready).status_code in {httpx.codes.OK, httpx.codes.UNAUTHORIZED}
        except httpx.TransportError:
            return False


@contextmanager
def running(
    command: Path, folder: Path, config: str = CONFIG, *, history: Path | None = None, flags: Sequence[str] = ()
) -> Iterator[Prometheus]:
    """Run a Prometheus on a new folder, over the blocks of `history` (see `blocks`) if given; raises `StartError`.

    Main thread only. `flags` such as --web.enable-remote-write-receiver come last and win.
    """
    folder.mkdir(parents=True)
    (folder / "prometheus.yml").write_text(config)
    if history is not None:
        history.rename(folder / "data")
    with reserve(1) as [port]:
        arguments: tuple[str | Path, ...] = (
            command,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--storage.tsdb.retention.time=100y",
            "--web.enable-lifecycle",
            f"--web.listen-address={LOOPBACK}:{port}",
            f"--query.max-samples={MOST_SAMPLES}",
            *flags,
        )
        memory = {"GOMEMLIMIT": MEMORY}
        server = Prometheus("prometheus", arguments, folder, f"http://{LOOPBACK}:{port}", memory, ready="/-/ready")
        try:
            server.start()
            yield server
        finally:
            server.kill()


def blocks(promtool: Path, openmetrics: str, folder: Path) -> Path:
    """Make storage of a text in the OpenMetrics format with a time stamp (Unix s) behind each value; return its folder.

    One metric family after the other, `# EOF` at the end; raises `ValueError` with what promtool says.
    """
    text = folder.with_suffix(".om")
    text.write_text(openmetrics)
    _promtool(promtool, "tsdb", "create-blocks-from", "openmetrics", "--quiet", text, folder)
    return folder


def backfill(promtool: Path, server: Prometheus, rules: Sequence[Path], period: tuple[float, float], step: str) -> None:
    """Add what recording rules would have recorded in a period (Unix s) had they been there; restarts the server.

    Alerts are left out. Rules are evaluated over what is stored: one that reads another's series needs a second call.
    """
    made = server.folder / f"backfill-{time.monotonic_ns()}"
    options = (f"--start={period[0]:.0f}", f"--end={period[1]:.0f}", f"--eval-interval={step}", f"--output-dir={made}")
    _promtool(promtool, "tsdb", "create-blocks-from", "rules", f"--url={server.url}", *options, *rules)
    server.stop()
    for block in made.iterdir():
        block.rename(server.folder / "data" / block.name)
    server.start()


def _promtool(promtool: Path, *arguments: object) -> None:
    done = run([promtool, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise ValueError(done.stderr + done.stdout)


def eventually(find: Callable[[], Any], within: float, what: str) -> Any:
    """Ask until the answer is one (not None, not empty), and return it; raises `TimeoutError` with `what`, in words."""
    found: list[Any] = []

    def ask() -> bool:
        found[:] = [find()]
        return bool(found[0])

    if not wait_until(ask, within):
        raise TimeoutError(f"not within {within:.0f} s: {what}; last: {found[0]!r}")
    return found[0]
