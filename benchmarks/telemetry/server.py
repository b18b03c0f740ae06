"""One variant under uvicorn (uvloop, httptools, one worker), seen from outside: what it answers, costs, and writes."""

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from benchmarks.telemetry.catalogue import Variant

ROOT = Path(__file__).parents[2]
START_SECONDS = 30.0
STOP_SECONDS = 20.0
POLL = 0.02
ANSWER = {"id": 7, "name": "Left-handed screwdriver", "price": 12.5, "tags": ["tools", "blue"], "in_stock": True}

_TRACE_ID = re.compile(rb'"trace_id": ?"([0-9a-f]{32})"')


class ServerFailed(Exception):
    """The server did not start, or answers something else."""


@dataclass(frozen=True)
class Lines:
    """Lines that were written, and how many different trace ids are in them."""

    count: int
    traces: int


class Server:
    """A running server."""

    def __init__(self, variant: Variant, process: subprocess.Popen[bytes], url: str, log: IO[bytes]) -> None:
        self.variant = variant
        self.url = url
        self._process = process
        self._log = log

    def cpu_seconds(self) -> float:
        """Return the CPU time (user and system) of all its threads so far, ended ones too.

        The clock that clock_getcpuclockid(3) gives for a process: what /proc says in ticks of 10 ms, to the nanosecond.
        """
        return time.clock_gettime((~self._process.pid << 3) | 2)

    def resident_megabytes(self) -> float:
        """Return the memory that it holds."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def new_lines(self) -> Lines:
        """Read the lines that it wrote since the last call."""
        written = self._log.read()
        return Lines(written.count(b"\n"), len(set(_TRACE_ID.findall(written))))

    def observations(self) -> int:
        """Ask its metrics how many requests for items the histogram has seen."""
        if not self.variant.histogram:
            return 0
        sample = re.compile(rf"^{self.variant.histogram}_count\{{[^}}]*/items.*\}} (\S+)$", re.MULTILINE)
        return round(sum(float(value) for value in sample.findall(self.get("/metrics").decode())))

    def get(self, path: str) -> bytes:
        """Ask for a path; raises `ServerFailed` unless the answer is 200."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=START_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise ServerFailed(f"{self.variant.name} answers {answer.status} to {path}: {body[:200]!r}")
        return body

    def wait(self) -> None:
        """Wait for the right answer; raises `ServerFailed`, also when the process has ended."""
        limit = time.monotonic() + START_SECONDS
        while time.monotonic() < limit and self._process.poll() is None:
            with contextlib.suppress(ConnectionError):
                if json.loads(self.get(f"/items/{ANSWER['id']}")) == ANSWER:
                    return
                raise ServerFailed(f"{self.variant.name} answers another item")
            time.sleep(POLL)
        raise ServerFailed(f"{self.variant.name} does not start")


@contextlib.contextmanager
def serving(variant: Variant, traces: str, folder: Path, *, cpu: int | None, delay: float) -> Iterator[Server]:
    """Run a variant on one CPU (any, when `cpu` is None), exporting to `traces` after at most `delay` seconds.

    Raises `ServerFailed` with what the server said on its standard error.
    """
    url = f"http://127.0.0.1:{_free_port()}"
    output, errors = folder / f"{variant.name}.log", folder / f"{variant.name}.err"
    with output.open("wb") as out, errors.open("wb") as err, output.open("rb") as log:
        process = subprocess.Popen(
            _command(variant, url, cpu), cwd=ROOT, env=_environment(traces, delay), stdout=out, stderr=err
        )
        try:
            server = Server(variant, process, url, log)
            server.wait()
            yield server
        except ServerFailed as failure:
            raise ServerFailed(f"{failure}\n{errors.read_text()[-2000:]}".rstrip()) from None
        finally:
            _stop(process)
            output.unlink()


def _command(variant: Variant, url: str, cpu: int | None) -> list[str]:
    pinned = [] if cpu is None else ["taskset", "--cpu-list", str(cpu)]
    host, _, port = urlsplit(url).netloc.partition(":")
    listen = ["--host", host, "--port", port, "--interface", "asgi3", "--loop", "uvloop", "--http", "httptools"]
    quiet = ["--no-access-log", "--log-level", "warning"]
    return [*pinned, sys.executable, "-m", "uvicorn", "--factory", variant.factory, *listen, *quiet]


def _environment(traces: str, delay: float) -> dict[str, str]:
    """Return an environment in which nothing but the variant differs."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": traces,
        # Room for every span of a phase: a full queue would make its owner cheap.
        "OTEL_BSP_MAX_QUEUE_SIZE": "65536",
        "OTEL_BSP_SCHEDULE_DELAY": str(round(delay * 1000)),
        # The contrib packages emit the stable names only when asked.
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
