"""The load generator: wrk, which costs little enough to share a machine with what it measures."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("load.lua")


class GeneratorMissing(Exception):
    """There is no wrk; the message says how to get it."""


class GeneratorFailed(Exception):
    """wrk failed, or requests did."""


@dataclass(frozen=True)
class Load:
    """How requests are sent: by `connections` at once, each after the answer to the one before, for whole `seconds`."""

    connections: int
    seconds: int


@dataclass(frozen=True)
class Sent:
    """What was sent: requests, answers that arrived before the end, seconds, and latencies in seconds."""

    requests: int
    answered: int
    seconds: float
    p50: float
    p99: float


def require_wrk() -> str:
    """Return the path of wrk; raises `GeneratorMissing`."""
    found = shutil.which("wrk")
    if found is None:
        raise GeneratorMissing("the load generator is missing: apt-get install wrk")
    return found


def send(url: str, load: Load, seed: int) -> Sent:
    """Send requests, none with a trace id that another `seed` has; raises `GeneratorFailed`."""
    command = [require_wrk(), "-t1", f"-c{load.connections}", f"-d{load.seconds}s", "-s", str(SCRIPT), url]
    done = subprocess.run([*command, "--", str(seed)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise GeneratorFailed(f"wrk exits with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    told = json.loads(done.stdout.splitlines()[-1])
    if told["failed"]:
        raise GeneratorFailed(f"{told['failed']} of {told['sent']} requests failed")
    return Sent(told["sent"], told["answered"], told["duration"] / 1e6, told["p50"] / 1e6, told["p99"] / 1e6)
