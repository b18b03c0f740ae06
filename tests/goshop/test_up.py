"""`goshop up` with the real services: what it prints works, and however it ends nothing is left."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from goshop.processes import wait_until

ROOT = Path(__file__).parents[2]
LAST = "Ctrl-C stops it."
SERVICES = {"gateway", "user", "product", "order", "payment"}


class Up:
    """A running `goshop up`."""

    def __init__(self, root, process) -> None:
        self.root = root
        self.process = process
        self.said = ""

    @property
    def url(self):
        return re.search(r"GoShop is up: (\S+)", self.said)[1]

    @property
    def run(self):
        return next((self.root / "runs").iterdir())

    def read_until_up(self):
        for line in self.process.stdout:
            self.said += line
            if line.startswith(LAST):
                return
        pytest.fail(f"it did not come up: {self.process.stderr.read()}")


@contextlib.contextmanager
def starting(root):
    command = [sys.executable, "-m", "goshop", "up", "--dir", str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield Up(root, process)
        finally:
            process.terminate()
            process.communicate()


@pytest.fixture
def up(state_folder):
    with starting(state_folder / f"up-{uuid4().hex[:4]}") as running:
        running.read_until_up()
        yield running


def service_pid(up, name):
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            said = (entry / "cmdline").read_bytes()
            if f"\0serve\0{name}\0".encode() in said and str(up.run).encode() in (entry / "environ").read_bytes():
                return int(entry.name)
    return pytest.fail(f"no process of {name}")


@dataclass(frozen=True)
class Session:
    """What came of a `goshop up` that was tried out as it says, and then stopped by Ctrl-C."""

    curl: str
    documents: dict[str, object]
    services: set[str]
    exit_code: int
    left: set[str]


@pytest.fixture(scope="module")
def session(state_folder, processes_of):
    with starting(state_folder / "up") as running:
        running.read_until_up()
        curl, documents, services = as_printed(running.said), documents_of(running.said), followed(running)
        running.process.send_signal(signal.SIGINT)
        code = running.process.wait(30)
        wait_until(lambda: not processes_of(running.run), 5)
        return Session(curl, documents, services, code, processes_of(running.run))


def as_printed(said):
    """Run the commands that are printed for people; returns what they say."""
    lines = [line for line in said.splitlines() if re.match(r"  (curl|TOKEN=)", line)]
    assert len(lines) == 3
    return subprocess.run(["sh", "-c", "\n".join(lines)], capture_output=True, text=True, check=False).stdout


def documents_of(said):
    return httpx.get(re.search(r"documents +(\S+)", said)[1]).json()


def followed(up):
    """Follow a request by the id in its answer; returns the services that it went through, when no span is missing."""
    trace_id = httpx.get(f"{up.url}/api/products").headers["x-trace-id"]
    command = [sys.executable, "-m", "goshop", "trace", trace_id, "--run", str(up.run), "--json"]
    services = set()

    def is_complete():
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        found = json.loads(done.stdout) if done.returncode == 0 else {"spans": [], "missing": []}
        services.update(span["service"] for span in found["spans"])
        return {"gateway", "product"} <= services and found["missing"] == []

    # Spans leave their process in batches, about once a second.
    assert wait_until(is_complete, 20)
    return services


@pytest.mark.skipif(shutil.which("curl") is None, reason="what is printed is for curl")
def test_what_it_prints_works_as_printed(session):
    assert re.findall(r"HTTP/1.1 (\d+)", session.curl) == ["200", "200"]


def test_it_says_where_the_documents_are(session):
    assert session.documents["openapi"].startswith("3.")


def test_a_request_can_be_followed_by_the_id_in_its_answer(session):
    assert {"gateway", "product"} <= session.services


def test_ctrl_c_ends_it_well(session):
    assert (session.exit_code, session.left) == (0, set())


def test_kill_9_leaves_neither_services_nor_servers(up, processes_of):
    assert len(processes_of(up.run)) > len(SERVICES)
    up.process.kill()
    up.process.wait(5)
    assert wait_until(lambda: not processes_of(up.run), 10), processes_of(up.run)


def test_a_service_that_dies_ends_it_with_exit_5_and_its_last_words(up, processes_of):
    os.kill(service_pid(up, "order"), signal.SIGKILL)
    assert up.process.wait(30) == 5
    assert "goshop: order was killed by SIGKILL; the shop stops:" in up.process.stderr.read()
    assert processes_of(up.run) == set()


@pytest.mark.parametrize("moment", ["PostgreSQL", "gateway"])
def test_ctrl_c_while_it_starts_leaves_nothing(moment, state_folder, processes_of):
    root = state_folder / f"early-{moment}"
    with starting(root) as running:
        for line in running.process.stderr:
            if moment in line:
                break
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(30) == 130
        assert running.process.stdout.read() == ""
        assert "Traceback" not in running.process.stderr.read()
        assert processes_of(running.run) == set()
