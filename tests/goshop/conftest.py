"""What the launcher's tests share: a run's folder, stand-in services, and a look at what is left of a run."""

import contextlib
import os
import sys
from pathlib import Path

import pytest

from goshop.run import RunFolder
from tests.goshop.plain import answers, run_all
from tests.loadtests.stand_in import StandIn, served


@pytest.fixture
def run(state_folder):
    return RunFolder.create(state_folder / "goshop")


@pytest.fixture
def standin():
    """Make the command of a stand-in service, see standin.py."""

    def command(name, mode=""):
        return [sys.executable, str(Path(__file__).with_name("standin.py")), name, mode]

    return command


@pytest.fixture
def named(postgres_server, valkey_server):
    """Environment variables that name servers which run already: where the shop's own ones are not what a test is about."""
    return {
        **os.environ,
        "GOSHOP_DB__HOST": postgres_server.host,
        "GOSHOP_DB__USER": postgres_server.user,
        "GOSHOP_DB__PASSWORD": postgres_server.password,
        "GOSHOP_REDIS__URL": valkey_server.url,
    }


@pytest.fixture(scope="session")
def plain_runs(tmp_path_factory):
    """Every run of `goshop gate --url` that tests look at, made once."""
    with served(StandIn(answers)) as service:
        return run_all(service.url, tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="session")
def processes_of():
    """Find every process of a run by its command line, environment or working folder (PostgreSQL overwrites the first two)."""

    def find(path):
        return {
            entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit() and _belongs(entry, os.fspath(path))
        }

    return find


def _belongs(entry, path):
    if int(entry.name) == os.getpid():
        return False
    with contextlib.suppress(OSError):
        said = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        return path.encode() in said or str((entry / "cwd").readlink()).startswith(path)
    return False
