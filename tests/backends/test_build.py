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


@pytest.mark.parametrize("name", build.COMMANDS)
def test_a_command_says_the_version_that_its_module_pins(name: str) -> None:
    command = build.COMMANDS[name]
    pinned = re.search(r"^require \S+ v(\S+)$", (SCRIPT.parent / command.module / "go.mod").read_text(), re.MULTILINE)
    assert pinned is not None
    # https://github.com/prometheus/prometheus#prometheus-code-base: v0.313.2 is 3.13.2.
    assert re.sub(r"^0\.(\d)(\d\d)\.", lambda found: f"{found[1]}.{int(found[2])}.", pinned[1]) == command.version
    assert re.search(rf"ersion={command.version}$", command.flags)


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
    done = run("promtool", "tempo")
    assert done.returncode == 1
    assert done.stderr == f"tempo: no such command; there are {', '.join(build.COMMANDS)}\n"


def a_go(folder: Path, script: str) -> str:
    """Put a `go` of our own before all others; returns the PATH."""
    (folder / "go").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "go").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


# As Go 1.26 says it.
UNREACHABLE = 'go: github.com/pkg/errors@v0.9.1: Get "https://proxy.example/github.com/pkg/errors/@v/v0.9.1.zip": dial tcp: lookup proxy.example'
TAMPERED = "verifying github.com/pkg/errors@v0.9.1: checksum mismatch\n\tSECURITY ERROR"


@pytest.mark.parametrize(("said", "code"), [(UNREACHABLE, 4), (TAMPERED, 1), ("main.go:1:1: syntax error", 1)])
def test_only_modules_that_cannot_be_fetched_are_told_from_what_is_wrong(tmp_path: Path, said: str, code: int) -> None:
    script = f"[ \"$1\" = env ] && echo go1.99 && exit\ncat >&2 <<'END'\n{said}\nEND\nexit 1"
    done = run("promtool", PATH=a_go(tmp_path, script), XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == code
    assert said in done.stderr


@pytest.mark.parametrize(
    ("said", "code"), [(UNREACHABLE, build.NOT_FETCHED), (TAMPERED, build.FAILED)], ids=["unreachable", "tampered"]
)
def test_one_that_does_not_build_keeps_none_of_the_others_from_being_built(
    tmp_path: Path, said: str, code: int
) -> None:
    # Everything but promtool builds: what `-o` names is made.
    script = (
        'case "$*" in env*) echo go1.99; exit;; *promtool*) ;; *) while [ "$1" != -o ]; do shift; done; echo >"$2"; exit;; esac\n'
        f"cat >&2 <<'END'\n{said}\nEND\nexit 1"
    )
    done = run("promtool", "prometheus", "amtool", PATH=a_go(tmp_path, script), XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == code
    assert [Path(line).name for line in done.stdout.splitlines()] == ["prometheus", "amtool"]
    assert done.stderr.count(said) == 1


@pytest.mark.parametrize(
    ("version", "times"), [("1.21.13", 1), ("1.25.9", 1), ("1.26.5", 0), ("1.26.5-X:nodwarf5", 0), ("1.27.1", 0)]
)
def test_a_compiler_that_is_older_than_the_modules_ask_for_is_not_taken(
    tmp_path: Path, version: str, times: int
) -> None:
    command = ["make", "--dry-run", "go", f"GO={tmp_path}/none", f"PYTHON={sys.executable}"]
    environ = os.environ | {"PATH": a_go(tmp_path, f"echo go{version}")}
    done = subprocess.run(command, env=environ, cwd=SCRIPT.parents[2], capture_output=True, text=True, check=True)
    assert done.stdout.count("pip install --quiet --require-hashes --python") == times
