"""What the figures were measured with; nothing that names a machine or a place."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.telemetry.generator import require_wrk

PACKAGES = (
    "litestar",
    "fastapi",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-asgi",
    "opentelemetry-instrumentation-fastapi",
    "prometheus-client",
    "prometheus-fastapi-instrumentator",
    "structlog",
    "python-json-logger",
    "msgspec",
)


def machine() -> dict[str, str]:
    """Return the CPU, the number of cores, Python, the date."""
    return {
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "system": platform.system(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "date": datetime.now(UTC).date().isoformat(),
    }


def versions() -> dict[str, str]:
    """Return the versions of everything that takes part."""
    return {name: version(name) for name in PACKAGES} | {"wrk": _wrk_version()}


def busy_share() -> float:
    """Return how many CPUs others kept busy in the last minute."""
    return os.getloadavg()[0]


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _wrk_version() -> str:
    said = subprocess.run([require_wrk(), "--version"], capture_output=True, text=True, check=False)
    words = (said.stdout or said.stderr).split()
    return words[1] if len(words) > 1 else "unknown"
