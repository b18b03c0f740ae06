"""compose/ really started: only where a Docker Engine is at hand that can get the images, otherwise NOT RUN, aloud.

Images are pulled and one is built: it has a time of its own, beside that of the other tests (`ARGS="-m 'not docker'"` leaves it out).
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest

from goshop.ports import is_taken
from tests.compose.model import ONCE, ROOT, services, size
from tests.stack.not_run import say_not_run
from tests.stack.prometheus import eventually

PULL_SECONDS: Final = 900
UP_SECONDS: Final = 1200
# The first test waits for both, and what fails is taken down.
pytestmark = [pytest.mark.docker, pytest.mark.timeout(PULL_SECONDS + 2 * UP_SECONDS)]
# Volumes and containers of its own, so that nobody's stack is touched.
PROJECT: Final = {"COMPOSE_PROJECT_NAME": "goshop-test"}
# Below it a health check can't be more frequent at the start.
ENGINE: Final = 25
SHOP: Final = "http://127.0.0.1:8080"
# A registry answers so for what it does not have: that is our mistake.
WRONG_IMAGE: Final = re.compile(r"manifest .*(unknown|not found)|invalid reference|pull access denied")
WHAT: Final = "the stack by Docker Compose"


def docker(*arguments: str, bound: float = 60) -> subprocess.CompletedProcess[str]:
    command = ["docker", *arguments]
    environ = os.environ | PROJECT
    return subprocess.run(
        command, env=environ, cwd=ROOT / "compose", capture_output=True, text=True, check=False, timeout=bound
    )


def obstacle() -> str:
    """Return why the stack can't be started here, "" where it can."""
    if shutil.which("docker") is None:
        return "there is no docker"
    version = docker("info", "--format", "{{.ServerVersion}}").stdout.strip()
    if not re.match(r"\d+\.", version):
        return "no Docker Engine answers"
    if int(version.partition(".")[0]) < ENGINE:
        return f"Docker Engine {version} is older than {ENGINE}"
    if docker("compose", "version").returncode:
        return "docker has no compose"
    ports = {int(port.split(":")[1]) for service in services().values() for port in service.get("ports", [])}
    return f"ports are taken: {taken}" if (taken := sorted(port for port in ports if is_taken(port))) else ""


def stack(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "stack.py"), *arguments]
    environ = os.environ | PROJECT
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=UP_SECONDS)


def not_pulled() -> str:
    """Return why the images of others could not be pulled, "" when they were."""
    try:
        done = docker("compose", "pull", "--ignore-buildable", "--quiet", bound=PULL_SECONDS)
    except subprocess.TimeoutExpired:
        return f"not within {PULL_SECONDS} s"
    return done.stderr.strip()[-500:] or f"exit {done.returncode}" if done.returncode else ""


@pytest.fixture(scope="module")
def running(pytestconfig: pytest.Config) -> Iterator[str]:
    """What `make stack` printed; its containers and volumes are gone afterwards."""
    if why := obstacle():
        say_not_run(pytestconfig, WHAT, why)
    assert stack("secrets").returncode == 0
    if why := not_pulled():
        assert not WRONG_IMAGE.search(why), why
        say_not_run(pytestconfig, WHAT, f"its images can't be pulled: {why}")
    try:
        done = stack("up", "--profile=full")
        assert done.returncode == 0, done.stderr
        yield done.stdout
    finally:
        stack("down", "--volumes")


def inspected() -> dict[str, dict[str, Any]]:
    names = docker("compose", "ps", "--all", "--quiet").stdout.split()
    found = json.loads(docker("inspect", *names).stdout)
    return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in found}


@pytest.mark.usefixtures("running")
def test_everything_is_healthy_and_not_one_container_more_than_promised():
    found = inspected()
    assert found.keys() == services().keys()
    states = {name: each["State"] for name, each in found.items() if name != ONCE}
    assert {state["Health"]["Status"] for state in states.values()} == {"healthy"}
    assert not [name for name, each in found.items() if each["RestartCount"] or each["State"].get("OOMKilled")]


@pytest.mark.usefixtures("running")
def test_nobody_is_root_and_nothing_listens_beyond_this_machine():
    for name, each in inspected().items():
        assert (name, each["Config"]["User"].split(":")[0]) != (name, "0")
        published = [
            binding for bindings in (each["HostConfig"]["PortBindings"] or {}).values() for binding in bindings
        ]
        assert {binding["HostIp"] for binding in published} <= {"127.0.0.1"}


def test_the_first_dashboard_is_not_empty_after_a_minute(running):
    # Whatever `up` itself has asked for: nobody asks here before, and not much later than a minute it is over.
    rate = 'sum(rate(http_request_duration_seconds_count{service="gateway",endpoint="/api/products"}[1m]))'
    requests = f"max_over_time(({rate})[15m:15s]) > 0"

    def counted() -> Any:
        return ask("http://127.0.0.1:9090/api/v1/query", query=requests)["data"]["result"]

    assert eventually(counted, 60, "requests are counted")
    assert "/d/goshop-service" in running


@pytest.mark.usefixtures("running")
def test_one_request_is_in_traces_and_logs():
    trace = httpx.get(f"{SHOP}/api/products?q=lamp", timeout=10, trust_env=False).headers["x-trace-id"]
    now = ask_trace(trace)
    assert {"goshop-gateway", "goshop-product"} <= set(re.findall(r"goshop-\w+", now))
    lines = {"query": f'{{job="backend-app"}} | trace_id="{trace}"'}
    found = eventually(
        lambda: ask("http://127.0.0.1:3100/loki/api/v1/query_range", **lines)["data"]["result"], 30, trace
    )
    assert "gateway" in {stream["stream"]["service"] for stream in found}


def ask_trace(trace: str) -> str:
    def look() -> str:
        text = httpx.get(f"http://127.0.0.1:3200/api/v2/traces/{trace}", timeout=10, trust_env=False).text
        return text if "goshop-product" in text else ""

    return str(eventually(look, 30, "the trace is whole in Tempo"))


@pytest.mark.usefixtures("running")
def test_everything_stays_below_its_limit():
    lines = docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemPerc}}").stdout.splitlines()
    used = {name: float(share.rstrip("%")) for name, share in map(str.split, lines) if name.startswith("goshop-test-")}
    assert len(used) == len(services()) - 1
    assert {name: share for name, share in used.items() if share > 90} == {}


def ask(url: str, **parameters: str) -> Any:
    answer = httpx.get(url, params=parameters, timeout=10, trust_env=False)
    answer.raise_for_status()
    return answer.json()


@pytest.mark.usefixtures("running")
def test_the_limits_are_those_of_the_file():
    limits = {name: each["HostConfig"]["Memory"] for name, each in inspected().items()}
    assert limits == {name: size(service["mem_limit"]) for name, service in services().items()}
