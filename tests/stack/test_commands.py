"""Every command that is built is the one that its module pins, and says so."""

import os
import subprocess

import pytest

from tests.backends.build import COMMANDS

# What each says of itself; the others say what Prometheus' own library does.
SAYS = {"jaeger": '"gitVersion":"{version}"', "docker-compose": "Docker Compose version {version}\n"}
HOW = {"jaeger": "version"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.asks_for(name), id=name) for name in sorted(COMMANDS)]
)
def test_a_command_says_that_it_is_the_pinned_version(name: str, request: pytest.FixtureRequest) -> None:
    variable = name.upper().replace("-", "_")
    if os.environ.get(variable):
        pytest.skip(f"${variable} names another")
    fixture = name.replace("-", "_")
    command = request.getfixturevalue(fixture if name in {"prometheus", "promtool", "amtool"} else f"{fixture}_command")
    done = subprocess.run([command, HOW.get(name, "--version")], capture_output=True, text=True, check=True, timeout=60)
    wanted = SAYS.get(name, f"{name}, version {{version}} ").replace("{version}", COMMANDS[name].version)
    assert wanted in done.stdout
