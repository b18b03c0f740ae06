"""The layer as strangers have it: the wheel, installed in a folder of its own, under a real uvicorn in a process of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from json import loads
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from tests.telemetry.installed.applications import UVICORN

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
PATIENCE = 10.0
T = TypeVar("T")
_ADDRESS = re.compile(r"Uvicorn running on http://127\.0\.0\.1:(\d+)")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, as `make wheel` builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, str(ROOT / "scripts" / "build_wheel.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed and nothing else; what it depends on is in the environment of the tests."""
    folder = tmp_path_factory.mktemp("site")
    command = ["uv", "pip", "install", "--offline", "--quiet", "--no-deps", "--target", str(folder), str(wheel)]
    subprocess.run([sys.executable, "-m", *command], check=True)
    return folder


@dataclass
class Process:
    """A server, and what it has written."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int = 0
    _stdout: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        # A pipe, as containers have it.
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as pipe:
            self._stdout.extend(pipe)

    @property
    def stdout(self) -> str:
        return b"".join(self._stdout).decode()

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Every line of the standard output; raises when one is not JSON."""
        return [loads(line) for line in self.stdout.splitlines()]

    @property
    def access_lines(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["logger"] == "access"]

    def messages(self, logger: str) -> list[str]:
        return [line["message"] for line in self.lines if line["logger"] == logger]

    def get(self, path: str = "/", **options: Any) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE, **options)

    def stop(self) -> int:
        """End it with SIGTERM; returns its exit code when everything that it wrote has been read."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code


def wait_for(ask: Callable[[], T], process: Process | None = None) -> T:
    """Return the first truthy answer; shows what a process said when it never comes."""
    ends = time.monotonic() + PATIENCE
    while not (answer := ask()):
        alive = process is None or process.process.poll() is None
        said = f"{process.stdout}\n{process.stderr}" if process else ""
        assert alive and time.monotonic() < ends, f"the condition has not become true\n{said}"  # noqa: PT018
        time.sleep(0.01)
    return answer


@pytest.fixture
def eventually_true() -> Callable[..., Any]:
    return wait_for


@pytest.fixture
def start(site: Path, tmp_path: Path) -> Callable[..., AbstractContextManager[Process]]:
    """Start a command beside the given files: `with start({"app.py": "…"}, "uvicorn", "app:app", OTEL_…="…") as process`.

    The wheel is importable, this repository is not. It has a process group of its own.
    """

    @contextmanager
    def run(files: Mapping[str, str], *command: str, address: bool = True, **environ: str) -> Iterator[Process]:
        folder = tmp_path / "work"
        folder.mkdir(exist_ok=True)
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "PYTHON"))}
        clean |= {"PYTHONPATH": str(site), "PYTHONUNBUFFERED": "1", "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        with (tmp_path / "stderr").open("wb") as stderr:
            child = subprocess.Popen(
                command, cwd=folder, env=clean | environ, stdout=subprocess.PIPE, stderr=stderr, process_group=0
            )
        process = Process(child, tmp_path)
        try:
            if address:
                (port, *_) = wait_for(lambda: _ADDRESS.findall(process.stdout + process.stderr), process)
                process.port = int(port)
                wait_for(lambda: "Application startup complete" in process.stdout + process.stderr, process)
            yield process
        finally:
            process.stop()

    return run


@pytest.fixture
def run(start: Any, collector: Any) -> Any:
    """Start an application under `opentelemetry-instrument`, with a collector and metrics on a free port."""
    environ = {
        "OTEL_SERVICE_NAME": "theirs",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.url,
        "OTEL_EXPORTER_PROMETHEUS_PORT": "0",
        "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }

    def started(source: str, *options: str, command: tuple[str, ...] = UVICORN, **more: Any) -> Any:
        return start({"app.py": source}, *command, *options, **(environ | more))

    return started


@pytest.fixture
def free() -> int:
    """A port that was free a moment ago, and the one after it as well."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = int(first.getsockname()[1])
            try:
                with socket.create_server(("127.0.0.1", port + 1)):
                    return port
            except OSError:
                continue
