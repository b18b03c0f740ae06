"""What can be known of the back-ends without building one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.backends import build

SCRIPT = Path(build.__file__)


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("name", ["prometheus", "promtool"])
def test_a_command_says_the_version_that_its_module_pins(name: str) -> None:
    command = build.COMMANDS[name]
    pinned = re.search(
        r"^require github\.com/prometheus/prometheus v0\.(\d)(\d\d)\.(\d+)$",
        (SCRIPT.parent / command.module / "go.mod").read_text(),
        re.MULTILINE,
    )
    # https://github.com/prometheus/prometheus#prometheus-code-base: v0.313.2 is 3.13.2.
    assert pinned is not None
    assert ".".join(str(int(part)) for part in pinned.groups()) == command.version
    assert f"version.Version={command.version}" in command.flags


def test_a_module_names_every_command_that_is_built_from_it() -> None:
    for command in build.COMMANDS.values():
        assert f'"{command.package}"' in (SCRIPT.parent / command.module / "tools.go").read_text()


def test_without_a_compiler_it_is_said_what_would_help(tmp_path: Path) -> None:
    done = run("promtool", PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == (
        "promtool: there is no Go compiler: `make test-stack` brings one, or https://go.dev/doc/install\n"
    )


def test_a_command_that_there_is_not_is_named() -> None:
    done = run("promtool", "loki")
    assert done.returncode == 1
    assert done.stderr == "loki: no such command; there are prometheus, promtool\n"
